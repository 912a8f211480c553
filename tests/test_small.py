"""Small executables: everything compressed, and what a program sees is the same."""

import hashlib
import json
import shutil
import struct
import zlib

import pytest

from chain import REPOSITORY, ask, compare, run, write

HELLO = REPOSITORY / "examples/hello.py"
MB = 1_000_000


@pytest.fixture(scope="session")
def small(pyox, probe_source, tmp_path_factory):
    """Gives the small probe for a distribution; each is built once."""
    known = {}

    def build(distribution, *link):
        key = (distribution.spec, link)
        if key not in known:
            folder = tmp_path_factory.mktemp("small")
            collect = (probe_source / "probe.py", probe_source / "shelf", "--path", probe_source / "path")
            options = ("--with", "rich==14.2.0", "--interpreter")
            manifest = pyox.manifest(folder, distribution, *collect, *options, name="probe")
            known[key] = packed(pyox, folder / "probe", manifest, distribution, *link)
        return known[key]

    return build


def packed(pyox, path, manifest, distribution, *link):
    """A small executable of a manifest."""
    blob = path.with_suffix(".blob")
    pyox("pack", "--small", manifest, "-d", distribution.document, "-o", blob)
    pyox("link", blob, "-d", distribution.document, *link, "-o", path)
    return path


def hello(pyox, folder, distribution, *collect, link=()):
    manifest = pyox.manifest(folder, distribution, HELLO, *collect, name="hello")
    executable = packed(pyox, folder / "hello", manifest, distribution, *link)
    assert run(executable).stdout == run(distribution.python, HELLO).stdout
    return executable.stat().st_size


# --- How small ------------------------------------------------------------------


def test_a_static_hello(pyox, source, tmp_path):
    assert hello(pyox, tmp_path, source, link=["--static"]) <= 12 * MB


def test_a_static_hello_without_sources(pyox, source, tmp_path):
    assert hello(pyox, tmp_path, source, "--optimize", "2", "--no-sources", link=["--static"]) <= 9 * MB


def test_hello_on_an_installed_python(pyox, host, tmp_path):
    assert hello(pyox, tmp_path, host) <= 20 * MB


def test_the_driver(driver, tmp_path):
    """By an option or by a setting; the second build finds the first."""
    sizes = {}
    for name, text, options in (("plain", "", ()), ("told", "", ("--small",)), ("set", "small = true\n", ())):
        folder = tmp_path / name
        write(folder / "app.py", "print('small')\n")
        write(folder / "pyox.toml", text + '[programs]\napp = "app.py"\n')
        for _ in range(2):
            driver("build", *options, "-o", folder / "made", cwd=folder)
        assert run(folder / "made").stdout == "small\n"
        sizes[name] = (folder / "made").stat().st_size
    assert sizes["told"] == sizes["set"] < sizes["plain"] - 5 * MB


def test_nothing_and_everything_at_once_is_refused(pyox, source, tmp_path):
    done = pyox("pack", "--small", "--no-compress", tmp_path / "none.json", check=False)
    assert done.returncode == 2 and "--no-compress" in done.stderr and "--small" in done.stderr


# --- What a program sees --------------------------------------------------------


def test_all_of_the_standard_library(small, probes, each_minor):
    """Each module, its source, and the bytes of its file."""
    code = """
    import hashlib, importlib, io, json, pkgutil, sys, warnings
    from contextlib import redirect_stderr, redirect_stdout
    warnings.simplefilter("ignore")
    folder = __import__("os").path.dirname(json.__file__).rsplit("/", 1)[0]
    found = {}
    for name in sorted(sys.stdlib_module_names - {"antigravity", "this", "idlelib", "__main__"}):
        try:
            with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
                module = importlib.import_module(name)
        except ImportError as error:
            found[name] = type(error).__name__
            continue
        file = getattr(module, "__file__", None) or ""
        if file.startswith(folder) and file.endswith(".py"):
            with open(file, "rb") as stream:
                data = stream.read()
            source = importlib.util.find_spec(name).loader.get_source(name) or ""
            found[name] = [hashlib.sha256(data).hexdigest(), hashlib.sha256(source.encode()).hexdigest()]
    print(json.dumps(found))
    """
    ours = ask(small(each_minor), code)
    assert ours == ask(probes(each_minor), code)
    assert len([name for name, found in ours.items() if len(found) == 2]) > 100
    for name in "json", "asyncio", "email", "xml":
        text = (each_minor.stdlib / name / "__init__.py").read_bytes()
        assert ours[name] == 2 * [hashlib.sha256(text).hexdigest()]


SCRIPTS = {
    "tracebacks": """
        import json, subprocess, traceback
        try:
            json.loads("{")
        except ValueError:
            traceback.print_exc()
        subprocess.run(["nothing-of-that-name"])
        """,
    "sources": """
        import inspect, json.decoder, textwrap
        print(inspect.getsource(json.decoder.JSONDecoder.decode), inspect.getsourcelines(textwrap.dedent)[1])
        """,
    "processes": """
        import concurrent.futures, multiprocessing
        def square(number):
            import decimal
            return decimal.Decimal(number) ** 2
        if __name__ == "__main__":
            for method in "fork", "spawn", "forkserver":
                with concurrent.futures.ProcessPoolExecutor(2, multiprocessing.get_context(method)) as pool:
                    print(method, *pool.map(square, range(9)))
        """,
    "threads": """
        import threading
        names = "json", "csv", "email.message", "xml.dom.minidom", "asyncio", "unittest.mock", "logging.handlers", "html.parser"
        threads = [threading.Thread(target=__import__, args=[name]) for name in names]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        import sys
        print([name in sys.modules for name in names])
        """,
    "forks": """
        import os
        for name in "json", "tomllib", "html":
            if os.fork() == 0:
                print(__import__(name).__name__, flush=True)
                os._exit(0)
            os.wait()
        """,
    "libraries": """
        import bz2, ctypes, decimal, hashlib, lzma, sqlite3, ssl, subprocess, sys, xml.etree.ElementTree, zlib
        print(ssl.create_default_context().verify_mode, ssl.OPENSSL_VERSION)
        rows = sqlite3.connect(":memory:").execute("select sum(value) from json_each('[1,2,3]')").fetchall()
        print(rows, ctypes.pythonapi.Py_IsInitialized(), decimal.Decimal(2).sqrt(), hashlib.sha3_256(b"").hexdigest())
        print([len(kind.compress(b"a" * 1000)) for kind in (bz2, lzma, zlib)], xml.etree.ElementTree.fromstring("<a><b/></a>")[0].tag)
        print(subprocess.run([sys.executable, "-c", "import sys; print(sys.argv)", "one"], capture_output=True, text=True).stdout)
        callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int)(lambda number: number + 1)
        print(callback(41))
        try:
            ssl.create_default_context(cadata="nothing")
        except ssl.SSLError as error:
            print(error)
        """,
    "interpreters": """
        import sys
        if sys.version_info >= (3, 13):
            import _interpreters as interpreters
        else:
            import _xxsubinterpreters as interpreters
        for _ in range(3):
            number = interpreters.create()
            interpreters.run_string(number, "import textwrap, calendar; print(textwrap.dedent('  a'), calendar.__name__, flush=True)")
            interpreters.destroy(number)
        """,
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_as_python(pyox, each_minor, name, tmp_path):
    script = write(tmp_path / "app.py", SCRIPTS[name])
    manifest = pyox.manifest(tmp_path, each_minor, script)
    (tmp_path / "made").mkdir()
    executable = packed(pyox, tmp_path / "made/app", manifest, each_minor)
    compare(executable, each_minor.python, script)


def test_resources(small, probes, each_minor):
    questions = (
        "import json, pkgutil; print(json.dumps([pkgutil.get_data('shelf', name).hex() for name in ('note.txt', 'empty.bin', 'large.bin')]))",
        "import json; from importlib import resources; print(json.dumps((resources.files('shelf') / 'folder/nested/leaf.txt').read_text()))",
        "import json; from importlib import metadata; print(json.dumps([str(metadata.version('rich')), len(metadata.files('rich'))]))",
        "import json, pkgutil, shelf; print(json.dumps([m.name for m in pkgutil.walk_packages(shelf.__path__)]))",
        "import json, os, shelf; print(json.dumps([os.stat(os.path.join(os.path.dirname(shelf.__file__), f)).st_size for f in sorted(os.listdir(os.path.dirname(shelf.__file__))) if f != 'folder' and f != 'inner']))",
        "import json, rich.table, rich.markdown; print(json.dumps(rich.table.__name__))",
    )
    for question in questions:
        assert ask(small(each_minor), question) == ask(probes(each_minor), question)


def test_modules_without_sources(pyox, each_minor, tmp_path):
    """Where a module lies is then told by its code, which is in a group."""
    script = write(tmp_path / "app.py", """
        import email.message, importlib.util, json, pkgutil, sys, xml.dom
        print(json.__file__.removeprefix(sys.executable), [m.name for m in pkgutil.iter_modules(email.__path__)][:4])
        print(importlib.util.find_spec("xml.sax").origin.removeprefix(sys.executable), xml.dom.__path__ == [xml.dom.__file__.rsplit("/", 1)[0]])
        """)
    manifest = pyox.manifest(tmp_path, each_minor, script, "--no-sources", "--optimize", "2")
    outputs = []
    for name, options in (("usual", ()), ("small", ("--small",))):
        pyox("pack", *options, manifest, "-o", tmp_path / f"{name}.blob")
        (tmp_path / name).mkdir()
        pyox("link", tmp_path / f"{name}.blob", "-o", tmp_path / name / "app")
        outputs.append(run(tmp_path / name / "app").stdout)
    assert outputs[0] == outputs[1] and "/json/__init__.py" in outputs[0]


def test_native_wheels(pyox, host, tmp_path):
    script = write(tmp_path / "app.py", "import numpy\nprint(numpy.linalg.inv(numpy.eye(3) * 2), numpy.__file__.startswith(__import__('sys').executable))\n")
    manifest = pyox.manifest(tmp_path, host, script, "--with", "numpy==1.26.4")
    (tmp_path / "made").mkdir()
    executable = packed(pyox, tmp_path / "made/app", manifest, host)
    assert run(executable).stdout.split() == "[[0.5 0. 0. ] [0. 0.5 0. ] [0. 0. 0.5]] True".split()
    usual = tmp_path / "usual.blob"
    pyox("pack", manifest, "-o", usual)
    assert usual.stat().st_size > 2 * executable.with_suffix(".blob").stat().st_size


def test_files_in_the_cache(pyox, host, home, tmp_path):
    """Those of a package with a placement are read from groups as well."""
    write(tmp_path / "kit/__init__.py", "")
    write(tmp_path / "kit/part.py", "VALUE = 7\n")
    write(tmp_path / "kit/note.txt", "a note\n")
    script = write(tmp_path / "app.py", "import kit.part\nprint(kit.part.VALUE, open(kit.__path__[0] + '/note.txt').read(), end='')\n")
    manifest = pyox.manifest(tmp_path, host, script, tmp_path / "kit", "--placement", "kit=cache")
    (tmp_path / "made").mkdir()
    executable = packed(pyox, tmp_path / "made/app", manifest, host)
    environment, cache = home
    assert run(executable, env=environment).stdout == "7 a note\n"
    assert [path.read_text() for path in cache.rglob("note.txt")] == ["a note\n"]


def test_with_a_snapshot(pyox, small, source, tmp_path):
    """What is imported beforehand is not decoded at all, and the rest is as ever."""
    executable = small(source, "--static")
    pyox("snapshot", executable, "-o", tmp_path / "probe")
    question = "import json, inspect, shelf.book, textwrap; print(json.dumps([inspect.getsource(shelf.book), textwrap.dedent(' a')]))"
    assert ask(tmp_path / "probe", question) == ask(executable, question)
    pyox("inspect", "--check", tmp_path / "probe")


# --- A compressed runner --------------------------------------------------------

# Where it lies: docs/formats/runner.md.
RUNNER = 0x5F100000


@pytest.fixture(scope="module")
def compressed(pyox, source, tmp_path_factory):
    """A static executable that runs the code that it is given."""
    script = "import sys\nexec(sys.argv[1])\n"
    return pyox.build_script(tmp_path_factory.mktemp("compressed"), source, script, pack=["--small"], link=["--static"])


def runner_in(path):
    """Where the compressed runner begins in the file, and its bytes, found by its program header."""
    data = path.read_bytes()
    start, size, count = struct.unpack_from("<Q", data, 32)[0], *struct.unpack_from("<HH", data, 54)
    for number in range(count):
        kind, _, offset, address, _, length = struct.unpack_from("<IIQQQQ", data, start + number * size)
        if kind == 1 and address == RUNNER:
            return offset, data[offset : offset + length]
    raise AssertionError("it has no compressed runner")


def test_the_process_is_that_of_the_runner(compressed):
    """Program headers, rights of pages and addresses are the linker's; nothing of the unpacker's work is left."""
    code = """if True:
        import ctypes, json, struct, sys
        elf = int(sys.argv[2])
        start, size, count = struct.unpack_from("<Q", ctypes.string_at(elf, 64), 32)[0], *struct.unpack_from("<HH", ctypes.string_at(elf, 64), 54)
        headers = [struct.unpack("<IIQQQQQQ", ctypes.string_at(elf + start + number * size, size)) for number in range(count)]
        maps = []
        for line in open("/proc/self/maps"):
            first, second = (int(end, 16) for end in line.split()[0].split("-"))
            maps.append((first, second, line.split()[1]))
        print(json.dumps([headers, maps]))
    """
    _, runner = runner_in(compressed)
    (elf,) = struct.unpack_from("<Q", runner, 24)
    headers, maps = json.loads(run(compressed, code, str(elf)).stdout)

    def rights(address, length):
        return {rights[:3] for start, end, rights in maps if start < address + length and address < end}

    load, relro = 1, 0x6474E552
    (closed,) = [(address, length) for kind, _, _, address, _, _, length, _ in headers if kind == relro]
    assert rights(*closed) == {"r--"}
    segments = [(flags, address, length) for kind, flags, _, address, _, _, length, _ in headers if kind == load]
    assert len(segments) >= 6 and {4, 5, 6} == {flags for flags, *_ in segments}
    for flags, address, length in segments:
        expected = {4: {"r--"}, 5: {"r-x"}, 6: {"rw-", "r--"}}[flags]
        assert rights(address, length) <= expected and rights(address, length), (flags, hex(address))
    assert not any("w" in rights and "x" in rights for *_, rights in maps)
    assert rights(RUNNER, len(runner)) == set()


def denying(*calls):
    """Code that denies the process such system calls, as systemd does for a service, and becomes another program. Of `mprotect` those that
    make memory code."""
    return f"""if True:
        import ctypes, os, struct, sys
        program = [(0x20, 0, 0, 0)]
        for call in {calls}:
            if call == 10:
                program += [(0x15, 0, 3, call), (0x20, 0, 0, 32), (0x45, 0, 1, 4), (6, 0, 0, 0x50001), (0x20, 0, 0, 0)]
            else:
                program += [(0x15, 0, 1, call), (6, 0, 0, 0x50001)]
        program.append((6, 0, 0, 0x7FFF0000))
        code = b"".join(struct.pack("HBBI", *one) for one in program)
        buffer = ctypes.create_string_buffer(code)
        filter = struct.pack("HxxxxxxQ", len(program), ctypes.addressof(buffer))
        prctl = ctypes.CDLL(None, use_errno=True).prctl
        assert prctl(38, 1, 0, 0, 0) == 0 and prctl(22, 2, filter, 0, 0) == 0, ctypes.get_errno()
        os.execv(sys.argv[1], sys.argv[1:])
    """


MPROTECT, MEMFD_CREATE = 10, 319


def test_where_what_was_written_cannot_become_code(compressed, source):
    """The pages of a file in memory do; without one it is an error that says so."""
    maps = "print(open('/proc/self/maps').read())"
    lines = run(source.python, "-c", denying(MPROTECT), compressed, maps).stdout.splitlines()
    assert [line for line in lines if "r-xp" in line and "/memfd:runner" in line]
    done = run(source.python, "-c", denying(MPROTECT, MEMFD_CREATE), compressed, maps, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "app: error: executable: the system lets nothing that was written become code: link it without `--small`\n"


def test_too_little_memory_to_unpack_it(compressed):
    done = run("sh", "-c", 'ulimit -v 15000; exec "$0" "print(1)"', compressed, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("app: error: executable: the system gives no ") and done.stderr.count("\n") == 1
    assert run("sh", "-c", 'ulimit -v 60000; exec "$0" "print(1)"', compressed).stdout == "1\n"


def test_a_damaged_runner(pyox, compressed, tmp_path):
    """No instruction of it runs; the tools find it as well."""
    offset, runner = runner_in(compressed)
    count, _, _ = struct.unpack_from("<IQQ", runner, 12)
    whole = compressed.read_bytes()
    records = [struct.unpack_from("<QQQQQII", runner, 72 + 48 * number) for number in range(count)]
    loaded = [(frame, length) for address, _, _, frame, length, _, _ in records if address]
    assert len(loaded) >= 5
    for place in [0, 8, 12, 20, 40, 64, 75, *(frame + length // 2 for frame, length in loaded)]:
        damaged = bytearray(whole)
        damaged[offset + place] ^= 1
        path = tmp_path / "damaged"
        path.write_bytes(damaged)
        shutil.copymode(compressed, path)
        done = run(path, "print(1)", check=False)
        assert (done.returncode, done.stdout, done.stderr) == (2, "", "damaged: error: executable: its compressed runner is damaged\n")
        if place >= 12:
            check = pyox("inspect", "--check", path, check=False)
            assert check.returncode == 1 and "compressed runner" in check.stdout + check.stderr, place


def test_what_inspect_tells(pyox, compressed):
    _, runner = runner_in(compressed)
    told = json.loads(pyox("inspect", "--json", compressed).stdout)["executable"]
    (original,) = struct.unpack_from("<Q", runner, 16)
    assert told["mode"] == "static" and told["needed"] == []
    assert told["compressed"] == {"size": len(runner), "original_size": original, "sha256": runner[32:64].hex()}
    assert original > 2.5 * len(runner)
    (line,) = [line for line in pyox("inspect", compressed).stdout.splitlines() if line.split()[:1] == ["runner"]]
    assert "compressed, " in line and runner[32:38].hex() in line
    pyox("inspect", "--check", compressed)


def test_where_a_runner_is_not_compressed(pyox, source, compressed, tmp_path):
    """Loaded anywhere, it would have to be relocated: it stays as it is, and the tool says so."""
    blob = compressed.with_suffix(".blob")
    done = pyox("link", blob, "-d", source.document, "--static", "--pie", "-o", tmp_path / "app")
    assert done.stderr.count("the interpreter is not compressed") == 1 and "--pie" in done.stderr
    assert run(tmp_path / "app", "print(1)").stdout == "1\n"
    assert (tmp_path / "app").stat().st_size > 1.5 * compressed.stat().st_size


def test_a_snapshot_of_it_is_one_of_the_runner(pyox, source, compressed, tmp_path):
    """Which is then as it was linked. A snapshot of that is the same."""
    pyox("snapshot", compressed, "-o", tmp_path / "first")
    pyox("snapshot", tmp_path / "first", "-o", tmp_path / "second")
    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()
    assert run(tmp_path / "first", "print(1)").stdout == "1\n"


# --- Reproducible, and damaged --------------------------------------------------


def test_the_same_input_gives_the_same_bytes(pyox, source, tmp_path):
    manifest = pyox.manifest(tmp_path, source, HELLO)
    made = []
    for number in (1, 2):
        own = pyox.with_environment(PYOX_CACHE_DIR=str(tmp_path / f"cache{number}"))
        own("pack", "--small", manifest, "-d", source.document, "-j", str(number), "-o", tmp_path / f"{number}.blob")
        own("link", tmp_path / f"{number}.blob", "-d", source.document, "--static", "-o", tmp_path / f"{number}")
        made.append([(tmp_path / name).read_bytes() for name in (f"{number}.blob", f"{number}")])
    assert made[0] == made[1]


def groups(blob):
    """Offsets of the records of a blob's groups, and of their frames."""
    (count,) = struct.unpack_from("<I", blob, 12)
    for number in range(count):
        code, _, offset, length, _ = struct.unpack_from("<IIQQQ", blob, 64 + 32 * number)
        if code == 12:
            return [(record, struct.unpack_from("<QI", blob, record)) for record in range(offset, offset + length, 24)]
    raise AssertionError("it has no groups")


def test_a_damaged_group(pyox, source, tmp_path):
    """An import of what lies in it says so; all else goes on; the tools find it."""
    script = write(tmp_path / "app.py", """
        import sys
        try:
            import zipfile
        except ImportError as error:
            print(error)
        import json
        print(json.loads("[1]"))
        """)
    manifest = pyox.manifest(tmp_path, source, script)
    executable = packed(pyox, tmp_path / "app", manifest, source, "--static")
    blob = (tmp_path / "app.blob").read_bytes()
    listed = json.loads(pyox("inspect", "list", "--json", tmp_path / "app.blob").stdout)
    assert any(resource["name"] == "zipfile" for resource in (listed if isinstance(listed, list) else listed["resources"]))
    code_groups = [(frame, length) for _, (frame, length) in groups(blob)]
    whole = bytearray(executable.read_bytes())
    start = whole.find(blob[:64])
    said = set()
    for frame, length in code_groups[1:]:
        damaged = bytearray(whole)
        damaged[start + frame + length // 2] ^= 1
        path = tmp_path / "damaged"
        path.write_bytes(damaged)
        shutil.copymode(executable, path)
        done = run(path, check=False)
        if "blob: module zipfile: group" in done.stdout:
            said.add(done.stdout)
            assert "damaged: expected CRC-32" in done.stdout and done.stdout.endswith("[1]\n") and done.stderr == ""
            check = pyox("inspect", "--check", path, check=False)
            assert check.returncode == 1 and "group" in check.stdout + check.stderr
            break
    assert len(said) == 1


def test_a_group_that_announces_gigabytes(pyox, source, tmp_path):
    """It is refused by its record, before anything is decoded."""
    script = write(tmp_path / "app.py", "import zipfile\n")
    manifest = pyox.manifest(tmp_path, source, script)
    executable = packed(pyox, tmp_path / "app", manifest, source, "--static")
    blob = (tmp_path / "app.blob").read_bytes()
    whole = bytearray(executable.read_bytes())
    start = whole.find(blob[:64])
    for record, _ in groups(blob)[1:]:
        at = start + record
        whole[at + 12 : at + 16] = b"\xff\xff\xff\xff"
        whole[at + 20 : at + 24] = struct.pack("<I", zlib.crc32(whole[at : at + 20]))
    executable.write_bytes(whole)
    done = run("bash", "-c", f"ulimit -v 400000; exec {executable}", check=False)
    assert done.returncode == 1
    assert "expected a group of at most 16777216 bytes, got 4294967295" in done.stderr and "MemoryError" not in done.stderr
