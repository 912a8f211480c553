"""Interpreters of one process, one after the other: `pyembed` as a program uses it, with blobs of its own.

The program is `pyembed/examples/interpreters.rs`; each argument is a step.
"""

import pytest

from chain import REPOSITORY, run, write

EXAMPLES = REPOSITORY / "target/runtime/examples"
OCCUPIED = "python: expected a process without an interpreter, found one that runs or has failed to start"


@pytest.fixture(scope="module")
def programs(pyox, fetched, tmp_path_factory):
    """Gives the program for a distribution, linked one way, and what makes further blobs for it."""
    known = {}

    def program(distribution, *link):
        key = (distribution.spec, link)
        if key not in known:
            folder = tmp_path_factory.mktemp("interpreters")
            write(folder / "app.py", "print('the application')\n")
            known[key] = pyox.build(folder, distribution, folder / "app.py", link=(*link, "--runtime", EXAMPLES), name="app")
        return known[key]

    return program


def test_each_starts_anew_and_ends_with_its_data_written(programs, source, tmp_path):
    program = programs(source, "--static")
    writes = f"file = open({str(tmp_path / 'out')!r}, 'a'); file.write('data\\n'); import builtins; builtins.left = 1"
    asks = "import sys, builtins, gc; print(hasattr(builtins, 'left'), sys.argv, 'json' in sys.modules, gc.get_freeze_count())"
    done = run(program, writes, writes, "import json", asks)
    assert done.stdout == f"False ['{program}'] False 0\n"
    assert (tmp_path / "out").read_text() == "data\ndata\n"


@pytest.mark.parametrize("spec", ["source@3.13", "source@3.11"])
def test_a_dropped_one_has_ended(programs, fetched, spec):
    program = programs(fetched(spec), "--static")
    done = run(program, "drop", "drop", "import atexit; atexit.register(print, 'at its end'); print('one')", "drop", "print('two')")
    assert (done.stdout, done.stderr) == ("one\nat its end\ntwo\n", "")


def test_there_is_one_at_a_time(programs, source):
    done = run(programs(source, "--static"), "two", "print('the next one')")
    assert (done.stdout, done.stderr) == ("the next one\n", f"{OCCUPIED}\n")


def test_an_error_leaves_no_interpreter(programs, source, tmp_path):
    program = programs(source, "--static")
    write(tmp_path / "no.blob", "no blob\n")
    done = run(program, "nosuch=1", "print('not reached')", "print('one')", f"@{tmp_path / 'no.blob'}", "print('not reached')", check=False)
    assert done.stdout == "one\n"
    first, second = done.stderr.splitlines()
    assert first == "configuration: nosuch: this Python's PyConfig has no such field of that type"
    assert second.startswith("blob: ")
    assert done.returncode == 2


def test_one_goes_on_after_each_step(programs, source, tmp_path):
    program = programs(source, "--static")
    write(tmp_path / "script.py", "import sys, plugin\nprint(__name__, __file__, plugin.NAME, sys.path[-1])\n")
    write(tmp_path / "plugins/plugin.py", "NAME = 'a plugin'\n")
    steps = ("code x = 1", "code print(x + 1); y = x / 0", "code print(x, 'goes on')", f"file {tmp_path / 'script.py'}")
    done = run(program, f"+{tmp_path / 'plugins'}", "stay", *steps, "code import sys; sys.exit(7)", "module this", "file /no/such.py", "print('another')", check=False)
    said = done.stdout.splitlines()
    assert said[:3] == ["2", "1 goes on", f"__main__ {tmp_path / 'script.py'} a plugin {tmp_path / 'plugins'}"]
    assert said[-1] == "another"
    failed = done.stderr.splitlines()
    assert failed[0] == "ZeroDivisionError: division by zero"
    assert failed[1:4] == ["Traceback (most recent call last):", '  File "<string>", line 1, in <module>', "ZeroDivisionError: division by zero"]
    assert "python: exit status 7" in failed and "The Zen of Python, by Tim Peters" in said
    assert "FileNotFoundError: [Errno 2] No such file or directory: '/no/such.py'" in failed


def test_another_blob_adds_its_modules(pyox, programs, source, fetched, tmp_path):
    write(tmp_path / "plugins/plugin/__init__.py", "from . import inner\nimport json, pathlib\nTEXT = pathlib.Path(__file__).with_name('note.txt').read_text()\n")
    write(tmp_path / "plugins/plugin/inner.py", "import markdown_it\nVALUE = markdown_it.MarkdownIt().render('# x').strip()\n")
    write(tmp_path / "plugins/plugin/note.txt", "a note")
    write(tmp_path / "main.py", "import plugin\n")
    blob = pyox.blob(tmp_path, source, tmp_path / "plugins/plugin", tmp_path / "main.py", "--run-script", tmp_path / "main.py", "--with", "markdown-it-py==3.0.0", name="more")
    asks = "import plugin, json, sys; print(plugin.TEXT, plugin.inner.VALUE, plugin.__file__, json.__file__)"
    program = programs(source, "--static")
    done = run(program, f"+@{blob}", asks, "import plugin", check=False)
    assert done.stdout == f"a note <h1>x</h1> {blob}/app/plugin/__init__.py {program}/lib/python3.13/json/__init__.py\n"
    assert done.stderr.splitlines()[-1] == "ModuleNotFoundError: No module named 'plugin'"
    other = pyox.blob(tmp_path, fetched("source@3.11"), tmp_path / "main.py", name="other")
    done = run(program, f"+@{other}", "1", f"+@{tmp_path / 'none'}", "1", check=False)
    assert done.stderr.splitlines() == [
        "blob: made for Python 3.11, but this executable holds Python 3.13",
        f"{tmp_path / 'none'}: No such file or directory (os error 2)",
    ]


def test_a_session_ends_with_its_input_or_by_exit(programs, source):
    program = programs(source, "--static")
    text = "x = 20\nprint(x + 1)\n1 / 0\n"
    done = run(program, "stay", "code y = 4", "repl", "code print(x, y)", input=text + "print(y)\n")
    assert (done.stdout.replace(">>> ", "").split(), "ZeroDivisionError" in done.stderr) == (["21", "4", "20", "4"], True)
    done = run(program, "stay", "repl", "code print('after')", input="exit(3)\n")
    assert (done.stderr, done.stdout) == ("python: exit status 3\n", ">>> after\n")


def test_a_start_that_cpython_cannot_undo_is_told(programs, source):
    done = run(programs(source, "--static"), "stdio_encoding=nosuch", "1", "print('not reached')", check=False)
    first, second = done.stderr.splitlines()
    assert first.startswith("python: init_stdio_encoding: ")
    assert (second, done.stdout, done.returncode) == (OCCUPIED, "", 2)


def test_codecs_that_are_extension_modules_serve_each_start(programs, host):
    says = "import sys; print(sys.stdout.encoding)"
    done = run(programs(host), "stdio_encoding=gb18030", says, says, "stdio_encoding=euc_jp", says)
    assert done.stdout == "gb18030\nutf-8\neuc_jp\n"


def test_blobs_with_native_code_of_their_own(pyox, programs, host, tmp_path):
    """Three blobs with other versions of one extension module, at one path, and libraries that only one of them has."""
    program, blobs = programs(host), []
    for name, *wheels in (("one", "markupsafe==2.1.5"), ("two", "markupsafe==3.0.2", "numpy==2.2.6"), ("three", "markupsafe==3.0.3")):
        write(tmp_path / f"{name}.py", "")
        options = (option for wheel in wheels for option in ("--with", wheel))
        blobs.append(f"@{pyox.blob(tmp_path, host, tmp_path / f'{name}.py', *options, name=name)}")
    speedups = (
        "import importlib.metadata as m, markupsafe, markupsafe._speedups as s; "
        "print(m.version('markupsafe'), markupsafe.escape('<'), s.__file__.removeprefix(__import__('sys').executable))"
    )
    # Itself it refuses to be loaded by a second interpreter.
    numpy = "import numpy; print(int(numpy.arange(4).sum()))"
    sqlite = "import sqlite3; print(sqlite3.connect(':memory:').execute('select 1').fetchone()[0])"
    one, two, three = blobs
    done = run(program, sqlite, one, speedups, sqlite, two, speedups, numpy, three, speedups, two, speedups, one, speedups)
    tail = f"markupsafe/_speedups.{host.json['python']['soabi']}.so"
    said = [line.split() for line in done.stdout.splitlines()]
    versions = [words[0] for words in said if len(words) == 3]
    assert versions == ["2.1.5", "3.0.2", "3.0.3", "3.0.2", "2.1.5"]
    assert all(words[1] == "&lt;" and words[2].endswith(tail) for words in said if len(words) == 3)
    assert [words[0] for words in said if len(words) == 1] == ["1", "1", "6"]
