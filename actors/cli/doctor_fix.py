"""``doctor --fix``: change settings of the server that a check named, where nobody loses anything by it.

Called by ``doctor`` after it has shown what it found. Nothing is changed that was not shown and agreed to.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import redis

from actors.cli import terminal
from actors.doctor.checks import Check, Repair

if TYPE_CHECKING:
    from actors.doctor.connection import Probe
    from actors.settings import Settings


@dataclass(frozen=True, slots=True)
class Change:
    """A setting that was to be changed; ``refused`` is Redis' word where it said no."""

    repair: Repair
    before: str | None
    refused: str = ""

    def as_json(self) -> dict[str, str | bool | None]:
        """The public shape (``doctor --fix --json``)."""
        told = {"setting": self.repair.setting, "before": self.before, "after": self.repair.value}
        return {**told, "done": not self.refused, "refused": self.refused or None}


def repairs_of(checks: Sequence[Check]) -> list[Repair]:
    """What may be changed, each once."""
    return list(dict.fromkeys(repair for check in checks for repair in check.repair))


def mend(settings: "Settings", repairs: Sequence[Repair], *, yes: bool, quiet: bool) -> list[Change]:
    """Show the commands, ask, and carry them out; where the server has a configuration file, they are written to it.

    Raises:
        Refused: there is nobody to ask.
        typer.Abort: the answer was no.
    """
    from actors.doctor.connection import Probe

    with Probe(settings) as probe:
        before = {repair.setting: probe.config(repair.setting) for repair in repairs}
        if not quiet:
            for repair in repairs:
                terminal.say(f"{repair.command}    (is {before[repair.setting] or 'not set'!r})")
            terminal.say("CONFIG REWRITE, which also keeps whatever else was set since the server started")
        terminal.confirm(f"change {len(repairs)} settings of this Redis, for all who use it?", yes=yes)
        changes = [Change(repair, before[repair.setting], _set(probe, repair)) for repair in repairs]
        kept = _keep(probe) if not all(change.refused for change in changes) else ""
    if not quiet:
        _say(changes, kept)
    return changes


def _set(probe: "Probe", repair: Repair) -> str:
    from actors.doctor.connection import first_word

    try:
        probe.client(0).config_set(repair.setting, repair.value)
    except redis.ResponseError as error:
        return first_word(error)
    return ""


def _keep(probe: "Probe") -> str:
    try:
        probe.client(0).config_rewrite()
    except redis.ResponseError:
        return "the server has no configuration file that it may write: put the same into it, or it is gone at its next start"
    return "written to the server's configuration file too"


def _say(changes: Sequence[Change], kept: str) -> None:
    for change in changes:
        if change.refused:
            terminal.say(
                f"refused ({change.refused}): set {change.repair.setting} to {change.repair.value} in the provider's console"
            )
        else:
            terminal.say(f"set {change.repair.setting} to {change.repair.value}")
    if kept:
        terminal.say(kept)
