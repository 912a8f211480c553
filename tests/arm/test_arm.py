"""Executables for 64-bit Arm: made on this machine, run by qemu in a root folder that has nothing of it."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from chain import REPOSITORY, cache_folder, certify, in_root, run, write
from github import HOSTS, GitHub
from test_releases import NEW, install_only, name_of, pack

TARGET = "aarch64-unknown-linux-gnu"
# A root folder of this machine that has a CPython of the same version.
NATIVE = {"forky-arm64": "forky-cross", "trixie-arm64": "trixie"}

APPLICATION = """
import asyncio, ctypes, decimal, hashlib, json, lzma, multiprocessing, os, platform, socket, sqlite3, ssl
import subprocess, sys, threading, time, zlib

def square(x):
    return x * x

def standard_library():
    print(platform.machine(), sys.version_info[:2], json.__file__.removeprefix(sys.executable))
    print(sqlite3.connect(":memory:").execute("select 6 * 7").fetchone(), decimal.Decimal(1) / 4, zlib.crc32(b"a"))
    print(hashlib.sha256(b"a").hexdigest()[:8], ssl.OPENSSL_VERSION.split()[0], len(ssl.create_default_context().get_ca_certs()) > 50)
    print(lzma.decompress(lzma.compress(b"lzma")))
    print(ctypes.CDLL(None).getpid() == os.getpid(), ctypes.pythonapi.PyLong_AsLong(ctypes.py_object(42)))
    print(asyncio.run(asyncio.sleep(0, "slept")))
    if sys.version_info >= (3, 14):
        from compression import zstd
        print(zstd.decompress(zstd.compress(b"zstd")))

def files():
    print(open(json.__file__).readline().strip()[:30], os.path.exists(json.__file__ + "x"))
    folder = os.path.dirname(json.__file__)
    print(sorted(os.listdir(folder)), os.stat(json.__file__).st_size == len(open(json.__file__, "rb").read()))

def children():
    for method in ("fork", "spawn", "forkserver"):
        with multiprocessing.get_context(method).Pool(2) as pool:
            print(method, pool.map(square, range(4)), flush=True)
    code = "import sys, json; print('child', sys.argv[1:], json.loads('[1]'))"
    print(subprocess.run([sys.executable, "-c", code, "x"], capture_output=True, text=True).stdout.strip())
    print(subprocess.run(f"{sys.executable} -c 'print(7)'; true", shell=True, capture_output=True, text=True).stdout.strip())

def wheel():
    import numpy
    try:
        numpy.linalg.inv(numpy.zeros((2, 2)))
    except numpy.linalg.LinAlgError as error:
        print(error, numpy.arange(4).sum(), numpy.linalg.det(numpy.eye(3)))
    print(numpy.fft.fft(numpy.ones(4)).real.tolist(), numpy.random.default_rng(1).integers(10) < 10)

def pages():
    print(os.sysconf("SC_PAGE_SIZE"))

def end():
    threading.Thread(target=lambda: [time.sleep(0.001) for _ in iter(int, 1)], daemon=True).start()
    open(sys.argv[2], "w").write("written at the end")

if __name__ == "__main__":
    globals()[sys.argv[1]]()
"""

# What the wheel says.
WHEEL = ["Singular matrix 6 1.0", "[4.0, 0.0, 0.0, 0.0] True"]

# A library that is in the blob alone, opened by C code with its path.
LOADER = """
import ctypes, sqlite3, sys
found = ctypes.CDLL(f"{sys.executable}/lib/libsqlite3.so.0").sqlite3_libversion
found.restype = ctypes.c_char_p
print(found().decode() == sqlite3.sqlite_version)
"""


@pytest.fixture(scope="session")
def program(pyox, arm, tmp_path_factory):
    """The application, with a wheel that pip picks for the machine that it is for."""
    folder = tmp_path_factory.mktemp("program")
    write(folder / "app.py", APPLICATION)
    done = {}
    for stage, *options in (
        ("collect", "-d", arm.document, "app.py", "--with", "numpy==2.3.5", "-o", "app.json"),
        ("pack", "app.json", "-d", arm.document, "-o", "app.blob"),
        ("link", "app.blob", "-d", arm.document, "--target", TARGET, "-o", "app"),
    ):
        done[stage] = run(pyox.tool(stage), *options, cwd=folder, env=pyox.environment)
    assert done["link"].stderr == f"pyox-link: note: portable: it is for {TARGET}\n"
    return folder / "app"


def ask(root, program, *arguments):
    done = in_root(root, program, *arguments, bind=[program.parent])
    assert done.stderr == ""
    return done.stdout.splitlines()


def test_hello_in_a_folder_without_a_python(pyox, arm, tmp_path):
    app = pyox.build(tmp_path, arm, REPOSITORY / "examples/hello.py", name="hello")
    assert app.read_bytes()[18:20] == (183).to_bytes(2, "little")
    hidden = f"mv /usr/bin/{arm.name} /usr/bin/gone && rm -r /usr/lib/{arm.name} /usr/lib/aarch64-linux-gnu/libpython* && exec {app}"
    assert in_root(arm.root, "sh", "-c", hidden, bind=[tmp_path]).stdout == "Hello, world\n"


def test_the_standard_library(program, arm):
    assert ask(arm.root, program, "standard_library") == [
        f"aarch64 {arm.minor} /lib/{arm.name}/json/__init__.py",
        "(42,) 0.25 3904355907",
        "ca978112 OpenSSL True",
        "b'lzma'",
        "True 42",
        "slept",
        *(["b'zstd'"] if arm.minor >= (3, 14) else []),
    ]


def test_packed_files(program, arm):
    first, second = ask(arm.root, program, "files")
    assert first == 'r"""JSON (JavaScript Object No False'
    names = sorted(path.name for path in (arm.stdlib / "json").glob("*.py"))
    assert "decoder.py" in names and second == f"{names} True"


def test_children(program, arm):
    assert ask(arm.root, program, "children") == [*(f"{method} [0, 1, 4, 9]" for method in ("fork", "spawn", "forkserver")), "child ['x'] [1]", "7"]


def test_a_wheel(program, arm):
    assert ask(arm.root, program, "wheel") == WHEEL


def test_pages_of_64_kib(program, arm):
    """As kernels of some distributions for that machine have them."""
    root = Path(arm.json["root"]).parent
    large = ("qemu-aarch64-static", "-p", "65536", "-L", root, program)
    assert run(*large, "pages").stdout == "65536\n"
    assert run(*large, "wheel").stdout.splitlines() == WHEEL


def test_the_end(program, arm):
    out = program.parent / "out"
    assert ask(arm.root, program, "end", out) == [] and out.read_text() == "written at the end"


def test_c_code_opens_a_packed_library(pyox, arm, tmp_path):
    write(tmp_path / "app.py", LOADER)
    app = pyox.build(tmp_path, arm, tmp_path / "app.py")
    assert ask(arm.root, app) == ["True"]


def test_what_is_seen_of_it_here(pyox, arm, program):
    found = json.loads(pyox("inspect", "--portability", "--json", program).stdout)
    # The runner needs 2.28, the wheel too; that Python is of the newest Debian.
    assert tuple(map(int, found["glibc"].split("."))) >= (2, 38)
    pyox("inspect", "--check", program)
    runner = REPOSITORY / f"target/runtime/{TARGET}/{arm.tag}/portable-runner"
    newest = subprocess.run(["readelf", "-VW", runner], capture_output=True, text=True, check=True).stdout
    assert "GLIBC_2.17" in newest and "GLIBC_2.29" not in newest and "GLIBC_2.3" not in newest
    assert str(REPOSITORY).encode() not in runner.read_bytes()


def test_the_same_application_gives_the_same_bytes(pyox, arm, tmp_path):
    script = write(tmp_path / "app.py", "print('twice')\n")
    one, other = (pyox.build(tmp_path, arm, script, name=name) for name in ("one", "other"))
    assert one.read_bytes() == other.read_bytes()


def test_a_python_of_this_machine_compiles_the_same(pyox, arm, tmp_path):
    """The whole standard library, with a cache that knows nothing."""
    emulated = pyox.blob(tmp_path, arm, REPOSITORY / "examples/hello.py")
    native, cache = tmp_path / "native.blob", tmp_path / "cache"
    command = (pyox.tool("pack"), tmp_path / "app.json", "-d", arm.document, "--compile-with", f"/usr/bin/{arm.name}", "-o", native)
    in_root(NATIVE[arm.root], "env", f"PYOX_CACHE_DIR={cache}", *command, bind=[tmp_path, arm.document.parent, arm.json["root"]])
    assert len(list((cache / "bytecode").rglob("*"))) > 500
    assert native.read_bytes() == emulated.read_bytes()


def test_pip_of_this_machine_picks_wheels_for_the_other(pyox, arm, tmp_path):
    """Without an emulator: the tags follow from the document."""
    document = arm.json | {"paths": arm.json["paths"] | {"executable": "bin/absent"}}
    (tmp_path / "dist.json").write_text(json.dumps(document))
    write(tmp_path / "app.py", "import markupsafe\n")
    pyox("collect", "-d", tmp_path / "dist.json", tmp_path / "app.py", "--with", "markupsafe==3.0.3", "-o", tmp_path / "app.json")
    manifest = json.loads((tmp_path / "app.json").read_text())
    modules = [r["location"] for r in manifest["resources"] if r["project"] == "markupsafe" and r["kind"] == "extension-module"]
    assert modules == [f"lib/{arm.name}/site-packages/markupsafe/_speedups.cpython-{arm.tag[2:]}-aarch64-linux-gnu.so"]


def test_a_release_for_the_other_machine(pyox, arm, tmp_path):
    """`cpython@… --target`, whose archive is asked by the emulator."""
    tree = install_only(arm, tmp_path / "tree", strip=False)
    # Those archives need nothing but the C library.
    for name in ("libexpat.so.1", "libz.so.1"):
        shutil.copy(arm.python.parent.parent / "lib/aarch64-linux-gnu" / name, tree / "lib")
    server = GitHub(certify(tmp_path, *HOSTS))
    try:
        server.add(NEW, pack(tree, tmp_path / name_of(arm.version, NEW, target=TARGET)))
        environment = pyox.environment | server.environment | {"PYOX_CACHE_DIR": str(tmp_path / "cache")}
        spec = "cpython@{}.{}".format(*arm.minor)
        run(pyox.tool("fetch"), spec, "--target", TARGET, "-o", "dist.json", cwd=tmp_path, env=environment)
        # What was compiled before need not be compiled again.
        shutil.copytree(cache_folder() / "bytecode", tmp_path / "cache/bytecode")
        shutil.copy(REPOSITORY / "examples/hello.py", tmp_path)
        hello = ("--python", spec, "--target", TARGET, "hello.py", "-o", "hello")
        run(pyox.folder / "pyox", "build", *hello, cwd=tmp_path, env=environment)
    finally:
        server.close()
    document = json.loads((tmp_path / "dist.json").read_text())
    assert (document["target"], document["source"], document["python"]["version"]) == (TARGET, spec, arm.version)
    assert document["link"]["shared_libpython"]["path"] == f"lib/lib{arm.name}.so.1.0"
    assert f'target = "{TARGET}"' in (tmp_path / "pyox.lock").read_text()
    assert in_root(arm.root, tmp_path / "hello", bind=[tmp_path]).stdout == "Hello, world\n"
