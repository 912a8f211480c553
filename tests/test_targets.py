"""What depends on the machine that an executable is for, and what does not: the distribution names it, all else follows.

Executables for another machine run in `tests/arm`.
"""

import json
import uuid

import pytest

from chain import REPOSITORY, Distribution, write

HERE, ARM = "x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu"
HELLO = REPOSITORY / "examples/hello.py"


def changed(distribution, path, **changes):
    """The distribution with other values in its document."""
    path.write_text(json.dumps(distribution.json | changes))
    return Distribution(path.name, path)


@pytest.fixture(scope="module")
def arm(source, tmp_path_factory):
    """A distribution without native files that says it is for another machine. Its Python runs here, as if by an emulator."""
    return changed(source, tmp_path_factory.mktemp("arm") / "arm.json", target=ARM)


@pytest.fixture
def foreign_program(tmp_path):
    """An executable for another machine, by its header, which nothing can run."""
    path = tmp_path / "bin/python3"
    path.parent.mkdir()
    program = bytearray((REPOSITORY / "target/release/pyox-link").read_bytes())
    # `e_machine`, by the ELF specification.
    program[18:20] = (183).to_bytes(2, "little")
    path.write_bytes(program)
    path.chmod(0o755)
    return path


def refused(done, *expected):
    assert done.returncode == 2, done
    for words in expected:
        assert words in done.stderr
    return done.stderr


def difference(pyox, one, other):
    """Names of facts, and of resources, that are not the same in both."""
    found = json.loads(pyox("inspect", "--json", "--diff", one, other, check=False).stdout)
    resources = [resource["name"] for key in ("added", "removed", "changed") for resource in found[key]]
    return [change["name"] for change in found["config"] + found["projects"]], resources


def test_the_target_decides_nothing_but_native_code(pyox, source, arm, probe_source, tmp_path):
    for name, distribution in (("here", source), ("there", arm)):
        pyox.blob(tmp_path, distribution, probe_source / "probe.py", probe_source / "shelf", "--with", "iniconfig==2.3.0", name=name)
    here, there = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("here", "there"))
    one, other = here.pop("distribution"), there.pop("distribution")
    assert (one["target"], other["target"]) == (HERE, ARM) and here == there
    ours, theirs = ((tmp_path / f"{name}.blob").read_bytes() for name in ("here", "there"))
    assert difference(pyox, tmp_path / "here.blob", tmp_path / "there.blob") == (["distribution"], [])
    # To the byte, but for that digest and the checksums over it.
    theirs = theirs.replace(other["sha256"].encode(), one["sha256"].encode())
    assert len(ours) == len(theirs)
    assert sum(a != b for a, b in zip(ours, theirs, strict=True)) <= 3 * 4 + 32


def test_a_python_of_this_machine_compiles_for_another(pyox, source, arm, distributions, foreign_program, tmp_path):
    # No run before has compiled it.
    script = write(tmp_path / "app.py", f"print('{uuid.uuid4()}')\n")
    there = changed(arm, tmp_path / "there.json", paths=source.json["paths"] | {"executable": str(foreign_program)})
    manifest, blob = pyox.manifest(tmp_path, there, script), tmp_path / "app.blob"
    said = refused(pyox("pack", manifest, "-d", there.document, "-o", blob, check=False), str(foreign_program))
    assert f"hint: it is for {ARM}: an emulator runs it, or --compile-with names a cpython {source.version} of this machine" in said
    for other in distributions:
        if other.version != source.version:
            done = pyox("pack", manifest, "-d", there.document, "--compile-with", other.python, "-o", blob, check=False)
            refused(done, f"{other.python}: ", "as the distribution says, got ")
    assert not blob.exists()
    pyox("pack", manifest, "-d", there.document, "--compile-with", source.python, "-o", blob)
    assert difference(pyox, blob, pyox.blob(tmp_path, source, script, name="here")) == (["distribution"], [])


def test_a_python_for_another_machine_is_asked_and_does_not_answer(pyox, foreign_program):
    said = refused(pyox("fetch", f"host:{foreign_program}", check=False), "expected a Python for x86_64, got one for aarch64, which does not run here: ")
    assert "hint: qemu-aarch64, registered with binfmt_misc, runs it" in said


def test_linking_follows_the_distribution(pyox, source, arm, tmp_path):
    here, there = (pyox.blob(tmp_path, distribution, HELLO, name=name) for name, distribution in (("here", source), ("there", arm)))
    empty, app = tmp_path / "empty", tmp_path / "app"
    done = pyox("link", there, "-d", arm.document, "--runtime", empty, "-o", app, check=False)
    refused(done, f"expected {ARM}/cp313/libpyembed_runner.a in one of {empty}", f"hint: build it with `make runtime TARGET={ARM}`")
    for blob, distribution, own, other in ((here, source, HERE, ARM), (there, arm, ARM, HERE)):
        done = pyox("link", blob, "-d", distribution.document, "--target", other, "-o", app, check=False)
        refused(done, f"{blob}: expected a blob for {other}, got one for {own}", "hint: ")
    assert not app.exists()
    pyox("link", here, "-d", source.document, "--target", HERE, "-o", app)


def test_native_code_for_another_machine_is_refused(pyox, host, tmp_path):
    there = changed(host, tmp_path / "there.json", target=ARM)
    done = pyox("collect", "-d", there.document, HELLO, "-o", tmp_path / "m.json", check=False)
    refused(done, "expected an extension module for aarch64, got one for x86_64")
