"""Folders with a `pyoxidizer.toml`, the configuration of PyOxidizer 0.1 to 0.4."""

import functools
import hashlib
import http.server
import json
import os
import tarfile
import threading
from pathlib import Path

import pytest

from chain import run, write

RULES = """
[[build]]
application_name = "tool"

[[build]]
application_name = "other"
build_target = "x86_64-pc-windows-msvc"

[[packaging_rule]]
type = "stdlib"
"""


def configure(folder, text):
    (folder / "pyoxidizer.toml").write_text(RULES + text)


def test_rules_for_packages(driver, tmp_path):
    write(tmp_path / "src/kit/__init__.py", "NAME = 'kit'\n")
    write(tmp_path / "src/kit/left.py", "")
    write(tmp_path / "src/single.py", "VALUE = 7\n")
    write(tmp_path / "src/unused/__init__.py", "")
    write(tmp_path / "requirements.txt", "colorama==0.4.6\n")
    write(
        tmp_path / "src/main.py",
        """
        import importlib.util, os, sys, click, kit, single

        def there(name): return importlib.util.find_spec(name) is not None

        print(click.__name__, kit.NAME, single.VALUE, there("kit.left"), there("unused"), there("colorama"), __debug__)
        print(sys.frozen, sys._MEIPASS == os.path.dirname(sys.executable), sys.path[-1] == sys._MEIPASS + "/plugins")
        print(sys.flags.ignore_environment, sys.stdout.encoding, sys.stdout.errors, sys.argv[1:], __name__, __spec__.name)
        """,
    )
    configure(
        tmp_path,
        """
        [[packaging_rule]]
        type = "package-root"
        path = "$ORIGIN/src"
        packages = ["kit", "single", "main"]
        excludes = ["kit.left"]
        optimize_level = 1

        [[packaging_rule]]
        type = "pip-install-simple"
        package = "click==8.1.8"

        [[packaging_rule]]
        type = "pip-requirements-file"
        requirements_path = "requirements.txt"

        [[embedded_python_config]]
        sys_frozen = true
        sys_meipass = true
        sys_paths = ["$ORIGIN/plugins"]
        ignore_environment = false
        stdio_encoding = "latin-1:replace"
        raw_allocator = "jemalloc"

        [[embedded_python_run]]
        mode = "module"
        module = "main"
        """,
    )
    done = driver("build")
    assert "raw_allocator: not used" in done.stderr and "optimize_level: all modules are compiled with 1" in done.stderr
    assert [path.name for path in (tmp_path / "dist").iterdir()] == ["tool"]
    assert run(tmp_path / "dist/tool", "a").stdout.splitlines() == [
        "click kit 7 False False True False",
        "True True True",
        "0 iso8859-1 replace ['a'] __main__ main",
    ]
    assert driver("clean").stdout == f"{tmp_path}/dist/tool: removed\n"


def test_a_frozen_program_has_children(driver, tmp_path):
    write(
        tmp_path / "pool.py",
        """
        import multiprocessing, sys

        def frozen(number): return number, sys.frozen

        if __name__ == "__main__":
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                print(pool.map(frozen, [1, 2]))
        """,
    )
    configure(
        tmp_path,
        """
        [[packaging_rule]]
        type = "package-root"
        path = "."
        packages = ["pool"]

        [[embedded_python_config]]
        sys_frozen = true

        [[embedded_python_run]]
        mode = "module"
        module = "pool"
        """,
    )
    assert driver("run").stdout == "[(1, True), (2, True)]\n"


def test_a_project_with_a_setup_py(driver, tmp_path):
    write(tmp_path / "lib/setup.py", "from setuptools import setup\nsetup(name='old', version='3', py_modules=['old'])\n")
    write(tmp_path / "lib/old.py", "import importlib.metadata\ndef main(): print('old', importlib.metadata.version('old'))\n")
    configure(tmp_path, '[[packaging_rule]]\ntype = "setup-py-install"\npackage_path = "lib"\n[[embedded_python_run]]\nmode = "eval"\ncode = "import old; old.main()"\n')
    assert driver("run").stdout == "old 3\n"


def test_a_virtual_environment(driver, host, tmp_path):
    run(host.python, "-m", "venv", "--without-pip", tmp_path / "env")
    (packages,) = (tmp_path / "env/lib").glob("*/site-packages")
    write(packages / "inside/__init__.py", "NAME = 'inside'\n")
    write(packages / "inside-2.dist-info/METADATA", "Metadata-Version: 2.1\nName: inside\nVersion: 2\n")
    write(packages / "left.py", "")
    configure(
        tmp_path,
        """
        [[packaging_rule]]
        type = "virtualenv"
        path = "env"
        excludes = ["left"]
        install_location = "app-relative:lib"

        [[embedded_python_run]]
        mode = "eval"
        code = "import inside, os; print(inside.NAME, os.path.isfile(inside.__file__))"
        """,
    )
    assert "the folder is NAME.files beside the executable" in driver("build").stderr
    assert run(tmp_path / "dist/tool").stdout == "inside True\n"
    assert (tmp_path / "dist/tool.files").is_dir()


def test_an_archive_is_the_same_twice(driver, tmp_path):
    configure(
        tmp_path,
        """
        [[packaging_rule]]
        type = "write-license-files"
        path = "licenses"

        [[embedded_python_run]]
        mode = "eval"
        code = "print('packed')"

        [[distribution]]
        type = "tarball"
        path_prefix = "tool-1"
        """,
    )
    driver("build")
    archive = tmp_path / "dist/tool.tar"
    first = archive.read_bytes()
    driver("clean")
    assert not archive.exists()
    os.utime(tmp_path / "pyoxidizer.toml", (1, 1))
    driver("build")
    assert archive.read_bytes() == first
    with tarfile.open(archive) as opened:
        names = opened.getnames()
        opened.extractall(tmp_path / "out", filter="data")
    assert "tool-1/tool" in names and all(name.startswith("tool-1/") for name in names) and names == sorted(names)
    assert any(name.startswith("tool-1/licenses/LICENSE") for name in names)
    assert run(tmp_path / "out/tool-1/tool").stdout == "packed\n"


def test_a_pyox_toml_says_the_same(driver, tmp_path):
    write(tmp_path / "tool.py", "import importlib.util as u\nprint(*(u.find_spec(name) is not None for name in ('_ssl', 'math')))\n")
    write(
        tmp_path / "pyox.toml",
        """
        extensions = "minimal"
        include = ["math"]
        licenses = "licenses"
        tarball = "tool-1"

        [programs]
        tool = "tool.py"
        """,
    )
    driver("build")
    assert run(tmp_path / "dist/tool").stdout == "False True\n"
    with tarfile.open(tmp_path / "dist/tool.tar") as opened:
        assert {name.split("/")[1] for name in opened.getnames()} == {"licenses", "tool"}


def test_extension_modules_are_chosen_in_a_pipe(pyox, host, tmp_path):
    write(tmp_path / "tool.py", "print('runs')\n")
    options = ("--extensions", "no-libraries", "--include", "_ssl")
    manifest = json.loads(pyox.manifest(tmp_path, host, tmp_path / "tool.py", *options).read_text())
    taken = {resource["name"] for resource in manifest["resources"] if resource["kind"] == "extension-module"}
    assert {"math", "_ssl"} <= taken and "_sqlite3" not in taken
    (left,) = [left for left in manifest["excluded"] if left["name"] == "_sqlite3"]
    assert "--extensions" in left["reason"]


@pytest.mark.parametrize("policy, there", [("all", "True True"), ("minimal", "False True"), ("no-libraries", "False True"), ("no-gpl", "True True")])
def test_policies_for_extension_modules(driver, tmp_path, policy, there):
    configure(
        tmp_path,
        f"""
        [[packaging_rule]]
        type = "stdlib-extensions-policy"
        policy = "{policy}"

        [[packaging_rule]]
        type = "stdlib-extensions-explicit-includes"
        includes = ["math"]

        [[embedded_python_run]]
        mode = "eval"
        code = '''
        import importlib.util
        print(*(importlib.util.find_spec(name) is not None for name in ("_ssl", "math")))
        '''
        """.replace("        ", ""),
    )
    driver("build")
    assert run(tmp_path / "dist/tool").stdout == there + "\n"


def test_a_program_is_narrowed_to_what_it_has_imported(driver, pyox, tmp_path):
    write(tmp_path / "kit/__init__.py", "")
    write(tmp_path / "kit/used.py", "NAME = 'used'\n")
    write(tmp_path / "kit/unused.py", "")
    executable = tmp_path / "dist/tool"
    rules = """
        [[packaging_rule]]
        type = "package-root"
        path = "."
        packages = ["kit"]

        [[embedded_python_config]]
        write_modules_directory_env = "TOOL_MODULES"

        [[embedded_python_run]]
        mode = "eval"
        code = "import kit.used, sys; sys.exit(3)"
    """
    configure(tmp_path, rules)
    driver("build")
    runs = tmp_path / "runs/of/tool"
    for expected in (1, 2):
        assert run(executable, env=pyox.environment | {"TOOL_MODULES": str(runs)}, check=False).returncode == 3
        assert len(list(runs.iterdir())) == expected
    assert run(executable, check=False).returncode == 3 and len(list(runs.iterdir())) == 2
    (runs / "modules-by-hand").write_text("# nothing imports it\n\n")
    denied = run(executable, env=pyox.environment | {"TOOL_MODULES": str(executable)}, check=False)
    assert denied.returncode == 3 and denied.stderr == f"{executable}: the list of modules cannot be written: File exists\n"

    configure(tmp_path, '[[packaging_rule]]\ntype = "filter-include"\nglob_files = ["runs/**/modules-*"]\n' + rules)
    driver("build")
    assert run(executable, check=False).returncode == 3
    listed = driver("inspect", "list", "dist/tool").stdout
    assert "kit.used" in listed and "kit.unused" not in listed and "argparse" not in listed


def test_sys_and_the_environment(driver, tmp_path):
    write(tmp_path / "see.py", "import os, sys\nprint(sys.frozen is True, sys._MEIPASS, sys.path[-1], os.environ['TERMINFO_DIRS'])\n")
    config = """
        [[packaging_rule]]
        type = "package-root"
        path = "."
        packages = ["see"]

        [[embedded_python_config]]
        sys_frozen = true
        sys_meipass = true
        sys_paths = ["$ORIGIN/plugins"]
        terminfo_resolution = "static"
        terminfo_dirs = "/one:/two"

        [[embedded_python_run]]
        mode = "MODE"
        module = "see"
        code = "import subprocess, sys; subprocess.run([sys.executable, '-m', 'see'], check=True)"
    """
    folder = tmp_path / "dist"
    seen = f"True {folder} {folder}/plugins /one:/two\n"
    for mode, options in (("module", {}), ("eval", {}), ("repl", {"input": "import see\n"})):
        configure(tmp_path, config.replace("MODE", mode))
        driver("build")
        assert run(folder / "tool", **options).stdout == seen, mode


def test_sys_and_the_environment_in_a_pipe(pyox, source, tmp_path):
    write(tmp_path / "see.py", "import os, sys\nprint(sys.frozen, sys.level, sys.names, sys.path[-1], os.environ['HERE'])\n")
    options = ("--sys", "frozen=true", "--sys", "level=2", "--sys", 'names=["a", "$ORIGIN"]', "--search-path", "$ORIGIN/plugins", "--env", "HERE=[$ORIGIN]")
    # Its folder has a name that is no UTF-8.
    executable = pyox.build(tmp_path, source, tmp_path / "see.py", *options)
    folder = tmp_path / os.fsdecode(b"f\xffler")
    folder.mkdir()
    moved = executable.rename(folder / "see")
    assert run(moved).stdout == f"True 2 ['a', {str(folder)!r}] {folder}/plugins [{folder}]\n"


def test_a_python_of_its_own(driver, host, source, tmp_path):
    sha256 = archive_of(source)[1]
    # It was unpacked before, so that nobody is asked.
    text = f'[[python_distribution]]\nurl = "http://127.0.0.1:9/python.tar.zst"\nsha256 = "{sha256}"\n[[embedded_python_run]]\nmode = "eval"\ncode = "import sys; print(*sys.version_info[:2])"\n'
    configure(tmp_path, text)
    driver("build")
    assert run(tmp_path / "dist/tool").stdout == "3 13\n"
    configure(tmp_path, text.replace(sha256, hashlib.sha256().hexdigest()))
    done = driver("build", check=False)
    assert done.returncode == 2 and "http://127.0.0.1:9/python.tar.zst" in done.stderr
    driver("build", "--python", f"host:{host.python}")
    assert run(tmp_path / "dist/tool").stdout == "3 11\n"


def archive_of(distribution):
    """The archive that pyox-fetch has built, and its digest."""
    sha256 = Path(json.loads(distribution.document.read_text())["root"]).parent.name
    cache = Path(os.environ.get("PYOX_CACHE_DIR", Path.home() / ".cache/pyox"))
    archives = (cache / "source").glob("*.tar.zst")
    return next(path for path in archives if hashlib.sha256(path.read_bytes()).hexdigest() == sha256), sha256


def test_a_python_is_downloaded_once(pyox, source, tmp_path):
    archive, sha256 = archive_of(source)
    (tmp_path / "served").mkdir()
    (tmp_path / "served/python.tar.zst").hardlink_to(archive)
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=tmp_path / "served")
    environment = pyox.environment | {"PYOX_CACHE_DIR": str(tmp_path / "cache")}

    def fetch(*options):
        return run(pyox.folder / "pyox-fetch", url, *options, env=environment, check=False)

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        url = f"http://127.0.0.1:{server.server_port}/python.tar.zst"
        threading.Thread(target=server.serve_forever).start()
        try:
            bare, other, done = fetch(), fetch("--sha256", hashlib.sha256().hexdigest()), fetch("--sha256", sha256)
        finally:
            server.shutdown()
    assert bare.returncode == 2 and f"{url}: expected the digest of the archive" in bare.stderr
    assert other.returncode == 2 and "digest mismatch: expected sha256 e3b0c442" in other.stderr
    assert json.loads(done.stdout)["python"]["version"].startswith("3.13.")
    assert fetch("--sha256", sha256).stdout == done.stdout


def rule(text):
    return f"[[packaging_rule]]\n{text}\n"


BAD = {
    "broken TOML": ("[[packaging_rule]]\ntype =\n", "pyoxidizer.toml:2:7: "),
    "no list of tables": ("[build]\napplication_name = 'a'\n", "pyoxidizer.toml:1:2: expected tables `[[build]]`"),
    "an unknown section": ("[[packaging_rules]]\n", "pyoxidizer.toml:1:3: expected a section that is known, got `packaging_rules`"),
    "an unknown key": ("\n" + rule('type = "virtualenv"\npaht = "env"'), "pyoxidizer.toml:4:1: [[packaging_rule]]: expected a key that is known, got `paht`"),
    "an unknown type": (rule('type = "pip-install"'), "expected a type that is known, got `pip-install`"),
    "an unknown mode": ('[[embedded_python_run]]\nmode = "evil"\n', "expected a mode that is known, got `evil`"),
    "a value of another type": ("[[embedded_python_config]]\nno_site = 'yes'\n", "pyoxidizer.toml:2:11: [[embedded_python_config]]: no_site: invalid type: string"),
    "no folders of terminfo": ("[[embedded_python_config]]\nterminfo_resolution = 'static'\n", "pyoxidizer.toml:2:1: [[embedded_python_config]]: terminfo_resolution: expected `terminfo_dirs`"),
    "a key that is missing": (rule('type = "package-root"\npath = "."'), "expected a key `packages`, found none"),
    "a package that is not there": (rule('type = "package-root"\npath = "."\npackages = ["kit"]'), "packages: expected a top-level package or module, found none at kit"),
    "an installer for Windows": ('[[distribution]]\ntype = "wix"\n', "an installer for Windows"),
    "no virtual environment": (rule('type = "virtualenv"\npath = "env"'), "path: expected a virtual environment, found none at env"),
    "an environment of another Python": (rule('type = "virtualenv"\npath = "old"'), "==3.99.*"),
    "another digest": (f'[[python_distribution]]\nlocal_path = "p.tar.zst"\nsha256 = "{hashlib.sha256().hexdigest()}"\n', "digest mismatch: expected sha256 e3b0c442"),
    "no digest": ('[[python_distribution]]\nlocal_path = "p.tar.zst"\nsha256 = "abc"\n', "sha256: "),
    "what setup.py is told": (rule('type = "setup-py-install"\npackage_path = "."\nextra_env = { A = "1" }'), "extra_env: pyox does not pass it"),
    "a folder outside": (rule('type = "write-license-files"\npath = "../x"'), "path: expected a relative path below dist"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line(driver, tmp_path, case):
    text, said = BAD[case]
    (tmp_path / "p.tar.zst").write_text("something else\n")
    (tmp_path / "old/lib/python3.99/site-packages").mkdir(parents=True)
    (tmp_path / "pyoxidizer.toml").write_text(text)
    done = driver("build", check=False)
    errors = [line for line in done.stderr.splitlines() if ": error: " in line]
    assert done.returncode == 2 and len(errors) == 1, done.stderr
    assert said in errors[0] and len(errors[0]) < 400 and "panicked" not in done.stderr
    assert not (tmp_path / "dist").exists()
