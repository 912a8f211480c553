"""The format belongs to its specification: a blob by `packer/packer.py` links, imports, runs, is looked into."""

import json
from pathlib import Path

import pytest

from chain import ask, run

PACKER = Path(__file__).parent / "packer/packer.py"


@pytest.mark.parametrize("options", [(), ("--groups",)], ids=["plain", "groups"])
def test_a_third_partys_blob_runs(pyox, each_minor, probes, options, tmp_path):
    ours = probes(each_minor)
    blob, app = tmp_path / "theirs.blob", tmp_path / "probe"
    run(each_minor.python, "-I", PACKER, "-m", ours.parent / "probe.json", "-o", blob, *options, timeout=200)
    pyox("link", blob, "-d", each_minor.document, "-o", app)
    assert pyox("inspect", "--check", blob).returncode == 0
    assert pyox("inspect", "--check", app).returncode == 0
    questions = (
        "import json, shelf.book, rich.table, xml.dom.minidom; print(json.dumps(shelf.book.__name__))",
        "import json, space.one, space; print(json.dumps([space.one.VALUE, hasattr(space, '__file__')]))",
        "import json, pkgutil; print(json.dumps(pkgutil.get_data('shelf', 'note.txt').decode()))",
        "import json, inspect, shelf.book; print(json.dumps(inspect.getsource(shelf.book)))",
        "import json; from importlib import metadata; print(json.dumps([metadata.version('rich'), len(metadata.files('rich'))]))",
        "import json, sqlite3, ssl; print(json.dumps(sqlite3.connect(':memory:').execute('select 1').fetchone()))",
    )
    for question in questions:
        assert ask(app, question) == ask(ours, question)
    # The same resources, by the inspector's own account.
    names = [
        sorted((r["kind"], r["name"]) for r in resources(pyox, file)) for file in (blob, ours.with_suffix(".blob"))
    ]
    assert names[0] == names[1] and len(names[0]) > 600


def resources(pyox, file):
    listed = json.loads(pyox("inspect", "list", "--json", file).stdout)
    return listed if isinstance(listed, list) else listed["resources"]
