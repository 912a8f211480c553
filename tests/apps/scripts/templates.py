"""Copies the templates of its package, and changes the copy."""
import shutil
from pathlib import Path

import blueprints

source = Path(blueprints.__file__).parent / "templates" / "site"
shutil.copytree(source, "site")
with open("site/index.html", "a", encoding="utf-8") as page:
    page.write("<p>changed</p>\n")
shutil.copy2(source / "static" / "style.css", "site/static/again.css")
shutil.move("site/static/style.css", "site/style.css")
for path in sorted(Path("site").rglob("*")):
    print(path, path.read_text(encoding="utf-8") if path.is_file() else "")
print((source / "index.html").read_text(encoding="utf-8"))
shutil.rmtree("site")
