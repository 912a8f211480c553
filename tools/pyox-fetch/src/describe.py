"""Prints what pyox-fetch wants to know of the interpreter that runs this, as one JSON object.

It reports and decides nothing; `host.rs` judges. The first two keys must work on every Python that
a user may point at, so this file keeps to what Python 2.7 can parse.
"""

import json
import os
import sys

facts = {
    "implementation": getattr(getattr(sys, "implementation", None), "name", "unknown"),
    "version_info": list(sys.version_info[:2]),
    "version": sys.version.split()[0],
}


def tokens(text):
    return (text or "").split()


def describe():
    import importlib.machinery
    import importlib.util
    import sysconfig

    var = sysconfig.get_config_var
    # In a virtual environment `prefix` and `executable` are the environment's.
    base = os.path.realpath(sys.base_prefix)
    stdlib = os.path.realpath(sysconfig.get_path("stdlib"))
    dynload = var("DESTSHARED") or ""
    if not os.path.isdir(dynload):
        # The Makefile's paths are those of the build; a tree may have been moved since.
        dynload = os.path.join(stdlib, "lib-dynload")
    include = var("INCLUDEPY") or ""

    library = var("LIBRARY") or ""
    folders = [var("LIBPL"), var("LIBDIR"), os.path.join(base, "lib")]
    folders += [
        os.path.join(stdlib, name) for name in sorted(os.listdir(stdlib)) if name.startswith("config-")
    ]
    libraries = [os.path.join(folder, library) for folder in folders if folder]

    shared = "libpython%d.%d.so.1.0" % sys.version_info[:2]
    folders = [os.path.join(base, "lib"), var("LIBDIR"), os.path.join(base, "lib", var("MULTIARCH") or "")]
    shared_libraries = [os.path.join(folder, shared) for folder in folders if folder]

    return {
        "prefix": base,
        "executable": os.path.realpath(getattr(sys, "_base_executable", sys.executable)),
        "tag": sys.implementation.cache_tag.replace("cpython-", "cp"),
        "soabi": var("SOABI") or "",
        "magic": importlib.util.MAGIC_NUMBER.hex(),
        "suffixes": importlib.machinery.EXTENSION_SUFFIXES,
        "platform": sysconfig.get_platform(),
        "debug": bool(var("Py_DEBUG")),
        "free_threaded": bool(var("Py_GIL_DISABLED")),
        "stdlib": stdlib,
        "dynload": os.path.realpath(dynload) if os.path.isdir(dynload) else None,
        "include": (
            os.path.realpath(include) if os.path.isfile(os.path.join(include, "Python.h")) else None
        ),
        "library": library,
        "libraries": [os.path.realpath(path) for path in libraries if os.path.isfile(path)],
        "shared_library": shared,
        "shared_libraries": [os.path.realpath(path) for path in shared_libraries if os.path.isfile(path)],
        "link": tokens(var("MODLIBS")) + tokens(var("LIBS")) + tokens(var("SYSLIBS")),
        "builtins": sorted(sys.builtin_module_names),
        "module_link": {
            name: tokens(var("MODULE_%s_LDFLAGS" % name.upper())) for name in sys.builtin_module_names
        },
    }


if facts["implementation"] == "cpython" and sys.version_info >= (3, 11):
    facts["details"] = describe()
sys.stdout.write(json.dumps(facts))
