"""``chat-actors dlq …``: look at what was given up.

``list``, ``show`` and ``groups`` stand here, ``redrive`` and ``discard`` in ``dlq_changes``.
"""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from actors.cli import dlq_changes, letters, terminal
from actors.cli.queues import open_queues

if TYPE_CHECKING:
    from middleware.letters import DeadLetter

_EXAMPLES = """\b
Examples:
  chat-actors dlq groups                            what was given up, by reason
  chat-actors dlq list --reason attempts_exhausted
  chat-actors dlq show 4f0c…                        everything that is known of one
  chat-actors dlq redrive 4f0c…
  chat-actors dlq redrive --instance support --yes
  chat-actors dlq discard --reason not_on_whatsapp"""

app = typer.Typer(
    name="dlq",
    help="Look at dead letters, send them again or delete them.",
    epilog=_EXAMPLES,
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["--help", "-h"]},
)


@app.command("list", epilog="\b\nExamples:\n  chat-actors dlq list\n  chat-actors dlq list --actor send_message --json")
def list_(
    reason: letters.Reason = None,
    actor: letters.Actor = None,
    instance: letters.Instance = None,
    queue: letters.Queue = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="Newest to show.")] = 50,
    *,
    as_json: terminal.AsJson = False,
) -> None:
    """List dead letters, newest first."""
    chosen = letters.Filter(reason=reason, actor=actor, instance=instance, queue=queue)
    with open_queues() as broker:
        # One more than is shown: whether there are more must be said.
        found = sorted(
            chosen.letters(broker, most=limit + 1), key=lambda letter: (-letter.died_at_ms, -letter.sequence)
        )
    if as_json:
        terminal.say_json([letter.as_json() for letter in found[:limit]])
    elif found:
        columns = ("id", "died at", "actor", "reason", "attempts", "instance", "lane", "error")
        terminal.show_table(columns, (_row(letter.as_json()) for letter in found[:limit]))
        if len(found) > limit:
            terminal.say("… and more; see --limit")
    else:
        terminal.say("no dead letter")


@app.command("show", epilog="\b\nExamples:\n  chat-actors dlq show 4f0c…\n  chat-actors dlq show 4f0c… --json")
def show(letter_id: Annotated[str, typer.Argument(metavar="ID")], *, as_json: terminal.AsJson = False) -> None:
    """Show all that is known of one; ID is its id or job id."""
    from middleware.letters import DeadLetters

    with open_queues() as broker:
        letter = letters.find(DeadLetters(broker), letter_id)
    found = letter.as_json()
    if as_json:
        terminal.say_json(found)
        return
    for name, value in found.items():
        if name != "failures" and value is not None:
            terminal.say(f"{name + ':':<17} {value}")
    for failure in letter.failures:
        terminal.say(f"attempt {failure.get('attempt')}: {failure.get('code')} ({failure.get('class')})")
        if failure.get("error"):
            terminal.say(f"    {failure['error']}")
        for frame in failure.get("frames") or ():
            terminal.say(f"    at {frame}")


@app.command("groups", epilog="\b\nExamples:\n  chat-actors dlq groups\n  chat-actors dlq groups --json")
def groups(queue: letters.Queue = None, *, as_json: terminal.AsJson = False) -> None:
    """Count dead letters by reason, actor and instance."""
    with open_queues() as broker:
        found = list(letters.Filter(queue=queue).letters(broker))
    counted = _grouped(found)
    if as_json:
        terminal.say_json(counted)
    elif counted:
        columns = ("count", "reason", "actor", "instance", "first died at", "last died at", "newest id")
        terminal.show_table(columns, ([*group.values()] for group in counted))
    else:
        terminal.say("no dead letter")


app.command("redrive", epilog=dlq_changes.REDRIVE_EXAMPLES)(dlq_changes.redrive)
app.command("discard", epilog=dlq_changes.DISCARD_EXAMPLES)(dlq_changes.discard)


def _grouped(found: "list[DeadLetter]") -> list[dict[str, Any]]:
    by_kind: dict[tuple[str, str | None, str | None], list[DeadLetter]] = {}
    for letter in sorted(found, key=lambda letter: (letter.died_at_ms, letter.sequence)):
        by_kind.setdefault((letter.reason, letter.actor, letter.group), []).append(letter)
    counted = [
        {
            "count": len(alike),
            "reason": reason,
            "actor": actor,
            "instance": instance,
            "first_died_at": alike[0].as_json()["died_at"],
            "last_died_at": alike[-1].as_json()["died_at"],
            "newest_id": alike[-1].id,
        }
        for (reason, actor, instance), alike in by_kind.items()
    ]
    return sorted(counted, key=lambda group: -group["count"])


def _row(letter: dict[str, Any]) -> tuple[object, ...]:
    error = letter["error"] or letter["error_class"]
    names = ("id", "died_at", "actor", "reason", "attempts", "instance", "lane")
    return (*(letter[name] for name in names), error)
