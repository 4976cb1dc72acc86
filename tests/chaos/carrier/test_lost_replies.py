"""Redis carried a script out and the answer was lost: nothing is lost, run twice, counted twice or reordered for it.

One case or more for every script there is, each by the part of the product that calls it. A script without a case is a fault.
The cases stand in ``tests/lost_reply_cases.py`` and ``lost_reply_cases_operators.py``.
"""

from collections.abc import Iterator
from importlib.resources import files

import lost_reply_cases as messages
import lost_reply_cases_operators as operators
import pytest
from lossy_redis import LossyRedis
from lossy_world import Lossy

from middleware.dead_letter import DeadLetterAnnouncer

pytestmark = pytest.mark.redis

SCRIPTS = {file.name.removesuffix(".lua") for file in (files("middleware.brokers.redis") / "lua").iterdir()} - {"parts"}


@pytest.fixture
def lossy(redis_server, queue_client, make_carriage) -> Iterator[Lossy]:
    with LossyRedis(redis_server.port, queue_client) as proxy:
        url = redis_server.url(0).replace(f":{redis_server.port}/", f":{proxy.port}/")
        made = Lossy(proxy, make_carriage(url=url, lease_ms=600), make_carriage(lease_ms=600))
        for announcer in (one for one in made.behind.broker.middleware if isinstance(one, DeadLetterAnnouncer)):
            announcer.hold_ms = 300
            announcer.listeners.append(lambda letter: made.heard.append(letter.reason))
        # Who has luck says nothing of the letters: the other one's part is looked at.
        for announcer in [one for one in made.outside.broker.middleware if isinstance(one, DeadLetterAnnouncer)]:
            made.outside.broker.middleware.remove(announcer)
        yield made


CASES = [*messages.CASES, *operators.CASES]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_a_lost_reply_changes_nothing(lossy, case):
    case(lossy)

    assert lossy.proxy.lost >= 1
    assert lossy.behind.counter("stale_finishes") == 0
    assert lossy.behind.counter("reclaimed") == (1 if case is messages.tend else 0)


def test_every_script_has_a_case():
    tried = {name for case in CASES for name in (case.__name__, case.__name__.split("_")[0])}
    assert tried >= SCRIPTS
