"""The store fails once, at each of its steps in turn: one message, one delivery, one end."""

import pytest
from waiting import until

import actors
from actors.domain import MessageStatus
from actors.errors import Transient

pytestmark = pytest.mark.redis

STEPS = [
    *("load_message", "attempts", "older_pending", "load_instance", "claim", "settle", "record_sent"),
    *("bound_ids", "unaccounted", "looked"),
]


class _FailsOnce:
    """A step of the store that fails at one call, before or after it was committed."""

    def __init__(self, store, step: str, *, after: bool):
        self.store, self.real, self.after, self.has_failed = store, getattr(store, step), after, False
        setattr(store, step, self)

    def __call__(self, *args, **kwargs):
        if self.has_failed:
            return self.real(*args, **kwargs)
        self.has_failed = True
        if self.after:
            self.real(*args, **kwargs)
        raise Transient("the store could not be used", code="store_unavailable")


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("cut", ["before_accept", "after_accept"])
def test_a_step_of_the_store_that_fails_neither_doubles_nor_loses(world, step, after, cut):
    """The connection to the gateway is cut as well, so that every step is needed."""
    world.sandbox.admin.add_fault({"type": "drop", "when": cut}, match={"op": ["sendText"]}, trigger={"nth": [1]})
    fault = _FailsOnce(world.store, step, after=after)
    names = [world.say(f"m{number}", f"text {number}") for number in range(2)]
    for name in names:
        actors.send_message.send(name)
    with world.working():
        until(lambda: all(world.status(name) == MessageStatus.SENT for name in names), within_ms=15_000)

    assert world.delivered() == ["text 0", "text 1"]
    assert world.letters() == []
    # Nothing was sent twice, so nothing was claimed again.
    assert fault.has_failed or cut == "after_accept"
