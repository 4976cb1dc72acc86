"""rq: one job at a time, each in a process forked for it; threads mean nothing to it."""

from collections.abc import Sequence

import redis
from bench.contestant import JOBS, LoopingProducer, url
from rq import Queue, Worker

QUEUES = ("q0", "q1", "q2")
connection = redis.Redis.from_url(url())
_queues = [Queue(name, connection=connection) for name in QUEUES]


class RqProducer(LoopingProducer):
    client = connection

    def send_now(self, number: int, *, job: str, queue: int) -> None:
        _queues[queue].enqueue(JOBS[job], number)

    def send_many(self, numbers: Sequence[int], *, job: str = "note") -> None:
        _queues[0].enqueue_many([Queue.prepare_data(JOBS[job], (number,)) for number in numbers])


class Rq:
    title = "rq, fork per job"
    queues = len(QUEUES)
    share = 0.01
    bulk = True
    routes = False

    def producer(self) -> RqProducer:
        return RqProducer()

    def serve(self, threads: int) -> None:
        Worker(_queues, connection=connection).work(logging_level="ERROR")


contestant = Rq()
