"""A turn ends with the gateway's answer: who watches the instance learns that it answers, whatever becomes of the record."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from actors.delivery import Delivery
from actors.domain import Instance, OutgoingPart, Phone, Receipt
from actors.errors import RecipientMismatch, Transient
from actors.gateways.base import Ability
from actors.pace import Kind
from actors.parts import outgoing_parts
from actors.services import Services
from actors.settings import Settings
from actors.stores.memory import MemoryStore
from actors.stores.rows import ConversationRow, InstanceRow, MessageRow
from middleware.clock import SystemClock
from middleware.errors import Snooze, needs_another

PHONE = "+5511988887777"


class Turns:
    """Every turn at once; ``ended`` has what each ended with, None = well."""

    def __init__(self) -> None:
        self.ended: list[BaseException | None] = []

    @contextmanager
    def __call__(self, kind: Kind | None = None, /) -> Iterator[None]:
        try:
            yield
        except BaseException as error:
            self.ended.append(error)
            raise
        self.ended.append(None)

    def abandon(self) -> None: ...


class Gateway:
    """Takes what is sent, after ``meanwhile``."""

    name = "sandbox"
    supports = frozenset(Ability)

    def __init__(self, *, mismatch: bool = False) -> None:
        self.mismatch = mismatch
        self.meanwhile = lambda: None

    def send(self, part: OutgoingPart, *, instance: Instance, timeout_s: float) -> Receipt:
        self.meanwhile()
        return Receipt(provider_message_id="3EB0", mismatch=self.mismatch)


class World:
    def __init__(self, gateway: Gateway) -> None:
        self.store, self.turns = MemoryStore(), Turns()
        clock = SystemClock()
        self.store.add(
            InstanceRow(instance_name="i1"),
            ConversationRow(id="c1", contact_phone=PHONE, instance_name="i1"),
            MessageRow(id="m1", conversation_id="c1", content="ok", created_at_ms=clock.now_ms()),
        )
        self.work = Services(
            settings=Settings(gateway="sandbox"), store=self.store, clock=clock, gateways={"sandbox": gateway}
        )

    def deliver(self) -> None:
        message = self.store.load_message("m1")
        delivery = Delivery(self.work, message, Instance(name="i1"), lease_left_ms=lambda: None, turn=self.turns)
        delivery.deliver_last(outgoing_parts(message, Phone(PHONE))[0], {})


def test_an_answer_that_names_somebody_else_is_an_answer():
    world = World(Gateway(mismatch=True))

    with pytest.raises(RecipientMismatch):
        world.deliver()

    assert world.turns.ended == [None]


def test_a_webhook_that_was_faster_than_the_answer_leaves_it_an_answer():
    gateway = Gateway()
    world = World(gateway)
    gateway.meanwhile = lambda: world.store.bind("m1", 0, provider_message_id="3EB0")

    with pytest.raises(Snooze):
        world.deliver()

    assert world.turns.ended == [None]


def test_a_store_that_does_not_take_the_record_leaves_it_an_answer_and_gets_another_run():
    world = World(Gateway())

    def refuse(*_: object, **__: object) -> None:
        raise Transient("the store could not be used", code="store_unavailable")

    world.store.record_sent = refuse  # type: ignore[method-assign]

    with pytest.raises(Transient) as caught:
        world.deliver()

    assert world.turns.ended == [None]
    assert needs_another(caught.value)
