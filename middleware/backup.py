"""Copy the queues into a file while workers run, and look whether a file is whole.

``actors.backups`` calls :func:`create`. The copy is logical: messages and where they belong, dead letters, gates and pauses, not
keys. Each slice is read at one moment, and the slices follow each other in such an order that nothing can pass between two:

    letters → lanes → groups → all bodies → once more lanes and groups, where a body had no place yet → letters of meanwhile

A message moves between places, but its body lies in one hash from its enqueue to its end, and a full scan of a hash returns
everything that is there all the time. So whatever lives, or is dead, from the beginning to the end is in the copy, once as a
message and perhaps once more as a letter; what begins, ends or is redriven meanwhile may be. docs/backup.md says what that means
for a restore.
"""

import errno
import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from middleware.backup_ahead import ahead
from middleware.backup_cipher import encrypting
from middleware.backup_file import BackupWriter, opened
from middleware.backup_seen import Seen
from middleware.brokers.redis.copies import CopiedMessage, Copies
from middleware.clock import iso
from middleware.errors import PipelineError

#: Ends the name of a file that is not whole yet.
PARTIAL = ".partial"
#: Told after each slice: how many records were done since the last time.
Progress = Callable[[int], object]


class CannotWrite(PipelineError):
    """The file of a backup cannot be written or read; what was begun is removed."""

    code = "backup_disk"


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What is in a backup. ``queues``: name → kind (``message``, ``letter``, ``queue``) → number."""

    name: str
    created_at_ms: int
    namespace: str
    way: str
    queues: Mapping[str, Mapping[str, int]]

    def number(self, kind: str) -> int:
        """Records of a kind in all queues."""
        return sum(counts.get(kind, 0) for counts in self.queues.values())

    def as_json(self) -> dict[str, Any]:
        """The public shape (``backup create|verify --json``)."""
        return {
            "file": self.name,
            "created_at": iso(self.created_at_ms),
            "namespace": self.namespace,
            "way": self.way,
            "messages": self.number("message"),
            "dead_letters": self.number("letter"),
            "queues": {
                name: {"messages": counts.get("message", 0), "dead_letters": counts.get("letter", 0)}
                for name, counts in self.queues.items()
            },
        }


def size(copies: Copies, queue_names: Sequence[str]) -> int:
    """Messages and dead letters that are there now: about how many records a copy has."""
    return sum(sum(copies.count(name)) for name in queue_names)


def write(
    copies: Copies,
    sink: IO[bytes],
    *,
    queue_names: Sequence[str],
    name: str = "-",
    way: str = "slices",
    progress: Progress = lambda _: None,
) -> Summary:
    """Copy queues into a stream.

    Args:
        copies: of the database that is copied.
        sink: takes the bytes; not closed.
        queue_names: which queues.
        name: of the file, for the summary.
        way: what the header says of how the copy was made.
        progress: see :data:`Progress`.

    Raises:
        QueueUnavailable, QueueRefused: Redis did not answer, or refused to be read.
        OSError: the sink takes no more.
    """
    began_ms, namespace = copies.now_ms(), copies.scripts.keys.namespace
    writer = BackupWriter(
        sink, {"created_at_ms": began_ms, "namespace": namespace, "way": way, "queues": list(queue_names)}
    )
    for queue_name in queue_names:
        _copy_queue(copies, queue_name, writer, began_ms=began_ms, progress=progress)
    writer.finish()
    return Summary(name=name, created_at_ms=began_ms, namespace=namespace, way=way, queues=writer.counts)


def create(
    copies: Copies,
    path: Path,
    *,
    queue_names: Sequence[str],
    recipients: Sequence[str] = (),
    way: str = "slices",
    progress: Progress = lambda _: None,
) -> Summary:
    """Copy queues into a file, which gets its name when it is whole and on the disk.

    Args:
        copies: as :func:`write`.
        path: a file that does not exist; only its owner may read it.
        queue_names: as :func:`write`.
        recipients: public keys of age; with any, the file is encrypted.
        way: as :func:`write`.
        progress: as :func:`write`.

    Raises:
        CannotWrite: the disk is full, the folder is missing, or the file is there already.
        QueueUnavailable, QueueRefused: as :func:`write`. What was begun is removed in every case.
    """
    partial = path.with_name(path.name + PARTIAL)
    with (
        _written(path, partial) as sink,
        encrypting(sink, recipients) if recipients else nullcontext(sink) as plain,
    ):
        return write(copies, plain, queue_names=queue_names, name=path.name, way=way, progress=progress)


@contextmanager
def _written(path: Path, partial: Path) -> Iterator[IO[bytes]]:
    try:
        _refuse_existing(path)
        # Half a backup of an earlier try that was killed is of no use.
        partial.unlink(missing_ok=True)
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as sink:
            yield sink
            sink.flush()
            os.fsync(sink.fileno())
        partial.rename(path)
        _bring_to_disk(path.parent)
    except (OSError, sqlite3.Error) as error:
        partial.unlink(missing_ok=True)
        raise CannotWrite(f"{path} cannot be written: {_why(error)}; no backup was made") from error
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def _bring_to_disk(folder: Path) -> None:
    """Have a new name survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _refuse_existing(path: Path) -> None:
    if path.exists():
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))


def _why(error: Exception) -> str:
    return (error.strerror or type(error).__name__).lower() if isinstance(error, OSError) else str(error)


def verify(path: Path, *, identities: Sequence[str] = (), progress: Progress = lambda _: None) -> Summary:
    """Read a whole file and check every line of it.

    Raises:
        BadBackup, BadKey: see :func:`middleware.backup_file.opened` and ``BackupReader.records``.
        CannotWrite: it is not there, or cannot be read.
    """
    try:
        with opened(path, identities=identities) as backup:
            for records in backup.records():
                progress(len(records))
            header = backup.header
            return Summary(
                name=path.name,
                created_at_ms=int(header["created_at_ms"]),
                namespace=str(header["namespace"]),
                way=str(header["way"]),
                queues=backup.counts,
            )
    except OSError as error:
        raise CannotWrite(f"{path} cannot be read: {_why(error)}") from error


def _copy_queue(copies: Copies, queue_name: str, writer: BackupWriter, *, began_ms: int, progress: Progress) -> None:
    writer.add(queue_name, "queue", [copies.gates(queue_name)])
    with Seen() as letters, Seen() as messages:
        _copy_letters(copies, queue_name, writer, letters, since_ms=None, progress=progress)
        _copy_waiting(copies, queue_name, writer, messages, progress)
        for bodies in ahead(copies.bodies(queue_name)):
            # Who was found in a lane or a group needs no second look: most of a backlog.
            unseen = messages.unseen(list(bodies))
            if unseen:
                known, unclear = copies.placed(queue_name, {id_: bodies[id_] for id_ in bodies if id_ in unseen})
                _keep(writer, queue_name, messages, known, progress)
                messages.put_aside(unclear)
        if messages.has_aside:
            # They stand nowhere that says where they belong, so they wait, or belong nowhere.
            _copy_waiting(copies, queue_name, writer, messages, progress)
            for ids in messages.aside():
                if ids:
                    _keep(writer, queue_name, messages, copies.named(queue_name, ids), progress)
        _copy_letters(copies, queue_name, writer, letters, since_ms=began_ms, progress=progress)


def _copy_waiting(copies: Copies, queue_name: str, writer: BackupWriter, seen: Seen, progress: Progress) -> None:
    for slices in (copies.lanes, copies.groups):
        for found in ahead(slices(queue_name)):
            _keep(writer, queue_name, seen, found, progress)


def _keep(
    writer: BackupWriter, queue_name: str, seen: Seen, found: Sequence[CopiedMessage], progress: Progress
) -> None:
    new = seen.add([one.id for one in found])
    writer.add(queue_name, "message", [one for one in found if one.id in new])
    progress(len(new))


def _copy_letters(
    copies: Copies, queue_name: str, writer: BackupWriter, seen: Seen, *, since_ms: int | None, progress: Progress
) -> None:
    for found in ahead(copies.letters(queue_name, since_ms=since_ms)):
        new = seen.add([one.id for one in found])
        writer.add(queue_name, "letter", [one for one in found if one.id in new])
        progress(len(new))
