"""The file of a backup: JSON lines, compressed by gzip, perhaps encrypted by age. Written and read in a stream.

``middleware.backup`` writes and verifies one, ``middleware.backup_restore`` reads it. The first line says what the file is, the
last one how many records there are and the SHA-256 of all lines before it: a file without it is half written. docs/backup.md
shows every line.
"""

import gzip
import hashlib
import io
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

from middleware import backup_cipher
from middleware.backup_ahead import ahead
from middleware.backup_records import BadRecord, Record, What, check_queue, line_of, parsed, record_of, to_json
from middleware.errors import PipelineError

FORMAT = "chat-actors-backup"
VERSION = 1
#: The fastest one: the copy must not take longer than Redis does.
LEVEL = 1
#: Longest first line, in bytes; a foreign file may have no lines at all.
MAX_HEADER_BYTES = 1024 * 1024
#: Lines are read in pieces of about so many bytes.
PIECE_BYTES = 128 * 1024


class BadBackup(PipelineError):
    """The file is no backup, is half written, or was changed; nothing was done with it."""

    code = "backup_file"


class BackupWriter:
    """Writes the lines; :meth:`finish` the last one, without which the file is refused.

    Attributes:
        counts: records by queue and kind, so far.
    """

    def __init__(self, sink: IO[bytes], header: Mapping[str, Any]) -> None:
        self._out = gzip.GzipFile(fileobj=sink, mode="wb", compresslevel=LEVEL, mtime=0)
        self._digest = hashlib.sha256()
        self.counts: dict[str, Counter[str]] = {}
        self._write(to_json({"format": FORMAT, "version": VERSION, **header}) + "\n")

    def add(self, queue: str, kind: str, records: Sequence[What]) -> None:
        """Write records of one kind: ``queue``, ``message`` or ``letter``."""
        if records:
            self.counts.setdefault(queue, Counter())[kind] += len(records)
            self._write("\n".join([*(line_of(queue, one) for one in records), ""]))

    def finish(self) -> None:
        """Write the last line."""
        counts = {queue: dict(found) for queue, found in self.counts.items()}
        last = {"kind": "end", "queues": counts, "sha256": self._digest.hexdigest()}
        self._out.write(to_json(last).encode() + b"\n")
        self._out.close()

    def _write(self, text: str) -> None:
        data = text.encode()
        self._digest.update(data)
        self._out.write(data)


class BackupReader:
    """Reads the lines and checks each; :meth:`records` ends only where the whole file was as it must be.

    Attributes:
        header: the first line.
        counts: records by queue and kind, so far.
    """

    def __init__(self, source: IO[bytes], *, name: str) -> None:
        self.name = name
        self._lines = io.BufferedReader(gzip.GzipFile(fileobj=source, mode="rb"), PIECE_BYTES)
        self._digest = hashlib.sha256()
        self.counts: dict[str, Counter[str]] = {}
        with self._reading():
            line = self._lines.readline(MAX_HEADER_BYTES)
        self.header = self._checked_header(line)
        self._digest.update(line)

    def _checked_header(self, line: bytes) -> dict[str, Any]:
        try:
            header = parsed(line)
        except BadRecord:
            header = {}
        if header.get("format") != FORMAT:
            raise BadBackup(f"{self.name} is no backup of chat-actors")
        if header.get("version") != VERSION:
            raise BadBackup(f"{self.name} has format {header.get('version')}, and this version reads {VERSION} only")
        at_ms = header.get("created_at_ms")
        # Later than that no calendar goes.
        if not (type(at_ms) is int and 0 <= at_ms < 2**47 and {"namespace", "way"} <= set(header)):
            raise BadBackup(f"{self.name} does not say when and of what it was made")
        return header

    def records(self) -> Iterator[list[Record]]:
        """Every record, in lists.

        Raises:
            BadBackup: the file is half written, or was changed; what came before may be damaged too.
        """
        last = b""
        for lines in ahead(self._pieces()):
            # Only at the end it shows which line is the last one.
            lines[:0] = [last] if last else []
            last = lines.pop()
            self._digest.update(b"".join(lines))
            yield [self._record(line) for line in lines]
        self._check_end(last)

    def _pieces(self) -> Iterator[list[bytes]]:
        while True:
            with self._reading():
                lines = self._lines.readlines(PIECE_BYTES)
            if not lines:
                return
            yield lines

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except gzip.BadGzipFile as error:
            raise BadBackup(f"{self.name} is no backup, or was changed ({error})") from error
        except (EOFError, zlib.error, OSError) as error:
            raise self._cut_off() from error

    def _record(self, line: bytes) -> Record:
        try:
            kind, record = record_of(line)
            counts = self.counts.get(record.queue)
            if counts is None:
                check_queue(record.queue)
                counts = self.counts[record.queue] = Counter()
        except BadRecord as error:
            raise BadBackup(f"{self.name} was changed: record {self._so_far + 1} is none ({error})") from error
        counts[kind] += 1
        return record

    @property
    def _so_far(self) -> int:
        return sum(counts.total() for counts in self.counts.values())

    def _cut_off(self) -> BadBackup:
        return BadBackup(f"{self.name} is cut off or damaged after {self._so_far} records; use another one")

    def _check_end(self, line: bytes) -> None:
        try:
            last = parsed(line)
        except BadRecord as error:
            raise self._cut_off() from error
        if last.get("kind") != "end":
            raise self._cut_off()
        if last.get("sha256") != self._digest.hexdigest() or last.get("queues") != self.counts:
            raise BadBackup(f"{self.name} was changed: its checksum or its counts do not agree")


@contextmanager
def opened(path: Path, *, identities: Sequence[str] = ()) -> Iterator[BackupReader]:
    """The backup in a file.

    Raises:
        BadBackup: it is none; or it is encrypted and no identity is given.
        BadKey: none of the identities fits.
        OSError: it cannot be read.
    """
    with ExitStack() as stack:
        source: IO[bytes] = stack.enter_context(path.open("rb"))
        head = source.read(max(map(len, backup_cipher.MAGIC)))
        source.seek(0)
        if head.startswith(backup_cipher.MAGIC):
            if not identities:
                raise BadBackup(f"{path.name} is encrypted; give the file of its secret key with --identity")
            source = stack.enter_context(backup_cipher.decrypting(source, identities))
        yield BackupReader(source, name=path.name)
