"""The admin's pages: bounded reads, rights of their own, a question before each change, a line in the log after it."""

import html
import re

import pytest
from chat.models import Conversation, Message, WhatsAppInstance
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

import actors
from actors import services, wiring
from actors.circuit import Cause, Failure, State, failed
from actors.django_app import admin_attempts, admin_letters, letter_list
from actors.django_app.models import SendAttempt
from actors.domain import Instance
from actors.settings import Hidden
from middleware.letters import DeadLetters
from middleware.outcomes import Dead

pytestmark = [pytest.mark.django_db, pytest.mark.redis]

ATTEMPTS = "/admin/chat_actors/sendattempt/"
LETTERS = "/admin/chat_actors/deadletter/"
INSTANCES = "/admin/chat_actors/instancecircuit/"
SECRET = "the words"
NOW_MS = 1_760_000_000_000


class Site:
    """A product with its queues and somebody who is logged in."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.instance = WhatsAppInstance.objects.create(instance_name="line-1", tenant_id="t")

    def log_in(self, *rights: str) -> None:
        """As somebody who has these rights and no other."""
        user = User.objects.create_user(f"user-{User.objects.count()}", is_staff=True)
        user.user_permissions.set(Permission.objects.filter(codename__in=rights))
        assert user.user_permissions.count() == len(rights)
        self.client.force_login(user)

    def say(self, *, instance: str = "line-1", status: str = "pending") -> str:
        thread = Conversation.objects.create(contact_phone="+5511988887777", tenant_id="t", instance_name=instance)
        return str(Message.objects.create(conversation=thread, content=SECRET, status=status).pk)

    def bury(self, *reasons: str, instance: str = "line-1") -> list[str]:
        """Messages that died of these, the oldest first; ids of their rows."""
        ids = []
        for reason in reasons:
            ids.append(self.say(instance=instance, status="failed"))
            actors.send_message.send(ids[-1])
            moves = actors.broker.transitions
            (taken,) = moves.fetch("send_message", limit=1, lease_ms=60_000, owner="w1").messages
            evidence = {"error": f"given up because of {reason}", "class": "Permanent", "attempts": 2}
            failures = [{"attempt": 1, "at_ms": NOW_MS, "code": reason, "error": "the way there"}]
            dead = Dead(reason, {**evidence, "failures": failures}, fingerprint=f"print-{reason}")
            moves.finish(taken.lease, dead, body=taken.body)
        return ids

    def letters(self) -> dict[str, str]:
        """Id of each dead letter → its reason."""
        return {letter.id: letter.reason for letter in DeadLetters(actors.broker).newest()}

    def get(self, path: str, **query: object) -> str:
        answer = self.client.get(path, query)
        assert answer.status_code == 200, answer
        return html.unescape(answer.content.decode())

    def confirm(self, path: str, doing: str, **form: object):
        """Ask, then agree; the two pages' texts."""
        asked = self.client.post(f"{path}{doing}/confirm/", form)
        assert asked.status_code == 200, asked
        done = self.client.post(f"{path}{doing}/confirm/", {**form, "confirmed": "yes"}, follow=True)
        return html.unescape(asked.content.decode()), html.unescape(done.content.decode())


@pytest.fixture
def site(serve, redis_server, queue_client, client):
    serve(redis_url=Hidden(redis_server.url(0)))
    made = Site(client)
    User.objects.create_superuser("root")
    client.force_login(User.objects.get(username="root"))
    return made


def _rows(page: str) -> list[str]:
    table = re.search(r'<table id="result_list">.*?<tbody>(.*?)</tbody>', page, re.DOTALL)
    return re.findall(r"<tr.*?</tr>", table[1], re.DOTALL) if table else []


def _log() -> list[tuple[str, str]]:
    return [(entry.object_id, entry.get_change_message()) for entry in LogEntry.objects.order_by("pk")]


# -- dead letters ----------------------------------------------------------------------------------------------------------


def test_letters_are_listed_newest_first_with_their_reason_and_no_content(site):
    site.bury("not_on_whatsapp", "expired")

    page = site.get(LETTERS)

    rows = _rows(page)
    assert ["expired" in rows[0], "not_on_whatsapp" in rows[1]] == [True, True]
    assert "send_message (2)" in page
    assert "given up because of expired" in page
    assert SECRET not in page
    assert "5511988887777" not in page


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"reason": "expired"}, 2),
        ({"reason": "nothing"}, 0),
        ({"instance": "line-2"}, 1),
        ({"instance": "line-1", "reason": "expired"}, 1),
        ({"actor": "send_message"}, 3),
        ({"actor": "fetch_profile_pic"}, 0),
        ({"fingerprint": "print-bad_row"}, 1),
        ({"queue": "fetch_profile_pic"}, 0),
        ({"queue": "no such queue"}, 3),
        ({"after": "not a cursor \0 Ω"}, 3),
        ({"after": "Ly8vLy8="}, 3),
    ],
)
def test_letters_are_found_by_what_is_asked(site, query, expected):
    site.bury("bad_row", "expired")
    site.bury("expired", instance="line-2")

    assert len(_rows(site.get(LETTERS, **query))) == expected


@pytest.mark.parametrize("query", [{}, {"reason": "expired"}, {"actor": "send_message"}])
def test_letters_are_read_page_by_page_each_once(site, query, monkeypatch):
    monkeypatch.setattr("middleware.letter_search.PAGE", 3)
    monkeypatch.setattr(letter_list, "ENOUGH", 3)
    site.bury(*["expired"] * 8)
    seen, page = [], site.get(LETTERS, **query)

    for _ in range(10):
        seen += re.findall(r'name="id" value="([^"]+)"', page)
        more = re.search(r'<a href="\?([^"]+)">Older', page)
        if more is None:
            break
        page = site.get(f"{LETTERS}?{more[1]}")

    assert len(seen) == 8
    assert set(seen) == set(site.letters())


def test_a_search_looks_at_a_bounded_number_and_says_so(site, monkeypatch):
    monkeypatch.setattr("middleware.letter_search.PAGE", 2)
    monkeypatch.setattr(letter_list, "LOOKED_AT", 4)
    site.bury(*["expired"] * 6)

    page = site.get(LETTERS, actor="fetch_group_info")

    assert "among the 4 that were looked at" in page
    assert "Older dead letters" in page


def test_a_letter_is_shown_with_its_history(site):
    (message_id,) = site.bury("not_on_whatsapp")
    (letter_id,) = site.letters()

    page = site.get(f"{LETTERS}{letter_id}/change/")

    for shown in ("given up because of not_on_whatsapp", "the way there", message_id, "line-1", "2025-10-09"):
        assert shown in page
    assert SECRET not in page


def test_a_letter_that_is_gone_is_not_found(site):
    assert site.client.get(f"{LETTERS}no-such/change/").status_code == 404


def test_letters_are_sent_again_after_a_question_and_it_is_logged(site):
    ids = site.bury("not_on_whatsapp", "expired")
    letters = site.letters()

    asked, done = site.confirm(LETTERS, "redrive", queue="send_message", id=list(letters))

    assert "Send again 2 dead letters?" in asked
    assert "2 sent again." in done
    assert site.letters() == {}
    assert {Message.objects.get(pk=id_).status for id_ in ids} == {"pending"}
    assert _log() == [
        (id_, f"Sent again: {reason}.") for id_, reason in sorted(letters.items(), key=lambda one: one[1], reverse=True)
    ]


def test_nothing_happens_before_the_answer(site):
    site.bury("expired")
    letters = site.letters()

    for doing in ("redrive", "discard"):
        site.client.post(f"{LETTERS}{doing}/confirm/", {"queue": "send_message", "id": list(letters)})
        assert site.client.get(f"{LETTERS}{doing}/confirm/").status_code == 302

    assert site.letters() == letters
    assert _log() == []


def test_what_may_have_been_delivered_is_warned_of(site):
    site.bury("delivery_unknown", "expired")

    asked, _ = site.confirm(LETTERS, "redrive", queue="send_message", id=list(site.letters()))

    assert "1 may have been delivered: look at the phone first" in asked


def test_letters_are_deleted_after_a_question_and_their_rows_stay_failed(site):
    ids = site.bury("not_on_whatsapp")
    (letter_id,) = site.letters()

    asked, done = site.confirm(LETTERS, "discard", queue="send_message", id=[letter_id])

    assert "Delete 1 dead letter?" in asked
    assert "1 deleted." in done
    assert site.letters() == {}
    assert Message.objects.get(pk=ids[0]).status == "failed"
    assert _log() == [(letter_id, "Deleted: not_on_whatsapp.")]


def test_letters_that_are_gone_are_said(site):
    page = site.client.post(
        f"{LETTERS}redrive/confirm/", {"queue": "send_message", "id": ["gone"], "confirmed": "yes"}, follow=True
    )

    assert "may be gone" in page.content.decode()


def test_those_that_take_too_long_are_left_and_said(site, monkeypatch):
    monkeypatch.setattr(admin_letters, "PATIENCE_MS", 0)
    site.bury("expired")

    _, done = site.confirm(LETTERS, "redrive", queue="send_message", id=list(site.letters()))

    assert "1 not begun, because the others took too long" in done
    assert len(site.letters()) == 1


# -- instances -------------------------------------------------------------------------------------------------------------


def _break_down(name: str = "line-1") -> None:
    failure = Failure(cause=Cause.SESSION_DOWN, code="connection_closed", tenant_id="t")
    wiring.traffic().change(Instance(name=name, tenant_id="t"), lambda now: failed(now, failure, now_ms=NOW_MS))


def test_instances_are_listed_and_those_in_trouble_come_first(site):
    WhatsAppInstance.objects.create(instance_name="a-line", tenant_id="u")
    _break_down()
    _break_down("gone-line")

    rows = _rows(site.get(INSTANCES))

    assert [re.search(r"<th>(.*?)</th>", row)[1] for row in rows] == ["gone-line", "line-1", "a-line"]
    assert ["parked" in row for row in rows] == [True, True, False]
    assert "connection_closed" in rows[1]
    assert "no active row" in rows[0]


def test_an_instance_is_parked_and_released_after_a_question_and_it_is_logged(site):
    form = {"name": "line-1", "tenant": "t"}

    asked, done = site.confirm(INSTANCES, "park", **form)
    assert ("Park line-1?" in asked, "line-1 is held." in done) == (True, True)
    assert wiring.traffic().circuit("line-1").state is State.HELD

    asked, done = site.confirm(INSTANCES, "release", **form)
    assert ("Release line-1?" in asked, "line-1 is trying." in done) == (True, True)
    assert _log() == [("line-1", "Parked."), ("line-1", "Released.")]


def test_an_instance_whose_row_is_gone_can_be_released(site):
    _break_down("gone-line")

    _, done = site.confirm(INSTANCES, "release", name="gone-line", tenant="t")

    assert "gone-line is trying." in done


def test_another_tenant_s_instance_is_not_found(site):
    page = site.client.post(f"{INSTANCES}park/confirm/", {"name": "line-1", "tenant": "u"}, follow=True)

    assert "There is no such instance" in page.content.decode()


def test_instances_are_read_page_by_page(site, monkeypatch):
    monkeypatch.setattr("actors.django_app.admin_instances.PAGE", 2)
    for number in range(4):
        WhatsAppInstance.objects.create(instance_name=f"more-{number}", tenant_id="t")
    seen, page = [], site.get(INSTANCES)

    for _ in range(5):
        seen += re.findall(r"<th>(.*?)</th>", "".join(_rows(page)))
        more = re.search(r'<a href="\?([^"]+)">More', page)
        if more is None:
            break
        page = site.get(f"{INSTANCES}?{more[1]}")

    assert sorted(seen) == ["line-1", "more-0", "more-1", "more-2", "more-3"]


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
    assert {text for _, text in _log()} == {"Had it reconciled."}


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
    assert _log() == []
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
    assert _log() == []


def test_without_settings_the_pages_say_what_is_missing(site, serve):
    actors.broker.close()
    serve()

    assert "REDIS_URL is not set" in site.get(LETTERS)
    assert "REDIS_URL is not set" in site.get(INSTANCES)
