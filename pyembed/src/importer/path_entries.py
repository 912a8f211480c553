"""Paths in the executable as entries of `sys.path`."""

from _functools import partial


class PathEntryFinder:
    """What is below one path in the executable, for `sys.path_importer_cache` and pkgutil."""

    def __init__(self, path):
        self.path = path
        # No frames of these are there for tracers to see.
        self.find_spec = partial(Importer._find_in, path)
        self.iter_modules = partial(Importer._iter_modules, path)

    def invalidate_caches(self):
        pass

    def __repr__(self):
        return f"{type(self).__name__}({self.path!r})"
