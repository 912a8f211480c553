"""The CPython for 64-bit Arm that the tests here are about."""

import dataclasses
from pathlib import Path

import pytest

from chain import Distribution


@dataclasses.dataclass(frozen=True)
class Arm(Distribution):
    """A CPython of a root folder for that machine."""

    @property
    def root(self):
        """The root folder's name, as scripts/roots has it."""
        return Path(self.json["root"]).parent.name.rpartition("-")[0]

    @property
    def name(self):
        """As its program and its library are called: `python3.14`."""
        return "python{}.{}".format(*self.minor)

    @property
    def tag(self):
        return self.json["python"]["tag"]


@pytest.fixture(scope="session")
def arm(distributions):
    """The CPython of the root folder."""
    (distribution,) = distributions
    assert distribution.json["target"] == "aarch64-unknown-linux-gnu"
    return Arm(distribution.spec, distribution.document)
