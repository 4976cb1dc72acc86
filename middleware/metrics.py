"""Count what attempts came to, how long they took and how long messages waited; show it as Prometheus reads it.

The middleware stands above ``Retries``, so that the outcome is decided when it counts. Counting needs no package; showing needs
prometheus-client, and where that is missing :func:`exposed` says so and nothing else changes.
"""

from collections.abc import Iterable, Iterator
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from dramatiq import Broker, Message, MessageProxy, Middleware
from dramatiq.middleware import CurrentMessage

from middleware.clock import Clock, SystemClock
from middleware.meters import (
    ACCEPTED,
    ATTEMPTS,
    DURATION,
    ENQUEUED,
    GROUPS,
    LATENCY,
    METERS,
    REASONS,
    Family,
    Meters,
    Row,
)
from middleware.outcomes import Dead, Outcome, PutBack, Retry

if TYPE_CHECKING:
    from prometheus_client.core import Metric


def born_ms(message: "MessageProxy | Message[Any]") -> int:
    """When a message was enqueued, or redriven, by its sender's clock."""
    redriven_ms = message.options.get("redriven_at_ms")
    return max(message.message_timestamp, redriven_ms if isinstance(redriven_ms, int) else 0)


class Metrics(Middleware):
    """See the module. ``meters`` are this process's."""

    def __init__(self, *, meters: Meters = METERS, clock: Clock | None = None) -> None:
        self.meters = meters
        self.clock = clock or SystemClock()
        self._kept: dict[tuple[Meters, str, str, str], tuple[Row, Row, Row]] = {}

    def after_enqueue(self, broker: Broker, message: "Message[Any]", delay: int | None) -> None:
        """One more is in the queue; one that goes back into it is not."""
        if not isinstance(message, MessageProxy):
            self.meters.row(ENQUEUED, message.queue_name).count()

    def before_process_message(self, broker: Broker, message: MessageProxy) -> None:
        """An attempt begins."""
        message.began_boot_ms = self.clock.boot_ms()  # type: ignore[attr-defined]  # rides on the message to the hook below

    def after_process_message(
        self, broker: Broker, message: MessageProxy, *, result: Any = None, exception: BaseException | None = None
    ) -> None:
        """It ended."""
        name, code = _ended(getattr(message, "outcome", None), exception)
        # Not through the proxy, whose every attribute costs as much as a count.
        inner = message._message
        actor = inner.actor_name
        attempts, duration, latency = self._rows(inner.queue_name, actor, name)
        attempts.count()
        group = inner.options.get("group")
        if group:
            self.meters.count(GROUPS, _name_of(group), name)
        if code is not None:
            self.meters.count(REASONS, actor, name, code)
        began_ms = getattr(message, "began_boot_ms", None)
        if began_ms is not None:
            duration.observe((self.clock.boot_ms() - began_ms) / 1000)
        if name == "done":
            latency.observe(self._since_ms(inner) / 1000)

    def _rows(self, queue_name: str, actor_name: str, outcome: str) -> tuple[Row, Row, Row]:
        """Where an attempt is counted; kept, for there are only as many as the code has actors."""
        key = (self.meters, queue_name, actor_name, outcome)
        found = self._kept.get(key)
        if found is None:
            row = self.meters.row
            found = row(ATTEMPTS, queue_name, actor_name, outcome), row(DURATION, actor_name), row(LATENCY, actor_name)
            self._kept[key] = found
        return found

    def after_skip_message(self, broker: Broker, message: MessageProxy) -> None:
        """A hook did not want it to run."""
        self.meters.count(ATTEMPTS, message.queue_name, message.actor_name, "skipped")

    def _since_ms(self, message: "Message[Any]") -> int:
        # Two machines' clocks: a little below nothing is nothing.
        return max(0, self.clock.now_ms() - born_ms(message))


def _ended(outcome: Outcome | None, exception: BaseException | None) -> tuple[str, str | None]:
    """Name of an outcome, and the code of what is not done."""
    if outcome is None:
        # Nothing decided although it failed: a hook broke, and the consumer has it tried again.
        return ("done", None) if exception is None else ("retry", "hook_failed")
    if isinstance(outcome, Dead):
        return "dead", str(outcome.evidence.get("code") or outcome.reason)
    return (outcome.name, outcome.reason) if isinstance(outcome, Retry | PutBack) else (outcome.name, None)


def _name_of(group: Any) -> str:
    # What follows a slash is a part of the same: its campaigns.
    return str(group).partition("/")[0]


def accepted(*, meters: Meters = METERS, clock: Clock | None = None) -> None:
    """Say that what the message of this thread brings is accepted outside, whole, just now; nothing where none runs."""
    message = CurrentMessage.get_current_message()
    if message is not None:
        seconds = max(0, (clock or SystemClock()).now_ms() - born_ms(message)) / 1000
        meters.observe(ACCEPTED, message.actor_name, seconds=seconds)


# -- showing ---------------------------------------------------------------------------------------------------------


class NotInstalled(Exception):
    """prometheus-client is not there."""


def exposed(families: Iterable[Family], *, accept: str) -> tuple[str, bytes]:
    """Content type and text for a scraper that takes ``accept``.

    Raises:
        NotInstalled: prometheus-client is not there.
    """
    try:
        from prometheus_client import CollectorRegistry
        from prometheus_client.exposition import choose_encoder
    except ImportError as error:
        raise NotInstalled from error
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(families))
    encode, content_type = choose_encoder(accept)
    return content_type, encode(registry)


class _Collector:
    """Families in the library's words."""

    def __init__(self, families: Iterable[Family]) -> None:
        self.families = list(families)

    def describe(self) -> "Iterator[Metric]":
        """Nothing: registering must not ask."""
        return iter(())

    def collect(self) -> "Iterator[Metric]":
        """All of them."""
        return map(_metric, self.families)


def _metric(family: Family) -> "Metric":
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

    if family.kind == "histogram":
        histogram = HistogramMetricFamily(family.name, family.help, labels=family.labels)
        bounds = [*map(_bound, family.bounds), "+Inf"]
        for labels, numbers in family.rows:
            histogram.add_metric(labels, list(zip(bounds, accumulate(numbers[:-1]), strict=True)), numbers[-1])
        return histogram
    make = CounterMetricFamily if family.kind == "counter" else GaugeMetricFamily
    plain = make(family.name, family.help, labels=family.labels)
    for labels, (number,) in family.rows:
        plain.add_metric(labels, number)
    return plain


def _bound(seconds: float) -> str:
    return str(float(seconds))
