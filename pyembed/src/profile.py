# At the end of a process the names of its modules go to FILE, in the order in which their imports began.
import _frozen_importlib as bootstrap
import atexit
import sys

begun = []
load = bootstrap._load_unlocked


def _load_unlocked(spec):
    begun.append(spec.name)
    return load(spec)


def write():
    # Some are gone, and some stand for others.
    names = [name for name in dict.fromkeys(begun) if getattr(getattr(sys.modules.get(name), "__spec__", None), "name", None) == name]
    with open(FILE, "w", encoding="utf-8") as file:
        file.writelines(name + "\n" for name in names)


bootstrap._load_unlocked = _load_unlocked
atexit.register(write)
