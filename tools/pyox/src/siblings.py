"""What a script imports from its own folder, and what that imports from there: JSON, for pyox."""

import ast
import json
import os
import sys


def top_names(path):
    """The first names of all imports in a source."""
    with open(path, "rb") as file:
        tree = ast.parse(file.read(), path)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module.split(".")[0]


def sources(path):
    """A module's file, or all sources of a package."""
    if os.path.isfile(path):
        yield path
    for folder, names, files in os.walk(path):
        names[:] = sorted(name for name in names if name.isidentifier())
        yield from (os.path.join(folder, name) for name in sorted(files) if name.endswith(".py"))


def main():
    script = sys.argv[1]
    folder = os.path.dirname(script)
    found, pending = {}, [script]
    while pending:
        try:
            names = sorted(set(top_names(pending.pop())))
        except (SyntaxError, ValueError):
            # Whoever compiles it says so.
            continue
        for name in names:
            if name in found:
                continue
            for path in (os.path.join(folder, name), os.path.join(folder, name + ".py")):
                is_package = os.path.isdir(path) and any(file.endswith(".py") for file in sources(path))
                if is_package or os.path.isfile(path):
                    # The script itself can be imported by its name without being taken twice.
                    found[name] = None if os.path.realpath(path) == os.path.realpath(script) else path
                    pending += sources(path)
                    break
    print(json.dumps(sorted(filter(None, found.values()))))


main()
