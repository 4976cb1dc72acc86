"""``chat-actors memory``: what Redis' memory is used for, how it grew, and when it is full."""

import math
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from actors.cli import terminal
from actors.cli.queues import open_queues
from middleware.clock import iso

if TYPE_CHECKING:
    from middleware.brokers.redis.broker import CarrierBroker
    from middleware.memory import Facts, Sample
    from middleware.memory_findings import Finding
    from middleware.memory_forecast import Forecast

EXAMPLES = """\b
Examples:
  chat-actors memory
  chat-actors memory --hours 168            the last week
  chat-actors memory --png memory.png
  chat-actors memory --prefixes             which keys hold most, asked now
  chat-actors memory --json | jq '.samples[-1].used_memory_bytes'

\b
Samples are taken once a minute by a running worker and kept for a week; of the quarter year before there are quarter hours.
"""

#: The quarter year that is kept.
MAX_HOURS = 90 * 24
_HOUR_MS = 3_600_000


def memory(
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="Samples in rows or JSON, the newest.")] = 15,
    hours: Annotated[float, typer.Option("--hours", min=0.1, max=MAX_HOURS, help="How far back.")] = 24,
    png: Annotated[Path | None, typer.Option("--png", help="Draw it into this file.")] = None,
    *,
    rows: Annotated[bool, typer.Option("--rows", help="A line per sample.")] = False,
    prefixes: Annotated[
        bool, typer.Option("--prefixes", help="Look at every database now: bytes, and the largest prefixes.")
    ] = False,
    as_json: terminal.AsJson = False,
) -> None:
    """Show what Redis' memory is used for, how it grew, and when it is full."""
    from middleware.memory_findings import forecast_of

    with open_queues() as broker:
        # A forecast needs a day, whatever is drawn.
        samples, now_ms = _samples(broker, hours=max(hours, 24), limit=limit)
        looked = _look(broker) if prefixes else None
    wrong, ahead = _findings(samples, now_ms=now_ms), forecast_of(samples)
    shown = [one for one in samples if one.at_ms >= now_ms - hours * _HOUR_MS] or samples[-limit:]
    if png is not None:
        from actors.cli.memory_chart import save_png

        save_png(shown, png, ahead=ahead)
    if as_json:
        said: dict[str, Any] = {
            "samples": [sample.as_json() for sample in shown[-limit:]],
            "forecast": _forecast_json(ahead),
            "findings": [asdict(one) for one in wrong],
        }
        terminal.say_json({**said, "now": looked} if looked is not None else said)
        return
    if rows:
        terminal.show_table(_COLUMNS, (_row(sample) for sample in shown[-limit:]))
    else:
        _show(shown, ahead, wrong)
    if looked is not None:
        _show_prefixes(looked)
    if png is not None:
        terminal.say(f"drawn into {png}")


def _samples(broker: "CarrierBroker", *, hours: float, limit: int) -> "tuple[list[Sample], int]":
    """Samples of the last hours, the newest ones where there is none of these; and now, by Redis' clock."""
    from middleware.brokers.redis.scripts import translated
    from middleware.memory import latest, since

    with translated("asking for the time"):
        seconds, _ = broker.client.time()
    now_ms = int(seconds) * 1000
    client, key = broker.client, broker.machinery.keys.memory
    return since(client, key, from_ms=now_ms - round(hours * _HOUR_MS)) or latest(client, key, count=limit), now_ms


def _findings(samples: "list[Sample]", *, now_ms: int) -> "list[Finding]":
    from actors import services
    from middleware.memory_findings import absence, findings, forecast_of

    newest_ms = samples[-1].at_ms if samples else None
    missing = absence(newest_ms, now_ms=now_ms, every_ms=services.settings().memory_every_s * 1000)
    found = findings(samples, ahead=forecast_of(samples))
    return found if missing is None else [missing, *found]


def _look(broker: "CarrierBroker") -> dict[str, Any]:
    """Every database, asked now: estimates of its bytes, and its largest prefixes."""
    from middleware.memory_databases import Thorough
    from middleware.memory_prefixes import families
    from middleware.memory_sample import take_sample_of

    drawn: dict[str, Any] = {}
    sample = take_sample_of(broker, thorough=Thorough(on_draw=drawn.__setitem__))
    found = {
        name: [
            {**asdict(one), "error": _finite(one.error)}
            for one in families(draws, keys=int(sample.databases[name]["keys"] or 0))
        ]
        for name, draws in sorted(drawn.items())
        if name in sample.databases
    }
    return {"databases": {name: dict(facts) for name, facts in sample.databases.items()}, "prefixes": found}


def _finite(number: float) -> float | None:
    return round(number, 4) if math.isfinite(number) else None


def _forecast_json(ahead: "Forecast") -> dict[str, Any]:
    return {
        "outlook": ahead.outlook.value,
        "slope_bytes_per_day": ahead.slope_bytes_per_day,
        **{name: _iso(getattr(ahead, f"{name}_ms")) for name in ("at", "early", "late")},
        "why": ahead.why,
    }


def _iso(at_ms: int | None) -> str | None:
    return None if at_ms is None else iso(at_ms)


# -- for people ------------------------------------------------------------------------------------------------------


def _show(samples: "list[Sample]", ahead: "Forecast", wrong: "list[Finding]") -> None:
    from actors.cli.memory_chart import forecast_text

    if not samples:
        terminal.say("no sample yet: a running worker takes one every minute")
        return
    newest = samples[-1]
    terminal.say(_headline(newest))
    terminal.say(forecast_text(ahead, now_ms=newest.at_ms))
    for one in wrong:
        terminal.say(f"{one.level.value}: {one.text}")
    _show_chart(samples)
    if newest.databases:
        terminal.say("")
        columns = ("database", "keys", "with expiry", "estimated", "error")
        terminal.show_table(columns, (_database(name, newest.databases[name]) for name in _by_number(newest.databases)))
    if newest.queues:
        terminal.say("")
        columns = ("queue", "unfinished", "dead", "oldest ready", "estimated")
        terminal.show_table(columns, (_queue(name, newest.queues[name]) for name in sorted(newest.queues)))


def _headline(sample: "Sample") -> str:
    limit, share = sample.maxmemory_bytes, sample.used_share
    of = "no limit" if limit == 0 else f"of {terminal.size(limit) or 'an unknown limit'}"
    percent = "" if share is None else f" ({share:.0%})"
    return (
        f"{sample.as_json()['at']}: {terminal.size(sample.used_memory_bytes) or 'unknown'} used, {of}{percent}; "
        f"peak {terminal.size(sample.peak_bytes) or '-'}, policy {sample.policy or '-'}"
    )


def _show_chart(samples: "list[Sample]") -> None:
    from rich.console import Console

    from actors.cli.memory_chart import draw

    console = Console()
    try:
        text = draw(samples, width=min(console.width, 120), colour=sys.stdout.isatty())
    except ImportError:
        terminal.say("(a drawing needs plotext: pip install 'chat-actors[plots]')")
        return
    if text:
        terminal.say("\n" + text)


def _by_number(databases: Any) -> list[str]:
    return sorted(databases, key=int)


def _database(name: str, facts: "Facts") -> tuple[object, ...]:
    from actors.cli.memory_chart import DATABASES

    return (f"{name} {DATABASES.get(name, '')}".strip(), facts.get("keys"), facts.get("expires"), *_estimated(facts))


def _estimated(facts: "Facts") -> tuple[str | None, str | None]:
    """Bytes with what is to be thought of them, and their error."""
    size, bound, error = _number(facts, "estimated_bytes"), facts.get("bound"), _number(facts, "error")
    sign = {"at_least": "≥ ", "at_most": "≤ "}.get(str(bound), "")
    is_about = bound == "about" and error is not None
    return None if size is None else f"{sign}{terminal.size(size)}", f"± {error:.1%}" if is_about else None


def _queue(name: str, depths: "Facts") -> tuple[object, ...]:
    from actors.cli.memory_chart import waiting

    oldest, size = _number(depths, "oldest_ready_age_s"), _number(depths, "estimated_bytes")
    return name, waiting(depths), depths.get("dead"), terminal.age(oldest), terminal.size(size)


def _show_prefixes(looked: dict[str, Any]) -> None:
    columns = ("prefix", "keys", "estimated", "error", "largest key")
    for name in _by_number(looked["databases"]):
        facts = looked["databases"][name]
        size, error = _estimated(facts)
        about = " ".join(part for part in (size, error) if part)
        terminal.say("")
        table = [
            (
                *(one["prefix"], one["keys"], terminal.size(one["size_bytes"])),
                *(None if one["error"] is None else f"± {one['error']:.0%}", terminal.size(one["largest_bytes"])),
            )
            for one in looked["prefixes"].get(name, [])
        ]
        terminal.show_table(columns, table, title=f"database {name}: {facts['keys']} keys, {about or 'not told'}")


def _number(facts: "Facts", name: str) -> float | None:
    value = facts.get(name)
    return None if value is None or isinstance(value, str) else float(value)


_COLUMNS = ("at", "used", "of", "peak", "fragmentation", "policy", "queues' bytes", "keys by database", "waiting")


def _row(sample: "Sample") -> tuple[object, ...]:
    from actors.cli.memory_chart import waiting

    limit = sample.maxmemory_bytes
    known = [size for facts in sample.queues.values() if (size := _number(facts, "estimated_bytes")) is not None]
    return (
        sample.as_json()["at"],
        terminal.size(sample.used_memory_bytes),
        "no limit" if limit == 0 else terminal.size(limit),
        terminal.size(sample.peak_bytes),
        sample.fragmentation,
        sample.policy,
        terminal.size(sum(known)) if known else None,
        " ".join(f"{name}:{sample.databases[name]['keys']}" for name in _by_number(sample.databases)),
        sum(waiting(depths) for depths in sample.queues.values()),
    )
