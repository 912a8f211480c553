"""What native code runs when it is loaded. The loader gets a copy without the code, so it does not call constructors: they are
called as it would call them. A library of which it needs the code earlier is copied whole.
"""

import os

import pytest

from chain import PORTABLE, clean_environment, require, run, write
from test_native import compile_c

# Enough code and constants to be left out of a copy.
LARGE = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
__asm__(".pushsection .text\\n.skip 65536, 0x90\\n.popsection");
const int constants[20000] = {1, [19999] = 2};
static char said[2000];
static void note(const char *what, int count, char **arguments, char **environment)
{
    static char line[65536];
    Dl_info info = {0};
    dladdr(said, &info);
    int commands = open("/proc/self/cmdline", O_RDONLY);
    long length = read(commands, line, sizeof line), strings = 0;
    close(commands);
    for (long at = 0; at < length; at++)
        strings += !line[at];
    snprintf(said + strlen(said), sizeof said - strlen(said), "%s %d %d %d %d %s;", what, count == strings, !strcmp(arguments[0], line),
        arguments[count] == 0, environment == environ, strrchr(info.dli_fname, '/'));
}
const char *report(void) { return said; }
int sum(void) { return constants[0] + constants[19999]; }
"""

FIRST = '__attribute__((constructor(101))) static void early(int c, char **a, char **e) { note("early", c, a, e); }\n'
LATER = '__attribute__((constructor)) static void later(int c, char **a, char **e) { note("later", c, a, e); }\n'
LAST = '__attribute__((destructor)) static void destroyed(void) { write(1, "destroyed\\n", 10); }\n'

# It finds itself by its path.
ASK_FOR_ITSELF = """
__attribute__((constructor)) static void again(int c, char **a, char **e)
{
    Dl_info info;
    dladdr(said, &info);
    void *same = dlopen(info.dli_fname, RTLD_NOW);
    const char *(*function)(void) = dlsym(same, "report");
    snprintf(said, sizeof said, "%d", function == report);
}
"""

# name: (source, options)
LIBRARIES = {
    "plain": (FIRST + LATER + LAST, []),
    "none": ("", []),
    "named": ('void begin(int c, char **a, char **e) { note("begin", c, a, e); } void end(void) { write(1, "end\\n", 4); }' + LATER, ["-Wl,-init,begin,-fini,end"]),
    "together": (FIRST + LATER + LAST, ["-Wl,-z,noseparate-code"]),
    "sysv": (LATER, ["-Wl,--hash-style=sysv"]),
    "packed": (LATER, ["-Wl,-z,pack-relative-relocs"]),
    "chosen": (
        LATER + "static int two(void) { return 2; } static void *choose(void) { return constants[19999] == 2 ? two : 0; }\n"
        'int chosen(void) __attribute__((ifunc("choose"))); int (*kept)(void) = chosen; int call(void) { return kept() + chosen(); }',
        [],
    ),
    "hidden": (
        LATER + "static int two(void) { return 2; } static void *choose(void) { return two; }\n"
        'static int chosen(void) __attribute__((ifunc("choose"))); int call(void) { return chosen(); }',
        [],
    ),
    "headless": (FIRST + LATER, []),
    "again": (ASK_FOR_ITSELF, []),
    "slow": ("static int ready; int is_ready(void) { return ready; } __attribute__((constructor)) static void slow(void) { usleep(300000); ready = 1; }", []),
}

# It opens a library on four threads at once, and asks each whether it is ready.
OPENER = """
#include <dlfcn.h>
#include <pthread.h>
static void *ask(void *path)
{
    void *library = dlopen(path, RTLD_NOW);
    int (*is_ready)(void) = dlsym(library, "is_ready");
    return (void *)(long)is_ready();
}
int open_on_threads(const char *path)
{
    pthread_t threads[4];
    long sum = 0;
    for (int n = 0; n < 4; n++)
        pthread_create(&threads[n], 0, ask, (void *)path);
    for (int n = 0; n < 4; n++) {
        void *ready;
        pthread_join(threads[n], &ready);
        sum += (long)ready;
    }
    return sum;
}
"""

THROWING = """
#include <stdexcept>
#include <string>
__asm__(".pushsection .text\\n.skip 65536, 0x90\\n.popsection");
static std::string said;
struct Thrower {
    Thrower() { try { throw std::runtime_error("thrown"); } catch (const std::exception &error) { said = error.what(); } }
    ~Thrower() { said += "!"; }
};
static Thrower thrower;
extern "C" const char *report(void) { return said.c_str(); }
"""

MAIN = f"""
import ctypes, os, sys
folder = os.path.join(os.path.dirname(os.path.abspath(__file__)), "made")
for name in {[*LIBRARIES][:-1]!r}:
    library = ctypes.CDLL(os.path.join(folder, f"lib{{name}}.so"))
    library.report.restype = ctypes.c_char_p
    print(name, library.report().decode(), library.sum(), library.call() if name in ("chosen", "hidden") else "", flush=True)
throwing = ctypes.CDLL(os.path.join(folder, "libthrowing.so"))
throwing.report.restype = ctypes.c_char_p
print(throwing.report().decode())
print(ctypes.CDLL(os.path.join(folder, "libopener.so")).open_on_threads(os.fsencode(os.path.join(folder, "libslow.so"))), flush=True)
"""


@pytest.fixture(scope="session")
def tree(tmp_path_factory):
    require("gcc", "g++")
    folder = tmp_path_factory.mktemp("constructors")
    for name, (source, options) in LIBRARIES.items():
        compile_c(folder, f"made/lib{name}.so", LARGE + source, [], options)
    headless = folder / "made/libheadless.so"
    content = bytearray(headless.read_bytes())
    content[40:48], content[60:64] = bytes(8), bytes(4)
    headless.write_bytes(content)
    compile_c(folder, "made/libopener.so", OPENER)
    run("g++", "-shared", "-fPIC", "-O1", "-s", "-static-libstdc++", "-x", "c++", "-", "-o", "made/libthrowing.so", cwd=folder, input=THROWING)
    write(folder / "made/__init__.py", "")
    write(folder / "main.py", MAIN)
    return folder


@pytest.fixture(scope="session")
def apps(pyox, tree, tmp_path_factory):
    known = {}

    def build(distribution, *shape):
        if (distribution.spec, shape) not in known:
            folder = tmp_path_factory.mktemp("app")
            known[distribution.spec, shape] = pyox.build(folder, distribution, tree / "main.py", tree / "made", link=shape)
        return known[distribution.spec, shape]

    return build


def expected_of(tree, distribution):
    expected = distribution.run_python(tree / "main.py").stdout
    assert "plain early 1 1 1 1 /libplain.so;later 1 1 1 1 /libplain.so; 3 \n" in expected
    assert "named begin 1 1 1 1 /libnamed.so;later " in expected and "\nagain 1 3 \nthrown\n4\n" in expected
    assert "\nchosen later 1 1 1 1 /libchosen.so; 3 4\n" in expected
    assert sorted(expected.splitlines()[-4:])[-3:] == ["destroyed", "destroyed", "end"]
    return expected


def test_constructors_are_called_as_the_loader_calls_them(apps, tree, each_minor):
    assert run(apps(each_minor), "an argument", env=clean_environment()).stdout == expected_of(tree, each_minor)


def test_in_a_portable_executable_too(apps, tree, shared):
    assert run(apps(shared, PORTABLE), "an argument", env=clean_environment()).stdout == expected_of(tree, shared)


def test_in_one_with_a_snapshot_too(pyox, apps, tree, host, tmp_path):
    pyox("snapshot", apps(host), "-o", tmp_path / "fast")
    assert run(tmp_path / "fast", "an argument", env=clean_environment()).stdout == expected_of(tree, host)


def test_where_the_executable_cannot_be_read_the_copies_are_whole(apps, tree, host, tmp_path):
    """Whoever may run it and not read it cannot map it again."""
    app = tmp_path / "app"
    app.write_bytes(apps(host).read_bytes())
    app.chmod(0o711)
    tmp_path.chmod(0o755)
    command = [app]
    if os.geteuid() == 0:
        require("setpriv")
        command = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "sh", "-c", 'cd / && exec "$1"', "sh", app]
        # The folders above are for the user of the tests alone.
        for folder in tmp_path.parents:
            if folder.stat().st_uid == os.geteuid() and str(folder).startswith("/tmp/"):
                folder.chmod(folder.stat().st_mode | 0o011)
    assert run(*command).stdout == expected_of(tree, host)


def test_code_is_not_copied(apps, host):
    """What is written to memory is less than the code and constants that are loaded: 64 KiB and 80 KB of each library."""
    require("strace")
    traced = run("strace", "-f", "-qq", "-e", "trace=memfd_create,pwrite64,write", apps(host)).stderr
    written, name = {}, None
    for line in traced.splitlines():
        if "memfd_create(" in line:
            name = line.split('"')[1]
        elif "write" in line and name:
            written[name] = written.get(name, 0) + max(int(line.rsplit("=", 1)[1]), 0)
    assert written["libplain.so"] < 65536 < written["libheadless.so"], written
    assert written["libchosen.so"] > 65536 and written["libhidden.so"] > 65536, written
