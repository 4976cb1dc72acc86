"""The carrier as the product runs it: our middleware, our actor class, the options of ``actors.wiring``."""

import os
import uuid
from collections.abc import Sequence
from hashlib import sha1
from inspect import signature
from pathlib import Path
from time import monotonic_ns

import dramatiq
from bench.contestant import JOBS, LoopingProducer, only_queue, url

from middleware import default_stack, worker_process
from middleware.actor import Routed, routed
from middleware.brokers.redis import sources
from middleware.brokers.redis.broker import CarrierBroker
from middleware.brokers.redis.machinery import CarrierOptions
from middleware.brokers.redis.pin import kwargs_for_db
from middleware.brokers.redis.values import GateChange

QUEUES = ("q0", "q1", "q2")
#: As many messages of one conversation wait on average.
LANE_LENGTH = 20
INSTANCES = 10

broker = CarrierBroker(
    connect=lambda: kwargs_for_db(url(), 2),
    options=lambda: CarrierOptions(
        namespace="chat:queue", dead_suffix=".dead", pinned_db=2, unknown_actor_grace_ms=600_000
    ),
    middleware=default_stack(),
)


def _plain(number: int) -> Routed:
    return Routed(kwargs={"number": number})


def _everywhere(number: int) -> Routed:
    """As ``send_message`` is routed: a lane per conversation, a group per instance, unique per chat message."""
    return Routed(
        kwargs={"number": number},
        lane=str(uuid.UUID(int=number // LANE_LENGTH)),
        group=f"instance-{number // LANE_LENGTH % INSTANCES}",
        unique_key=str(uuid.UUID(int=number)),
    )


def _chat(message_id: str) -> Routed:
    return Routed(kwargs={"message_id": message_id})


def _chat_everywhere(message_id: str, conversation_id: str, instance: str) -> Routed:
    return Routed(kwargs={"message_id": message_id}, lane=conversation_id, group=instance, unique_key=message_id)


_actors = {
    (job, queue): dramatiq.actor(
        body, actor_name=f"{job}_{name}", queue_name=name, broker=broker, actor_class=routed(_plain)
    )
    for job, body in JOBS.items()
    for queue, name in enumerate(QUEUES)
}
everywhere = dramatiq.actor(
    JOBS["note"], actor_name="everywhere", queue_name="q0", broker=broker, actor_class=routed(_everywhere)
)
send_message, send_message_everywhere = (
    dramatiq.actor(lambda message_id: None, actor_name=name, queue_name="q0", broker=broker, actor_class=routed(route))
    for name, route in (("send_message", _chat), ("send_message_everywhere", _chat_everywhere))
)


class OurProducer(LoopingProducer):
    client = property(lambda self: broker.client)  # type: ignore[assignment]  # needs a Redis only when asked for

    def send_now(self, number: int, *, job: str, queue: int) -> None:
        if job == "everywhere":
            everywhere.send(number)
        else:
            _actors[job, queue].send(number)

    def send_many(self, numbers: Sequence[int], *, job: str = "note") -> None:
        actor = everywhere if job == "everywhere" else _actors[job, 0]
        broker.send_many([actor.message(number) for number in numbers])

    def send_later(self, number: int, *, delay_ms: int) -> int:
        began_ns = monotonic_ns()
        _actors["note", 0].send_with_options(args=(number,), delay=delay_ms)
        return began_ns

    def send_many_later(self, numbers: Sequence[int], *, delay_ms: int) -> None:
        messages = [_actors["note", 0].message(number) for number in numbers]
        if "delay" in signature(broker.send_many).parameters:
            broker.send_many(messages, delay=delay_ms)
            return
        for message in messages:
            broker.enqueue(message, delay=delay_ms)

    def send_chats(self, count: int, *, everywhere: bool) -> None:
        ids = [str(uuid.uuid4()) for _ in range(count)]
        if not everywhere:
            broker.send_many([send_message.message(id_) for id_ in ids])
            return
        conversations = [str(uuid.uuid4()) for _ in range(count // LANE_LENGTH)]
        # In turns, as people write: each conversation has LANE_LENGTH messages, none of them beside another.
        broker.send_many(
            [
                send_message_everywhere.message(
                    id_, conversations[at % len(conversations)], f"instance-{at % len(conversations) % INSTANCES}"
                )
                for at, id_ in enumerate(ids)
            ]
        )

    def waiting(self) -> int:
        depths = broker.transitions.stats([QUEUES[0]])[0]
        return depths.ready + depths.waiting_in_lane + depths.waiting_in_group

    def send_to_lanes(self, numbers: Sequence[int], *, lanes: int) -> None:
        actor = _actors["note", 0]
        broker.send_many(
            [actor.message_with_options(args=(number,), lane=f"lane-{number % lanes}") for number in numbers]
        )

    def set_gate(self, group: str, *, limit: int) -> None:
        broker.transitions.set_gate(QUEUES[0], group, GateChange(limit=limit))

    def script_names(self) -> dict[str, str]:
        names = [path.stem for path in Path(sources.__file__).parent.glob("lua/*.lua")]
        texts = {
            (name, flagged): sources.source(name, flagged=flagged).text for name in names for flagged in (False, True)
        }
        return {sha1(text.encode(), usedforsecurity=False).hexdigest(): name for (name, _), text in texts.items()}

    def send_to_group(self, numbers: Sequence[int], *, group: str, job: str) -> list[int]:
        began_ns: list[int] = []
        for number in numbers:
            began_ns.append(monotonic_ns())
            _actors[job, 0].send_with_options(args=(number,), group=group)
        return began_ns

    def close(self) -> None:
        broker.close()


class Ours:
    title = "chat-actors"
    queues = len(QUEUES)
    share = 1.0
    bulk = True
    routes = True

    def producer(self) -> OurProducer:
        return OurProducer()

    def serve(self, threads: int) -> None:
        options = ["--threads", str(threads), "--parent", str(os.getppid()), *only_queue()]
        worker_process.main([f"{__name__}:broker", *options])


contestant = Ours()
