"""A quick part of CPython's own tests, in an executable and beside it.

`make test-cpython` runs all of them.
"""

import concurrent.futures
import importlib.util
import warnings
from pathlib import Path

import pytest

from conftest import HOSTS

# What pyox changes, at a few seconds each.
MODULES = (
    "test_code",
    "test_glob",
    "test_importlib.test_api",
    "test_importlib.test_spec",
    "test_importlib.test_util",
    "test_inspect",
    "test_linecache",
    "test_modulefinder",
    "test_pkgutil",
    "test_runpy",
    "test_shutil",
    "test_sys",
    "test_sysconfig",
    "test_tempfile",
    "test_traceback",
    "test_warnings",
)


@pytest.fixture(scope="module")
def harness():
    path = Path(__file__).parent / "cpython" / "run.py"
    spec = importlib.util.spec_from_file_location("cpython_run", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_cpythons_tests_differ_in_what_is_known_alone(pyox, harness, fetched, tmp_path):
    spec = next((spec for spec in reversed(HOSTS) if ".pyenv" in spec), HOSTS[-1])
    distribution = harness.Distribution(fetched(spec).document)
    executable = harness.build(distribution, tmp_path / "bin")
    reasons = harness.Reasons()

    def compare(module):
        return harness.compare(distribution, executable, module, tmp_path / "scratch")

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        results = list(pool.map(compare, MODULES))
    assert sum(result["counts"].get("passed", 0) for result in results) > 1000
    unknown = [
        (method, disk[0], *packed)
        for result in results
        for method, (disk, packed) in result["differ"].items()
        if reasons.of(method) is None
    ]
    assert not unknown
    # Good news; `run.py --prune` takes them out.
    for pattern in reasons.unused(MODULES):
        warnings.warn(f"tests/cpython/reasons.toml: differs no more: {pattern}")
