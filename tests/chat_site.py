"""The demo's chat as it is deployed: daphne and a worker as processes, Redis, the sandbox gateway, rows in a file.

``browser/conftest.py`` opens one :class:`Site` for all tests of ``tests/browser``; each test has a line and conversations of its own.
"""

import json
import sys
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from chat.models import Conversation, Message, WhatsAppInstance
from django.contrib.auth.models import User
from django.db import connections
from inbox.models import Member
from sandbox_fixture import Sandbox

from actors.cli.demo_processes import Child, clean_environment, free_port
from actors.cli.demo_traffic import Host
from actors.cli.demo_watch import Queues
from middleware.brokers.redis.embedded import EmbeddedRedis

ROOT = Path(__file__).parents[1]
TENANT, USER = "loja", "demo"
ENTRY, HOOK = "a-token-that-lets-in-0123456789", "a-token-in-a-path-0123456789"
#: Short times, so that a line in trouble is back at once.
TIMES = {"LEASE_MS": 2_000, "BACKOFF_BASE_MS": 50, "BACKOFF_CAP_MS": 200, "LOOK_MS": 50, "RAMP_MS": 0}


class Site:
    """Its processes and its rows."""

    def __init__(self, folder: Path, alias: str, redis: EmbeddedRedis, sandbox: Sandbox) -> None:
        self.folder, self.alias, self.redis, self.sandbox = folder, alias, redis, sandbox
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.web: Child | None = None
        self._children: list[Child] = []
        given = {"GATEWAY": "sandbox", "SANDBOX_URL": sandbox.url, "SCHEDULER": "none", "METRICS_PORT": 0, **TIMES}
        self.environment = clean_environment(
            {
                "REDIS_URL": redis.url(0),
                "DJANGO_SETTINGS_MODULE": "chatsite.settings",
                "PYTHONPATH": f"{ROOT / 'tests/project'}:{ROOT}",
                "CHATSITE_DATABASE": str(connections[alias].settings_dict["NAME"]),
                "CHATSITE_CHANNELS_URL": redis.url(1),
                "CHATSITE_ENTRY_TOKEN": ENTRY,
                "CHATSITE_ENTRY_USER": USER,
                "CHATSITE_CHAT_ACTORS": json.dumps({**given, "WEBHOOK_TOKEN": HOOK}),
            }
        )

    @property
    def entry(self) -> str:
        return f"{self.url}/enter/{ENTRY}/"

    def start_web(self) -> None:
        """Start the web server, at the same address as before."""
        server = ["daphne", "-v", "0", "-b", "127.0.0.1", "-p", str(self.port), "chatsite.asgi:application"]
        self.web = self._child("web", server)

    def wait_for_web(self) -> None:
        assert self.web is not None
        self.web.until(Host(f"127.0.0.1:{self.port}").answers)

    def stop_web(self) -> None:
        """As a deployment does, or a crash: every socket is cut."""
        assert self.web is not None
        self.web.process.kill()
        self.web.process.wait()

    def start_worker(self) -> Child:
        return self._child("worker", ["actors.cli", "worker", "--processes", "1", "--threads", "4"])

    def worker_serves(self) -> bool:
        with Queues(self.redis) as queues:
            return bool(queues.workers())

    def _child(self, name: str, module: list[str]) -> Child:
        log = self.folder / f"{name}-{len(self._children)}.log"
        child = Child(name, [sys.executable, "-m", *module], log=log, environment=self.environment)
        self._children.append(child)
        return child

    def stop(self) -> None:
        for child in self._children:
            child.process.terminate()
        for child in self._children:
            child.stop()

    # -- rows ----------------------------------------------------------------------------------------------------------

    def people(self) -> None:
        """Somebody who works for the tenant."""
        user = User.objects.using(self.alias).create(username=USER, is_superuser=True)
        Member.objects.using(self.alias).create(user=user, tenant_id=TENANT)

    def line(self) -> str:
        """A connected number of its own, so that no test waits for the pace of another's."""
        name = f"line-{uuid.uuid4().hex[:8]}"
        # Webhooks show it, and are compared with the row's.
        key = f"key-of-{name}"
        self.sandbox.admin.put_instance(name, token=key)
        WhatsAppInstance.objects.using(self.alias).create(
            instance_name=name, tenant_id=TENANT, api_key=key, api_url=self.sandbox.url
        )
        return name

    def conversation(self, line: str, **values: Any) -> Conversation:
        number = f"+55119{uuid.uuid4().int % 10**8:08}"
        given = {"contact_phone": number, "contact_name": "Ana", "tenant_id": TENANT, "instance_name": line}
        made: Conversation = Conversation.objects.using(self.alias).create(**{**given, **values})
        return made

    def message(self, conversation: Conversation, text: str, **values: Any) -> Message:
        """A message that is there already."""
        made: Message = Message.objects.using(self.alias).create(conversation=conversation, content=text, **values)
        return made

    def status_of(self, conversation: Conversation, text: str) -> str:
        found = Message.objects.using(self.alias).filter(conversation_id=conversation.pk, content=text)
        return "".join(found.values_list("status", flat=True))


@contextmanager
def running(folder: Path, alias: str, sandbox: Sandbox) -> Iterator[Site]:
    with EmbeddedRedis() as redis, ExitStack() as stack:
        site = Site(folder, alias, redis, sandbox)
        site.people()
        stack.callback(site.stop)
        # Side by side: both take a second or two.
        site.start_web()
        worker = site.start_worker()
        site.wait_for_web()
        worker.until(site.worker_serves)
        sandbox.admin.put_webhook(
            f"{site.url}/hooks/evolution/{HOOK}/",
            events=["SEND_MESSAGE", "MESSAGES_UPDATE"],
            retry={"first_s": 0.05, "cap_s": 0.1},
        )
        yield site
