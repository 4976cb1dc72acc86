"""celery over Redis lists, with a pool of threads."""

from bench.contestant import JOBS, LoopingProducer, url
from celery import Celery

QUEUES = ("q0", "q1", "q2")
app = Celery("bench", broker=url())
_tasks = {job: app.task(name=job)(body) for job, body in JOBS.items()}


class CeleryProducer(LoopingProducer):
    client = None

    def send_now(self, number: int, *, job: str, queue: int) -> None:
        _tasks[job].apply_async((number,), queue=QUEUES[queue])


class CeleryRedis:
    title = "celery"
    queues = len(QUEUES)
    share = 0.2
    bulk = False
    routes = False

    def producer(self) -> CeleryProducer:
        return CeleryProducer()

    def serve(self, threads: int) -> None:
        quiet = ("--without-gossip", "--without-mingle", "--loglevel=ERROR")
        app.worker_main(
            ["worker", "--pool=threads", f"--concurrency={threads}", f"--queues={','.join(QUEUES)}", *quiet]
        )


contestant = CeleryRedis()
