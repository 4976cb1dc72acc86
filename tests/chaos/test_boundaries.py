"""A worker process is killed at each boundary of a send, by itself and exactly there: nothing is lost, doubled or reordered.

``tests/dying_worker.py`` has the boundaries. Every trial is a message of its own in a conversation of its own, with another
one behind it; the process that reaches its boundary first dies there, once. All trials of a run are under way at the same
time, over the processes that are left and those that replace the dead ones. ``make test``: one trial of each boundary on
SQLite and one of those of a text on PostgreSQL; ``make prove``: 20 of each on both.
"""

import json
import subprocess
import sys
import uuid
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis
from chaos_rows import Rows
from queue_look import look
from sandbox_fixture import Sandbox
from waiting import until

import actors
from actors import services, wiring
from actors.cli.demo_processes import clean_environment
from actors.domain import MessageStatus
from actors.services import Services
from actors.settings import Settings
from actors.stores.rows import AttachmentRow, ConversationRow, InstanceRow, MessageRow
from middleware.brokers.redis.embedded import EmbeddedRedis, ending_with_us
from middleware.clock import SystemClock
from middleware.letters import DeadLetters

pytestmark = [pytest.mark.redis, pytest.mark.process]

ROOT = Path(__file__).parents[2]
PROCESSES, INSTANCES = 6, 12
_OF_A_SEND = (
    "before it is loaded",
    "before its place",
    "with its place",
    "before its claim",
    "claimed",
    "before the first byte",
    "written",
    "answered",
    "part recorded, row not",
    "row recorded, not committed",
    "recorded",
    "before it leaves its place",
    "left its place",
    "before its outcome",
    "outcome written",
)
#: Kind of message → boundaries at which its worker dies.
BOUNDARIES: dict[str, tuple[str, ...]] = {
    "text": _OF_A_SEND,
    # Two files: between its parts it is put back.
    "parts": (
        "part recorded",
        "before its outcome",
        "outcome written",
        "second part claimed",
        "part recorded, row not",
    ),
    # Its answer is lost after it went out: it is looked for and found.
    "found": ("before unknown", "unknown", "before the look", "found", "recorded"),
    # Its request is lost: it is looked for in vain, twice, and sent again.
    "lost": ("unknown", "looked", "before the look is noted", "look noted", "claimed again"),
    # Nobody has its number: a dead letter.
    "absent": ("before dead", "dead", "before its outcome", "outcome written", "before it is told", "told"),
}
ALL = tuple(BOUNDARIES)


@dataclass(frozen=True)
class Trial:
    """One message and the place of its worker's death; ``number`` makes whom it goes to."""

    number: int
    kind: str
    boundary: str
    message_id: str
    next_id: str
    conversation_id: str

    @property
    def phone(self) -> str:
        return f"55119{self.number:08}"

    def rows(self, now_ms: int) -> list[ConversationRow | MessageRow | AttachmentRow]:
        files = [f"https://media.example.com/{self.number}-{index}.jpg" for index in range(2 * (self.kind == "parts"))]
        thread = {"conversation_id": self.conversation_id, "content": self.message_id}
        return [
            ConversationRow(
                id=self.conversation_id, contact_phone=f"+{self.phone}", instance_name=f"i{self.number % INSTANCES}"
            ),
            MessageRow(id=self.message_id, created_at_ms=now_ms, **thread),
            *(
                AttachmentRow(
                    message_id=self.message_id, created_at_ms=now_ms + index, mime_type="image/jpeg", file_url=url
                )
                for index, url in enumerate(files)
            ),
            MessageRow(id=self.next_id, created_at_ms=now_ms + 1_000, **{**thread, "content": self.next_id}),
        ]

    def arrived(self) -> list[str]:
        """What the phone must have, in its order."""
        if self.kind == "absent":
            return []
        parts = range(2 if self.kind == "parts" else 1)
        return [*(f"{self.message_id}:{part}" for part in parts), f"{self.next_id}:0"]


def trials(count: int, kinds: Sequence[str]) -> list[Trial]:
    places = [(kind, boundary) for kind in kinds for boundary in BOUNDARIES[kind]]
    ids = iter(lambda: str(uuid.uuid4()), None)
    return [
        Trial(number, *place, next(ids), next(ids), next(ids))
        for number, place in enumerate(place for _ in range(count) for place in places)
    ]


@pytest.mark.parametrize(
    ("store", "count", "kinds"),
    [
        ("sqlite", 1, ALL),
        pytest.param("postgres", 1, ("text",), marks=pytest.mark.postgres),
        pytest.param("sqlite", 20, ALL, marks=pytest.mark.slow),
        pytest.param("postgres", 20, ALL, marks=[pytest.mark.slow, pytest.mark.postgres]),
    ],
    ids=["sqlite-1", "postgres-1", "sqlite-20", "postgres-20"],
)
def test_a_worker_killed_at_any_boundary_of_a_send_loses_doubles_and_reorders_nothing(
    store, count, kinds, request, redis_server, queue_client, sandbox, tmp_path, record_property
):
    rows, environ = request.getfixturevalue(f"{store}_rows")
    world = Boundaries(rows, sandbox, redis_server, environ, tmp_path)
    with world.serving():
        planned = trials(count, kinds)
        world.say(planned)
        with world.dying(planned):
            until(lambda: not world.pending(), within_ms=60_000 + 60_000 * count, poll_ms=100)
            until(lambda: not world.queued() and not world.untold(queue_client), within_ms=30_000, poll_ms=100)
        record_property("deaths", len(world.died()))
        record_property("boundaries", len({(one.kind, one.boundary) for one in planned}))

        assert world.wrong(planned) == []
        assert world.leftovers(queue_client) == []
        # What did not die proves nothing.
        assert sorted(f"{one.kind}: {one.boundary}" for one in planned if one.message_id not in world.died()) == []


class Boundaries:
    """Rows, a sandbox, and workers that die."""

    def __init__(
        self, rows: Rows, sandbox: Sandbox, server: EmbeddedRedis, environ: dict[str, str], directory: Path
    ) -> None:
        self.rows, self.sandbox, self.server, self.directory = rows, sandbox, server, directory
        own = {
            "REDIS_URL": server.url(0),
            "CHAT_GATEWAY": "sandbox",
            "CHAT_SANDBOX_URL": sandbox.url,
            "CHAT_SCHEDULER": "none",
            "CHAT_METRICS_PORT": "0",
            "CHAT_LEASE_MS": "1000",
            "CHAT_BACKOFF_BASE_MS": "50",
            "CHAT_BACKOFF_CAP_MS": "200",
            "CHAT_RECONCILE_GRACE_S": "0.4",
            **environ,
        }
        self.settings = Settings.load(own, None)
        search_path = f"{ROOT / 'tests'}:{ROOT}:{environ.get('PYTHONPATH', '')}"
        self.environ = clean_environment({**own, "PYTHONPATH": search_path})
        self.flags = directory / "died"
        self.flags.mkdir()

    @contextmanager
    def serving(self) -> Iterator[None]:
        """This process sends, too."""
        services.install(Services(settings=self.settings, store=self.rows.store))
        try:
            yield
        finally:
            actors.broker.close()
            services.install(None)

    def say(self, planned: list[Trial]) -> None:
        """Commit and send everything."""
        admin, now_ms = self.sandbox.admin, SystemClock().now_ms()
        for number in range(INSTANCES):
            admin.put_instance(f"i{number}")
            self.rows.add(
                InstanceRow(instance_name=f"i{number}", api_key=self.sandbox.apikey, api_url=self.sandbox.url)
            )
        for one in planned:
            self.rows.add(*one.rows(now_ms))
            if one.kind == "absent":
                admin.put_contact(one.phone, exists=False)
        self._break(planned)
        for one in planned:
            actors.send_message.send(one.message_id)
            actors.send_message.send(one.next_id)

    def _break(self, planned: list[Trial]) -> None:
        admin = self.sandbox.admin
        # Some die while the gateway is still at it, some when it has the message already.
        admin.add_fault({"type": "latency", "ms": [0, 60]})
        for kind, when in (("found", "after_accept"), ("lost", "before_accept")):
            for one in planned:
                if one.kind == kind:
                    match = {"ref_re": f"^{one.message_id}:", "op": ["sendText"]}
                    admin.add_fault({"type": "drop", "when": when}, match=match, trigger={"next": 1})

    @contextmanager
    def dying(self, planned: list[Trial]) -> Iterator[None]:
        """Processes that follow the plan."""
        plan = self.directory / "plan.json"
        plan.write_text(json.dumps({one.message_id: one.boundary for one in planned}))
        command = [sys.executable, str(ROOT / "tests" / "dying_worker.py"), str(plan), str(self.flags), str(PROCESSES)]
        with (self.directory / "worker.log").open("wb") as log:
            process = subprocess.Popen(ending_with_us(command), cwd=ROOT, env=self.environ, stdout=log, stderr=log)
        try:
            yield
            assert process.poll() is None
        finally:
            process.terminate()
            process.wait(20)

    # -- what came of it -------------------------------------------------------------------------------------------

    def died(self) -> set[str]:
        return {path.name for path in self.flags.iterdir()}

    def pending(self) -> list[str]:
        return self.rows.store.pending_messages(before_ms=4_000_000_000_000, limit=1)

    def queued(self) -> int:
        return sum(one.unfinished for one in actors.broker.transitions.stats(["send_message"]))

    def untold(self, client: "redis.Redis") -> bool:
        """Whether a dead letter is still to be announced; the row fails a moment before it is struck off."""
        return bool(client.exists(actors.broker.machinery.keys.of("send_message", "unannounced")))

    def wrong(self, planned: list[Trial]) -> list[str]:
        """Trials that did not end as they must, by their boundary."""
        logged: dict[str, list[str]] = {}
        for delivery in self.sandbox.admin.deliveries():
            logged.setdefault(delivery["requested_number"], []).append(delivery["client_ref"])
        letters = [letter.kwargs["message_id"] for letter in DeadLetters(actors.broker).newest(limit=10_000)]
        found = []
        for one in planned:
            where = f"{one.kind}: {one.boundary} ({one.message_id})"
            if logged.get(one.phone, []) != one.arrived():
                found.append(f"{where} arrived as {logged.get(one.phone)}")
            is_absent = one.kind == "absent"
            wanted = MessageStatus.FAILED if is_absent else MessageStatus.SENT
            for id_ in (one.message_id, one.next_id):
                row = self.rows.message(id_)
                if row.status != wanted or row.error_message.partition(":")[0] != ("not_on_whatsapp" * is_absent):
                    found.append(f"{where} ended as {row.status} {row.error_message}")
                if letters.count(id_) != int(is_absent):
                    found.append(f"{where} has {letters.count(id_)} dead letters")
        return found

    def leftovers(self, client: "redis.Redis") -> list[str]:
        """What is in Redis and should not be."""
        now = look(client, actors.broker.machinery.keys, "send_message")
        names = ("bodies", "leases", "deliveries", "holders", "in_lanes", "groups", "slots", "unannounced", "unique")
        left = [f"{name}: {getattr(now, name)}" for name in names if getattr(now, name)]
        traffic = wiring.traffic()
        assert traffic is not None
        with closing(self.server.client(3)) as limits:
            keys = [f"{traffic.limits.namespace}:place:i{number}" for number in range(INSTANCES)]
            left += [f"{key}: {held}" for key in keys if (held := limits.zrange(key, 0, -1))]
        return left
