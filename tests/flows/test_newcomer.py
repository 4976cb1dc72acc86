"""Somebody who begins today: an empty folder, ``startproject``, and what README.md and the quickstart print, to a delivered message.

Once with SQLite and once with PostgreSQL, and once with the other models of docs/stores.md. Ports are this test's own; nothing
else is changed. `make prove` runs it.
"""

import json
import re
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest
import servers
from docs_pages import Page
from host_project import HostProject, database_setting, printed
from waiting import until

from middleware.brokers.redis.embedded import EmbeddedRedis

pytestmark = [pytest.mark.slow, pytest.mark.redis, pytest.mark.process]

QUICKSTART = "docs/quickstart.md"
SHELL = "python manage.py shell"


def _free_port() -> int:
    with closing(socket.socket()) as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


class Newcomer(HostProject):
    """Follows a page; knows which port the page's sandbox has here."""

    def __init__(self, folder: Path, environ: dict[str, str]) -> None:
        super().__init__(folder, environ)
        self.port = _free_port()
        self.is_postgres = False

    def line(self, *words: str, page: str = QUICKSTART) -> str:
        """The one line of a shell, as printed, that has all these words."""
        lines = [line for block in Page(page).blocks if block.language == "sh" for line in block.text.splitlines()]
        (line,) = [line for line in lines if all(word in line for word in words)]
        return line.replace(":8099", f":{self.port}").replace("--port 8099", f"--port {self.port}")

    def export(self, *words: str) -> None:
        """Set what such a line sets, but for the Redis of the test."""
        pairs = re.findall(r"(\w+)=(\S+)", self.line(*words))
        self.environ |= {name: value for name, value in pairs if name != "REDIS_URL"}

    def ask(self, expression: str) -> str:
        """What ``manage.py shell`` prints of an expression over the models."""
        said = self.run(SHELL, given=f"from chat.models import *\nprint('said:', {expression})\n")
        return said.rpartition("said: ")[2].strip()


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def newcomer(request: pytest.FixtureRequest, tmp_path: Path, redis_server, queue_client) -> Iterator[Newcomer]:
    with ExitStack() as stack:
        # Empty for each test, as a newcomer's is.
        is_postgres = request.param == "postgres"
        yield _make(tmp_path, redis_server, stack.enter_context(servers.fresh_postgres()).url if is_postgres else None)


def _make(folder: Path, redis_server: EmbeddedRedis, url: str | None) -> Newcomer:
    made = Newcomer(folder, {"REDIS_URL": redis_server.url(0)})
    made.is_postgres = url is not None
    made.run(made.line("startproject"))
    made.run(made.line("startapp"))
    made.write(QUICKSTART, "chat/models.py")
    made.append("mysite/settings.py", '\nINSTALLED_APPS += ["chat"]\n' + database_setting(url))
    made.run(made.line("makemigrations"))
    made.append("mysite/settings.py", "\n" + printed("README.md", "settings.py"))
    made.write("README.md", "chat/views.py")
    return made


@contextmanager
def _started(newcomer: Newcomer, *, worker: str | None = None) -> Iterator[Newcomer]:
    """The sandbox listens and a worker works, begun as the page says or by ``worker``."""
    with ExitStack() as stack:

        def start(line: str) -> None:
            stack.callback(_end, newcomer.start(line))

        start(newcomer.line("chat-actors sandbox"))
        until(lambda: _listens(newcomer.port), within_ms=30_000)
        newcomer.run(newcomer.line("-X PUT"))
        newcomer.export("export DJANGO_SETTINGS_MODULE")
        newcomer.export("export CHAT_GATEWAY")
        start(worker or newcomer.line("chat-actors worker"))
        yield newcomer


@pytest.fixture
def started(newcomer: Newcomer) -> Iterator[Newcomer]:
    """By the page's own command with one database, by Django's with the other."""
    by_django = newcomer.line("chat-actors worker").replace("chat-actors", "python manage.py chat")
    with _started(newcomer, worker=by_django if newcomer.is_postgres else None) as made:
        yield made


@pytest.fixture
def started_by_dramatiq(newcomer: Newcomer) -> Iterator[Newcomer]:
    with _started(newcomer, worker="dramatiq actors --processes 1 --threads 2") as made:
        yield made


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    process.wait(timeout=40)


def _listens(port: int) -> bool:
    with closing(socket.socket()) as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(autouse=True)
def _migrated(newcomer: Newcomer) -> None:
    newcomer.run(newcomer.line("manage.py", "migrate", page="README.md"))
    said = newcomer.run(newcomer.line("manage.py", "check", page="README.md"))
    # startproject has DEBUG on, and the Redis of the tests a password.
    assert set(re.findall(r"\(\w+\.[EW]\d+\)", said)) == {"(chat_actors.W004)"}


def test_the_quickstart_ends_with_a_delivered_message(started):
    send, look = [block.text for block in Page(QUICKSTART).blocks if block.language == "python"][1:3]

    started.run(SHELL, given=send)
    until(lambda: started.ask("Message.objects.get().status") == "sent", within_ms=60_000)
    said = started.run(SHELL, given=f"from chat.models import Message\nmessage = Message.objects.get()\n{look}")
    shown, _ = json.JSONDecoder().raw_decode(started.run(started.line("deliveries")))

    assert re.search(r"sent 3EB0[0-9A-F]+", said)
    assert [one["text"] for one in shown["deliveries"]] == ["Olá!"]


def test_the_faults_of_the_quickstart_are_survived_and_shown(started_by_dramatiq):
    started = started_by_dramatiq
    (send,) = [block.text for block in Page(QUICKSTART).blocks if "send_on_commit(send_message" in block.text]
    started.run(started.line("disconnect").replace('"for_s": 60', '"for_s": 3'))
    started.run(SHELL, given=send)
    started.run(SHELL, given=send.replace("+5511988887777", ""))

    until(
        lambda: started.ask("sorted(Message.objects.values_list('status', flat=True))") == "['failed', 'sent']",
        within_ms=60_000,
    )
    letters = started.run(started.line("dlq list"))

    assert "bad_recipient" in letters
    assert "bad_recipient" in started.ask("Message.objects.get(status='failed').error_message")
    assert "line-1" in started.run("python manage.py chat instances")
