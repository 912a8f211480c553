"""`pyox`, the driver, as a user meets it: from a shell, in a folder of their own."""

import json
import os
import stat

import pytest

from chain import making, run, write

def script(folder):
    write(
        folder / "app.py",
        '''
        #!/usr/bin/env python3
        # /// script
        # requires-python = ">=3.11"
        # dependencies = ["click==8.1.8"]
        # [tool.pyox]
        # optimize = 1
        # ///
        import sys
        import click
        import helper
        from kit import part

        @click.command()
        @click.argument("word")
        def main(word):
            click.echo(f"{helper.VALUE} {part.VALUE} {word} {__debug__} {click.__name__}")

        main()
        ''',
    )
    write(folder / "helper.py", "import deeper\nVALUE = deeper.VALUE\n")
    write(folder / "deeper.py", "VALUE = 'deep'\n")
    write(folder / "unused.py", "VALUE = 'unused'\n")
    write(folder / "kit/__init__.py", "")
    write(folder / "kit/part.py", "VALUE = 'part'\n")


def test_a_script_with_metadata_and_siblings(driver, tmp_path):
    script(tmp_path / "src")
    done = driver("build", "src/app.py")
    assert "note: taken from beside the script: deeper.py, helper.py, kit" in done.stderr
    first, largest, how = done.stdout.splitlines()
    assert first.startswith("dist/app: ") and ", Python 3." in first and "needs glibc 2." in first
    assert largest.split()[:2] == ["largest", "python"] and how.split() == ["run", "it", "dist/app"]
    assert run(tmp_path / "dist/app", "word").stdout == "deep part word False click\n"
    # Nothing is written into the sources.
    assert sorted(path.name for path in (tmp_path / "src").iterdir()) == ["app.py", "deeper.py", "helper.py", "kit", "unused.py"]


def test_the_driver_and_the_chain_make_the_same_bytes(driver, pyox, host, tmp_path):
    script(tmp_path)
    driver("build", "app.py", "--python", f"host:{host.python}")
    parts = ("deeper.py", "helper.py", "kit")
    chained = pyox.build(tmp_path, host, tmp_path / "app.py", *(tmp_path / part for part in parts), "--optimize", "1", name="chained")
    pyox("snapshot", chained, "-o", tmp_path / "fast")
    assert (tmp_path / "dist/app").read_bytes() == (tmp_path / "fast").read_bytes()
    driver("build", "app.py", "--python", f"host:{host.python}", "--snapshot", "none")
    assert (tmp_path / "dist/app").read_bytes() == chained.read_bytes()


def test_a_new_application_in_three_commands(driver, tmp_path):
    assert "cd demo && pyox run" in driver("init", "demo").stdout
    demo = tmp_path / "demo"
    driver("build", cwd=demo)
    assert run(demo / "dist/demo").stdout.startswith("Hello from demo, Python 3.")
    source = demo / "src/demo/__init__.py"
    source.write_text(source.read_text().replace("Hello", "Goodbye"))
    assert driver("run", "--", "argument", cwd=demo).stdout.startswith("Goodbye from demo")
    write(demo / "dist/notes", "not ours\n")
    assert driver("clean", cwd=demo).stdout == f"{demo}/dist/demo: removed\n"
    assert [path.name for path in (demo / "dist").iterdir()] == ["notes"]
    done = driver("init", "demo", check=False)
    assert done.returncode == 2 and "demo: expected a name that is free" in done.stderr


def test_an_executable_with_a_snapshot(driver, source, tmp_path):
    """Objects of a snapshot live for ever."""
    write(tmp_path / "fast.py", "import json, sys\nprint(json.dumps(sys.argv[1:]), sys.getrefcount(sys) > 1 << 30)\n")
    driver("build", "fast.py", "--python", "source@3.13")
    assert run(tmp_path / "dist/fast", "a").stdout == '["a"] True\n'
    driver("build", "fast.py", "--python", "source@3.13", "--snapshot", "none")
    assert run(tmp_path / "dist/fast", "b").stdout == '["b"] False\n'
    write(tmp_path / "pyox.toml", 'python = ["source@3.13"]\npreload = ["json"]\n[programs]\nfast = "fast.py"\n')
    driver("build")
    assert run(tmp_path / "dist/fast", "c").stdout == '["c"] True\n'
    assert "json" in json.loads(driver("inspect", "--json", "dist/fast").stdout)["snapshot"]["modules"]
    write(tmp_path / "pyox.toml", 'python = ["source@3.13"]\npreload = ["nosuch"]\n[programs]\nfast = "fast.py"\n')
    done = driver("build", check=False)
    assert done.returncode == 2 and "nosuch" in done.stderr
    # What was there is there.
    assert run(tmp_path / "dist/fast", "d").stdout == '["d"] True\n'


def test_every_shape_begins_with_a_snapshot(driver, shared, tmp_path):
    """A portable executable too: nobody has to ask for it, and one can ask for none."""
    write(tmp_path / "fast.py", "import sys\nprint(sys.getrefcount(sys) > 900_000_000)\n")
    write(tmp_path / "pyox.toml", f'python = ["{shared.spec}"]\nmode = "portable"\n[programs]\nfast = "fast.py"\n')
    driver("build")
    assert run(tmp_path / "dist/fast").stdout == "True\n"
    driver("build", "--snapshot", "none")
    assert run(tmp_path / "dist/fast").stdout == "False\n"


def test_a_snapshot_with_the_applications_modules(driver, source, tmp_path):
    write(tmp_path / "fast.py", "import mine, sys\nprint(sys.getrefcount(mine) > 1 << 30)\n")
    write(tmp_path / "mine.py", "import json, other\n")
    write(tmp_path / "other.py", "")
    driver("build", "fast.py", "--python", "source@3.13", "--snapshot=application")
    assert run(tmp_path / "dist/fast").stdout == "True\n"
    driver("snapshot", "dist/fast", "--learn", "fast.profile")
    settings = 'python = ["source@3.13"]\nsnapshot = "application"\nprofile = "fast.profile"\n{}[programs]\nfast = "fast.py"\n'

    def modules():
        return {"json", "mine", "other"} & set(json.loads(driver("inspect", "--json", "dist/fast").stdout)["snapshot"]["modules"])

    write(tmp_path / "pyox.toml", settings.format(""))
    driver("build")
    assert modules() == {"json", "mine", "other"}
    # What the profile says has changed.
    write(tmp_path / "fast.profile", "other\n")
    driver("build")
    assert modules() == {"other"}
    write(tmp_path / "pyox.toml", settings.format('preload = ["json"]\nno-preload = ["other"]\n'))
    driver("build")
    assert modules() == {"json"}
    write(tmp_path / "pyox.toml", settings.replace('"application"', '"all"').format(""))
    done = driver("build", check=False)
    assert done.returncode == 2 and "expected one of interpreter, stdlib, application, got `all`" in done.stderr


def test_a_folder_with_a_pyox_toml(driver, tmp_path):
    write(tmp_path / "tool/main.py", "import sys, other; print(sys.argv[1:], other.VALUE)\n")
    write(tmp_path / "tool/other.py", "VALUE = 7\n")
    write(tmp_path / "kit/__init__.py", "def f(): print('f of kit')\n")
    write(tmp_path / "pyox.toml", 'apps = ["kit"]\ncompress = false\n[programs]\none = "tool/main.py"\ntwo = "kit:f"\n')
    driver("build")
    assert run(tmp_path / "dist/one", "a").stdout == "['a'] 7\n"
    assert run(tmp_path / "dist/two").stdout == "f of kit\n"


def test_the_stages_by_their_short_names(driver, host, tmp_path):
    write(tmp_path / "app.py", "print('by stages')\n")
    driver("fetch", f"host:{host.python}", "-o", "dist.json")
    driver("collect", "-d", "dist.json", "app.py", "-o", "app.json")
    driver("pack", "app.json", "-o", "app.blob")
    driver("link", "app.blob", "-o", "app")
    assert run(tmp_path / "app").stdout == "by stages\n"
    assert "runs          a script" in driver("inspect", "app").stdout


def test_what_is_there(driver):
    done = driver("doctor")
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["ok"] * 4
    assert "runners" in driver("cache").stdout


PROJECT = '[project]\nname = "app"\nversion = "1"\n'
BAD = {
    "broken TOML": ({"pyproject.toml": "[project\nname = 1\n"}, ["build"], "pyproject.toml:1:9: "),
    "a value of another type": ({"pyproject.toml": '[project]\nname = ["a"]\n'}, ["build"], "pyproject.toml:2:8: "),
    "an unknown setting": ({"pyproject.toml": PROJECT + "[tool.pyox]\ncompres = true\n"}, ["build"], "expected a setting that is known, got `compres`"),
    "a setting of another type": ({"pyox.toml": "optimize = 'much'\n"}, ["build"], "pyox.toml: [pyox.toml]: "),
    "no programs": ({"pyox.toml": "optimize = 1\n"}, ["build"], "expected [programs] with what runs, found none"),
    "no project table": ({"pyproject.toml": "[tool.other]\n"}, ["build"], "expected a table [project]"),
    "an extra without a project": ({"pyox.toml": "[programs]\none = 'm.py'\n"}, ["build", "--extra", "x"], "expected a pyproject.toml that has `x`, got a pyox.toml"),
    "no project": ({}, ["build"], "expected a pyproject.toml, a pyox.toml or a pyoxidizer.toml in this folder, found none"),
    "no script": ({}, ["build", "absent.py"], "absent.py: no such file or directory"),
    "an unknown extra": ({"pyproject.toml": PROJECT}, ["build", "--extra", "x"], "[project.optional-dependencies]: expected `x`"),
    "an unknown group": ({"pyproject.toml": PROJECT}, ["build", "--group", "x"], "[dependency-groups]: expected `x`"),
    "a group in itself": ({"pyproject.toml": PROJECT + '[dependency-groups]\na = [{ include-group = "a" }]\n'}, ["build", "--group", "a"], "`a` includes itself"),
    "an unknown program": ({"pyproject.toml": PROJECT + '[project.scripts]\none = "app:main"\n'}, ["build", "--program", "on"], "on: expected a program of the project"),
    "no Python that will do": ({"app.py": '# /// script\n# requires-python = ">=3.99"\n# ///\n'}, ["build", "app.py"], "host: expected Python >=3.99 (requires-python), found 3."),
    "metadata that does not parse": ({"app.py": "# /// script\n# dependencies = [\n# ///\n"}, ["build", "app.py"], "app.py:2:"),
    "two blocks of metadata": ({"app.py": "# /// script\n# ///\n\n# /// script\n# ///\n"}, ["build", "app.py"], "app.py:4: expected one block of metadata"),
    "a backend that fails": (
        {"pyproject.toml": PROJECT + '[build-system]\nrequires = []\nbuild-backend = "own"\nbackend-path = ["."]\n', "own.py": "raise ImportError('of the backend')\n"},
        ["build"],
        "ImportError: of the backend",
    ),
    "a name that is none": ({}, ["init", "2nd!"], "expected a name of letters, digits"),
    "an unknown command": ({}, ["bild"], "expected a command that is known, got `bild`"),
    "one file for two programs": (
        {"pyproject.toml": PROJECT + '[project.scripts]\none = "app:main"\ntwo = "app:main"\n'},
        ["build", "-o", "both"],
        "--output: expected one program, got 2",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line(driver, tmp_path, case):
    files, command, said = BAD[case]
    for name, text in files.items():
        write(tmp_path / name, text)
    done = driver(*command, check=False)
    errors = [line for line in done.stderr.splitlines() if ": error: " in line]
    assert done.returncode == 2 and len(errors) == 1, done.stderr
    assert said in errors[0] and len(errors[0]) < 400 and "panicked" not in done.stderr
    assert not (tmp_path / "dist").exists()


def test_what_has_not_changed_is_not_made_again(driver, tmp_path):
    write(tmp_path / "app.py", "import part\nprint('one', part.VALUE, __debug__)\n")
    write(tmp_path / "part.py", "VALUE = 1\n")
    app = tmp_path / "dist/app"

    def build(*options):
        """Whether the executable was made, and what it says."""
        before = making(app)
        driver("build", "app.py", *options)
        return making(app) != before, run(app).stdout

    assert build() == (True, "one 1 True\n")
    assert build() == (False, "one 1 True\n")
    write(tmp_path / "part.py", "VALUE = 2\n")
    assert build() == (True, "one 2 True\n")
    write(tmp_path / "app.py", "# /// script\n# [tool.pyox]\n# optimize = 1\n# ///\nimport part\nprint('one', part.VALUE, __debug__)\n")
    assert build() == (True, "one 2 False\n")
    assert build("--dynamic")[0] and not build("--dynamic")[0]
    # Somebody else's file in its place, and none.
    app.write_text("#!/bin/sh\necho other\n")
    assert build() == (True, "one 2 False\n") and build() == (False, "one 2 False\n")
    app.unlink()
    assert build() == (True, "one 2 False\n")


def test_windows_come_where_they_are_wanted(pyox, host, tmp_path):
    """tkinter, and with it Tcl, Tk and X11."""

    def taken(code, *options):
        write(tmp_path / "app.py", code)
        manifest = json.loads(pyox.manifest(tmp_path, host, tmp_path / "app.py", *options).read_text())
        names = {resource["name"] for resource in manifest["resources"]}
        return {name for name in names if name.startswith("turtle") or any(part in name for part in ("tkinter", "libtk", "libtcl", "libX11"))}, manifest

    nothing, manifest = taken("print('no window')\n")
    assert nothing == set()
    reasons = {entry["name"]: entry["reason"] for entry in manifest["excluded"]}
    assert reasons["tkinter.*"] == "nothing that is collected imports it; --include tkinter takes it"
    for code, options in (("import tkinter\n", ()), ("print(1)\n", ("--include", "tkinter")), ("def f():\n    from turtle import forward\n", ())):
        found, _ = taken(code, *options)
        assert {"tkinter", "tkinter.ttk", "_tkinter", "turtle"} <= found and any("libtk" in name for name in found), code
    assert taken("print(1)\n", "--run-code", "import tkinter.ttk")[0]


def test_collect_honours_a_scripts_metadata_too(pyox, host, tmp_path):
    script(tmp_path)
    manifest = pyox.manifest(tmp_path, host, tmp_path / "app.py")
    assert '"named in app.py"' in manifest.read_text()
    write(tmp_path / "old.py", '# /// script\n# requires-python = "<3"\n# ///\n')
    done = pyox("collect", "-d", host.document, tmp_path / "old.py", check=False)
    assert done.returncode == 2 and "old.py: requires-python: expected Python <3, got 3." in done.stderr


def test_an_index_of_the_script_is_asked(driver, tmp_path):
    write(tmp_path / "app.py", '# /// script\n# dependencies = ["absent-from-here"]\n# [tool.uv]\n# no-index = true\n# find-links = ["wheels"]\n# ///\n')
    (tmp_path / "wheels").mkdir()
    done = driver("build", "app.py", check=False)
    assert done.returncode == 2 and "absent-from-here" in done.stderr


def test_executables_are_written_whole(driver, tmp_path):
    write(tmp_path / "app.py", "print(1)\n")
    driver("build", "app.py", "-o", "out/deep/app")
    mode = (tmp_path / "out/deep/app").stat().st_mode
    assert mode & stat.S_IXUSR and os.listdir(tmp_path / "out/deep") == ["app"]
