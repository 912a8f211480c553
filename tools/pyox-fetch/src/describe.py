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
    roots = [base, os.path.realpath(sys.base_exec_prefix)]
    version = "python%d.%d" % sys.version_info[:2]

    def installed(*folders):
        """The folders that are there; those of the Makefile are where it was built, and a tree may have been moved since."""
        found = []
        for folder in filter(None, folders):
            real = os.path.realpath(folder)
            inside = any(os.path.commonpath([root, real]) == root for root in roots)
            if inside and os.path.isdir(real) and real not in found:
                found.append(real)
        return found

    stdlib = os.path.realpath(sysconfig.get_path("stdlib"))
    dynload = installed(os.path.join(stdlib, "lib-dynload"), var("DESTSHARED"))
    includes = installed(os.path.join(base, "include", version), var("INCLUDEPY"))
    includes = [folder for folder in includes if os.path.isfile(os.path.join(folder, "Python.h"))]

    configs = [name for name in sorted(os.listdir(stdlib)) if name.startswith("config-")]
    configs = [os.path.join(stdlib, name) for name in configs]
    lib = os.path.join(base, "lib")
    folders = installed(var("LIBPL"), *configs) + installed(var("LIBDIR"), lib)
    library = var("LIBRARY") or ""
    libraries = [os.path.join(folder, library) for folder in folders]

    folders = installed(lib, var("LIBDIR"), os.path.join(lib, var("MULTIARCH") or ""))
    shared = "lib%s.so.1.0" % version
    shared_libraries = [os.path.join(folder, shared) for folder in folders]

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
        "dynload": dynload[0] if dynload else None,
        "include": includes[0] if includes else None,
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
