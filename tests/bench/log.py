"""What ran when: workers write one record per executed message, the driver reads them while they come.

A record is (number of the message, CLOCK_MONOTONIC in ns), written into a file that both sides map. Writing takes 0.3 µs, makes
no system call and does not let go of the GIL, so it neither adds to what is measured nor changes how threads take turns.
"""

import itertools
import mmap
import os
import struct
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from time import monotonic_ns

#: Records that one process may write; the file is sparse.
CAPACITY = 1 << 21
_RECORD = struct.Struct("qq")
_BYTES = CAPACITY * _RECORD.size


class Writer:
    """The log of this process; a forked child gets its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._open()
        os.register_at_fork(after_in_child=self._open)

    def _open(self) -> None:
        with (self._folder / str(os.getpid())).open("w+b") as file:
            file.truncate(_BYTES)
            self._cells = memoryview(mmap.mmap(file.fileno(), _BYTES)).cast("q")
        self._next = itertools.count()

    def note(self, number: int) -> None:
        """Record that the body of a message runs now. Safe to call from many threads."""
        at = next(self._next) * 2
        self._cells[at] = number
        self._cells[at + 1] = monotonic_ns()


@dataclass(frozen=True, slots=True)
class Record:
    """One execution."""

    pid: int
    number: int
    at_ns: int


class _Times:
    """Times of one process' log, as a sequence that ``bisect`` can search for its end."""

    def __init__(self, path: Path) -> None:
        self.pid = int(path.name)
        with path.open("rb") as file:
            self.cells = memoryview(mmap.mmap(file.fileno(), _BYTES, prot=mmap.PROT_READ)).cast("q")
        self.count = 0

    def __len__(self) -> int:
        return CAPACITY

    def __getitem__(self, index: int) -> int:
        return 0 if self.cells[index * 2 + 1] else 1

    def refresh(self) -> int:
        self.count = bisect_left(self, 1, lo=self.count)
        return self.count

    def records(self, first: int) -> Iterator[Record]:
        for index in range(first, self.refresh()):
            yield Record(self.pid, self.cells[index * 2], self.cells[index * 2 + 1])


class Log:
    """All records of all workers of one arena."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._processes: dict[str, _Times] = {}
        self._forgotten: dict[str, int] = {}

    def _refresh(self) -> list[tuple[str, _Times]]:
        for path in self.folder.iterdir():
            # A worker makes the file first and gives it its size then.
            if path.name not in self._processes and path.stat().st_size == _BYTES:
                self._processes[path.name] = _Times(path)
        return list(self._processes.items())

    def count(self) -> int:
        """Records since :meth:`forget`; cheap, for polling."""
        return sum(times.refresh() - self._forgotten.get(name, 0) for name, times in self._refresh())

    def forget(self) -> None:
        """Leave out what is there from now on."""
        self._forgotten = {name: times.refresh() for name, times in self._refresh()}

    def records(self) -> list[Record]:
        """Records since :meth:`forget`, in order of time."""
        found = [one for name, times in self._refresh() for one in times.records(self._forgotten.get(name, 0))]
        return sorted(found, key=lambda record: record.at_ns)
