"""The admin's pages of dead letters: bounded reads, a question before each change, a line in the log after it."""

import re

import pytest
from admin_world import LETTERS, SECRET, log, rows_of, site
from chat.models import Message

from actors.django_app import admin_letters, letter_list

__all__ = ["site"]

pytestmark = [pytest.mark.django_db, pytest.mark.redis]


def test_letters_are_listed_newest_first_with_their_reason_and_no_content(site):
    site.bury("not_on_whatsapp", "expired")

    page = site.get(LETTERS)

    rows = rows_of(page)
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

    assert len(rows_of(site.get(LETTERS, **query))) == expected


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
    assert log() == [
        (id_, f"Sent again: {reason}.") for id_, reason in sorted(letters.items(), key=lambda one: one[1], reverse=True)
    ]


def test_nothing_happens_before_the_answer(site):
    site.bury("expired")
    letters = site.letters()

    for doing in ("redrive", "discard"):
        site.client.post(f"{LETTERS}{doing}/confirm/", {"queue": "send_message", "id": list(letters)})
        assert site.client.get(f"{LETTERS}{doing}/confirm/").status_code == 302

    assert site.letters() == letters
    assert log() == []


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
    assert log() == [(letter_id, "Deleted: not_on_whatsapp.")]


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
