"""A status that a provider tells binds, moves and fails, in any order and any number of times, and breaks nothing."""

import itertools

import pytest
from contracts.store_world import again, first
from intake_world import ACCEPTED, DEAD, RETRYABLE, SENDING, UNKNOWN, cloud, evolution, heard, world

from actors import intake
from actors.domain import Receipt
from actors.events import MessageAdvanced, MessageFailed, MessageSent
from actors.intake import Applied
from actors.stores.rows import AttachmentRow, InstanceRow

__all__ = ["heard", "world"]


# -- by reference --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [SENDING, UNKNOWN, RETRYABLE])
def test_a_send_whose_answer_was_lost_is_bound_and_its_row_sent(world, heard, state):
    world.say()
    world.attempt(state)

    assert intake.apply(cloud("sent")) is Applied.BOUND

    assert (world.state(), world.row()) == ((ACCEPTED, "wamid.1"), ("sent", "wamid.1"))
    assert [type(event) for event in heard] == [MessageSent]
    assert intake.apply(cloud("sent")) is Applied.KNOWN
    assert len(heard) == 1


def test_a_pending_resend_is_cancelled_by_what_is_said_of_the_first(world):
    world.say()
    before = world.attempt(RETRYABLE)
    intake.apply(cloud("sent"))

    assert world.store.claim(again(before), before=before) is None


def test_what_was_given_up_as_unknown_is_out_after_all(world, heard):
    world.say(status="failed", error_message="delivery_unknown: ask the phone")
    world.attempt(DEAD, reason="delivery_unknown")

    assert intake.apply(cloud("delivered")) is Applied.BOUND

    assert world.row() == ("delivered", "wamid.1")
    assert world.store.message("m1").error_message == ""
    assert [type(event) for event in heard] == [MessageSent, MessageAdvanced]


def test_one_of_two_parts_is_bound_and_the_row_waits_for_the_other(world):
    world.say()
    for number in range(2):
        world.store.add(
            AttachmentRow(
                message_id="m1", created_at_ms=number, mime_type="image/png", file_url=f"https://a.example/{number}"
            )
        )
    world.attempt(UNKNOWN)

    assert intake.apply(cloud("delivered")) is Applied.BOUND
    assert (world.state(), world.row()[0]) == ((ACCEPTED, "wamid.1"), "pending")

    world.attempt(UNKNOWN, part=1)
    assert intake.apply(cloud("sent", "wamid.2", reference="m1:1")) is Applied.BOUND
    assert world.row() == ("sent", "wamid.1")


def test_a_second_delivery_is_recorded_and_breaks_nothing(world, caplog):
    world.say()
    world.attempt(ACCEPTED, key="wamid.2")

    for _ in range(2):
        assert intake.apply(cloud("sent", "wamid.1")) is Applied.DUPLICATE

    assert world.state() == (ACCEPTED, "wamid.2")
    assert [record.getMessage() for record in caplog.records] == ["attempt.sent_twice"] * 2


def test_an_id_of_another_part_is_not_bound_twice(world):
    world.say()
    world.say("m2")
    world.attempt(ACCEPTED, "m2", key="wamid.1")
    world.attempt(UNKNOWN)

    assert intake.apply(cloud("sent")) is Applied.KNOWN
    assert world.state() == (UNKNOWN, None)


@pytest.mark.parametrize("values", [{"phone_number_id": "2222222"}, {"phone_number_id": None}, {"reference": "m1:7"}])
@pytest.mark.parametrize("status", ["sent", "delivered", "failed"])
def test_a_status_from_another_number_touches_nothing(world, values, status):
    world.say()
    world.attempt(UNKNOWN)

    assert intake.apply(cloud(status, **values)) is Applied.UNKNOWN
    assert (world.state(), world.row()[0]) == ((UNKNOWN, None), "pending")


def test_a_status_that_names_no_sender_is_of_no_instance_without_a_number(world):
    world.store._instances = [InstanceRow(instance_name="line-1", tenant_id="t")]
    world.say()
    world.attempt(UNKNOWN)

    assert intake.apply(cloud("sent", phone_number_id=None)) is Applied.UNKNOWN
    assert world.state() == (UNKNOWN, None)


@pytest.mark.parametrize("reference", ["", ":", "m1", "m1:", ":0", "ghost:0", "m1:x", "m1:-1", "m1:\u0660", "1" * 999])
def test_a_reference_that_is_none_of_ours_is_counted_and_not_raised(world, reference):
    world.say()
    world.attempt(UNKNOWN)

    assert intake.apply(cloud("sent", reference=reference)) is Applied.UNKNOWN


# -- by the provider's id ------------------------------------------------------------------------------------------


def test_a_row_moves_forward_and_never_back_in_any_order(world):
    moves = ["sent", "delivered", "read", "played"]
    for number, order in enumerate(itertools.permutations(moves)):
        id_, key = f"m{number}", f"3EB{number}"
        world.say(id_)
        world.store.record_sent(world.store.claim(first(id_)), Receipt(provider_message_id=key))
        rank = {"pending": 0, "sent": 1, "delivered": 2, "seen": 3}
        seen = 1
        for status in (*order, *order):
            intake.apply(evolution(status, key))
            now = rank[world.row(id_)[0]]
            assert now >= seen
            seen = now
        assert world.row(id_) == ("seen", key)


def test_a_row_that_its_run_has_yet_to_record_is_sent_and_moved(world, heard):
    world.say()
    world.attempt(ACCEPTED, key="3EB0")

    assert intake.apply(evolution("delivered")) is Applied.MOVED

    assert world.row() == ("delivered", "3EB0")
    assert [type(event) for event in heard] == [MessageSent, MessageAdvanced]


def test_what_nobody_here_has_sent_is_counted(world):
    counted = intake.apply_all([evolution("sent", "3EB9"), evolution("read", instance_name=None), cloud("sent")])

    assert counted == {Applied.UNKNOWN: 3}


# -- failures ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [ACCEPTED, UNKNOWN, SENDING])
def test_what_will_not_arrive_fails_once_with_its_code_and_is_not_sent_again(world, heard, state):
    world.say()
    world.attempt(state, key="wamid.1")

    for expected in (Applied.FAILED, Applied.KNOWN):
        assert intake.apply(cloud("failed", error_code="window_closed")) is expected

    assert world.store.message("m1").error_message.startswith("window_closed: ")
    assert (world.state(), world.row()[0]) == ((DEAD, "wamid.1"), "failed")
    [event] = heard
    assert (type(event), event.code, event.tenant_id) == (MessageFailed, "window_closed", "t")
    assert intake.apply(cloud("sent")) is Applied.KNOWN
    assert world.row()[0] == "failed"


def test_a_failure_that_comes_after_the_delivery_is_old_news(world):
    world.say(status="delivered", message_id="wamid.1")
    world.attempt(ACCEPTED, key="wamid.1")

    assert intake.apply(cloud("failed")) is Applied.KNOWN
    assert (world.state()[0], world.row()[0]) == (ACCEPTED, "delivered")


def test_a_delivery_that_comes_after_the_failure_wins(world):
    world.say()
    world.attempt(ACCEPTED, key="wamid.1")
    intake.apply(cloud("failed"))

    intake.apply(cloud("delivered"))

    assert (world.state(), world.row()) == ((ACCEPTED, "wamid.1"), ("delivered", "wamid.1"))


def test_a_failure_of_an_earlier_send_does_not_touch_the_next(world):
    world.say()
    world.attempt(ACCEPTED, key="wamid.2")

    assert intake.apply(cloud("failed", "wamid.1")) is Applied.KNOWN
    assert (world.state(), world.row()[0]) == ((ACCEPTED, "wamid.2"), "pending")
