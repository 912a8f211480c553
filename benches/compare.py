#!/usr/bin/env python3
"""Compares the time of two commands: `compare.py [--runs N] COMMAND… -- BASELINE COMMAND…`

A machine is never quiet, so a time alone says little. The two commands run in turn, A B A B …, and each
run of the one is divided by the run of the other beside it: what disturbs both cancels out, and the median
of the ratios is what a change of the code moves. CPU time (user and system, as the kernel counts it for the
process and the children it has waited for) is steadier than wall time; both are shown.

It costs one warm-up of each command and N runs of both. Their output is discarded; a command that fails
ends the comparison.
"""

import argparse
import os
import shlex
import statistics
import sys
import time
from typing import NamedTuple


class Failed(Exception):
    """A measured command did not do its work."""


class Sample(NamedTuple):
    """What one run of a command took."""

    cpu: float  # user and system, in seconds
    wall: float  # in seconds
    peak: int  # resident memory of its largest process, in KiB


class Ratio(NamedTuple):
    """Command by baseline, over the pairs."""

    median: float
    least: float
    greatest: float

    def __str__(self):
        return f"{self.median:.2f} ({self.least:.2f} to {self.greatest:.2f})"


def run(command):
    """Runs a command to its end, without input, and with its output discarded."""
    discard = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
    ]
    start = time.perf_counter()
    try:
        process = os.posix_spawnp(command[0], command, os.environ, file_actions=discard)
    except OSError as error:
        raise Failed(f"{command[0]}: cannot be run: {error.strerror}") from None
    _, status, usage = os.wait4(process, 0)
    wall = time.perf_counter() - start
    if status != 0:
        code = os.waitstatus_to_exitcode(status)
        how = f"exit status {code}" if code > 0 else f"signal {-code}"
        raise Failed(f"{shlex.join(command)}: {how}")
    return Sample(usage.ru_utime + usage.ru_stime, wall, usage.ru_maxrss)


def compare(command, baseline, runs):
    """Runs both in turn, after a warm-up; gives the samples of each, in the order of the pairs."""
    run(command), run(baseline)
    pairs = [(run(command), run(baseline)) for _ in range(runs)]
    return [pair[0] for pair in pairs], [pair[1] for pair in pairs]


def read_again(path):
    """Lets the next run read a file that was just written, as it would an installed one.

    Linux keeps what was written in larger pieces than what it has read, and counts a piece as resident
    memory of whoever uses a page of it.
    """
    with open(path, "rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def median(samples, what):
    """The median of a field of the samples."""
    return statistics.median(getattr(sample, what) for sample in samples)


def ratio(samples, baseline, what="cpu"):
    """The ratios of a field, pair by pair."""
    ratios = [getattr(a, what) / getattr(b, what) for a, b in zip(samples, baseline)]
    return Ratio(statistics.median(ratios), min(ratios), max(ratios))


def label(command, width=28):
    """A command in a few letters: its program without folders, and what fits of its arguments."""
    text = shlex.join([os.path.basename(command[0]), *command[1:]])
    return text if len(text) <= width else text[: width - 1] + "…"


def table(rows):
    """Rows of text as aligned lines; the first column to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows)]
    for first, *rest in rows:
        cells = [first.ljust(widths[0])] + [c.rjust(w) for c, w in zip(rest, widths[1:])]
        yield "  ".join(cells).rstrip()


def main():
    parser = argparse.ArgumentParser(usage="%(prog)s [--runs N] COMMAND… -- BASELINE COMMAND…")
    parser.add_argument("--runs", type=int, default=15, metavar="N", help="pairs (default: 15)")
    # argparse would take away the `--` between the two.
    arguments = sys.argv[1:]
    options = 0
    while options < len(arguments) and arguments[options].startswith("-"):
        options += 2 if arguments[options] == "--runs" else 1
    args = parser.parse_args(arguments[:options])
    commands = arguments[options:]
    at = commands.index("--") if "--" in commands else 0
    command, baseline = commands[:at], commands[at + 1 :]
    if not command or not baseline or args.runs < 1:
        parser.error("expected a command, `--` and another one, and at least one run")
    try:
        samples, others = compare(command, baseline, args.runs)
    except Failed as failed:
        sys.exit(f"compare: error: {failed}")
    rows = [("", label(command), label(baseline), "ratio (least to greatest)")]
    for what, name in [("cpu", "CPU time"), ("wall", "wall time")]:
        times = [f"{median(s, what) * 1000:.1f} ms" for s in (samples, others)]
        rows.append((name, *times, str(ratio(samples, others, what))))
    print("\n".join(table(rows)))
    print(f"medians of {args.runs} runs of each, in turn")


if __name__ == "__main__":
    main()
