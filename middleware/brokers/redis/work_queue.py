"""The queue between fetching and Dramatiq's worker threads, which wakes no more threads than needed.

``queue.PriorityQueue`` wakes one thread per message. When messages are short most of these wakes are for nothing: the thread
that is awake already has taken the message before the other has the interpreter. Here one thread is being woken at a time, the
one that slept last, and whoever takes a message while more are waiting wakes the next.
"""

import heapq
import threading
from itertools import count
from queue import Empty
from time import monotonic
from typing import Any


class WorkQueue:
    """What Dramatiq's worker uses of a ``queue.PriorityQueue``; first come, first served within a priority."""

    def __init__(self) -> None:
        self.unfinished_tasks = 0
        self._heap: list[tuple[Any, int, Any]] = []
        self._order = count()
        #: Locks of sleeping threads, the one that slept last at the end; each is held until its thread shall wake.
        self._sleeping: list[Any] = []
        #: The lock of the thread that is being woken.
        self._waking: Any = None
        self._lock = threading.Lock()
        self._all_done = threading.Condition(self._lock)

    def put(self, item: Any) -> None:
        """Add an item; its ``priority`` decides, the lowest first."""
        with self._lock:
            heapq.heappush(self._heap, (item.priority, next(self._order), item))
            self.unfinished_tasks += 1
            self._wake_one()

    def get(self, block: bool = True, timeout: float | None = None) -> Any:  # noqa: FBT001, FBT002 - queue.Queue's signature
        """Take the first item.

        Raises:
            queue.Empty: there was none within ``timeout`` seconds.
        """
        end_s = None if timeout is None else monotonic() + timeout
        while True:
            with self._lock:
                if self._heap:
                    item = heapq.heappop(self._heap)[2]
                    if self._heap:
                        self._wake_one()
                    return item
                if not block or (end_s is not None and end_s <= monotonic()):
                    raise Empty
                mine = threading.Lock()
                mine.acquire()
                self._sleeping.append(mine)
            mine.acquire(timeout=-1 if end_s is None else max(0.0, end_s - monotonic()))
            with self._lock:
                if self._waking is mine:
                    self._waking = None
                else:
                    self._sleeping.remove(mine)

    def _wake_one(self) -> None:
        if self._waking is None and self._sleeping:
            self._waking = self._sleeping.pop()
            self._waking.release()

    def get_nowait(self) -> Any:
        """See :meth:`get`."""
        return self.get(block=False)

    def empty(self) -> bool:
        """Whether nothing waits at this moment."""
        return not self._heap

    def qsize(self) -> int:
        """How many items wait at this moment."""
        return len(self._heap)

    def task_done(self) -> None:
        """Say that an item that was taken is done with.

        Raises:
            ValueError: more often than items were put.
        """
        with self._lock:
            if self.unfinished_tasks <= 0:
                raise ValueError("task_done() called too many times")
            self.unfinished_tasks -= 1
            if self.unfinished_tasks == 0:
                self._all_done.notify_all()

    def join(self) -> None:
        """Wait until every item is done with."""
        with self._lock:
            while self.unfinished_tasks:
                self._all_done.wait()

    @property
    def all_tasks_done(self) -> threading.Condition:
        """``queue.Queue``'s name."""
        return self._all_done
