"""An executable behaves as `python` does: exit codes, tracebacks, signals, streams, settings.

Most cases here have an oracle: the same script is run by the distribution's own python, and exit status,
output and errors must be equal but for the folder in front of the application's paths.
"""

import json
import re
import signal
import subprocess

import pytest

from chain import ask, clean_environment, compare, run, terminal, write

BEHAVE = r'''
import sys
case = sys.argv[1]


class Broken:
    def __del__(self):
        raise ValueError("in __del__")

    def __str__(self):
        return "the text of an object"


def divide(number):
    return [number / other for other in (1, 0)]


def is_running():
    try:
        import _interpreters as interpreters
    except ImportError:
        import _xxsubinterpreters as interpreters
    main = interpreters.get_main()
    # In 3.12 it depends on the patch release.
    print(sys.version_info[:2] == (3, 12) or interpreters.is_running(main[0] if isinstance(main, tuple) else main))


def exit_3(): sys.exit(3)
def exit_text(): sys.exit("a text, größer")
def exit_none(): sys.exit()
def exit_true(): sys.exit(True)
def exit_large(): sys.exit(256 + 7)
def exit_negative(): sys.exit(-1)
def exit_object(): sys.exit(("a", 1))
def exit_in_module(): import inner.leaves
def exit_in_finally():
    try:
        sys.exit(4)
    finally:
        print("finally")

def uncaught(): divide(5)
def uncaught_in_module(): import inner.raises
def uncaught_in_function_of_module():
    from inner import functions
    functions.outer(lambda: divide(1))
def missing_module(): import inner.missing
def missing_name(): from inner import missing
def missing_top(): import absent_module
def chained():
    try:
        divide(1)
    except ZeroDivisionError as error:
        raise RuntimeError("caused") from error
def in_context():
    try:
        {}["key"]
    except KeyError:
        divide(1)
def suppressed():
    try:
        {}["key"]
    except KeyError:
        raise ValueError("alone") from None
def grouped():
    try:
        divide(1)
    except ZeroDivisionError as error:
        raise ExceptionGroup("group", [error, ValueError("two")])
def noted():
    error = ValueError("with notes")
    error.add_note("a note")
    raise error
def recursion():
    def f(): f()
    f()
def suggestion(): sys.exitt
def name_error(): undefinedname + 1
def in_exec(): exec(compile("def g():\n    1 / 0\ng()", "<generated>", "exec"))
def syntax_error(): compile("def (:\n", "<generated>", "exec")
def in_comprehension(): [x for x in (lambda: divide(2))()]
def in_generator():
    def generate():
        yield 1
        divide(3)
    list(generate())
def in_json():
    import json
    json.loads("{]")
def in_class_body():
    class C:
        value = divide(0)
def keyboard_interrupt(): raise KeyboardInterrupt
def custom_hook():
    sys.excepthook = lambda kind, value, traceback: print("hook:", kind.__name__, value)
    divide(1)
def broken_hook():
    sys.excepthook = lambda *_: 1 / 0
    raise ValueError("lost")
def in_thread():
    import threading
    thread = threading.Thread(target=divide, args=(1,), name="worker")
    thread.start(); thread.join()
def exit_in_thread():
    import threading
    thread = threading.Thread(target=sys.exit, args=(9,))
    thread.start(); thread.join()
    print("goes on")
def in_del():
    Broken()
def in_atexit():
    import atexit
    atexit.register(divide, 1)
    atexit.register(print, "first")
def thread_at_exit():
    import threading, time
    early = threading.Event()
    threading.Thread(target=lambda: (early.wait(), time.sleep(0.2), print("late"))).start()
    print("early")
    early.set()
def daemon_at_exit():
    import threading, time
    threading.Thread(target=lambda: (time.sleep(60), print("never")), daemon=True).start()
    print("done")
def output_without_newline():
    sys.stdout.write("no newline")
def os_exit():
    import os
    print("lost in the buffer"); os._exit(5)
def warn_here():
    import warnings
    warnings.warn("of the user")
    warnings.warn("deprecated here", DeprecationWarning)
    warnings.warn_explicit("explicit", UserWarning, "file.py", 3)
def warn_in_module():
    from inner import functions
    functions.warns()
    functions.deprecated()
def resource_warning():
    import warnings
    warnings.simplefilter("always")
    f = open("/dev/null"); del f
def log():
    import logging
    logging.basicConfig(format="%(levelname)s:%(filename)s:%(lineno)d:%(module)s:%(funcName)s:%(message)s")
    logging.warning("said")
    from inner import functions
    functions.logs()
    try:
        divide(1)
    except ZeroDivisionError:
        logging.exception("caught")
def print_stack():
    import traceback
    traceback.print_stack(file=sys.stdout)
    try:
        divide(1)
    except ZeroDivisionError:
        print(traceback.format_exc())
def source():
    import inspect
    print(inspect.getsource(divide))
    from inner import functions
    print(inspect.getsource(functions.outer), inspect.getdoc(functions), inspect.signature(functions.outer))
def pickled():
    import pickle, copy
    from inner.functions import Point
    print(type(pickle.loads(pickle.dumps(Broken.__str__))), pickle.loads(pickle.dumps(Point(1, 2))), copy.deepcopy(Point(3, 4)))
def unittests():
    import io, unittest
    class Test(unittest.TestCase):
        def test_it(self): self.assertEqual(divide, divide)
    globals()["Test"] = Test
    report = io.StringIO()
    result = unittest.main(argv=["x"], exit=False, testRunner=unittest.TextTestRunner(report, verbosity=2)).result
    # It says how long it took.
    print(result.testsRun, [line for line in report.getvalue().splitlines() if not line.startswith("Ran ")])
def doctests():
    import doctest
    from inner import functions
    print(doctest.testmod(functions))
def stdin_all(): print(repr(sys.stdin.read()))
def stdin_lines():
    for line in sys.stdin: print(len(line), line, end="")
def stdin_input():
    print(input("prompt "), input())
    input()
def stdin_binary(): print(sys.stdin.buffer.read())
def arguments(): print(ascii(sys.argv[1:]), len(sys.orig_argv) > 1)
def main_module():
    import __main__
    names = ("__name__", "__doc__", "__package__", "__spec__", "__builtins__")
    print([(name, repr(getattr(__main__, name, "none"))) for name in names], __main__ is sys.modules["__main__"])
    print(sorted(set(vars(__main__)) - {"__annotations__"}))
def streams():
    for stream in sys.stdin, sys.stdout, sys.stderr:
        print(stream.name, stream.mode, stream.encoding, stream.errors, stream.line_buffering, stream.write_through, stream.newlines)
    print(sys.__stdout__ is sys.stdout, sys.stdout.buffer.raw.closefd)
def encodings():
    import locale
    print(sys.getfilesystemencoding(), sys.getfilesystemencodeerrors(), locale.getpreferredencoding(), locale.getencoding(),
          sys.flags.utf8_mode, sys.getdefaultencoding(), locale.setlocale(locale.LC_CTYPE), locale.setlocale(locale.LC_NUMERIC))
def limits():
    import gc, signal, threading
    print(gc.isenabled(), gc.get_threshold(), sys.getrecursionlimit(), sys.getswitchinterval(), sys.get_int_max_str_digits(),
          threading.stack_size(), sys.dont_write_bytecode, sys.flags.hash_randomization, sys.hash_info, sys.float_info.max)
def handlers():
    import signal
    print([(s.name, str(signal.getsignal(s))) for s in signal.valid_signals() if isinstance(s, signal.Signals)])
def hooks():
    print(sys.displayhook is sys.__displayhook__, sys.excepthook is sys.__excepthook__, sys.gettrace(), sys.getprofile(),
          sys.breakpointhook is sys.__breakpointhook__, hasattr(sys, "ps1"), hasattr(sys, "last_type"))
def builtin_names():
    import builtins
    print(sorted(set(vars(builtins)) - {"exit", "quit", "help"}), type(open), open.__name__, open.__module__)
def future():
    print(divide.__code__.co_filename[-9:], divide.__code__.co_flags, __debug__)
def forked():
    import os
    child = os.fork()
    if child == 0:
        sys.exit(6)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
def closed_stdout():
    sys.stdout.close()
def reload():
    import importlib
    from inner import functions
    functions.extra = 1
    print(importlib.reload(functions) is functions, functions.extra, sys.modules["inner.functions"] is functions)
def asynchronous():
    import asyncio
    async def fail(): divide(1)
    asyncio.run(fail())
def tracing():
    events = []
    sys.settrace(lambda frame, event, arg: events.append((event, frame.f_code.co_name, frame.f_lineno)))
    len([]); (lambda: 1)()
    sys.settrace(None)
    print(events)
def names_of_builtin_modules():
    print(sorted(n for n in sys.stdlib_module_names if n[0] != "_")[:5], sys.platform, sys.byteorder, sys.maxsize, sys.abiflags)


if __name__ == "__main__":
    globals()[case]()
'''

CASES = re.findall(r"^def (\w+)\(\): |^def (\w+)\(\):$", BEHAVE, flags=re.M)
CASES = [one or other for one, other in CASES]
SPECIAL = {"stdin_all": "two\nlines", "stdin_lines": "a\nbb\r\nno end", "stdin_input": "first\nsecond\n", "stdin_binary": "x\r\ny"}
# In `python` itself this is the difference between a module that is there and one that is not.
FUNCTIONS = '''
"""Functions that are called.

>>> 1 + 1
2
"""
import logging
import warnings
from typing import NamedTuple


class Point(NamedTuple):
    x: int
    y: int


def outer(call):
    """Calls."""
    return inner(call) + [
        1,
    ]


def inner(call):
    return (call())


def warns():
    warnings.warn("of the caller", stacklevel=2)
    warnings.warn("of the module")


def deprecated():
    warnings.warn("deprecated in a module", DeprecationWarning)


def logs():
    logging.warning("from a module")
'''


@pytest.fixture(scope="session")
def behave_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("behave")
    write(folder / "behave.py", BEHAVE)
    write(folder / "inner/__init__.py", "")
    write(folder / "inner/leaves.py", "import sys\nsys.exit(8)\n")
    write(folder / "inner/raises.py", "def f():\n    raise LookupError('while importing')\n\n\nf()\n")
    write(folder / "inner/functions.py", FUNCTIONS)
    return folder


@pytest.fixture(scope="session")
def behave(pyox, each_minor, behave_folder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("executable")
    return pyox.build(folder, each_minor, behave_folder / "behave.py", behave_folder / "inner", name="behave")


@pytest.mark.parametrize("case", CASES)
def test_as_python(behave, behave_folder, each_minor, case, tmp_path):
    options = {"input": SPECIAL[case]} if case in SPECIAL else {}
    if case == "limits":
        # The one field that differs: there is nowhere to write bytecode to.
        script = "-B", behave_folder / "behave.py"
        theirs = run(each_minor.python, "-E", "-s", "-S", *script, case)
        assert run(behave, case).stdout == theirs.stdout
        return
    compare(behave, each_minor.python, behave_folder / "behave.py", case, cwd=tmp_path, **options)


@pytest.mark.parametrize("case", ["chained", "in_thread", "warn_in_module", "print_stack", "source", "log", "grouped"])
def test_files_of_the_same_names_are_not_the_source(behave, behave_folder, each_minor, case, tmp_path):
    """The working folder holds other files with the application's relative paths: nobody reads their lines."""
    write(tmp_path / "behave.py", "# a decoy\n" * 300)
    write(tmp_path / "inner/functions.py", "# a decoy\n" * 100)
    compare(behave, each_minor.python, behave_folder / "behave.py", case, cwd=tmp_path)


@pytest.mark.parametrize(
    "arguments",
    [["--help", "-c", "import sys"], ["-X", "dev"], ["", " ", "größer", "\udcff\udc80"], ["-m", "json", "--", "-"], ["-V"]],
    ids=ascii,
)
def test_arguments_are_the_applications(behave, behave_folder, each_minor, arguments):
    compare(behave, each_minor.python, behave_folder / "behave.py", "arguments", *arguments)
    # Also where the locale is no help.
    environment = clean_environment() | {"LC_ALL": "C"}
    compare(behave, each_minor.python, behave_folder / "behave.py", "arguments", *arguments, env=environment)


@pytest.mark.parametrize(
    "locale",
    [{"LC_ALL": "C"}, {"LC_ALL": "POSIX"}, {"LC_ALL": "C.UTF-8"}, {"LC_ALL": "de_DE.ISO-8859-1"}, {"LANG": "de_DE.UTF-8"}, {"LC_CTYPE": "nonsense"}, {}],
    ids=str,
)
@pytest.mark.parametrize("case", ["encodings", "streams", "exit_text"])
def test_locales(behave, behave_folder, each_minor, locale, case):
    environment = {name: value for name, value in clean_environment().items() if name != "LC_ALL"} | locale
    compare(behave, each_minor.python, behave_folder / "behave.py", case, env=environment)


PYTHON_VARIABLES = {
    "PYTHONPATH": "/nowhere",
    "PYTHONHOME": "/nowhere",
    "PYTHONSTARTUP": "/nowhere",
    "PYTHONOPTIMIZE": "2",
    "PYTHONWARNINGS": "error",
    "PYTHONHASHSEED": "1",
    "PYTHONIOENCODING": "latin-1",
    "PYTHONUTF8": "1",
    "PYTHONDEVMODE": "1",
    "PYTHONVERBOSE": "1",
    "PYTHONINSPECT": "1",
    "PYTHONMALLOC": "debug",
    "PYTHONUNBUFFERED": "1",
    "PYTHONPLATLIBDIR": "nonsense",
    "PYTHONCASEOK": "1",
    "PYTHONINTMAXSTRDIGITS": "640",
    "PYOX_INTERPRETER": "1",
}


@pytest.mark.parametrize("case", ["streams", "limits", "handlers", "warn_here", "uncaught", "future"])
def test_variables_for_python_are_not_for_the_application(behave, case):
    plain = run(behave, case, check=False)
    changed = run(behave, case, check=False, env=clean_environment() | PYTHON_VARIABLES)
    assert (plain.returncode, plain.stdout, plain.stderr) == (changed.returncode, changed.stdout, changed.stderr)


def test_flags_and_paths(probe, distribution):
    code = "import json, sys; print(json.dumps([[str(f) for f in sys.flags], sys.warnoptions, sys._xoptions, sys.pycache_prefix]))"
    assert ask(probe, code) == json.loads(distribution.run_python("-B", "-c", code).stdout)
    stdlib = f"{probe}/lib/python{distribution.minor[0]}.{distribution.minor[1]}"
    expected = [f"{probe}/app", stdlib, f"{stdlib}/lib-dynload", f"{stdlib}/site-packages"]
    assert ask(probe, "import json, sys; print(json.dumps(sys.path))") == expected
    paths = ask(probe, "import json, sys; print(json.dumps([sys.executable, sys._base_executable, sys.argv[0], sys.prefix, sys.exec_prefix, __file__]))")
    assert paths[:2] == [str(probe), str(probe)] and paths[3] == paths[4] == str(probe)
    assert paths[5] == f"{probe}/app/probe.py"


# --- Signals ------------------------------------------------------------------


WAITING = """
import signal, sys, time
try:
    print("ready", flush=True)
    # Python looks for signals between two turns: one that comes just before a sleep does not end that.
    while True:
        time.sleep(0.1)
finally:
    print("finally", flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_signals_end_it_as_they_end_python(probes, each_minor, number, tmp_path):
    script = write(tmp_path / "waiting.py", WAITING)

    def end(*command):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path)
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        output, errors = process.communicate(timeout=30)
        return process.returncode, output, errors.splitlines()[-1:]

    ours = end(probes(each_minor), WAITING)
    assert ours == end(each_minor.python, "-I", "-S", script)
    assert ours[0] == -number


def test_ctrl_c_in_a_terminal_reaches_a_handler(probes, each_minor):
    code = "import signal, os; signal.signal(signal.SIGINT, lambda *_: print('handled', flush=True)); os.kill(os.getpid(), signal.SIGINT); print(1)"
    assert run(probes(each_minor), code).stdout == "handled\n1\n"


def test_a_reader_that_goes_away(probes, each_minor, tmp_path):
    """As in `python`: SIGPIPE is ignored, and the write raises; at exit the status is 120."""
    for code in ("for n in range(10**6): print(n)", "print('x' * 10)"):
        script = write(tmp_path / "pipe.py", code)

        def piped(*command):
            line = ["bash", "-c", '"$@" | true; exit ${PIPESTATUS[0]}', "-", *command]
            done = run(*line, check=False)
            return done.returncode, done.stderr.splitlines()[-1:]

        # The reader may be gone before or after the first write.
        for _ in range(3):
            ours, theirs = piped(probes(each_minor), code), piped(each_minor.python, "-I", "-S", script)
            assert ours[0] in (0, 1, 120) and theirs[0] in (0, 1, 120)
            if ours[0] == theirs[0]:
                assert ours == theirs


# --- What runs ------------------------------------------------------------------


@pytest.fixture(scope="module")
def tool_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tool")
    write(folder / "tool/__init__.py", "def main():\n    import sys\n    print('main', sys.argv[1:])\n    return len(sys.argv)\n")
    write(
        folder / "tool/__main__.py",
        """
        import sys
        print(__name__, __package__, __spec__.name, __spec__.parent, __file__[-16:], __loader__ is __spec__.loader, sys.argv[1:])
        from . import sub
        """,
    )
    write(folder / "tool/sub.py", "import sys\nprint(__name__, __package__, __spec__ and __spec__.name, sys.argv[1:])\n")
    write(folder / "tool/cli.py", "class App:\n    @staticmethod\n    def start():\n        return 'a text'\n")
    return folder


@pytest.mark.parametrize("what", ["tool", "tool.sub"])
def test_running_a_module(pyox, each_minor, tool_folder, tmp_path, what):
    app = pyox.build(tmp_path, each_minor, tool_folder / "tool", "--run-module", what)
    ours = run(app, "a", "b")
    theirs = run(each_minor.python, "-E", "-s", "-S", "-m", what, "a", "b", cwd=tool_folder)
    assert (ours.stdout, ours.stderr) == (theirs.stdout, theirs.stderr)


def test_running_an_entry_point(pyox, each_minor, tool_folder, tmp_path):
    app = pyox.build(tmp_path, each_minor, tool_folder / "tool", "--entry-point", "tool:main")
    done = run(app, "a", "b", check=False)
    assert (done.returncode, done.stdout) == (3, "main ['a', 'b']\n")
    app = pyox.build(tmp_path, each_minor, tool_folder / "tool", "--entry-point", "tool.cli:App.start", name="other")
    done = run(app, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "a text\n")


def test_running_code(pyox, each_minor, tool_folder, tmp_path):
    code = "import tool, sys; print(__name__, __spec__, __package__, sys.argv[1:]); sys.exit(tool.main())"
    app = pyox.build(tmp_path, each_minor, tool_folder / "tool", "--run-code", code)
    done = run(app, "x", check=False)
    assert (done.returncode, done.stdout) == (2, "__main__ None None ['x']\nmain ['x']\n")


def test_what_site_brings(pyox, each_minor, tool_folder, tmp_path):
    """Scripts use it as if it were Python's own: with `site` it is there, in pool workers and threads too."""
    script = write(
        tmp_path / "uses.py",
        """
        import sys, multiprocessing

        def work(status):
            quit(status)

        if __name__ == "__main__":
            print(exit, quit, type(help), repr(help)[:20])
            context = multiprocessing.get_context("spawn")
            process = context.Process(target=work, args=(5,))
            process.start(); process.join()
            print(process.exitcode, flush=True)
            exit(7)
        """,
    )
    executable = pyox.build(tmp_path, each_minor, script, name="uses")
    ours, theirs = run(executable, check=False), run(each_minor.python, "-I", script, check=False)
    assert (ours.returncode, ours.stdout, ours.stderr) == (theirs.returncode, theirs.stdout, theirs.stderr)
    assert ours.returncode == 7 and "\n5\n" in ours.stdout
    without = pyox.build(tmp_path, each_minor, script, "--config", "site_import=false", name="without")
    assert "NameError: name 'exit' is not defined" in run(without, check=False).stderr


def test_running_a_session(pyox, each_minor, tool_folder, tmp_path):
    app = pyox.build(tmp_path, each_minor, tool_folder / "tool", "--repl")
    # Input that is no terminal is a script, as it is for `python`.
    typed = "import json\nprint(6 * 7)\n'not shown'\ndef f():\n  return 1/0\n\nf()\nprint('never')\n"
    ours = run(app, input=typed, check=False)
    theirs = run(each_minor.python, "-I", "-S", input=typed, check=False)
    assert (ours.returncode, ours.stdout, ours.stderr) == (theirs.returncode, theirs.stdout, theirs.stderr)
    assert (ours.returncode, ours.stdout) == (1, "42\n")


def test_a_session_in_a_terminal(pyox, each_minor, tool_folder, tmp_path):
    app = pyox.build(tmp_path, each_minor, tool_folder / "tool", "--repl")
    status, shown = terminal([app], [(b">>> ", b"import tool\r"), (b">>> ", b"tool.__name__ * 2\r"), (b">>> ", b"\x04")])
    assert status == 0
    assert ">>> " in shown and "'tooltool'" in shown


# --- Settings -------------------------------------------------------------------


def test_settings_reach_the_interpreter(pyox, each_minor, tmp_path):
    """By the names that CPython documents, as PEP 587 has them."""
    source = """
        import json, sys, warnings
        print(json.dumps({
            "hash": hash("text"), "utf8": sys.flags.utf8_mode, "x": sys._xoptions, "w": sys.warnoptions,
            "optimize": sys.flags.optimize, "digits": sys.get_int_max_str_digits(), "dev": sys.flags.dev_mode,
            "buffered": sys.stdout.write_through, "encoding": sys.stderr.encoding, "argv": sys.argv, "path": sys.path,
            "quiet": sys.flags.quiet, "assert": __debug__,
        }))
        """
    collect = [
        *("--preconfig", "utf8_mode=1", "--preconfig", "dev_mode=0"),
        *("--config", "hash_seed=42", "--config", "use_hash_seed=true", "--config", 'xoptions=["a=b", "c"]'),
        *("--config", 'warnoptions=["error::BytesWarning"]', "--config", "optimization_level=1"),
        *("--config", "buffered_stdio=false", "--config", "stdio_encoding=latin-1", "--config", 'module_search_paths=["/some/where"]'),
        *("--config", "quiet=1"),
    ]
    app = pyox.build_script(tmp_path, each_minor, source, *collect)
    done = run(app, "one")
    said = json.loads(done.stdout)
    assert done.stderr == ""
    code = "print(hash('text'))"
    expected = run(each_minor.python, "-c", code, env=clean_environment() | {"PYTHONHASHSEED": "42"}).stdout
    assert said["hash"] == int(expected)
    assert said["utf8"] == 1 and said["x"] == {"a": "b", "c": True} and said["optimize"] == 1 and said["quiet"] == 1
    assert "error::BytesWarning" in said["w"]
    assert said["encoding"] in ("latin-1", "iso8859-1") and said["path"] == ["/some/where"] and said["argv"][1:] == ["one"]
    assert json.loads(run(app).stdout)["hash"] == said["hash"]


def test_an_encoding_of_an_extension_module(pyox, each_minor, tmp_path):
    """Start-up needs the codec's extension module before anything else of the application."""
    source = """
        import sys
        print("\u65e5\u672c", sys.modules["_codecs_jp"].__name__)
        """
    app = pyox.build_script(tmp_path, each_minor, source, "--config", "stdio_encoding=shift_jis")
    done = run(app, text=False)
    assert (done.stdout, done.stderr) == ("\u65e5\u672c _codecs_jp\n".encode("shift_jis"), b"")


def test_optimised_bytecode(pyox, each_minor, tmp_path):
    source = '''
        """A docstring."""
        def f():
            """Another."""
            assert False, "removed"
            return f.__doc__, __doc__
        print(f())
        '''
    for level, said in ((1, "('Another.', 'A docstring.')"), (2, "(None, None)")):
        app = pyox.build_script(tmp_path, each_minor, source, "--optimize", str(level), name=f"app{level}")
        assert run(app).stdout.strip() == said


def test_without_sources(pyox, each_minor, tmp_path):
    app = pyox.build_script(tmp_path, each_minor, "def f():\n    1 / 0\nf()\n", "--no-sources")
    done = run(app, check=False)
    assert done.returncode == 1
    lines = done.stderr.splitlines()
    assert lines[0].startswith("Traceback") and lines[-1].startswith("ZeroDivisionError")
    assert f'File "{app}/app/app.py", line 2, in f' in done.stderr and "1 / 0" not in done.stderr


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--config", "no_such_field=1"], "no_such_field"),
        (["--preconfig", "no_such_field=1"], "no_such_field"),
        (["--config", "optimization_level=text"], "optimization_level"),
        (["--config", "hash_seed=-1"], "hash_seed"),
        (["--config", "site_import=99999999999"], "site_import"),
        (["--config", "warnoptions=1"], "warnoptions"),
        (["--config", "stdio_encoding=no-such-codec"], "codec"),
    ],
    ids=lambda value: value[-1] if isinstance(value, list) else value,
)
def test_settings_that_python_cannot_take(pyox, source, tmp_path, options, expected):
    """Which fields there are is known where the interpreter starts: a clear error there, at the latest."""
    manifest = tmp_path / "app.json"
    script = write(tmp_path / "app.py", "print(1)")
    pyox("collect", "-d", source.document, script, *options, "-o", manifest)
    packed = pyox("pack", manifest, "-o", tmp_path / "app.blob", check=False)
    if packed.returncode == 2:
        assert expected in packed.stderr
        return
    pyox("link", tmp_path / "app.blob", "-o", tmp_path / "app")
    done = run(tmp_path / "app", check=False)
    assert done.returncode in (1, 2) and done.stdout == "", done
    assert expected in done.stderr and "panicked" not in done.stderr


# --- Threads -----------------------------------------------------------------------


def test_daemon_threads_are_left_behind(pyox, each_minor, tmp_path):
    """Also one that is in the importer, or below it, when the interpreter ends."""
    write(tmp_path / "below/__init__.py", "")
    write(tmp_path / "below/running.py", """
        import time
        import below
        below.started = True
        while True:
            time.sleep(0.0001)
    """)
    app = pyox.build_script(tmp_path, each_minor, """
        import importlib.util, os, threading, time
        import below

        def look():
            while True:
                os.listdir(os.path.dirname(below.__file__))
                open(below.__file__).close()
                importlib.util.find_spec("below.running")

        for work in (lambda: importlib.import_module("below.running"), look, look):
            threading.Thread(target=work, daemon=True).start()
        while not hasattr(below, "started"):
            time.sleep(0.001)
        time.sleep(0.05)
        print("the end")
    """, tmp_path / "below")
    for _ in range(10):
        done = run(app)
        assert (done.stdout, done.stderr) == ("the end\n", "")


@pytest.mark.parametrize("shape", ["--static", "--dynamic"])
def test_further_interpreters_import(pyox, source, tmp_path, shape):
    """Those of the same process: one after the other, at the same time, with locks of their own and without."""
    code = """
        import _interpreters, threading

        IMPORT = "import json, helper, sys; assert type(json.__loader__).__module__ == sys.meta_path[0].__module__ == 'pyembed'; assert len(open(helper.__file__).read()) == 10"
        for kind in ("isolated", "legacy", "isolated"):
            made = _interpreters.create(kind)
            for text in (IMPORT, "import email.mime.text, decimal", "raise ValueError(1)"):
                failure = _interpreters.run_string(made, text)
                print(kind, failure and failure.formatted)
            _interpreters.destroy(made)
        # More of the standard library is not safe in several at the same time, under `python` neither.
        made = [_interpreters.create() for _ in range(3)]
        threads = [threading.Thread(target=_interpreters.run_string, args=(one, IMPORT)) for one in made]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        print([_interpreters.run_string(one, IMPORT) for one in made])
        for one in made:
            _interpreters.destroy(one)
        import helper
        print(helper.VALUE)
    """
    helper = write(tmp_path / "helper.py", "VALUE = 7\n")
    app = pyox.build_script(tmp_path, source, code, helper, link=(shape,))
    each = "{0} None\n{0} None\n{0} ValueError: 1\n"
    expected = each.format("isolated") + each.format("legacy") + each.format("isolated")
    assert run(app).stdout == expected + "[None, None, None]\n7\n"


IMPORT_SYSTEM = """
    import sys
    import pkg.__init__
    from pkg.__init__ import VALUE
    print(VALUE, pkg.__init__ is not pkg, pkg.__init__.__name__, pkg.__init__.__package__, pkg.__init__.__file__ == pkg.__file__)
    import pkg.__main__
    print(pkg.__main__.__name__, {type(finder).__module__ for finder in sys.meta_path} - {"builtins", "pyembed"})

    # As importlib's own tests import it afresh.
    import importlib, importlib.util
    for name in ("", "a..b", ".", "é", "\\ud800", "pkg.\\ud800", "nul\\0", "pkg.absent", "absent.absent"):
        try:
            print(ascii(name), importlib.util.find_spec(name), {finder.find_spec(name) for finder in sys.meta_path})
        except (ImportError, ValueError) as error:
            print(ascii(name), type(error).__name__)
    for name in [name for name in sys.modules if name.split(".")[0] == "importlib"]:
        del sys.modules[name]
    frozen = {name: sys.modules[name] for name in ("_frozen_importlib", "_frozen_importlib_external")}
    sys.modules.update(dict.fromkeys(frozen))
    import importlib as fresh
    print(fresh._bootstrap.__name__, fresh.import_module("json").loads("[1]"))
    sys.modules.update(frozen)
"""


def test_the_import_system_as_under_python(pyox, each_minor, tmp_path):
    write(tmp_path / "pkg/__init__.py", "VALUE = 7\n")
    write(tmp_path / "pkg/__main__.py", "print('main', __name__)\n")
    script = write(tmp_path / "app.py", IMPORT_SYSTEM)
    app = pyox.build(tmp_path, each_minor, script, tmp_path / "pkg", name="app")
    assert run(app).stdout == run(each_minor.python, "-S", script).stdout
