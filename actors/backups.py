"""The periodic backup of the queues: where its files are, which are kept, who can read them.

``actors.schedule`` says when; the ``backup`` commands use the same files. The copy itself is ``middleware.backup``.
"""

import logging
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dramatiq

from actors import services, wiring
from actors.settings import Settings
from middleware import backup
from middleware.actor import routed
from middleware.brokers.redis.broker import CarrierBroker
from middleware.brokers.redis.copies import Copies
from middleware.clock import iso

logger = logging.getLogger(__name__)

QUEUE = "housekeeping"
#: Longest wait of a failed run, in milliseconds.
MAX_BACKOFF_MS = 60_000

_PREFIX, _TIME, _SUFFIX, _ENCRYPTED = "chat-queue-", "%Y%m%dT%H%M%SZ", ".jsonl.gz", ".age"
_HOUR_MS = 60 * 60 * 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupFile:
    """A whole backup in the folder, as its name tells."""

    path: Path
    at_ms: int
    bytes: int

    @property
    def is_encrypted(self) -> bool:
        """Whether a key is needed to read it."""
        return self.path.name.endswith(_ENCRYPTED)

    def as_json(self) -> dict[str, Any]:
        """The public shape (``backup list --json``)."""
        told = {"file": self.path.name, "created_at": iso(self.at_ms)}
        return {**told, "bytes": self.bytes, "encrypted": self.is_encrypted}


def file_name(at_ms: int, *, encrypted: bool) -> str:
    """Name of the backup of a moment."""
    at = datetime.fromtimestamp(at_ms / 1000, tz=UTC).strftime(_TIME)
    return f"{_PREFIX}{at}{_SUFFIX}{_ENCRYPTED if encrypted else ''}"


def recipients(settings: Settings) -> list[str]:
    """Public keys of those who can read the backups; empty = everybody can."""
    return [key for one in (settings.backup_recipients or "").split(",") if (key := one.strip())]


def found(folder: Path) -> list[BackupFile]:
    """Whole backups of a folder, the newest first; other files in it are left alone."""
    files = []
    for path in folder.glob(f"{_PREFIX}*"):
        if (at_ms := _at_ms(path.name)) is None:
            continue
        # Another process may be removing what need not be kept.
        with suppress(FileNotFoundError):
            files.append(BackupFile(path=path, at_ms=at_ms, bytes=path.stat().st_size))
    return sorted(files, key=lambda one: -one.at_ms)


def _at_ms(name: str) -> int | None:
    """When the backup of this name was made; None when it is the name of something else."""
    stem = name.removesuffix(_ENCRYPTED)
    try:
        at = datetime.strptime(stem, f"{_PREFIX}{_TIME}{_SUFFIX}").replace(tzinfo=UTC)
    except ValueError:
        return None
    return int(at.timestamp()) * 1000


def superfluous(files: Iterable[BackupFile], *, now_ms: int, keep_hours: int, keep_days: int) -> list[BackupFile]:
    """Files that need not be kept: all but those of the last hours and the last one of each of the last days. Pure.

    The newest one is kept however old it is.
    """
    newest_first = sorted(files, key=lambda one: -one.at_ms)
    days: set[int] = set()
    gone = []
    for number, one in enumerate(newest_first):
        age_ms, day = now_ms - one.at_ms, one.at_ms // (24 * _HOUR_MS)
        is_last_of_day = day not in days
        days.add(day)
        is_kept = age_ms < keep_hours * _HOUR_MS or (is_last_of_day and age_ms < keep_days * 24 * _HOUR_MS)
        if number and not is_kept:
            gone.append(one)
    return gone


def create(
    broker: CarrierBroker, path: Path, *, keys: Sequence[str], progress: backup.Progress = lambda _: None
) -> backup.Summary:
    """Copy all queues into a file; ``keys``: public keys of those who can read it.

    Raises: see :func:`middleware.backup.create`.
    """
    copies, names = Copies(broker.transitions.scripts), sorted(broker.get_declared_queues())
    return backup.create(copies, path, queue_names=names, recipients=keys, progress=progress)


@dramatiq.actor(
    broker=wiring.broker, queue_name=QUEUE, actor_class=routed(), max_attempts=3, max_backoff=MAX_BACKOFF_MS
)
def backup_queues() -> None:
    """Copy all queues into a new file of ``CHAT_BACKUP_DIR`` and remove those that need not be kept; nothing without a folder.

    Raises:
        CannotWrite: the disk is full, or the folder is missing; its dead letter is the alert.
    """
    work, broker = services.get(), wiring.broker
    folder = work.settings.backup_dir
    if folder is None or not isinstance(broker, CarrierBroker):
        return
    keys, now_ms = recipients(work.settings), work.clock.now_ms()
    summary = create(broker, Path(folder) / file_name(now_ms, encrypted=bool(keys)), keys=keys)
    counts = {"messages": summary.number("message"), "dead_letters": summary.number("letter")}
    logger.info("backup.created", extra={"file": summary.name, **counts})
    _remove_superfluous(Path(folder), work.settings, now_ms=now_ms)


def _remove_superfluous(folder: Path, settings: Settings, *, now_ms: int) -> None:
    gone = superfluous(
        found(folder), now_ms=now_ms, keep_hours=settings.backup_keep_hours, keep_days=settings.backup_keep_days
    )
    # Another process may have the same idea.
    for path in [*(one.path for one in gone), *_abandoned(folder, now_ms=now_ms)]:
        path.unlink(missing_ok=True)
    if gone:
        logger.info("backup.removed", extra={"files": len(gone)})


def _abandoned(folder: Path, *, now_ms: int) -> list[Path]:
    """Halves of backups whose process was killed: nobody writes one for a day."""
    halves = [
        (path, _at_ms(path.name.removesuffix(backup.PARTIAL))) for path in folder.glob(f"{_PREFIX}*{backup.PARTIAL}")
    ]
    return [path for path, at_ms in halves if at_ms is not None and now_ms - at_ms > 24 * _HOUR_MS]
