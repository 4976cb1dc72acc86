"""The sweep ends every send that the queue does not know of; the sampler records one sample a minute."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
import redis
from housekeeping_world import DEADLINE_MS, HOUR_MS, NOW_MS, SUITE_MS, SWEEP_MS, World

import actors
from actors import housekeeping, services
from actors.domain import AttemptState, MessageStatus
from actors.errors import BadRecipient, Transient
from actors.housekeeping import expire, record_memory_usage, send_again, sweep_pending
from actors.stores.rows import AttachmentRow
from middleware.brokers.redis.embedded import EmbeddedRedis
from middleware.memory import latest


@pytest.fixture
def world(redis_server: EmbeddedRedis, queue_client: redis.Redis) -> Iterator[World]:
    yield World(redis_server, queue_client)
    actors.broker.close()
    services.install(None)


pytestmark = pytest.mark.redis

# -- sending again -------------------------------------------------------------------------------------------------


def test_what_redis_lost_is_sent_again_and_young_or_ended_rows_are_not(world):
    world.say("lost", age_ms=SWEEP_MS + 1)
    world.say("young", age_ms=SWEEP_MS - 1_000)
    world.say("sent", age_ms=HOUR_MS, status=MessageStatus.SENT)
    world.say("failed", age_ms=HOUR_MS, status=MessageStatus.FAILED)
    world.say("note", age_ms=HOUR_MS, is_internal=True)
    world.say("inbound", age_ms=HOUR_MS, direction="incoming")

    sweep_pending()

    assert world.queued() == ["lost"]


def test_what_is_still_queued_is_not_doubled(world):
    world.say("m1", age_ms=HOUR_MS)
    actors.send_message.send("m1")
    for _ in range(3):
        sweep_pending()

    assert world.queued() == ["m1"]


def test_rows_that_wait_do_not_hide_those_behind_them(world):
    names = [f"m{number:04}" for number in range(2 * housekeeping.PAGE + 10)]
    for number, name in enumerate(names):
        world.say(name, age_ms=HOUR_MS - number)

    sweep_pending()

    assert world.queued() == names


def test_a_sweep_that_runs_out_of_time_goes_on_where_it_was(world):
    names = [f"m{number:04}" for number in range(housekeeping.PAGE + 10)]
    for number, name in enumerate(names):
        world.say(name, age_ms=HOUR_MS - number)
    world.clock.step_ms = housekeeping.SWEEP_FOR_MS

    sweep_pending()

    assert world.queued() == names[: housekeeping.PAGE]
    (body,) = world.client.hvals("chat:queue:housekeeping.msgs")
    successor = actors.broker.decode(body)
    assert (successor.actor_name, successor.args) == ("sweep_pending", (names[housekeeping.PAGE - 1],))
    world.clock.step_ms = 0
    sweep_pending(*successor.args)
    assert world.queued() == names


class Refusing:
    """A broker whose ``send_message`` refuses some ids."""

    def __init__(self, refuse: dict[str, Exception]) -> None:
        self.refuse = refuse
        self.sent: list[str] = []

    def get_actor(self, name: str) -> "Refusing":
        assert name == "send_message"
        return self

    def send_with_options(self, *, kwargs: dict[str, str], on_commit: bool, robust: bool) -> None:
        # Whatever a host set for its own sends.
        assert (on_commit, robust) == (False, False)
        message_id = kwargs["message_id"]
        if message_id in self.refuse:
            raise self.refuse[message_id]
        self.sent.append(message_id)


def test_a_row_that_cannot_be_sent_does_not_stop_the_others(world, caplog):
    for name in ("m1", "m2", "m3"):
        world.say(name, age_ms=HOUR_MS)
    broker = Refusing({"m2": BadRecipient("no number")})

    assert send_again(world.work, broker, end_ms=10**9) is None

    assert broker.sent == ["m1", "m3"]
    assert [vars(record)["code"] for record in caplog.records] == ["bad_recipient"]


def test_a_store_that_is_down_ends_the_sweep_so_that_it_is_tried_again(world):
    world.say("m1", age_ms=HOUR_MS)
    with pytest.raises(Transient):
        send_again(world.work, Refusing({"m1": Transient("down")}), end_ms=10**9)


# -- the deadline --------------------------------------------------------------------------------------------------


def codes(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [vars(record)["code"] for record in caplog.records if record.getMessage() == "message.expired"]


def test_a_row_that_nobody_ended_fails_some_time_after_its_deadline(world, caplog):
    world.say("over", age_ms=DEADLINE_MS + SWEEP_MS + 1)
    world.say("due", age_ms=DEADLINE_MS - HOUR_MS)

    assert world.expire_all() == 1

    assert (world.status("over"), world.status("due")) == (MessageStatus.FAILED, MessageStatus.PENDING)
    assert codes(caplog) == ["expired"]
    assert [vars(record)["chat_message_id"] for record in caplog.records] == ["over"]


def test_a_row_that_redis_lost_is_first_left_to_the_actor_however_old_it_is(world):
    world.say("m1", age_ms=5 * DEADLINE_MS)

    assert world.expire() == 0

    assert world.status("m1") == MessageStatus.PENDING
    assert world.queued() == ["m1"]


def test_a_redriven_send_has_its_deadline_from_the_redrive(world):
    world.say("m1", age_ms=5 * DEADLINE_MS)
    actors.send_message.send_with_options(args=("m1",), redriven_at_ms=NOW_MS)

    assert world.expire_all() == 0
    world.clock.at_ms += DEADLINE_MS + SWEEP_MS
    assert world.expire() == 1


@pytest.mark.parametrize("state", [AttemptState.UNKNOWN, AttemptState.SENDING])
def test_a_row_whose_request_may_have_gone_out_fails_as_unknown(world, caplog, state):
    world.say("m1", age_ms=2 * DEADLINE_MS)
    world.attempt("m1", state, age_ms=DEADLINE_MS)

    assert world.expire_all() == 1

    assert world.status("m1") == MessageStatus.FAILED
    assert codes(caplog) == ["delivery_unknown"]


def test_a_request_under_way_is_left_to_end(world):
    world.say("m1", age_ms=2 * DEADLINE_MS)
    world.attempt("m1", AttemptState.SENDING, age_ms=-(SWEEP_MS + SUITE_MS) + world.work.settings.time_limit_ms - 1)

    assert world.expire_all() == 0
    assert world.status("m1") == MessageStatus.PENDING


def test_a_row_whose_every_part_is_out_becomes_sent_and_never_failed(world):
    """Its job may be at a gate that nobody opens any more."""
    world.say("m1", age_ms=2 * DEADLINE_MS)
    world.attempt("m1", AttemptState.ACCEPTED, age_ms=DEADLINE_MS)

    assert world.expire_all() == 0

    assert world.status("m1") == MessageStatus.SENT


def test_a_row_of_which_only_a_part_is_out_has_expired_and_says_so(world, caplog):
    world.say("m1", age_ms=2 * DEADLINE_MS)
    world.store.add(
        *(
            AttachmentRow(
                message_id="m1", created_at_ms=number, mime_type="image/png", file_url=f"https://a.example/{number}"
            )
            for number in range(2)
        )
    )
    world.attempt("m1", AttemptState.ACCEPTED, age_ms=DEADLINE_MS)

    assert world.expire_all() == 1

    assert world.status("m1") == MessageStatus.FAILED
    assert codes(caplog) == ["expired"]
    assert "1 of its parts" in world.store.message("m1").error_message


def test_a_row_that_was_provably_not_sent_has_expired(world, caplog):
    world.say("m1", age_ms=2 * DEADLINE_MS)
    world.attempt("m1", AttemptState.RETRYABLE, age_ms=DEADLINE_MS)
    world.expire_all()

    assert codes(caplog) == ["expired"]


def test_a_row_that_cannot_even_be_sent_ends_too(world):
    world.say("m1", age_ms=2 * DEADLINE_MS)

    assert expire(world.work, Refusing({"m1": BadRecipient("no number")}), end_ms=10**9) == 1


def test_many_expired_rows_are_failed_page_by_page_within_the_time(world):
    for number in range(2 * housekeeping.PAGE):
        world.say(f"m{number}", age_ms=2 * DEADLINE_MS - number)
    world.expire()
    world.clock.at_ms += SWEEP_MS + SUITE_MS

    assert world.expire(end_ms=0) == housekeeping.PAGE
    assert world.expire() == housekeeping.PAGE
    assert world.expire() == 0


def test_the_deadline_is_that_of_the_settings(world):
    world.say("m1", age_ms=3 * HOUR_MS)
    world.work = replace(world.work, settings=replace(world.work.settings, send_deadline_s=3_600, sweep_after_s=60))

    assert world.expire_all() == 1


# -- the memory ----------------------------------------------------------------------------------------------------


def test_one_sample_a_minute_is_recorded_with_every_queue(world):
    world.say("m1", age_ms=0)
    actors.send_message.send("m1")
    record_memory_usage()
    record_memory_usage()

    samples = latest(world.client, "chat:queue:__memory__", count=10)
    assert 1 <= len(samples) <= 2
    shown = samples[0].as_json()
    assert set(shown["queues"]) == {
        "send_message",
        "fetch_profile_pic",
        "fetch_group_info",
        "housekeeping",
        "watch_instance",
    }
    assert shown["queues"]["send_message"] == {
        "ready": 1,
        "delayed": 0,
        "in_flight": 0,
        "waiting_in_lane": 0,
        "waiting_in_group": 0,
        "dead": 0,
        "oldest_ready_age_s": pytest.approx(0, abs=5),
        "oldest_dead_age_s": None,
        "next_due_in_s": None,
        "paused_for_s": None,
        "estimated_bytes": pytest.approx(1_000, rel=1),
    }
    assert shown["used_memory_bytes"] > 0
    assert shown["databases"]["2"]["estimated_bytes"] > 100
