"""A queue that remembers, actors on it, and the real ones on a Redis with the demo project's rows."""

from collections.abc import Callable, Iterator

import dramatiq
import pytest
import redis
from chat.models import Conversation, Message
from contracts.django_world import DjangoWorld
from django.db import connection, connections
from django_fixtures import postgres_alias, sqlite_alias, unblocked  # noqa: F401  # fixtures of this folder
from dramatiq.brokers.stub import StubBroker

import actors
from actors import services
from actors.services import Services
from actors.settings import Hidden, Settings
from actors.stores.base import make_store
from middleware.brokers.redis.embedded import EmbeddedRedis


class Queue(StubBroker):
    """Remembers what it took, and whether its row was committed then; refuses with ``error`` while one is set."""

    def __init__(self) -> None:
        super().__init__(middleware=[])
        self.error: Exception | None = None
        self.asked = 0
        self.sent: list[tuple[str, bool]] = []

    def enqueue(self, message, *, delay=None):
        self.asked += 1
        if self.error is not None:
            raise self.error
        id_ = message.kwargs.get("message_id") or message.args[0]
        found = Message.objects.filter(pk=id_).exists() if message.actor_name == "send_message" else True
        self.sent.append((id_, found and not connection.in_atomic_block))
        return message


@pytest.fixture
def queue():
    broker = Queue()
    yield broker
    broker.close()


@pytest.fixture
def send_message(queue):
    @dramatiq.actor(broker=queue, actor_name="send_message")
    def send(message_id, *, use_fallback=False):
        raise AssertionError("nothing runs here")

    return send


@pytest.fixture
def fetch_profile_pic(queue):
    @dramatiq.actor(broker=queue, actor_name="fetch_profile_pic")
    def fetch(conversation_id, phone=None):
        raise AssertionError("nothing runs here")

    return fetch


Install = Callable[..., Services]


@pytest.fixture
def installed(db: None, redis_server: EmbeddedRedis, queue_client: redis.Redis) -> Iterator[Install]:
    """``installed(on_commit="all", …)``: the real actors over the demo project's rows and an empty Redis."""

    def install(**chosen: object) -> Services:
        chosen = {"redis_url": Hidden(redis_server.url(0)), "store": "django", "scheduler": "none", **chosen}
        settings = Settings(**chosen)
        actors.broker.close()
        services.install(Services(settings=settings, store=make_store("django", settings)))
        return services.get()

    install()
    yield install
    actors.broker.close()
    services.install(None)


@pytest.fixture
def queued(queue_client: redis.Redis) -> Callable[[], list[str]]:
    """Ids of the chat messages that wait in the real queue, the next one last."""

    def read() -> list[str]:
        waiting = [actors.broker.decode(body) for body in queue_client.hvals("chat:queue:send_message.msgs")]
        return [message.kwargs["message_id"] for message in sorted(waiting, key=lambda one: one.message_timestamp)]

    return read


@pytest.fixture
def say() -> Callable[..., str]:
    """``say(…)``: save a message of a new conversation."""

    def say(**values: object) -> str:
        thread = Conversation.objects.create(contact_phone="+5511988887777", instance_name="line-1")
        return str(Message.objects.create(conversation=thread, content="hello", **values).pk)

    return say


@pytest.fixture
def campaign():
    """``campaign(n)``: ids of ``n`` saved messages, over a few conversations."""

    def save(count: int, *, using: str = "default") -> list[str]:
        threads = Conversation.objects.using(using).bulk_create(
            Conversation(contact_phone=f"+55119{number:08}", instance_name="line-1", tenant_id="t")
            for number in range(min(count, 1_000))
        )
        rows = [Message(conversation=threads[number % len(threads)], content="oi") for number in range(count)]
        return [str(row.pk) for row in Message.objects.using(using).bulk_create(rows, batch_size=1_000)]

    return save


@pytest.fixture(params=["sqlite_alias", pytest.param("postgres_alias", marks=pytest.mark.postgres)])
def real_world(
    request: pytest.FixtureRequest,
    unblocked: None,  # noqa: F811
    redis_server: EmbeddedRedis,
    queue_client: redis.Redis,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[DjangoWorld]:
    """The real actors over a database that other threads and processes see; ``.alias``, ``.store``, ``.use(…)``."""
    world = DjangoWorld(request.getfixturevalue(request.param))
    # A worker's threads end with the test, not with their process: what they opened is closed after every message.
    monkeypatch.setitem(connections[world.alias].settings_dict, "CONN_MAX_AGE", 0)

    def use(**chosen: object) -> None:
        chosen = {"redis_url": Hidden(redis_server.url(0)), "store": "django", "scheduler": "none", **chosen}
        actors.broker.close()
        services.install(Services(settings=Settings(**chosen), store=world.store))

    world.use = use
    use()
    yield world
    actors.broker.close()
    services.install(None)
    world.clear()
