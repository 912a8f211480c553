"""Lock files, as the programs write them that make them."""

import functools
import hashlib
import http.server
import json
import os
import re
import sys
import threading
import zipfile

import pytest
from packaging.requirements import Requirement

from chain import GIT, making, run, write

SHOW = "import importlib.metadata as m\ndef main(): print(*sorted(f'{d.name}=={d.version}' for d in m.distributions()))\n"


def project(folder, name, dependencies=(), more=""):
    """A project that shows what is installed with it."""
    write(
        folder / "pyproject.toml",
        f"""
        [project]
        name = "{name}"
        version = "1"
        description = "Locked"
        requires-python = ">=3.11"
        dependencies = {list(dependencies)}
        [project.scripts]
        {name} = "{name}:main"
        [build-system]
        requires = ["flit_core>=3.12"]
        build-backend = "flit_core.buildapi"
        """,
    )
    with (folder / "pyproject.toml").open("a") as file:
        file.write(more)
    write(folder / f"src/{name}/__init__.py", f'"""Locked."""\n{SHOW}')


def there(executable):
    """The projects in an executable."""
    return run(executable).stdout.split()


def uv(folder, *arguments):
    return run(sys.executable, "-m", "uv", *arguments, cwd=folder, env=dict(os.environ), timeout=300).stdout


LOCKED = """
    [project]
    name = "locked"
    version = "1"
    description = "Locked"
    requires-python = ">=3.11"
    dependencies = ["click<8.2", "requests[socks]; sys_platform == 'linux'", "colorama; sys_platform == 'win32'"]
    [project.optional-dependencies]
    pretty = ["rich"]
    [dependency-groups]
    dev = ["iniconfig"]
    [project.scripts]
    locked = "locked:main"
    [build-system]
    requires = ["flit_core>=3.12"]
    build-backend = "flit_core.buildapi"
    """


@pytest.fixture
def locked(tmp_path):
    """A project with a lock file that `uv` has made, of an older version than pip would take."""
    write(tmp_path / "pyproject.toml", LOCKED)
    write(tmp_path / "src/locked/__init__.py", f'"""Locked."""\n{SHOW}')
    uv(tmp_path, "lock", "--quiet", "--upgrade-package", "click==8.1.3")


def test_locked_versions(driver, locked, tmp_path):
    driver("build", "--extra", "pretty", "--group", "dev")
    found = there(tmp_path / "dist/locked")
    names = [word.split("==")[0] for word in found]
    assert "click==8.1.3" in found and "locked==1" in found and "colorama" not in names
    assert {"PySocks", "requests", "rich", "iniconfig"} <= set(names), found
    driver("build")
    assert not [word for word in there(tmp_path / "dist/locked") if word.startswith("rich")]
    # The same by the standard's own lock file.
    (tmp_path / "pylock.toml").write_text(uv(tmp_path, "export", "--quiet", "--no-emit-project", "--no-dev", "--format", "pylock.toml"))
    (tmp_path / "uv.lock").unlink()
    driver("build")
    assert "click==8.1.3" in there(tmp_path / "dist/locked")


def test_extras_and_groups_of_a_pylock(driver, locked, tmp_path):
    """Its markers ask for them in a way that pip does not know."""
    text = uv(tmp_path, "export", "--quiet", "--no-emit-project", "--extra", "pretty", "--group", "dev", "--format", "pylock.toml")
    for name, marker in (("rich", "'pretty' in extras"), ("iniconfig", "\"dev\" in dependency_groups and python_version > '3'")):
        assert f'name = "{name}"\n' in text
        text = text.replace(f'name = "{name}"\n', f'name = "{name}"\nmarker = {json.dumps(marker)}\n')
    lists = 'extras = ["pretty"]\ndependency-groups = ["dev", "usual"]\ndefault-groups = ["usual"]\n'
    (tmp_path / "pylock.toml").write_text(text.replace("[[packages]]", lists + "\n[[packages]]", 1))
    (tmp_path / "uv.lock").unlink()

    def taken(*options):
        driver("build", *options)
        return {word.split("==")[0] for word in there(tmp_path / "dist/locked")} & {"rich", "iniconfig"}

    assert taken() == set()
    assert taken("--extra", "pretty") == {"rich"}
    assert taken("--extra", "pretty", "--group", "dev") == {"rich", "iniconfig"}
    (tmp_path / "pylock.toml").write_text(text)
    done = driver("build", "--extra", "pretty", check=False)
    assert done.returncode == 2 and "pylock.toml: extras: expected one with `pretty`, found none" in done.stderr


def test_lock_files_that_do_not_fit(driver, locked, tmp_path):
    lock = (tmp_path / "uv.lock").read_text()
    project = (tmp_path / "pyproject.toml").read_text()
    start = lock.index('name = "click"')
    digest = re.compile("sha256:[0-9a-f]{64}")
    wrong = lock[:start] + digest.sub("sha256:" + "0" * 64, lock[start:], count=2)
    for lock_text, project_text, said in (
        (wrong, project, "HASH"),
        (lock, project.replace('"click<8.2"', '"click<8.2", "attrs"'), "the project has `attrs` and the lock file has not"),
        (lock.replace("version = 1\n", "version = 9\n", 1), project, "uv.lock: version: expected 1, got 9"),
        ("version = [\n", project, "uv.lock:"),
    ):
        (tmp_path / "uv.lock").write_text(lock_text)
        (tmp_path / "pyproject.toml").write_text(project_text)
        done = driver("build", check=False)
        assert done.returncode == 2 and said in done.stderr, (said, done.stderr)
        assert not (tmp_path / "dist").exists()


# --- Projects from elsewhere ---------------------------------------------------------


def wheel(folder, name, version, requires=(), extras=()):
    """A wheel without anything but its metadata and a module."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-{version}-py3-none-any.whl"
    info = f"{name}-{version}.dist-info"
    lines = [f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\nRequires-Python: >=3.8"]
    lines += [f"Provides-Extra: {extra}" for extra in extras] + [f"Requires-Dist: {text}" for text in requires]
    files = {f"{name}.py": f"VERSION = '{version}'\n", f"{info}/METADATA": "\n".join(lines) + "\n"}
    files[f"{info}/WHEEL"] = "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    files[f"{info}/RECORD"] = "".join(f"{file},,\n" for file in [*files, f"{info}/RECORD"])
    with zipfile.ZipFile(path, "w") as archive:
        for file, text in files.items():
            archive.writestr(file, text)
    return path


def repository(folder):
    """Makes a git repository of a folder."""
    environment = dict(os.environ) | GIT
    for command in (("init", "-q", "-b", "main"), ("add", "."), ("commit", "-qm", "all"), ("tag", "v1")):
        run("git", *command, cwd=folder, env=environment)
    return folder


@pytest.fixture
def elsewhere(tmp_path):
    """A workspace whose application depends on a member, a folder outside, commits and archives."""
    project(tmp_path / "repository", "gitlib")
    project(tmp_path / "repository/inner", "sublib", ["iniconfig"])
    repository(tmp_path / "repository")
    project(tmp_path / "other/lib", "lib", ["click"])
    project(tmp_path / "ws/packages/core", "core", ["attrs"])
    project(tmp_path / "ws/packages/windows", "windows")
    wheel(tmp_path / "wheels", "archived", "2.5")
    project(
        tmp_path / "ws",
        "app",
        ["core", "lib", "gitlib", "sublib", "archived", "windows; sys_platform == 'win32'"],
        f"""
[tool.uv.workspace]
members = ["packages/*"]
[tool.uv.sources]
core = {{ workspace = true }}
windows = {{ workspace = true }}
lib = {{ path = "../other/lib", editable = true }}
gitlib = {{ git = "file://{tmp_path}/repository", tag = "v1" }}
sublib = {{ git = "file://{tmp_path}/repository", subdirectory = "inner" }}
archived = {{ path = "../wheels/archived-2.5-py3-none-any.whl" }}
""",
    )
    return tmp_path / "ws"


ELSEWHERE = ["app", "archived", "attrs", "click", "core", "gitlib", "iniconfig", "lib", "sublib"]


def names(executable):
    return [word.split("==")[0] for word in there(executable)]


def test_workspaces_commits_and_archives(driver, elsewhere, tmp_path):
    uv(elsewhere, "lock", "--quiet")
    # What the repository has become since is not locked.
    write(tmp_path / "repository/src/gitlib/__init__.py", "raise ImportError\n")
    driver("build", cwd=elsewhere)
    assert names(elsewhere / "dist/app") == ELSEWHERE
    # A member has the lock file of its workspace.
    driver("build", cwd=elsewhere / "packages/core")
    assert names(elsewhere / "packages/core/dist/core") == ["attrs", "core"]
    # An edit in a folder outside is seen.
    write(tmp_path / "other/lib/src/lib/__init__.py", f'"""Edited."""\n{SHOW}')
    before = making(elsewhere / "dist/app")
    driver("build", cwd=elsewhere)
    assert making(elsewhere / "dist/app") != before
    (elsewhere / "pylock.toml").write_text(uv(elsewhere, "export", "--quiet", "--format", "pylock.toml"))
    (elsewhere / "uv.lock").unlink()
    driver("build", cwd=elsewhere)
    assert names(elsewhere / "dist/app") == ELSEWHERE


def test_an_archive_that_is_another_one(driver, elsewhere, tmp_path):
    uv(elsewhere, "lock", "--quiet")
    wheel(tmp_path / "wheels", "archived", "2.5", requires=["other"])
    done = driver("build", cwd=elsewhere, check=False)
    assert done.returncode == 2 and "HASH" in done.stderr and "archived" in done.stderr


def test_sources_without_a_lock_file(driver, elsewhere):
    driver("build", cwd=elsewhere)
    assert names(elsewhere / "dist/app") == ELSEWHERE


def test_editable_projects_of_a_requirements_file(driver, tmp_path):
    project(tmp_path / "lib", "lib", ["click"])
    project(tmp_path / "app", "app")
    write(tmp_path / "app/requirements.txt", "-e .\n-e ../lib\n")
    with (tmp_path / "app/pyproject.toml").open("a") as file:
        file.write('[tool.pyox]\nrequirements = ["requirements.txt"]\n')
    driver("build", cwd=tmp_path / "app")
    assert names(tmp_path / "app/dist/app") == ["app", "click", "lib"]
    before = making(tmp_path / "app/dist/app")
    write(tmp_path / "lib/src/lib/__init__.py", '"""Edited."""\nVALUE = 2\n')
    driver("build", cwd=tmp_path / "app")
    assert making(tmp_path / "app/dist/app") != before


# --- Poetry ----------------------------------------------------------------------------


@pytest.fixture
def index(tmp_path):
    """The address of an index with some wheels, because Poetry asks indexes alone."""
    files = tmp_path / "index/files"
    for made in (
        ("plain", "1.0", ["nested>=1", "far; sys_platform == 'win32'", "extra-part; extra == 'more'"], ["more"]),
        ("nested", "1.5"), ("far", "1.0"), ("extra_part", "3.0"), ("grouped", "1.0", ["nested"]), ("older", "0.9"),
        ("forked", "1.0"), ("forked", "2.0"), ("pretty", "1.0", ["colour"]), ("colour", "1.0"),
    ):
        path = wheel(files, *made)
        page = tmp_path / "index/simple" / made[0].replace("_", "-") / "index.html"
        page.parent.mkdir(parents=True, exist_ok=True)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        with page.open("a") as file:
            file.write(f'<a href="/files/{path.name}#sha256={digest}">{path.name}</a>\n')

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=tmp_path / "index"))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/simple/"
    server.shutdown()
    thread.join()
    server.server_close()


def poetry(folder, *arguments):
    environment = dict(os.environ) | {
        "POETRY_CACHE_DIR": str(folder.parent / "poetry"),
        "POETRY_VIRTUALENVS_CREATE": "false",
        "PYTHON_KEYRING_BACKEND": "keyring.backends.null.Keyring",
    }
    return run(sys.executable, "-m", "poetry", "--no-interaction", *arguments, cwd=folder, env=environment, timeout=300).stdout


@pytest.fixture
def poetic(tmp_path, index):
    """A project of Poetry's, locked by it."""
    project(tmp_path / "gitlib", "gitlib", ["older"])
    repository(tmp_path / "gitlib")
    project(tmp_path / "lib", "lib", ["nested"])
    wheel(tmp_path / "wheels", "archived", "2.5")
    folder = tmp_path / "app"
    project(
        folder,
        "app",
        [
            "plain[more] (>=1)", "forked (<2) ; python_version < '3.12'", "forked (>=2) ; python_version >= '3.12'",
            f"gitlib @ git+file://{tmp_path}/gitlib@v1", f"archived @ file://{tmp_path}/wheels/archived-2.5-py3-none-any.whl",
        ],
        f"""
[project.optional-dependencies]
pretty = ["pretty"]
[dependency-groups]
dev = ["grouped", "colour; python_version < '3'"]
[tool.poetry.group.old.dependencies]
lib = {{ path = "../lib", develop = true }}
[[tool.poetry.source]]
name = "größer"
url = "{index}"
priority = "primary"
""",
    )
    poetry(folder, "lock")
    return folder


def exported(host, folder, *arguments):
    """What `poetry export` says that is to be installed on that Python."""
    lines = poetry(folder, "export", "--without-hashes", *arguments).splitlines()
    version = ".".join(map(str, host.minor[:2]))
    environment = {"python_version": version, "python_full_version": host.version}
    found = []
    for line in lines:
        line = line.removeprefix("-e ").strip()
        if line.startswith("file://"):
            line = f"{line.split()[0].rsplit('/', 1)[1]} @ {line}"
        if line and not line.startswith("-"):
            requirement = Requirement(line)
            if requirement.marker is None or requirement.marker.evaluate(environment):
                found.append(requirement.name.replace("-", "_"))
    return sorted([*found, "app"])


@pytest.mark.parametrize(
    "ours, theirs",
    [((), ()), (("--extra", "pretty"), ("--extras", "pretty")), (("--group", "dev", "--group", "old"), ("--with", "dev,old"))],
)
def test_poetry_locks(driver, poetic, host, ours, theirs):
    driver("build", *ours, cwd=poetic)
    found = [name.replace("-", "_") for name in names(poetic / "dist/app")]
    assert found == exported(host, poetic, *theirs) and "extra_part" in found and "far" not in found
    assert ("forked==1.0" if host.minor < (3, 12) else "forked==2.0") in there(poetic / "dist/app")


def test_poetry_locks_that_do_not_fit(driver, poetic):
    lock, own = (poetic / "poetry.lock").read_text(), (poetic / "pyproject.toml").read_text()
    for lock_text, own_text, said in (
        (lock, own.replace('"pretty"', '"colour"'), "poetry.lock: expected a lock file of this pyproject.toml, got one of another state"),
        (lock.replace('lock-version = "2.1"', 'lock-version = "3.0"'), own, "lock-version: expected 2.0 or 2.1, got 3.0"),
        (re.sub("sha256:[0-9a-f]{64}", "sha256:" + "0" * 64, lock), own, "HASH"),
    ):
        (poetic / "poetry.lock").write_text(lock_text)
        (poetic / "pyproject.toml").write_text(own_text)
        done = driver("build", cwd=poetic, check=False)
        assert done.returncode == 2 and said in done.stderr, (said, done.stderr)


def test_a_project_of_poetrys_own_table(driver, tmp_path, index):
    """As Poetry 1 has them, without [project]."""
    write(
        tmp_path / "app/pyproject.toml",
        f"""
        [tool.poetry]
        name = "app"
        version = "1"
        description = ""
        authors = []
        packages = [{{ include = "app", from = "src" }}]
        [tool.poetry.dependencies]
        python = "^3.11"
        plain = "^1.0"
        pretty = {{ version = "*", optional = true }}
        [tool.poetry.extras]
        nice = ["pretty"]
        [tool.poetry.scripts]
        app = "app:main"
        [[tool.poetry.source]]
        name = "here"
        url = "{index}"
        priority = "primary"
        [build-system]
        requires = ["poetry-core>=2"]
        build-backend = "poetry.core.masonry.api"
        """,
    )
    write(tmp_path / "app/src/app/__init__.py", SHOW)
    poetry(tmp_path / "app", "lock")
    driver("build", cwd=tmp_path / "app")
    assert names(tmp_path / "app/dist/app") == ["app", "nested", "plain"]
    driver("build", "--extra", "nice", cwd=tmp_path / "app")
    assert names(tmp_path / "app/dist/app") == ["app", "colour", "nested", "plain", "pretty"]
    # The form of Poetry 1, which does not say for which groups and under which markers a package is wanted.
    lock = tmp_path / "app/poetry.lock"
    text = re.sub("(?m)^(groups|markers) = .*\n", "", lock.read_text()).replace('lock-version = "2.1"', 'lock-version = "2.0"')
    lock.write_text(text)
    driver("build", cwd=tmp_path / "app")
    assert names(tmp_path / "app/dist/app") == ["app", "nested", "plain"]
    driver("build", "--extra", "nice", cwd=tmp_path / "app")
    assert names(tmp_path / "app/dist/app") == ["app", "colour", "nested", "plain", "pretty"]
