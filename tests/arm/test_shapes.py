"""Static and dynamic executables for 64-bit Arm, of Debian's CPython 3.11: later ones have no static library that can be linked.

A cross compiler links them in a root folder, against the C library and the archives of the folder that they run in.
"""

import json
import re

import pytest

from chain import REPOSITORY, in_root, run, write
from test_arm import APPLICATION, TARGET, WHEEL, ask

ROOT, CROSS = "bookworm-arm64", "forky-cross"

# Everything that needs no shared object: what Debian's interpreter has built in.
BUILTIN = """
import hashlib, json, math, os, re, struct, subprocess, sys, time, zlib, unicodedata
print(os.uname().machine, sys.version_info[:2], json.__file__.removeprefix(sys.executable))
print(math.sqrt(16), struct.pack(">I", 7), zlib.crc32(b"a"), re.findall("a+", "aab"), unicodedata.name("a"))
print(open(json.__file__).readline().strip()[:30], "decoder.py" in os.listdir(os.path.dirname(json.__file__)))
print(subprocess.run([sys.executable, "-c", "print(6 * 7)"], capture_output=True, text=True).stdout.strip())
"""


@pytest.fixture(scope="session")
def build(pyox, arm):
    """Makes an executable with the cross compiler."""
    root = run(REPOSITORY / "scripts/roots", ROOT).stdout.strip()
    flags = f"CFLAGS_{TARGET.replace('-', '_')}=--sysroot={root} -B{root}/usr/lib/aarch64-linux-gnu"

    def build(folder, code, shape, *options):
        pyox.blob(folder, arm, write(folder / "app.py", code), *options)
        # The compiler is asked for static libraries.
        for stage, *words in (
            ("fetch", f"host:{arm.python}", "-o", "dist.json"),
            ("link", "app.blob", "-d", "dist.json", "--target", TARGET, "--shape", shape, "-o", "app"),
        ):
            settings = [f"PYOX_CACHE_DIR={folder}/cache", f"QEMU_LD_PREFIX={root}", flags]
            in_root(CROSS, "env", "-C", folder, *settings, pyox.tool(stage), *words, bind=[folder, root])
        return folder / "app"

    return build


@pytest.fixture(scope="session")
def dynamic(build, tmp_path_factory):
    return build(tmp_path_factory.mktemp("dynamic"), APPLICATION, "dynamic", "--with", "numpy==2.3.5")


def test_a_dynamic_executable(dynamic):
    first = "aarch64 (3, 11) /lib/python3.11/json/__init__.py"
    assert ask(ROOT, dynamic, "standard_library") == [
        first, "(42,) 0.25 3904355907", "ca978112 OpenSSL True", "b'lzma'", "True 42", "slept",
    ]


def test_packed_files_and_children_of_a_dynamic_one(dynamic):
    first, second = ask(ROOT, dynamic, "files")
    assert first.endswith(" False") and second.endswith(" True") and "'decoder.py'" in second
    methods = [f"{method} [0, 1, 4, 9]" for method in ("fork", "spawn", "forkserver")]
    assert ask(ROOT, dynamic, "children") == [*methods, "child ['x'] [1]", "7"]


def test_a_wheel_in_a_dynamic_one(dynamic):
    assert ask(ROOT, dynamic, "wheel") == WHEEL


def test_the_end_of_a_dynamic_one(dynamic):
    out = dynamic.parent / "out"
    assert ask(ROOT, dynamic, "end", out) == [] and out.read_text() == "written at the end"


def test_a_dynamic_one_needs_the_c_library_alone(dynamic):
    needed = re.findall(r"\(NEEDED\).*\[(.*)\]", run("readelf", "--dynamic", "--wide", dynamic).stdout)
    assert set(needed) <= {"libc.so.6", "libm.so.6", "ld-linux-aarch64.so.1"}
    # Of the folder that it was linked with, and not of the compiler's.
    versions = re.findall(r"GLIBC_2\.(\d+)", run("readelf", "--version-info", "--wide", dynamic).stdout)
    assert max(map(int, versions)) <= 36


def test_a_static_executable_in_an_empty_folder(build, arm, tmp_path):
    """Without what Debian has as shared objects. It runs where there is neither a loader nor a library."""
    files = [extension["name"] for extension in arm.json["extensions"] if extension["linkage"] == "file"]
    # Those for tests of CPython itself are left out in any case.
    files = [name for name in files if not re.match("_test|_ctypes_test|_xxtest|xx", name)]
    app = build(tmp_path, BUILTIN, "static", *(word for name in files for word in ("--exclude", name)))
    assert "INTERP" not in run("readelf", "--program-headers", "--wide", app).stdout
    empty = tmp_path / "empty"
    (empty / "proc").mkdir(parents=True)
    app.rename(empty / "app")
    inside = 'mount -t proc proc "$1/proc" && exec chroot "$1" /app'
    done = run("unshare", "--mount", "sh", "-c", inside, "sh", empty)
    assert done.stdout.splitlines() == [
        "aarch64 (3, 11) /lib/python3.11/json/__init__.py",
        "4.0 b'\\x00\\x00\\x00\\x07' 3904355907 ['aa'] LATIN SMALL LETTER A",
        'r"""JSON (JavaScript Object No True',
        "42",
    ]


def test_both_are_found_for_that_machine(dynamic):
    facts = json.loads((dynamic.parent / "dist.json").read_text())
    assert (facts["target"], facts["link"]["driver"]) == (TARGET, "aarch64-linux-gnu-gcc")
    assert facts["link"]["static"] and facts["link"]["dynamic"]
