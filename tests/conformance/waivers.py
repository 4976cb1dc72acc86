"""Which of Dramatiq's own tests the carrier need not pass, each with its reason and a test of ours for the same promise.

``test_dramatiq_suite.py`` holds the runs against it: a waiver for a test that passes, or is no more, is a fault too. The table in
``docs/architecture.md`` shows it.
"""

from dataclasses import dataclass

OURS = "tests/conformance/test_same_promises.py"


@dataclass(frozen=True)
class Waiver:
    """``name`` is the file and the function of Dramatiq's test; ``ours`` a function in ``OURS``."""

    name: str
    reason: str
    ours: str


_KEYS = "reads stock's keys"
_NUMBERS = "expects stock's numbers"
_INDEX = "indexes the stub's `queues`"
_RAISE = "expects the stub's `join`, which raises what an actor raised"

#: The tests of Redis brokers look into stock's layout.
PLAIN = (
    Waiver(
        "test_redis.py::test_redis_unacked_messages_can_be_requeued",
        _KEYS,
        "test_what_a_broker_took_and_never_finished_runs_elsewhere",
    ),
    Waiver(
        "test_redis.py::test_redis_requeues_unhandled_delay_messages_on_shutdown",
        _KEYS,
        "test_a_delayed_message_is_left_alone_by_a_worker_that_comes_and_goes",
    ),
    Waiver(
        "test_redis.py::test_redis_join_race_condition",
        _NUMBERS,
        "test_what_runs_and_what_is_delayed_are_counted_together",
    ),
)

#: The tests of the stub know what only a broker in memory has. Stock's own Redis broker fails each of them too.
SWAP = (
    Waiver("test_actors.py::test_actors_can_be_sent_messages", _INDEX, "test_what_was_sent_is_what_is_received"),
    *(
        Waiver(f"test_actors.py::{name}", _INDEX, "test_an_eta_that_is_no_number_holds_no_message_up")
        for name in ("test_worker_handles_non_numeric_eta_and_logs_warning", "test_worker_handles_none_eta")
    ),
    *(
        Waiver(f"test_actors.py::{name}", _RAISE, "test_a_time_limit_ends_an_actor_and_buries_its_message")
        for name in ("test_actors_can_be_assigned_time_limits", "test_actor_messages_can_be_assigned_time_limits")
    ),
    *(
        Waiver(f"test_actors.py::{name}", _RAISE, "test_a_message_above_its_age_limit_never_runs_and_is_buried")
        for name in (
            "test_actors_can_be_assigned_message_age_limits",
            "test_actor_messages_can_be_assigned_message_age_limits",
        )
    ),
    Waiver(
        "test_actors.py::test_messages_belonging_to_missing_actors_are_rejected",
        _RAISE,
        "test_a_message_for_an_actor_that_is_missing_is_buried",
    ),
    Waiver(
        "test_actors.py::test_workers_log_rate_limit_exceeded_errors_differently",
        _RAISE,
        "test_a_message_over_a_rate_limit_is_buried_without_an_error_in_the_log",
    ),
)
