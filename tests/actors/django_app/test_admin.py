"""The admin's pages: send attempts, rights of their own, what a page costs, and what it says without Redis."""

import html

import pytest
from admin_world import ATTEMPTS, INSTANCES, LETTERS, Site, log, site
from chat.models import WhatsAppInstance
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

import actors
from actors import services, wiring
from actors.circuit import State
from actors.django_app import admin_attempts
from actors.django_app.models import SendAttempt
from actors.settings import Hidden

__all__ = ["site"]

pytestmark = [pytest.mark.django_db, pytest.mark.redis]


# -- send attempts ---------------------------------------------------------------------------------------------------------


def _attempt(message_id: str, **values: object) -> SendAttempt:
    now_ms = services.get().clock.now_ms()
    times = {"started_at_ms": now_ms, "deadline_at_ms": now_ms}
    defaults = {"part": 0, "state": "unknown", "number": 1, "instance_name": "line-1", **times}
    return SendAttempt.objects.create(message_id=message_id, **{**defaults, **values})


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, {"new", "other", "old"}),
        ({"state": "unknown"}, {"new", "old"}),
        ({"instance": "line-2"}, {"other"}),
        ({"age": "hour"}, {"new", "other"}),
        ({"age": "week"}, {"new", "other"}),
        ({"age": "older"}, {"old"}),
        ({"age": "nonsense"}, {"new", "other", "old"}),
        ({"q": "old"}, {"old"}),
        ({"q": "ol"}, set()),
    ],
)
def test_attempts_are_found_by_what_is_asked(site, query, expected):
    _attempt("old", started_at_ms=1_000)
    _attempt("other", instance_name="line-2", state="accepted")
    _attempt("new")

    page = site.get(ATTEMPTS, **query)

    assert {id_ for id_ in ("new", "other", "old") if f">{id_}<" in page} == expected


def test_the_list_reads_the_newest_alone_and_a_search_all(site, monkeypatch):
    monkeypatch.setattr(admin_attempts, "NEWEST", 2)
    for id_ in ("first", "second", "third"):
        _attempt(id_)

    page, found = site.get(ATTEMPTS), site.get(ATTEMPTS, q="first")

    assert [f">{id_}<" in page for id_ in ("first", "second", "third")] == [False, True, True]
    assert ">first<" in found


def test_an_attempt_can_be_seen_and_not_changed(site):
    attempt = _attempt("m-1", reason="it was not said")

    page = site.get(f"{ATTEMPTS}{attempt.pk}/change/")

    assert "it was not said" in page
    assert 'name="_save"' not in page
    assert site.client.post(f"{ATTEMPTS}{attempt.pk}/change/", {"state": "dead"}).status_code == 403
    assert site.client.get(f"{ATTEMPTS}add/").status_code == 403
    assert site.client.post(f"{ATTEMPTS}{attempt.pk}/delete/", {"post": "yes"}).status_code == 403


def _reconcile(site: Site, *attempts: SendAttempt):
    form = {"action": "reconcile", "_selected_action": [attempt.pk for attempt in attempts]}
    return site.client.post(ATTEMPTS, form, follow=True).content.decode()


def test_unknown_ones_are_enqueued_again_and_it_is_logged(site):
    ids = [site.say() for _ in range(3)]
    unknown, accepted, sending = (
        _attempt(id_, state=state) for id_, state in zip(ids, ("unknown", "accepted", "sending"), strict=True)
    )
    second_part = _attempt(ids[0], part=1)

    page = _reconcile(site, unknown, accepted, sending, second_part)

    assert "2 messages are looked for" in page
    assert actors.broker.transitions.stats(["send_message"])[0].ready == 2
    assert {entry.object_repr for entry in LogEntry.objects.all()} == {str(second_part), str(sending)}
    assert {text for _, text in log()} == {"Had it reconciled."}


def test_without_an_unknown_one_nothing_is_done(site):
    assert "nothing was done" in _reconcile(site, _attempt(site.say(), state="accepted"))


def test_one_click_is_bounded(site, monkeypatch):
    monkeypatch.setattr(admin_attempts, "MAX_RECONCILED", 2)
    attempts = [_attempt(site.say()) for _ in range(3)]

    page = _reconcile(site, *attempts)

    assert "There are more than 2" in page
    assert actors.broker.transitions.stats(["send_message"])[0].ready == 2


# -- rights ----------------------------------------------------------------------------------------------------------------


def test_who_may_not_see_sees_nothing(site):
    site.log_in()

    for path in (ATTEMPTS, LETTERS, INSTANCES, f"{LETTERS}x/change/"):
        assert site.client.get(path).status_code == 403
    site.client.logout()
    for path in (ATTEMPTS, LETTERS, INSTANCES, f"{LETTERS}redrive/confirm/", f"{INSTANCES}park/confirm/"):
        assert site.client.get(path).status_code == 302


def test_who_may_only_see_is_offered_nothing_and_changes_nothing(site):
    site.bury("expired")
    letters = site.letters()
    site.log_in("view_deadletter", "view_instancecircuit", "view_sendattempt")
    attempt = _attempt(site.say())

    for path in (LETTERS, INSTANCES, f"{LETTERS}{next(iter(letters))}/change/"):
        page = site.get(path)
        assert [word for word in ("Send again …", "Delete …", "Park …", "Release …") if word in page] == []
    for path, doing in ((LETTERS, "redrive"), (LETTERS, "discard"), (INSTANCES, "park"), (INSTANCES, "release")):
        form = {"queue": "send_message", "id": list(letters), "name": "line-1", "tenant": "t", "confirmed": "yes"}
        assert site.client.post(f"{path}{doing}/confirm/", form).status_code == 403
    _reconcile(site, attempt)

    assert site.letters() == letters
    assert log() == []
    assert actors.broker.transitions.stats(["send_message"])[0].ready == 0
    assert wiring.traffic().circuit("line-1").state is State.CLOSED


def test_each_right_is_its_own(site):
    site.bury("expired")
    site.log_in("view_deadletter", "redrive_deadletter", "view_instancecircuit", "park_instancecircuit")

    page = site.get(LETTERS)
    assert ("Send again …" in page, "Delete …" in page) == (True, False)
    page = site.get(INSTANCES)
    assert ("Park …" in page, "Release …" in page) == (True, False)
    assert site.client.post(f"{LETTERS}discard/confirm/", {"queue": "send_message"}).status_code == 403
    assert site.client.post(f"{INSTANCES}release/confirm/", {"name": "line-1"}).status_code == 403


def test_a_change_needs_its_token(site):
    client = Client(enforce_csrf_checks=True)
    client.force_login(User.objects.get(username="root"))

    for path in (f"{LETTERS}redrive/confirm/", f"{INSTANCES}park/confirm/"):
        assert client.post(path, {"confirmed": "yes"}).status_code == 403


# -- what it costs, and without Redis --------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [ATTEMPTS, LETTERS, INSTANCES])
def test_the_number_of_queries_does_not_grow_with_the_rows(site, path):
    def count() -> int:
        with CaptureQueriesContext(connection) as queries:
            site.get(path)
        return len(queries)

    site.bury("expired")
    _attempt("m-0")
    before = count()
    site.bury(*["expired"] * 10)
    for number in range(10):
        _attempt(f"m-{number + 1}")
        WhatsAppInstance.objects.create(instance_name=f"more-{number}", tenant_id="t")

    assert count() == before <= 7


@pytest.mark.parametrize("path", [LETTERS, INSTANCES])
def test_the_round_trips_do_not_grow_with_the_rows(site, path, queue_client):
    def count() -> int:
        before = queue_client.info("stats")["total_commands_processed"]
        site.get(path)
        return queue_client.info("stats")["total_commands_processed"] - before

    site.bury("expired")
    site.get(path)
    before = count()
    site.bury(*["expired"] * 20)
    for number in range(20):
        WhatsAppInstance.objects.create(instance_name=f"more-{number}", tenant_id="t")

    assert count() <= before + 2


def test_without_redis_the_pages_say_so_and_the_attempts_are_shown(site, serve):
    _attempt("m-1")
    actors.broker.close()
    serve(redis_url=Hidden("redis://127.0.0.1:1/0"))

    for path in (LETTERS, INSTANCES, f"{LETTERS}x/change/"):
        assert 'class="errornote"' in site.get(path)
    assert ">m-1<" in site.get(ATTEMPTS)
    assert "Stopped after 0" in html.unescape(_reconcile(site, _attempt(site.say())))
    for path, doing in ((LETTERS, "redrive"), (LETTERS, "discard"), (INSTANCES, "park")):
        page = site.client.post(
            f"{path}{doing}/confirm/",
            {"queue": "send_message", "id": ["x"], "name": "line-1", "tenant": "t", "confirmed": "yes"},
            follow=True,
        )
        assert page.status_code == 200
        assert 'class="error"' in page.content.decode()
    assert log() == []


def test_without_settings_the_pages_say_what_is_missing(site, serve):
    actors.broker.close()
    serve()

    assert "REDIS_URL is not set" in site.get(LETTERS)
    assert "REDIS_URL is not set" in site.get(INSTANCES)
