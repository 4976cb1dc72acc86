"""Rows and attempts of one line, and what providers tell of them by webhook.

Tests say ``from intake_world import heard, world`` and take the fixtures of those names.
"""

from collections.abc import Iterator
from typing import Any

import pytest
from contracts.store_world import first

from actors import events, services
from actors.domain import AttemptState, OutgoingPart, Receipt
from actors.events import Event
from actors.gateways.base import Ability
from actors.services import Services
from actors.settings import Settings
from actors.stores.memory import MemoryStore
from actors.stores.rows import ConversationRow, InstanceRow, MessageRow
from actors.updates import DeliveryStatus, SentUpdate, StatusUpdate
from middleware.clock import SystemClock

NOW_MS = SystemClock().now_ms()
PHONE = "+5511988887777"
ACCEPTED, DEAD, RETRYABLE = AttemptState.ACCEPTED, AttemptState.DEAD, AttemptState.RETRYABLE
SENDING, UNKNOWN = AttemptState.SENDING, AttemptState.UNKNOWN


class KnowsTexts:
    """A gateway whose records are texts."""

    name = "sandbox"
    supports = frozenset(Ability)

    def is_record_of(self, part: OutgoingPart, update: SentUpdate) -> bool:
        return update.record == {"text": part.text}

    def close(self) -> None:
        """Nothing to give back."""


class World:
    def __init__(self) -> None:
        self.store = MemoryStore()
        self.store.add(
            InstanceRow(instance_name="line-1", tenant_id="t", phone_number_id="1098765"),
            InstanceRow(instance_name="line-1", tenant_id="other", phone_number_id="2222222"),
            ConversationRow(id="c1", contact_phone=PHONE, tenant_id="t", instance_name="line-1"),
        )
        settings = Settings(gateway="sandbox")
        services.install(Services(settings=settings, store=self.store, gateways={"sandbox": KnowsTexts()}))

    def say(self, id_: str = "m1", text: str = "oi", **values: Any) -> None:
        values = {"conversation_id": "c1", "created_at_ms": NOW_MS, **values}
        self.store.add(MessageRow(id=id_, content=text, **values))

    def attempt(self, state: AttemptState, id_: str = "m1", part: int = 0, *, key: str | None = None, **values: Any):
        taken = self.store.claim(first(id_, part, now_ms=values.pop("now_ms", NOW_MS)))
        receipt = Receipt(provider_message_id=key)
        return taken if state is SENDING else self.store.settle(taken, state, receipt=receipt, **values)

    def row(self, id_: str = "m1") -> tuple[str, str | None]:
        row = self.store.message(id_)
        return row.status, row.message_id

    def state(self, id_: str = "m1", part: int = 0) -> tuple[str, str | None]:
        [attempt] = [row for row in self.store.attempts(id_) if row.part == part]
        return attempt.state, attempt.provider_message_id


@pytest.fixture
def world() -> Iterator[World]:
    yield World()
    services.install(None)


@pytest.fixture
def heard() -> Iterator[list[Event]]:
    heard: list[Event] = []
    unsubscribe = events.subscribe(heard.append)
    yield heard
    unsubscribe()


def cloud(status: str, key: str = "wamid.1", **values: Any) -> StatusUpdate:
    """A status as the Cloud API tells it: with our reference."""
    values = {"reference": "m1:0", "phone_number_id": "1098765", "at_ms": NOW_MS, **values}
    return StatusUpdate(provider_message_id=key, status=DeliveryStatus(status), **values)


def evolution(status: str, key: str = "3EB0", **values: Any) -> StatusUpdate:
    """A status as Evolution tells it: by its own id."""
    values = {"instance_name": "line-1", "at_ms": 0, **values}
    return StatusUpdate(provider_message_id=key, status=DeliveryStatus(status), **values)
