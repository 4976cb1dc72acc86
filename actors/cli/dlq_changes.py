"""``chat-actors dlq redrive`` and ``dlq discard``: send dead letters again, or delete them.

Registered by ``dlq``. Both say first what they will do, and ask.
"""

from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from actors.cli import letters, terminal
from actors.cli.queues import open_queues
from actors.errors import DeliveryUnknown
from middleware.errors import ExitCode

if TYPE_CHECKING:
    from middleware.brokers.redis.broker import CarrierBroker
    from middleware.letters import DeadLetter

REDRIVE_EXAMPLES = """\b
Examples:
  chat-actors dlq redrive 4f0c…
  chat-actors dlq redrive --reason gateway_unreachable
  chat-actors dlq redrive --instance support --yes
  chat-actors dlq redrive --all

\b
The row of a chat message becomes pending again first. What may have been delivered (reason delivery_unknown) is
sent again only when it is named: by its id, or with --reason delivery_unknown."""
DISCARD_EXAMPLES = """\b
Examples:
  chat-actors dlq discard 4f0c…
  chat-actors dlq discard --reason not_on_whatsapp

\b
The row of a chat message stays failed, with its reason."""

#: May have reached its reader: sending it again could deliver it twice.
UNKNOWN = DeliveryUnknown.code

Ids = Annotated[list[str] | None, typer.Argument(metavar="ID", help="Dead letters by id.")]
All = Annotated[bool, typer.Option("--all", help="All there are.")]

#: What became of a letter that could not be sent again.
_SAID = {
    "redriven": "sent again",
    "missing": "gone meanwhile",
    "duplicate": "already being sent by a newer message; the letter stays",
    "undecodable": "unreadable, it can only be discarded",
    "announcing": "still being announced by a worker; try again in a minute",
}


def redrive(  # noqa: PLR0913  # one per option
    ids: Ids = None,
    reason: letters.Reason = None,
    actor: letters.Actor = None,
    instance: letters.Instance = None,
    queue: letters.Queue = None,
    *,
    everything: All = False,
    yes: terminal.Yes = False,
) -> ExitCode:
    """Send dead letters again.

    Each goes to the end of its conversation, with fresh attempts.
    """
    chosen = letters.Filter(reason=reason, actor=actor, instance=instance, queue=queue)
    with open_queues() as broker:
        found = _chosen(broker, ids, chosen, everything=everything)
        if not ids and reason is None:
            found = _without_unknown(found)
        if not _agreed(found, "send again", yes=yes):
            return ExitCode.OK
        # Each goes to the end of its conversation: the one that died first must be the first to go.
        oldest_first = sorted(found, key=lambda letter: (letter.died_at_ms, letter.sequence))
        counts = Counter(_redrive(broker, letter) for letter in oldest_first)
    for state, count in counts.most_common():
        terminal.say(f"{count} {_SAID[state]}")
    return ExitCode.OK if set(counts) <= {"redriven"} else ExitCode.FAILED


def discard(  # noqa: PLR0913  # one per option
    ids: Ids = None,
    reason: letters.Reason = None,
    actor: letters.Actor = None,
    instance: letters.Instance = None,
    queue: letters.Queue = None,
    *,
    everything: All = False,
    yes: terminal.Yes = False,
) -> ExitCode:
    """Delete dead letters for good."""
    from middleware.letters import DeadLetters

    chosen = letters.Filter(reason=reason, actor=actor, instance=instance, queue=queue)
    with open_queues() as broker:
        found = _chosen(broker, ids, chosen, everything=everything)
        if _agreed(found, "delete", yes=yes):
            terminal.say(f"{DeadLetters(broker).discard(found)} deleted")
    return ExitCode.OK


def _chosen(
    broker: "CarrierBroker", ids: list[str] | None, chosen: letters.Filter, *, everything: bool
) -> "list[DeadLetter]":
    from middleware.letters import DeadLetters

    ways = sum((bool(ids), bool(chosen), everything))
    if ways != 1:
        raise terminal.Refused("say which dead letters: by id, by --reason/--actor/--instance/--queue, or --all")
    if ids:
        dead = DeadLetters(broker)
        return [letters.find(dead, id_) for id_ in dict.fromkeys(ids)]
    return list(chosen.letters(broker))


def _without_unknown(found: "list[DeadLetter]") -> "list[DeadLetter]":
    safe = [letter for letter in found if letter.reason != UNKNOWN]
    if len(safe) < len(found):
        count = len(found) - len(safe)
        terminal.say(f"{count} left out: they may have been delivered; look at the phone, then name them ({UNKNOWN})")
    return safe


def _agreed(found: "list[DeadLetter]", doing: str, *, yes: bool) -> bool:
    """Show what will be done, and ask; False when there is nothing to do."""
    if not found:
        terminal.say("no dead letter matches")
        return False
    terminal.show_table(("reason", "actor", "instance", "count"), letters.summary(found))
    if doing != "delete" and any(letter.reason == UNKNOWN for letter in found):
        terminal.say(f"those with {UNKNOWN} may have been delivered: sending them again may deliver them twice")
    what = "this dead letter" if len(found) == 1 else f"these {len(found)} dead letters"
    terminal.confirm(f"{doing} {what}?", yes=yes)
    return True


def _redrive(broker: "CarrierBroker", letter: "DeadLetter") -> str:
    from actors.chat import prepare_redrive
    from middleware.letters import DeadLetters

    return DeadLetters(broker).redrive(letter, prepare=partial(prepare_redrive, letter))
