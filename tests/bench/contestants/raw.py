"""The limit: a list, ``LPUSH`` and ``BRPOP``, one connection per thread, no promise whatever."""

import json
from collections.abc import Sequence
from threading import Thread

import redis
from bench.contestant import JOBS, LoopingProducer, url

QUEUES = ("q0", "q1", "q2")


class RawProducer(LoopingProducer):
    def __init__(self) -> None:
        self.client: redis.Redis = redis.Redis.from_url(url())

    def send_now(self, number: int, *, job: str, queue: int) -> None:
        self.client.lpush(QUEUES[queue], json.dumps({"job": job, "number": number}))

    def send_many(self, numbers: Sequence[int], *, job: str = "note") -> None:
        for first in range(0, len(numbers), 200):
            with self.client.pipeline(transaction=False) as pipeline:
                for number in numbers[first : first + 200]:
                    pipeline.lpush(QUEUES[0], json.dumps({"job": job, "number": number}))
                pipeline.execute()

    def close(self) -> None:
        self.client.close()


class Raw:
    title = "raw LPUSH/BRPOP"
    queues = len(QUEUES)
    share = 1.0
    bulk = True
    routes = False

    def producer(self) -> RawProducer:
        return RawProducer()

    def serve(self, threads: int) -> None:
        client = redis.Redis.from_url(url())
        loops = [Thread(target=self._loop, args=(client,)) for _ in range(threads)]
        for loop in loops:
            loop.start()

    def _loop(self, client: "redis.Redis") -> None:
        while True:
            found = client.brpop(QUEUES, timeout=5)
            if found is not None:
                message = json.loads(found[1])
                JOBS[message["job"]](message["number"])


contestant = Raw()
