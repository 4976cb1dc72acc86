"""The demo project as a host: its views save rows, and what they enqueue is what a worker needs and no more.

It runs in a process of its own, as hosts do, with a database file and a Redis.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2] / "project"
ROOT = PROJECT.parents[1]
#: Requests of a browser, told as JSON: method, path, body.
SCRIPT = """
import json, sys
import django
django.setup()
from chat.models import Conversation, Message
from django.test import Client

person = Conversation.objects.create(contact_phone="+5511988887777", instance_name="line-1", tenant_id="tenant-1")
group = Conversation.objects.create(contact_phone="120363025246125486@g.us", conversation_type="group")
client = Client()
for method, path, body in json.loads(sys.argv[1]):
    path, body = (text.replace("PERSON", str(person.pk)).replace("GROUP", str(group.pk)) for text in (path, body))
    answer = client.generic(method, path, body, content_type="application/json")
    print(json.dumps([answer.status_code, json.loads(answer.content or b"null")]))
for row in Message.objects.all():
    print(json.dumps({"id": str(row.pk), "status": row.status, "metadata": row.metadata, "files": row.attachments.count()}))
"""


@pytest.fixture
def host(tmp_path):
    """``host(["manage.py", …] or ["-c", …], REDIS_URL=…)`` → lines that it printed."""

    def run(arguments: list[str], **environ: str) -> list[str]:
        variables = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": f"{ROOT}{os.pathsep}{PROJECT}",
            "DJANGO_SETTINGS_MODULE": "chatsite.settings",
            "CHATSITE_DATABASE": str(tmp_path / "chats.sqlite3"),
        }
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=PROJECT,
            env={**variables, **environ},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    run(["manage.py", "migrate", "--verbosity=0"])
    return run


def _browse(host, *requests: tuple[str, str, object], **environ: str) -> tuple[list, list]:
    """Answers to the requests, and the messages that there are then."""
    told = [
        (method, path, body if isinstance(body, str) else json.dumps(body) if body else "")
        for method, path, body in requests
    ]
    lines = [json.loads(line) for line in host(["-c", SCRIPT, json.dumps(told)], **environ)]
    return lines[: len(requests)], lines[len(requests) :]


def _queued(client, queue: str) -> list[dict]:
    return [json.loads(body) for body in client.hgetall(f"chat:queue:{queue}.msgs").values()]


@pytest.mark.redis
def test_what_a_browser_asks_for_is_saved_and_enqueued_by_id(host, redis_server, queue_client):
    file = {"mime_type": "image/png", "file_url": "https://files.example/1", "original_filename": "plan.png"}
    message = {"conversation_id": "PERSON", "content": "secret words", "attachments": [file], "reply_to": "nothing"}

    answers, rows = _browse(
        host,
        ("POST", "/messages/", message),
        ("POST", "/conversations/PERSON/picture/", None),
        ("POST", "/conversations/GROUP/group/", {"force": True}),
        ("GET", "/messages/status/", None),
        REDIS_URL=redis_server.url(0),
    )

    assert [status for status, _ in answers] == [201, 202, 202, 200]
    assert answers[3][1] == {"pending": 1}
    [row] = rows
    assert (row["status"], row["files"]) == ("pending", 1)
    assert row["metadata"] == {"reply_to": "nothing", "attachment_urls": ["https://files.example/1"]}
    [sent] = _queued(queue_client, "send_message")
    assert (sent["args"], sent["kwargs"]["message_id"]) == ([], row["id"])
    [picture], [group] = _queued(queue_client, "fetch_profile_pic"), _queued(queue_client, "fetch_group_info")
    assert picture["kwargs"]["conversation_id"] == answers[1][1]["conversation_id"]
    assert group["kwargs"]["force"] is True
    everything = json.dumps([sent, picture, group])
    for private in ("secret words", "988887777", "120363025246125486", "files.example"):
        assert private not in everything


def test_a_host_without_redis_still_answers_and_keeps_its_rows(host):
    answers, rows = _browse(host, ("POST", "/messages/", {"conversation_id": "PERSON", "content": "hello"}))

    assert [status for status, _ in answers] == [201]
    assert [row["status"] for row in rows] == ["pending"]


def test_what_cannot_be_used_is_refused_and_saves_nothing(host):
    missing = "00000000-0000-0000-0000-000000000000"
    answers, rows = _browse(
        host,
        ("POST", "/messages/", "not json"),
        ("POST", "/messages/", "[]"),
        ("POST", "/messages/", {"conversation_id": "nonsense"}),
        ("POST", "/messages/", {"conversation_id": missing}),
        ("POST", f"/conversations/{missing}/picture/", None),
    )

    assert [status for status, _ in answers] == [400, 400, 400, 404, 404]
    assert rows == []


@pytest.mark.postgres
def test_the_project_runs_on_postgresql_too(host, postgres):
    host(["manage.py", "migrate", "--verbosity=0"], CHATSITE_DATABASE=postgres.url)

    lines = host(
        ["-c", "import django; django.setup(); from chat.models import Message; print(Message.objects.count())"],
        CHATSITE_DATABASE=postgres.url,
    )

    assert lines == ["0"]


def test_a_caller_may_choose_the_id_of_its_message_and_choose_it_once(host):
    chosen = {"id": "0c8f0c1a-1a6e-4b9d-8a63-0c1f5e2d7a10", "conversation_id": "PERSON", "content": "oi"}

    answers, rows = _browse(
        host,
        ("POST", "/messages/", chosen),
        ("POST", "/messages/", chosen),
        ("POST", "/messages/", {**chosen, "id": "7"}),
    )

    assert [status for status, _ in answers] == [201, 409, 400]
    assert [row["id"] for row in rows] == [chosen["id"]]
