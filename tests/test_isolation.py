"""What an executable asks of the file system: nothing for its modules, and for itself what libc asks."""

import json
import re

import pytest

from chain import REPOSITORY, clean_environment, require, run

# What the C library reads, in any program that calls setlocale, localtime and malloc: locales and their
# conversions, the time zone, and the kernel's policy on memory; of a dynamic one also what the loader needs.
LIBC = re.compile(
    r"""
    /usr/(lib|share)/locale/.* | /usr/lib/[\w-]+/gconv/gconv-modules(\.cache|\.d.*)?
    | /etc/localtime | /usr/share/zoneinfo/.*
    | /proc/sys/vm/overcommit_memory | /proc/self/exe | /sys/devices/system/cpu.* | /proc/(self/)?(stat|cgroup|maps)
    | /etc/ld\.so\.(cache|preload)
    | (/usr)?/lib(64)?(/[\w-]+)?/(lib(c|m|dl|pthread|rt|util|gcc_s)\.so\.\d+|ld-linux[\w.-]*)
    """,
    re.VERBOSE,
)
# An anonymous file's descriptor: where the loader takes an extension module from. It lies on no disk.
ANONYMOUS = re.compile(r"/proc/self/fd[/.]*\d+")
QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')


def touched(folder, *command, **options):
    """Every path that a command's processes name to the kernel, apart from the start of the program itself."""
    require("strace")
    log = folder / "strace.txt"
    done = run("strace", "-f", "-qq", "-e", "trace=file", "-e", "signal=none", "-s", "4096", "-o", log, *command, **options)
    paths = set()
    lines = log.read_text().splitlines()
    assert "execve(" in lines[0]
    for line in lines[1:]:
        call = line.split(maxsplit=1)[-1]
        # Names that are relative to a descriptor only: `fstat`.
        paths |= {path for path in QUOTED.findall(call.split(" = ")[0]) if path and not call.startswith("readlink")}
    return paths, done


def test_hello_opens_what_libc_opens(pyox, distribution, tmp_path):
    app = pyox.build(tmp_path, distribution, REPOSITORY / "examples/hello.py", name="hello")
    paths, done = touched(tmp_path, app)
    assert done.stdout == "Hello, world\n"
    other = {path for path in paths if not LIBC.fullmatch(path) and path != str(app)}
    # No working folder, no home, no `pyvenv.cfg`, no `python313.zip`.
    assert other <= {"/proc/self/exe"}, other


@pytest.mark.parametrize("shape", ["--static", "--dynamic"])
def test_a_traceback_reads_no_file(pyox, source, tmp_path, shape):
    """The lines that it shows come from the executable; what the module asks beyond is not the application's."""
    app = pyox.build_script(tmp_path, source, "def f():\n    1 / 0\nf()\n", "--interpreter", link=[shape])
    paths, _ = touched(tmp_path, app, check=False)
    inside = {path for path in paths if path.startswith(f"{app}/")}
    beside = {path for path in paths if not LIBC.fullmatch(path) and path != str(app)} - inside
    # A packed file is opened again, for reading alone.
    assert {re.sub(r"\d+$", "N", path) for path in beside} <= {"/proc/self/fd/N"}


def test_importing_the_standard_library_touches_no_module(probe, distribution, tmp_path):
    """Neither the distribution's files nor the application's are looked for, let alone opened."""
    import test_stdlib

    manifest = json.loads((probe.parent / "probe.json").read_text())
    names = json.loads(distribution.run_python("-c", test_stdlib.LIST_ALL).stdout)
    # antigravity starts a browser, and a `__main__` is a program: unittest's looks for tests in the working folder.
    names = [name for name in names if not test_stdlib.is_left_out(name, manifest)]
    names = [name for name in names if name != "antigravity" and not name.endswith("__main__")]
    names += ["shelf", "shelf.book", "space.one", "space.sub.two", "rich.console", "rich.table"]
    environment = clean_environment() | {"HOME": str(tmp_path)}
    paths, _ = touched(tmp_path, probe, test_stdlib.IMPORT_ALL, input=json.dumps(names), env=environment, cwd=tmp_path)
    stdlib = (str(distribution.stdlib), f"{distribution.json['root']}/lib/python3")
    assert [path for path in paths if path.startswith(stdlib)] == []
    # No module's own path, wherever it might have been looked for: below the executable, or beside it.
    files = {resource.get("location", "") for resource in manifest["resources"]}
    last = {path.rsplit("/", 1)[-1] for path in files if path.endswith((".py", ".so"))} - {""}
    looked_for = {path for path in paths if path.rsplit("/", 1)[-1] in last and not ANONYMOUS.fullmatch(path)}
    assert looked_for == set()
    assert [path for path in paths if path.endswith((".pyc", ".py", "__pycache__", ".pth", "pyvenv.cfg"))] == []
