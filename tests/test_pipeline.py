"""The chain as a whole: its commands as the README shows them, and what they need when they run again."""

import json
import os
import shutil
import subprocess

import pytest

from chain import REPOSITORY, Chain, ask, require, run, write

HELLO = REPOSITORY / "examples/hello.py"


def shell(pyox, line, cwd, **environment):
    """Runs a shell line with the tools on PATH, failing where any part of a pipe fails."""
    environment = pyox.environment | {"PATH": f"{pyox.folder}:{os.environ['PATH']}"} | environment
    return run("bash", "-o", "pipefail", "-c", line, cwd=cwd, env=environment)


def test_hello_through_pipes(pyox, distribution, tmp_path):
    """On each distribution: three installed minor versions at least, and two built from source."""
    line = "pyox-fetch $SPEC | pyox-collect $APP | pyox-pack | pyox-link -o hello && ./hello"
    done = shell(pyox, line, tmp_path, SPEC=distribution.spec, APP=str(HELLO))
    assert done.stdout == "Hello, world\n"
    assert [path.name for path in tmp_path.iterdir()] == ["hello"]
    # Which shape was taken, and why, is all that is said.
    assert done.stderr.count("\n") == 1 and any(shape in done.stderr for shape in ("static", "dynamic", "portable"))


def test_the_first_distribution_that_can_be_had(pyox, tmp_path):
    done = shell(
        pyox,
        "pyox-fetch --offline cpython@3.13 host | pyox-collect $APP | pyox-pack | pyox-link -o hello && ./hello",
        tmp_path,
        APP=str(HELLO),
    )
    assert done.stdout == "Hello, world\n"
    assert "cpython@3.13" in done.stderr and "host: taken" in done.stderr


def test_an_edit_between_two_stages(pyox, source, tmp_path):
    require("jq")
    shell(pyox, "pyox-collect -d $DIST $APP -o manifest.json", tmp_path, DIST=source.document, APP=str(HELLO))
    edit = """jq '.run = {mode: "code", code: "import sys; print(sys.flags.utf8_mode, 6 * 7)"}
              | .preconfig.utf8_mode = 1' manifest.json | pyox-pack -o app.blob"""
    shell(pyox, edit, tmp_path)
    shell(pyox, "pyox-link app.blob -d $DIST --static -o app", tmp_path, DIST=source.document)
    assert run(tmp_path / "app").stdout == "1 42\n"


def test_another_application_needs_no_compiler(pyox, distribution, tmp_path):
    """After one link for a distribution, nothing but the tools and the distribution's python is run."""
    first = write(tmp_path / "first.py", "print('first')")
    assert run(pyox.build(tmp_path, distribution, first, name="first")).stdout == "first\n"
    nowhere = tmp_path / "empty"
    nowhere.mkdir()
    second = write(tmp_path / "second.py", "import json; print(json.dumps({'second': 2}))")
    bare = pyox.with_environment(PATH=str(nowhere))
    assert run(bare.build(tmp_path, distribution, second, name="second")).stdout == '{"second": 2}\n'


def test_a_link_without_compiler_says_what_is_missing(pyox, host, tmp_path):
    blob = pyox.blob(tmp_path, host, HELLO)
    bare = pyox.with_environment(PATH=str(tmp_path / "nothing"), PYOX_CACHE_DIR=str(tmp_path / "cache"))
    done = bare("link", blob, "-d", host.document, "-o", tmp_path / "app", check=False)
    assert done.returncode == 2
    assert "hint:" in done.stderr and "C compiler" in done.stderr
    assert not (tmp_path / "app").exists()


def test_a_rebuild_after_an_edit_compiles_one_file(pyox, source, tmp_path):
    """Counted, not timed: the bytecode cache grows by one file."""
    own = pyox.with_environment(PYOX_CACHE_DIR=str(tmp_path / "cache"))
    script = write(tmp_path / "app.py", "print(1)")
    # The runner need not be linked again.
    pyox.build(tmp_path, source, script)
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache/runners").symlink_to(pyox_cache(pyox) / "runners")
    assert run(own.build(tmp_path, source, script)).stdout == "1\n"
    before = set((tmp_path / "cache/bytecode").rglob("*"))
    script.write_text("print(2)\n")
    assert run(own.build(tmp_path, source, script)).stdout == "2\n"
    added = [path for path in (tmp_path / "cache/bytecode").rglob("*") if path not in before and path.is_file()]
    assert len(added) == 1


def pyox_cache(pyox):
    """The folder of the cache, as crates/pyox-cli finds it."""
    from pathlib import Path

    environment = pyox.environment
    if "PYOX_CACHE_DIR" in environment:
        return Path(environment["PYOX_CACHE_DIR"])
    return Path(environment.get("XDG_CACHE_HOME") or Path(environment["HOME"], ".cache")) / "pyox"


@pytest.mark.timeout(900)
def test_installed_tools_need_no_source_tree(source, host, tmp_path):
    """What `make install` writes, moved elsewhere, makes executables while the source tree is hidden."""
    require("make", "unshare")
    run("make", "-C", REPOSITORY, "install", "PREFIX=/prefix", f"DESTDIR={tmp_path}/staged", env=dict(os.environ), timeout=800)
    prefix = tmp_path / "installed here"
    shutil.copytree(tmp_path / "staged/prefix", prefix)
    shutil.rmtree(tmp_path / "staged")
    assert {path.name for path in (prefix / "bin").iterdir()} >= {"pyox", *(f"pyox-{s}" for s in ("fetch", "collect", "pack", "link", "inspect"))}
    for path in ("man/man1/pyox-link.1", "bash-completion/completions/pyox", "zsh/site-functions/_pyox", "fish/vendor_completions.d/pyox.fish"):
        assert "pyox" in (prefix / "share" / path).read_text()

    script = write(tmp_path / "app.py", "import sys; print('installed', *sys.version_info[:2])")
    lines = " && ".join(
        f"pyox-collect -d '{d.document}' app.py | pyox-pack | pyox-link -q -o app{n} && ./app{n} && pyox-inspect --check app{n}"
        for n, d in enumerate((source, host))
    )
    # In a mount namespace of its own, an empty folder lies over the source tree. The cache is new, so that runners are linked.
    hidden = f'mount -t tmpfs none "{REPOSITORY}" && ! test -e "{REPOSITORY}/Makefile" && {lines}'
    environment = Chain(prefix / "bin").environment | {
        "PATH": f"{prefix}/bin:/usr/bin:/bin",
        "PYOX_CACHE_DIR": str(tmp_path / "cache"),
    }
    assert script.exists()
    namespace = ("unshare", "--mount") if os.geteuid() == 0 else ("unshare", "--mount", "--map-root-user")
    done = run(*namespace, "bash", "-o", "pipefail", "-ec", hidden, cwd=tmp_path, env=environment)
    for each in (source, host):
        assert "installed {} {}\n".format(*each.minor) in done.stdout


def test_artifacts_link_by_their_plan(pyox, source, tmp_path):
    """`--emit artifacts`: the plan's own command line, as the specification has it, makes a runner."""
    require("cc")
    blob = pyox.blob(tmp_path, source, HELLO)
    out = tmp_path / "artifacts"
    pyox("link", blob, "-d", source.document, "--static", "--emit", "artifacts", out)
    plan = json.loads((out / "link-plan.json").read_text())
    assert (out / "app.blob").read_bytes() == blob.read_bytes()

    archives = [archive["path"] for archive in plan["archives"]]
    named = [plan[part]["path"] for part in ("runtime", "libpython")]
    line = [plan["driver"], *plan["arguments"], *named, "-Wl,--start-group", *archives]
    line += [f"-l{library}" for library in plan["libraries"]] + ["-Wl,--end-group", "-o", "runner"]
    run(*line, cwd=out)
    # It starts, and says that no blob has joined it yet.
    done = run(out / "runner", check=False)
    assert done.returncode == 2 and "expected a blob" in done.stderr


def test_a_host_of_each_kind_is_its_own_python(probe, distribution):
    said = ask(probe, "import sys, json; print(json.dumps([sys.version, sys.implementation.cache_tag]))")
    code = "import sys, json; print(json.dumps([sys.version, sys.implementation.cache_tag]))"
    assert said == json.loads(distribution.run_python("-c", code).stdout)


def test_the_todo_example(pyox, source, tmp_path):
    folder = REPOSITORY / "examples/todo"
    app = pyox.build(tmp_path, source, "-r", folder / "requirements.txt", folder / "todo", "--run-module", "todo")
    done = run(app, "--file", tmp_path / "list.db", "--done", "one", "one", "two")
    assert "to do" in done.stdout and "✓" in done.stdout
    again = run(app, "--file", tmp_path / "list.db", "three")
    assert [line for line in again.stdout.splitlines() if "one" in line or "three" in line].__len__() == 2
    assert "Usage: todo" in run(app, "--help").stdout


def test_a_stage_that_dies_ends_the_chain(pyox, source, tmp_path):
    """A producer that fails leaves an error of each later stage and no file."""
    line = "pyox-fetch host:/nowhere | pyox-collect $APP | pyox-pack | pyox-link -o app"
    done = subprocess.run(
        ["bash", "-c", f"{line}; echo ${{PIPESTATUS[@]}}"],
        cwd=tmp_path,
        env=pyox.environment | {"PATH": f"{pyox.folder}:{os.environ['PATH']}", "APP": str(HELLO)},
        capture_output=True,
        text=True,
    )
    assert done.stdout == "2 2 2 2\n"
    for stage in ("fetch", "collect", "pack", "link"):
        assert f"pyox-{stage}: error: " in done.stderr
    assert list(tmp_path.iterdir()) == []
