"""pip and uv: who installs does not show."""

import json
import os
import re
import sys
import time
import zipfile
from pathlib import Path

import pytest

from chain import run, terminal, write

TOOLS = Path(sys.executable).parent


@pytest.fixture
def kit(tmp_path):
    """A wheel with a file in each place that a wheel has."""
    path = tmp_path / "wheels/kit-1.0-py3-none-any.whl"
    path.parent.mkdir()
    files = {
        "kit/__init__.py": "def main(): pass\n",
        "lib/__init__.py": "",
        "kit-1.0.data/data/lib/kit.txt": "in lib\n",
        "kit-1.0.data/data/lib/deep/er/kit.txt": "deep in lib\n",
        "kit-1.0.data/data/share/kit/kit.txt": "in share\n",
        "kit-1.0.data/purelib/kit/pure.py": "VALUE = 1\n",
        "kit-1.0.data/scripts/kit-script": "#!python\nprint(1)\n",
        "kit-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: kit\nVersion: 1.0\nRequires-Dist: click==8.1.8\n",
        "kit-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "kit-1.0.dist-info/entry_points.txt": "[console_scripts]\nkit = kit:main\n",
    }
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
        archive.writestr("kit-1.0.dist-info/RECORD", "".join(f"{name},,\n" for name in files) + "kit-1.0.dist-info/RECORD,,\n")
    return path


def test_pip_and_uv_install_the_same(pyox, kit, each_minor, tmp_path):
    """The manifests are the same but for the folder that the files lie in."""
    write(tmp_path / "requirements.txt", "requests[socks]==2.32.5\n")
    found = []
    for installer in ("pip", "uv"):
        tools = pyox.with_environment(PATH=f"{pyox.environment['PATH']}:{TOOLS}")
        options = ("-r", tmp_path / "requirements.txt", "--with", "rich==14.2.0", kit, "--run-module", "rich", "--installer", installer)
        text = tools.manifest(tmp_path, each_minor, *options, name=installer).read_text()
        found.append(re.sub(r"/projects/[0-9a-f]{64}/", "/projects/", text))
    assert found[0] == found[1]
    manifest = json.loads(found[0])
    locations = {resource.get("location") for resource in manifest["resources"]}
    for location in ("lib/kit.txt", "lib/deep/er/kit.txt", "share/kit/kit.txt"):
        assert location in locations
    reasons = {resource["project"]: resource["reason"] for resource in manifest["resources"]}
    assert reasons["rich"] == "named by --with rich==14.2.0" and reasons["requests"] == "named in requirements.txt"
    assert reasons["click"] == "required by `kit`" and reasons["pysocks"] == "required by `requests`"


@pytest.mark.parametrize("installer", ["pip", "uv"])
def test_files_in_lib_are_where_a_wheel_puts_them(driver, kit, tmp_path, installer):
    write(tmp_path / "app.py", "import sys, os\nprint(*(open(os.path.join(sys.prefix, 'lib', name)).read() for name in ('kit.txt', 'deep/er/kit.txt')))\n")
    write(tmp_path / "pyox.toml", f'with = ["{kit}"]\n[programs]\napp = "app.py"\n')
    driver("build", "--installer", installer, tools=TOOLS)
    assert run(tmp_path / "dist/app").stdout == "in lib\n deep in lib\n\n"


@pytest.mark.parametrize(
    "requirement, said",
    [
        ("click==8.1.8, !=8.1.8", "uv: No solution found when resolving dependencies; "),
        ("absent-from-everywhere-1", "uv: No solution found"),
        ("./broken", "ImportError: of the backend"),
    ],
)
def test_what_uv_says_is_one_line(driver, tmp_path, requirement, said):
    write(tmp_path / "broken/pyproject.toml", '[project]\nname = "broken"\nversion = "1"\n[build-system]\nrequires = []\nbuild-backend = "own"\nbackend-path = ["."]\n')
    write(tmp_path / "broken/own.py", "raise ImportError('of the backend')\n")
    write(tmp_path / "app.py", "print(1)\n")
    write(tmp_path / "pyox.toml", f'installer = "uv"\nwith = ["{requirement}"]\n[programs]\napp = "app.py"\n')
    done = driver("build", tools=TOOLS, check=False)
    errors = [line for line in done.stderr.splitlines() if ": error: " in line]
    assert done.returncode == 2 and len(errors) == 1 and said in errors[0] and len(errors[0]) < 400, done.stderr


def test_uv_that_is_not_there(driver, tmp_path):
    write(tmp_path / "app.py", "# /// script\n# dependencies = ['click']\n# ///\n")
    done = driver("build", "--installer", "uv", "app.py", check=False)
    assert done.returncode == 2 and "uv: expected uv on PATH, found none" in done.stderr


def test_the_cache_of_projects_has_a_limit(pyox, host, tmp_path):
    cache, day = tmp_path / "cache", 24 * 60 * 60
    tools = pyox.with_environment(PYOX_CACHE_DIR=str(cache))

    def collect(requirement, tools=tools, **options):
        return tools("collect", "-d", host.document, "--with", requirement, "--repl", "-o", tmp_path / "m.json", **options)

    def kept():
        return {path.name.split("-")[0] for path in (cache / "projects").glob("*/*.dist-info")}

    for name in ("iniconfig==2.0.0", "click==8.1.8", "mdurl==0.1.2"):
        collect(name)
    for age, path in enumerate(sorted((cache / "projects").iterdir()), 2):
        os.utime(path, (time.time() - age * day,) * 2)
    # What is used counts as new, and what is new stays whatever the limit is.
    collect("click==8.1.8")
    small = tools.with_environment(PYOX_CACHE_LIMIT="1K")
    collect("colorama==0.4.6", tools=small)
    assert kept() == {"click", "colorama"}
    assert len(list((cache / "digests").glob("*.json"))) <= 4
    done = collect("attrs==25.3.0", tools=tools.with_environment(PYOX_CACHE_LIMIT="much"), check=False)
    assert done.returncode == 2 and "PYOX_CACHE_LIMIT: expected a size such as `10G`, got `much`" in done.stderr


def test_long_steps_show_on_a_terminal_and_nowhere_else(pyox, host, tmp_path):
    script = write(tmp_path / "app.py", "# /// script\n# dependencies = ['iniconfig==2.0.0']\n# ///\nprint(1)\n")
    build = (pyox.folder / "pyox", "build", script, "--python", f"host:{host.python}", "-o", tmp_path / "app", "--upgrade")
    status, screen = terminal(build, (), TERM="xterm")
    assert status == 0, screen
    for step in ("resolves and installs", "reading what is taken", "packing"):
        assert step in screen, step
    done = run(*build, env=pyox.environment)
    assert done.stderr.splitlines() == [line for line in done.stderr.splitlines() if line.startswith("pyox: note: ")]
