"""``chat-actors migrate-legacy``: move what the old product's list and stream consumers left into these queues."""

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from actors.cli import terminal
from actors.cli.queues import open_queues
from middleware.errors import ExitCode, Refusal

if TYPE_CHECKING:
    from actors.legacy_queues import OldQueue
    from actors.legacy_search import OldConsumer
    from actors.migration import Tally
    from middleware.brokers.redis.broker import CarrierBroker

EXAMPLES = """\b
Examples:
  chat-actors migrate-legacy --dry-run           what is there, and what would become of it
  chat-actors migrate-legacy                     move it; asks first
  chat-actors migrate-legacy --yes --json
  chat-actors migrate-legacy --dead-letters send --yes
  chat-actors migrate-legacy --kept              what could not be sent, by id
  chat-actors migrate-legacy --back-to stream    go back to the old consumers

\b
Stop the old consumers first. It may be interrupted at any time and run again: nothing is lost or sent twice.
Step by step, and the way back: docs/migrating.md."""

#: Databases that the old product is known to have used, besides the queues' own.
DATABASES = (0, 3)
#: Columns of the report after the queue's name, with what they count.
COLUMNS = ("enqueued", "repeated", "ended", "aside", "kept", "finished", "trimmed")


class DeadLetters(StrEnum):
    """What becomes of what the old product gave up."""

    KEEP = "keep"
    SEND = "send"


class BackTo(StrEnum):
    """Where the old product reads its sends."""

    LIST = "list"
    STREAM = "stream"


Databases = Annotated[
    list[int] | None,
    typer.Option("--database", min=0, help="Look here; may be repeated. Default: 0, the queues' and 3."),
]


def migrate_legacy(  # noqa: PLR0913  # one per option
    databases: Databases = None,
    list_prefix: Annotated[str, typer.Option(help="Prefix of the old lists.")] = "chat:queue",
    stream_prefix: Annotated[str, typer.Option(help="Prefix of the old streams.")] = "chat:stream",
    dead_letters: Annotated[
        DeadLetters, typer.Option(help="Keep the ids of what was given up, or send it where its row still waits.")
    ] = DeadLetters.KEEP,
    back_to: Annotated[
        BackTo | None,
        typer.Option(help="Go back: drop what is queued here, and give every waiting send to the old product."),
    ] = None,
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Change nothing.")] = False,
    despite_consumers: Annotated[
        bool, typer.Option("--despite-consumers", help="Go on though somebody seems to consume the old queues.")
    ] = False,
    kept: Annotated[bool, typer.Option("--kept", help="Only show what earlier runs kept aside.")] = False,
    yes: terminal.Yes = False,
    as_json: terminal.AsJson = False,
) -> ExitCode:
    """Move what the old product queued into these queues."""
    from middleware.brokers.redis.scripts import translated

    with open_queues() as broker, translated("migrating the old queues"), _clients(databases) as clients:
        if kept:
            return _show_kept(clients, as_json=as_json)
        if back_to is not None:
            return _give_back(broker, databases, (list_prefix, stream_prefix), back_to, yes=yes)
        run = _Run(broker, clients, (list_prefix, stream_prefix), sends_dead=dead_letters is DeadLetters.SEND)
        if dry_run:
            return run.report(run.preview(), as_json=as_json, dry_run=True)
        run.refuse_consumers(despite=despite_consumers)
        if not yes and not run.agreed():
            return ExitCode.OK
        return run.report(run.move(), as_json=as_json, dry_run=False)


@contextmanager
def _clients(databases: list[int] | None) -> Iterator[dict[int, Any]]:
    from actors import services
    from middleware.brokers.redis import connections

    settings = services.settings()
    chosen = databases or [settings.queue_db, *DATABASES]
    with ExitStack() as opened:
        clients = {}
        for db in sorted(set(chosen)):
            client = connections.make_client({**settings.queue_connection(), "db": db}, role="migrate")
            clients[db] = opened.enter_context(closing(client))
        yield clients


class _Run:
    """One look at the old product, and what is done about it."""

    def __init__(
        self, broker: "CarrierBroker", clients: dict[int, Any], prefixes: tuple[str, str], *, sends_dead: bool
    ) -> None:
        from actors import services
        from actors.legacy_search import consumers, find, kept_dead_letters
        from actors.migration import Migration

        queue_db = services.settings().queue_db
        keys = {broker.machinery.keys.of(name, "ready") for name in broker.get_declared_queues()}
        self.clients = clients
        self.found: list[OldQueue] = []
        self.consumers: list[OldConsumer] = []
        for db, client in clients.items():
            there = find(client, db, shared=keys if db == queue_db else (), prefixes=prefixes)
            if there or db == queue_db:
                self.consumers += consumers(client, db, there)
            again = kept_dead_letters(client, db)
            self.found += [*there, again] if sends_dead and again.is_there() else there
        self.migration: Migration = Migration(services.get(), broker, sends_dead=sends_dead)
        self.adopted = 0

    def refuse_consumers(self, *, despite: bool) -> None:
        """Stop where the old consumers still run: they would pop ids of this project and lose them."""
        if self.consumers and not despite:
            seen = "; ".join(f"database {one.db}: {one.what}" for one in self.consumers)
            raise Refusal(
                ExitCode.UNSAFE,
                f"somebody still consumes the old queues ({seen}): stop it, or say --despite-consumers if it is something else",
            )

    def agreed(self) -> bool:
        """Show what will be done, and ask."""
        tallies = self.preview()
        self.report(tallies, as_json=False, dry_run=True)
        if not any(queue.is_ours for queue in self.found) and not self.adopted:
            return False
        terminal.confirm("move these?", yes=False)
        return True

    def preview(self) -> "dict[OldQueue, Tally]":
        """What would become of each."""
        self.adopted = self.migration.adopt_sent(dry_run=True)
        return {queue: self.migration.preview(queue) for queue in self.found if queue.is_ours}

    def move(self) -> "dict[OldQueue, Tally]":
        """Move each."""
        from actors.legacy_back import PLACE

        for client in self.clients.values():
            client.delete(PLACE)
        # First: one of them may stand in a list too.
        self.adopted = self.migration.adopt_sent(dry_run=False)
        return {queue: self.migration.move(queue) for queue in self.found if queue.is_ours}

    def report(self, tallies: "dict[OldQueue, Tally]", *, as_json: bool, dry_run: bool) -> ExitCode:
        """Say what became, or would become, of everything; ``FAILED`` where the counts do not agree."""
        from actors.migration import unaccounted

        queues = [_row(queue, tally, unaccounted(queue)) for queue, tally in tallies.items()]
        others = [
            {"database": queue.db, "queue": queue.key, "waiting": queue.count()}
            for queue in self.found
            if not queue.is_ours
        ]
        report = {
            "dry_run": dry_run,
            "queues": queues,
            "others": others,
            "consumers": [{"database": one.db, "what": one.what} for one in self.consumers],
            "rows_marked_sent": self.adopted,
        }
        if as_json:
            terminal.say_json(report)
        else:
            _show(report)
        wrong = [row for row in queues if row["unaccounted"]]
        return ExitCode.FAILED if wrong else ExitCode.OK


def _row(queue: "OldQueue", tally: "Tally", unaccounted: int) -> dict[str, Any]:
    return {
        "database": queue.db,
        "queue": queue.key,
        **{name: tally.outcomes.get(name, 0) for name in COLUMNS},
        "with_secrets": tally.secrets,
        "left": queue.count(),
        "unaccounted": unaccounted,
    }


def _show(report: dict[str, Any]) -> None:
    would = "would be " if report["dry_run"] else ""
    columns = ("database", "queue", *COLUMNS, "with_secrets", "left", "unaccounted")
    if report["queues"]:
        terminal.show_table(columns, [[row[name] for name in columns] for row in report["queues"]])
    else:
        terminal.say("nothing of the old product waits in these databases")
    if report["rows_marked_sent"]:
        terminal.say(f"{report['rows_marked_sent']} pending rows have a provider's id: {would}marked sent")
    for other in report["others"]:
        terminal.say(f"database {other['database']}: {other['queue']} has {other['waiting']}; left to its own consumer")
    for one in report["consumers"]:
        terminal.say(f"database {one['database']}: {one['what']}")
    if any(row["with_secrets"] for row in report["queues"]):
        terminal.say("entries held API keys, addresses or numbers: change those keys, they were readable in Redis")
    if any(row["unaccounted"] for row in report["queues"]):
        terminal.say("the counts do not agree: keep chat:legacy:ledger and say so")


def _show_kept(clients: dict[int, Any], *, as_json: bool) -> ExitCode:
    import json

    from actors.legacy_queues import ASIDE, DEAD

    kept = [
        {"database": db, "from": name.rpartition(":")[2], **json.loads(record)}
        for db, client in clients.items()
        for name in (ASIDE, DEAD)
        for record in client.lrange(name, 0, -1)
    ]
    if as_json:
        terminal.say_json(kept)
    else:
        rows = [(one["database"], one["from"], one["operation"], one["why"], ", ".join(one["ids"])) for one in kept]
        terminal.show_table(("database", "list", "operation", "why", "ids"), rows)
    return ExitCode.OK


def _give_back(
    broker: "CarrierBroker", databases: list[int] | None, prefixes: tuple[str, str], back_to: BackTo, *, yes: bool
) -> ExitCode:
    from actors import services
    from actors.legacy_back import Way, give_back, old_key

    alive = broker.machinery.roster.alive()
    if alive:
        raise Refusal(ExitCode.UNSAFE, f"{len(alive)} worker processes still run: stop them first, and let them finish")
    is_list = back_to is BackTo.LIST
    queue_db = services.settings().queue_db
    db = (databases or [queue_db if is_list else DATABASES[-1]])[0]
    key = old_key(prefixes[0] if is_list else prefixes[1])
    terminal.confirm(f"drop all that is queued here, and put every waiting send into {key} of database {db}?", yes=yes)
    with _clients([db]) as clients:
        given = give_back(services.get(), broker, clients[db], key=key, way=Way(back_to.value))
    if given.was_done:
        raise terminal.Refused("everything was given back before, and nothing has been moved here since")
    terminal.say(f"{given.sends} sends are in {key} of database {db}")
    if given.held:
        terminal.say(f"{len(given.held)} may be out already and were not given back: {', '.join(given.held)}")
    return ExitCode.FAILED if given.held else ExitCode.OK
