"""Snapshots that hold an application's own modules: which of them, and what a process sees of it."""

import json
import os
import pwd

import pytest

from chain import clean_environment, run, write

APPLICATION = ("--level", "application")
# Objects of an image live for ever.
HELD = """
    import sys

    def held(name):
        module = sys.modules.get(name)
        return module is not None and sys.getrefcount(module) > 10**6
"""


def build(pyox, source, folder, script, modules, *collect):
    """An executable of a script, and modules beside it by their names and sources."""
    write(folder / "held.py", HELD)
    paths = [folder / "held.py"]
    for name, text in modules.items():
        paths.append(write(folder / f"{name}.py", text))
    return pyox.build(folder, source, write(folder / "app.py", script), *paths, *collect, name="app", link=("--static",))


def take(pyox, app, *options, check=True, env=None):
    fast = app.with_name("fast")
    done = pyox("snapshot", "-v", app, "-o", fast, *APPLICATION, *options, check=check, env=env or pyox.environment)
    return fast, done


def facts(pyox, fast):
    return json.loads(pyox("inspect", "--json", fast).stdout)["snapshot"]


def asks(pyox, source, folder, text, more=None, script="import asks"):
    """What is told of a module with that source, in an image of an application that imports it."""
    app = build(pyox, source, folder, script, {"asks": text} | (more or {}))
    fast, done = take(pyox, app)
    return fast, facts(pyox, fast)["refused"], done


def test_own_modules_are_imported_beforehand(pyox, source, tmp_path):
    modules = {"outer": "import inner, json\nTABLE = {name: len(name) for name in ('a', 'bb')}\n", "inner": "print_it = print\n"}
    script = "from held import held\nimport outer\nprint(held('outer'), held('inner'), held('json'), outer.TABLE, outer.__file__)"
    app = build(pyox, source, tmp_path, script, modules)
    fast, _ = take(pyox, app)
    assert run(app).stdout == f"False False False {{'a': 1, 'bb': 2}} {app}/app/outer.py\n"
    assert run(fast).stdout == f"True True True {{'a': 1, 'bb': 2}} {fast}/app/outer.py\n"
    told = facts(pyox, fast)
    assert told["level"] == "application" and {"outer", "inner", "json.decoder"} <= set(told["modules"])
    assert told["refused"] == {} and told["guards"] == [] and told["no-links"] is False


# --- What an import asks of the process ------------------------------------------------

QUESTIONS = {
    "file": ("open('/etc/passwd').close()", "it looks at the file /etc/passwd"),
    "file that is not there": ("import os.path\nFOUND = os.path.exists('/nowhere/at/all')", "it looks at the file /nowhere/at/all"),
    "folder": ("import os\nNAMES = os.listdir('/')", "it looks at the file /"),
    "executable": ("import os, sys\nSIZE = os.stat(sys.executable).st_size", "it looks at the file EXECUTABLE"),
    "time": ("import time\nSTART = time.time()", "it asks for the time"),
    "time by a date": ("import datetime\nSTART = datetime.datetime.now()", "it asks for the time"),
    "clock": ("from time import monotonic\nSTART = monotonic()", "it asks for the time"),
    "time zone": ("import time\nZONE = time.timezone", "it asks for the time zone"),
    "random numbers": ("import random\nNUMBERS = random.Random()", "it takes random numbers"),
    "identity": ("import uuid\nNAME = uuid.uuid4()", "it takes random numbers"),
    "process": ("import os\nNUMBER = os.getpid()", "it asks for the number of a process"),
    "user": ("import os\nUSER = os.getuid()", "it asks for the user"),
    "host": ("import platform\nHOST = platform.node()", "it asks for the machine"),
    "processors": ("import os\nCOUNT = os.cpu_count()", "it asks for the machine"),
    "folder that it works in": ("import os\nHERE = os.getcwd()", "it asks for the working folder"),
    "command line": ("import sys\nNAME = sys.argv[0]", "it reads the command line"),
    "terminal": ("import sys\nCOLOR = sys.stdout.isatty()", "it asks what a standard stream is"),
    "size of the terminal": ("import shutil\nWIDTH = shutil.get_terminal_size().columns", "it reads the variable COLUMNS"),
    "stdin": ("import sys\nLINE = sys.stdin.readline()", "it reads from a standard stream"),
    "stdout": ("print('hello')", "it writes to a standard stream"),
    "home": ("import os\nHOME = os.path.expanduser('~')", "it reads the variable HOME"),
    "all variables": ("import os\nCOPY = dict(os.environ)", "it reads the whole environment"),
    "environment that is changed": ("import os\nos.environ['A_NAME'] = '1'", "it changes the environment"),
    "locale": ("import locale\nNAME = locale.getlocale()[0]", "it asks for the locale, or sets it"),
    "network": ("import socket\nsocket.socket().close()", "it uses sockets"),
    "thread": ("import threading\nthreading.Thread(target=print).start()", "it starts a thread"),
    "process that is started": ("import subprocess\nsubprocess.run(['/bin/true'])", "it starts a process"),
    "fork": ("import os\npid = os.fork()\nif not pid: os._exit(0)\nos.waitpid(pid, 0)", "it starts a process"),
    "signal": ("import signal\nsignal.signal(signal.SIGUSR1, print)", "it asks for signal handlers, or sets them"),
    "open file": ("import os\nFILE = open(os.path.join(os.path.dirname(__file__), 'held.py'))", "it keeps a file open"),
    "hash": ("KEPT = hash('text')", "it computes a hash"),
    "hash that an object keeps": (
        "class Name:\n    def __init__(self): self.text = 'n'\n    def __hash__(self):\n        self.kept = hash(self.text)\n        return self.kept\nTABLE = {Name(): 1}",
        "it computes a hash",
    ),
    "tracing": ("import sys\nsys.settrace(None)", "it calls sys.settrace"),
    "main": ("import __main__\nMAIN = __main__", "it imports `__main__`"),
    "memory": ("import mmap\nMEMORY = mmap.mmap(-1, 4096)", "it maps memory"),
    "function for C": ("import ctypes\nCALLED = ctypes.CFUNCTYPE(ctypes.c_int)(lambda: 5)", "it looks at the file /proc/self/status"),
    "path in a text": ("URL = 'file://' + __file__", "it keeps a path within a text, or a folder's"),
    "path of the folder": ("import os, sys\nFOLDER = os.path.dirname(sys.executable)", "it keeps a path within a text, or a folder's"),
    "module that cannot be held": ("import readline", "it imports readline: it keeps what it knows of the terminal"),
}


@pytest.mark.parametrize("question", QUESTIONS)
def test_a_module_that_asks_is_left_out_with_its_importers(pyox, source, tmp_path, question):
    text, said = QUESTIONS[question]
    more = {"importer": "def get():\n    import asks\n    return asks\n\nget()\n", "innocent": "VALUE = [1]\n"}
    script = "from held import held\nimport importer, innocent\nimport sys\nprint(held('asks'), held('importer'), held('innocent'), 'asks' in sys.modules, file=sys.stderr)"
    fast, refused, done = asks(pyox, source, tmp_path, text, more, script)
    told = said.replace("EXECUTABLE", str(tmp_path / "app"))
    # Paths are told and not kept.
    said = "it looks at a file" if said.startswith("it looks at the file ") else said
    behind = "" if said.startswith("it imports readline") else "it imports asks: "
    assert (refused["asks"], refused["importer"]) == (said, behind + said)
    assert "innocent" not in refused
    assert f"not preloaded: importer: {behind}{told}" in done.stderr
    assert run(fast, input="line\n").stderr.splitlines()[-1] == "False False True True"


INNOCENT = {
    "packed file": "import os\nTEXT = open(os.path.join(os.path.dirname(__file__), 'held.py')).read()\n",
    "version": "import importlib.metadata\ntry: importlib.metadata.version('nothing')\nexcept importlib.metadata.PackageNotFoundError: pass\n",
    "missing module": "try: import not_there\nexcept ImportError: not_there = None\n",
    "classes": "import abc, dataclasses, enum, typing\n@dataclasses.dataclass(frozen=True)\nclass Point:\n    x: int\nTABLE = {Point(1): 'one', 'a': 2}\nclass Color(enum.Enum):\n    RED = 1\n",
    "encoding": "import locale\nENCODING = locale.getpreferredencoding(), locale.getlocale()[1]\n",
    "translations": "import argparse\nPARSER = argparse.ArgumentParser(prog='p')\nPARSER.add_argument('--x', help='h')\n",
    "letters like an address": "TEXTS = [r'abc\\b' * n + '\\\\b' for n in range(99)]\n",
    "warning": "import warnings\nwith warnings.catch_warnings():\n    warnings.simplefilter('ignore')\n    warnings.warn('old', DeprecationWarning)\n",
    "processes that could be started": "import multiprocessing, ctypes, sysconfig, zoneinfo, subprocess\nPOINTER = ctypes.c_void_p\n",
}


@pytest.mark.parametrize("module", INNOCENT)
def test_what_asks_for_nothing_is_held(pyox, source, tmp_path, module):
    script = "from held import held\nimport asks\nprint(held('asks'), {name: value for name, value in vars(asks).items() if name in ('TEXT', 'ENCODING', 'TABLE')})"
    fast, refused, _ = asks(pyox, source, tmp_path, INNOCENT[module], script=script)
    assert refused == {}
    app = tmp_path / "app"
    assert run(fast).stdout == run(app).stdout.replace("False", "True", 1)


# --- Guards ---------------------------------------------------------------------------


def test_a_variable_that_is_read_becomes_a_guard(pyox, source, tmp_path):
    text = "import os\nDEBUG = os.environ.get('APP_DEBUG', 'off')\nIS_SET = 'APP_OTHER' in os.environ\n"
    script = "from held import held\nimport asks\nprint(held('asks'), asks.DEBUG, asks.IS_SET)"
    fast, refused, _ = asks(pyox, source, tmp_path, text, script=script)
    told = facts(pyox, fast)
    assert refused == {} and told["guards"] == ["APP_DEBUG", "APP_OTHER"]
    for variables, answer in (({}, "True off False"), ({"APP_DEBUG": "on"}, "False on False"), ({"APP_DEBUG": ""}, "False  False"), ({"APP_OTHER": "1"}, "False off True")):
        done = run(fast, env=clean_environment() | variables)
        assert (done.stdout, done.stderr) == (f"{answer}\n", "")


def test_a_path_with_links(pyox, source, tmp_path):
    text = "import pathlib, os\nHERE = os.path.realpath(__file__)\nPATH = pathlib.Path(__file__).resolve()\n"
    script = "from held import held\nimport asks\nprint(held('asks'), asks.HERE, asks.PATH, {asks.PATH: 1}[type(asks.PATH)(str(asks.PATH))])"
    fast, refused, _ = asks(pyox, source, tmp_path, text, script=script)
    assert refused == {} and facts(pyox, fast)["no-links"] is True
    place = f"{fast}/app/asks.py"
    assert run(fast).stdout == f"True {place} {place} 1\n"
    link = tmp_path / "link"
    link.symlink_to(fast)
    assert run(link).stdout == f"False {place} {place} 1\n"


def test_the_applications_own_variables_are_no_guards(pyox, source, tmp_path):
    text = "import os\nMODE = os.environ['APP_MODE']\n"
    app = build(pyox, source, tmp_path, "from held import held\nimport asks\nprint(held('asks'), asks.MODE)", {"asks": text}, "--env", "APP_MODE=packed")
    fast, _ = take(pyox, app)
    assert facts(pyox, fast)["guards"] == []
    assert run(fast, env=clean_environment() | {"APP_MODE": "else"}).stdout == "True packed\n"


# --- What is wanted -----------------------------------------------------------------------


def test_a_profile_is_learned_from_a_run(pyox, source, tmp_path):
    modules = {"first": "import second\n", "second": "", "third": "", "unused": ""}
    script = "import sys, first\nif sys.argv[1:] == ['--more']:\n    import third\nprint(sys.argv[1:])\nsys.exit(3 if len(sys.argv) > 2 else 0)"
    app = build(pyox, source, tmp_path, script, modules)
    profile, again = tmp_path / "app.profile", tmp_path / "again"
    done = pyox("snapshot", app, "--learn", profile, "--", "--more")
    assert done.stdout == "['--more']\n"
    lines = profile.read_text().splitlines()
    assert lines[0].startswith("# ") and [line for line in lines if line in modules] == ["first", "second", "third"]
    pyox("snapshot", app, "--learn", again, "--", "--more", cwd="/", env=pyox.environment | {"PYTHONHASHSEED": "4"})
    assert again.read_text() == profile.read_text()
    failed = pyox("snapshot", app, "--learn", again, "--", "a", "b")
    assert "its run ended with exit status: 3" in failed.stderr
    fast, _ = take(pyox, app, "--profile", profile)
    held = set(facts(pyox, fast)["modules"])
    assert {"first", "second", "third"} <= held and "unused" not in held
    # One with a snapshot can be run for it as well.
    pyox("snapshot", fast, "--learn", again, "--", "--more")
    assert again.read_text() == profile.read_text()
    standard = tmp_path / "standard"
    pyox("snapshot", app, "-o", standard, "--profile", profile)
    told = facts(pyox, standard)
    assert told["level"] == "stdlib" and not {"first", "second"} & set(told["modules"])


def test_bad_profiles_and_options(pyox, source, tmp_path):
    app = build(pyox, source, tmp_path, "import os; os._exit(0)", {})
    profile = write(tmp_path / "profile", "json # is fine\n\nnot a name\n")
    cases = {
        (*APPLICATION, "--profile", profile): f"{profile}:3: expected the name of a module, got `not a name`",
        (*APPLICATION, "--profile", tmp_path / "none"): f"{tmp_path}/none: no such file",
        ("--level", "interpreter", "--profile", profile): "expected no --profile with the level `interpreter`",
        (*APPLICATION, "--preload", "not_there"): "--preload: not_there: ModuleNotFoundError",
        (*APPLICATION, "--preload", "readline"): "--preload: readline: it keeps what it knows of the terminal",
    }
    for options, said in cases.items():
        done = pyox("snapshot", app, "-o", tmp_path / "out", *options, check=False)
        assert done.returncode == 2 and said in done.stderr and len(done.stderr.splitlines()) <= 2, done.stderr
        assert not (tmp_path / "out").exists()
    done = pyox("snapshot", app, "--learn", tmp_path / "out", check=False)
    assert done.returncode == 2 and "it left no list of its modules" in done.stderr


def test_modules_are_chosen_by_hand(pyox, source, tmp_path):
    modules = {"clock": "import time\nSTART = time.time()\n", "user": "import clock\n", "plain": "import leaf\n", "leaf": ""}
    app = build(pyox, source, tmp_path, "import user, plain", modules)
    fast, _ = take(pyox, app, "--preload", "clock", "--no-preload", "leaf")
    told = facts(pyox, fast)
    assert {"clock", "user"} <= set(told["modules"]) and not {"leaf", "plain"} & set(told["modules"])
    assert told["refused"] == {"leaf": "--no-preload", "plain": "it imports leaf: --no-preload"}
    assert run(fast).returncode == 0


@pytest.mark.parametrize("run_as", [("--entry-point", "package.tool:main"), ("--run-module", "package"), ("--run-module", "package.tool")], ids=str)
def test_what_the_start_imports_without_a_profile(pyox, source, tmp_path, run_as):
    package = tmp_path / "package"
    write(package / "__init__.py", "")
    write(package / "other.py", "import sys\ndef say(): print(sys.getrefcount(sys.modules[__name__]) > 10**6)\n")
    write(package / "tool.py", "from package import other\ndef main(): other.say()\nif __name__ == '__main__': main()\n")
    write(package / "__main__.py", "from package.tool import main\nmain()\n")
    app = pyox.build(tmp_path, source, package, *run_as, name="app", link=("--static",))
    fast, _ = take(pyox, app)
    assert run(app).stdout == "False\n" and run(fast).stdout == "True\n"
    assert "__main__" not in facts(pyox, fast)["refused"]


# --- The image ----------------------------------------------------------------------------


def test_hashes_that_are_kept_elsewhere_are_renewed(pyox, source, tmp_path):
    text = """
        import collections, functools, pathlib

        ORDER = collections.OrderedDict((name, len(name)) for name in ("one", "two", "three", "four"))

        @functools.lru_cache(maxsize=4)
        def length(text, *rest): return len(text)

        for name in ORDER: length(name)
        length("a", "b")
        PATHS = {pathlib.PurePath("a/b"), pathlib.PurePath("c")}
        TYPES = {list[int]: 1, int | str: 2, ("a", frozenset({"b"})): 3}
    """
    script = """
        from asks import *
        from held import held

        assert held("asks")
        assert pathlib.PurePath("a/b") in PATHS and pathlib.PurePath("d") not in PATHS
        assert TYPES[list[int]] == 1 and TYPES[int | str] == 2 and TYPES["a", frozenset({"b"})] == 3
        for number in range(100): ORDER[f"n{number}"] = number
        ORDER.move_to_end("one")
        assert ORDER.popitem() == ("one", 3) and ORDER.popitem(last=False) == ("two", 3)
        del ORDER["three"]
        assert list(ORDER)[:2] == ["four", "n0"] and len(ORDER) == 101
        for number in range(1000): assert length(f"x{number}") == len(f"x{number}")
        assert length.cache_info().currsize == 4
        for name in ("one", "two", "three", "four"): assert length(name) == len(name)
        assert length.cache_info().currsize == 4
        print("held")
    """
    fast, refused, _ = asks(pyox, source, tmp_path, text, script=script)
    assert refused == {}
    assert [run(fast).stdout for _ in range(5)] == ["held\n"] * 5


def test_caches_work_to_the_end(pyox, source, tmp_path):
    text = """
        import functools

        @functools.lru_cache(maxsize=4)
        def bounded(value): return [value]

        @functools.cache
        def unbounded(value): return [value]

        class Late:
            def __init__(self, name): self.name = name
            def __del__(self): print(self.name, bounded("new"), bounded("old"), unbounded("new"), unbounded("old"))

        bounded("old"), unbounded("old")
    """
    script = """
        import asks
        asks.bounded("new"), asks.unbounded("new")
        asks.late = asks.Late("late")
        asks.Late.held = [asks.Late("held")]
        asks.bounded(asks.Late("cached"))
        cycle = asks.Late("cycle")
        cycle.me = cycle
    """
    fast, refused, _ = asks(pyox, source, tmp_path, text, script=script)
    assert refused == {}
    done = run(fast)
    assert sorted(done.stdout.split("\n")) == sorted(run(tmp_path / "app").stdout.split("\n"))
    assert done.stderr == ""


def test_the_same_input_gives_the_same_bytes(pyox, source, tmp_path):
    modules = {"asks": "import importlib.metadata, json, re, dataclasses, typing, logging\nNAMES = [each.name for each in importlib.metadata.distributions()]\nclass A: pass\nTABLE = {str(n): A() for n in range(99)}\nKEYS = set(TABLE)\n", "clock": "import time\nSTART = time.time()\n"}
    app = build(pyox, source, tmp_path, "import asks, clock", modules)
    made = []
    for number in range(2):
        folder = tmp_path / f"folder{number * 7}"
        folder.mkdir()
        fast, _ = take(pyox, app, env=pyox.environment | {"TMPDIR": str(folder), "HOME": str(folder), "PYTHONHASHSEED": str(number)})
        made.append(fast.read_bytes())
    assert made[0] == made[1]


def test_nothing_of_the_building_process_is_in_it(pyox, source, tmp_path):
    """Not even if a module wants to keep it all."""
    names = ("variable", "folder", "home", "user", "host")
    markers = {name: f"marker-{name}-of-the-builder" for name in names}
    greedy = """
        import os, sys, getpass, socket, multiprocessing, sysconfig, logging, random, uuid, tempfile, importlib.metadata
        KEPT = [getattr(os.environ, "copy")(), os.getcwd(), os.path.expanduser("~"), socket.gethostname(), sys.argv, sys.executable]
        try: KEPT.append(getpass.getuser())
        except Exception: pass
        sysconfig.get_config_vars()
    """
    seeking = "import os\nKEPT = os.path.exists(os.path.expanduser('~/marker-of-a-file'))\nHERE = open(os.getcwd() + '/marker')\n"
    app = build(pyox, source, tmp_path, "import asks, seeking, plain", {"asks": greedy, "seeking": seeking, "plain": "import sysconfig, multiprocessing, ssl, hashlib\n"})
    folder = tmp_path / markers["folder"]
    folder.mkdir()
    environment = pyox.environment | {"SECRET": markers["variable"], "HOME": f"/{markers['home']}", "USER": markers["user"], "LOGNAME": markers["user"], "TMPDIR": str(folder), "OPENSSL_CONF": str(folder / "openssl.cnf")}
    assert os.geteuid() == 0, "needs root to give the machine another name"
    named = ("unshare", "--uts", "/bin/sh", "-c", f'hostname {markers["host"]} && exec "$0" "$@"')
    for options in ((), ("--preload", "asks")):
        fast = tmp_path / f"fast{len(options)}"
        done = run(*named, pyox.tool("snapshot"), app, "-o", fast, *APPLICATION, *options, env=environment, cwd=folder, check=False)
        if options:
            # What it keeps of the path cannot stand in an image.
            assert done.returncode == 2 and "--preload: asks: it keeps a path" in done.stderr, done.stderr
            continue
        content = fast.read_bytes()
        for marker in [*markers.values(), str(folder), f"{pwd.getpwuid(0).pw_dir}/marker-of-a-file"]:
            for form in (marker.encode(), marker.encode("utf-16-le"), marker.encode("utf-32-le")):
                assert form not in content, marker
        assert "plain" in facts(pyox, fast)["modules"]


def test_what_is_inspected(pyox, source, tmp_path):
    fast, _, _ = asks(pyox, source, tmp_path, "import time\nSTART = time.time()\n", script="import asks, other", more={"other": "import os\nX = os.getenv('APP_X')\n"})
    said = pyox("inspect", fast).stdout
    assert "not held      asks: it asks for the time" in said and "guards        APP_X" in said
    assert pyox("inspect", "--check", fast).returncode == 0
