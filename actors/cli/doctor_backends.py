"""Checks of what actors work with: every configured gateway, and the store.

``doctor_run`` makes each in a thread of its own: a silent one must not hide what the others say.
"""

from collections.abc import Callable, Iterator
from functools import partial

from actors import services
from actors.cli.checks import Check, fail, ok, unknown
from actors.cli.exit_codes import code_of
from actors.errors import ChatError, Throttled
from actors.gateways.base import make_gateway
from actors.settings import Settings
from middleware.errors import ExitCode

#: Belongs to no row anywhere; stores take any id.
_NOBODY = "00000000-0000-0000-0000-000000000000"


def rounds(settings: Settings) -> "list[tuple[tuple[str, ...], Callable[[], Iterator[Check]]]]":
    """Names and checks, one pair for each thread."""
    gateways = [((f"gateway.{name}",), partial(_gateway, name, settings)) for name in _gateways(settings)]
    return [*gateways, (("store",), _store)]


def _gateways(settings: Settings) -> list[str]:
    if settings.gateway == "sandbox":
        # It replaces every other one.
        return ["sandbox"]
    given = {"evolution": settings.evolution_url, "whatsapp_cloud": settings.whatsapp_cloud_token}
    return sorted({settings.gateway, *(name for name, setting in given.items() if setting is not None)})


def _gateway(name: str, settings: Settings) -> Iterator[Check]:
    label = f"gateway.{name}"
    if name == "evolution" and settings.evolution_url is None:
        found = "no default server is set; every instance brings its own URL and key"
        yield unknown(
            label, found, why="an instance without them cannot send", fix="see that every active instance has both"
        )
        return
    gateway = None
    try:
        gateway = make_gateway(name, settings)
        yield ok(label, gateway.check())
    except Throttled as error:
        yield unknown(label, str(error))
    except ChatError as error:
        why = "messages of its instances wait, or fail"
        yield fail(label, str(error), why=why, fix="see docs/gateways.md", exit_code=code_of(error))
    finally:
        if gateway is not None:
            gateway.close()


def _store() -> Iterator[Check]:
    why = "no message can be sent or delivered"
    try:
        store = services.get().store
        store.route(_NOBODY)
        store.attempts(_NOBODY)
        store.close_stale_connections()
    except ChatError as error:
        fix = "start its database, and run manage.py migrate"
        yield fail("store", str(error), why=why, fix=fix, exit_code=code_of(error))
    except Exception as error:
        # Its text may quote a row.
        fix = "run manage.py migrate and manage.py check"
        yield fail("store", f"it failed with {type(error).__name__}", why=why, fix=fix, exit_code=ExitCode.UNAVAILABLE)
    else:
        yield ok("store", f"{store.name}: rows and send attempts can be read")
