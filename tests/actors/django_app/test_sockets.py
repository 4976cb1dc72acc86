"""Browsers are told over Channels in the shapes that the adopting product's pages read."""

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor

import pytest
from asgiref.sync import async_to_sync
from channels.layers import InMemoryChannelLayer, channel_layers, get_channel_layer
from chat.models import Conversation, Message
from django.db import connections

from actors import events
from actors.django_app import sockets
from actors.domain import GroupInfo

pytestmark = pytest.mark.django_db(transaction=True)

TENANT = "5b0ab0d6-6a29-4d9c-a0a4-1e9c9e0f8f10"
GROUP = f"chat_tenant_{TENANT}"


class HostSerializer:
    """As a host's own: whole rows."""

    def message(self, message_id):
        found = Message.objects.get(pk=message_id)
        return {"id": str(found.pk), "content": found.content, "status": found.status}

    def conversation(self, conversation_id):
        return {"id": conversation_id, "unread_count": 0}


class Broken:
    def message(self, message_id):
        raise ValueError("the words")

    def conversation(self, conversation_id):
        raise ValueError("the words")


@pytest.fixture
def browsers(settings, serve):
    """``browsers(room)`` → what the tenant's page and the open conversation's page were told so far."""
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
    channel_layers.backends.clear()
    sockets._serializer.cache_clear()
    sockets.pause.end()
    sockets.connect()
    yield Browsers()
    sockets.disconnect()
    channel_layers.backends.clear()


class Browsers:
    def open(self, conversation_id: str) -> None:
        layer = get_channel_layer()
        async_to_sync(layer.group_add)(GROUP, "tenant")
        async_to_sync(layer.group_add)(f"{GROUP}_conversation_{conversation_id}", "room")

    def told(self, page: str) -> list[dict]:
        layer, found = get_channel_layer(), []
        queue = layer.channels.get(page)
        while queue is not None and not queue.empty():
            found.append(queue.get_nowait()[1])
        return found


def _message() -> tuple[str, str]:
    thread = Conversation.objects.create(contact_phone="+5511988887777", tenant_id=TENANT, instance_name="line-1")
    return str(Message.objects.create(conversation=thread, content="hello").pk), str(thread.pk)


def _status(message_id: str, conversation_id: str, status: str, **more: object) -> dict:
    return {
        "type": "message_status_update",
        "message_id": message_id,
        "conversation_id": conversation_id,
        "status": status,
        "evolution_status": status,
        **more,
    }


def test_a_sent_message_is_told_to_tenant_and_room(browsers, serve):
    store = serve(broadcast=True).store
    message_id, conversation_id = _message()
    browsers.open(conversation_id)

    store.mark_sent(message_id, provider_message_id="3EB0")

    update = _status(message_id, conversation_id, "sent")
    assert (browsers.told("tenant"), browsers.told("room")) == ([update], [update])


def test_a_host_s_serializer_adds_the_whole_message_and_conversation(browsers, serve):
    store = serve(broadcast=True, broadcast_serializer=f"{__name__}.HostSerializer").store
    message_id, conversation_id = _message()
    browsers.open(conversation_id)

    store.mark_sent(message_id, provider_message_id="3EB0")

    message = {"id": message_id, "content": "hello", "status": "sent"}
    assert browsers.told("tenant") == [
        _status(message_id, conversation_id, "sent"),
        {"type": "message_received", "message": message, "conversation_id": conversation_id},
        {"type": "conversation_updated", "conversation": {"id": conversation_id, "unread_count": 0}},
    ]
    assert browsers.told("room") == [_status(message_id, conversation_id, "sent")]


def test_a_failed_message_is_told_with_its_code(browsers, serve):
    store = serve(broadcast=True).store
    message_id, conversation_id = _message()
    browsers.open(conversation_id)

    store.mark_failed(message_id, code="not_on_whatsapp", text="nobody has this number")

    update = _status(message_id, conversation_id, "failed", send_error_meta={"send_error": "not_on_whatsapp"})
    assert (browsers.told("tenant"), browsers.told("room")) == ([update], [update])


def test_a_delivered_message_is_told(browsers, serve):
    serve(broadcast=True)
    browsers.open("c-1")

    events.announce(
        lambda: events.MessageAdvanced(
            message_id="m-1", conversation_id="c-1", tenant_id=TENANT, instance_name=None, status="seen"
        )
    )

    update = _status("m-1", "c-1", "seen")
    assert (browsers.told("tenant"), browsers.told("room")) == ([update], [update])


def test_a_picture_goes_to_the_tenant_and_a_group_to_both(browsers, serve):
    store = serve(broadcast=True).store
    person = Conversation.objects.create(contact_phone="+5511988887777", tenant_id=TENANT, contact_name="Ana")
    browsers.open(str(person.pk))
    store.save_picture(str(person.pk), "https://files.example/1.jpg")
    shown = {
        "id": str(person.pk),
        "conversation_type": "individual",
        "contact_name": "Ana",
        "profile_pic_url": "https://files.example/1.jpg",
        "group_metadata": {},
    }
    assert browsers.told("tenant") == [{"type": "conversation_updated", "conversation": shown}]
    assert browsers.told("room") == []

    group = Conversation.objects.create(contact_phone="1-2@g.us", conversation_type="group", tenant_id=TENANT)
    browsers.open(str(group.pk))
    store.merge_group(str(group.pk), GroupInfo(jid="1-2@g.us", subject="Sales"))

    tenant, room = browsers.told("tenant"), browsers.told("room")
    assert tenant == room
    assert (tenant[0]["type"], tenant[0]["conversation"]["contact_name"]) == ("conversation_updated", "Sales")


def test_it_works_from_worker_threads_and_from_an_event_loop(browsers, serve):
    serve(broadcast=True)
    browsers.open("c-1")
    event = events.MessageAdvanced(
        message_id="m-1", conversation_id="c-1", tenant_id=TENANT, instance_name=None, status="seen"
    )

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: events.announce(lambda: event), range(8)))

    assert browsers.told("tenant") == [_status("m-1", "c-1", "seen")] * 8

    async def from_a_view() -> None:
        from asgiref.sync import sync_to_async

        await sync_to_async(events.announce)(lambda: event)

    asyncio.run(from_a_view())
    assert browsers.told("room") == [_status("m-1", "c-1", "seen")] * 9
    connections.close_all()


def test_a_layer_that_hangs_costs_its_bound_once_and_no_outcome(browsers, serve, caplog, monkeypatch):
    store = serve(broadcast=True).store
    asked = []

    async def hang(self, group, message):
        asked.append(group)
        await asyncio.Event().wait()

    monkeypatch.setattr(InMemoryChannelLayer, "group_send", hang)
    monkeypatch.setattr(sockets, "TIMEOUT_S", 0.05)
    first, second = _message()[0], _message()[0]

    with caplog.at_level(logging.WARNING):
        assert store.mark_sent(first, provider_message_id="3EB0")
        assert store.mark_sent(second, provider_message_id="3EB1")

    assert Message.objects.filter(status="sent").count() == 2
    assert len(asked) == 1
    assert [(one.message, one.code) for one in caplog.records] == [("broadcast.failed", "TimeoutError")]


def test_a_serializer_that_fails_leaves_out_its_own_events_alone(browsers, serve, caplog):
    store = serve(broadcast=True, broadcast_serializer=f"{__name__}.Broken").store
    message_id, conversation_id = _message()
    browsers.open(conversation_id)

    store.mark_sent(message_id, provider_message_id="3EB0")

    assert browsers.told("tenant") == [_status(message_id, conversation_id, "sent")]
    assert [(one.message, one.code) for one in caplog.records] == [("broadcast.not_made", "ValueError")]
    assert "the words" not in caplog.text


@pytest.mark.parametrize("values", [{"broadcast": False}, {}])
def test_nobody_is_told_where_it_is_not_asked_for(browsers, serve, values):
    store = serve(**values).store
    message_id, conversation_id = _message()
    browsers.open(conversation_id)

    store.mark_sent(message_id, provider_message_id="3EB0")

    assert browsers.told("tenant") == browsers.told("room") == []


def test_without_a_layer_it_says_so(browsers, serve, settings, caplog):
    store = serve(broadcast=True).store
    settings.CHANNEL_LAYERS = {}
    channel_layers.backends.clear()

    assert store.mark_sent(_message()[0], provider_message_id="3EB0")

    assert [(one.message, one.code) for one in caplog.records] == [("broadcast.failed", "LookupError")]
