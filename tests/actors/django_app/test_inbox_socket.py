"""The chat's WebSocket tells members of a tenant, ids only; and its colours can be read."""

import asyncio
import re
from pathlib import Path

import pytest
from channels.layers import channel_layers, get_channel_layer
from channels.testing import WebsocketCommunicator
from channels_redis.core import RedisChannelLayer
from chat_visitor import TENANT, Visitor
from chatsite.databases import channel_layer
from django.test import Client
from inbox.models import Member

with pytest.MonkeyPatch.context() as kept:
    # As a server's entry point it names the settings for itself and all that it starts: not for the processes of other tests.
    kept.setenv("DJANGO_SETTINGS_MODULE", "chatsite.settings")
    from chatsite.asgi import application

CSS = Path(__file__).parents[2] / "project/inbox/static/inbox/chat.css"
#: Colours of text, and what they stand on; 4.5 is what WCAG asks of small text.
PAIRS = (
    ("ink", "surface"), ("ink", "ground"), ("ink", "raised"), ("ink", "own"), ("ink", "theirs"), ("ink", "chosen"),
    ("soft", "surface"), ("soft", "ground"), ("soft", "theirs"), ("soft", "chosen"), ("accent", "theirs"),
    ("accent-ink", "accent"), ("bad", "bad-ground"), ("bad", "surface"), ("read", "own"), ("read", "surface"),
    ("warn-ink", "warn-ground"), ("good-ink", "good-ground"),
)  # fmt: skip


# -- the socket ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def layer(settings):
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
    channel_layers.backends.clear()
    yield
    channel_layers.backends.clear()


def _socket(client: Client | None, *, origin: str = "http://testserver") -> WebsocketCommunicator:
    headers = [(b"origin", origin.encode()), (b"host", b"testserver")]
    if client is not None:
        headers.append((b"cookie", f"sessionid={client.cookies['sessionid'].value}".encode()))
    return WebsocketCommunicator(application, "/ws/chat/", headers=headers)


@pytest.mark.django_db(transaction=True)
def test_a_socket_tells_a_member_of_its_tenant_and_ids_only(layer):
    visitor = Visitor()
    update = {"type": "message_status_update", "message_id": "m", "conversation_id": "c", "status": "sent"}

    async def listen() -> list[dict]:
        socket = _socket(visitor.client)
        assert (await socket.connect(timeout=10))[0]
        told = [await socket.receive_json_from(10)]
        await get_channel_layer().group_send("chat_tenant_another", update)
        await get_channel_layer().group_send(f"chat_tenant_{TENANT}", {**update, "evolution_status": "sent"})
        shown = {"id": "c", "contact_name": "a name", "profile_pic_url": "https://files.example/1.jpg"}
        event = {"type": "conversation_updated", "conversation": shown}
        await get_channel_layer().group_send(f"chat_tenant_{TENANT}", event)
        told += [await socket.receive_json_from(10), await socket.receive_json_from(10)]
        await socket.disconnect()
        return told

    assert asyncio.run(listen()) == [
        {"type": "ready"},
        update,
        {"type": "conversation_updated", "conversation_id": "c"},
    ]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("who", ["nobody", "of no tenant", "another origin"])
def test_a_socket_is_refused_to_everybody_else(layer, who):
    visitor, origin = Visitor(), "https://evil.example" if who == "another origin" else "http://testserver"
    if who == "of no tenant":
        Member.objects.all().delete()

    async def connect() -> bool:
        return bool((await _socket(None if who == "nobody" else visitor.client, origin=origin).connect(timeout=10))[0])

    assert asyncio.run(connect()) is False


def test_a_socket_that_hears_nothing_outlives_the_wait_of_its_layer():
    entry = channel_layer("redis://127.0.0.1:6379/1")
    layer = RedisChannelLayer(**entry["CONFIG"])

    pool = layer.create_pool(0)

    assert pool.connection_kwargs["socket_timeout"] > layer.brpop_timeout
    assert pool.connection_kwargs["db"] == 1


# -- colours -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_text_can_be_read_in_both_schemes(scheme):
    blocks = re.findall(r":root \{(.*?)\}", CSS.read_text(), re.DOTALL)
    colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{3,6});", blocks[scheme]))

    assert [pair for pair in PAIRS if _contrast(*(colours[name] for name in pair)) < 4.5] == []


def _contrast(one: str, other: str) -> float:
    lighter, darker = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(colour: str) -> float:
    digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
    parts = [int(digits[index : index + 2], 16) / 255 for index in (0, 2, 4)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
