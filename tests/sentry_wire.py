"""Sentry's SDK with a wire of its own, in a process without a host's Sentry and in one that has it.

Tests say ``from sentry_wire import forgotten, wire`` and take the fixtures of those names; ``forgotten`` cleans up by itself.
"""

import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import sentry_sdk
from sentry_sdk.integrations.logging import LoggingIntegration, unignore_logger
from sentry_sdk.scope import global_event_processors
from sentry_sdk.transport import Transport

from middleware.sentry_client import QUIET_LOGGERS, ClientOptions, SentryState, start

DSN = "https://public@sentry.invalid/1"
PLANTED = ("Maria", "5511988887777", "sk-very-secret", "lane-7")


class Wire(Transport):
    """Where events would leave the machine."""

    def __init__(self) -> None:
        super().__init__({"dsn": DSN})
        self.envelopes: list[Any] = []

    def capture_envelope(self, envelope: Any) -> None:
        self.envelopes.append(envelope)

    @property
    def events(self) -> list[dict[str, Any]]:
        return [event for envelope in self.envelopes if (event := envelope.get_event())]

    @property
    def bytes(self) -> str:
        return b"".join(envelope.serialize() for envelope in self.envelopes).decode()


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    yield
    sentry_sdk.get_client().close(timeout=0)
    sentry_sdk.get_global_scope().set_client(None)
    global_event_processors.clear()
    for name in QUIET_LOGGERS:
        unignore_logger(name)


@pytest.fixture
def wire() -> Wire:
    """A process without a host's Sentry, started as a worker does."""
    wire = Wire()
    assert start(DSN, ClientOptions(environment="test", transport=wire)) is SentryState.STARTED
    return wire


@pytest.fixture
def host_wire() -> Wire:
    """A process whose host has initialised Sentry, as generously as it may."""
    wire = Wire()
    with warnings.catch_warnings():
        # The newer way to say "send everything" is not in the oldest SDK that we take.
        warnings.simplefilter("ignore", DeprecationWarning)
        sentry_sdk.init(
            dsn=DSN,
            transport=wire,
            default_integrations=False,
            integrations=[LoggingIntegration()],
            send_default_pii=True,
            include_local_variables=True,
        )
    return wire
