"""All checks of ``doctor``, in the order in which they are read: each explains those behind it."""

from collections.abc import Iterator

from actors.cli import doctor_backends, doctor_queues, doctor_redis, doctor_server, doctor_settings
from actors.cli.checks import Check, Round, make_all
from actors.cli.doctor_redis import Probe
from actors.settings import Settings

#: Longest time for everything that asks somebody else, in seconds; with what comes before it stays below ten.
WITHIN_S = 8.0


def examine() -> list[Check]:
    """Every check; the ones that need settings are left out while those cannot be used."""
    settings, checks = doctor_settings.settings()
    checks += [*doctor_settings.names(), doctor_settings.packages()]
    if settings is None:
        return checks
    checks += [doctor_settings.scheduler(settings)]
    rounds = [Round(names, make) for names, make in doctor_backends.rounds(settings)]
    if settings.broker == "redis":
        rounds.insert(0, Round(_REDIS, lambda: _redis(settings)))
    checks += make_all(rounds, within_s=WITHIN_S)
    # Last: the store's check has loaded the host by now, which may bring Sentry with it.
    return [*checks, doctor_settings.sentry()]


_SERVER = {
    "version": doctor_server.version,
    "role": doctor_server.role,
    "eviction": doctor_server.eviction,
    "memory": doctor_server.memory,
    "persistence": doctor_server.persistence,
}
_QUEUES = {"keys": doctor_queues.keys, "workers": doctor_queues.workers}
_REDIS = ("redis", "database", "isolation", *_SERVER, *_QUEUES)


def _redis(settings: Settings) -> Iterator[Check]:
    with Probe(settings) as probe:
        reached = doctor_redis.reachable(probe)
        yield reached
        if reached.status == "fail":
            return
        pinned = probe.ask("database", doctor_redis.pinned)
        yield pinned
        for name, check in _SERVER.items():
            yield probe.ask(name, check)
        # On another database these would look at, or write to, somebody else's keys.
        if pinned.status != "fail":
            yield probe.ask("isolation", doctor_redis.isolated)
            for name, check in _QUEUES.items():
                yield probe.ask(name, check)
