"""Real applications from PyPI, beside themselves in a virtual environment of the same Python.

`make test-apps` has many more of them; here are the two that the pipeline grew up with.
"""

import pytest

from chain import run, write

# With all that they need: both sides are to run the same.
BLACK = ("black==25.1.0", "click==8.5.1", "mypy-extensions==1.2.0", "packaging==26.3", "pathspec==1.1.1", "platformdirs==4.14.7")
RICH = ("rich==14.2.0", "markdown-it-py==4.3.0", "mdurl==0.1.2", "pygments==2.21.0")

UGLY = '''
def f(a,b = 1,*,c:int=2)->dict[str,int]:
  return {  'a':a,
     "b" : b, 'c':c }
match   f(1):
    case {'a':x , **rest} if x:print( x,rest )
'''

SHOW = """
from rich.console import Console
from rich.markdown import Markdown
from rich.syntax import Syntax
from rich.table import Table
console = Console(width=60, force_terminal=True, color_system="truecolor", legacy_windows=False)
table = Table("name", "value", title="a table")
table.add_row("größer", "[bold]1[/] :snowman:")
console.print(table, Markdown("# title\\n\\n* one\\n* `two`"), Syntax("def f(): return 1", "python"))
try:
    {}["key"]
except KeyError:
    from rich.traceback import Traceback
    console.print(type(Traceback()).__name__)
"""


def with_each(projects):
    return [word for project in projects for word in ("--with", project)]


@pytest.fixture(scope="module")
def venv(host, tmp_path_factory):
    """A virtual environment of the same Python, with the same projects."""
    folder = tmp_path_factory.mktemp("venv")
    run(host.python, "-m", "venv", folder)
    run(folder / "bin/pip", "install", "--quiet", "--disable-pip-version-check", *BLACK, *RICH, timeout=200)
    return folder


def test_black_compiled_by_mypyc(pyox, host, venv, tmp_path):
    """Its wheel has native modules with names that no source mentions, and data beside `__file__`."""
    app = pyox.build(tmp_path, host, *with_each(BLACK), "--entry-point", "black", name="black")
    write(tmp_path / "ugly.py", UGLY)
    for options in (["-", "--quiet"], ["--diff", "--quiet", "ugly.py"], ["--version"], ["--check", "ugly.py"], ["--no-such-option"]):
        stdin = {"input": UGLY} if "-" in options else {}
        ours = run(app, *options, cwd=tmp_path, check=False, **stdin)
        theirs = run(venv / "bin/black", *options, cwd=tmp_path, check=False, **stdin)
        drop = "\t"  # a diff's time stamps follow a tab
        lines = lambda text: [line.split(drop)[0] if line.startswith(("---", "+++")) else line for line in text.splitlines()]  # noqa: E731
        assert ours.returncode == theirs.returncode, options
        assert lines(ours.stdout) == lines(theirs.stdout) and ours.stderr == theirs.stderr, options
    assert "compiled: yes" in run(app, "--version").stdout
    # Several files are formatted by worker processes.
    folder = tmp_path / "many"
    for number in range(4):
        write(folder / f"m{number}.py", UGLY)
    done = run(app, folder, cwd=tmp_path)
    assert "4 files reformatted" in done.stderr
    assert run(venv / "bin/black", "--check", folder).returncode == 0


def test_rich(pyox, host, source, venv, tmp_path):
    script = write(tmp_path / "show.py", SHOW)
    expected = run(venv / "bin/python", script).stdout
    assert "a table" in expected and "\x1b[" in expected
    for distribution, name in ((host, "dynamic"), (source, "static")):
        app = pyox.build(tmp_path, distribution, *with_each(RICH), script, name=name)
        assert run(app).stdout == expected
