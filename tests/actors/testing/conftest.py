"""Rows of the demo project for what a host's tests would do."""

from collections.abc import Callable, Iterator

import pytest
from chat.models import Conversation, Message, WhatsAppInstance
from django_fixtures import postgres_alias, sqlite_alias, unblocked

import actors
from actors import services
from actors.testing import Sends

__all__ = ["postgres_alias", "sqlite_alias", "unblocked"]


@pytest.fixture
def sends(db: None, settings) -> Iterator[Sends]:
    settings.CHAT_ACTORS = {"REDIS_URL": "redis://127.0.0.1:1", "SCHEDULER": "none"}
    services.install(None)
    with Sends() as opened:
        yield opened
    actors.broker.close()
    services.install(None)


@pytest.fixture
def line(db: None) -> WhatsAppInstance:
    return WhatsAppInstance.objects.create(instance_name="line-1", api_key="key-of-line-1")


@pytest.fixture
def say(line: WhatsAppInstance) -> Callable[..., Message]:
    """``say("oi", conversation=…)``: a saved message, in a conversation of its own where none is given."""

    def say(text: str = "oi", *, conversation: Conversation | None = None, **values: object) -> Message:
        thread = conversation or Conversation.objects.create(contact_phone="+5511988887777", instance_name="line-1")
        return Message.objects.create(conversation=thread, content=text, **values)

    return say
