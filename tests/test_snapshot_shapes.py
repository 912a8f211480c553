"""What holds for static executables of CPython 3.13 with a snapshot holds for other shapes and versions."""

import json
import re
from pathlib import Path

import pytest

from conftest import HOSTS
from test_snapshot import (  # noqa: F401 - the same tests, with the fixtures below
    RESUMED,
    take,
    test_a_full_pipe_and_one_that_nobody_reads,
    test_a_process_begins_with_the_image,
    test_a_terminal,
    test_all_dictionaries_and_sets_find_what_they_hold,
    test_exit_statuses_and_tracebacks,
    test_from_a_descriptor,
    test_hashes_are_those_of_the_process,
    test_moved_renamed_and_linked,
    test_nothing_of_the_building_process_is_in_it,
    test_paths_that_the_image_has_no_room_for,
    test_random_numbers_differ,
    test_signals_that_are_ignored_by_whoever_starts_it,
    test_streams_that_are_closed_or_files,
    test_the_end_as_under_python,
    test_strip_leaves_it_whole,
    test_the_same_answer,
    test_the_same_input_gives_the_same_bytes,
    test_what_it_does_is_the_same,
    test_what_is_registered_for_the_end_can_be_called_and_forgotten,
    test_what_the_program_puts_into_the_image_is_let_go_of,
)

from chain import PORTABLE, require, run, write
from test_hardening import segments

HOSTED = [(spec, "--dynamic") for minor in ("3.11", "3.12", "3.13") for spec in HOSTS if f"/{minor}." in spec]
# Their libpython is a shared library, which a snapshot makes part of the executable.
LOADED = [(spec, PORTABLE) for spec in HOSTS]
# Its extension modules are built in, and libraries of C with them.
KINDS = [*HOSTED, ("source@3.11", "--static"), ("source@3.13", "--dynamic"), *LOADED]


@pytest.fixture(scope="session", params=KINDS, ids=" ".join)
def target(request, fetched):
    spec, shape = request.param
    return fetched(spec), shape


@pytest.fixture(scope="session")
def plain_probe(probes, target):
    return probes(*target)


@pytest.fixture(scope="session")
def probe_fast(pyox, plain_probe):
    return take(pyox, plain_probe)[0]


@pytest.fixture
def preloaded():
    """Those of a standard library's modules that need no shared object."""
    return "threading", "re", "enum", "functools", "linecache"


@pytest.mark.parametrize("target", HOSTED + LOADED, ids=" ".join, indirect=True)
def test_native_code_is_loaded_by_each_process(pyox, target, tmp_path):
    """A wheel's and the standard library's, which no image holds."""
    script = "import markupsafe._speedups as m, json, _json, sys; print(m._escape_inner('<'), json.loads('[1]'), sys.getrefcount(sys.path) > 10**6)"
    app = pyox.build_script(tmp_path, target[0], script, "--with", "markupsafe==3.0.2", link=target[1:])
    fast, _ = take(pyox, app)
    assert run(fast).stdout == "&lt; [1] True\n"
    _, done = take(pyox, app, "--preload", "asyncio", check=False)
    assert done.returncode == 2 and re.search(r"--preload: asyncio: it imports _\w+: it needs the shared object lib/python3\.", done.stderr)


NEEDY = """
#include <Python.h>
static struct PyModuleDef needy = {PyModuleDef_HEAD_INIT, "needy", 0, -1, 0};
PyMODINIT_FUNC PyInit_needy(void) { return PyModule_Create(&needy); }
"""


@pytest.mark.parametrize("target", HOSTED + LOADED, ids=" ".join, indirect=True)
def test_native_code_that_needs_libpython(pyox, target, tmp_path):
    """By its name, as some wheels and distributions have it: without a snapshot it is a file of the blob."""
    require("gcc")
    distribution, shape = target
    write(tmp_path / "needy.c", NEEDY)
    write(tmp_path / "tool/__init__.py", "")
    code = "import sysconfig as s; print(s.get_path('include'), s.get_config_var('EXT_SUFFIX'), s.get_config_var('LIBDIR'), s.get_config_var('LDVERSION'))"
    include, suffix, folder, version = distribution.run_python("-c", code).stdout.split()
    run("gcc", "-shared", "-fPIC", f"-I{include}", "-o", tmp_path / f"tool/needy{suffix}", tmp_path / "needy.c", f"-L{folder}", f"-lpython{version}")
    script = "import sys, tool.needy; print(tool.needy.__name__, sys.modules['tool.needy'] is tool.needy)"
    libpython = () if shape == PORTABLE else ("--libpython",)
    app = pyox.build_script(tmp_path, distribution, script, tmp_path / "tool", *libpython, link=(shape,))
    fast, _ = take(pyox, app)
    assert run(app).stdout == run(fast).stdout == "tool.needy True\n"


FORKED = """
import os, threading
def fork():
    child = os.fork()
    if child: print(os.waitpid(child, 0)[1])
thread = threading.Thread(target=fork)
thread.start()
thread.join()
"""


@pytest.mark.parametrize("target", HOSTED + LOADED, ids=" ".join, indirect=True)
def test_thread_local_data_of_libpython_begins_as_without_a_snapshot(pyox, target, tmp_path):
    """With addresses in it. Without the snapshot's memory, as in a child that is an interpreter, its allocator looks there when a thread ends."""
    script = f"import subprocess, sys; print(subprocess.run([sys.executable, '-W', 'ignore', '-c', {FORKED!r}]).returncode)"
    app = pyox.build_script(tmp_path, target[0], script, "--interpreter", link=target[1:])
    fast, _ = take(pyox, app)
    assert run(fast).stdout == run(app).stdout == "0\n0\n"


@pytest.mark.parametrize("target", LOADED, ids=" ".join, indirect=True)
def test_libpythons_code_is_in_the_file_once(target, probe_fast):
    """It is mapped from the blob, where it is for extension modules and other tools."""
    document = target[0].json
    path = Path(document["root"], document["link"]["shared_libpython"]["path"])
    library = path.read_bytes()
    code = max((header for header in segments(path)[0] if header[1] & 1), key=lambda header: header[5])
    piece = library[code[2] + code[5] // 2 :][:4096]
    assert len(set(piece)) > 50 and probe_fast.read_bytes().count(piece) == 1


@pytest.mark.parametrize("target", HOSTED + LOADED, ids=" ".join, indirect=True)
def test_other_libraries_at_other_places(plain_probe, probe_fast):
    """The C library lies at another address in each process, and nothing of the image knows it."""
    maps = "print([l.split('-')[0] for l in open('/proc/self/maps') if 'libc.so' in l][0])"
    said = {run(probe_fast, f"{RESUMED}; import os, time; os.stat('/'), time.localtime(); {maps}").stdout for _ in range(5)}
    assert len(said) > 1 and all(line.startswith("True\n") for line in said)


def test_what_keeps_addresses_of_the_c_library_is_left_out(pyox, source, tmp_path):
    """It lies at the same address in each process of a static executable, and nowhere else."""
    script = "import ctypes, json, sys; print(ctypes.string_at(ctypes.create_string_buffer(b'abc')), json.loads('[1]'), sys.getrefcount(sys.path) > 10**6)"
    app = pyox.build_script(tmp_path, source, script, link=("--dynamic",))
    profile = tmp_path / "app.profile"
    pyox("snapshot", app, "--learn", profile)
    fast, _ = take(pyox, app, "--level", "stdlib", "--profile", profile)
    assert {run(fast).stdout for _ in range(3)} == {"b'abc' [1] True\n"}
    told = json.loads(pyox("inspect", "--json", fast).stdout)["snapshot"]
    assert "json.decoder" in told["modules"] and "ctypes" not in told["modules"]
    assert told["refused"]["ctypes"] == "it imports _ctypes: it needs the shared object libc.so.6"
