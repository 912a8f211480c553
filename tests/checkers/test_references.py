"""References that are lost: on a CPython that counts all of them (`Py_DEBUG`), built from source.

What an operation of the run-time library takes it must give back. So each is done many times, and the count is the same
after each time. `make test-debug` runs it; the first run builds CPython.
"""

import json
import re

import pytest

from chain import run, write

TIMES = 400

# What a program does with the importer and its files. Each is a body of code that is run again and again.
OPERATIONS = {
    "import": "sys.modules.pop('shelf.book', None); sys.modules.pop('shelf', None); import shelf.book",
    "namespace": "sys.modules.pop('space.one', None); sys.modules.pop('space', None); import space.one",
    "a module of the standard library": "sys.modules.pop('this', None); import this",
    "what is not there": "try:\n    import shelf.absent\nexcept ImportError: pass",
    "a spec": "importlib.util.find_spec('shelf.book'); importlib.machinery.PathFinder.find_spec('shelf.inner', shelf.__path__)",
    "reload": "importlib.reload(shelf.book)",
    "the loader": "loader = shelf.book.__loader__; loader.get_source('shelf.book'); loader.get_code('shelf.book'); loader.get_data(shelf.book.__file__); loader.get_filename('shelf.book'); loader.is_package('shelf.book')",
    "resources": "importlib.resources.files('shelf').joinpath('note.txt').read_bytes(); list(importlib.resources.files('shelf').iterdir())",
    "files": "open(shelf.book.__file__).read(); os.stat(shelf.book.__file__); os.listdir(shelf.__path__[0]); os.path.realpath(shelf.book.__file__)",
    "walk": "sum(len(files) for _, _, files in os.walk(shelf.__path__[0]))",
    "scandir": "[entry.stat() for entry in os.scandir(shelf.__path__[0])]",
    "wrong": "for name in ('x', 'note.txt/x', '../shelf/../..'):\n    try:\n        open(os.path.join(shelf.__path__[0], name))\n    except OSError: pass",
    "metadata": "importlib.metadata.version('rich'); importlib.metadata.files('rich')",
    "iter_modules": "list(pkgutil.iter_modules(shelf.__path__)); list(pkgutil.iter_modules(shelf.__path__ + [os.sep]))",
    "get_data": "pkgutil.get_data('shelf', 'note.txt')",
    "runpy": "with contextlib.redirect_stdout(io.StringIO()): runpy.run_module('shelf', alter_sys=True)",
    "traceback": "try:\n    shelf.book.read(0)\nexcept ZeroDivisionError:\n    traceback.format_exc(); linecache.clearcache()",
    "path": "sys.path.insert(0, '/nonexistent'); importlib.invalidate_caches(); sys.path_importer_cache.clear(); importlib.util.find_spec('absent'); sys.path.remove('/nonexistent')",
    "a child": "subprocess.run([sys.executable, '-c', 'pass'], check=True)",
    "a thread": "thread = threading.Thread(target=importlib.import_module, args=('shelf.book',)); thread.start(); thread.join()",
    "an interpreter": "number = _interpreters.create(); _interpreters.run_string(number, 'import shelf.book, json, importlib.resources'); _interpreters.destroy(number)",
}

COUNT = """
import contextlib, gc, importlib, importlib.machinery, importlib.metadata, importlib.resources, importlib.util, io, json
import linecache, os, pkgutil, runpy, subprocess, sys, threading, traceback
from array import array
import _interpreters, shelf, shelf.book, shelf.inner, space.one

def counts(body, times):
    code = compile(body, "<operation>", "exec")
    names = globals()
    # A list would have a reference to each number.
    found = array("q", bytes(8 * times))
    for number in range(times):
        exec(code, names)
        gc.collect()
        found[number] = sys.gettotalrefcount()
    return found

counts("pass", 3)
times = int(sys.argv[2])
print(json.dumps(counts(sys.argv[1], times).tolist()))
"""


@pytest.fixture(scope="session", params=["--static", "--dynamic"])
def program(request, probes, distribution):
    assert "gettotalrefcount" in distribution.run_python("-c", "import sys; print(dir(sys))").stdout, "expected a debug build: run `make test-debug`"
    return probes(distribution, request.param)


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_gives_back_what_it_has_taken(program, name):
    times = 60 if name in ("an interpreter", "a child", "a thread") else TIMES
    done = run(program, COUNT, OPERATIONS[name], str(times), timeout=280)
    found = json.loads(done.stdout.splitlines()[-1])
    # The first times fill caches, CPython's own too. One more reference in so many times is nobody's.
    settled = found[times * 3 // 4 :]
    grown = settled[-1] - settled[0]
    assert grown < len(settled) / 10, f"{grown} references in {len(settled) - 1} times: {found}"


def test_nothing_is_left_at_the_end(pyox, distribution, tmp_path):
    """`-X showrefcount`: what an executable leaves behind when it ends is what CPython leaves."""
    script = write(tmp_path / "app.py", "import json, email.message, importlib.resources, threading\nprint(json.dumps(1))\n")
    app = pyox.build(tmp_path, distribution, script, "--config", "show_ref_count=1", link=["--static"])
    theirs = distribution.run_python("-X", "showrefcount", script).stderr
    ours = run(app).stderr
    count = re.compile(r"\[(-?\d+) refs, (\d+) blocks\]")
    assert count.search(theirs) and count.search(ours), (ours, theirs)
    assert int(count.search(ours)[1]) <= int(count.search(theirs)[1]), (ours, theirs)
