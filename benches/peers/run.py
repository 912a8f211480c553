#!/usr/bin/env python3
"""Compares pyox with other packagers: `make bench-peers`.

Each packager makes an executable of each application in `applications/`, with the same installed CPython. The
executables then run in turn with the application in a virtual environment, as `compare.py` does it. Writes
`docs/benchmarks.md` and its plots, and `build/peers.json` with everything that was measured.

Everything that is made is below `build/peers`. It takes about an hour, and needs a C compiler, Cargo, strace, and PyPI.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from compare import Failed, compare, median, ratio, read_again, run

ROOT = HERE.parent.parent
FOLDER = ROOT / "build" / "peers"
APPLICATIONS = HERE / "applications"
PYAPP = "0.31.0"
# A build that takes longer is given up.
PATIENCE = 900

# What runs of each application, and what it is.
ARGUMENTS = {"hello": [], "planets": [], "format": ["--version"], "fetch": ["--version"], "sums": []}
TITLES = {
    "hello": "hello world",
    "planets": "a table by rich",
    "format": "`black --version`",
    "fetch": "`http --version`",
    "sums": "a sum by numpy",
}


class Application:
    """An application: its script, its dependencies, and a Python that has them."""

    def __init__(self, name, python):
        self.name, self.python = name, python
        self.folder = FOLDER / name
        self.script = APPLICATIONS / f"{name}.py"
        found = re.search(r"^# dependencies = (\[.*\])$", self.script.read_text(), re.M)
        self.dependencies = json.loads(found.group(1)) if found else []
        self.plain = self._environment("plain", self.dependencies)
        self.tools = self._environment("tools", [*self.dependencies, "-r", str(HERE / "requirements.txt")])

    def _environment(self, name, requirements):
        """A virtual environment; the folder that holds its programs."""
        folder = self.folder / name
        done = folder / "done"
        if not done.exists() or done.read_text() != repr(requirements):
            shutil.rmtree(folder, ignore_errors=True)
            subprocess.run([self.python, "-m", "venv", folder], check=True)
            if requirements:
                pip = [folder / "bin" / "python", "-m", "pip", "--disable-pip-version-check", "-q", "install"]
                subprocess.run([*pip, *requirements], check=True)
            # With its bytecode, as an installation has it.
            subprocess.run([folder / "bin" / "python", "-m", "compileall", "-q", folder / "lib"], check=False)
            done.write_text(repr(requirements))
        return folder / "bin"

    @property
    def baseline(self):
        return [str(self.plain / "python"), str(self.script), *ARGUMENTS[self.name]]


# --- The packagers: each builds in a folder, and gives what to run and what it is made of ---------


def pyox(app, out):
    call(out, "pyox", "build", app.script, "--python", f"host:{app.python}", "-o", out / app.name)
    return out / app.name, out / app.name


def pyox_static(app, out):
    call(out, "pyox", "build", app.script, "--python", "source@3.13", "--static", "-o", out / app.name)
    return out / app.name, out / app.name


def pyox_profiled(app, out):
    plain, profile, made = out / "plain", out / "profile", out / app.name
    call(out, "pyox", "build", app.script, "--python", "source@3.13", "--snapshot", "none", "-o", plain)
    call(out, "pyox", "snapshot", plain, "--learn", profile, "--", *ARGUMENTS[app.name])
    call(out, "pyox", "snapshot", plain, "--level", "application", "--profile", profile, "-o", made)
    return made, made


def pyinstaller(mode):
    def build(app, out):
        call(out, app.tools / "pyinstaller", "--noconfirm", "--log-level", "ERROR", mode, "--distpath", out / "dist", app.script)
        made = out / "dist" / app.name
        return (made if mode == "--onefile" else made / app.name), made

    return build


def nuitka(app, out):
    call(out, app.tools / "python", "-m", "nuitka", "--onefile", "--quiet", "--assume-yes-for-downloads", "--output-dir=made", f"--output-filename={app.name}", app.script, PATH=f"{app.tools}{os.pathsep}{os.environ['PATH']}")
    return out / "made" / app.name, out / "made" / app.name


def cx_freeze(app, out):
    call(out, app.tools / "cxfreeze", "--script", app.script, "build_exe", "--silent", "--build-exe", out / "dist")
    return out / "dist" / app.name, out / "dist"


def pex(app, out):
    call(out, app.tools / "pex", *app.dependencies, "--python", app.python, "--python-shebang", app.python, "--exe", app.script, "-o", out / app.name)
    return out / app.name, out / app.name


def shiv(app, out):
    # It runs functions of modules.
    source = out / "source"
    source.mkdir()
    text = app.script.read_text().replace('if __name__ == "__main__":', "if True:")
    body = "".join(f"    {line}\n" for line in text.splitlines())
    (source / f"{app.name}_main.py").write_text(f"def main():\n{body}")
    (source / "pyproject.toml").write_text(
        f'[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n'
        f'[project]\nname = "{app.name}-main"\nversion = "1"\n[tool.setuptools]\npy-modules = ["{app.name}_main"]\n'
    )
    entry = f"{app.name}_main:main"
    call(out, app.tools / "shiv", "--python", app.python, "--compressed", "-e", entry, "-o", out / app.name, source, *app.dependencies)
    return out / app.name, out / app.name


def pyapp(app, out):
    """With a distribution of one's own, in which everything is installed already."""
    version = subprocess.run([app.python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"], capture_output=True, text=True).stdout.strip()
    prefix = subprocess.run([app.python, "-c", "import sys; print(sys.base_prefix)"], capture_output=True, text=True).stdout.strip()
    archive = out / "python.tar.gz"
    site = Path("python/lib") / f"python{version}" / "site-packages"
    with tarfile.open(archive, "w:gz") as tar:
        for part in ("bin", "lib"):
            tar.add(Path(prefix, part), f"python/{part}", filter=lambda info: None if "/site-packages/" in info.name or "/test/" in info.name or info.name.endswith(".a") else info)
        tar.add(app.plain.parent / "lib" / f"python{version}" / "site-packages", site)
    environment = {
        "PYAPP_PROJECT_NAME": app.name,
        "PYAPP_PROJECT_VERSION": "1",
        "PYAPP_EXEC_SCRIPT": str(app.script),
        "PYAPP_SKIP_INSTALL": "1",
        "PYAPP_FULL_ISOLATION": "1",
        "PYAPP_DISTRIBUTION_EMBED": "1",
        "PYAPP_DISTRIBUTION_PATH": str(archive),
        "PYAPP_DISTRIBUTION_PYTHON_PATH": f"python/bin/python{version}",
        "PYAPP_DISTRIBUTION_SITE_PACKAGES_PATH": str(site),
        "CARGO_TARGET_DIR": str(FOLDER / "pyapp"),
    }
    # What it is built for is in the environment, and Cargo does not see all of it change.
    for path in (FOLDER / "pyapp/release/.fingerprint").glob("pyapp-*"):
        shutil.rmtree(path)
    call(out, "cargo", "install", "-q", "pyapp", "--version", PYAPP, "--locked", "--force", "--root", out / "root", **environment)
    (out / "root/bin/pyapp").rename(out / app.name)
    return out / app.name, out / app.name


PACKAGERS = {
    "pyox": pyox,
    "pyox, static": pyox_static,
    "pyox, its modules imported beforehand": pyox_profiled,
    "PyInstaller, one file": pyinstaller("--onefile"),
    "PyInstaller, a folder": pyinstaller("--onedir"),
    "Nuitka, one file": nuitka,
    "cx_Freeze, a folder": cx_freeze,
    "pex": pex,
    "shiv": shiv,
    "PyApp": pyapp,
}
# These need a Python on the user's machine.
NEEDS_PYTHON = ("pex", "shiv")


class NotBuilt(Failed):
    """A packager that has made no executable."""


def call(folder, *command, **environment):
    done = subprocess.run(list(map(str, command)), cwd=folder, env=dict(os.environ) | environment, capture_output=True, text=True, timeout=PATIENCE)
    if done.returncode != 0:
        raise NotBuilt(f"{Path(str(command[0])).name}: exit status {done.returncode}: {(done.stderr or done.stdout).strip()[-400:]}")


# --- What is measured ---------------------------------------------------------------------


def files_below(path):
    return [p for p in path.rglob("*") if p.is_file() and not p.is_symlink()] if path.is_dir() else [path]


class Home:
    """An empty home folder and temporary folder, as a new user has them."""

    def __enter__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="peers-"))
        (self.folder / "tmp").mkdir()
        own = {"HOME": self.folder, "TMPDIR": self.folder / "tmp", "XDG_CACHE_HOME": self.folder / ".cache", "XDG_DATA_HOME": self.folder / ".data"}
        self.before = {name: os.environ.get(name) for name in [*own, "PYTHONPATH"]}
        os.environ.update({name: str(path) for name, path in own.items()})
        return self

    def __exit__(self, *_):
        for name, value in self.before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
        shutil.rmtree(self.folder, ignore_errors=True)


def traced(command, folder):
    """System calls of a run, and how many files it makes."""
    counts, opened = folder / "counts", folder / "opened"
    subprocess.run(["strace", "-f", "-c", "-o", counts, *command], capture_output=True, check=True)
    # Share, seconds, microseconds for each call, calls, perhaps errors, "total".
    calls = int(counts.read_text().splitlines()[-1].split()[3])
    with Home():
        subprocess.run(["strace", "-f", "-qq", "-e", "trace=openat,open,creat", "-o", opened, *command], capture_output=True, check=True)
    made = {m.group(1) for m in re.finditer(r'"([^"]+)", [^)]*O_CREAT[^)]*\) = \d', opened.read_text())}
    return calls, len({path for path in made if path != "/dev/null"})


def peak(command):
    """Resident memory of a command's largest process, in bytes."""
    program, answer = FOLDER / "peak", FOLDER / "peak.txt"
    if not program.exists():
        subprocess.run(["cc", "-O2", HERE / "peak.c", "-o", program], check=True)
    subprocess.run([program, answer, *command], stdout=subprocess.DEVNULL, check=True)
    return int(answer.read_text()) * 1024


def measure(name, build, app, runs):
    say(f"{app.name}: {name}")
    out = app.folder / "made" / re.sub(r"\W+", "-", name.lower())
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    begin = time.monotonic()
    executable, product = build(app, out)
    built = time.monotonic() - begin
    command = [str(executable), *ARGUMENTS[app.name]]
    parts = files_below(product)
    result = {"build": built, "size": sum(p.stat().st_size for p in parts), "files": len(parts)}
    expected = subprocess.run(app.baseline, capture_output=True, text=True, check=True).stdout
    with Home():
        begin = time.perf_counter()
        first = subprocess.run(command, capture_output=True, text=True)
        result["first"] = time.perf_counter() - begin
        # The first word of it may be the program's own name, and lines below tell the version of Python.
        said, wanted = (text.splitlines()[:1] for text in (first.stdout, expected))
        if first.returncode != 0 or [line.split()[1:] for line in said] != [line.split()[1:] for line in wanted]:
            raise Failed(f"{name}: {app.name}: it says {first.stdout!r} and {first.stderr[-300:]!r}")
        samples, others = compare(command, app.baseline, runs)
        result["calls"], result["written"] = traced(command, out)
    for what in ("cpu", "wall"):
        result[what] = median(samples, what)
        result[f"{what}_ratio"] = ratio(samples, others, what)._asdict()
    for part in parts:
        read_again(part)
    result["peak"] = peak(command)
    result["baseline"] = {what: median(others, what) for what in ("cpu", "wall")} | {"peak": peak(app.baseline)}
    return result


# --- What is told -------------------------------------------------------------------------


def report(results, facts):
    """The page, and a plot of the start-up times for each application."""
    lines = [
        "# Beside other packagers",
        "",
        "`make bench-peers` has written this page. Each packager, with its default options, makes an executable of the same application with the same",
        f"CPython {facts['python']}; those that are static have CPython {facts['static']}, built from source. The executables then run in turn with the",
        f"application in a virtual environment, at least {facts['runs']} times each. **Time** and **CPU** are the medians of the quotients, so less than 1 is faster",
        "than `python`. **First** is the wall time of the first run in an empty home folder. **Written** counts the files that such a run",
        "makes, **calls** its system calls, **memory** the resident memory of its largest process, once what was built was read from the disk",
        "again. **Build** is a first build with warm download caches. The versions of the packagers are in [`benches/peers`](../benches/peers), the applications as well.",
        "",
        "pex and shiv need a Python on the user's machine, the others bring theirs. pyox's executables begin where the interpreter's start has",
        "ended; those of the third row also have the modules that a run of the application imports ([snapshot.md](snapshot.md)), and CPython from source.",
        "A static executable cannot hold native code of wheels.",
        "",
    ]
    for app, peers in results.items():
        lines += [f"## {TITLES[app][0].upper()}{TITLES[app][1:]}", "", f"![start-up times](benchmarks/{app}.svg)", ""]
        lines += ["| | time | CPU | first | memory | calls | written | size | files | build |", "|---|---|---|---|---|---|---|---|---|---|"]
        for name, found in peers.items():
            if "failed" in found:
                lines.append(f"| {name} | {found['failed']} |||||||||")
                continue
            wall, cpu = found["wall_ratio"], found["cpu_ratio"]
            lines.append(
                f"| {name} | {wall['median']:.2f} ({wall['least']:.2f} to {wall['greatest']:.2f}) | {cpu['median']:.2f} | {found['first']:.2f} s "
                f"| {found['peak'] / 2**20:.0f} MiB | {found['calls']:,} | {found['written']} | {found['size'] / 1e6:.1f} MB | {found['files']} | {found['build']:.1f} s |"
            )
        lines.append("")
    text = "\n".join(lines)
    (ROOT / "docs" / "benchmarks.md").write_text(text)
    folder = ROOT / "docs" / "benchmarks"
    folder.mkdir(exist_ok=True)
    for app, peers in results.items():
        times = {name: [found["wall"], found["first"]] for name, found in peers.items() if "wall" in found}
        baseline = next((found["baseline"]["wall"] for found in peers.values() if "wall" in found), None)
        plot = {"title": TITLES[app].replace("`", ""), "times": times, "baseline": baseline, "path": str(folder / f"{app}.svg")}
        python = FOLDER / "hello" / "tools" / "bin" / "python"
        subprocess.run([python, HERE / "plot.py"], input=json.dumps(plot), text=True, check=True)


def say(what):
    print(f"… {what}", file=sys.stderr, flush=True)


def main():
    parser = argparse.ArgumentParser(description="Compares pyox with other packagers.")
    parser.add_argument("--python", default=shutil.which("python3"), help="the CPython that all of them use")
    parser.add_argument("--runs", type=int, default=21, help="pairs of runs (default: 21)")
    parser.add_argument("--only", nargs="*", choices=ARGUMENTS, default=list(ARGUMENTS), help="applications")
    parser.add_argument("--peers", nargs="*", choices=PACKAGERS, default=list(PACKAGERS), help="packagers")
    args = parser.parse_args()
    os.environ["PATH"] = f"{ROOT / 'target' / 'release'}{os.pathsep}{os.environ['PATH']}"
    python = str(Path(args.python).resolve())
    store = ROOT / "build" / "peers.json"
    kept = json.loads(store.read_text()) if store.exists() else {}
    results = kept.get("results", {})
    for name in args.only:
        app = Application(name, python)
        for peer in args.peers:
            try:
                found = measure(peer, PACKAGERS[peer], app, args.runs)
            except Failed as failed:
                say(f"{failed}")
                found = {"failed": "cannot be built" if isinstance(failed, NotBuilt) else "does not run"}
            except subprocess.TimeoutExpired:
                found = {"failed": f"not built after {PATIENCE // 60} minutes"}
            results.setdefault(name, {})[peer] = found
            order = [p for p in PACKAGERS if p in results[name]]
            results[name] = {p: results[name][p] for p in order}
            version = subprocess.run([python, "-V"], capture_output=True, text=True).stdout.split()[1]
            runs = min(args.runs, kept.get("facts", {}).get("runs", args.runs))
            facts = {"python": version, "static": "3.13", "runs": runs}
            store.write_text(json.dumps({"facts": facts, "results": results}, indent=2) + "\n")
    report({name: results[name] for name in ARGUMENTS if name in results}, facts)


if __name__ == "__main__":
    main()
