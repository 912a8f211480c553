"""What asks about running code: sources, debuggers, tracers, profilers and everything that imports by other ways.

The probe (see `conftest.py`) and its script below the distribution's own python run the same code; exit status,
output and errors must be the same but for the folder in front of the application's paths.
"""

import json
import signal

import pytest

from chain import clean_environment, compare, run, write

CASES = {
    "sources": """
        import argparse, inspect, json.decoder, linecache, shelf.book, tokenize
        print(inspect.getsource(json.decoder.JSONDecoder)[:60], len(inspect.getsource(argparse)), inspect.getsource(argparse.Action.__call__))
        print(inspect.getsourcelines(shelf.book.read), inspect.getsourcefile(argparse), inspect.getfile(shelf.book.read) in shelf.book.__file__)
        print(inspect.getcomments(shelf.book.read), inspect.findsource(shelf.book)[1], inspect.getmodulename(shelf.book.__file__))
        name = shelf.book.read.__code__.co_filename
        for again in range(2):
            print(linecache.getline(name, 5), linecache.getline(shelf.book.__file__, 3), len(linecache.getlines(argparse.__file__)), linecache.getlines("nope.py"))
            linecache.checkcache()
        linecache.clearcache()
        print(linecache.lazycache(name, vars(shelf.book)), linecache.getline(name, 4))
        with tokenize.open(shelf.book.__file__) as stream:
            print(len(list(tokenize.generate_tokens(stream.readline))))
    """,
    "class browser": """
        import pyclbr
        print(sorted(pyclbr.readmodule_ex("shelf.book")), pyclbr.readmodule_ex("shelf.book")["read"].lineno, sorted(pyclbr.readmodule_ex("json")))
    """,
    "specs": """
        import importlib.util, inspect, json, shelf.book
        for module in shelf, shelf.book, json, inspect:
            spec = importlib.util.find_spec(module.__name__)
            print(module, module.__package__, module.__file__, getattr(module, '__cached__', spec.cached) == importlib.util.cache_from_source(module.__file__))
            print(spec.name, spec.parent, spec.has_location, spec.origin, spec.submodule_search_locations, spec.loader_state, spec == module.__spec__)
        print(importlib.util.find_spec("absent"), importlib.util.find_spec("shelf.absent"), importlib.util.find_spec(".inner", "shelf").name)
        for name in "absent.below", "shelf.book.below":
            try:
                importlib.util.find_spec(name)
            except ImportError as error:
                print(type(error).__name__, error, error.name)
        try:
            importlib.util.find_spec("__main__")
        except ValueError as error:
            print(error)
    """,
    "abstract classes": """
        import importlib.abc as abc, json, shelf.book
        names = "Loader", "InspectLoader", "ExecutionLoader", "ResourceLoader"
        print([isinstance(loader, getattr(abc, name)) for name in names for loader in (shelf.__loader__, json.__loader__, shelf.book.__spec__.loader)])
    """,
    "loaders": """
        import importlib.abc, importlib.machinery, importlib.util, inspect, json, shelf.book, sys
        for module in shelf, shelf.book, json, sys.modules["__main__"]:
            loader = module.__loader__
            print(loader.name, loader.path == module.__file__, loader.is_package(loader.name), loader.get_filename(), loader == module.__loader__)
            print(isinstance(loader, importlib.machinery.SourceFileLoader), isinstance(loader, importlib.abc.SourceLoader))
            print(loader.get_data(loader.path).decode() == loader.get_source(loader.name), loader.path_stats(loader.path)["size"])
            print([name for name, value in inspect.getmembers(module, inspect.isclass) if name.startswith("__")])
            try:
                loader.get_filename("another")
            except ImportError as error:
                print(error, error.name)
        print(hash(shelf.__loader__) == hash(shelf.__spec__.loader), importlib.machinery.FrozenImporter.find_spec("absent"))
        print(importlib.util.module_from_spec(importlib.util.spec_from_file_location("other", shelf.book.__file__)).__name__)
        print(inspect.signature(type(shelf.__loader__).is_package))
    """,
    "warnings about encodings": """
        import io, os, pathlib, subprocess, sys
        code = "import io, pathlib, shelf.book; open(shelf.__file__).close(); pathlib.Path(shelf.__file__).read_text(); io.open(shelf.book.__file__).close()"
        path = os.pathsep.join([os.path.dirname(os.path.dirname(os.path.abspath(__import__("shelf").__file__)))])
        done = subprocess.run(
            [sys.executable, "-X", "warn_default_encoding", "-W", "default::EncodingWarning", "-c", code],
            capture_output=True, text=True, env=os.environ | {"PYTHONPATH": path},
        )
        print(done.returncode, [line.rpartition("/")[2] for line in done.stderr.splitlines() if "EncodingWarning" in line])
    """,
    "reload": """
        import importlib, io, json, linecache, os, shelf, shelf.book, ssl, threading, traceback
        for module in shelf, shelf.book, json, linecache, os, threading, ssl, io:
            print(module.__name__, importlib.reload(module) is module)
        try:
            shelf.book.read(0)
        except ZeroDivisionError:
            traceback.print_exc()
        folder = os.path.dirname(shelf.__file__)
        print(open("/dev/null").read(), os.path.exists("/absent"), os.path.exists(folder + "/absent"), "book.py" in os.listdir(folder), open(shelf.__file__).read())
        thread = threading.Thread(target=shelf.book.read, args=(0,))
        thread.start(); thread.join()
    """,
    "zip": """
        import importlib, inspect, os, pkgutil, runpy, sys, tempfile, traceback, zipfile, zipimport
        from importlib import resources
        folder = tempfile.TemporaryDirectory()
        path = os.path.join(folder.name, "real.zip")
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("inside.py", "import shelf.book\\ndef fail():\\n    shelf.book.read(0)\\n")
            archive.writestr("package/__init__.py", "")
            archive.writestr("package/sub.py", "VALUE = 'of the zip'")
            archive.writestr("package/data.txt", "data in the zip")
            archive.writestr("__main__.py", "import sys; print('main of the zip', __name__, __package__, len(sys.argv))")
        sys.path.insert(0, path)
        import inside, package.sub
        print(package.sub.VALUE, type(inside.__loader__).__name__, inside.__file__[-18:])
        try:
            inside.fail()
        except ZeroDivisionError:
            print(traceback.format_exc().replace(path, "real.zip"))
        print(inspect.getsource(inside.fail), resources.files(package).joinpath("data.txt").read_text(), pkgutil.get_data("package", "data.txt"))
        print([m.name for m in pkgutil.walk_packages(package.__path__, "package.")], [m.name for m in pkgutil.iter_modules([path])])
        print(zipimport.zipimporter(path).find_spec("inside").origin[-18:], type(sys.path_importer_cache[path]).__name__)
        del sys.path[0]
        runpy.run_path(path, run_name="__main__")
        with zipfile.ZipFile(path) as archive:
            archive.extract("__main__.py", folder.name)
        runpy.run_path(folder.name, run_name="__main__")
        print(runpy.run_path(os.path.join(folder.name, "__main__.py"))["__name__"])
        os.remove(os.path.join(folder.name, "__main__.py"))
        try:
            runpy.run_path(folder.name)
        except ImportError as error:
            print(str(error)[:31])
    """,
    "hooks": """
        import importlib.util, sys
        class Finder:
            def __init__(self, path):
                if not path.startswith("memory:"):
                    raise ImportError
            def find_spec(self, name, target=None):
                return importlib.util.spec_from_loader(name, self, origin="memory") if name == "hooked" else None
            def create_module(self, spec):
                return None
            def exec_module(self, module):
                module.VALUE = __import__("shelf").__name__
        sys.path_hooks.insert(0, Finder)
        sys.path.append("memory:x")
        import hooked
        print(hooked.VALUE, hooked, type(sys.path_importer_cache["memory:x"]).__name__)
        class First:
            @staticmethod
            def find_spec(name, path=None, target=None):
                print("asked for", name, path is None)
        sys.meta_path.insert(0, First)
        import shelf.inner.deep
        print([getattr(hook, "__name__", None) for hook in sys.path_hooks][-2:], [finder.__name__ for finder in sys.meta_path][-3:])
    """,
    "doctest": """
        import doctest, shelf.book
        shelf.book.__doc__ += "\\n>>> read(1)\\n1.0\\n>>> read(2)\\n1\\n>>> read(0)\\n"
        print(doctest.testmod(shelf.book), doctest.testfile("folder/nested/leaf.txt", package="shelf"))
        print([test.lineno for test in doctest.DocTestFinder(exclude_empty=False).find(shelf.book)])
    """,
    "pickle": """
        import copy, pickle, shelf.book
        from argparse import Namespace
        class Here:
            def __eq__(self, other):
                return vars(self) == vars(other)
        here = Here()
        here.value = [shelf.book.read, Namespace(a=1), Here, shelf.book.read.__code__.co_name]
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
            print(pickle.loads(pickle.dumps(here, protocol)) == here, len(pickle.dumps(shelf.book.read, protocol)))
        print(copy.deepcopy(here) == here)
        try:
            pickle.loads(pickle.dumps(shelf.book.read).replace(b"read", b"none"))
        except AttributeError as error:
            print(error)
    """,
    "tracemalloc": """
        import tracemalloc
        tracemalloc.start(4)
        import shelf.book
        def allocate():
            return bytearray(4000)
        kept = [shelf.book.read(one) for one in (1, 2)], allocate()
        for line in tracemalloc.get_object_traceback(kept[1]).format():
            print(line)
        snapshot = tracemalloc.take_snapshot().filter_traces([tracemalloc.Filter(True, "*book.py")])
        print({(frame.filename[-13:], frame.lineno) for trace in snapshot.traces for frame in trace.traceback if "book" in frame.filename} != set())
        class Leaking:
            def __del__(self):
                shelf.book.read(0)
        Leaking()
    """,
    "trace": """
        import cProfile, io, os, pstats, shelf.book, sys, trace
        tracer = trace.Trace(count=1, trace=1)
        print(tracer.runfunc(shelf.book.read, 1))
        print(sorted((os.path.basename(name), line, count) for (name, line), count in tracer.results().counts.items()))
        profile, out = cProfile.Profile(), io.StringIO()
        print(profile.runcall(shelf.book.read, 2))
        pstats.Stats(profile, stream=out).strip_dirs().print_stats()
        print("book.py:3(read)" in out.getvalue())
        events = []
        sys.setprofile(lambda frame, event, value: events.append((event, frame.f_code.co_name)))
        shelf.book.read(1)
        sys.setprofile(None)
        sys.settrace(lambda frame, event, value: events.append((event, frame.f_lineno)) or (lambda *then: events.append((then[1], then[0].f_lineno))))
        shelf.book.read(1)
        sys.settrace(None)
        print(events)
        if hasattr(sys, "monitoring"):
            here, seen = sys.monitoring, []
            here.use_tool_id(here.COVERAGE_ID, "test")
            here.register_callback(here.COVERAGE_ID, here.events.LINE, lambda code, line: seen.append((code.co_name, line)))
            here.set_local_events(here.COVERAGE_ID, shelf.book.read.__code__, here.events.LINE)
            shelf.book.read(1)
            print(seen)
    """,
    "warnings": """
        import shelf.book, warnings
        def warn():
            warnings.warn("of the caller", stacklevel=2)
        warn()
        warnings.warn_explicit("in a module", UserWarning, shelf.book.read.__code__.co_filename, 5)
        warnings.warn_explicit("with globals", UserWarning, shelf.book.__file__, 5, module_globals=vars(shelf.book))
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            warn()
        print(caught[0].filename, caught[0].lineno)
        warnings.filterwarnings("error", module="shelf")
        try:
            warnings.warn_explicit("refused", UserWarning, "x.py", 1, "shelf")
        except UserWarning as error:
            print(repr(error))
    """,
    "faulthandler": """
        import faulthandler, os, resource, shelf.book, sys
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        faulthandler.dump_traceback(file=sys.stdout)
        faulthandler.enable()
        def wait():
            ours, watchdog = os.pipe()
            faulthandler.dump_traceback_later(0.2, file=watchdog)
            report = b""
            while not report.endswith(b"in <module>\\n"):
                report += os.read(ours, 4096)
            print(report.decode())
        wait()
        class Crashing:
            def __rtruediv__(self, other):
                faulthandler._sigsegv()
        shelf.book.read(Crashing())
    """,
}


@pytest.fixture
def both(probes, probe_source, each_minor):
    """Runs code in the probe and under python, and compares."""

    def run_both(code, *arguments, **options):
        lines = write(probe_source / "code.txt", code).read_text()
        return compare(probes(each_minor), each_minor.python, probe_source / "probe.py", lines, *arguments, **options)

    return run_both


@pytest.mark.parametrize("case", CASES)
def test_as_python(both, case, tmp_path):
    done = both(CASES[case], cwd=tmp_path)
    assert done.returncode == (-signal.SIGSEGV if case == "faulthandler" else 0), done.stderr
    assert done.stdout


def test_stepping_with_pdb(both, tmp_path):
    """Source lines are shown; a breakpoint is met by any of the names that it can be set by."""
    code = """
        import os, pdb, shelf.book

        def caller(number):
            return shelf.book.read(number)

        def debug(*arguments):
            debugger = pdb.Pdb(nosigint=True, readrc=False)
            debugger.use_rawinput = False
            return debugger.runcall(*arguments)

        print(debug(caller, 2))
        print(debug(caller, 4))
        os.chdir("/")
        print(debug(caller, 8))
        try:
            shelf.book.read(0)
        except ZeroDivisionError as error:
            debugger = pdb.Pdb(readrc=False)
            debugger.reset()
            debugger.interaction(None, error.__traceback__)
    """
    typed = """
        s
        s
        n
        list 1, 9
        p page
        args
        return
        source shelf.book.read
        continue
        b shelf.book.read
        b
        continue
        w
        up
        down
        ll
        continue
        b shelf/book.py:5
        continue
        p page
        clear 1
        continue
        where
        l
        p page
        q
    """
    done = both(code, input="".join(line.strip() + "\n" for line in typed.strip().splitlines()), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("shelf/book.py(5)read()\n-> return 1 / page\n") >= 4, done.stdout


def test_pdb_from_the_command_line(probes, each_minor, probe_source, tmp_path):
    """`-m pdb -m PACKAGE`, where the executable is an interpreter."""
    environment = clean_environment() | {"PYOX_INTERPRETER": "1"}
    typed = "next\nlist\nnext\nquit\n"
    ours = run(probes(each_minor), "-m", "pdb", "-m", "shelf", "x", input=typed, env=environment, cwd=tmp_path)
    theirs = run(each_minor.python, "-E", "-s", "-S", "-m", "pdb", "-m", "shelf", "x", input=typed, cwd=probe_source)
    assert ours.stdout.replace(f"{probes(each_minor)}/app/", "") == theirs.stdout.replace(f"{probe_source}/", "")
    assert "->\tprint('main of shelf', sys.argv[1:])" in ours.stdout and "main of shelf ['x']" in ours.stdout


def test_coverage(pyox, each_minor, tmp_path):
    """coverage.py measures packed code, and reports on it with its sources."""
    write(tmp_path / "counted/__init__.py", "")
    write(
        tmp_path / "counted/__main__.py",
        """
        def absolute(number):
            if number < 0:
                return -number
            return number


        def unused():
            return 1


        print(absolute(-3), __name__)
        """,
    )
    write(
        tmp_path / "covered.py",
        """
        import coverage, runpy, sys
        measured = coverage.Coverage(data_file=None, source_pkgs=["counted"], branch=True)
        with measured.collect():
            runpy.run_module("counted", run_name="__main__")
        measured.json_report(outfile=sys.argv[1] + "/report.json")
        measured.html_report(directory=sys.argv[1] + "/html")
        measured.annotate(directory=sys.argv[1] + "/annotated")
        print(measured.report(show_missing=True))
        """,
    )
    collect = (tmp_path / "counted", "--with", "coverage==7.10.7", "--interpreter")
    app = pyox.build(tmp_path, each_minor, tmp_path / "covered.py", *collect, name="covered")
    out = tmp_path / "out"
    out.mkdir()
    done = run(app, out, cwd=out)
    assert done.stderr == "" and done.stdout.startswith("3 __main__\n"), done.stderr
    files = json.loads((out / "report.json").read_text())["files"]
    (name,) = [name for name in files if name.endswith("__main__.py")]
    assert files[name]["missing_lines"] == [4, 8] and files[name]["missing_branches"] == [[2, 4]]
    (page,) = (out / "html").glob("*___main___py.html")
    assert "unused" in page.read_text()
    (annotated,) = (out / "annotated").glob("*__main__.py,cover")
    assert "!     return 1\n" in annotated.read_text() and ">     if number < 0:\n" in annotated.read_text()
    # The command, with its data in a file between two runs.
    environment = clean_environment() | {"PYOX_INTERPRETER": "1"}
    options = {"env": environment, "cwd": out}
    done = run(app, "-m", "coverage", "run", "--branch", "--source=counted", "-m", "counted", **options)
    assert (done.stdout, done.stderr) == ("3 __main__\n", "")
    done = run(app, "-m", "coverage", "report", "-m", **options)
    assert "4, 8" in done.stdout and "counted/__main__.py" in done.stdout, done.stdout
