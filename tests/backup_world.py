"""What the tests of backups share: a queue copied to a file, emptied, and filled from it."""

import gzip
import json
from pathlib import Path
from typing import Any

import redis

from middleware import backup, backup_restore
from middleware.brokers.redis.copies import Copies
from middleware.brokers.redis.transitions import Transitions
from middleware.clock import SystemClock


class Vault:
    """Copies of the queues of one prefix, in files of a folder."""

    def __init__(self, moves: Transitions, folder: Path, queue_names: list[str]) -> None:
        self.moves, self.folder, self.queue_names = moves, folder, queue_names
        self.copies = Copies(moves.scripts)
        self.number = 0

    @property
    def client(self) -> redis.Redis:
        return self.moves.scripts.client

    def create(self, **options: Any) -> Path:
        self.number += 1
        path = self.folder / f"backup-{self.number}.jsonl.gz"
        backup.create(self.copies, path, queue_names=self.queue_names, **options)
        return path

    def restore(self, path: Path, **options: Any) -> backup_restore.Restored:
        token = options.pop("token", f"{path.name}@{SystemClock().now_ms()}")
        return backup_restore.restore(self.copies, path, token=token, **options)

    def round_trip(self) -> backup_restore.Restored:
        """Copy, lose everything, put it back."""
        path = self.create()
        self.client.flushdb()
        restored = self.restore(path)
        path.unlink()
        return restored


def lines(path: Path) -> list[dict[str, Any]]:
    """Every line of a backup that is not encrypted."""
    with gzip.open(path, "rt") as text:
        return [json.loads(line) for line in text]


def of_kind(path: Path, kind: str) -> list[dict[str, Any]]:
    return [line for line in lines(path) if line.get("kind") == kind]


def rewrite(path: Path, changed: list[dict[str, Any]]) -> None:
    """Write lines as somebody would who does not know of the checksum."""
    with gzip.open(path, "wt") as text:
        text.writelines(json.dumps(line) + "\n" for line in changed)
