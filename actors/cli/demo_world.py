"""The demo's world as real processes: Redis, sandbox gateway, Django project, worker with its scheduler.

``demo`` opens one :class:`World`; everything in it ends with it. The only file that knows where the Django project lies.
"""

import json
import os
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Self

from actors.cli.demo_chat import CHAT_MODULES, Chat
from actors.cli.demo_plan import Line, Plan, Thread
from actors.cli.demo_processes import Child, DemoFailed, Workplace, clean_environment, free_port, undisturbed
from actors.cli.demo_traffic import Host
from actors.cli.demo_watch import Queues
from actors.gateways.sandbox.admin_client import SandboxAdmin
from middleware.brokers.redis.embedded import EmbeddedRedis

#: Short times, so that what takes minutes in production is seen in seconds. Everything else is as in production.
PROFILE: dict[str, Any] = {
    "CHAT_GATEWAY": "sandbox",
    "CHAT_LEASE_MS": 3_000,
    "CHAT_BACKOFF_BASE_MS": 200,
    "CHAT_BACKOFF_CAP_MS": 2_000,
    "CHAT_RECONCILE_GRACE_S": 1,
    "CHAT_TIME_LIMIT_MS": 30_000,
    "CHAT_LOOK_MS": 500,
    "CHAT_RAMP_MS": 3_000,
    "CHAT_SWEEP_AFTER_S": 30,
    "CHAT_SEND_DEADLINE_S": 600,
    "CHAT_SHUTDOWN_TIMEOUT_MS": 5_000,
    "CHAT_METRICS_PORT": 0,
}
#: Where our packages lie: children run the very same code, installed or not.
PACKAGES = Path(__file__).parents[2]
#: Worker processes, and threads of each.
PROCESSES, THREADS = 2, 8
_CREATED_AT = "2025-01-06T12:00:00Z"


def find_project() -> Path:
    """Folder of the Django project.

    Raises:
        DemoFailed: this is no checkout, or Django is not installed.
    """
    for root in (Path.cwd(), PACKAGES):
        project = root / "tests" / "project"
        if (project / "manage.py").is_file():
            if missing := [name for name in ("django", *CHAT_MODULES) if find_spec(name) is None]:
                raise DemoFailed(f"the demo runs a Django project, which needs {', '.join(missing)}; use `make demo`")
            return project
    raise DemoFailed(
        "the demo runs the Django project of the repository (tests/project), which an installed package does not have; "
        "clone the repository and run `make demo`. Without it, `chat-actors sandbox` starts a gateway that delivers nowhere: "
        "set CHAT_GATEWAY=sandbox and CHAT_SANDBOX_URL in your own project and send to that"
    )


class World:
    """All processes; a context manager. ``plan`` says what lies in the database and in the sandbox."""

    def __init__(self, plan: Plan, *, seed: int, faults: Sequence[dict[str, Any]]) -> None:
        self.project = find_project()
        self.plan = plan
        self.seed = seed
        self.faults = list(faults)
        self.chat = Chat(plan)
        self._stack = ExitStack()
        self._runs = 0
        self._lasting: list[Child] = []

    def __enter__(self) -> Self:
        try:
            self.directory = self._stack.enter_context(Workplace()).directory
            self._start()
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def _close(self) -> None:
        with undisturbed():
            self._stack.close()

    # -- processes -------------------------------------------------------------------------------------------------

    def _start(self) -> None:
        self.redis = self._stack.enter_context(EmbeddedRedis(directory=self._folder("redis")))
        self.sandbox = self._start_sandbox()
        self.environment = clean_environment(self._settings())
        self.manage("migrate", "--verbosity", "0")
        self.manage("loaddata", "--verbosity", "0", str(self._write("rows.json", self._rows())))
        # Both take a second or two to start: side by side.
        self.worker = self._start_worker()
        self.host = self._start_web()
        self.worker.until(self._workers_serve)

    def _start_sandbox(self) -> SandboxAdmin:
        config = self._write("sandbox.json", self._fixtures())
        arguments = ["sandbox", "--seed", str(self.seed), "--config", str(config)]
        child = self._child("sandbox", self._command(*arguments), clean_environment({"PYTHONPATH": str(PACKAGES)}))
        self._lasting.append(child)
        said = child.until(lambda: child.log.read_text().partition("\n")[0])
        found = json.loads(said)
        self._sandbox_token = str(found["admin_token"])
        return self._stack.enter_context(SandboxAdmin(found["url"], self._sandbox_token))

    def _start_web(self) -> Host:
        port = free_port()
        # Silent: the path of a webhook, and of the link that logs in, are secrets.
        server = [
            sys.executable,
            "-m",
            "daphne",
            "-v",
            "0",
            "-b",
            "127.0.0.1",
            "-p",
            str(port),
            "chatsite.asgi:application",
        ]
        self.web = self._child("web", server, self.environment)
        self._lasting.append(self.web)
        host = Host(f"127.0.0.1:{port}")
        self.web.until(host.answers)
        return host

    def _start_worker(self) -> Child:
        arguments = ["worker", "--processes", str(PROCESSES), "--threads", str(THREADS)]
        child = self._child("worker", self._command(*arguments), self.environment)
        self._lasting.append(child)
        return child

    def _workers_serve(self) -> bool:
        with Queues(self.redis) as queues:
            return len(queues.workers()) >= PROCESSES

    def _child(self, name: str, command: Sequence[str], environment: dict[str, str]) -> Child:
        child = Child(name, command, log=self.directory / f"{name}.log", environment=environment)
        self._stack.callback(child.stop)
        return child

    # -- one-off commands ------------------------------------------------------------------------------------------

    def manage(self, *arguments: str) -> str:
        """Output of a ``manage.py`` command of the project."""
        return self._one_off("manage", self._manage(*arguments)).finish()

    def command(self, *arguments: str) -> str:
        """Output of a ``chat-actors`` command."""
        return self._one_off("command", self._command(*arguments)).finish()

    def must_run(self) -> None:
        """Make sure that everything runs that must.

        Raises:
            DemoFailed: a process ended; the text has the end of its log.
        """
        for child in self._lasting:
            if not child.is_running:
                raise DemoFailed(f"{child.name} ended with {child.process.returncode}; its log ends:\n{child.tail()}")

    def _one_off(self, name: str, command: Sequence[str]) -> Child:
        self._runs += 1
        return self._child(f"{name}-{self._runs}", command, self.environment)

    def _manage(self, *arguments: str) -> list[str]:
        return [sys.executable, str(self.project / "manage.py"), *arguments]

    def _command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "actors.cli", *arguments]

    def write_environment(self) -> Path:
        """A script that gives a shell the settings of the demo."""
        names = [*PROFILE, *self._settings()]
        lines = [f"export {name}={shlex.quote(self.environment[name])}" for name in dict.fromkeys(names)]
        lines.append(f"export SANDBOX_TOKEN={shlex.quote(self._sandbox_token)}")
        lines += self.chat.shell_functions(self.sandbox.url)
        path = self.directory / "environment.sh"
        path.touch(mode=0o600)
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return path

    # -- what they are told ----------------------------------------------------------------------------------------

    def _settings(self) -> dict[str, str]:
        profile = {name: str(value) for name, value in PROFILE.items()}
        return {
            **profile,
            # The host's own URL, with the database of its cache: the queues' one is derived from it.
            "REDIS_URL": self.redis.url(0),
            "CHAT_SANDBOX_URL": self.sandbox.url,
            "CHATSITE_DATABASE": str(self.directory / "chatsite.sqlite3"),
            "CHATSITE_CACHE_URL": self.redis.url(0),
            "CHATSITE_CHANNELS_URL": self.redis.url(1),
            **self.chat.settings(),
            "DJANGO_SETTINGS_MODULE": "chatsite.settings",
            "PYTHONPATH": f"{self.project}{os.pathsep}{PACKAGES}",
        }

    def _fixtures(self) -> dict[str, Any]:
        people = [thread for thread in self.plan.threads if not thread.is_group]
        groups = [thread for thread in self.plan.threads if thread.is_group]
        return {
            "instances": {line.name: {"token": line.token} for line in self.plan.lines},
            "contacts": {one.wire: {"exists": one.exists, "picture_url": one.picture} for one in people},
            "groups": {one.wire: _group(one) for one in groups},
            "faults": self.faults,
        }

    def _rows(self) -> list[dict[str, Any]]:
        instances = map(_instance_row, self.plan.lines)
        conversations = [{**row, "fields": {**row["fields"], **more}} for row, more in self._conversations()]
        return [*instances, *conversations, *self.chat.rows()]

    def _conversations(self) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
        return ((_conversation_row(thread), self.chat.columns(thread)) for thread in self.plan.threads)

    def _write(self, name: str, content: Any) -> Path:
        path = self.directory / name
        # It holds keys, if only invented ones.
        path.touch(mode=0o600)
        path.write_text(json.dumps(content), encoding="utf-8")
        return path

    def _folder(self, name: str) -> Path:
        path = self.directory / name
        path.mkdir()
        return path


def _group(thread: Thread) -> dict[str, Any]:
    members = [{"id": member, "admin": None} for member in thread.members]
    return {"subject": thread.subject, "participants": members, "picture_url": thread.picture}


def _instance_row(line: Line) -> dict[str, Any]:
    fields = {"instance_name": line.name, "friendly_name": line.name, "api_key": line.key, "connection_state": "open"}
    return {"model": "chat.whatsappinstance", "fields": fields}


def _conversation_row(thread: Thread) -> dict[str, Any]:
    metadata: dict[str, Any] = {"group_id": thread.wire} if thread.is_group else {}
    if thread.stored_members:
        metadata["participants"] = [{"id": member} for member in thread.stored_members]
    fields = {
        "contact_phone": thread.address,
        "contact_name": thread.name,
        "instance_name": thread.line.name,
        "conversation_type": "group" if thread.is_group else "individual",
        "profile_pic_url": thread.stored_picture,
        "group_metadata": metadata,
        "created_at": _CREATED_AT,
        "updated_at": _CREATED_AT,
    }
    return {"model": "chat.conversation", "pk": thread.id, "fields": fields}
