"""Modules under another name than they are packed by."""


class Renamed(Loader):
    """Loads a module under another name than it is packed by.

    A package that puts its folder of vendored projects on `sys.path` imports `packaging`, which is packed as
    `setuptools._vendor.packaging`.
    """

    def __init__(self, fullname, path, packed):
        super().__init__(fullname, path)
        self._packed = packed

    def get_code(self, fullname=None):
        return Importer.get_code(self._packed)

    def get_source(self, fullname=None):
        return Importer.get_source(self._packed)

    def exec_module(self, module):
        exec(self.get_code(), module.__dict__)
