"""Dead letters among many: by index, by age, by looking at each, and sent again at a rate."""

import statistics
import time
from collections.abc import Callable, Iterator

import dramatiq
import pytest
import redis
from dramatiq import Message

from middleware.brokers.redis.broker import CarrierBroker
from middleware.brokers.redis.embedded import EmbeddedRedis
from middleware.brokers.redis.machinery import CarrierOptions
from middleware.brokers.redis.pin import kwargs_for_db
from middleware.letter_search import LetterQuery
from middleware.letters import DeadLetters
from middleware.outcomes import Dead

pytestmark = pytest.mark.redis

QUEUE = "work"


@pytest.fixture
def broker(redis_server: EmbeddedRedis, queue_client: redis.Redis) -> Iterator[CarrierBroker]:
    broker = CarrierBroker(
        connect=lambda: kwargs_for_db(redis_server.url(0), 2),
        options=lambda: CarrierOptions(namespace="test:letters", dead_suffix=".dead"),
        middleware=[],
    )
    dramatiq.actor(lambda: None, broker=broker, queue_name=QUEUE, actor_name="note")
    yield broker
    broker.close()


@pytest.fixture
def bury(broker: CarrierBroker) -> Callable[..., str]:
    def bury(id_: str, *, reason: str = "given_up", fingerprint: str = "", **where: str) -> str:
        message = Message(queue_name=QUEUE, actor_name="note", args=(id_,), kwargs={}, options=where)
        broker.transitions.enqueue(QUEUE, id_, broker.encode(message), options=where)
        (fetched,) = broker.do_fetch(QUEUE, 1).messages
        outcome = Dead(reason, {"code": reason}, fingerprint=fingerprint)
        assert broker.transitions.finish(fetched.lease, outcome, body=fetched.body)
        return id_

    return bury


def ids(letters) -> list[str]:
    return [letter.id for letter in letters]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        (LetterQuery(), ["f", "e", "d", "c", "b", "a"]),
        (LetterQuery(reason="late"), ["e", "c"]),
        (LetterQuery(group="g1"), ["d", "c", "a"]),
        (LetterQuery(lane="l1"), ["d", "b"]),
        (LetterQuery(fingerprint="note:late"), ["c"]),
        (LetterQuery(reason="late", group="g1"), ["c"]),
        (LetterQuery(lane="l1", group="g1"), ["d"]),
        (LetterQuery(lane="l"), []),
        (LetterQuery(died_until_ms=1), []),
        (LetterQuery(died_from_ms=1), ["f", "e", "d", "c", "b", "a"]),
    ],
    ids=str,
)
def test_letters_are_found_by_what_they_died_of_where_and_when(broker, bury, query, found):
    bury("a", group="g1")
    bury("b", lane="l1")
    bury("c", reason="late", group="g1", fingerprint="note:late")
    bury("d", lane="l1", group="g1")
    bury("e", reason="late")
    bury("f", lane="l12")
    letters = DeadLetters(broker)

    assert ids(letters.all(QUEUE, query)) == found
    assert ids(letters.all(QUEUE, query, oldest_first=True)) == found[::-1]


@pytest.mark.parametrize("query", [LetterQuery(), LetterQuery(reason="given_up")], ids=str)
@pytest.mark.parametrize("oldest_first", [False, True])
def test_a_search_goes_on_where_it_stopped_though_letters_came_and_went(broker, bury, query, oldest_first):
    for number in range(250):
        bury(f"m{number:03}")
    letters = DeadLetters(broker)
    first = next(letters.pages(QUEUE, query, oldest_first=oldest_first))
    gone = "m200" if oldest_first else "m050"
    letters.discard([letters.find(gone)])
    bury("new")

    rest = [
        letter
        for page in letters.pages(QUEUE, query, oldest_first=oldest_first, after=first.after)
        for letter in page.letters
    ]

    seen = ids(first.letters) + ids(rest)
    expected = [f"m{number:03}" for number in range(250) if f"m{number:03}" != gone]
    # What came meanwhile is at the end of a search from the oldest, and not in one that has passed it.
    assert seen == ([*expected, "new"] if oldest_first else expected[::-1])
    assert len(first.letters) == first.looked_at == 100


def test_a_free_search_says_how_many_it_looked_at(broker, bury):
    for number in range(120):
        bury(f"m{number:03}")
    pages = DeadLetters(broker).pages(QUEUE, matches=lambda letter: letter.kwargs["arg0"] in ("m003", "m110"))

    assert [(ids(page.letters), page.looked_at) for page in pages] == [(["m110"], 100), (["m003"], 20)]


def test_letters_that_died_of_the_same_are_counted_together(broker, bury):
    for id_, fingerprint in [("a", "x"), ("b", "x"), ("c", "y"), ("d", "x")]:
        bury(id_, fingerprint=fingerprint)
    letters = DeadLetters(broker)
    groups = [(one.fingerprint, one.count, one.oldest_id, one.newest_id) for one in letters.groups()]
    assert groups == [("x", 3, "a", "d"), ("y", 1, "c", "c")]

    letters.discard([letters.find("a"), letters.find("c")])

    assert [(one.fingerprint, one.count) for one in letters.groups()] == [("x", 2)]


def test_a_letter_says_in_whose_hands_it_died(broker, bury):
    bury("a")

    assert DeadLetters(broker).find("a").worker == broker.broker_id


_FILL = """
local dead, letters, bodies, index, fingerprints = unpack(KEYS)
for number = tonumber(ARGV[1]), tonumber(ARGV[2]) do
  local id = string.format("m%07d", number)
  local reason, group, lane = "r" .. number % 50, "g" .. number % 100, "l" .. number % 100000
  redis.call("ZADD", dead, number, id)
  redis.call("HSET", letters, id, cjson.encode({ reason = reason, fingerprint = reason, evidence = {}, died_at_ms = number,
    about = { lane = lane, group = group }, deliveries = 1, sequence = number }))
  redis.call("HSET", bodies, id, ARGV[3])
  for kind, value in pairs({ f = reason, r = reason, g = group, l = lane }) do
    redis.call("ZADD", index, 0, table.concat({ kind, value, string.format("%010x", number), id }, "\\0"))
  end
  redis.call("HINCRBY", fingerprints, reason, 1)
end
"""


@pytest.mark.slow
def test_a_first_page_of_a_million_letters_takes_less_than_100_ms(broker, record_property):
    keys, count = broker.machinery.keys, 1_000_000
    names = ("dead", "letters", "bodies", "dead_index", "fingerprints")
    fill = broker.client.register_script(_FILL)
    body = broker.encode(Message(queue_name=QUEUE, actor_name="note", args=(), kwargs={}, options={}))
    for first in range(0, count, 2_000):
        fill(keys=[keys.of(QUEUE, name) for name in names], args=[first, first + 1_999, body])
    letters = DeadLetters(broker)
    queries = {
        "reason": LetterQuery(reason="r7"),
        "group": LetterQuery(group="g7"),
        "lane": LetterQuery(lane="l7"),
        "fingerprint": LetterQuery(fingerprint="r7"),
        "age": LetterQuery(died_until_ms=500_000),
    }
    for name, query in queries.items():
        took_ms = []
        for _ in range(5):
            begin_s = time.perf_counter()
            page = next(letters.pages(QUEUE, query))
            took_ms.append((time.perf_counter() - begin_s) * 1000)
            assert page.letters
        record_property(f"first page by {name}, ms", round(statistics.median(took_ms), 2))
        assert statistics.median(took_ms) < 100
    begin_s = time.perf_counter()
    assert len(letters.groups()) == 50
    record_property("groups of a million letters, ms", round((time.perf_counter() - begin_s) * 1000, 2))
