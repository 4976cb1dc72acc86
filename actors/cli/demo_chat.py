"""The chat that the demo's Django project shows: who may see it, what was said before, and what a visitor may try in it.

``demo_world`` puts the rows and settings in; ``demo`` opens it with :func:`enliven` when ``--hold`` keeps everything up.
"""

import secrets
import shlex
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid5

from actors.cli.demo_plan import Plan, Thread
from actors.cli.demo_texts import GREETINGS
from actors.gateways.sandbox.admin_client import SandboxAdmin
from middleware.clock import SystemClock

#: What the project needs besides Django.
CHAT_MODULES = ("channels", "channels_redis", "daphne")
#: Whose conversations they are: only rows of a tenant are told over Channels.
TENANT = "loja"
USER = "demo"
#: The session of a line is down for so long when a visitor takes it down, in seconds.
DOWN_S = 20
#: Events of the gateway that its webhook brings.
EVENTS = ("SEND_MESSAGE", "MESSAGES_UPDATE", "CONNECTION_UPDATE", "STATUS_INSTANCE")
#: What a phone does with every message then: it has it after so long, and is looked at after so long, in milliseconds.
ACKS = {"DELIVERY_ACK": 900, "READ": 3_000}
#: A gateway takes its time; without it nobody would see a message wait.
LATENCY_MS = [250, 900]
_IDS = UUID("2b1d7c52-7c0e-5d52-9a41-6a0a3c9d4e11")


class Chat:
    """The chat of one demo."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._entry_token = secrets.token_urlsafe(18)
        self._webhook_token = secrets.token_urlsafe(18)
        self._began = datetime.fromtimestamp(SystemClock().now_ms() / 1000, tz=UTC)

    def settings(self) -> dict[str, str]:
        """Variables of the project."""
        return {
            "CHATSITE_ENTRY_TOKEN": self._entry_token,
            "CHATSITE_ENTRY_USER": USER,
            "CHAT_WEBHOOK_TOKEN": self._webhook_token,
        }

    def entry(self, url: str) -> str:
        """Link that logs a visitor in."""
        return f"{url}/enter/{self._entry_token}/"

    def rows(self) -> list[dict[str, Any]]:
        """A person who works for the tenant, and what others wrote before the demo begins."""
        user = {"username": USER, "password": "!", "first_name": "Ana", "is_staff": True, "is_superuser": True}
        member = {"user": 1, "tenant_id": TENANT}
        people = [{"model": "auth.user", "pk": 1, "fields": user}, {"model": "inbox.member", "pk": 1, "fields": member}]
        talking = [thread for thread, _ in self.plan.by_thread()]
        return [*people, *(self._greeting(thread) for thread in talking)]

    def columns(self, thread: Thread) -> dict[str, Any]:
        """What a conversation's row has for the chat's sake."""
        talks = any(thread is talking for talking, _ in self.plan.by_thread())
        return {"tenant_id": TENANT, "last_message_at": self._greeted_at(thread) if talks else None}

    def _greeting(self, thread: Thread) -> dict[str, Any]:
        at = self._greeted_at(thread)
        fields = {
            "conversation": thread.id,
            "direction": "incoming",
            "status": "seen",
            "content": GREETINGS[_number(thread) % len(GREETINGS)],
            "sender_name": _sender(thread),
            "created_at": at,
            "updated_at": at,
        }
        return {"model": "chat.message", "pk": str(uuid5(_IDS, thread.id)), "fields": fields}

    def _greeted_at(self, thread: Thread) -> str:
        return (self._began - timedelta(seconds=60 + _number(thread) % 1_200)).isoformat()

    def enliven(self, sandbox: SandboxAdmin, url: str) -> None:
        """Let the gateway do well from now on, and tell by webhook what phones do with what they get."""
        sandbox.clear_faults()
        sandbox.add_fault({"type": "latency", "ms": LATENCY_MS, "when": "before_accept"}, match={"op": ["sendText"]})
        for status, after_ms in ACKS.items():
            sandbox.add_fault({"type": "ack", "status": status, "after_ms": after_ms})
        sandbox.put_webhook(f"{url}/hooks/evolution/{self._webhook_token}/", events=list(EVENTS))

    def shell_functions(self, sandbox_url: str) -> list[str]:
        """Lines of a shell script: ``line_down <name>`` and ``number_exists <number>``, for visitors who want trouble."""
        ask = f'curl -sS -H "X-Sandbox-Admin: $SANDBOX_TOKEN" {shlex.quote(sandbox_url)}/__sandbox__'
        down = f'{{"action": {{"type": "disconnect", "instance": "\'"$1"\'", "for_s": {DOWN_S}}}}}'
        return [
            f"line_down() {{ {ask}/faults -d '{down}'; }}",
            f'number_exists() {{ {ask}/contacts/"$1" -X PUT -d \'{{"exists": true}}\'; }}',
        ]

    def tries(self) -> list[str]:
        """What a visitor may try, a line each."""
        absent = next(thread for thread in self.plan.threads if not thread.exists)
        return [
            f"line_down {self.plan.disconnected}    its conversations show a banner and wait; {DOWN_S} s later they go on",
            f"number_exists {absent.wire}    {absent.name}'s number: its failed messages can be sent again then",
        ]


def _number(thread: Thread) -> int:
    return int(thread.id[:8], 16)


def _sender(thread: Thread) -> str:
    return f"+{thread.members[0].partition('@')[0]}" if thread.is_group and thread.members else thread.name
