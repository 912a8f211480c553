"""One application, `examples/planets`, by each way in: the executables do the same."""

import os
import shutil

import pytest

from chain import REPOSITORY, require, run

WAYS = {
    "script": ("pyox build planets.py", "dist/planets"),
    "project": ("pyox build", "dist/planets"),
    "pyoxidizer": ("pyox build pyoxidizer", "pyoxidizer/dist/planets"),
    "make": ("make all", "planets"),
    "pipe": ("./pipe", "planets"),
}
HEAVY = "Jupiter   317.800\nSaturn     95.200\n"


@pytest.mark.parametrize("way", WAYS)
def test_the_same_application(pyox, host, tmp_path, way):
    require("make")
    command, made = WAYS[way]
    folder = tmp_path / "planets"
    shutil.copytree(REPOSITORY / "examples/planets", folder)
    path = f"{host.python.parent}:{pyox.folder}:{os.environ['PATH']}"
    environment = pyox.environment | {"PATH": path, "MAKEFLAGS": "", "MAKELEVEL": "0"}
    run(*command.split(), cwd=folder, env=environment, timeout=300)
    executable = folder / made
    assert run(executable, "--heavier", "90").stdout == HEAVY
    assert "Usage: planets [OPTIONS]" in run(executable, "--help").stdout
    wrong = run(executable, "--heavier", "much", check=False)
    assert wrong.returncode == 2 and "Traceback" not in wrong.stderr
