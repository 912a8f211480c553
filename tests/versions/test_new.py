"""What CPython 3.14 and 3.15 brought, in executables.

They run in a root folder of Debian's next release, see `make test-roots`.
"""

import subprocess

import pytest

from chain import clean_environment, require, run, write

# A module that says when it runs, for those that import it lazily.
LOUD = "print('loud runs')\nVALUE = 1\n"


def minor(distribution):
    return tuple(distribution.minor)


@pytest.fixture(params=(False, True), ids=("ordinary", "snapshot"))
def build(request, pyox, each_minor, tmp_path):
    """Makes an executable of code, beside modules `loud` and `shelf`: one that starts as ever, or with a snapshot."""

    def build(code, *collect, name="app"):
        write(tmp_path / f"{name}.py", code)
        write(tmp_path / "loud.py", LOUD)
        write(tmp_path / "shelf/__init__.py", "")
        write(tmp_path / "shelf/book.py", "print('book runs')\nTITLE = 'a title'\n")
        executable = pyox.build(tmp_path, each_minor, tmp_path / f"{name}.py", tmp_path / "loud.py", tmp_path / "shelf", *collect, name=name)
        if request.param:
            pyox("snapshot", executable, "-o", executable)
        return executable

    return build


def both(build, distribution, code, *options, **how):
    """What an executable says, which must be what `python` says."""
    executable = build(code)
    expected = run(distribution.python, *options, executable.with_suffix(".py"), **how)
    said = run(executable, **how)
    assert (said.stdout, said.stderr) == (expected.stdout, expected.stderr)
    return said.stdout


def needs(distribution, version):
    """Tests of 3.15 are none of 3.14's."""
    return minor(distribution) >= version


def test_template_strings(build, each_minor):
    code = """
    from string.templatelib import Interpolation
    name = "World"
    template = t"Hello {name!r:>10}!"
    print(template.strings, [(i.value, i.expression, i.conversion, i.format_spec) for i in template.interpolations])
    """
    assert both(build, each_minor, code).startswith("('Hello ', '!') [('World', 'name', 'r', '>10')]")


def test_annotations_are_evaluated_when_they_are_asked_for(build, each_minor):
    code = """
    import annotationlib, dataclasses, typing
    def f(x: Missing, y: "int" = 1) -> list[Later]: ...
    class Later: ...
    forward = annotationlib.get_annotations(f, format=annotationlib.Format.FORWARDREF)
    print(forward['x'].__forward_arg__, forward['y'], forward['return'])
    print(annotationlib.get_annotations(f, format=annotationlib.Format.STRING))
    try:
        f.__annotations__
    except NameError as error:
        print(error)
    @dataclasses.dataclass
    class Point:
        x: int
        other: Point | None = None
    print(typing.get_type_hints(Point), Point(1))
    """
    assert "name 'Missing' is not defined" in both(build, each_minor, code)


def test_zstandard(build, each_minor):
    code = """
    import io, tarfile, zipfile
    from compression import zstd
    data = b"some data " * 1000
    packed = zstd.compress(data)
    print(len(packed) < 100, zstd.decompress(packed) == data)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_ZSTANDARD) as archive:
        archive.writestr("a", data)
    print(zipfile.ZipFile(file).read("a") == data)
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:zst") as archive:
        archive.addfile(tarfile.TarInfo("empty"))
    print(tarfile.open(fileobj=io.BytesIO(file.getvalue())).getnames())
    """
    assert both(build, each_minor, code) == "True True\nTrue\n['empty']\n"


def test_interpreters_of_one_process(build):
    executable = build(
        """
        from concurrent import interpreters
        from concurrent.futures import InterpreterPoolExecutor

        def square(x):
            import json, shelf.book
            return json.loads(json.dumps(x)) ** 2

        if __name__ == "__main__":
            one = interpreters.create()
            queue = interpreters.create_queue()
            one.prepare_main(queue=queue)
            one.exec("import json, decimal, array, shelf.book; queue.put((json.__file__, shelf.book.TITLE))")
            print(queue.get())
            print(one.call(square, 3))
            try:
                one.exec("import nothing_of_that_name")
            except interpreters.ExecutionFailed as error:
                print(str(error).splitlines()[0])
            one.close()
            with InterpreterPoolExecutor(2) as pool:
                print(list(pool.map(square, range(4))))
        """
    )
    lines = run(executable).stdout.splitlines()
    file = next(line for line in lines if "json" in line)
    assert file.startswith(f"('{executable}/lib/python3.") and file.endswith("/json/__init__.py', 'a title')")
    assert [line for line in lines if line not in ("book runs", file)] == [
        "9",
        "ModuleNotFoundError: No module named 'nothing_of_that_name'",
        "[0, 1, 4, 9]",
    ]


def test_the_usual_start_method(build):
    """`forkserver` since 3.14, whose processes have another command line."""
    executable = build(
        """
        import multiprocessing, os, shelf.book

        def title(_):
            return shelf.book.TITLE, os.getppid()

        if __name__ == "__main__":
            print(multiprocessing.get_start_method())
            multiprocessing.set_forkserver_preload(["shelf.book"])
            with multiprocessing.Pool(2) as pool:
                said = pool.map(title, range(8))
            print({title for title, _ in said}, os.getpid() in {parent for _, parent in said})
        """
    )
    lines = run(executable).stdout.splitlines()
    assert [line for line in lines if line != "book runs"] == ["forkserver", "{'a title'} False"]


def test_deep_recursion_of_c_functions(build, each_minor):
    """CPython looks at where the stack ends, which is elsewhere in each process and thread."""
    code = """
    import ast, json, threading

    def deeper(depth=0):
        try:
            return len(sorted([0], key=lambda _: deeper(depth + 1)))
        except RecursionError:
            return -1

    def parse():
        try:
            json.loads("[" * 10**6)
        except RecursionError as error:
            print(str(error)[:14])
        try:
            ast.literal_eval("(" * 150 + "1" + ")" * 150)
        except (RecursionError, MemoryError, SyntaxError) as error:
            print(type(error).__name__)
        print(deeper())

    parse()
    thread = threading.Thread(target=parse)
    thread.start()
    thread.join()
    """
    assert both(build, each_minor, code).count("\n") >= 4


def test_the_settings_of_the_interpreter(pyox, each_minor, tmp_path):
    write(tmp_path / "app.py", "import sys\nprint(sys.flags.thread_inherit_context, sys.flags.context_aware_warnings, sys.is_remote_debug_enabled())\n")
    for value in (0, 1):
        names = ("thread_inherit_context", "context_aware_warnings", "remote_debug")
        config = [word for name in names for word in ("--config", f"{name}={value}")]
        app = pyox.build(tmp_path, each_minor, tmp_path / "app.py", *config)
        assert run(app).stdout == f"{value} {value} {bool(value)}\n"


@pytest.mark.parametrize("build", (False,), ids=("ordinary",), indirect=True)
def test_a_debugger_of_another_process(build, each_minor, tmp_path):
    """`sys.remote_exec`, by which `python -m pdb -p` attaches itself. It looks for the section of a file that is called like Python:
    there is none where libpython is part of the executable."""
    executable = build(
        """
        import os, sys, time
        print(os.getpid(), flush=True)
        while not os.path.exists(sys.argv[1]):
            time.sleep(0.01)
        """
    )
    done = tmp_path / "done"
    write(tmp_path / "debugger.py", f"import __main__, sys\nopen({str(done)!r}, 'x').write(__main__.__file__)\n")
    with subprocess.Popen([executable, done], stdout=subprocess.PIPE, env=clean_environment(), text=True) as process:
        try:
            process.stdout.readline()
            each_minor.run_python("-c", "import sys; sys.remote_exec(int(sys.argv[1]), sys.argv[2])", str(process.pid), tmp_path / "debugger.py")
            assert process.wait(60) == 0
        finally:
            process.kill()
    assert done.read_text() == f"{executable}/app/app.py"


@pytest.mark.parametrize("locale", ("C", "C.UTF-8", "POSIX", "en_US.UTF-8"))
def test_the_encodings_of_text(build, each_minor, locale, tmp_path):
    """3.15 is in UTF-8 mode unless it is told otherwise."""
    code = """
    import locale, sys
    print(sys.flags.utf8_mode, sys.stdin.encoding, sys.stdout.errors, sys.getfilesystemencoding(), locale.getencoding())
    print(open(__file__).encoding if __file__.endswith("app.py") else "")
    """
    environment = clean_environment() | {"LC_ALL": locale}
    if locale.startswith("en_US"):
        require("localedef")
        run("localedef", "-i", "en_US", "-f", "UTF-8", tmp_path / locale)
        environment["LOCPATH"] = str(tmp_path)
    executable = build(code)
    expected = run(each_minor.python, "-I", executable.with_suffix(".py"), env=environment).stdout
    assert run(executable, env=environment).stdout == expected


def test_lazy_imports(build, each_minor):
    if not needs(each_minor, (3, 15)):
        return
    executable = build(
        """
        import sys
        lazy import loud
        lazy from shelf import book
        lazy import json.decoder
        print("started", "loud" in sys.modules, "shelf.book" in sys.modules, "json.decoder" in sys.modules)
        print(loud.VALUE, "loud" in sys.modules)
        print(book.TITLE)
        lazy import nothing_of_that_name
        try:
            nothing_of_that_name
        except ImportError as error:
            print(error)
        """
    )
    assert run(executable).stdout.splitlines() == [
        "started False False False",
        "loud runs",
        "1 True",
        "book runs",
        "a title",
        *run(each_minor.python, executable.with_suffix(".py")).stdout.splitlines()[-1:],
    ]


def test_all_imports_lazy_by_a_setting(pyox, each_minor, tmp_path):
    if not needs(each_minor, (3, 15)):
        return
    write(tmp_path / "app.py", "import loud, decimal, sys\nprint('started', 'loud' in sys.modules)\nprint(loud.VALUE, decimal.Decimal(1))\n")
    write(tmp_path / "loud.py", LOUD)
    said = []
    for config in ((), ("--config", "lazy_imports=1")):
        said.append(run(pyox.build(tmp_path, each_minor, tmp_path / "app.py", tmp_path / "loud.py", *config)).stdout)
    assert said == ["loud runs\nstarted True\n1 1\n", "started False\nloud runs\n1 1\n"]
    assert said[1] == run(each_minor.python, "-X", "lazy_imports=all", tmp_path / "app.py").stdout
