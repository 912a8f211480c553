"""LLVM bitcode: on a CPython that clang has built with link-time optimisation, as python-build-standalone's optimised ones are.

`make test-lto` runs it, with clang and LLD installed; the first run builds CPython. `make test` has a small object in
place of all that, see test_releases.py.
"""

import json
import os
import re
import shutil
from pathlib import Path

import pytest

from chain import HANDSHAKE, REPOSITORY, cache_folder, certify, compare, require, run, write
from test_releases import digest

# What makes the archive's bitcode native, or would.
PROGRAMS = ("clang", "ld.lld", "rustc")
APPLICATION = HANDSHAKE + """
import hashlib, sqlite3, ssl, sys

print("hello", sys.version_info[:3], sum(range(10)))
print(sqlite3.connect(":memory:").execute("select 6 * 7, sqlite_version()").fetchone(), hashlib.sha3_256(b"a").hexdigest()[:8])
print(ssl.OPENSSL_VERSION, handshake(sys.argv[1], ssl.create_default_context(cafile=sys.argv[2])))
"""


def path_with(folder, *wanted):
    """A PATH that has what this one has, but of the LLVM linkers those alone that `wanted` brings."""
    folder.mkdir()
    for entry in os.environ["PATH"].split(":"):
        for program in Path(entry).iterdir() if Path(entry).is_dir() else ():
            name, link = program.name, folder / program.name
            is_llvm = name.startswith(("clang", "lld", "ld.lld", "rust"))
            if (not is_llvm or name in wanted) and not link.is_symlink():
                link.symlink_to(program)
    return str(folder)


@pytest.fixture
def archive(distribution):
    """The archive that the distribution was unpacked from."""
    sha256 = Path(distribution.json["root"]).parent.name
    return next(path for path in (cache_folder() / "source").glob("cpython-*-lto-*.tar.zst") if digest(path) == sha256)


@pytest.fixture
def fetch(pyox, tmp_path):
    """Fetches an archive with some of the linkers, into a cache that knows nothing; with the chain of tools that can go on with it."""

    def fetch(archive, *wanted):
        # What rustup chooses a toolchain by is the working folder's.
        chain = pyox.with_environment(PATH=path_with(tmp_path / "path", *wanted), PYOX_CACHE_DIR=str(tmp_path / "cache"))
        done = chain("fetch", "-v", archive, "-o", tmp_path / "dist.json", cwd=REPOSITORY, timeout=900)
        return chain, json.loads((tmp_path / "dist.json").read_text()), done.stderr

    return fetch


def build(chain, folder, *link):
    """The application, and what was said when it was linked."""
    run(chain.tool("collect"), "-d", "dist.json", write(folder / "app.py", APPLICATION), "-o", "app.json", cwd=folder, env=chain.environment)
    run(chain.tool("pack"), "app.json", "-d", "dist.json", "-o", "app.blob", cwd=folder, env=chain.environment)
    said = run(chain.tool("link"), "app.blob", "-d", "dist.json", *link, "-o", "app", cwd=folder, env=chain.environment).stderr
    return folder / "app", said


def test_what_the_archive_holds(distribution):
    """Bitcode of clang's, and the document says so."""
    root = Path(distribution.json["root"])
    document = json.loads((root / "PYTHON.json").read_text())
    version = run("clang", "-dumpversion").stdout.strip()
    assert (document["build_options"], document["optimizations"]) == ("lto", "lto")
    info = document["build_info"]
    assert info["object_file_format"] == f"llvm-bitcode:{version}"
    own = [*info["core"]["objs"], *(path for (variant,) in info["extensions"].values() for path in variant["objs"])]
    assert len(own) > 200
    # One is written in assembly.
    assert [path for path in own if (root / path).read_bytes()[:4] != b"BC\xc0\xde"] == ["build/Python/asm_trampoline.o"]
    members = run("ar", "t", root / info["core"]["static_lib"]).stdout.split()
    assert len(members) > 200
    # The system's libraries are none.
    assert run("readelf", "--file-header", root / "build/lib/libz.a").returncode == 0
    # By default an LLVM linker of this machine was found, and the distribution's source is what it was asked for by.
    assert distribution.json["link"]["object_format"] == "elf" and distribution.json["source"] == distribution.spec


@pytest.mark.parametrize("program", PROGRAMS)
def test_each_llvm_linker_makes_it_native(distribution, archive, fetch, tmp_path, program):
    require(program)
    chain, document, said = fetch(archive, program)
    assert "native code was made of it by LLD " in said
    # The system's, which clang takes as well; Rust brings one of its own, of a newer LLVM than most systems have.
    system = re.search(r"LLD [\d.]+", run("ld.lld", "--version").stdout)[0]
    assert program == "rustc" or f"by {system}\n" in said
    link = document["link"]
    assert (link["static"], link["dynamic"], link["object_format"], link.get("reason")) == (True, True, "elf", None)
    certify(tmp_path, "localhost")
    for shape in ("static", "dynamic"):
        app, _ = build(chain, tmp_path, "--shape", shape)
        ours = compare(app, distribution.python, tmp_path / "app.py", tmp_path / "server.pem", tmp_path / "root.pem")
        assert ours.stdout.startswith("hello (3, ") and ours.stdout.endswith(" trusted\n")


def test_without_an_llvm_linker_there_is_nothing_to_link(distribution, archive, fetch, tmp_path):
    chain, document, _ = fetch(archive)
    link = document["link"]
    format = json.loads((Path(distribution.json["root"]) / "PYTHON.json").read_text())["build_info"]["object_file_format"]
    assert (link["static"], link["dynamic"], link["object_format"]) == (False, False, format)
    for shape in ((), ("--static",), ("--dynamic",), ("--shape", "portable")):
        with pytest.raises(AssertionError) as failed:
            build(chain, tmp_path, *shape)
        said = f"distribution: Python {distribution.version}: its objects are {format}, which the system's linker does not read\n"
        assert f"pyox-link: error: {said}pyox-link: hint: install LLD, " in str(failed.value)
        assert not (tmp_path / "app").exists()


def test_without_an_llvm_linker_the_shared_library_is_taken(distribution, fetch, tmp_path):
    """As python-build-standalone's archives have one, of the same objects."""
    root = tmp_path / "python"
    shutil.copytree(distribution.json["root"], root, symlinks=True)
    # Those that `source@…` has made native lie beside.
    for folder in (root / "build").glob("native-*"):
        shutil.rmtree(folder)
    minor = "{}.{}".format(*distribution.minor)
    name = f"libpython{minor}.so.1.0"
    static = root / json.loads((root / "PYTHON.json").read_text())["build_info"]["core"]["static_lib"]
    # The archive's own libraries are not for a shared one; the system has them as such.
    own = [root / f"build/lib/{path.name}" for path in sorted((root / "build/lib").glob("lib*.a")) if path.name.startswith(("libHacl", "libexpat", "libmpdec"))]
    system = ("ssl", "crypto", "z", "bz2", "lzma", "ffi", "sqlite3", "panelw", "ncursesw", "edit", "tinfo", "uuid", "m")
    run("clang", "-shared", "-fuse-ld=lld", "-Wl,--lto-O0", "-o", root / "install/lib" / name, f"-Wl,-soname,{name}", "-Wl,--whole-archive", static,
        "-Wl,--no-whole-archive", *own, *(f"-l{library}" for library in system), timeout=600)
    both = tmp_path / "both.tar.gz"
    run("tar", "-czf", both, "-C", tmp_path, "python", env=os.environ | {"GZIP": "-1"})
    shutil.rmtree(root)
    chain, document, _ = fetch(both)
    assert document["link"]["shared_libpython"]["path"] == f"install/lib/{name}"
    certify(tmp_path, "localhost")
    app, said = build(chain, tmp_path)
    assert said.startswith("pyox-link: note: portable: its objects are llvm-bitcode:")
    assert "which the system's linker does not read" in said
    ours = compare(app, distribution.python, tmp_path / "app.py", tmp_path / "server.pem", tmp_path / "root.pem")
    assert ours.stdout.endswith(" trusted\n")
