"""The tables of `docs/compatibility.md`: rows by application and Python, replaced one at a time, and an overview of them.

The page is the store: rows that a run has not touched stay as they are.
"""

import dataclasses
import fcntl
import os
import re

HEAD = """\
# Applications that run from one file

Each is an application from PyPI with its unmodified wheels, built by pyox into one executable and run on a real task:
a dynamic executable, or for 3.14 and 3.15, which are those of Debian's next release, a portable one. Its output is
compared with that of the same task under the distribution's own `python` in a virtual environment. `tests/apps/run.py`
(`make test-apps`) makes the tables, on 3.14 and 3.15 in a [root folder](platforms.md#root-folders) (`APPS_ROOT=forky`);
`tests/apps/matrix.toml` says what runs, and `tests/apps/locks/` holds the exact versions.

{overview}
An empty cell was not tried. The rest says how each fared:

- **size**: of the executable, in MB. **build**: collect, pack and link, in seconds, with runner and standard
  library cached; pip's installation is included the first time, and is cached too from then on.
- **time**: the whole task, executable by virtual environment: the median of the ratios of five runs in
  turn. Below 1 the executable is faster.
- **files**: of the application, its virtual environment, pyox's cache and the distribution that the
  executable opened, under strace; then the places that it wrote to, which are the same as under `python`
  (`work` the working folder, `home`, `tmp`, `shm` shared memory).
- **confined**: the same task with a read-only root file system, a `/tmp` where nothing can be executed, and a
  user id that has no name.

"""
COLUMNS = ("application", "Python", "result", "size", "build", "time", "files", "confined")


@dataclasses.dataclass
class Row:
    """What is known of an application on a distribution; `result` is why it fails."""

    name: str
    python: str
    version: str = ""
    result: str | None = None
    size: int | None = None
    build: float | None = None
    ratio: float | None = None
    touched: str = ""
    confined: str = ""

    def cells(self):
        reason = None if self.result is None else self.result.replace("|", "/").replace("`", "'")
        return (
            f"{self.name} {self.version}".strip(),
            self.python,
            "works" if reason is None else f"fails: {reason[:200]}",
            "" if self.size is None else f"{self.size / 1e6:.0f}",
            "" if self.build is None else f"{self.build:.0f}",
            "" if self.ratio is None else f"{self.ratio:.2f}",
            self.touched,
            self.confined,
        )

    def line(self):
        return "  ".join(filter(None, self.cells()))


def version_of(requires, pins):
    """The pinned version of the first project that is required."""
    def normal(name):
        return re.sub(r"[-_.]+", "-", name).lower()

    wanted = normal(re.split(r"[\[<>=~;! ]", requires[0])[0])
    return next((version for name, version in pins.items() if normal(name) == wanted), "")


def overview(rows):
    """A row for each application, and a column for each minor version of Python."""
    def minor(cells):
        return tuple(map(int, cells[1].split(".")[:2]))

    minors = sorted(set(map(minor, rows)))
    found = {}
    for cells in rows:
        found.setdefault(cells[0].split(" ")[0], {})[minor(cells)] = cells[2].split(":")[0]
    head = [("application", *(f"{major}.{number}" for major, number in minors)), ("---",) * (1 + len(minors))]
    return head + [(name, *(results.get(each, "") for each in minors)) for name, results in found.items()]


def markdown(lines):
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def update(path, row, order):
    """Puts a row in its place in the page. Two runs may do so at the same time."""
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        rows = {}
        if path.exists():
            for line in path.read_text().splitlines():
                cells = tuple(cell.strip() for cell in line.strip("|").split("|"))
                if len(cells) == len(COLUMNS) and re.match(r"3\.\d", cells[1]):
                    rows[cells[0].split(" ")[0], cells[1]] = cells
        rows[row.name, row.python] = row.cells()
        known = {name: place for place, name in enumerate(order)}

        def place(key):
            name, python = key
            return known.get(name, len(known)), name, tuple(map(int, python.split(".")))

        rows = [rows[key] for key in sorted(rows, key=place)]
        details = [COLUMNS, ("---",) * 3 + ("---:",) * 3 + ("---",) * 2, *rows]
        temporary = path.with_name(f".{path.name}.new")
        temporary.write_text(HEAD.format(overview=markdown(overview(rows))) + markdown(details))
        os.replace(temporary, path)
    finally:
        os.close(folder)
