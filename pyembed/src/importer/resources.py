"""What importlib.resources and pkgutil want of the files in the executable."""

import contextlib
import io
import os
import pathlib
import posixpath


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


@contextlib.contextmanager
def _as_file(path):
    """importlib.resources.as_file for a file in the executable: C code can open the path, too.

    Nothing is written to a disk. The path names this process, so that its children can open it.
    """
    try:
        # A folder cannot be opened, and an anonymous file may be forbidden.
        descriptor = os.open(str(path), os.O_RDONLY)
    except OSError:
        with _temporary_as_file(path) as temporary:
            yield temporary
        return

    class AnonymousPath(type(pathlib.Path())):
        """A path of the system that has the name of the file in the executable."""

        name = property(lambda _: path.name)
        stem = property(lambda _: path.stem)
        suffix = property(lambda _: path.suffix)

    try:
        yield AnonymousPath(f"/proc/{os.getpid()}/fd/{descriptor}")
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
