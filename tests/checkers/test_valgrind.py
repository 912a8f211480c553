"""The run-time library under valgrind, with a whole application: no byte is read or written that should not be.

CPython takes its memory from `malloc`, so that valgrind sees each block. `make test-valgrind` runs it, some minutes.
"""

import re

from chain import require, run

APPLICATION = """
    import concurrent.futures, importlib, importlib.metadata, importlib.resources, io, json, os, pkgutil, runpy
    import subprocess, sys, tempfile, threading, traceback
    import shelf.book

    # Most of the standard library, and native code of wheels.
    for name in ("asyncio", "csv", "ctypes", "dataclasses", "decimal", "difflib", "email.message", "hashlib", "html.parser",
                 "http.client", "logging.config", "multiprocessing", "pathlib", "pickle", "sqlite3", "ssl", "tomllib", "typing",
                 "unittest", "urllib.request", "uuid", "xml.etree.ElementTree", "zipfile", "zoneinfo"):
        importlib.import_module(name)
    import markupsafe._speedups
    import yaml
    assert yaml.load("a: [1, 2]", Loader=yaml.CSafeLoader) == {"a": [1, 2]}

    # Files, below the executable and elsewhere.
    root = os.path.dirname(os.path.dirname(os.__file__))
    assert sum(len(files) for _, _, files in os.walk(root)) > 400
    assert open(shelf.book.__file__).read().startswith('\\"\\"\\"A module')
    assert importlib.resources.files("shelf").joinpath("large.bin").read_bytes() == bytes(range(256)) * 1024
    assert os.path.realpath(shelf.__file__) == shelf.__file__ and not os.path.exists(shelf.__file__ + "x")
    assert importlib.metadata.version("markupsafe")
    for wrong in ("x", "note.txt/x", "y" * 5000):
        try:
            open(os.path.join(shelf.__path__[0], wrong))
        except OSError:
            pass
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "file")
        open(path, "w").write("text")
        assert open(path).read() == "text"

    # Threads that import, and a child. It is another program: to a process under valgrind `/proc/self/exe` is valgrind.
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        names = [info.name for info in pkgutil.iter_modules(importlib.import_module("encodings").__path__)][:40]
        assert len(list(pool.map(importlib.import_module, [f"encodings.{name}" for name in names if name not in ("mbcs", "oem")]))) > 30
    assert subprocess.run(["/bin/echo", "1"], capture_output=True, text=True).stdout == "1\\n"
    try:
        shelf.book.read(0)
    except ZeroDivisionError:
        assert "return 1 / page" in traceback.format_exc()
    importlib.reload(shelf.book)
    import _interpreters
    number = _interpreters.create()
    _interpreters.run_string(number, "import shelf.book, json")
    _interpreters.destroy(number)
    print("done")
"""


def test_an_application_under_valgrind(pyox, distribution, probe_source, tmp_path):
    require("valgrind")
    collect = ["--with", "markupsafe==3.0.3", "--with", "pyyaml==6.0.3", "--interpreter", probe_source / "shelf", "--preconfig", "allocator=3"]
    app = pyox.build_script(tmp_path, distribution, APPLICATION, *collect, link=["--dynamic"])
    log = tmp_path / "log"
    checks = ["--error-exitcode=99", f"--log-file={log}", "--num-callers=30"]
    done = run("valgrind", *checks, app, timeout=290, check=False)
    said = log.read_text()
    assert done.stdout == "done\n" and done.returncode == 0, (done.stdout, done.stderr, said[-6000:])
    assert re.search(r"ERROR SUMMARY: 0 errors", said), said[-6000:]
