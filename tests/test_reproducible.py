"""Same input, same bytes: whatever the folder, the number of jobs, the cache, the locale or the hour."""

import json
import os
import shutil

import pytest

from chain import REPOSITORY


def application(folder):
    shutil.copytree(REPOSITORY / "examples/todo", folder)
    os.utime(folder / "todo/__main__.py", (0, 10**9))
    return folder


def without_paths(manifest):
    document = json.loads(manifest.read_text())
    for resource in document["resources"]:
        if "payload" in resource:
            del resource["payload"]["path"]
    return document


@pytest.mark.parametrize("kind", ["source", "host"])
def test_two_folders_one_and_two_jobs_two_caches(pyox, request, kind, tmp_path):
    distribution = request.getfixturevalue(kind)
    products = []
    for number, (place, locale) in enumerate((("one", "C"), ("another folder", "C.UTF-8"))):
        folder = tmp_path / place
        folder.mkdir()
        app = application(folder / "application")
        jobs = ("-j", str(number + 1))
        tools = pyox.with_environment(PYOX_CACHE_DIR=str(folder / "cache"), LC_ALL=locale, TZ=f"X{number}", PYTHONHASHSEED=str(number), TMPDIR=str(folder))
        manifest, blob, executable = (folder / name for name in ("m.json", "b.blob", "app"))
        options = ("-r", app / "requirements.txt", app / "todo", "--run-module", "todo", *jobs)
        tools("collect", "-d", distribution.document, *options, "-o", manifest, cwd=folder)
        tools("pack", manifest, "-d", distribution.document, *jobs, "-o", blob, cwd=folder)
        tools("link", blob, "-d", distribution.document, "-o", executable, cwd=folder)
        # A second run takes everything from the cache, and gives the same.
        tools("pack", manifest, "-d", distribution.document, "-o", folder / "again.blob")
        assert (folder / "again.blob").read_bytes() == blob.read_bytes()
        products.append((without_paths(manifest), blob.read_bytes(), executable.read_bytes()))
    (one, two) = products
    assert one[0] == two[0]
    assert one[1] == two[1], "the blobs differ"
    assert one[2] == two[2], "the executables differ"


def test_two_fetches_give_one_document(pyox, distribution, tmp_path):
    own = pyox.with_environment(TZ="Y", LC_ALL="C")
    again = own.fetch(distribution.spec, tmp_path / "again.json")
    assert again.document.read_bytes() == distribution.document.read_bytes()
