"""`make demo` on a machine that has Rust, make and Debian's Python with its shared library, and nothing else: no compiler, as all that
needs one is made by now, and none of the packages that tests and other executables need.
"""

from pathlib import Path

from chain import REPOSITORY, in_root

HOME = Path.home()
# Make would install packages as root where it finds Debian's programs for that.
DEMO = """
set -eu
for program in cc gcc ld jq; do
    ! command -v $program
done
mkdir /tmp/copy
cp --parents scripts/system scripts/packages.txt distribution/packages.txt /tmp/copy
chmod -R a+rX /tmp/copy
nobody="setpriv --reuid 65534 --regid 65534 --clear-groups"
$nobody /tmp/copy/scripts/system --optional
! $nobody /tmp/copy/scripts/system
rm /usr/bin/dpkg-query
exec make --no-print-directory demo DIST=host "B=$1"
"""


def test_make_demo_with_nothing_but_rust_make_and_python(tmp_path):
    path = f"PATH={HOME}/.cargo/bin:/usr/bin:/bin"
    done = in_root("trixie", "env", path, "sh", "-c", DEMO, "sh", tmp_path, bind=[tmp_path, HOME / ".cargo", HOME / ".rustup"], cwd=REPOSITORY, timeout=600)
    assert "system: note: not installed, and needed by tests and by some executables alone: " in done.stderr
    assert "system: error: missing packages; run: apt-get install " in done.stderr
    assert "pyox-link: note: portable: " in done.stderr
    assert "│ ✓ │ package an application │" in done.stdout
    assert f"{tmp_path}/todo: executable, " in done.stdout
