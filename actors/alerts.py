"""Look at what an operator must hear of: ``check_alerts``, sent every minute, and a thread in each worker for when it cannot run.

Facts come from Redis alone: depths, workers, dead letters, memory, and the records of instances in trouble. What they mean
stands in ``alert_rules``; the book that all processes share decides what is told, and by whom.
"""

import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import dramatiq
from dramatiq import Broker

from actors import circuit as circuits
from actors import services, wiring
from actors.alert_rules import NOT_SAMPLED, Alert, circuit_fact, finding_facts, rules_of
from actors.circuit import Circuit
from actors.endings import SEND_ACTOR
from actors.errors import RecipientMismatch
from actors.housekeeping import MAX_BACKOFF_MS, QUEUE
from actors.reporting import book_of
from actors.services import Services
from middleware.actor import routed
from middleware.alert_book import AlertBook
from middleware.alerts import Fact, Standing
from middleware.brokers.redis.broker import CarrierBroker
from middleware.brokers.redis.scripts import translated
from middleware.errors import Described, PipelineError, QueueRefused, QueueUnavailable

logger = logging.getLogger(__name__)

#: How often a worker's thread asks whether somebody has looked, in seconds.
ASK_EVERY_S = 15.0
#: Nobody has looked for so long: the periodic actor does not get through, in milliseconds.
OVERDUE_MS = 150_000
#: Dead letters are counted over so long, in milliseconds.
COUNTED_MS = 60_000
#: Age of the newest sample where there is none, in seconds.
NEVER_S = 10.0**9


@dramatiq.actor(
    broker=wiring.broker, queue_name=QUEUE, actor_class=routed(), max_attempts=3, max_backoff=MAX_BACKOFF_MS
)
def check_alerts() -> None:
    """Look at all facts once, and tell what has changed since."""
    broker = wiring.broker
    if isinstance(broker, CarrierBroker):
        look(services.get(), broker)


def look(work: Services, broker: CarrierBroker, book: AlertBook | None = None) -> list[Standing]:
    """Take in every fact that can be known; returns what this process has told.

    Raises:
        PipelineError: Redis did not answer, so that nothing is known.
    """
    facts, whole = gather(work, broker)
    return (book or book_of(work, broker)).advance(facts, rules_of(work.settings), whole=whole)


def gather(work: Services, broker: CarrierBroker) -> tuple[list[Fact], list[Alert]]:
    """All facts now, and the alerts whose facts are all there; bounded commands only, whatever the queues hold.

    What cannot be asked hides nothing of the rest: its alerts stand as they did.

    Raises:
        PipelineError: Redis did not answer.
    """
    with translated("asking the time"):
        seconds, _ = broker.client.time()
    now_ms = int(seconds) * 1000
    parts: list[tuple[tuple[Alert, ...], Callable[[], Iterable[Fact]]]] = [
        ((Alert.BACKLOG, Alert.DEAD, Alert.NO_WORKER), lambda: _of_queues(broker, now_ms)),
        ((Alert.MEMORY,), lambda: _of_memory(broker)),
        ((Alert.HEALTH, Alert.WARNING, Alert.SAMPLES), lambda: _of_samples(work, broker)),
        ((Alert.CIRCUIT,), lambda: _of_instances(now_ms)),
        ((Alert.MISMATCH,), lambda: _of_mismatches(broker)),
    ]
    facts: list[Fact] = []
    # Whoever looks has reached Redis.
    whole = [Alert.UNREACHABLE]
    for rules, find in parts:
        try:
            found = list(find())
        except QueueUnavailable:
            raise
        except Exception as error:
            code = error.code if isinstance(error, Described) else type(error).__name__
            logger.error("alerts.not_known", extra={"alerts": ", ".join(rules), "code": code})
        else:
            facts += found
            whole += rules
    return facts, whole


def _of_queues(broker: CarrierBroker, now_ms: int) -> Iterator[Fact]:
    names = sorted(broker.get_declared_queues())
    served = {name for entry in broker.machinery.roster.alive() for name in entry.worker.queues}
    keys = broker.machinery.keys
    with translated("counting dead letters"), broker.client.pipeline(transaction=False) as pipe:
        for name in names:
            pipe.zcount(keys.of(name, "dead"), now_ms - COUNTED_MS, "+inf")
        died = pipe.execute()
    for stats, dead in zip(broker.transitions.stats(names), died, strict=True):
        name, detail = stats.queue_name, f"{stats.ready} ready"
        # A queue that an operator holds is old on purpose.
        age_s = 0.0 if stats.paused_for_s is not None else stats.oldest_ready_age_s or 0.0
        yield Fact(rule=Alert.BACKLOG, subject=name, value=age_s, detail=detail)
        yield Fact(rule=Alert.DEAD, subject=name, value=float(dead))
        yield Fact(rule=Alert.NO_WORKER, subject=name, value=0.0 if name in served else float(stats.unfinished))


def _of_memory(broker: CarrierBroker) -> Iterator[Fact]:
    try:
        with translated("reading INFO memory"):
            info: Any = broker.client.info("memory")
    except QueueRefused:
        # A least-privilege user may not ask.
        info = {}
    used, limit = info.get("used_memory"), info.get("maxmemory")
    share = None if used is None or limit is None else used / limit if limit else 0.0
    yield Fact(rule=Alert.MEMORY, subject="", value=share, detail=f"{used} of {limit} bytes")


def _of_samples(work: Services, broker: CarrierBroker) -> Iterator[Fact]:
    # A process that only sends needs none of it.
    from middleware.memory_watch import current_findings

    every_ms = work.settings.memory_every_s * 1000
    age_s, detail = 0.0, ""
    for finding in current_findings(broker.client, broker.machinery.keys.memory, every_ms=every_ms):
        if finding.code == NOT_SAMPLED:
            # One from later than now keeps others out as long as it lies ahead.
            age_s = NEVER_S if finding.value is None else abs(finding.value)
            detail = "there is none" if finding.value is None else f"the newest is {finding.value:.0f} s old"
        yield from finding_facts(finding)
    yield Fact(rule=Alert.SAMPLES, subject="", value=age_s, detail=detail)


def _of_instances(now_ms: int) -> Iterator[Fact]:
    traffic = wiring.traffic()
    if traffic is None:
        return
    for name, text in traffic.limits.all_records().items():
        circuit = Circuit.read(text)
        yield circuit_fact(name, circuit, is_news=circuits.needs_alert(circuit, now_ms=now_ms))


def _of_mismatches(broker: CarrierBroker) -> Iterator[Fact]:
    queue = broker.get_actor(SEND_ACTOR).queue_name
    head = f"r\0{RecipientMismatch.code}\0"
    with translated("counting dead letters"):
        found: Any = broker.client.zlexcount(
            broker.machinery.keys.of(queue, "dead_index"), f"[{head}", f"({head[:-1]}\1"
        )
    yield Fact(rule=Alert.MISMATCH, subject="", value=float(found))


class Lookout:
    """The thread of one worker: it looks itself where nobody has for long, and tells that Redis is away."""

    def __init__(self, work: Services, broker: CarrierBroker) -> None:
        self.work = work
        self.broker = broker
        self.book = book_of(work, broker)
        self._stopping = threading.Event()
        self._away_since_boot_ms: int | None = None
        self._thread = threading.Thread(target=self._run, name="alert-lookout", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """End it; returns when it is gone or after 3 s."""
        self._stopping.set()
        self._thread.join(3)

    def _run(self) -> None:
        while not self.work.clock.wait(ASK_EVERY_S, until=self._stopping):
            try:
                self.step()
            except Exception as error:
                # This thread must outlive every surprise: it is there for when nothing else works.
                logger.critical("alerts.lookout_broken", extra={"code": type(error).__name__})

    def step(self) -> None:
        """Ask once, and look if need be."""
        try:
            age_ms = self.book.age_ms()
            self._is_back()
            if age_ms is None or age_ms >= OVERDUE_MS:
                logger.warning("alerts.overdue", extra={"age_ms": age_ms})
                look(self.work, self.broker, self.book)
        except PipelineError as error:
            self._is_away(error.code)

    def _is_away(self, code: str) -> None:
        now_ms = self.work.clock.boot_ms()
        if self._away_since_boot_ms is None:
            self._away_since_boot_ms = now_ms
        for_s = (now_ms - self._away_since_boot_ms) / 1000
        self._tell(Fact(rule=Alert.UNREACHABLE, subject="", value=for_s, detail=code))

    def _is_back(self) -> None:
        if self._away_since_boot_ms is not None:
            self._away_since_boot_ms = None
            self._tell(Fact(rule=Alert.UNREACHABLE, subject="", value=0.0))

    def _tell(self, fact: Fact) -> None:
        self.book.advance_here([fact], rules_of(self.work.settings))


def keep_lookout(broker: Broker) -> Callable[[], None]:
    """Start this worker's thread; returns what ends it."""
    if not isinstance(broker, CarrierBroker):
        return lambda: None
    lookout = Lookout(services.get(), broker)
    lookout.start()
    return lookout.stop
