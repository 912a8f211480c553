"""Executables with a start-up snapshot, beside the same without one and beside `python`."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import test_end
from chain import PORTABLE, clean_environment, run, terminal, write

# Whether a process has begun with an image: its objects live for ever.
RESUMED = "import sys; print(sys.getrefcount(sys.path) > 10**6)"


def take(pyox, executable, *options, env=None, check=True):
    """The executable with a snapshot, beside itself."""
    fast = executable.with_name(f"{executable.name}-fast")
    return fast, pyox("snapshot", executable, "-o", fast, *options, env=env or pyox.environment, check=check)


@pytest.fixture(scope="session")
def plain_probe(static_probe):
    """The probe without a snapshot. `test_snapshot_shapes.py` has others."""
    return static_probe


@pytest.fixture(scope="session")
def probe_fast(pyox, plain_probe):
    """The probe with a snapshot of the interpreter."""
    return take(pyox, plain_probe)[0]


@pytest.fixture
def target(source):
    """A distribution and a shape."""
    return source, "--static"


@pytest.fixture
def preloaded():
    """Modules that an image can hold."""
    return "json", "threading", "logging", "argparse", "tempfile", "dataclasses"


def build(pyox, source, folder, script, *options, collect=(), shape="--static"):
    """An application, without and with a snapshot."""
    app = pyox.build_script(folder, source, script, *collect, link=(shape,))
    return app, take(pyox, app, *options)[0]


def test_a_process_begins_with_the_image(plain_probe, probe_fast):
    assert run(probe_fast, RESUMED).stdout == "True\n"
    assert run(plain_probe, RESUMED).stdout == "False\n"


# --- What a program sees ------------------------------------------------------------

QUESTIONS = {
    "modules": "sorted(sys.modules)",
    "flags": "str(sys.flags)",
    "path": "[sys.path, sys.prefix, sys.exec_prefix, sys.base_prefix, sys.executable, sys._base_executable, sys._stdlib_dir]",
    "importers": "[str(sys.meta_path), len(sys.path_hooks), sorted(sys.path_importer_cache)]",
    "command line": "[sys.argv, sys.orig_argv]",
    "main": "{name: type(value).__name__ for name, value in vars(sys.modules['__main__']).items() if name not in ('code', 'sys')}",
    "files of modules": "sorted((name, getattr(module, '__file__', None)) for name, module in sys.modules.items())",
    "code": "sys.modules['encodings'].search_function.__code__.co_filename",
    "streams": "[[s.encoding, s.errors, s.line_buffering, s.write_through, s.name, s.mode, s.fileno(), s.buffer.raw.name, s.buffer.raw.mode,"
    " s.buffer.raw.closefd, s.isatty(), repr(s)] for s in (sys.stdin, sys.stdout, sys.stderr)]",
    "same streams": "[sys.stdin is sys.__stdin__, sys.stdout is sys.__stdout__, sys.stderr is sys.__stderr__]",
    "environment": "[sorted(os.environ.items()), os.getenv('PATH')]",
    "signals": "[str(signal.getsignal(n)) for n in range(1, 65)]",
    "collector": "[gc.isenabled(), gc.get_threshold(), gc.get_debug(), gc.is_tracked(sys.path)]",
    # CPython 3.12 sets immortal objects aside when it meets them.
    "set aside": "gc.get_freeze_count() if sys.version_info[:2] != (3, 12) else 0",
    "encodings": "[sys.getfilesystemencoding(), sys.getfilesystemencodeerrors(), locale.getpreferredencoding(False),"
    " locale.setlocale(locale.LC_ALL)]",
    "time": "[time.tzname, time.timezone, time.altzone, time.daylight]",
    "threads": "[threading.main_thread().name, threading.main_thread().ident == threading.get_ident(), threading.active_count(),"
    " threading.main_thread().native_id == os.getpid(), threading.current_thread() is threading.main_thread()]",
    "hooks": "[str(sys.excepthook), str(sys.displayhook), sys.gettrace(), sys.getprofile(), sys.getrecursionlimit(), sys.getswitchinterval()]",
    "implementation": "[sys.version, str(sys.implementation), sys.hexversion, str(sys.hash_info), sys.getallocatedblocks() > 0]",
    "warnings": "[sys.warnoptions, str(warnings.filters)]",
    "types": "[sorted(c.__name__ for c in type.__subclasses__(type)), len(BaseException.__subclasses__())]",
}


@pytest.mark.parametrize("question", QUESTIONS)
@pytest.mark.parametrize(
    "variables",
    [{}, {"TZ": "America/New_York"}, {"LC_ALL": "C"}, {"LC_ALL": "POSIX"}, {"LC_ALL": "", "LANG": "C.UTF-8"}, {"LC_ALL": ""}, {"A": "a", "B": "b=c"}],
    ids=str,
)
def test_the_same_answer(plain_probe, probe_fast, question, variables):
    modules = [name for name in ("gc", "locale", "os", "signal", "threading", "time", "warnings") if f"{name}." in QUESTIONS[question]]
    code = f"import {', '.join(['sys', *modules])}; answer = {QUESTIONS[question]}; import json; print(json.dumps(answer))"
    answers = []
    for executable in (plain_probe, probe_fast):
        done = run(executable, code, "argument", env=clean_environment() | variables)
        answers.append(done.stdout.replace(str(probe_fast), str(plain_probe)))
    assert answers[0] == answers[1]


def test_hashes_are_those_of_the_process(probe_fast):
    code = "print(hash('text'), hash(b'bytes'), hash(frozenset('ab')), list({'a', 'b', 'c', 'd', 'e', 'f', 'g'}))"
    said = {run(probe_fast, code).stdout for _ in range(6)}
    assert len(said) == 6
    assert len({line.split()[0] for line in said}) == 6


def test_all_dictionaries_and_sets_find_what_they_hold(probe_fast):
    code = """
        import gc, sys
        held = [o for o in gc.get_objects() if isinstance(o, (dict, set, frozenset))]
        held += [vars(m) for m in sys.modules.values()] + [sys.modules, sys.intern.__self__.__dict__]
        held += [c.__dict__ for c in object.__subclasses__()]
        lost = [(type(o), k) for o in held for k in list(o) if k not in o]
        fresh = [k for o in held for k in list(o) if isinstance(k, str) and hash(k) != hash((k + ' ')[:-1])]
        interned = [k for k in vars(sys) if sys.intern((k + ' ')[:-1]) is not k]
        print(len(held) > 500, lost, fresh, interned)
    """
    assert run(probe_fast, "\n".join(line.strip() for line in code.splitlines())).stdout == "True [] [] []\n"


def test_a_fixed_hash_seed(pyox, plain_probe, tmp_path):
    fast = tmp_path / "fast"
    pyox("snapshot", plain_probe, "-o", fast, "--fixed-hash-seed=7")
    code = "import sys; print(hash('text'), sys.getrefcount(sys.path) > 10**6, sys.path[0] in sys.path_importer_cache, {sys.executable: 1}[sys.executable])"
    said = {run(fast, code).stdout for _ in range(3)}
    assert len(said) == 1 and " True " in said.pop()


def test_what_is_registered_for_the_end_can_be_called_and_forgotten(pyox, target, tmp_path):
    """What the program has put into the image is let go of all the same, and not before the end."""
    text = """
        import atexit, sys
        atexit.register(print, "registered")
        atexit._run_exitfuncs()
        import abc, codecs, io, os
        print(abc.__name__, None in sys.modules.values(), atexit._run_exitfuncs())
        sys.path_hooks.append(open("out.txt", "w"))
        sys.path_hooks[-1].write("data")
        atexit.register(print, "forgotten")
        atexit._clear()
        print("end")
    """
    distribution, shape = target
    app = pyox.build_script(tmp_path, distribution, text, link=(shape,))
    fast, _ = take(pyox, app)
    answers = []
    for name in (app, fast):
        answers.append((run(name, cwd=tmp_path).stdout, (tmp_path / "out.txt").read_text()))
        (tmp_path / "out.txt").unlink()
    assert answers[0] == answers[1] == ("registered\nabc False None\nend\n", "data")


@pytest.mark.parametrize("program", test_end.PROGRAMS)
def test_the_end_as_under_python(pyox, target, tmp_path, program):
    distribution, shape = target
    text = test_end.PROGRAMS[program]
    if distribution.minor == (3, 12):
        # It sets immortal objects aside when it meets them.
        text = text.replace("gc.get_freeze_count(), ", "")
    helper = write(tmp_path / "helper.py", "def use(): return log\nlog = open('out.txt', 'w')\n")
    script = write(tmp_path / "app.py", text)
    app = pyox.build(tmp_path, distribution, script, helper, name="app", link=(shape,))
    fast, _ = take(pyox, app)
    answers = []
    for name, command in (("packed", [fast]), ("plain", [distribution.python, "-S", script])):
        folder = tmp_path / name
        folder.mkdir()
        answers.append(test_end.outcome(folder, run(*command, cwd=folder, check=False)))
    assert answers[0] == answers[1]


def test_what_the_program_puts_into_the_image_is_let_go_of(probe_fast, tmp_path):
    code = """
        import sys, abc, io
        class Noisy:
            def __init__(self, name): self.name, self.file = name, open(name, "w"); self.file.write(name)
            def __del__(self): print("gone", self.name, file=sys.__stderr__ or None)
        io.ours = Noisy("module")
        io.OpenWrapper = None
        io.IOBase.ours = Noisy("class")
        sys.meta_path.append(Noisy("list"))
        sys.path_importer_cache["x"] = Noisy("dictionary")
        sys.ours = Noisy("sys")
        import builtins; builtins.ours = Noisy("builtins")
        import codecs; codecs.BOM_HOLDER = Noisy("codecs")
    """
    done = run(probe_fast, "\n".join(line[8:] for line in code.splitlines()), cwd=tmp_path)
    names = ["module", "class", "list", "dictionary", "sys", "builtins", "codecs"]
    assert {name: (tmp_path / name).read_text() for name in names} == {name: name for name in names}
    assert done.returncode == 0


@pytest.mark.parametrize("code", ["import sys; sys.exit(3)", "1/0", "import os; os._exit(4)", "raise SystemExit('words')", "raise KeyboardInterrupt", "import os; os.abort()"])
def test_exit_statuses_and_tracebacks(plain_probe, probe_fast, code):
    ordinary, fast = (run(executable, code, check=False) for executable in (plain_probe, probe_fast))
    assert (ordinary.returncode, ordinary.stdout) == (fast.returncode, fast.stdout)
    assert ordinary.stderr == fast.stderr.replace(str(probe_fast), str(plain_probe))


# --- What a program does ---------------------------------------------------------------

DEEDS = """
    import sys, os, threading, signal, subprocess, time, random, asyncio, json, re, hashlib, sqlite3, ssl, decimal, tempfile
    import datetime, socket, zlib, ctypes, multiprocessing, concurrent.futures, uuid, logging, weakref, gc, contextvars, faulthandler
    import xml.dom.minidom, email.mime.text, lzma, bz2, zoneinfo, select, mmap, struct, pickle, copy, functools

    def threads():
        out = []
        started = [threading.Thread(target=lambda i=i: out.append(i)) for i in range(8)]
        for thread in started: thread.start()
        for thread in started: thread.join()
        return sorted(out), threading.current_thread() is threading.main_thread()

    def signals():
        got = []
        signal.signal(signal.SIGUSR1, lambda *a: got.append(1))
        os.kill(os.getpid(), signal.SIGUSR1)
        time.sleep(0.01)
        try:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(5)
        except KeyboardInterrupt:
            got.append(2)
        return got

    def fork():
        child = os.fork()
        if not child: os._exit(7 if threading.main_thread().native_id == os.getpid() else 8)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    def pools():
        with multiprocessing.get_context("fork").Pool(2) as pool: forked = pool.map(abs, [-1, -2])
        with multiprocessing.get_context("spawn").Pool(1) as pool: spawned = pool.map(abs, [-3])
        with concurrent.futures.ThreadPoolExecutor(4) as pool: return forked, spawned, sum(pool.map(len, ["a", "bb"]))

    def loops():
        async def main():
            await asyncio.sleep(0.01)
            got = await asyncio.gather(*(asyncio.to_thread(lambda i=i: i * i) for i in range(4)))
            child = await asyncio.create_subprocess_exec("/bin/true")
            return got, await child.wait()
        return asyncio.run(main())

    def digests(): return hashlib.sha256(b"x").hexdigest(), hashlib.blake2b(b"").hexdigest(), hashlib.md5(b"x").hexdigest(), hashlib.sha3_256(b"").hexdigest()

    def databases():
        db = sqlite3.connect(":memory:")
        db.execute("create table t(a)")
        db.execute("insert into t values (5)")
        return db.execute("select a from t").fetchone()

    def sockets():
        one, other = socket.socketpair()
        one.send(b"q")
        return other.recv(1).decode(), ssl.OPENSSL_VERSION, ssl.create_default_context().verify_mode.name

    def callbacks():
        return ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int)(lambda x: x + 1)(4), ctypes.pythonapi.Py_IsInitialized()

    def collections():
        class Cycle: pass
        cycle = Cycle()
        cycle.me = cycle
        dead = weakref.ref(cycle)
        del cycle
        gc.collect()
        return dead() is None

    def packing(): return [len(m.decompress(m.compress(b"x" * 1000))) for m in (zlib, bz2, lzma)], pickle.loads(pickle.dumps(datetime.timezone.utc)) is datetime.timezone.utc

    def times():
        zone = zoneinfo.ZoneInfo("UTC") if os.path.isdir("/usr/share/zoneinfo") else None
        return abs(time.time() - datetime.datetime.now().timestamp()) < 5, time.tzname, time.localtime(0).tm_hour

    def children():
        os.environ["MARK"] = "set"
        said = subprocess.run(["/bin/sh", "-c", "echo $MARK"], capture_output=True, text=True).stdout
        own = subprocess.run([sys.executable, "-c", "import sys; print(sys.argv, 40 + 2)"], capture_output=True, text=True).stdout
        return said, own

    def interpreters():
        import _interpreters
        other = _interpreters.create()
        failed = _interpreters.exec(other, "import json, sys; assert json.loads('[1]') == [1]; assert sys.executable")
        _interpreters.destroy(other)
        return failed

    def tracing():
        seen = []
        sys.settrace(lambda frame, event, arg: seen.append(event))
        (lambda: None)()
        sys.settrace(None)
        sys.setprofile(lambda *a: seen.append(a[1]))
        len("")
        sys.setprofile(None)
        return seen[:1], "c_call" in seen

    def auditing():
        events = []
        sys.addaudithook(lambda event, args: events.append(event) if event == "open" else None)
        open(os.devnull).close()
        return events[:1]

    def classes():
        class Number(int): pass
        class Tree(dict):
            def __missing__(self, key): return key
        class Meta(type): pass
        class Made(metaclass=Meta): x: int = 0
        return Number(3) + 1, Tree()["a"], Made.__annotations__, functools.reduce(lambda a, b: a + b, range(5)), re.findall("[a-c]+", "abcxcab")

    if __name__ == "__main__":
        for deed in (threads, signals, fork, pools, loops, digests, databases, sockets, callbacks, collections, packing, times, children, interpreters, tracing, auditing, classes):
            print(deed.__name__, deed())
        print(sys.stdin.read())
"""


def test_what_it_does_is_the_same(pyox, target, tmp_path):
    distribution, shape = target
    script = DEEDS if distribution.minor >= (3, 13) else DEEDS.replace("import _interpreters", "import _xxsubinterpreters as _interpreters").replace("_interpreters.exec(", "_interpreters.run_string(")
    app, fast = build(pyox, distribution, tmp_path, script, collect=("--interpreter",), shape=shape)
    ordinary = run(app, input="typed\n")
    done = run(fast, input="typed\n")
    assert done.stdout == ordinary.stdout
    assert done.stderr == ordinary.stderr
    assert done.stdout.endswith("typed\n\n")


def test_random_numbers_differ(probe_fast):
    code = "import random, uuid, secrets, tempfile, os; print(random.random(), uuid.uuid4(), secrets.token_hex(4), next(tempfile._get_candidate_names()), os.urandom(4))"
    said = [run(probe_fast, code).stdout.split() for _ in range(4)]
    assert all(len(set(column)) == 4 for column in zip(*said))


# --- Streams --------------------------------------------------------------------------


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-", "</dev/null", ">/dev/null"])
def test_streams_that_are_closed_or_files(plain_probe, probe_fast, closed, tmp_path):
    code = f"import sys; open('{tmp_path}/said', 'w').write(repr([sys.stdin, sys.stdout, sys.stderr])); print('out'); print('err', file=sys.stderr)"
    said = []
    for executable in (plain_probe, probe_fast):
        done = run("/bin/sh", "-c", f'"$0" "$1" {closed}', executable, code, check=False)
        said.append((done.returncode, done.stdout, done.stderr, (tmp_path / "said").read_text()))
    assert said[0] == said[1]


def test_a_full_pipe_and_one_that_nobody_reads(plain_probe, probe_fast):
    code = "import sys\nfor i in range(100000): print(i)"
    for executable in (plain_probe, probe_fast):
        process = subprocess.Popen([executable, code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=clean_environment())
        process.stdout.close()
        assert b"BrokenPipeError" in process.stderr.read()
        process.stderr.close()
        assert process.wait() == 1 or process.returncode == 120


def test_a_terminal(probe_fast):
    code = "import sys; print(sys.stdin.isatty(), sys.stdout.line_buffering, sys.stdout.isatty()); print(input('name? ').upper())"
    status, shown = terminal([probe_fast, code], [(b"name? ", b"ada\n")])
    assert status == 0 and "True True True" in shown and "ADA" in shown


def test_signals_that_are_ignored_by_whoever_starts_it(plain_probe, probe_fast):
    code = "import signal; print([str(signal.getsignal(s)) for s in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)])"
    said = {run("/bin/sh", "-c", "trap '' HUP INT; exec \"$0\" \"$1\"", executable, code).stdout for executable in (plain_probe, probe_fast)}
    assert len(said) == 1


# --- Where the executable is ------------------------------------------------------------

PLACE = "import sys, encodings as e, json; print(json.dumps([sys.executable, e.__file__, e.search_function.__code__.co_filename, json.__file__, sys.path, sys.getrefcount(sys.path) > 10**6]))"


def places(path):
    said = json.loads(run(path, PLACE).stdout)
    assert said[0] == str(path)
    assert all(text.startswith(f"{path}/") for text in [*said[1:4], *said[4]]), said
    return said[5]


def test_moved_renamed_and_linked(probe_fast, tmp_path):
    copied = tmp_path / "another folder" / "name"
    copied.parent.mkdir()
    copied.write_bytes(probe_fast.read_bytes())
    copied.chmod(0o755)
    assert places(copied)
    link = tmp_path / "link"
    link.symlink_to(copied)
    assert places(link)
    hard = tmp_path / "h"
    hard.hardlink_to(copied)
    assert places(hard)
    # By a relative path, and by PATH.
    said = run("./name", PLACE, cwd=copied.parent)
    assert json.loads(said.stdout)[0] == str(copied)
    said = run("/bin/sh", "-c", f"PATH='{copied.parent}' exec name \"$0\"", PLACE)
    assert json.loads(said.stdout)[0] == str(copied)


def test_paths_that_the_image_has_no_room_for(probe_fast, tmp_path):
    for name in ("größer", "x" * 250 + "/" + "y" * 250 + "/" + "z" * 200):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(probe_fast.read_bytes())
        path.chmod(0o755)
        assert not places(path)


def test_from_a_descriptor(probe_fast):
    code = f"import os, sys; f = os.open({str(probe_fast)!r}, os.O_RDONLY); os.execve(f, ['name', {RESUMED!r}], os.environ)"
    assert run(sys.executable, "-c", code).stdout == "True\n"


def test_in_an_empty_root(probe_fast, tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    (root / "app").write_bytes(probe_fast.read_bytes())
    (root / "app").chmod(0o755)
    assert os.geteuid() == 0, "needs root to change the root folder"
    assert run("chroot", root, "/app", RESUMED + "; print(sys.executable)").stdout == "True\n/app\n"


def test_strip_leaves_it_whole(pyox, probe_fast, tmp_path):
    path = tmp_path / "stripped"
    run("strip", "-o", path, probe_fast)
    assert places(path)
    # Another image can take its place, although the sections' headers lie behind the first one now.
    pyox("snapshot", path, "-o", tmp_path / "again")
    assert places(tmp_path / "again")


# --- Starts that do not use the image ------------------------------------------------------


def test_as_an_interpreter_of_its_own(pyox, source, tmp_path):
    app, fast = build(pyox, source, tmp_path, "import sys; print(sys.argv)", collect=("--interpreter",))
    environment = clean_environment() | {"PYOX_INTERPRETER": "1"}
    assert run(fast, "-c", RESUMED, env=environment).stdout == "False\n"
    assert run(fast, "-X", "importtime", "-c", "import json", env=environment).stderr.count("json") > 2
    assert run(fast, "-V", env=environment).stdout == f"Python {source.version}\n"
    # Arguments that look like those of `python` are the application's.
    assert run(fast, "-c", "print(1)").stdout == f"['{fast}', '-c', 'print(1)']\n"
    assert run(fast, "--version").stdout == f"['{fast}', '--version']\n"


# --- The image ---------------------------------------------------------------------------


def test_the_same_input_gives_the_same_bytes(pyox, plain_probe, tmp_path):
    made = []
    for number in range(2):
        folder = tmp_path / (f"folder {number}" * (number + 1))
        folder.mkdir()
        own = folder / "app"
        own.write_bytes(plain_probe.read_bytes())
        own.chmod(0o755)
        environment = pyox.environment | {"TMPDIR": str(folder), "TZ": f"X{number}", "HOME": str(folder), "USER": f"user{number}", "PYTHONHASHSEED": str(number)}
        fast, _ = take(pyox, own, "--preload", "re", "--preload", "threading", env=environment)
        made.append(fast.read_bytes())
        # One that has a snapshot gets a new one.
        again, _ = take(pyox, fast, "--preload", "re", "--preload", "threading", env=environment)
        assert again.read_bytes() == fast.read_bytes()
    assert made[0] == made[1]


def test_nothing_of_the_building_process_is_in_it(pyox, plain_probe, preloaded, tmp_path):
    markers = {name: f"marker-{name}-of-the-builder" for name in ("variable", "folder", "home", "user", "argument")}
    folder = tmp_path / markers["folder"]
    folder.mkdir()
    fast = tmp_path / "fast"
    environment = pyox.environment | {"SECRET": markers["variable"], "HOME": f"/{markers['home']}", "USER": markers["user"], "LOGNAME": markers["user"], "TMPDIR": str(folder), "TZ": "Marker12"}
    own = folder / markers["argument"]
    own.write_bytes(plain_probe.read_bytes())
    own.chmod(0o755)
    modules = [word for name in preloaded for word in ("--preload", name)]
    assert os.geteuid() == 0, "needs root to give the machine another name"
    named = ("unshare", "--uts", "/bin/sh", "-c", 'hostname marker-of-the-host && exec "$0" "$@"')
    run(*named, pyox.tool("snapshot"), own, "-o", fast, *modules, env=environment, cwd=folder)
    content = fast.read_bytes()
    for marker in [*markers.values(), "Marker12", "marker-of-the-host", str(folder)]:
        for form in (marker.encode(), marker.encode("utf-16-le"), marker.encode("utf-32-le")):
            assert form not in content, marker
    assert run(fast, RESUMED).stdout == "True\n"


def test_a_portable_executable_whose_versions_never_end(pyox, host, tmp_path):
    app = pyox.build_script(tmp_path, host, "print(1)", link=(PORTABLE,))
    contents = bytearray(app.read_bytes())
    # DT_VERNEEDNUM: how many libraries have versions. The last one leads to itself.
    at = contents.index((0x6FFFFFFF).to_bytes(8, "little"))
    contents[at + 8 : at + 16] = (1 << 60).to_bytes(8, "little")
    app.write_bytes(contents)
    done = pyox("snapshot", app, "-o", tmp_path / "fast", check=False, timeout=60)
    assert (done.returncode, done.stdout) == (2, "") and f"{app}: its headers and its length do not fit" in done.stderr
    assert not (tmp_path / "fast").exists()


@pytest.mark.parametrize("kind", ["movable", "text", "nothing", "cut", "python", "missing"])
def test_what_can_have_none(pyox, plain_probe, source, tmp_path, kind):
    path = tmp_path / "input"
    if kind != "missing":
        contents = {
            "movable": lambda: pyox.build_script(tmp_path, source, "print(1)", link=("--dynamic", "--pie")).read_bytes(),
            "text": lambda: b"#!/bin/sh\necho\n",
            "nothing": lambda: b"",
            "cut": lambda: plain_probe.read_bytes()[:100000],
            "python": lambda: Path(sys.executable).read_bytes(),
        }
        path.write_bytes(contents[kind]())
        path.chmod(0o755)
    done = pyox("snapshot", path, "-o", tmp_path / "out", check=False)
    assert done.returncode == 2 and not (tmp_path / "out").exists()
    assert done.stderr.startswith(f"pyox-snapshot: error: {path}: ")
    assert len(done.stderr.splitlines()) <= 2


def test_options_that_are_not_served(pyox, plain_probe, tmp_path):
    out = ("-o", tmp_path / "out")
    for options, said in {
        ("--level", "interpreter", "--preload", "json"): "no --preload",
        ("--fixed-hash-seed=0",): "0 is not in 1..",
        ("--preload", "no_such_module"): "no_such_module: it is not of the standard library",
    }.items():
        done = pyox("snapshot", plain_probe, *out, *options, check=False)
        assert done.returncode == 2 and said in done.stderr, done.stderr


@pytest.mark.parametrize("module", ["asyncio", "json", "argparse", "typing", "dataclasses", "logging", "ssl", "hashlib", "sqlite3", "decimal", "random", "subprocess", "email.message", "http.client", "concurrent.futures.thread", "xml.etree.ElementTree", "unittest.mock", "socket", "uuid", "platform", "enum", "re", "_strptime", "ctypes", "multiprocessing.pool", "sysconfig", "zoneinfo"])
def test_modules_that_an_image_can_hold(pyox, plain_probe, tmp_path, module):
    """What they know is what those know that a process imports itself, whatever its surroundings."""
    code = f"""
        import sys, {module}
        plain = (str, bytes, int, float, bool, type(None))

        def known(value, depth=0):
            if type(value) in plain: return repr(value)
            if type(value) in (tuple, list) and depth < 4: return [known(v, depth + 1) for v in value]
            if type(value) in (set, frozenset) and depth < 4: return sorted(str(known(v, depth + 1)) for v in value)
            if type(value) is dict and depth < 4: return sorted(str((known(k, depth + 1), known(v, depth + 1))) for k, v in value.items())
            if isinstance(value, type) and depth < 2: return sorted((k, str(known(v, depth + 1))) for k, v in vars(value).items())
            return type(value).__name__

        for name, module in sorted(sys.modules.items()):
            # Its expressions have the order of a set in them; the numbers of threads are those of the process.
            # What looks for a home folder imports another module where no variable names it.
            if name in ("__main__", "__mp_main__", "sys", "builtins", "tokenize", "gc", "pwd"): continue
            for key, value in sorted(vars(module).items()):
                if key in ("__spec__", "__builtins__", "__loader__", "_active", "_main_thread", "_startTime", "_cache", "_cache2", "_threads_queues", "_CONFIG_VARS", "_CONFIG_VARS_INITIALIZED"): continue
                print(name, key, known(value))
    """
    code = "\n".join(line[8:] for line in code.splitlines())
    fast = tmp_path / "fast"
    pyox("snapshot", plain_probe, "-o", fast, "--preload", module)
    surroundings = {"TZ": "America/New_York", "HOME": "/nowhere", "USER": "somebody", "TMPDIR": "/var/tmp", "COLUMNS": "77", "NO_COLOR": "1", "http_proxy": "http://p", "SSL_CERT_FILE": "/x", "PYTHONASYNCIODEBUG": "1", "MALLOC_ARENA_MAX": "1"}
    said = []
    for executable in (plain_probe, fast):
        done = run(executable, code, env=clean_environment() | surroundings, cwd="/var")
        said.append(done.stdout.replace(str(executable), "EXECUTABLE").replace(str(executable.parent), "FOLDER").splitlines())
    assert said[1] == said[0]
    assert run(fast, f"import sys; print({module.split('.')[0]!r} in sys.modules, sys.getrefcount(sys.path) > 10**6)").stdout == "True True\n"


@pytest.mark.parametrize("module, said", [("readline", "readline: it keeps"), ("multiprocessing.sharedctypes", "multiprocessing.sharedctypes: it imports multiprocessing.heap: it keeps"), ("rlcompleter", "it keeps the module `__main__`"), ("rich", "rich: it is not of the standard library"), ("shelf", "not of the standard library")])
def test_modules_that_an_image_cannot_hold(pyox, plain_probe, tmp_path, module, said):
    done = pyox("snapshot", plain_probe, "-o", tmp_path / "out", "--preload", module, check=False)
    assert done.returncode == 2 and said in done.stderr and len(done.stderr.splitlines()) <= 2
    assert not (tmp_path / "out").exists()


def test_what_is_inspected(pyox, plain_probe, tmp_path):
    fast = tmp_path / "fast"
    pyox("snapshot", plain_probe, "-o", fast, "--preload", "json")
    summary = json.loads(pyox("inspect", "--json", fast).stdout)["snapshot"]
    assert summary["level"] == "stdlib" and summary["hashes"] == "fresh" and "json.decoder" in summary["modules"]
    assert summary["objects"] > 10000 and 10**6 < summary["heap"] < summary["size"]
    assert "snapshot      stdlib: " in pyox("inspect", fast).stdout
    assert "snapshot" not in pyox("inspect", plain_probe).stdout
    assert pyox("inspect", "--check", fast).returncode == 0
    content = bytearray(fast.read_bytes())
    content[-100000] ^= 1
    fast.write_bytes(content)
    done = pyox("inspect", "--check", fast, check=False)
    assert done.returncode == 1 and "snapshot: expected SHA-256 " in done.stdout
    fast.write_bytes(content[:-100000])
    assert pyox("inspect", "--check", fast, check=False).returncode != 0


def test_settings_that_decide_how_python_starts(pyox, source, tmp_path):
    app = pyox.build_script(tmp_path, source, "print(1)", "--preconfig", "dev_mode=1", link=("--static",))
    _, done = take(pyox, app, check=False)
    assert done.returncode == 2 and "dev_mode" in done.stderr


def test_a_static_executable_of_an_older_version(pyox, fetched, tmp_path):
    older = fetched("source@3.11")
    app, fast = build(pyox, older, tmp_path, f"import json; {RESUMED}; print(json.dumps([1]))")
    assert [run(app).stdout, run(fast).stdout] == ["False\n[1]\n", "True\n[1]\n"]
    fast, _ = take(pyox, app, "--preload", "json", "--preload", "asyncio")
    assert run(fast).stdout == "True\n[1]\n"
