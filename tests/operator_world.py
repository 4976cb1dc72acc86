"""Commands as an operator runs them, in this process, on a Redis of the test's own."""

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
import redis

import actors
from actors import services
from actors.cli import main
from actors.services import Services
from actors.settings import Hidden, Settings
from actors.stores.memory import MemoryStore
from actors.stores.rows import ConversationRow, MessageRow
from middleware.brokers.redis.broker import CarrierBroker
from middleware.brokers.redis.embedded import EmbeddedRedis
from middleware.brokers.redis.roster import ServingWorker, SignOfLife
from middleware.outcomes import Dead


@dataclass(frozen=True)
class Ran:
    """How a command ended and what it said."""

    code: int
    out: str
    err: str


Run = Callable[..., Ran]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """``run("dlq", "list")``: run a command."""
    # A command adds the folder it runs in.
    monkeypatch.setattr(sys, "path", list(sys.path))

    def run(*arguments: str) -> Ran:
        capsys.readouterr()
        code = main(list(arguments))
        said = capsys.readouterr()
        return Ran(code, said.out, said.err)

    return run


@pytest.fixture
def unset() -> Iterator[None]:
    """No settings are known yet, and none stay."""
    services.install(None)
    yield
    actors.broker.close()
    services.install(None)


class Site:
    """A product with its queues: rows, messages, dead letters."""

    def __init__(self, settings: Settings) -> None:
        self.store = MemoryStore()
        self.settings = settings
        assert isinstance(actors.broker, CarrierBroker)
        self.broker = actors.broker
        services.install(Services(settings=settings, store=self.store))

    def change(self, **settings: Any) -> None:
        """Other settings for what follows."""
        self.broker.close()
        self.settings = replace(self.settings, **settings)
        services.install(Services(settings=self.settings, store=self.store))

    def say(self, id_: str, *, status: str = "pending", instance: str = "support") -> str:
        """A row in the conversation of an instance."""
        self.store.add(
            ConversationRow(id=f"c-{instance}", contact_phone="+5511988887777", instance_name=instance),
            MessageRow(id=id_, conversation_id=f"c-{instance}", content="oi", created_at_ms=1, status=status),
        )
        return id_

    def sign_in(self, *queue_names: str, threads: int = 4) -> str:
        """Have a worker process show that serves these queues (none: all); returns its id."""
        names = queue_names or tuple(sorted(self.broker.get_declared_queues()))
        worker = ServingWorker(host="box", pid=7, threads=threads, queues=names, started_at_ms=1_000)
        sign = SignOfLife("worker-1", 60_000, worker.facts(in_flight=2))
        self.broker.transitions.tend(names, max_deliveries=5, sign=sign)
        return sign.worker_id

    def bury(self, id_: str, reason: str = "not_found", *, instance: str = "support") -> str:
        """A failed row whose send was given up; returns the id of the dead letter."""
        self.say(id_, status="failed", instance=instance)
        sent = self.broker.enqueue(actors.send_message.message(id_))
        [fetched] = self.broker.transitions.fetch("send_message", limit=1, lease_ms=1_000, owner="test").messages
        # Another message that is ready would have been taken instead.
        assert fetched.lease.id == sent.options["redis_message_id"]
        evidence = {"class": "NotFound", "error": "gone", "attempts": 1, "failures": [], "first_failed_at_ms": 1}
        self.broker.transitions.finish(fetched.lease, Dead(reason, evidence), body=fetched.body)
        return fetched.lease.id


@pytest.fixture
def site(unset: None, redis_server: EmbeddedRedis, queue_client: redis.Redis) -> Site:
    """A product whose settings are complete."""
    return Site(
        Settings(
            redis_url=Hidden(redis_server.url(0)), store="memory", scheduler="none", metrics_port=0, lease_ms=2_000
        )
    )
