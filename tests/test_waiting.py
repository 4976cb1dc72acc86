"""The two ways to wait for a fact."""

import time

import pytest
from waiting import stays, until


def test_a_fact_that_holds_is_returned_at_once():
    begin_s = time.monotonic()

    assert until(lambda: "found", within_ms=60_000) == "found"
    assert time.monotonic() - begin_s < 5


def test_a_fact_that_comes_is_waited_for():
    looks = iter([0, 0, 3])

    assert until(lambda: next(looks), within_ms=60_000, poll_ms=1) == 3


def test_a_fact_that_never_comes_fails_and_shows_the_last_value():
    empty = []

    with pytest.raises(AssertionError, match=r"still \[\] after 20 ms: .*test_waiting.py"):
        until(lambda: empty, within_ms=20)


def test_a_fact_that_ends_too_early_is_noticed():
    looks = iter([1, 1, 0])

    with pytest.raises(AssertionError, match="no longer true after"):
        stays(lambda: next(looks), for_ms=60_000, poll_ms=1)


def test_a_fact_that_lasts_is_watched_to_the_end():
    begin_s = time.monotonic()

    stays(lambda: True, for_ms=30)

    assert time.monotonic() - begin_s >= 0.03
