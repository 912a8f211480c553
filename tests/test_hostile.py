"""Input, caches and surroundings that somebody else has written.

What a reader makes of forged bytes is held by its own tests. Here the tools meet a shared cache, variables and files of the
working folder, and things that have no end.
"""

import base64
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import time
import zipfile
from pathlib import Path

import pytest

from chain import REPOSITORY, run, write
from test_bad_input import refused

HELLO = REPOSITORY / "examples/hello.py"


@pytest.fixture
def own(pyox, tmp_path):
    """The tools with a cache of their own."""
    return pyox.with_environment(PYOX_CACHE_DIR=str(tmp_path / "cache"))


def wheel(folder, name, version, text=""):
    folder.mkdir(exist_ok=True, parents=True)
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}/__init__.py": text or f"VERSION = {version!r}\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    path = folder / f"{name}-{version}-py3-none-any.whl"
    rows = []
    with zipfile.ZipFile(path, "w") as archive:
        for place, content in files.items():
            archive.writestr(place, content)
            digest = base64.urlsafe_b64encode(hashlib.sha256(content.encode()).digest()).decode().rstrip("=")
            rows.append(f"{place},sha256={digest},{len(content)}\n")
        archive.writestr(f"{info}/RECORD", "".join([*rows, f"{info}/RECORD,,\n"]))
    return path


def projects(manifest):
    return {project["name"]: project.get("version") for project in json.loads(manifest.read_text())["projects"]}


# --- The cache ------------------------------------------------------------------


def test_a_changed_document_of_the_cache_is_not_used(own, source, tmp_path):
    """It names the program that links."""
    blob = own.blob(tmp_path, source, HELLO)
    (document,) = [path for path in (tmp_path / "cache/documents").iterdir() if not path.name.startswith("host-")]
    driver = write(tmp_path / "driver", f"#!/bin/sh\ntouch {tmp_path}/ran\nexec cc \"$@\"\n")
    driver.chmod(0o755)
    changed = json.loads(document.read_text())
    changed["link"]["driver"] = str(driver)
    document.write_text(json.dumps(changed))
    done = own("link", blob, "--static", "-o", tmp_path / "app", check=False)
    refused(done, "link", "its document in the cache is damaged", "-d")
    assert not (tmp_path / "ran").exists()
    # Whoever names the document puts it back.
    own("link", blob, "-d", source.document, "--static", "-o", tmp_path / "app")
    own("link", blob, "--static", "-o", tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == (tmp_path / "app").read_bytes()


def test_a_damaged_runner_of_the_cache_is_linked_again(own, source, tmp_path):
    app = own.build(tmp_path, source, HELLO, link=["--static"])
    whole = app.read_bytes()
    (runner,) = [path for path in (tmp_path / "cache/runners").rglob("*") if path.is_file()]
    bytes = bytearray(runner.read_bytes())
    bytes[0x2000:0x200000] = b"\0" * (0x200000 - 0x2000)
    runner.write_bytes(bytes)
    own("link", tmp_path / "app.blob", "-d", source.document, "--static", "-o", app)
    assert app.read_bytes() == whole


def test_wrong_digests_in_the_cache_heal(own, source, tmp_path):
    # What was changed in the last two seconds is not remembered.
    script = write(tmp_path / "app.py", "print('ran')\n")
    os.utime(script)
    time.sleep(2.1)
    first = own.manifest(tmp_path, source, script).read_text()
    records = list((tmp_path / "cache/digests").glob("*.json"))
    assert records
    for record in records:
        entries = json.loads(record.read_text())
        for entry in entries.values():
            entry["facts"]["sha256"] = "0" * 64
        record.write_text(json.dumps(entries))
    assert own.manifest(tmp_path, source, script).read_text() == first


def test_pack_forgets_the_digests_that_collect_believed(own, source, tmp_path):
    """Whatever is wrong with them, the hint to collect again holds."""
    manifest = own.manifest(tmp_path, source, HELLO)
    (tmp_path / "cache/digests").mkdir(exist_ok=True)
    record = write(tmp_path / "cache/digests/x.json", "{}")
    wrong = json.loads(manifest.read_text())
    wrong["resources"][-1]["payload"]["sha256"] = "0" * 64
    manifest.write_text(json.dumps(wrong))
    done = own("pack", manifest, "-d", source.document, "-o", tmp_path / "b", check=False)
    refused(done, "pack", "digest mismatch", "collect again")
    assert not record.exists()


def test_verify_finds_and_removes_what_is_damaged(offline, source, tmp_path):
    """In every folder of the cache; what was removed is made again, and the executable is the same."""
    kit = wheel(tmp_path / "wheels", "kit", "1.0")
    script = write(tmp_path / "app.py", "import kit\nprint(kit.VERSION)\n")
    cache = tmp_path / "cache"

    def built(name):
        return offline.build(tmp_path, source, script, "--with", kit, name=name, link=["--static"]).read_bytes()

    def verify():
        done = run(offline.folder / "pyox", "cache", "verify", env=offline.environment, check=False)
        assert done.returncode in (0, 1) and done.stderr == "", done
        return done.returncode, done.stdout

    first = built("first")
    status, said = verify()
    assert status == 0 and "damaged" not in said, said
    # A byte in the middle of one file of each, besides what has nothing to tell by.
    files = [next(path for path in sorted((cache / name).rglob("*")) if path.is_file()) for name in ("bytecode", "documents", "runners", "zstd")]
    files += [*(cache / "projects").rglob("kit/__init__.py")]
    for path in files:
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    for record in (cache / "digests").glob("*.json"):
        if not record.name.startswith("project-"):
            record.write_text("{" + record.read_text())
            files.append(record)
    status, said = verify()
    assert status == 1
    for path in files:
        # Of an installation all goes.
        entry = path.relative_to(cache) if "projects" not in path.parts else Path(*path.relative_to(cache).parts[:2])
        assert f"  {entry}: damaged, and removed: " in said, (entry, said)
        assert not (cache / entry).exists()
    assert said.count("damaged") == len(files)
    assert verify()[0] == 0
    assert built("again") == first


@pytest.fixture
def read_only(tmp_path):
    """Mounts a folder so that nobody can write to it."""
    assert os.geteuid() == 0, "needs root to mount"
    mounted = []

    def mount(folder):
        for options in ("bind", "remount,bind,ro"):
            run("mount", "-o", options, folder, folder)
            mounted.append(folder)

    yield mount
    for folder in set(mounted):
        run("umount", folder)


def test_a_cache_that_cannot_be_written_to(offline, source, tmp_path, read_only):
    """What is in it is used, and what would have to be written is named."""
    kit = wheel(tmp_path / "wheels", "kit", "1.0")
    script = write(tmp_path / "app.py", "import kit\nprint(kit.VERSION)\n")
    first = offline.build(tmp_path, source, script, "--with", kit, name="first", link=["--static"])
    read_only(tmp_path / "cache")
    again = offline.build(tmp_path, source, script, "--with", kit, name="again", link=["--static"])
    assert again.read_bytes() == first.read_bytes()
    # Compiled and linked anew each time: that is slower, and no error.
    script.write_text("import kit\nprint(kit.VERSION, 'new')\n")
    new = offline.build(tmp_path, source, script, "--with", kit, name="new", link=["--static"])
    assert run(new).stdout == "1.0 new\n"
    other = wheel(tmp_path / "wheels", "other", "1.0")
    done = offline("collect", "-d", source.document, script, "--with", other, check=False)
    refused(done, "collect", f"{tmp_path}/cache/projects", "read-only file system", "set PYOX_CACHE_DIR")


def test_a_cache_on_a_full_disk(pyox, source, tmp_path, full_disk):
    """Of what is kept only for speed the loss is told, and the executable is made."""
    script = write(tmp_path / "app.py", "print('made')\n")
    own = pyox.with_environment(PYOX_CACHE_DIR=str(full_disk))
    blob = pyox.blob(tmp_path, source, script)
    packed = own("pack", tmp_path / "app.json", "-d", source.document, "-o", tmp_path / "full.blob")
    assert "No space left on device" in packed.stderr
    assert (tmp_path / "full.blob").read_bytes() == blob.read_bytes()
    kit = wheel(tmp_path / "wheels", "kit", "1.0", "X = 1\n" * 100_000)
    done = own.with_environment(PIP_NO_INDEX="1")("collect", "-d", source.document, script, "--with", kit, check=False)
    refused(done, "collect", "No space left on device")
    left = [path for path in full_disk.rglob(".*") if path.name.startswith(".partial-")]
    assert left == []


@pytest.mark.parametrize("kind", ["writable", "group", "owner", "above", "link"])
def test_a_cache_that_others_can_change_is_not_used(pyox, source, tmp_path, kind):
    assert os.geteuid() == 0, "needs root to make folders of others"
    shared = tmp_path / "shared"
    shared.mkdir()
    cache = shared / "cache" if kind == "above" else shared
    expected = "nobody else can write to"
    if kind == "owner":
        os.chown(shared, 12345, -1)
        expected = "expected it to belong to user 0, got user 12345"
    elif kind == "group":
        os.chown(shared, -1, 12345)
        shared.chmod(0o775)
    elif kind == "link":
        # Planted where the cache would be, so that the tools make folders elsewhere.
        home = tmp_path / "home"
        (tmp_path / "victim").mkdir()
        home.mkdir()
        (home / ".cache").symlink_to(tmp_path / "victim")
        os.chown(home / ".cache", 12345, -1, follow_symlinks=False)
        cache, expected = home / ".cache/pyox", "got user 12345"
    else:
        shared.chmod(0o777)
    own = pyox.with_environment(PYOX_CACHE_DIR=str(cache))
    before = sorted(path for path in tmp_path.rglob("*"))
    done = own("collect", "-d", source.document, HELLO, check=False)
    refused(done, "collect", "cache: ", expected, "set PYOX_CACHE_DIR")
    assert sorted(path for path in tmp_path.rglob("*")) == before, "something was made"


def test_what_others_may_not_write_to_is_made_for_its_user_alone(own, source, tmp_path):
    own.manifest(tmp_path, source, HELLO)
    assert (tmp_path / "cache").stat().st_mode & 0o077 == 0


def test_the_digest_of_a_distribution_does_not_depend_on_a_compiler(pyox, host, tmp_path):
    """Whether one is installed says whether a static link can be made, and nothing of the Python."""
    tools = tmp_path / "bin"
    tools.mkdir()
    found = []
    for number, path in enumerate([pyox.environment["PATH"], str(tools)]):
        own = pyox.with_environment(PYOX_CACHE_DIR=str(tmp_path / f"cache{number}"), PATH=path)
        own("fetch", f"host:{host.python}", "-o", tmp_path / f"{number}.json")
        manifest = own.manifest(tmp_path, type(host)("x", tmp_path / f"{number}.json"), HELLO, name=f"m{number}")
        found.append(json.loads(manifest.read_text())["distribution"]["sha256"])
    one, other = (json.loads((tmp_path / f"{number}.json").read_text()) for number in (0, 1))
    assert "cc is not installed" in other["link"]["reason"] and one["link"].get("reason") != other["link"]["reason"]
    assert found[0] == found[1]


# --- What is installed ----------------------------------------------------------


@pytest.fixture
def offline(own):
    """An installer that finds what the test has made, and nothing else."""
    return own.with_environment(PIP_NO_INDEX="1")


def test_requirements_through_a_pipe(offline, source, tmp_path):
    """As `-r <(…)` gives them: they can be read once."""
    kit = wheel(tmp_path / "wheels", "kit", "1.0")
    script = write(tmp_path / "app.py", "import kit\n")
    read, write_end = os.pipe()
    os.write(write_end, f"{kit}\n".encode())
    os.close(write_end)
    out = tmp_path / "pipe.json"
    offline("collect", "-d", source.document, "-r", f"/dev/fd/{read}", script, "-o", out, pass_fds=[read])
    os.close(read)
    assert projects(out)["kit"] == "1.0"
    write(tmp_path / "r.txt", f"{kit}\n")
    assert projects(offline.manifest(tmp_path, source, "-r", tmp_path / "r.txt", script))["kit"] == "1.0"


def test_nothing_is_no_answer_to_a_request(offline, source, tmp_path):
    """An empty folder in the cache is installed again, if something was asked for."""
    kit = wheel(tmp_path / "wheels", "kit", "1.0")
    assert projects(offline.manifest(tmp_path, source, HELLO, "--with", kit))["kit"] == "1.0"
    (folder,) = [path for path in (tmp_path / "cache/projects").iterdir() if not path.name.startswith(".")]
    shutil.rmtree(folder)
    folder.mkdir()
    assert projects(offline.manifest(tmp_path, source, HELLO, "--with", kit))["kit"] == "1.0"


@pytest.mark.parametrize("text", ["", "\n# nothing\n", "--no-index\n", "-c versions.txt\n"])
def test_requirements_that_ask_for_nothing(own, source, tmp_path, text):
    """No installer is asked, which would refuse some of them."""
    write(tmp_path / "versions.txt", "kit==1.0\n")
    (tmp_path / "r.txt").write_text(text)
    own = own.with_environment(PATH="")
    assert projects(own.manifest(tmp_path, source, HELLO, "-r", tmp_path / "r.txt")).keys() == {"hello", "python"}


def test_requirements_that_only_the_installer_can_read(offline, source, tmp_path):
    """What it says of them is an error each time, and no set of nothing."""
    write(tmp_path / "r.txt", "-r missing.txt\n")
    for _ in range(2):
        done = offline("collect", "-d", source.document, HELLO, "-r", tmp_path / "r.txt", "-o", tmp_path / "app.json", check=False)
        assert done.returncode == 2 and "missing.txt" in done.stderr


def test_what_the_index_is_counts(own, source, tmp_path):
    """In variables, in a file, and as a folder."""
    script = write(tmp_path / "app.py", "import kit\n")
    for version in ("1.0", "2.0"):
        wheel(tmp_path / version, "kit", version)
    for version in ("1.0", "2.0"):
        by_variable = own.with_environment(PIP_NO_INDEX="1", PIP_FIND_LINKS=str(tmp_path / version))
        assert projects(by_variable.manifest(tmp_path, source, script, "--with", "kit"))["kit"] == version
    for version in ("1.0", "2.0"):
        file = write(tmp_path / "pip.conf", f"[global]\nno-index = yes\nfind-links = {tmp_path / version}\n")
        by_file = own.with_environment(PIP_CONFIG_FILE=str(file), PIP_FIND_LINKS="", PIP_NO_INDEX="")
        assert projects(by_file.manifest(tmp_path, source, script, "--with", "kit"))["kit"] == version


def test_a_project_that_was_changed_in_secret(own, source, tmp_path):
    """A file with its old length and its old time is still another file."""
    folder = tmp_path / "prj"
    write(
        folder / "pyproject.toml",
        """
        [build-system]
        requires = []
        build-backend = "b"
        backend-path = ["."]
        [project]
        name = "prj"
        version = "1"
        """,
    )
    write(
        folder / "b.py",
        """
        import os, zipfile

        def build_wheel(folder, settings=None, metadata=None):
            info = "prj-1.dist-info/"
            with zipfile.ZipFile(os.path.join(folder, "prj-1-py3-none-any.whl"), "w") as archive:
                archive.write("prj/__init__.py")
                archive.writestr(info + "METADATA", "Metadata-Version: 2.1\\nName: prj\\nVersion: 1\\n")
                archive.writestr(info + "WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
                archive.writestr(info + "RECORD", f"prj/__init__.py,,\\n{info}METADATA,,\\n{info}WHEEL,,\\n{info}RECORD,,\\n")
            return "prj-1-py3-none-any.whl"
        """,
    )
    for value in ("old", "new"):
        module = write(folder / "prj/__init__.py", f"V = '{value}'\n")
        os.utime(module, (1_700_000_000, 1_700_000_000))
        app = own.build(tmp_path, source, "--with", folder, "--run-code", "import prj; print(prj.V)", name=value, link=["--static"])
        assert run(app).stdout == f"{value}\n"


def test_no_code_of_the_working_folder_runs(offline, distribution, tmp_path):
    """Nor what variables name, nor is anything installed where variables say."""
    kit = wheel(tmp_path / "wheels", "kit", "1.0")
    evil = tmp_path / "evil"
    for name in ("pip", "sitecustomize", "usercustomize", "encodings/__init__", "json/__init__"):
        write(evil / f"{name}.py", f"open({str(tmp_path / 'ran')!r}, 'w').close()\n")
    elsewhere = tmp_path / "elsewhere"
    tools = offline.with_environment(
        PYTHONPATH=str(evil),
        PYTHONSTARTUP=str(evil / "pip.py"),
        PYTHONUSERBASE=str(evil),
        PYTHONHOME="",
        PIP_TARGET=str(elsewhere),
        PIP_REQUIREMENT=str(tmp_path / "absent.txt"),
        PIP_DRY_RUN="1",
        PIP_USER="1",
    )
    script = write(tmp_path / "app.py", "import kit\n")
    manifest = tools.manifest(tmp_path, distribution, script, "--with", kit, cwd=evil)
    assert projects(manifest)["kit"] == "1.0"
    tools("pack", manifest, "-d", distribution.document, "-o", tmp_path / "b", cwd=evil)
    assert not (tmp_path / "ran").exists() and not elsewhere.exists()


def test_a_lack_of_memory_is_not_remembered(own, source, tmp_path):
    """CPython's parser says the same of what is nested too deeply, so that decides nothing for the next time."""
    kit = wheel(tmp_path / "wheels", "kit", "1.0", "-" * 50_000 + "1\n")
    manifest = own.manifest(tmp_path, source, HELLO, "--with", kit)
    for _ in range(2):
        done = own("pack", "-v", manifest, "-d", source.document, "-o", tmp_path / "b")
        assert "kit/__init__.py: MemoryError" in done.stderr
    assert "compiled 1 sources" in done.stderr


def test_kills_at_random_moments(offline, source, tmp_path):
    """Whatever stage a run is killed in, the next one on the same cache gives the bytes of a clean one, and sweeps."""
    kit = wheel(tmp_path / "wheels", "kit", "1.0")
    script = write(tmp_path / "app.py", "import kit\nprint(kit.VERSION)\n")
    clean = offline.with_environment(PYOX_CACHE_DIR=str(tmp_path / "other")).build(
        tmp_path, source, script, "--with", kit, name="clean", link=["--static"]
    )
    chain = f"{offline.tool('collect')} -q -d {source.document} {script} --with {kit} | {offline.tool('pack')} -q -d {source.document} | {offline.tool('link')} -q -d {source.document} --static -o app"
    seed = random.randrange(1 << 32)
    moments = random.Random(seed)
    for _ in range(25):
        process = subprocess.Popen(["sh", "-c", chain], cwd=tmp_path, env=offline.environment, start_new_session=True, stderr=subprocess.DEVNULL)
        time.sleep(moments.expovariate(1) * 0.8)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    built = offline.build(tmp_path, source, script, "--with", kit, name="built", link=["--static"])
    assert built.read_bytes() == clean.read_bytes(), f"seed {seed}"
    # An interpreter that compiles may still be ending.
    offline.build(tmp_path, source, script, "--with", kit, "--config", "verbose=0", name="again", link=["--static"])
    shutil.rmtree(tmp_path / "cache/runners")
    offline.build(tmp_path, source, script, "--with", kit, "--upgrade", name="again", link=["--static"])
    left = [path for path in (tmp_path / "cache").rglob(".*") if path.name.startswith((".partial-", ".tmp"))]
    assert left == [], f"seed {seed}"


# --- Without end ----------------------------------------------------------------


def test_payloads_that_are_no_files(own, source, tmp_path):
    os.mkfifo(tmp_path / "fifo")
    manifest = own.manifest(tmp_path, source, HELLO)
    whole = json.loads(manifest.read_text())
    for path, kind in ((tmp_path / "fifo", "a named pipe"), ("/dev/zero", "a device"), (tmp_path, "a folder")):
        whole["resources"][-1]["payload"]["path"] = str(path)
        manifest.write_text(json.dumps(whole))
        done = own("pack", manifest, "-d", source.document, "-o", tmp_path / "b", check=False, timeout=20)
        refused(done, "pack", f"expected a file, got {kind}")
    out = tmp_path / "c.json"
    shutil.copy(HELLO, tmp_path / "app.py")
    (tmp_path / "package").mkdir()
    write(tmp_path / "package/__init__.py", "")
    os.mkfifo(tmp_path / "package/data")
    done = own("collect", "-d", source.document, tmp_path / "package", "--run-code", "pass", "-o", out, check=False, timeout=20)
    assert done.returncode in (0, 2)


@pytest.mark.parametrize("stage", ["pack", "link", "inspect"])
def test_input_that_has_no_end(pyox, stage):
    command = ["sh", "-c", f"ulimit -v 4000000; exec {pyox.tool(stage)} /dev/zero"]
    refused(run(*command, check=False, timeout=20, env=pyox.environment), stage, "expected a file or a pipe, got a device")
    command = ["sh", "-c", f"ulimit -v 4000000; exec {pyox.tool(stage)} - < /dev/zero"]
    refused(run(*command, check=False, timeout=20, env=pyox.environment), stage, "expected a file or a pipe, got a device")


# --- Messages -------------------------------------------------------------------


def test_what_comes_from_input_is_quoted_and_shortened(own, source, tmp_path):
    manifest = own.manifest(tmp_path, source, HELLO)
    for text in ("a\nb\x1b[31m\x07", "\u202eevil", "x" * 100_000, "\x9b2J"):
        for key in ("kind", "name", "location"):
            whole = json.loads(manifest.read_text())
            resource = next(one for one in whole["resources"] if one["kind"] == "module")
            resource[key] = f"/{text}"
            changed = write(tmp_path / "changed.json", "")
            changed.write_text(json.dumps(whole))
            done = own("pack", changed, "-d", source.document, "-o", tmp_path / "b", check=False)
            refused(done, "pack")
            assert len(done.stderr) < 2500, len(done.stderr)
            assert all(letter.isprintable() or letter == "\n" for letter in done.stderr), done.stderr


def test_collect_and_pack_agree_on_names(own, source, tmp_path):
    """A superscript is numeric for Unicode, and nothing for Python: such files are data."""
    package = tmp_path / "package"
    write(package / "__init__.py", "")
    for name in ("m²", "a-b", "0001_initial", "ﬁ", "x y"):
        write(package / f"{name}.py", "VALUE = 1\n")
    app = own.build(tmp_path, source, package, "--run-code", "import package, os; print(len(os.listdir(package.__path__[0])))", link=["--static"])
    assert run(app).stdout == "6\n"


def test_a_full_disk_while_the_runner_is_linked(pyox, source, tmp_path, full_disk):
    blob = pyox.blob(tmp_path, source, HELLO)
    own = pyox.with_environment(PYOX_CACHE_DIR=str(full_disk))
    done = own("link", blob, "-d", source.document, "--static", "-o", tmp_path / "app", check=False)
    refused(done, "link", "the disk is full", "PYOX_CACHE_DIR")


def test_link_finds_its_libraries_without_proc(pyox, source, tmp_path):
    blob = pyox.blob(tmp_path, source, HELLO)
    hidden = ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs none /proc && exec "$@"', "sh"]
    run(*hidden, pyox.tool("link"), blob, "-d", source.document, "--static", "-o", tmp_path / "app", env=pyox.environment)
    assert run(tmp_path / "app").returncode == 0
