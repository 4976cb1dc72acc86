"""What ``chat-actors doctor`` finds, as checks of ``manage.py check --deploy``: Redis, gateways and the database are asked.

It ends within the doctor's ten seconds whatever does not answer, and never raises. The doctor's checks are its own; here each
has a number, and one that has none yet comes under E020 or W020.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from django.core.checks import CheckMessage, Error
from django.core.checks import Warning as Caution

from middleware.errors import Refusal

if TYPE_CHECKING:
    from actors.doctor.checks import Check

#: Name of a doctor's check, up to its first dot → the number of both its error and its warning.
NUMBERS = {
    "settings": "007",
    "redis": "021",
    "database": "022",
    "isolation": "023",
    "version": "024",
    "role": "025",
    "eviction": "026",
    "memory": "027",
    "persistence": "028",
    "keys": "029",
    "workers": "030",
    "gateway": "031",
    "store": "032",
    "scheduler": "033",
    "packages": "034",
    "names": "035",
    "sentry": "036",
    "disk": "037",
    "fsync": "038",
    "replicas": "039",
    "clock": "040",
    "connections": "041",
    "evicted": "042",
    "cache_ttl": "043",
    "client_buffers": "044",
    "idle_timeout": "045",
    "script_limit": "046",
    "slow_commands": "047",
    "lazy_flush": "048",
    "keyspace_events": "049",
    "fragmentation": "050",
    "latency": "051",
    "transport": "052",
    "password": "053",
    "rate_database": "054",
    "prefix": "055",
    "round_trip": "056",
    "stock_workers": "057",
    "backlog": "058",
    "leases": "059",
    "paused": "060",
    "dead_letters": "061",
    "periodic": "062",
    "samples": "063",
    "instances": "064",
    "backups": "065",
    "rights": "066",
}
#: A check that the doctor has and this page does not know yet.
UNNUMBERED = "020"
#: Said by the checks that need nobody.
SAID_ELSEWHERE = frozenset({"neighbours"})
#: What says how things are just now is no error here: workers start after the deployment that would wait for them.
MOMENTARY = frozenset(
    {
        "workers",
        "memory",
        "evicted",
        "connections",
        "backlog",
        "leases",
        "paused",
        "dead_letters",
        "periodic",
        "samples",
        "backups",
    }
)


def examined(tag: str) -> Iterator[CheckMessage]:
    """Every check of the doctor that is not well."""
    try:
        found = _examine()
    except (Exception, Refusal) as error:  # whatever it is, the checks of others must be shown
        text = f"chat-actors doctor broke off with {type(error).__name__}"
        yield Caution(text, hint="Run it by itself: manage.py chat doctor --debug", id=f"{tag}.W007")
        return
    for check in found:
        if check.status != "ok" and check.name not in SAID_ELSEWHERE:
            yield _message(check, tag)


def _examine() -> "list[Check]":
    # Late: it loads the broker, which no other check needs.
    from actors.doctor.run import run

    return run(deploy=True)


def _message(check: "Check", tag: str) -> CheckMessage:
    number = NUMBERS.get(check.name.partition(".")[0], UNNUMBERED)
    is_error = check.status == "fail" and check.name not in MOMENTARY
    text = f"{check.name}: {check.found}" + (f" ({_line(check.why)})" if check.why else "")
    hint = _line(check.fix) or "See manage.py chat doctor."
    if is_error:
        return Error(text, hint=hint, id=f"{tag}.E{number}")
    return Caution(text, hint=hint, id=f"{tag}.W{number}")


def _line(text: str) -> str:
    return "; ".join(text.splitlines())
