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
from test_releases import install_only

HOSTED = [(spec, "--dynamic") for minor in ("3.11", "3.12", "3.13") for spec in HOSTS if f"/{minor}." in spec]
# Their libpython is a shared library, which a snapshot makes part of the executable.
LOADED = [(spec, PORTABLE) for spec in HOSTS]
# Their libpython is linked anew, with code behind its data. So BOLT leaves it, which has been at those of python-build-standalone.
LATE = [(f"late {spec}", PORTABLE) for spec in HOSTS if "/3.13." in spec]
# Its extension modules are built in, and libraries of C with them.
KINDS = [*HOSTED, ("source@3.11", "--static"), ("source@3.13", "--dynamic"), *LOADED, *LATE]
BEHIND = "SECTIONS { .late ALIGN(0x200000) : { *ceval.o(.text .text.*) *dictobject.o(.text .text.*) } } INSERT AFTER .bss;"


@pytest.fixture(scope="session")
def relinked(fetched, pyox, tmp_path_factory):
    """Gives the distribution of a spec as one whose libpython is linked anew, with options of the linker's. Libraries beside it are found."""
    require("gcc")

    def relink(spec, *options, folder=None):
        given = fetched(spec)
        folder = folder or tmp_path_factory.mktemp("relinked")
        root = install_only(given, folder, strip=False)
        minor, link = "{}.{}".format(*given.minor), given.json["link"]
        name = f"libpython{minor}.so.1.0"
        whole = ("-Wl,--whole-archive", Path(given.json["root"], link["libpython"]["path"]), "-Wl,--no-whole-archive")
        run("gcc", "-shared", "-o", root / "lib" / name, f"-Wl,-soname,{name},-rpath,$ORIGIN", *whole, *options, "-lm")
        return pyox.fetch(f"host:{root}/bin/python{minor}", folder / "dist.json")

    return relink


@pytest.fixture(scope="session", params=KINDS, ids=" ".join)
def target(request, fetched, relinked, tmp_path_factory):
    spec, shape = request.param
    if (spec, shape) not in LATE:
        return fetched(spec), shape
    script = tmp_path_factory.mktemp("late") / "late.ld"
    write(script, BEHIND)
    return relinked(spec.removeprefix("late "), f"-Wl,-T,{script}"), shape


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


@pytest.mark.parametrize("target", LATE, ids=" ".join, indirect=True)
def test_code_behind_the_data_is_there(target):
    document = target[0].json
    path = Path(document["root"], document["link"]["shared_libpython"]["path"])
    *_, data, code = (header[1] for header in segments(path)[0] if header[0] == 1)
    assert (data & 3, code & 3) == (2, 1)


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


# libpython asks for its version when it starts, and `sys.getrecursionlimit` for the limit; both ask a library here.
CALLING = """
int called(void);
const char *__real_Py_GetVersion(void);
const char *__wrap_Py_GetVersion(void) { called(); return __real_Py_GetVersion(); }
int __wrap_Py_GetRecursionLimit(void) { return called(); }
"""
RELINKED = [spec.removeprefix("late ") for spec, _ in LATE]


@pytest.fixture
def needy(pyox, relinked, tmp_path):
    """Gives an executable whose libpython needs libraries of that code, which defines what it calls."""

    def build(spec, code, *options, count=1):
        write(tmp_path / "called.c", code)
        write(tmp_path / "calling.c", CALLING)
        folder = tmp_path / "python/lib"
        folder.mkdir(parents=True)
        run("gcc", "-c", "-fPIC", "calling.c", cwd=tmp_path)
        libraries = [folder / f"libcalled{number}.so" for number in range(count)]
        for library in libraries:
            run("gcc", "-shared", "-fPIC", "-o", library, f"-Wl,-soname,{library.name}", "called.c", *options, cwd=tmp_path)
        wrapped = ("-Wl,--wrap=Py_GetVersion,--wrap=Py_GetRecursionLimit", tmp_path / "calling.o")
        distribution = relinked(spec, *wrapped, "-Wl,--no-as-needed", *libraries, folder=tmp_path)
        return pyox.build_script(tmp_path, distribution, "import sys; print(sys.getrecursionlimit())", link=(PORTABLE,))

    return build


@pytest.mark.parametrize("spec", RELINKED)
def test_a_library_of_libpythons_begins_anew_in_each_process(pyox, needy, spec):
    code = """
    static int first, second, *own = &second;
    static __thread int here = 2;
    void _init(void) { first = 1; }
    __attribute__((constructor)) static void constructor(void) { *own = first; }
    int called(void) { return second * 1000 + here; }
    """
    app = needy(spec, code, "-nostartfiles")
    fast, _ = take(pyox, app)
    assert run(fast).stdout == run(app).stdout == "1002\n"


# Libraries that cannot become part of an executable: C code, options for the linker, and what is said of them.
UNFIT = {
    "state": ("int kept; int called(void) { kept++; return 7; }", "it cannot have a snapshot: a library that libpython needs keeps something"),
    "thread-local data that others use": ("__thread int own = 7; int called(void) { return own; }", "a library that its libpython needs exports thread-local data"),
    "much thread-local data": ("static __thread char much[8 << 20]; int called(void) { return 7 + much[0]; }", "lib/libcalled0.so has too much thread-local data"),
    "thread-local data of wide alignment": (
        "static __thread int wide __attribute__((aligned(128))) = 7; int called(void) { return wide; }",
        "lib/libcalled0.so aligns thread-local data to more than 64 bytes",
    ),
    "functions that are chosen": (
        'static int one(void) { return 7; } static void *choose(void) { return one; } int called(void) __attribute__((ifunc("choose")));',
        "a library that its libpython needs exports functions that the loader chooses",
    ),
    "code behind its data": (
        'int kept = 7; __attribute__((section("late"))) int called(void) { return kept; }',
        "lib/libcalled0.so has an order of segments that is not known",
    ),
    "many": ("int called(void) { return 7; }", "its libpython needs 5 libraries, expected at most 4"),
}


@pytest.mark.parametrize("spec", RELINKED)
@pytest.mark.parametrize("of", UNFIT)
def test_libraries_that_cannot_become_part_of_it(pyox, needy, tmp_path, spec, of):
    """The executable works without a snapshot, and `pyox-snapshot` says why it can have none."""
    code, why = UNFIT[of]
    script = tmp_path / "late.ld"
    write(script, "SECTIONS { late ALIGN(0x200000) : { *(late) } } INSERT AFTER .bss;")
    app = needy(spec, code, f"-Wl,-T,{script}", count=5 if of == "many" else 1)
    assert run(app).stdout == "7\n"
    fast, done = take(pyox, app, check=False)
    assert (done.returncode, done.stderr.splitlines()[0]) == (2, f"pyox-snapshot: error: {app}: {why}")
    assert not fast.exists()
