"""pyox itself as a wheel, in a virtual environment, without Rust."""

import os
import re
import shutil
import sys
import zipfile

from chain import REPOSITORY, clean_environment, run, write


def test_pip_install_pyox(host, tmp_path):
    environment = {**os.environ, **clean_environment(), "MAKEFLAGS": "", "MAKELEVEL": "0"}
    wheels = []
    for name in ("one", "two"):
        run("make", "--no-print-directory", "wheel", f"B={tmp_path / name}", cwd=REPOSITORY, env=environment, timeout=600)
        wheels += (tmp_path / name / "wheel").iterdir()
    # The same bytes each time, and one name.
    assert wheels[0].read_bytes() == wheels[1].read_bytes() and wheels[0].name == wheels[1].name
    # Run-time libraries for another machine come along as far as they were built.
    runtime = REPOSITORY / "target/runtime"
    built = {str(path.relative_to(runtime)) for name in ("libpyembed_runner.a", "portable-runner") for path in runtime.glob(f"*-linux-gnu/*/{name}")}
    with zipfile.ZipFile(wheels[0]) as wheel:
        names = [name.split("/lib/pyox/runtime/")[1] for name in wheel.namelist() if "/lib/pyox/runtime/" in name]
    assert {name for name in names if name.count("/") == 2} == built and "cp313/portable-runner" in names
    tag = re.fullmatch(r"pyox-[\d.]+-py3-none-(manylinux_2_\d+_x86_64)\.whl", wheels[0].name)[1]
    venv = tmp_path / "venv"
    run(sys.executable, "-m", "venv", venv)
    run(venv / "bin/pip", "install", "--no-index", wheels[0])
    clean = clean_environment() | {"PATH": f"{venv}/bin:{host.python.parent}:/usr/bin:/bin"}
    assert shutil.which("cargo", path=clean["PATH"]) is None
    write(tmp_path / "app.py", "print('from a wheel')\n")
    run("pyox", "build", "app.py", cwd=tmp_path, env=clean, timeout=300)
    assert run(tmp_path / "dist/app").stdout == "from a wheel\n"
    # The tag is true: nobody else finds that they need more.
    run(venv / "bin/pip", "install", "auditwheel==6.4.2", env=environment, timeout=300)
    said = " ".join(run(venv / "bin/auditwheel", "show", wheels[0], env=clean).stdout.split())
    assert f'"{tag}"' in said, said
