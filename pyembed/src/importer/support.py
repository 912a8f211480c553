"""What importlib.resources, importlib.metadata and pkgutil want from the importer.

It is compiled when the first of them is used. `Importer` and `ROOT`, the executable's path, are put into
its namespace before it runs. A location is a path below ROOT, with `/` between its parts.
"""

import io
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


def location_of(path):
    """The location of a path below ROOT."""
    return str(path)[len(ROOT) + 1 :]


class ResourceReader:
    """The files of one package; importlib.resources.abc.TraversableResources in all but name."""

    def __init__(self, package):
        # A module reads what lies beside it.
        self._folder = Path(package.replace(".", "/"))
        if not Importer.is_package(package):
            self._folder = self._folder.parent

    def files(self):
        return self._folder

    def open_resource(self, resource):
        return self._folder.joinpath(resource).open("rb")

    def resource_path(self, resource):
        # There is none in the file system; importlib makes a temporary file where one is needed.
        raise FileNotFoundError(resource)

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
        return Importer.find_spec(name) if name == fullname else None

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
            return Path("").joinpath(path)

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
