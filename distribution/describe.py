"""Prints as JSON what only the finished interpreter knows about itself.

Runs as `python -I -S -B describe.py PREFIX` with the python of the installed tree. Its real place is
replaced by PREFIX, so that the answer is the same wherever it was built. Standard library only.
"""

import importlib.machinery
import importlib.util
import json
import os
import sys
import sysconfig

prefix = sys.argv[1]
real = sys.prefix


def settled(text):
    return str(text).replace(real, prefix)


# Where a user's own packages go is a matter of the machine that asks.
config_vars = {
    name: settled(value)
    for name, value in sysconfig.get_config_vars().items()
    if name != "userbase"
}
paths = {
    name: os.path.relpath(path, real) for name, path in sysconfig.get_paths().items()
}
stdlib = sysconfig.get_path("stdlib")
tests = sorted(
    os.path.relpath(folder, stdlib).replace(os.sep, ".")
    for folder, _, files in os.walk(stdlib)
    if "__init__.py" in files
    and os.path.basename(folder) in ("test", "tests", "idle_test")
    and "site-packages" not in folder
)

json.dump(
    {
        "version": ".".join(map(str, sys.version_info[:3])),
        "hex_version": sys.hexversion,
        "implementation": sys.implementation.name,
        "implementation_version": [str(part) for part in sys.implementation.version],
        "cache_tag": sys.implementation.cache_tag,
        "abi_flags": sys.abiflags,
        "platform": sysconfig.get_platform(),
        "builtins": sorted(sys.builtin_module_names),
        "magic": importlib.util.MAGIC_NUMBER.hex(),
        "suffixes": {
            "bytecode": importlib.machinery.BYTECODE_SUFFIXES,
            "debug_bytecode": importlib.machinery.DEBUG_BYTECODE_SUFFIXES,
            "extension": importlib.machinery.EXTENSION_SUFFIXES,
            "optimized_bytecode": importlib.machinery.OPTIMIZED_BYTECODE_SUFFIXES,
            "source": importlib.machinery.SOURCE_SUFFIXES,
        },
        "config_vars": config_vars,
        "paths": paths,
        "paths_abstract": sysconfig.get_paths(expand=False),
        "test_packages": tests,
    },
    sys.stdout,
    sort_keys=True,
)
