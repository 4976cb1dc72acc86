"""Defaults as the documentation tells them, and who may override what."""

import pytest
from docs_pages import Page, only

from actors.domain import Instance
from actors.gateways.base import make_gateway
from actors.pace import DEFAULTS, FreeTurn, Kind, Pace, faults, paces_of
from actors.settings import Settings

INSTANCE = Instance(name="i1", aliases=("line one",))
FIELDS = (
    "interval_ms",
    "burst",
    "jitter",
    "concurrency",
    "pair_interval_ms",
    "group_interval_ms",
    "pair_burst",
    "per_day",
)


def test_the_defaults_are_those_of_the_documentation():
    rows = Page("docs/configuration.md").rows("gateway", "kind", *FIELDS)
    told = {(only(row["gateway"]), only(row["kind"])): tuple(row[field] for field in FIELDS) for row in rows}

    def shown(pace: Pace) -> tuple[str, ...]:
        values = [getattr(pace, field) for field in FIELDS]
        return tuple(
            "" if value == getattr(Pace(), field) else f"{value:g}" for field, value in zip(FIELDS, values, strict=True)
        )

    there = {(gateway, kind.value): shown(pace) for gateway, paces in DEFAULTS.items() for kind, pace in paces.items()}
    assert told == there


def test_the_fields_are_those_of_the_documentation():
    rows = Page("docs/configuration.md").rows("limit", "default", "what")

    assert {only(row["limit"]): row["default"] for row in rows} == {
        field: "any" if getattr(Pace(), field) is None else f"{getattr(Pace(), field):g}" for field in FIELDS
    }


def test_every_gateway_with_defaults_is_one():
    assert set(DEFAULTS) == {"evolution", "whatsapp_cloud", "sandbox"}
    assert make_gateway("evolution", Settings()).name in DEFAULTS


def test_a_kind_or_a_gateway_without_defaults_is_free():
    assert set(paces_of(INSTANCE, gateway="somebody_s_own", overrides={}).values()) == {Pace()}
    assert paces_of(INSTANCE, gateway="evolution", overrides={})[Kind.LOOK] == Pace()


@pytest.mark.parametrize(
    ("overrides", "row", "burst"),
    [
        ({}, {}, 5),
        ({"evolution": {"send": {"burst": 6}}}, {}, 6),
        ({"evolution": {"send": {"burst": 6}}, "i1": {"send": {"burst": 7}}}, {}, 7),
        ({"i1": {"send": {"burst": 7}}, "evolution": {"send": {"burst": 6}}}, {}, 7),
        ({"line one": {"send": {"burst": 7}}}, {}, 7),
        ({"i1": {"send": {"burst": 7}}}, {"send": {"burst": 8}}, 8),
        ({"whatsapp_cloud": {"send": {"burst": 6}}, "i2": {"send": {"burst": 7}}}, {}, 5),
        # A row must not stop a send.
        ({}, {"send": {"burst": "many"}}, 5),
        ({}, {"send": 3}, 5),
    ],
)
def test_the_nearer_override_wins_number_by_number(overrides, row, burst):
    instance = Instance(name="i1", aliases=("line one",), pace=row)
    pace = paces_of(instance, gateway="evolution", overrides=overrides)[Kind.SEND]

    assert (pace.burst, pace.interval_ms, pace.concurrency) == (burst, 2_000, 1)


@pytest.mark.parametrize(
    ("table", "fault"),
    [
        ({}, None),
        ({"send": {"interval_ms": 0.5, "concurrency": None}, "look": {"per_day": 0}}, None),
        ([], "x must be a table of send, bulk, picture, group_info, look"),
        ({"sends": {}}, "x has 'sends', known are"),
        ({"send": 3}, "x.send must be a table of interval_ms"),
        ({"send": {"rate": 3}}, "x.send.rate is not known"),
        ({"send": {"interval_ms": -1}}, "x.send.interval_ms must be a number of at least 0"),
        ({"send": {"interval_ms": "1"}}, "x.send.interval_ms must be a number"),
        ({"send": {"interval_ms": float("nan")}}, "x.send.interval_ms must be a number"),
        ({"send": {"burst": 0}}, "x.send.burst must be a whole number of at least 1"),
        ({"send": {"burst": True}}, "x.send.burst must be a whole number"),
        ({"send": {"burst": 1.5}}, "x.send.burst must be a whole number"),
        ({"send": {"jitter": 1.5}}, "x.send.jitter must be between 0 and 1"),
        ({"bulk": {"per_day": -1}}, "x.bulk.per_day must be a whole number of at least 0"),
        ({"bulk": {"interval_ms": float("inf")}}, "x.bulk.interval_ms must be a number"),
    ],
)
def test_faults_are_told_in_words(table, fault):
    found = faults("x", table)

    assert (len(found), fault is None or found[0].startswith(fault)) == (fault is not None, True)


def test_without_a_carrier_every_turn_is_free():
    turn = FreeTurn()
    with turn(), turn(Kind.LOOK):
        turn.abandon()
