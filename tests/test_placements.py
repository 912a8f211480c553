"""Where the files of packages are: in memory, in a cache folder, or beside the executable.

The package `kit` of the application brings a program that it runs by its path, which no process can do
with a file in memory. The packages of the knowledge base (tools/pyox-collect/src/placements.toml) are
tried as they are, with the entry and without.
"""

import json
import os
import re
import shutil
import subprocess

import pytest

from chain import REPOSITORY, ask, require, run, write
from conftest import HOSTS

RUN = "import kit; print(kit.run())"


@pytest.fixture(scope="session")
def kit_source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kit")
    write(folder / "main.py", "import sys\ncode = sys.argv.pop(1)\nexec(code)\n")
    write(
        folder / "kit/__init__.py",
        """
        import os
        import subprocess

        TOOL = os.path.join(os.path.dirname(__file__), "bin", "tool")

        def run():
            return subprocess.check_output([TOOL], text=True).strip()
        """,
    )
    write(folder / "kit/bin/tool", "#!/bin/sh\necho \"$(cat \"$(dirname \"$0\")/../data/words.txt\")\"\n")
    write(folder / "kit/data/words.txt", "words of a file\n")
    # Long enough for processes that start at once to meet.
    (folder / "kit/data/large.bin").write_bytes(bytes(range(256)) * 40_000)
    write(folder / "kit/part/__init__.py", "VALUE = 1\n")
    write(folder / "kit/part/deep.py", "def value():\n    return 2\n")
    write(folder / "single.py", "import os\nHERE = os.path.exists(__file__)\n")
    return folder


@pytest.fixture(scope="session")
def built(pyox, host, kit_source, tmp_path_factory):
    """Gives the executable for values of --placement; each is built once."""
    known = {}

    def build(*placements):
        if placements not in known:
            options = [option for placement in placements for option in ("--placement", placement)]
            apps = [kit_source / name for name in ("main.py", "kit", "single.py")]
            known[placements] = pyox.build(tmp_path_factory.mktemp("placed"), host, *apps, *options)
        return known[placements]

    return build


@pytest.fixture(scope="session")
def newest(fetched):
    """The newest of the installed Pythons: not all projects have wheels for older ones."""
    return fetched([spec for spec in HOSTS if ".pyenv" in spec][-1])


def files_below(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def changes(executable, environment):
    """The system calls by which importing kit changes the file system."""
    require("strace")
    calls = "trace=open,openat,creat,mkdir,mkdirat,rename,renameat,renameat2,link,linkat,unlink,unlinkat"
    code = "import kit, kit.part.deep, single"
    traced = run("strace", "-f", "-qq", "-e", calls, executable, code, env=environment).stderr
    changing = re.compile(r"O_WRONLY|O_RDWR|O_CREAT|\b(creat|mkdir|rename|link|unlink)\w*\(")
    return [line for line in traced.splitlines() if changing.search(line) and "/dev/" not in line]


def test_memory_is_the_default_and_writes_nothing(built, home):
    environment, cache = home
    # The program runs, but sees no packed files of its own.
    assert run(built(), RUN, env=environment, check=False).stdout != "words of a file\n"
    assert changes(built(), environment) == []
    assert not cache.exists()
    assert changes(built("kit=cache"), environment) != []


def test_a_packages_program_runs_from_the_cache(built, home):
    environment, cache = home
    executable = built("kit=cache")
    for _ in range(2):
        assert run(executable, RUN, env=environment).stdout == "words of a file\n"
    (folder,) = (cache / "packages").iterdir()
    assert folder.name.startswith("kit-")
    assert files_below(folder) == [
        "app/kit/__init__.py",
        "app/kit/bin/tool",
        "app/kit/data/large.bin",
        "app/kit/data/words.txt",
        "app/kit/part/__init__.py",
        "app/kit/part/deep.py",
    ]
    assert cache.stat().st_mode & 0o777 == 0o700
    assert (folder / "app/kit/bin/tool").stat().st_mode & 0o777 == 0o700
    assert (folder / "app/kit/data/words.txt").stat().st_mode & 0o777 == 0o600


def test_other_modules_stay_in_memory(built, home):
    environment, cache = home
    executable = built("kit=cache")
    code = "import json, single; print(json.dumps([single.__file__, json.__file__]))"
    for path in ask(executable, code, env=environment):
        assert path.startswith(str(executable) + "/")
    assert not cache.exists(), "nothing of kit was imported"


def test_importlib_sees_real_files(built, home):
    environment, cache = home
    code = """
        import importlib.resources, importlib.util, inspect, json, pathlib, pkgutil
        import kit, kit.part.deep
        files = importlib.resources.files("kit")
        with importlib.resources.as_file(files / "data") as folder:
            data = sorted(path.name for path in folder.iterdir())
        print(json.dumps({
            "file": kit.__file__,
            "path": kit.__path__,
            "cached": kit.__cached__,
            "deep": kit.part.deep.__file__,
            "files": [isinstance(files, pathlib.Path), str(files)],
            "data": data,
            "loader": kit.__loader__.get_data(kit.__file__).decode() == inspect.getsource(kit),
            "listed": [module.name for module in pkgutil.walk_packages(kit.__path__, "kit.")],
            "spec": importlib.util.find_spec("kit.part").origin,
        }))
    """
    answer = ask(built("kit=cache"), code, env=environment)
    (folder,) = (cache / "packages").iterdir()
    kit = str(folder / "app/kit")
    assert answer["file"] == f"{kit}/__init__.py"
    assert answer["path"] == [kit]
    assert answer["cached"].startswith(f"{kit}/__pycache__/__init__.cpython-")
    assert answer["deep"] == f"{kit}/part/deep.py"
    assert answer["files"] == [True, kit]
    assert answer["data"] == ["large.bin", "words.txt"]
    assert answer["loader"] is True
    assert answer["listed"] == ["kit.part", "kit.part.deep"]
    assert answer["spec"] == f"{kit}/part/__init__.py"


def test_a_top_level_module_has_a_placement_too(built, home):
    environment, cache = home
    assert run(built("single=cache"), "import single; print(single.HERE)", env=environment).stdout == "True\n"
    (folder,) = (cache / "packages").iterdir()
    assert files_below(folder) == ["app/single.py"]


def test_executables_share_a_packages_files(built, home):
    environment, cache = home
    run(built("kit=cache"), RUN, env=environment)
    (folder,) = (cache / "packages").iterdir()
    before = (folder / "app/kit/data/large.bin").stat().st_ino
    run(built("kit=cache", "single=cache"), RUN, env=environment)
    assert [folder] == list((cache / "packages").iterdir())
    assert (folder / "app/kit/data/large.bin").stat().st_ino == before


def test_eight_first_starts_at_once(built, home):
    environment, cache = home
    executable = built("kit=cache")
    processes = [
        subprocess.Popen([executable, RUN], env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(8)
    ]
    said = [process.communicate(timeout=60) for process in processes]
    assert said == [("words of a file\n", "")] * 8
    (folder,) = (cache / "packages").iterdir()
    assert [name for name in files_below(folder) if not name.startswith("app/kit/")] == []


@pytest.mark.parametrize("damage", ["flipped", "cut", "removed", "longer", "not executable"])
def test_a_damaged_file_of_the_cache_is_made_again(built, home, damage):
    environment, cache = home
    executable = built("kit=cache")
    run(executable, RUN, env=environment)
    (folder,) = (cache / "packages").iterdir()
    tool = folder / "app/kit/bin/tool"
    whole = tool.read_bytes()
    match damage:
        case "flipped":
            tool.write_bytes(whole.replace(b"echo", b"exit"))
        case "cut":
            tool.write_bytes(whole[:-5])
        case "removed":
            tool.unlink()
        case "longer":
            tool.write_bytes(whole + b"\n")
        case "not executable":
            tool.chmod(0o600)
    assert run(executable, RUN, env=environment).stdout == "words of a file\n"
    assert tool.read_bytes() == whole


def test_what_a_killed_process_left_is_no_obstacle(built, home):
    environment, cache = home
    executable = built("kit=cache")
    run(executable, RUN, env=environment)
    (folder,) = (cache / "packages").iterdir()
    (folder / ".new-1").write_bytes(b"half")
    (folder / "app/kit/data/large.bin").unlink()
    assert run(executable, RUN, env=environment).stdout == "words of a file\n"
    assert not (folder / ".new-1").exists()


def test_without_a_home_the_temporary_folder_serves(built, home, tmp_path):
    environment, _ = home
    # No folder can be made there, not even by root.
    environment |= {"HOME": "/proc"}
    assert run(built("kit=cache"), RUN, env=environment).stdout == "words of a file\n"
    folder = tmp_path / f"pyembed-{os.geteuid()}"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert len(list((folder / "packages").iterdir())) == 1


def test_where_nothing_can_be_written_the_import_says_so(built, home):
    environment, _ = home
    environment |= {"HOME": "/proc", "TMPDIR": "/proc"}
    done = run(built("kit=cache"), RUN, env=environment, check=False)
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith("ImportError: kit: its files (placement cache): cannot be written to a cache folder: /proc/")
    code = "import single; print(single.HERE)"
    assert run(built("kit=cache"), code, env=environment).stdout == "True\n"


def test_another_users_folder_is_not_used(built, home, tmp_path):
    environment, _ = home
    environment |= {"HOME": "/proc"}
    foreign = tmp_path / f"pyembed-{os.geteuid()}"
    foreign.mkdir(mode=0o777)
    os.chown(foreign, 12345, 12345)
    done = run(built("kit=cache"), RUN, env=environment, check=False)
    assert done.returncode == 1
    assert "expected a folder that belongs to the user" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("kind", ["link", "home"])
def test_the_home_of_another_user_is_not_used(built, home, tmp_path, kind):
    """As `sudo` may leave it: nothing is made there, nor where a link in it leads. The temporary folder serves."""
    environment, _ = home
    place, victim = tmp_path / "theirs", tmp_path / "victim"
    place.mkdir()
    victim.mkdir()
    if kind == "link":
        (place / ".cache").symlink_to(victim)
        os.chown(place / ".cache", 12345, 12345, follow_symlinks=False)
    else:
        os.chown(place, 12345, 12345)
    executable = built("kit=cache")
    environment |= {"HOME": str(place)}
    assert run(executable, RUN, env=environment).returncode == 0
    assert list(victim.iterdir()) == [] and [path.name for path in place.iterdir()] == ([".cache"] if kind == "link" else [])
    assert (tmp_path / f"pyembed-{os.geteuid()}").is_dir()


def copied(executable, folder):
    """The executable and its files, elsewhere and under another name."""
    folder.mkdir()
    shutil.copytree(f"{executable}.files", folder / "other.files")
    return shutil.copy(executable, folder / "other")


def test_beside_works_where_both_are_moved_to(built, home, tmp_path):
    environment, cache = home
    executable = built("kit=beside")
    assert files_below(executable.with_name("app.files"))[:2] == ["app/kit/__init__.py", "app/kit/bin/tool"]
    other = copied(executable, tmp_path / "there")
    for path in (executable, other):
        assert run(path, RUN, env=environment).stdout == "words of a file\n"
    code = "import kit; print(kit.__file__)"
    assert run(other, code, env=environment).stdout == f"{other}.files/app/kit/__init__.py\n"
    assert not cache.exists()


def test_beside_works_through_a_link(built, home, tmp_path):
    environment, _ = home
    link = tmp_path / "link"
    link.symlink_to(built("kit=beside"))
    assert run(link, RUN, env=environment).stdout == "words of a file\n"


def test_a_missing_folder_beside_is_named(built, home, tmp_path):
    environment, _ = home
    alone = shutil.copy(built("kit=beside"), tmp_path / "alone")
    done = run(alone, RUN, env=environment, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        f"ImportError: kit: its files (placement beside): {alone}.files: "
        "expected the folder that belongs to the executable, found none"
    )


@pytest.mark.parametrize("change", ["changed", "removed"])
def test_a_file_of_another_build_beside_is_named(built, home, tmp_path, change):
    environment, _ = home
    other = copied(built("kit=beside"), tmp_path / "there")
    words = tmp_path / "there/other.files/app/kit/data/words.txt"
    words.write_text("words of fire\n\n") if change == "changed" else words.unlink()
    done = run(other, RUN, env=environment, check=False)
    assert done.returncode == 1
    assert f"{words}: expected the file that belongs to the executable" in done.stderr.splitlines()[-1]


def test_linking_again_removes_what_an_older_build_left(pyox, host, built):
    executable = built("kit=beside")
    old, foreign = executable.with_name("app.files") / "app/kit/old.py", executable.with_name("app.files") / "mine.txt"
    old.write_text("")
    foreign.write_text("")
    pyox("link", executable.with_name("app.blob"), "-d", host.document, "-o", executable)
    assert not old.exists() and foreign.exists()


def test_beside_needs_the_name_of_an_executable(pyox, host, built):
    blob = built("kit=beside").with_name("app.blob")
    done = pyox("link", blob, "-d", host.document, check=False, text=False)
    assert done.returncode == 2 and done.stdout == b""
    assert done.stderr.startswith(b"pyox-link:") and b"error: stdout: the files of kit belong into a folder" in done.stderr


def test_artifacts_have_the_files_beside(pyox, host, built, tmp_path):
    executable = built("kit=beside")
    pyox("link", executable.with_name("app.blob"), "-d", host.document, "--emit", "artifacts", tmp_path / "out")

    def files(folder):
        return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != "mine.txt"}

    assert files(tmp_path / "out/app.files") == files(executable.with_name("app.files")) != {}


# --- What the tools say ---------------------------------------------------------


def refused(pyox, *arguments):
    done = pyox(*arguments, check=False)
    assert done.returncode == 2 and done.stdout == ""
    return done.stderr.splitlines()


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (["kit"], "--placement kit: expected PACKAGE=memory, =cache or =beside, got no `=`"),
        (["kit=disk"], "--placement kit=disk: expected memory, cache or beside behind `=`, got something else"),
        (["kot=cache"], "--placement kot: expected the name of a package that is taken, found none that has it"),
        (
            ["kit.part.deep=cache"],
            "--placement kit.part.deep: expected a package or a top-level module, got a module of a package",
        ),
        (
            ["kit=cache", "kit.part=beside"],
            "--placement kit: expected packages that are not inside each other, got kit.part too",
        ),
    ],
)
def test_collect_refuses_what_is_no_placement(pyox, host, kit_source, options, error):
    placements = [part for option in options for part in ("--placement", option)]
    lines = refused(pyox, "collect", "-d", host.document, kit_source / "main.py", kit_source / "kit", *placements)
    assert lines[-1] == f"pyox-collect: error: {error}"


@pytest.mark.parametrize(
    ("placements", "error"),
    [
        ({"kot": "cache"}, "placements: kot: the manifest has no such package"),
        ({"kit": "cache", "kit.part": "cache"}, "placements: kit.part: it lies in kit, which has a placement itself"),
    ],
)
def test_pack_refuses_what_is_no_placement(pyox, host, kit_source, tmp_path, placements, error):
    apps = (kit_source / "main.py", kit_source / "kit")
    manifest = pyox.manifest(tmp_path, host, *apps, edit=lambda document: document.update(placements=placements))
    lines = refused(pyox, "pack", manifest, "-d", host.document)
    assert lines == [f"pyox-pack: error: {error}"]


def test_inspect_shows_placements(pyox, built):
    executable, memory = built("kit=cache", "single=cache"), built()
    for path in (executable, executable.with_name("app.json"), executable.with_name("app.blob")):
        assert "kit (cache), single (cache)" in pyox("inspect", path).stdout
        config = json.loads(pyox("inspect", "config", path, "--json").stdout)
        assert (config["placements.kit"], config["placements.single"]) == ("cache", "cache")
    done = pyox("inspect", "--diff", memory, executable, check=False)
    assert done.returncode == 1
    assert re.search(r"\+ +config +placements\.kit +\(none\) -> cache", done.stdout)


def test_collect_tells_of_paths_that_leave_python(pyox, host, kit_source):
    def notes(*options):
        apps = (kit_source / "main.py", kit_source / "kit")
        said = pyox("collect", "-d", host.document, *apps, *options).stderr
        return [line for line in said.splitlines() if "kit" in line]

    assert notes() == [
        "pyox-collect: note: kit gives paths to other programs (app/kit/__init__.py:7); "
        "if it does not find its files: --placement kit=cache"
    ]
    assert notes("--placement", "kit=cache") == []
    assert notes("--placement", "kit=memory") == []


# --- The knowledge base ---------------------------------------------------------

# Package, what pip installs, what it does with its files.
KNOWN = {
    "cmake": ("cmake==4.4.4", "import cmake, os, subprocess; subprocess.run([os.path.join(cmake.CMAKE_BIN_DIR, 'cmake'), '--help-module', 'FindZLIB'], check=True)"),
    "cv2": ("opencv-python-headless==5.0.0.93", "import cv2, numpy; assert cv2.imencode('.png', numpy.zeros((4, 4), numpy.uint8))[0]"),
    "playwright": ("playwright==1.65.2", "import subprocess; from playwright._impl._driver import compute_driver_executable as driver; subprocess.run([*driver(), '--version'], check=True)"),
}


def test_each_entry_of_the_knowledge_base_has_a_test():
    text = (REPOSITORY / "tools/pyox-collect/src/placements.toml").read_text()
    assert re.findall(r'^package = "(.+)"$', text, re.MULTILINE) == sorted(KNOWN)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("package", KNOWN)
def test_a_known_package_needs_its_entry(pyox, newest, home, tmp_path, package):
    environment, cache = home
    host = newest
    project, code = KNOWN[package]
    script = write(tmp_path / "use.py", code + "\n")

    def use(name, *options):
        collected = pyox("collect", "-d", host.document, script, "--with", project, *options, "-o", tmp_path / f"{name}.json", timeout=280)
        pyox("pack", tmp_path / f"{name}.json", "-d", host.document, "-o", tmp_path / f"{name}.blob")
        # Not named as a program that it may look for.
        executable = tmp_path / f"app-{name}"
        pyox("link", tmp_path / f"{name}.blob", "-d", host.document, "-o", executable)
        # What a package looks for may be installed on this machine too.
        elsewhere = ("PYPANDOC_PANDOC", "IMAGEIO_FFMPEG_EXE", "PROJ_DATA", "PROJ_LIB")
        bare = {name: value for name, value in environment.items() if name not in elsewhere} | {"PATH": "/nonexistent"}
        return collected.stderr, run(executable, env=bare, check=False)

    said, done = use("known")
    assert f"note: {package}: placement cache: " in said
    assert done.returncode == 0, done.stderr
    assert (cache / "packages").is_dir()
    said, done = use("memory", "--placement", f"{package}=memory")
    assert f"note: {package}: placement" not in said
    assert done.returncode != 0, "it works from memory: the knowledge base need not name it"
