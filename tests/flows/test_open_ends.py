"""The last attempt went out and then something broke: it is looked for, and no person is bothered.

The measure is the gateway's own log: what the phone would have received.
"""

from collections.abc import Callable
from typing import Any

import pytest
from dramatiq.middleware import TimeLimitExceeded
from flow_world import TEXTS, World, working
from waiting import until

import actors
from actors import services
from actors.domain import MessageStatus, Receipt
from actors.errors import Transient

pytestmark = pytest.mark.redis


def _ends_well(world: World) -> None:
    """One attempt is all there is; the message ends as sent and the phone has it once."""
    world.say("m1")
    actors.send_message.send("m1")
    with working():
        until(lambda: world.status("m1") != MessageStatus.PENDING, within_ms=10_000)

    assert world.status("m1") == MessageStatus.SENT, world.store.message("m1").error_message
    assert world.delivered() == ["oi"]
    assert world.letters() == []


def _once(real: Callable[..., Any], error: BaseException, *, after: bool) -> Callable[..., Any]:
    struck: list[bool] = []

    def call(*args: Any, **kwargs: Any) -> Any:
        if struck:
            return real(*args, **kwargs)
        struck.append(True)
        if after:
            real(*args, **kwargs)
        raise error

    return call


@pytest.mark.parametrize("after", [True, False], ids=["after the send", "before it"])
@pytest.mark.parametrize("error", [TimeLimitExceeded("late"), KeyError("a bug")], ids=["time limit", "bug"])
def test_a_time_limit_or_a_bug_in_the_last_attempt_is_looked_for(world, change, error, after):
    change(max_attempts=2)
    world.sandbox.admin.add_fault({"type": "status", "preset": "nginx_503"}, match=TEXTS, trigger={"nth": [1]})
    gateway = services.get().gateway(services.get().store.load_instance("i1", tenant_id="t"))
    real, calls = gateway.send, []

    def send(*args: Any, **kwargs: Any) -> Receipt:
        calls.append(1)
        if len(calls) != 2:
            return real(*args, **kwargs)
        if after:
            real(*args, **kwargs)
        raise error

    gateway.send = send

    _ends_well(world)


@pytest.mark.parametrize("after", [True, False], ids=["committed", "not committed"])
def test_a_store_that_does_not_take_the_outcome_of_the_last_attempt_is_asked_again(world, change, after):
    change(max_attempts=1)
    refusal = Transient("the store could not be used", code="store_unavailable")
    world.store.record_sent = _once(world.store.record_sent, refusal, after=after)

    _ends_well(world)


def test_a_refused_send_whose_outcome_the_store_does_not_take_is_sent_again(world, change):
    """Nothing left; the row says "sending", so the gateway is asked before the send is repeated."""
    change(max_attempts=2)
    world.sandbox.admin.add_fault({"type": "status", "preset": "nginx_503"}, match=TEXTS, trigger={"nth": [1, 2]})
    refusal = Transient("the store could not be used", code="store_unavailable")
    real, calls = world.store.settle, []

    def settle(*args: Any, **kwargs: Any) -> Any:
        calls.append(1)
        if len(calls) == 2:
            raise refusal
        return real(*args, **kwargs)

    world.store.settle = settle

    _ends_well(world)


def test_the_gateway_may_be_down_for_a_moment_when_it_is_asked_about_the_last_attempt(world, change):
    """It fell over while it sent, and comes back some seconds later: the usual way of an open end."""
    change(max_attempts=1)
    world.sandbox.admin.add_fault({"type": "drop", "when": "after_accept"}, match=TEXTS, trigger={"nth": [1]})
    world.sandbox.admin.add_fault(
        {"type": "status", "preset": "nginx_502"}, match={"op": ["findMessages"]}, trigger={"next": 2}
    )

    _ends_well(world)


def test_a_gateway_that_never_tells_leaves_the_last_attempt_to_a_person(world, change):
    change(max_attempts=1)
    world.sandbox.admin.add_fault({"type": "drop", "when": "after_accept"}, match=TEXTS, trigger={"nth": [1]})
    world.sandbox.admin.add_fault(
        {"type": "status", "preset": "nginx_502"}, match={"op": ["findMessages"]}, trigger={"always": True}
    )
    world.say("m1")
    actors.send_message.send("m1")
    with working():
        until(lambda: world.status("m1") == MessageStatus.FAILED, within_ms=10_000)

    assert world.store.message("m1").error_message.startswith("delivery_unknown")
    assert world.delivered() == ["oi"]
