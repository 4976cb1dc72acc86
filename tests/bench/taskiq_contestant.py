"""What the contestants on taskiq have in common."""

import asyncio

from bench.contestant import ASYNC_JOBS, AsyncProducer
from taskiq import AsyncBroker
from taskiq.api import run_receiver_task


class TaskiqProducer(AsyncProducer):
    def __init__(self, broker: AsyncBroker) -> None:
        super().__init__()
        self._broker = broker
        self.runner.run(broker.startup())

    async def asend(self, number: int, *, job: str) -> None:
        task = self._broker.find_task(job)
        assert task is not None
        await task.kiq(number)

    def close(self) -> None:
        self.runner.run(self._broker.shutdown())
        super().close()


class Taskiq:
    queues = 1
    share = 0.4
    bulk = False
    routes = False

    def __init__(self, title: str, broker: AsyncBroker) -> None:
        self.title = title
        self._broker = broker
        for name, body in ASYNC_JOBS.items():
            broker.register_task(body, task_name=name)

    def producer(self) -> TaskiqProducer:
        return TaskiqProducer(self._broker)

    def serve(self, threads: int) -> None:
        async def work() -> None:
            self._broker.is_worker_process = True
            await self._broker.startup()
            await run_receiver_task(self._broker, max_async_tasks=threads, sync_workers=threads)

        asyncio.run(work())
