"""Async code sends without blocking its loop, sees its own rows, and may be cancelled."""

import asyncio
import contextvars
import threading
from concurrent.futures import Future
from typing import ClassVar

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from chat.models import Message
from django.db import transaction
from django.http import JsonResponse
from django.test import AsyncClient
from django.urls import path
from waiting import until

import actors
from actors.django_app.send import asend
from actors.errors import InsideTransaction
from actors.settings import Hidden
from middleware.errors import QueueUnavailable
from middleware.sending import ASYNC_THREADS

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.redis]

DOWN = {"redis_url": Hidden("redis://127.0.0.1:1/0")}


@pytest.fixture
def slow(monkeypatch):
    """A queue that answers when it is told to: ``entered``, ``go``, and what it was asked."""

    class Slow:
        entered, go, lock = threading.Semaphore(0), threading.Event(), threading.Lock()
        threads: ClassVar[set[str]] = set()
        most = running = 0

    enqueue = actors.broker.enqueue

    def wait(message, *, delay=None):
        with Slow.lock:
            Slow.threads.add(threading.current_thread().name)
            Slow.running += 1
            Slow.most = max(Slow.most, Slow.running)
        Slow.entered.release()
        assert Slow.go.wait(timeout=30)
        with Slow.lock:
            Slow.running -= 1
        return enqueue(message, delay=delay)

    monkeypatch.setattr(actors.broker, "enqueue", wait)
    yield Slow
    Slow.go.set()


async def _view(request):
    from chat.models import Conversation

    thread = await Conversation.objects.acreate(contact_phone="+5511988887777", instance_name="line-1")
    row = await Message.objects.acreate(conversation=thread, content="oi")
    sent = await actors.send_message.asend(row.pk)
    return JsonResponse({"id": str(row.pk), "lane": sent.options["lane"]})


urlpatterns = [path("say/", _view)]


def test_an_async_view_sends_what_it_saved(installed, queued, settings):
    settings.ROOT_URLCONF = __name__

    answer = asyncio.run(AsyncClient().get("/say/")).json()

    assert queued() == [answer["id"]]
    assert answer["lane"] == str(Message.objects.get().conversation_id)


def test_the_loop_goes_on_while_the_queue_is_waited_for(installed, say, slow, queued):
    id_ = say()

    async def view() -> list[str]:
        sending = asyncio.create_task(actors.send_message.asend(id_))
        while not slow.entered.acquire(blocking=False):
            await asyncio.sleep(0)
        steps = ["loop ran"]
        slow.go.set()
        await sending
        return [*steps, "sent"]

    assert asyncio.run(view()) == ["loop ran", "sent"]
    assert queued() == [id_]


def test_no_more_threads_send_at_once_than_the_pool_has(installed, say, slow):
    id_ = say()

    async def view() -> None:
        sends = [asyncio.create_task(actors.send_message.asend(id_)) for _ in range(3 * ASYNC_THREADS)]
        for _ in range(ASYNC_THREADS):
            while not slow.entered.acquire(blocking=False):
                await asyncio.sleep(0)
        slow.go.set()
        await asyncio.gather(*sends)

    asyncio.run(view())

    assert slow.most == ASYNC_THREADS
    assert all(name.startswith("chat-asend") for name in slow.threads)


def test_context_variables_go_along(installed, say, monkeypatch):
    request_id = contextvars.ContextVar("request_id", default="none")
    seen = []
    enqueue = actors.broker.enqueue
    monkeypatch.setattr(
        actors.broker, "enqueue", lambda message, **how: seen.append(request_id.get()) or enqueue(message, **how)
    )
    id_ = say()

    async def view() -> None:
        request_id.set("r-1")
        await actors.send_message.asend(id_)

    asyncio.run(view())

    assert seen == ["r-1"]


def test_a_caller_that_is_cancelled_has_still_sent(installed, say, slow, queued):
    id_ = say()

    async def view() -> None:
        sending = asyncio.create_task(actors.send_message.asend(id_))
        while not slow.entered.acquire(blocking=False):
            await asyncio.sleep(0)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending

    asyncio.run(view())
    slow.go.set()

    until(lambda: queued() == [id_], within_ms=10_000)


def test_a_failure_after_a_cancel_disturbs_nobody(installed, say, monkeypatch, caplog):
    id_, entered, go = say(), threading.Event(), threading.Event()
    ended: Future[None] = Future()

    def fail(message, *, delay=None):
        entered.set()
        assert go.wait(timeout=30)
        ended.set_result(None)
        raise QueueUnavailable("nobody there")

    monkeypatch.setattr(actors.broker, "enqueue", fail)
    unhandled = []

    async def view() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: unhandled.append(context))
        sending = asyncio.create_task(actors.send_message.asend(id_))
        while not entered.is_set():
            await asyncio.sleep(0)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        go.set()
        await asyncio.wrap_future(ended)
        await asyncio.sleep(0)

    asyncio.run(view())

    assert unhandled == []


def test_inside_a_transaction_it_is_refused_and_says_what_to_do(installed, say, queued):
    async def send(id_: str) -> None:
        await actors.send_message.asend(id_)

    with transaction.atomic():
        id_ = say()
        with pytest.raises(InsideTransaction, match="send_on_commit"):
            async_to_sync(send)(id_)

    async def by_hand() -> None:
        block = transaction.atomic()
        await sync_to_async(block.__enter__)()
        try:
            with pytest.raises(InsideTransaction):
                await asend(actors.send_message, id_)
        finally:
            await sync_to_async(block.__exit__)(None, None, None)

    async_to_sync(by_hand)()
    assert queued() == []


def test_a_queue_that_is_down_is_false_or_an_error_by_choice(installed, say):
    id_ = say()
    installed(**DOWN)

    async def view() -> object:
        with pytest.raises(QueueUnavailable):
            await actors.send_message.asend(id_)
        with pytest.raises(QueueUnavailable):
            await asend(actors.send_message, id_, robust=False)
        return await asend(actors.send_message, id_)

    assert asyncio.run(view()) is False
    assert Message.objects.get().status == "pending"


def test_an_actor_that_is_not_ours_is_sent_too(queue, send_message, say):
    id_ = say()

    sent = asyncio.run(asend(send_message, id_))

    assert sent.args == (id_,)
    assert queue.sent == [(id_, True)]


@pytest.mark.django_db(transaction=False)
def test_inside_a_test_case_it_sees_the_rows_of_the_test(installed, say, queued):
    id_ = say()

    async def view():
        return await actors.send_message.asend(id_)

    assert async_to_sync(view)().options["lane"] == str(Message.objects.get().conversation_id)
    assert queued() == [id_]
