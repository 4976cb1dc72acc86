"""arq, with its defaults: it polls a sorted set every half second."""

from typing import Any

from arq import create_pool
from arq.connections import ArqRedis, RedisSettings
from arq.worker import Worker, func
from bench.contestant import ASYNC_JOBS, AsyncProducer, url

settings = RedisSettings.from_dsn(url())


def _with_context(body: Any) -> Any:
    async def run(_: dict[Any, Any], number: int) -> None:
        await body(number)

    return run


class ArqProducer(AsyncProducer):
    def __init__(self) -> None:
        super().__init__()
        self._pool: ArqRedis = self.runner.run(create_pool(settings))

    async def asend(self, number: int, *, job: str) -> None:
        await self._pool.enqueue_job(job, number)

    def close(self) -> None:
        self.runner.run(self._pool.aclose())
        super().close()


class Arq:
    title = "arq"
    queues = 1
    share = 0.05
    bulk = False
    routes = False

    def producer(self) -> ArqProducer:
        return ArqProducer()

    def serve(self, threads: int) -> None:
        functions = [func(_with_context(body), name=name) for name, body in ASYNC_JOBS.items()]
        Worker(functions, redis_settings=settings, max_jobs=threads).run()


contestant = Arq()
