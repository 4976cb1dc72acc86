"""The sweep repairs: rows whose death nobody heard, jobs that stand nowhere, sends that were left in the middle."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
import redis
from housekeeping_world import HOUR_MS, NOW_MS, World

import actors
from actors import housekeeping, resolving, services
from actors.domain import AttemptState, MessageStatus
from actors.housekeeping import sweep_pending
from actors.resolving import resolve_letters
from actors.stores.rows import ConversationRow, MessageRow
from middleware.audit import AuditTrail
from middleware.brokers.redis.embedded import EmbeddedRedis
from middleware.clock import SystemClock
from middleware.letters import DeadLetters
from middleware.outcomes import Dead

pytestmark = pytest.mark.redis


@pytest.fixture
def world(redis_server: EmbeddedRedis, queue_client: redis.Redis) -> Iterator[World]:
    yield World(redis_server, queue_client)
    actors.broker.close()
    services.install(None)


# -- what nobody heard, and what stands nowhere ---------------------------------------------------------------------


def die(world: World, id_: str, reason: str = "bad_recipient", *, is_told: bool = True) -> None:
    """Give up the job of a message, whose letter was told of and not heard."""
    moves = actors.broker.transitions
    job = actors.send_message.send(id_)
    [fetched] = moves.fetch("send_message", limit=9, lease_ms=60_000, owner="w").messages
    moves.finish(fetched.lease, Dead(reason), body=actors.broker.encode(job))
    if is_told:
        moves.announced("send_message", [fetched.lease.id])


def later(world: World) -> None:
    """Let the letters grow older than a telling takes."""
    world.clock.at_ms = SystemClock().now_ms() + housekeeping.UNHEARD_MS + 1


def test_a_row_whose_death_nobody_heard_fails_with_its_reason(world, caplog):
    world.say("m1", age_ms=HOUR_MS)
    world.say("m2", age_ms=HOUR_MS - 1)
    die(world, "m1")
    later(world)

    sweep_pending()

    assert world.store.message("m1").error_message.startswith("bad_recipient")
    assert (world.status("m2"), world.queued_now()) == (MessageStatus.PENDING, ["m2"])
    [record] = [record for record in caplog.records if record.getMessage() == "sweep.repaired"]
    assert (vars(record)["chat_message_id"], vars(record)["code"]) == ("m1", "bad_recipient")


def test_a_death_that_is_yet_to_be_told_of_is_left_to_the_announcer(world):
    world.say("m1", age_ms=HOUR_MS)
    die(world, "m1", is_told=False)
    later(world)

    sweep_pending()

    assert (world.status("m1"), world.queued_now()) == (MessageStatus.PENDING, [])


def letters_left() -> list[str]:
    return sorted(letter.kwargs["message_id"] for letter in DeadLetters(actors.broker).all("send_message"))


def test_a_letter_whose_message_was_sent_since_resolves_itself(world, caplog):
    caplog.set_level("INFO")
    for id_, status in [("m1", "delivered"), ("m2", "failed"), ("m3", "sent")]:
        world.say(id_, age_ms=HOUR_MS)
        die(world, id_)
        world.store.add(replace(world.store.message(id_), status=status))
    world.say("m4", age_ms=HOUR_MS)
    die(world, "m4", "recipient_mismatch")
    world.store.add(replace(world.store.message("m4"), status="sent"))

    sweep_pending()

    assert letters_left() == ["m2", "m4"]
    [entry] = AuditTrail(actors.broker).newest()
    assert (entry.who, entry.what, entry.facts["letters"]) == ("sweep", "dlq.resolve", 2)
    assert [vars(record)["letters"] for record in caplog.records if record.getMessage() == "letters.resolved"] == [2]


def test_letters_are_looked_at_in_parts_and_round_and_round(world, monkeypatch):
    monkeypatch.setattr(resolving, "LOOK_AT", 1)
    for number in range(150):
        world.say(f"m{number:03}", age_ms=HOUR_MS)
        die(world, f"m{number:03}")
        world.store.mark_failed(f"m{number:03}", code="x", text="x")
    for id_ in ("m000", "m120"):
        world.store.add(replace(world.store.message(id_), status="sent"))

    found = [resolve_letters(services.get(), actors.broker) for _ in range(3)]
    world.store.add(replace(world.store.message("m001"), status="sent"))
    found += [resolve_letters(services.get(), actors.broker) for _ in range(3)]

    # A page of a hundred each; the third call begins again, and the last page is whatever is left.
    assert found[:2] == [1, 1]
    assert sum(found) == 3
    assert not {"m000", "m001", "m120"} & set(letters_left())


def test_a_row_that_a_person_sent_again_is_not_failed_by_its_old_letter(world):
    world.say("m1", age_ms=HOUR_MS)
    die(world, "m1")
    actors.send_message.send("m1")
    later(world)

    sweep_pending()

    assert (world.status("m1"), world.queued_now()) == (MessageStatus.PENDING, ["m1"])


def test_an_unheard_death_of_what_is_out_ends_as_sent(world):
    world.say("m1", age_ms=HOUR_MS)
    die(world, "m1", "attempts_exhausted")
    world.attempt("m1", AttemptState.ACCEPTED, age_ms=HOUR_MS)
    later(world)

    sweep_pending()

    assert world.status("m1") == MessageStatus.SENT


def test_what_an_evicted_list_left_nowhere_is_ready_again(world, caplog):
    for number in range(3):
        world.store.add(
            ConversationRow(id=f"c{number}", contact_phone="+5511988887777", tenant_id="t", instance_name="i1")
        )
        world.store.add(MessageRow(id=f"m{number}", conversation_id=f"c{number}", created_at_ms=NOW_MS - HOUR_MS))
        actors.send_message.send(f"m{number}")
    world.client.delete("chat:queue:send_message")

    sweep_pending()
    sweep_pending()

    assert actors.broker.transitions.stats(["send_message"])[0].ready == 3
    taken = actors.broker.transitions.fetch("send_message", limit=9, lease_ms=60_000, owner="w").messages
    assert len({one.lease.id for one in taken}) == len(taken) == 3
    assert [vars(record)["messages"] for record in caplog.records if record.getMessage() == "sweep.recovered"] == [3]


@pytest.mark.parametrize("state", [AttemptState.SENDING, AttemptState.UNKNOWN])
def test_a_row_left_in_the_middle_of_its_send_gets_a_job_that_looks_for_it(world, state):
    world.say("m1", age_ms=HOUR_MS)
    world.attempt("m1", state, age_ms=HOUR_MS)

    sweep_pending()

    assert world.queued() == ["m1"]
