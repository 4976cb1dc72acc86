"""Hosts hear of outcomes after their commit, and no receiver changes one."""

import asyncio
import logging

import django
import pytest
from chat.models import Conversation, Message
from django.db import connection, transaction
from django.dispatch import Signal
from django.test.utils import CaptureQueriesContext

from actors import events, intake
from actors.django_app import signals
from actors.domain import AttemptState, GroupInfo, MessageStatus, Receipt, SendAttempt
from actors.updates import DeliveryStatus, StatusUpdate

pytestmark = pytest.mark.django_db(transaction=True)

ALL = ("message_sent", "message_advanced", "message_failed", "picture_updated", "group_updated")
SECRET = "the words of +5511988887777"


@pytest.fixture
def store(serve):
    return serve().store


@pytest.fixture
def heard():
    """(signal, kwargs, whether a transaction was open) of each."""
    found = []
    receivers = {}
    for name in ALL:

        def receive(*, signal, sender, name=name, **told):
            found.append((name, told, connection.in_atomic_block))

        receivers[name] = receive
        getattr(signals, name).connect(receive)
    yield found
    for name, receive in receivers.items():
        getattr(signals, name).disconnect(receive)


@pytest.fixture
def failing():
    """``failing(signal, receiver)`` connects it for this test."""
    connected = []

    def connect(signal, receiver):
        signal.connect(receiver, weak=False)
        connected.append((signal, receiver))

    yield connect
    for signal, receiver in connected:
        signal.disconnect(receiver)


def _message(**values) -> tuple[str, str]:
    thread = Conversation.objects.create(contact_phone="+5511988887777", tenant_id="t-1", instance_name="line-1")
    return str(Message.objects.create(conversation=thread, content=SECRET, **values).pk), str(thread.pk)


def test_a_sent_message_is_told_after_its_commit_with_ids_alone(store, heard):
    message_id, conversation_id = _message()

    with transaction.atomic():
        store.mark_sent(message_id, provider_message_id="3EB0")
        assert heard == []

    ids = {"message_id": message_id, "conversation_id": conversation_id, "tenant_id": "t-1", "instance_name": "line-1"}
    assert heard == [("message_sent", {**ids, "provider_message_id": "3EB0"}, False)]


def test_what_is_rolled_back_is_not_told(store, heard):
    message_id, _ = _message()

    with transaction.atomic():
        store.mark_sent(message_id, provider_message_id="3EB0")
        transaction.set_rollback(True)

    assert heard == []


def test_a_failure_is_told_by_its_code(store, heard):
    message_id, conversation_id = _message()

    store.mark_failed(message_id, code="not_on_whatsapp", text=SECRET)
    store.mark_failed(message_id, code="not_on_whatsapp", text=SECRET)

    ids = {"message_id": message_id, "conversation_id": conversation_id, "tenant_id": "t-1", "instance_name": "line-1"}
    assert heard == [("message_failed", {**ids, "code": "not_on_whatsapp"}, False)]


def test_delivered_and_seen_are_told_once_and_in_their_order(store, heard):
    message_id, conversation_id = _message()
    attempt = store.claim(
        SendAttempt(
            message_id=message_id,
            part=0,
            state=AttemptState.SENDING,
            number=1,
            instance_name="line-1",
            started_at_ms=1,
            deadline_at_ms=2,
        )
    )
    store.record_sent(attempt, Receipt(provider_message_id="3EB0"))

    for status in ("delivered", "delivered", "read", "delivered", "sent"):
        intake.apply(
            StatusUpdate(provider_message_id="3EB0", status=DeliveryStatus(status), at_ms=0, instance_name="line-1")
        )

    told = [(name, kwargs.get("status")) for name, kwargs, _ in heard]
    assert told == [("message_sent", None), ("message_advanced", "delivered"), ("message_advanced", "seen")]
    assert heard[1][1] == {
        "message_id": message_id,
        "conversation_id": conversation_id,
        "tenant_id": "t-1",
        "instance_name": "line-1",
        "status": MessageStatus.DELIVERED,
    }


def test_a_picture_and_a_group_are_told(store, heard):
    person = Conversation.objects.create(contact_phone="+5511988887777", tenant_id="t-1", instance_name="line-1")
    group = Conversation.objects.create(contact_phone="1-2@g.us", conversation_type="group", tenant_id="t-1")

    store.save_picture(str(person.pk), "https://files.example/1.jpg")
    store.merge_group(str(group.pk), GroupInfo(jid="1-2@g.us", subject="Sales"))

    assert [(name, told["conversation_id"], set(told)) for name, told, _ in heard] == [
        ("picture_updated", str(person.pk), {"conversation_id", "tenant_id", "instance_name"}),
        ("group_updated", str(group.pk), {"conversation_id", "tenant_id", "instance_name"}),
    ]


async def _fails_async(**_: object) -> None:
    await asyncio.sleep(0)
    raise LookupError(SECRET)


def _fails(**_: object) -> None:
    raise ValueError(SECRET)


def test_a_failing_receiver_changes_no_outcome_and_keeps_no_other_from_hearing(store, heard, failing, caplog):
    failing(signals.message_sent, _fails)
    knows_async = django.VERSION >= (5, 0)
    if knows_async:
        failing(signals.message_sent, _fails_async)
    told_last = []
    failing(signals.message_sent, lambda **told: told_last.append(told["message_id"]))
    message_id, conversation_id = _message()

    with caplog.at_level(logging.DEBUG):
        assert store.mark_sent(message_id, provider_message_id="3EB0")

    assert Message.objects.get(pk=message_id).status == "sent"
    assert (len(heard), told_last) == (1, [message_id])
    said = [record for record in caplog.records if record.message == "event.receiver_failed"]
    expected = {("ValueError", "_fails")} | ({("LookupError", "_fails_async")} if knows_async else set())
    assert {(one.code, one.receiver.rpartition(".")[2]) for one in said} == expected
    assert (said[0].chat_message_id, said[0].conversation) == (message_id, conversation_id)
    shown = [logging.Formatter().format(record) for record in caplog.records]
    assert not [text for text in shown if SECRET in text]


def test_the_host_s_own_signals_are_logged_by_django_as_ever(caplog):
    own = Signal()
    own.connect(_fails)

    own.send_robust(sender=None)

    assert [record.name for record in caplog.records] == ["django.dispatch"]


def test_only_who_listens_costs_a_query(store, monkeypatch):
    # Whoever listens in this process by its settings is no matter of this test.
    monkeypatch.setattr(events, "_listeners", ())
    monkeypatch.setattr(signals, "_unsubscribe", None)

    def reads() -> int:
        message_id, _ = _message()
        with CaptureQueriesContext(connection) as queries:
            store.mark_failed(message_id, code="expired", text="late")
        return sum(one["sql"].startswith("SELECT") for one in queries.captured_queries)

    assert reads() == 0
    signals.message_failed.connect(_listens)
    try:
        assert reads() == 1
    finally:
        signals.message_failed.disconnect(_listens)
    assert reads() == 0


def _listens(**_: object) -> None:
    """Somebody."""
