"""Where modules are found, beside `python` with the same files in a folder: `sys.path`, `__path__`, and what agrees with them."""

import pytest

from chain import compare, run, write

PROGRAMS = {
    # Folders of the disk in front of the packed ones, and behind.
    "the order of sys.path": """
        import importlib, os, sys
        OTHER = sys.argv[1]

        def show(name):
            try:
                module = importlib.import_module(name)
            except ImportError as error:
                print(name, "ImportError", error.name)
            else:
                print(name, getattr(module, "__file__", None), type(module.__spec__.loader).__name__ == "SourceFileLoader" and module.__file__.startswith(OTHER))
                del sys.modules[name]

        NAMES = "colorsys", "json.tool", "kit", "kit.part", "space", "space.one", "space.two", "alone", "math", "absent"
        sys.path.append(OTHER)
        for name in NAMES: show(name)
        print("in front")
        sys.path.remove(OTHER)
        sys.path.insert(0, OTHER)
        importlib.invalidate_caches()
        for name in [name for name in sys.modules if name.split(".")[0] in ("kit", "space", "json")]:
            del sys.modules[name]
        for name in NAMES: show(name)
        sys.path.remove(OTHER)
        print("a package's path")
        for name in [name for name in sys.modules if name.split(".")[0] in ("kit", "space", "json")]:
            del sys.modules[name]
        import kit
        kit.__path__.insert(0, os.path.join(OTHER, "kit"))
        show("kit.part")
        kit.__path__.reverse()
        show("kit.part")
        show("kit.more")
    """,
    "a script by its own name": """
        import sys
        from pathlib import Path
        if __name__ == "__main__":
            import app
            print(app.__name__, app.__file__ == __file__, app is sys.modules["__main__"], app.f.__module__)
            sys.path.insert(0, str(Path(__file__).resolve().parent / "kit"))
            import part
            print(part.__name__, part.WHERE)
        def f(): pass
    """,
    "a tree like an installation's": """
        import inspect, json, os, sys, sysconfig, kit.part
        from pathlib import Path

        top = Path(json.__file__).parent.parent
        print(top == Path(os.__file__).parent, str(top) in sys.path, str(top) == sys._stdlib_dir, top.name[:-1], top.parent.name)
        paths = sysconfig.get_paths()
        print(paths["stdlib"] == str(top), paths["purelib"] == str(top / "site-packages"), paths["scripts"] == os.path.join(sys.prefix, "bin"))
        print(sys.prefix == sys.exec_prefix == sys.base_prefix == str(top.parent.parent))
        import site
        print(site.getsitepackages() == [paths["purelib"]])
        here = Path(__file__).parent
        print(sys.path[0] == str(here), sorted(path.name for path in here.glob("*.py")), sorted(path.name for path in here.iterdir() if path.is_dir()))
        print(kit.__path__ == [str(here / "kit")], kit.part.__file__ == str(here / "kit" / "part.py"))
    """,
    "names of files in code": """
        import collections, encodings, encodings.utf_8, inspect, io, json.decoder, kit.part, os, sys, traceback, warnings

        def codes(code):
            yield code
            for constant in code.co_consts:
                if inspect.iscode(constant):
                    yield from codes(constant)

        for module in kit, kit.part, json.decoder, encodings, encodings.utf_8, os, collections, sys.modules[__name__]:
            if module.__name__ == "os":
                functions = [os.makedirs]
            else:
                functions = [value for value in vars(module).values() if inspect.isfunction(value) and value.__module__ == module.__name__]
            same = {code.co_filename == module.__file__ for function in functions for code in codes(function.__code__)}
            print(module.__name__, same - {module.__name__ == "os" and False} <= {True}, len(functions) > 0)
        print(inspect.getmodule(kit.part.frame()).__name__, inspect.getsource(kit.part.frame().f_code).splitlines()[0])
        print([(frame.filename == __file__, frame.code_context) for frame in inspect.stack()])
        print(kit.part.caller())
        warnings.warn("a warning", skip_file_prefixes=(os.path.dirname(kit.__file__),)) if sys.version_info >= (3, 12) else None
        kit.part.warn()
    """,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder of the application's, and one in `other` that shares names with it."""
    folder = tmp_path_factory.mktemp("search")
    write(folder / "kit/__init__.py", "def nothing(): pass\n")
    write(
        folder / "kit/part.py",
        """
        import sys, warnings
        WHERE = "packed"

        def frame():
            return sys._getframe()

        def caller():
            import inspect
            return inspect.stack()[1].code_context

        def warn():
            warnings.warn("of part", stacklevel=2)
        """,
    )
    write(folder / "space/one.py", "WHERE = 'packed'\n")
    other = folder / "other"
    for name in ("colorsys.py", "json/__init__.py", "kit/part.py", "kit/more.py", "space/two.py", "alone.py", "math.py"):
        write(other / name, f"WHERE = 'other'\nprint('runs: {name}')\n")
    return folder


@pytest.mark.parametrize("program", PROGRAMS)
def test_as_under_python(pyox, each_minor, folder, tmp_path, program):
    script = write(tmp_path / "app.py", PROGRAMS[program])
    for name in ("kit", "space"):
        (tmp_path / name).symlink_to(folder / name)
    app = pyox.build(tmp_path, each_minor, script, tmp_path / "kit", tmp_path / "space", name="app")
    compare(app, each_minor.python, script, folder / "other")


def test_a_source_that_does_not_compile(pyox, source, tmp_path):
    """Wheels hold templates and sources for other versions; an import says what is wrong with them."""
    code = """
        import importlib.util, pkgutil
        for name in "kit.broken", "kit.old", "kit.absent":
            try:
                print(importlib.util.find_spec(name) is not None)
                __import__(name)
            except Exception as error:
                print(type(error).__name__, error.msg, getattr(error, "lineno", None), getattr(error, "filename", "").endswith(".py"))
    """
    write(tmp_path / "app.py", code)
    write(tmp_path / "kit/__init__.py", "")
    write(tmp_path / "kit/broken.py", "value = 1\nprint 'old'\n")
    write(tmp_path / "kit/old/__init__.py", "{{ template }\n")

    def of_a_wheel(manifest):
        for resource in manifest["resources"]:
            if resource["name"].startswith("kit."):
                resource["origin"] = "project"

    blob = pyox.blob(tmp_path, source, tmp_path / "app.py", tmp_path / "kit", edit=of_a_wheel)
    executable = tmp_path / "app"
    pyox("link", blob, "-d", source.document, "-o", executable)
    assert run(executable).stdout == source.run_python("-c", f"import sys; sys.path.insert(0, {str(tmp_path)!r}); exec(open({str(tmp_path / 'app.py')!r}).read())").stdout
