"""``chat-actors doctor`` as a command of this process, and a server that may be spoilt.

Tests import the fixtures ``checks`` and ``server``, and name them in ``__all__``.
"""

import json

import pytest


@pytest.fixture
def checks(run):
    """``checks()``: make them; name → check. ``checks.code`` is how the last command ended."""

    def checks(*options):
        ran = run("doctor", "--json", *options)
        checks.code = ran.code
        checks.found = json.loads(ran.out)
        return {check["name"]: check for check in checks.found["checks"]}

    return checks


@pytest.fixture
def server(redis_server, queue_client):
    """A server whose memory limits may be spoilt: they are as before afterwards."""
    with redis_server.client(0) as client:
        yield client
        client.config_set("maxmemory", 0)
        client.config_set("maxmemory-policy", "noeviction")
