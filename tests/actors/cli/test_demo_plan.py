"""The demo's plan: all that was promised is in it, the same again for the same seed, and faults for every tenth request."""

from collections import Counter

import pytest

from actors.cli.demo_faults import FAULTS, rules, strikes
from actors.cli.demo_plan import Plan, ending
from actors.cli.demo_story import make_plan
from actors.cli.demo_texts import LONG_CHARS
from actors.gateways.sandbox.rules import parse


@pytest.fixture(scope="module")
def plan() -> Plan:
    return make_plan(seed=7, messages=220)


def test_the_plan_has_everything_that_the_demo_promises(plan: Plan):
    kinds = Counter(message.kind for message in plan.messages)
    reasons = Counter(ending(message).reason for message in plan.messages)

    assert len(plan.messages) == 220
    assert len(list(plan.by_thread())) == 20
    assert (len(plan.lines), len(plan.pictures), len(plan.groups)) == (3, 30, 10)
    assert set(kinds) == {"text", "repeated", "long", "reply", "picture", "document", "voice", "mention", "everyone"}
    assert set(reasons) == {None, "unauthorized", "not_on_whatsapp"}
    assert max(len(part.text) for message in plan.messages for part in message.parts) == LONG_CHARS
    assert any(len(message.parts) > 1 for message in plan.messages)


@pytest.mark.parametrize("messages", [40, 97, 220, 1_000])
def test_a_plan_has_as_many_messages_as_were_asked_for_whatever_the_seed(messages: int):
    for seed in range(5):
        plan = make_plan(seed=seed, messages=messages)

        assert len({message.id for message in plan.messages}) == messages


def test_the_same_seed_gives_the_same_plan_and_another_seed_another_one():
    first, second, other = (make_plan(seed=seed, messages=60) for seed in (3, 3, 4))

    assert first == second
    assert {message.id for message in first.messages}.isdisjoint(message.id for message in other.messages)


def test_the_faults_add_up_to_every_tenth_request_and_the_sandbox_takes_them(plan: Plan):
    made = rules(plan.lines)

    assert sum(fault.chance for fault in FAULTS) == pytest.approx(0.1)
    assert len({parse(rule, default_id="").id for rule in made}) == len(made)


def test_strikes_are_counted_per_fault_over_all_its_rules(plan: Plan):
    listed = [{**rule, "hits": 2} for rule in rules(plan.lines)]
    counted = strikes([*listed, {"action": {"type": "disconnect", "instance": "suporte"}, "hits": 1}])

    assert counted["502 after it went out"] == 2 * sum(not line.is_revoked for line in plan.lines)
    assert counted["disconnect (instance suporte)"] == 1
