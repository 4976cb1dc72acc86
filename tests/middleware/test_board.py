"""What workers report is added up, through their ends, and judged."""

import json
import socket
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict

import pytest
from waiting import until

from middleware.board import Board, worker_families
from middleware.clock import SystemClock
from middleware.meters import ATTEMPTS, GROUPS, MAX_VALUES, Meters
from middleware.vitals import Vitals

SOON_MS = 5_000


class ShiftedClock(SystemClock):
    """A clock that a test puts forward."""

    ahead_ms = 0

    def boot_ms(self) -> int:
        return super().boot_ms() + self.ahead_ms


@pytest.fixture
def clock() -> ShiftedClock:
    return ShiftedClock()


@pytest.fixture
def board(clock: ShiftedClock) -> Board:
    return Board(clock=clock)


@pytest.fixture
def worker(board: Board) -> Iterator[socket.socket]:
    with closing(board.open(1)) as channel:
        yield channel


def tell(channel: socket.socket, count: int, *, state: str = "serving", group: str | list[str] | None = None) -> None:
    meters = Meters()
    for name in [group] if isinstance(group, str) else group or []:
        meters.count(GROUPS, name, "done")
    meters.count(ATTEMPTS, "work", "step", "done", by=count)
    vitals = Vitals(pid=7, state=state, up_ms=1, threads=2)
    report = {"meters": meters.snapshot(), "vitals": asdict(vitals)}
    channel.sendall(json.dumps(report).encode() + b"\n")


def done(board: Board) -> float:
    rows = board.counted().get(ATTEMPTS.name, [])
    return sum(numbers[0] for _, numbers in rows)


def test_what_a_worker_counted_stays_when_it_ends_and_goes_on_with_the_next(board, worker):
    tell(worker, 5)
    until(lambda: done(board) == 5, within_ms=SOON_MS)

    worker.close()
    until(lambda: board.workers()[0].findings[0].found.startswith("ended"), within_ms=SOON_MS)
    assert done(board) == 5

    with closing(board.open(1)) as again:
        tell(again, 2)
        until(lambda: done(board) == 7, within_ms=SOON_MS)
        assert [view.starts for view in board.workers()] == [2]


def test_a_new_worker_is_there_before_the_old_one_was_read_to_its_end(board, worker):
    tell(worker, 5)
    with closing(board.open(1)) as again:
        tell(again, 1)
        until(lambda: done(board) == 6, within_ms=SOON_MS)
        tell(worker, 8)
        until(lambda: done(board) == 9, within_ms=SOON_MS)
        worker.close()

        tell(again, 2)
        until(lambda: done(board) == 10, within_ms=SOON_MS)
        assert board.verdict(of_life=False)[0]


def test_a_name_that_was_shown_stays_when_a_crowd_is_added_before_it(board):
    with closing(board.open(1)) as crowd, closing(board.open(2)) as small:
        tell(small, 1, group="mine")
        until(lambda: "mine" in groups(board), within_ms=SOON_MS)

        tell(crowd, 1, group=[f"line-{number}" for number in range(2 * MAX_VALUES)])
        until(lambda: len(groups(board)) == MAX_VALUES + 1, within_ms=SOON_MS)
        assert "mine" in groups(board)

        crowd.close()
        until(lambda: board.workers()[0].findings[0].found.startswith("ended"), within_ms=SOON_MS)
        assert "mine" in groups(board)


def groups(board: Board) -> set[str]:
    return {values[0] for values, _ in board.counted().get(GROUPS.name, [])}


def test_a_line_that_was_cut_off_harms_nothing(board, worker):
    tell(worker, 5)
    worker.sendall(b'{"meters": {\n[]\n')
    tell(worker, 6)

    until(lambda: done(board) == 6, within_ms=SOON_MS)


def test_a_worker_that_falls_silent_is_not_alive(board, worker, clock):
    tell(worker, 1)
    until(lambda: board.verdict(of_life=True)[0] and done(board) == 1, within_ms=SOON_MS)

    clock.ahead_ms = board.silent_ms + 1

    is_well, found = board.verdict(of_life=True)
    assert not is_well
    assert found["workers"][0]["checks"]["reports"]["restart_helps"]


def test_a_worker_that_never_begins_to_report_is_not_alive(board, worker, clock):
    assert board.verdict(of_life=True)[0]

    clock.ahead_ms = 130_000

    assert not board.verdict(of_life=True)[0]


@pytest.mark.parametrize("state", ["starting", "draining"])
def test_who_cannot_work_right_now_is_alive_and_not_ready(board, worker, state):
    tell(worker, 1, state=state)
    until(lambda: done(board) == 1, within_ms=SOON_MS)

    assert board.verdict(of_life=True)[0]
    assert not board.verdict(of_life=False)[0]


def test_a_worker_between_its_end_and_its_next_start_is_alive_and_not_ready(board, worker):
    worker.close()
    until(lambda: board.workers()[0].findings[0].found.startswith("ended"), within_ms=SOON_MS)

    assert board.verdict(of_life=True)[0]
    assert not board.verdict(of_life=False)[0]


def test_a_worker_that_ended_is_not_shown_as_one_that_serves(board, worker):
    tell(worker, 1)
    until(lambda: _up(board) == 1, within_ms=SOON_MS)

    worker.close()

    until(lambda: _up(board) == 0, within_ms=SOON_MS)
    assert [view.vitals for view in board.workers()] == [None]


def _up(board: Board) -> float:
    [[_, [number]]] = worker_families(board.workers())[0].rows
    return number


def test_a_worker_without_vitals_is_well_while_it_reports(board, worker, clock):
    worker.sendall(b'{"meters": {}, "vitals": null}\n')
    until(lambda: board.verdict(of_life=False)[0], within_ms=SOON_MS)

    clock.ahead_ms = board.silent_ms + 1

    assert not board.verdict(of_life=True)[0]


def test_nobody_is_not_ready(board):
    assert (board.verdict(of_life=True)[0], board.verdict(of_life=False)[0]) == (True, False)


def test_every_number_of_a_worker_is_shown_under_its_place(board, worker):
    tell(worker, 1)
    until(lambda: done(board) == 1, within_ms=SOON_MS)

    shown = {family.name: [labels for labels, _ in family.rows] for family in worker_families(board.workers())}

    assert shown["chat_actors_worker_up"] == [["1"]]
    assert shown["chat_actors_worker_starts_total"] == [["1"]]
    assert shown["chat_actors_worker_resident_bytes"] == []
