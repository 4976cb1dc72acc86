"""Many dead letters are sent again in order, at a rate, and no further once they fail again; and who did it is kept."""

from collections.abc import Callable, Iterator

import dramatiq
import pytest
import redis
from dramatiq import Message

from middleware.audit import KEPT, AuditTrail
from middleware.brokers.redis.broker import CarrierBroker
from middleware.brokers.redis.embedded import EmbeddedRedis
from middleware.brokers.redis.machinery import CarrierOptions
from middleware.brokers.redis.pin import kwargs_for_db
from middleware.letter_search import LetterQuery
from middleware.letters import DeadLetters
from middleware.outcomes import Dead
from middleware.redrives import LOOK_EVERY, Redrives

pytestmark = pytest.mark.redis

QUEUE = "work"


class Clock:
    """Waits in no time, and says how long."""

    def __init__(self) -> None:
        self.at_ms, self.waited_s = 1_000, []

    def now_ms(self) -> int:
        return self.at_ms

    def boot_ms(self) -> int:
        return self.at_ms

    def wait(self, seconds: float, *, until: object) -> bool:
        self.waited_s.append(round(seconds, 3))
        self.at_ms += round(seconds * 1000)
        return False


@pytest.fixture
def broker(redis_server: EmbeddedRedis, queue_client: redis.Redis) -> Iterator[CarrierBroker]:
    broker = CarrierBroker(
        connect=lambda: kwargs_for_db(redis_server.url(0), 2),
        options=lambda: CarrierOptions(namespace="test:redrives", dead_suffix=".dead"),
        middleware=[],
    )
    dramatiq.actor(lambda: None, broker=broker, queue_name=QUEUE, actor_name="note")
    broker.clock = Clock()
    yield broker
    broker.close()


@pytest.fixture
def die(broker: CarrierBroker) -> Callable[[], str]:
    """Let the message that is next die; returns its id."""

    def die() -> str:
        (fetched,) = broker.do_fetch(QUEUE, 1).messages
        assert broker.transitions.finish(fetched.lease, Dead("late", {}, fingerprint="x"), body=fetched.body)
        broker.transitions.announced(QUEUE, [fetched.lease.id])
        return fetched.lease.id

    return die


@pytest.fixture
def bury(broker: CarrierBroker, die: Callable[[], str]) -> Callable[..., str]:
    def bury(id_: str, **where: str) -> str:
        message = Message(queue_name=QUEUE, actor_name="note", args=(), kwargs={"page": 1, "id": id_}, options=where)
        broker.transitions.enqueue(QUEUE, id_, broker.encode(message), options=where)
        return die()

    return bury


def oldest_first(broker: CarrierBroker):
    return DeadLetters(broker).all(QUEUE, LetterQuery(reason="late"), oldest_first=True)


def test_they_go_at_a_rate_and_in_the_order_of_their_deaths(broker, bury):
    for id_ in "abc":
        bury(id_, lane="l")
    redrives = Redrives(DeadLetters(broker), per_s=2)

    states = [(letter.id, state) for letter, state in redrives.run(oldest_first(broker))]

    assert states == [("a", "redriven"), ("b", "redriven"), ("c", "redriven")]
    assert (redrives.states, redrives.is_stopped) == ({"redriven": 3}, False)
    assert broker.clock.waited_s == [0.5, 0.5]
    assert broker.transitions.lane(QUEUE, "l").waiting == 2
    assert broker.do_fetch(QUEUE, 5).messages[0].lease.id == "a"


def test_they_stop_once_enough_of_them_are_dead_letters_again(broker, bury, die):
    for number in range(10):
        bury(f"m{number}")
    redrives = Redrives(DeadLetters(broker), per_s=1, stop_after=3)

    gone = []
    for letter, _ in redrives.run(list(oldest_first(broker))):
        gone.append(letter.id)
        die()

    assert gone == ["m0", "m1", "m2"]
    assert (redrives.is_stopped, redrives.died_again) == (True, 3)
    assert {letter.id for letter in oldest_first(broker)} == {f"m{number}" for number in range(10)}


def test_without_a_rate_they_are_looked_after_all_the_same(broker, bury, die):
    for number in range(LOOK_EVERY + 5):
        bury(f"m{number:03}")
    redrives = Redrives(DeadLetters(broker), stop_after=1)

    gone = []
    for letter, _ in redrives.run(list(oldest_first(broker))):
        gone.append(letter.id)
        die()

    # The clock stands still: only the count says that it is time to look.
    assert (len(gone), redrives.is_stopped) == (LOOK_EVERY - 1, True)


def test_those_that_live_on_stop_nobody(broker, bury):
    for number in range(10):
        bury(f"m{number}")
    redrives = Redrives(DeadLetters(broker), per_s=1, stop_after=1)

    assert len(list(redrives.run(list(oldest_first(broker))))) == 10
    assert (redrives.is_stopped, redrives.look()) == (False, 0)


def test_arguments_may_be_changed_on_the_way(broker, bury):
    bury("a")
    redrives = Redrives(DeadLetters(broker), changes={"page": 2})

    assert [state for _, state in redrives.run(oldest_first(broker))] == ["redriven"]

    (fetched,) = broker.do_fetch(QUEUE, 1).messages
    message = broker.decode(fetched.body)
    assert (message.kwargs, message.options["redrives"]) == ({"page": 2, "id": "a"}, 1)


def test_the_audit_trail_says_who_did_what(broker, queue_client):
    trail = AuditTrail(broker)
    trail.note("ana@box", "dlq.discard", letters=3, filter={"reason": "late"}, instance=None)
    trail.note("admin:7", "instance.park", instance="support")

    newest, older = trail.newest()

    assert (newest.who, newest.what, newest.facts) == ("admin:7", "instance.park", {"instance": "support"})
    assert older.as_json()["facts"] == {"letters": 3, "filter": {"reason": "late"}}
    assert older.as_json()["at"] < newest.as_json()["at"] or older.at_ms == newest.at_ms
    assert [entry.what for entry in trail.newest(limit=1)] == ["instance.park"]


def test_the_audit_trail_is_capped_and_survives_a_strangers_entry(broker, queue_client):
    trail, key = AuditTrail(broker), broker.machinery.keys.audit
    pipeline = queue_client.pipeline(transaction=False)
    for number in range(KEPT + 500):
        pipeline.xadd(key, {"n": number})
    pipeline.xadd(key, {"who": b"\xff", "what": "x", "facts": "{"})
    pipeline.execute()

    trail.note("a", "b")

    # Whole nodes of the stream go, of 100 entries each.
    assert KEPT <= queue_client.xlen(key) <= KEPT + 100
    assert [(entry.what, entry.facts) for entry in trail.newest(limit=3)] == [("b", {}), ("x", {}), ("?", {})]
