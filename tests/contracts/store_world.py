"""What a store's contract needs of the world around the store: rows to find, and a look at what became of them.

The contract suites take a ``world`` fixture that returns one; a host writes one for its own store and runs the suites.
"""

import threading
from collections.abc import Callable
from typing import Any, Protocol

from actors.domain import AttemptState, SendAttempt
from actors.stores.base import Store
from actors.stores.rows import ConversationRow, MessageRow, Row

#: Some moment in 2025; times of the suites count from here.
NOW_MS = 1_760_000_000_000
DAY_MS = 24 * 60 * 60 * 1000
PHONE = "+5511988887777"
GROUP = "5511988887777-1396034900@g.us"


class World(Protocol):
    """Rows behind one store. Empty when a test begins."""

    store: Store

    def new_id(self) -> str:
        """An id that a message or conversation may have, and none has had."""
        ...

    def add(self, *rows: Row) -> None:
        """Commit rows as the host would; a conversation comes before its messages."""
        ...

    def message(self, message_id: str) -> MessageRow:
        """The row as it is now."""
        ...

    def conversation(self, conversation_id: str) -> ConversationRow:
        """The row as it is now."""
        ...

    def another_store(self) -> Store:
        """A second store over the same rows, as another process has one."""
        ...

    def write_group_key(self, conversation_id: str, key: str, value: str) -> None:
        """Add a key to a group's metadata without losing another writer's, as careful code of the host does."""
        ...

    def leave_thread(self) -> None:
        """Called at the end of every thread of a race."""
        ...


def conversation(world: World, **values: Any) -> ConversationRow:
    """Commit a conversation of a person."""
    row = ConversationRow(**{"id": world.new_id(), "contact_phone": PHONE, "instance_name": "line-1", **values})
    world.add(row)
    return row


def group(world: World, **values: Any) -> ConversationRow:
    """Commit a conversation of a group."""
    return conversation(world, **{"conversation_type": "group", "contact_phone": GROUP, **values})


def message(world: World, thread: ConversationRow | None = None, **values: Any) -> MessageRow:
    """Commit a message, in a conversation of its own where none is given."""
    thread = thread or conversation(world)
    row = MessageRow(
        **{"id": world.new_id(), "conversation_id": thread.id, "created_at_ms": NOW_MS, "content": "hello", **values}
    )
    world.add(row)
    return row


def first(
    message_id: str, part: int = 0, *, now_ms: int = NOW_MS, instance: str = "line-1", **values: Any
) -> SendAttempt:
    """What whoever sends a part for the first time claims."""
    return SendAttempt(
        message_id=message_id,
        part=part,
        state=AttemptState.SENDING,
        number=1,
        instance_name=instance,
        started_at_ms=now_ms,
        deadline_at_ms=now_ms + DAY_MS,
        **values,
    )


def again(before: SendAttempt, *, now_ms: int = NOW_MS, instance: str = "line-1") -> SendAttempt:
    """What whoever sends a part again claims."""
    return before.again(instance_name=instance, now_ms=now_ms, deadline_at_ms=now_ms + DAY_MS)


def claim(store: Store, message_id: str, part: int = 0, **values: Any) -> SendAttempt:
    """Claim a part that was never tried."""
    taken = store.claim(first(message_id, part, **values))
    assert taken is not None
    return taken


def race(world: World, callers: int, call: Callable[[int], Any]) -> list[Any]:
    """What ``call(0)`` … ``call(callers - 1)`` returned, all begun at the same moment in threads of their own.

    Raises:
        AssertionError: one raised, or did not end in time.
    """
    begin = threading.Barrier(callers)
    results: list[Any] = [None] * callers
    errors: list[BaseException] = []

    def run(index: int) -> None:
        try:
            begin.wait(timeout=30)
            results[index] = call(index)
        except BaseException as error:  # a thread has nobody else to tell
            errors.append(error)
        finally:
            world.leave_thread()

    threads = [threading.Thread(target=run, args=(index,), daemon=True) for index in range(callers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert not any(thread.is_alive() for thread in threads)
    assert errors == []
    return results
