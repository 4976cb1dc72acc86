"""A product whose queues are worth a backup.

Tests import the fixture ``filled`` and name it in ``__all__``.
"""

import pytest

import actors


@pytest.fixture
def filled(site, tmp_path):
    """Three messages of a conversation, a dead letter, and where a backup of them goes."""
    site.bury("dead")
    for name in ("m0", "m1", "m2"):
        actors.send_message.send(site.say(name))
    return tmp_path / "b.jsonl.gz"
