"""The Cloud API client of a test's own against a sandbox that is empty: who is written to, and what is sent.

Tests import the fixtures ``sandbox``, ``gateway`` and ``send``, and name them in ``__all__``.
"""

import pytest

from actors.domain import CloudGroup, Media, OutgoingPart, Phone
from actors.gateways.base import make_gateway
from actors.settings import Settings

PERSON = Phone("+5511988887777")
GROUP = CloudGroup("Y2FwaV9ncm91cDoxNzA1NTU1MDEzOToxMjAzNjM0MDQ2OTQyMzM4MjAZD")


@pytest.fixture
def sandbox(emptied_sandbox):
    return emptied_sandbox


@pytest.fixture
def gateway():
    made = make_gateway("whatsapp_cloud", Settings())
    yield made
    made.close()


def part(text="oi", recipient=PERSON, **fields):
    return OutgoingPart(message_id="m1", part=0, sequence=7, recipient=recipient, text=text, **fields)


def media(kind, mimetype, content=None, name="a.bin"):
    return Media(kind=kind, url="https://files.example/f", mimetype=mimetype, file_name=name, content=content)


@pytest.fixture
def send(gateway, sandbox):
    def send(made=None, *, instance=None, timeout_s=5.0):
        return gateway.send(made or part(), instance=instance or sandbox.cloud_instance(), timeout_s=timeout_s)

    return send
