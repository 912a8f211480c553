"""The oldest system that an executable runs on: what it needs of glibc and the processor, and what is the cause."""

import json
import re
from pathlib import Path

import pytest

from chain import require, run, write


@pytest.fixture(scope="module")
def blob(pyox, host, tmp_path_factory):
    """An application with its libpython, extension modules, the system's libraries and a library for newer processors."""
    require("gcc", "readelf")
    folder = tmp_path_factory.mktemp("portability")
    write(folder / "app.py", "import fast, ssl, sqlite3\n")
    write(folder / "fast/__init__.py", "")
    write(folder / "fast.c", "int fast(void) { return 1; }\n")
    run("gcc", "-shared", "-nostdlib", "-Wl,-z,x86-64-v3", "-o", folder / "fast/libfast.so", folder / "fast.c")
    return pyox.blob(folder, host, folder / "app.py", folder / "fast", "--libpython")


def link(pyox, blob, host, *arguments, **options):
    output = blob.parent / "app"
    output.unlink(missing_ok=True)
    done = pyox("link", blob, "-d", host.document, *arguments, "-o", output, **options)
    return output, done


def needed_by_readelf(path):
    """The newest version of glibc's symbols, by the section that tells it."""
    said = run("readelf", "--version-info", "--wide", path).stdout
    found = re.findall(r"Name: GLIBC_(\d+)\.(\d+)", said)
    return max((tuple(map(int, version)) for version in found), default=None)


def test_every_member_counts(pyox, blob, host):
    executable, _ = link(pyox, blob, host, "--shape", "portable")
    found = json.loads(pyox("inspect", "--portability", "--json", executable).stdout)
    floors = {member["name"]: member["glibc"] for member in found["members"]}
    # In the blob they are stripped, so readelf asks the files that the manifest names.
    manifest = json.loads(blob.with_suffix(".json").read_text())
    files = {r.get("location"): Path(r["payload"]["path"]) for r in manifest["resources"] if r.get("payload")}
    native = {location: path for location, path in files.items() if path.read_bytes()[:4] == b"\x7fELF"}
    assert {"app/fast/libfast.so", "lib/libsqlite3.so.0"} < native.keys()
    assert floors.keys() - {str(executable)} == native.keys()
    for location, path in native.items():
        version = needed_by_readelf(path)
        assert floors[location] == (version and "{}.{}".format(*version)), location
    assert floors[str(executable)] == "{}.{}".format(*needed_by_readelf(executable))
    numbers = [tuple(map(int, version.split("."))) for version in floors.values() if version]
    assert found["glibc"] == "{}.{}".format(*max(numbers))
    assert found["processor"] == "x86-64-v3"
    runner = next(member for member in found["members"] if member["name"] == str(executable))
    assert runner["project"] is None and runner["calls"]["memfd_create"] == "3.17"
    first, *lines = pyox("inspect", "--portability", executable).stdout.splitlines()
    assert first == f"{executable}: needs glibc {found['glibc']}, x86-64-v3"
    assert any(line.split()[:2] == ["-", "x86-64-v3"] and line.split()[-1] == "app/fast/libfast.so" for line in lines)


def test_max_glibc_names_what_is_newer(pyox, blob, host):
    executable, done = link(pyox, blob, host, "--shape", "portable", "--max-glibc", "2.17", check=False)
    assert done.returncode == 2 and not executable.exists()
    fault, hint = done.stderr.splitlines()
    assert fault.startswith("pyox-link: error: --max-glibc 2.17: too new for it: lib/") and hint.startswith("pyox-link: hint: ")
    newest = json.loads(pyox("inspect", "--portability", "--json", blob).stdout)["members"][0]
    assert f"{newest['name']} needs {newest['glibc']} ({newest['symbols'][0]}@GLIBC_{newest['glibc']})" in fault
    executable, _ = link(pyox, blob, host, "--shape", "portable", "--max-glibc", "2.99")
    assert executable.exists()


def test_a_runner_that_was_linked_here_counts(pyox, host, tmp_path):
    """Of a dynamic executable, libpython is in the runner."""
    write(tmp_path / "app.py", "")
    blob = pyox.blob(tmp_path, host, tmp_path / "app.py")
    executable, done = link(pyox, blob, host, "--dynamic", "--max-glibc", "2.28", check=False)
    assert done.returncode == 2 and not executable.exists()
    assert re.search(r"the runner needs 2\.\d+ \(\w+@GLIBC_2\.\d+\)", done.stderr)


def test_a_static_executable_needs_none(pyox, source, tmp_path):
    write(tmp_path / "app.py", "print('hello')\n")
    blob = pyox.blob(tmp_path, source, tmp_path / "app.py")
    executable, _ = link(pyox, blob, source, "--static", "--max-glibc", "2.17")
    assert run(executable).stdout == "hello\n"
    found = json.loads(pyox("inspect", "--portability", "--json", executable).stdout)
    assert found["glibc"] is None and re.fullmatch(r"\d+\.\d+\.\d+", found["kernel"])


def test_what_is_no_version(pyox, blob, host):
    for wrong in ("2", "new", "2.28.x"):
        _, done = link(pyox, blob, host, "--max-glibc", wrong, check=False)
        assert done.returncode == 2 and f'expected a version such as 2.28, got "{wrong}"' in done.stderr


def test_a_project_says_it(pyox, driver, tmp_path):
    write(tmp_path / "app/app.py", "print('hello')\n")
    write(tmp_path / "app/pyox.toml", "apps = ['app.py']\nmax-glibc = '2.17'\nmode = 'portable'\n[programs]\napp = 'app.py'\n")
    done = driver("build", cwd=tmp_path / "app", check=False)
    assert done.returncode == 2 and "--max-glibc 2.17: too new for it: " in done.stderr
    write(tmp_path / "app/pyox.toml", "apps = ['app.py']\nmax-glibc = 2.17\n")
    done = driver("build", cwd=tmp_path / "app", check=False)
    assert done.returncode == 2 and "max-glibc" in done.stderr
    write(tmp_path / "app/pyox.toml", "apps = ['app.py']\nmode = 'portable'\n[programs]\napp = 'app.py'\n")
    done = driver("build", cwd=tmp_path / "app")
    found = json.loads(pyox("inspect", "--portability", "--json", tmp_path / "app/dist/app").stdout)
    assert f"portable: needs glibc {found['glibc']} or newer" in done.stdout
