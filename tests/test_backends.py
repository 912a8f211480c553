"""Projects are built by their own backends, and no more often than they must."""

import os
import sys
import uuid
from pathlib import Path

import pytest

from chain import GIT, run, write

BACKENDS = {
    "setuptools": ('requires = ["setuptools>=75"]\nbuild-backend = "setuptools.build_meta"', ""),
    "hatchling": ('requires = ["hatchling"]\nbuild-backend = "hatchling.build"', ""),
    "flit": ('requires = ["flit_core>=3.9"]\nbuild-backend = "flit_core.buildapi"', ""),
    "poetry-core": ('requires = ["poetry-core>=2"]\nbuild-backend = "poetry.core.masonry.api"', ""),
    "pdm": ('requires = ["pdm-backend"]\nbuild-backend = "pdm.backend"', ""),
    "uv": ('requires = ["uv_build>=0.8"]\nbuild-backend = "uv_build"', ""),
}


@pytest.mark.parametrize("backend", BACKENDS)
def test_projects_are_built_by_their_own_backends(driver, tmp_path, backend):
    system, more = BACKENDS[backend]
    write(
        tmp_path / "pyproject.toml",
        f"""
        [project]
        name = "two-tools"
        version = "1.5"
        description = "Two tools"
        dependencies = ["click==8.1.8"]

        [project.optional-dependencies]
        pretty = ["rich==14.2.0"]

        [project.scripts]
        first = "two_tools:first"
        second = "two_tools.more:second"

        [dependency-groups]
        base = ["colorama==0.4.6"]
        all = [{{ include-group = "base" }}]

        [build-system]
        """,
    )
    with (tmp_path / "pyproject.toml").open("a") as file:
        file.write(f"{system}\n{more}\n")
    write(
        tmp_path / "src/two_tools/__init__.py",
        """
        import importlib.metadata, importlib.util, click

        def first():
            there = [name for name in ("rich", "colorama") if importlib.util.find_spec(name)]
            print("first", importlib.metadata.version("two-tools"), click.__name__, there)
        """,
    )
    write(tmp_path / "src/two_tools/more.py", "def second(): print('second', __name__)\n")
    driver("build", "--extra", "pretty", "--group", "all")
    assert sorted(path.name for path in (tmp_path / "dist").iterdir()) == ["first", "second"]
    assert run(tmp_path / "dist/first").stdout == "first 1.5 click ['rich', 'colorama']\n"
    assert run(tmp_path / "dist/second").stdout == "second two_tools.more\n"
    driver("build", "--program", "first", "-o", tmp_path / "one")
    assert run(tmp_path / "one").stdout == "first 1.5 click []\n"


@pytest.mark.parametrize("installer", ["pip", "uv"])
def test_a_backend_is_asked_again_when_it_must(driver, tmp_path, installer):
    """A backend of the project's own counts how often it is asked for a wheel, and is flit_core otherwise."""
    calls, late = tmp_path / "calls", tmp_path / "late"
    project = tmp_path / "project"
    write(
        project / "own.py",
        # No other run has had this backend: what it makes is not in the user's cache.
        f"""
        import os  # {uuid.uuid4()}
        from flit_core.buildapi import *
        from flit_core import buildapi

        def build_wheel(*arguments, **named):
            with open({str(calls)!r}, "a") as file:
                file.write("asked\\n")
            made = buildapi.build_wheel(*arguments, **named)
            if os.path.exists({str(late)!r}):
                # Somebody edits while the backend builds.
                os.replace({str(late)!r}, "src/counted/part.py")
            return made
        """,
    )
    pyproject = """
        [project]
        name = "counted"
        {version}
        description = "Counts"
        [project.scripts]
        counted = "counted:main"
        [build-system]
        requires = ["flit_core>=3.12"]
        build-backend = "own"
        backend-path = ["."]
        """
    write(project / "pyproject.toml", pyproject.format(version='version = "1"'))
    package = project / "src/counted/__init__.py"

    def build(text):
        write(package, f'"""Counts."""\n__version__ = "{text}"\nimport importlib.metadata as m\nfrom . import part\ndef main(): print(__version__, part.VALUE, m.version("counted"))\n')
        driver("build", "--installer", installer, cwd=project, tools=Path(sys.executable).parent)
        return run(project / "dist/counted").stdout.strip(), len(calls.read_text().split())

    write(project / "src/counted/part.py", "VALUE = 1\n")
    assert build("one") == ("one 1 1", 1)
    assert build("two") == ("two 1 1", 1)
    write(project / "src/counted/part.py", "VALUE = 2\n")
    assert build("three") == ("three 2 1", 1)
    # Links that lead round, and nowhere.
    (project / "round").symlink_to(project)
    (project / "nowhere").symlink_to("absent")
    # A file that is not installed, a new one, one that has gone.
    write(project / "notes.md", "notes\n")
    assert build("four") == ("four 2 1", 2)
    write(project / "src/counted/more.py", "")
    assert build("five") == ("five 2 1", 3)
    (project / "src/counted/more.py").unlink()
    assert build("six") == ("six 2 1", 4)
    assert build("seven") == ("seven 2 1", 4)
    # What is edited while the backend builds comes the next time.
    write(late, "VALUE = 3\n")
    write(project / "notes.md", "more notes\n")
    assert build("seven") == ("seven 2 1", 5)
    assert build("seven")[0] == "seven 3 1"
    write(project / "src/counted/part.py", "VALUE = 2\n")
    before = len(calls.read_text().split())
    # The version stands in the module: the backend alone knows that.
    write(project / "pyproject.toml", pyproject.format(version='dynamic = ["version"]'))
    assert build("8") == ("8 2 8", before + 1)
    assert build("9") == ("9 2 9", before + 2)


NATIVE = {
    "maturin": {
        "pyproject.toml": """
            [build-system]
            requires = ["maturin>=1.9,<2"]
            build-backend = "maturin"
            [tool.maturin]
            python-source = "src"
            module-name = "compiled._part"
        """,
        "Cargo.toml": """
            [package]
            name = "part"
            version = "1.0.0"
            edition = "2021"
            [lib]
            crate-type = ["cdylib"]
            [dependencies]
            pyo3 = { version = "0.27", features = ["abi3-py311"] }
            [workspace]
        """,
        "src/lib.rs": """
            use pyo3::prelude::*;

            #[pymodule(name = "_part")]
            mod part {
                #[pyo3::pyfunction]
                fn twice(number: i64) -> i64 { 2 * number }
            }
        """,
    },
    "scikit-build-core": {
        "pyproject.toml": """
            [build-system]
            requires = ["scikit-build-core>=0.11", "cmake>=3.30,<5", "ninja"]
            build-backend = "scikit_build_core.build"
            [tool.scikit-build]
            wheel.packages = ["src/compiled"]
        """,
        "CMakeLists.txt": """
            cmake_minimum_required(VERSION 3.20)
            project(compiled LANGUAGES C)
            find_package(Python REQUIRED COMPONENTS Interpreter Development.Module)
            python_add_library(_part MODULE part.c WITH_SOABI)
            install(TARGETS _part DESTINATION compiled)
        """,
        "part.c": """
            #include <Python.h>

            static PyObject *twice(PyObject *module, PyObject *number) { return PyLong_FromLong(2 * PyLong_AsLong(number)); }
            static PyMethodDef methods[] = {{"twice", twice, METH_O, NULL}, {NULL}};
            static struct PyModuleDef part = {PyModuleDef_HEAD_INIT, "_part", NULL, 0, methods};
            PyMODINIT_FUNC PyInit__part(void) { return PyModuleDef_Init(&part); }
        """,
    },
}


@pytest.mark.parametrize("backend", NATIVE)
def test_backends_that_compile(driver, tmp_path, backend):
    """What they compile runs from memory, and an edit of its source is seen."""
    for name, text in NATIVE[backend].items():
        write(tmp_path / name, text)
    with (tmp_path / "pyproject.toml").open("a") as file:
        file.write('[project]\nname = "compiled"\nversion = "1"\n[project.scripts]\ncompiled = "compiled:main"\n')
    write(tmp_path / "src/compiled/__init__.py", "from ._part import twice\ndef main(): print(twice(21), __file__.startswith(__import__('sys').executable))\n")
    driver("build")
    assert run(tmp_path / "dist/compiled").stdout == "42 True\n"
    source = tmp_path / ("src/lib.rs" if backend == "maturin" else "part.c")
    source.write_text(source.read_text().replace("2 *", "3 *"))
    driver("build")
    assert run(tmp_path / "dist/compiled").stdout == "63 True\n"


VERSIONED = {
    "setuptools-scm": (
        """
        [build-system]
        requires = ["setuptools>=75", "setuptools-scm>=8"]
        build-backend = "setuptools.build_meta"
        [tool.setuptools_scm]
        version_file = "src/tagged/_version.py"
        """,
        "from ._version import version",
    ),
    "hatch-vcs": (
        """
        [build-system]
        requires = ["hatchling", "hatch-vcs"]
        build-backend = "hatchling.build"
        [tool.hatch.version]
        source = "vcs"
        """,
        "version = m.version('tagged')",
    ),
}


@pytest.mark.parametrize("backend", VERSIONED)
def test_a_version_of_the_repository(driver, tmp_path, backend):
    system, imported = VERSIONED[backend]
    folder = tmp_path / "tagged"
    write(folder / "pyproject.toml", '[project]\nname = "tagged"\ndynamic = ["version"]\n[project.scripts]\ntagged = "tagged:main"\n')
    write(folder / "system.toml", system)
    with (folder / "pyproject.toml").open("a") as file:
        file.write((folder / "system.toml").read_text())
    write(folder / "src/tagged/__init__.py", f"import importlib.metadata as m\n{imported}\ndef main(): print(version, m.version('tagged'))\n")
    write(folder / ".gitignore", "/dist/\n/build/\n*.egg-info/\n_version.py\n")

    def git(*arguments):
        run("git", *arguments, cwd=folder, env=dict(os.environ) | GIT)

    git("init", "-q", "-b", "main")
    for version in ("1.2.3", "2.0"):
        git("add", ".")
        git("commit", "-qm", version, "--allow-empty")
        git("tag", f"v{version}")
        driver("build", cwd=folder)
        assert run(folder / "dist/tagged").stdout == f"{version} {version}\n"
