"""The hooks that print exceptions which nobody handles, beside CPython's own."""

import pytest

from chain import compare, write

PROGRAMS = {
    # CPython shows the end of a traceback that is nearest to the fault.
    "the end of a traceback": """
        import sys, threading

        def first(): second()
        def second(): third()
        def third(): raise KeyError("third")

        class Gone:
            def __del__(self): first()

        def handled():
            try:
                first()
            except KeyError as error:
                raise ExceptionGroup("two", [error, ValueError("never raised")]) from error

        def show(limit):
            print("limit", limit, file=sys.stderr)
            sys.tracebacklimit = limit
            for fails in first, handled:
                try:
                    fails()
                except Exception:
                    sys.excepthook(*sys.exc_info())
                thread = threading.Thread(target=fails, name="T")
                thread.start()
                thread.join()
            Gone()

        for limit in 1, 2, 3, 50, 10**30, 0, -1, -(10**30), None, "2":
            show(limit)
        del sys.tracebacklimit
        sys.excepthook(ValueError, ValueError("no traceback"), None)
    """,
    "more frames than are shown": """
        import sys
        sys.setrecursionlimit(5000)
        def one(depth): return two(depth - 1) if depth else 1 / 0
        def two(depth): return one(depth - 1) if depth else 1 / 0
        one(3000)
    """,
    "a limit at the end": """
        import sys
        sys.tracebacklimit = 1
        def first(): second()
        def second(): 1 / 0
        first()
    """,
    "what they are": """
        import inspect, pickle, sys, threading
        for hook in sys.excepthook, sys.unraisablehook, threading.excepthook:
            try:
                signature = inspect.signature(hook)
            except ValueError as error:
                signature = error
            print(hook, signature, hook.__name__, hook.__qualname__, hook.__module__, hook.__self__, hook.__text_signature__)
            print(type(hook), hook.__doc__, pickle.loads(pickle.dumps(hook)) is hook)
            for arguments in (), (1,) * 5:
                try:
                    hook(*arguments)
                except TypeError as error:
                    print(error)
            try:
                hook(args=1)
            except TypeError as error:
                print(error)
        print(sys.excepthook is sys.__excepthook__, sys.unraisablehook is sys.__unraisablehook__, threading.excepthook is threading.__excepthook__)
    """,
}


@pytest.mark.parametrize("program", PROGRAMS)
def test_as_under_python(pyox, each_minor, tmp_path, program):
    script = write(tmp_path / "app.py", PROGRAMS[program])
    app = pyox.build(tmp_path, each_minor, script, name="app")
    compare(app, each_minor.python, script)
