"""PostgreSQL ends every connection: a restart, a failover. Whoever has one that is dead gets another."""

from collections.abc import Iterator

import pytest
import redis
from chaos_rows import DjangoRows
from dramatiq import Worker
from waiting import until

import actors
from actors import services
from actors.domain import MessageStatus
from actors.services import Services
from actors.settings import Hidden, Settings
from actors.stores.rows import ConversationRow, InstanceRow, MessageRow
from middleware.brokers.redis.embedded import EmbeddedRedis
from middleware.clock import SystemClock
from middleware.outcomes import Dead

pytestmark = [pytest.mark.redis, pytest.mark.postgres]


@pytest.fixture
def rows(postgres_rows, redis_server: EmbeddedRedis, queue_client: redis.Redis) -> Iterator[DjangoRows]:
    found, _ = postgres_rows
    settings = Settings(
        redis_url=Hidden(redis_server.url(0)), gateway="sandbox", sandbox_url="http://127.0.0.1:9", scheduler="none"
    )
    services.install(Services(settings=settings, store=found.store))
    yield found
    actors.broker.close()
    services.install(None)


def _given_up(rows: DjangoRows) -> str:
    """A message whose send is a dead letter that nobody was told of."""
    id_, thread = rows.new_id(), rows.new_id()
    rows.add(
        ConversationRow(id=thread, contact_phone="+5511988887777", instance_name="i1"),
        MessageRow(id=id_, conversation_id=thread, content="oi", created_at_ms=SystemClock().now_ms()),
    )
    actors.send_message.send(id_)
    (fetched,) = actors.broker.do_fetch("send_message", 1).messages
    assert actors.broker.transitions.finish(fetched.lease, Dead("not_on_whatsapp", {}), body=fetched.body)
    return id_


def test_who_tells_of_dead_letters_gets_another_connection_when_his_was_cut(rows):
    """Else no row of a dead letter would fail before the process is replaced, and its conversation would wait for it."""
    rows.add(InstanceRow(instance_name="i1", api_key="k"))
    worker = Worker(actors.broker, queues={"housekeeping"}, worker_threads=1, worker_timeout=50)
    first = _given_up(rows)
    actors.broker.emit_after("process_boot")
    worker.start()
    try:
        until(lambda: rows.message(first).status == MessageStatus.FAILED, within_ms=10_000)
        rows.disturb()
        second = _given_up(rows)

        until(lambda: rows.message(second).status == MessageStatus.FAILED, within_ms=10_000)
    finally:
        worker.stop(timeout=5_000)
