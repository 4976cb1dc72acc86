"""What one message costs the database, and that its outcome is announced when the host's own transaction commits.

The figures stand in docs/stores.md.
"""

from collections.abc import Callable, Iterator

import pytest
import redis
from contracts.django_world import DjangoWorld
from contracts.store_world import conversation, first, message, race
from django.db import connections, transaction
from django.test.utils import CaptureQueriesContext

import actors
from actors import chat, events, services
from actors.domain import Instance, OutgoingPart, Receipt, SendAttempt
from actors.events import Event
from actors.gateways.base import Ability
from actors.services import Services
from actors.settings import Hidden, Settings
from actors.stores.rows import InstanceRow
from middleware.brokers.redis.embedded import EmbeddedRedis
from middleware.clock import SystemClock

pytestmark = [pytest.mark.postgres, pytest.mark.redis]


class Accepts:
    """A gateway that takes everything."""

    name = "sandbox"
    supports = frozenset(Ability)

    def __init__(self, world: DjangoWorld) -> None:
        self.world = world
        #: What another connection saw of the part while the request was out.
        self.seen: list[SendAttempt] = []

    def send(self, part: OutgoingPart, *, instance: Instance, timeout_s: float) -> Receipt:
        self.seen += race(self.world, 1, lambda _: self.world.store.attempts(part.message_id)[0])
        return Receipt(provider_message_id=f"3EB0{part.reference}")

    def close(self) -> None:
        """Nothing to give back."""


@pytest.fixture
def world(postgres_alias: str, unblocked: None) -> Iterator[DjangoWorld]:
    world = DjangoWorld(postgres_alias)
    world.add(InstanceRow(instance_name="line-1", tenant_id="t"))
    yield world
    actors.broker.close()
    services.install(None)
    world.clear()


@pytest.fixture
def gateway(world: DjangoWorld, redis_server: EmbeddedRedis, queue_client: redis.Redis) -> Accepts:
    gateway = Accepts(world)
    services.install(
        Services(
            settings=Settings(gateway="sandbox", redis_url=Hidden(redis_server.url(0))),
            store=world.store,
            gateways={"sandbox": gateway},
        )
    )
    return gateway


def statements(world: DjangoWorld, run: Callable[[], object]) -> list[str]:
    """First word of each statement that ``run`` sent."""
    with CaptureQueriesContext(connections[world.alias]) as captured:
        run()
    return [query["sql"].split()[0].rstrip(";") for query in captured]


# By itself, hence a transaction of its own.
CLAIM = ["INSERT"]
RECORD = ["BEGIN", "UPDATE", "UPDATE", "COMMIT"]


def test_claim_and_record_cost_three_queries_in_two_transactions(world):
    sent = message(world, conversation(world, tenant_id="t"))
    taken = []

    claims = statements(world, lambda: taken.append(world.store.claim(first(sent.id))))
    records = statements(world, lambda: world.store.record_sent(taken[0], Receipt(provider_message_id="P1")))

    assert (claims, records) == (CLAIM, RECORD)
    assert world.message(sent.id).status == "sent"


def test_a_plain_text_costs_seven_queries_and_two_transactions_from_load_to_record(world, gateway):
    sent = message(world, conversation(world, tenant_id="t"), created_at_ms=SystemClock().now_ms())

    sent_ones = statements(world, lambda: chat.send_message.fn(sent.id))

    assert sent_ones == [*["SELECT"] * 4, *CLAIM, *RECORD]
    assert world.message(sent.id).status == "sent"


def test_a_message_that_is_sent_already_costs_four_queries(world, gateway):
    """One to see that it is, three to give back the place that a killed run of it may have left taken."""
    sent = message(world, conversation(world, tenant_id="t"), status="delivered")

    assert statements(world, lambda: chat.send_message.fn(sent.id)) == ["SELECT"] * 4
    assert gateway.seen == []


def test_a_claim_is_committed_before_the_gateway_is_asked(world, gateway):
    sent = message(world, conversation(world, tenant_id="t"), created_at_ms=SystemClock().now_ms())

    chat.send_message.fn(sent.id)

    assert [(row.message_id, row.state) for row in gateway.seen] == [(sent.id, "sending")]


@pytest.fixture
def heard() -> Iterator[list[Event]]:
    heard: list[Event] = []
    unsubscribe = events.subscribe(heard.append)
    yield heard
    unsubscribe()


def test_an_outcome_is_announced_when_the_hosts_transaction_commits(world, heard):
    sent = message(world)
    with transaction.atomic(using=world.alias):
        world.store.mark_failed(sent.id, code="expired", text="too late")
        assert heard == []

    assert [event.message_id for event in heard] == [sent.id]


def test_an_outcome_that_the_host_rolls_back_is_not_announced(world, heard):
    sent = message(world)
    with transaction.atomic(using=world.alias):
        world.store.mark_sent(sent.id, provider_message_id="P1")
        transaction.set_rollback(True, using=world.alias)

    assert (heard, world.message(sent.id).status) == ([], "pending")


def test_nobody_listening_costs_no_query(world):
    sent = message(world)

    queries = statements(world, lambda: world.store.mark_failed(sent.id, code="expired", text="too late"))

    assert queries == ["BEGIN", "UPDATE", "COMMIT"]
