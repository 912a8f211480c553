"""Modules under another name than they are packed by."""

import _imp


class Renamed:
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
