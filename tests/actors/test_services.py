"""Which gateway serves an instance; the sandbox replaces every one, each in its own language."""

import pytest
from sandbox_fixture import NUMBER_ID

from actors.domain import Instance, OutgoingPart, Phone
from actors.services import Services
from actors.settings import Hidden, Settings
from actors.stores.memory import MemoryStore


@pytest.fixture
def sandbox(emptied_sandbox):
    return emptied_sandbox


@pytest.fixture
def serve():
    """``serve(**settings)`` → services that are closed after the test."""
    made: list[Services] = []

    def serve(**fields):
        made.append(Services(settings=Settings(**fields), store=MemoryStore()))
        return made[-1]

    yield serve
    for one in made:
        one.close()


def send(work, instance):
    part = OutgoingPart(message_id="m1", part=0, recipient=Phone("+5511988887777"), text="oi")
    return work.gateway(instance).send(part, instance=instance, timeout_s=5)


def test_an_instance_is_served_by_its_own_backend_else_by_the_settings(serve):
    work = serve(gateway="whatsapp_cloud")

    assert work.gateway(Instance(name="a")).name == "whatsapp_cloud"
    assert work.gateway(Instance(name="a", backend="evolution")).name == "evolution"
    assert work.gateway(Instance(name="b")) is work.gateway(Instance(name="a"))


def test_the_sandbox_stands_in_for_both_and_nobody_else_is_asked(serve, sandbox):
    # A copied database: URLs and tokens of real servers, which are names that lead nowhere here.
    real = {"evolution_url": "https://evo.invalid", "evolution_api_key": Hidden(sandbox.apikey)}
    token = Hidden(sandbox.apikey)
    work = serve(gateway="sandbox", sandbox_url=sandbox.url, whatsapp_cloud_token=token, **real)
    cloud = Instance(
        name="cloud-1", backend="whatsapp_cloud", base_url="https://graph.invalid", phone_number_id=NUMBER_ID
    )
    evolution = Instance(name="i1", backend="evolution", base_url="https://evo.invalid")

    send(work, cloud)
    send(work, evolution)
    send(work, Instance(name="i1"))

    asked = [(one["op"], one["instance"]) for one in sandbox.requests()]
    assert asked == [("messages", NUMBER_ID), ("sendText", "i1"), ("sendText", "i1")]
    assert {work.gateway(one).name for one in (cloud, evolution)} == {"sandbox"}
    assert work.gateway(cloud) is not work.gateway(evolution)


def test_the_version_of_the_settings_is_spoken_to_the_sandbox_too(serve, sandbox):
    work = serve(gateway="sandbox", sandbox_url=sandbox.url, whatsapp_cloud_version="v23.0")

    send(work, Instance(name="cloud-1", backend="whatsapp_cloud", phone_number_id=NUMBER_ID))

    assert sandbox.requests()[0]["target"] == f"/v23.0/{NUMBER_ID}/messages"
