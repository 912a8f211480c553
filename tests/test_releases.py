"""`pyox-fetch cpython@…`: python-build-standalone's releases from a server that behaves as GitHub does, and from bad ones.

The archives are made of an installed Python, in the layout of `install_only` archives.
"""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import time
import tomllib
from pathlib import Path

import pytest

from chain import REPOSITORY, certify, clean_environment, require, run, terminal, write
from github import HOSTS, PORTAL, Fault, GitHub

OLD, NEW = "20260701", "20260814"
TARGET = "x86_64-unknown-linux-gnu"
ARM, MUSL = "aarch64-unknown-linux-gnu", "x86_64-unknown-linux-musl"
HELLO = REPOSITORY / "examples/hello.py"


def install_only(distribution, folder, strip=True):
    """Lays out an installed Python as python-build-standalone does, below `python/`."""
    root, (major, minor) = folder / "python", distribution.minor
    version = f"{major}.{minor}"
    for name in ("bin", "lib", "include"):
        (root / name).mkdir(parents=True, exist_ok=True)
    shutil.copy2(distribution.python, root / f"bin/python{version}")
    for name in ("python3", "python"):
        (root / "bin" / name).symlink_to(f"python{version}")
    library = Path(distribution.json["root"], distribution.json["link"]["shared_libpython"]["path"])
    shutil.copy2(library, root / f"lib/libpython{version}.so.1.0")
    if strip:
        require("strip")
        run("strip", "--strip-debug", root / f"lib/libpython{version}.so.1.0", root / f"bin/python{version}")
    left_out = shutil.ignore_patterns("test", "tests", "idlelib", "*-packages", "__pycache__", "config-*", "sitecustomize.py", "EXTERNALLY-MANAGED")
    shutil.copytree(distribution.stdlib, root / f"lib/python{version}", symlinks=True, ignore=left_out)
    include = distribution.json["paths"].get("include")
    if include:
        shutil.copytree(Path(distribution.json["root"], include), root / f"include/python{version}")
    return root


def pack(root, path):
    run("tar", "-czf", path, "-C", root.parent, root.name, env=clean_environment() | {"GZIP": "-1"})
    return path


def name_of(version, release, flavor="install_only_stripped", target=TARGET, end="tar.gz"):
    return f"cpython-{version}+{release}-{target}-{flavor}.{end}"


@pytest.fixture(scope="session")
def shared(distributions):
    """An installed Python that has its shared library."""
    return next(d for d in distributions if d.json["link"].get("shared_libpython"))


@pytest.fixture(scope="module")
def archive(shared, tmp_path_factory):
    folder = tmp_path_factory.mktemp("archive")
    return pack(install_only(shared, folder), folder / name_of(shared.version, NEW))


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """An archive of a small tree with a Python that tells what a real one would: transfers need no more."""
    folder = tmp_path_factory.mktemp("small")
    write(folder / "python/bin/python3", "#!/bin/sh\ncat >/dev/null\necho '{\"implementation\":\"cpython\",\"version\":\"3.13.9\",\"version_info\":[3,10],\"details\":null}'\n")
    (folder / "python/bin/python3").chmod(0o755)
    (folder / "python/noise").write_bytes(os.urandom(1 << 20))
    return pack(folder / "python", folder / name_of("3.13.9", NEW))


@pytest.fixture(scope="module")
def github_server(tmp_path_factory):
    server = GitHub(certify(tmp_path_factory.mktemp("github"), *HOSTS))
    yield server
    server.close()


@pytest.fixture
def github(github_server):
    github_server.clear()
    return github_server


class Client:
    """pyox-fetch with a cache and a working folder of its own."""

    def __init__(self, pyox, folder, environment):
        self.folder, self.pyox = folder, pyox
        self.environment = clean_environment() | environment | {"PYOX_CACHE_DIR": str(folder / "cache"), "PYOX_HTTP_TIMEOUT": "5"}

    def __call__(self, *arguments, env=(), **options):
        return run(self.pyox.tool("fetch"), *arguments, cwd=self.folder, env=self.environment | dict(env), check=False, **options)

    def refuse(self, *arguments, **options):
        done = self(*arguments, **options)
        lines = [line for line in done.stderr.splitlines() if "pyox-fetch: note: " not in line]
        assert done.returncode == 2 and done.stdout == "", done
        assert lines[0].startswith("pyox-fetch: error: "), lines
        assert len(lines) == 1 or (len(lines) == 2 and lines[1].startswith("pyox-fetch: hint: ")), lines
        return done.stderr

    def download(self, *arguments, **options):
        """What is said of the small archive, which came whole: its Python is none that can be embedded."""
        said = self.refuse(*arguments, **options)
        assert "expected CPython 3.11 to 3." in said, said
        return said

    @property
    def lock(self):
        return tomllib.loads((self.folder / "pyox.lock").read_text())


@pytest.fixture
def client(pyox, github, tmp_path):
    """One that reaches the server as GitHub."""
    return Client(pyox, tmp_path, github.environment)


def minor_of(distribution):
    return "{}.{}".format(*distribution.minor)


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


# --- What is chosen -----------------------------------------------------------------


def test_the_latest_release_becomes_an_executable_without_a_compiler(pyox, client, github, archive, shared, tmp_path):
    github.add(OLD)
    github.add(NEW, archive)
    spec = f"cpython@{minor_of(shared)}"
    done = client(spec, "-o", "dist.json")
    assert done.returncode == 0, done.stderr
    assert f"note: {spec}: {archive.name}, noted in pyox.lock" in done.stderr
    document = json.loads((tmp_path / "dist.json").read_text())
    assert (document["source"], document["python"]["version"]) == (spec, shared.version)
    # All of it is in the tree, wherever that was built.
    assert document["root"] == str(tmp_path / "cache/distributions" / digest(archive) / "python")
    assert document["link"]["shared_libpython"]["path"] == f"lib/libpython{minor_of(shared)}.so.1.0"
    assert "libpython" not in document["link"]
    entry = {
        "spec": spec,
        "target": TARGET,
        "flavor": "install_only_stripped",
        "url": f"https://github.com/astral-sh/python-build-standalone/releases/download/{NEW}/{archive.name.replace('+', '%2B')}",
        "size": archive.stat().st_size,
        "sha256": digest(archive),
    }
    assert client.lock == {"schema": "pyox.lock/1", "python": [entry]}
    assert [host for host, *_ in github.asked] == [
        "raw.githubusercontent.com", "github.com", "release-assets.githubusercontent.com", "github.com", "release-assets.githubusercontent.com"
    ]

    bare = pyox.with_environment(PATH=str(tmp_path / "empty"), PYOX_CACHE_DIR=str(tmp_path / "cache"))
    for stage in (("collect", "-d", "dist.json", HELLO, "-o", "app.json"), ("pack", "app.json", "-o", "app.blob"), ("link", "app.blob", "-o", "app")):
        linked = run(bare.tool(stage[0]), *stage[1:], cwd=tmp_path, env=bare.environment)
    assert "note: portable: " in linked.stderr
    assert run(tmp_path / "app").stdout == "Hello, world\n"


def test_a_lock_is_obeyed_without_the_network_until_it_is_upgraded(client, github, small, tmp_path):
    newer = shutil.copy(small, tmp_path / name_of("3.13.10", "20260901"))
    github.add(NEW, small)
    client.download("cpython@3.13")
    first = client.lock
    github.add("20260901", newer)
    github.asked.clear()
    client.download("cpython@3.13")
    client.download("--offline", "cpython@3.13")
    assert client.lock == first and github.asked == []
    # Elsewhere only the archive itself is asked for.
    shutil.rmtree(tmp_path / "cache")
    client.download("cpython@3.13")
    assert {path.rsplit("/", 1)[1] for _, path, _ in github.asked} <= {small.name, small.name.replace("+", "%2B")}
    client.download("--no-lock", "cpython@3.13")
    assert client.lock == first
    client.download("--upgrade", "cpython@3.13")
    assert client.lock["python"][0]["url"].endswith(newer.name.replace("+", "%2B"))
    client.download("--lock", "other.lock", "cpython@3.13+20260814")
    assert tomllib.loads((tmp_path / "other.lock").read_text())["python"][0]["sha256"] == digest(small)


def test_versions_releases_and_flavors(client, github, small, tmp_path):
    def copy(name):
        return shutil.copy(small, tmp_path / name)

    github.add(NEW, *map(copy, (
        name_of("3.12.9", NEW), name_of("3.13.9", NEW), name_of("3.14.0rc1", NEW), name_of("3.13.9", NEW, "noopt-full"),
        name_of("3.13.9", NEW, "lto-full"), name_of("3.13.9", NEW, target=ARM), name_of("3.13.9", NEW, target=MUSL),
    )))  # fmt: skip
    for release, version in (("20260101", "3.13.5"), ("20260201", "3.13.6"), ("20260301", "3.13.6"), ("20260401", "3.13.8"), ("20210101", "3.8.9")):
        github.add(release, copy(name_of(version, release)))

    def chosen(*arguments):
        client.download("--no-lock", *arguments)
        return github.asked[-1][1].rsplit("/", 1)[1].replace("%2B", "+")

    def fresh(*arguments):
        shutil.rmtree(tmp_path / "cache", ignore_errors=True)
        return chosen(*arguments)

    assert fresh("cpython@3.13") == name_of("3.13.9", NEW)
    # Prereleases count where there is nothing else.
    assert fresh("cpython@3.14") == name_of("3.14.0rc1", NEW)
    assert fresh("cpython@3.13", "--flavor", "full") == name_of("3.13.9", NEW, "lto-full")
    assert fresh("cpython@3.13", "--flavor", "noopt-full") == name_of("3.13.9", NEW, "noopt-full")
    assert fresh("cpython@3.13.5+20260101") == name_of("3.13.5", "20260101")
    # The latest release has a later one, and the newest that has it was built twice.
    assert fresh("cpython@3.13.6") == name_of("3.13.6", "20260301")
    assert fresh("cpython@3.13.8") == name_of("3.13.8", "20260401")

    refused = client.refuse("cpython@3.13.7")
    assert f"cpython@3.13.7: release {NEW} has no version 3.13.7: expected one of 3.12.9, 3.13.9, 3.14.0rc1" in refused
    assert "has no flavor best: expected one of install_only_stripped, lto-full, noopt-full" in client.refuse("cpython@3.13", "--flavor", "best")
    assert "has no target sparc: expected one of aarch64-unknown-linux-gnu, x86_64" in client.refuse("cpython@3.13", "--target", "sparc")
    assert fresh("cpython@3.13", "--target", ARM) == name_of("3.13.9", NEW, target=ARM)
    refused = client.refuse("cpython@3.13", "--target", MUSL)
    assert f"expected an archive for Linux with glibc, got {MUSL}" in refused and "--flavor full" in refused
    assert "error: --target: expected cpython@3.X" in client.refuse("host", "--target", TARGET)
    assert not (tmp_path / "pyox.lock").exists()

    listed = client("--list", "cpython@3.13", "--flavor", "full")
    assert listed.stdout.splitlines() == [f"cpython@3.13.9+{NEW} --target {TARGET} --flavor {flavor}-full" for flavor in ("lto", "noopt")]
    listed = client("--list", "--target", ARM)
    assert listed.stdout == f"cpython@3.13.9+{NEW} --target {ARM} --flavor install_only_stripped\n"


def test_an_archive_that_holds_the_python_of_another_target(client, github, archive, shared, tmp_path):
    version = minor_of(shared)
    github.add(NEW, shutil.copy(archive, tmp_path / name_of(shared.version, NEW, target=ARM)))
    refused = client.refuse(f"cpython@{version}", "--target", ARM)
    assert f"expected a Python for {ARM}, got one for {TARGET}" in refused


def test_a_full_archive(client, github, source, tmp_path):
    """The one that pyox builds is of that format."""
    store = Path(os.environ.get("PYOX_CACHE_DIR") or Path.home() / ".cache/pyox") / "source"
    sha256 = Path(source.json["root"]).parent.name
    built = next(path for path in store.glob(f"cpython-{source.version}-*.tar.zst") if digest(path) == sha256)
    github.add(NEW, shutil.copy(built, tmp_path / name_of(source.version, NEW, "noopt-full", end="tar.zst")))
    done = client(f"cpython@{minor_of(source)}", "--flavor", "full")
    document = json.loads(done.stdout)
    assert (document["python"], document["link"]) == (source.json["python"], source.json["link"])


def test_mirrors(pyox, github, small, tmp_path):
    github.add(NEW, small)
    client = Client(pyox, tmp_path, {"SSL_CERT_FILE": github.environment["SSL_CERT_FILE"]})
    client.download(f"cpython@3.13+{NEW}", "--mirror", github.mirror + "/")
    assert client.lock["python"][0]["url"].startswith(f"{github.mirror}/{NEW}/cpython-3.13.9%2B")
    assert {host for host, *_ in github.asked} == {"localhost"}
    # It need not say which release is the latest.
    refused = client.refuse("cpython@3.13", env={"PYOX_PYTHON_MIRROR": github.mirror})
    assert "/mirror/latest-release.json: the server answers 404 Not Found" in refused and "hint: name a release" in refused
    # A folder will do.
    folder = tmp_path / "mirror"
    (folder / NEW).mkdir(parents=True)
    shutil.copy(small, folder / NEW)
    (folder / NEW / "SHA256SUMS").write_text(f"{digest(small)}  {small.name}\n")
    (folder / "latest-release.json").write_text(json.dumps({"tag": NEW}))
    shutil.rmtree(tmp_path / "cache")
    client.download("--offline", "--no-lock", "cpython@3.13", env={"UV_PYTHON_INSTALL_MIRROR": f"file://{folder}"})


def test_a_project_keeps_its_lock(pyox, github, archive, shared, tmp_path):
    """Through the driver, which takes what a project names."""
    github.add(NEW, archive)
    project = tmp_path / "project"
    write(project / "pyox.toml", f'python = ["cpython@{minor_of(shared)}"]\n[programs]\napp = "app.py"\n')
    write(project / "app.py", "print('from a release')\n")
    environment = pyox.environment | github.environment | {"PYOX_CACHE_DIR": str(tmp_path / "cache")}
    done = run(pyox.folder / "pyox", "build", project, cwd=tmp_path, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert run(project / "dist/app").stdout == "from a release\n"
    assert tomllib.loads((project / "pyox.lock").read_text())["python"][0]["sha256"] == digest(archive)


# --- What goes wrong on the way ------------------------------------------------------


def test_broken_and_stalled_transfers_go_on(client, github, small):
    size = small.stat().st_size
    github.add(NEW, small)
    github.fail(f"githubusercontent.com/{NEW}/cpython", Fault(breaks=100_000), Fault(stalls=300_000), Fault(status=503), Fault(breaks=0))
    client.download("cpython@3.13", env={"PYOX_HTTP_TIMEOUT": "1"})
    assert github.ranges(small.name) == [None, "bytes=100000-", *["bytes=400000-"] * 3]
    assert client.lock["python"][0]["size"] == size


def test_a_server_that_knows_no_ranges_sends_it_all_again(client, github, small):
    github.add(NEW, small)
    github.fail(f"githubusercontent.com/{NEW}/cpython", Fault(breaks=100_000), Fault(ignores_ranges=True))
    client.download("cpython@3.13")
    assert github.ranges(small.name) == [None, "bytes=100000-"]


def test_a_run_that_is_killed_leaves_the_next_one_what_it_has(client, github, small, tmp_path):
    github.add(NEW, small)
    size = small.stat().st_size
    for at in (0, 1, 65_536, 65_537, size // 2, size - 1, size):
        shutil.rmtree(tmp_path / "cache", ignore_errors=True)
        (tmp_path / "pyox.lock").unlink(missing_ok=True)
        github.stalled.clear()
        github.asked.clear()
        github.fail(f"githubusercontent.com/{NEW}/cpython", Fault(stalls=at, length=size + 1))
        process = subprocess.Popen([client.pyox.tool("fetch"), "cpython@3.13"], cwd=tmp_path, env=client.environment, stdout=-3, stderr=-3)
        assert github.stalled.wait(60)
        part = tmp_path / "cache/downloads" / digest(small) / f"{small.name}.part"
        while not part.exists() or part.stat().st_size < at:
            assert process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.wait()
        client.download("cpython@3.13")
        assert github.ranges(small.name) == [None, f"bytes={at}-" if at else None]
        assert sorted(path.name for path in (tmp_path / "cache").glob("d*/*")) == [digest(small)]


def test_what_was_left_of_another_file_is_no_good(client, github, small, tmp_path):
    github.add(NEW, small)
    part = tmp_path / "cache/downloads" / digest(small) / f"{small.name}.part"
    for bytes in (b"something else", bytearray(small.stat().st_size + 5)):
        part.parent.mkdir(parents=True)
        part.write_bytes(bytes)
        client.download("cpython@3.13")
        shutil.rmtree(tmp_path / "cache")


def test_what_broke_off_long_ago_goes_away(client, github, small, tmp_path):
    github.add(NEW, small)
    for name, days in (("old", 8), ("new", 6)):
        part = tmp_path / f"cache/downloads/{name}/a.tar.gz.part"
        write(part, "some")
        for path in (part, part.parent):
            os.utime(path, (time.time() - days * 86400,) * 2)
    client.download("cpython@3.13")
    assert [path.name for path in (tmp_path / "cache/downloads").iterdir()] == ["new"]


def test_progress_on_a_terminal(client, github, small, tmp_path):
    github.add(NEW, small)
    github.fail(f"githubusercontent.com/{NEW}/cpython", Fault(stalls=500_000))
    environment = client.environment | {"PYOX_HTTP_TIMEOUT": "1"}
    command = ["/usr/bin/env", "-C", tmp_path, *(f"{name}={value}" for name, value in environment.items()), client.pyox.tool("fetch"), "cpython@3.13"]
    status, screen = terminal(command, [])
    assert status == 2 and f"downloading {small.name}" in screen and "%" in screen, screen


def test_two_at_once(client, github, small, tmp_path):
    github.add(NEW, small)
    command = [client.pyox.tool("fetch"), "cpython@3.13"]
    processes = [subprocess.Popen(command, cwd=tmp_path, env=client.environment, stdout=-3, stderr=-1, text=True) for _ in range(4)]
    for process in processes:
        assert "expected CPython 3.11 to 3." in process.communicate()[1]
    assert len(github.ranges(small.name)) == 1


def test_wrong_lengths_and_digests(client, github, small, tmp_path):
    storage, size = f"githubusercontent.com/{NEW}/cpython", small.stat().st_size
    github.add(NEW, small)
    other = b"x" * size
    github.fail(storage, Fault(body=other))
    refused = client.refuse("cpython@3.13")
    assert f"digest mismatch: expected sha256 {digest(small)}, got {hashlib.sha256(other).hexdigest()}" in refused
    # It is shorter than it says: that is a transfer which breaks.
    github.fail(storage, *[Fault(breaks=10, length=size)] * 5)
    assert "the transfer broke: " in client.refuse("cpython@3.13")
    client.download("cpython@3.13")
    # With a lock the length is known.
    for body in (other + b"x", other[:-1]):
        shutil.rmtree(tmp_path / "cache")
        github.fail(storage, Fault(body=body))
        assert f"size mismatch: expected {size} bytes, got {len(body)}" in client.refuse("cpython@3.13")
    # A mirror that lies is found out by what was noted before.
    github.fail("/mirror/", Fault(body=other))
    refused = client.refuse("cpython@3.13", "--mirror", github.mirror, env={"HTTPS_PROXY": ""})
    assert github.mirror in refused and f"expected sha256 {digest(small)}, got {hashlib.sha256(other).hexdigest()}" in refused
    refused = client.refuse("cpython@3.13", "--sha256", "0" * 64)
    assert f"digest mismatch: expected sha256 {'0' * 64}, got {digest(small)}" in refused


def test_what_servers_answer(client, github, small):
    github.add(NEW, small)
    github.fail("latest-release.json", Fault(status=429, headers={"Retry-After": "1"}), Fault(status=500))
    client.download("--no-lock", "cpython@3.13")
    limits = {"x-ratelimit-remaining": "0", "Retry-After": "3500"}
    github.fail("api.github.com", Fault(status=403, headers=limits, body=b'{"message": "API rate limit exceeded"}'))
    refused = client.refuse("cpython@3.13.1")
    assert "it limits how often one may ask, and answers 403 Forbidden for 59 more minutes" in refused
    assert "hint: name the release: cpython@3.X.Y+DATE" in refused
    github.fail("latest-release.json", Fault(status=403))
    assert "latest-release.json: the server answers 403 Forbidden" in client.refuse("cpython@3.13")
    assert "20200101/SHA256SUMS: the server answers 404 Not Found" in client.refuse("cpython@3.13+20200101")
    github.fail("latest-release.json", Fault(body=b'{"tag": "../../evil"}'))
    assert "tag: expected a date such as 20260814, got `../../evil`" in client.refuse("cpython@3.13")
    github.fail("SHA256SUMS", Fault(body=b"no digest at all\n"))
    assert "SHA256SUMS: expected digests and names, got `no digest at all`" in client.refuse("cpython@3.13")
    github.fail("latest-release.json", Fault(status=302, headers={"Location": "http://127.0.0.1:1/x"}))
    assert "it leads from https to http" in client.refuse("cpython@3.13")


@pytest.mark.parametrize("what", ["latest-release.json", "SHA256SUMS", f"githubusercontent.com/{NEW}/cpython"])
def test_a_captive_portal(client, github, small, tmp_path, what):
    github.add(NEW, small)
    github.fail(what, PORTAL)
    refused = client.refuse("cpython@3.13")
    assert "expected a file, got a web page" in refused and "hint: does this network ask for a login?" in refused
    assert not (tmp_path / "pyox.lock").exists()
    client.download("cpython@3.13")


def test_an_authority_that_nobody_knows(client, github, tmp_path):
    certify(tmp_path, "localhost")
    refused = client.refuse("cpython@3.13", env={"SSL_CERT_FILE": str(tmp_path / "root.pem")})
    assert "cannot be reached: invalid peer certificate" in refused and "SSL_CERT_FILE" in refused


def test_offline_and_nobody_there(client, github, small):
    github.add(NEW, small)
    refused = client.refuse("--offline", "cpython@3.13")
    assert "expected it in the cache, as nothing may be downloaded" in refused and github.asked == []
    refused = client.refuse("cpython@3.13", "--mirror", "https://127.0.0.1:1/x", env={"HTTPS_PROXY": ""})
    assert "https://127.0.0.1:1/x/latest-release.json: cannot be reached: Connection refused" in refused
    assert "expected an address with https, http or file" in client.refuse("cpython@3.13", "--mirror", "ftp://x")
    assert "PYOX_HTTP_TIMEOUT: expected a number of seconds, got `soon`" in client.refuse("cpython@3.13", env={"PYOX_HTTP_TIMEOUT": "soon"})


# --- What is no good ------------------------------------------------------------------


def test_a_lock_of_another_target_and_locks_that_are_none(client, github, small, tmp_path):
    github.add(NEW, small)
    lock = tmp_path / "pyox.lock"
    client.download("cpython@3.13")
    good = lock.read_text()
    lock.write_text(good.replace(f'target = "{TARGET}"', f'target = "{ARM}"'))
    refused = client.refuse("cpython@3.13")
    assert f"pyox.lock: cpython@3.13: expected an entry for {TARGET}, got one for {ARM}" in refused
    client.download("--upgrade", "cpython@3.13")
    assert [entry["target"] for entry in client.lock["python"]] == [ARM, TARGET]
    for change, said in (
        ((TARGET + "-install", ARM + "-install"), f"url: expected that of a install_only_stripped archive for {TARGET}, got"),
        (("pyox.lock/1", "pyox.lock/2"), "pyox.lock: schema: expected pyox.lock/1, got `pyox.lock/2`"),
        ((digest(small), "123"), "pyox.lock: cpython@3.13: sha256: "),
        (("[[python]]", "[[python"), "pyox.lock:4: "),
        (("url = ", "address = "), "pyox.lock:4: missing field `url`"),
    ):
        lock.write_text(good.replace(*change))
        assert said in client.refuse("cpython@3.13")


def test_archives_that_are_no_good(client, github, shared, tmp_path):
    root = install_only(shared, tmp_path / "tree", strip=False)
    library = next((root / "lib").glob("libpython*.so.1.0"))
    version = minor_of(shared)
    extension = next((root / f"lib/python{version}/lib-dynload").iterdir())
    for bytes, said in (
        (b"no library", "expected an ELF file, got another format"),
        (extension.read_bytes(), "expected Python's library, but it does not export Py_InitializeFromConfig"),
    ):
        library.write_bytes(bytes)
        # Nothing of it may be needed by the Python itself, which a real one links statically.
        (root / "bin/python3").unlink()
        write(root / "bin/python3", f'#!/bin/sh\nexec "{shared.python}" "$@"\n')
        facts = run(shared.python, "-I", "-S", REPOSITORY / "tools/pyox-fetch/src/describe.py").stdout
        facts = json.loads(facts)
        facts["details"]["shared_libraries"], facts["details"]["libraries"] = [str(library)], []
        write(root / "bin/python3", f"#!/bin/sh\ncat >/dev/null\ncat <<'END'\n{json.dumps(facts)}\nEND\n").chmod(0o755)
        github.clear()
        github.add(NEW, pack(root, tmp_path / name_of(shared.version, NEW)))
        assert said in client.refuse("--no-lock", f"cpython@{version}")
    github.clear()
    broken = tmp_path / name_of(shared.version, NEW)
    broken.write_bytes(b"no archive")
    github.add(NEW, broken)
    assert "expected a .tar.zst or .tar.gz archive, got another file" in client.refuse("--no-lock", f"cpython@{version}")


# --- LLVM bitcode ---------------------------------------------------------------------

# A `_bisect` that can be imported, and has nothing: a `PyModuleDef` as words, and the function that makes the module.
BITCODE = """
#![no_std]
#[repr(C)]
pub struct Def { base: [usize; 5], name: *const u8, doc: usize, size: isize, rest: [usize; 5] }
unsafe extern "C" { fn PyModule_Create2(def: *mut Def, version: i32) -> *mut u8; }
static mut DEF: Def = Def { base: [1, 0, 0, 0, 0], name: c"_bisect".as_ptr().cast(), doc: 0, size: -1, rest: [0; 5] };
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyInit__bisect() -> *mut u8 { unsafe { PyModule_Create2(&raw mut DEF, 1013) } }
"""


def test_bitcode_is_made_native_where_an_llvm_linker_is_at_hand(pyox, client, source, tmp_path):
    """The compiler of this project makes bitcode, and brings a linker that reads it."""
    require("rustc", "ar")
    root = tmp_path / "python"
    shutil.copytree(source.json["root"], root, symlinks=True)
    library = root / source.json["link"]["libpython"]["path"]
    write(tmp_path / "bisect.rs", BITCODE)
    run("rustc", "--edition=2024", "--crate-type=rlib", "--emit=llvm-bc", "-O", "-Cpanic=abort", "bisect.rs", "-o", "_bisectmodule.o", cwd=tmp_path)
    assert (tmp_path / "_bisectmodule.o").read_bytes()[:4] == b"BC\xc0\xde"
    run("ar", "d", library, "_bisectmodule.o")
    run("ar", "q", library, tmp_path / "_bisectmodule.o")
    pack(root, tmp_path / "bitcode.tar.gz")
    shutil.rmtree(root)
    done = client("-v", "./bitcode.tar.gz", "-o", "dist.json")
    assert done.returncode == 0, done.stderr
    assert "libpython" in done.stderr and "holds LLVM bitcode: native code was made of it" in done.stderr
    link = json.loads((tmp_path / "dist.json").read_text())["link"]
    assert link["static"] and link["dynamic"] and link["object_format"] == "elf" and "/native-" in link["libpython"]["path"]
    write(tmp_path / "app.py", "import _bisect, bisect, ssl\nprint(_bisect.__name__, hasattr(_bisect, 'insort'), bisect.bisect([1, 3], 2))\n")
    here = pyox.with_environment(PYOX_CACHE_DIR=str(tmp_path / "cache"))
    for shape in ("--static", "--dynamic"):
        for stage in (("collect", "-d", "dist.json", "app.py", "-o", "app.json"), ("pack", "app.json", "-o", "app.blob"), ("link", "app.blob", shape, "-o", "app")):
            run(here.tool(stage[0]), *stage[1:], cwd=tmp_path, env=here.environment)
        assert run(tmp_path / "app").stdout == "_bisect False 1\n"
