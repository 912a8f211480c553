"""Rust programs with Python in them: new ones, existing ones, and those in `examples/rust`, built by Cargo."""

import os
import re
import shutil
import tempfile
import zlib
from pathlib import Path

import pytest

from chain import REPOSITORY, run, write

TARGET = "x86_64-unknown-linux-gnu"
# One folder for all runs, so that what Cargo keeps of a program does not pile up; outside, where no workspace is around it.
PROJECTS = Path(tempfile.gettempdir(), f"pyox-programs-{zlib.crc32(bytes(REPOSITORY)):08x}")


@pytest.fixture(scope="module")
def cargo(pyox):
    """Runs Cargo in a folder, as a user with pyox on PATH would."""

    def cargo(folder, *arguments, check=True, **changes):
        environment = dict(os.environ) | pyox.environment
        environment |= {"PATH": f"{pyox.folder}:{os.environ['PATH']}", "CARGO_TARGET_DIR": str(REPOSITORY / "target/examples")}
        environment = {name: value for name, value in (environment | changes).items() if value is not None}
        return run("cargo", *arguments, cwd=folder, env=environment, check=check, timeout=600)

    return cargo


@pytest.fixture(scope="module")
def program(pyox, source):
    """A new program, as `pyox init --rust` makes it."""
    shutil.rmtree(PROJECTS / "my-program", ignore_errors=True)
    PROJECTS.mkdir(parents=True, exist_ok=True)
    said = run(pyox.folder / "pyox", "init", "--rust", "my-program", "--python", source.spec, cwd=PROJECTS, env=pyox.environment).stdout
    assert said.splitlines()[-1] == "next: cd my-program && cargo run"
    assert all(file in said for file in ("Cargo.toml", "src/main.rs", "python/my_program/__init__.py", ".cargo/config.toml", "pyox/"))
    return PROJECTS / "my-program"


def test_a_new_program_runs_and_follows_its_python(cargo, program, source):
    assert cargo(program, "run", "--quiet").stdout == f"Hello from my_program, Python {source.version}\n"
    assert "Compiling" not in cargo(program, "build").stderr
    package = program / "python/my_program/__init__.py"
    package.write_text(package.read_text().replace("Hello", "Good day"))
    assert cargo(program, "run", "--quiet").stdout.startswith("Good day from my_program")


def test_its_python_is_inspected_like_that_of_any_executable(cargo, pyox, program):
    cargo(program, "build")
    built = REPOSITORY / "target/examples/debug/my-program"
    assert "my_program" in pyox("inspect", "list", built).stdout
    pyox("inspect", "--check", built)


def test_make_drives_the_stages(cargo, pyox, program):
    # Without pyox: what Cargo needs has been made before.
    bare = {"PATH": os.environ["PATH"], "PYOX": "/no/such/pyox", "MAKEFLAGS": "", "MAKELEVEL": "0"}
    stages = {"PATH": f"{pyox.folder}:{os.environ['PATH']}", "MAKEFLAGS": "", "MAKELEVEL": "0"}
    run("make", "build/artifacts/cargo.txt", cwd=program, env=dict(os.environ) | pyox.environment | stages, timeout=600)
    done = cargo(program, "run", "--quiet", **bare, PYOX_ARTIFACTS=str(program / "build/artifacts"))
    assert "from my_program, Python" in done.stdout


def test_a_static_program_needs_nothing(cargo, program):
    cargo(program, "build", "--quiet", "--target", TARGET, RUSTFLAGS="-C target-feature=+crt-static")
    built = REPOSITORY / f"target/examples/{TARGET}/debug/my-program"
    assert "INTERP" not in run("readelf", "--program-headers", built).stdout
    assert "from my_program, Python" in run(built).stdout


def test_what_is_missing_is_said(cargo, program):
    done = cargo(program, "build", check=False, PYOX="/no/such/pyox")
    assert "/no/such/pyox: No such file or directory (os error 2): put pyox on PATH, name it in PYOX" in done.stderr
    done = cargo(program, "build", check=False, PYOX_ARTIFACTS="/no/such")
    assert "/no/such/cargo.txt: No such file or directory" in done.stderr
    settings = program / "pyox.toml"
    text = settings.read_text()
    settings.write_text(text.replace("apps", "aps"))
    done = cargo(program, "build", check=False)
    settings.write_text(text)
    assert "expected a setting that is known, got `aps`" in done.stderr and "did you mean `apps`?" in done.stderr


def test_pyembed_for_another_python_does_not_compile(cargo, program):
    config = program / "pyox/pyembed/abi/cp311.txt"
    done = cargo(program, "build", check=False, PYO3_CONFIG_FILE=str(config), CARGO_TARGET_DIR=str(REPOSITORY / "target/examples/other"))
    assert "pyembed was compiled for another Python than 3.13: PYO3_CONFIG_FILE names the one that it is for" in done.stderr


def test_an_existing_program_is_prepared(cargo, pyox, source):
    old = PROJECTS / "old"

    def add():
        said = run(pyox.folder / "pyox", "add", "--python", source.spec, cwd=old, env=pyox.environment).stdout
        return said.splitlines()

    shutil.rmtree(old, ignore_errors=True)
    PROJECTS.mkdir(parents=True, exist_ok=True)
    cargo(PROJECTS, "new", "--quiet", "--vcs", "none", "old")
    manifest = old / "Cargo.toml"
    manifest.write_text(f"# mine\n{manifest.read_text()}libc = \"0.2\" # mine too\n")
    write(old / "build.rs", "fn main() {}\n")
    made, added, asked, _ = add()
    assert made == ".: made pyox/, .cargo/config.toml, pyox.toml, python/old/__init__.py"
    assert added == ".: added the dependency pyembed to Cargo.toml"
    assert asked.startswith(".: build.rs is yours: add `#[path = ")
    text = manifest.read_text()
    assert text.startswith("# mine\n[package]") and 'libc = "0.2" # mine too\npyembed = { path = "pyox/pyembed" }\n' in text
    write(old / "build.rs", '#[path = "pyox/build.rs"]\nmod python;\nfn main() {\n    python::link();\n}\n')
    shutil.copy(REPOSITORY / "tools/pyox/src/init/rust/main.rs", old / "src/main.rs")
    assert add() == [".: nothing to do", "next: cargo build"]
    assert manifest.read_text() == text
    assert cargo(old, "run", "--quiet").stdout == f"Hello from old, Python {source.version}\n"
    (old / "pyox/pyembed/src/lib.rs").write_text("")
    assert add()[0] == ".: brought pyox/ up to date"


@pytest.mark.parametrize("name", ["1st", "with.dot", "größe", "-x"])
def test_a_name_that_is_no_crates(pyox, tmp_path, name):
    done = run(pyox.folder / "pyox", "init", "--rust", "--", name, cwd=tmp_path, env=pyox.environment, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"pyox: error: {name}: expected a name of letters, digits, `-`, `_`")
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_prepared(pyox, tmp_path):
    def add(folder):
        done = run(pyox.folder / "pyox", "add", folder, cwd=tmp_path, env=pyox.environment, check=False)
        assert done.returncode == 2
        return done.stderr.splitlines()[0]

    assert add(tmp_path) == f"pyox: error: {tmp_path}: expected a Cargo.toml or a pyproject.toml in this folder, found neither"
    write(tmp_path / "Cargo.toml", "[workspace]\n")
    assert add(tmp_path) == f"pyox: error: {tmp_path}/Cargo.toml: expected a [package], found none"
    write(tmp_path / "Cargo.toml", "[package\n")
    assert re.match(rf"pyox: error: {tmp_path}/Cargo.toml:1:9: ", add(tmp_path))


def test_an_existing_python_project_is_prepared_once(pyox, tmp_path):
    write(tmp_path / "pyproject.toml", '[project]\nname = "old" # mine\nversion = "1"\n')
    write(tmp_path / ".gitignore", "/build/")
    said = run(pyox.folder / "pyox", "add", cwd=tmp_path, env=pyox.environment).stdout.splitlines()
    assert said == [".: added [tool.pyox] to pyproject.toml", ".: added /dist/ to .gitignore", "next: pyox build"]
    assert (tmp_path / ".gitignore").read_text() == "/build/\n/dist/\n"
    assert '[project]\nname = "old" # mine\n' in (tmp_path / "pyproject.toml").read_text()
    said = run(pyox.folder / "pyox", "add", cwd=tmp_path, env=pyox.environment).stdout.splitlines()
    assert said == [".: nothing to do", "next: pyox build"]


def test_the_examples(cargo, source):
    cargo(REPOSITORY / "examples/rust", "build", "--quiet", "--locked")
    programs = REPOSITORY / "target/examples/debug"
    done = run(programs / "repl", input="orbits.step(2, 0.5)\nexit(3)\n")
    assert done.stdout.replace(">>> ", "") == f"Python {source.version} in Rust; `orbits` is there\n0.5\nleft with 3\n"
    x = 0.5
    for _ in range(1000):
        x = 3.9 * x * (1 - x)
    done = run(programs / "numbers")
    assert done.stdout == f"{x:.6f}\nTypeError: can't multiply sequence by non-int of type 'float'\n"
    assert re.fullmatch(r"0\.5\d\d\n", run(programs / "native").stdout)
