"""What only shows on a database that other threads see: connections that end, and rows that are swept after an outage."""

import asyncio
import socket

import pytest
from chat.models import Conversation, Message
from django.db import connections, transaction
from flow_world import working
from waiting import until

import actors
from actors.django_app.send import send_many_on_commit, send_on_commit
from actors.domain import MessageStatus
from actors.housekeeping import sweep_pending
from actors.settings import Hidden
from actors.stores.rows import InstanceRow

pytestmark = pytest.mark.redis

DOWN = {"redis_url": Hidden("redis://127.0.0.1:1/0")}


def _saved(world, **values) -> str:
    thread = Conversation.objects.using(world.alias).create(
        contact_phone="+5511988887777", instance_name="i1", tenant_id="t"
    )
    return str(Message.objects.using(world.alias).create(conversation=thread, content="oi", **values).pk)


def _status(world, id_: str) -> str:
    return world.message(id_).status


def test_threads_of_async_sends_keep_no_database_connection_that_must_not_live_on(real_world, monkeypatch):
    used = []
    enqueue = actors.broker.enqueue

    def look(message, **how):
        used.append((connections[real_world.alias], connections[real_world.alias].connection is not None))
        return enqueue(message, **how)

    monkeypatch.setattr(actors.broker, "enqueue", look)

    asyncio.run(actors.send_message.asend(_saved(real_world)))

    [(connection, was_open)] = used
    assert connection is not connections[real_world.alias]
    assert was_open
    until(lambda: connection.connection is None, within_ms=10_000)


def test_a_send_opens_no_connection_to_find_out_about_transactions(real_world):
    connections[real_world.alias].close()

    actors.send_message.send_with_options(args=("m",), on_commit=False)
    actors.fetch_profile_pic.send_with_options(args=("c",), on_commit=False)

    assert not connections[real_world.alias].in_atomic_block


def test_what_redis_missed_is_swept_and_delivered(real_world, sandbox):
    real_world.add(InstanceRow(instance_name="i1", tenant_id="t", api_key=sandbox.apikey, api_url=sandbox.url))
    here = {"gateway": "sandbox", "sandbox_url": sandbox.url, "sweep_after_s": 1, "metrics_port": 0}
    real_world.use(**DOWN)
    with transaction.atomic(using=real_world.alias):
        ids = [_saved(real_world) for _ in range(3)]
        for id_ in ids[:2]:
            send_on_commit(actors.send_message, id_)
        send_many_on_commit(actors.send_message, ids[2:], bulk=True)
    assert {_status(real_world, id_) for id_ in ids} == {MessageStatus.PENDING}

    real_world.use(**here)
    until(lambda: not sweep_pending() and actors.broker.do_qsize("send_message") == 3, within_ms=10_000)
    [bulk] = [job for job in _jobs() if job.kwargs.get("bulk")]
    assert bulk.kwargs["message_id"] == ids[2]
    with working():
        until(lambda: {_status(real_world, id_) for id_ in ids} == {MessageStatus.SENT}, within_ms=15_000)
    assert len(sandbox.admin.deliveries()) == 3


def _jobs():
    return [actors.broker.decode(body) for body in actors.broker.client.hvals("chat:queue:send_message.msgs")]


@pytest.mark.parametrize("real_world", ["sqlite_alias"], indirect=True)
def test_a_redis_that_answers_nothing_is_waited_for_once_per_transaction(real_world):
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(16)
        real_world.use(redis_url=Hidden(f"redis://127.0.0.1:{deaf.getsockname()[1]}/0"))
        with transaction.atomic(using=real_world.alias):
            ids = [_saved(real_world) for _ in range(20)]
            for id_ in ids:
                send_on_commit(actors.send_message, id_)

        assert {_status(real_world, id_) for id_ in ids} == {MessageStatus.PENDING}
        # A script is repeated once: two waits, each bounded by the client (middleware/brokers/redis/connections.py).
        assert _calls(deaf) == 2


def _calls(server: socket.socket) -> int:
    server.setblocking(False)
    calls = 0
    try:
        while True:
            server.accept()[0].close()
            calls += 1
    except BlockingIOError:
        return calls


def test_a_campaign_outlives_an_emptied_redis_as_one(real_world, queue_client):
    ids = [_saved(real_world) for _ in range(2)]
    actors.send_message.send_many(ids, bulk=True)
    real_world.use(sweep_after_s=1)
    queue_client.flushall()

    until(lambda: not sweep_pending() and actors.broker.do_qsize("send_message") == 2, within_ms=10_000)

    assert [job.kwargs["bulk"] for job in _jobs()] == [True, True]
