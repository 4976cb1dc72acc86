"""Checks of this installation, before anybody is asked: settings, names, packages, scheduler, Sentry.

``run`` makes them.
"""

import sys
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import middleware
from actors import services, wiring
from actors.doctor.checks import Check, fail, ok, warn
from actors.errors import SettingsError
from actors.settings import Settings, unknown_names
from middleware.errors import ExitCode
from middleware.sentry import stock_sentry_present

#: Packages that the schedulers of this distribution need, and what installs them.
_SCHEDULERS = {"apscheduler": "apscheduler", "periodiq": "periodiq"}


def settings() -> tuple[Settings | None, list[Check]]:
    """Settings can be read and name what a worker needs; None where they cannot be used."""
    faults: list[str] = []
    found: Settings | None = None
    try:
        found = services.settings()
    except SettingsError as error:
        faults = error.faults
    except ImportError as error:
        faults = [f"DJANGO_SETTINGS_MODULE cannot be imported: there is no module {error.name!r}"]
    except Exception as error:
        faults = [f"DJANGO_SETTINGS_MODULE cannot be imported ({type(error).__name__})"]
    if found is not None:
        needed = [found.require_store, *([found.queue_connection] if found.broker == "redis" else [])]
        for need in needed:
            try:
                need()
            except SettingsError as error:
                faults += error.faults
    if not faults:
        return found, [ok("settings", "complete")]
    check = fail(
        "settings",
        f"{len(faults)} faults" if len(faults) > 1 else "1 fault",
        why="\n".join(faults),
        fix="correct them; docs/configuration.md has every setting, and `chat-actors doctor` looks again",
        exit_code=ExitCode.SETTINGS,
    )
    return None, [check]


def names() -> list[Check]:
    """No variable that looks like one of ours is misspelt."""
    strange = unknown_names()
    if not strange:
        return [ok("names", "every CHAT_… variable is known")]
    likely = [f"{name} (is {near} meant?)" for name, near in strange.items() if near is not None]
    if not likely:
        return [ok("names", f"{len(strange)} CHAT_… variables belong to something else")]
    fix = f"correct the name: `{next(iter(near for near in strange.values() if near))}`; what belongs to the host may stay"
    return [warn("names", ", ".join(likely), why="a misspelt setting has no effect", fix=fix)]


def packages() -> Check:
    """``import middleware`` finds our package, also for ``dramatiq actors`` that is started here."""
    ours = Path(str(middleware.__file__)).parent
    others = sorted({str(place) for place in _places("middleware") if place.resolve() != ours.resolve()})
    if not others:
        return ok("packages", "actors and middleware are those of chat-actors")
    return fail(
        "packages",
        f"there is another package middleware: {', '.join(others)}",
        why="manage.py, the web processes and `dramatiq actors` put this folder in front, load the other one and fail",
        fix="rename the other package: `mv middleware <another name>`",
    )


def _places(name: str) -> list[Path]:
    folders = [Path(entry or ".") for entry in [*sys.path, "."]]
    found = [folder / name for folder in folders if (folder / name / "__init__.py").is_file()]
    return [*found, *(folder / f"{name}.py" for folder in folders if (folder / f"{name}.py").is_file())]


def scheduler(settings: Settings) -> Check:
    """The scheduler that the settings name is installed."""
    name = settings.scheduler
    if name == "none":
        why = "memory samples, the sweep and backups happen only when somebody else sends their actors"
        return warn("scheduler", "none", why=why, fix="`CHAT_SCHEDULER=apscheduler`, or run `periodiq actors`")
    package = _SCHEDULERS.get(name)
    if package is None and not entry_points(group="chat_actors.schedulers", name=name):
        return fail(
            "scheduler",
            f"{name} is not registered",
            why="nothing periodic happens",
            fix="install what brings it, or `CHAT_SCHEDULER=apscheduler`",
        )
    if package is not None and find_spec(package) is None:
        fix = f"`pip install 'chat-actors[{name}]'`"
        return fail(
            "scheduler", f"{name} is not installed", why="nothing periodic happens, and nothing is swept", fix=fix
        )
    return ok("scheduler", name)


def sentry() -> Check:
    """Dramatiq's own Sentry middleware is not on our broker: it reports every attempt, with its arguments."""
    sdk: Any = sys.modules.get("sentry_sdk")
    is_active = sdk is not None and "dramatiq" in sdk.get_client().integrations
    if not stock_sentry_present(wiring.broker) and not is_active:
        return ok("sentry", "only our own reporting is on the broker")
    return fail(
        "sentry",
        "sentry_sdk's own middleware is on our broker",
        why="every failed attempt is reported, with the arguments of its message, beside the one report of a dead letter",
        fix="`sentry_sdk.init(…, disabled_integrations=[DramatiqIntegration()])`, and no DramatiqIntegration in its integrations",
    )
