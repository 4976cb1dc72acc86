"""What our Actor class builds, and the bytes and ids that the wire gives a message."""

import string
from datetime import timedelta
from uuid import RFC_4122, UUID

import dramatiq
import pytest
from dramatiq import Message
from dramatiq.brokers.stub import StubBroker

from middleware.actor import Routed, RoutedActor, routed
from middleware.brokers.redis.wire import new_id, random_uuid, with_id
from middleware.sending import AtOnce, Sending, policy, use_policy


@pytest.fixture
def say() -> RoutedActor:
    def route(number: int) -> Routed:
        return Routed(kwargs={"number": number}, lane=f"lane-{number}", options={"unset": None, "kept": 1})

    broker = StubBroker(middleware=[])
    return dramatiq.actor(lambda number: None, actor_name="say", broker=broker, actor_class=routed(route))


def test_a_message_carries_what_its_route_says_and_nothing_that_is_unset(say):
    message = say.message(7)

    assert (message.queue_name, message.actor_name, message.args, message.kwargs) == (
        "default",
        "say",
        (),
        {"number": 7},
    )
    assert message.options == {"lane": "lane-7", "kept": 1}


def test_options_of_the_caller_win(say):
    message = say.message_with_options(args=(7,), lane="mine", unique_key=None)

    assert message.options == {"lane": "mine", "kept": 1, "unique_key": None}


def test_what_is_built_twice_shares_nothing_that_a_hook_may_change(say):
    say.options["dead_holds_lane"] = True
    sending = say.sending((7,), {}, note="kept")

    (first,), (second,) = sending.prepare(), sending.prepare()
    first.options["added"] = True

    assert second.options == {"lane": "lane-7", "kept": 1, "note": "kept", "dead_holds_lane": True}
    assert first.message_id != second.message_id


def test_nor_does_what_is_built_twice_without_a_route(say):
    plain = dramatiq.actor(lambda number: None, actor_name="plain", broker=say.broker, actor_class=routed())
    sending = plain.sending((7,), {}, note="kept")

    (first,), (second,) = sending.prepare(), sending.prepare()
    first.options["added"] = True

    assert second.options == {"note": "kept"}


def test_an_actor_that_follows_is_named_as_dramatiq_names_it(say):
    assert say.message_with_options(args=(7,), on_success=say).options["on_success"] == "say"
    with pytest.raises(TypeError, match="on_failure"):
        say.message_with_options(args=(7,), on_failure=7)


def test_an_id_is_a_random_uuid_as_others_write_it():
    ids = [random_uuid() for _ in range(1_000)]

    assert {(UUID(id_).version, UUID(id_).variant) for id_ in ids} == {(4, RFC_4122)}
    assert [str(UUID(id_)) for id_ in ids] == ids
    assert {id_[19] for id_ in ids} == set("89ab")
    assert len(set(ids)) == len(ids)


def test_an_id_in_redis_is_twelve_letters_and_digits_of_all_kinds():
    ids = [new_id() for _ in range(1_000)]

    assert {len(id_) for id_ in ids} == {12}
    assert set("".join(ids)) == set(string.ascii_letters + string.digits)


def test_a_copy_with_its_id_leaves_the_message_as_it_was():
    message: Message[None] = Message("q", "say", (1,), {"number": 2}, {"lane": "mine"})

    copied = with_id(message, "abc")

    assert copied.asdict() == message.asdict() | {"options": {"lane": "mine", "redis_message_id": "abc"}}
    assert message.options == {"lane": "mine"}
    copied.options["added"] = True
    assert "added" not in message.options


def test_a_send_that_nothing_puts_off_is_in_the_queue_with_its_delay(say):
    sent = say.send(7), say.send_with_options(args=(8,), delay=timedelta(seconds=60), lane="mine")

    assert [message.kwargs for message in sent] == [{"number": 7}, {"number": 8}]
    (now,) = [say.broker.queues["default"].get_nowait()]
    (later,) = [say.broker.queues["default.DQ"].get_nowait()]
    assert Message.decode(now).options == {"lane": "lane-7", "kept": 1}
    assert Message.decode(later).options["lane"] == "mine"
    assert Message.decode(later).options["eta"] >= sent[1].message_timestamp + 60_000


def test_another_policy_is_asked_before_anything_is_built(say):
    asked: list[Sending] = []

    class Never(AtOnce):
        def send(self, sending: Sending) -> list[Message]:
            asked.append(sending)
            return []

    mine = policy()
    use_policy(Never())
    try:
        say.send(7)
    finally:
        use_policy(mine)

    assert [sending.ids for sending in asked] == [{"number": 7}]
    assert say.broker.queues["default"].empty()
