"""The distributions that `source@…` builds, against the rules of python-build-standalone's validator: libraries that may be
needed, symbols' versions, what `PYTHON.json` says of each extension module, and that what it names is there.

Each exception is named here, with its reason.
"""

import functools
import json
import re
from pathlib import Path

import pytest

from chain import run

# What the validator lets a program or module need: the C library of the target.
MAY_BE_NEEDED = {"libc.so.6", "libm.so.6", "ld-linux-x86-64.so.2"}
# Its own need glibc 2.17, from their build hosts. Ours are made of this machine's static libraries, and say what they need.
SAYS_GLIBC = re.compile(r"glibc-max-symbol-version:(\d+)\.(\d+)")
# What it wants of every CPython for Linux, less what distribution/README.md leaves out, and less what only some minor versions have.
MODULES = set(
    "_abc _ast _asyncio _bisect _blake2 _bz2 _codecs _codecs_cn _codecs_hk _codecs_iso2022 _codecs_jp _codecs_kr _codecs_tw _collections "
    "_contextvars _csv _ctypes _curses _curses_panel _datetime _decimal _elementtree _functools _hashlib _heapq _imp _io _json _locale _lsprof _lzma "
    "_md5 _multibytecodec _multiprocessing _opcode _operator _pickle _posixshmem _posixsubprocess _queue _random _sha1 _sha3 _signal "
    "_socket _sqlite3 _sre _ssl _stat _statistics _string _struct _symtable _thread _tokenize _tracemalloc _typing _uuid _weakref _zoneinfo "
    "array atexit binascii cmath errno faulthandler fcntl gc grp itertools math mmap posix pwd pyexpat readline resource select syslog "
    "termios time unicodedata zlib".split()
)
# Of the core: they have no object file of their own in the list, and the interpreter initialises some by itself.
WITHOUT_INIT = {"builtins", "sys"}
# The archives that CPython's build makes; all others are the system's.
OWN = ("libpython", "libHacl", "libexpat", "libmpdec")
SPDX = {
    "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "LGPL-2.1-or-later", "MIT", "Python-2.0", "X11", "Zlib", "blessing", "bzip2-1.0.6",
}


class Archive:
    """An unpacked archive, and its `PYTHON.json`."""

    def __init__(self, root):
        self.root = root
        self.json = json.loads((root / "PYTHON.json").read_text())
        self.info = self.json["build_info"]
        self.python = root / self.json["python_exe"]
        self.libpython = root / self.info["core"]["static_lib"]
        # Of link-time optimisation by clang.
        self.is_bitcode = self.info["object_file_format"].startswith("llvm-bitcode:")

    def symbols(self, path, *options):
        """Names in an object file, archive or program."""
        done = run("llvm-nm" if self.is_bitcode else "nm", *options, path)
        return {line.split()[-1] for line in done.stdout.splitlines() if line.strip() and not line.endswith(":")}

    @functools.cached_property
    def variants(self):
        """Each variant of each extension module."""
        return [(name, variant) for name, variants in self.info["extensions"].items() for variant in variants]

    @functools.cached_property
    def links(self):
        return [*self.info["core"]["links"], *(link for _, variant in self.variants for link in variant["links"])]

    @functools.cached_property
    def libraries(self):
        """The archives with object files."""
        found = {self.root / link["path_static"] for link in self.links if link.get("path_static")}
        return sorted(found | {self.libpython})

    def programs(self):
        """Every program and shared object in it."""
        for path in sorted(self.root.rglob("*")):
            if path.is_file() and not path.is_symlink():
                with path.open("rb") as file:
                    head = file.read(18)
                # ELF's ET_EXEC and ET_DYN.
                if head[:4] == b"\x7fELF" and head[16] in (2, 3):
                    yield path


@pytest.fixture
def archive(built):
    return Archive(Path(built.json["root"]))


def test_all_that_the_document_names_is_there(archive):
    document, info = archive.json, archive.info
    named = [document["python_exe"], document["python_stdlib_platform_config"], document["run_tests"], document["license_path"]]
    named += [info["inittab_object"], info["inittab_source"], info["core"]["static_lib"], *info["core"]["objs"]]
    named += [path for key, path in document["python_paths"].items() if key not in ("platlib", "purelib")]
    named += [path for _, variant in archive.variants for path in (*variant["objs"], *variant["license_paths"])]
    named += [link["path_static"] for link in archive.links if "path_static" in link]
    assert [path for path in named if not (archive.root / path).exists()] == []
    # And no licence lies there for nothing.
    licences = {path for _, variant in archive.variants for path in variant["license_paths"]} | {document["license_path"]}
    unnamed = {str(path.relative_to(archive.root)) for path in (archive.root / "licenses").iterdir()} - licences
    # What every executable has in it is no extension module's: the C library's and the compiler's.
    assert {name for name in unnamed if not re.search(r"\.(libc|libgcc|gcc)", name)} == set()


def test_what_the_document_says_of_its_python_is_so(archive):
    document = archive.json
    assert document["version"] == "8" and document["target_triple"] == "x86_64-unknown-linux-gnu"
    code = """
        import importlib.machinery as m, importlib.util as u, json, sys, sysconfig
        print(json.dumps([sys.version.split()[0], sys.implementation.cache_tag, sys.hexversion, u.MAGIC_NUMBER.hex(), m.EXTENSION_SUFFIXES,
                          sorted(sys.builtin_module_names), sysconfig.get_platform(), sys.abiflags]))
        """
    said = json.loads(run(archive.python, "-I", "-c", "".join(line.strip() + "\n" for line in code.splitlines())).stdout)
    assert said[:5] == [
        document["python_version"], document["python_implementation_cache_tag"], document["python_implementation_hex_version"],
        document["python_bytecode_magic_number"], document["python_suffixes"]["extension"],
    ]
    assert set(said[5]) - WITHOUT_INIT == set(archive.info["extensions"]) - WITHOUT_INIT
    assert (said[6].replace("-", "_"), said[7]) == (document["python_platform_tag"], "")
    assert document["libpython_link_mode"] == "static" and document["python_extension_module_loading"] == ["builtin", "shared-library"]
    run(archive.python, "-I", archive.root / document["run_tests"])


def test_programs_need_the_c_library_alone_and_no_newer_one_than_is_said(archive):
    programs = list(archive.programs())
    assert archive.python in programs
    limit = tuple(map(int, SAYS_GLIBC.search(" ".join(archive.json["crt_features"])).groups()))
    for path in programs:
        dynamic = run("readelf", "--dynamic", "--wide", path).stdout
        assert set(re.findall(r"\(NEEDED\).*\[(.*)\]", dynamic)) <= MAY_BE_NEEDED, path
        assert "(RPATH)" not in dynamic and "(TEXTREL)" not in dynamic, path
        # libbsd's own versions, which came with its archive, are defined there, and needed of nobody.
        needs = run("readelf", "--version-info", "--wide", path).stdout.partition("Version needs section")[2]
        versions = re.findall(r"\b([A-Z]+)_(\d+)\.(\d+)", needs)
        assert {name for name, *_ in versions} <= {"GLIBC"}, path
        assert max(tuple(map(int, version)) for _, *version in versions) <= limit, path


def test_extension_modules(archive):
    extensions = archive.info["extensions"]
    assert MODULES - set(extensions) == set()
    defined = archive.symbols(archive.libpython, "--defined-only")
    for name, variant in archive.variants:
        assert variant["variant"] == "default" and "shared_lib" not in variant, name
        if name in WITHOUT_INIT:
            continue
        assert variant["init_fn"] in defined, name
        # The module's own objects have it, unless it is one of the core.
        own = set().union(*(archive.symbols(archive.root / path, "--defined-only") for path in variant["objs"]))
        assert variant["in_core"] or variant["init_fn"] in own, name
    # What CPython's table of built-in modules names is what the document does.
    table = (archive.root / archive.info["inittab_source"]).read_text()
    entries = dict(re.findall(r'\{"(\w+)", (\w+)\}', table))
    assert set(entries) - WITHOUT_INIT == set(extensions) - WITHOUT_INIT
    assert {entries[name] for name in extensions if name not in WITHOUT_INIT} == {v["init_fn"] for n, v in archive.variants if n not in WITHOUT_INIT}


def test_licences_are_told_of_all_that_is_linked(archive):
    for name, variant in archive.variants:
        brought = [link["name"] for link in variant["links"] if not link.get("system")]
        assert not brought or (variant["licenses"] and variant["license_paths"]) or variant["license_public_domain"], (name, brought)
        assert set(variant["licenses"]) <= SPDX, name
        # What is not brought is the C library's, and the same on every machine.
        assert {link["name"] for link in variant["links"] if link.get("system")} <= {"m", "dl", "pthread", "rt", "util"}, name


def test_archives_hold_objects_of_the_machine_and_all_that_they_need(archive):
    assert archive.is_bitcode or archive.info["object_file_format"] == "elf"
    defined = set()
    for path in archive.libraries:
        defined |= archive.symbols(path, "--defined-only")
        if archive.is_bitcode and path.name.startswith(OWN):
            # readelf knows none of it.
            assert b"\nBC\xc0\xde" in path.read_bytes(), path
            continue
        headers = run("readelf", "--file-header", "--wide", path).stdout
        kinds = set(re.findall(r"Type: +(\w+)", headers)), set(re.findall(r"Machine: +(.+)", headers))
        assert kinds == ({"REL"}, {"Advanced Micro Devices X86-64"}), path
    # Python's C API is there, for extension modules, in the program too.
    api = {"Py_Initialize", "Py_InitializeFromConfig", "PyObject_CallObject", "PyModuleDef_Init", "PyUnicode_FromString"}
    assert api <= defined and api <= archive.symbols(archive.python, "--dynamic", "--defined-only")
    wanted = archive.symbols(archive.libpython, "--undefined-only")
    assert {name for name in wanted - defined if name.startswith(("Py", "_Py", "Hacl", "XML_", "mpd_", "SSL_", "sqlite3_", "inflate", "lzma_", "BZ2_", "ffi_"))} == set()
