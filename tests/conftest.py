"""The distributions, and the executables that several tests question.

The tools come from `target/release`, or the folder in PYOX_BIN. Distributions are every CPython 3.11
to 3.13 of pyenv, Debian's own, and two that pyox-fetch builds from source: some four minutes each
on a cold cache. Fewer than three minor versions fail the session. PYOX_TEST_PYTHONS names other distributions
in place of all of these, such as `host:/usr/bin/python3.15`; then the tests run that take each of them in turn.
"""

import os
import signal
import subprocess
from pathlib import Path

import pytest

pytest.register_assert_rewrite("chain")

from chain import REPOSITORY, Chain, Distribution, certify, clean_environment, run, write

GIVEN = tuple(os.environ.get("PYOX_TEST_PYTHONS", "").split())
SOURCES = () if GIVEN else ("source@3.11", "source@3.13")
# What does not hold where libpython is a shared library: CPython's own search for an installation looks around.
OF_OTHER_SHAPES = ("test_hello_opens_what_libc_opens", "test_importing_the_standard_library_touches_no_module")
# A debug build has no shared library, and warns of every file that nobody has closed, with numbers and names in it.
NOT_OF_DEBUG_BUILDS = ("test_distribution.py", "test_portable.py", "test_releases.py", "+debug-zip]", "test_a_folder_of_any_name", "test_the_applications_own_interpreter",
                       "test_children_inherit_nothing_strange")
# 3.14 and 3.15 are tested in a root folder of Debian's next release, see roots/.
SUPPORTED = [(3, minor) for minor in range(11, 14)]


def _hosts():
    """The installed Pythons that can be embedded, as `host:PATH`."""
    candidates = sorted(Path.home().glob(".pyenv/versions/*/bin/python3"))
    candidates += [Path("/usr/bin") / f"python3.{minor}" for _, minor in SUPPORTED]
    question = (
        "import sys, sysconfig, os; v = sysconfig.get_config_vars(); "
        "usual = not v.get('Py_GIL_DISABLED') and not v.get('Py_DEBUG') and sys.implementation.name == 'cpython'; "
        "print(*sys.version_info[:2], usual and any(os.path.exists(os.path.join(v[f], v['LIBRARY'])) for f in ('LIBPL', 'LIBDIR')))"
    )
    for path in candidates:
        if path.exists():
            asked = run(path, "-I", "-c", question, check=False)
            *version, archive = asked.stdout.split() or [""]
            if tuple(map(int, version)) in SUPPORTED and archive == "True":
                yield f"host:{path}"


HOSTS = GIVEN or tuple(_hosts())
ALL = HOSTS + SOURCES


def _minor(spec):
    """The minor version that a spec's path or name tells."""
    # `source@3.13+debug` is of 3.13 too.
    return spec.split("@")[1].split("+")[0] if "@" in spec else run(spec.removeprefix("host:"), "-IS", "-c", "import sys; print('%d.%d' % sys.version_info[:2])").stdout.strip()


def _one_of_each_minor():
    """One distribution for each minor version, hosts before sources but for the newest of the sources."""
    chosen = {}
    for spec in (*SOURCES[-1:], *HOSTS, *SOURCES):
        chosen.setdefault(_minor(spec), spec)
    return tuple(chosen[minor] for minor in sorted(chosen))


MINORS = _one_of_each_minor()
VERSIONS = tuple(map(_minor, MINORS))


def pytest_configure():
    # A shell that starts a job in the background has it ignore some signals, and children inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGHUP, signal.SIGQUIT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    if len(MINORS) < 3 and not GIVEN:
        found = ", ".join(map(_minor, MINORS))
        pytest.exit(
            f"expected Pythons of three minor versions of 3.11 to 3.13 with their static libraries, found {found}: "
            "install more, such as with `pyenv install 3.12`",
            returncode=2,
        )


def pytest_collection_modifyitems(config, items):
    """Leaves out what does not run on each of the distributions that were named, or is about another shape."""

    def runs(item):
        each = {"arm", "built", "distribution", "each_minor", "shared"} & set(item.fixturenames)
        if any("+debug" in spec for spec in GIVEN) and any(part in item.nodeid for part in NOT_OF_DEBUG_BUILDS):
            return False
        # A distribution with the shape of its executables; a mark where there is none.
        target = item.callspec.params.get("target") if hasattr(item, "callspec") else None
        is_given = isinstance(target, tuple) and target[0] in GIVEN
        return (each or is_given) and "source" not in item.fixturenames and item.originalname not in OF_OTHER_SHAPES

    left_out = [item for item in items if GIVEN and not runs(item)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


def pytest_generate_tests(metafunc):
    """`distribution`: each there is; `built`: those from source; `each_minor`: one for each minor version."""

    def name(spec):
        if "@" in spec:
            return spec
        path = Path(spec.removeprefix("host:"))
        return f"host-{path.parts[-3]}" if ".pyenv" in spec else f"host-{path.name}"

    if "distribution" in metafunc.fixturenames:
        metafunc.parametrize("distribution", ALL, ids=map(name, ALL), indirect=True, scope="session")
    if "built" in metafunc.fixturenames:
        built = tuple(spec for spec in ALL if spec.startswith("source@"))
        metafunc.parametrize("built", built, ids=map(name, built), indirect=True, scope="session")
    if "each_minor" in metafunc.fixturenames:
        metafunc.parametrize("each_minor", MINORS, ids=map(name, MINORS), indirect=True, scope="session")


@pytest.fixture(scope="session")
def pyox():
    folder = Path(os.environ.get("PYOX_BIN", REPOSITORY / "target/release"))
    assert (folder / "pyox-link").exists(), f"{folder}: no tools; run `make tools runtime`"
    return Chain(folder)


@pytest.fixture(scope="session")
def fetched(pyox, tmp_path_factory):
    """Gives the distribution of a spec; each is fetched once."""
    folder, known = tmp_path_factory.mktemp("distributions"), {}

    def fetch(spec) -> Distribution:
        if spec not in known:
            known[spec] = pyox.fetch(spec, folder / f"{len(known)}.json", timeout=1800)
        return known[spec]

    return fetch


@pytest.fixture(scope="session", autouse=True)
def distributions(fetched):
    """Every distribution, before the first test: a cold build of CPython is not a test's time."""
    return [fetched(spec) for spec in ALL]


@pytest.fixture(scope="session")
def distribution(request, fetched):
    return fetched(request.param)


@pytest.fixture(scope="session")
def built(request, fetched):
    return fetched(request.param)


@pytest.fixture(scope="session")
def each_minor(request, fetched):
    return fetched(request.param)


# Of an installed Python alone: those that are built from source have no shared library.
@pytest.fixture(scope="session", params=VERSIONS)
def shared(request, distributions):
    """An installed Python of a minor version that has its shared library."""
    found = (d for d in distributions if ".".join(map(str, d.minor)) == request.param and d.json["link"].get("shared_libpython"))
    return next(found)


@pytest.fixture(scope="session")
def source(fetched):
    """The newest distribution built from source: it links statically and dynamically."""
    return fetched(SOURCES[-1])


@pytest.fixture(scope="session")
def host(fetched):
    """An installed Python, whose extension modules are shared objects."""
    return fetched(next((spec for spec in HOSTS if ".pyenv" in spec), HOSTS[0]))


# --- The probe: an application that runs the code in its first argument --------


@pytest.fixture(scope="session")
def probe_source(tmp_path_factory):
    """A script that runs what it is told, and packages with every kind of resource."""
    folder = tmp_path_factory.mktemp("probe")
    write(
        folder / "probe.py",
        """
        import sys
        code = sys.argv.pop(1)
        exec(compile(code, "<probe>", "exec"))
        """,
    )
    write(folder / "shelf/__init__.py", '"""A package with data."""\nfrom . import book\n')
    write(
        folder / "shelf/book.py",
        '''
        """A module with source."""

        def read(page):
            """Reads a page."""
            return 1 / page
        ''',
    )
    write(folder / "shelf/inner/__init__.py", "")
    write(folder / "shelf/inner/deep.py", "VALUE = 'deep'\n")
    write(folder / "shelf/__main__.py", "import sys\nprint('main of shelf', sys.argv[1:])\n")
    write(folder / "shelf/note.txt", "a note, größer\n")
    (folder / "shelf/empty.bin").write_bytes(b"")
    (folder / "shelf/large.bin").write_bytes(bytes(range(256)) * 1024)
    write(folder / "shelf/folder/nested/leaf.txt", "leaf\n")
    # No `__init__`: a namespace package, in a folder that is on the path.
    write(folder / "path/space/one.py", "VALUE = 1\n")
    write(folder / "path/space/data.txt", "of a namespace\n")
    write(folder / "path/space/sub/two.py", "VALUE = 2\n")
    return folder


@pytest.fixture(scope="session")
def probes(pyox, fetched, probe_source, tmp_path_factory):
    """Gives the probe for a distribution; each is built once."""
    known = {}

    def probe(distribution, *link):
        key = (distribution.spec, link)
        if key not in known:
            folder = tmp_path_factory.mktemp("executable")
            collect = (probe_source / "probe.py", probe_source / "shelf", "--path", probe_source / "path")
            options = ("--with", "rich==14.2.0", "--interpreter")
            known[key] = pyox.build(folder, distribution, *collect, *options, name="probe", link=link)
        return known[key]

    return probe


@pytest.fixture
def probe(probes, distribution):
    """The probe on each distribution."""
    return probes(distribution)


@pytest.fixture(scope="session")
def static_probe(probes, source):
    return probes(source, "--static")


@pytest.fixture(scope="session")
def dynamic_probe(probes, source):
    return probes(source, "--dynamic")


# --- The driver -----------------------------------------------------------------


@pytest.fixture
def driver(pyox, tmp_path, host):
    """Runs `pyox` in a folder of its own, with a Python that can be embedded first on PATH."""

    def drive(*arguments, cwd=tmp_path, tools=None, **options):
        """`tools` is a folder that comes to PATH as well."""
        path = f"{host.python.parent}:{pyox.folder}:{os.environ['PATH']}" + (f":{tools}" if tools else "")
        return run(pyox.folder / "pyox", *arguments, cwd=cwd, env=pyox.environment | {"PATH": path}, timeout=300, **options)

    return drive


# --- The platform -----------------------------------------------------------------


@pytest.fixture(scope="session")
def authority(tmp_path_factory):
    """A folder with `root.pem`, a certificate authority that nobody knows, and `server.pem`, what it gave localhost."""
    return certify(tmp_path_factory.mktemp("authority"), "localhost")


@pytest.fixture
def full_disk(tmp_path):
    """A folder on a file system of its own with 256 KiB, most of them free."""
    folder = tmp_path / "small"
    folder.mkdir()
    assert os.geteuid() == 0, "needs root to mount a small file system"
    run("mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", folder)
    yield folder
    subprocess.run(["umount", folder], check=True)


@pytest.fixture
def home(tmp_path):
    """An environment with an empty home folder, and where its cache would be."""
    folder = tmp_path / "home"
    folder.mkdir()
    environment = clean_environment() | {"HOME": str(folder), "TMPDIR": str(tmp_path)}
    environment.pop("XDG_CACHE_HOME", None)
    return environment, folder / ".cache/pyembed"
