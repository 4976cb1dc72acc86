"""The demo's tables: what was asked, what came of it, what went wrong on the way, how long it took.

``demo`` prints them. Every number is counted from the facts; nothing is known beforehand.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from actors.cli.demo_checks import PROMISES, Broken, duplicates, order_violations
from actors.cli.demo_facts import Facts
from actors.cli.demo_faults import FAULTS
from actors.cli.demo_plan import Plan
from actors.settings import Settings

_PERCENTILES = (50, 90, 99)
#: Broken promises that are named; the number of the others is told.
_MAX_NAMED = 20
_MIB = 1024 * 1024


def _table(title: str, *columns: str, numbers: Sequence[int] = ()) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, collapse_padding=True)
    for index, column in enumerate(columns):
        # Only the last column may be broken: what stands there is for reading, not for looking up.
        is_last = index == len(columns) - 1
        table.add_column(column, justify="right" if index in numbers else "left", no_wrap=not is_last, overflow="fold")
    return table


def profile(chosen: Mapping[str, Any]) -> Table:
    """Settings of the demo beside those of production."""
    defaults = {f"CHAT_{field.name.upper()}": field.default for field in fields(Settings)}
    table = _table("Demo profile", "setting", "here", "default", numbers=(1, 2))
    for name, value in chosen.items():
        table.add_row(name, str(value), str(defaults[name]))
    return table


def operations(plan: Plan, facts: Facts) -> Table:
    """What was asked of each operation, and what came of it."""
    columns = ("operation", "asked", "done", "failed", "retried", "put back", "dead letters")
    table = _table("Operations", *columns, numbers=range(1, 6))
    statuses = Counter(row.status for row in facts.rows.values())
    asked = {"send_message": len(plan.messages), "fetch_profile_pic": len(plan.pictures)}
    asked["fetch_group_info"] = len(plan.groups)
    for name, count in asked.items():
        counters = facts.queues[name].counters
        reasons = Counter(letter.reason for letter in facts.letters if letter.queue == name)
        is_send = name == "send_message"
        done = statuses["sent"] if is_send else counters.get("done", 0)
        failed = statuses["failed"] if is_send else reasons.total()
        more = [counters.get(what, 0) for what in ("retried", "snoozed")]
        told = "\n".join(f"{number} {reason}" for reason, number in reasons.most_common()) or "none"
        table.add_row(name, *map(str, (count, done, failed, *more)), told)
    return table


def gateway(plan: Plan, facts: Facts, counted: Mapping[str, Any]) -> Table:
    """What the gateway's own log says."""
    table = _table("The gateway's log", "what", "number", numbers=(1,))
    table.add_row("messages accepted", str(len(facts.deliveries)))
    table.add_row("duplicates", str(len(duplicates(plan, facts))))
    table.add_row("order violations", str(len(order_violations(plan, facts))))
    table.add_row("sends refused or cut before they went out", str(counted["rejected"]))
    table.add_row("most sends of one conversation at a time", str(counted["max_concurrency_per_chat"]))
    table.add_row("most sends of one instance at a time", str(counted["max_concurrency_per_instance"]))
    return table


def faults(struck: Mapping[str, int]) -> Table:
    """What the sandbox did wrong on purpose, and how often."""
    chances = {fault.what: f"{fault.chance:.2%}" for fault in FAULTS if fault.chance}
    table = _table("Faults of the gateway", "fault", "of requests", "times", numbers=(1, 2))
    for what, times in struck.items():
        table.add_row(what, chances.get(what, ""), str(times))
    return table


def latencies(plan: Plan, facts: Facts) -> Table:
    """Time from the row's commit until the gateway had its last part, of what was sent."""
    names = [f"p{percent}" for percent in _PERCENTILES]
    table = _table("Committed → accepted, in s", "instance", "messages", *names, "most", numbers=range(1, 6))
    last_at_ms: dict[str, int] = {}
    for one in facts.deliveries:
        last_at_ms[one.message_id] = max(one.at_ms, last_at_ms.get(one.message_id, 0))
    waits: dict[str, list[float]] = {}
    for message in plan.messages:
        row = facts.rows.get(message.id)
        if row is not None and message.id in last_at_ms:
            wait_s = (last_at_ms[message.id] - row.saved_at_ms) / 1000
            waits.setdefault(message.thread.line.name, []).append(wait_s)
    everything = [wait_s for own in waits.values() for wait_s in own]
    for name, own in (*waits.items(), ("all", everything)):
        note = " (down for a while)" if name == plan.disconnected else ""
        shown = [f"{percentile(own, percent):.2f}" for percent in (*_PERCENTILES, 100)] if own else []
        table.add_row(name + note, str(len(own)), *shown)
    return table


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest of ``values`` that is at least as large as ``percent`` of them.

    Raises:
        ValueError: there are none.
    """
    if not values:
        raise ValueError("of no values there is no percentile")
    return sorted(values)[max(0, math.ceil(len(values) * percent / 100) - 1)]


def memory(samples: Iterable[Mapping[str, Any]]) -> Table:
    """Samples of Redis' memory."""
    columns = ("at (UTC)", "MiB used", "peak", "policy", "keys in DB 2", "KiB in DB 2")
    table = _table("Redis' memory", *columns, numbers=(1, 2, 4, 5))
    for sample in samples:
        queues = sample["databases"].get("2", {})
        sizes = [f"{(sample[name] or 0) / _MIB:.2f}" for name in ("used_memory_bytes", "peak_bytes")]
        own = [str(queues.get("keys", 0)), f"{(queues.get('estimated_bytes') or 0) / 1024:.0f}"]
        table.add_row(sample["at"][11:19], *sizes, sample["policy"] or "", *own)
    return table


def verdict(broken: Sequence[Broken]) -> Text:
    """Every promise with whether it was kept, and what broke it."""
    text = Text()
    for promise in PROMISES:
        own = [one.what for one in broken if one.promise == promise]
        text.append("kept    " if not own else "BROKEN  ", style="green" if not own else "bold red")
        text.append(f"{promise}\n")
        for what in own[:_MAX_NAMED]:
            text.append(f"          {what}\n", style="red")
        if len(own) > _MAX_NAMED:
            text.append(f"          and {len(own) - _MAX_NAMED} more\n", style="red")
    return text
