"""Bad input that crosses stages, and runs that end in the middle.

What a single tool refuses is held by its own tests; here documents travel through the real chain.
"""

import json
import os
import re
import resource
import shutil
import signal
import subprocess
import time

import pytest

from chain import REPOSITORY, run, write

HELLO = REPOSITORY / "examples/hello.py"


def refused(done, tool, *words):
    """One line of error, an optional hint, nothing on stdout, status 2."""
    assert done.returncode == 2 and done.stdout == "", done
    lines = [line for line in done.stderr.splitlines() if not line.startswith(f"pyox-{tool}: note: ")]
    assert re.match(rf"pyox-{tool}: error: [^ ]", lines[0]) and not lines[0].endswith("."), lines
    assert len(lines) == 1 or lines[1].startswith(f"pyox-{tool}: hint: "), lines
    assert "panicked" not in done.stderr and "RUST_BACKTRACE" not in done.stderr
    for word in words:
        assert word in done.stderr, (word, done.stderr)


@pytest.fixture(scope="module")
def products(pyox, source, tmp_path_factory):
    """A document of each stage."""
    folder = tmp_path_factory.mktemp("products")
    script = write(folder / "app.py", "print('ran')\n")
    blob = pyox.blob(folder, source, script)
    return {"collect": source.document, "pack": folder / "app.json", "link": blob}


def feed(pyox, stage, data, folder, *options):
    """Runs a stage with `data` on its stdin, writing to a file."""
    out = folder / "out"
    arguments = {"collect": [HELLO], "pack": [], "link": []}[stage]
    done = pyox(stage, *arguments, *options, "-o", out, input=data, text=False, check=False)
    done.stdout, done.stderr = done.stdout.decode(), done.stderr.decode()
    if done.returncode != 0:
        assert list(folder.iterdir()) == [], "something was left behind"
    return done


@pytest.mark.parametrize("stage", ["collect", "pack", "link"])
def test_truncated_between_stages(pyox, products, stage, tmp_path):
    whole = products[stage].read_bytes()
    for length in (0, 1, 2, 100, len(whole) // 3, len(whole) // 2, len(whole) - 3):
        refused(feed(pyox, stage, whole[:length], tmp_path), stage)


@pytest.mark.parametrize("stage", ["collect", "pack", "link"])
def test_rubbish_between_stages(pyox, products, stage, tmp_path):
    for rubbish in (b"\n", b"null", b"[]", b"{}", b'"text"', b"\xff\xfe{}", b"\0" * 5000, b"{" * 100_000, b"[" * 100_000, os.urandom(10_000)):
        refused(feed(pyox, stage, rubbish, tmp_path), stage)
    # The document of another stage.
    for other in {"collect", "pack", "link"} - {stage}:
        refused(feed(pyox, stage, products[other].read_bytes(), tmp_path), stage)
    if stage != "link":
        refused(feed(pyox, stage, products[stage].read_bytes() + b"{}", tmp_path), stage)


@pytest.mark.parametrize(("stage", "kind"), [("collect", "distribution"), ("pack", "manifest")])
def test_major_versions(pyox, products, stage, kind, tmp_path):
    document = json.loads(products[stage].read_text())
    for schema in (f"pyox.{kind}/2", f"pyox.{kind}/0", f"pyox.{kind}", f"other.{kind}/1", "", 1, None):
        changed = json.dumps(document | {"schema": schema}).encode()
        refused(feed(pyox, stage, changed, tmp_path), stage, "pyox." + kind if isinstance(schema, str) else "expected")
    # A key that nobody knows is no harm.
    assert feed(pyox, stage, json.dumps(document | {"x-note": [1]}).encode(), tmp_path).returncode == 0


def test_the_blobs_major_version(pyox, products, tmp_path):
    import struct
    import zlib

    blob = bytearray(products["link"].read_bytes())
    struct.pack_into("<H", blob, 8, 3)
    struct.pack_into("<I", blob, 60, zlib.crc32(blob[:60]))
    refused(feed(pyox, "link", bytes(blob), tmp_path), "link", "version")


def test_types_that_are_wrong(pyox, products, tmp_path):
    """Every key of the documents, with a value of another type."""
    for stage in ("collect", "pack"):
        document = json.loads(products[stage].read_text())
        required = [k for k in document if k not in ("schema", "preconfig", "config", "excluded", "interpreter", "bytecode")]
        for key in required:
            for value in (None, 3, "text", []):
                if type(value) is type(document[key]) or (key == "root" and isinstance(value, str)):
                    continue
                if isinstance(document[key], (str, list, dict)):
                    done = feed(pyox, stage, json.dumps(document | {key: value}).encode(), tmp_path)
                    refused(done, stage)


def test_a_file_that_changes_between_collect_and_pack(pyox, source, tmp_path):
    script = write(tmp_path / "app.py", "print('before')\n")
    manifest = pyox.manifest(tmp_path, source, script)
    script.write_text("print('after!')\n")
    out = tmp_path / "app.blob"
    refused(pyox("pack", manifest, "-o", out, check=False), "pack", "app.py", "digest mismatch")
    script.write_text("print('longer than before')\n")
    refused(pyox("pack", manifest, "-o", out, check=False), "pack", "app.py")
    script.unlink()
    refused(pyox("pack", manifest, "-o", out, check=False), "pack", "app.py")
    script.mkdir()
    refused(pyox("pack", manifest, "-o", out, check=False), "pack", "app.py")
    assert not out.exists()


def test_the_manifest_of_another_distribution(pyox, source, host, products, tmp_path):
    done = pyox("pack", products["pack"], "-d", host.document, "-o", tmp_path / "b", check=False)
    refused(done, "pack", "expected the distribution")
    done = pyox("link", products["link"], "-d", host.document, "-o", tmp_path / "a", check=False)
    refused(done, "link", "expected the distribution")


def test_a_distribution_that_is_not_known_here(pyox, products, tmp_path):
    own = pyox.with_environment(PYOX_CACHE_DIR=str(tmp_path / "cache"))
    refused(own("link", products["link"], "-o", tmp_path / "a", check=False), "link", "not known here", "hint:")
    assert not (tmp_path / "a").exists()


def test_a_distribution_whose_files_are_gone(pyox, source, tmp_path):
    document = source.json | {"root": str(tmp_path / "gone")}
    path = tmp_path / "gone.json"
    path.write_text(json.dumps(document))
    done = pyox("collect", "-d", path, HELLO, "-o", tmp_path / "m.json", check=False)
    refused(done, "collect", "gone", "hint:")


def test_a_library_that_changed_since_the_fetch(pyox, source, tmp_path):
    """What is linked is what the document has digests of."""
    document = json.loads(source.document.read_text())
    for archive in [document["link"]["libpython"]]:
        archive["sha256"] = "0" * 64
    path = tmp_path / "changed.json"
    path.write_text(json.dumps(document))
    manifest = pyox.manifest(tmp_path, type(source)("changed", path), HELLO)
    pyox("pack", manifest, "-d", path, "-o", tmp_path / "b")
    refused(pyox("link", tmp_path / "b", "-d", path, "-o", tmp_path / "a", check=False), "link", "digest mismatch")


@pytest.mark.parametrize("stage", ["collect", "pack", "link", "fetch"])
def test_a_full_disk(pyox, products, source, stage, full_disk):
    """Not even a part of the product is left. The cache lies elsewhere."""
    out = full_disk / "out"
    filler = full_disk / "filler"
    filler.write_bytes(b"x" * 250_000 if stage in ("fetch",) else b"x" * 100_000)
    arguments = {"fetch": [source.spec], "collect": ["-d", source.document, HELLO]}.get(stage, [products.get(stage)])
    done = pyox(stage, *arguments, "-o", out, check=False)
    refused(done, stage, "out", "space")
    assert [path.name for path in full_disk.iterdir()] == ["filler"]


def test_a_cache_on_a_full_disk(pyox, source, tmp_path, full_disk):
    """Bytecode that cannot be kept is made again: a warning. A runner that cannot be kept is an error or a warning."""
    own = pyox.with_environment(PYOX_CACHE_DIR=str(full_disk))
    manifest = pyox.manifest(tmp_path, source, HELLO)
    done = own("pack", manifest, "-d", source.document, "-o", tmp_path / "b", check=False)
    assert done.returncode in (0, 2) and "panicked" not in done.stderr and done.stderr != ""
    pyox("pack", manifest, "-d", source.document, "-o", tmp_path / "b")
    done = own("link", tmp_path / "b", "-d", source.document, "-o", tmp_path / "a", check=False)
    assert done.returncode in (0, 2) and "panicked" not in done.stderr
    assert (tmp_path / "a").exists() == (done.returncode == 0)
    stray = [path for path in full_disk.rglob("*") if path.is_file() and path.name.startswith((".", "tmp"))]
    assert stray == []


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("stage", ["collect", "pack", "link"])
def test_an_interrupted_run(pyox, source, stage, number, tmp_path):
    """Ended at many moments: nothing that looks like a product, and the next run succeeds."""
    cache, temporary, work = (tmp_path / name for name in ("cache", "temporary", "work"))
    temporary.mkdir()
    own = pyox.with_environment(PYOX_CACHE_DIR=str(cache), TMPDIR=str(temporary))
    work.mkdir()
    script = write(tmp_path / "app.py", "print('survived')\n")
    manifest, blob, app = work / "m.json", work / "b.blob", work / "app"
    steps = {
        "collect": ["-d", source.document, script, "-o", manifest],
        "pack": [manifest, "-d", source.document, "-o", blob],
        "link": [blob, "-d", source.document, "-o", app],
    }
    product = {"collect": manifest, "pack": blob, "link": app}[stage]
    for earlier in ("collect", "pack", "link"):
        if earlier == stage:
            break
        pyox(earlier, *steps[earlier])
    finished_in_time = []
    for delay in (0.0, 0.01, 0.03, 0.08, 0.2, 0.5):
        before = set(work.iterdir())
        process = subprocess.Popen([own.tool(stage), *map(str, steps[stage])], env=own.environment, stderr=subprocess.DEVNULL, cwd=work)
        time.sleep(delay)
        process.send_signal(number)
        process.wait(timeout=60)
        stray = set(work.iterdir()) - before - {product}
        # What a killed process could not remove is hidden, and no other name is taken.
        if number != signal.SIGKILL:
            assert stray == set(), delay
        assert all(path.name.startswith(".") for path in stray), stray
        if process.returncode == 0:
            break
        # The signal may come after the last step, which gives the whole product its name.
        if product.exists():
            finished_in_time.append(product.read_bytes())
            product.unlink()
        for path in stray:
            path.unlink()
    order = ["collect", "pack", "link"]
    for step in order[order.index(stage) :]:
        own(step, *steps[step])
    assert all(early == product.read_bytes() for early in finished_in_time), "half-written"
    assert run(app).stdout == "survived\n"


def test_a_product_is_replaced_whole_or_not_at_all(pyox, products, source, tmp_path):
    """A failing run leaves the product of the run before as it was."""
    out = tmp_path / "app"
    pyox("link", products["link"], "-d", source.document, "-o", out)
    before = out.read_bytes()
    damaged = bytearray(products["link"].read_bytes())
    damaged[len(damaged) // 2] ^= 1
    done = pyox("link", "-o", out, input=bytes(damaged), text=False, check=False)
    assert done.returncode == 2 and out.read_bytes() == before


def test_an_executable_is_replaced_while_it_runs(pyox, source, tmp_path):
    script = write(tmp_path / "app.py", "import sys; print('up', flush=True); sys.stdin.read(); import json, xml.dom.minidom; print('down')")
    app = pyox.build(tmp_path, source, script)
    process = subprocess.Popen([app], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "up\n"
    write(script, "print('new')")
    assert run(pyox.build(tmp_path, source, script)).stdout == "new\n"
    output, _ = process.communicate("", timeout=30)
    assert (process.returncode, output) == (0, "down\n")


def test_a_manifest_with_a_setting_for_another_python(pyox, fetched, tmp_path):
    """3.11 has no `cpu_count`: told where the interpreter starts, at the latest."""
    older = fetched("source@3.11")
    manifest = pyox.manifest(tmp_path, older, HELLO, "--config", "cpu_count=1")
    packed = pyox("pack", manifest, "-o", tmp_path / "b", check=False)
    if packed.returncode == 2:
        return refused(packed, "pack", "cpu_count")
    pyox("link", tmp_path / "b", "-o", tmp_path / "a")
    done = run(tmp_path / "a", check=False)
    assert done.returncode == 2 and "cpu_count" in done.stderr


def test_a_large_blob_needs_no_memory_of_its_own(pyox, source, tmp_path):
    """It is mapped, by `pyox-link` and by what looks into it."""
    write(tmp_path / "tool/__init__.py", "")
    write(tmp_path / "tool/__main__.py", "print('large')\n")
    (tmp_path / "tool/data.bin").write_bytes(os.urandom(160 << 20))
    blob = pyox.blob(tmp_path, source, tmp_path / "tool")
    limit = (64 << 20, 64 << 20)
    little = {"preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_DATA, limit)}
    pyox("link", blob, "-o", tmp_path / "app", **little)
    assert pyox("inspect", "--check", tmp_path / "app", **little).returncode == 0
    assert run(tmp_path / "app").stdout == "large\n"


def test_two_runs_at_once(pyox, source, tmp_path):
    """They share a new cache, and neither disturbs the other."""
    own = pyox.with_environment(PYOX_CACHE_DIR=str(tmp_path / "cache"))
    manifest = own.manifest(tmp_path, source, HELLO)
    processes = [
        subprocess.Popen([own.tool("pack"), manifest, "-d", source.document, "-o", tmp_path / f"{n}.blob"], env=own.environment)
        for n in range(3)
    ]
    assert [process.wait(timeout=120) for process in processes] == [0, 0, 0]
    blobs = {(tmp_path / f"{n}.blob").read_bytes() for n in range(3)}
    assert len(blobs) == 1
    processes = [
        subprocess.Popen([own.tool("link"), tmp_path / "0.blob", "-q", "-d", source.document, "-o", tmp_path / f"app{n}"], env=own.environment)
        for n in range(2)
    ]
    assert [process.wait(timeout=120) for process in processes] == [0, 0]
    for n in range(2):
        assert run(tmp_path / f"app{n}").stdout == "Hello, world\n"
    assert not [path for path in (tmp_path / "cache/runners").iterdir() if path.name.startswith(".")]
    assert shutil.which("true")


def test_namespaces_in_circles(pyox, each_minor, tmp_path):
    """Portions that import each other, a folder that holds one of its own name, and one folder given twice."""
    write(tmp_path / "one/ring/left.py", "import ring.right\nSIDE = 'left'\ndef other(): return ring.right.SIDE\n")
    write(tmp_path / "two/ring/right.py", "import ring.left\nSIDE = 'right'\ndef other(): return ring.left.SIDE\n")
    write(tmp_path / "two/ring/ring/ring/inner.py", "import ring.left as outer\nSIDE = outer.SIDE\n")
    paths = [option for folder in ("one", "two", "one") for option in ("--path", tmp_path / folder)]
    app = pyox.build_script(
        tmp_path,
        each_minor,
        """
        import ring.left, ring.ring.ring.inner, pkgutil
        print(ring.left.other(), ring.right.other(), ring.ring.ring.inner.SIDE, len(list(ring.__path__)))
        print([module.name for module in pkgutil.walk_packages(ring.__path__, "ring.")])
        """,
        *paths,
    )
    plain = "import sys; sys.path[:0] = sys.argv[1:]\nimport ring.left, ring.ring.ring.inner\n"
    plain += "print(ring.left.other(), ring.right.other(), ring.ring.ring.inner.SIDE)"
    theirs = each_minor.run_python("-c", plain, tmp_path / "one", tmp_path / "two").stdout
    said = run(app).stdout.splitlines()
    assert said[0] == f"{theirs.strip()} 1" == "right left left 1"
    assert "'ring.left'" in said[1] and "'ring.right'" in said[1]


def test_a_folder_that_leads_back_into_itself(pyox, source, tmp_path):
    """A link to a folder around it would have no end."""
    write(tmp_path / "ring/part.py", "")
    (tmp_path / "ring/again").symlink_to(tmp_path / "ring")
    out = tmp_path / "out.json"
    done = pyox("collect", "-d", source.document, tmp_path / "ring", "--run-module", "ring.part", "-o", out, check=False)
    refused(done, "collect", "ring/again", "leads to a folder around it")
    assert not out.exists()
