"""``chat-actors backup …``: copy the queues into a file, look whether it is whole, put it back."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

from actors.cli import terminal
from actors.cli.queues import open_queues
from middleware.errors import ExitCode

if TYPE_CHECKING:
    from actors.settings import Settings
    from middleware.backup import Summary
    from middleware.backup_restore import Restored
    from middleware.brokers.redis.broker import CarrierBroker
    from middleware.brokers.redis.copies import Copies

_EXAMPLES = """\b
Examples:
  chat-actors backup create                              a file in CHAT_BACKUP_DIR
  chat-actors backup create /var/backups/queues.jsonl.gz
  chat-actors backup create - | ssh vault 'cat > queues.jsonl.gz'
  chat-actors backup verify queues.jsonl.gz
  chat-actors backup restore queues.jsonl.gz
  chat-actors backup list

\b
Workers go on meanwhile, whatever is done. What each guarantees: docs/backup.md."""

app = typer.Typer(
    name="backup",
    help="Copy the queues into a file, and put them back.",
    epilog=_EXAMPLES,
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["--help", "-h"]},
)

File = Annotated[Path, typer.Argument(metavar="FILE", help="The backup.")]
Identity = Annotated[
    Path | None, typer.Option("--identity", "-i", help="File with the secret key of age, for an encrypted backup.")
]


@app.command(
    "create", epilog="\b\nExamples:\n  chat-actors backup create\n  chat-actors backup create --from-rdb dump.rdb"
)
def create(
    path: Annotated[
        str | None,
        typer.Argument(metavar="[FILE]", help="A new file or a folder; - = stdout. Default: CHAT_BACKUP_DIR."),
    ] = None,
    recipient: Annotated[
        list[str] | None,
        typer.Option("--recipient", "-r", help="Public key of age that can read it. Default: CHAT_BACKUP_RECIPIENTS."),
    ] = None,
    from_rdb: Annotated[
        Path | None, typer.Option("--from-rdb", help="Copy the queues out of a snapshot of a whole Redis.")
    ] = None,
    *,
    as_json: terminal.AsJson = False,
) -> None:
    """Copy all queues and dead letters into a file, while workers run."""
    from actors import backups, services

    if path == "-" and as_json:
        raise terminal.Refused("with - the backup itself goes to stdout; --json would be in the middle of it")
    keys = recipient or backups.recipients(services.settings())
    with _source(from_rdb) as copies:
        summary = _written(copies, path, keys=keys, way="slices" if from_rdb is None else "rdb")
    if as_json:
        terminal.say_json(summary.as_json())
    else:
        _say(summary, to=sys.stderr if path == "-" else None)


@app.command("verify", epilog="\b\nExamples:\n  chat-actors backup verify queues.jsonl.gz")
def verify(path: File, identity: Identity = None, *, as_json: terminal.AsJson = False) -> None:
    """Read a whole file and check every line of it; needs no Redis."""
    from middleware import backup

    with terminal.progress("verifying") as progress:
        summary = backup.verify(path, identities=_identities(identity), progress=progress)
    if as_json:
        terminal.say_json({"status": "ok", **summary.as_json()})
    else:
        terminal.say(f"{path.name} is whole")
        _say(summary)


@app.command(
    "restore",
    epilog="\b\nExamples:\n  chat-actors backup restore queues.jsonl.gz\n  chat-actors backup restore f.gz --yes --json",
)
def restore(
    path: File, identity: Identity = None, *, yes: terminal.Yes = False, as_json: terminal.AsJson = False
) -> ExitCode:
    """Put what a backup holds back into the queues, beside what is there.

    What is there, ended or died since, or is being sent by a newer message stays as it is. Running it twice is harmless.
    """
    from middleware import backup, backup_restore
    from middleware.brokers.redis.copies import Copies

    identities = _identities(identity)
    with terminal.progress("verifying") as progress:
        summary = backup.verify(path, identities=identities, progress=progress)
    with open_queues() as broker:
        if not as_json:
            _preview(broker, summary)
        terminal.confirm("put it into the queues?", yes=yes)
        total = summary.number("message") + summary.number("letter") + len(summary.queues)
        with terminal.progress("restoring", total=total) as progress:
            copies = Copies(broker.transitions.scripts)
            restored = backup_restore.restore(
                copies, path, token=token_hex(8), identities=identities, is_verified=True, progress=progress
            )
    if as_json:
        terminal.say_json(restored.as_json())
    else:
        _say_restored(restored)
    unreadable = sum(counts["unreadable"] for counts in restored.letters.values())
    return ExitCode.FAILED if unreadable else ExitCode.OK


@app.command("list", epilog="\b\nExamples:\n  chat-actors backup list\n  chat-actors backup list /var/backups --json")
def list_(
    folder: Annotated[Path | None, typer.Argument(metavar="[FOLDER]", help="Default: CHAT_BACKUP_DIR.")] = None,
    *,
    as_json: terminal.AsJson = False,
) -> None:
    """List the backups of a folder, newest first."""
    from actors import backups, services

    place = folder or _folder(services.settings())
    if not place.is_dir():
        raise terminal.Refused(f"{place} is no folder")
    files = backups.found(place)
    if as_json:
        terminal.say_json([one.as_json() for one in files])
    elif files:
        rows = ((one.path.name, one.as_json()["created_at"], terminal.size(one.bytes)) for one in files)
        terminal.show_table(("file", "created at", "size"), rows)
    else:
        terminal.say(f"no backup in {place}")


# -- parts ---------------------------------------------------------------------------------------------------------


@contextmanager
def _source(from_rdb: Path | None) -> "Iterator[Copies]":
    """The queues that are copied: the live ones, or those of a snapshot."""
    from actors import services
    from middleware.brokers.redis.copies import Copies

    if from_rdb is None:
        with open_queues() as broker:
            yield Copies(broker.transitions.scripts)
        return
    from middleware.backup_rdb import loaded
    from middleware.brokers.redis.keys import Keys
    from middleware.brokers.redis.scripts import Scripts

    settings = services.settings()
    with loaded(from_rdb, db=settings.queue_db) as client:
        yield Copies(Scripts(client, Keys(settings.namespace)))


def _written(copies: "Copies", path: str | None, *, keys: list[str], way: str) -> "Summary":
    from actors import backups, services, wiring
    from middleware import backup

    names = sorted(wiring.broker.get_declared_queues())
    with terminal.progress("copying", total=backup.size(copies, names)) as progress:
        if path != "-":
            target = Path(path) if path else _folder(services.settings())
            if target.is_dir() or not path:
                target /= backups.file_name(copies.now_ms(), encrypted=bool(keys))
            return backup.create(copies, target, queue_names=names, recipients=keys, way=way, progress=progress)
        return _to_stdout(copies, names, keys=keys, way=way, progress=progress)


def _to_stdout(
    copies: "Copies", names: list[str], *, keys: list[str], way: str, progress: Callable[[int], None]
) -> "Summary":
    from middleware import backup, backup_cipher

    sink = sys.stdout.buffer
    try:
        with backup_cipher.encrypting(sink, keys) if keys else nullcontext(sink) as plain:
            summary = backup.write(copies, plain, queue_names=names, way=way, progress=progress)
        sink.flush()
    except OSError as error:
        raise backup.CannotWrite(f"stdout took no more ({type(error).__name__}); what came out is no backup") from error
    return summary


def _folder(settings: "Settings") -> Path:
    if settings.backup_dir is None:
        raise terminal.Refused("say where: name a file or a folder, or set CHAT_BACKUP_DIR")
    return Path(settings.backup_dir)


def _identities(path: Path | None) -> list[str]:
    """Secret keys of a file as age-keygen writes it, or an SSH key."""
    if path is None:
        return []
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise terminal.Refused(f"{path} cannot be read as a key ({type(error).__name__})") from error
    if text.startswith("-----BEGIN"):
        return [text]
    return [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]


def _preview(broker: "CarrierBroker", summary: "Summary") -> None:
    there = {one.queue_name: one for one in broker.transitions.stats(sorted(summary.queues))}
    rows = [
        (name, counts.get("message", 0), counts.get("letter", 0), there[name].unfinished, there[name].dead)
        for name, counts in sorted(summary.queues.items())
    ]
    columns = ("queue", "messages in it", "dead letters in it", "messages there", "dead letters there")
    terminal.show_table(
        columns, rows, title=f"{summary.name}, of {summary.namespace}, {summary.as_json()['created_at']}"
    )


def _say(summary: "Summary", *, to: TextIO | None = None) -> None:
    text = (
        f"{summary.number('message')} messages, {summary.number('letter')} dead letters of {len(summary.queues)} queues"
    )
    print(f"{summary.name}: {text}", file=to or sys.stdout)


_STATES = {
    "new": "put back",
    "known": "there already, or ended or died since",
    "duplicate": "being sent by a newer message",
    "unreadable": "unreadable, left out",
}


def _say_restored(restored: "Restored") -> None:
    found = restored.as_json()
    for what, name in (("messages", "messages"), ("dead_letters", "dead letters")):
        for state, count in found[what].items():
            terminal.say(f"{count} {name} {_STATES[state]}")
    terminal.say("the next sweep sends what was pending and is not in it; see docs/backup.md")
