"""Root folders of Debian's releases, by `scripts/roots`, and a CPython that was built in an old one."""

import re
import shutil
import tempfile
from pathlib import Path

import pytest

from chain import REPOSITORY, cache_folder, in_root, run

# Counts up when the build below changes.
RECIPE = 1
# What a release of CPython needs to be built as distributions of Linux build it; modules that need more stay out.
BUILD = """
set -eu
tar -xf "$1"
cd Python-*
./configure --prefix=/opt/python --enable-shared --without-ensurepip --disable-test-modules \\
    LDFLAGS="-Wl,-rpath,'\\$\\$ORIGIN/../lib:\\$\\$ORIGIN/../..'"
make -j"$(nproc)"
make install DESTDIR="$2"
# Newer releases do not have it.
cp -L /usr/lib/*/libffi.so.7 "$2/opt/python/lib"
"""


@pytest.fixture(scope="session")
def enter():
    """Runs a command in a root folder."""
    return in_root


@pytest.fixture(scope="session")
def old(pyox, fetched, enter, tmp_path_factory):
    """CPython 3.13, built in Debian's bullseye: a distribution that needs no newer glibc. It is kept in the cache."""
    fetched("source@3.13")
    cache = cache_folder()
    releases = (cache / "source/downloads").glob("Python-3.13.*.tar.xz")
    release = max(releases, key=lambda path: tuple(map(int, re.findall(r"\d+", path.name.split("-")[1]))))
    base = Path(run(REPOSITORY / "scripts/roots", "bullseye", timeout=900).stdout.strip())
    built = cache / "roots" / f"python-{release.name.split('-')[1].removesuffix('.tar.xz')}-{RECIPE}-{base.name}"
    if not built.exists():
        with tempfile.TemporaryDirectory(dir=cache / "roots") as folder:
            shutil.copy(release, folder)
            enter("bullseye", "sh", "-c", f"cd {folder}\n{BUILD}", "sh", f"{folder}/{release.name}", f"{folder}/made", bind=[folder], timeout=1800)
            (Path(folder) / "made").rename(built)
    return pyox.fetch(f"host:{built}/opt/python/bin/python3.13", tmp_path_factory.mktemp("old") / "dist.json")
