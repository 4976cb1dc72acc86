"""Report dead letters and alerts to Sentry: one event for each, nothing for a retry, no content.

``wiring`` has dead letters announced to :func:`report_dead_letter`; the scope stands in the stack of our broker. Where
sentry-sdk is not installed, or nobody gave a DSN, nothing happens.
"""

from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid5

from dramatiq import Broker, MessageProxy, Middleware

from middleware.letters import DeadLetter
from middleware.scrub import OWN_PACKAGES, Event
from middleware.sentry_client import capture, hook, inside, processor_of, sdk
from middleware.sentry_spans import trace_context

_EVENTS = UUID("8a7e0b5e-2f3c-5d51-9a35-6d0a1c4be1f2")


def event_of(letter: DeadLetter) -> Event:
    """Event of a dead letter; the same letter has the same event id, so that a second report is not a second event.

    It is made of the record alone: by the time it is announced no exception lives, and the process may be another. Letters of
    one actor and one class of error are one issue; the reason is a tag.
    """
    latest = letter.failures[-1] if letter.failures else {}
    code = str(latest.get("code") or letter.reason)
    tags = {
        "actor": letter.actor or "unreadable",
        "queue": letter.queue,
        "job_id": letter.job_id or letter.id,
        "attempt": str(letter.attempts),
        "instance": letter.group,
        "reason": letter.reason,
        "code": code,
    }
    frames = [_frame(text) for text in latest.get("frames") or ()]
    error_class = letter.error_class or letter.reason
    trace = trace_context(letter.options)
    error: dict[str, Any] = {
        "type": error_class,
        "value": letter.error or letter.reason,
        "mechanism": {"type": "dead_letter", "handled": True},
        **({"stacktrace": {"frames": frames}} if frames else {}),
    }
    return {
        # A redriven message that dies again has the same id and is news.
        "event_id": uuid5(_EVENTS, f"{letter.id}@{letter.died_at_ms}").hex,
        "timestamp": datetime.fromtimestamp(letter.died_at_ms / 1000, tz=UTC),
        "level": "error",
        "platform": "python",
        "logger": "dead_letter",
        "transaction": tags["actor"],
        "fingerprint": [tags["actor"], error_class],
        **({"contexts": {"trace": trace}} if trace else {}),
        "tags": {name: value for name, value in tags.items() if value is not None},
        "exception": {"values": [error]},
    }


def _frame(text: str) -> dict[str, Any]:
    place, _, function = text.partition(" ")
    path, _, line = place.rpartition(":")
    return {
        "filename": path,
        "function": function,
        "lineno": int(line) if line.isdecimal() else None,
        "in_app": path.partition("/")[0] in OWN_PACKAGES,
    }


def report_dead_letter(letter: DeadLetter) -> None:
    """Send the event of a dead letter, if Sentry is there. Raises nothing: a letter must not wait for Sentry."""
    if sdk() is not None:
        capture(event_of(letter), subject=letter.job_id or letter.id)


def report_alert(code: str, text: str, *, tags: dict[str, str], key: str, level: str = "error") -> None:
    """Tell a person of something that is no dead letter; the same ``key`` is the same event. Raises nothing.

    Events of one code and the same tags are one issue.
    """
    event: Event = {
        "event_id": uuid5(_EVENTS, f"{code}:{key}").hex,
        "level": level,
        "platform": "python",
        "logger": "alert",
        "message": text,
        # A client that attaches stack traces has nothing to attach.
        "threads": {"values": []},
        "fingerprint": [code, *(tags[name] for name in sorted(tags))],
        "tags": {**tags, "code": code},
    }
    capture(event, subject=code)


def stock_sentry_present(broker: Broker) -> bool:
    """Whether Sentry's own Dramatiq integration is on the broker: it reports every attempt, with arguments."""
    return any(
        type(one).__name__ == "SentryMiddleware" and type(one).__module__.startswith("sentry_sdk")
        for one in broker.middleware
    )


class SentryScope(Middleware):
    """Gives whatever is captured while a message runs its ids as tags, and takes everything else out of it.

    First in the stack, so that its scope is the last to be left.
    """

    def after_process_boot(self, broker: Broker) -> None:
        """Hook into a client that the host made while it was booting."""
        if sdk() is not None:
            hook()

    def before_process_message(self, broker: Broker, message: MessageProxy) -> None:
        """Open the scope."""
        found = sdk()
        if found is None:
            return
        # Whoever has made it: a host may do so when its first message comes.
        hook()
        tags = _tags(message)
        if hasattr(message, "_scope_manager"):
            # The stock integration opened one for this message and captures in it when all our hooks have run.
            scope = found.get_isolation_scope()
        else:
            manager: AbstractContextManager[Any] = found.isolation_scope()
            scope = manager.__enter__()
            message.scope_of_carrier = manager  # type: ignore[attr-defined]  # rides on the message to the hook below
            message.inside_token = inside.set(tags)  # type: ignore[attr-defined]
        for name, value in tags.items():
            scope.set_tag(name, value)
        # After the processors of others, which add arguments.
        scope.add_event_processor(processor_of(tags))

    def after_process_message(
        self, broker: Broker, message: MessageProxy, *, result: Any = None, exception: BaseException | None = None
    ) -> None:
        """Leave the scope."""
        manager = getattr(message, "scope_of_carrier", None)
        if manager is not None:
            inside.reset(message.inside_token)
            manager.__exit__(None, None, None)

    def after_skip_message(self, broker: Broker, message: MessageProxy) -> None:
        """Leave the scope."""
        self.after_process_message(broker, message)


def _tags(message: MessageProxy) -> dict[str, str]:
    options = message.options
    tags = {
        "actor": message.actor_name,
        "queue": message.queue_name,
        "job_id": message.message_id,
        "attempt": str(int(options.get("retries", 0)) + 1),
        "instance": options.get("group"),
    }
    return {name: str(value) for name, value in tags.items() if value is not None}
