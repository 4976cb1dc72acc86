"""One health question and its answer, as a value; and how several are asked at once within a time.

The checks of ``doctor`` are functions that return one or more :class:`Check`.
"""

import shlex
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from middleware.clock import Clock, SystemClock
from middleware.errors import ExitCode


class Status(StrEnum):
    """How a check ended."""

    #: As it must be.
    OK = "ok"
    #: It works, and will hurt one day.
    WARN = "warn"
    #: It could not be found out. Never taken for ok.
    UNKNOWN = "unknown"
    #: Messages cannot be delivered, or may be lost.
    FAIL = "fail"


class Severity(StrEnum):
    """How bad it is."""

    #: Messages would be lost: no worker starts.
    CRITICAL = "critical"
    #: Messages are not delivered, or soon cannot be.
    ERROR = "error"
    #: It works, and will hurt one day; or it could not be found out.
    WARNING = "warning"
    #: It is as it must be.
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Repair:
    """A setting of the server that ``doctor --fix`` may change, because nobody loses anything by it."""

    setting: str
    value: str

    @property
    def command(self) -> str:
        """The same for a shell."""
        return f'redis-cli -u "$REDIS_URL" CONFIG SET {self.setting} {shlex.quote(self.value)}'


def set_to(setting: str, value: object) -> str:
    """Words for a fix that is a setting of the server: the line to copy, and where it must be said too."""
    return f"`{Repair(setting, str(value)).command}`, and the same in its configuration or the provider's console"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """``found`` is what is, ``why`` what it leads to, ``fix`` what to do.

    Attributes:
        name: stable id; docs/doctor.md lists them.
        exit_code: what the command ends with when it failed.
        refuses: no worker starts over it.
        on_deploy: a warning that ``--deploy`` makes a failure.
        repair: what ``--fix`` would change.
    """

    name: str
    status: Status
    found: str
    why: str = ""
    fix: str = ""
    exit_code: ExitCode = ExitCode.FAILED
    refuses: bool = False
    on_deploy: bool = False
    repair: tuple[Repair, ...] = ()

    @property
    def severity(self) -> Severity:
        """How bad it is."""
        if self.status is Status.FAIL:
            return Severity.CRITICAL if self.refuses else Severity.ERROR
        return Severity.NONE if self.status is Status.OK else Severity.WARNING

    def for_deploy(self) -> "Check":
        """The same, as strict as a deployment wants it."""
        if self.status is not Status.WARN or not self.on_deploy:
            return self
        return replace(self, status=Status.FAIL, exit_code=ExitCode.UNSAFE)

    def as_json(self) -> dict[str, str]:
        """The public shape (``doctor --json``)."""
        shown = {"name": self.name, "status": self.status.value, "severity": self.severity.value}
        return {**shown, "found": self.found, "why": self.why, "fix": self.fix}


def ok(name: str, found: str) -> Check:
    """A check that went well."""
    return Check(name=name, status=Status.OK, found=found)


def warn(
    name: str, found: str, *, why: str, fix: str, on_deploy: bool = False, repair: tuple[Repair, ...] = ()
) -> Check:
    """A check that found something to see to."""
    return Check(name=name, status=Status.WARN, found=found, why=why, fix=fix, on_deploy=on_deploy, repair=repair)


def unknown(name: str, found: str, *, why: str = "", fix: str = "") -> Check:
    """A check that could not be made."""
    return Check(name=name, status=Status.UNKNOWN, found=found, why=why, fix=fix)


def fail(name: str, found: str, *, why: str, fix: str, exit_code: ExitCode = ExitCode.FAILED) -> Check:
    """A check that found what must not be."""
    return Check(name=name, status=Status.FAIL, found=found, why=why, fix=fix, exit_code=exit_code)


def refuse(
    name: str,
    found: str,
    *,
    why: str,
    fix: str,
    exit_code: ExitCode = ExitCode.UNSAFE,
    repair: tuple[Repair, ...] = (),
) -> Check:
    """A check that found what would lose messages: no worker starts over it."""
    return replace(fail(name, found, why=why, fix=fix, exit_code=exit_code), refuses=True, repair=repair)


def overall(checks: Iterable[Check]) -> str:
    """``fail``, ``warn`` (also for what is unknown) or ``ok``."""
    found = {check.status for check in checks}
    if Status.FAIL in found:
        return "fail"
    return "warn" if found & {Status.WARN, Status.UNKNOWN} else "ok"


def exit_code(checks: Sequence[Check], *, strict: bool) -> ExitCode:
    """That of the first check that failed, since later ones follow from it; ``strict`` fails on anything that is not ok."""
    for check in checks:
        if check.status is Status.FAIL:
            return check.exit_code
    return ExitCode.FAILED if strict and overall(checks) != "ok" else ExitCode.OK


@dataclass
class Round:
    """Checks that are made one after another, in a thread of their own; ``names`` are those it owes."""

    names: tuple[str, ...]
    make: Callable[[], Iterator[Check]]
    made: list[Check] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)

    def start(self) -> None:
        """Begin. The thread is a daemon: what hangs must not keep the command from ending."""
        threading.Thread(target=self._run, name=f"doctor-{self.names[0]}", daemon=True).start()

    def _run(self) -> None:
        try:
            for check in self.make():
                self.made.append(check)
        except Exception as error:  # a bug of one check must not hide what the others found
            self.made.append(unknown(self._owed()[0], f"the check broke: {type(error).__name__}"))
        finally:
            self.ended.set()

    def _owed(self) -> list[str]:
        made = {check.name for check in self.made}
        return [name for name in self.names if name not in made] or [self.names[-1]]

    def result(self, *, within_s: float) -> list[Check]:
        """What was found; what hangs has failed, and behind it the rest is unknown."""
        has_ended, made = self.ended.is_set(), list(self.made)
        names = {check.name for check in made}
        owed = [name for name in self.names if name not in names]
        if owed and not has_ended:
            made.append(_silent(owed.pop(0), within_s))
        return [*made, *(unknown(name, "not asked") for name in owed)]


def _silent(name: str, within_s: float) -> Check:
    fix = "see that it is up, and that nothing between here and there drops packets"
    found = f"no answer within {within_s:g} s"
    return fail(name, found, why="whatever needs it waits", fix=fix, exit_code=ExitCode.UNAVAILABLE)


def make_all(rounds: Sequence[Round], *, within_s: float, clock: Clock | None = None) -> list[Check]:
    """Make all rounds side by side; returns after ``within_s`` at the latest."""
    clock = clock or SystemClock()
    end_ms = clock.boot_ms() + int(within_s * 1000)
    for one in rounds:
        one.start()
    for one in rounds:
        clock.wait(max(0, end_ms - clock.boot_ms()) / 1000, until=one.ended)
    return [check for one in rounds for check in one.result(within_s=within_s)]
