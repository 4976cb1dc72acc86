"""Webhooks repeat and overtake each other: what is kept of them."""

import itertools

import pytest

from actors.updates import DeliveryStatus, InstanceUpdate, SessionState, StatusUpdate, is_news

SENT, DELIVERED, READ, PLAYED, FAILED = (
    DeliveryStatus(one) for one in ("sent", "delivered", "read", "played", "failed")
)


def kept(statuses):
    known = None
    for status in statuses:
        if is_news(status, known):
            known = status
    return known


def test_in_whatever_order_they_come_the_furthest_is_kept():
    for order in itertools.permutations([SENT, DELIVERED, READ, PLAYED]):
        assert kept(order) is PLAYED


def test_a_repeat_is_no_news():
    assert [is_news(status, status) for status in DeliveryStatus] == [False] * 5


def test_a_failure_ends_what_was_sent():
    assert kept([SENT, FAILED]) is FAILED
    assert kept([FAILED, SENT]) is FAILED


@pytest.mark.parametrize("arrived", [DELIVERED, READ, PLAYED])
def test_a_failure_does_not_undo_what_was_on_the_phone(arrived):
    assert kept([arrived, FAILED]) is arrived
    assert kept([FAILED, arrived]) is arrived


def test_repeats_of_a_status_are_told_by_message_and_status():
    first = StatusUpdate(provider_message_id="wamid.1", status=SENT, at_ms=1)
    again = StatusUpdate(provider_message_id="wamid.1", status=SENT, at_ms=2)
    other = StatusUpdate(provider_message_id="wamid.1", status=READ, at_ms=2)

    assert first.key == again.key != other.key


@pytest.mark.parametrize(
    ("state", "reason", "stays_down"),
    [
        ("open", None, False),
        ("connecting", 401, False),
        ("close", None, False),
        ("close", 428, False),
        ("close", 515, False),
        ("close", 401, True),
        ("close", 402, True),
        ("close", 403, True),
        ("close", 406, True),
        ("closed", None, True),
    ],
)
def test_a_session_that_was_logged_out_needs_a_person(state, reason, stays_down):
    update = InstanceUpdate(instance_name="i1", state=SessionState(state), reason_code=reason)

    assert update.needs_a_person is stays_down


def test_a_repr_shows_neither_number_nor_text():
    update = StatusUpdate(provider_message_id="wamid.1", status=SENT, at_ms=1, recipient="5511988887777")

    assert "5511988887777" not in repr(update)
