# At the end of a process the names in `sys.modules` go to a file of their own in FOLDER.
import atexit


def write():
    import sys

    names = sorted(sys.modules)
    import os

    try:
        os.makedirs(FOLDER, exist_ok=True)
        with open(os.path.join(FOLDER, "modules-" + os.urandom(16).hex()), "x", encoding="utf-8") as file:
            file.writelines(name + "\n" for name in names)
    except OSError as error:
        print(f"{FOLDER}: the list of modules cannot be written: {error.strerror}", file=sys.stderr)


atexit.register(write)
