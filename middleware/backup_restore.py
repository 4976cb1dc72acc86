"""Put what a backup holds back into the queues, beside whatever is there.

``actors.backups`` calls :func:`restore`. Every record goes through a script that keeps the broker's rules and does nothing twice:
an id that is there, ended in the last minutes or died since is known, and so is a unique key that somebody has. What ended
longer ago Redis has forgotten; there the actor decides, which looks at its row before it does anything.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

from middleware.backup import CannotWrite, Progress, verify
from middleware.backup_ahead import ahead
from middleware.backup_file import opened
from middleware.backup_records import Record
from middleware.brokers.redis.copies import RESTORE_BATCH, CopiedGates, CopiedLetter, Copies
from middleware.errors import PipelineError

States = Counter[str]


class RestoreStopped(PipelineError):
    """Redis stopped taking records in the middle; what is in stays, and a second run goes on."""

    code = "restore_stopped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """What became of the records: ``new``, ``known``, ``duplicate`` (its unique key is taken), ``unreadable``."""

    messages: Mapping[str, States] = field(default_factory=dict)
    letters: Mapping[str, States] = field(default_factory=dict)
    #: Queues whose pause and gates were set; the others were in use and kept their own.
    gates: Sequence[str] = ()

    def as_json(self) -> dict[str, Any]:
        """The public shape (``backup restore --json``)."""
        names = sorted({*self.messages, *self.letters})
        return {
            "messages": dict(sum(self.messages.values(), States())),
            "dead_letters": dict(sum(self.letters.values(), States())),
            "gates_of": list(self.gates),
            "queues": {
                name: {
                    "messages": dict(self.messages.get(name, {})),
                    "dead_letters": dict(self.letters.get(name, {})),
                }
                for name in names
            },
        }


def restore(
    copies: Copies,
    path: Path,
    *,
    token: str,
    identities: Sequence[str] = (),
    is_verified: bool = False,
    progress: Progress = lambda _: None,
) -> Restored:
    """Put a backup back; first its whole file is read and checked, so that half a file changes nothing.

    Args:
        copies: of the database to restore into; it may be in use.
        path: the file.
        token: tells this run from every other.
        identities: secret keys of age.
        is_verified: the caller has just verified it.
        progress: told of every record that was put back.

    Raises:
        BadBackup, BadKey, CannotWrite: as :func:`middleware.backup.verify`; nothing was changed.
        RestoreUnderWay: somebody else restores; nothing was changed by this run.
        RestoreStopped: Redis refused in the middle.
    """
    if not is_verified:
        verify(path, identities=identities)
    copies.begin(token)
    run = _Run(copies, token, progress)
    try:
        with opened(path, identities=identities) as backup:
            for batch in _batches(ahead(backup.records())):
                run.put(batch)
    except OSError as error:
        raise CannotWrite(f"{path} cannot be read any more ({type(error).__name__}); run it again") from error
    finally:
        run.end()
    return run.restored


def _batches(pieces: Iterable[list[Record]]) -> Iterator[list[Record]]:
    """Records in their order; those of a batch are of one queue and one kind."""
    for piece in pieces:
        for _, alike in groupby(piece, key=lambda record: (record.queue, type(record.what))):
            records = list(alike)
            yield from (records[first : first + RESTORE_BATCH] for first in range(0, len(records), RESTORE_BATCH))


class _Run:
    def __init__(self, copies: Copies, token: str, progress: Progress) -> None:
        self.copies, self.token, self.progress = copies, token, progress
        self.messages: dict[str, States] = {}
        self.letters: dict[str, States] = {}
        self.gates: list[str] = []

    @property
    def restored(self) -> Restored:
        return Restored(messages=self.messages, letters=self.letters, gates=self.gates)

    def put(self, batch: Sequence[Record]) -> None:
        queue, records = batch[0].queue, [record.what for record in batch]
        try:
            self._put(queue, records)
        except PipelineError as error:
            done = sum(counts.total() for counts in (*self.messages.values(), *self.letters.values()))
            raise RestoreStopped(
                f"the restore stopped after {done} records: {error}. What is in stays; when that is mended run it again, "
                "what is there already is left as it is"
            ) from error
        self.progress(len(records))

    def _put(self, queue: str, records: Sequence[Any]) -> None:
        put: Callable[..., list[str]]
        if isinstance(records[0], CopiedGates):
            for gates in records:
                if self.copies.put_gates(queue, gates, token=self.token):
                    self.gates.append(queue)
            return
        counts, put = self.messages, self.copies.put_messages
        if isinstance(records[0], CopiedLetter):
            counts, put = self.letters, self.copies.put_letters
        counts.setdefault(queue, States()).update(put(queue, records, token=self.token))

    def end(self) -> None:
        try:
            self.copies.end(self.token)
        except PipelineError:
            # It expires by itself.
            return
