"""Which alerts there are: the line of each, and what a person reads. Pure.

``alerts`` gathers their facts; docs/alerts.md has a row for each.
"""

from collections.abc import Iterator
from enum import StrEnum

from actors import circuit as circuits
from actors.circuit import Circuit
from actors.settings import Settings
from middleware.alerts import Fact, Rule, Standing, State
from middleware.memory_findings import Finding, Level

_MINUTE_MS = 60 * 1000
#: So many times the time between two memory samples without one is worth an alert.
SAMPLES_MISSED = 3
#: Value of what a person must hear of, of what is in other trouble, which neither raises nor clears, of what is well.
TELL, IN_TROUBLE, WELL = 2.0, 1.0, 0.0
#: Code of the finding that samples are missing.
NOT_SAMPLED = "memory_not_sampled"
#: How full Redis is and that samples are missing have alerts of their own; that there is no limit is the doctor's to say: it is a
#: setting, and not news.
_SAID_ELSEWHERE = frozenset({"memory_high", NOT_SAMPLED, "memory_unlimited"})


class Alert(StrEnum):
    """Kinds of alerts."""

    #: Redis' memory, as a share of its limit.
    MEMORY = "redis_memory"
    #: What the newest memory sample shows beside that: one subject for each critical finding (docs/memory.md).
    HEALTH = "redis_health"
    #: What the newest samples show that is no trouble yet: one subject for each finding that is a warning.
    WARNING = "redis_warning"
    #: Age of a queue's oldest ready message, in seconds.
    BACKLOG = "backlog_age"
    #: Dead letters of a queue in the last minute.
    DEAD = "dead_letters"
    #: An instance's circuit opened and does not close by itself.
    CIRCUIT = "circuit_open"
    #: Messages of a queue that no live worker serves.
    NO_WORKER = "no_worker"
    #: Messages that went to somebody else and wait for a person.
    MISMATCH = "recipient_mismatch"
    #: Age of the newest memory sample, in seconds.
    SAMPLES = "memory_samples_missing"
    #: How long this process has not reached Redis, in seconds.
    UNREACHABLE = "redis_unreachable"


def rules_of(settings: Settings) -> dict[str, Rule]:
    """Rules by name; those that are off are left out."""
    samples_s = SAMPLES_MISSED * settings.memory_every_s
    found = [
        _rule(
            Alert.MEMORY, settings.alert_memory, clear_below=settings.alert_memory * 0.9, clear_for_ms=2 * _MINUTE_MS
        ),
        _rule(Alert.HEALTH, 1, clear_below=1, clear_for_ms=5 * _MINUTE_MS),
        # A moment of it is nothing: a slow disk, a replica that catches up.
        _rule(Alert.WARNING, TELL, clear_below=IN_TROUBLE, for_ms=5 * _MINUTE_MS, clear_for_ms=15 * _MINUTE_MS),
        # The head of a queue is old for a moment whenever a delayed message comes due.
        _rule(
            *(Alert.BACKLOG, settings.alert_backlog_s),
            clear_below=settings.alert_backlog_s / 2,
            for_ms=2 * _MINUTE_MS,
            clear_for_ms=2 * _MINUTE_MS,
        ),
        _rule(
            *(Alert.DEAD, settings.alert_dead_per_minute),
            clear_below=max(1, settings.alert_dead_per_minute / 2),
            clear_for_ms=5 * _MINUTE_MS,
        ),
        _rule(Alert.CIRCUIT, TELL, clear_below=IN_TROUBLE),
        _rule(Alert.NO_WORKER, 1, clear_below=1, for_ms=settings.alert_no_worker_s * 1000)
        if settings.alert_no_worker_s
        else None,
        _rule(Alert.MISMATCH, 1, clear_below=1),
        # Nobody samples where there is no scheduler.
        _rule(Alert.SAMPLES, samples_s, clear_below=samples_s, for_ms=_MINUTE_MS)
        if settings.scheduler != "none"
        else None,
        _rule(Alert.UNREACHABLE, 60, clear_below=1),
    ]
    return {rule.name: rule for rule in found if rule is not None}


def _rule(name: Alert, raise_at: float, *, clear_below: float, for_ms: int = 0, clear_for_ms: int = 0) -> Rule | None:
    if not raise_at:
        return None
    return Rule(name=name, raise_at=raise_at, clear_below=clear_below, for_ms=for_ms, clear_for_ms=clear_for_ms)


_RAISED = {
    Alert.MEMORY: "Redis uses {value:.0%} of maxmemory ({detail}); at the limit it refuses new messages: see chat-actors memory",
    Alert.HEALTH: "{subject}: {detail}; see chat-actors memory",
    Alert.WARNING: "{subject}: {detail}; see chat-actors memory",
    Alert.BACKLOG: "the oldest ready message of queue {subject} is {value:.0f} s old ({detail}); see chat-actors stats",
    Alert.DEAD: "{value:.0f} dead letters of queue {subject} in the last minute; see chat-actors dlq groups",
    Alert.CIRCUIT: "instance {subject} is {detail} and does not come back by itself; see chat-actors instances",
    Alert.NO_WORKER: "queue {subject} has {value:.0f} messages and no live worker; start one, see chat-actors stats",
    Alert.MISMATCH: "{value:.0f} messages went to somebody else, and their conversations wait; see chat-actors dlq list",
    Alert.SAMPLES: "memory is not sampled ({detail}); is a scheduler running, and does queue housekeeping move?",
    Alert.UNREACHABLE: "a worker has not reached Redis for {value:.0f} s ({detail}); nothing is delivered meanwhile",
}


def circuit_fact(instance_name: str, circuit: Circuit, *, is_news: bool) -> Fact:
    """How an instance stands, as a fact.

    An alert is raised when a circuit says that a person must hear of it, and cleared when the circuit is closed; one that only
    its dead letter told of raises none.
    """
    value = TELL if is_news else WELL if circuit.state is circuits.State.CLOSED else IN_TROUBLE
    detail = f"{circuit.state}, {circuit.cause} ({circuit.code})"
    return Fact(rule=Alert.CIRCUIT, subject=instance_name, value=value, detail=detail)


def finding_facts(finding: Finding) -> Iterator[Fact]:
    """What a memory sample shows, as facts; none where another alert, or the doctor, says so.

    A warning that becomes critical has an alert of its own then; the one that warned of it neither ends nor begins meanwhile.
    """
    if finding.code in _SAID_ELSEWHERE:
        return
    is_critical = finding.level is Level.CRITICAL
    if is_critical:
        yield Fact(rule=Alert.HEALTH, subject=finding.code, value=1.0, detail=finding.text)
    value = IN_TROUBLE if is_critical else TELL
    yield Fact(rule=Alert.WARNING, subject=finding.code, value=value, detail=finding.text)


def level_of(notice: Standing) -> str:
    """How Sentry shall take it."""
    if notice.state is not State.RAISED:
        return "info"
    return "warning" if notice.rule == Alert.WARNING else "error"


def text_of(notice: Standing) -> str:
    """What a person reads; ids, names, codes and numbers only."""
    template = _RAISED.get(Alert(notice.rule)) if notice.rule in {*Alert} else None
    about = f" of {notice.subject}" if notice.subject else ""
    if notice.state is State.CLEARED or template is None:
        return f"alert {notice.rule}{about} is {notice.state}"
    return template.format(value=notice.value, subject=notice.subject, detail=notice.detail or "no detail")
