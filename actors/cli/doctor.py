"""``chat-actors doctor``: is everything as it must be, and if not, what to do.

The checks stand in ``doctor_settings``, ``doctor_redis``, ``doctor_server``, ``doctor_queues`` and ``doctor_backends``.
"""

from typing import TYPE_CHECKING, Annotated

import typer

from actors.cli import terminal
from middleware.errors import ExitCode

if TYPE_CHECKING:
    from actors.cli.checks import Check

EXAMPLES = """\b
Examples:
  chat-actors doctor
  chat-actors doctor --strict               warnings fail too
  chat-actors doctor --json | jq '.checks[] | select(.status != "ok")'

\b
It ends within ten seconds, whatever does not answer. What a provider hides is "unknown", never "ok"."""

_COLOURS = {"ok": "green", "warn": "yellow", "unknown": "yellow", "fail": "red"}


def doctor(
    *,
    strict: Annotated[bool, typer.Option("--strict", help="Fail on warnings and on what could not be asked.")] = False,
    as_json: terminal.AsJson = False,
) -> ExitCode:
    """Say what is wrong, and what to do about it."""
    from actors.cli.checks import exit_code, overall
    from actors.cli.doctor_run import examine

    checks = examine()
    if as_json:
        terminal.say_json({"status": overall(checks), "checks": [check.as_json() for check in checks]})
    else:
        for check in checks:
            _show(check)
    return exit_code(checks, strict=strict)


def _show(check: "Check") -> None:
    status = typer.style(f"{check.status:<7}", fg=_COLOURS[check.status], bold=check.status == "fail")
    # echo takes the colours out again where nobody sees them.
    typer.echo(f"{status}  {check.name:<20}  {check.found}")
    for label, text in (("why", check.why), ("fix", check.fix)):
        for line in text.splitlines():
            typer.echo(f"{'':<9}{label}: {line}")
