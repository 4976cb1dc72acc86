"""``chat-actors dlq export`` and ``dlq import``: dead letters as JSON lines, to keep, to look through, to bring back.

The first line says what the file is, the last one how many letters it has: a file that was cut is found out.
"""

import base64
import json
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import groupby, islice
from operator import itemgetter
from pathlib import Path
from secrets import token_hex
from typing import IO, TYPE_CHECKING, Annotated, Any

import typer

from actors.cli import letters, terminal
from actors.cli.queues import note, open_queues
from middleware.errors import ExitCode

if TYPE_CHECKING:
    from middleware.brokers.redis.broker import CarrierBroker
    from middleware.brokers.redis.copies import CopiedLetter
    from middleware.brokers.redis.values import RawLetter

EXPORT_EXAMPLES = """\b
Examples:
  chat-actors dlq export letters.jsonl
  chat-actors dlq export - --reason not_on_whatsapp | jq .letter.reason

\b
Letters hold ids, reasons and errors, no message text. They stay where they are; discard deletes them."""

IMPORT_EXAMPLES = """\b
Examples:
  chat-actors dlq import letters.jsonl

\b
What is there, lives or has ended since is left alone: importing twice changes nothing. Rows are not touched; whoever wrote
them was told of these deaths before."""

FORMAT = "chat-actors-dead-letters"
VERSION = 1

#: What became of the letters of a file.
_SAID = {"new": "brought back", "known": "left alone: there already, alive or over", "unreadable": "unreadable"}

File = Annotated[Path, typer.Argument(metavar="FILE", help="- is the standard output.")]


@letters.filtered
def export(file: File, *, chosen: letters.Filter) -> None:
    """Write dead letters to a file, one JSON object a line."""
    with open_queues() as broker:
        names = chosen.queues(broker)
        with _written(file) as out:
            _line(out, {"format": FORMAT, "version": VERSION})
            count = 0
            with terminal.progress("exporting") as moved:
                for name in names:
                    for raw in _raw_letters(broker, name, chosen):
                        _line(out, _as_json(raw))
                        count += 1
                        moved(1)
            _line(out, {"letters": count})
    print(f"{count} dead letters written to {file}", file=sys.stderr)


def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Made by dlq export.")], *, yes: terminal.Yes = False
) -> ExitCode:
    """Bring dead letters back from a file; the whole file is read before anything is put in."""
    from middleware.brokers.redis.copies import RESTORE_BATCH, Copies

    counts = Counter(queue for queue, _ in _letters_of(file))
    if not counts:
        terminal.say("the file has no dead letter")
        return ExitCode.OK
    with open_queues() as broker:
        if unknown := sorted(set(counts) - broker.get_declared_queues()):
            raise terminal.Refused(f"{file}: no queue {', '.join(unknown)} here; nothing was done")
        terminal.show_table(("queue", "dead letters"), sorted(counts.items()))
        terminal.confirm(f"bring back these {counts.total()} dead letters?", yes=yes)
        note(broker, "dlq.import", letters=counts.total(), file=file.name)
        copies, states, token = Copies(broker.transitions.scripts), Counter[str](), token_hex(8)
        copies.begin(token)
        try:
            for queue, found in groupby(_letters_of(file), key=itemgetter(0)):
                for batch in _batches((letter for _, letter in found), of=RESTORE_BATCH):
                    states.update(copies.put_letters(queue, batch, token=token))
        finally:
            copies.end(token)
    for state, said in _SAID.items():
        if states[state]:
            terminal.say(f"{states[state]} {said}")
    return ExitCode.FAILED if states["unreadable"] else ExitCode.OK


def _batches(letters: "Iterator[CopiedLetter]", *, of: int) -> "Iterator[list[CopiedLetter]]":
    while batch := list(islice(letters, of)):
        yield batch


def _letters_of(file: Path) -> "Iterator[tuple[str, CopiedLetter]]":
    """Queue and letter of each line.

    Raises:
        NoFile: it cannot be read.
        BadFile: it is something else, or was cut.
    """
    count, end = 0, None
    try:
        with file.open(encoding="utf-8") as lines:
            head = _object(file, next(lines, ""))
            if (head.get("format"), head.get("version")) != (FORMAT, VERSION):
                raise terminal.BadFile(f"{file} is no export of dead letters that this version reads; nothing was done")
            for line in lines:
                row = _object(file, line)
                if end is None and "id" in row:
                    count += 1
                    yield _letter(file, row)
                else:
                    end = row.get("letters")
    except OSError as error:
        raise terminal.NoFile(f"{file} could not be read: {error.strerror}") from error
    except UnicodeDecodeError:
        raise terminal.BadFile(f"{file} is no text; nothing was done") from None
    if end != count:
        raise terminal.BadFile(f"{file} was cut: its end is missing or counts otherwise; nothing was done")


def _object(file: Path, line: str) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise terminal.BadFile(f"{file} has a line that is no JSON object; nothing was done")
    return value


def _letter(file: Path, row: dict[str, Any]) -> "tuple[str, CopiedLetter]":
    from middleware.brokers.redis.copies import CopiedLetter

    try:
        record = row["letter"]
        body = row["body"].encode() if "body" in row else base64.b64decode(row["body_base64"], validate=True)
        letter = CopiedLetter(
            str(row["id"]).encode(), int(record["died_at_ms"]), json.dumps(record).encode(), body, told=True
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        raise terminal.BadFile(f"{file} has a line that is no dead letter; nothing was done") from None
    return str(row["queue"]), letter


def _raw_letters(broker: "CarrierBroker", queue_name: str, chosen: letters.Filter) -> "Iterator[RawLetter]":
    from middleware.letters import DeadLetters

    dead = DeadLetters(broker)
    for page in dead.pages(queue_name, chosen.query(), matches=chosen.has, oldest_first=True):
        yield from dead.raw(queue_name, [letter.id for letter in page.letters])


def _as_json(raw: "RawLetter") -> dict[str, Any]:
    try:
        body = {"body": raw.body.decode("utf-8")}
    except UnicodeDecodeError:
        body = {"body_base64": base64.b64encode(raw.body).decode()}
    return {"queue": raw.queue_name, "id": raw.id, "letter": raw.record, **body}


def _line(out: IO[str], value: dict[str, Any]) -> None:
    out.write(json.dumps(value, ensure_ascii=False) + "\n")


@contextmanager
def _written(file: Path) -> "Iterator[IO[str]]":
    """The file under its name only once it is whole; nobody else may read it."""
    try:
        if str(file) == "-":
            yield sys.stdout
            sys.stdout.flush()
        elif file.exists() and not file.is_file():
            # A device or a pipe, which a file under its name would replace.
            with file.open("w", encoding="utf-8") as out:
                yield out
        else:
            with _replaced(file) as out:
                yield out
    except OSError as error:
        raise terminal.NoFile(f"{file} could not be written: {error.strerror}") from error


@contextmanager
def _replaced(file: Path) -> "Iterator[IO[str]]":
    unfinished = file.with_name(f"{file.name}.unfinished")
    try:
        unfinished.touch(mode=0o600)
        with unfinished.open("w", encoding="utf-8") as out:
            yield out
        unfinished.replace(file)
    finally:
        # Its folder may be what is missing.
        with suppress(OSError):
            unfinished.unlink()
