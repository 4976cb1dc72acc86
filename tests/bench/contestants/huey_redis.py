"""huey with Redis lists; one queue per consumer is all it has."""

from collections.abc import Sequence
from time import monotonic_ns

from bench.contestant import JOBS, LoopingProducer, url
from huey import RedisHuey

huey = RedisHuey("bench", url=url())
_tasks = {job: huey.task(name=job)(body) for job, body in JOBS.items()}


class HueyProducer(LoopingProducer):
    client = huey.storage.conn

    def send_now(self, number: int, *, job: str, queue: int) -> None:
        _tasks[job](number)

    def send_later(self, number: int, *, delay_ms: int) -> int:
        began_ns = monotonic_ns()
        _tasks["note"].schedule((number,), delay=delay_ms / 1000)
        return began_ns

    def send_many_later(self, numbers: Sequence[int], *, delay_ms: int) -> None:
        for number in numbers:
            self.send_later(number, delay_ms=delay_ms)


class Huey:
    title = "huey"
    queues = 1
    share = 0.4
    bulk = False
    routes = False

    def producer(self) -> HueyProducer:
        return HueyProducer()

    def serve(self, threads: int) -> None:
        huey.create_consumer(workers=threads, worker_type="thread", periodic=False).run()


contestant = Huey()
