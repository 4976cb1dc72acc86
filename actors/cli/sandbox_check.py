"""What ``chat-actors sandbox check`` asks, of whom, and what it says of the answers."""

from dataclasses import dataclass, field
from typing import Any

from actors.cli import terminal
from actors.errors import AuthConfig
from actors.gateways.evolution_endpoint import clean_url, is_loopback
from actors.gateways.sandbox.admin_client import SandboxAdmin
from actors.gateways.sandbox.conformance import NOBODY, Finding, Target, check, load
from actors.gateways.sandbox.server import SANDBOX_KEY, SandboxServer

#: The number that a sandbox of our own is asked about; it reaches nobody.
_SANDBOX_NUMBER = "5511988887777"


@dataclass(frozen=True, slots=True)
class Asked:
    """The options of the command."""

    url: str | None
    apikey: str | None = field(repr=False)
    instance: str
    admin_token: str | None = field(repr=False)
    send_to: str | None = field(repr=False)
    allow_remote: bool = False


def run(asked: Asked) -> list[Finding]:
    """Ask all that may be asked.

    Raises:
        terminal.Refused: the URL is of another machine and that was not allowed, or cannot be one.
        Transient: the server does not answer.
    """
    if asked.url is None:
        with SandboxServer() as server, SandboxAdmin(server.url, server.admin_token) as admin:
            return list(check(Target(server.url, asked.instance, server.apikey, _SANDBOX_NUMBER, admin)))
    target = _target(asked, asked.url)
    try:
        return list(check(target))
    finally:
        if target.admin is not None:
            target.admin.close()


def _target(asked: Asked, url: str) -> Target:
    try:
        url = clean_url(url, source="--url")
    except AuthConfig as error:
        raise terminal.Refused(str(error)) from error
    if not is_loopback(url) and not asked.allow_remote:
        raise terminal.Refused("--url names another machine; say --allow-remote if it may be asked")
    if not is_loopback(url) and asked.admin_token is not None:
        raise terminal.Refused("--admin-token is for a sandbox on this machine")
    if asked.admin_token is None:
        return Target(url, asked.instance, asked.apikey or SANDBOX_KEY, asked.send_to or NOBODY)
    admin = SandboxAdmin(url, asked.admin_token)
    return Target(url, asked.instance, asked.apikey or SANDBOX_KEY, asked.send_to or _SANDBOX_NUMBER, admin)


def show(findings: list[Finding]) -> None:
    """The answers that differ, then how many there were."""
    for one in findings:
        if one.differences:
            terminal.say(f"{one.name} ({one.source})")
            for difference in one.differences:
                terminal.say(f"  {difference}")
    good = sum(not one.differences for one in findings)
    skipped = len(load()) - len(findings)
    more = f"; {skipped} need fixtures or send, and were not asked" if skipped else ""
    terminal.say(f"{good} of {len(findings)} answers are those of Evolution 2.3.6{more}")


def as_dict(findings: list[Finding]) -> dict[str, Any]:
    """The same as JSON."""
    return {
        "asked": len(findings),
        "passed": sum(not one.differences for one in findings),
        "not_asked": len(load()) - len(findings),
        "failed": [
            {"name": one.name, "source": one.source, "differences": list(one.differences)}
            for one in findings
            if one.differences
        ],
    }
