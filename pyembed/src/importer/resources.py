"""What importlib.resources wants of the files in the executable, whose paths `os` and `open` serve."""

import contextlib
import os
import pathlib
import tempfile
from importlib.resources.readers import FileReader

# Applications resolve links in `__file__`.
ROOTS = ROOT + "/", os.path.realpath(ROOT) + "/"


class ResourceReader(FileReader):
    """The files of a package, or those beside a module."""

    def __init__(self, fullname):
        self.path = pathlib.Path(Importer.get_filename(fullname)).parent

    def resource_path(self, resource):
        path = super().resource_path(resource)
        if path.startswith(ROOTS):
            # There is none in the file system.
            raise FileNotFoundError(resource)
        return path


def serve_as_file(resources):
    """Lets importlib.resources make files of the system from those in the executable."""
    resources.as_file.register(pathlib.Path, as_file)


@contextlib.contextmanager
def as_file(path):
    """importlib.resources.as_file for a path: C code can open the one that it gives."""
    if not str(path).startswith(ROOTS):
        yield path
    elif path.is_dir():
        with _copied(path) as copy:
            yield copy
    else:
        with _anonymous(path) as anonymous:
            yield anonymous


@contextlib.contextmanager
def _anonymous(path):
    """A file without a disk. The path that it gives names this process, so that its children can open it."""
    descriptor = os.open(path, os.O_RDONLY)

    class AnonymousPath(type(path)):
        """A path of the system that has the name of the file in the executable."""

        name = property(lambda _: path.name)
        stem = property(lambda _: path.stem)
        suffix = property(lambda _: path.suffix)

    anonymous = AnonymousPath(f"/proc/{os.getpid()}/fd/{descriptor}")
    try:
        if anonymous.exists():
            yield anonymous
            return
    finally:
        os.close(descriptor)
    with _copied(path) as copy:
        yield copy


@contextlib.contextmanager
def _copied(path):
    """The same in a temporary folder."""
    with tempfile.TemporaryDirectory() as folder:
        copy = pathlib.Path(folder, path.name)
        _copy(path, copy)
        yield copy


def _copy(path, target):
    if path.is_dir():
        target.mkdir()
        for entry in path.iterdir():
            _copy(entry, target / entry.name)
    else:
        target.write_bytes(path.read_bytes())
