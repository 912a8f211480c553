"""What a traced process touched: which of the files that it must not open, and where it wrote."""

import os
import re
from pathlib import Path

COMMAND = ["strace", "-f", "-qq", "-s", "4096", "-e", "trace=%file", "-o"]

# A call of those with its result: PID NAME(ARGUMENTS) = RESULT
CALL = re.compile(r"^\d+ +(?:<\.\.\. )?(\w+)(?: resumed>)?\((.*)\) = (-?\d+)")
OPENING = {"open", "openat", "openat2", "creat"}
CHANGING = {
    "mkdir", "mkdirat", "mknod", "mknodat", "rename", "renameat", "renameat2", "link", "linkat",
    "symlink", "symlinkat", "unlink", "unlinkat", "rmdir", "truncate", "chmod", "fchmodat",
}  # fmt: skip
WRITING = re.compile(r"O_(?:WRONLY|RDWR|CREAT|TRUNC)")
# Neither files nor disks.
DEVICES = ("/dev/null", "/dev/tty", "/dev/pts", "/dev/urandom", "/proc/")


def cache_folder():
    """pyox's own cache."""
    if "PYOX_CACHE_DIR" in os.environ:
        return Path(os.environ["PYOX_CACHE_DIR"])
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pyox"


def calls(path):
    """Finished calls, `(name, arguments)`; one that another process interrupts is put together again."""
    pending = {}
    with open(path, errors="replace") as lines:
        for line in lines:
            process, _, rest = line.rstrip("\n").partition(" ")
            rest = rest.lstrip()
            if rest.endswith("<unfinished ...>"):
                pending[process] = rest.removesuffix("<unfinished ...>")
                continue
            resumed = re.match(r"<\.\.\. \w+ resumed>", rest)
            if resumed:
                rest = pending.pop(process, "") + rest[resumed.end() :]
            match = CALL.match(f"{process} {rest}")
            if match and not match[3].startswith("-"):
                yield match[1], match[2]


class Touched:
    """The files of a traced run."""

    def __init__(self, run, forbidden, own):
        self._areas = run.areas
        self.opened, self._written = [], set()
        prefixes = tuple(f"{os.path.realpath(folder)}/" for folder in forbidden)
        prefixes += tuple(f"{folder}/" for folder in forbidden)
        for name, arguments in calls(run.trace):
            for text in re.findall(r'"((?:[^"\\]|\\.)*)"', arguments) if name != "execve" else ():
                path = text if text.startswith("/") else f"{run.areas['work']}/{text}"
                path = os.path.normpath(path)
                if path.startswith(DEVICES) or path == str(own):
                    continue
                if name in CHANGING or name in OPENING and WRITING.search(arguments):
                    self._written.add(path)
                if name in OPENING and path.startswith(prefixes):
                    self.opened.append(path)

    def written_areas(self):
        """Where it wrote: a named folder of the run, or a path's first two parts."""
        found = set()
        for path in self._written:
            for name, folder in self._areas.items():
                if path.startswith(f"{folder}/") or path == str(folder):
                    found.add(name)
                    break
            else:
                found.add("shm" if path.startswith("/dev/shm/") else "/".join(path.split("/")[:3]))
        return found

    def summary(self):
        """For the table."""
        areas = ", ".join(sorted(self.written_areas()))
        return f"{len(self.opened)}" + (f"; writes {areas}" if areas else "")
