"""``chat-actors dlq redrive`` and ``dlq discard``: send dead letters again, or delete them.

Registered by ``dlq``. Both say first what they will do, ask, and leave a line in the audit trail before they begin.
"""

from collections.abc import Iterable, Iterator
from itertools import chain, islice
from typing import TYPE_CHECKING, Annotated, Any

import typer

from actors.cli import letters, terminal
from actors.cli.dlq_edits import edit_fault, read_changes
from actors.cli.queues import note, open_queues
from actors.errors import DeliveryUnknown, RecipientMismatch
from middleware.errors import ExitCode

if TYPE_CHECKING:
    from middleware.brokers.redis.broker import CarrierBroker
    from middleware.letters import DeadLetter

REDRIVE_EXAMPLES = """\b
Examples:
  chat-actors dlq redrive 4f0c…
  chat-actors dlq redrive --reason gateway_unreachable --dry-run
  chat-actors dlq redrive --instance support --per-second 5 --yes
  chat-actors dlq redrive --all --limit 100
  chat-actors dlq redrive --actor fetch_group_info --set force=true

\b
The row of a chat message becomes pending again first. What may have been delivered (reason delivery_unknown) is
sent again only when it is named: by its id, or with --reason delivery_unknown. What went to somebody else
(recipient_mismatch) is not sent again: once it is named its conversation goes on."""
DISCARD_EXAMPLES = """\b
Examples:
  chat-actors dlq discard 4f0c…
  chat-actors dlq discard --reason not_on_whatsapp --until 30d

\b
The row of a chat message stays failed, with its reason."""

#: May have reached its reader: sending it again could deliver it twice.
UNKNOWN = DeliveryUnknown.code
#: Went to somebody else: its conversation stands still until a person has looked.
MISMATCH = RecipientMismatch.code
#: Letters deleted per call.
BATCH = 200

Ids = Annotated[list[str] | None, typer.Argument(metavar="ID", help="Dead letters by id.")]
All = Annotated[bool, typer.Option("--all", help="All there are.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say which.")]
Limit = Annotated[int | None, typer.Option("--limit", "-n", min=1, help="At most so many, the oldest first.")]
PerSecond = Annotated[float | None, typer.Option("--per-second", min=0.01, help="At most so many a second.")]
StopAfter = Annotated[int, typer.Option(min=0, help="Stop once so many are dead letters again; 0 = never.")]
Changes = Annotated[list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="Change an argument first.")]

#: What became of a letter that could not be sent again.
_SAID = {
    "redriven": "sent again",
    "missing": "gone meanwhile",
    "duplicate": "already being sent by a newer message; the letter stays",
    "undecodable": "unreadable, it can only be discarded",
    "announcing": "still being announced by a worker; try again in a minute",
}


@letters.filtered
def redrive(  # noqa: PLR0913  # one per option
    ids: Ids = None,
    *,
    chosen: letters.Filter,
    everything: All = False,
    limit: Limit = None,
    per_second: PerSecond = None,
    stop_after: StopAfter = 25,
    changes: Changes = None,
    dry_run: DryRun = False,
    yes: terminal.Yes = False,
) -> ExitCode:
    """Send dead letters again.

    Each goes to the end of its conversation, with fresh attempts.
    """
    new = read_changes(changes or ())
    with open_queues() as broker:
        meant = _Meant(broker, ids, chosen, everything=everything, limit=limit)
        meant.spare_doubtful()
        meant.count(lambda letter: edit_fault(letter, new))
        if not meant.agreed("send again", yes=yes, dry_run=dry_run):
            return ExitCode.OK
        _note(broker, "dlq.redrive", meant, changes=new or None)
        return _redrive(broker, meant, new, per_s=per_second, stop_after=stop_after or None)


@letters.filtered
def discard(
    ids: Ids = None,
    *,
    chosen: letters.Filter,
    everything: All = False,
    limit: Limit = None,
    dry_run: DryRun = False,
    yes: terminal.Yes = False,
) -> ExitCode:
    """Delete dead letters for good."""
    from middleware.letters import DeadLetters

    with open_queues() as broker:
        meant = _Meant(broker, ids, chosen, everything=everything, limit=limit)
        meant.count()
        if meant.agreed("delete", yes=yes, dry_run=dry_run):
            _note(broker, "dlq.discard", meant)
            dead = DeadLetters(broker)
            deleted = sum(dead.discard(batch) for batch in _batches(meant.each()))
            terminal.say(f"{deleted} deleted")
    return ExitCode.OK


class _Meant:
    """The letters that a command names, read as often as they are needed: there may be very many."""

    def __init__(
        self,
        broker: "CarrierBroker",
        ids: list[str] | None,
        chosen: letters.Filter,
        *,
        everything: bool,
        limit: int | None,
    ) -> None:
        from middleware.letters import DeadLetters

        if sum((bool(ids), bool(chosen), everything)) != 1:
            raise terminal.Refused(
                "say which dead letters: by id, by --reason, --instance and the like, or --all; see --help"
            )
        self.broker = broker
        self.ids = list(dict.fromkeys(ids or ()))
        # By its clock they died.
        self.chosen = chosen.before(DeadLetters(broker).now_ms())
        self.limit = limit
        self.tally = letters.Tally()
        self._spared: tuple[str, ...] = ()

    def spare_doubtful(self) -> None:
        """Leave out what a person must look at first, unless it is named."""
        if not self.ids and self.chosen.reason is None:
            self._spared = (UNKNOWN, MISMATCH)

    def each(self) -> "Iterator[DeadLetter]":
        """The first to die first: each goes to the end of its conversation."""
        return islice((one for one in self._all() if one.reason not in self._spared), self.limit)

    def _all(self) -> "Iterable[DeadLetter]":
        from middleware.letters import DeadLetters

        if not self.ids:
            return self.chosen.each(self.broker)
        dead = DeadLetters(self.broker)
        found = [letters.find(dead, id_) for id_ in self.ids]
        return sorted(found, key=lambda letter: (letter.died_at_ms, letter.sequence))

    def count(self, fault: Any = lambda _: None) -> None:
        """Count them.

        Raises:
            Refused: ``fault`` says of one why it cannot be.
        """
        spared = letters.Tally()
        with terminal.progress("looking at dead letters") as looked:
            for letter in self._all():
                looked(1)
                if letter.reason in self._spared:
                    spared.add([letter])
                    continue
                if self.limit is not None and self.tally.total >= self.limit:
                    break
                if why := fault(letter):
                    raise terminal.Refused(f"dead letter {letter.id}: {why}; nothing was done")
                self.tally.add([letter])
        for reason, why in (
            (UNKNOWN, "they may have been delivered; look at the phone"),
            (MISMATCH, "they went to somebody else and hold their conversations; look at these"),
        ):
            if count := spared.of(reason):
                terminal.say(f"{count} left out: {why}, then name them ({reason})")

    def agreed(self, doing: str, *, yes: bool, dry_run: bool) -> bool:
        """Show what will be done, and ask; False when there is nothing to do."""
        total = self.tally.total
        if not total:
            terminal.say("no dead letter matches")
            return False
        terminal.show_table(("reason", "actor", "instance", "count"), self.tally.rows())
        if doing != "delete" and self.tally.of(UNKNOWN):
            terminal.say(f"those with {UNKNOWN} may have been delivered: sending them again may deliver them twice")
        what = "this dead letter" if total == 1 else f"these {total} dead letters"
        if dry_run:
            terminal.say(f"--dry-run: would {doing} {what}; nothing was done")
            return False
        terminal.confirm(f"{doing} {what}?", yes=yes)
        return True


def _redrive(
    broker: "CarrierBroker", meant: _Meant, changes: dict[str, Any], *, per_s: float | None, stop_after: int | None
) -> ExitCode:
    from actors.chat import prepare_redrive
    from actors.turns import after_redrive
    from middleware.letters import DeadLetters
    from middleware.redrives import Redrives

    redrives = Redrives(
        DeadLetters(broker), per_s=per_s, stop_after=stop_after, changes=changes, prepare=prepare_redrive
    )
    with terminal.progress("sending again", total=meant.tally.total) as moved:
        for letter, _ in redrives.run(meant.each()):
            after_redrive(letter)
            moved(1)
    for state, count in redrives.states.most_common():
        terminal.say(f"{count} {_SAID[state]}")
    if again := redrives.look():
        terminal.say(f"{again} of them are dead letters again; see: chat-actors dlq groups")
    if redrives.is_stopped:
        left = meant.tally.total - redrives.states.total()
        terminal.say(f"stopped: {left} were left alone, because those before them fail again (--stop-after)")
    _note(broker, "dlq.redriven", meant, states=dict(redrives.states), died_again=again, stopped=redrives.is_stopped)
    return ExitCode.OK if set(redrives.states) <= {"redriven"} and not redrives.is_stopped else ExitCode.FAILED


def _note(broker: "CarrierBroker", what: str, meant: _Meant, **facts: Any) -> None:
    named = meant.ids[:100] or None
    note(broker, what, letters=meant.tally.total, ids=named, filter=meant.chosen.as_facts(), **facts)


def _batches(found: "Iterator[DeadLetter]") -> "Iterator[list[DeadLetter]]":
    for first in found:
        yield list(chain([first], islice(found, BATCH - 1)))
