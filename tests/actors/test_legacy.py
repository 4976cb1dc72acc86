"""Old call sites work under their old names, say what to write instead, and pass nothing secret on."""

import json

import pytest
from django.db import transaction
from legacy_world import API_KEY, BASE_URL, JID, PHONE, everything, leaks

import actors
from actors import legacy, services, wiring
from actors.services import Services
from actors.settings import Hidden, Settings
from actors.stores.memory import MemoryStore
from actors.stores.rows import ConversationRow, MessageRow
from middleware.errors import QueueUnavailable

pytestmark = [pytest.mark.redis, pytest.mark.django_db(transaction=True)]

CALLS = {
    "send_message_to_evolution.delay": lambda: legacy.send_message_to_evolution.delay("m1"),
    "fetch_profile_pic.delay": lambda: legacy.fetch_profile_pic.delay(conversation_id="c1", phone=PHONE),
    "fetch_group_info.delay": lambda: legacy.fetch_group_info.delay(
        conversation_id="g1", group_jid=JID, instance_name="support", api_key=API_KEY, base_url=BASE_URL
    ),
    "enqueue_send_message": lambda: legacy.enqueue_send_message("m1", retry=0, extra={"use_fallback": True}),
    "enqueue_send_message_batch": lambda: legacy.enqueue_send_message_batch(["m1", "m2"]),
    "get_queue_metrics": legacy.get_queue_metrics,
}


@pytest.fixture
def site(redis_server, queue_client):
    store = MemoryStore()
    settings = Settings(redis_url=Hidden(redis_server.url(0)), store="memory", scheduler="none")
    services.install(Services(settings=settings, store=store))
    store.add(
        ConversationRow(id="c1", contact_phone=PHONE, instance_name="support"),
        ConversationRow(id="g1", contact_phone=JID, conversation_type="group", instance_name="support"),
        MessageRow(id="m1", conversation_id="c1", content="a", created_at_ms=1),
        MessageRow(id="m2", conversation_id="c1", content="b", created_at_ms=2),
    )
    yield queue_client
    actors.broker.close()
    services.install(None)


def _sent(client, queue):
    found = [json.loads(body)["kwargs"] for body in client.hvals(f"chat:queue:{queue}.msgs")]
    return sorted(found, key=repr)


@pytest.mark.parametrize(
    ("name", "queue", "kwargs"),
    [
        ("send_message_to_evolution.delay", "send_message", [{"message_id": "m1"}]),
        ("fetch_profile_pic.delay", "fetch_profile_pic", [{"conversation_id": "c1"}]),
        ("fetch_group_info.delay", "fetch_group_info", [{"conversation_id": "g1"}]),
        ("enqueue_send_message", "send_message", [{"message_id": "m1", "use_fallback": True}]),
        ("enqueue_send_message_batch", "send_message", [{"message_id": "m1"}, {"message_id": "m2"}]),
    ],
)
def test_an_old_call_enqueues_ids_and_nothing_else(site, redis_server, name, queue, kwargs):
    with pytest.warns(DeprecationWarning, match="instead"):
        assert CALLS[name]() is None

    assert _sent(site, queue) == kwargs
    assert leaks(everything(redis_server)) == []


@pytest.mark.parametrize("name", CALLS)
def test_every_call_warns_where_it_is_made_and_names_the_new_one(site, name):
    with pytest.warns(DeprecationWarning, match=rf"actors\.legacy\.{name}: call ") as warned:
        CALLS[name]()

    # get_queue_metrics is called by this test itself, the others by the table above.
    assert [warning.filename for warning in warned] == [__file__]


def test_every_public_name_is_tried_here():
    assert {name.partition(".")[0] for name in CALLS} == set(legacy.__all__)


def test_the_metrics_keep_their_shape_and_tell_the_truth(site):
    actors.send_message.send("m1")
    actors.send_message.send("m2")

    with pytest.warns(DeprecationWarning, match="take_snapshot"):
        metrics = legacy.get_queue_metrics()

    # Two of one conversation: one may run, one waits for it; the old length would have been 1.
    assert metrics["send_message"]["length"] == 2
    assert metrics["send_message"]["name"] == "chat:queue:send_message"
    assert metrics["total"] == 2


def test_inside_a_transaction_it_waits_for_the_commit(site):
    with transaction.atomic():
        with pytest.warns(DeprecationWarning, match="send_on_commit"):
            CALLS["send_message_to_evolution.delay"]()
        before = _sent(site, "send_message")

    assert (before, _sent(site, "send_message")) == ([], [{"message_id": "m1"}])


def test_what_was_rolled_back_is_not_sent(site):
    with transaction.atomic():
        with pytest.warns(DeprecationWarning, match="send_on_commit"):
            CALLS["fetch_profile_pic.delay"]()
        transaction.set_rollback(True)

    assert _sent(site, "fetch_profile_pic") == []


def _take_redis_away():
    settings = Settings(redis_url=Hidden("redis://127.0.0.1:1/0"), store="memory")
    services.install(Services(settings=settings, store=services.get().store))
    actors.broker.close()


@pytest.mark.parametrize("name", ["fetch_profile_pic.delay", "fetch_group_info.delay"])
def test_a_fetch_never_breaks_its_webhook(site, caplog, monkeypatch, name):
    _take_redis_away()
    monkeypatch.setattr(wiring, "host_settings", lambda: None)

    with pytest.warns(DeprecationWarning, match="instead"):
        CALLS[name]()

    assert [record.message for record in caplog.records] == ["legacy.not_enqueued"]
    assert leaks(caplog.text) == []


def test_a_send_says_that_redis_is_down_where_nothing_is_committed_later(site, monkeypatch):
    _take_redis_away()
    monkeypatch.setattr(wiring, "host_settings", lambda: None)

    with pytest.warns(DeprecationWarning, match="instead"), pytest.raises(QueueUnavailable):
        CALLS["send_message_to_evolution.delay"]()
