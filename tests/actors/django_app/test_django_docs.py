"""What docs/django.md lists is what there is."""

from dataclasses import fields
from itertools import chain

from django.apps import apps
from docs_pages import Page, only, quoted

from actors.django_app import admin_attempts, admin_instances, admin_letters, letter_list, signals, sockets, views

PAGE = Page("docs/django.md")
MIB = 1024 * 1024


def test_every_signal_is_listed_with_what_it_carries():
    documented = {only(row["signal"]): quoted(row["with"]) for row in PAGE.rows("signal", "when", "with")}
    there = {
        next(name for name, value in vars(signals).items() if value is signal): [field.name for field in fields(event)]
        for event, signal in signals._SIGNALS.items()
    }

    assert documented == there


def test_every_right_is_listed():
    models = apps.get_app_config("chat_actors").get_models()
    options = [model._meta for model in models if model.__name__ != "SendOptions"]
    of_ours = set(chain.from_iterable([name for name, _ in one.permissions] for one in options))
    to_see = {f"view_{one.model_name}" for one in options}

    assert {only(row["right"]) for row in PAGE.rows("change", "right")} == of_ours
    assert {only(row["right to see"]) for row in PAGE.rows("page", "shows", "right to see")} == to_see


def test_the_numbers_are_those_of_the_code():
    said = " ".join(PAGE.text.split())

    for number in (
        f"dead letters {letter_list.LOOKED_AT:,} of one queue",
        f"the newest {admin_attempts.NEWEST:,} (",
        f"of instances {admin_instances.PAGE}.",
        f"at most {admin_letters.MAX_CHANGED} letters, and begins none after {admin_letters.PATIENCE_MS // 1000} s",
        f"One event may take {sockets.TIMEOUT_S:.0f} s.",
        f"nobody is told for {sockets.PAUSE_MS // 1000} s",
        f"a body above {views.MAX_BODY_BYTES // MIB} MiB",
    ):
        assert number in said
