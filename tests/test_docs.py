"""The commands of the pages in docs/, as they stand there.

A paragraph that is a file's name in backquotes, and perhaps more, and the block behind it are that file. The commands of a
`console` block run in one shell, with what they print below them; a command without a line below may print anything. What a
page does in one folder goes on in its next block.
"""

import os
import re
import shlex

import pytest

from chain import REPOSITORY, run

PAGES = ("python", "script", "project", "pyoxidizer", "rust", "c", "pipeline", "library")
BLOCK = re.compile(r"^(?:`([\w./]+)`[^\n]*:\n\n)?```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def steps(text):
    """The commands of a console block, each with the lines that stand below it."""
    found = []
    for line in text.splitlines():
        if line.startswith("$ "):
            found.append((line[2:], []))
        else:
            found[-1][1].append(line)
    return found


@pytest.mark.parametrize("page", PAGES)
def test_the_commands_of_a_page(pyox, host, tmp_path, page):
    path = f"{host.python.parent}:{pyox.folder}:{os.environ['PATH']}"
    environment = dict(os.environ) | pyox.environment | {"PATH": path, "PYOX_SOURCE": str(REPOSITORY), "MAKEFLAGS": "", "MAKELEVEL": "0"}
    # What a page begins is compiled in its own folder, and what the repository has is kept.
    environment["CARGO_TARGET_DIR"] = str(tmp_path / "target" if page == "rust" else REPOSITORY / "target/examples")
    folder, ran = tmp_path, 0
    for name, kind, text in BLOCK.findall((REPOSITORY / f"docs/{page}.md").read_text()):
        if name:
            # A page that begins a project of its own leaves the one before.
            if name in ("pyproject.toml", "pyox.toml", "pyoxidizer.toml"):
                folder = tmp_path / f"other-{name}"
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)
        elif kind == "console":
            for command, expected in steps(text):
                if command.startswith("cd "):
                    folder = folder / shlex.split(command)[1]
                    continue
                if command.startswith("export "):
                    name, _, value = command.removeprefix("export ").partition("=")
                    environment[name] = value.replace("$PYOX_SOURCE", str(REPOSITORY))
                    continue
                done = run("bash", "-c", command, cwd=folder, env=environment, timeout=600)
                ran += 1
                if expected:
                    assert done.stdout.splitlines() == expected, command
    assert ran >= 2


def test_each_claim_about_security_has_its_test():
    text = (REPOSITORY / "docs/security.md").read_text()
    named = re.findall(r"`([\w./-]+\.(?:py|rs))::(\w+)`", text)
    assert len(named) > 40
    for path, function in named:
        source = (REPOSITORY / path).read_text()
        assert re.search(rf"^\s*(?:def|fn) {function}\(", source, re.MULTILINE), f"{path}::{function}"


def test_the_specs_are_told_alike(pyox):
    """By the README's table, the page about them, and the help of pyox-fetch, which says 3.X of any version."""
    table = (REPOSITORY / "README.md").read_text().partition("| SPEC | is |\n|---|---|\n")[2].partition("\n\n")[0]
    specs = {spec for row in table.splitlines() for spec in re.findall(r"`([^`]+)`", row.split(" | ")[0])}
    assert {"host", "uv@3.13", "source:TARBALL", "cpython@3.13+20260814"} < specs
    page = (REPOSITORY / "docs/python.md").read_text()
    said = pyox("fetch", "--help").stdout
    assert [spec for spec in specs - {"PATH"} if f"`{spec}" not in page] == []
    assert [spec for spec in specs if spec.replace("3.13.5", "3.X.Y").replace("3.13", "3.X") not in said] == []
    # And what the help has besides is told on the page: the builds that are for tests.
    forms = set(re.findall(r"(?m)^  ((?:host|uv|source|cpython)\S*)", said))
    assert [form for form in forms if form.strip(",").replace("3.X.Y", "3.13.5").replace("3.X", "3.13") not in page] == []
