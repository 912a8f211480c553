"""Printing of exceptions, as CPython prints them, through the `traceback` module."""

import sys
import traceback


def excepthook(kind, value, trace):
    """sys.excepthook, before 3.13."""
    if sys.stderr is not None:
        _print_exception(value, trace, sys.stderr)


def thread_excepthook(args):
    """threading.excepthook, before 3.13."""
    import threading

    if args.exc_type is SystemExit:
        return
    stream = sys.stderr
    if stream is None:
        if args.thread is None or args.thread._stderr is None:
            return
        stream = args.thread._stderr
    name = threading.get_ident() if args.thread is None else args.thread.name
    print(f"Exception in thread {name}:", file=stream, flush=True)
    _print_exception(args.exc_value, args.exc_traceback, stream)


def _limit():
    """How many frames CPython's own printers show: those nearest to the fault."""
    limit = getattr(sys, "tracebacklimit", None)
    return min(max(limit, 0), sys.maxsize) if isinstance(limit, int) else 1000


def _print_exception(value, trace, stream):
    # To the `traceback` module, a number below 0 counts from the fault.
    described = traceback.TracebackException(type(value), value, trace, limit=-_limit(), compact=True)
    _add_suggestions(described, value)
    for line in described.format():
        stream.write(line)
    stream.flush()


def _add_suggestions(described, value):
    """Adds "Did you mean" along the chain, where `traceback` does not do it itself (3.11)."""
    while described is not None and value is not None:
        suggestion = Importer._suggestion(value)
        if suggestion:
            described._str = f"{described._str}. Did you mean: '{suggestion}'?"
        if described.__cause__ is not None:
            described, value = described.__cause__, value.__cause__
        else:
            described, value = described.__context__, value.__context__


def unraisablehook(unraisable):
    """sys.unraisablehook."""
    if sys.stderr is None:
        return
    text = []
    if unraisable.object is not None:
        try:
            what = repr(unraisable.object)
        except Exception:
            what = "<object repr() failed>"
        text.append(f"{unraisable.err_msg or 'Exception ignored in'}: {what}\n")
    elif unraisable.err_msg is not None:
        text.append(f"{unraisable.err_msg}:\n")
    limit = _limit()
    if unraisable.exc_traceback is not None and limit > 0:
        text.append("Traceback (most recent call last):\n")
        frames = traceback.extract_tb(unraisable.exc_traceback, -limit)
        if sys.version_info >= (3, 13):
            # CPython's own printer no longer marks the place in the line.
            frames = [(frame.filename, frame.lineno, frame.name, frame.line) for frame in frames]
        text += traceback.format_list(frames)
    kind = unraisable.exc_type
    module = "" if kind.__module__ in ("builtins", "__main__") else f"{kind.__module__}."
    text.append(module + kind.__qualname__)
    if unraisable.exc_value is not None:
        try:
            text.append(f": {unraisable.exc_value}")
        except Exception:
            text.append(": <exception str() failed>")
    text.append("\n")
    sys.stderr.write("".join(text))
    sys.stderr.flush()
