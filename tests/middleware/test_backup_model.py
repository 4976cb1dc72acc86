"""Whatever state a queue can get into, a copy of it put into an empty database is that queue again."""

from pathlib import Path

import pytest
import redis
from backup_world import Vault
from carrier_world import MEMORY, QUEUE
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test
from queue_checks import check_alone
from queue_look import Look, look
from queue_machine import KEYS, MAX_CRASHES, CarrierMachine

from middleware.brokers.redis.scripts import Scripts
from middleware.brokers.redis.transitions import Transitions

pytestmark = pytest.mark.redis


def lane_orders(now: Look) -> dict[str, list[str]]:
    """Who runs after whom: the holder, then those who wait; ids without a body have no turn."""
    holders = {lane: held for lane, held in now.holders.items() if held in now.bodies}
    lanes = {*holders, *now.in_lanes}
    orders = {lane: [*([holders[lane]] if lane in holders else []), *now.in_lanes.get(lane, [])] for lane in lanes}
    return {lane: order for lane, ids in orders.items() if (order := [id_ for id_ in ids if id_ in now.bodies])}


def owners(now: Look) -> dict[str, str]:
    """Unique keys that keep a second send away."""
    return {key: id_ for key, id_ in now.unique.items() if id_ in now.bodies | now.unannounced}


class RestoredMachine(CarrierMachine):
    """The machine of the scripts, at whose end the queue is copied, lost and put back; then it is drained as ever."""

    def __init__(self, moves: Transitions, folder: Path) -> None:
        super().__init__(moves)
        self.vault = Vault(moves, folder, [QUEUE])

    def teardown(self) -> None:
        # What is due would be where it belongs by then.
        self.moves.tend([QUEUE], max_deliveries=MAX_CRASHES)
        before = look(self.client, KEYS, QUEUE)
        restored = self.vault.round_trip()
        now = look(self.client, KEYS, QUEUE)

        assert {state for counts in restored.messages.values() for state in counts} <= {"new"}
        assert (now.bodies, now.deliveries, now.leases) == (before.bodies, before.deliveries, {})
        assert (now.delayed, lane_orders(now)) == (before.delayed, lane_orders(before))
        assert (set(now.dead), now.letters, now.unannounced) == (set(before.dead), before.letters, before.unannounced)
        assert owners(now) == owners(before)
        assert set(now.gates) <= set(before.gates)
        check_alone(_empty(now), now)
        self.model.is_paused = bool(self.client.hexists(KEYS.of(QUEUE, "control"), "paused_at_ms"))
        super().teardown()


def _empty(now: Look) -> Look:
    """A queue with nothing in it, for what is compared with before."""
    empty = {name: type(value)() for name, value in vars(now).items()}
    return Look(**empty)


def explore(client: redis.Redis, folder: Path, *, examples: int, steps: int) -> None:
    moves = Transitions(Scripts(client, KEYS), memory=MEMORY)
    run_state_machine_as_test(
        lambda: RestoredMachine(moves, folder),
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_a_copy_put_into_an_empty_database_is_the_queue_again(queue_client, tmp_path):
    explore(queue_client, tmp_path, examples=30, steps=12)


@pytest.mark.slow
def test_a_copy_put_into_an_empty_database_is_the_queue_again_at_length(queue_client, tmp_path):
    explore(queue_client, tmp_path, examples=600, steps=30)
