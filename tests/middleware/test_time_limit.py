"""A deadline ends with the thread that it was meant for."""

import threading

import pytest
from dramatiq.brokers.stub import StubBroker

from middleware.time_limit import TimeLimit


@pytest.mark.parametrize("boot", ["after_worker_thread_boot", "after_consumer_thread_boot"])
def test_a_new_thread_does_not_inherit_the_deadline_of_a_dead_one_with_its_id(boot):
    limit = TimeLimit()
    # A thread died inside a hook, before Dramatiq could drop its deadline; its id is this thread's now.
    limit.manager.add_timeout(threading.get_ident(), 0)

    getattr(limit, boot)(StubBroker(middleware=[]), threading.current_thread())

    assert limit.manager.deadlines[threading.get_ident()] is None
