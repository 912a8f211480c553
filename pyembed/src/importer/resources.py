"""What importlib.resources wants of the files in the executable: their paths, which all code of the process can open."""

import types
from importlib.resources.readers import FileReader


def reader(fullname):
    """The files of a package, or those beside a module."""
    return FileReader(types.SimpleNamespace(path=Importer.get_filename(fullname)))
