"""The sandbox plays the gateway's part of every row of the table of cases, and plays it again the same.

Rows are those of section 12 of the specification of the sandbox; what a worker makes of them is the contract suite's.
"""

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from sandbox_fixture import Sandbox, sandbox

from actors.gateways.sandbox.admin_client import SandboxAdmin
from actors.gateways.sandbox.server import SandboxServer

__all__ = ["sandbox"]

pytestmark = pytest.mark.contract

NUMBER = "5511988887777"
CLOSED = "Connection Closed"
Ask = Callable[..., tuple[object, object]]


class Client:
    """Asks one sandbox; an answer is (status, message of the body), a broken connection (None, None)."""

    def __init__(self, url: str, apikey: str) -> None:
        self._web = httpx.Client(base_url=url, headers={"apikey": apikey}, timeout=10, trust_env=False)

    def send(self, *, number: str = NUMBER, instance: str = "i1", key: str | None = None, ref: str = "m") -> tuple:
        headers = {"X-Client-Ref": ref} | ({} if key is None else {"apikey": key})
        return self._asked("POST", f"/message/sendText/{instance}", {"number": number, "text": "oi"}, headers)

    def state(self) -> str:
        return self._web.get("/instance/connectionState/i1").json()["instance"]["state"]

    def sent(self) -> int:
        where = {"where": {"key": {"remoteJid": f"{NUMBER}@s.whatsapp.net", "fromMe": True}}}
        return int(self._web.post("/chat/findMessages/i1", json=where).json()["messages"]["total"])

    def picture(self) -> object:
        return self._web.post("/chat/fetchProfilePictureUrl/i1", json={"number": NUMBER}).json()["profilePictureUrl"]

    def _asked(self, method: str, path: str, body: dict, headers: dict[str, str]) -> tuple:
        try:
            answer = self._web.request(method, path, json=body, headers=headers)
        except httpx.TransportError:
            return None, None
        if "json" not in answer.headers["content-type"]:
            return answer.status_code, answer.headers["content-type"]
        try:
            return answer.status_code, answer.json().get("response", {}).get("message")
        except ValueError:
            return answer.status_code, "no JSON"

    def close(self) -> None:
        self._web.close()


@pytest.fixture
def client(sandbox: Sandbox):
    client = Client(sandbox.url, sandbox.apikey)
    yield client
    client.close()


def ok(count: int = 1) -> list[tuple]:
    return [(201, None)] * count


@pytest.mark.parametrize(
    ("row", "faults", "asked", "answers", "deliveries"),
    [
        (1, [], [{}], ok(), 1),
        (3, [], [{"key": "wrong"}], [(401, "Unauthorized")], 0),
        (4, [], [{"instance": "nope"}], [(404, ['The "nope" instance does not exist'])], 0),
        (
            6,
            [],
            [{"number": "5531991234567"}],
            [(400, [{"jid": "553191234567@s.whatsapp.net", "exists": False, "number": "5531991234567"}])],
            0,
        ),
        (
            13,
            [({"type": "status", "preset": "conn_closed_500"}, {"next": 3})],
            [{}] * 4,
            [(500, CLOSED)] * 3 + ok(),
            1,
        ),
        (18, [({"type": "drop"}, {"next": 1})], [{}, {}], [(None, None), *ok()], 1),
        (22, [({"type": "status", "preset": "429", "retry_after": 7}, {"next": 1})], [{}, {}], [(429, "text/html"), *ok()], 1),
        (23, [({"type": "status", "preset": "nginx_504", "when": "after_accept"}, {"next": 1})], [{}], [(504, "text/html")], 1),
    ],
)  # fmt: skip
def test_a_row_of_the_table_is_played(client, sandbox, row, faults, asked, answers, deliveries):
    sandbox.admin.put_contact("5531991234567", exists=False)
    for action, trigger in faults:
        sandbox.admin.add_fault(action, match={"op": ["sendText"]}, trigger=trigger)

    assert [client.send(**one) for one in asked] == answers
    assert sandbox.admin.counters()["accepted"] == deliveries


@pytest.mark.parametrize(
    ("row", "number", "before", "message"),
    [(9, NUMBER, 0, CLOSED), (10, "1@lid", 0, [f"Error: {CLOSED}"]), (10, NUMBER, 1, [f"Error: {CLOSED}"])],
)
def test_a_session_closes_and_opens(client, sandbox, row, number, before, message):
    for _ in range(before):
        client.send(number=number)
    sandbox.admin.add_fault({"type": "disconnect", "instance": "i1", "for_s": 10})

    answers = [client.send(number=number) for _ in range(3)]
    state = client.state()
    sandbox.admin.advance(10)

    status = 500 if message == CLOSED else 400
    assert (answers, state) == ([(status, message)] * 3, "close")
    assert (client.send(number=number)[0], client.state()) == (201, "open")
    assert sandbox.admin.counters()["accepted"] == before + 1


def test_row_13_a_state_lies(client, sandbox):
    sandbox.admin.add_fault({"type": "disconnect", "instance": "i1", "for_s": 10, "lie": True})

    assert (client.state(), client.send()) == ("open", (500, CLOSED))


@pytest.mark.parametrize(("row", "action"), [(17, {"type": "drop"}), (19, {"type": "hang", "max_s": 0.1})])
def test_what_was_taken_without_an_answer_is_found(client, sandbox, row, action):
    sandbox.admin.add_fault({**action, "when": "after_accept"}, match={"op": ["sendText"]})

    assert client.send() == (None, None)
    assert (client.sent(), sandbox.admin.counters()["accepted"]) == (1, 1)


def test_row_18_what_was_not_taken_is_not_found(client, sandbox):
    sandbox.admin.add_fault({"type": "drop"}, match={"op": ["sendText"]})

    assert client.send() == (None, None)
    assert (client.sent(), client.sent(), sandbox.admin.counters()["accepted"]) == (0, 0, 0)


def test_row_20_what_is_sent_again_blindly_is_counted(client, sandbox):
    sandbox.admin.add_fault({"type": "drop", "when": "after_accept"}, trigger={"next": 1})

    client.send(ref="m-1")
    client.send(ref="m-1")

    counters = sandbox.admin.counters()
    assert (counters["accepted"], counters["duplicates_by_client_ref"]) == (2, 1)
    assert counters["duplicates_by_fingerprint"] == 1


def test_row_22_only_the_limited_instance_is_slowed_down(client, sandbox):
    sandbox.admin.put_instance("i2")
    sandbox.admin.put_limits(instance={"rate": 0.1, "burst": 1}, mode="429")

    assert [client.send(instance=name)[0] for name in ("i1", "i1", "i2")] == [201, 429, 201]
    sandbox.admin.advance(10)
    assert client.send()[0] == 201
    assert sandbox.admin.counters()["rate_violations"] == 1


def test_row_27_a_closed_session_shows_no_picture(client, sandbox):
    sandbox.admin.put_contact(NUMBER, picture_url="https://pps.whatsapp.net/a.jpg")
    rule = sandbox.admin.add_fault({"type": "disconnect", "instance": "i1"})
    closed = client.picture()
    sandbox.admin.clear_faults(rule)

    assert (closed, client.picture()) == (None, "https://pps.whatsapp.net/a.jpg")


#: One of each that a person may meet, at random.
STORM = [
    ({"type": "drop"}, 0.1),
    ({"type": "drop", "when": "after_accept"}, 0.1),
    ({"type": "status", "preset": "nginx_502"}, 0.05),
    ({"type": "status", "preset": "prisma_after_send"}, 0.05),
    ({"type": "status", "status": 500, "body": {"a": 1}, "when": "after_accept"}, 0.1),
    ({"type": "truncate", "bytes": 5}, 0.05),
    ({"type": "invalid_json", "body": "cut"}, 0.05),
    ({"type": "wrong_jid", "jid": "1@s.whatsapp.net"}, 0.05),
    ({"type": "duplicate_id"}, 0.1),
    ({"type": "persist_lag", "never": True}, 0.1),
    ({"type": "ack", "status": "READ"}, 0.2),
]


def run(seed: int) -> tuple[list, list, list]:
    """Answers, deliveries and hits of a storm."""
    with SandboxServer(seed=seed) as server, SandboxAdmin(server.url, server.admin_token) as admin:
        admin.put_instance("i1")
        for action, probability in STORM:
            admin.add_fault(action, trigger={"probability": probability})
        client = Client(server.url, server.apikey)
        answers = [client.send(ref=f"m-{n}", number=f"55119888877{n % 10:02}") for n in range(150)]
        client.close()
        kept = ("seq", "instance", "jid", "text", "client_ref", "fingerprint", "fault", "request_id")
        deliveries = [tuple(str(one[name]) for name in kept) for one in admin.deliveries()]
        return answers, deliveries, [rule["hits"] for rule in admin.faults()]


def test_the_same_seed_and_requests_are_the_same_run():
    first, again, other = run(11), run(11), run(12)

    assert first == again
    assert first[0] != other[0]
    assert all(hits > 0 for hits in first[2])


def test_many_threads_lose_and_double_nothing(sandbox):
    sandbox.admin.add_fault({"type": "latency", "ms": [0, 5]}, trigger={"probability": 0.5})
    clients = [Client(sandbox.url, sandbox.apikey) for _ in range(16)]

    def work(index: int) -> list[tuple]:
        return [clients[index].send(ref=f"{index}-{n}", number=f"55119888800{index:02}") for n in range(40)]

    with ThreadPoolExecutor(16) as pool:
        answers = [one for part in pool.map(work, range(16)) for one in part]
    for client in clients:
        client.close()

    deliveries, counters = sandbox.admin.deliveries(), sandbox.admin.counters()
    assert answers == ok(640)
    assert [one["seq"] for one in deliveries] == list(range(1, 641))
    assert len({one["key_id"] for one in deliveries}) == len({one["request_id"] for one in deliveries}) == 640
    assert all(one["response_sent"] for one in deliveries)
    assert (counters["accepted"], counters["by_status"], counters["duplicates_by_client_ref"]) == (640, {"201": 640}, 0)
    assert counters["max_concurrency_per_instance"] > 1
    assert counters["max_concurrency_per_chat"] == 1
    assert max(Counter(one["jid"] for one in deliveries).values()) == 40
