"""Native code: extension modules and shared libraries, from memory and where memory is forbidden.

One wheel, made here with the C compiler, has each way in which a wheel brings shared objects and asks for
them. What is said of it is asked of executables; its extension modules keep to the limited API, so that one
file of each serves all versions of Python.
"""

import base64
import errno
import hashlib
import json
import os
import re
import struct
import zipfile

import pytest

from chain import ask, require, run, site_packages, write

# --- The wheel ------------------------------------------------------------------

# name: (source, the libraries it is linked with, options)
ORIGIN_LIBS, ORIGIN = "-Wl,--disable-new-dtags,-rpath,$ORIGIN/../nativekit.libs", "-Wl,-rpath,$ORIGIN"
BASE, SHARED = "libbase-4e5f6071.so.2", "libshared-0a1b2c3d.so.1"
PING, PONG = "libping-5d2c7e90.so.1.0", "libpong-8b41f6aa.so.1.0"

LIBRARIES = {
    # It counts who was loaded, itself included.
    f"nativekit.libs/{BASE}": (
        """
        static int base, shared;
        int base_value(void) { return 40; }
        void note_shared(void) { shared++; }
        int count_base(void) { return base; }
        int count_shared(void) { return shared; }
        __attribute__((constructor)) static void loaded(void) { base++; }
        """,
        [],
        [f"-Wl,-soname,{BASE}"],
    ),
    f"nativekit.libs/{SHARED}": (
        """
        int base_value(void); void note_shared(void);
        int shared_value(void) { return base_value() + 2; }
        __attribute__((constructor)) static void loaded(void) { note_shared(); }
        """,
        [f"nativekit.libs/{BASE}"],
        [f"-Wl,-soname,{SHARED}", ORIGIN],
    ),
    # Two that need each other; the first is linked again once the second is there.
    f"nativekit.libs/{PING}": (
        "int pong(int); int ping(int n) { return n ? pong(n - 1) + 1 : 0; }",
        [],
        [f"-Wl,-soname,{PING}", ORIGIN],
    ),
    f"nativekit.libs/{PONG}": (
        "int ping(int); int pong(int n) { return n ? ping(n - 1) + 1 : 0; }",
        [f"nativekit.libs/{PING}"],
        [f"-Wl,-soname,{PONG}", ORIGIN],
    ),
    # Built without a SONAME, as build systems that make plug-ins do.
    "nativekit/libunnamed.so": ("int unnamed(void) { return 5; }", [], []),
    # Found in the package's folder by whoever opens it.
    "nativekit/libplain.so": ("int shared_value(void); int plain(int n) { return n + shared_value(); }", [f"nativekit.libs/{SHARED}"], [ORIGIN_LIBS]),
    # What it reads ends in the page where what it writes begins.
    "nativekit/libcramped.so": ("static int count = 6; int cramped(void) { return ++count; }", [], ["-nostdlib", "-Wl,-T,nativekit/cramped.ld"]),
    "nativekit/plugins/libplugin.so": ("int plugin(void) { return 11; }", [], []),
    # It opens its plug-in by a path from its own, as many do.
    "nativekit/libhost.so": (
        r"""
        #define _GNU_SOURCE
        #include <dlfcn.h>
        #include <stdio.h>
        #include <string.h>
        static char why[4096];
        const char *host_error(void) { return why; }
        int host_plugin(void) {
            Dl_info info;
            char path[4096];
            if (!dladdr((void *)host_plugin, &info)) return -1;
            const char *slash = strrchr(info.dli_fname, '/');
            snprintf(path, sizeof path, "%.*splugins/libplugin.so", slash ? (int)(slash + 1 - info.dli_fname) : 0, info.dli_fname);
            void *plugin = dlopen(path, RTLD_NOW | RTLD_LOCAL);
            if (!plugin) { snprintf(why, sizeof why, "%s", dlerror()); return -2; }
            return ((int (*)(void))dlsym(plugin, "plugin"))();
        }
        int host_named(int flags) {
            void *library = dlopen("libunnamed.so", RTLD_NOW | flags);
            return library ? ((int (*)(void))dlsym(library, "unnamed"))() : -2;
        }
        """,
        [],
        ["-Wl,-soname,libhost.so", "-ldl", ORIGIN],
    ),
}

CRAMPED = """
PHDRS {
    head PT_LOAD FILEHDR PHDRS FLAGS(4); code PT_LOAD FLAGS(5); read PT_LOAD FLAGS(4);
    write PT_LOAD FLAGS(6); dynamic PT_DYNAMIC FLAGS(6); stack PT_GNU_STACK FLAGS(6);
}
SECTIONS {
    . = SIZEOF_HEADERS;
    .gnu.hash : { *(.gnu.hash) } :head
    .dynsym : { *(.dynsym) }
    .dynstr : { *(.dynstr) }
    .rela.dyn : { *(.rela*) }
    . = ALIGN(4096);
    .text : { *(.text*) } :code
    . = ALIGN(4096);
    .rodata : { *(.rodata*) QUAD(1) } :read
    .data : { *(.data*) *(.got*) } :write
    .dynamic : { *(.dynamic) } :write :dynamic
}
"""

# name: (what its `call` gives, declarations, the libraries it is linked with, options)
EXTENSIONS = {
    "_first": ("shared_value()", "int shared_value(void);", [f"nativekit.libs/{SHARED}"], [ORIGIN_LIBS]),
    "_second": ("shared_value() + 1", "int shared_value(void);", [f"nativekit.libs/{SHARED}"], [ORIGIN_LIBS]),
    "_counts": ("10 * count_base() + count_shared()", "int count_base(void); int count_shared(void);", [f"nativekit.libs/{BASE}"], [ORIGIN_LIBS]),
    "_circle": ("ping(9)", "int ping(int);", [f"nativekit.libs/{PING}"], [ORIGIN_LIBS]),
    "_unnamed": ("unnamed()", "int unnamed(void);", ["nativekit/libunnamed.so"], [ORIGIN]),
    "_alone": ("1", "", [], []),
    # It needs what no library has.
    "_unbound": ("nowhere()", "int nowhere(void);", [], []),
}

# Of the older kind: it is made once, and kept by the path that it was made from.
SINGLE_PHASE = "_second"

EXTENSION = """
#define Py_LIMITED_API 0x030b0000
#include <Python.h>
@declarations@
static int executed;
static PyObject *call(PyObject *self, PyObject *none) { return PyLong_FromLong(@value@); }
static PyObject *address(PyObject *self, PyObject *none) { return PyLong_FromVoidPtr((void *)call); }
static PyObject *fail(PyObject *self, PyObject *none) { PyErr_SetString(PyExc_ValueError, "from C"); return NULL; }
static PyMethodDef methods[] = {{"call", call, METH_NOARGS, 0}, {"address", address, METH_NOARGS, 0}, {"fail", fail, METH_NOARGS, 0}, {0}};
static int execute(PyObject *module) { return PyModule_AddIntConstant(module, "executed", ++executed); }
static PyModuleDef_Slot slots[] = {{Py_mod_exec, execute}, {0}};
static PyModuleDef definition = {PyModuleDef_HEAD_INIT, "@name@", 0, @single@ ? -1 : 0, methods, @single@ ? 0 : slots};
PyMODINIT_FUNC PyInit_@name@(void) {
    if (!@single@) return PyModuleDef_Init(&definition);
    PyObject *module = PyModule_Create(&definition);
    if (module && execute(module)) return NULL;
    return module;
}
"""


def compile_c(folder, location, source, libraries=(), options=()):
    """A shared object at a location below `folder`, the same bytes wherever that is."""
    path = folder / location
    path.parent.mkdir(parents=True, exist_ok=True)
    # By their names alone, or the linker writes a path where the library has no SONAME.
    needed = [option for library in libraries for option in (f"-L{os.path.dirname(library) or '.'}", f"-l:{os.path.basename(library)}")]
    run("gcc", "-shared", "-fPIC", "-O1", "-s", "-Wl,--build-id=none", "-x", "c", "-", "-o", location, "-x", "none", *needed, *options, cwd=folder, input=source)
    return path


def compile_extension(folder, location, include, value="1", declarations="", libraries=(), options=()):
    """An extension module that is named as its file is, with a function `call`."""
    name = location.split("/")[-1].split(".")[0]
    source = EXTENSION.replace("@value@", value).replace("@declarations@", declarations).replace("@name@", name)
    source = source.replace("@single@", "1" if name == SINGLE_PHASE else "0")
    return compile_c(folder, location, source, libraries, [f"-I{include}", *options])


@pytest.fixture(scope="session")
def include(host):
    """The folder of Python.h."""
    return host.run_python("-c", "import sysconfig; print(sysconfig.get_path('include'))").stdout.strip()


@pytest.fixture(scope="session")
def tree(include, tmp_path_factory):
    """The wheel's files."""
    require("gcc")
    folder = tmp_path_factory.mktemp("tree")
    write(folder / "nativekit/cramped.ld", CRAMPED)
    for location, (source, libraries, options) in LIBRARIES.items():
        compile_c(folder, location, source, libraries, options)
    source, _, options = LIBRARIES[f"nativekit.libs/{PING}"]
    compile_c(folder, f"nativekit.libs/{PING}", source, [f"nativekit.libs/{PONG}"], options)
    for name, (value, declarations, libraries, options) in EXTENSIONS.items():
        compile_extension(folder, f"nativekit/{name}.abi3.so", include, value, declarations, libraries, options)
    write(folder / "nativekit/__init__.py", "")
    return folder


def make_wheel(folder, tree):
    """A wheel of the files in a tree: the same bytes for the same files."""
    files = {path.relative_to(tree).as_posix(): path.read_bytes() for path in sorted(tree.rglob("*")) if path.is_file()}
    info = "nativekit-1.0.dist-info"
    files[f"{info}/METADATA"] = b"Metadata-Version: 2.1\nName: nativekit\nVersion: 1.0\n"
    files[f"{info}/WHEEL"] = b"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: false\nTag: cp311-abi3-linux_x86_64\n"
    rows = []
    for name, content in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        rows.append(f"{name},sha256={digest},{len(content)}\n")
    files[f"{info}/RECORD"] = "".join([*rows, f"{info}/RECORD,,\n"]).encode()
    path = folder / "nativekit-1.0-cp311-abi3-linux_x86_64.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return path


@pytest.fixture(scope="session")
def wheel(tree, tmp_path_factory):
    return make_wheel(tmp_path_factory.mktemp("wheel"), tree)


@pytest.fixture(scope="session")
def kits(pyox, wheel, tmp_path_factory):
    """Gives the executable for a distribution and options: it runs the code in its first argument."""
    known = {}

    def build(distribution, *collect, pack=()):
        key = (distribution.spec, collect, pack)
        if key not in known:
            folder = tmp_path_factory.mktemp("kit")
            main = write(folder / "main.py", "import json, os, re, sys\ncode = sys.argv.pop(1)\nexec(compile(code, '<probe>', 'exec'))\n")
            manifest = pyox.manifest(folder, distribution, main, wheel, *collect)
            pyox("pack", manifest, "-d", distribution.document, *pack, "-o", folder / "app.blob")
            pyox("link", folder / "app.blob", "-d", distribution.document, "-o", folder / "app")
            known[key] = folder / "app"
        return known[key]

    return build


@pytest.fixture(scope="session")
def kit(kits, host):
    return kits(host)


# What code under test uses: where the process's shared objects lie, `{name: the files}`.
MAPPED = """
import json, os, re, sys

def mapped():
    found = {}
    for line in open("/proc/self/maps"):
        fields = line.split(maxsplit=5)
        if len(fields) == 6 and ".so" in fields[5]:
            path = fields[5].strip().removesuffix(" (deleted)")
            found.setdefault(path.rpartition("/")[2].removeprefix("memfd:"), set()).add((path, fields[4]))
    return {name: sorted(files) for name, files in found.items()}

def say(**answers):
    print(json.dumps(answers))
"""


def question(executable, code, **options):
    """What the code says, with the functions of MAPPED."""
    return ask(executable, MAPPED + code, **options)


# --- Loading --------------------------------------------------------------------


def test_a_wheels_libraries_load_from_memory_each_once(kits, each_minor):
    """Through `$ORIGIN`, dependencies first, and one copy for all that need it."""
    code = """
from nativekit import _first, _second, _counts
say(values=[_first.call(), _second.call()], counts=_counts.call(), mapped=mapped())
"""
    executable = kits(each_minor)
    answer = question(executable, code)
    assert answer["values"] == [42, 43]
    assert answer["counts"] == 11, "each constructor runs once"
    for name in (BASE, SHARED, "_first.abi3.so", "_second.abi3.so", "_counts.abi3.so"):
        ((path, _),) = answer["mapped"][name]
        assert path == f"/memfd:{name}"


def test_the_executable_alone_holds_the_standard_librarys_libraries(kits, host):
    """What a host distribution's extension modules need comes along; libc's family is the platform's."""
    code = """
import _bz2, _ctypes, _lzma, _sqlite3, _ssl, zlib
say(mapped=mapped())
"""
    mapped = question(kits(host), code)["mapped"]
    assert {name for name in mapped if name.startswith(("libssl.", "libcrypto.", "libsqlite3.", "libffi."))}
    on_disk = {name for name, files in mapped.items() if not all(path.startswith("/memfd:") for path, _ in files)}
    assert all(re.fullmatch(r"(ld-linux.*|lib(c|m|dl|pthread|rt|util|resolv))\.so\.\d+", name) for name in on_disk), on_disk


def test_nothing_is_loaded_before_the_import_that_needs_it(kit):
    require("strace")
    code = "import os; os.write(1, b'before'); from nativekit import _first; os.write(1, b'between'); from nativekit import _alone"
    traced = run("strace", "-f", "-qq", "-e", "trace=memfd_create,write", kit, code).stderr
    steps = re.findall(r'memfd_create\("([^"]+)"|write\(1, "([^"]+)"', traced)
    steps = [memory or written for memory, written in steps]
    start = steps.index("before")
    assert not any("nativekit" in step or step in (BASE, SHARED, "_first.abi3.so") for step in steps[:start])
    assert steps[start:] == ["before", BASE, SHARED, "_first.abi3.so", "between", "_alone.abi3.so"]


AGAIN = """
import importlib, json, sys, threading
from nativekit import _first, _second
first, second = _first, _second
importlib.reload(_first), importlib.reload(_second)
for name in ("_first", "_second"):
    del sys.modules[f"nativekit.{name}"]
again = [importlib.import_module(f"nativekit.{name}") for name in ("_first", "_second")]
threads = [threading.Thread(target=importlib.import_module, args=[f"nativekit.{name}"]) for name in ("_alone", "_counts", "_alone", "_circle")]
[thread.start() for thread in threads], [thread.join() for thread in threads]
from nativekit import _alone, _circle, _counts
executed = [first.executed, second.executed, again[0].executed, again[1].executed, _alone.executed]
print(json.dumps([executed, first.call(), again[0].call(), again[1].call(), _circle.call(), _counts.call()]))
"""


def test_the_same_shared_object_again(kits, tree, each_minor):
    """Imported again, reloaded and imported by several threads at once, a module is what it is from a file."""
    expected = json.loads(each_minor.run_python("-c", f"import sys; sys.path.insert(0, {str(tree)!r})\n{AGAIN}").stdout)
    assert expected[1:] == [42, 42, 43, 9, 11]
    assert ask(kits(each_minor), AGAIN) == expected


SUBINTERPRETER = """
import importlib
try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters
from nativekit import _first, _second
number = interpreters.create()
failed = None
try:
    failed = interpreters.run_string(number, "import sys; sys.path.append(None); import nativekit._first as m; assert m.call() == 42")
except Exception as error:
    failed = str(error)
interpreters.destroy(number)
from nativekit import _counts
say(values=[_first.call(), _second.call()], counts=_counts.call(), failed=str(failed))
"""


def test_a_subinterpreter_does_no_harm(kits, each_minor):
    """It finds the application's modules, unless they are for one interpreter alone; the main interpreter goes on."""
    answer = question(kits(each_minor), SUBINTERPRETER)
    assert answer["values"] == [42, 43] and answer["counts"] == 11, answer
    assert answer["failed"] == "None" or "does not support loading in subinterpreters" in answer["failed"], answer


def test_libraries_that_need_each_other(kits, each_minor):
    code = "from nativekit import _circle\nsay(value=_circle.call(), mapped=mapped())"
    answer = question(kits(each_minor), code)
    assert answer["value"] == 9
    assert [len(answer["mapped"][name]) for name in (PING, PONG)] == [1, 1]


def test_a_library_without_a_soname(kits, each_minor):
    """It is found by its file's name, which the loader does not look at in memory."""
    assert question(kits(each_minor), "from nativekit import _unnamed\nsay(value=_unnamed.call())") == {"value": 5}


def test_ctypes_opens_a_library_by_its_path(kits, each_minor):
    """However the path is spelled; what the library needs comes before it."""
    code = """
import ctypes, pathlib, nativekit
folder = os.path.dirname(nativekit.__file__)
path = os.path.join(folder, "libplain.so")
spelled = [path, os.path.join(folder, "plugins", "..", "libplain.so"), os.path.join(folder, ".", "libplain.so"), os.path.realpath(path)]
spelled.append(pathlib.Path(path) if sys.version_info >= (3, 12) else os.fsencode(path))
values = [ctypes.CDLL(path).plain(1) for path in spelled]
values += [ctypes.cdll.LoadLibrary(path).plain(2), ctypes.PyDLL(path).plain(3), ctypes.CDLL(path, ctypes.RTLD_GLOBAL).plain(4), ctypes.CDLL(None).plain(5)]
try:
    ctypes.CDLL(os.path.join(folder, "libnone.so"))
except OSError as error:
    values.append(str(error))
from nativekit import _counts
say(values=values, counts=_counts.call(), copies=len(mapped()["libplain.so"]), folder=folder)
"""
    answer = question(kits(each_minor), code)
    *values, error = answer["values"]
    assert set(values[:-4]) == {43} and len(values) >= 9
    assert values[-4:] == [44, 45, 46, 47]
    assert "libnone.so" in error
    assert answer["counts"] == 11 and answer["copies"] == 1


def test_ctypes_opens_a_library_again_that_was_closed(kit):
    code = """
import _ctypes, ctypes, nativekit
path = os.path.join(os.path.dirname(nativekit.__file__), "plugins", "libplugin.so")
values = []
for _ in range(3):
    library = ctypes.CDLL(path)
    values.append(library.plugin())
    _ctypes.dlclose(library._handle)
    # Whatever takes the number of the descriptor.
    os.open("/dev/null", os.O_RDONLY)
say(values=values)
"""
    assert question(kit, code) == {"values": [11, 11, 11]}


def test_the_path_through_a_link_to_the_executable(kit, tmp_path):
    """`__file__` begins with the name by which it was called, realpath with that of the executable."""
    link = tmp_path / "link"
    link.symlink_to(kit)
    code = """
import ctypes, nativekit
path = os.path.join(os.path.dirname(nativekit.__file__), "libplain.so")
say(values=[ctypes.CDLL(path).plain(1), ctypes.CDLL(os.path.realpath(path)).plain(1)])
"""
    assert question(link, code) == {"values": [43, 43]}


HOST = """
import ctypes, nativekit
library = ctypes.CDLL(os.path.join(os.path.dirname(nativekit.__file__), "libhost.so"))
library.host_error.restype = ctypes.c_char_p
named = [library.host_named(flags) for flags in (os.RTLD_NOLOAD, 0, os.RTLD_NOLOAD)]
say(value=library.host_plugin(), error=library.host_error().decode(), named=named)
"""
OPENED = {"value": 11, "error": "", "named": [-2, 5, 5]}


def test_a_library_opens_another_beside_itself(kits, each_minor):
    """By a path from the name that dladdr gives it, and by a name that its run path leads to."""
    assert question(kits(each_minor), HOST) == OPENED


def test_a_library_opens_another_beside_itself_in_the_cache(kits, host, home):
    environment, _ = home
    executable = kits(host, "--placement", "nativekit=cache")
    assert question(executable, HOST, env=environment) == OPENED


def test_compressed_native_code(pyox, kits, host, home):
    environment, cache = home
    compressed = kits(host, pack=("--compress-native",))
    assert compressed.stat().st_size < kits(host).stat().st_size
    code = "from nativekit import _first, _circle\nimport _ssl\nsay(values=[_first.call(), _circle.call()])"
    assert question(compressed, code, env=environment) == {"values": [42, 9]}
    assert not cache.exists()


def test_native_code_that_nothing_imports_is_compressed(pyox, host, tmp_path):
    """By what the sources say; what they do not say is imported as well."""
    sources = {"quiet": "import sys\n", "speaking": "def f():\n    import ssl\n"}
    sizes, libraries = {}, {}
    for name, source in sources.items():
        main = write(tmp_path / f"{name}.py", source + "import sys\nprint(__import__(sys.argv[1]).__name__)\n")
        (tmp_path / name).mkdir()
        manifest = pyox.manifest(tmp_path / name, host, main)
        native = [r for r in json.loads(manifest.read_text())["resources"] if r["kind"] in ("extension-module", "shared-library") and "payload" in r]
        # A shared libpython and what that needs are loaded by each process.
        loaded = {name for r in native if "/libpython3" in r["name"] for name in (r["name"], *r.get("needs", []))}
        libraries[name] = {r["name"]: r.get("cold", False) for r in native if r["name"] not in loaded}
        pyox("pack", manifest, "-o", tmp_path / f"{name}.blob")
        pyox("link", tmp_path / f"{name}.blob", "-o", tmp_path / name / "app")
        sizes[name] = (tmp_path / f"{name}.blob").stat().st_size
        for module in ("_ssl", "_sqlite3"):
            assert run(tmp_path / name / "app", module).stdout == f"{module}\n"
    assert all(libraries["quiet"].values()) and libraries["quiet"].keys() == libraries["speaking"].keys()
    warm = {name for name, cold in libraries["speaking"].items() if not cold}
    assert "_ssl" in warm and "_sqlite3" not in warm
    assert any("libssl" in name for name in warm) and not any("libsqlite" in name for name in warm)
    assert sizes["quiet"] < sizes["speaking"]


def test_what_a_library_only_reads_is_the_executables(kits, each_minor):
    """Nothing of a copy stays but what the loader has written to; compressed code has no other place."""
    code = """
def parts():
    return [line.split() for line in open("/proc/self/maps")]
def code():
    return [part[1] for part in parts() if part[-1] == sys.executable].count("r-xp")
before = code()
from nativekit import _first, _alone
say(copied=sorted({part[1] for part in parts() if any("/memfd:" in word for word in part)}), code=code() - before)
"""
    plain = question(kits(each_minor), code)
    assert plain["code"] > 2 and not any("x" in mode for mode in plain["copied"]), plain
    compressed = question(kits(each_minor, pack=("--compress-native",)), code)
    assert compressed["code"] == 0 and "r-xp" in compressed["copied"], compressed


def test_a_page_that_a_library_reads_and_writes(kits, each_minor):
    """Two of its segments meet there: the page stays the copy's."""
    code = """
import ctypes, nativekit
library = ctypes.CDLL(os.path.join(os.path.dirname(nativekit.__file__), "libcramped.so"))
say(values=[library.cramped(), library.cramped()])
"""
    assert question(kits(each_minor), code) == {"values": [7, 8]}


# --- Names ----------------------------------------------------------------------


def test_a_module_has_its_path_below_the_executable(kits, each_minor):
    code = """
import importlib.util, inspect, traceback
from nativekit import _first, _second
def failed(module):
    try:
        module.fail()
    except ValueError:
        return traceback.format_exc().splitlines()
say(
    files=[_first.__file__, _second.__file__, _first.__spec__.origin, _second.__spec__.origin, inspect.getfile(_first)],
    loaders=[type(_first.__loader__).__name__, type(_second.__spec__.loader).__name__],
    reprs=[repr(_first), repr(_second)],
    traceback=failed(_first),
)
"""
    executable = kits(each_minor)
    answer = question(executable, code)
    first, second = (f"{site_packages(executable, each_minor)}/nativekit/{name}.abi3.so" for name in ("_first", "_second"))
    assert answer["files"] == [first, second, first, second, first]
    assert answer["loaders"] == ["ExtensionFileLoader"] * 2
    assert answer["reprs"] == [f"<module 'nativekit._first' from '{first}'>", f"<module 'nativekit._second' from '{second}'>"]
    assert answer["traceback"][-1] == "ValueError: from C"


def test_dladdr_and_maps_give_useful_names(kits, each_minor):
    """What a debugger, a profiler or a library that looks for itself is told."""
    code = """
import ctypes, nativekit
from nativekit import _first, _alone

class Info(ctypes.Structure):
    _fields_ = [("name", ctypes.c_char_p), ("base", ctypes.c_void_p), ("symbol", ctypes.c_char_p), ("at", ctypes.c_void_p)]

def name_of(address):
    info = Info()
    assert ctypes.CDLL(None).dladdr(ctypes.c_void_p(address), ctypes.byref(info))
    return info.name.decode()

plain = ctypes.CDLL(os.path.join(os.path.dirname(nativekit.__file__), "libplain.so")).plain
say(
    names=[name_of(_first.address()), name_of(_alone.address()), name_of(ctypes.cast(plain, ctypes.c_void_p).value)],
    maps=sorted(name for name in mapped() if "_first" in name or "_alone" in name or "plain" in name),
)
"""
    executable = kits(each_minor)
    answer = question(executable, code)
    folder = f"{site_packages(executable, each_minor)}/nativekit"
    assert answer["names"] == [f"{folder}/_first.abi3.so", f"{folder}/_alone.abi3.so", f"{folder}/libplain.so"]
    assert answer["maps"] == ["_alone.abi3.so", "_first.abi3.so", "libplain.so"]


def test_what_cannot_be_loaded_is_named(kits, each_minor):
    """Each time that it is imported, and by its own path."""
    code = """
errors = []
for _ in range(3):
    try:
        from nativekit import _unbound
    except ImportError as error:
        errors.append([error.name, error.path, str(error)])
    # Whatever takes the number of the descriptor.
    os.open("/dev/null", os.O_RDONLY)
from nativekit import _first
say(errors=errors, value=_first.call())
"""
    executable = kits(each_minor)
    answer = question(executable, code)
    path = f"{site_packages(executable, each_minor)}/nativekit/_unbound.abi3.so"
    assert answer["value"] == 42
    assert answer["errors"] == [["_unbound", path, f"{path}: undefined symbol: nowhere"]] * 3


# --- Where memory is forbidden --------------------------------------------------

IMPORTS = "from nativekit import _first, _second, _counts, _circle, _unnamed\n"
VALUES = "say(values=[_first.call(), _second.call(), _counts.call(), _circle.call(), _unnamed.call()], mapped=mapped())"
ALL_VALUES = [42, 43, 11, 9, 5]


def forbid(call="memfd_create", error="EPERM"):
    """A command before another, to which the kernel then refuses a call."""
    require("strace")
    return ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={call}", "-e", f"inject={call}:error={error}"]


def without_memory(executable, code, environment, error="EPERM"):
    done = run(*forbid(error=error), executable, MAPPED + code, env=environment)
    return json.loads(done.stdout)


@pytest.mark.parametrize("error", ["EPERM", "ENOSYS"])
def test_a_private_folder_serves_where_memfd_is_forbidden(kit, home, error):
    """By a policy, or by an old kernel."""
    environment, cache = home
    answer = without_memory(kit, IMPORTS + VALUES, environment, error)
    assert answer["values"] == ALL_VALUES
    assert [path for files in answer["mapped"].values() for path, _ in files if path.startswith("/memfd:")] == []
    assert cache.stat().st_mode & 0o777 == 0o700
    (folder,) = cache.iterdir()
    assert folder.stat().st_mode & 0o777 == 0o700 and re.fullmatch("[0-9a-f]{64}", folder.name), "keyed by the blob's digest"
    files = {path.name: path.stat() for path in folder.iterdir()}
    for wanted in (BASE, SHARED, "_first.abi3.so", "_second.abi3.so"):
        (found,) = (name for name in files if name.endswith(f"-{wanted}"))
        assert files[found].st_mode & 0o077 == 0

    # The second start uses them.
    assert without_memory(kit, IMPORTS + VALUES, environment, error)["values"] == ALL_VALUES
    again = {path.name: path.stat() for path in folder.iterdir()}
    assert {name: (stat.st_ino, stat.st_mtime_ns) for name, stat in again.items()} == {
        name: (stat.st_ino, stat.st_mtime_ns) for name, stat in files.items()
    }


def test_on_each_minor_without_memfd(kits, each_minor, home):
    environment, _ = home
    assert without_memory(kits(each_minor), IMPORTS + VALUES, environment)["values"] == ALL_VALUES


def test_names_in_the_private_folder(kit, host, home):
    """They are what they are in memory."""
    environment, _ = home
    code = "from nativekit import _first\nsay(file=_first.__file__, repr=repr(_first))"
    path = f"{site_packages(kit, host)}/nativekit/_first.abi3.so"
    assert without_memory(kit, code, environment) == {"file": path, "repr": f"<module 'nativekit._first' from '{path}'>"}


@pytest.mark.parametrize("damage", ["flipped", "cut", "removed", "longer", "a folder's mode"])
def test_a_damaged_file_of_the_private_folder_is_made_again(kit, home, damage):
    environment, cache = home
    code = "from nativekit import _first\nsay(value=_first.call())"
    without_memory(kit, code, environment)
    (path,) = cache.glob(f"*/*-{SHARED}")
    whole = path.read_bytes()
    path.chmod(0o700)
    match damage:
        case "flipped":
            path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        case "cut":
            path.write_bytes(whole[:100])
        case "removed":
            path.unlink()
        case "longer":
            path.write_bytes(whole + b"\n")
        case "a folder's mode":
            cache.chmod(0o777)
    assert without_memory(kit, code, environment) == {"value": 42}
    assert path.read_bytes() == whole
    assert cache.stat().st_mode & 0o777 == 0o700


def test_without_a_home_the_temporary_folder_serves(kit, home, tmp_path):
    environment, _ = home
    # No folder can be made there, not even by root.
    environment |= {"HOME": "/proc"}
    assert without_memory(kit, IMPORTS + VALUES, environment)["values"] == ALL_VALUES
    assert (tmp_path / f"pyembed-{os.geteuid()}").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("module", ["_first", "_circle"])
def test_where_nothing_can_be_written_the_import_says_so(kit, home, module):
    environment, _ = home
    environment |= {"HOME": "/proc", "TMPDIR": "/proc"}
    done = run(*forbid(), kit, f"from nativekit import {module}", env=environment, check=False)
    assert done.returncode == 1
    library = {"_first": BASE, "_circle": PONG}[module]
    assert re.fullmatch(
        rf"ImportError: lib/python3\.\d+/site-packages/nativekit\.libs/({PING}|{library}): cannot be loaded: from memory: Operation not permitted \(os error {errno.EPERM}\); "
        r"from the cache folder: /proc/\.cache/pyembed: .*; /proc/pyembed-\d+: .*",
        done.stderr.splitlines()[-1],
    ), done.stderr


def test_without_proc_the_private_folder_serves(kit, home):
    """The loader opens memory by a path below /proc."""
    require("unshare")
    environment, cache = home
    command = ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs none /proc && exec "$@"', "sh"]
    code = "import sys\nfrom nativekit import _first, _second, _unnamed\nprint(_first.call(), _second.call(), _unnamed.call())"
    assert run(*command, kit, code, env=environment).stdout == "42 43 5\n"
    assert len(list(cache.glob(f"*/*-{SHARED}"))) == 1


# --- Other processes ------------------------------------------------------------


def test_nothing_of_native_code_stays(kits, each_minor, home, tmp_path):
    """No file is left; a child gets its parent's environment as it is, and no descriptor."""
    environment, cache = home
    environment["LD_LIBRARY_PATH"] = "/nowhere"
    code = """
import ctypes, nativekit, subprocess, _sqlite3, _ssl
from nativekit import _first, _second, _circle, _unnamed
ctypes.CDLL(os.path.join(os.path.dirname(nativekit.__file__), "libplain.so"))
options = {"stdout": subprocess.PIPE, "close_fds": False}
said = subprocess.run(["/usr/bin/env", "-0"], **options).stdout.decode("utf-8", "surrogateescape")
descriptors = subprocess.run(["/bin/ls", "/proc/self/fd"], **options).stdout.split()
say(environment=said, descriptors=len(descriptors))
"""
    answer = question(kits(each_minor), code, env=environment)
    child = dict(line.split("=", 1) for line in answer["environment"].split("\0") if line)
    assert child == environment
    assert answer["descriptors"] == 4, "the three streams, and the one that ls reads"
    assert list((tmp_path / "home").iterdir()) == [] and not cache.exists()


def test_a_forked_child_imports_on(kit):
    code = """
from nativekit import _first
import json, os
reader, writer = os.pipe()
if not (child := os.fork()):
    from nativekit import _second, _counts, _circle
    os.write(writer, json.dumps([_first.call(), _second.call(), _counts.call(), _circle.call()]).encode())
    os._exit(0)
os.waitpid(child, 0)
print(os.read(reader, 100).decode())
"""
    assert ask(kit, code) == [42, 43, 11, 9]


# --- What the tools say ---------------------------------------------------------


def test_a_static_link_is_refused_by_name(pyox, kits, source):
    blob = kits(source).with_name("app.blob")
    done = pyox("link", blob, "-d", source.document, "--static", "-o", blob.with_name("static"), check=False)
    assert done.returncode == 2 and not blob.with_name("static").exists()
    error, hint = done.stderr.splitlines()
    assert re.fullmatch(
        r"pyox-link: error: --static: a static executable cannot load shared objects, and the blob holds "
        r"_\w+\.abi3\.so, _\w+\.abi3\.so, _\w+\.abi3\.so and \d+ more",
        error,
    )
    assert hint == "pyox-link: hint: link with --dynamic, or leave them out with `pyox-collect --exclude`"
    said = pyox("link", blob, "-d", source.document, "-o", blob.with_name("again")).stderr
    assert "note: dynamic: native code of nativekit needs a loader" in said


def test_collect_writes_what_each_needs(pyox, kit, host):
    """Nearest to none first, and nothing of libc's."""
    manifest = json.loads(kit.with_name("app.json").read_text())
    projects = site_packages("", host)[1:] + "/"
    located = [resource for resource in manifest["resources"] if resource.get("location")]
    needs = {
        resource["location"].removeprefix(projects): [need.removeprefix(projects) for need in resource.get("needs", [])]
        for resource in located
    }
    assert needs["nativekit/_first.abi3.so"] == [f"nativekit.libs/{BASE}", f"nativekit.libs/{SHARED}"]
    assert needs["nativekit/_unnamed.abi3.so"] == ["nativekit/libunnamed.so"]
    assert needs["nativekit/_alone.abi3.so"] == []
    assert sorted(needs["nativekit/_circle.abi3.so"]) == [f"nativekit.libs/{PING}", f"nativekit.libs/{PONG}"]
    assert not any(re.search(r"/(ld-linux|lib(c|m|dl|pthread)\.so)", need) for needs in needs.values() for need in needs)


@pytest.fixture(scope="session")
def lacking(include, tmp_path_factory):
    """A package whose extension module needs a library that is nowhere, another that needs the first by way of one."""
    folder = tmp_path_factory.mktemp("lacking")
    compile_c(folder, "libabsent.so.7", "int absent(void) { return 7; }", [], ["-Wl,-soname,libabsent.so.7"])
    compile_c(folder, "lacking/libnear.so", "int absent(void); int near_(void) { return absent(); }", ["libabsent.so.7"], ["-Wl,-soname,libnear.so"])
    compile_extension(folder, "lacking/_direct.abi3.so", include, "absent()", "int absent(void);", ["libabsent.so.7"])
    compile_extension(folder, "lacking/_through.abi3.so", include, "near_()", "int near_(void);", ["lacking/libnear.so"], [ORIGIN])
    compile_extension(folder, "lacking/_fine.abi3.so", include, "3")
    (folder / "libabsent.so.7").unlink()
    write(folder / "lacking/__init__.py", "")
    write(folder / "main.py", "import sys\nexec(sys.argv.pop(1))\n")
    return folder


def test_a_missing_library_is_named(pyox, host, lacking, tmp_path):
    """By pyox-collect, with all that need it; and by the import, for whoever goes on."""
    apps = [lacking / "main.py", lacking / "lacking"]
    said = pyox("collect", "-d", host.document, *apps, "-o", tmp_path / "app.json").stderr
    assert (
        "pyox-collect: warning: libabsent.so.7: expected a shared library, found none; "
        "needed by app/lacking/libnear.so, lacking._direct\n"
    ) in said
    assert "pyox-collect: hint: install what brings it, or --exclude the extension module that needs it" in said
    executable = pyox.build(tmp_path, host, *apps)
    for module in ("_direct", "_through"):
        done = run(executable, f"import lacking.{module}", check=False)
        assert done.returncode == 1
        last = done.stderr.splitlines()[-1]
        assert last.startswith("ImportError: ") and "libabsent.so.7: cannot open shared object file: No such file or directory" in last
        assert "/proc/" not in last
    code = """
import json
errors = []
for name in ("_direct", "_through") * 2:
    try:
        __import__(f"lacking.{name}")
    except ImportError as error:
        errors.append(error.name)
from lacking import _fine
print(json.dumps([errors, _fine.call()]))
"""
    assert ask(executable, code) == [["_direct", "_through"] * 2, 3]


def test_a_missing_library_of_a_corrupt_kind(pyox, host, include, tmp_path):
    """A library that the extension module needs is no library: it is the same as none."""
    folder = tmp_path / "sources"
    compile_c(folder, "torn/libbad.so", "int bad(void) { return 1; }", [], ["-Wl,-soname,libbad.so"])
    compile_extension(folder, "torn/_needs.abi3.so", include, "bad()", "int bad(void);", ["torn/libbad.so"], [ORIGIN])
    (folder / "torn/libbad.so").write_bytes(b"no library at all\n")
    write(folder / "torn/__init__.py", "")
    main = write(folder / "main.py", "import torn._needs\n")
    done = pyox("collect", "-d", host.document, main, folder / "torn", "-o", tmp_path / "app.json", check=False)
    assert "libbad.so: expected a shared library, found none; needed by torn._needs" in done.stderr
    done = run(pyox.build(tmp_path, host, main, folder / "torn"), check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "ImportError: libbad.so: cannot open shared object file: No such file or directory"


def corruptions(whole):
    """Ways in which a shared object may be damaged, `{name: its bytes}`."""
    segments = struct.unpack_from("<Q", whole, 32)[0]
    count = struct.unpack_from("<H", whole, 56)[0]
    headers = [struct.unpack_from("<IIQQQQQQ", whole, segments + 56 * number) for number in range(count)]
    end = max(offset + size for kind, _, offset, _, _, size, _, _ in headers if kind == 1)
    ((dynamic, size),) = ((offset, size) for kind, _, offset, _, _, size, _, _ in headers if kind == 2)
    other = bytearray(whole)
    struct.pack_into("<H", other, 18, 183)
    return {
        "empty": b"",
        "text": b"#!/bin/sh\nexit 0\n",
        "a page of zeroes": bytes(4096),
        "cut in its header": whole[:40],
        "cut in its first segment": whole[:600],
        "cut in the middle": whole[: len(whole) // 2],
        "cut in its last segment": whole[: end - 1],
        "without its dynamic section": whole[:dynamic] + bytes(size) + whole[dynamic + size :],
        "for another machine": bytes(other),
    }


def test_a_corrupt_extension_module(pyox, host, tree, tmp_path):
    """It is refused where it is first read, with its name and in one line."""
    whole = (tree / "nativekit/_alone.abi3.so").read_bytes()
    main = write(tmp_path / "main.py", "import torn._alone\n")
    for name, content in corruptions(whole).items():
        package = tmp_path / "torn"
        write(package / "__init__.py", "")
        (package / "_alone.abi3.so").write_bytes(content)
        done = pyox("collect", "-d", host.document, main, package, "-o", tmp_path / "app.json", check=False)
        assert done.returncode == 2, name
        lines = done.stderr.splitlines()
        assert lines[0].startswith("pyox-collect: error: ") and "_alone.abi3.so: expected" in lines[0], (name, lines)
        assert not (tmp_path / "app.json").exists()


def test_a_corrupt_library(pyox, host, tree, tmp_path):
    """As an extension module, where it is a shared object to those who look at its beginning."""
    library = tmp_path / "torn/libplugin.so"
    whole = (tree / "nativekit/plugins/libplugin.so").read_bytes()
    main = write(tmp_path / "main.py", "print('fine')\n")
    write(library.with_name("__init__.py"), "")
    for name, content in corruptions(whole).items():
        library.write_bytes(content)
        done = pyox("collect", "-d", host.document, main, library.parent, "-o", tmp_path / "app.json", check=False)
        if content.startswith(b"\x7fELF") and name != "for another machine":
            assert done.returncode == 2 and "libplugin.so: expected a shared object: " in done.stderr, name
        else:
            assert done.returncode == 0, name


@pytest.mark.parametrize("name", ["_alone.abi3.so", BASE, PONG])
def test_native_code_that_was_damaged_in_the_executable(kit, tree, home, tmp_path, name):
    """An ImportError with its name, from memory and from the private folder, which keeps nothing of it."""
    environment, cache = home
    (path,) = tree.rglob(name)
    whole = path.read_bytes()
    content = bytearray(kit.read_bytes())
    at = content.find(whole)
    assert at > 0 and content.find(whole, at + 1) < 0
    content[at + len(whole) // 2] ^= 0x10
    damaged = tmp_path / "damaged"
    damaged.write_bytes(content)
    damaged.chmod(0o755)
    module = {"_alone.abi3.so": "_alone", BASE: "_first", PONG: "_circle"}[name]
    for before in ([], forbid()):
        done = run(*before, damaged, f"from nativekit import {module}", env=environment, check=False)
        assert done.returncode == 1
        assert re.match(rf"ImportError: .*{re.escape(name)}: damaged: expected CRC-32", done.stderr.splitlines()[-1]), done.stderr
    assert not list(cache.glob(f"*/*-{name}"))
    other = "_alone" if module == "_circle" else "_circle"
    done = run(damaged, f"from nativekit import {other}; print({other}.call())", env=environment)
    assert done.stdout in ("1\n", "9\n"), "the rest is whole"


@pytest.mark.parametrize("shape", ["--static", "--dynamic"])
def test_the_c_api_by_name(pyox, source, tmp_path, shape):
    """`ctypes.pythonapi`, also where no dynamic loader knows the executable's symbols."""
    code = """
        import ctypes
        api = ctypes.pythonapi
        api.Py_GetVersion.restype = ctypes.c_char_p
        api.PyUnicode_FromString.restype = ctypes.py_object
        print(api.Py_GetVersion(), api.PyUnicode_FromString(b"made"), ctypes.c_char_p.in_dll(api, "Py_hexdigits").value)
        print(hasattr(api, "PyNothing_OfThatName"), hasattr(ctypes.PyDLL(None), "PyErr_SetString"))
    """
    script = write(tmp_path / "api.py", code)
    app = pyox.build(tmp_path, source, script, name="app", link=(shape,))
    assert run(app).stdout == source.run_python(script).stdout


def test_circles_of_any_size(pyox, include, host, tmp_path):
    """Two pairs of libraries that need each other, and three in a ring, one after the other in one process."""
    folder = tmp_path / "path"
    rings = {"pair": 2, "other": 2, "ring": 3, "wide": 4}
    for ring, size in rings.items():
        names = [f"lib{ring}-{number}-0a1b2c3d.so.1" for number in range(size)]
        functions = [f"{ring}{number}" for number in range(size)]
        for number in (*range(size), *range(size)):
            # Each counts down through the next. The second time there is one to link with.
            after = functions[(number + 1) % size]
            source = f"int {after}(int); int {functions[number]}(int n) {{ return n ? 1 + {after}(n - 1) : 100; }}"
            needed = f"rings.libs/{names[(number + 1) % size]}"
            libraries = [needed] if (folder / needed).exists() else []
            compile_c(folder, f"rings.libs/{names[number]}", source, libraries, [f"-Wl,-soname,{names[number]}", ORIGIN])
        compile_extension(folder, f"rings/_{ring}.abi3.so", include, f"{ring}0(9)", f"int {ring}0(int);", [f"rings.libs/{names[0]}"], [ORIGIN_LIBS])
    write(folder / "rings/__init__.py", "")
    code = "from rings import _pair, _other\nfrom rings import _ring, _wide\nprint(_pair.call(), _other.call(), _ring.call(), _wide.call())\n"
    app = pyox.build_script(tmp_path, host, code, "--path", folder)
    assert run(app).stdout == "109 109 109 109\n"
