"""`sys.executable` in the application's own children: a `python` for them, and for nobody else."""

import json
import os
import re
import signal
import subprocess

import pytest

from chain import require, run, terminal, write

APPLICATION = r"""
    import json, multiprocessing, os, subprocess, sys

    HERE = os.path.dirname(os.path.abspath(__file__))

    def double(number):
        return 2 * number

    def answer(*command, **options):
        done = subprocess.run(command[0] if options.get("shell") else command, capture_output=True, text=True, **options)
        return [done.returncode, done.stdout, done.stderr.splitlines()[-1:]]

    def questions(folder):
        exe, script = sys.executable, os.path.join(folder, "tool")
        yield answer(exe, "-c", "import sys; print(sys.argv, __name__)", "x", "--y")
        yield answer(exe, "-m", "worker", "1")
        yield answer(exe, os.path.join(HERE, "worker.py"), "2")
        yield answer(exe, __file__, "serve", "3")
        yield answer(exe, script, "4")
        yield answer(exe, script + ".py", "5")
        yield answer(exe, os.path.join(folder, "absent.py"))
        yield answer(exe, input="print('from stdin')")
        yield answer(exe, "-", "6", input="import sys; print(sys.argv)")
        yield answer(f"{exe} -c 'print(7)'; true", shell=True)
        yield answer(f"cd / && exec nohup {exe} -Ic 'print(8)'", shell=True)
        yield answer("env", "NAME=value", exe, "-c", "import os; print(os.environ['NAME'])")
        yield answer(exe, "-c", "import found; print(found.VALUE)", env=os.environ | {"PYTHONPATH": folder})
        yield answer(exe, "-Ic", "import found", env=os.environ | {"PYTHONPATH": folder})
        yield answer(exe, "-c", "import sys; print(sys.warnoptions, sys.flags.optimize)", env=os.environ | {"PYTHONWARNINGS": "error", "PYTHONOPTIMIZE": "2"})
        yield answer(exe, "-W", "error", "-X", "utf8=0", "-c", "import sys; print(sys.warnoptions, sys.flags.utf8_mode)")
        yield answer(exe, "-c", "import subprocess, sys; print(subprocess.run([sys.executable, '-c', 'print(9)'], capture_output=True, text=True).stdout)")
        yield answer(exe, "-c", "import os, sys; os.execv(sys.executable, [sys.executable, '-c', 'print(10)'])")
        yield answer(exe, "-c", "import os, sys; print(os.spawnv(os.P_WAIT, sys.executable, [sys.executable, '-c', 'raise SystemExit(11)']))")
        yield answer(exe, "-c", "import os, sys; p = os.posix_spawn(sys.executable, [sys.executable, '-c', 'raise SystemExit(12)'], os.environ); print(os.waitstatus_to_exitcode(os.waitpid(p, 0)[1]))")
        yield answer(exe, "-c", "import sys; sys.exit(13)", start_new_session=True, close_fds=False)
        yield answer(exe, __file__, "again")

    if __name__ == "__main__":
        arguments = sys.argv[1:]
        if arguments[:1] == ["serve"]:
            print("serve", arguments)
        elif arguments[:1] == ["again"]:
            if arguments == ["again"]:
                os.execv(sys.executable, [sys.executable] + sys.argv + ["second"])
            print(arguments)
        elif arguments[:1] == ["ask"]:
            print(json.dumps(list(questions(arguments[1]))))
        elif arguments[:1] == ["pools"]:
            for method in ("spawn", "fork", "forkserver"):
                with multiprocessing.get_context(method).Pool(2) as pool:
                    print(method, pool.map(double, range(3)))
        elif arguments[:1] == ["as"]:
            user, code = int(arguments[1]), "import os; print(os.getuid())"
            print(json.dumps([answer(sys.executable, "-c", code, user=user), answer(f"{sys.executable} -c '{code}'; true", shell=True, user=user)]))
        elif arguments[:1] == ["run"]:
            print(json.dumps(answer(*arguments[1:])))
        elif arguments[:1] == ["self"]:
            sys.exit(subprocess.run([sys.executable, *arguments]).returncode)
        else:
            print("application", arguments)
"""


@pytest.fixture(scope="session")
def children(pyox, tmp_path_factory):
    """The application, for a distribution and options; and the folder of its sources."""
    known = {}

    def build(distribution, *options, link=()):
        key = (distribution.spec, options, link)
        if key not in known:
            folder = tmp_path_factory.mktemp("children")
            folder.chmod(0o755)
            script = write(folder / "main.py", APPLICATION)
            worker = write(folder / "worker.py", "import sys\nprint('worker', sys.argv[1:], __name__)\n")
            known[key] = pyox.build(folder, distribution, script, worker, *options, name="app", link=link)
        return known[key]

    return build


@pytest.fixture
def tools(tmp_path):
    """Scripts that are no part of the application."""
    require("nohup", "env")
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    for name in ("tool", "tool.py"):
        write(tmp_path / name, "import sys\nprint(sys.argv[1:], __name__)\n").chmod(0o644)
    write(tmp_path / "found.py", "VALUE = 'found'\n").chmod(0o644)
    return tmp_path


def as_python(text, executable, python, source):
    """An answer of the executable as `python` would have said it."""
    # Since 3.15 a traceback says what `sys.flags.no_site` is: pyembed imports `site` by itself.
    text = re.sub(r"\. Site initialization is disabled, did you forget [^?]*\?", "", text)
    return text.replace(f"{executable}/main.py", str(source)).replace(str(executable), str(python))


def compare_children(executable, distribution, tools):
    source = executable.parent / "main.py"
    python = distribution.python
    found = json.loads(run(executable, "ask", tools).stdout)
    # Packed modules can be imported; here those beside the script.
    environment = dict(os.environ, PYTHONPATH=str(source.parent), PYTHONDONTWRITEBYTECODE="1")
    expected = json.loads(run(python, source, "ask", tools, env=environment).stdout)
    plain = json.loads(as_python(json.dumps(found), executable, python, source))
    for number, (one, other) in enumerate(zip(plain, expected, strict=True)):
        assert one == other, (number, one, other)


def test_a_python_for_its_own_children(children, each_minor, tools):
    compare_children(children(each_minor), each_minor, tools)


@pytest.mark.parametrize("shape", ["--static", "--dynamic"])
def test_in_both_shapes(children, source, tools, shape):
    compare_children(children(source, link=(shape,)), source, tools)


def test_children_of_another_user(children, source, tools):
    """Also through a shell, whose parent they may not look at."""
    assert json.loads(run(children(source), "as", "65534").stdout) == [[0, "65534\n", []]] * 2


@pytest.mark.parametrize("option", ["--no-interpreter", "--interpreter"])
def test_pools_in_any_case(children, source, option):
    expected = "".join(f"{method} [0, 2, 4]\n" for method in ("spawn", "fork", "forkserver"))
    assert run(children(source, option), "pools").stdout == expected


INJECTION = "print('INJECTED')"


def test_outsiders_get_the_application(children, source):
    """Whatever the arguments, and whatever is in the environment."""
    app = children(source)
    helper = "from multiprocessing.resource_tracker import main;main(0) if 0 else print('INJECTED')"
    for arguments in (["-c", INJECTION], ["-c", helper], ["-m", "json.tool"], ["-V"], ["-"], [str(app), "x"], [f"{app}/worker.py"]):
        assert run(app, *arguments).stdout == f"application {arguments}\n"
    for value in (":0", "0:0", "3:0", "9:9", "", "x"):
        environment = dict(os.environ, PYOX_STARTED_BY=value, PYOX_INTERPRETER="1", PYTHONINSPECT="1", PYTHONPATH="/")
        assert run(app, "-c", INJECTION, env=environment).stdout == f"application {['-c', INJECTION]}\n"


def test_a_socket_of_somebody_else(children, source):
    """The protocol by the letter, from another program: the socket is its own, but it is another process's."""
    app = children(source)
    code = f"""
import os, socket, subprocess, sys
one, other = socket.socketpair()
one.set_inheritable(True)
os.environ["PYOX_STARTED_BY"] = f"{{one.fileno()}}:0"
print(subprocess.run([{str(app)!r}, "-c", {INJECTION!r}], close_fds=False, capture_output=True, text=True).stdout, end="")
"""
    assert run(source.python, "-c", code).stdout == f"application {['-c', INJECTION]}\n"


def test_a_program_below_the_application_is_an_outsider(children, source, tmp_path):
    """A shell that the application starts, and that reads its commands from elsewhere."""
    app = children(source)
    commands = write(tmp_path / "commands", f"cd {app.parent}\n./app -c \"{INJECTION}\"\ntrue\n")
    status, said, _ = json.loads(run(app, "run", "sh", commands).stdout)
    assert (status, said) == (0, f"application {['-c', INJECTION]}\n")


def test_other_programs_see_nothing(children, source):
    app = children(source)
    for shape in (["env"], ["sh", "-c", "env"], [str(app), "-c", "import os; print(os.environ)"]):
        status, said, _ = json.loads(run(app, "run", *shape).stdout)
        assert status == 0 and "PYOX_STARTED_BY" not in said and "HOME" in said
    status, said, _ = json.loads(run(app, "run", "sh", "-c", "ls /proc/$$/fd").stdout)
    assert status == 0 and set(said.split()) <= {"0", "1", "2", "10", "255"}


def test_more_rights_than_its_caller(children, source, tmp_path):
    """A set-user-id executable believes nothing, not even its own."""
    require("setpriv")
    app = tmp_path / "app"
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    app.write_bytes(children(source).read_bytes())
    app.chmod(0o4755)
    said = run("setpriv", "--reuid=65534", "--clear-groups", app, "run", app, "-c", INJECTION).stdout
    status, said, _ = json.loads(said)
    assert (status, said) == (0, f"application {['-c', INJECTION]}\n")


def test_no_endless_chain(children, source):
    """An application that starts itself with its own arguments, for ever."""
    app = children(source)
    done = subprocess.run([app, "self"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and "it has started itself 16 times" in done.stderr, done.stderr


def test_the_name_of_a_program_in_path(children, source):
    app = children(source)
    environment = dict(os.environ, PATH=f"{app.parent}:{os.environ['PATH']}")
    assert run("app", "again", env=environment).stdout == "['again', 'second']\n"
    done = subprocess.run(["app", "run", "kill", "-9", "0"], env=environment, start_new_session=True)
    assert done.returncode == -signal.SIGKILL


@pytest.mark.parametrize("options", [(), ("-q",), ("-i",), ("-i", "-c", "value = 6"), ("-I",), ("-S",)], ids=" ".join)
def test_a_session_of_a_child(pyox, each_minor, tmp_path, options):
    """What stands above the prompt, what the session knows, and what it leaves in the user's folder."""
    script = write(tmp_path / "session.py", "import os, sys; os.execv(sys.executable, [sys.executable, *sys.argv[1:]])")
    startup = write(tmp_path / "startup.py", "print('started', __name__); value = 5")
    app = pyox.build(tmp_path, each_minor, script)
    typed = [(b">>> ", b"value\r"), (b">>> ", b"credits\r"), (b">>> ", b"quit\r"), (b">>> ", b"quit(3)\r" if "-S" not in options else b"\x04")]

    def session(*command):
        home = tmp_path / f"home{len(command)}"
        home.mkdir()
        status, shown = terminal([*command, *options], typed, HOME=str(home), PYTHONSTARTUP=str(startup))
        return status, shown, sorted(path.name for path in home.iterdir())

    ours, theirs = session(app), session(each_minor.python, script)
    assert ours == theirs
    assert theirs[0] == (0 if "-S" in options else 3) and ('Type "help"' in theirs[1]) == (options in ((), ("-i",), ("-I",)))


def test_a_child_that_is_told_to_be_interactive(pyox, each_minor, tmp_path):
    """Without a terminal."""
    code = """
        import subprocess, sys
        done = subprocess.run([sys.executable, "-i"], input="print(6 * 7)\\ncopyright\\nexit(4)\\n", capture_output=True, text=True)
        print(done.returncode, done.stdout, done.stderr)
    """
    app = pyox.build_script(tmp_path, each_minor, code)
    ours = run(app).stdout
    assert ours == run(each_minor.python, tmp_path / "app.py").stdout
    assert 'Type "help"' in ours and ours.startswith("4 42\n")
