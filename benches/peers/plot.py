"""Draws the start-up times of one application as bars: JSON on stdin, an SVG file as the result."""

import json
import sys

import matplotlib

matplotlib.use("svg")
matplotlib.rcParams["svg.hashsalt"] = "pyox"
matplotlib.rcParams["svg.fonttype"] = "none"

from matplotlib import pyplot

plot = json.load(sys.stdin)
names = list(plot["times"])
figure, axes = pyplot.subplots(figsize=(8, 0.42 * len(names) + 1.2))
rows = range(len(names))
axes.barh([row + 0.2 for row in rows], [plot["times"][name][1] * 1000 for name in names], 0.36, color="#c9ced6", label="first run")
axes.barh([row - 0.2 for row in rows], [plot["times"][name][0] * 1000 for name in names], 0.36, color="#3b6ea5", label="later runs")
axes.axvline(plot["baseline"] * 1000, color="#b03a2e", linewidth=1, label="python, virtual environment")
axes.set_yticks(list(rows), names)
axes.invert_yaxis()
axes.set_xscale("log")
axes.set_xlabel("wall time in ms")
axes.set_title(plot["title"])
axes.legend(loc="lower right", fontsize="small")
figure.tight_layout()
figure.savefig(plot["path"], metadata={"Date": None, "Creator": None})
