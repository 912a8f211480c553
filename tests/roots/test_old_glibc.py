"""A portable executable on systems that are older than the one that made it."""

import json
import re

import pytest

from chain import run, write

PROGRAM = """
import asyncio, concurrent.futures, decimal, json, multiprocessing, os, subprocess, sys, threading, time, zlib

def square(x):
    return x * x

if __name__ == "__main__":
    print(os.confstr("CS_GNU_LIBC_VERSION"))
    print(sys.version_info[:2], json.__file__, decimal.Decimal(1) / 4, zlib.crc32(b"a"))
    for method in ("fork", "spawn", "forkserver"):
        with multiprocessing.get_context(method).Pool(2) as pool:
            print(method, pool.map(square, range(4)))
    print(asyncio.run(asyncio.sleep(0, "slept")))
    print(subprocess.run([sys.executable, "-c", "print('child')"], capture_output=True, text=True).stdout.strip())
    print(open(json.__file__).readline().strip()[:30], os.path.exists(json.__file__ + "x"), len(os.listdir(os.path.dirname(json.__file__))))
    import numpy
    try:
        numpy.linalg.inv(numpy.zeros((2, 2)))
    except numpy.linalg.LinAlgError as error:
        print(error, numpy.arange(4).sum())
    threading.Thread(target=lambda: [time.sleep(0.0001) for _ in iter(int, 1)], daemon=True).start()
    open(sys.argv[1], "w").write("written at the end")
"""

# The unwinder's question for the tables of an address: of the program, of libpython, and of none.
UNWINDER = """
import ctypes
find = ctypes.CDLL(None)._dl_find_object
find.argtypes = [ctypes.c_void_p, ctypes.c_void_p]
for address in (ctypes.cast(find, ctypes.c_void_p).value, ctypes.cast(ctypes.pythonapi.Py_GetVersion, ctypes.c_void_p).value, 16):
    found = (ctypes.c_uint64 * 12)()
    status = find(address, found)
    _, start, end, _, tables, *_ = found
    print(status, start <= address < end, tables != 0)
"""


@pytest.fixture(scope="module")
def program(pyox, old, tmp_path_factory):
    folder = tmp_path_factory.mktemp("program")
    write(folder / "app.py", PROGRAM)
    # That Python has no TLS to ask PyPI with.
    version = "".join(map(str, old.minor))
    run("python3", "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", f"--python-version={version}",
        "--platform=manylinux2014_x86_64", "--dest", folder, "numpy==2.2.6", timeout=300)
    (wheel,) = folder.glob("*.whl")
    return pyox.build(folder, old, folder / "app.py", "--with", wheel, "--exclude", "sqlite3", "--libpython", link=("--shape", "portable"))


@pytest.mark.parametrize(("root", "glibc"), (("bullseye", "2.31"), ("trixie", "2.41")))
def test_an_application_with_a_wheel(program, enter, root, glibc):
    folder = program.parent
    done = enter(root, program, folder / "out", bind=[folder])
    first, second, *others = done.stdout.splitlines()
    assert first == f"glibc {glibc}"
    assert second == f"(3, 13) {program}/lib/python3.13/json/__init__.py 0.25 3904355907"
    assert others == [
        *(f"{method} [0, 1, 4, 9]" for method in ("fork", "spawn", "forkserver")),
        "slept",
        "child",
        'r"""JSON (JavaScript Object No False 5',
        "Singular matrix 6",
    ]
    assert done.stderr == "" and (folder / "out").read_text() == "written at the end"


def test_its_needs_are_those_of_the_old_system(pyox, old, program):
    found = json.loads(pyox("inspect", "--portability", "--json", program).stdout)
    assert tuple(map(int, found["glibc"].split("."))) <= (2, 31)
    for most, status in (("2.31", 0), ("2.17", 2)):
        done = pyox("link", program.with_suffix(".blob"), "-d", old.document, "--shape", "portable", "--max-glibc", most, "-o", program.parent / "other", check=False)
        assert done.returncode == status, done.stderr


def test_the_unwinder_finds_its_tables(pyox, old, enter, tmp_path):
    """glibc before 2.35 has no function for it."""
    write(tmp_path / "app.py", UNWINDER)
    app = pyox.build(tmp_path, old, tmp_path / "app.py", "--libpython", link=("--shape", "portable"))
    expected = ["0 True True", "0 True True", "-1 False False"]
    assert run(app).stdout.splitlines() == expected
    assert enter("bullseye", app, bind=[tmp_path]).stdout.splitlines() == expected


def test_a_newer_libpython_is_named(pyox, host, enter, tmp_path):
    write(tmp_path / "app.py", "print('hello')\n")
    app = pyox.build(tmp_path, host, tmp_path / "app.py", "--libpython", link=("--shape", "portable"))
    done = enter("bullseye", app, bind=[tmp_path], check=False)
    assert done.returncode == 2
    assert re.fullmatch(r"app: error: python: /lib/\S+: version `GLIBC_2\.\d+' not found \(required by \S+/libpython3\.\d+\.so\.1\.0\)\n", done.stderr)
