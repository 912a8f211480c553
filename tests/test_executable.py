"""The executable as a file: its sections, what rewriting tools make of it, and what damage does to it."""

import json
import os
import re
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from chain import REPOSITORY, ask, require, run

HELLO = REPOSITORY / "examples/hello.py"
SECTION = ".pyox_blob"
# What a dynamic executable may need: the C library's family and the loader.
LIBC = re.compile(r"lib(c|m|dl|pthread|rt|util|gcc_s)\.so\.\d+|ld-linux.*\.so\.\d+")


@pytest.fixture(scope="module")
def static_hello(pyox, source, tmp_path_factory):
    return pyox.build(tmp_path_factory.mktemp("static"), source, HELLO, name="hello", link=["--static"])


@pytest.fixture(scope="module")
def dynamic_hello(pyox, host, tmp_path_factory):
    """With the extension modules of an installed Python in its blob, as shared objects."""
    return pyox.build(tmp_path_factory.mktemp("dynamic"), host, HELLO, name="hello", link=["--dynamic"])


@pytest.fixture(scope="module")
def small_hello(pyox, source, tmp_path_factory):
    """With a compressed runner."""
    return pyox.build(tmp_path_factory.mktemp("small"), source, HELLO, name="hello", pack=["--small"], link=["--static"])


@pytest.fixture(params=["static", "small", "dynamic"])
def hello(request):
    return request.getfixturevalue(f"{request.param}_hello")


def section(executable):
    """Offset and size of the blob's section in the file, and its flags, as readelf tells them."""
    require("readelf")
    lines = run("readelf", "--section-headers", "--wide", executable).stdout
    fields = re.search(rf"{re.escape(SECTION)} +PROGBITS +(.*)", lines).group(1).split()
    address, offset, size = (int(field, 16) for field in fields[:3])
    return address, offset, size, fields[4]


def segments(executable):
    """The loadable segments: (offset, address, size in the file, flags)."""
    lines = run("readelf", "--program-headers", "--wide", executable).stdout
    pattern = r"LOAD +(0x\w+) (0x\w+) 0x\w+ (0x\w+) 0x\w+ ([RWE ]{3})"
    return [(int(o, 16), int(a, 16), int(s, 16), f.strip()) for o, a, s, f in re.findall(pattern, lines)]


def test_the_blob_is_a_section_in_a_segment_of_its_own(hello):
    address, offset, size, flags = section(hello)
    assert flags == "A"
    assert (offset, address, size, "R") in segments(hello)
    assert offset % 4096 == 0 and address % 4096 == 0
    blob = hello.with_suffix(".blob").read_bytes()
    assert hello.read_bytes()[offset : offset + size] == blob
    assert blob.startswith(b"PYOXBLOB")


def test_no_segment_can_be_written_and_executed(hello):
    assert all("W" not in flags or "E" not in flags for *_, flags in segments(hello))


@pytest.mark.parametrize(
    "rewrite",
    [
        ["strip", "-o", "{new}", "{old}"],
        ["strip", "--strip-unneeded", "-o", "{new}", "{old}"],
        ["objcopy", "{old}", "{new}"],
        ["objcopy", "--remove-section=.comment", "{old}", "{new}"],
        ["objcopy", "--strip-all", "{old}", "{new}"],
    ],
    ids=" ".join,
)
def test_rewriting_tools_leave_it_running(hello, rewrite, tmp_path):
    require(rewrite[0])
    new = tmp_path / "new"
    run(*(part.format(old=hello, new=new) for part in rewrite))
    assert run(new).stdout == "Hello, world\n"
    _, offset, size, _ = section(new)
    assert new.read_bytes()[offset : offset + size] == hello.with_suffix(".blob").read_bytes()


def test_the_blob_can_be_taken_out_again(pyox, hello, tmp_path):
    require("objcopy")
    out = tmp_path / "out.blob"
    run("objcopy", "--dump-section", f"{SECTION}={out}", hello, tmp_path / "unused")
    assert out.read_bytes() == hello.with_suffix(".blob").read_bytes()
    pyox("inspect", "--check", out)


@pytest.mark.parametrize("which", ["static_hello", "small_hello"])
def test_a_static_executable_needs_no_loader(which, request):
    headers = run("readelf", "--program-headers", "--dynamic", request.getfixturevalue(which)).stdout
    assert "INTERP" not in headers and "NEEDED" not in headers


@pytest.mark.parametrize("which", ["dynamic_probe", "dynamic_hello"])
def test_a_dynamic_executable_needs_the_c_library_alone(which, request, distributions):
    needed = re.findall(r"NEEDED.*\[(.*)\]", run("readelf", "--dynamic", request.getfixturevalue(which)).stdout)
    assert "libc.so.6" in needed
    # An installed Python may lack an archive of a library; pyox-link says so. A source-built one has them all.
    assert [name for name in needed if not LIBC.fullmatch(name)] == []


def test_it_runs_without_proc(hello):
    """In a mount namespace where an empty folder lies over /proc."""
    require("unshare")
    namespace = ("unshare", "--mount") if os.geteuid() == 0 else ("unshare", "--mount", "--map-root-user")
    script = 'mount -t tmpfs none /proc && ! test -e /proc/self && exec "$0"'
    assert run(*namespace, "sh", "-ec", script, hello).stdout == "Hello, world\n"


def test_it_runs_under_any_name_and_from_anywhere(hello, tmp_path):
    """Moved, linked, without read permission for what is around it, and with a bent argv[0]."""
    place = tmp_path / "a folder, größer"
    place.mkdir()
    shutil.copy(hello, place / "moved here")
    (tmp_path / "link").symlink_to(place / "moved here")
    for command in (place / "moved here", tmp_path / "link"):
        assert run(command).stdout == "Hello, world\n"
    for name in ("", "hello", "/nowhere/python", "\udcff"):
        done = subprocess.run(["bash", "-c", 'exec -a "$1" "$2"', "-", name, place / "moved here"], cwd="/", capture_output=True)
        assert (done.returncode, done.stdout) == (0, b"Hello, world\n"), done.stderr


def test_it_runs_with_any_descriptors_closed(hello):
    """As daemons start programs."""
    for closed in ("<&-", ">&-", "2>&-", "<&- >&- 2>&-"):
        done = subprocess.run(["sh", "-c", f'"$0" {closed}', hello], capture_output=True, timeout=60)
        assert done.returncode == 0, (closed, done.stderr)


def test_no_path_of_the_building_machine_is_in_it(pyox, static_hello, small_hello, source, tmp_path, tmp_path_factory):
    """Neither in the executable's bytes nor in what is compressed in them."""
    cargo = os.environ.get("CARGO_HOME", Path.home() / ".cargo")
    cache = os.environ.get("PYOX_CACHE_DIR", Path.home() / ".cache")
    places = {REPOSITORY, Path.home(), cargo, cache, tmp_path_factory.getbasetemp(), source.json["root"]}
    pyox("inspect", "extract", static_hello, "-C", tmp_path / "all")
    everything = {path.parent.name: path.read_bytes() for path in (static_hello, small_hello)}
    for path in (tmp_path / "all").rglob("*"):
        if path.is_file():
            everything[path.relative_to(tmp_path / "all").as_posix()] = path.read_bytes()
    assert len(everything) > 500 and any(path.endswith("/json/decoder.py") for path in everything)
    found = set()
    for name, data in everything.items():
        for place in map(bytes, map(Path, places)):
            # `/root` alone is an example in CPython's documentation; `/root/` would be a path.
            if place + b"/" in data:
                at = data.index(place + b"/")
                found.add((name, data[at : at + 80]))
    assert found == set()


# --- Damage: an error, never a crash ------------------------------------------


def outcome(executable):
    """Exit status and stderr; a signal shows as a negative status."""
    done = subprocess.run([executable], capture_output=True, timeout=60, stdin=subprocess.DEVNULL)
    return done.returncode, done.stdout, done.stderr.decode(errors="replace")


def is_clean(status, output, errors):
    """Whether it ended as a program ends: all is well, or an error that is told."""
    if status == 0:
        return output == b"Hello, world\n"
    return status in (1, 2) and ("error: " in errors or "Error: " in errors) and "panicked" not in errors


def test_a_file_that_was_cut_short(pyox, hello, tmp_path):
    """At every region of the blob. What is cut off is never read, because that would be a SIGBUS."""
    whole = hello.read_bytes()
    _, offset, size, _ = section(hello)
    blob = whole[offset : offset + size]
    count = struct.unpack_from("<I", blob, 12)[0]
    lengths = {0, 1, 7, 8, 63, 64, 65, 4095, 4096, 4097, size // 2, size - 4096, size - 1}
    for number in range(count):
        start, length = struct.unpack_from("<QQ", blob, 64 + 32 * number + 8)
        lengths |= {start, start + 1, start + length // 2, start + length}
    cut = tmp_path / "cut"
    shutil.copy(hello, cut)
    seen = set()
    for length in sorted(lengths - {size}, reverse=True):
        os.truncate(cut, offset + length)
        status, output, errors = outcome(cut)
        if size - length < 4096 and status == 0:
            # The rest of the last page reads as zeroes: damage in what hello does not use.
            assert output == b"Hello, world\n" and pyox("inspect", "--check", cut, check=False).returncode != 0
            continue
        assert status == 2 and output == b"", (length, status, errors)
        assert errors.startswith("cut: error: ") and errors.count("\n") == 1, (length, errors)
        seen.add(errors)
    assert any("cut short" in errors for errors in seen)


def test_flipped_bytes_in_every_section(hello, tmp_path):
    whole = bytearray(hello.read_bytes())
    _, offset, size, _ = section(hello)
    blob = bytes(whole[offset : offset + size])
    count = struct.unpack_from("<I", blob, 12)[0]
    regions = {"header": (0, 64), "table": (64, 32 * count)}
    for number in range(count):
        code, _, start, length = struct.unpack_from("<IIQQ", blob, 64 + 32 * number)
        regions[code] = (start, length)
    assert {1, 2, 3, 4, 5, 7, 8, 9, 10, 11} <= set(regions)
    damaged = tmp_path / "damaged"
    shutil.copy(hello, damaged)

    def put(at, byte):
        # Closed at once: a file that is open for writing cannot be executed.
        with open(damaged, "r+b") as file:
            file.seek(offset + at)
            file.write(bytes([byte]))

    statuses = {}
    for region, (start, length) in regions.items():
        for at in range(start, start + length, max(1, length // 24)):
            for mask in (0x01, 0xFF):
                put(at, blob[at] ^ mask)
                result = outcome(damaged)
                assert is_clean(*result), (region, at - start, mask, result)
                statuses.setdefault(region, set()).add(result[0])
            put(at, blob[at])
    for region in ("header", "table", 1):
        # What is read at every start is checked at every start.
        assert 0 not in statuses[region] or region == "header", region
    assert outcome(damaged)[0] == 0


def test_flipped_bytes_in_what_is_used(pyox, hello, tmp_path):
    """Each byte of the records and of the code of one module that is imported is covered by a checksum."""
    blob = hello.with_suffix(".blob").read_bytes()
    _, offset, _, _ = section(hello)
    listing = json.loads(pyox("inspect", "list", "--json", hello).stdout)
    assert listing
    # The last kilobyte of the code of `__main__`, found by a constant of it.
    at = blob.index(b"Hello, world")
    damaged = tmp_path / "damaged"
    for place in range(at - 40, at + 12, 4):
        shutil.copy(hello, damaged)
        with open(damaged, "r+b") as file:
            file.seek(offset + place)
            file.write(bytes([blob[place] ^ 0x20]))
        status, output, errors = outcome(damaged)
        assert status in (1, 2) and output == b"" and "damaged" in errors, (place, status, output, errors)


def test_an_import_of_damaged_code_is_an_import_error(pyox, source, static_probe, tmp_path):
    """The application can go on, as it can when a file on disk is damaged."""
    text = b"main of shelf"
    blob = static_probe.with_suffix(".blob").read_bytes()
    _, offset, _, _ = section(static_probe)
    damaged = tmp_path / "damaged"
    shutil.copy(static_probe, damaged)
    with open(damaged, "r+b") as file:
        file.seek(offset + blob.index(text))
        file.write(b"X")
    code = """
    import json, runpy
    try:
        import shelf.__main__
    except ImportError as error:
        print(json.dumps([error.name, str(error)]))
    """
    name, message = ask(damaged, code)
    assert name == "shelf.__main__" and "damaged" in message
    assert pyox("inspect", "--check", damaged, check=False).returncode == 1


def test_a_runner_without_a_blob_says_so(pyox, source, tmp_path):
    own = pyox.with_environment(PYOX_CACHE_DIR=str(tmp_path / "cache"))
    own.build(tmp_path, source, HELLO)
    (kept,) = (path for path in (tmp_path / "cache/runners").rglob("*") if path.is_file())
    runner = tmp_path / "runner"
    # Its length and its checksum are in front.
    runner.write_bytes(kept.read_bytes()[12:])
    runner.chmod(0o755)
    status, output, errors = outcome(runner)
    assert (status, output) == (2, b"")
    assert errors == f"{runner.name}: error: executable: expected a blob in its section `.pyox_blob`, found none: this is a runner, or a file that was cut short\n"


def test_a_runner_with_rubbish_for_a_blob(static_hello, tmp_path):
    _, offset, size, _ = section(static_hello)
    for rubbish in (b"\0" * size, b"\xff" * size, os.urandom(4096) * (size // 4096), b"PYOXBLOB" * (size // 8)):
        path = tmp_path / "rubbish"
        shutil.copy(static_hello, path)
        with open(path, "r+b") as file:
            file.seek(offset)
            file.write(rubbish)
        status, output, errors = outcome(path)
        assert (status, output, errors.count("\n")) == (2, b"", 1) and errors.startswith("rubbish: error: "), errors


def test_a_blob_for_another_python_is_refused_at_the_start(pyox, fetched, source, tmp_path):
    """Bytecode of another version would be undefined behaviour, should someone join them by hand."""
    older = pyox.build(tmp_path, fetched("source@3.11"), HELLO, name="older", link=["--static"])
    newer = pyox.blob(tmp_path, source, HELLO, name="newer").read_bytes()
    _, offset, size, _ = section(older)
    assert len(newer) <= size
    with open(older, "r+b") as file:
        file.seek(offset)
        file.write(newer)
    status, output, errors = outcome(older)
    assert (status, output) == (2, b"") and "made for Python 3.13" in errors, errors
