"""More than one process: multiprocessing in all its ways, and the executable as its own `python`."""

import pytest

from chain import clean_environment, run, write

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


# --- Processes --------------------------------------------------------------------


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


def test_an_application_that_takes_itself_for_python_is_told(pyox, each_minor, tmp_path):
    """Without that it would start itself again and again."""
    write(tmp_path / "app.py", """
        import subprocess, sys
        if sys.argv[1] == "again":
            done = subprocess.run([sys.executable, *sys.argv[2:]], capture_output=True, text=True)
            print(done.returncode, done.stdout, done.stderr, end="")
        else:
            print(sys.argv[1:])
    """)
    executable = pyox.build(tmp_path, each_minor, tmp_path / "app.py", name="app")
    for arguments in (["-m", "json.tool"], ["-I", "-c", "import json"]):
        said = run(executable, "again", *arguments).stdout
        assert said.startswith("2  app: error: -") and "hint: build it with `pyox-collect --interpreter`" in said, said
    # Its own options are its own: here, a file's name.
    assert run(executable, "again", "-c", "settings.toml").stdout == "0 ['-c', 'settings.toml']\n "
