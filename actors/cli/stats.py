"""``chat-actors stats``: depths of the queues, and the workers that serve them."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from actors.cli import terminal
from actors.cli.queues import open_queues

if TYPE_CHECKING:
    from middleware.stats import Snapshot

EXAMPLES = """\b
Examples:
  chat-actors stats
  chat-actors stats --queue send_message
  chat-actors stats --json | jq '.queues.send_message.ready'"""


def stats(
    queue: Annotated[list[str] | None, typer.Option("--queue", "-Q", help="Only this one; may be repeated.")] = None,
    *,
    as_json: terminal.AsJson = False,
) -> None:
    """Show what waits, what runs and who works."""
    from middleware.stats import take_snapshot

    with open_queues() as broker:
        unknown = sorted(set(queue or ()) - broker.get_declared_queues())
        if unknown:
            known = ", ".join(sorted(broker.get_declared_queues()))
            raise terminal.Refused(f"no queue {', '.join(unknown)}; there are {known}")
        snapshot = take_snapshot(broker, queue)
        stand = _standings(snapshot)
        now_ms = broker.clock.now_ms()
    if as_json:
        found = snapshot.as_json()
        terminal.say_json({"queues": found["queues"], "instances": stand, "workers": found["workers"]})
    else:
        _show_queues(snapshot)
        terminal.say("")
        _show_instances(stand)
        _show_workers(snapshot, now_ms=now_ms)


def _standings(snapshot: "Snapshot") -> dict[str, dict[str, Any]]:
    """The carrier's groups are the product's instances, and their campaigns."""
    from contextlib import closing

    from actors import services
    from actors.circuit import Circuit
    from actors.errors import ChatError
    from actors.instances import all_instances
    from actors.standings import standings
    from middleware.brokers.redis import connections
    from middleware.limits.limits import Limits

    settings = services.settings()
    with closing(connections.make_client(settings.rate_connection(), role="stats")) as client:
        records = Limits(client, namespace=settings.namespace).all_records()
    circuits = {name: Circuit.read(text) for name, text in records.items()}
    try:
        known = list(all_instances(services.get()))
    except ChatError:
        # Depths are shown although the rows cannot be read; an instance's other names then stand for themselves.
        known = []
    return standings(snapshot.as_json()["groups"], circuits, known)


def _show_queues(snapshot: "Snapshot") -> None:
    columns = ("queue", "ready", "delayed", "in flight", "in lanes", "in groups", "dead", "oldest ready")
    rows = (
        (
            one.queue_name if one.paused_for_s is None else f"{one.queue_name} (paused)",
            *(one.ready, one.delayed, one.in_flight, one.waiting_in_lane, one.waiting_in_group, one.dead),
            terminal.age(one.oldest_ready_age_s),
        )
        for one in snapshot.queues
    )
    terminal.show_table(columns, rows)


def _show_instances(stand: dict[str, dict[str, Any]]) -> None:
    if stand:
        columns = ("instance", "state", "cause", "since", "waiting")
        keys = ("state", "cause", "since", "parked")
        terminal.show_table(columns, ((name, *(one[key] for key in keys)) for name, one in stand.items()))
        terminal.say("")


def _show_workers(snapshot: "Snapshot", *, now_ms: int) -> None:
    if not snapshot.workers:
        terminal.say("no worker is alive; start one with: chat-actors worker")
        return
    columns = ("worker", "host", "pid", "threads", "in flight", "up for", "queues")
    rows = (
        (
            *(entry.id[:8], entry.worker.host, entry.worker.pid, entry.worker.threads, entry.in_flight),
            *(terminal.age(max(0, now_ms - entry.worker.started_at_ms) / 1000), " ".join(entry.worker.queues)),
        )
        for entry in snapshot.workers
    )
    terminal.show_table(columns, rows)
