"""Programs in C with Python in them: linked with the static library, with the parts, or loading the shared library."""

import os
from pathlib import Path

import pytest

from chain import REPOSITORY, run, write

EXAMPLES = REPOSITORY / "examples/c"


@pytest.fixture(scope="module")
def emit(pyox, tmp_path_factory):
    """Gives a folder with what `--emit` makes of the example's Python, and more."""
    known = {}

    def emit(distribution, kind, *link, collect=()):
        key = (distribution.spec, kind, link, collect)
        if key not in known:
            folder = tmp_path_factory.mktemp(kind)
            blob = pyox.blob(folder, distribution, EXAMPLES / "greeting.py", *collect, name="greeting")
            pyox("link", blob, "-d", distribution.document, *link, "--emit", kind, folder / "out", "--name", "greeting")
            known[key] = folder / "out"
        return known[key]

    return emit


def flags(folder):
    """What pkg-config says of the library there."""
    return run("pkg-config", "--cflags", "--libs", "greeting", env=dict(os.environ) | {"PKG_CONFIG_PATH": str(folder)}).stdout.split()


def compiled(source, output, *arguments):
    run("cc", "-Wall", "-Wextra", "-Werror", "-o", output, source, *arguments)
    return output


def version(distribution):
    return ".".join(distribution.version.split(".")[:2])


def test_a_program_linked_with_the_static_library(emit, source, tmp_path):
    library = emit(source, "staticlib", "--dynamic")
    program = compiled(EXAMPLES / "main.c", tmp_path / "program", *flags(library))
    assert run(program, "Ada").stdout == f"Hello, Ada, from Python {version(source)}\n"
    done = run(program, check=False)
    assert (done.returncode, done.stderr.splitlines()[-1]) == (1, "IndexError: list index out of range")


def test_the_static_library_loads_native_code_of_wheels(emit, pyox, host, tmp_path):
    library = emit(host, "staticlib", collect=("--with", "markupsafe==3.0.2"))
    write(
        tmp_path / "program.c",
        """
        #include <stdio.h>
        #include "pyembed.h"

        int main(void)
        {
            if (pyembed_start(NULL) != PYEMBED_DONE
                || pyembed_run_code("import ssl, os, markupsafe._speedups as s; print(s.__name__)") != PYEMBED_DONE
                || pyembed_run_code("print(os.path.basename(s.__file__) in os.listdir(os.path.dirname(s.__file__)))") != PYEMBED_DONE)
                fputs(pyembed_error(), stderr);
            int left = pyembed_run_code("print(end='', flush=True); raise SystemExit(5)");
            printf("%d %d\\n", left, pyembed_exit_status());
            pyembed_end();
            left = pyembed_run_code("1");
            printf("%d %s\\n", left, pyembed_error());
            return 0;
        }
        """,
    )
    program = compiled(tmp_path / "program.c", tmp_path / "program", *flags(library))
    said = run(program)
    none = "expected an interpreter that this thread has started, found none"
    assert (said.stdout, said.stderr) == (f"markupsafe._speedups\nTrue\n2 5\n1 {none}\n", "")
    assert "markupsafe" in pyox("inspect", "list", program).stdout


def test_the_program_may_have_names_of_libraries_that_python_has(emit, source, tmp_path):
    library = emit(source, "staticlib", "--dynamic")
    write(
        tmp_path / "program.c",
        """
        #include "pyembed.h"

        unsigned long crc32(unsigned long c, const unsigned char *b, unsigned int n) { return c + n + (b != 0); }

        int main(void)
        {
            if (pyembed_start(0) || pyembed_run_code("import zlib; print(zlib.crc32(b'abc'))")) return 1;
            pyembed_end();
            return (int)crc32(0, (const unsigned char *)"abc", 3);
        }
        """,
    )
    done = run(compiled(tmp_path / "program.c", tmp_path / "program", *flags(library)), check=False)
    assert (done.stdout, done.returncode) == ("891568578\n", 4)


def test_a_process_that_loads_the_shared_library(emit, host, tmp_path):
    """For itself alone (RTLD_LOCAL): extension modules find Python's functions all the same."""
    library = emit(host, "cdylib") / "libgreeting.so"
    program = compiled(EXAMPLES / "host.c", tmp_path / "host", "-ldl")
    assert run(program, library).stdout == f"Hello, {library}, from Python {version(host)}\n"
    text = (EXAMPLES / "host.c").read_text().replace("pyembed_run_module", "pyembed_run_code")
    write(tmp_path / "more.c", text.replace('"greeting"', '"import ssl, _hashlib, ctypes; print(ctypes.pythonapi.Py_IsInitialized())"'))
    assert run(compiled(tmp_path / "more.c", tmp_path / "more", "-ldl"), library).stdout == "1\n"
    names = {line.split()[-1] for line in run("nm", "--dynamic", "--defined-only", library).stdout.splitlines()}
    assert {name for name in names if not name.startswith(("Py", "_Py"))} == {
        f"pyembed_{name}"
        for name in ("add_builtin", "end", "error", "exit_status", "main", "repl", "run_code", "run_file", "run_module", "start")
    }


def test_debians_python_has_another_library_for_it(emit, distributions, tmp_path):
    """`libpython3.X-pic.a`: the usual one is for executables at a fixed address."""
    found = [d for d in distributions if d.json["link"].get("pic_libpython")]
    assert found, "no Python with libpython3.X-pic.a: apt-get install libpython3-dev"
    assert all(Path(d.json["link"]["pic_libpython"]["path"]).name == f"libpython{'.'.join(map(str, d.minor))}-pic.a" for d in found)
    folder = emit(found[0], "cdylib")
    program = compiled(EXAMPLES / "main.c", tmp_path / "program", *flags(folder))
    done = run(program, "Ada", env=dict(os.environ) | {"LD_LIBRARY_PATH": str(folder)})
    assert done.stdout == f"Hello, Ada, from Python {version(found[0])}\n"


def test_the_shared_library_is_linked_like_any_other(emit, host, tmp_path):
    folder = emit(host, "cdylib")
    program = compiled(EXAMPLES / "main.c", tmp_path / "program", *flags(folder))
    done = run(program, "Ada", env=dict(os.environ) | {"LD_LIBRARY_PATH": str(folder)})
    assert done.stdout == f"Hello, Ada, from Python {version(host)}\n"


@pytest.mark.parametrize("mode", ["--static", "--dynamic"])
def test_a_makefile_links_the_parts(emit, source, tmp_path, mode):
    artifacts = emit(source, "artifacts", mode)
    write(
        tmp_path / "Makefile",
        f"""
        include {artifacts}/app.mk

        program: {EXAMPLES}/main.c
        \t$(CC) $(PYOX_CFLAGS) -o $@ $< $(PYOX_LINK)
        """,
    )
    run("make", "program", cwd=tmp_path, env=dict(os.environ) | {"MAKEFLAGS": "", "MAKELEVEL": "0"})
    assert run(tmp_path / "program", "Ada").stdout == f"Hello, Ada, from Python {version(source)}\n"
    is_static = "INTERP" not in run("readelf", "--program-headers", tmp_path / "program").stdout
    assert is_static == (mode == "--static")


def test_the_same_libraries_are_made_again(emit, pyox, host, tmp_path):
    for kind, name in (("staticlib", "libgreeting.a"), ("cdylib", "libgreeting.so")):
        first = emit(host, kind)
        pyox("link", first.parent / "greeting.blob", "-d", host.document, "--emit", kind, tmp_path / kind, "--name", "greeting")
        assert (tmp_path / kind / name).read_bytes() == (first / name).read_bytes()


def test_what_cannot_be_emitted(emit, pyox, source, tmp_path):
    blob = emit(source, "staticlib", "--dynamic").parent / "greeting.blob"

    def refused(*arguments):
        done = pyox("link", blob, "-d", source.document, *arguments, check=False)
        assert done.returncode == 2 and not list(tmp_path.glob("out/lib*"))
        return done.stderr.splitlines()[-2:]

    out = tmp_path / "out"
    assert "expected `artifacts`, `staticlib` or `cdylib`, got `wheel`" in refused("--emit", "wheel", out)[-1]
    assert "pyox-link: error: --static: expected a dynamic link" in refused("--static", "--emit", "staticlib", out)[0]
    assert "is not compiled for shared libraries (-fPIC)" in refused("--dynamic", "--emit", "cdylib", out)[0]
    assert "--name: expected a library's name" in refused("--dynamic", "--emit", "staticlib", out, "--name", "../x")[-1]
