"""The documents of every stage are valid by the published schemas, says PyPI's `jsonschema`."""

import copy
import json

import jsonschema
import pytest

from chain import REPOSITORY


def validator(kind):
    schema = json.loads((REPOSITORY / f"schemas/pyox.{kind}.1.json").read_text())
    kind = jsonschema.validators.validator_for(schema, default=None)
    assert kind is not None, "the schema names no dialect that is known"
    kind.check_schema(schema)
    return kind(schema)


def test_the_distribution(distribution):
    validator("distribution").validate(distribution.json)


def test_the_manifest(probe):
    document = json.loads((probe.parent / "probe.json").read_text())
    assert len(document["resources"]) > 600
    validator("manifest").validate(document)


@pytest.mark.parametrize(
    "options",
    [
        ["--repl"],
        ["--run-code", "print(1)", "--config", 'warnoptions=["a"]', "--config", "quiet=true"],
        ["--run-module", "shelf", "--preconfig", "utf8_mode=1", "--optimize", "2", "--no-sources", "--interpreter"],
        ["--entry-point", "shelf.book:read", "--exclude", "rich", "--include", "idlelib"],
    ],
    ids=lambda options: options[0],
)
def test_manifests_of_all_kinds(pyox, host, probe_source, tmp_path, options):
    manifest = pyox.manifest(tmp_path, host, probe_source / "shelf", "--with", "rich==14.2.0", *options)
    validator("manifest").validate(json.loads(manifest.read_text()))


@pytest.mark.parametrize("mode", ["--static", "--dynamic"])
def test_the_link_plan(pyox, source, static_probe, tmp_path, mode):
    pyox("link", static_probe.with_suffix(".blob"), "-d", source.document, mode, "--emit", "artifacts", tmp_path / "out")
    plan = json.loads((tmp_path / "out/link-plan.json").read_text())
    validator("link-plan").validate(plan)
    assert plan["mode"] == mode.removeprefix("--")


def test_the_examples_of_the_specifications():
    for kind in ("distribution", "manifest", "link-plan"):
        text = (REPOSITORY / f"docs/formats/{kind}.md").read_text()
        examples = [part.split("```")[0] for part in text.split("```json\n")[1:]]
        assert examples, kind
        for example in examples:
            validator(kind).validate(json.loads(example))


def test_the_schemas_refuse(probe, host):
    """A schema that takes everything would hold nothing."""
    manifest = json.loads((probe.parent / "probe.json").read_text())
    changes = (
        lambda d: d.pop("run"),
        lambda d: d.update(schema="pyox.manifest/2"),
        lambda d: d["run"].update(mode="nonsense"),
        lambda d: d["resources"][0].pop("name"),
        lambda d: d["resources"][0].update(kind="nonsense"),
        lambda d: d["distribution"].update(sha256="short"),
        lambda d: d["resources"][0].update(location="../outside"),
    )
    for change in changes:
        document = copy.deepcopy(manifest)
        document["resources"] = document["resources"][:3]
        change(document)
        with pytest.raises(jsonschema.ValidationError):
            validator("manifest").validate(document)
    with pytest.raises(jsonschema.ValidationError):
        validator("distribution").validate({**host.json, "root": 3})
