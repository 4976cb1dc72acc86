"""The scripts and a plain model of them, step by step, through whatever order of calls hypothesis finds."""

import pytest
import redis
from carrier_world import MEMORY
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test
from queue_machine import KEYS, CarrierMachine

from middleware.brokers.redis.scripts import Scripts
from middleware.brokers.redis.transitions import Transitions

pytestmark = pytest.mark.redis


def explore(client: redis.Redis, *, examples: int, steps: int) -> None:
    moves = Transitions(Scripts(client, KEYS), memory=MEMORY)
    run_state_machine_as_test(
        lambda: CarrierMachine(moves),
        settings=settings(
            max_examples=examples, stateful_step_count=steps, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )


def test_the_scripts_do_what_the_model_says(queue_client):
    explore(queue_client, examples=80, steps=30)


@pytest.mark.slow
def test_the_scripts_do_what_the_model_says_at_length(queue_client):
    explore(queue_client, examples=400, steps=60)
