"""Builds documentation by autodoc, as text and as HTML with a theme's files."""
from pathlib import Path

from sphinx.cmd.build import main

source = Path("docs")
source.mkdir()
(source / "conf.py").write_text(
    "project = 'documented'\nextensions = ['sphinx.ext.autodoc', 'sphinx.ext.viewcode']\n"
)
(source / "index.rst").write_text("Reference\n=========\n\n.. automodule:: documented\n   :members:\n")
print(main(["-q", "-W", "-b", "text", "docs", "text"]))
print(Path("text/index.txt").read_text())
print(main(["-q", "-W", "-b", "html", "docs", "html"]))
for path in sorted(Path("html").rglob("*")):
    if path.is_file() and path.suffix in (".html", ".css", ".js"):
        print(path, "documented" in path.read_text() if path.suffix == ".html" else "")
