"""What people write, their numbers, keys and file addresses stay in the rows: not in logs, letters, Redis or commands."""

import json
import logging
import traceback
from dataclasses import replace

import pytest
import redis
from flow_world import GROUP, working
from typer.testing import CliRunner
from waiting import until

import actors
from actors import intake, services
from actors.cli.app import app
from actors.domain import MessageStatus
from actors.gateways.evolution_webhooks import updates
from actors.stores.rows import AttachmentRow, ConversationRow, InstanceRow
from middleware.brokers.redis.embedded import EmbeddedRedis

pytestmark = pytest.mark.redis

PHONE = "+5511955554444"
SAID = "plantedwords"
KEY = "plantedkey"
FILE = "https://files.example.com/planted.png?token=plantedtoken"
PLANTED = (PHONE[1:], SAID, KEY, "plantedtoken", "plantedpicture", "plantedgroup", GROUP.partition("@")[0])
#: Answers that quote what was sent, as gateways do.
QUOTING = [
    {"status": 400, "body": {"status": 400, "response": {"message": [f"Error: {SAID} to {PHONE}"]}}},
    {"status": 400, "body": {"status": 400, "response": {"message": [[f"{SAID}", PHONE]]}}},
    {"status": 500, "body": {"response": {"message": f"`this.prismaRepository.message.create()` {SAID} {PHONE}"}}},
    {"status": 400, "body": {"response": {"message": [f"prismaRepository.message.create {SAID}"]}}},
    {"status": 201, "body": {"code": 131026, "message": f"{PHONE} {SAID}", "error_data": {"details": SAID}}},
    {
        "status": 201,
        "body": {"key": {"id": "3EB0PLANTED", "remoteJid": "5511900000000@s.whatsapp.net"}, "message": SAID},
    },
    {"status": 403, "body": f"<html>{SAID} {PHONE} {KEY}</html>"},
    {"status": 429, "body": SAID, "headers": {"Retry-After": "0"}},
    {"status": 502, "body": SAID},
]


@pytest.fixture
def shown() -> list[str]:
    """Every record of every logger, whole: text, fields and traceback."""
    lines: list[str] = []

    class Everything(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.name == "httpx":
                # The client of the sandbox's admin, in this file alone.
                return
            trace = "".join(traceback.format_exception(*record.exc_info)) if record.exc_info else ""
            lines.append(f"{record.getMessage()} {vars(record)} {trace}")

    root, handler = logging.getLogger(), Everything(logging.DEBUG)
    before = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield lines
    root.removeHandler(handler)
    root.setLevel(before)


def say_everything(world) -> list[str]:
    world.store._instances[0] = replace(world.store._instances[0], api_key=world.sandbox.apikey)
    ids: list[str] = []
    for number in range(len(QUOTING)):
        conversation = f"p{number}"
        world.store.add(
            ConversationRow(id=conversation, contact_phone=PHONE, tenant_id="t", instance_name=f"i-{number}"),
            InstanceRow(
                instance_name=f"i-{number}", tenant_id="t", api_key=world.sandbox.apikey, api_url=world.sandbox.url
            ),
        )
        world.sandbox.admin.put_instance(f"i-{number}", state="open")
        ids.append(world.say(f"m{number}", SAID, conversation=conversation))
    world.store.add(
        ConversationRow(id="bad", contact_phone=f"x{PHONE}", tenant_id="t", instance_name="i1"),
        ConversationRow(id="files", contact_phone=PHONE, tenant_id="t", instance_name="i1"),
        ConversationRow(id="keyless", contact_phone=PHONE, tenant_id="t", instance_name="i2"),
        InstanceRow(instance_name="i2", tenant_id="t", api_key=KEY, api_url=world.sandbox.url),
        AttachmentRow(message_id="file", mime_type="image/png", short_url=FILE, created_at_ms=1),
        AttachmentRow(message_id="scheme", mime_type="image/png", short_url=f"file:///{SAID}", created_at_ms=1),
    )
    world.sandbox.admin.put_instance("i2", state="open")
    for id_, conversation in (("bad", "bad"), ("key", "keyless"), ("file", "files"), ("scheme", "files")):
        ids.append(world.say(id_, SAID, conversation=conversation))
    return ids


def run(*command: str) -> str:
    result = CliRunner().invoke(app, command)
    return f"{result.output}{result.exception or ''}"


def quote_everything(world) -> None:
    """Refusals, errors and answers that repeat what they were asked."""
    for number, action in enumerate(QUOTING):
        world.sandbox.admin.add_fault(
            {"type": "status", **action}, match={"instance": f"i-{number}", "op": ["sendText"]}, trigger={"next": 3}
        )
    world.sandbox.admin.add_fault(
        {
            "type": "status",
            "status": 404,
            "body": {"response": {"message": ["Error fetching group", f"Error: {SAID}"]}},
        },
        match={"op": ["findGroupInfos"]},
    )
    world.sandbox.admin.put_contact(
        f"{PHONE[1:]}@s.whatsapp.net", exists=True, picture_url="https://x.y/plantedpicture"
    )


def everywhere(world, ids: list[str], shown: list[str], redis_server: EmbeddedRedis) -> dict[str, str]:
    """All that can be read afterwards, by its place."""
    letters = world.letters()
    places = {
        "log": "\n".join(shown),
        "letters": "\n".join(json.dumps(letter.as_json()) for letter in letters),
        "letters in words": "\n".join(
            str(vars(letter) if hasattr(letter, "__dict__") else letter) for letter in letters
        ),
        "rows": "\n".join(world.store.message(id_).error_message for id_ in ids),
        "settings": repr(services.get()),
        "dlq list": run("dlq", "list"),
        "dlq show": "\n".join(run("dlq", "show", letter.job_id) for letter in letters),
        "instances": run("instances") + run("instances", "--json"),
        "stats": run("stats") + run("stats", "--json"),
    }
    for db in (2, 3):
        with redis.Redis.from_url(redis_server.url(db)) as client:
            places[f"redis {db}"] = " ".join(str(client.dump(key)) + str(key) for key in client.keys("*"))
    return places


def test_nothing_that_is_private_is_shown_anywhere(world, change, shown, redis_server: EmbeddedRedis):
    change(max_attempts=2)
    ids = say_everything(world)
    quote_everything(world)
    for id_ in ids:
        actors.send_message.send(id_)
    actors.fetch_profile_pic.send("p0", PHONE)
    actors.fetch_group_info.send("g1", GROUP, "i1")
    told = {
        "event": "send.message",
        "instance": "i1",
        "apikey": KEY,
        "data": {
            "key": {"id": "3EB0OTHER", "fromMe": True, "remoteJid": f"{PHONE[1:]}@s.whatsapp.net"},
            "message": {"conversation": SAID},
        },
    }
    with working(threads=8):
        until(lambda: all(world.status(id_) != MessageStatus.PENDING for id_ in ids), within_ms=20_000)
        until(lambda: len(world.letters()) >= len(ids) - 3, within_ms=5_000)
        intake.apply_all(updates(json.dumps(told).encode()))
    places = everywhere(world, ids, shown, redis_server)

    assert all(places.values())
    found = [
        (name, planted)
        for name, text in places.items()
        for planted in (*PLANTED, world.sandbox.apikey)
        if planted in text
    ]
    assert found == []
