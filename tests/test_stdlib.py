"""The standard library imports from memory as it does from disk, name by name."""

import json
import os
import shutil

import pytest

from chain import ask, require, run

# Imports every name, in this order, in one process, and tells how each went.
IMPORT_ALL = r"""
import importlib, json, os, sys, warnings
names = json.loads(sys.stdin.read())
os.environ["BROWSER"] = "true"          # antigravity opens one
report = os.dup(1)
os.dup2(os.open(os.devnull, os.O_RDWR), 0)
os.dup2(0, 1); os.dup2(0, 2)            # this prints
warnings.simplefilter("ignore")
sys.argv[:] = ["python"]
outcome = {}
for name in names:
    try:
        module = importlib.import_module(name)
    except BaseException as error:
        outcome[name] = [type(error).__name__, str(error) if isinstance(error, ImportError) else ""]
    else:
        module = sys.modules[name]
        spec = module.__spec__
        outcome[name] = ["imported", sorted(vars(module)), spec and spec.submodule_search_locations is not None]
os.write(report, json.dumps(outcome).encode()) and os._exit(0)
"""

# What the distribution's python can import from disk: files by the suffixes that it knows, and built-ins.
LIST_ALL = r"""
import importlib.machinery, json, os, sys
folders = [path for path in sys.path if os.path.isdir(path)]
names = set(sys.builtin_module_names)
for root in folders:
    for folder, below, files in os.walk(root):
        package = os.path.relpath(folder, root).replace(os.sep, ".").removeprefix(".")
        below[:] = [name for name in below if name.isidentifier() and name not in ("__pycache__", "site_packages")
                    and os.path.isfile(os.path.join(folder, name, "__init__.py"))]
        for file in files:
            for suffix in importlib.machinery.all_suffixes():
                if file.endswith(suffix):
                    name = file.removesuffix(suffix)
                    full = package if name == "__init__" else (package + "." + name if package else name)
                    if all(part.isidentifier() for part in full.split(".")) or "_sysconfigdata" in full:
                        names.add(full)
                    break
print(json.dumps(sorted(names)))
"""

# Written by the machinery around a module, not by the module; and what `site` brings to `builtins`.
MACHINERY = {"__cached__", "__loader__", "__spec__", "__file__", "__builtins__", "__path__", "__warningregistry__", "exit", "quit", "help"}


def is_left_out(name, manifest):
    """Whether the manifest's own report says that it was left out."""
    for entry in manifest["excluded"]:
        left = entry["name"].removeprefix("lib-dynload/").replace("/", ".")
        below = left.endswith((".*", "."))
        stem = left.removesuffix(".*").removesuffix(".")
        if name == stem or name == stem.removesuffix(".py") or (below and name.startswith(stem + ".")):
            return True
        if left.endswith(".so") and name == stem.split(".")[0]:
            return True
    return False


@pytest.fixture
def names(distribution, probe):
    """Every name that the distribution's python imports and pyox does not leave out by design."""
    manifest = json.loads((probe.parent / "probe.json").read_text())
    found = json.loads(distribution.run_python("-c", LIST_ALL).stdout)
    kept = [name for name in found if not is_left_out(name, manifest)]
    # The defaults leave out tests, IDLE and the like, tkinter where nothing imports it, and no more than that.
    allowed = ("tkinter", "_tkinter", "turtle", "test", "tests", "idlelib", "ensurepip", "turtledemo", "_test", "_ctypes_test", "_xxtestfuzz", "xx", "sitecustomize", "usercustomize")
    for name in set(found) - set(kept):
        assert any(part.startswith(allowed) for part in name.split(".")), name
    assert len(kept) > 500
    return kept


def test_every_module_imports_as_from_disk(distribution, probe, names):
    text = json.dumps(names)
    disk = json.loads(distribution.run_python("-c", IMPORT_ALL, input=text).stdout)
    memory = json.loads(run(probe, IMPORT_ALL, input=text).stdout)
    assert list(memory) == list(disk) == names
    differences = {}
    for name in names:
        one, other = disk[name], memory[name]
        if one[0] == other[0] == "imported":
            same = one[2] == other[2] and set(one[1]) - MACHINERY == set(other[1]) - MACHINERY
        else:
            same = one[0] == other[0]
        if not same:
            differences[name] = (one, other) if "imported" not in one[:1] + other[:1] else (
                one[0], other[0], sorted(set(map(str, one[1])) ^ set(map(str, other[1]))))
    assert differences == {}


def test_each_module_imports_alone(source, static_probe):
    """Each in a process of its own, because one module's import can hide what another lacks."""
    code = r"""
import json, os, sys
outcome = {}
def attempt(name):
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        null = os.open(os.devnull, os.O_RDWR)
        for number in 0, 1, 2:
            os.dup2(null, number)
        sys.argv[:] = ["python"]
        os.environ["BROWSER"] = "true"
        try:
            __import__(name)
            said = "imported"
        except BaseException as error:
            said = type(error).__name__
        os.write(write, said.encode())
        os._exit(0)
    os.close(write)
    with open(read, "rb") as stream:
        said = stream.read().decode()
    return said, os.waitpid(child, 0)[1]
for name in json.loads(sys.stdin.read()):
    outcome[name] = attempt(name)
print(json.dumps(outcome))
"""
    manifest = json.loads((static_probe.parent / "probe.json").read_text())
    names = json.loads(source.run_python("-c", LIST_ALL).stdout)
    text = json.dumps([name for name in names if not is_left_out(name, manifest)])
    disk = json.loads(source.run_python("-c", code, input=text).stdout)
    memory = json.loads(run(static_probe, code, input=text).stdout)
    assert {n: (disk[n], memory[n]) for n in disk if disk[n] != memory[n]} == {}


# Each does something that needs the module's native part or its data.
IN_AN_EMPTY_ROOT = r"""
import asyncio, bz2, ctypes, decimal, hashlib, json, lzma, multiprocessing, socket, sqlite3, ssl, threading
import unicodedata, uuid, xml.etree.ElementTree as ET, zlib, zoneinfo
import os, sys

assert set(os.listdir("/")) <= {"app"}, os.listdir("/")
done = {}
done["ssl"] = ssl.create_default_context().check_hostname and ssl.OPENSSL_VERSION.startswith("OpenSSL")
left, right = ssl.MemoryBIO(), ssl.MemoryBIO()
tls = ssl.create_default_context().wrap_bio(left, right, server_hostname="example.org")
try:
    tls.do_handshake()
except ssl.SSLWantReadError:
    done["hello"] = right.read()[0] == 22
done["sqlite3"] = sqlite3.connect(":memory:").execute("select sqrt(16) + json_extract('{\"a\": 3}', '$.a')").fetchone()[0]
callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int)(lambda number: number + 1)
done["ctypes"] = callback(41)
async def main():
    loop = asyncio.get_running_loop()
    server = await asyncio.start_server(lambda r, w: (w.write(b"pong"), w.close()), "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    answer = await reader.read()
    writer.close()
    return answer.decode(), await loop.run_in_executor(None, lambda: 5)
done["asyncio"] = asyncio.run(main())
done["lzma"] = lzma.decompress(lzma.compress(b"x" * 1000)) == bz2.decompress(bz2.compress(b"x" * 1000))
try:
    zoneinfo.ZoneInfo("Europe/Berlin")
except zoneinfo.ZoneInfoNotFoundError:
    done["zoneinfo"] = "no data, as in a root without any"
done["utc"] = str(zoneinfo.ZoneInfo.from_file(__import__("io").BytesIO(
    b"TZif2" + bytes(15) + b"\0\0\0\0" * 3 + b"\0\0\0\0" + b"\0\0\0\1" + b"\0\0\0\4" + b"\0\0\0\0\0\0UTC\0"
    + b"TZif2" + bytes(15) + b"\0\0\0\0" * 3 + b"\0\0\0\0" + b"\0\0\0\1" + b"\0\0\0\4" + b"\0\0\0\0\0\0UTC\0" + b"\nUTC0\n"), key="UTC"))
def work(connection):
    connection.send(os.getpid())
here, there = multiprocessing.get_context("fork").Pipe()
process = multiprocessing.get_context("fork").Process(target=work, args=(there,))
process.start(); answer = here.recv(); process.join()
done["multiprocessing"] = answer == process.pid and process.exitcode == 0
done["xml"] = ET.fromstring("<a><b>text</b></a>").findtext("b")
done["decimal"] = str(decimal.Decimal(2).sqrt())
done["hashlib"] = hashlib.new("sha3_256", b"").hexdigest()[:8]
done["unicodedata"] = unicodedata.lookup("SNOWMAN")
print(json.dumps(done))
"""


def empty_root(executable, *arguments, root, **options):
    """Runs a copy of the executable in a root folder that holds nothing else: no /proc, no /dev, no libc."""
    require("chroot")
    root.mkdir()
    shutil.copy(executable, root / "app")
    command = ("chroot", root, "/app", *arguments)
    if os.geteuid() != 0:
        command = ("unshare", "--map-root-user", *command)
    return run(*command, **options)


def test_a_static_executable_runs_in_an_empty_root(static_probe, tmp_path):
    done = json.loads(empty_root(static_probe, IN_AN_EMPTY_ROOT, root=tmp_path / "root").stdout)
    assert done == {
        "ssl": True,
        "hello": True,
        "sqlite3": 7.0,
        "ctypes": 42,
        "asyncio": ["pong", 5],
        "lzma": True,
        "zoneinfo": "no data, as in a root without any",
        "utc": "UTC",
        "multiprocessing": True,
        "xml": "text",
        "decimal": "1.414213562373095048801688724",
        "hashlib": "a7ffc6f8",
        "unicodedata": "☃",
    }


def test_the_empty_root_is_left_empty(static_probe, tmp_path):
    empty_root(static_probe, "import json, tempfile; print(1)", root=tmp_path / "root")
    assert [path.name for path in (tmp_path / "root").iterdir()] == ["app"]


def test_name_resolution_without_loader(static_probe):
    """A static libc resolves numeric and well-known names without any shared object of the platform."""
    code = "import json, socket; print(json.dumps(sorted({a[4][0] for a in socket.getaddrinfo('localhost', 80)})))"
    assert "127.0.0.1" in ask(static_probe, code)
