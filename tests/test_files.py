"""Packed files as the C library's functions show them: the same answers as for real files, to Python and to C code.

Each question runs in an executable and under plain `python` on the same files in a folder, and the answers must be
equal but for the folder's path. What a read-only file system answers differently stands in tests of its own.
"""

import json
import shutil
import sys
import textwrap

import pytest

from chain import ask, require, run, write

QUESTIONS = r'''
import bz2, filecmp, glob, hashlib, io, json, mmap, os, pathlib, pickle, pkgutil, shutil, stat, sys, tempfile, zipfile
import shelf

HERE = os.path.dirname(shelf.__file__)
NOTE = os.path.join(HERE, "note.txt")
LEAF = os.path.join(HERE, "folder", "nested", "leaf.txt")


def attempt(question):
    try:
        answer = question()
    except Exception as error:
        answer = [type(error).__name__, getattr(error, "errno", None), str(getattr(error, "filename", ""))]
    return repr(answer).replace(repr(HERE)[1:-1], "HERE")


def kind(told):
    """What two files of the same content agree in, wherever they lie."""
    return stat.S_IFMT(told.st_mode), told.st_size if stat.S_ISREG(told.st_mode) else None


def scanned(place):
    with os.scandir(place) as entries:
        found = [(type(e) is os.DirEntry, e.name, e.path, e.is_dir(), e.is_file(), e.is_symlink(), kind(e.stat()), e.inode() > 0) for e in entries]
    return sorted(entry for entry in found if "__pycache__" not in repr(entry))


def listed(names):
    return sorted(name for name in names if "__pycache__" not in repr(name))


def walked(walk):
    return sorted((root, listed(folders), listed(files)) for root, folders, files, *_ in walk if "__pycache__" not in repr(root))


def opened(path, **options):
    with open(path, **options) as file:
        return file.read()


def through_folder(function):
    descriptor = os.open(HERE, os.O_RDONLY | os.O_DIRECTORY)
    try:
        return function(descriptor)
    finally:
        os.close(descriptor)


def copied(copy):
    with tempfile.TemporaryDirectory() as folder:
        target = os.path.join(folder, "copy")
        copy(target)
        if os.path.isfile(target):
            return opened(target), os.stat(target).st_mtime_ns == os.stat(NOTE).st_mtime_ns
        return [walked((os.path.relpath(root, folder), folders, files) for root, folders, files in os.walk(target))]


def descriptor_of(path, question):
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return question(descriptor)
    finally:
        os.close(descriptor)


def is_same(descriptor, path):
    """A file and its descriptor are one: all attributes, but for when it was read."""
    one, other = os.fstat(descriptor), os.stat(path)
    return os.path.samestat(one, other), one.st_mtime_ns == other.st_mtime_ns, one[:7] == other[:7]


def writes_to(descriptor):
    return os.write(descriptor, b"x")


questions = [
    lambda: kind(os.stat(NOTE)), lambda: kind(os.lstat(NOTE)), lambda: kind(os.stat(HERE)), lambda: kind(os.stat(os.fsencode(NOTE))),
    lambda: isinstance(os.stat(NOTE).st_mtime_ns, int) and os.stat(NOTE).st_mtime_ns > 0, lambda: os.stat(NOTE).st_nlink,
    lambda: os.path.samefile(NOTE, os.path.join(HERE, "folder", "..", "note.txt")), lambda: os.path.samefile(NOTE, LEAF),
    lambda: len({os.stat(os.path.join(HERE, name)).st_ino for name in ("note.txt", "folder", "empty.bin", "large.bin")}),
    lambda: [os.path.exists(p) for p in (NOTE, NOTE + "x", NOTE + "/x", HERE + "/", os.path.join(HERE, "absent", "x"))],
    lambda: [os.path.isfile(NOTE), os.path.isdir(HERE), os.path.islink(NOTE), os.path.ismount(HERE), os.path.lexists(NOTE)],
    lambda: os.stat(NOTE + "x"), lambda: os.stat(NOTE + "/"), lambda: os.stat(NOTE + "/x"), lambda: os.stat(os.path.join(HERE, "absent", "x")),
    lambda: opened(NOTE, encoding="utf-8"), lambda: open(file=NOTE, encoding="utf-8").read(),
    lambda: opened(NOTE, mode="rb", buffering=0), lambda: opened(os.fsencode(NOTE), mode="rb"), lambda: opened(pathlib.Path(NOTE), mode="rb"),
    lambda: opened(NOTE + "x"), lambda: opened(HERE), lambda: opened(NOTE + "/x"), lambda: io.open_code(NOTE).read(), lambda: open(NOTE, opener=lambda p, f: os.open(path=p, flags=f)).read(),
    lambda: descriptor_of(NOTE, lambda d: os.read(d, 100)), lambda: descriptor_of(NOTE, lambda d: is_same(d, NOTE)), lambda: descriptor_of(HERE, lambda d: is_same(d, HERE)),
    lambda: descriptor_of(NOTE, writes_to), lambda: descriptor_of(NOTE, lambda d: os.lseek(d, 2, os.SEEK_SET) or os.read(d, 3)),
    lambda: descriptor_of(NOTE, lambda d: (os.get_inheritable(d), os.fstat(os.dup(d)).st_size, kind(os.fstat(d)))),
    lambda: descriptor_of(NOTE, lambda d: mmap.mmap(d, 0, access=mmap.ACCESS_READ)[:6]), lambda: descriptor_of(NOTE, lambda d: os.pread(d, 4, 1)),
    lambda: os.open(NOTE, os.O_RDONLY | os.O_DIRECTORY), lambda: os.open(HERE, os.O_RDWR), lambda: os.open(NOTE, os.O_RDWR | os.O_CREAT | os.O_EXCL),
    lambda: hashlib.sha256(opened(os.path.join(HERE, "large.bin"), mode="rb")).hexdigest(), lambda: opened(os.path.join(HERE, "empty.bin"), mode="rb"),
    lambda: listed(os.listdir(HERE)), lambda: listed(os.listdir(os.fsencode(HERE))), lambda: os.listdir(NOTE), lambda: os.listdir(HERE + "x"), lambda: listed(os.listdir(path=HERE)),
    lambda: scanned(HERE), lambda: scanned(pathlib.Path(HERE)), lambda: scanned(os.path.join(HERE, "folder") + "/"), lambda: scanned(NOTE),
    lambda: walked(os.walk(HERE)), lambda: walked(os.walk(HERE, topdown=False)), lambda: walked(os.fwalk(HERE)), lambda: walked(os.fwalk(HERE, topdown=False, follow_symlinks=True)),
    lambda: listed(glob.glob(HERE + "/**", recursive=True)), lambda: listed(glob.glob("**/*.txt", root_dir=HERE, recursive=True)), lambda: listed(map(str, pathlib.Path(HERE).rglob("*.txt"))),
    lambda: listed(map(str, pathlib.Path(HERE).glob("*.py"))), lambda: listed(map(str, pathlib.Path(HERE).iterdir())),
    lambda: through_folder(lambda d: listed(os.listdir(d))), lambda: through_folder(lambda d: kind(os.stat("folder/nested/leaf.txt", dir_fd=d))),
    lambda: through_folder(lambda d: os.read(os.open("note.txt", os.O_RDONLY, dir_fd=d), 6)), lambda: through_folder(lambda d: os.stat("absent", dir_fd=d)),
    lambda: through_folder(lambda d: os.access("note.txt", os.R_OK, dir_fd=d)), lambda: through_folder(lambda d: kind(os.fstat(d))),
    lambda: through_folder(lambda d: listed(e.name for e in os.scandir(d))), lambda: through_folder(lambda d: kind(os.stat("../shelf/note.txt", dir_fd=d))),
    lambda: [os.access(p, mode) for p in (NOTE, HERE) for mode in (os.F_OK, os.R_OK, os.X_OK)], lambda: os.access(os.path.join(HERE, "tool.sh"), os.X_OK), lambda: os.access(NOTE + "x", os.F_OK),
    lambda: os.access(NOTE, os.R_OK, effective_ids=True), lambda: os.readlink(NOTE), lambda: os.readlink(NOTE + "x"), lambda: os.path.realpath(NOTE), lambda: os.path.realpath(os.path.join(HERE, "folder", "..", "x")),
    lambda: str(pathlib.Path(NOTE).resolve(strict=True)), lambda: opened(os.path.relpath(NOTE), encoding="utf-8"), lambda: opened(os.path.join(HERE, "folder", "..", "..", "shelf", ".", "note.txt"), encoding="utf-8"),
    lambda: opened("/." + HERE + "//note.txt", encoding="utf-8"), lambda: os.listxattr(NOTE), lambda: os.getxattr(NOTE, "user.x"), lambda: os.statvfs(NOTE).f_bsize > 0, lambda: shutil.disk_usage(HERE).total > 0,
    lambda: copied(lambda to: shutil.copy2(NOTE, to)), lambda: copied(lambda to: shutil.copyfile(NOTE, to))[0], lambda: copied(lambda to: shutil.copy(NOTE, to))[0], lambda: copied(lambda to: shutil.copytree(HERE, to)),
    lambda: filecmp.cmp(NOTE, NOTE, shallow=False), lambda: filecmp.cmp(NOTE, LEAF, shallow=False),
    lambda: pickle.loads(pickle.dumps(os.listdir)) is os.listdir, lambda: pickle.loads(pickle.dumps(open)) is open, lambda: shutil.rmtree.avoids_symlink_attacks,
    lambda: [sorted(f.__name__ for f in s) for s in (os.supports_dir_fd, os.supports_fd, os.supports_follow_symlinks, os.supports_effective_ids)],
    lambda: [(f.__name__, f.__qualname__, f.__module__, type(f).__name__, f.__text_signature__) for f in (open, io.open, os.open, os.stat, os.lstat, os.listdir, os.scandir, os.access)],
    lambda: pkgutil.get_data("shelf", "note.txt"), lambda: pkgutil.get_data("shelf", "./note.txt"), lambda: pkgutil.get_data("shelf", "folder/../note.txt"), lambda: pkgutil.get_data("shelf", "absent"),
    lambda: zipfile.ZipFile(os.path.join(HERE, "packed.zip")).namelist(), lambda: [sys.path.insert(0, os.path.join(HERE, "packed.zip")), __import__("zipped").VALUE],
    lambda: pathlib.Path(NOTE).stat().st_size, lambda: pathlib.Path(NOTE).read_text("utf-8"), lambda: pathlib.Path(NOTE).exists(), lambda: pathlib.Path(NOTE).samefile(NOTE), lambda: pathlib.Path(NOTE).owner() != "",
    lambda: os.unlink(NOTE + "x"), lambda: os.rmdir(NOTE + "/x"), lambda: os.mkdir(HERE), lambda: os.makedirs(os.path.join(HERE, "folder"), exist_ok=True), lambda: os.rename(NOTE + "x", NOTE + "y"),
]
print(json.dumps([attempt(question) for question in questions]))
'''


@pytest.fixture(scope="session")
def shelf_source(probe_source, tmp_path_factory):
    """A copy of the probe's package, with what only these tests want of it."""
    import zipfile

    source = tmp_path_factory.mktemp("shelf")
    shutil.copytree(probe_source, source, dirs_exist_ok=True)
    shelf = source / "shelf"
    (shelf / "tool.sh").write_text("#!/bin/sh\necho tool \"$@\"\n")
    (shelf / "tool.sh").chmod(0o755)
    with zipfile.ZipFile(shelf / "packed.zip", "w") as packed:
        packed.writestr(zipfile.ZipInfo("zipped.py"), "VALUE = 'from a zip'\n")
    return source


@pytest.fixture(scope="session")
def files_probe(pyox, shelf_source, tmp_path_factory):
    """The package and a script that runs what it is told, for a distribution."""
    known = {}

    def build(distribution, *link):
        key = (distribution.spec, link)
        if key not in known:
            folder = tmp_path_factory.mktemp("files")
            known[key] = pyox.build(folder, distribution, shelf_source / "probe.py", shelf_source / "shelf", name="probe", link=link)
        return known[key]

    return build


def as_python(distribution, source, code):
    """What the same questions get under `python`, with the package in a folder."""
    start = f"import sys; sys.path.insert(0, {str(source)!r}); code = sys.argv.pop(1); exec(compile(code, '<probe>', 'exec'))"
    return json.loads(distribution.run_python("-c", start, textwrap.dedent(code)).stdout)


def compare_answers(found, expected):
    differ = [f"{number}: found {f}, expected {e}" for number, (f, e) in enumerate(zip(found, expected, strict=True)) if f != e]
    assert not differ, "\n".join(differ)


def test_as_real_files(files_probe, each_minor, shelf_source):
    expected = as_python(each_minor, shelf_source, QUESTIONS)
    compare_answers(ask(files_probe(each_minor), QUESTIONS), expected)


def test_as_real_files_in_a_static_executable(files_probe, source, shelf_source):
    expected = as_python(source, shelf_source, QUESTIONS)
    compare_answers(ask(files_probe(source, "--static"), QUESTIONS), expected)


@pytest.mark.parametrize("shape", ["--static", "--dynamic"])
def test_nothing_packed_can_be_changed(files_probe, source, shape):
    code = """
        import errno, json, os, shelf, shutil, tempfile
        here = os.path.dirname(shelf.__file__)
        note = os.path.join(here, "note.txt")
        real, folder = tempfile.NamedTemporaryFile(), os.open(here, os.O_RDONLY)
        attempts = [
            lambda: open(note, "w"), lambda: open(note, "r+"), lambda: open(note, "a"), lambda: open(note + "x", "w"), lambda: open(note, "x"),
            lambda: os.unlink(note), lambda: os.remove(note), lambda: os.rename(note, note + "x"), lambda: os.replace(real.name, note + "x"), lambda: os.rmdir(here),
            lambda: os.mkdir(here + "/new"), lambda: os.mkdir(here), lambda: os.chmod(note, 0o777), lambda: os.utime(note), lambda: os.truncate(note, 0),
            lambda: tempfile.NamedTemporaryFile(dir=here), lambda: os.access(note, os.W_OK),
            lambda: os.chown(note, -1, -1), lambda: os.lchown(here, -1, -1), lambda: os.chown("note.txt", -1, -1, dir_fd=folder),
            lambda: os.link(real.name, note), lambda: os.link(real.name, note + "x"), lambda: os.link(note, real.name + "x"), lambda: os.link("note.txt", real.name + "x", src_dir_fd=folder),
            lambda: os.symlink("note.txt", note + "x"), lambda: os.symlink("x", note), lambda: os.mkfifo(note + "x"), lambda: os.mkfifo(note),
            lambda: os.setxattr(note, "user.x", b""), lambda: os.removexattr(note, "user.x"),
        ]
        def number(attempt):
            try:
                return attempt()
            except OSError as error:
                return errno.errorcode.get(error.errno, str(error))
        print(json.dumps([[number(a) for a in attempts], open(note, encoding="utf-8").read()]))
    """
    numbers, note = ask(files_probe(source, shape), code)
    rofs, exists, across = "EROFS", "EEXIST", "EXDEV"
    assert numbers[:17] == [rofs, rofs, rofs, rofs, exists, *[rofs] * 5, rofs, exists, rofs, rofs, rofs, rofs, False]
    assert numbers[17:] == [rofs, rofs, rofs, exists, rofs, across, across, rofs, exists, rofs, exists, rofs, rofs]
    assert note == "a note, größer\n"


READER = r"""
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <cstdlib>
#include <dirent.h>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <ftw.h>
#include <glob.h>
#include <set>
#include <string>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>
#include <utime.h>

static char answer[1 << 16];

static const char *say(const std::string &text) { return std::strcpy(answer, text.c_str()); }

extern "C" {
const char *by_fopen(const char *path) {
    std::FILE *file = std::fopen(path, "r");
    if (!file) return "none";
    char line[256] = "";
    if (!std::fgets(line, sizeof line, file)) line[0] = 0;
    std::fclose(file);
    return say(line);
}
const char *by_freopen(const char *path) {
    std::FILE *file = std::freopen(path, "r", std::fopen("/dev/null", "r"));
    char line[256] = "";
    if (!file || !std::fgets(line, sizeof line, file)) return "none";
    std::fclose(file);
    return say(line);
}
const char *by_ifstream(const char *path) {
    std::ifstream file(path);
    std::string line;
    return file && std::getline(file, line) ? say(line) : "none";
}
const char *by_mmap(const char *path) {
    int file = open(path, O_RDONLY | O_CLOEXEC);
    struct stat told;
    if (file < 0 || fstat(file, &told)) return "none";
    void *start = mmap(nullptr, told.st_size, PROT_READ, MAP_PRIVATE, file, 0);
    std::string text(static_cast<char *>(start), told.st_size);
    munmap(start, told.st_size);
    close(file);
    return say(text);
}
const char *by_filesystem(const char *path) {
    std::set<std::string> found;
    std::error_code none;
    for (const auto &entry : std::filesystem::recursive_directory_iterator(path, none))
        if (entry.path().string().find("__pycache__") == std::string::npos)
            found.insert(entry.path().filename().string() + " " + std::to_string(entry.is_directory() ? 0 : std::filesystem::file_size(entry)));
    std::string text = std::to_string(std::filesystem::exists(path));
    for (const auto &name : found) text += " " + name;
    return say(text);
}
const char *by_readdir(const char *path) {
    DIR *folder = opendir(path);
    if (!folder) return "none";
    int count = 0, again = 0;
    while (dirent *entry = readdir(folder)) count += std::strcmp(entry->d_name, "__pycache__") != 0;
    rewinddir(folder);
    while (dirent *entry = readdir(folder)) again += std::strcmp(entry->d_name, "__pycache__") != 0;
    struct stat told;
    bool is_folder = fstat(dirfd(folder), &told) == 0 && S_ISDIR(told.st_mode);
    closedir(folder);
    return say(std::to_string(count) + " " + std::to_string(again) + " " + std::to_string(is_folder));
}
static int is_plain(const dirent *entry) { return std::strcmp(entry->d_name, "__pycache__") != 0; }
const char *by_scandir(const char *path) {
    dirent **entries;
    int count = scandir(path, &entries, is_plain, alphasort);
    std::string text = std::to_string(count);
    for (int i = 0; i < count; std::free(entries[i++])) text += std::string(" ") + entries[i]->d_name;
    if (count >= 0) std::free(entries);
    return say(text);
}
const char *by_glob(const char *path) {
    glob_t found;
    std::string pattern = std::string(path) + "/*.t[xw]t", text;
    int failed = glob(pattern.c_str(), GLOB_MARK, nullptr, &found);
    failed |= glob((std::string(path) + "/*/nested/").c_str(), GLOB_APPEND, nullptr, &found);
    for (size_t i = 0; !failed && i < found.gl_pathc; ++i) text += std::string(found.gl_pathv[i]) + "\n";
    globfree(&found);
    return say(failed ? "none" : text);
}
static std::string walked;
static int visit(const char *path, const struct stat *told, int kind, struct FTW *place) {
    if (std::strstr(path, "__pycache__")) return FTW_CONTINUE;
    walked += std::string(path) + " " + std::to_string(kind) + " " + std::to_string(S_ISDIR(told->st_mode) ? 0 : told->st_size);
    walked += " " + std::to_string(place->level) + " " + (path + place->base) + "\n";
    return std::strcmp(path + place->base, "folder") ? FTW_CONTINUE : FTW_SKIP_SUBTREE;
}
static int stop(const char *, const struct stat *, int, struct FTW *) { return 7; }
static int count(const char *path, const struct stat *, int kind) {
    walked += std::string(path) + " " + std::to_string(kind) + "\n";
    return 0;
}
const char *by_nftw(const char *path) {
    walked.clear();
    std::string same = path;
    if (same.back() != '/' && std::filesystem::is_directory(path)) same += "//";
    int outcomes[] = {
        nftw(path, visit, 8, FTW_ACTIONRETVAL | FTW_PHYS), nftw(path, visit, 1, FTW_ACTIONRETVAL | FTW_DEPTH),
        nftw64(same.c_str(), reinterpret_cast<__nftw64_func_t>(visit), 8, FTW_ACTIONRETVAL | FTW_MOUNT), nftw(path, stop, 8, 0),
    };
    for (int outcome : outcomes) walked += std::to_string(outcome) + "\n";
    return say(walked);
}
const char *by_ftw(const char *path) {
    walked.clear();
    walked += std::to_string(ftw(path, count, 8));
    return say(walked);
}
const char *by_realpath(const char *path) {
    char *found = realpath(path, nullptr);
    if (!found) return "none";
    say(found);
    std::free(found);
    return answer;
}
const char *by_change(const char *path) {
    std::string missing = std::string(path) + "x", text;
    int outcomes[] = {
        creat(path, 0600), creat64(path, 0600), creat(missing.c_str(), 0600), utime(path, nullptr), utimes(path, nullptr),
        lutimes(path, nullptr), futimesat(AT_FDCWD, path, nullptr), utimes(missing.c_str(), nullptr),
    };
    for (int outcome : outcomes) text += std::to_string(outcome) + " ";
    errno = 0;
    creat(missing.c_str(), 0600);
    text += strerrorname_np(errno);
    errno = 0;
    utimes(path, nullptr);
    text += std::string(" ") + strerrorname_np(errno);
    errno = 0;
    utime(missing.c_str(), nullptr);
    return say(text + " " + strerrorname_np(errno));
}
const char *by_access(const char *path) { return say(std::to_string(access(path, R_OK)) + std::to_string(access(path, X_OK))); }
}
"""


def test_c_code_sees_them(files_probe, source, host, shelf_source, tmp_path):
    """`fopen`, `std::ifstream`, `std::filesystem`, `mmap`, `readdir`, `nftw`, `realpath`: a library that is no part of the blob."""
    require("g++")
    write(tmp_path / "reader.cc", READER)
    library = tmp_path / "libreader.so"
    run("g++", "-std=c++17", "-O1", "-D_FORTIFY_SOURCE=2", "-shared", "-fPIC", "-o", library, tmp_path / "reader.cc")
    code = f"""
        import ctypes, json, os, shelf, sys
        here = os.path.dirname(shelf.__file__)
        note = os.path.join(here, "folder", "nested", "leaf.txt")
        reader = ctypes.CDLL({str(library)!r})
        def of(name, path):
            function = getattr(reader, name)
            function.restype = ctypes.c_char_p
            return function(os.fsencode(path)).decode().replace(here, "HERE")
        files = [of("by_" + name, path) for name in ("fopen", "freopen", "ifstream", "mmap", "access", "realpath", "nftw", "ftw") for path in (note, note + "x") if (name, path) != ("freopen", note + "x")]
        folders = [of("by_" + name, path) for name in ("filesystem", "readdir", "scandir", "glob", "realpath", "access") for path in (here, os.path.join(here, "folder", ".."))]
        slash = [of(name, note + "//") for name in ("by_nftw", "by_ftw")]
        changes = of("by_change", note) if here.startswith(sys.executable) else None
        walks = [sorted(line for line in of(name, here).splitlines() if "__pycache__" not in line) for name in ("by_nftw", "by_ftw")]
        print(json.dumps([files, folders, slash, walks, changes]))
    """
    *expected, none = as_python(host, shelf_source, code)
    assert expected[0][:1] == ["leaf\n"] and none is None
    for app in (files_probe(host), files_probe(source, "--dynamic")):
        *found, changes = ask(app, code)
        assert found == expected
        assert changes == "-1 " * 8 + "EROFS EROFS ENOENT"


@pytest.mark.parametrize("shape", ["--static", "--dynamic"])
def test_linked_libraries_see_them(files_probe, source, shape, authority, pyox, tmp_path):
    """OpenSSL, SQLite and the interpreter itself, which are linked in."""
    package = tmp_path / "bundle"
    write(package / "__init__.py", "")
    (package / "ca.pem").write_bytes((authority / "root.pem").read_bytes())
    make = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('create table t(a)'); c.execute('insert into t values (7)'); c.commit()"
    run(sys.executable, "-c", make, package / "data.db")
    write(package / "extra.py", "print('extra', __file__.endswith('extra.py'))\n")
    script = """
        import bundle, os, runpy, sqlite3, ssl
        here = os.path.dirname(bundle.__file__)
        print(ssl.create_default_context(cafile=os.path.join(here, "ca.pem")).cert_store_stats()["x509_ca"])
        print(sqlite3.connect(f"file:{here}/data.db?mode=ro", uri=True).execute("select a from t").fetchall())
        print(sqlite3.connect(os.path.join(here, "data.db")).execute("select a from t").fetchall())
        runpy.run_path(os.path.join(here, "extra.py"))
    """
    app = pyox.build_script(tmp_path, source, script, package, link=(shape,))
    assert run(app).stdout == "1\n[(7,)]\n[(7,)]\nextra True\n"


def test_paths_that_leave_the_executable(files_probe, source, tmp_path):
    """`..` from a packed folder leads to what lies beside the executable, by whatever path it was started."""
    app = tmp_path / "bin" / "app"
    app.parent.mkdir()
    app.write_bytes(files_probe(source, "--static").read_bytes())
    app.chmod(0o755)
    (tmp_path / "bin" / "settings.txt").write_text("beside\n")
    link = tmp_path / "link"
    link.symlink_to(app)
    code = """
        import json, os, shelf
        here = os.path.dirname(shelf.__file__)
        depth = len(os.path.relpath(here, __import__("sys").executable).split(os.sep))
        path = os.path.join(here, *[".."] * (depth + 1), "settings.txt")
        found = os.path.exists(path) and open(path).read()
        real = os.path.join(os.path.realpath(here), "note.txt")
        print(json.dumps([found, os.path.exists(real), os.path.samefile(real, os.path.join(here, "note.txt"))]))
    """
    assert ask(app, code) == ["beside\n", True, True]
    assert ask(link, code) == [False, True, True]
    assert ask("./app", code, cwd=app.parent) == ["beside\n", True, True]


def test_damaged_files_are_errors(files_probe, source, tmp_path):
    app = tmp_path / "app"
    data = bytearray(files_probe(source, "--static").read_bytes())
    place = data.find(b"a note, gr")
    assert place > 0
    data[place] ^= 1
    app.write_bytes(data)
    app.chmod(0o755)
    code = """
        import errno, json, os, shelf
        try:
            open(os.path.join(os.path.dirname(shelf.__file__), "note.txt"))
        except OSError as error:
            print(json.dumps(errno.errorcode[error.errno]))
    """
    assert ask(app, code) == "EIO"


def test_descriptors_and_threads(files_probe, source):
    """Nothing leaks, and threads and forked children open files at the same time."""
    code = """
        import concurrent.futures, json, os, shelf
        here = os.path.dirname(shelf.__file__)
        def look(number):
            with open(os.path.join(here, "large.bin"), "rb") as file:
                file.seek(number * 256)
                piece = file.read(256)
            with os.scandir(here) as entries:
                return piece == bytes(range(256)), len(list(entries))
        before = len(os.listdir("/proc/self/fd"))
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            answers = set(pool.map(look, range(200)))
        child = os.fork()
        if child == 0:
            os._exit(0 if look(3)[0] else 1)
        status = os.waitpid(child, 0)[1]
        print(json.dumps([len(answers), next(iter(answers))[0], status, len(os.listdir("/proc/self/fd")) - before]))
    """
    for shape in ("--static", "--dynamic"):
        assert ask(files_probe(source, shape), code) == [1, True, 0, 0]


def test_packages_whose_libraries_open_files(pyox, host, tmp_path):
    """PROJ opens its database, FreeType a font, libxml2 its stylesheets."""
    script = """
        import pyproj, wordcloud
        from lxml import etree, isoschematron
        print(*map(round, pyproj.Transformer.from_crs(4326, 3857).transform(52, 13)))
        wordcloud.WordCloud().generate("words of a cloud")
        rules = '<schema xmlns="http://purl.oclc.org/dsdl/schematron"><pattern><rule context="a"><assert test="b"/></rule></pattern></schema>'
        print(isoschematron.Schematron(etree.XML(rules)).validate(etree.XML("<a><b/></a>")))
    """
    projects = ("pyproj", "wordcloud", "lxml")
    app = pyox.build_script(tmp_path, host, script, *(option for project in projects for option in ("--with", project)))
    assert run(app).stdout == "1447153 6800125\nTrue\n"


@pytest.mark.parametrize("shape", ["--static", "--dynamic"])
def test_packed_programs_run(pyox, source, tmp_path, shape):
    """A compiled one and a script, by each of the ways that Python has."""
    require("gcc")
    package = tmp_path / "brings"
    write(package / "__init__.py", "")
    program = '#include <stdio.h>\nint main(int n, char **a) { printf("%s %d\\n", a[1], n); return 3; }'
    run("gcc", "-x", "c", "-", "-o", package / "program", input=program)
    (package / "script").write_text('#!/bin/sh\necho "$1" $#\nexit 3\n')
    (package / "text").write_text("no program\n")
    script = """
        import brings, os, shutil, subprocess, sys
        here = os.path.dirname(brings.__file__)
        for name in ("program", "script"):
            path = os.path.join(here, name)
            print(name, os.access(path, os.X_OK), shutil.which(path) == path)
            for options in ({}, {"close_fds": False}, {"start_new_session": True}, {"cwd": "/"}, {"preexec_fn": lambda: None}):
                done = subprocess.run([path, "word"], capture_output=True, text=True, **options)
                print(done.returncode, done.stdout.strip())
            sys.stdout.flush()
            print(os.spawnv(os.P_WAIT, path, [path, "spawned"]), flush=True)
            child = os.posix_spawn(path, [path, "posix"], os.environ)
            print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
            sys.stdout.flush()
            if os.fork() == 0:
                os.chdir("/")
                os.execl(path, path, "replaced")
            print(os.waitstatus_to_exitcode(os.wait()[1]))
        for name, error in (("text", PermissionError), ("absent", FileNotFoundError), ("", PermissionError)):
            try:
                subprocess.run([os.path.join(here, name)])
            except error:
                print("refused")
        print(len(os.listdir("/proc/self/fd")) < 12)
    """
    app = pyox.build_script(tmp_path, source, script, package, link=(shape,))
    each = "{0} True True\n" + "3 word {1}\n" * 5 + "spawned {1}\n3\nposix {1}\n3\nreplaced {1}\n3\n"
    expected = each.format("program", 2) + each.format("script", 1) + "refused\n" * 3 + "True\n"
    assert run(app).stdout == expected
