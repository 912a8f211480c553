"""Imports modules and notes what the import of each asks of the process. Nothing of it is ever in an image.

What C code sees comes from `drain`. The rest is seen here: the environment and the command line, which are Python's objects
once the start is over, hashes, and who imports whom. Globals that are given: `drain`; ROOT, the executable's path; SEARCHES, whether
modules are looked for outside it; MOVES, whether the C library is a shared object, for which NATIVE are the words; STANDARD, whether the standard library alone is of interest; RENEWED, names in modules that can be renewed; NAMES, what is imported; CODE, whose
imports are imported too, or None; and GIVEN, the variables that the application sets, and whether the executable's folder is in them. REPORT is left behind.
"""

import _frozen_importlib as bootstrap
import builtins
import os
import sys
import time

# For each module that was run: what it has asked, and what it has imported.
asked, needs, failed = {}, {}, {}
# For some, which names a process with the image computes anew.
renewed = {}
# The modules whose code runs, from the first to the innermost.
running = []
# The names of descriptors that were seen.
opened = set()
# The number of the instruction `STORE_ATTR`.
STORE = 95
if sys.version_info >= (3, 13):
    from _opcode_metadata import opmap

    STORE = opmap["STORE_ATTR"]


def note(what, of=""):
    if running:
        asked.setdefault(running[-1], {})[what, of] = None


def settle():
    """Gives what C code has seen to the module that runs."""
    for what, of in drain():
        note(what, of)


def need(name):
    while running and name and name != running[-1]:
        needs.setdefault(running[-1], {})[name] = None
        name = name.rpartition(".")[0]


def see_open_files():
    """Gives the files that are open since the last time to the module that runs."""
    names = [name for name in os.listdir("/proc/self/fd") if os.path.lexists(f"/proc/self/fd/{name}")]
    drain()
    if not opened.issuperset(names):
        note("keeps a file open")
        opened.update(names)


def watch(owner, name, make):
    setattr(owner, name, make(getattr(owner, name)))


# --- Modules ----------------------------------------------------------------


def load(original):
    def _load_unlocked(spec):
        settle()
        see_open_files()
        need(spec.name)
        running.append(spec.name)
        if MOVES and spec.name == "_ctypes":
            # `ctypes` keeps the addresses of functions in it.
            note(NATIVE, "libc.so.6")
        try:
            module = original(spec)
            for name, make in LATER.get(spec.name, ()):
                watch(module, name, make)
            for name in RENEWED.get(spec.name, ()):
                if name in vars(module):
                    renewed.setdefault(spec.name, []).append(name)
            return module
        except BaseException as error:
            failed.setdefault(spec.name, f"{type(error).__name__}: {error}")
            raise
        finally:
            for stream in sys.stdout, sys.stderr:
                if stream:
                    stream.flush()
            settle()
            see_open_files()
            running.pop()

    return _load_unlocked


def find(original):
    def _gcd_import(name, package=None, level=0):
        module = original(name, package, level)
        need(module.__name__)
        return module

    return _gcd_import


def imported(original):
    def __import__(name, globals=None, locals=None, fromlist=(), level=0):
        if level:
            full = bootstrap._resolve_name(name, bootstrap._calc___package__(globals), level)
        else:
            full = name
        if full == "__main__":
            note("imports `__main__`")
        try:
            return original(name, globals, locals, fromlist, level)
        except ModuleNotFoundError as error:
            if SEARCHES and error.name and error.name not in sys.modules:
                note("looks for the module", error.name)
            raise
        finally:
            for each in (full, *(f"{full}.{name}" for name in fromlist or ())):
                if each in sys.modules:
                    need(each)

    return __import__


# --- What Python knows of the process ---------------------------------------


def variable(name):
    name = os.fsdecode(name) if isinstance(name, (str, bytes)) else ""
    if name not in GIVEN:
        note("reads the variable", name)
    elif GIVEN[name]:
        note("reads the executable's folder from the variable", name)


def one(original):
    def __getitem__(self, key):
        variable(key)
        return original(self, key)

    return __getitem__


def all_of(what):
    def make(original):
        def method(*arguments):
            note(what)
            return original(*arguments)

        return method

    return make


class Arguments(list):
    """The command line."""


class Time(type(time)):
    """The module `time`, whose attributes know the time zone."""

    def __getattribute__(self, name):
        if name in ("timezone", "altzone", "daylight", "tzname"):
            note("asks for the time zone")
        return super().__getattribute__(name)


def hashed(original):
    def hash(value, /):
        frame = sys._getframe(1)
        code = frame.f_code
        # Its own hash is computed anew; one that is kept is not.
        keeps = code.co_name != "__hash__" or STORE in code.co_code[::2]
        if keeps and type(value) is not int and not standard(frame.f_globals.get("__name__")):
            note("computes a hash")
        return original(value)

    return hash


def standard(name):
    return isinstance(name, str) and name.partition(".")[0] in sys.stdlib_module_names


def resolved(original):
    def realpath(filename, **options):
        settle()
        path = original(filename, **options)
        for what, of in drain():
            # A folder that the executable lies in, or the executable.
            if ROOT == of or ROOT.startswith(of.rstrip("/") + "/"):
                note("resolves the executable's path")
            else:
                note(what, of)
        return path

    return realpath


def aside(function, *arguments, **options):
    """What a function gives, and nothing of what it asks is noted."""
    settle()
    before = dict(asked.get(running[-1], ())) if running else {}
    answer = function(*arguments, **options)
    drain()
    if running:
        asked[running[-1]] = before
    return answer


def the_same(original):
    """For functions whose answer is that of each process with the image."""

    def method(*arguments, **options):
        return aside(original, *arguments, **options)

    return method


class Locale(tuple):
    """A locale, of which each process with the image has the encoding."""

    def __getitem__(self, place):
        if place not in (1, -1):
            note("asks for the locale, or sets it")
        return super().__getitem__(place)

    def __iter__(self):
        note("asks for the locale, or sets it")
        return super().__iter__()


def located(original):
    def getlocale(*arguments, **options):
        return Locale(aside(original, *arguments, **options))

    return getlocale


def translated(original):
    def find(domain, localedir=None, languages=None, all=False):
        folder = localedir or os.path.join(ROOT, "share", "locale")
        if aside(lambda: folder.startswith(ROOT + "/") and not any_catalogue(folder, domain)):
            # So it is in all languages.
            return aside(original, domain, localedir, languages, all)
        return original(domain, localedir, languages, all)

    return find


def parsed(container):
    # It asks how wide a terminal is, to see whether help could be shown.
    watch(container, "add_argument", the_same)
    return container


def any_catalogue(folder, domain):
    try:
        return any(os.path.exists(f"{folder}/{each}/LC_MESSAGES/{domain}.mo") for each in os.listdir(folder))
    except OSError:
        return False


def audited(event, arguments):
    if event in ("subprocess.Popen", "os.fork", "os.forkpty", "os.exec", "os.system", "os.posix_spawn", "pty.spawn"):
        note("starts a process")
    elif event in ("sys.settrace", "sys.setprofile", "sys.addaudithook"):
        note(f"calls {event}")


def imports_of(code):
    """What the statements of a code object import, functions and classes aside: modules, and names that may be modules."""
    import dis

    for name, level, names in dis._find_imports(code):
        if level == 0:
            yield name
            yield from (f"{name}.{each}" for each in names or () if each != "*")


# What stands in modules is watched as soon as they are there.
LATER = {
    "argparse": [("_ActionsContainer", parsed)],
    "gettext": [("find", translated)],
    "locale": [("getlocale", located), ("getpreferredencoding", the_same), ("getencoding", the_same)],
}


def survey():
    environment = type(os.environ)
    watch(environment, "__getitem__", one)
    for name in "__iter__", "__len__", "__repr__", "copy":
        watch(environment, name, all_of("reads the whole environment"))
    for name in "__getitem__", "__iter__", "__len__", "__contains__", "__add__", "__eq__", "copy", "index", "count", "pop":
        setattr(Arguments, name, all_of("reads the command line")(getattr(list, name)))
    for name in "__setitem__", "__delitem__", "__iadd__", "append", "extend", "insert", "remove":
        setattr(Arguments, name, all_of("changes the command line")(getattr(list, name)))
    sys.argv, sys.orig_argv = Arguments(sys.argv), Arguments(sys.orig_argv)
    for name in "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns":
        watch(time, name, all_of("asks for the time"))
    time.__class__ = Time
    watch(os.path, "realpath", resolved)
    watch(bootstrap, "_load_unlocked", load)
    watch(bootstrap, "_gcd_import", find)
    watch(builtins, "__import__", imported)
    watch(builtins, "hash", hashed)
    sys.addaudithook(audited)
    for module in [*LATER]:
        if module in sys.modules:
            for name, make in LATER.pop(module):
                watch(sys.modules[module], name, make)
    # Watched like any other import: what the imports of code are is told by a module.
    optional = [*imports_of(CODE)] if CODE else []
    NAMES[:] = [name for name in dict.fromkeys([*NAMES, *optional]) if not STANDARD or standard(name)]
    drain()
    for name in [*NAMES]:
        try:
            __import__(name)
        except BaseException as error:
            if name in optional and isinstance(error, ModuleNotFoundError) and error.name == name:
                # A name in a module, or one that the application does without.
                NAMES.remove(name)
                continue
            failed.setdefault(name, f"{type(error).__name__}: {error}")
        # Nobody asked for what happens here.
        drain()


def report():
    # Only now, so that the modules that were surveyed are the first to import it.
    import json

    loaded = [name for name in sys.modules if name != "__main__"]
    modules = [
        {"name": name, "standard": standard(name), "asked": [*asked.get(name, ())], "needs": [*needs.get(name, ())], "renewed": renewed.get(name, [])}
        for name in dict.fromkeys([*loaded, *asked, *needs])
    ]
    return json.dumps({"names": NAMES, "modules": modules, "failed": failed})


survey()
REPORT = report()
