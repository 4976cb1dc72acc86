"""Have the next items of an iterator made in a thread while the last ones are used.

``middleware.backup`` reads Redis' next slice while it writes the last one, ``backup_restore`` reads the file while Redis works.
"""

import threading
from collections.abc import Iterable, Iterator
from queue import SimpleQueue
from typing import TypeVar

T = TypeVar("T")

#: Items that are made and not used yet, at most: what bounds the memory.
DEPTH = 4


def ahead(items: Iterable[T]) -> Iterator[T]:
    """The items in their order; the error of making one is raised where it would come."""
    made: SimpleQueue[tuple[str, T | BaseException | None]] = SimpleQueue()
    room, stopped = threading.Semaphore(DEPTH), threading.Event()

    def make() -> None:
        try:
            for item in items:
                room.acquire()
                if stopped.is_set():
                    return
                made.put(("item", item))
            made.put(("end", None))
        except BaseException as error:
            made.put(("error", error))

    thread = threading.Thread(target=make, name="backup-ahead", daemon=True)
    thread.start()
    try:
        while (got := made.get())[0] == "item":
            room.release()
            yield got[1]  # type: ignore[misc]  # an item, says its name
        if isinstance(got[1], BaseException):
            raise got[1]
    finally:
        stopped.set()
        room.release()
        thread.join()
