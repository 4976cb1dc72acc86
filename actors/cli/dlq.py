"""``chat-actors dlq …``: look at what was given up.

``list``, ``show`` and ``groups`` stand here, ``redrive`` and ``discard`` in ``dlq_changes``, ``export`` and
``import`` in ``dlq_files``.
"""

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from actors.cli import dlq_changes, dlq_files, letters, terminal
from actors.cli.queues import open_queues

if TYPE_CHECKING:
    from middleware.letters import DeadLetter

_EXAMPLES = """\b
Examples:
  chat-actors dlq groups                            what was given up, by what it died of
  chat-actors dlq list --reason attempts_exhausted --since 2h
  chat-actors dlq show 4f0c…                        everything that is known of one
  chat-actors dlq redrive 4f0c…
  chat-actors dlq redrive --instance support --per-second 5 --yes
  chat-actors dlq discard --reason not_on_whatsapp
  chat-actors dlq export letters.jsonl"""
_LIST_EXAMPLES = """\b
Examples:
  chat-actors dlq list
  chat-actors dlq list --actor send_message --json
  chat-actors dlq list --arg message_id=6f1c1f0e-…
  chat-actors dlq list --queue send_message --text timeout

\b
Reason, instance, conversation, fingerprint and time are answered by an index. Actor, arguments and text are looked for
letter by letter, --look-at of a queue at most; what is written at the end says how to go on from there."""

app = typer.Typer(
    name="dlq",
    help="Look at dead letters, send them again or delete them.",
    epilog=_EXAMPLES,
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["--help", "-h"]},
)


@app.command("list", epilog=_LIST_EXAMPLES)
@letters.filtered
def list_(
    *,
    chosen: letters.Filter,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="Newest to show.")] = 50,
    look_at: Annotated[int, typer.Option("--look-at", min=1, help="Letters of a queue to look at.")] = 10_000,
    after: Annotated[str | None, typer.Option("--after", help="Go on where a list ended; needs --queue.")] = None,
    as_json: terminal.AsJson = False,
) -> None:
    """List dead letters, newest first."""
    place = letters_after(after, chosen)
    with open_queues() as broker:
        found, ends = [], {}
        for name in chosen.queues(broker):
            # One more than is shown: whether there are more must be said.
            part = chosen.search(broker, name, enough=limit + 1, look_at=look_at, after=place)
            found += part.letters
            if part.after is not None and len(part.letters) <= limit:
                ends[name] = (part.looked_at, part.after)
    found.sort(key=lambda letter: (-letter.died_at_ms, -letter.sequence))
    if as_json:
        terminal.say_json([letter.as_json() for letter in found[:limit]])
    elif found:
        columns = ("id", "died at", "actor", "reason", "attempts", "instance", "lane", "error")
        terminal.show_table(columns, (_row(letter.as_json()) for letter in found[:limit]))
        if len(found) > limit:
            terminal.say("… and more; see --limit")
    elif not ends:
        terminal.say("no dead letter")
    for name, (looked_at, end) in ends.items():
        # Not on the output: that is JSON, or goes through grep.
        print(
            f"{name}: {looked_at} letters looked at; go on with --queue {name} --after {terminal.token(end)}",
            file=sys.stderr,
        )


def letters_after(after: str | None, chosen: letters.Filter) -> str | None:
    """Where a search goes on.

    Raises:
        Refused: it is no place that a list ended at, or no queue is named.
    """
    if after is None:
        return None
    if chosen.queue is None:
        raise terminal.Refused("--after goes on in one queue; name it with --queue")
    place = terminal.untoken(after)
    if not chosen.query().is_place(place):
        raise terminal.Refused(f"--after {after!r} is not where a list with these options ended; copy it whole")
    return place


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
    if redrives := letter.options.get("redrives"):
        terminal.say(f"{'redriven:':<17} {redrives} times before")
    for failure in letter.failures:
        terminal.say(f"attempt {failure.get('attempt')}: {failure.get('code')} ({failure.get('class')})")
        if failure.get("error"):
            terminal.say(f"    {failure['error']}")
        for frame in failure.get("frames") or ():
            terminal.say(f"    at {frame}")


@app.command("groups", epilog="\b\nExamples:\n  chat-actors dlq groups\n  chat-actors dlq groups --json")
def groups(
    queue: letters.Queue = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="Most frequent to show.")] = 50,
    *,
    as_json: terminal.AsJson = False,
) -> None:
    """Count dead letters by what they died of, the most frequent first."""
    from middleware.letters import DeadLetters

    with open_queues() as broker:
        dead = DeadLetters(broker)
        found = dead.groups(letters.Filter(queue=queue).queues(broker), limit=limit)
        ends = {
            letter.id: letter
            for group in found
            for letter in dead.named(group.queue, (group.oldest_id, group.newest_id))
        }
    counted = [
        _group(group.count, group.fingerprint, ends[group.oldest_id], ends[group.newest_id])
        for group in found
        if {group.oldest_id, group.newest_id} <= set(ends)
    ]
    if as_json:
        terminal.say_json(counted)
    elif counted:
        terminal.show_table([name.replace("_", " ") for name in counted[0]], ([*one.values()] for one in counted))
    else:
        terminal.say("no dead letter")


app.command("redrive", epilog=dlq_changes.REDRIVE_EXAMPLES)(dlq_changes.redrive)
app.command("discard", epilog=dlq_changes.DISCARD_EXAMPLES)(dlq_changes.discard)
app.command("export", epilog=dlq_files.EXPORT_EXAMPLES)(dlq_files.export)
app.command("import", epilog=dlq_files.IMPORT_EXAMPLES)(dlq_files.import_)


def _group(count: int, fingerprint: str, oldest: "DeadLetter", newest: "DeadLetter") -> dict[str, Any]:
    return {
        "count": count,
        "fingerprint": fingerprint,
        "queue": newest.queue,
        "reason": newest.reason,
        "actor": newest.actor,
        "error": newest.error or newest.error_class,
        "first_died_at": oldest.as_json()["died_at"],
        "last_died_at": newest.as_json()["died_at"],
        "newest_id": newest.id,
    }


def _row(letter: dict[str, Any]) -> tuple[object, ...]:
    error = letter["error"] or letter["error_class"]
    names = ("id", "died_at", "actor", "reason", "attempts", "instance", "lane")
    return (*(letter[name] for name in names), error)
