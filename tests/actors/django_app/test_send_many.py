"""A campaign: one question to the store per slice, the order kept, and an answer to "which of them?" when it fails."""

from contextlib import closing

import pytest
from chat.models import Message
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from dramatiq.brokers.stub import StubBroker

import actors
from actors import services
from actors.django_app.send import send_many_on_commit
from actors.gates import group_of
from actors.pace import Kind
from actors.settings import Hidden
from middleware.actor import Routed, RoutedActor
from middleware.errors import NotAllSent, QueueFull
from middleware.outcomes import Done
from middleware.sending import SLICE

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.redis]


def test_one_query_per_slice_finds_where_all_belong(installed, campaign):
    ids = campaign(2 * SLICE + 1)

    with CaptureQueriesContext(connection) as queries:
        sent = actors.send_message.send_many(ids)

    assert len(queries) == 3
    assert [message.kwargs for message in sent] == [{"message_id": id_} for id_ in ids]
    threads = {str(pk): str(thread) for pk, thread in Message.objects.values_list("pk", "conversation_id")}
    assert [message.options["lane"] for message in sent] == [threads[id_] for id_ in ids]
    assert {message.options["group"] for message in sent} == {"line-1"}


def test_they_are_handed_out_in_their_order(installed, say):
    thread = Message.objects.get(pk=say()).conversation
    ids = [str(Message.objects.create(conversation=thread, content=str(number)).pk) for number in range(30)]

    actors.send_message.send_many(reversed(ids))

    taken = []
    for _ in ids:
        [fetched] = actors.broker.do_fetch("send_message", 1).messages
        taken.append(actors.broker.message_of(fetched, queue_name="send_message").kwargs["message_id"])
        actors.broker.transitions.finish(fetched.lease, Done(), body=fetched.body)
    assert taken == ids[::-1]


def test_one_that_comes_twice_or_is_queued_already_is_queued_once(installed, campaign, queued):
    ids = campaign(3)
    first = actors.send_message.send(ids[1])

    sent = actors.send_message.send_many([*ids, ids[0]])

    assert sorted(queued()) == sorted(ids)
    assert sent[1].message_id == first.message_id
    assert sent[3].message_id == sent[0].message_id


def test_bulk_goes_its_own_way_and_is_remembered(installed, campaign):
    ids = campaign(3)

    sent = actors.send_message.send_many(ids, bulk=True)

    assert {message.options["group"] for message in sent} == {group_of("line-1", Kind.BULK)}
    assert all(options.bulk for options in services.get().store.options_of(ids).values())
    assert len(services.get().store.options_of(ids)) == 3


def test_an_empty_campaign_sends_nothing(installed):
    assert actors.send_message.send_many([]) == []


def test_arguments_that_the_actor_does_not_take_fail_at_once(installed, campaign, queued):
    with pytest.raises(TypeError):
        actors.send_message.send_many(campaign(2), bulky=True)
    assert queued() == []


class Fills(StubBroker):
    """Takes a few messages and then no more."""

    room = SLICE + 10

    def __init__(self) -> None:
        super().__init__(middleware=[])
        self.taken: list[str] = []

    def enqueue(self, message, *, delay=None):
        if len(self.taken) >= self.room:
            raise QueueFull("no room")
        self.taken.append(message.kwargs["id"])
        return message


def test_a_part_that_fails_is_told_by_its_ids():
    with closing(Fills()) as broker:
        actor = RoutedActor(
            lambda id: None,  # noqa: A006
            route=lambda id_: Routed(kwargs={"id": id_}),
            broker=broker,
            actor_name="fills",
            queue_name="q",
            priority=0,
            options={},
        )
        ids = [f"m{number}" for number in range(3 * SLICE)]

        with pytest.raises(NotAllSent, match=f"{SLICE} of {3 * SLICE}") as failed:
            actor.send_many(ids)

        assert [message.kwargs["id"] for message in failed.value.sent] == ids[:SLICE]
        assert [message.kwargs["id"] for message in failed.value.unsent] == ids[SLICE:]
        assert isinstance(failed.value.__cause__, QueueFull)
        # Every id is on one side, and what is called sent was taken.
        assert set(broker.taken) >= set(ids[:SLICE])


def test_a_campaign_waits_for_the_commit_and_goes_with_a_rollback(installed, campaign, queued):
    with transaction.atomic():
        send_many_on_commit(actors.send_message, campaign(4), bulk=True)
        transaction.set_rollback(True)
    assert queued() == []

    with transaction.atomic():
        ids = campaign(4)
        send_many_on_commit(actors.send_message, ids, bulk=True)
        assert queued() == []
    assert sorted(queued()) == sorted(ids)


def test_a_campaign_that_the_queue_does_not_take_is_logged_once_and_stays_pending(installed, campaign, caplog):
    installed(redis_url=Hidden("redis://127.0.0.1:1/0"))

    with transaction.atomic():
        ids = campaign(4)
        send_many_on_commit(actors.send_message, ids)

    [record] = [one for one in caplog.records if one.getMessage() == "messages.enqueue_failed"]
    assert (record.code, record.messages) == ("not_all_sent", 4)
    assert Message.objects.filter(status="pending").count() == 4
