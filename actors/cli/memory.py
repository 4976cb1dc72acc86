"""``chat-actors memory``: what Redis' memory was used for, minute by minute."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from actors.cli import terminal
from actors.cli.queues import open_queues

if TYPE_CHECKING:
    from middleware.memory import Sample

EXAMPLES = """\b
Examples:
  chat-actors memory
  chat-actors memory --limit 1440           the last day
  chat-actors memory --json | jq '.samples[-1].used_memory_bytes'

\b
Samples are taken once a minute by a running worker and kept for a week."""


def memory(
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="Newest samples to show.")] = 15,
    *,
    as_json: terminal.AsJson = False,
) -> None:
    """Show the samples of Redis' memory, oldest first."""
    from middleware.memory import latest

    with open_queues() as broker:
        samples = latest(broker.client, broker.machinery.keys.memory, count=limit)
    if as_json:
        terminal.say_json({"samples": [sample.as_json() for sample in samples]})
    elif samples:
        columns = (
            "at",
            "used",
            "of",
            "peak",
            "fragmentation",
            "policy",
            "queues' bytes",
            "keys by database",
            "waiting",
        )
        terminal.show_table(columns, (_row(sample) for sample in samples))
    else:
        terminal.say("no sample yet: a running worker takes one every minute")


def _row(sample: "Sample") -> tuple[object, ...]:
    found = sample.as_json()
    limit = sample.maxmemory_bytes
    known = [numbers["estimated_bytes"] for numbers in sample.databases.values()]
    return (
        found["at"],
        terminal.size(sample.used_memory_bytes),
        "no limit" if limit == 0 else terminal.size(limit),
        terminal.size(sample.peak_bytes),
        sample.fragmentation,
        sample.policy,
        terminal.size(next((number for number in known if number is not None), None)),
        " ".join(f"{name}:{numbers['keys']}" for name, numbers in sorted(sample.databases.items())),
        sum(_waiting(depths) for depths in sample.queues.values()),
    )


def _waiting(depths: Mapping[str, Any]) -> int:
    return sum(int(depths.get(state) or 0) for state in ("ready", "delayed", "in_flight", "waiting_in_lane"))
