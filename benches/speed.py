#!/usr/bin/env python3
"""Compares how fast Pythons run code: `make bench-speed`.

CPython that pyox builds from source, with `--pgo` and without, runs inside an executable; other Pythons that are given run as they are.
All run the same benchmarks of `pyperformance` in turn, a process for each value, and start the same program. Writes
`docs/speed.md`, and `build/speed.json` with every value.

Everything that is made is below `build/speed`. It needs PyPI; the first run builds CPython with `--pgo`, which takes half an hour.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import venv
from pathlib import Path

from compare import Failed, run

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "build" / "speed"
PAGE = ROOT / "docs" / "speed.md"
PACKAGES = ("pyperformance==1.14.0", "pyperf==2.11.0")
SPEC = "source@3.13"
# Those that need the standard library alone, each with how often it runs for a value: some tenths of a second in all.
BENCHMARKS = {
    "chaos": 4, "deltablue": 60, "float": 3, "go": 2, "hexiom": 40, "json_dumps": 20, "json_loads": 200, "nbody": 3, "nqueens": 3,
    "pidigits": 1, "pyflate": 1, "raytrace": 1, "regex_compile": 2, "richards": 5, "spectral_norm": 3, "unpack_sequence": 5000,
}  # fmt: skip
# What the start is measured with: nothing, and six modules that many programs import.
STARTS = {"start": "pass", "start with six imports": "import argparse, asyncio, dataclasses, json, logging, typing"}


class Contestant:
    """A Python: what it is called, and how it is started."""

    def __init__(self, name, command, environment=()):
        self.name, self.command = name, [str(word) for word in command]
        self.environment = os.environ | dict(environment) | {"PYTHONPATH": str(FOLDER / "packages")}

    def value(self, benchmark):
        """How long a benchmark takes, in seconds, when it has run for as long before."""
        script = FOLDER / "packages/pyperformance/data-files/benchmarks" / f"bm_{benchmark}" / "run_benchmark.py"
        to = FOLDER / "value.json"
        to.unlink(missing_ok=True)
        command = [*self.command, str(script), "--worker", f"--loops={BENCHMARKS[benchmark]}", "--warmups=1", "--values=1", "--output", str(to)]
        done = subprocess.run(command, env=self.environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        if done.returncode != 0:
            raise Failed(f"{self.name}: {benchmark}: {done.stderr.strip().splitlines()[-1:]}")
        [outcome] = json.loads(to.read_text())["benchmarks"]
        return outcome["runs"][0]["values"][0]


def tool(stage, *arguments):
    """Runs one of pyox's tools."""
    done = subprocess.run([ROOT / "target" / "release" / f"pyox-{stage}", "-q", *map(str, arguments)])
    if done.returncode != 0:
        raise Failed(f"pyox-{stage} {' '.join(map(str, arguments))}: exit status {done.returncode}")


class Built(Contestant):
    """An executable of a distribution from source, which is a Python too, and those that do nothing but start."""

    def __init__(self, name, *options):
        self.folder = FOLDER / (options[0] if options else "plain").strip("-")
        self.folder.mkdir(parents=True, exist_ok=True)
        self.document = self.folder / "dist.json"
        tool("fetch", SPEC, *options, "-o", self.document)
        executable = self.build("python", "raise SystemExit('it runs as an interpreter alone')", "--interpreter")
        super().__init__(name, [executable], {"PYOX_INTERPRETER": "1"})

    def build(self, name, code, *options):
        script, manifest, blob, executable = (self.folder / f"{name}{suffix}" for suffix in (".py", ".json", ".blob", ""))
        script.write_text(code + "\n")
        tool("collect", "-d", self.document, *options, script, "-o", manifest)
        tool("pack", manifest, "-o", blob)
        tool("link", blob, "--shape", "static", "-o", executable)
        return executable

    def start(self, name, code):
        return [str(self.build(name.replace(" ", "-"), code))]


class Installed(Contestant):
    """A Python of this machine."""

    def __init__(self, path):
        asked = subprocess.run([path, "-c", "import platform; print(platform.python_version())"], capture_output=True, text=True)
        if asked.returncode != 0:
            raise Failed(f"{path}: it is no Python that runs")
        whose = "pyenv's" if ".pyenv" in path else "Debian's" if path.startswith("/usr/bin/") else path
        super().__init__(f"{whose} {asked.stdout.strip()}", [path, "-s"])

    def start(self, name, code):
        script = FOLDER / f"{name.replace(' ', '-')}.py"
        script.write_text(code + "\n")
        return [self.command[0], "-I", "-S", str(script)]


def shown(seconds):
    """A time with its unit."""
    return f"{seconds * 1e3:.1f} ms" if seconds >= 1e-3 else f"{seconds * 1e6:.2f} µs"


def in_turn(contestants, count, measure):
    """So many values of each contestant, in turn."""
    values = [[] for _ in contestants]
    for _ in range(count):
        for own, contestant in zip(values, contestants):
            own.append(measure(contestant))
    return values


def quotients(values):
    """The median of each contestant's quotients with the first one, round by round."""
    return [statistics.median(a / b for a, b in zip(own, values[0])) for own in values]


def page(contestants, rows):
    """The table: times, and in brackets what they are of the first contestant's."""
    yield "# How fast the Python inside runs\n"
    yield "`make bench-speed` has written this page. An executable has the CPython that was packed: from source it is compiled with `-O3`, and with"
    yield "`pyox-fetch source@3.13 --pgo` by profile-guided and link-time optimisation, as distributions' own Pythons are. The benchmarks are of"
    yield f"[`pyperformance`](https://pyperformance.readthedocs.io) ({', '.join(PACKAGES)}). All run in turn, each value in a process of its own;"
    yield "a cell is the median, and in brackets the median of the quotients with the first column. Starts are CPU time.\n"
    yield f"| | {' | '.join(contestant.name for contestant in contestants)} |"
    yield f"|---{'|---' * len(contestants)}|"
    for name, values in rows.items():
        cells = [f"{shown(statistics.median(own))} ({quotient:.2f})" for own, quotient in zip(values, quotients(values))]
        yield f"| {name} | {' | '.join(cells)} |"
    each = zip(*(quotients(rows[name]) for name in BENCHMARKS))
    yield f"| geometric mean of the benchmarks | {' | '.join(f'{statistics.geometric_mean(of):.2f}' for of in each)} |"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pythons", nargs="*", help="other Pythons, by their paths")
    parser.add_argument("--values", type=int, default=7, help="of each benchmark and Python (default: 7)")
    args = parser.parse_args()
    FOLDER.mkdir(parents=True, exist_ok=True)
    try:
        venv.create(FOLDER / "venv", with_pip=True)
        pip = [FOLDER / "venv/bin/python", "-m", "pip", "install", "--quiet", "--root-user-action=ignore", "--no-deps", "--upgrade", "--target", FOLDER / "packages", *PACKAGES]
        if subprocess.run(pip).returncode != 0:
            raise Failed("pip: the benchmarks cannot be installed")
        contestants = [Built("pyox, -O3"), Built("pyox, --pgo", "--pgo"), *map(Installed, args.pythons)]
        rows = {}
        for name, code in STARTS.items():
            commands = {contestant: contestant.start(name, code) for contestant in contestants}
            rows[name] = in_turn(contestants, args.values * 5, lambda contestant: run(commands[contestant]).cpu)
        for name in BENCHMARKS:
            print(f"speed: {name}", flush=True)
            rows[name] = in_turn(contestants, args.values, lambda contestant: contestant.value(name))
    except Failed as failed:
        sys.exit(f"speed: error: {failed}")
    (ROOT / "build" / "speed.json").write_text(json.dumps(rows, indent=1))
    PAGE.write_text("\n".join(page(contestants, rows)) + "\n")
    print(PAGE.read_text())


if __name__ == "__main__":
    main()
