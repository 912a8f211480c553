"""The CPython for 64-bit Arm that the tests here are about."""

import pytest


@pytest.fixture(scope="session")
def arm(distributions):
    """The CPython of the root folder."""
    (distribution,) = distributions
    assert distribution.json["target"] == "aarch64-unknown-linux-gnu"
    return distribution
