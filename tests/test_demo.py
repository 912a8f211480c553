"""`make demo`, as the README has it."""

import os

from chain import REPOSITORY, clean_environment, run


def test_the_demo_packages_runs_and_measures_an_application(tmp_path):
    environment = {**os.environ, **clean_environment(), "MAKEFLAGS": "", "MAKELEVEL": "0"}
    done = run("make", "--no-print-directory", "demo", f"B={tmp_path}", cwd=REPOSITORY, env=environment, timeout=900)
    assert "│ ✓ │ package an application │" in done.stdout
    assert f"{tmp_path}/todo: executable, " in done.stdout
    assert "│ ✓ │ make it start faster │" in done.stdout
    # The last thing that it does.
    assert done.stdout.splitlines()[-1] == "medians of 15 runs of each, in turn"
    for name in ("todo", "todo-fast"):
        assert run(tmp_path / name, "--done", "one", "one", "two").stdout.count("✓") == 1
