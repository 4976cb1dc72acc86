"""A failed message is sent again by its id: with its dead letter or without, once, and not where it may have arrived."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from chat.models import Message
from django.db import connections, transaction

import actors
from actors import services
from actors.django_app.models import SendAttempt
from actors.django_app.retry import Retried, retry_message
from actors.errors import InsideTransaction, NotFound
from actors.settings import Hidden
from actors.stores.rows import ConversationRow, MessageRow
from middleware.clock import SystemClock
from middleware.errors import QueueUnavailable
from middleware.letters import DeadLetters
from middleware.outcomes import Dead

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.redis]


@pytest.fixture
def fail(installed, say):
    """``fail("expired")``: a message that was given up, with its letter."""
    return lambda reason="not_on_whatsapp": _bury(say(), reason)


def _bury(id_: str, reason: str = "not_on_whatsapp") -> str:
    actors.send_message.send(id_)
    moves = actors.broker.transitions
    (taken,) = moves.fetch("send_message", limit=1, lease_ms=60_000, owner="w1").messages
    moves.finish(taken.lease, Dead(reason, {"error": "why", "attempts": 1}), body=taken.body)
    # As its telling leaves it, which nobody does here.
    assert moves.announce("send_message", limit=10, hold_ms=60_000)
    moves.announced("send_message", [taken.lease.id])
    services.get().store.mark_failed(id_, code=reason, text="why")
    return id_


def _letters() -> list[str]:
    return [letter.kwargs["message_id"] for letter in DeadLetters(actors.broker).newest()]


def _row(id_: str) -> tuple[str, str]:
    row = Message.objects.get(pk=id_)
    return row.status, row.error_message


def test_a_dead_letter_is_redriven_and_its_row_pending(fail, queued):
    id_, other = fail(), fail()

    assert retry_message(id_) is Retried.SENT_AGAIN

    assert _row(id_) == ("pending", "")
    assert queued() == [id_]
    assert _letters() == [other]


def test_one_that_has_no_letter_is_sent_with_a_new_deadline(installed, say, queued, queue_client):
    id_ = say(status="failed", error_message="expired: not sent within 86400 s")

    assert retry_message(id_) is Retried.SENT_AGAIN

    assert (_row(id_), queued()) == (("pending", ""), [id_])
    [body] = queue_client.hvals("chat:queue:send_message.msgs")
    assert actors.broker.decode(body).options["redriven_at_ms"] > 0


def test_a_part_that_was_given_up_may_be_sent_again(installed, say):
    id_ = say(status="failed")
    SendAttempt.objects.create(
        message_id=id_, part=0, state="dead", number=1, instance_name="line-1", started_at_ms=1, deadline_at_ms=2
    )

    retry_message(id_)

    assert SendAttempt.objects.get(message_id=id_).state == "retryable"


@pytest.mark.parametrize("status", ["pending", "sent", "delivered", "seen"])
def test_what_has_not_failed_is_left_alone(installed, say, queued, status):
    id_ = say(status=status)

    assert retry_message(id_) is Retried.NOT_FAILED

    assert (_row(id_)[0], queued()) == (status, [])


def test_of_many_clicks_at_once_one_counts(real_world, queued):
    id_, thread = real_world.new_id(), real_world.new_id()
    real_world.add(ConversationRow(id=thread, contact_phone="+5511988887777", instance_name="line-1"))
    real_world.add(MessageRow(id=id_, conversation_id=thread, content="oi", created_at_ms=SystemClock().now_ms()))
    _bury(id_)

    def click(_: int) -> Retried:
        try:
            return retry_message(id_)
        finally:
            connections[real_world.alias].close()

    with ThreadPoolExecutor(6) as pool:
        said = list(pool.map(click, range(6)))

    assert sorted(said) == sorted([Retried.SENT_AGAIN, *[Retried.NOT_FAILED] * 5])
    assert (queued(), _letters()) == ([id_], [])


@pytest.mark.parametrize("reason", ["delivery_unknown", "recipient_mismatch"])
def test_what_may_have_arrived_is_asked_about_first(fail, queued, reason):
    id_ = fail(reason)

    assert retry_message(id_) is Retried.MAY_BE_DELIVERED
    assert (_row(id_)[0], queued()) == ("failed", [])

    assert retry_message(id_, may_repeat=True) is Retried.SENT_AGAIN
    assert queued() == [id_]


def test_a_request_whose_end_is_unknown_is_asked_about_whatever_the_letter_says(fail):
    id_ = fail("crash_loop")
    SendAttempt.objects.create(
        message_id=id_, part=0, state="unknown", number=1, instance_name="line-1", started_at_ms=1, deadline_at_ms=2
    )

    assert retry_message(id_) is Retried.MAY_BE_DELIVERED


def test_inside_a_transaction_it_is_refused_and_nothing_is_done(fail, queued):
    id_ = fail()

    with transaction.atomic(), pytest.raises(InsideTransaction, match="non_atomic_requests"):
        retry_message(id_)

    assert (_row(id_)[0], queued(), _letters()) == ("failed", [], [id_])


def test_a_message_that_is_gone_is_said(installed):
    with pytest.raises(NotFound):
        retry_message("0c8f0c1a-1a6e-4b9d-8a63-0c1f5e2d7a10")


def test_a_redis_that_is_down_is_said(installed, say):
    id_ = say(status="failed")
    installed(redis_url=Hidden("redis://127.0.0.1:1"))

    with pytest.raises(QueueUnavailable):
        retry_message(id_)
