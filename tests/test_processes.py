"""More than one process: multiprocessing in all its ways, and the executable as its own `python`."""

import os
import signal
import subprocess
import time
import uuid
from pathlib import Path

import pytest

from chain import clean_environment, compare, run, write

# --- An executable that is a python, too ------------------------------------------


def test_the_interpreter_within(probes, each_minor, tmp_path):
    probe = probes(each_minor)
    environment = clean_environment() | {"PYOX_INTERPRETER": "1"}

    def as_python(*arguments, **options):
        return run(probe, *arguments, env=environment, check=False, **options)

    assert as_python("-c", "import shelf.book, sys; print(sys.argv, __name__)", "a").stdout == "['-c', 'a'] __main__\n"
    assert as_python("-m", "shelf", "x").stdout == "main of shelf ['x']\n"
    assert as_python("-V").stdout == f"Python {each_minor.version}\n"
    script = write(tmp_path / "script.py", "import sys; print(sys.argv, __file__)\nsys.exit(7)")
    done = as_python(script, "b")
    assert (done.returncode, done.stdout) == (7, f"['{script}', 'b'] {script}\n")
    assert as_python("-", input="print('from stdin')").stdout == "from stdin\n"
    assert as_python("-O", "-c", "print(__debug__)").stdout == "False\n"
    assert as_python("-m", "json.tool", input='{"a":1}').stdout == '{\n    "a": 1\n}\n'
    assert as_python("-X", "utf8", "-c", "import sys; print(sys.flags.utf8_mode)").stdout == "1\n"
    failed = as_python("-c", "1/0")
    assert failed.returncode == 1 and failed.stderr.endswith("ZeroDivisionError: division by zero\n")
    assert as_python("--no-such-option").returncode == 2
    # Any other value, and it is the application.
    done = run(probe, "print('application')", env=environment | {"PYOX_INTERPRETER": "0"})
    assert done.stdout == "application\n"


def test_an_application_that_takes_itself_for_python_is_told(pyox, each_minor, tmp_path):
    """Where it is not to be one. Without that it would start itself again and again."""
    write(tmp_path / "app.py", """
        import subprocess, sys
        if sys.argv[1] == "again":
            done = subprocess.run([sys.executable, *sys.argv[2:]], capture_output=True, text=True)
            print(done.returncode, done.stdout, done.stderr, end="")
        else:
            print(sys.argv[1:])
    """)
    executable = pyox.build(tmp_path, each_minor, tmp_path / "app.py", "--no-interpreter", name="app")
    for arguments in (["-m", "json.tool"], ["-I", "-c", "import json"]):
        said = run(executable, "again", *arguments).stdout
        assert said.startswith("2  app: error: -") and "hint: build it without `--no-interpreter`" in said, said
    # Its own options are its own: here, a file's name.
    assert run(executable, "again", "-c", "settings.toml").stdout == "0 ['-c', 'settings.toml']\n "


INTERPRETER = r"""
    import os, signal, subprocess, sys

    def python(*arguments, **options):
        done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, **options)
        print(arguments[:2], done.returncode, done.stdout, done.stderr)

    script = sys.argv[1]
    python("-S", "-c", "import sys; print(sys.argv, __name__, sys.flags.no_site)", "a", "-b")
    python("-S", "-m", "shelf", "one", "--two")
    python("-S", "-m", "json.tool", input='{"a": [1]}')
    python("-S", script, "x")
    python("-S", "-", "y", input="import sys; print('of stdin', sys.argv)")
    python("-SOO", "-W", "error", "-X", "utf8=0", "-c", "import sys; print(__debug__, sys.warnoptions, sys.flags.utf8_mode, sys._xoptions)")
    python("-SI", "-W", "error:a text:UserWarning:__main__", "-X", "dev", "-c", "import warnings; print(warnings.filters[:3], warnings.__file__[-11:]); warnings.warn('a text of mine')")
    python("-S", "-u", "-c", "import sys; print(sys.stdout.write_through); sys.exit('a text')")
    python("-S", "-c", "1 / 0")
    python("-S", "-c", "import os, signal; os.kill(os.getpid(), signal.SIGTERM)")
    python("-S", "-c", "import subprocess, sys; print(subprocess.run([sys.executable, '-Sc', 'print(6 * 7)'], capture_output=True, text=True).stdout)")
    python("-S", "-c", "import os, sys; os.execv(sys.executable, [sys.executable, '-S', '-m', 'shelf', 'replaced'])")
    python("-S", "-c", "print(input('? '), input())", input="first\nsecond\n")
    print(os.spawnv(os.P_WAIT, sys.executable, [sys.executable, "-Sc", "raise SystemExit(9)"]))
    child = os.posix_spawn(sys.executable, [sys.executable, "-Sc", "import time; time.sleep(60)"], os.environ)
    os.kill(child, signal.SIGKILL)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_the_applications_own_interpreter(probes, each_minor, probe_source, tmp_path):
    """`sys.executable` serves as python for the children of an application that was built with --interpreter."""
    lines = "import sys, shelf.book\nprint(__name__, __file__ == sys.argv[0], sys.argv[1:], shelf.book.read(2))\nsys.exit(7)\n"
    script = write(tmp_path / "script.py", lines)
    code = write(probe_source / "code.txt", INTERPRETER).read_text()
    # By this variable the children of python find what the executable holds.
    environment = clean_environment() | {"PYTHONPATH": str(probe_source)}
    done = compare(probes(each_minor), each_minor.python, probe_source / "probe.py", code, script, env=environment)
    assert done.returncode == 0 and "main of shelf ['replaced']" in done.stdout, done
    assert "__main__ True ['x'] 0.5" in done.stdout and done.stdout.endswith("9\n-9\n"), done


INHERITED = r"""
import ctypes, decimal, os, shelf.book, sqlite3, ssl, subprocess, sys
child = '''
import os, resource
number = lambda name: [line.split()[1] for line in open("/proc/self/status") if line.startswith(name)]
print(sorted(int(name) for name in os.listdir("/proc/self/fd")))
print(sorted(os.environ.items()), os.getcwd(), os.umask(0), os.nice(0), os.getpgrp() == os.getpid(), os.getsid(0) == os.getpid())
print(number("SigIgn"), number("SigBlk"), number("Threads"), [resource.getrlimit(limit) for limit in range(10)])
'''
for options in {}, {"close_fds": False}, {"restore_signals": False}, {"start_new_session": True}, {"env": {"A": "b"}}, {"cwd": "/"}:
    print(options, subprocess.run([sys.argv[1], "-ISc", child], capture_output=True, text=True, **options))
sys.stdout.flush()
if os.fork() == 0:
    print(sorted(int(name) for name in os.listdir("/proc/self/fd")), flush=True)
    os._exit(0)
print(os.wait()[1])
print(subprocess.run("trap", shell=True, capture_output=True), os.system("exit 3"), os.popen("echo text").read())
"""


def test_children_inherit_nothing_strange(probes, each_minor, probe_source, host):
    """Descriptors, environment, signals, limits: whatever a child of python gets, and no more."""
    code = write(probe_source / "code.txt", INHERITED).read_text()
    done = compare(probes(each_minor), each_minor.python, probe_source / "probe.py", code, host.python)
    assert done.returncode == 0 and "[0, 1, 2, 3]" in done.stdout, done.stderr


# --- multiprocessing --------------------------------------------------------------


PROCESSES = """
import multiprocessing, os, sys
from concurrent.futures import ProcessPoolExecutor


def square(number):
    return number * number, os.getpid() != parent()


def parent():
    return int(os.environ["PARENT"])


def shared(value, queue):
    with value.get_lock():
        value.value += 1
    queue.put(multiprocessing.current_process().name)


def main():
    multiprocessing.set_start_method(sys.argv[1])
    os.environ["PARENT"] = str(os.getpid())
    with multiprocessing.Pool(2) as pool:
        print(pool.map(square, range(4)))
    with ProcessPoolExecutor(1) as executor:
        print(executor.submit(square, 9).result())
    value, queue = multiprocessing.Value("i", 0), multiprocessing.Queue()
    processes = [multiprocessing.Process(target=shared, args=(value, queue), name=f"worker {n}") for n in range(2)]
    for process in processes:
        process.start()
    print(sorted(queue.get() for _ in processes))
    for process in processes:
        process.join()
    print(value.value, [process.exitcode for process in processes])
    from multiprocessing import shared_memory
    memory = shared_memory.SharedMemory(create=True, size=16)
    memory.close(); memory.unlink()
    with multiprocessing.Manager() as manager:
        print(dict(manager.dict(a=1)))


if __name__ == "__main__":
    main()
"""
SAID = """[(0, True), (1, True), (4, True), (9, True)]
(81, True)
['worker 0', 'worker 1']
2 [0, 0]
{'a': 1}
"""


@pytest.mark.parametrize("shape", ["module", "script", "package", "entry-point"])
def test_multiprocessing(pyox, each_minor, tmp_path, shape):
    """With an unmodified application, started in every way that an application can be."""
    script = write(tmp_path / "script.py", PROCESSES)
    # As with `python -m many`: a spawned process does not import a package's `__main__`.
    write(tmp_path / "many/__main__.py", "from many.work import main\nif __name__ == '__main__':\n    main()\n")
    write(tmp_path / "many/__init__.py", "")
    write(tmp_path / "many/work.py", PROCESSES)
    collect = {
        "module": [tmp_path / "many", "--run-module", "many.work"],
        "package": [tmp_path / "many", "--run-module", "many"],
        "script": [script],
        "entry-point": [tmp_path / "many", "--entry-point", "many.work:main"],
    }[shape]
    app = pyox.build(tmp_path, each_minor, *collect)
    for method in ("spawn", "forkserver", "fork"):
        done = run(app, method, timeout=40)
        assert (done.stdout, done.stderr) == (SAID, ""), method


WORK = r"""
import multiprocessing, os, signal, sys, time, traceback
from concurrent.futures import ProcessPoolExecutor, as_completed, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import shared_memory
from multiprocessing.connection import Client, Listener
from multiprocessing.managers import SharedMemoryManager
from helpers import Point, fail

STATE = None


def initialise(value):
    global STATE
    STATE = value


def work(number):
    if number == 13:
        fail(number)
    return number, STATE, Point(number, __name__)


def leave(how):
    if how == "exit":
        sys.exit(5)
    if how == "signal":
        os.kill(os.getpid(), signal.SIGUSR1)
    if how == "os":
        os._exit(6)
    fail(how)


def fill(name, number):
    memory = shared_memory.SharedMemory(name)
    memory.buf[number] = number + 1
    memory.close()


def meet(barrier, lock, event, connection, array):
    barrier.wait()
    event.wait()
    with lock:
        array[0] += 1
        connection.send((multiprocessing.parent_process() is not None, multiprocessing.current_process().daemon))


def answer(address):
    with Client(address, authkey=b"key") as connection:
        connection.send(connection.recv() * 2)


def ready(event):
    event.set()
    # Python looks for signals between two turns: one that comes just before a sleep does not end that.
    while True:
        time.sleep(0.1)


def main(method):
    context = multiprocessing.get_context(method)
    with ProcessPoolExecutor(2, mp_context=context, initializer=initialise, initargs=("set",)) as pool:
        print(list(pool.map(work, range(4), chunksize=2)))
        # Where it is done before it is asked, the traceback goes by another line.
        late = pool.submit(work, 13)
        wait([late])
        try:
            late.result()
        except ValueError:
            print(traceback.format_exc())
        print(len([future.result() for future in as_completed([pool.submit(pow, 2, n) for n in range(20)])]))
    if method != "fork":
        with ProcessPoolExecutor(1, mp_context=context, max_tasks_per_child=1) as pool:
            print(len({pool.submit(os.getpid).result() for _ in range(2)}))
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        try:
            pool.submit(leave, "os").result()
        except BrokenProcessPool as error:
            print(error)
    for how in "exit", "signal", "raise":
        process = context.Process(target=leave, args=(how,), name=how)
        process.start()
        process.join()
        print(how, process.exitcode)
    event = context.Event()
    process = context.Process(target=ready, args=(event,), daemon=True)
    process.start()
    event.wait()
    process.terminate()
    process.join()
    print(process.exitcode)
    memory = shared_memory.SharedMemory(create=True, size=8)
    processes = [context.Process(target=fill, args=(memory.name, number)) for number in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    print(bytes(memory.buf[:3]))
    memory.close()
    memory.unlink()
    with SharedMemoryManager() as manager:
        print(sum(manager.ShareableList(range(5))))
    barrier, lock, event, array = context.Barrier(3), context.Lock(), context.Event(), context.Array("i", 1)
    here, there = context.Pipe()
    processes = [context.Process(target=meet, args=(barrier, lock, event, there, array), daemon=bool(n)) for n in range(2)]
    for process in processes:
        process.start()
    barrier.wait()
    event.set()
    print(sorted(here.recv() for _ in processes))
    for process in processes:
        process.join()
    print(array[:])
    with Listener(authkey=b"key") as listener:
        process = context.Process(target=answer, args=(listener.address,))
        process.start()
        with listener.accept() as connection:
            connection.send([1])
            print(connection.recv())
        process.join()


def interrupted(method):
    context = multiprocessing.get_context(method)
    events = [context.Event() for _ in range(2)]
    processes = [context.Process(target=ready, args=(event,)) for event in events]
    for process in processes:
        process.start()
    for event in events:
        event.wait()
    print("ready", flush=True)
    for process in processes:
        process.join()


if __name__ == "__main__":
    globals()[sys.argv[1]](sys.argv[2])
"""
HELPERS = """
from typing import NamedTuple


class Point(NamedTuple):
    x: int
    y: str


def fail(what):
    raise ValueError(what)
"""
METHODS = ("spawn", "forkserver", "fork")


@pytest.fixture(scope="module")
def workers(pyox, tmp_path_factory):
    """Gives the executable of WORK for a distribution, and its script; each is built once."""
    known = {}

    def build(distribution):
        if distribution.spec not in known:
            folder = tmp_path_factory.mktemp("work")
            script, helpers = write(folder / "work.py", WORK), write(folder / "helpers.py", HELPERS)
            known[distribution.spec] = pyox.build(folder, distribution, script, helpers, name="work"), script
        return known[distribution.spec]

    return build


@pytest.mark.parametrize("method", METHODS)
def test_pools_locks_and_shared_memory(workers, each_minor, method):
    """Results, errors with their remote tracebacks, and exit codes, as under python."""
    executable, script = workers(each_minor)
    done = compare(executable, each_minor.python, script, "main", method)
    assert done.returncode == 0 and "raise ValueError(what)" in done.stdout and "ValueError: raise" in done.stderr, done


@pytest.mark.parametrize("method", METHODS)
def test_ctrl_c_ends_all_processes(workers, each_minor, method):
    """A terminal sends it to all of them; none is left behind, the helpers of multiprocessing included."""
    executable, script = workers(each_minor)

    def end(*command):
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        process = subprocess.Popen([*command, "interrupted", method], start_new_session=True, env=clean_environment(), **streams)
        assert process.stdout.readline() == "ready\n"
        # A worker that is still inside its `event.set()` would end otherwise, or not at all, under python too.
        time.sleep(0.5)
        os.killpg(process.pid, signal.SIGINT)
        # It reads to the end of streams that every process of the application has.
        output, errors = process.communicate(timeout=30)
        return process.returncode, output, errors.count("KeyboardInterrupt\n"), errors.count("Process-")

    assert end(executable) == end(each_minor.python, "-E", "-s", "-S", script)


LEAK = r"""
    import os, signal, sys
    from multiprocessing import shared_memory
    name, end = sys.argv[1:]
    memory = shared_memory.SharedMemory(name, create=True, size=16)
    print(os.path.exists("/dev/shm/" + name), flush=True)
    if end == "crash":
        os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("end", ["exit", "crash"])
def test_a_leaked_segment_is_cleaned(probes, each_minor, probe_source, end):
    """The resource tracker outlives its process, warns, and removes what is left."""
    name = f"pyox_test_{uuid.uuid4().hex}"
    code = write(probe_source / "code.txt", LEAK).read_text()
    done = compare(probes(each_minor), each_minor.python, probe_source / "probe.py", code, name, end)
    assert done.returncode == (0 if end == "exit" else -signal.SIGKILL) and done.stdout == "True\n"
    assert "leaked shared_memory objects to clean up at shutdown" in done.stderr
    assert not Path("/dev/shm", name).exists()
