"""Executables with libpython as a shared library, which they load from memory: nothing is linked for them."""

import json
import re

import pytest

from chain import REPOSITORY, run, write

# The releases that have wheels of a Python before 3.14, and since.
NUMPY = ("numpy==2.2.6", "numpy==2.5.5")


@pytest.fixture(scope="module")
def portable(pyox, shared, tmp_path_factory):
    """Makes a portable executable of code."""

    def portable(code, *collect, name="app"):
        folder = tmp_path_factory.mktemp("portable")
        write(folder / f"{name}.py", code)
        return pyox.build(folder, shared, folder / f"{name}.py", "--libpython", *collect, link=("--shape", "portable"), name=name)

    return portable


def test_the_standard_library_is_there(portable, shared):
    code = """
    import asyncio, ctypes, decimal, json, os, sqlite3, ssl, sys, zlib
    print(sys.version)
    print(json.dumps({"a": decimal.Decimal(1) == 1}), sqlite3.sqlite_version, ssl.OPENSSL_VERSION, zlib.crc32(b"a"))
    print(asyncio.run(asyncio.sleep(0, "slept")), ctypes.pythonapi.Py_IsInitialized())
    """
    executable = portable(code)
    done = run(executable)
    assert done.stdout == shared.run_python(executable.with_suffix(".py")).stdout
    asked = portable("import json, os; print(json.__file__, os.listdir(os.path.dirname(json.__file__))[0])", name="asked")
    version = ".".join(map(str, shared.minor))
    assert run(asked).stdout == f"{asked}/lib/python{version}/json/__init__.py __init__.py\n"


def test_wheels_children_and_daemon_threads(portable, shared):
    executable = portable(
        """
        import multiprocessing, subprocess, sys, threading, time
        import markupsafe._speedups, numpy

        def square(x):
            return x * x

        if __name__ == "__main__":
            print(markupsafe.escape("<"), numpy.arange(4).sum())
            print(subprocess.run([sys.executable, "-c", "import json; print(json.dumps(1))"], capture_output=True, text=True).stdout)
            for method in ("fork", "spawn", "forkserver"):
                with multiprocessing.get_context(method).Pool(2) as pool:
                    print(method, pool.map(square, range(4)))
            threading.Thread(target=lambda: [time.sleep(0.0001) for _ in iter(int, 1)], daemon=True).start()
        """,
        "--with",
        "markupsafe==3.0.4",
        "--with",
        NUMPY[shared.minor >= (3, 14)],
    )
    done = run(executable)
    lines = [f"{method} [0, 1, 4, 9]" for method in ("fork", "spawn", "forkserver")]
    assert done.stdout.splitlines() == ["&lt; 6", "1", "", *lines]
    assert done.stderr == ""


@pytest.mark.parametrize("tag", ("cp311", "cp312", "cp313", "cp314"))
def test_the_runner_asks_for_an_old_glibc(tag):
    runner = REPOSITORY / "target/runtime" / tag / "portable-runner"
    versions = re.findall(r"Name: (\S+)", run("readelf", "--version-info", "--wide", runner).stdout)
    assert all(re.fullmatch(r"GLIBC_[\d.]+", version) for version in versions), versions
    assert (2, 17) < max(tuple(map(int, version[6:].split("."))) for version in versions) <= (2, 28)
    # The C library's memory functions come before those that its loader may have for itself alone.
    needed = re.findall(r"NEEDED.*\[(.*)\]", run("readelf", "--dynamic", runner).stdout)
    assert needed[0] == "libc.so.6" and set(needed) <= {"libc.so.6", "libdl.so.2", "libpthread.so.0", "ld-linux-x86-64.so.2"}


def test_checked_memory(portable, shared):
    """What is allocated before the interpreter starts is freed by the allocator that it has then."""
    checked = portable("import sys\nprint(sys.flags.dev_mode)\n", "--config", "dev_mode=1", name="checked")
    assert (run(checked).stdout, run(checked).stderr) == ("True\n", "")


def test_further_interpreters_import(portable, shared):
    code = """
    try:
        import _interpreters as interpreters
    except ImportError:
        import _xxsubinterpreters as interpreters
    one = interpreters.create()
    interpreters.run_string(one, "import array, decimal, json, select; print(json.__file__, flush=True)")
    interpreters.destroy(one)
    """
    executable, version = portable(code), ".".join(map(str, shared.minor))
    assert run(executable).stdout == f"{executable}/lib/python{version}/json/__init__.py\n"


def test_data_is_written_at_the_end(portable, tmp_path):
    portable_app = portable("import sys\ndef g(): pass\nf = open(sys.argv[1], 'w'); f.write('data'); sys.exit(3)")
    assert run(portable_app, tmp_path / "out", check=False).returncode == 3
    assert (tmp_path / "out").read_text() == "data"


def test_a_python_without_a_static_library_is_taken(pyox, host, tmp_path):
    """As `install_only` archives and distributions of Linux without `-dev` have it; no compiler has to be there."""
    document = json.loads(host.document.read_text())
    del document["link"]["libpython"]
    document["link"] |= {"static": False, "dynamic": False, "reason": "there is no static library"}
    write(tmp_path / "dist.json", json.dumps(document))
    write(tmp_path / "app.py", "print('hello')\n")
    bare = pyox.with_environment(PATH="/nonexistent")
    pyox("collect", "-d", tmp_path / "dist.json", tmp_path / "app.py", "-o", tmp_path / "m.json")
    bare("pack", tmp_path / "m.json", "-d", tmp_path / "dist.json", "-o", tmp_path / "app.blob")
    said = bare("link", tmp_path / "app.blob", "-d", tmp_path / "dist.json", "-o", tmp_path / "app").stderr
    assert "portable: there is no static library" in said
    assert run(tmp_path / "app").stdout == "hello\n"
    done = pyox("link", tmp_path / "app.blob", "-d", tmp_path / "dist.json", "--emit", "staticlib", tmp_path / "out", check=False)
    assert done.returncode == 2 and "expected a Python with its static library" in done.stderr


def test_what_cannot_be_portable(pyox, host, source, tmp_path):
    write(tmp_path / "app.py", "print('hello')\n")

    def refused(distribution, *collect):
        blob = pyox.blob(tmp_path, distribution, tmp_path / "app.py", *collect)
        done = pyox("link", blob, "-d", distribution.document, "--shape", "portable", "-o", tmp_path / "app", check=False)
        assert done.returncode == 2 and not (tmp_path / "app").exists()
        return done.stderr.splitlines()[-2:]

    fault, hint = refused(host)
    assert "expected lib/libpython3." in fault and hint.endswith("collect with `--libpython`")
    fault, _ = refused(source)
    assert fault.endswith(f"--shape portable: Python {source.version}: the distribution has no shared libpython")
    done = pyox("collect", "-d", source.document, tmp_path / "app.py", "--libpython", check=False)
    assert (done.returncode, done.stderr.splitlines()[0]) == (
        2,
        f"pyox-collect: error: --libpython: Python {source.version}: the distribution has no shared libpython",
    )
