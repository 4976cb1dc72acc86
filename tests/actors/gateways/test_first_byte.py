"""Just before the first byte somebody may say no: nothing has left then, and everybody knows."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from sandbox_fixture import Sandbox, sandbox

from actors.delivery import Delivery
from actors.domain import AttemptState, Media, MediaKind, OutgoingPart, Phone
from actors.errors import LeaseTooShort
from actors.gateways.base import make_gateway
from actors.gateways.first_byte import before_first_byte
from actors.parts import outgoing_parts
from actors.services import Services
from actors.settings import Settings
from actors.stores.memory import MemoryStore
from actors.stores.rows import ConversationRow, InstanceRow, MessageRow
from middleware.clock import SystemClock

__all__ = ["sandbox"]

PHONE = "+5511988887777"
PART = OutgoingPart(message_id="m1", part=0, recipient=Phone(PHONE), text="oi")
FILE = Media(kind=MediaKind.IMAGE, url="https://f.example/a", mimetype="image/png", file_name="a.png", content=b"PNG")


def no() -> None:
    raise LeaseTooShort("no", delay_ms=1)


@pytest.mark.parametrize("reused", [False, True], ids=["a new connection", "one that was used before"])
@pytest.mark.parametrize("name", ["evolution", "whatsapp_cloud"])
def test_what_is_refused_at_the_last_moment_reaches_nobody(sandbox: Sandbox, name, reused):
    gateway = make_gateway(name, Settings())
    instance = sandbox.instance() if name == "evolution" else sandbox.cloud_instance()
    if reused:
        gateway.send(PART, instance=instance, timeout_s=5)
    before = len(sandbox.admin.requests())

    for part in (PART, replace(PART, text="", media=FILE)):
        with before_first_byte(no), pytest.raises(LeaseTooShort):
            gateway.send(part, instance=instance, timeout_s=5)

    assert len(sandbox.admin.requests()) == before
    # The connection that was open for it is nobody's any more; the next send has its own.
    assert gateway.send(PART, instance=instance, timeout_s=5).provider_message_id
    gateway.close()


def test_every_request_asks_once_and_none_beyond(sandbox: Sandbox):
    gateway = make_gateway("evolution", Settings())
    asked: list[str] = []

    with before_first_byte(lambda: asked.append("outer")):
        with before_first_byte(lambda: asked.append("inner")):
            gateway.send(PART, instance=sandbox.instance(), timeout_s=5)
        gateway.send(PART, instance=sandbox.instance(), timeout_s=5)
    gateway.send(PART, instance=sandbox.instance(), timeout_s=5)

    # The first send through a server asks for its version, too.
    assert asked == ["inner", "inner", "outer"]
    gateway.close()


def test_a_file_that_is_uploaded_is_not_sent_when_the_lease_ran_out_meanwhile(sandbox: Sandbox):
    gateway = make_gateway("whatsapp_cloud", Settings())
    asked: list[bool] = []

    def second_is_late() -> None:
        asked.append(True)
        if len(asked) == 2:
            no()

    with before_first_byte(second_is_late), pytest.raises(LeaseTooShort):
        gateway.send(replace(PART, text="", media=FILE), instance=sandbox.cloud_instance(), timeout_s=5)

    assert [one["op"] for one in sandbox.admin.requests()] == ["media"]
    assert sandbox.admin.deliveries() == []
    gateway.close()


def deliver(sandbox: Sandbox, store: MemoryStore, left_ms: Callable[[], int | None]) -> None:
    work = Services(settings=replace(sandbox.settings(), lease_ms=15_000), store=store, clock=SystemClock())
    message = store.load_message("m1")
    instance = store.load_instance("i1", tenant_id=None)
    assert instance is not None
    attempts = {row.part: row for row in store.attempts("m1")}
    delivery = Delivery(work, message, instance, lease_left_ms=left_ms)
    try:
        delivery.deliver_last(outgoing_parts(message, Phone(PHONE))[0], attempts)
    finally:
        work.close()


def test_a_process_that_stood_still_after_its_claim_sends_nothing_and_the_next_run_does(sandbox: Sandbox):
    """It looked at its lease, claimed, opened the connection, and was away for longer than the lease in between."""
    store = MemoryStore()
    store.add(
        InstanceRow(instance_name="i1", api_key=sandbox.apikey, api_url=sandbox.url),
        ConversationRow(id="c1", contact_phone=PHONE, instance_name="i1"),
        MessageRow(id="m1", conversation_id="c1", content="oi", created_at_ms=SystemClock().now_ms()),
    )
    left = iter([14_000, 200])

    with pytest.raises(LeaseTooShort):
        deliver(sandbox, store, lambda: next(left))

    [row] = store.attempts("m1")
    assert (row.state, row.reason) == (AttemptState.RETRYABLE, "lease_too_short")
    assert sandbox.requests() == []

    deliver(sandbox, store, lambda: 14_000)

    assert [one["text"] for one in sandbox.admin.deliveries()] == ["oi"]
    assert store.attempts("m1")[0].state is AttemptState.ACCEPTED
