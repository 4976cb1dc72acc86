"""Let the demo happen: save what the plan says, let things go wrong, wait until everything has ended.

``demo`` calls :func:`run`, and :func:`mend` when it is over.
"""

import json
import threading

from actors.cli.demo_facts import Facts, Letter, moving, unfinished
from actors.cli.demo_faults import ACTS, Act
from actors.cli.demo_plan import REFUSED_KEY, Line, Plan, certain
from actors.cli.demo_processes import DemoFailed
from actors.cli.demo_screen import Screen
from actors.cli.demo_traffic import Traffic
from actors.cli.demo_watch import Look, Queues
from actors.cli.demo_world import World
from middleware.clock import SystemClock

#: Pause between two looks, in seconds.
LOOK_EVERY_S = 0.25
#: More letters than any demo makes.
_ALL_LETTERS = 10_000
#: Longest wait for a redriven message, in seconds.
REDRIVEN_WITHIN_S = 30.0


def run(world: World, screen: Screen, *, within_s: float) -> list[str]:
    """Carry the plan out; returns when everything has ended, or after ``within_s``: the checks then say what has not.

    Returns:
        what should have gone wrong and did not happen.

    Raises:
        DemoFailed: a process ended that must not, or Django could not save.
    """
    traffic = Traffic(world.plan, world.host)
    clock, never = SystemClock(), threading.Event()
    end_ms = clock.boot_ms() + int(within_s * 1000)
    waiting = list(ACTS)
    traffic.start()
    try:
        with Queues(world.redis) as queues:
            while clock.boot_ms() < end_ms:
                look = _look(world, traffic, queues)
                screen.show(look)
                waiting = [act for act in waiting if not _happens(act, look, world, screen)]
                world.must_run()
                if _is_saved(traffic, world) and _is_over(look, world.plan):
                    break
                clock.wait(LOOK_EVERY_S, until=never)
    finally:
        traffic.stop()
    return [act.what for act in waiting]


def _is_saved(traffic: Traffic, world: World) -> bool:
    try:
        return traffic.is_over
    except DemoFailed as error:
        raise DemoFailed(f"{error}; its log ends:\n{world.web.tail()}") from error


def _look(world: World, traffic: Traffic, queues: Queues) -> Look:
    # The queues are read first: a message that leaves them in between has its row changed by then.
    stats = queues.stats()
    waiting = queues.waiting(but={line.name for line in world.plan.lines if line.is_revoked})
    counted = world.host.get("/messages/status/")
    return Look(
        total=len(world.plan.messages),
        saved=traffic.saved,
        sent=counted.get("sent", 0),
        failed=counted.get("failed", 0),
        retried=sum(one.counters.get("retried", 0) for one in stats),
        put_back=sum(one.counters.get("snoozed", 0) for one in stats),
        open_=sum(unfinished(one) for one in stats),
        moving=waiting + sum(moving(one) for one in stats),
    )


def _is_over(look: Look, plan: Plan) -> bool:
    """Everything has ended but what waits for the instance whose key is refused."""
    return look.moving == 0 and look.ended >= certain(plan, "sent") + certain(plan, "failed")


def _happens(act: Act, look: Look, world: World, screen: Screen) -> bool:
    refused = certain(world.plan, "failed")
    if look.ended < act.share * look.total or (act.after_refusals and look.failed < refused):
        return False
    told = act.do(world, look)
    if told is not None:
        screen.say(told)
    return told is not None


def gather(world: World) -> Facts:
    """Everything that is known now: the host's rows, the gateway's log, the dead letters, the queues."""
    letters = json.loads(world.command("dlq", "list", "--limit", str(_ALL_LETTERS), "--json"))
    dump = json.loads(world.manage("dumpdata", "chat.message", "chat.conversation"))
    with Queues(world.redis) as queues:
        return Facts.of(dump=dump, deliveries=world.sandbox.deliveries(), letters=letters, queues=queues.stats())


# -- dead letters, from their cause to their delivery --------------------------------------------------------------


def mend(world: World, screen: Screen, facts: Facts) -> None:
    """Show a dead letter of the refused key, put the key right in the host's row, redrive it: the others follow.

    Raises:
        DemoFailed: a command failed. That everything is sent in the end is for the checks to say.
    """
    line = next(line for line in world.plan.lines if line.is_revoked)
    letter, *others = _letters_of_the_key(facts)
    screen.command(f"chat-actors dlq show {letter.id}", world.command("dlq", "show", letter.id))
    told = world.manage("shell", "--verbosity", "0", "--command", _update(line, line.token))
    screen.command(f"python manage.py shell --command '{_update(line, '…')}'", told)
    _redrive(world, screen, letter.id)
    if letter.queue == "send_message":
        number = _number_in_log(world, letter.subject)
        told = f"number {number} in the gateway's log" if number else "not delivered"
        screen.say(f"message {letter.subject}: {told}")
    if others:
        _redrive(world, screen, "--instance", line.name)


def _letters_of_the_key(facts: Facts) -> list[Letter]:
    """Dead letters whose cause can be mended, messages first.

    Raises:
        DemoFailed: there is none.
    """
    found = [letter for letter in facts.letters if letter.reason == REFUSED_KEY]
    if not found:
        raise DemoFailed("nothing of the instance with the revoked key is a dead letter, so none can be redriven")
    return sorted(found, key=lambda letter: (letter.queue != "send_message", letter.subject))


def _update(line: Line, key: str) -> str:
    rows = f'WhatsAppInstance.objects.filter(instance_name="{line.name}")'
    return f'from chat.models import WhatsAppInstance; print({rows}.update(api_key="{key}"), "row updated")'


def _redrive(world: World, screen: Screen, *which: str) -> None:
    arguments = ("dlq", "redrive", *which, "--yes")
    screen.command(f"chat-actors {' '.join(arguments)}", world.command(*arguments))
    clock, never = SystemClock(), threading.Event()
    end_ms = clock.boot_ms() + int(REDRIVEN_WITHIN_S * 1000)
    with Queues(world.redis) as queues:
        while clock.boot_ms() < end_ms and any(unfinished(one) for one in queues.stats()):
            clock.wait(LOOK_EVERY_S, until=never)


def _number_in_log(world: World, message_id: str) -> int | None:
    logged = (one["seq"] for one in world.sandbox.deliveries() if (one["client_ref"] or "").startswith(message_id))
    return next(logged, None)
