#!/usr/bin/env python3
"""CPython's own tests, inside an executable and beside it: what differs, method by method.

Builds an executable that has the `test` package of the distribution's release, and runs each
module of it in a process of its own, in a folder of its own, once in the executable and once
under the distribution's `python`. A method differs when its outcomes do; a module with such
methods is run again on both sides, and what differs both times counts. `reasons.toml` says why
methods differ.

With --snapshot the executable begins with a start-up snapshot of that level; from `stdlib` on it has
imported all of the standard library that one can hold.

What each module gave stays below build/cpython; `--table` writes all of it into docs/fidelity.md.
The whole takes half an hour on two cores. Exit status: 0 every difference has its reason, 1 one has
none, 2 an error.
"""

import argparse
import collections
import concurrent.futures
import contextlib
import fnmatch
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import tomllib
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
FOLDER = ROOT / "build" / "cpython"
PAGE = ROOT / "docs" / "fidelity.md"

# No method of CPython's tests is silent for longer, but for those that need `-u cpu`.
SILENCE = 90
# No process may have more address space; a test that runs wild must not take the machine's memory.
MEMORY = 8 << 30
# How often a module goes on behind a method that crashed or hung.
RESTARTS = 12
# Packages of tests that take minutes; each of their modules runs by itself.
SPLIT = {
    "test_asyncio",
    "test_capi",
    "test_concurrent_futures",
    "test_ctypes",
    "test_email",
    "test_importlib",
    "test_multiprocessing_fork",
    "test_multiprocessing_forkserver",
    "test_multiprocessing_spawn",
}
# What tests import and pyox-collect leaves out, as far as the distribution has it.
INCLUDES = ("ensurepip", "idlelib", "tkinter", "turtle", "turtledemo")
EXTENSIONS = re.compile(r"_test\w*|_ctypes_test|_xxtestfuzz|xxlimited\w*|xxsubtype")
ABSENT = "not run"
# So many methods of a module that differ in the same way have one row of the table.
MANY = 12


# Set when the run is to end early.
STOPPED = threading.Event()


class Failed(Exception):
    """Nothing can be compared; the reason, in one line."""


def tool(stage, *arguments):
    """Runs a tool; its first error line becomes the reason."""
    folder = Path(os.environ.get("PYOX_BIN", ROOT / "target" / "release"))
    command = [folder / f"pyox-{stage}", "-q", *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise Failed((done.stderr.strip().splitlines() or [f"pyox-{stage} said nothing"])[0])


class Distribution:
    """A fetched distribution whose standard library has its tests."""

    def __init__(self, document):
        self.path = Path(document).resolve()
        document = json.loads(self.path.read_text())
        root = Path(document["root"])
        self.version = document["python"]["version"]
        self.python = root / document["paths"]["executable"]
        self.stdlib = root / document["paths"]["stdlib"]
        self.dynload = root / document["paths"].get("dynload", document["paths"]["stdlib"])
        self.tests = self.stdlib / "test"
        if not (self.tests / "support").is_dir():
            wanted = "expected a standard library with its tests"
            raise Failed(f"{self.path}: {wanted}, found no {self.tests}")

    def includes(self):
        """The options by which pyox-collect takes the tests, and what they need."""
        names = ["test", *(name for name in INCLUDES if (self.stdlib / name).is_dir() or (self.stdlib / f"{name}.py").exists())]
        files = sorted(file.name.split(".")[0] for file in self.dynload.glob("*.so"))
        names += [name for name in files if EXTENSIONS.fullmatch(name)]
        return [word for name in names for word in ("--include", name)]

    def names(self):
        """The modules of the standard library, but for those that a program does not import."""
        ask = "import sys; print(*sorted(name for name in sys.stdlib_module_names if name[0] != '_'))"
        done = subprocess.run([self.python, "-I", "-S", "-c", ask], capture_output=True, text=True, check=True)
        return [name for name in done.stdout.split() if name not in ("antigravity", "idlelib", "test", "this", "turtledemo")]

    def modules(self):
        """The modules of tests, as names without `test.`."""
        found = []
        for path in sorted(self.tests.iterdir()):
            if path.name in SPLIT and path.is_dir():
                below = [each.stem for each in sorted(path.glob("test_*.py"))]
                below += [each.parent.name for each in sorted(path.glob("test_*/__init__.py"))]
                found += [f"{path.name}.{name}" for name in below]
            elif path.name.startswith("test_") and (
                path.suffix == ".py" or (path / "__init__.py").exists()
            ):
                found.append(path.stem)
        return found


def build(distribution, folder, collect=(), link=(), snapshot=None):
    """The executable, with a snapshot of that level."""
    folder.mkdir(parents=True, exist_ok=True)
    manifest, blob, executable = (
        folder / "methods.json",
        folder / "methods.blob",
        folder / "methods",
    )
    # `python` writes `.pyc` files, and an executable only if it is told to.
    options = [*distribution.includes(), "--config", "write_bytecode=1", *collect]
    tool("collect", "-d", distribution.path, HERE / "methods.py", *options, "-o", manifest)
    tool("pack", manifest, "-d", distribution.path, "-o", blob)
    tool("link", blob, "-d", distribution.path, *link, "-o", executable)
    if snapshot:
        options = ["--level", snapshot]
        if snapshot != "interpreter":
            profile = folder / "profile"
            profile.write_text("".join(f"{name}\n" for name in distribution.names()))
            options += ["--profile", profile]
        tool("snapshot", executable, *options, "-o", executable)
    return executable


def environment(scratch):
    """Nothing of the caller's."""
    return {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "HOME": str(scratch / "home"),
        "TMPDIR": str(scratch / "tmp"),
        "LC_ALL": "C.UTF-8",
        "TERM": "dumb",
    }


def ended(process, records, limit):
    """Waits for the end; false if nothing has been written for too long."""
    size, since = -1, time.monotonic()
    while True:
        try:
            process.wait(0.2)
            return True
        except subprocess.TimeoutExpired:
            pass
        now = records.stat().st_size if records.exists() else 0
        if now != size:
            size, since = now, time.monotonic()
        elif STOPPED.is_set() or time.monotonic() - since > limit:
            return False


def end_all(process, scratch):
    """Ends the process and all that the tests have started, in sessions of their own as well."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    home = f"HOME={scratch / 'home'}".encode()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if home in (entry / "environ").read_bytes().split(b"\0"):
                    os.kill(int(entry.name), signal.SIGKILL)


def read(records):
    """The outcomes, the method that has started and has none, and whether the end is there."""
    outcomes, started, end = {}, None, False
    lines = records.read_text().splitlines() if records.exists() else []
    for record in map(json.loads, lines):
        if "start" in record:
            started = record["start"]
        elif "id" in record:
            outcomes[record["id"]] = (record["outcome"], record["detail"])
            started = None if record["id"] == started else started
        else:
            end = True
    return outcomes, started, end


def run(command, module, scratch, limit):
    """The outcome of each method of a module, and what was said at its end."""
    shutil.rmtree(scratch, ignore_errors=True)
    for name in ("work", "home", "tmp"):
        (scratch / name).mkdir(parents=True)
    records = scratch / "records"
    # Children end with this program, however it ends.
    guarded = ["setpriv", "--pdeathsig", "KILL", "prlimit", f"--as={MEMORY}", "--"]
    for _ in range(RESTARTS):
        with (scratch / "output").open("wb") as output:
            process = subprocess.Popen(
                [*guarded, *map(str, command), str(records), f"test.{module}"],
                cwd=scratch / "work",
                env=environment(scratch),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
            whole = ended(process, records, limit)
            end_all(process, scratch)
            status = process.wait()
        if STOPPED.is_set():
            break
        outcomes, started, end = read(records)
        if end:
            break
        said = (scratch / "output").read_bytes()[-1500:].decode(errors="replace")
        outcome = "hangs" if not whole else "crashes" if status < 0 else "ends the process"
        with records.open("a") as file:
            record = {
                "id": started or f"test.{module}",
                "outcome": outcome,
                "detail": f"exit status {status}\n{said}",
            }
            file.write(json.dumps(record) + "\n")
        outcomes, _, _ = read(records)
        if started is None:
            break
    shutil.rmtree(scratch, ignore_errors=True)
    return outcomes


def different(disk, packed):
    """The methods whose outcomes differ, with both."""
    absent = (ABSENT, "")
    pairs = {
        name: (disk.get(name, absent), packed.get(name, absent))
        for name in sorted({*disk, *packed})
    }
    return {name: pair for name, pair in pairs.items() if pair[0][0] != pair[1][0]}


def compare(distribution, executable, module, folder, limit=SILENCE):
    """What a module gave on both sides; nothing where the run has been stopped."""
    folder.mkdir(exist_ok=True)
    sides = {
        "disk": [distribution.python, "-I", "-S", HERE / "methods.py"],
        "packed": [executable],
    }
    if STOPPED.is_set():
        return None
    start = time.monotonic()
    # Names of sockets must be short.
    scratch = Path(tempfile.mkdtemp(dir=folder))
    once = {side: run(command, module, scratch, limit) for side, command in sides.items()}
    differ = different(once["disk"], once["packed"])
    if differ:
        again = {side: run(command, module, scratch, limit) for side, command in sides.items()}
        second = different(again["disk"], again["packed"])
        # Neither chance nor load makes a difference.
        differ = {name: pair for name, pair in differ.items() if name in second}
    shutil.rmtree(scratch, ignore_errors=True)
    if STOPPED.is_set():
        return None
    counts = collections.Counter(outcome for outcome, _ in once["disk"].values())
    return {
        "module": module,
        "counts": dict(sorted(counts.items())),
        "differ": differ,
        "seconds": round(time.monotonic() - start, 1),
    }


class Reasons:
    """Why methods differ: the first pattern of `reasons.toml` that a method's name matches."""

    def __init__(self, path=HERE / "reasons.toml"):
        self.path = path
        self.entries = tomllib.loads(path.read_text()).get("reason", [])
        self.matched = collections.defaultdict(set)

    def of(self, method):
        for entry in self.entries:
            for pattern in entry["methods"]:
                if fnmatch.fnmatchcase(method, pattern):
                    self.matched[pattern].add(method)
                    return entry["because"]
        return None

    def unused(self, modules):
        """The patterns for methods of these modules that have matched nothing."""
        patterns = [pattern for entry in self.entries for pattern in entry["methods"]]
        return [
            each for each in patterns if each not in self.matched and self.is_for(each, modules)
        ]

    def is_for(self, pattern, modules):
        return f"{pattern}.".startswith(tuple(f"test.{module}." for module in modules))

    def prune(self, modules):
        """Leaves in the file what has differed: of faults the methods by name, no patterns."""
        lines = [line for line in self.path.read_text().splitlines() if line.startswith("#")]
        for entry in self.entries:
            kept = set()
            for pattern in entry["methods"]:
                if not self.is_for(pattern, modules):
                    kept.add(pattern)
                elif entry["because"].startswith("fault"):
                    kept |= self.matched[pattern]
                elif pattern in self.matched:
                    kept.add(pattern)
            if kept:
                lines += [
                    "",
                    "[[reason]]",
                    f"because = {json.dumps(entry['because'])}",
                    "methods = [",
                ]
                lines += [*(f"    {json.dumps(pattern)}," for pattern in sorted(kept)), "]"]
        self.path.write_text("\n".join(lines) + "\n")


HEAD = """\
# CPython's own tests, inside an executable

The `test` package of CPython's release is packed with pyox, and each of its methods runs in the
executable and beside it, under the `python` of the same distribution: `make test-cpython`, which is
`tests/cpython/run.py`. A row is a method that had different outcomes, twice;
`tests/cpython/reasons.toml` has the reasons. The executable is allowed to write bytecode, as `python` is.
Methods that need the network, a display or much time are skipped on both sides, as `python -m test`
skips them.

"""


def rows_of(result, reasons):
    """The rows of a module: a method each, but one for many that differ in the same way."""
    alike = collections.defaultdict(list)
    for method, (disk, packed) in result["differ"].items():
        because = reasons.of(method) or "unexplained"
        alike[disk[0], packed[0], because].append(method.removeprefix("test.").replace("|", "\\|"))
    for (disk, packed, because), methods in sorted(alike.items()):
        names = [f"`{method}`" for method in methods]
        if len(names) > MANY:
            names = [f"`{result['module']}`: {len(names)} methods"]
        yield from (f"| {name} | {disk} | {packed} | {because} |\n" for name in names)


def page(version, results, everything, reasons):
    """The text of docs/fidelity.md."""
    results = sorted(results, key=lambda result: result["module"])
    missing = sorted(set(everything) - {result["module"] for result in results})
    passed = sum(result["counts"].get("passed", 0) for result in results)
    pairs = [pair for result in results for pair in result["differ"].items()]
    lost = sum(disk[0] == "passed" for _, (disk, _) in pairs)
    unexplained = sum(reasons.of(method) is None for method, _ in pairs)
    text = HEAD + f"CPython {version}:\n\n| | |\n| --- | ---: |\n"
    text += f"| modules compared, of {len(everything)} | {len(everything) - len(missing)} |\n"
    text += f"| methods that pass from disk | {passed} |\n"
    text += f"| of them, pass in the executable | {passed - lost} |\n"
    text += f"| methods with different outcomes | {len(pairs)} |\n"
    text += f"| of them, unexplained | {unexplained} |\n\n"
    text += "| method | from disk | packed | reason |\n| --- | --- | --- | --- |\n"
    text += "".join(row for result in results for row in rows_of(result, reasons))
    if missing:
        text += f"\nNot compared yet: {', '.join(missing)}.\n"
    return text


def report(result, reasons):
    """A line for a module, and one for each method that differs."""
    passed = result["counts"].get("passed", 0)
    lines = [
        f"{result['module']}: {passed} pass, {len(result['differ'])} differ, {result['seconds']} s"
    ]
    if f"test.{result['module']}" in result["differ"]:
        # The module is not even imported; its methods tell nothing more.
        name = f"test.{result['module']}"
        lines[0] += ": the module as a whole"
        result = {**result, "differ": {name: result["differ"][name]}}
    for method, (disk, packed) in result["differ"].items():
        last = (packed[1] or disk[1]).strip().splitlines()[-1:]
        because = reasons.of(method) or f"unexplained: {''.join(last)[:200]}"
        lines.append(f"    {method}: {disk[0]}, packed {packed[0]}: {because}")
    return "\n".join(lines)


def default_distribution():
    """The newest of pyenv's, which have their tests, or else the host's."""
    found = sorted(Path.home().glob(".pyenv/versions/3.1[1-3].*/bin/python3"))
    return f"host:{found[-1]}" if found else "host"


def main():
    parser = argparse.ArgumentParser(
        description="Runs CPython's tests inside an executable and beside it."
    )
    parser.add_argument(
        "--dist",
        default=default_distribution(),
        metavar="SPEC",
        help="a document, or as pyox-fetch takes it",
    )
    parser.add_argument(
        "--only",
        nargs="*",
        metavar="MODULE",
        help="modules to run, such as test_glob; none: only write the table",
    )
    parser.add_argument("--rest", action="store_true", help="leave out modules that have results")
    parser.add_argument(
        "--jobs", type=int, default=os.cpu_count(), metavar="N", help="modules at the same time"
    )
    parser.add_argument(
        "--silence", type=int, default=SILENCE, metavar="SECONDS", help="when a method hangs"
    )
    parser.add_argument(
        "--collect", action="append", default=[], metavar="OPTION", help="for pyox-collect"
    )
    parser.add_argument(
        "--link", action="append", default=[], metavar="OPTION", help="for pyox-link"
    )
    parser.add_argument(
        "--snapshot",
        choices=("interpreter", "stdlib", "application"),
        help="take a start-up snapshot of this level",
    )
    parser.add_argument(
        "--prune", action="store_true", help="take reasons out that are for nothing"
    )
    parser.add_argument(
        "--table", action="store_true", help="write docs/fidelity.md from all results"
    )
    args = parser.parse_args()
    FOLDER.mkdir(parents=True, exist_ok=True)
    try:
        document = Path(args.dist)
        if not document.is_file():
            document = FOLDER / f"{re.sub(r'[^A-Za-z0-9.@]+', '-', args.dist)}.json"
            tool("fetch", args.dist, "-o", document)
        distribution = Distribution(document)
        everything = distribution.modules()
        unknown = set(args.only or []) - set(everything)
        if unknown:
            parser.error(f"not among the distribution's tests: {', '.join(sorted(unknown))}")
        folder = FOLDER / "-".join(filter(None, (distribution.version, args.snapshot)))
        executable = None
        if args.only != []:
            executable = build(distribution, folder / "bin", args.collect, args.link, args.snapshot)
    except Failed as failed:
        print(f"run.py: error: {failed}", file=sys.stderr)
        return 2
    results, reasons = folder / "results", Reasons()
    results.mkdir(parents=True, exist_ok=True)
    modules = everything if args.only is None else args.only
    if args.rest:
        modules = [module for module in modules if not (results / f"{module}.json").exists()]
    unexplained = 0
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: STOPPED.set())
    with (
        tempfile.TemporaryDirectory(prefix="pyox-") as scratch,
        concurrent.futures.ThreadPoolExecutor(args.jobs) as pool,
    ):
        work = [
            pool.submit(compare, distribution, executable, module, Path(scratch), args.silence)
            for module in modules
        ]
        for done in concurrent.futures.as_completed(work):
            result = done.result()
            if result is None:
                continue
            (results / f"{result['module']}.json").write_text(json.dumps(result, indent=1))
            unexplained += sum(reasons.of(method) is None for method in result["differ"])
            print(report(result, reasons), flush=True)
    if STOPPED.is_set():
        print("run.py: stopped; --rest goes on", file=sys.stderr)
        return 2
    for pattern in reasons.unused(modules):
        print(f"differs no more: {pattern}")
    if args.prune:
        reasons.prune(modules)
    if args.table:
        found = [json.loads(path.read_text()) for path in sorted(results.glob("*.json"))]
        PAGE.write_text(page(distribution.version, found, everything, reasons))
    return 1 if unexplained else 0


if __name__ == "__main__":
    sys.exit(main())
