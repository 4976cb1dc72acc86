"""A message is sent when, and only when, the rows that it needs are committed."""

import logging

import pytest
from chat.models import Conversation, Message
from django.db import transaction

from actors.django_app.send import send_on_commit
from actors.errors import SettingsError
from middleware.errors import QueueRefused, QueueUnavailable

pytestmark = pytest.mark.django_db(transaction=True)


def _message() -> str:
    thread = Conversation.objects.create(contact_phone="+5511988887777")
    return str(Message.objects.create(conversation=thread, content="hello").pk)


def test_a_message_is_sent_after_its_row_is_committed(queue, send_message):
    with transaction.atomic():
        id_ = _message()
        send_on_commit(send_message, id_, use_fallback=True)
        assert queue.sent == []

    assert queue.sent == [(id_, True)]


def test_a_row_that_is_rolled_back_is_not_sent(queue, send_message):
    with transaction.atomic():
        send_on_commit(send_message, _message())
        transaction.set_rollback(True)

    assert queue.asked == 0


def test_a_savepoint_that_is_rolled_back_takes_only_its_own_along(queue, send_message):
    with transaction.atomic():
        kept = _message()
        send_on_commit(send_message, kept)
        with transaction.atomic():
            send_on_commit(send_message, _message())
            transaction.set_rollback(True)

    assert queue.sent == [(kept, True)]


def test_without_a_transaction_it_is_sent_at_once(queue, send_message):
    id_ = _message()

    send_on_commit(send_message, id_)

    assert queue.sent == [(id_, True)]


def test_messages_of_one_transaction_are_sent_in_their_order(queue, send_message):
    with transaction.atomic():
        ids = [_message() for _ in range(5)]
        for id_ in ids:
            send_on_commit(send_message, id_)

    assert [id_ for id_, _ in queue.sent] == ids


def test_redis_that_is_down_leaves_the_row_pending_and_the_answer_whole(queue, send_message, caplog):
    queue.error = QueueUnavailable("nobody at 10.0.0.9:6379")
    after = []
    with transaction.atomic():
        id_ = _message()
        send_on_commit(send_message, id_)
        transaction.on_commit(lambda: after.append("told the browser"))

    assert after == ["told the browser"]
    assert Message.objects.get(pk=id_).status == "pending"
    [record] = [record for record in caplog.records if record.getMessage() == "message.enqueue_failed"]
    assert (record.getMessage(), record.levelno) == ("message.enqueue_failed", logging.ERROR)
    assert (record.actor, record.code, record.chat_message_id) == ("send_message", "queue_unavailable", id_)
    assert "10.0.0.9" not in caplog.text


def test_what_is_logged_of_a_failed_fetch_is_its_conversation_and_no_number(queue, fetch_profile_pic, caplog):
    queue.error = QueueRefused("read only")

    send_on_commit(fetch_profile_pic, "c-1", phone="+5511988887777")

    [record] = [record for record in caplog.records if record.getMessage() == "message.enqueue_failed"]
    assert (record.conversation, record.code) == ("c-1", "queue_refused")
    assert "5511988887777" not in str(vars(record))


def test_a_transaction_waits_once_for_redis_and_the_next_one_tries_again(queue, send_message, caplog):
    queue.error = QueueUnavailable("nobody there")
    with transaction.atomic():
        ids = [_message() for _ in range(20)]
        for id_ in ids:
            send_on_commit(send_message, id_)

    assert queue.asked == 1
    logged = [record.chat_message_id for record in caplog.records if record.getMessage() == "message.enqueue_failed"]
    assert logged == ids

    queue.error = None
    with transaction.atomic():
        send_on_commit(send_message, ids[0])
    assert queue.sent == [(ids[0], True)]


def test_a_transaction_that_was_rolled_back_leaves_nothing_to_the_next(queue, send_message):
    queue.error = QueueUnavailable("nobody there")
    with transaction.atomic():
        send_on_commit(send_message, _message())
        transaction.set_rollback(True)

    queue.error = None
    with transaction.atomic():
        id_ = _message()
        send_on_commit(send_message, id_)

    assert queue.sent == [(id_, True)]


def test_a_queue_that_refuses_one_message_is_asked_for_the_next(queue, send_message):
    queue.error = QueueRefused("this one is too large")
    with transaction.atomic():
        for _ in range(3):
            send_on_commit(send_message, _message())

    assert queue.asked == 3


def test_wrong_settings_are_logged_whole_and_break_no_answer(queue, send_message, caplog):
    queue.error = SettingsError(["REDIS_URL is not set"])

    with transaction.atomic():
        send_on_commit(send_message, _message())

    assert [record.code for record in caplog.records if hasattr(record, "code")] == ["settings"]
    assert "REDIS_URL is not set" in caplog.text


def test_a_bug_on_the_way_breaks_no_answer_and_is_logged(queue, send_message, caplog):
    queue.error = ZeroDivisionError("a bug")
    with transaction.atomic():
        id_ = _message()
        send_on_commit(send_message, id_)

    assert Message.objects.filter(pk=id_).exists()
    assert "ZeroDivisionError" in caplog.text


@pytest.mark.parametrize("call", [((), {}), (("m-1", "c-1"), {}), (("m-1",), {"use_falback": True})])
def test_a_call_that_the_actor_cannot_take_fails_before_anything_commits(queue, send_message, call):
    args, kwargs = call
    before = Message.objects.count()

    def view() -> None:
        with transaction.atomic():
            _message()
            send_on_commit(send_message, *args, **kwargs)

    with pytest.raises(TypeError):
        view()
    assert Message.objects.count() == before
    assert queue.asked == 0
