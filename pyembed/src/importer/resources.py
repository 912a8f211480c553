"""What importlib.resources wants of the files in the executable, which all code of this process can open."""

import contextlib
import os
import pathlib
import shutil
import tempfile
import types
from importlib.resources.readers import FileReader

# Applications resolve links in `__file__`.
ROOTS = ROOT + "/", os.path.realpath(ROOT) + "/"


def reader(fullname):
    """The files of a package, or those beside a module."""
    return FileReader(types.SimpleNamespace(path=Importer.get_filename(fullname)))


def serve_as_file(resources):
    """Lets `as_file` give real files, because other programs cannot open packed ones."""
    resources.as_file.register(pathlib.Path, as_file)


@contextlib.contextmanager
def as_file(path):
    """importlib.resources.as_file for a path: a copy of what is packed, in memory where there is a place for it.

    Where nothing can be written it is the path itself, which this process can open.
    """
    folder = _folder() if str(path).startswith(ROOTS) else None
    if folder is None:
        yield path
        return
    with folder as name:
        copy = pathlib.Path(name, path.name)
        if path.is_dir():
            shutil.copytree(path, copy, copy_function=shutil.copyfile)
            _let_write(copy)
        else:
            shutil.copyfile(path, copy)
        yield copy


def _folder():
    """A temporary folder of the first place that can be written to."""
    for place in os.environ.get("XDG_RUNTIME_DIR") or "/dev/shm", "/dev/shm", None:
        with contextlib.suppress(OSError):
            return tempfile.TemporaryDirectory(dir=place)
    return None


def _let_write(folder):
    """Gives folders the rights that it takes to remove them; those of packed ones came along."""
    for here, _, _ in os.walk(folder):
        os.chmod(here, 0o700)
