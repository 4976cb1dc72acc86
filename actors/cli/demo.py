"""``chat-actors demo``: the whole product on this machine, with everything that can go wrong, going wrong.

``make demo`` runs it. Processes, network, database and faults are real; only the phones are missing. It ends with code 0 when
every promise was kept, with 1 when one was broken (it says which, with ids) or when the demo itself could not be carried out.
"""

import json
import shlex
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

import typer
from rich.table import Table

from actors.cli import demo_report as report
from actors.cli.demo_checks import Broken, broken_promises, not_staged
from actors.cli.demo_facts import Facts
from actors.cli.demo_faults import rules, strikes
from actors.cli.demo_plan import Plan
from actors.cli.demo_processes import DemoFailed, Interrupted, interruptible
from actors.cli.demo_run import gather, mend, run
from actors.cli.demo_screen import Screen
from actors.cli.demo_story import make_plan
from actors.cli.demo_world import PROFILE, World
from middleware.errors import ExitCode

#: Enough for something to be in hand when the worker is killed.
MIN_MESSAGES = 40


def demo(
    messages: Annotated[int, typer.Option(min=MIN_MESSAGES, help="Chat messages to save.")] = 220,
    seed: Annotated[int, typer.Option(help="The same seed gives the same messages and the same faults.")] = 7,
    fault: Annotated[
        list[str] | None,
        typer.Option(
            metavar="JSON", help="One more fault rule of the sandbox; it may break a promise, and the demo says which."
        ),
    ] = None,
    within_s: Annotated[float, typer.Option(help="Longest wait for everything to end, in seconds.")] = 180.0,
    *,
    hold: Annotated[
        bool,
        typer.Option("--hold", envvar="DEMO_HOLD", help="Keep everything up in the end, and print a link to its chat."),
    ] = False,
) -> ExitCode:
    """Run the whole product here: Redis, gateway, Django and workers of its own, and everything that can go wrong."""
    screen = Screen()
    try:
        more = [_rule(text) for text in fault or ()]
        with interruptible():
            kept = _demonstrate(screen, make_plan(seed=seed, messages=messages), seed, more, within_s, hold=hold)
    except (KeyboardInterrupt, Interrupted):
        screen.say("interrupted; nothing is left running")
        return ExitCode.INTERRUPTED
    return ExitCode.OK if kept else ExitCode.FAILED


def _rule(text: str) -> dict[str, Any]:
    try:
        rule = json.loads(text)
    except ValueError as error:
        raise DemoFailed(f"--fault is not JSON: {error}") from error
    if not isinstance(rule, dict):
        raise DemoFailed("--fault is a JSON object with match, trigger and action")
    return rule


def _demonstrate(
    screen: Screen, plan: Plan, seed: int, faults: Sequence[dict[str, Any]], within_s: float, *, hold: bool
) -> bool:
    """Whether every promise was kept."""
    screen.title("What is asked")
    screen.table(report.profile(PROFILE))
    screen.say(_summary(plan, seed))
    with World(plan, seed=seed, faults=rules(plan.lines, faults)) as world:
        screen.say(_whereabouts(world))
        screen.title("What happens")
        with screen:
            missed = run(world, screen, within_s=within_s)
        facts = gather(world)
        taken_over = sum(stats.counters.get("reclaimed", 0) for stats in facts.queues.values())
        screen.say(f"of what the killed worker had in hand, taken over by others: {taken_over}")
        screen.title("What came of it")
        struck = strikes(world.sandbox.faults())
        samples = json.loads(world.command("memory", "--json"))["samples"]
        for table in _tables(world, facts, struck, samples):
            screen.table(table)
        broken = [*broken_promises(plan, facts), *not_staged(missed, struck, samples=len(samples))]
        if not broken:
            screen.title("A dead letter, mended and redriven")
            broken = _redrive(world, screen, facts)
        screen.title("The promises")
        screen.text(report.verdict(broken))
        if broken and not hold:
            screen.say(f"to look at it: DEMO_HOLD=1 chat-actors demo --seed {seed} --messages {len(plan.messages)}")
        if hold:
            _hold(world, screen)
    return not broken


def _summary(plan: Plan, seed: int) -> str:
    talking = len(list(plan.by_thread()))
    return (
        f"seed {seed}: {len(plan.messages)} chat messages in {talking} conversations of {len(plan.lines)} instances, "
        f"{len(plan.pictures)} pictures, {len(plan.groups)} groups"
    )


def _whereabouts(world: World) -> str:
    return (
        f"up: Redis (port {world.redis.port}, queues in database 2), sandbox gateway {world.sandbox.url}, "
        f"Django {world.host.url}, worker with 2 processes and the scheduler"
    )


def _tables(
    world: World, facts: Facts, struck: Mapping[str, int], samples: Sequence[Mapping[str, Any]]
) -> Iterator[Table]:
    yield report.operations(world.plan, facts)
    yield report.gateway(world.plan, facts, world.sandbox.counters())
    yield report.latencies(world.plan, facts)
    yield report.faults(struck)
    yield report.memory(samples)


def _redrive(world: World, screen: Screen, facts: Facts) -> list[Broken]:
    mend(world, screen, facts)
    return broken_promises(world.plan, gather(world), mended=True)


def _hold(world: World, screen: Screen) -> None:
    """Keep everything up until a Ctrl-C, which then is no failure."""
    world.chat.enliven(world.sandbox, world.host.url)
    script = world.write_environment()
    screen.title("Have a look; Ctrl-C ends it")
    screen.say(f"the chat:    {world.chat.entry(world.host.url)}")
    screen.say(f"the admin:   {world.host.url}/admin/chat_actors/ (open the chat first, it logs you in)")
    screen.say(f"environment: . {shlex.quote(str(script))}")
    for line in world.chat.tries():
        screen.say(f"then try:    {line}")
    for line in ("chat-actors stats", "chat-actors dlq list", "chat-actors doctor", "chat-actors memory"):
        screen.say(f"then:        {line}")
    screen.say(f'gateway:     curl -H "X-Sandbox-Admin: $SANDBOX_TOKEN" {world.sandbox.url}/__sandbox__/deliveries')
    screen.say(f"logs:        {world.directory}")
    try:
        threading.Event().wait()
    except (KeyboardInterrupt, Interrupted):
        screen.say("ending")
