#!/usr/bin/env python3
"""The application matrix: real applications from PyPI, from one file, beside the same under `python`.

For each application of `matrix.toml` and each distribution it

1. makes a virtual environment of the distribution's own python, installs the pinned projects with pip and
   runs the task there: what that prints, and its exit status, is what is expected;
2. builds the executable with pyox and runs it in an empty working folder, with a scrubbed environment;
3. runs both once more under strace: the executable must open nothing of the application, the virtual
   environment, pyox's cache or the distribution, and must write nowhere that the other does not write;
4. as root, runs the executable once more with a read-only root, a /tmp where nothing can be executed, and a
   user id without a name (`confine.sh`);
5. measures both in turn, and writes a row of the table.

With --snapshot the executables begin with a start-up snapshot of that level, whose profile is learned from the same task, and
the table is another one.

Versions are pinned by `locks/NAME.txt`, all that pip installed; one that is missing is written. Costs 10 to
60 seconds for each row, and more for the first download. Exit status: 0 every row is as `matrix.toml`
says, 1 one is not (also when one works that is said to fail), 2 an error.
"""

import argparse
import difflib
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import table
import trace

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
FOLDER = ROOT / "build" / "apps"
TABLE = ROOT / "docs" / "compatibility.md"
TIME_LIMIT = 60
PAIRS = 5


class Failed(Exception):
    """An application does not work; the reason, in one line."""


class Application:
    """One entry of the matrix."""

    def __init__(self, name, entry):
        self.name = name
        self.requires = entry.pop("requires", [name])
        # What runs: `script` (scripts/NAME.py), or an option of pyox-collect and its value.
        self.script = entry.pop("script", None)
        self.module = entry.pop("module", None)
        self.entry_point = entry.pop("entry-point", None)
        if not self.module and not self.entry_point:
            self.script = HERE / "scripts" / (self.script or f"{name}.py")
        self.packages = [HERE / "packages" / each for each in entry.pop("packages", [])]
        self.files = [HERE / "files" / each for each in entry.pop("files", [])]
        self.arguments = entry.pop("arguments", [])
        self.input = entry.pop("input", "")
        self.collect = entry.pop("collect", [])
        self.mask = entry.pop("mask", None)
        self.fails = entry.pop("fails", None)
        self.runs = entry.pop("runs", True)
        self.writes = set(entry.pop("writes", []))
        self.system = entry.pop("system", [])
        self.pythons = entry.pop("pythons", None)
        if entry:
            raise SystemExit(f"matrix.toml: error: {name}: unknown keys: {', '.join(entry)}")

    def fails_on(self, minor):
        """Why it is not expected to work on a minor version; none where it is."""
        return self.fails.get(minor) if isinstance(self.fails, dict) else self.fails

    @property
    def lock(self):
        return HERE / "locks" / f"{self.name}.txt"

    def collected(self):
        """The arguments by which pyox-collect finds what runs."""
        first = [self.script] if self.script else []
        if self.module:
            option = ["--run-module", self.module]
        elif self.entry_point:
            option = ["--entry-point", self.entry_point]
        else:
            option = ["--run-script", self.script]
        return [*first, *self.packages, *option, *self.collect]

    def in_venv(self, venv):
        """The command that does the same in a virtual environment."""
        python = venv / "bin" / "python"
        if self.module:
            command = [python, "-I", "-m", self.module]
        elif self.entry_point:
            command = [python, "-I", venv / "bin" / self.entry_point]
        else:
            command = [python, "-I", self.script]
        return [*command, *self.arguments]


class Distribution:
    """A fetched distribution."""

    def __init__(self, spec):
        import json

        self.spec = spec
        name = re.sub(r"[^A-Za-z0-9.@]+", "-", spec).strip("-")
        self.folder = FOLDER / name
        self.folder.mkdir(parents=True, exist_ok=True)
        self.document = self.folder / "dist.json"
        tool("fetch", spec, "-o", self.document)
        document = json.loads(self.document.read_text())
        self.root = Path(document["root"])
        self.stdlib = document["paths"]["stdlib"]
        self.version = document["python"]["version"]
        self.minor = ".".join(self.version.split(".")[:2])
        self.python = self.root / document["paths"]["executable"]
        # Of a Python of the system, its library of modules; the rest is everybody's.
        self.own = self.root if self.root not in (Path("/"), Path("/usr")) else self.root / document["paths"]["stdlib"]
        # Without a static library, the shared one comes along.
        self.shape = "dynamic" if document["link"]["dynamic"] else "portable"


def tool(stage, *arguments):
    """Runs a tool; its first error line becomes the reason."""
    command = [ROOT / "target" / "release" / f"pyox-{stage}", "-q", *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise Failed((done.stderr.strip().splitlines() or [f"pyox-{stage} said nothing"])[0])


def pip(distribution, *arguments):
    """Runs the distribution's pip, or the one that it brings along to be installed."""
    # Debian has them elsewhere.
    folders = (distribution.root / distribution.stdlib / "ensurepip/_bundled", Path("/usr/share/python-wheels"))
    wheels = sorted(wheel for folder in folders for wheel in folder.glob("pip-*.whl"))
    own = subprocess.run([distribution.python, "-I", "-c", "import pip"], capture_output=True).returncode == 0
    program = ["-m", "pip"] if own or not wheels else [wheels[-1] / "pip"]
    command = [distribution.python, "-I", *program, "--disable-pip-version-check", *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        raise Failed("pip: " + (errors or done.stderr.splitlines() or ["?"])[-1])
    return done.stdout


def prepare(application, distribution, folder):
    """The requirements file, and the virtual environment with what it names."""
    requirements = folder / "requirements.txt"
    lines = [*application.requires]
    if application.lock.exists():
        lines.append(f"--constraint {application.lock}")
    requirements.write_text("".join(f"{line}\n" for line in lines))
    venv = folder / "venv"
    make = [distribution.python, "-I", "-m", "venv", "--without-pip", venv]
    subprocess.run(make, check=True)
    python = venv / "bin" / "python"
    if application.requires:
        pip(distribution, "--python", python, "install", "-q", "-r", requirements)
    frozen = pip(distribution, "--python", python, "freeze")
    if not application.lock.exists():
        application.lock.parent.mkdir(exist_ok=True)
        application.lock.write_text(frozen)
        requirements.write_text(requirements.read_text() + f"--constraint {application.lock}\n")
    if application.packages:
        site = venv / "lib" / f"python{distribution.minor}" / "site-packages"
        folders = {str(package.parent) for package in application.packages}
        (site / "matrix.pth").write_text("".join(f"{each}\n" for each in sorted(folders)))
    return requirements, venv


def take_snapshot(application, executable, level, folder):
    """Gives the executable a snapshot, of what its task imports."""
    profile = folder / "profile"
    options = ["--level", level]
    if level != "interpreter":
        learn = [ROOT / "target" / "release" / "pyox-snapshot", executable, "--learn", profile, "--", *application.arguments]
        Run(application, learn, folder / "run")
        options += ["--profile", profile]
    tool("snapshot", executable, *options, "-o", executable)


def build(application, distribution, folder, requirements, level=None):
    """The executable, and how many seconds it took, download and installation included."""
    manifest, blob, executable = folder / "app.json", folder / "app.blob", folder / "bin" / "app"
    executable.parent.mkdir(exist_ok=True)
    start = time.perf_counter()
    collected = [*application.collected(), "-r", requirements]
    tool("collect", "-d", distribution.document, *collected, "-o", manifest)
    tool("pack", manifest, "-d", distribution.document, "-o", blob)
    tool("link", blob, "-d", distribution.document, "--shape", distribution.shape, "-o", executable)
    if level:
        take_snapshot(application, executable, level, folder)
    return executable, time.perf_counter() - start


class Run:
    """One run of a command in an empty folder; its environment has nothing of the caller's."""

    def __init__(self, application, command, folder, traced=False, confined=False):
        shutil.rmtree(folder, ignore_errors=True)
        self.areas = {area: folder / area for area in ("work", "home", "tmp")}
        for area in self.areas.values():
            area.mkdir(parents=True)
        for file in application.files:
            copy = shutil.copytree if file.is_dir() else shutil.copy
            copy(file, self.areas["work"] / file.name)
        environment = {
            "PATH": "/usr/bin:/bin",
            "HOME": str(self.areas["home"]),
            "TMPDIR": str(self.areas["tmp"]),
            "LC_ALL": "C.UTF-8",
            "TERM": "dumb",
        }
        command = [str(part) for part in command]
        if traced:
            command = [*trace.COMMAND, str(folder / "trace"), "--", *command]
        if confined:
            command = [str(HERE / "confine.sh"), str(folder), *command]
        start = time.perf_counter()
        limit = TIME_LIMIT * (3 if traced else 1)
        # A session of its own: an application that starts itself over and over is ended whole.
        with subprocess.Popen(
            command,
            cwd=self.areas["work"],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        ) as process:
            try:
                output, errors = process.communicate(application.input.encode(), limit)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                raise Failed(f"has not ended after {limit} s") from None
        self.wall = time.perf_counter() - start
        self.status = process.returncode
        self.errors = errors.decode(errors="replace")
        self.output = output.decode(errors="replace").replace(str(folder), "FOLDER")
        if application.mask:
            self.output = re.sub(application.mask, "MASKED", self.output)
        self.trace = folder / "trace"

    def reason(self):
        """The last line of what went wrong: an exception's message, as a rule."""
        lines = [line.strip() for line in self.errors.splitlines() if line.strip()]
        return lines[-1] if lines else f"exit status {self.status}, and nothing said"


def first_difference(expected, output):
    """A line that differs."""
    lines = difflib.unified_diff(expected.splitlines(), output.splitlines(), n=0, lineterm="")
    changed = [line for line in lines if line[:1] in "+-" and line[:3] not in ("+++", "---")]
    return " / ".join(changed[:2]) if changed else "line ends"


def attempt(application, distribution, folder, row, level):
    """Fills a row; a `Failed` says why the application does not work."""
    if application.system:
        subprocess.run([ROOT / "scripts" / "system", *application.system], check=True)
    requirements, venv = prepare(application, distribution, folder)
    pins = dict(line.split("==") for line in application.lock.read_text().split() if "==" in line)
    row.version = table.version_of(application.requires or [application.name], pins)
    baseline = application.in_venv(venv)
    expected = Run(application, baseline, folder / "run")
    if expected.status != 0 and not expected.output:
        raise Failed(f"fails in a virtual environment too: {expected.reason()}")

    executable, row.build = build(application, distribution, folder, requirements, level)
    row.size = executable.stat().st_size
    command = [executable, *application.arguments]
    run = Run(application, command, folder / "run")
    (folder / "errors").write_text(run.errors)
    if run.status != expected.status:
        raise Failed(run.reason())
    if run.output != expected.output:
        raise Failed(f"other output: {first_difference(expected.output, run.output)}")

    traced = Run(application, command, folder / "run", traced=True)
    forbidden = [folder / "venv", distribution.own, ROOT / "tests", trace.cache_folder()]
    touched = trace.Touched(traced, forbidden, own=executable)
    usual = trace.Touched(Run(application, baseline, folder / "run", traced=True), [], own=executable)
    extra = touched.written_areas() - usual.written_areas() - application.writes
    row.touched = touched.summary()
    if touched.opened:
        raise Failed(f"opens {len(touched.opened)} files of the application, such as {touched.opened[0]}")
    if extra:
        raise Failed(f"writes where `python` does not: {', '.join(sorted(extra))}")

    if os.geteuid() == 0:
        confined = Run(application, command, folder / "run", confined=True)
        if (confined.status, confined.output) != (expected.status, expected.output):
            said = confined.reason() if confined.status != expected.status else first_difference(expected.output, confined.output)
            raise Failed(f"confined: {said}")
        row.confined = "works"

    ratios = []
    for _ in range(PAIRS):
        mine = Run(application, command, folder / "run").wall
        ratios.append(mine / Run(application, baseline, folder / "run").wall)
    row.ratio = statistics.median(ratios)


def try_one(application, distribution, keep, level=None):
    """The row of an application on a distribution."""
    row = table.Row(application.name, distribution.version)
    if not application.runs:
        row.result = application.fails_on(distribution.minor)
        return row
    folder = distribution.folder / application.name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        attempt(application, distribution, folder, row, level)
    except Failed as failed:
        row.result = str(failed).replace(str(folder), "…")
    if not keep:
        shutil.rmtree(folder, ignore_errors=True)
    return row


def default_distributions():
    """Two minor versions: the newest that pyenv has installed, else what is always to be had."""
    found = {}
    for path in sorted(Path.home().glob(".pyenv/versions/3.1[1-4]*/bin/python3")):
        found[path.parts[-3].rsplit(".", 1)[0]] = f"host:{path}"
    newest = [found[minor] for minor in sorted(found)][-2:]
    return newest if len(newest) == 2 else ["host", "source@3.13"]


def main():
    parser = argparse.ArgumentParser(description="Runs the application matrix.")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="applications to try")
    parser.add_argument("--dist", nargs="+", metavar="SPEC", help="as pyox-fetch takes it")
    parser.add_argument("--table", type=Path, help="the table to update")
    parser.add_argument("--snapshot", choices=("interpreter", "stdlib", "application"), help="take a start-up snapshot of this level")
    parser.add_argument("--keep", action="store_true", help="keep what was built, below build/apps")
    args = parser.parse_args()
    matrix = tomllib.loads((HERE / "matrix.toml").read_text())
    unknown = set(args.only or []) - set(matrix)
    if unknown:
        parser.error(f"not in matrix.toml: {', '.join(sorted(unknown))}")
    try:
        distributions = [Distribution(spec) for spec in args.dist or default_distributions()]
    except Failed as failed:
        sys.exit(f"run.py: error: {failed}") or 2
    path = args.table or (FOLDER / f"{args.snapshot}.md" if args.snapshot else TABLE)
    surprises = 0
    for name, entry in matrix.items():
        if args.only and name not in args.only:
            continue
        application = Application(name, entry)
        for distribution in distributions:
            if application.pythons and distribution.minor not in application.pythons:
                continue
            row = try_one(application, distribution, args.keep, args.snapshot)
            fails = application.fails_on(distribution.minor)
            surprise = (row.result is None) == bool(fails)
            surprises += surprise
            if row.result is not None and fails and not surprise:
                row.result = fails
            print(row.line(), "  <- not as matrix.toml says" if surprise else "", flush=True)
            table.update(path, row, list(matrix))
    return 1 if surprises else 0


if __name__ == "__main__":
    sys.exit(main())
