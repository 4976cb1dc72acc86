"""What gateways tell by events: a message that went out is bound, once and to its own send, and a session is heard of."""

from dataclasses import replace
from typing import Any

import pytest
from intake_world import ACCEPTED, NOW_MS, PHONE, UNKNOWN, KnowsTexts, cloud, heard, world

import actors
from actors import intake, services, wiring
from actors.circuit import State
from actors.events import InstanceChanged
from actors.intake import Applied
from actors.settings import Hidden, Settings
from actors.stores.rows import ConversationRow, InstanceRow
from actors.updates import InstanceUpdate, SentUpdate, SessionState

__all__ = ["heard", "world"]


# -- a message that went out ---------------------------------------------------------------------------------------


def went_out(text: str = "oi", key: str = "3EB0", **values: Any) -> SentUpdate:
    values = {"instance_name": "line-1", "at_ms": NOW_MS, "jid": "5511988887777@s.whatsapp.net", **values}
    return SentUpdate(provider_message_id=key, record={"text": text}, **values)


def test_the_event_of_a_send_binds_the_one_whose_answer_was_lost(world):
    world.say()
    world.attempt(UNKNOWN)

    assert intake.apply(went_out()) is Applied.BOUND
    assert intake.apply(went_out()) is Applied.KNOWN

    assert (world.state(), world.row()) == ((ACCEPTED, "3EB0"), ("sent", "3EB0"))


def test_two_sends_of_the_same_words_get_one_event_each_the_earlier_first(world):
    for number, id_ in enumerate(("later", "earlier")):
        world.say(id_)
        world.attempt(UNKNOWN, id_, now_ms=NOW_MS - number)

    intake.apply_all([went_out(key="3EB1"), went_out(key="3EB2")])

    assert (world.state("earlier")[1], world.state("later")[1]) == ("3EB1", "3EB2")


@pytest.mark.parametrize(
    "update",
    [went_out("Oi"), went_out(instance_name="line-2"), went_out(at_ms=NOW_MS - 3_600_000)],
)
def test_the_event_of_another_message_binds_nothing(world, update):
    world.say()
    world.attempt(UNKNOWN)

    assert intake.apply(update) is Applied.UNKNOWN
    assert world.state() == (UNKNOWN, None)


def test_a_deleted_message_stops_no_update(world):
    world.say(is_deleted=True)
    world.attempt(UNKNOWN)

    assert intake.apply(went_out()) is Applied.UNKNOWN
    assert intake.apply(cloud("delivered")) is Applied.BOUND


@pytest.mark.parametrize(
    "spoilt",
    [
        ConversationRow(id="c2", contact_phone="unknown", tenant_id="t", instance_name="line-1"),
        ConversationRow(id="c2", contact_phone=PHONE, tenant_id="odd", instance_name="line-1"),
    ],
)
def test_a_message_that_cannot_be_read_any_more_hides_no_other(world, spoilt):
    """Its number was changed since, or the gateway of its instance is gone: the one behind it is what the event tells of."""
    world.store.add(spoilt, InstanceRow(instance_name="line-1", tenant_id="odd", integration_type="gone"))
    services.install(replace(services.get(), settings=replace(services.settings(), gateway="evolution")))
    services.get().gateways["evolution"] = KnowsTexts()
    world.say("first", conversation_id="c2")
    world.attempt(UNKNOWN, "first", now_ms=NOW_MS - 1)
    world.say("second")
    world.attempt(UNKNOWN, "second")

    assert intake.apply(went_out()) is Applied.BOUND
    assert (world.state("first"), world.state("second")) == ((UNKNOWN, None), (ACCEPTED, "3EB0"))


# -- a session -----------------------------------------------------------------------------------------------------


@pytest.mark.redis
def test_the_state_of_a_session_is_heard_and_passed_on(world, heard, redis_server, queue_client):
    services.install(replace(services.get(), settings=Settings(redis_url=Hidden(redis_server.url(0)), store="memory")))
    update = InstanceUpdate(instance_name="line-1", state=SessionState.CLOSE, reason_code=401)

    assert intake.apply(update) is Applied.SESSION
    assert heard == [InstanceChanged(instance_name="line-1", state="close", needs_a_person=True)]
    assert wiring.traffic().circuit("line-1").state is State.OPEN
    actors.broker.close()
