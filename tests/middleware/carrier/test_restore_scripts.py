"""The scripts behind a restore, each alone: what they put back into what is there, and what they leave alone."""

import json

import pytest
from carrier_world import LONG_MS, QUEUE, depths, gate, gate_of, ids, run_all, take
from copies_world import TOKEN, copies, facts

from middleware.brokers.redis.copies import CopiedGates, CopiedLetter, CopiedMessage, RestoreUnderWay
from middleware.outcomes import Dead, Done

__all__ = ["copies"]

pytestmark = pytest.mark.redis

#: Not so old that it is removed.
DIED_AT_MS = 4_000_000_000_000


def message(id_: str, *, eta_ms: int = 0, holds: bool = False, crashes: int = 0, **names: str) -> CopiedMessage:
    return CopiedMessage(id_.encode(), f"body of {id_}".encode(), facts(**names), eta_ms, holds, crashes)


def letter(id_: str, *, told: bool = True, sequence: int = 7, reason: str = "x", **about: str) -> CopiedLetter:
    record = {"reason": reason, "fingerprint": "alike", "sequence": sequence, "about": {"flags": "", **about}}
    return CopiedLetter(id_.encode(), DIED_AT_MS, json.dumps(record).encode(), f"body of {id_}".encode(), told)


class TestRestore:
    def put(self, copies, *messages: CopiedMessage) -> list[str]:
        return copies.put_messages(QUEUE, messages, token=TOKEN)

    def test_each_goes_where_it_belongs(self, moves, copies):
        gate(moves, "shut", limit=0)
        later = copies.now_ms() + LONG_MS

        states = self.put(
            copies,
            message("plain"),
            message("a0", lane="a", unique_key="k"),
            message("a1", lane="a"),
            message("late", eta_ms=later),
            message("held", group="shut"),
        )

        assert states == ["new"] * 5
        stats = moves.stats([QUEUE])[0]
        assert (stats.ready, stats.waiting_in_lane, stats.waiting_in_group, stats.delayed) == (2, 1, 1, 1)
        assert moves.holder_of_key(QUEUE, "k") == "a0"
        assert ids(take(moves, 2)) == ["plain", "a0"]

    def test_a_second_time_changes_nothing(self, moves, copies):
        first = self.put(copies, message("m0", lane="a"), message("m1", lane="a"))
        before = depths(moves)

        assert (first, self.put(copies, message("m0", lane="a"), message("m1", lane="a"))) == (
            ["new"] * 2,
            ["known"] * 2,
        )
        assert depths(moves) == before

    def test_what_ended_or_died_since_stays_so(self, moves, put, copies):
        put("done")
        put("dead")
        moves.finish(take(moves, 1)[0].lease, Done(), body=b"")
        moves.finish(take(moves, 1)[0].lease, Dead("x"), body=b"")

        assert self.put(copies, message("done"), message("dead"), message("new")) == ["known", "known", "new"]
        assert run_all(moves) == ["new"]

    def test_the_same_twice_in_one_call_is_there_once(self, moves, copies):
        assert self.put(copies, message("m"), message("m")) == ["new", "known"]
        assert run_all(moves) == ["m"]

    def test_whose_unique_key_is_taken_stays_away(self, moves, put, copies):
        put("sent again", unique_key="k")

        assert self.put(copies, message("m0", unique_key="k"), message("m1", unique_key="j")) == ["duplicate", "new"]
        assert moves.holder_of_key(QUEUE, "k") == "sent again"
        assert sorted(run_all(moves)) == ["m1", "sent again"]

    def test_a_holder_that_waits_for_its_time_keeps_its_lane(self, moves, copies, queue_client, keys):
        later = copies.now_ms() + LONG_MS
        self.put(copies, message("m0", lane="a", eta_ms=later, holds=True), message("m1", lane="a"))

        assert take(moves) == []
        queue_client.zadd(keys.of(QUEUE, "delayed"), {"m0": 1})
        assert run_all(moves) == ["m0", "m1"]

    def test_a_delayed_one_that_held_no_lane_holds_none(self, moves, copies):
        later = copies.now_ms() + LONG_MS
        self.put(copies, message("m0", lane="a", eta_ms=later), message("m1", lane="a"))

        assert run_all(moves) == ["m1"]

    def test_it_goes_behind_those_who_are_in_its_lane(self, moves, put, copies):
        put("new0", lane="a")
        put("new1", lane="a")

        self.put(copies, message("old", lane="a", holds=True))

        assert run_all(moves) == ["new0", "new1", "old"]

    def test_starts_without_an_outcome_are_counted_on(self, moves, copies):
        self.put(copies, message("m", crashes=2))

        assert take(moves, 1)[0].deliveries == 3

    def test_it_wakes_a_worker(self, copies, queue_client, keys):
        self.put(copies, message("m"))

        assert queue_client.llen(keys.of(QUEUE, "wake")) == 1

    def test_only_one_restores_at_a_time(self, moves, copies):
        with pytest.raises(RestoreUnderWay):
            copies.begin("another")
        with pytest.raises(RestoreUnderWay):
            copies.put_messages(QUEUE, [message("m")], token="another")
        copies.end("another")
        assert self.put(copies, message("m")) == ["new"]
        copies.end(TOKEN)
        copies.begin("another")


class TestRestoreLetters:
    def put(self, copies, *letters: CopiedLetter) -> list[str]:
        return copies.put_letters(QUEUE, letters, token=TOKEN)

    def test_it_is_found_as_before_and_whoever_dies_next_is_newer(self, moves, put, copies, queue_client, keys):
        assert self.put(copies, letter("m", sequence=500, lane="a", group="g")) == ["new"]
        put("next")
        moves.finish(take(moves, 1)[0].lease, Dead("x", fingerprint="alike"), body=b"")

        index = [one.decode().split("\0") for one in queue_client.zrange(keys.of(QUEUE, "dead_index"), 0, -1)]
        assert [(kind, value) for kind, value, _, id_ in index if id_ == "m"] == [
            ("f", "alike"),
            ("g", "g"),
            ("l", "a"),
            ("r", "x"),
        ]
        assert [id_ for kind, _, _, id_ in index if kind == "f"] == ["m", "next"]
        assert queue_client.hgetall(keys.of(QUEUE, "fingerprints")) == {b"alike": b"2"}
        assert queue_client.zscore(keys.of(QUEUE, "dead"), "m") == DIED_AT_MS
        assert moves.redrive(QUEUE, "m", body=b"fresh") == "redriven"

    def test_what_is_there_lives_or_ended_is_known(self, moves, put, copies):
        for name in ("done", "dead", "live"):
            put(name)
        moves.finish(take(moves, 1)[0].lease, Done(), body=b"")
        moves.finish(take(moves, 1)[0].lease, Dead("x"), body=b"")

        assert self.put(copies, *map(letter, ("done", "dead", "live", "m", "m"))) == [*["known"] * 3, "new", "known"]
        assert depths(moves)[4] == 2

    def test_one_that_nobody_was_told_of_is_announced_and_keeps_its_key(self, moves, put, copies):
        self.put(copies, letter("m", told=False, unique_key="k"), letter("told", unique_key="j"))

        assert [raw.id for raw in moves.announce(QUEUE, limit=9, hold_ms=LONG_MS)] == ["m"]
        assert (put("again", unique_key="k").state, put("other", unique_key="j").state) == ("duplicate", "new")

    def test_one_that_held_its_lane_holds_it_again(self, moves, copies):
        self.put(copies, letter("m", lane="a", flags="d"))
        copies.put_messages(QUEUE, [message("next", lane="a")], token=TOKEN)

        assert take(moves) == []
        moves.discard(QUEUE, ["m"])
        assert run_all(moves) == ["next"]

    def test_a_lane_that_is_in_use_is_left_to_whoever_has_it(self, moves, put, copies):
        put("live", lane="a")

        self.put(copies, letter("m", lane="a", flags="d"))

        assert run_all(moves) == ["live"]

    def test_what_is_no_letter_is_left_out(self, moves, copies):
        broken = letter("m")._replace(letter=b"[1")

        assert self.put(copies, broken, letter("n")) == ["unreadable", "new"]
        assert depths(moves)[4] == 1

    def test_only_for_whoever_restores(self, copies):
        with pytest.raises(RestoreUnderWay):
            copies.put_letters(QUEUE, [letter("m")], token="another")


class TestRestoreGates:
    def test_an_empty_queue_gets_its_pause_and_gates(self, moves, copies, queue_client):
        gate(moves, "g", limit=2, interval_ms=50)
        moves.pause(QUEUE)
        found = copies.gates(QUEUE)
        copies.end(TOKEN)
        queue_client.flushdb()
        copies.begin(TOKEN)

        assert copies.put_gates(QUEUE, found, token=TOKEN)
        assert (gate_of(moves, "g").limit, gate_of(moves, "g").interval_ms) == (2, 50)
        assert not moves.pause(QUEUE)

    def test_a_queue_in_use_keeps_its_own(self, moves, put, copies):
        put("m")

        assert not copies.put_gates(QUEUE, CopiedGates(1_000, {b"g": b"0 0 0 1 0 5 0"}), token=TOKEN)
        assert moves.gates(QUEUE) == []
        assert run_all(moves) == ["m"]

    def test_nothing_set_sets_nothing(self, moves, copies):
        assert copies.put_gates(QUEUE, CopiedGates(0, {}), token=TOKEN)
        assert (moves.gates(QUEUE), moves.resume(QUEUE)) == ([], False)

    def test_only_for_whoever_restores(self, copies):
        with pytest.raises(RestoreUnderWay):
            copies.put_gates(QUEUE, CopiedGates(0, {}), token="another")
