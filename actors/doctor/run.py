"""All checks of ``doctor``, in the order in which they are read: each explains those behind it.

``doctor``, the start of a worker and ``manage.py check --deploy`` make them through :func:`run` and :func:`at_start`.
"""

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass

from actors.doctor import (
    backends,
    backlog,
    connection,
    environment,
    host,
    limits,
    memory,
    queues,
    round_trip,
    server,
    storage,
)
from actors.doctor.checks import Check, Round, Severity, Status, make_all
from actors.doctor.connection import Probe
from actors.settings import Settings
from middleware.clock import Clock

#: Longest time for everything that asks somebody else, in seconds; with what comes before it stays below ten.
WITHIN_S = 8.0

WARNING, ERROR, CRITICAL = Severity.WARNING, Severity.ERROR, Severity.CRITICAL


@dataclass(frozen=True, slots=True)
class Spec:
    """A check of Redis: its stable name, the worst it can say, and whether a worker that starts makes it too."""

    name: str
    make: Callable[[Probe], Check]
    worst: Severity
    at_start: bool = False


#: Of the server, whichever database one is on.
SERVER = (
    Spec("version", server.version, ERROR, at_start=True),
    Spec("role", server.role, CRITICAL, at_start=True),
    Spec("eviction", memory.eviction, CRITICAL, at_start=True),
    Spec("memory", memory.memory, ERROR, at_start=True),
    Spec("disk", storage.disk, ERROR, at_start=True),
    Spec("persistence", storage.persistence, WARNING, at_start=True),
    Spec("fsync", storage.fsync, WARNING),
    Spec("replicas", storage.replicas, ERROR),
    Spec("clock", server.clock, ERROR, at_start=True),
    Spec("connections", limits.connections, ERROR, at_start=True),
    Spec("evicted", memory.evicted, ERROR),
    Spec("cache_ttl", memory.cache_ttl, WARNING),
    Spec("client_buffers", limits.client_buffers, WARNING),
    Spec("idle_timeout", limits.idle_timeout, WARNING),
    Spec("script_limit", limits.script_limit, WARNING),
    Spec("slow_commands", limits.slow_commands, WARNING),
    Spec("lazy_flush", limits.lazy_flush, WARNING),
    Spec("keyspace_events", limits.keyspace_events, WARNING),
    Spec("fragmentation", memory.fragmentation, WARNING),
    Spec("latency", server.latency, WARNING),
    Spec("transport", server.transport, WARNING),
    Spec("password", server.password, WARNING),
    Spec("rights", server.rights, WARNING),
)
#: Of what lies in the queues' database; on another one they would look at, or write to, somebody else's keys.
QUEUES = (
    Spec("isolation", connection.isolated, CRITICAL, at_start=True),
    Spec("rate_database", connection.rate_database, ERROR, at_start=True),
    Spec("keys", queues.keys, CRITICAL, at_start=True),
    Spec("prefix", queues.prefix, WARNING),
    Spec("round_trip", round_trip.round_trip, ERROR),
    Spec("stock_workers", queues.stock_workers, ERROR, at_start=True),
    Spec("workers", queues.workers, ERROR),
    Spec("backlog", backlog.backlog, ERROR),
    Spec("leases", backlog.leases, ERROR),
    Spec("paused", backlog.paused, WARNING),
    Spec("dead_letters", backlog.dead_letters, WARNING),
    Spec("periodic", backlog.periodic, ERROR),
    Spec("samples", backlog.samples, WARNING),
    Spec("backups", backlog.backups, WARNING),
)
REDIS = ("redis", "database", *(spec.name for spec in (*SERVER, *QUEUES)))
#: Every name there is, in order; ``gateway.<name>`` stands for one of each gateway that is configured.
NAMES = (
    *("settings", "names", "packages", "scheduler", "neighbours"),
    *REDIS,
    *("gateway.<name>", "store", "instances", "sentry"),
)


def run(*, deploy: bool = False, clock: Clock | None = None) -> list[Check]:
    """Make every check, in order; those that need settings are left out while these cannot be used.

    Never raises for what it finds, and ends within ten seconds, whoever does not answer.

    Args:
        deploy: as strict as a deployment wants it: what a restart would lose is a failure.
        clock: this machine's; None = the real one.
    """
    settings, checks = environment.settings()
    checks += [*environment.names(), environment.packages()]
    if settings is not None:
        checks += [environment.scheduler(settings), host.neighbours(settings)]
        rounds = [Round(names, make) for names, make in backends.rounds(settings)]
        if settings.broker == "redis":
            rounds.insert(0, Round(REDIS, lambda: of_redis(settings, clock=clock)))
        checks += make_all(rounds, within_s=WITHIN_S)
        # Last: the store's check has loaded the host by now, which may bring Sentry with it.
        checks.append(environment.sentry())
    return [check.for_deploy() for check in checks] if deploy else checks


def of_redis(settings: Settings, *, clock: Clock | None = None) -> Iterator[Check]:
    """Every check of Redis."""
    with Probe(settings, clock=clock) as probe, closing(probe.broker):
        reached = connection.reachable(probe)
        yield reached
        if reached.status is Status.FAIL:
            return
        pinned = probe.ask("database", connection.pinned)
        yield pinned
        yield from (probe.ask(spec.name, spec.make) for spec in SERVER)
        if pinned.status is not Status.FAIL:
            yield from (probe.ask(spec.name, spec.make) for spec in QUEUES)


def at_start(settings: Settings) -> Iterator[Check]:
    """What a worker asks before it takes its first message; whether Redis is there, and the database, was asked before."""
    yield host.neighbours(settings)
    with Probe(settings) as probe:
        yield from (probe.ask(spec.name, spec.make) for spec in (*SERVER, *QUEUES) if spec.at_start)
