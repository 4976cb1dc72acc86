"""Nothing is sent through an Evolution that speaks another contract; who does not say is sent to."""

import logging
import threading

import pytest
from sandbox_fixture import Sandbox

from actors import errors
from actors.domain import OutgoingPart, Phone
from actors.gateways.base import make_gateway
from actors.gateways.evolution_endpoint import Endpoint
from actors.gateways.evolution_version import FRESH_MS, SILENT_MS, Versions, version_of
from actors.settings import Settings
from middleware.clock import SystemClock

HERE = Endpoint(base_url="http://evo.example", api_key="k")
THERE = Endpoint(base_url="http://other.example", api_key="k")


class Clock(SystemClock):
    def __init__(self) -> None:
        self.ms = 1_000

    def boot_ms(self) -> int:
        return self.ms


class Server:
    """Says these bodies, one after the other, the last one for ever."""

    def __init__(self, *bodies: object) -> None:
        self.bodies = list(bodies)
        self.asked: list[str] = []

    def __call__(self, endpoint: Endpoint) -> object:
        self.asked.append(endpoint.base_url)
        return self.bodies.pop(0) if len(self.bodies) > 1 else self.bodies[0]


def says(version: str) -> dict[str, str]:
    return {"version": version}


@pytest.mark.parametrize(
    ("body", "version"),
    [
        (says("2.3.6"), "2.3.6"),
        (says("2.3.0-rc1"), "2.3.0-rc1"),
        (says(""), None),
        (says("2.3\nforged"), None),
        (says("2" * 31), None),
        ({"version": 2}, None),
        (None, None),
        ([], None),
        ("2.3.6", None),
    ],
)
def test_a_version_is_read_or_is_none(body, version):
    assert version_of(body) == version


def test_each_server_is_asked_once_and_again_when_that_is_old():
    clock, server = Clock(), Server(says("2.3.6"))
    versions = Versions(clock, server)

    for _ in range(3):
        versions.require(HERE, instance="i1")
    versions.require(THERE, instance="i2")
    assert server.asked == [HERE.base_url, THERE.base_url]

    clock.ms += FRESH_MS
    versions.require(HERE, instance="i1")
    assert server.asked == [HERE.base_url, THERE.base_url, HERE.base_url]


@pytest.mark.parametrize("version", ["1.8.2", "1.0", "3.0.0", "20.1"])
def test_another_contract_is_refused_each_time(version):
    versions = Versions(Clock(), Server(says(version)))

    for _ in range(2):
        with pytest.raises(errors.AuthConfig) as caught:
            versions.require(HERE, instance="i1")
        assert caught.value.code == "wrong_version"
        assert version in str(caught.value)


def test_a_server_that_does_not_say_is_sent_to_and_asked_again():
    clock, server = Clock(), Server(None, says("1.8.2"), None, says("2.3.6"))
    versions = Versions(clock, server)
    versions.require(HERE, instance="i1")
    versions.require(HERE, instance="i1")
    assert len(server.asked) == 1

    clock.ms += SILENT_MS
    with pytest.raises(errors.AuthConfig):
        versions.require(HERE, instance="i1")
    clock.ms += FRESH_MS
    # It is too busy to say; what it said before holds.
    with pytest.raises(errors.AuthConfig):
        versions.require(HERE, instance="i1")
    clock.ms += SILENT_MS
    versions.require(HERE, instance="i1")


def test_a_2_x_that_was_not_tested_is_told_once(caplog):
    clock = Clock()
    versions = Versions(clock, Server(says("2.2.3")))

    for _ in range(3):
        versions.require(HERE, instance="i1")
        clock.ms += FRESH_MS

    assert [(one.message, one.levelno) for one in caplog.records] == [
        ("gateway.version_untested", logging.WARNING),
    ]
    assert caplog.records[0].version == "2.2.3"


def test_of_many_threads_one_asks_and_none_goes_before_it_is_known():
    begun, go = threading.Barrier(9), threading.Event()
    refused: list[str] = []

    class Slow(Server):
        def __call__(self, endpoint: Endpoint) -> object:
            assert go.wait(5)
            return super().__call__(endpoint)

    server = Slow(says("1.8.2"))
    versions = Versions(Clock(), server)

    def run() -> None:
        begun.wait(5)
        try:
            versions.require(HERE, instance="i1")
        except errors.AuthConfig as error:
            refused.append(error.code)

    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    begun.wait(5)
    go.set()
    for thread in threads:
        thread.join(5)

    assert refused == ["wrong_version"] * 8
    assert len(server.asked) == 1


@pytest.mark.parametrize("name", ["evolution", "sandbox"])
def test_nothing_is_sent_to_evolution_1(sandbox: Sandbox, name):
    sandbox.admin.add_fault({"type": "status", "status": 200, "body": {"version": "1.8.2"}}, match={"op": "version"})
    gateway = make_gateway(name, sandbox.settings() if name == "sandbox" else Settings())
    wanted = OutgoingPart(message_id="m1", part=0, recipient=Phone("+5511988887777"), text="oi")
    with pytest.raises(errors.AuthConfig) as caught:
        gateway.send(wanted, instance=sandbox.instance(), timeout_s=5)
    gateway.close()

    assert caught.value.code == "wrong_version"
    assert caught.value.alert
    assert sandbox.requests() == []


@pytest.mark.parametrize(
    "action",
    [
        {"type": "status", "preset": "nginx_502"},
        {"type": "drop"},
        {"type": "invalid_json"},
        {"type": "status", "preset": "bad_key"},
    ],
)
def test_a_proxy_that_hides_the_version_stops_nobody(sandbox: Sandbox, action):
    sandbox.admin.add_fault(action, match={"op": "version"})
    gateway = make_gateway("evolution", Settings())
    wanted = OutgoingPart(message_id="m1", part=0, recipient=Phone("+5511988887777"), text="oi")

    assert gateway.send(wanted, instance=sandbox.instance(), timeout_s=5).provider_message_id
    gateway.close()
