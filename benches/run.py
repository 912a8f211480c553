#!/usr/bin/env python3
"""Measures what pyox promises: `make bench` runs it, and `make bench-quick` with `--quick`.

For each distribution it builds real executables with the tools in `target/release` and compares them, in
turn, with the same distribution's own `python -I -S` (see compare.py for how). It prints a table with
the goals beside what was measured, and writes the numbers to `build/bench.json`. A goal that is missed is no
error: a benchmark that fails on a busy machine would be taught to pass.

Everything it makes is below `build/bench`. The first run also fills pyox's own caches, which takes
some minutes; with those, `--quick` takes less than three.
"""

import argparse
import json
import keyword
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from compare import Failed, compare, median, ratio, read_again, run, table

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "build" / "bench"
RESULTS = ROOT / "build" / "bench.json"

# What an executable may take of `python -I -S`, and a portable one of a dynamic one, in CPU time.
GOALS = {"hello": 0.85, "standard library": 0.80, "portable": 1.25}
# What an import of numpy from the executable may take of one from a folder: in time, and in memory.
NUMPY, NUMPY_GOAL = "numpy==2.3.5", 1.15

# Opens a web browser when it is imported.
NEVER = {"antigravity"}

# Imports each name that it reads in a process of its own, and prints those that can be imported.
PROBE = """\
import os, signal, sys
for name in sys.stdin.read().split():
    process = os.fork()
    if process == 0:
        signal.alarm(20)
        null = os.open(os.devnull, os.O_RDWR)
        for stream in range(3):
            os.dup2(null, stream)
        try:
            __import__(name)
        except BaseException:
            os._exit(1)
        os._exit(0)
    if os.waitpid(process, 0)[1] == 0:
        print(name)
"""

# One of many modules, of the size of a small one.
MODULE = '''\
"""Module {number}."""

import sys

LIMIT = {number}


class Thing{number}:
    def __init__(self, value):
        self.value = value

    def double(self):
        return min(self.value * 2, LIMIT)


def things(count=LIMIT):
    return [Thing{number}(value) for value in range(count)]
'''
PER_PACKAGE = 250


class Distribution:
    """A fetched distribution, its python, and a folder for what is built with it."""

    def __init__(self, spec):
        self.spec = spec
        self.folder = FOLDER / spec
        self.folder.mkdir(parents=True, exist_ok=True)
        self.document = self.folder / "dist.json"
        tool("pyox-fetch", spec, "-o", self.document)
        document = json.loads(self.document.read_text())
        self.version = document["python"]["version"]
        self.has_both = "libpython" in document["link"] and "shared_libpython" in document["link"]
        executable = Path(document["root"], document["paths"]["executable"])
        self.python = [str(executable), "-I", "-S"]

    def paths(self, name):
        """Where the stages of an application put their products: manifest, blob, executable."""
        return [self.folder / f"{name}{suffix}" for suffix in (".json", ".blob", "")]

    def stages(self, name, application, shape="static"):
        """The commands that build an application's executable, by stage."""
        manifest, blob, executable = self.paths(name)
        libpython = ["--libpython"] if shape == "portable" else []
        return {
            "collect": ["pyox-collect", "-q", "-d", self.document, *application, *libpython, "-o", manifest],
            "pack": ["pyox-pack", "-q", manifest, "-o", blob],
            "link": ["pyox-link", "-q", blob, "-d", self.document, "--shape", shape, "-o", executable],
        }

    def build(self, name, *application, shape="static"):
        """Builds an application; gives its executable."""
        for command in self.stages(name, application, shape).values():
            tool(*command)
        return str(self.paths(name)[-1])


def tool(*command):
    """Runs one of the tools; what it says on stderr is shown."""
    run([str(part) for part in command])


def say(what):
    print(f"… {what}", file=sys.stderr, flush=True)


def seconds(value):
    return f"{value * 1000:.1f} ms" if value < 0.9995 else f"{value:.2f} s"


def pair(result, name, command, baseline, runs):
    """Compares two commands and notes the outcome."""
    samples, others = compare(command, baseline, runs)
    cpu, wall = ratio(samples, others), ratio(samples, others, "wall")
    result[name] = {
        "runs": runs,
        "cpu": [median(samples, "cpu"), median(others, "cpu")],
        "wall": [median(samples, "wall"), median(others, "wall")],
        "cpu_ratio": cpu._asdict(),
        "wall_ratio": wall._asdict(),
        "goal": GOALS.get(name),
    }
    goal = GOALS.get(name)
    verdict = "" if goal is None else f"≤ {goal:.2f}: {'met' if cpu.median <= goal else 'missed'}"
    times = [seconds(median(s, "cpu")) for s in (samples, others)]
    return [name, *times, str(cpu), f"{wall.median:.2f}", verdict]


def standard_library(distribution):
    """A program that imports every module of the standard library, on a line each."""
    # What pyox-collect leaves out by default (tests, idlelib, ensurepip ...) is not compared.
    probe = distribution.folder / "probe.py"
    probe.write_text("")
    manifest = distribution.paths("probe")[0]
    tool("pyox-collect", "-q", "-d", distribution.document, probe, "-o", manifest)
    importable = {"module", "package", "namespace-package", "extension-module"}
    names = [
        resource["name"]
        for resource in json.loads(manifest.read_text())["resources"]
        if resource["kind"] in importable and resource["project"] == "python"
    ]
    names = [
        name
        for name in sorted(names)
        if name not in NEVER
        and all(p.isidentifier() and not keyword.iskeyword(p) for p in name.split("."))
        and not name.endswith("__main__")
    ]
    answer = subprocess.run(
        [*distribution.python, "-c", PROBE], input="\n".join(names), text=True, capture_output=True
    )
    if answer.returncode != 0:
        raise Failed(f"probe: exit status {answer.returncode}: {answer.stderr.strip()}")
    found = answer.stdout.split()
    program = distribution.folder / "standard_library.py"
    # Some modules warn that they are deprecated; printing that is no part of an import.
    head = "import warnings\n\nwarnings.simplefilter(\"ignore\")\n"
    program.write_text(head + "".join(f"import {name}\n" for name in found))
    return program, len(found)


def start(distribution, result, quick):
    """Hello world and the whole standard library, beside the distribution's python."""
    rows = [("CPU time", "pyox", "python", "ratio", "wall", "goal")]
    hello = distribution.folder / "hello.py"
    shutil.copyfile(ROOT / "examples" / "hello.py", hello)
    say(f"{distribution.spec}: hello")
    app = distribution.build("hello", hello)
    command = [*distribution.python, str(hello)]
    rows.append(pair(result, "hello", [app], command, 41 if quick else 101))

    say(f"{distribution.spec}: the standard library")
    program, count = standard_library(distribution)
    result["modules of the standard library"] = count
    app = distribution.build("standard_library", program)
    command = [*distribution.python, str(program)]
    rows.append(pair(result, "standard library", [app], command, 15 if quick else 31))
    return rows


def native(distribution, result, runs):
    """An import of numpy from a dynamic executable, beside one from a folder with the same files."""
    say(f"{distribution.spec}: numpy")
    folder = distribution.folder / "numpy"
    if not folder.exists():
        version = ".".join(distribution.version.split(".")[:2])
        wheels = ["--only-binary=:all:", "--implementation=cp", f"--python-version={version}"]
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q", "install"]
        run([*pip, *wheels, "--target", str(folder), NUMPY])
        # With its bytecode, as an installation has it.
        run([*distribution.python, "-m", "compileall", "-q", str(folder)])
    program = distribution.folder / "import_numpy.py"
    program.write_text("import numpy\n")
    app = distribution.build("import_numpy", program, "--with", NUMPY, shape="dynamic")
    read_again(app)
    code = f"import sys; sys.path.append({str(folder)!r}); import numpy"
    samples, others = compare([app], [*distribution.python, "-c", code], runs)
    rows = [("import numpy", "pyox", "python", "ratio", "goal")]
    result["numpy"] = {"runs": runs, "goal": NUMPY_GOAL}
    for what, name in [("cpu", "CPU time"), ("wall", "wall time"), ("peak", "peak memory")]:
        middle = [median(each, what) for each in (samples, others)]
        quotient = ratio(samples, others, what)
        result["numpy"][what] = {"medians": middle, "ratio": quotient._asdict()}
        texts = [f"{m / 1024:.1f} MiB" if what == "peak" else seconds(m) for m in middle]
        met = "met" if quotient.median <= NUMPY_GOAL else "missed"
        rows.append((name, *texts, str(quotient), f"≤ {NUMPY_GOAL}: {met}"))
    return rows


def many(count):
    """A folder with that many modules, made once."""
    folder = FOLDER / f"modules-{count}"
    done = folder / "done"
    if not done.exists():
        shutil.rmtree(folder, ignore_errors=True)
        for number in range(count):
            package = folder / "path" / "many" / f"p{number // PER_PACKAGE:03}"
            if number % PER_PACKAGE == 0:
                package.mkdir(parents=True)
                (package / "__init__.py").write_text("")
            (package / f"m{number:05}.py").write_text(MODULE.format(number=number))
        (folder / "path" / "many" / "__init__.py").write_text("")
        done.write_text("")
    return folder / "path"


def shapes(quick):
    """Hello world in a portable executable beside a dynamic one, of this machine's own Python."""
    distribution = Distribution("host")
    result = {"distribution": "host", "version": distribution.version}
    if not distribution.has_both:
        say(f"host: {distribution.version} has not both a static and a shared libpython: no portable beside a dynamic one")
        return result
    say("host: a portable executable beside a dynamic one")
    hello = ROOT / "examples" / "hello.py"
    apps = [[distribution.build(shape, hello, shape=shape)] for shape in ("portable", "dynamic")]
    row = pair(result, "portable", *apps, 41 if quick else 101)
    print(f"\nhost: CPython {distribution.version}\n")
    print("\n".join("  " + line for line in table([("CPU time", "portable", "dynamic", "ratio", "wall", "goal"), row])))
    return result


def sizes(distribution, result, counts, quick):
    """Start-up with few and with many modules, and what building them takes."""
    hello = distribution.folder / "hello.py"
    rows = [("modules", "blob", "collect", "pack", "link", "peak: collect", "pack", "link")]
    apps = {}
    result["sizes"] = {}
    for count in counts:
        say(f"{distribution.spec}: {count:,} modules")
        name = f"many-{count}"
        stages = distribution.stages(name, [hello, "--path", many(count)])
        # Once to fill the caches, once to measure.
        for command in stages.values():
            tool(*command)
        samples = {stage: run(list(map(str, command))) for stage, command in stages.items()}
        _, blob, executable = distribution.paths(name)
        apps[count] = [str(executable)]
        result["sizes"][count] = {
            "blob": blob.stat().st_size,
            "wall": {stage: sample.wall for stage, sample in samples.items()},
            "peak": {stage: sample.peak * 1024 for stage, sample in samples.items()},
        }
        mebibytes = [blob.stat().st_size / 2**20] + [s.peak / 1024 for s in samples.values()]
        size, *peaks = [f"{value:.0f} MiB" for value in mebibytes]
        rows.append((f"{count:,}", size, *(seconds(s.wall) for s in samples.values()), *peaks))
    least, most = min(counts), max(counts)
    say(f"{distribution.spec}: the start with {most:,} modules beside {least:,}")
    starts = [("CPU time", f"{most:,}", f"{least:,}", "ratio", "wall", "")]
    starts.append(pair(result, "start", apps[most], apps[least], 41 if quick else 101))
    return starts, rows


def rebuild(distribution, result, runs):
    """A one-line edit: what collect, pack and link take together."""
    say(f"{distribution.spec}: rebuilding after an edit")
    program = distribution.folder / "edited.py"
    stages = distribution.stages("edited", [program])
    walls = {stage: [] for stage in stages}
    for _ in range(runs + 1):
        # A text that no run before has seen, so that no cache has its bytecode.
        program.write_text(f'import argparse\n\nprint("edit", {time.time_ns()})\n')
        for stage, command in stages.items():
            walls[stage].append(run([str(part) for part in command]).wall)
    middle = {stage: sorted(times[1:])[runs // 2] for stage, times in walls.items()}
    result["rebuild"] = {**middle, "total": sum(middle.values())}
    return [
        ("wall time", *middle, "together"),
        ("rebuild", *map(seconds, middle.values()), seconds(sum(middle.values()))),
    ]


def measure(spec, quick):
    """All measurements with one distribution; prints their tables."""
    say(f"{spec}: fetching; a first run builds it")
    distribution = Distribution(spec)
    result = {"distribution": spec, "version": distribution.version}
    counts = [1_000, 50_000] if quick else [1_000, 10_000, 50_000]
    tables = [
        start(distribution, result, quick),
        native(distribution, result, 15 if quick else 41),
        *sizes(distribution, result, counts, quick),
        rebuild(distribution, result, 5 if quick else 11),
    ]
    modules = result["modules of the standard library"]
    print(f"\n{spec}: CPython {distribution.version}, static; {modules} modules in the standard library")
    for rows in tables:
        print()
        print("\n".join("  " + line for line in table(rows)))
    return result


def main():
    parser = argparse.ArgumentParser(description="Measures what pyox promises.")
    parser.add_argument("--quick", action="store_true", help="one distribution, fewer runs")
    args = parser.parse_args()
    os.environ["PATH"] = f"{ROOT / 'target' / 'release'}{os.pathsep}{os.environ['PATH']}"
    begin = time.monotonic()
    try:
        specs = ["source@3.13"] if args.quick else ["source@3.13", "source@3.11"]
        results = [measure(spec, args.quick) for spec in specs]
        results.append(shapes(args.quick))
    except Failed as failed:
        sys.exit(f"run: error: {failed}")
    RESULTS.write_text(json.dumps({"quick": args.quick, "results": results}, indent=2) + "\n")
    print(f"\nratios: median (least to greatest) of the pairs; {RESULTS.relative_to(ROOT)} has all")
    say(f"{time.monotonic() - begin:.0f} s in all")


if __name__ == "__main__":
    main()
