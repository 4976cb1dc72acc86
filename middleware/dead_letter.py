"""Tell, once, that a message was given up.

A message may die where no actor runs (reclaimed too often, unreadable, unknown actor), so dead letters enter Redis
unannounced, and any worker announces them: it claims some, tells every listener, strikes them off. Should it die in between,
they are claimed again, so a listener must bear being told twice. One thread per worker process; it waits for news, it does
not poll.
"""

import logging
import threading
from collections.abc import Callable

import dramatiq
from dramatiq import Broker, Middleware

from middleware.brokers.redis.broker import CarrierBroker
from middleware.clock import Clock, SystemClock
from middleware.errors import Described, PipelineError
from middleware.letters import DeadLetter, read_letter

logger = logging.getLogger(__name__)

#: Letters claimed at a time.
CLAIM = 20
#: A claimed letter that was not struck off comes again after this long, in milliseconds.
HOLD_MS = 30_000
#: Pause after Redis did not answer, in seconds.
PAUSE_S = 1.0

Listener = Callable[[DeadLetter], None]


class DeadLetterAnnouncer(Middleware):
    """Runs the listeners of dead letters in the worker process.

    Does nothing on a broker that is not ours: there messages die in Dramatiq's own way.
    """

    def __init__(self, *, clock: Clock | None = None, hold_ms: int = HOLD_MS) -> None:
        self.listeners: list[Listener] = []
        self.clock = clock or SystemClock()
        self.hold_ms = hold_ms
        self._news: set[str] = set()
        self._lock = threading.Lock()
        self._wanted = threading.Event()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def after_worker_boot(self, broker: Broker, worker: dramatiq.Worker) -> None:
        """Start announcing, also what died before this worker came."""
        if isinstance(broker, CarrierBroker):
            self._stopping.clear()
            broker.machinery.on_unannounced.append(self.tell)
            self._thread = threading.Thread(target=self._run, args=(broker,), name="dead-letters", daemon=True)
            self._thread.start()

    def after_worker_shutdown(self, broker: Broker, worker: dramatiq.Worker) -> None:
        """Announce what is left and stop."""
        self._stopping.set()
        self._wanted.set()
        if self._thread is not None:
            self._thread.join(5)
            self._thread = None
        if isinstance(broker, CarrierBroker) and self.tell in broker.machinery.on_unannounced:
            broker.machinery.on_unannounced.remove(self.tell)

    def tell(self, queue_name: str) -> None:
        """Note that a queue has letters to announce; called from any thread, does nothing else."""
        with self._lock:
            self._news.add(queue_name)
        self._wanted.set()

    def _run(self, broker: CarrierBroker) -> None:
        while True:
            self._wanted.wait()
            self._wanted.clear()
            with self._lock:
                names, self._news = self._news, set()
            for name in names:
                try:
                    self.announce(broker, name)
                except PipelineError as error:
                    logger.warning("dead_letters.announce_failed", extra={"queue": name, "code": error.code})
                    self.clock.wait(PAUSE_S, until=self._stopping)
                    self.tell(name)
                except Exception as error:
                    # This thread must outlive every surprise: without it no row of a dead letter ever fails. The letters
                    # come again after their hold, the keeper's next round says so.
                    logger.critical("dead_letters.announce_broken", extra={"queue": name, "code": type(error).__name__})
            if self._stopping.is_set():
                return

    def announce(self, broker: CarrierBroker, queue_name: str) -> int:
        """Announce what a queue has; returns how many letters every listener has been told of."""
        told = 0
        while raw_letters := broker.transitions.announce(queue_name, limit=CLAIM, hold_ms=self.hold_ms):
            heard = [raw.id for raw in raw_letters if self._tell_listeners(read_letter(broker, raw))]
            if heard:
                told += broker.transitions.announced(queue_name, heard)
        return told

    def _tell_listeners(self, letter: DeadLetter) -> bool:
        fields = {"queue": letter.queue, "actor": letter.actor, "job_id": letter.job_id, "code": letter.reason}
        logger.error("message.dead", extra=fields)
        heard = True
        for listener in self.listeners:
            try:
                listener(letter)
            except Exception as error:
                # Others must hear of it all the same; it is claimed again after the hold.
                heard = False
                code = error.code if isinstance(error, Described) else type(error).__name__
                logger.warning("dead_letter.listener_failed", extra={**fields, "code": code})
        return heard
