"""A web process that is killed at one line of its way through a request, again and again.

Run by ``test_killed_web.py`` with the numbers of trials: each is a fork that commits one message and rolls another back, and
dies at a line of Python chosen by ``seed``, be it Django's, the driver's, the Redis client's or ours; of two, one dies before the
commit and one after it. Prints the lines that a whole request has.
"""

import os
import random
import signal
import sys
from collections.abc import Callable
from typing import Any

import django

django.setup()

from chat.models import Conversation, Message  # noqa: E402
from django.db import connection, transaction  # noqa: E402

import actors  # noqa: E402
from actors.django_app.send import send_on_commit  # noqa: E402


def request(number: int, *, at_commit: Callable[[], None] = lambda: None) -> None:
    with transaction.atomic():
        transaction.on_commit(at_commit)
        thread = Conversation.objects.create(contact_phone=f"+55119{number:08}", instance_name="i1", tenant_id="t")
        row = Message.objects.create(conversation=thread, content=f"kept {number}")
        send_on_commit(actors.send_message, row.pk, bulk=number % 2 == 0)
    with transaction.atomic():
        row = Message.objects.create(conversation=thread, content=f"lost {number}")
        send_on_commit(actors.send_message, row.pk)
        transaction.set_rollback(True)


def traced(call: Callable[[Callable[[], int]], None], *, die_at: int | None) -> int:
    """Lines that ``call`` has; it is told how many there were so far by what it is given."""
    lines = 0

    def trace(frame: Any, event: str, arg: Any) -> Any:
        nonlocal lines
        if event == "line":
            lines += 1
            if lines == die_at:
                os.kill(os.getpid(), signal.SIGKILL)
        return trace

    sys.settrace(trace)
    try:
        call(lambda: lines)
    finally:
        sys.settrace(None)
    return lines


def measured(number: int) -> tuple[int, int]:
    """Lines of a request until its commit, and all of them."""
    reading, writing = os.pipe()

    def whole() -> None:
        commits: list[int] = []
        lines = traced(lambda so_far: request(number, at_commit=lambda: commits.append(so_far())), die_at=None)
        os.write(writing, f"{commits[0]} {lines}".encode())

    status = in_child(whole)
    assert status == 0, status
    commit, lines = map(int, os.read(reading, 40).split())
    return commit, lines


def in_child(call: Callable[[], None]) -> int:
    """Exit status of a fork that does it."""
    pid = os.fork()
    if pid == 0:
        try:
            call()
            os._exit(0)
        except BaseException:
            os._exit(1)
    return os.waitpid(pid, 0)[1]


def main(trials: int, seed: int) -> None:
    connection.close()
    # With and without bulk.
    whole = [measured(0), measured(1)]
    places = random.Random(seed)  # noqa: S311  # any number will do
    for number in range(2, trials + 2):
        commit, lines = whole[number % 2]
        die_at = places.randrange(1, commit) if number % 4 < 2 else places.randrange(commit, lines)
        status = in_child(
            lambda number=number, die_at=die_at: traced(lambda _: request(number), die_at=die_at) and None
        )
        assert status in (0, signal.SIGKILL), (number, die_at, status)
    print(min(lines for _, lines in whole))  # noqa: T201


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
