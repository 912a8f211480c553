"""Paths in the executable as entries of `sys.path`."""


class PathEntryFinder:
    """What is below one path in the executable, for `sys.path_importer_cache` and pkgutil."""

    def __init__(self, path, folder):
        self.path = path
        self._folder = folder

    def find_spec(self, fullname, target=None):
        return Importer._find_in(self.path, self._folder, fullname)

    def iter_modules(self, prefix=""):
        return Importer._iter_modules(self._folder, prefix)

    def invalidate_caches(self):
        pass

    def __repr__(self):
        return f"{type(self).__name__}({self.path!r})"
