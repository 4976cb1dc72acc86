"""streaq, with its defaults: it keeps results, renews what runs and gives back what stays idle for 60 s."""

import asyncio
from collections.abc import Sequence

from bench.contestant import ASYNC_JOBS, AsyncProducer, url
from streaq import Worker

#: How many tasks ``enqueue_many`` gets at once.
SLICE = 200
worker: Worker[None] = Worker(redis_url=url())
_tasks = {job: worker.task(name=job)(body) for job, body in ASYNC_JOBS.items()}


class StreaqProducer(AsyncProducer):
    def __init__(self) -> None:
        super().__init__()
        self._entered, self._leave = asyncio.Event(), asyncio.Event()
        self.runner.run(self._start())

    async def _start(self) -> None:
        self._life = asyncio.create_task(self._live())
        await self._entered.wait()

    async def _live(self) -> None:
        # It must be left by the task that entered it.
        async with worker:
            self._entered.set()
            await self._leave.wait()

    async def asend(self, number: int, *, job: str) -> None:
        await _tasks[job].enqueue(number)

    def send_many(self, numbers: Sequence[int], *, job: str = "note") -> None:
        async def all_of_them() -> None:
            for first in range(0, len(numbers), SLICE):
                await worker.enqueue_many([_tasks[job].enqueue(number) for number in numbers[first : first + SLICE]])

        self.runner.run(all_of_them())

    def close(self) -> None:
        async def stop() -> None:
            self._leave.set()
            await self._life

        self.runner.run(stop())
        super().close()


class Streaq:
    title = "streaq"
    queues = 1
    share = 0.2
    bulk = True
    routes = False

    def producer(self) -> StreaqProducer:
        return StreaqProducer()

    def serve(self, threads: int) -> None:
        worker.concurrency = threads
        worker.prefetch = threads * 2
        worker.run_sync()


contestant = Streaq()
