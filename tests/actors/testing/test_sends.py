"""``Sends`` takes the messages of a process, keeps the rules that a host can see, and gives everything back."""

import dramatiq
import pytest
from asgiref.sync import async_to_sync
from chat.models import Message
from django.db import transaction

import actors
from actors import fetch_profile_pic, send_message, services, wiring
from actors.django_app.send import asend, send_many_on_commit, send_on_commit
from actors.errors import SettingsError
from actors.testing import Sends, StillWaiting
from actors.testing.queue import MAX_RUNS

TEXTS_503 = {"type": "status", "status": 503}
CLOSED = {"type": "disconnect", "instance": "line-1"}


def _status(message: Message) -> str:
    return Message.objects.get(pk=message.pk).status


def test_sends_are_seen_in_order_with_ids_only(sends, say):
    first, second = say(), say()
    send_message.send(first.pk)
    send_message.send_with_options(args=(second.pk,), delay=5_000)
    fetch_profile_pic.send(first.conversation_id, "+5511988887777")

    assert sends.ids(send_message) == [str(first.pk), str(second.pk)]
    assert sends.ids("fetch_profile_pic") == [str(first.conversation_id)]
    assert [(one.actor, one.delay_ms) for one in sends.sent][1] == ("send_message", 5_000)
    assert "+55" not in str(sends.sent)


def test_the_public_ways_to_send_all_end_here(sends, say):
    ids = [str(say().pk) for _ in range(5)]
    send_message.send_many(ids[:2])
    actors.broker.send_many([send_message.message(ids[2])])
    send_message.try_send(ids[3])
    async_to_sync(asend)(send_message, ids[4])

    assert sorted(sends.ids()) == sorted(ids)


def test_a_second_send_of_what_is_not_finished_is_the_first(sends, say):
    message = say()

    assert send_message.send(message.pk).message_id == send_message.send(message.pk).message_id
    assert len(sends.sent) == 1
    sends.run()
    send_message.send(message.pk)
    assert len(sends.sent) == 2


def test_what_waits_for_a_commit_is_not_sent_before(sends, say, django_capture_on_commit_callbacks):
    message = say()
    with django_capture_on_commit_callbacks(execute=True):
        with transaction.atomic():
            send_on_commit(send_message, message.pk)
            send_many_on_commit(fetch_profile_pic, [message.conversation_id])
        assert sends.sent == []

    assert len(sends.sent) == 2


def test_it_is_delivered_with_the_key_of_its_row(sends, say):
    message = say("olá")
    send_message.send(message.pk)

    assert [(one.outcome, one.sent.id) for one in sends.run()] == [("done", str(message.pk))]
    assert (_status(message), sends.sandbox.texts(), sends.waiting) == ("sent", ["olá"], [])


def test_a_conversation_keeps_its_order_through_a_retry(sends, say):
    first = say("1")
    second = say("2", conversation=first.conversation)
    sends.sandbox.admin.add_fault(TEXTS_503, match={"op": ["sendText"]}, trigger={"next": 1})
    send_message.send_many([first.pk, second.pk])

    ran = sends.run()

    assert [(one.outcome, one.sent.id) for one in ran] == [
        ("retry", str(first.pk)),
        ("done", str(first.pk)),
        ("done", str(second.pk)),
    ]
    assert sends.sandbox.texts() == ["1", "2"]


def test_a_wait_is_skipped_and_has_passed(sends, say):
    before_ms = services.get().clock.now_ms()
    send_message.send_with_options(args=(say().pk,), delay=3_600_000)

    sends.run()

    assert services.get().clock.now_ms() - before_ms >= 3_600_000


def test_an_outcome_that_nobody_knows_is_found_out(sends, say):
    message = say()
    sends.sandbox.admin.add_fault({"type": "drop", "when": "after_accept"}, trigger={"next": 1})
    send_message.send(message.pk)

    assert sends.run()[-1].outcome == "done"
    assert (_status(message), len(sends.sandbox.deliveries())) == ("sent", 1)


def test_what_is_given_up_fails_its_row_and_is_a_dead_letter(sends, say):
    message = say(direction="incoming")
    send_message.send(message.pk)

    assert [(one.outcome, one.reason) for one in sends.run()] == [("dead", "not_outgoing")]
    assert [letter.reason for letter in sends.dead] == ["not_outgoing"]


def test_what_never_ends_is_said(sends, say):
    sends.sandbox.admin.add_fault(CLOSED)
    message = say()
    send_message.send(message.pk)

    with pytest.raises(StillWaiting, match=rf"{message.pk} came back {MAX_RUNS} times \(snooze: "):
        sends.run()
    assert [one.id for one in sends.waiting] == [str(message.pk)]


def test_one_round_runs_each_message_once(sends, say):
    sends.sandbox.admin.add_fault(CLOSED)
    send_message.send(say().pk)

    assert [one.outcome for one in sends.run(retry=False)] == ["snooze"]
    assert len(sends.waiting) == 1


def test_an_instance_that_a_test_closed_stays_closed(sends, say):
    sends.sandbox.connect("line-1", state="close", token="key-of-line-1")
    send_message.send(say().pk)

    assert [one.outcome for one in sends.run(retry=False)] == ["snooze"]
    sends.sandbox.connect("line-1", token="key-of-line-1")
    assert [one.outcome for one in sends.run()] == ["done"]


def test_an_error_that_is_not_ours_is_raised(sends, say, monkeypatch):
    monkeypatch.setattr("actors.chat.is_all_out", lambda *_: 1 / 0)
    send_message.send(say().pk)

    with pytest.raises(ZeroDivisionError):
        sends.run()
    assert len(sends.waiting) == 1


def test_what_is_cleared_may_be_sent_again(sends, say):
    message = say()
    send_message.send(message.pk)
    sends.clear()

    assert (sends.sent, sends.waiting) == ([], [])
    send_message.send(message.pk)
    assert sends.ids() == [str(message.pk)]


def test_settings_that_cannot_be_used_leave_nothing_behind(settings, db):
    before = actors.broker, dict(vars(actors.broker))
    settings.CHAT_ACTORS = {"QUEUE_DB": 1}
    services.install(None)

    with pytest.raises(SettingsError), Sends():
        pass

    assert (actors.broker, dict(vars(actors.broker))) == before
    settings.CHAT_ACTORS = {}
    with Sends():
        pass
    services.install(None)


def test_an_actor_of_the_host_is_run_too(sends):
    seen = []

    @dramatiq.actor(broker=sends.broker, actor_name="host_work")
    def work(number):
        seen.append(number)

    work.send(7)
    sends.run()

    assert seen == [7]


def test_settings_that_a_test_overrides_are_read_and_the_gateway_stays_the_sandbox(sends, settings):
    settings.CHAT_ACTORS = {"REDIS_URL": "redis://127.0.0.1:1", "GATEWAY": "evolution", "DEFAULT_REGION": "BR"}

    found = services.settings()
    assert (found.default_region, found.gateway) == ("BR", "sandbox")
    assert services.get().clock is sends.clock


def test_afterwards_everything_is_as_before(db, settings):
    settings.CHAT_ACTORS = {"REDIS_URL": "redis://127.0.0.1:1"}
    services.install(None)
    before = actors.broker, dict(vars(actors.broker)), services.get()

    with Sends(), pytest.raises(RuntimeError, match="open already"), Sends():
        pass

    assert wiring.broker is actors.broker
    assert (actors.broker, dict(vars(actors.broker)), services.get()) == before
    with Sends() as again:
        assert again.sent == []
    services.install(None)


def test_the_keys_of_real_servers_are_not_there(settings, db):
    settings.CHAT_ACTORS = {"EVOLUTION_URL": "https://e.example", "EVOLUTION_API_KEY": "k", "WHATSAPP_CLOUD_TOKEN": "t"}
    services.install(None)
    with Sends():
        found = services.settings()
        assert (found.gateway, found.evolution_url, found.evolution_api_key, found.whatsapp_cloud_token) == (
            *("sandbox", None, None),
            None,
        )
    services.install(None)


@pytest.mark.parametrize("alias", ["sqlite_alias", pytest.param("postgres_alias", marks=pytest.mark.postgres)])
def test_worker_threads_deliver_what_is_committed(request, unblocked, alias, settings):
    from contracts.django_world import DjangoWorld
    from contracts.store_world import conversation, message

    from actors.settings import Settings
    from actors.stores.rows import InstanceRow

    world = DjangoWorld(request.getfixturevalue(alias))
    services.install(services.Services(settings=Settings(store="django"), store=world.store))
    world.add(InstanceRow(instance_name="line-1"))
    thread = conversation(world)
    now_ms = services.get().clock.now_ms()
    rows = [message(world, thread, content=str(number), created_at_ms=now_ms + number) for number in range(6)]
    try:
        with Sends() as sends:
            sends.sandbox.admin.add_fault(TEXTS_503, match={"op": ["sendText"]}, trigger={"next": 2})
            with sends.working(threads=3):
                send_message.send_many([row.id for row in rows])
                sends.join()
            texts = sends.sandbox.texts()
            statuses = {world.message(row.id).status for row in rows}
    finally:
        services.install(None)
        world.clear()

    assert statuses == {"sent"}
    assert texts == [str(number) for number in range(6)]
