"""What is not code, and what is asked about code: files of packages, metadata, sources, listings.

The probe (see `conftest.py`) holds `shelf`, a package with data; `space`, a namespace package; and
`rich`, as pip installed it.
"""

import hashlib
import json
import textwrap

from chain import HANDSHAKE, ask, clean_environment, compare, run, site_packages, write


def test_files_of_a_package(probe):
    said = ask(
        probe,
        """
        import json
        from importlib import resources
        root = resources.files("shelf")
        nested = root / "folder" / "nested"
        with resources.as_file(root / "note.txt") as path:
            note = [path.read_text("utf-8"), path.suffix]
        with (root / "note.txt").open(encoding="utf-8") as stream:
            lines = list(stream)
        def attempt(f):
            try:
                return str(f())
            except Exception as error:
                return type(error).__name__
        print(json.dumps({
            "note": (root / "note.txt").read_text("utf-8"), "as_file": note, "lines": lines,
            "empty": len((root / "empty.bin").read_bytes()), "large": sum((root / "large.bin").read_bytes()),
            "names": sorted(entry.name for entry in root.iterdir()),
            "nested": [nested.is_dir(), nested.is_file(), [e.name for e in nested.iterdir()]],
            "joined": root.joinpath("folder", "nested/leaf.txt").read_text(),
            "missing": attempt((root / "absent.txt").read_text), "folder": attempt((root / "folder").read_bytes),
            "written": attempt(lambda: (root / "note.txt").open("w")),
            "inner": sorted(e.name for e in resources.files("shelf.inner").iterdir()),
            "of_module": (resources.files("shelf.inner") / "deep.py").is_file(),
        }))
        """,
    )
    assert said["note"] == "a note, größer\n" and said["as_file"] == ["a note, größer\n", ".txt"]
    assert said["lines"] == ["a note, größer\n"]
    assert said["empty"] == 0 and said["large"] == 255 * 128 * 1024
    assert {"__init__.py", "book.py", "note.txt", "empty.bin", "large.bin", "folder", "inner"} <= set(said["names"])
    assert said["nested"] == [True, False, ["leaf.txt"]] and said["joined"] == "leaf\n"
    assert said["missing"] == "FileNotFoundError" and said["folder"] in ("IsADirectoryError", "FileNotFoundError")
    assert said["written"] not in ("None",) and "Error" in said["written"]
    assert set(said["inner"]) >= {"__init__.py", "deep.py"} and said["of_module"]


def test_the_traversable_protocol(probes, each_minor, probe_source):
    """All of it, with its errors, as for the same files in a folder."""
    code = """
        import importlib.abc, os, pathlib, pickle, pkgutil, shelf, shelf.book, warnings
        from importlib import resources
        from importlib.resources import abc

        warnings.simplefilter("ignore")
        root, reader = resources.files("shelf"), shelf.__loader__.get_resource_reader("shelf")
        names = lambda entries: sorted(entry.name for entry in entries if entry.name != "__pycache__")
        folder = os.path.dirname(shelf.__file__)
        attempts = [
            lambda: [isinstance(root, abc.Traversable), isinstance(root / "note.txt", abc.Traversable), isinstance(root, pathlib.Path)],
            lambda: [isinstance(reader, kind) for kind in (abc.ResourceReader, abc.TraversableResources)],
            lambda: [isinstance(root, importlib.abc.Traversable), isinstance(reader, importlib.abc.TraversableResources)],
            lambda: [name for name in dir(abc.Traversable) if not name.startswith("_") and not hasattr(root, name)],
            lambda: [names(root.iterdir()), names((root / "folder").iterdir()), names(root.joinpath("folder/nested").iterdir())],
            lambda: [entry.read_text("utf-8") for entry in sorted(root.iterdir(), key=str) if entry.name.endswith(".txt")],
            lambda: [(root / "book.py").is_file(), (root / "book.py").read_text()],
            lambda: [root.joinpath() == root, root.joinpath("folder", "nested", "leaf.txt").read_text(), (root / "folder" / "nested/leaf.txt").read_bytes()],
            lambda: [(root / name).is_dir() for name in ("", "folder", "note.txt", "absent")],
            lambda: [(root / name).is_file() for name in ("", "folder", "note.txt", "absent")],
            lambda: [root.name, (root / "note.txt").name, (root / "folder").name],
            lambda: (root / "note.txt").open("rb").read(),
            lambda: (root / "note.txt").open(encoding="ascii", errors="replace", newline="").read(),
            lambda: (root / "note.txt").read_text(encoding="latin-1"),
            lambda: (root / "absent").open(),
            lambda: (root / "absent").read_text(),
            lambda: (root / "folder").read_bytes(),
            lambda: (root / "folder").open("r"),
            lambda: list((root / "note.txt").iterdir()),
            lambda: list((root / "absent").iterdir()),
            lambda: (root / ".." / "shelf" / "note.txt").is_file(),
            lambda: resources.read_text("shelf", "note.txt", encoding="utf-8"),
            lambda: resources.read_binary("shelf", "note.txt"),
            lambda: resources.open_text("shelf", "note.txt", encoding="utf-8").read(),
            lambda: resources.open_binary("shelf", "note.txt").read(),
            lambda: [resources.is_resource("shelf", name) for name in ("note.txt", "folder", "absent")],
            lambda: sorted(set(resources.contents("shelf")) - {"__pycache__"}),
            lambda: resources.read_text("shelf", "folder/nested/leaf.txt"),
            lambda: resources.read_text("shelf", "folder", "nested", "leaf.txt"),
            lambda: resources.read_binary("shelf", "absent"),
            lambda: resources.open_binary("shelf", "absent"),
            lambda: resources.files("shelf.folder.nested").joinpath("leaf.txt").read_text(),
            lambda: names(resources.files("shelf.folder").iterdir()),
            lambda: names(resources.files(shelf.book).iterdir()),
            lambda: resources.files("absent"),
            lambda: resources.files("shelf.absent"),
            lambda: [reader.open_resource("note.txt").read(), reader.is_resource("folder"), sorted(set(reader.contents()) - {"__pycache__"})],
            lambda: reader.open_resource("absent"),
            lambda: [shelf.__loader__.get_data(folder + "/note.txt"), pkgutil.get_data("shelf", "note.txt"), pkgutil.get_data("shelf.book", "note.txt")],
            lambda: shelf.__loader__.get_data(folder + "/absent"),
            lambda: pkgutil.get_data("shelf", "absent"),
            lambda: pkgutil.get_data("absent", "note.txt"),
            # What pathlib adds, as all expect it who have never met a package in a zip file.
            lambda: [names(root.glob("*.txt")), names(root.rglob("*.txt")), (root / "note.txt").suffix, root.exists()],
            lambda: [open(root / "note.txt", encoding="utf-8").read(), os.path.getsize(root / "large.bin"), os.fspath(root) == folder],
            lambda: pickle.loads(pickle.dumps(root / "note.txt")).read_text("utf-8"),
            lambda: {root / "a", root / "a", root / "b"} == {root / "b", root / "a"},
        ]
        for number, attempt in enumerate(attempts):
            try:
                print(number, attempt())
            except Exception as error:
                print(number, type(error).__name__)
        exec("from importlib import resources\\ntry: print(resources.files())\\nexcept TypeError: print('no default')", vars(shelf.book))
        for name, suffix in ("note.txt", ".txt"), ("large.bin", ".bin"), ("folder", ""):
            with resources.as_file(root / name) as path:
                print(path.name, path.suffix, path.stem, os.path.exists(path), sorted(os.path.relpath(p, path) for p in path.rglob("*")))
        with resources.path("shelf", "note.txt") as path:
            print(path.read_bytes())
    """
    source = write(probe_source / "code.txt", code).read_text()
    done = compare(probes(each_minor), each_minor.python, probe_source / "probe.py", source)
    assert done.returncode == 0 and done.stdout.startswith("0 [True, True, True]\n1 [True, True]\n"), done


def test_resources_as_paths(probe):
    """`as_file` gives the path itself, as under `python`: a file, a folder, and files of a namespace package."""
    said = ask(
        probe,
        """
        import json, os, pathlib
        from importlib import resources

        with resources.as_file(resources.files("shelf") / "folder") as folder:
            found = [os.path.relpath(os.path.join(f, n), folder) for f, _, names in os.walk(folder) for n in names]
        with resources.as_file(resources.files("shelf") / "note.txt") as file:
            note = [type(file) is type(pathlib.Path()), file.suffix, file.read_text("utf-8")]
        with resources.as_file(resources.files("space") / "data.txt") as data:
            spaced = open(data).read()
        print(json.dumps([folder.name, found, note, data.name, spaced, [p.exists() for p in (folder, file, data)]]))
        """,
    )
    assert said == ["folder", ["nested/leaf.txt"], [True, ".txt", "a note, größer\n"], "data.txt", "of a namespace\n", [True] * 3]


def test_templates_and_certificates_of_packages(pyox, each_minor, authority, tmp_path):
    """Jinja2's PackageLoader, and a TLS handshake with the roots in certifi's file, which OpenSSL opens itself."""
    write(tmp_path / "pages/__init__.py", "")
    write(tmp_path / "pages/templates/base.html", "<b>{% block text %}{% endblock %}</b>\n")
    write(tmp_path / "pages/templates/sub/page.html", "{% extends 'base.html' %}\n{% block text %}{{ 1 // number }}{% endblock %}\n")
    source = HANDSHAKE + textwrap.dedent("""
        import certifi, jinja2, os, ssl, sys, traceback

        environment = jinja2.Environment(loader=jinja2.PackageLoader("pages"), autoescape=True)
        page = environment.get_template("sub/page.html")
        print(environment.list_templates(), page.render(number=1), page.is_up_to_date)
        try:
            page.render(number=0)
        except ZeroDivisionError as error:
            last = traceback.extract_tb(error.__traceback__)[-1]
            print(os.path.basename(last.filename), last.lineno, last.line)
        try:
            environment.get_template("absent.html")
        except jinja2.TemplateNotFound as error:
            print("not found:", error)

        context = ssl.create_default_context(cafile=certifi.where())
        print(len(context.get_ca_certs()), handshake(sys.argv[1], context), certifi.contents() == open(certifi.where()).read())
        context = ssl.create_default_context()
        print(handshake(sys.argv[1], context))
    """)

    def trust_the_authority(manifest):
        """The application's copy of certifi trusts one authority: its own."""
        (bundle,) = [resource for resource in manifest["resources"] if resource["name"].endswith("/certifi/cacert.pem")]
        data = (authority / "root.pem").read_bytes()
        bundle["payload"] = {"path": str(authority / "root.pem"), "size": len(data), "sha256": hashlib.sha256(data).hexdigest()}

    script = write(tmp_path / "app.py", source)
    collect = (tmp_path / "pages", "--with", "jinja2==3.1.6", "--with", "certifi==2025.8.3")
    app = pyox.build(tmp_path, each_minor, script, *collect, edit=trust_the_authority)
    environment = {name: value for name, value in clean_environment().items() if not name.startswith("SSL_CERT")}
    done = run(app, authority / "server.pem", env=environment)
    assert done.stdout.splitlines() == [
        "['base.html', 'sub/page.html'] <b>1</b> True",
        "page.html 2 {% block text %}{{ 1 // number }}{% endblock %}",
        "not found: absent.html",
        "1 trusted True",
        "unable to get local issuer certificate",
    ]


def test_the_older_functions_and_pkgutil(probe):
    said = ask(
        probe,
        """
        import json, pkgutil, warnings
        warnings.simplefilter("ignore")
        import shelf, shelf.inner
        from importlib import resources
        print(json.dumps({
            "data": pkgutil.get_data("shelf", "folder/nested/leaf.txt").decode(),
            "modules": sorted((m.name, m.ispkg) for m in pkgutil.iter_modules(shelf.__path__)),
            "walk": sorted(m.name for m in pkgutil.walk_packages(shelf.__path__, "shelf.")),
            "top": sorted(m.name for m in pkgutil.iter_modules() if m.name in ("shelf", "probe", "json", "rich")),
            "name": pkgutil.resolve_name("shelf.book:read").__name__,
            "loader": shelf.__loader__.get_data(shelf.__file__.replace("__init__.py", "note.txt")).decode(),
            "binary": resources.read_binary("shelf", "empty.bin").decode() if hasattr(resources, "read_binary") else "",
        }))
        """,
    )
    assert said["data"] == "leaf\n" and said["loader"] == "a note, größer\n" and said["name"] == "read"
    assert said["modules"] == [["__main__", False], ["book", False], ["inner", True]]
    assert said["walk"] == ["shelf.__main__", "shelf.book", "shelf.inner", "shelf.inner.deep"]


def test_the_namespace_package(probe):
    said = ask(
        probe,
        """
        import importlib, json, space, space.one, space.sub.two, sys
        from importlib import resources
        print(json.dumps({
            "file": getattr(space, "__file__", None), "origin": space.__spec__.origin, "path": len(list(space.__path__)) >= 1,
            "repr": repr(space)[:20], "values": [space.one.VALUE, space.sub.two.VALUE],
            "data": (resources.files("space") / "data.txt").read_text(), "loader": type(space.__loader__).__name__,
        }))
        """,
    )
    assert said["file"] is None and said["origin"] is None and said["path"]
    # From 3.12 on it says `(namespace)`.
    assert said["repr"].startswith("<module 'space' (") and said["values"] == [1, 2]
    assert said["data"] == "of a namespace\n" and "Namespace" in said["loader"]


def test_a_namespace_package_is_joined_with_the_file_systems(probe, tmp_path):
    """PEP 420: a portion on `sys.path` adds to the packed one."""
    (tmp_path / "space").mkdir()
    (tmp_path / "space/three.py").write_text("VALUE = 3\n")
    code = "import json, sys; sys.path.append(sys.argv[1]); import space.one, space.three; print(json.dumps([space.one.VALUE, space.three.VALUE]))"
    assert ask(probe, code, tmp_path) == [1, 3]


def test_modules_of_the_file_system_are_found_behind_the_packed_ones(probe, tmp_path):
    (tmp_path / "plugin.py").write_text("import shelf\nVALUE = shelf.__name__\n")
    (tmp_path / "json.py").write_text("raise RuntimeError('the packed one comes first')\n")
    code = "import sys; sys.path.append(sys.argv[1]); import json, plugin; print(json.dumps([plugin.VALUE, plugin.__file__]))"
    assert ask(probe, code, tmp_path) == ["shelf", str(tmp_path / "plugin.py")]


def test_metadata(probe, distribution):
    said = ask(
        probe,
        """
        import json
        from importlib import metadata
        rich = metadata.distribution("Rich")
        try:
            metadata.version("absent")
        except metadata.PackageNotFoundError as error:
            missing = str(error)
        print(json.dumps({
            "version": metadata.version("rich"), "name": rich.metadata["Name"], "requires": metadata.requires("rich"),
            "files": sum(1 for f in metadata.files("rich") if str(f).startswith("rich/")),
            "text": [f.read_text()[:3] for f in metadata.files("rich") if f.name == "py.typed" or f.name == "LICENSE"] != [],
            "all": sorted(d.metadata["Name"] for d in metadata.distributions()),
            "scripts": sorted(e.name for e in metadata.entry_points(group="console_scripts")),
            "load": metadata.entry_points(group="console_scripts")["markdown-it"].load().__name__,
            "packages": metadata.packages_distributions()["rich"], "missing": missing,
            "extras": rich.metadata.get_all("Provides-Extra"), "optional": [r for r in rich.requires if "extra ==" in r],
            "located": [[str(f), f.locate().is_file(), f.size == len(f.read_binary())] for f in rich.files if f.name in ("py.typed", "METADATA")],
            "place": str(rich.locate_file("rich/py.typed")),
            "normalised": metadata.version("markdown_it.PY") == metadata.version("markdown-it-py"),
        }))
        """,
    )
    assert said["version"] == "14.2.0" and said["name"] == "rich"
    assert any(requirement.startswith("pygments") for requirement in said["requires"])
    assert said["files"] > 50 and said["text"]
    assert set(said["all"]) >= {"rich", "Pygments", "markdown-it-py", "mdurl"}
    assert {"markdown-it", "pygmentize"} <= set(said["scripts"]) and said["load"] == "main"
    assert said["packages"] == ["rich"] and "absent" in said["missing"] and said["normalised"]
    assert said["extras"] == ["jupyter"] and said["optional"][0].startswith("ipywidgets")
    assert ["rich/py.typed", True, True] in said["located"] and len(said["located"]) == 2, said["located"]
    assert said["place"] == f"{site_packages(probe, distribution)}/rich/py.typed"


def test_sources(probe):
    said = ask(
        probe,
        """
        import ast, inspect, json, linecache, shelf.book, textwrap, json.decoder
        source = inspect.getsource(shelf.book.read)
        try:
            shelf.book.read(0)
        except ZeroDivisionError:
            import traceback
            trace = traceback.format_exc()
        print(json.dumps({
            "source": source, "doc": inspect.getdoc(shelf.book), "file": inspect.getfile(shelf.book)[-13:],
            "sourcefile": inspect.getsourcefile(shelf.book)[-13:], "stdlib": "class JSONDecoder" in inspect.getsource(json.decoder),
            "trace": trace, "module": inspect.getmodule(shelf.book.read).__name__,
            "loader": shelf.__loader__.get_source("shelf.book").startswith('"'), "code": shelf.__loader__.get_code("shelf.book").co_filename,
            "is_package": [module.__loader__.is_package(module.__name__) for module in (shelf, shelf.book)],
            "cached": shelf.book.__spec__.cached is not None, "origin": shelf.book.__spec__.origin == shelf.book.__file__,
        }))
        """,
    )
    assert said["source"].startswith("def read(page):") and "return 1 / page" in said["source"]
    assert said["doc"] == "A module with source." and said["stdlib"]
    assert said["file"] == said["sourcefile"] == "shelf/book.py" or said["file"].endswith("shelf/book.py")
    assert "return 1 / page\n" in said["trace"] and f'File "{probe}/app/shelf/book.py", line 5, in read' in said["trace"]
    assert said["code"] == f"{probe}/app/shelf/book.py" and said["is_package"] == [True, False] and said["origin"]


def test_listing_modules(probe, distribution):
    """From `sys.path`, where the executable stands, and from a package's path."""
    said = ask(
        probe,
        """
        import json, pkgutil, shelf, space, sys
        finder = pkgutil.get_importer(sys.path[0])
        print(json.dumps({
            "top": [module.name for module in pkgutil.iter_modules()], "other": finder.find_spec("json"),
            "shelf": [[m.name, m.ispkg] for m in pkgutil.walk_packages(shelf.__path__, "shelf.")],
            "space": [m.name for m in pkgutil.iter_modules(space.__path__)],
            "finder": [finder.find_spec("shelf").name, finder.find_spec("absent")],
        }))
        """,
    )
    theirs = distribution.run_python("-c", "import json, pkgutil; print(json.dumps([m.name for m in pkgutil.iter_modules() if m.ispkg]))")
    left_out = {"ensurepip", "idlelib", "lib2to3", "test", "tkinter", "turtledemo", "venv", "pydoc_data"}
    assert set(json.loads(theirs.stdout)) - left_out <= set(said["top"])
    assert {"shelf", "rich"} <= set(said["top"]) and len(set(said["top"])) == len(said["top"])
    assert said["shelf"] == [["shelf.__main__", False], ["shelf.book", False], ["shelf.inner", True], ["shelf.inner.deep", False]]
    assert said["space"] == ["one", "sub"] or said["space"] == ["one"]
    assert said["finder"] == ["shelf", None] and said["other"] is None


def test_a_package_folder_on_the_path(probe):
    """As packages do that bring others along: `setuptools/_vendor` and the like."""
    said = ask(
        probe,
        """
        import json, os, shelf, sys
        sys.path.append(os.path.dirname(shelf.__file__))
        import inner.deep, book, importlib.resources, inspect
        print(json.dumps({
            "names": [inner.__name__, inner.deep.__name__, inner.deep.VALUE, book.__name__, sys.modules["shelf.book"] is book],
            "spec": [book.__spec__.name, book.__file__ == os.path.join(sys.path[-1], "book.py"), inner.__spec__.parent],
            "source": "1 / page" in inspect.getsource(book.read),
            "loader": [inner.__loader__.is_package("inner"), book.__loader__.is_package("book")],
            "files": sorted(f.name for f in importlib.resources.files("inner").iterdir() if f.name.endswith(".py")),
        }))
        """,
    )
    assert said["names"] == ["inner", "inner.deep", "deep", "book", False]
    assert said["spec"] == ["book", True, "inner"] and said["source"] and said["loader"] == [True, False]
    assert said["files"] == ["__init__.py", "deep.py"]


def test_pkg_resources(pyox, each_minor, tmp_path):
    """Setuptools' own way to ask for projects and files, which old code still uses."""
    app = pyox.build_script(
        tmp_path,
        each_minor,
        """
        import json, warnings
        warnings.simplefilter("ignore")
        import pkg_resources as p

        def refusal(wanted):
            try:
                p.require(wanted)
            except p.ResolutionError as error:
                return type(error).__name__

        print(json.dumps({
            "version": p.get_distribution("Requests").version,
            "requires": sorted(p.working_set.by_key["requests"].requires(), key=str)[0].project_name,
            "require": [project.key for project in p.require("requests")][0],
            "refused": [refusal("requests>99"), refusal("nonesuch")],
            "text": b"certifi" in p.resource_string("requests", "certs.py"),
            "exists": [p.resource_exists("certifi", name) for name in ("cacert.pem", "absent")],
            "folder": [p.resource_isdir("certifi", "."), "cacert.pem" in p.resource_listdir("certifi", "")],
            "file": open(p.resource_filename("certifi", "cacert.pem")).read().count("BEGIN CERTIFICATE") > 50,
            "scripts": sorted(point.name for point in p.iter_entry_points("console_scripts")),
            "load": callable(p.load_entry_point("charset-normalizer", "console_scripts", "normalizer")),
        }))
        """,
        *("--with", "requests==2.32.5", "--with", "idna==3.11", "--with", "setuptools==80.9.0"),
    )
    said = json.loads(run(app).stdout)
    assert said["version"] == "2.32.5" and said["requires"] == "certifi" and said["require"] == "requests"
    assert said["refused"] == ["VersionConflict", "DistributionNotFound"] and said["text"] and said["file"]
    assert said["exists"] == [True, False] and said["folder"] == [True, True]
    assert "normalizer" in said["scripts"] and said["load"]


def test_projects_of_other_folders(probe, tmp_path):
    """A search that names folders is for these alone."""
    write(tmp_path / "other-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: other\nVersion: 1.0\n")
    code = """
        import json, sys
        from importlib import metadata
        names = lambda path: sorted(found.metadata["Name"] for found in metadata.distributions(path=path))
        print(json.dumps([names([sys.argv[1]]), "rich" in names([sys.path[0]]), "rich" in names(sys.path)]))
    """
    assert ask(probe, code, tmp_path) == [["other"], False, True]


def test_paths_computed_from_file(probe):
    """What much code does in place of importlib.resources."""
    said = ask(
        probe,
        """
        import glob, json, os, pathlib, shelf
        folder = os.path.dirname(shelf.__file__)
        path = pathlib.Path(shelf.__file__).resolve().parent
        with open(os.path.join(folder, "note.txt"), encoding="utf-8") as stream:
            note = stream.read()
        def attempt(f):
            try:
                return f()
            except OSError as error:
                return type(error).__name__
        print(json.dumps({
            "note": note, "pathlib": (path / "folder/nested/leaf.txt").read_text(),
            "exists": [os.path.exists(folder), os.path.isdir(folder), os.path.isfile(folder + "/note.txt"), os.path.exists(folder + "/absent")],
            "size": os.path.getsize(folder + "/large.bin"), "list": sorted(os.listdir(folder)),
            "glob": [os.path.basename(p) for p in glob.glob(folder + "/**/*.txt", recursive=True)],
            "rglob": sorted(p.name for p in path.rglob("*.txt")),
            "walk": sum(len(files) for _, _, files in os.walk(folder)),
            "scandir": sorted(e.name for e in os.scandir(folder) if e.is_dir()),
            "missing": attempt(lambda: open(folder + "/absent")), "written": attempt(lambda: open(folder + "/new", "w")),
            "removed": attempt(lambda: os.remove(folder + "/note.txt")), "binary": open(folder + "/large.bin", "rb").read()[:4].hex(),
        }))
        """,
    )
    assert said["note"] == "a note, größer\n" and said["pathlib"] == "leaf\n"
    assert said["exists"] == [True, True, True, False] and said["size"] == 256 * 1024
    assert {"note.txt", "folder", "inner", "book.py"} <= set(said["list"])
    assert sorted(said["glob"]) == said["rglob"] == ["leaf.txt", "note.txt"]
    assert said["walk"] >= 8 and set(said["scandir"]) >= {"folder", "inner"} and said["binary"] == "00010203"
    assert said["missing"] == "FileNotFoundError"
    assert said["written"].endswith("Error") and said["removed"].endswith("Error")


def test_paths_in_bytes_and_importlib_s_own_loaders(probe):
    """Plugin systems load modules by path; much code spells paths in bytes."""
    said = ask(
        probe,
        """
        import importlib.util, json, os

        def load(path):
            spec = importlib.util.spec_from_file_location("other", path)
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            return module

        folder = os.path.dirname(json.__file__)
        raw = os.fsencode(folder)
        try:
            load(folder + "/none.py")
        except FileNotFoundError as error:
            missing = error.filename == folder + "/none.py"
        print(json.dumps({
            "same": sorted(map(os.fsdecode, os.listdir(raw))) == sorted(os.listdir(folder)),
            "scanned": sorted(os.fsdecode(entry.path) for entry in os.scandir(raw)) == sorted(e.path for e in os.scandir(folder)),
            "there": os.path.exists(raw + b"/decoder.py") and not os.path.exists(raw + b"/none.py"),
            "loaded": callable(load(folder + "/scanner.py").make_scanner), "missing": missing,
        }))
        """,
    )
    assert said["same"] and said["scanned"] and said["there"] and said["missing"]
    assert said["loaded"]


def test_runpy(probe):
    said = ask(
        probe,
        """
        import json, runpy, sys, contextlib, io
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            space = runpy.run_module("shelf.inner.deep")
            runpy.run_module("shelf", run_name="__main__", alter_sys=True)
        print(json.dumps([space["VALUE"], space["__name__"], out.getvalue()]))
        """,
    )
    assert said == ["deep", "shelf.inner.deep", "main of shelf []\n"]


def test_importlib_itself(probe):
    said = ask(
        probe,
        """
        import importlib, importlib.util, json, sys
        spec = importlib.util.find_spec("shelf.inner.deep")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        lazy = importlib.util.LazyLoader(spec.loader)
        spec = importlib.util.find_spec("shelf.inner.deep")
        spec.loader = lazy
        late = importlib.util.module_from_spec(spec); lazy.exec_module(late)
        del sys.modules["json.scanner"]
        again = importlib.import_module("json.scanner")
        importlib.invalidate_caches()
        print(json.dumps([module.VALUE, module is not sys.modules.get("shelf.inner.deep"), late.VALUE, again.__name__,
                          importlib.util.find_spec("absent"), importlib.import_module(".book", "shelf").__name__]))
        """,
    )
    assert said == ["deep", True, "deep", "json.scanner", None, "shelf.book"]
