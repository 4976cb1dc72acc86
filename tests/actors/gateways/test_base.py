"""Gateways are found by name: ours, and those that another distribution brings."""

import sys

import pytest

from actors import backends
from actors.errors import SettingsError
from actors.gateways.base import make_gateway
from actors.settings import Settings

PLUGIN = """
class Pigeon:
    name = "pigeon"

def make(settings):
    return Pigeon()
"""


@pytest.fixture
def pigeon(tmp_path, monkeypatch):
    """A distribution that brings a gateway named ``pigeon``."""
    (tmp_path / "pigeon_gateway.py").write_text(PLUGIN)
    info = tmp_path / "pigeon-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: pigeon\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[chat_actors.gateways]\npigeon = pigeon_gateway:make\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("pigeon_gateway", None)


def test_a_backend_of_another_distribution_is_found_by_its_name(pigeon):
    assert make_gateway("pigeon", Settings()).name == "pigeon"
    assert "pigeon" in backends.names("gateway")


def test_an_unknown_name_is_refused_with_the_known_ones():
    with pytest.raises(SettingsError) as caught:
        make_gateway("telex", Settings())

    assert all(name in str(caught.value) for name in ("telex", *backends.BUILT_IN["gateway"]))


@pytest.mark.parametrize("name", ["evolution"])
def test_a_gateway_opens_nothing_until_it_is_used(name):
    gateway = make_gateway(name, Settings())

    gateway.close()
    assert gateway.name == name
