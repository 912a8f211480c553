"""The end of an interpreter: what is finalised and flushed, beside `python`."""

import pytest

from chain import run, write

# Each is a whole program; what it writes, it writes to the folder it runs in.
PROGRAMS = {
    "a file of the main module": """
        def g(): pass
        f = open("out.txt", "w")
        f.write("data")
    """,
    "a file in a cycle": """
        class Holder: pass
        one, other = Holder(), Holder()
        one.other, other.one, one.file = other, one, open("out.txt", "w")
        one.file.write("data")
    """,
    "finalisers": """
        import gc, weakref
        class Noisy:
            def __init__(self, name): self.name, self.me = name, self
            def __del__(self): print("gone", self.name)
        kept = Noisy("kept")
        weakref.finalize(kept, print, "finalized")
        alive = [Noisy("old garbage"), Noisy("another")]
        for _ in range(3): gc.collect()
        del alive[0]
    """,
    "finalisers of old garbage that import": """
        import gc
        class Late:
            def __init__(self): self.me = self
            def __del__(self):
                import colorsys
                print(colorsys.rgb_to_hsv(0, 0, 0))
        late = [Late()]
        for _ in range(3): gc.collect()
        late.clear()
    """,
    "a file that hangs on another module": """
        import codecs, io, os
        for number, module in enumerate((codecs, io, os)):
            module.ours = open(f"out{number}.txt", "w")
            module.ours.write("data")
    """,
    "a file that hangs on a class": """
        import abc, codecs, os
        class Text(str): pass
        for number, owner in enumerate((Text, codecs.StreamReader, os._Environ, abc.ABC)):
            owner.ours = open(f"out{number}.txt", "w")
            owner.ours.write("data")
    """,
    "a finaliser that collects": """
        import gc
        class Last:
            def __init__(self): self.me = self
            def __del__(self):
                gc.collect()
                print(str.join("-", "ab"), vars(int)["bit_length"](5), {}.keys().isdisjoint([1]))
        kept = [Last(), Last()]
    """,
    "a file of an imported module": """
        import helper
        helper.log.write("data")
    """,
    "a thread's file": """
        import threading
        def work():
            global file
            file = open("out.txt", "w")
            file.write("data")
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    """,
    "what an application freezes": """
        import gc
        gc.freeze()
        frozen = gc.get_freeze_count()
        import decimal, email.mime.text, asyncio
        print(frozen > 100, gc.get_freeze_count() > frozen * 0.9)
        gc.unfreeze()
        print(gc.get_freeze_count())
    """,
    "the collector as the program finds it": """
        import gc, sys
        print(gc.get_freeze_count(), gc.isenabled(), gc.get_threshold(), gc.get_debug(), gc.callbacks, gc.garbage)
        print(sys in gc.get_objects(), any(o is vars(sys) for o in gc.get_objects()), any(r is sys.modules for r in gc.get_referrers(sys)))
        seen = []
        gc.callbacks.append(lambda phase, info: seen.append((phase, info["generation"])))
        gc.collect()
        print(seen)
    """,
    "a disabled collector": """
        import gc
        gc.disable()
        import asyncio
        print(gc.isenabled())
        f = open("out.txt", "w")
        f.cycle = lambda: f
        f.write("data")
    """,
}


def outcome(folder, done):
    files = {path.name: path.read_text() for path in sorted(folder.glob("out*.txt"))}
    return done.stdout, done.stderr, done.returncode, files


@pytest.mark.parametrize("program", PROGRAMS)
def test_as_under_python(pyox, each_minor, tmp_path, program):
    helper = write(tmp_path / "helper.py", "def use(): return log\nlog = open('out.txt', 'w')\n")
    script = write(tmp_path / "app.py", PROGRAMS[program])
    app = pyox.build(tmp_path, each_minor, script, helper, name="app")
    answers = []
    for name, command in (("packed", [app]), ("plain", [each_minor.python, "-S", script])):
        folder = tmp_path / name
        folder.mkdir()
        answers.append(outcome(folder, run(*command, cwd=folder, check=False)))
    assert answers[0] == answers[1]
    assert answers[0][2] == 0


INTERPRETERS = """
import gc, sys
try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters
found = []
for _ in range(12):
    number = interpreters.create()
    interpreters.run_string(number, "import json")
    interpreters.destroy(number)
    gc.collect()
    found.append(sys.getallocatedblocks())
print(found[-1] - found[3])
"""


def test_a_further_interpreter_leaves_no_more_than_under_python(probes, each_minor):
    """CPython leaves some thousand blocks of memory behind with each; what the importer has kept is not among them."""
    ours = int(run(probes(each_minor), INTERPRETERS).stdout)
    theirs = int(each_minor.run_python("-c", INTERPRETERS).stdout)
    assert ours < theirs + 8 * 200, (ours, theirs)
