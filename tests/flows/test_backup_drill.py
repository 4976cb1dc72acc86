"""The drill: a backup while workers deliver, everything in Redis lost, the backup put back, the sweep. Nobody notices."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import redis
from process_world import EACH_ONCE_IN_ORDER, ProcessWorld, running
from waiting import until

import actors
from actors import services
from actors.cli import main
from actors.domain import MessageStatus
from actors.stores.rows import ConversationRow, InstanceRow, MessageRow
from middleware.clock import SystemClock

pytestmark = [pytest.mark.redis, pytest.mark.process]

INSTANCES = ("i1", "i2", "i3", "i4")
#: So many at a time of each instance: its gate holds the others.
PACE = {"sandbox": {"send": {"concurrency": 6}}}
PER_CONVERSATION = 10


class Drill:
    def __init__(self, world: ProcessWorld, queue_client: redis.Redis, folder: Path) -> None:
        self.world, self.client, self.file = world, queue_client, folder / "drill.jsonl.gz"
        world.environ["CHAT_PACE"] = '{"sandbox": {"send": {"concurrency": 6}}}'
        services.install(replace(services.get(), settings=replace(services.settings(), pace=PACE)))
        for name in INSTANCES[1:]:
            world.store.add(InstanceRow(instance_name=name, api_key=world.sandbox.apikey, api_url=world.sandbox.url))
            world.sandbox.admin.put_instance(name)
        self.ids: list[str] = []

    def say(self, count: int) -> None:
        """Commit and send more messages, ``PER_CONVERSATION`` to each of new conversations."""
        first, now_ms = len(self.ids), SystemClock().now_ms()
        conversations = {
            f"d{number // PER_CONVERSATION}": INSTANCES[number // PER_CONVERSATION % len(INSTANCES)]
            for number in range(first, first + count)
        }
        self.world.store.add(
            *(
                ConversationRow(id=name, contact_phone=f"+5511{int(name[1:]):09d}", instance_name=instance)
                for name, instance in conversations.items()
            ),
            *(
                MessageRow(
                    id=f"m{number}",
                    conversation_id=f"d{number // PER_CONVERSATION}",
                    content=f"text {number}",
                    created_at_ms=now_ms - first - count + number,
                )
                for number in range(first, first + count)
            ),
        )
        new = [f"m{number}" for number in range(first, first + count)]
        actors.send_message.send_many(new)
        self.ids += new

    def accepted(self) -> int:
        return int(self.world.sandbox.admin.counters()["accepted"])

    def all_ended(self) -> bool:
        far_ms = SystemClock().now_ms() + 60 * 60 * 1000
        return not self.world.store.pending_messages(before_ms=far_ms, limit=1)

    def swept_to_the_end(self) -> bool:
        # What the schedule does once a minute.
        actors.sweep_pending.send()
        return self.all_ended()

    def run(self, count: int, *, within_ms: int, sweep_every_ms: int) -> None:
        self.say(count)
        with running(self.world, "actors.cli", "worker", "--processes", "1", "--threads", "24"):
            until(lambda: self.accepted() >= min(count // 50, 200), within_ms=60_000)
            assert main(["backup", "create", str(self.file)]) == 0
            # What follows is not in it: some are sent since, some are new.
            since = self.accepted()
            self.say(2 * PER_CONVERSATION)
            until(lambda: self.accepted() >= since + 20, within_ms=60_000)
            left = actors.broker.do_qsize("send_message")
            self.client.flushall()
            assert main(["backup", "restore", str(self.file), "--yes"]) == 0
            until(self.swept_to_the_end, within_ms=within_ms, poll_ms=sweep_every_ms)
        assert left > 0


@pytest.fixture
def drill(process_world: ProcessWorld, queue_client: redis.Redis, tmp_path: Path) -> Drill:
    return Drill(process_world, queue_client, tmp_path)


def _nobody_noticed(drill: Drill) -> None:
    statuses = {drill.world.store.message(id_).status for id_ in drill.ids}
    assert statuses == {MessageStatus.SENT}
    assert drill.world.faults_of_delivery() == EACH_ONCE_IN_ORDER | {"accepted": len(drill.ids)}


def test_a_flushed_redis_is_filled_from_its_backup_and_nothing_is_lost_or_delivered_twice(drill):
    drill.run(2_000, within_ms=120_000, sweep_every_ms=1_000)

    _nobody_noticed(drill)


@pytest.mark.slow
def test_a_hundred_thousand_messages_outlive_a_flushed_redis(drill, record_property: Callable[[str, object], None]):
    drill.run(100_000, within_ms=60 * 60 * 1000, sweep_every_ms=60_000)

    _nobody_noticed(drill)
    record_property("messages_delivered_once", len(drill.ids))
