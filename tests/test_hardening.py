"""What an executable is to the kernel, and surroundings that give it little."""

import json
import os
import re
import struct

import pytest

from chain import clean_environment, require, run, write
from conftest import HOSTS
from test_bad_input import refused

STARTED = "started\n"
# Where a compressed runner lies: docs/formats/runner.md.
RUNNER_ADDRESS = 0x5F100000
# What it inherits and what it has: descriptors, blocked signals, and the environment.
INHERITED = """
import json, os, signal
descriptors = sorted(int(name) for name in os.listdir("/proc/self/fd"))
names = {}
for number in descriptors:
    try:
        names[number] = os.readlink(f"/proc/self/fd/{number}")
    except OSError:
        pass
blocked = [int(number) for number in signal.pthread_sigmask(signal.SIG_BLOCK, ())]
ignored = [int(number) for number in signal.valid_signals() if signal.getsignal(number) == signal.SIG_IGN]
print(json.dumps([names, blocked, ignored, dict(os.environ)]))
"""


@pytest.fixture(scope="module", params=["static", "small", "dynamic", "portable"])
def hello(request, pyox, source, host, tmp_path_factory):
    """An executable of each shape that imports native code and starts a thread."""
    script = """
        import _socket, zlib, json, sys, threading
        code = sys.argv[1] if sys.argv[1:] else "print('started')"
        thread = threading.Thread(target=exec, args=[code, {}])
        thread.start()
        thread.join()
    """
    shape = {"static": ["--static"], "small": ["--static"], "dynamic": ["--dynamic"], "portable": ["--shape", "portable"]}[request.param]
    distribution = host if request.param == "portable" else source
    collect = ["--libpython"] if request.param == "portable" else []
    pack = ["--small"] if request.param == "small" else []
    return pyox.build_script(tmp_path_factory.mktemp(request.param), distribution, script, *collect, pack=pack, link=shape)


def segments(path):
    """Type, flags and size of each program header, and the tags of the dynamic section with their values."""
    data = path.read_bytes()
    assert data[:5] == b"\x7fELF\x02"
    start, size, count = struct.unpack_from("<Q", data, 32)[0], *struct.unpack_from("<HH", data, 54)
    headers = [struct.unpack_from("<IIQQQQQQ", data, start + number * size) for number in range(count)]
    tags = {}
    for kind, _, offset, _, _, length, _, _ in headers:
        if kind == 2:
            for at in range(offset, offset + length, 16):
                tag, value = struct.unpack_from("<QQ", data, at)
                tags.setdefault(tag, value)
    return headers, tags


def test_what_the_linker_was_told(hello):
    """No segment can be written and run, the stack cannot be run, what the loader has relocated cannot be written."""
    headers, tags = segments(hello)
    load, stack, relro = 1, 0x6474E551, 0x6474E552
    assert [flags for kind, flags, *_ in headers if kind == load and flags & 3 == 3] == [], "writable and executable"
    (flags,) = [flags for kind, flags, *_ in headers if kind == stack]
    assert flags & 1 == 0, "an executable stack"
    # A compressed runner has its own program headers, which the process sees: see test_small.py.
    is_compressed = any(address == RUNNER_ADDRESS for _, _, _, address, *_ in headers)
    assert [kind for kind, *_ in headers if kind == relro] == ([] if is_compressed else [relro])
    rpath, runpath, flags_1, flags_, textrel = 15, 29, 0x6FFFFFFB, 30, 22
    assert rpath not in tags and runpath not in tags and textrel not in tags
    if tags:
        # Bound at the start, so that the table of functions is closed with the rest.
        assert tags.get(flags_1, 0) & 1 or tags.get(flags_, 0) & 8, "DF_1_NOW"


def test_no_folder_of_the_building_machine_is_searched(hello, tmp_path):
    """Anybody could put a library there on another machine. libpython and extension modules say where theirs were."""
    log = tmp_path / "log"
    environment = clean_environment() | {"LD_DEBUG": "libs", "LD_DEBUG_OUTPUT": str(log)}
    run(hello, "import _ssl, _sqlite3, _ctypes, _decimal, pyexpat, zlib, _socket, math", env=environment)
    said = "".join(path.read_text() for path in tmp_path.glob("log.*"))
    # A static executable has no loader.
    assert [line for line in said.splitlines() if "RUNPATH" in line or "RPATH" in line] == []


def test_memory_that_runs_cannot_be_written(hello):
    """Of the process too, libpython and extension modules included."""
    maps = run(hello, "import _socket, zlib, ctypes\nprint(open('/proc/self/maps').read())").stdout
    assert [line for line in maps.splitlines() if re.match(r"\S+ \Swx", line)] == []


def test_what_is_inherited_stays_and_nothing_is_added(hello):
    """Descriptors, the mask of signals, those that are ignored, and the environment."""
    environment = clean_environment() | {"SOME": "value", "EMPTY": ""}
    read, write_end = os.pipe()
    before = "trap '' USR1; exec \"$@\""
    done = run("sh", "-c", before, "sh", hello, INHERITED, env=environment, pass_fds=[read])
    names, blocked, ignored, variables = json.loads(done.stdout)
    os.close(read)
    os.close(write_end)
    # The folder that is listed has one itself.
    others = {number: name for number, name in names.items() if int(number) > 2 and "/fd" not in name}
    assert set(others) == {str(read)}, others
    assert blocked == [] and set(ignored) == {10, 13, 25}
    variables.pop("_", None), variables.pop("PWD", None), variables.pop("SHLVL", None), variables.pop("OLDPWD", None)
    expected = {name: value for name, value in environment.items() if name not in ("_", "PWD", "SHLVL", "OLDPWD")}
    assert variables == expected


def symbols(archive):
    """What the objects of a static library ask others for."""
    require("nm")
    listing = run("nm", "--undefined-only", archive, check=False).stdout
    return {line.split()[-1] for line in listing.splitlines() if " U " in line}


def test_what_is_built_from_source_checks_its_stack_and_its_buffers(source):
    """`-fstack-protector-strong` and `_FORTIFY_SOURCE`: of both the calls are there to see."""
    libpython = source.json["link"]["libpython"]["path"]
    asked = symbols(source.document.parent / source.json["root"] / libpython)
    assert "__stack_chk_fail" in asked
    checked = {name for name in asked if re.fullmatch(r"__\w+_chk", name)}
    assert {"__memcpy_chk", "__sprintf_chk"} & checked and len(checked) >= 10, checked


@pytest.mark.parametrize("shape", ["--static", "--dynamic"])
def test_a_position_independent_executable(pyox, source, tmp_path, shape):
    """It lies elsewhere in each process, with all that is in it, and does the same."""
    code = """
        import _socket, ctypes, sys, zlib, threading
        address = ctypes.cast(ctypes.pythonapi.Py_IncRef, ctypes.c_void_p).value
        print(hex(address), len(sys.argv), zlib.crc32(b"pyox"), open(__file__).readline().strip())
    """
    fixed = pyox.build_script(tmp_path, source, code, name="fixed", link=[shape])
    movable = tmp_path / "movable"
    pyox("link", tmp_path / "fixed.blob", "-d", source.document, shape, "--pie", "-o", movable)
    places, rest = set(), set()
    for _ in range(4):
        place, *others = run(movable).stdout.split(" ", 1)
        places.add(place)
        rest.add(*others)
    assert len(places) > 1 and rest == {run(fixed).stdout.split(" ", 1)[1]}
    headers, tags = segments(movable)
    assert struct.unpack_from("<H", movable.read_bytes(), 16)[0] == 3, "ET_DYN"
    load, relro = 1, 0x6474E552
    assert [flags for kind, flags, *_ in headers if kind == load and flags & 3 == 3] == []
    assert [kind for kind, *_ in headers if kind == relro] == [relro]
    textrel, flags_1 = 22, 0x6FFFFFFB
    assert textrel not in tags and tags[flags_1] & 0x08000001 == 0x08000001, "DF_1_PIE and DF_1_NOW"
    if shape == "--static":
        done = run(pyox.folder / "pyox-snapshot", movable, "-o", tmp_path / "snapshot", check=False)
        refused(done, "snapshot", "linked with `--pie`", "and without `--pie`")


def test_where_no_position_independent_executable_can_be_made(pyox, fetched, tmp_path):
    """Debian compiles its static libpython for a fixed address."""
    debian = fetched(next(spec for spec in HOSTS if "/usr/bin" in spec))
    blob = pyox.blob(tmp_path, debian, write(tmp_path / "app.py", "pass\n"))
    done = pyox("link", blob, "-d", debian.document, "--dynamic", "--pie", "-o", tmp_path / "app", check=False)
    refused(done, "link", "--pie: the distribution's libpython was compiled for a fixed address", "link without --pie")


def started(*command, **options):
    done = run(*command, **({"timeout": 60} | options))
    assert done.stdout == STARTED, done
    return done


def test_closed_descriptors(hello, tmp_path):
    """As of a daemon: what it opens must not become its stdout."""
    out = tmp_path / "out"
    assert run("sh", "-c", f'exec "$0" <&- >{out} 2>&-', hello).returncode == 0
    assert out.read_text() == STARTED
    done = run("sh", "-c", 'exec "$0" <&- >&- 2>&-', hello, check=False)
    assert done.returncode in (0, 1, 120) and done.stdout == "" and done.stderr == ""


def test_without_proc(hello):
    require("unshare")
    started("unshare", "--mount", "sh", "-c", 'mount -t tmpfs none /proc && exec "$@"', "sh", hello)


def test_as_the_first_process(hello):
    started("unshare", "--pid", "--fork", "--mount-proc", hello)


def test_few_descriptors(hello):
    started("sh", "-c", 'ulimit -n 16; exec "$0"', hello)


def test_little_address_space(hello):
    """The files that it maps are most of it."""
    started("sh", "-c", 'ulimit -v 200000; exec "$0"', hello)


def test_an_empty_environment_and_an_unreadable_working_folder(hello, tmp_path):
    gone = tmp_path / "gone"
    gone.mkdir()
    started("sh", "-c", 'cd "$1" && rmdir "$1" && exec env -i "$0"', hello, gone)


def test_a_full_output_is_an_error(hello):
    done = run("sh", "-c", 'exec "$0" > /dev/full', hello, check=False)
    assert done.returncode == 120 and "No space left" in done.stderr
