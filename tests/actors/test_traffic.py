"""A turn: who gets one, what it costs, and how long a throttle within it lasts for whom."""

from contextlib import closing
from dataclasses import replace

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from traffic_world import DOWN, INSTANCE, REFUSED, later, made_desk, met, trip

from actors.circuit import State
from actors.errors import Ambiguous, BadPayload, Throttled
from actors.pace import Kind, Pace
from actors.traffic import HOLD_LAST_MS, NO_LIMITS_WAIT_MS
from actors.trips import PLACE_WAIT_MS, place_of
from middleware.brokers.redis.embedded import EmbeddedRedis

pytestmark = pytest.mark.redis

SERIAL = Pace(concurrency=1)
HOUR_MS = 3_600_000


# -- places ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error",
    [None, DOWN, REFUSED, BadPayload("no"), Ambiguous("?"), ValueError("a bug"), KeyboardInterrupt(), SystemExit(1)],
    ids=repr,
)
def test_the_place_is_given_back_however_the_request_ends(desk, error):
    desk.paces[Kind.SEND] = SERIAL

    if error is None:
        desk.go(trip())
    else:
        met(desk, error)

    assert desk.places() == []


def test_a_place_that_could_not_be_given_back_is_given_back_before_anybody_asks_for_the_next(
    redis_server, queue_client
):
    """Redis went away while the request was out: kept until the longest attempt would be over, it would hold up its instance."""
    with (
        EmbeddedRedis(persist=True) as own,
        closing(own.client(3)) as limits,
        made_desk(redis_server, limits=limits) as desk,
    ):
        desk.paces[Kind.SEND] = SERIAL
        with desk.traffic.turn(INSTANCE, trip("m1")):
            own.kill()
        own.start()
        assert desk.places() == [b"m1"]

        desk.go(trip("m2"))

        assert desk.places() == []


def test_a_message_that_takes_its_kept_place_again_keeps_it_while_its_request_is_out(redis_server, queue_client):
    with (
        EmbeddedRedis(persist=True) as own,
        closing(own.client(3)) as limits,
        made_desk(redis_server, limits=limits) as desk,
    ):
        desk.paces[Kind.SEND] = SERIAL
        with desk.traffic.turn(INSTANCE, trip("m1")):
            own.kill()
        own.start()

        with desk.traffic.turn(INSTANCE, trip("m1")):
            assert later(desk, trip("m2")).delay_ms == PLACE_WAIT_MS

        assert desk.places() == []


def test_all_kinds_of_sends_share_the_places_of_their_instance_and_questions_need_none(desk):
    desk.paces |= {Kind.SEND: SERIAL, Kind.BULK: SERIAL, Kind.PICTURE: SERIAL}
    with desk.traffic.turn(INSTANCE, trip("m1")):
        refused = later(desk, trip("m2", Kind.BULK))
        desk.go(trip("m3", Kind.PICTURE))
        desk.go(trip("m4", Kind.LOOK))

    assert (refused.delay_ms, refused.group_for_ms, refused.unspent) == (PLACE_WAIT_MS, 0, True)
    desk.go(trip("m2", Kind.BULK))


def killed(desk, trip):
    """A process took the place of ``trip`` and was killed. No turn that is left unfinished: Python would end it one day."""
    place = place_of(INSTANCE, desk.paces[trip.kind], trip)
    assert desk.traffic.limits.take(record=INSTANCE.name, place=place).wait_ms == 0
    assert desk.places() == [trip.holder.encode()]


def test_what_a_killed_run_never_gave_back_is_its_own_message_s_again(desk):
    desk.paces[Kind.SEND] = SERIAL
    killed(desk, trip("m1"))
    later(desk, trip("m2"))

    desk.go(trip("m1"))
    killed(desk, trip("m1"))
    later(desk, trip("m2"))
    desk.traffic.abandon(INSTANCE, trip("m1"))

    desk.go(trip("m2"))


# -- pace ------------------------------------------------------------------------------------------------------------------


def test_a_person_s_pace_puts_back_the_message_and_nobody_else(desk):
    desk.paces[Kind.SEND] = Pace(pair_interval_ms=HOUR_MS)
    desk.go(trip("m1"))

    refused = later(desk, trip("m2"))

    assert (HOUR_MS * 0.9 < refused.delay_ms <= HOUR_MS, refused.group_for_ms) == (True, 0)
    desk.go(trip("m3", pair="c2"))


def test_a_group_has_a_pace_of_its_own(desk):
    desk.paces[Kind.SEND] = Pace(pair_interval_ms=10, group_interval_ms=HOUR_MS)
    desk.go(trip("m1", to_group=True))

    assert later(desk, trip("m2", to_group=True)).delay_ms > HOUR_MS * 0.9


def test_a_day_s_quota_holds_back_its_whole_campaign_and_counts_a_message_once(desk):
    desk.paces[Kind.BULK] = Pace(per_day=2)
    for holder in ("m1", "m1", "m2", "m1"):
        desk.go(trip(holder, Kind.BULK))

    refused = later(desk, trip("m3", Kind.BULK))

    assert (refused.delay_ms, refused.group_for_ms) == (0, HOLD_LAST_MS)
    desk.go(trip("m4"))


def test_one_without_a_gate_waits_by_itself_and_longer_each_time(desk):
    desk.paces[Kind.SEND] = Pace(interval_ms=HOUR_MS)
    desk.go(trip("m1", group=None))

    waits = [later(desk, trip("m2", group=None, put_backs=count)) for count in (0, 1, 3, 99)]

    assert [one.group_for_ms for one in waits] == [0] * 4
    spread = [one.delay_ms for one in waits]
    assert spread == sorted(set(spread))
    # One that came through the only gate was counted there.
    desk.go(trip("m3"), instance=replace(INSTANCE, aliases=()))


def test_two_names_do_not_make_an_instance_twice_as_fast(desk):
    desk.paces[Kind.SEND] = Pace(interval_ms=HOUR_MS, burst=2, jitter=0.2)
    desk.go(trip("m1"))
    desk.go(trip("m2", group="line one"))

    refused = later(desk, trip("m3", group="line one"))

    assert (refused.delay_ms, refused.group_for_ms) == (0, HOLD_LAST_MS)


def test_a_campaign_asks_ever_more_seldom_for_a_place_that_a_conversation_has(desk):
    desk.paces |= {Kind.SEND: SERIAL, Kind.BULK: SERIAL}
    with desk.traffic.turn(INSTANCE, trip("m1")):
        bulk = [later(desk, trip("b1", Kind.BULK, put_backs=count)).delay_ms for count in (0, 1, 4, 1_000)]
        sends = [later(desk, trip("m2", put_backs=count)).delay_ms for count in (0, 1_000)]

    assert (bulk, sends) == ([500, 1_000, 8_000, 8_000], [PLACE_WAIT_MS] * 2)


def test_a_new_pace_is_at_the_gates_with_the_first_turn(desk):
    desk.go(trip())
    desk.paces[Kind.SEND] = Pace(interval_ms=1_234, burst=3)
    desk.go(trip())

    assert (desk.gate().interval_ms, desk.gate("line one").burst) == (1_234, 3)


def test_two_tenants_with_an_instance_of_one_name_do_not_set_its_gates_with_every_message(desk):
    other = replace(INSTANCE, tenant_id="u", aliases=())
    desk.go(trip())
    desk.go(trip(), instance=other)

    assert all(desk.traffic.gates.knows(one, desk.paces) for one in (INSTANCE, other))


# -- limits that cannot be asked ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pace", [SERIAL, Pace(pair_interval_ms=HOUR_MS), Pace(per_day=5)], ids=str)
def test_a_full_redis_still_drains(desk, queue_client, pace):
    desk.paces[Kind.SEND] = pace
    desk.go(trip("m1"))
    queue_client.config_set("maxmemory", 1)

    desk.go(trip("m2", pair="c2"))

    assert desk.places() == []


def test_a_full_redis_that_cannot_write_a_pace_down_is_said(desk, queue_client, caplog):
    desk.paces[Kind.SEND] = Pace(pair_interval_ms=HOUR_MS)
    queue_client.config_set("maxmemory", 1)
    desk.go(trip())

    assert "limits.full" in caplog.messages


def test_a_full_redis_lets_nothing_pass_to_an_instance_that_is_parked(desk, queue_client):
    desk.open()
    queue_client.config_set("maxmemory", 1)

    assert later(desk, trip()).delay_ms == 0


def test_a_canary_whose_success_cannot_be_written_is_a_success(desk, queue_client, caplog):
    desk.put(State.TRYING)
    with desk.traffic.turn(INSTANCE, trip()):
        queue_client.config_set("maxmemory", 1)

    assert "instance.change_failed" in caplog.messages


def test_without_its_limits_nothing_is_sent_and_a_group_asks_once_at_a_time(redis_server, queue_client):
    nobody = redis.Redis(port=1, retry=Retry(NoBackoff(), 0))
    with made_desk(redis_server, limits=nobody) as desk:
        refused = later(desk, trip())

    assert (refused.code, refused.unspent) == ("queue_unavailable", True)
    assert (refused.delay_ms, refused.group_for_ms) == (NO_LIMITS_WAIT_MS, NO_LIMITS_WAIT_MS)


# -- throttles -------------------------------------------------------------------------------------------------------------


def throttled(scope: str, *, grows_by: float = 1.0) -> Throttled:
    error = Throttled("slow", delay_ms=7_000, scope=scope)
    error.grows_by = grows_by
    return error


@pytest.mark.parametrize("scope", ["instance", "account"])
def test_a_throttle_of_an_instance_holds_off_conversations_and_campaigns_under_every_name(desk, scope):
    told = met(desk, throttled(scope), trip("m1", Kind.BULK))

    assert (told.delay_ms, told.group_for_ms) == (7_000, 7_000)
    held = [desk.gate(name) for name in ("i1", "line one", "i1/bulk", "line one/bulk")]
    assert all(0 < gate.next_in_ms <= 7_000 for gate in held)
    assert desk.gate(queue="fetch_profile_pic") is None


def test_a_throttle_also_stops_what_comes_through_no_gate(desk):
    met(desk, throttled("instance"))

    assert later(desk, trip("m2", group=None)).delay_ms > 6_000
    desk.go(trip("m3", Kind.PICTURE, group=None))


def test_a_throttled_question_holds_off_its_kind_alone(desk):
    told = met(desk, throttled("instance"), trip("p1", Kind.PICTURE))

    assert told.group_for_ms == 7_000
    desk.go(trip("m1"))
    desk.go(trip("g1", Kind.GROUP_INFO))
    assert later(desk, trip("p2", Kind.PICTURE)).group_for_ms > 6_000


@pytest.mark.parametrize("pace", [Pace(), Pace(pair_interval_ms=6_000, pair_burst=10)])
def test_a_throttle_of_a_pair_holds_off_that_pair_longer_each_time(desk, pace):
    desk.paces[Kind.SEND] = pace
    waits = []
    for _ in range(4):
        told = met(desk, throttled("pair", grows_by=4))
        assert told.group_for_ms == 0
        assert later(desk, trip("m1")).delay_ms > told.delay_ms * 0.9
        waits.append(told.delay_ms)
        # Its next try comes when that is over.
        desk.traffic.limits.client.delete("test:traffic:bucket:i1:pair:c1")

    assert waits == [7_000, 28_000, 112_000, 448_000]
    desk.go(trip("m2", pair="c2"))
