"""The sweep ends every send that the queue does not know of; the sampler records one sample a minute."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import redis

import actors
from actors import housekeeping, services
from actors.domain import AttemptState, MessageStatus
from actors.errors import BadRecipient, Transient
from actors.housekeeping import expire, record_memory_usage, send_again, sweep_pending
from actors.services import Services
from actors.settings import Hidden, Settings
from actors.stores.memory import MemoryStore
from actors.stores.rows import ConversationRow, MessageRow
from middleware.brokers.redis.embedded import EmbeddedRedis
from middleware.clock import SystemClock
from middleware.memory import latest

# Dramatiq stamps messages by the machine's clock.
NOW_MS = SystemClock().now_ms()
HOUR_MS = 60 * 60 * 1000
DEADLINE_MS = 24 * HOUR_MS
SWEEP_MS = 10 * 60 * 1000
#: The suite runs no longer: jobs are stamped by the machine, later than NOW_MS by as much as it has run.
SUITE_MS = 30 * 60 * 1000


class SetClock:
    """Time as the test says; each look at the boot clock takes ``step_ms``."""

    def __init__(self) -> None:
        self.at_ms = NOW_MS
        self.boot = 0
        self.step_ms = 0

    def now_ms(self) -> int:
        return self.at_ms

    def boot_ms(self) -> int:
        self.boot += self.step_ms
        return self.boot

    def wait(self, seconds: float, *, until: threading.Event) -> bool:
        return until.is_set()


class World:
    """Rows in a store, and a queue on a real Redis."""

    def __init__(self, server: EmbeddedRedis, client: redis.Redis) -> None:
        self.clock = SetClock()
        self.store = MemoryStore()
        self.client = client
        self.store.add(ConversationRow(id="c1", contact_phone="+5511988887777", tenant_id="t", instance_name="i1"))
        settings = Settings(redis_url=Hidden(server.url(0)), store="memory", scheduler="none")
        self.work = Services(settings=settings, store=self.store, clock=self.clock)
        services.install(self.work)

    def say(self, id_: str, *, age_ms: int, **row: Any) -> None:
        self.store.add(MessageRow(id=id_, conversation_id="c1", content="olá", created_at_ms=NOW_MS - age_ms, **row))

    def attempt(self, id_: str, state: AttemptState, *, age_ms: int) -> None:
        at_ms = NOW_MS - age_ms
        claimed = self.store.claim(id_, 0, instance_name="i1", now_ms=at_ms, deadline_at_ms=at_ms + DEADLINE_MS)
        if state is not AttemptState.SENDING:
            self.store.settle(claimed, state)

    def status(self, id_: str) -> str:
        return self.store.load_message(id_).status

    def expire(self, *, end_ms: int = 10**9) -> int:
        return expire(self.work, actors.broker, end_ms=end_ms)

    def expire_all(self) -> int:
        """Let the sweep see every row, and see it again when its job has had its chance."""
        assert self.expire() == 0
        self.clock.at_ms += SWEEP_MS + SUITE_MS
        return self.expire()

    def queued(self) -> list[str]:
        """Chat messages with a message in the queue, sorted."""
        stats = actors.broker.transitions.stats(["send_message"])[0]
        bodies = self.client.hvals("chat:queue:send_message.msgs")
        ids = [actors.broker.decode(body).kwargs["message_id"] for body in bodies]
        assert stats.counters.get("enqueued", 0) == len(ids)
        return sorted(ids)


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

    def send(self, message_id: str) -> None:
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


def test_a_row_of_which_something_is_out_is_sent_again_and_never_failed(world):
    world.say("m1", age_ms=2 * DEADLINE_MS)
    world.attempt("m1", AttemptState.ACCEPTED, age_ms=DEADLINE_MS)

    assert world.expire_all() == 0

    assert world.status("m1") == MessageStatus.PENDING
    assert world.queued() == ["m1"]


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
    assert set(shown["queues"]) == {"send_message", "fetch_profile_pic", "fetch_group_info", "housekeeping"}
    assert shown["queues"]["send_message"] == {
        "ready": 1,
        "delayed": 0,
        "in_flight": 0,
        "waiting_in_lane": 0,
        "dead": 0,
        "oldest_ready_age_s": pytest.approx(0, abs=5),
    }
    assert shown["used_memory_bytes"] > 0
    assert shown["databases"]["2"]["estimated_bytes"] > 100
