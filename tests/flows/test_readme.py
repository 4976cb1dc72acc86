"""The README's five steps, done to the letter by a newcomer: what it prints as code is what runs here."""

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from docs_pages import Page
from sandbox_fixture import Sandbox, sandbox
from waiting import until

__all__ = ["sandbox"]

ROOT = Path(__file__).parents[2]
#: What every project has before it adopts this one.
PROJECT = """
SECRET_KEY = "only-for-this-test"
USE_TZ = True
ROOT_URLCONF = "mysite.urls"
INSTALLED_APPS = ["chat"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "mysite.sqlite3", "OPTIONS": {"timeout": 30}}}
"""
#: A browser's request to the view of the README, and the row's status afterwards.
BROWSE = """
import django, json, sys
django.setup()
from chat.models import Conversation, Message, WhatsAppInstance
from chat.views import post_message
from django.test import RequestFactory

if sys.argv[1] == "post":
    WhatsAppInstance.objects.create(instance_name="i1")
    conversation = Conversation.objects.create(contact_phone="+5511988887777", instance_name="i1")
    answer = post_message(RequestFactory().post("/", {"text": "Olá!"}), conversation.pk)
    print(answer.content.decode())
else:
    print(json.dumps(list(Message.objects.values_list("status", flat=True))))
"""


def _script(folder: Path) -> Path:
    """Folder with a ``chat-actors`` for an environment that has the packages on its path and did not install them."""
    binaries = folder / "bin"
    binaries.mkdir()
    script = binaries / "chat-actors"
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m actors.cli "$@"\n')
    script.chmod(0o755)
    return binaries


class Newcomer:
    """Does what the README says, in a folder of its own."""

    def __init__(self, folder: Path, environ: dict[str, str]) -> None:
        self.folder = folder
        self.page = Page("README.md")
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"], str(_script(folder))])
        self.environ = {"PATH": path, "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}", "HOME": str(folder), **environ}

    def file(self, name: str) -> str:
        """The code block that begins with its own name."""
        (block,) = [block for block in self.page.blocks if block.text.startswith(f"# {name}\n")]
        return block.text

    def command(self, *words: str) -> list[str]:
        """The command that holds these words; variables in front of it are set."""
        lines = [line for block in self.page.blocks if block.language == "sh" for line in block.text.splitlines()]
        (line,) = [line for line in lines if all(word in line for word in words)]
        return ["env", *shlex.split(line)] if "=" in line.split()[0] else shlex.split(line)

    def run(self, *command: str) -> str:
        done = subprocess.run(
            command, cwd=self.folder, env=self.environ, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def start(self, *command: str) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(command, cwd=self.folder, env=self.environ, stdout=subprocess.DEVNULL)


@pytest.fixture
def newcomer(tmp_path: Path, redis_server, queue_client, sandbox: Sandbox) -> Newcomer:
    return Newcomer(
        tmp_path,
        {"REDIS_URL": redis_server.url(0), "CHAT_GATEWAY": "sandbox", "CHAT_SANDBOX_URL": sandbox.url},
    )


def _adopt(newcomer: Newcomer) -> None:
    site, chat = newcomer.folder / "mysite", newcomer.folder / "chat"
    site.mkdir()
    (site / "__init__.py").touch()
    (site / "urls.py").write_text("urlpatterns = []\n")
    (site / "settings.py").write_text(PROJECT + newcomer.file("settings.py"))
    shutil.copytree(ROOT / "tests" / "project" / "chat", chat, ignore=shutil.ignore_patterns("views.py", "__pycache__"))
    (chat / "views.py").write_text(newcomer.file("chat/views.py"))
    manage = (ROOT / "tests" / "project" / "manage.py").read_text()
    (newcomer.folder / "manage.py").write_text(manage.replace("chatsite.settings", "mysite.settings"))


def _delivered_by(newcomer: Newcomer, sandbox: Sandbox, command: list[str]) -> list[str]:
    """What the phone got while a worker, started by ``command``, ran."""
    worker = newcomer.start(*command)
    try:
        assert sandbox.admin.wait(1, timeout_s=30.0)
        assert worker.poll() is None
        return [delivery["text"] for delivery in sandbox.admin.deliveries()]
    finally:
        worker.terminate()
        assert worker.wait(timeout=40) == 0


@pytest.mark.redis
@pytest.mark.process
def test_a_django_project_that_follows_the_five_steps_delivers_a_message(newcomer, sandbox):
    _adopt(newcomer)
    newcomer.run(*newcomer.command("manage.py", "migrate"))
    assert "no issues" in newcomer.run(*newcomer.command("manage.py", "check"))
    browse = ("env", "DJANGO_SETTINGS_MODULE=mysite.settings", sys.executable, "-c", BROWSE)

    answer = json.loads(newcomer.run(*browse, "post"))
    delivered = _delivered_by(newcomer, sandbox, newcomer.command("chat-actors worker", "DJANGO_SETTINGS_MODULE"))

    assert set(answer) == {"id"}
    assert delivered == ["Olá!"]
    until(lambda: json.loads(newcomer.run(*browse, "look")) == ["sent"], within_ms=10_000)


@pytest.mark.redis
@pytest.mark.process
def test_a_host_without_django_delivers_a_message(newcomer, sandbox):
    exported = dict(word.split("=", 1) for word in newcomer.command("export", "CHAT_STORE")[1:])
    assert set(exported) == {"CHAT_STORE", "CHAT_SQLITE_PATH", "REDIS_URL"}
    newcomer.environ |= {name: value for name, value in exported.items() if name != "REDIS_URL"}
    # The sandbox knows this number, and lets it in with the key of its row.
    sandbox.admin.put_instance("line-1", token="key-of-line-1")
    (newcomer.folder / "say.py").write_text(newcomer.file("say.py"))

    newcomer.run(*newcomer.command("python", "say.py"))

    lines = newcomer.page.text.splitlines()
    assert lines[lines.index("python say.py") + 1] == "chat-actors worker"
    assert _delivered_by(newcomer, sandbox, ["chat-actors", "worker"]) == ["Olá!"]
