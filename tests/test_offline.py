"""`--offline`: nothing is asked of any server, and what is missing is one clear line.

The servers are of this machine: an index with wheels, and one that behaves as GitHub does for Pythons. What they are asked for shows
whether something was.
"""

import functools
import hashlib
import http.server
import sys
import threading
from pathlib import Path

import pytest

from chain import certify, clean_environment, run, write
from github import HOSTS, GitHub
from test_locks import wheel
from test_releases import NEW, install_only, minor_of, name_of, pack

TOOLS = Path(sys.executable).parent


class Index:
    """A package index, and what it was asked for."""

    def __init__(self, folder):
        self.folder, self.asked = folder, asked = folder, []

        class Handler(http.server.SimpleHTTPRequestHandler):
            def log_message(self, *_):
                asked.append(self.path)

        handler = functools.partial(Handler, directory=folder)
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def add(self, name, version, requires=()):
        path = wheel(self.folder / "files", name, version, requires)
        page = self.folder / "simple" / name / "index.html"
        page.parent.mkdir(parents=True, exist_ok=True)
        with page.open("a") as file:
            file.write(f'<a href="/files/{path.name}#sha256={hashlib.sha256(path.read_bytes()).hexdigest()}">{path.name}</a>\n')
        return path


@pytest.fixture
def index(tmp_path):
    index = Index(tmp_path / "index")
    index.add("plain", "1.0", ["nested"])
    index.add("nested", "1.0")
    index.add("other", "1.0")
    yield index
    index.server.shutdown()
    index.server.server_close()


@pytest.fixture
def build(pyox, host, index, tmp_path):
    """Runs `pyox build` in `tmp_path/app`, with caches of its own that know nothing. `uv` says who installs."""
    folder, caches = tmp_path / "app", tmp_path / "caches"
    folder.mkdir()

    def build(*options, uv=False, env=(), **others):
        environment = clean_environment() | {
            "PATH": f"{host.python.parent}:{pyox.folder}:/usr/bin:/bin" + (f":{TOOLS}" if uv else ""),
            "PYOX_CACHE_DIR": str(caches / "pyox"), "UV_CACHE_DIR": str(caches / "uv"), "PIP_CACHE_DIR": str(caches / "pip"),
            "PIP_INDEX_URL": f"{index.url}/simple/", "PIP_FIND_LINKS": "", "PIP_CONFIG_FILE": "/dev/null",
        }
        others.setdefault("check", False)
        return run(pyox.folder / "pyox", "build", *options, cwd=folder, env=environment | dict(env), timeout=300, **others)

    return build


def script(folder, *requires):
    write(folder / "app.py", f"# /// script\n# dependencies = {list(requires)}\n# ///\nimport {requires[0]}\nprint({requires[0]}.VERSION)\n")


def refused(done, said, *hints):
    """One line that says what is missing, and one with the way out."""
    lines = [line for line in done.stderr.splitlines() if "pyox: note: " not in line]
    assert done.returncode == 2 and done.stdout == "" and len(lines) == 2, done
    assert lines[0].startswith("pyox: error: ") and said in lines[0], lines
    assert lines[1].startswith("pyox: hint: ") and all(hint in lines[1] for hint in hints), lines


@pytest.mark.parametrize("uv", [False, True], ids=["pip", "uv"])
def test_what_was_installed_before_needs_no_server(build, index, tmp_path, uv):
    script(tmp_path / "app", "plain")
    refused(build("--offline", "app.py", uv=uv), "plain", "nothing may be downloaded")
    assert index.asked == [] and not (tmp_path / "app/dist").exists()
    build("app.py", uv=uv, check=True)
    assert "/simple/plain/" in index.asked
    index.asked.clear()
    # Other code with the same projects, and from nothing but the caches.
    with (tmp_path / "app/app.py").open("a") as file:
        file.write("print('edited')\n")
    build("--offline", "app.py", uv=uv, check=True)
    assert index.asked == [] and run(tmp_path / "app/dist/app").stdout == "1.0\nedited\n"


def test_uv_takes_what_its_cache_has(build, index, tmp_path):
    script(tmp_path / "app", "plain")
    build("app.py", uv=True, check=True)
    index.asked.clear()
    # Another set of projects was never installed, but all of it was downloaded.
    script(tmp_path / "app", "nested")
    build("--offline", "app.py", uv=True, check=True)
    assert run(tmp_path / "app/dist/app").stdout == "1.0\n"
    script(tmp_path / "app", "other", "plain")
    refused(build("--offline", "app.py", uv=True), "other was not found in the cache", "uv's cache does not have")
    assert index.asked == []


@pytest.mark.parametrize("uv", [False, True], ids=["pip", "uv"])
def test_folders_of_wheels_are_taken(build, index, tmp_path, uv):
    wheels = tmp_path / "wheels"
    wheel(wheels, "kept", "2.0", ["deeper"])
    wheel(wheels, "deeper", "3.0")
    script(tmp_path / "app", "kept", "deeper")
    build("--offline", "app.py", uv=uv, env={"PIP_FIND_LINKS": str(wheels)}, check=True)
    assert index.asked == [] and run(tmp_path / "app/dist/app").stdout == "2.0\n"


@pytest.mark.parametrize("uv", [False, True], ids=["pip", "uv"])
def test_addresses_and_repositories_are_not_asked(build, index, tmp_path, uv):
    for address in (f"{index.url}/files/other-1.0-py3-none-any.whl", f"git+{index.url}/other.git"):
        script(tmp_path / "app", "other")
        text = (tmp_path / "app/app.py").read_text()
        (tmp_path / "app/app.py").write_text(text.replace("'other'", f"'other @ {address}'"))
        refused(build("--offline", "app.py", uv=uv), "", "nothing may be downloaded")
    assert index.asked == []


def test_a_project_is_built_again_by_its_backend(build, index, tmp_path):
    """Its folder is built as it is now, by uv too, which keeps what it has built of folders."""
    write(tmp_path / "app/pyproject.toml", """
        [project]
        name = "app"
        version = "1"
        dependencies = ["nested"]
        [project.scripts]
        app = "app:main"
        [build-system]
        requires = []
        build-backend = "own"
        backend-path = ["."]
        """)
    write(tmp_path / "app/own.py", """
        import os, zipfile
        def build_wheel(folder, *_):
            name = "app-1-py3-none-any.whl"
            files = {
                "app.py": open("app.py").read(),
                "app-1.dist-info/METADATA": "Metadata-Version: 2.1\\nName: app\\nVersion: 1\\nRequires-Dist: nested\\n",
                "app-1.dist-info/WHEEL": "Wheel-Version: 1.0\\nGenerator: tests\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
                "app-1.dist-info/entry_points.txt": "[console_scripts]\\napp = app:main\\n",
            }
            with zipfile.ZipFile(os.path.join(folder, name), "w") as archive:
                for file, text in files.items():
                    archive.writestr(file, text)
                archive.writestr("app-1.dist-info/RECORD", "".join(f"{file},,\\n" for file in files) + "app-1.dist-info/RECORD,,\\n")
            return name
        """)
    for word, options in (("one", ()), ("two", ("--offline",))):
        write(tmp_path / "app/app.py", f"import nested\ndef main(): print('{word}', nested.VERSION)\n")
        build(*options, uv=True, check=True)
        assert run(tmp_path / "app/dist/app").stdout == f"{word} 1.0\n"
        asked, index.asked[:] = list(index.asked), []
    assert asked == []


def test_a_locked_python(build, pyox, index, distributions, tmp_path):
    """The driver hands the option on to whoever gets the Python."""
    shared = next(d for d in distributions if d.json["link"].get("shared_libpython"))
    spec = f"cpython@{minor_of(shared)}"
    github = GitHub(certify(tmp_path, *HOSTS))
    try:
        github.add(NEW, pack(install_only(shared, tmp_path / "tree"), tmp_path / name_of(shared.version, NEW)))
        write(tmp_path / "app/app.py", "import sys\nprint(sys.version_info[:2])\n")
        arguments = ("app.py", "--python", spec)
        refused_first = build("--offline", *arguments, env=github.environment)
        assert refused_first.returncode == 2 and github.asked == [], refused_first
        assert "expected it in the cache, as nothing may be downloaded" in refused_first.stderr
        build(*arguments, env=github.environment, check=True)
        github.asked.clear()
        with (tmp_path / "app/app.py").open("a") as file:
            file.write("print('edited')\n")
        build("--offline", *arguments, env=github.environment, check=True)
        assert github.asked == [] and run(tmp_path / "app/dist/app").stdout.endswith(")\nedited\n")
    finally:
        github.close()


def test_it_cannot_be_asked_to_choose_anew(build, tmp_path):
    write(tmp_path / "app/app.py", "print(1)\n")
    done = build("--offline", "--upgrade", "app.py")
    assert done.returncode == 2 and "'--offline' cannot be used with '--upgrade'" in done.stderr
