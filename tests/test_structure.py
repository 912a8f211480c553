"""What the parts may know of each other."""

import os
import re
import shutil

from chain import REPOSITORY, run


def tree(package, edges):
    cargo = os.environ.get("CARGO", "cargo")
    assert shutil.which(cargo), "cargo is not on PATH"
    done = run(cargo, "tree", "--locked", "-p", package, "-e", edges, "--prefix", "none", cwd=REPOSITORY, env=dict(os.environ))
    return {line.split()[0] for line in done.stdout.splitlines() if line.strip()}


def workspace():
    """The workspace's own packages."""
    manifests = [*REPOSITORY.glob("crates/*/Cargo.toml"), *REPOSITORY.glob("tools/*/Cargo.toml"), REPOSITORY / "distribution/Cargo.toml"]
    return {re.search(r'^name = "(.*)"', path.read_text(), re.MULTILINE)[1] for path in manifests}


def test_the_run_time_depends_on_no_build_time_crate():
    build_time = workspace() - {"pyox-blob", "pyox-private"}
    assert {"pyox-schema", "pyox-cli", "pyox-pack", "pyox-link"} <= build_time
    for package in ("pyembed", "pyembed-runner"):
        assert tree(package, "normal,build") & build_time == set()
    # Nor on what only the build time needs.
    assert tree("pyembed", "normal") & {"serde_json", "clap", "anyhow", "tar", "indicatif", "toml"} == set()


def test_the_blob_needs_little():
    assert tree("pyox-blob", "normal") & (workspace() - {"pyox-blob"}) == set()


def test_unsafe_code_has_its_places():
    """`pyembed/src/ffi/`, the C library's functions in `pyembed/src/files/`, what C calls, and files that tools map."""
    with_unsafe = set()
    for folder in ("crates", "tools", "pyembed", "distribution"):
        for path in (REPOSITORY / folder).rglob("*.rs"):
            if re.search(r"^[^/]*\bunsafe\b(?![-_])", path.read_text(), re.MULTILINE):
                with_unsafe.add(path.relative_to(REPOSITORY).as_posix())
    allowed = ("pyembed/src/ffi/", "pyembed/src/files/", "pyembed/c/", "pyembed/runner/src/lib.rs", "pyembed/examples/",
               "crates/pyox-stage/src/content.rs", "crates/pyox-cli/src/cut.rs")
    assert {path for path in with_unsafe if not path.startswith(allowed)} == set()
