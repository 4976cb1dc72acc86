"""``chat-actors doctor``: is everything as it must be, and if not, what to do.

``actors.doctor.run`` has the list of checks; docs/doctor.md shows it to people.
"""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from actors.cli import terminal
from middleware.errors import ExitCode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actors.doctor.checks import Check

EXAMPLES = """\b
Examples:
  chat-actors doctor
  chat-actors doctor --strict               warnings fail too
  chat-actors doctor --live                 a probe without HTTP: fails where a restart helps
  chat-actors doctor --live --strict        fails also where it cannot work right now
  chat-actors doctor --deploy               what a restart of Redis would lose is a failure
  chat-actors doctor --fix                  change settings of Redis where that is safe; shows them and asks
  chat-actors doctor --json | jq '.checks[] | select(.status != "ok")'

\b
It ends within ten seconds, whatever does not answer. What a provider hides is "unknown", never "ok".
Every check is explained in docs/doctor.md."""

_COLOURS = {"ok": "green", "warn": "yellow", "unknown": "yellow", "fail": "red"}


def doctor(
    *,
    live: Annotated[bool, typer.Option("--live", help="Only ask the workers on this machine how they are.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Fail on warnings and on what could not be asked.")] = False,
    deploy: Annotated[bool, typer.Option("--deploy", help="As strict as production wants it.")] = False,
    fix: Annotated[bool, typer.Option("--fix", help="Change settings of Redis where that is safe.")] = False,
    yes: terminal.Yes = False,
    as_json: terminal.AsJson = False,
) -> ExitCode:
    """Say what is wrong, and what to do about it."""
    from actors.doctor.checks import exit_code, overall
    from actors.doctor.run import run

    checks, changed = _live() if live else run(deploy=deploy), None
    if not as_json:
        _show(checks)
    if fix and not live:
        changed = _mend(checks, yes=yes, quiet=as_json)
        checks = run(deploy=deploy) if changed else checks
        if changed and not as_json:
            _show(checks)
    if as_json:
        told: dict[str, Any] = {"status": overall(checks), "checks": [check.as_json() for check in checks]}
        terminal.say_json(told if changed is None else {**told, "changed": changed})
    return exit_code(checks, strict=strict)


def _live() -> "list[Check]":
    from actors import services
    from actors.doctor import live

    return live.checks(services.settings())


def _mend(checks: "Sequence[Check]", *, yes: bool, quiet: bool) -> list[dict[str, Any]]:
    from actors import services
    from actors.cli.doctor_fix import mend, repairs_of

    repairs = repairs_of(checks)
    if not repairs:
        if not quiet:
            terminal.say("nothing here can be mended by a setting that is safe to change")
        return []
    if not quiet:
        terminal.say("")
    return [change.as_json() for change in mend(services.settings(), repairs, yes=yes, quiet=quiet)]


def _show(checks: "Sequence[Check]") -> None:
    for check in checks:
        status = typer.style(f"{check.status:<7}", fg=_COLOURS[check.status], bold=check.status == "fail")
        # echo takes the colours out again where nobody sees them.
        typer.echo(f"{status}  {check.name:<20}  {check.found}")
        for label, text in (("why", check.why), ("fix", check.fix)):
            for line in text.splitlines():
                typer.echo(f"{'':<9}{label}: {line}")
