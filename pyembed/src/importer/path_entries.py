"""Paths in the executable as entries of `sys.path`."""

import _imp
from importlib.machinery import ModuleSpec


class PathEntryFinder:
    """What is below one path in the executable, for `sys.path_importer_cache` and pkgutil."""

    def __init__(self, path, location):
        self.path = path
        self._folder = location.strip("/")
        if Importer._kind(self._folder) != "folder" and not Importer._list_modules(self._folder):
            raise ImportError("not a folder of this executable", path=path)

    def find_spec(self, fullname, target=None):
        tail = fullname.rpartition(".")[2]
        try:
            tail.encode()
        except UnicodeEncodeError:
            # No packed file has a name with surrogates.
            return None
        name = Importer._find_in(self._folder, tail)
        if name is None:
            return self._namespace(fullname, tail)
        if tail == "__init__":
            # The code of the package itself, as a module of it.
            spec = ModuleSpec(fullname, _Renamed(name), origin=Importer.get_filename(name))
            spec.has_location = True
            return spec
        spec = Importer._spec(name)
        if name != fullname:
            spec.name, spec.loader = fullname, _Renamed(name)
        return spec

    def _namespace(self, fullname, tail):
        """A folder is a namespace package to an import, as everywhere (PEP 420)."""
        if not tail or Importer._kind(f"{self._folder}/{tail}".lstrip("/")) != "folder":
            return None
        spec = ModuleSpec(fullname, None, is_package=True)
        spec.submodule_search_locations = [f"{self.path.rstrip('/')}/{tail}"]
        return spec

    def iter_modules(self, prefix=""):
        for name, is_package in Importer._list_modules(self._folder):
            yield prefix + name, is_package

    def invalidate_caches(self):
        pass

    def __repr__(self):
        return f"{type(self).__name__}({self.path!r})"


class _Renamed:
    """Loads a module under another name than it is packed by.

    A package that puts its folder of vendored projects on `sys.path` imports `packaging`, which is packed as
    `setuptools._vendor.packaging`.
    """

    def __init__(self, name):
        self._name = name

    def create_module(self, spec):
        return Importer.create_module(Importer._spec(self._name))

    def exec_module(self, module):
        code = Importer.get_code(self._name)
        if code is None:
            _imp.exec_dynamic(module)
        else:
            exec(code, module.__dict__)

    def __getattr__(self, name):
        method = getattr(Importer, name)
        if name in ("get_code", "get_source", "get_filename", "is_package", "get_resource_reader"):
            return lambda fullname=None: method(self._name)
        return method
