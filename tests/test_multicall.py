"""`pyox build --multicall`: one executable that is several programs."""

import json
import os
import shutil

import pytest

from chain import run, write

PYPROJECT = """
    [project]
    name = "kit-box"
    version = "1"
    description = "Tools"
    [project.scripts]
    show = "kit_box:show"
    fail = "kit_box.more:Tool.fail"
    [build-system]
    requires = ["flit_core>=3.12"]
    build-backend = "flit_core.buildapi"
    [tool.pyox.programs]
    module = "kit_box.tool"
    plain = "scripts/plain.py"
    """


@pytest.fixture
def box(driver, tmp_path):
    """A project with programs of every kind, as one executable."""
    write(tmp_path / "pyproject.toml", PYPROJECT)
    write(
        tmp_path / "kit_box/__init__.py",
        """
        \"\"\"Tools.\"\"\"
        import json, os, sys

        def show():
            own = sorted(name for name in vars(sys.modules["__main__"]) if not name.startswith("__"))
            print(json.dumps({"argv": sys.argv, "executable": sys.executable, "own": own}))
            return 3 if "three" in sys.argv else None
        """,
    )
    write(tmp_path / "kit_box/more.py", "class Tool:\n    def fail():\n        raise KeyError('on purpose')\n")
    write(tmp_path / "kit_box/tool.py", "import sys\nif __name__ == '__main__':\n    print('tool', sys.argv, __spec__.name)\n")
    write(
        tmp_path / "scripts/plain.py",
        """
        import multiprocessing, sys, beside

        def double(number):
            return number * 2

        if __name__ == "__main__":
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                print("plain", sys.argv[1:], beside.VALUE, pool.map(double, [1, 2]))
        """,
    )
    write(tmp_path / "scripts/beside.py", "VALUE = 'beside'\n")
    done = driver("build", "--multicall")
    assert "programs fail, module, plain, show" in " ".join(done.stdout.split()), done.stdout
    return tmp_path / "dist"


def test_programs_are_called_by_their_names(box):
    assert sorted(os.listdir(box)) == ["fail", "kit-box", "module", "plain", "show"]
    # On the disk it is once.
    assert len({path.stat().st_ino for path in box.iterdir()}) == 1
    said = json.loads(run(box / "show", "one").stdout)
    assert said == {"argv": [f"{box}/show", "one"], "executable": f"{box}/show", "own": []}
    assert run(box / "show", "three", check=False).returncode == 3
    done = run(box / "fail", check=False)
    assert done.returncode == 1 and done.stderr.endswith("KeyError: 'on purpose'\n")
    assert run(box / "module", "x").stdout == f"tool ['{box}/module', 'x'] kit_box.tool\n"
    assert run(box / "plain", "x").stdout == "plain ['x'] beside [2, 4]\n"


def test_programs_are_called_by_the_first_argument(box, tmp_path):
    said = json.loads(run(box / "kit-box", "show", "show").stdout)
    assert said["argv"] == [f"{box}/show", "show"]
    assert run(box / "kit-box", "plain", "x").stdout == "plain ['x'] beside [2, 4]\n"
    # By a symbolic link, and elsewhere on PATH.
    (tmp_path / "elsewhere").mkdir()
    shutil.copy(box / "kit-box", tmp_path / "elsewhere/other")
    (tmp_path / "elsewhere/show").symlink_to("other")
    for command in ("show", "other show"):
        done = run("bash", "-c", command, env=dict(os.environ, PATH=f"{tmp_path}/elsewhere:{os.environ['PATH']}"))
        assert json.loads(done.stdout)["argv"] == [f"{tmp_path}/elsewhere/show"]


@pytest.mark.parametrize("arguments, got", [([], "none"), (["other"], "`other`"), (["--help"], "`--help`")])
def test_a_name_that_no_program_has(box, arguments, got):
    done = run(box / "kit-box", *arguments, check=False)
    expected = f"kit-box: error: expected the name of a program, got {got}; there are fail, module, plain, show\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", expected)


def test_further_names_come_back_and_go(driver, box, tmp_path):
    (box / "show").unlink()
    (box / "fail").unlink()
    write(box / "fail", "not a program\n")
    driver("build", "--multicall")
    assert len({path.stat().st_ino for path in box.iterdir()}) == 1 and len(os.listdir(box)) == 5
    inode = (box / "kit-box").stat().st_ino
    driver("build", "--multicall")
    assert (box / "kit-box").stat().st_ino == inode
    write(box / "notes", "not ours\n")
    driver("clean")
    assert os.listdir(box) == ["notes"]
    # By the settings, one file of any name, and some of the programs.
    with (tmp_path / "pyproject.toml").open("a") as file:
        file.write("[tool.pyox]\nmulticall = true\n")
    driver("build", "--program", "show", "--program", "fail", "-o", tmp_path / "one")
    assert run(tmp_path / "one", "plain", check=False).stderr.endswith("there are fail, show\n") and os.listdir(box) == ["notes"]


def test_a_program_may_have_the_projects_name(driver, tmp_path):
    write(tmp_path / "app.py", "def main(): print('main')\ndef other(): print('other')\n")
    write(tmp_path / "pyox.toml", f'multicall = true\napps = ["app.py"]\n[programs]\n{tmp_path.name} = "app:main"\nother = "app:other"\n')
    driver("build")
    assert run(tmp_path / "dist" / tmp_path.name, "other").stdout == "main\n"
    assert run(tmp_path / "dist/other").stdout == "other\n"


def test_programs_that_are_not_there(driver, tmp_path):
    write(tmp_path / "app.py", "def main(): pass\n")
    write(tmp_path / "pyox.toml", 'multicall = true\napps = ["app.py"]\n[programs]\none = "app:main"\ntwo = "app:absent"\n')
    done = driver("build", check=False)
    assert done.returncode == 2 and "app:absent" in done.stderr and not (tmp_path / "dist").exists()
