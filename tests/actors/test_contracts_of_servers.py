"""A server at another contract is found out before a message dies of it, and told of once."""

from collections.abc import Iterator

import pytest
import redis
from sandbox_fixture import Sandbox
from traffic_world import SetClock

import actors
from actors import instances, services, wiring
from actors.circuit import Cause, State
from actors.domain import Instance
from actors.errors import AuthConfig, GatewayUnreachable, WrongContract
from actors.gateways.base import HasContract, make_gateway
from actors.instances import CONTRACTS_FOR_MS, tend_instances
from actors.services import Services
from actors.settings import Hidden, Settings
from actors.stores.memory import MemoryStore
from actors.stores.rows import InstanceRow
from middleware.clock import SystemClock

pytestmark = pytest.mark.redis

OLD = WrongContract("Evolution 1.8")


class Gateway:
    """Says of each instance what the test says, after so many ms."""

    name = "evolution"

    def __init__(self, clock: SetClock) -> None:
        self.clock, self.takes_ms = clock, 0
        self.answers: dict[str, Exception] = {}
        self.asked: list[str] = []

    def require_contract(self, instance: Instance) -> None:
        self.asked.append(instance.name)
        self.clock.at_ms += self.takes_ms
        if instance.name in self.answers:
            raise self.answers[instance.name]

    def close(self) -> None:
        """Has nothing to give back."""


class World:
    def __init__(self, settings: Settings) -> None:
        self.clock, self.store = SetClock(), MemoryStore()
        self.gateway = Gateway(self.clock)
        self.store.add(
            *(InstanceRow(instance_name=f"i{n}", tenant_id="t", api_key="k", api_url="http://x") for n in range(4))
        )
        gateways = {"evolution": self.gateway}
        services.install(Services(settings=settings, store=self.store, clock=self.clock, gateways=gateways))

    def state(self, name: str) -> tuple[State, str]:
        circuit = wiring.traffic().circuit(name)
        return circuit.state, circuit.code


@pytest.fixture
def world(redis_server, queue_client: redis.Redis) -> Iterator[World]:
    yield World(Settings(redis_url=Hidden(redis_server.url(0)), store="memory", scheduler="none", gateway="evolution"))
    actors.broker.close()
    services.install(None)


def test_an_instance_at_another_contract_is_parked_and_told_of_once(world, caplog):
    world.gateway.answers["i1"] = OLD
    for _ in range(3):
        tend_instances.fn()

    assert world.state("i1") == (State.OPEN, "wrong_version")
    assert wiring.traffic().circuit("i1").cause is Cause.REFUSED
    assert [world.state(f"i{n}")[0] for n in (0, 2, 3)] == [State.CLOSED] * 3
    assert caplog.messages.count("instance.alerted") == 1
    # What is in trouble has a watch of its own.
    assert world.gateway.asked.count("i1") == 1


@pytest.mark.parametrize("error", [AuthConfig("no", code="no_credentials"), GatewayUnreachable("away")])
def test_a_row_that_nobody_uses_and_a_server_that_is_away_call_nobody(world, caplog, error):
    world.gateway.answers = {f"i{n}": error for n in range(4)}
    tend_instances.fn()

    assert {world.state(f"i{n}")[0] for n in range(4)} == {State.CLOSED}
    assert "instance.alerted" not in caplog.messages


def test_silent_servers_hold_the_work_up_for_a_while_only(world):
    world.gateway.takes_ms = CONTRACTS_FOR_MS // 2
    tend_instances.fn()

    assert len(world.gateway.asked) == 2


@pytest.mark.parametrize("name", ["evolution", "sandbox"])
def test_evolution_says_which_contract_it_speaks_and_a_look_hears_of_it(sandbox: Sandbox, name):
    gateway = make_gateway(name, sandbox.settings())
    assert isinstance(gateway, HasContract)
    body = {"status": 200, "version": "1.8.2"}
    sandbox.admin.add_fault({"type": "status", "status": 200, "body": body}, match={"op": "version"})

    for ask in (gateway.require_contract, gateway.check):
        with pytest.raises(WrongContract):
            ask(sandbox.instance())
    gateway.close()


def test_the_cloud_api_has_its_version_in_its_url():
    gateway = make_gateway("whatsapp_cloud", Settings())

    assert not isinstance(gateway, HasContract)
    gateway.close()


def test_a_look_of_a_worker_hears_that_a_parked_server_is_old(sandbox: Sandbox, redis_server, queue_client):
    """An open session says nothing of the contract: its canary would die."""
    store = MemoryStore()
    store.add(InstanceRow(instance_name="i1", tenant_id="t", api_key=sandbox.apikey, api_url=sandbox.url))
    settings = Settings(redis_url=Hidden(redis_server.url(0)), store="memory", scheduler="none", gateway="evolution")
    work = Services(settings=settings, store=store, clock=SystemClock())
    services.install(work)
    body = {"status": 200, "version": "1.8.2"}
    sandbox.admin.add_fault({"type": "status", "status": 200, "body": body}, match={"op": "version"})
    traffic, instance = wiring.traffic(), store.load_instance("i1", tenant_id="t")

    tend_instances.fn()
    circuit = instances.step(work, traffic, instance, traffic.circuit("i1"))

    assert (circuit.state, circuit.code) == (State.OPEN, "wrong_version")
    actors.broker.close()
    services.install(None)
