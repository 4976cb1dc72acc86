"""Dramatiq's own RedisBroker with its default middleware and settings."""

import os
import uuid
from collections.abc import Sequence
from time import monotonic_ns

import dramatiq
from bench.contestant import JOBS, LoopingProducer, only_queue, url
from dramatiq.brokers.redis import RedisBroker

from middleware import worker_process

QUEUES = ("q0", "q1", "q2")

broker = RedisBroker(url=url())
dramatiq.set_broker(broker)
_actors = {
    (job, queue): dramatiq.actor(body, actor_name=f"{job}_{name}", queue_name=name)
    for job, body in JOBS.items()
    for queue, name in enumerate(QUEUES)
}
send_message = dramatiq.actor(lambda message_id: None, actor_name="send_message", queue_name="q0")


class StockProducer(LoopingProducer):
    client = broker.client

    def send_now(self, number: int, *, job: str, queue: int) -> None:
        _actors[job, queue].send(number)

    def send_later(self, number: int, *, delay_ms: int) -> int:
        began_ns = monotonic_ns()
        _actors["note", 0].send_with_options(args=(number,), delay=delay_ms)
        return began_ns

    def send_many_later(self, numbers: Sequence[int], *, delay_ms: int) -> None:
        for number in numbers:
            self.send_later(number, delay_ms=delay_ms)

    def send_chats(self, count: int, *, everywhere: bool) -> None:
        for _ in range(count):
            send_message.send(message_id=str(uuid.uuid4()))

    def waiting(self) -> int:
        return int(broker.do_qsize(QUEUES[0]))


class Stock:
    title = "Dramatiq, stock RedisBroker"
    queues = len(QUEUES)
    share = 0.5
    bulk = False
    routes = False

    def producer(self) -> StockProducer:
        return StockProducer()

    def serve(self, threads: int) -> None:
        # Dramatiq's Worker in this process, as its command line would run it in a child.
        options = ["--threads", str(threads), "--parent", str(os.getppid()), *only_queue()]
        worker_process.main([f"{__name__}:broker", *options])


contestant = Stock()
