"""The admin's pages as somebody who is logged in sees them: their texts, their rows, and the log after a change.

Tests import the fixture ``site`` and name it in ``__all__``.
"""

import html
import re

import pytest
from chat.models import Conversation, Message, WhatsAppInstance
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.test import Client

import actors
from actors.settings import Hidden
from middleware.letters import DeadLetters
from middleware.outcomes import Dead

ATTEMPTS = "/admin/chat_actors/sendattempt/"
LETTERS = "/admin/chat_actors/deadletter/"
INSTANCES = "/admin/chat_actors/instancecircuit/"
SECRET = "the words"
NOW_MS = 1_760_000_000_000


class Site:
    """A product with its queues and somebody who is logged in."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.instance = WhatsAppInstance.objects.create(instance_name="line-1", tenant_id="t")

    def log_in(self, *rights: str) -> None:
        """As somebody who has these rights and no other."""
        user = User.objects.create_user(f"user-{User.objects.count()}", is_staff=True)
        user.user_permissions.set(Permission.objects.filter(codename__in=rights))
        assert user.user_permissions.count() == len(rights)
        self.client.force_login(user)

    def say(self, *, instance: str = "line-1", status: str = "pending") -> str:
        thread = Conversation.objects.create(contact_phone="+5511988887777", tenant_id="t", instance_name=instance)
        return str(Message.objects.create(conversation=thread, content=SECRET, status=status).pk)

    def bury(self, *reasons: str, instance: str = "line-1") -> list[str]:
        """Messages that died of these, the oldest first; ids of their rows."""
        ids = []
        for reason in reasons:
            ids.append(self.say(instance=instance, status="failed"))
            actors.send_message.send(ids[-1])
            moves = actors.broker.transitions
            (taken,) = moves.fetch("send_message", limit=1, lease_ms=60_000, owner="w1").messages
            evidence = {"error": f"given up because of {reason}", "class": "Permanent", "attempts": 2}
            failures = [{"attempt": 1, "at_ms": NOW_MS, "code": reason, "error": "the way there"}]
            dead = Dead(reason, {**evidence, "failures": failures}, fingerprint=f"print-{reason}")
            moves.finish(taken.lease, dead, body=taken.body)
        return ids

    def letters(self) -> dict[str, str]:
        """Id of each dead letter → its reason."""
        return {letter.id: letter.reason for letter in DeadLetters(actors.broker).newest()}

    def get(self, path: str, **query: object) -> str:
        answer = self.client.get(path, query)
        assert answer.status_code == 200, answer
        return html.unescape(answer.content.decode())

    def confirm(self, path: str, doing: str, **form: object):
        """Ask, then agree; the two pages' texts."""
        asked = self.client.post(f"{path}{doing}/confirm/", form)
        assert asked.status_code == 200, asked
        done = self.client.post(f"{path}{doing}/confirm/", {**form, "confirmed": "yes"}, follow=True)
        return html.unescape(asked.content.decode()), html.unescape(done.content.decode())


@pytest.fixture
def site(serve, redis_server, queue_client, client):
    serve(redis_url=Hidden(redis_server.url(0)))
    made = Site(client)
    User.objects.create_superuser("root")
    client.force_login(User.objects.get(username="root"))
    return made


def rows_of(page: str) -> list[str]:
    """Rows of its list."""
    table = re.search(r'<table id="result_list">.*?<tbody>(.*?)</tbody>', page, re.DOTALL)
    return re.findall(r"<tr.*?</tr>", table[1], re.DOTALL) if table else []


def log() -> list[tuple[str, str]]:
    """Whom each line of the log is about, and what it says; the first one first."""
    return [(entry.object_id, entry.get_change_message()) for entry in LogEntry.objects.order_by("pk")]
