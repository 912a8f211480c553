"""What importlib.resources, importlib.metadata and pkgutil want from the importer.

It is compiled when the first of them is used. `Importer` and `ROOT`, the executable's path, are put into
its namespace before it runs. A location is a path below ROOT, with `/` between its parts.
"""

import contextlib
import errno
import io
import posixpath
import stat


class Path:
    """A file or folder in the executable: importlib.resources' Traversable."""

    def __init__(self, location):
        self._location = location

    @property
    def name(self):
        return posixpath.basename(self._location)

    @property
    def stem(self):
        return posixpath.splitext(self.name)[0]

    @property
    def suffix(self):
        return posixpath.splitext(self.name)[1]

    @property
    def parent(self):
        return Path(posixpath.dirname(self._location))

    def is_dir(self):
        return Importer._kind(self._location) == "folder"

    def is_file(self):
        return Importer._kind(self._location) == "file"

    def exists(self):
        return Importer._kind(self._location) is not None

    def iterdir(self):
        if not self.is_dir():
            raise (NotADirectoryError if self.exists() else FileNotFoundError)(str(self))
        folder = self._location + "/" if self._location else ""
        return (Path(folder + name) for name, _ in Importer._list_files(folder))

    def joinpath(self, *parts):
        location = posixpath.normpath(posixpath.join("/" + self._location, *map(str, parts)))
        return Path(location.lstrip("/"))

    __truediv__ = joinpath

    def read_bytes(self):
        data = Importer._read(self._location)
        if data is None:
            raise (IsADirectoryError if self.is_dir() else FileNotFoundError)(str(self))
        return data

    def read_text(self, encoding=None, errors=None):
        with self.open("r", encoding=encoding, errors=errors) as stream:
            return stream.read()

    def open(self, mode="r", buffering=-1, encoding=None, errors=None, newline=None):
        if mode not in ("r", "rt", "rb"):
            raise ValueError(f"files in the executable can only be read, not opened with {mode!r}")
        stream = io.BytesIO(self.read_bytes())
        if "b" in mode:
            return stream
        return io.TextIOWrapper(stream, encoding, errors, newline)

    def __str__(self):
        return f"{ROOT}/{self._location}" if self._location else ROOT

    def __repr__(self):
        return f"{type(self).__name__}({str(self)!r})"

    def __eq__(self, other):
        return isinstance(other, Path) and self._location == other._location

    def __hash__(self):
        return hash(self._location)


def location_of(path):
    """The location of a path below ROOT."""
    return str(path)[len(ROOT) + 1 :]


def _anonymous_file(location):
    """A descriptor of an anonymous file with the bytes of a file, at its beginning."""
    import os

    descriptor = os.memfd_create(posixpath.basename(location), os.MFD_CLOEXEC)
    try:
        data = memoryview(Importer._read(location))
        while data:
            data = data[os.write(descriptor, data) :]
        os.lseek(descriptor, 0, os.SEEK_SET)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


class FileSystem:
    """What functions of `os` and `open` do for paths below ROOT; NotImplemented for all others.

    Each has the parameters of the function that it stands in for. Files are served as descriptors of
    anonymous files, so that `fileno`, `mmap` and the like work.
    """

    _roots = None

    @classmethod
    def _location(cls, path):
        """The location that a path names, and what is there; raises what the file system would."""
        import os

        if cls._roots is None:
            # Applications resolve links in `__file__`.
            cls._roots = tuple({ROOT + "/", os.path.realpath(ROOT) + "/"})
        try:
            path = os.fspath(path)
        except TypeError:
            return None, None
        full = posixpath.normpath(os.fsdecode(path))
        for root in cls._roots:
            if full.startswith(root):
                location = full[len(root) :]
                kind = Importer._kind(location)
                if kind is None:
                    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
                return location, kind
        return None, None

    @staticmethod
    def _refuse(number, path):
        import os

        raise OSError(number, os.strerror(number), path)

    @classmethod
    def _descriptor(cls, path, flags):
        import os

        location, kind = cls._location(path)
        if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC):
            cls._refuse(errno.EROFS, path)
        if kind == "folder":
            cls._refuse(errno.EISDIR, path)
        return _anonymous_file(location)

    @classmethod
    def open(cls, path, *args, **kwargs):
        if args and isinstance(args[0], int):
            # os.open
            return NotImplemented if cls._is_foreign(path) else cls._descriptor(path, args[0])
        if isinstance(path, int) or cls._is_foreign(path):
            return NotImplemented
        if len(args) > 6 or "opener" in kwargs:
            return NotImplemented
        return io.open(path, *args, **kwargs, opener=cls._descriptor)

    @classmethod
    def open_code(cls, path):
        return cls.open(path, "rb")

    @classmethod
    def _is_foreign(cls, path):
        try:
            return cls._location(path)[0] is None
        except FileNotFoundError:
            return False

    @classmethod
    def stat(cls, path, *, dir_fd=None, follow_symlinks=True):
        import os

        location, kind = cls._location(path)
        if location is None or dir_fd is not None:
            return NotImplemented
        mode, size = stat.S_IFDIR | 0o555, 0
        if kind == "file":
            mode, size = stat.S_IFREG | 0o444, len(Importer._read(location))
        executable = os.stat(ROOT)
        # Distinct for distinct files, as `os.path.samefile` wants it.
        inode = hash(location) & 0x7FFF_FFFF_FFFF_FFFF
        return os.stat_result(
            (mode, inode, executable.st_dev, 1, executable.st_uid, executable.st_gid, size)
            + tuple(map(int, (executable.st_atime, executable.st_mtime, executable.st_ctime)))
        )

    @classmethod
    def lstat(cls, path, *, dir_fd=None):
        return cls.stat(path, dir_fd=dir_fd)

    @classmethod
    def listdir(cls, path="."):
        import os

        location, kind = cls._location(path)
        if location is None:
            return NotImplemented
        if kind == "file":
            cls._refuse(errno.ENOTDIR, path)
        # Names are of the path's own type, as everywhere in `os`.
        spell = os.fsencode if isinstance(os.fspath(path), bytes) else str
        return [spell(name) for name, _ in Importer._list_files(location + "/")]

    @classmethod
    def scandir(cls, path="."):
        import os

        location, kind = cls._location(path)
        if location is None:
            return NotImplemented
        if kind == "file":
            cls._refuse(errno.ENOTDIR, path)
        spell = os.fsencode if isinstance(os.fspath(path), bytes) else str
        return _Scan(
            _Entry(spell(name), os.path.join(path, spell(name)), is_dir)
            for name, is_dir in Importer._list_files(location + "/")
        )

    @classmethod
    def access(cls, path, mode, *, dir_fd=None, effective_ids=False, follow_symlinks=True):
        import os

        try:
            location, _ = cls._location(path)
        except FileNotFoundError:
            return False
        return NotImplemented if location is None else not mode & (os.W_OK | os.X_OK)


class _Scan:
    """What os.scandir gives: an iterator that can be closed."""

    def __init__(self, entries):
        self._entries = entries

    def __iter__(self):
        return self

    def __next__(self):
        return next(self._entries)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self._entries.close()


class _Entry:
    """An os.DirEntry."""

    def __init__(self, name, path, is_dir):
        self.name, self.path, self._is_dir = name, path, is_dir

    def is_dir(self, *, follow_symlinks=True):
        return self._is_dir

    def is_file(self, *, follow_symlinks=True):
        return not self._is_dir

    def is_symlink(self):
        return False

    def is_junction(self):
        return False

    def stat(self, *, follow_symlinks=True):
        return FileSystem.stat(self.path)

    def inode(self):
        return self.stat().st_ino

    def __fspath__(self):
        return self.path

    def __repr__(self):
        return f"<DirEntry {self.name!r}>"


@contextlib.contextmanager
def _as_file(path):
    """importlib.resources.as_file for a file in the executable: C code can open the path, too.

    Nothing is written to a disk. The path names this process, so that its children can open it.
    """
    import os
    import pathlib

    if not path.is_file():
        with _temporary_as_file(path) as folder:
            yield folder
        return
    class AnonymousPath(type(pathlib.Path())):
        """A path of the system that has the name of the file in the executable."""

        name = property(lambda _: path.name)
        stem = property(lambda _: path.stem)
        suffix = property(lambda _: path.suffix)

    try:
        descriptor = _anonymous_file(path._location)
        name = AnonymousPath(f"/proc/{os.getpid()}/fd/{descriptor}")
    except OSError:
        # Forbidden: importlib makes a temporary file.
        with _temporary_as_file(path) as file:
            yield file
        return
    try:
        yield name
    finally:
        os.close(descriptor)


_temporary_as_file = None


def _register_as_file():
    """Tells importlib.resources, once it is there, how a file of ours becomes one of the system's."""
    global _temporary_as_file
    from importlib import resources

    if _temporary_as_file is None:
        _temporary_as_file = resources.as_file.dispatch(object)
        resources.as_file.register(Path, _as_file)


def excepthook(kind, value, trace):
    """sys.excepthook, before 3.13."""
    import sys

    if sys.stderr is not None:
        _print_exception(value, trace, sys.stderr)


def thread_excepthook(args):
    """threading.excepthook, before 3.13."""
    import sys
    import threading

    if args.exc_type is SystemExit:
        return
    stream = sys.stderr
    if stream is None:
        if args.thread is None or args.thread._stderr is None:
            return
        stream = args.thread._stderr
    name = threading.get_ident() if args.thread is None else args.thread.name
    print(f"Exception in thread {name}:", file=stream, flush=True)
    _print_exception(args.exc_value, args.exc_traceback, stream)


def _print_exception(value, trace, stream):
    import traceback

    described = traceback.TracebackException(type(value), value, trace, compact=True)
    _add_suggestions(described, value)
    for line in described.format():
        stream.write(line)
    stream.flush()


def _add_suggestions(described, value):
    """Adds "Did you mean" along the chain, where `traceback` does not do it itself (3.11)."""
    while described is not None and value is not None:
        suggestion = Importer._suggestion(value)
        if suggestion:
            described._str = f"{described._str}. Did you mean: '{suggestion}'?"
        if described.__cause__ is not None:
            described, value = described.__cause__, value.__cause__
        else:
            described, value = described.__context__, value.__context__


def unraisablehook(unraisable):
    """sys.unraisablehook."""
    import sys
    import traceback

    if sys.stderr is None:
        return
    text = []
    if unraisable.object is not None:
        try:
            what = repr(unraisable.object)
        except Exception:
            what = "<object repr() failed>"
        text.append(f"{unraisable.err_msg or 'Exception ignored in'}: {what}\n")
    elif unraisable.err_msg is not None:
        text.append(f"{unraisable.err_msg}:\n")
    if unraisable.exc_traceback is not None:
        text.append("Traceback (most recent call last):\n")
        frames = traceback.extract_tb(unraisable.exc_traceback)
        if sys.version_info >= (3, 13):
            # CPython's own printer no longer marks the place in the line.
            frames = [(frame.filename, frame.lineno, frame.name, frame.line) for frame in frames]
        text += traceback.format_list(frames)
    kind = unraisable.exc_type
    module = "" if kind.__module__ in ("builtins", "__main__") else f"{kind.__module__}."
    text.append(module + kind.__qualname__)
    if unraisable.exc_value is not None:
        try:
            text.append(f": {unraisable.exc_value}")
        except Exception:
            text.append(": <exception str() failed>")
    text.append("\n")
    sys.stderr.write("".join(text))
    sys.stderr.flush()


def cache_lines(filename):
    """linecache.updatecache for a location in the executable."""
    import linecache
    from importlib.util import decode_source

    try:
        lines = decode_source(Importer._read(filename)).splitlines(keepends=True)
    except (SyntaxError, UnicodeDecodeError):
        return []
    if lines and not lines[-1].endswith("\n"):
        lines[-1] += "\n"
    # Without a time, `checkcache` takes the entry for one that no file can outdate.
    linecache.cache[filename] = len(lines), None, lines, filename
    return lines


def mend_namespace_reader(readers):
    """Keeps importlib 3.13 from taking the executable for a zip file when it looks for a package's portions."""
    resolve_zip_path = getattr(readers.NamespaceReader, "_resolve_zip_path", None)
    if resolve_zip_path is None:
        return

    def outside(path):
        return () if path.startswith(ROOT) else resolve_zip_path(path)

    readers.NamespaceReader._resolve_zip_path = staticmethod(outside)


# Where distributions of Linux keep the certificates that they trust, as one file.
CERTIFICATES = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Alpine, Arch
    "/etc/pki/tls/certs/ca-bundle.crt",  # Red Hat
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",  # Red Hat 7 and later
    "/etc/ssl/ca-bundle.pem",  # SUSE
    "/etc/ssl/cert.pem",  # Alpine, BSD
)


def trust_system_certificates(ssl):
    """Lets `load_default_certs` find the system's certificates.

    OpenSSL knows one folder, that of the system that it was built on, and it is not there.
    """
    import os

    variables = ssl.get_default_verify_paths()
    original = ssl.SSLContext.load_default_certs

    def load_default_certs(self, purpose=ssl.Purpose.SERVER_AUTH):
        original(self, purpose)
        if variables.openssl_cafile_env in os.environ or variables.openssl_capath_env in os.environ:
            return
        for path in CERTIFICATES:
            if os.path.isfile(path):
                self.load_verify_locations(path)
                return

    load_default_certs.__qualname__ = original.__qualname__
    load_default_certs.__doc__ = original.__doc__
    ssl.SSLContext.load_default_certs = load_default_certs


class ResourceReader:
    """The files of one package; importlib.resources.abc.TraversableResources in all but name."""

    def __init__(self, package):
        _register_as_file()
        # A module reads what lies beside it.
        location = package.replace(".", "/")
        root = Importer._real_folder(package)
        if root is None:
            self._folder = Path(location)
        else:
            import pathlib

            self._folder = pathlib.Path(root, location)
        if not Importer.is_package(package):
            self._folder = self._folder.parent

    def files(self):
        return self._folder

    def open_resource(self, resource):
        return self._folder.joinpath(resource).open("rb")

    def resource_path(self, resource):
        if isinstance(self._folder, Path):
            # There is none in the file system; importlib makes a temporary file where one is needed.
            raise FileNotFoundError(resource)
        return str(self._folder / resource)

    def is_resource(self, path):
        return self._folder.joinpath(path).is_file()

    def contents(self):
        return (entry.name for entry in self._folder.iterdir())


class PathEntryFinder:
    """What is below one path in the executable, for `sys.path_importer_cache` and pkgutil."""

    def __init__(self, path):
        self.path = path
        location = location_of(path).strip("/")
        if location and Importer._kind(location) != "folder" and not Importer._list_modules(
            location.replace("/", ".")
        ):
            raise ImportError("not a folder of this executable", path=path)
        self._package = location.replace("/", ".")

    def find_spec(self, fullname, target=None):
        tail = fullname.rpartition(".")[2]
        name = f"{self._package}.{tail}" if self._package else tail
        spec = Importer.find_spec(name) if name == fullname else None
        if spec is None and Importer._kind(name.replace(".", "/")) == "folder":
            # A folder of data is a namespace package to an import, as everywhere (PEP 420).
            from importlib.machinery import ModuleSpec

            spec = ModuleSpec(fullname, None, is_package=True)
            spec.submodule_search_locations = [f"{self.path.rstrip('/')}/{tail}"]
        return spec

    def iter_modules(self, prefix=""):
        for name, is_package in Importer._list_modules(self._package):
            if name != "__main__" or self._package:
                yield prefix + name, is_package

    def invalidate_caches(self):
        pass

    def __repr__(self):
        return f"{type(self).__name__}({self.path!r})"


def _distribution_class():
    from importlib import metadata

    class Distribution(metadata.Distribution):
        """A project in the executable, by its `.dist-info` folder."""

        def __init__(self, folder):
            self._folder = folder

        def read_text(self, filename):
            data = Importer._read(f"{self._folder}/{filename}")
            return None if data is None else data.decode("utf-8")

        def locate_file(self, path):
            import pathlib

            # What code gets from an installed project, and it hands it to all that takes a path.
            location = str(path)
            return pathlib.Path(Importer._real_path(location) or f"{ROOT}/{location}")

        @property
        def _normalized_name(self):
            return metadata.Prepared.normalize(self._folder.partition("-")[0])

    return Distribution


_Distribution = None


def find_distributions(context=None):
    """The projects that a `DistributionFinder.Context` asks for."""
    global _Distribution
    from importlib import metadata

    if _Distribution is None:
        _Distribution = _distribution_class()
    name = getattr(context, "name", None)
    wanted = None if name is None else metadata.Prepared.normalize(name)
    for folder in Importer._metadata_folders():
        found = metadata.Prepared.normalize(folder.partition("-")[0])
        if wanted is None or found == wanted:
            yield _Distribution(folder)
