"""A send whose answer was lost is settled by its first status webhook, and a later failure fails its row."""

from collections import Counter

import pytest
from cloud_listener import listening
from flow_world import add_cloud_number, working
from waiting import until

import actors
from actors import intake
from actors.domain import MessageStatus
from actors.gateways.cloud_webhooks import is_signed, updates
from actors.stores.rows import ConversationRow

pytestmark = pytest.mark.redis

SECRET = "app-secret"
SENT, DELIVERED, FAILED = MessageStatus.SENT, MessageStatus.DELIVERED, MessageStatus.FAILED


class Host:
    """The host's endpoint: takes what is signed, and applies it in the order it came."""

    def __init__(self, posts) -> None:
        self.posts = posts
        self.applied = Counter()
        self._taken = 0

    def read(self) -> None:
        while self._taken < len(self.posts.bodies):
            raw, headers = self.posts.bodies[self._taken], self.posts.headers[self._taken]
            assert is_signed(raw, headers["x-hub-signature-256"], app_secret=SECRET)
            self.applied += intake.apply_all(updates(raw))
            self._taken += 1


@pytest.fixture
def cloud(world):
    add_cloud_number(world)
    return world


@pytest.fixture
def host(cloud):
    """``host(**plan)``: an endpoint that is told of every accepted message."""
    with listening() as posts:

        def host(**plan) -> Host:
            cloud.sandbox.admin.put_cloud_webhook(url=posts.url, app_secret=SECRET, **plan)
            return Host(posts)

        yield host


def reaches(cloud, host, status):
    host.read()
    return cloud.status("m1") == status


@pytest.mark.parametrize("repeat", [1, 3])
def test_a_lost_answer_is_settled_by_the_webhook_and_the_phone_gets_one(cloud, change, host, repeat):
    # Long enough that only the webhook can end it.
    change(told_within_s=3_600.0)
    cloud.sandbox.admin.add_fault({"type": "drop", "when": "after_accept"}, match={"op": "messages"})
    endpoint = host(statuses=["sent", "delivered"], repeat=repeat)
    cloud.say("m1", "olá", conversation="p1")
    actors.send_message.send("m1")

    with working():
        until(lambda: reaches(cloud, endpoint, DELIVERED), within_ms=15_000)

    assert cloud.delivered() == ["olá"]
    assert cloud.store.message("m1").message_id == cloud.sandbox.admin.deliveries()[0]["key_id"]


def test_a_send_that_was_called_overloaded_and_went_out_all_the_same_is_not_repeated(cloud, change, host):
    """Meta says "try again" and the message is out: the webhook comes before the next attempt."""
    change(backoff_base_ms=60_000, backoff_cap_ms=60_000)
    overloaded = {"type": "status", "preset": "graph_131016", "when": "after_accept"}
    cloud.sandbox.admin.add_fault(overloaded, match={"op": "messages"})
    endpoint = host(statuses=["sent", "delivered"])
    cloud.say("m1", "olá", conversation="p1")
    actors.send_message.send("m1")

    with working():
        until(lambda: reaches(cloud, endpoint, DELIVERED), within_ms=15_000)

    assert cloud.delivered() == ["olá"]
    assert [row.state for row in cloud.store.attempts("m1")] == ["accepted"]


def test_a_message_that_never_went_out_is_not_sent_again_without_being_told_to(cloud, change, host):
    change(told_within_s=0.3)
    cloud.sandbox.admin.add_fault({"type": "drop"}, match={"op": "messages"})
    endpoint = host(statuses=["sent"])
    cloud.say("m1", "olá", conversation="p1")
    actors.send_message.send("m1")

    with working():
        until(lambda: reaches(cloud, endpoint, FAILED), within_ms=15_000)

    assert [letter.reason for letter in cloud.letters()] == ["delivery_unknown"]
    assert cloud.delivered() == []


def test_a_failure_that_comes_later_fails_the_row(cloud, host):
    endpoint = host(statuses=["sent", "failed"], error_code=131047)
    cloud.say("m1", "olá", conversation="p1")
    actors.send_message.send("m1")

    with working():
        until(lambda: cloud.status("m1") == SENT and len(endpoint.posts.bodies) == 2, within_ms=15_000)
        until(lambda: reaches(cloud, endpoint, FAILED), within_ms=5_000)

    assert cloud.store.message("m1").error_message.startswith("window_closed")
    assert cloud.delivered() == ["olá"]


FAULTS = [
    {"type": "drop"},
    {"type": "drop", "when": "after_accept"},
    {"type": "truncate", "bytes": 20},
    {"type": "status", "preset": "nginx_502"},
    {"type": "status", "preset": "graph_131056"},
    {"type": "status", "preset": "graph_130429"},
    {"type": "status", "preset": "graph_131016"},
    {"type": "status", "preset": "graph_131000", "when": "after_accept"},
    {"type": "invalid_json", "body": "empty"},
]


def test_every_message_goes_out_once_or_is_known_not_to_have_gone_out(cloud, change, host):
    """60 messages in 6 conversations, two in five requests broken, every status said twice."""
    change(told_within_s=1.0, max_attempts=20)
    own = {"tenant_id": "t", "instance_name": "cloud-1"}
    names = [f"m{number}" for number in range(60)]
    cloud.store.add(*(ConversationRow(id=f"q{n}", contact_phone=f"+551198888770{n}", **own) for n in range(6)))
    for fault in FAULTS:
        cloud.sandbox.admin.add_fault(fault, match={"op": "messages"}, trigger={"probability": 0.4 / len(FAULTS)})
    endpoint = host(statuses=["sent", "delivered"], repeat=2)
    now_ms = cloud.clock.now_ms()
    for number, name in enumerate(names):
        cloud.say(name, f"text {number}", conversation=f"q{number % 6}", created_at_ms=now_ms + number)
        actors.send_message.send(name)

    def ended() -> bool:
        endpoint.read()
        return all(cloud.status(name) in (DELIVERED, FAILED) for name in names)

    with working(threads=8):
        until(ended, within_ms=60_000)

    assert sum(fault["hits"] for fault in cloud.sandbox.admin.faults()) >= 10
    out = Counter(one["client_ref"] for one in cloud.sandbox.admin.deliveries())
    assert out == {f"{name}:0": 1 for name in names if cloud.status(name) == DELIVERED}
    assert {letter.reason for letter in cloud.letters()} <= {"delivery_unknown"}
    assert cloud.sandbox.admin.counters()["order_violations"] == 0
    assert cloud.sandbox.admin.counters()["wrong_instance"] == 0
