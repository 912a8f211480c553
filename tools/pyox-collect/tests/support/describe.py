"""Prints a distribution document of the Python that runs this: only what pyox-collect reads is true.

The linking facts are those of an empty file; pyox-fetch is what makes whole documents.
"""

import importlib.machinery
import json
import os
import sys
import sysconfig

root = "/"
empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
stdlib = os.path.realpath(sysconfig.get_path("stdlib"))
dynload = os.path.join(stdlib, "lib-dynload")
builtins = [{"name": name, "linkage": "builtin"} for name in sys.builtin_module_names]
document = {
    "schema": "pyox.distribution/1",
    "source": "host",
    "root": root,
    "target": f"{os.uname().machine}-unknown-linux-gnu",
    "python": {
        "implementation": "cpython",
        "version": sys.version.split()[0],
        "version_info": sys.version_info[:2],
        "tag": "cp{}{}".format(*sys.version_info),
        "soabi": sysconfig.get_config_var("SOABI"),
        "bytecode_magic": importlib.util.MAGIC_NUMBER.hex(),
        "extension_suffixes": importlib.machinery.EXTENSION_SUFFIXES,
        "platform": sysconfig.get_platform(),
    },
    "paths": {
        "executable": os.path.relpath(os.path.realpath(sys.executable), root),
        "stdlib": os.path.relpath(stdlib, root),
        "dynload": os.path.relpath(dynload, root),
    },
    "stdlib": {"sha256": empty, "files": 0},
    "link": {
        "static": False,
        "dynamic": True,
        "libpython": {"path": "libpython.a", "size": 0, "sha256": empty},
        "libraries": [],
        "driver": "cc",
        "object_format": "elf",
    },
    "extensions": sorted(builtins, key=lambda extension: extension["name"]),
}
print(json.dumps(document))
