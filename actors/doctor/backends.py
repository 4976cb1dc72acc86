"""Checks of what actors work with: every configured gateway, and the store.

``run`` makes each in a thread of its own: a silent one must not hide what the others say.
"""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import islice

from actors import services
from actors.doctor.checks import Check, fail, ok, unknown, warn
from actors.domain import Instance
from actors.errors import ChatError, Throttled
from actors.exit_codes import code_of
from actors.gateways.base import make_gateway
from actors.instances import all_instances
from actors.settings import Settings
from middleware.errors import ExitCode
from middleware.scrub import hide

#: Instances that are compared by name.
MAX_INSTANCES = 5_000
#: Belongs to no row anywhere; stores take any id.
_NOBODY = "00000000-0000-0000-0000-000000000000"
#: Gateway → what is found where the settings bring nothing for it, and what to see to.
_WITHOUT_DEFAULT = {
    "evolution": (
        "no default server is set; every instance brings its own URL and key",
        "see that every active instance has both",
    ),
    "whatsapp_cloud": (
        "no default token is set; every instance brings its own token and phone_number_id",
        "see that every active instance has both",
    ),
}


def rounds(settings: Settings) -> "list[tuple[tuple[str, ...], Callable[[], Iterator[Check]]]]":
    """Names and checks, one pair for each thread."""
    gateways = [((f"gateway.{name}",), partial(_gateway, name, settings)) for name in _gateways(settings)]
    return [*gateways, (("store", "instances"), partial(_store, settings))]


def _gateways(settings: Settings) -> list[str]:
    if settings.gateway == "sandbox":
        # It replaces every other one.
        return ["sandbox"]
    given = [name for name, default in _defaults(settings).items() if default is not None]
    return sorted({settings.gateway, *given})


def _defaults(settings: Settings) -> dict[str, object]:
    """Gateway → what the settings bring for instances that bring nothing."""
    return {"evolution": settings.evolution_url, "whatsapp_cloud": settings.whatsapp_cloud_token}


def _gateway(name: str, settings: Settings) -> Iterator[Check]:
    label = f"gateway.{name}"
    if name in _WITHOUT_DEFAULT and _defaults(settings)[name] is None:
        found, fix = _WITHOUT_DEFAULT[name]
        yield unknown(label, found, why="an instance without them cannot send", fix=fix)
        return
    gateway = None
    try:
        gateway = make_gateway(name, settings)
        yield ok(label, gateway.check())
    except Throttled as error:
        yield unknown(label, str(error))
    except ChatError as error:
        why = "messages of its instances wait, or fail"
        yield fail(
            label,
            str(error),
            why=why,
            fix="see `chat-actors instances`, docs/gateways.md and docs/whatsapp-cloud.md",
            exit_code=code_of(error),
        )
    finally:
        if gateway is not None:
            gateway.close()


def _store(settings: Settings) -> Iterator[Check]:
    why = "no message can be sent or delivered"
    try:
        store = services.get().store
        store.route(_NOBODY)
        store.attempts(_NOBODY)
        store.close_stale_connections()
    except ChatError as error:
        fix = "start its database, and run `python manage.py migrate`"
        yield fail("store", str(error), why=why, fix=fix, exit_code=code_of(error))
    except Exception as error:
        # Its text may quote a row.
        fix = "run `python manage.py migrate` and `python manage.py check`"
        yield fail("store", f"it failed with {type(error).__name__}", why=why, fix=fix, exit_code=ExitCode.UNAVAILABLE)
    else:
        yield ok("store", f"{store.name}: rows and send attempts can be read")
        found = list(islice(all_instances(services.get()), MAX_INSTANCES))
        store.close_stale_connections()
        yield _instances(named_alike(found, settings), count=len(found))


def named_alike(instances: Iterable[Instance], settings: Settings) -> list[str]:
    """Names on the wire that several connected numbers have, each at a server or under an id of its own. Pure.

    Two rows of one number at one server are no such case: they are to share its pace.
    """
    numbers: dict[str, set[tuple[str | None, ...]]] = {}
    for one in instances:
        where = (one.base_url or settings.evolution_url or "").rstrip("/")
        numbers.setdefault(one.name, set()).add((one.backend or settings.gateway, where, one.phone_number_id))
    return sorted(name for name, kinds in numbers.items() if len(kinds) > 1)


def _instances(alike: list[str], *, count: int) -> Check:
    if not alike:
        return ok("instances", f"{count} active, no two numbers share a name")
    return warn(
        "instances",
        f"several numbers share a name: {', '.join(map(hide, alike[:3]))}{', …' if len(alike) > 3 else ''}",
        why="pace, gates and trouble are kept by name: where one of them is refused, all of them are parked",
        fix="give each instance a name of its own at its server: `evolution_instance_name`, or `instance_name`, of its row",
    )
