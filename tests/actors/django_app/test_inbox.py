"""The chat's pages: who gets in, who may do what, and that all of it works without JavaScript and in few queries."""

import re
import uuid

import pytest
from chat.models import Conversation, Message, MessageAttachment
from chat_visitor import TENANT, Visitor
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from inbox.reasons import in_words
from inbox.rows import bubbles

import actors
from middleware.outcomes import Dead

pytestmark = [pytest.mark.django_db, pytest.mark.redis]


@pytest.fixture
def thread(installed):
    return Conversation.objects.create(
        contact_phone="+5511988887777", contact_name="Ana", tenant_id=TENANT, instance_name="line-1"
    )


def _failed(thread: Conversation, code: str = "not_on_whatsapp") -> str:
    """A message that was given up, with its letter."""
    made = Message.objects.create(conversation=thread, content="oi", status="pending")
    actors.send_message.send(str(made.pk))
    moves = actors.broker.transitions
    (taken,) = moves.fetch("send_message", limit=1, lease_ms=60_000, owner="w1").messages
    moves.finish(taken.lease, Dead(code, {"error": "why", "attempts": 1}), body=taken.body)
    moves.announce("send_message", limit=10, hold_ms=60_000)
    moves.announced("send_message", [taken.lease.id])
    Message.objects.filter(pk=made.pk).update(status="failed", error_message=f"{code}: why")
    return str(made.pk)


# -- who gets in -----------------------------------------------------------------------------------------------------------


def test_nobody_gets_in_who_is_not_logged_in_or_of_another_tenant(thread):
    message = _failed(thread)
    paths = {
        "get": [f"/chat/{thread.pk}/", f"/chat/{thread.pk}/state/", f"/chat/{thread.pk}/picture.svg"],
        "post": [f"/chat/{thread.pk}/write/", f"/chat/{thread.pk}/refresh/", f"/chat/messages/{message}/retry/"],
    }
    rights = ("add_message", "change_message", "change_conversation")
    stranger, other = Client(), Visitor(*rights, tenant="another")
    nobody = Client()
    nobody.force_login(User.objects.create_superuser("of-no-tenant"))

    for method, those in paths.items():
        for path in those:
            assert getattr(stranger, method)(path).url.startswith("/login/")
            assert getattr(other.client, method)(path).status_code == 404
            assert getattr(nobody, method)(path).status_code == 403
    assert "Ana" not in other.client.get("/chat/").content.decode()
    assert Message.objects.get().status == "failed"


@pytest.mark.parametrize(
    ("right", "path"),
    [
        ("add_message", "/chat/{thread}/write/"),
        ("change_message", "/chat/messages/{message}/retry/"),
        ("change_conversation", "/chat/{thread}/refresh/"),
    ],
)
def test_each_form_needs_its_right_and_the_page_s_token(thread, right, path):
    path = path.format(thread=thread.pk, message=_failed(thread))
    others = [one for one in ("add_message", "change_message", "change_conversation") if one != right]
    able = Visitor(right)
    careful = Client(enforce_csrf_checks=True)
    careful.force_login(able.user)

    assert Visitor(*others).post(path, text="oi").status_code == 403
    assert careful.post(path, {"text": "oi"}).status_code == 403
    assert able.client.get(path).status_code == 405
    assert Message.objects.get().status == "failed"
    assert able.post(path, text="oi").status_code in (201, 202)


def test_the_link_of_the_demo_lets_in_and_no_other(installed, settings, client):
    user = User.objects.create_user("demo")
    assert client.get("/enter/anything/").status_code == 404
    settings.CHATSITE_ENTRY_TOKEN = "a-token"

    assert client.get("/enter/another/").status_code == 404
    assert client.get("/enter/a-token/").url == "/chat/"
    assert client.session["_auth_user_id"] == str(user.pk)


def test_a_page_loads_and_runs_nothing_from_elsewhere(thread):
    answer = Visitor().client.get(f"/chat/{thread.pk}/")
    page = answer.content.decode()

    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert re.findall(r"""(?:src|href)=["'](?:https?:)?//""", page) == []
    assert re.findall(r"<script(?! src=| id=\"labels\")|<style|\son\w+=|\sstyle=", page) == []


# -- what the forms do -----------------------------------------------------------------------------------------------------


def test_without_javascript_a_form_saves_sends_and_shows_the_page_again(
    thread, queued, django_capture_on_commit_callbacks
):
    visitor = Visitor("add_message")
    with django_capture_on_commit_callbacks(execute=True):
        answer = visitor.client.post(f"/chat/{thread.pk}/write/", {"text": " hello\r\nthere ", "id": "nonsense"})

    message = Message.objects.get()
    assert answer.url == f"/chat/{thread.pk}/"
    assert (message.content, message.status, queued()) == ("hello\nthere", "pending", [str(message.pk)])
    assert "Waiting to be sent" in visitor.client.get(answer.url).content.decode()


def test_a_form_that_is_sent_twice_is_one_message(thread, queued, django_capture_on_commit_callbacks):
    visitor, id_ = Visitor("add_message"), str(uuid.uuid4())
    with django_capture_on_commit_callbacks(execute=True):
        answers = [visitor.post(f"/chat/{thread.pk}/write/", text="hello", id=id_) for _ in range(2)]

    assert [answer.json()["bubbles"][0]["id"] for answer in answers] == [id_, id_]
    assert (Message.objects.count(), queued()) == (1, [id_])


@pytest.mark.parametrize(("text", "notice"), [("  \n ", "nothing to send"), ("x" * 4097, "longer than")])
def test_what_cannot_be_sent_is_refused_in_words(thread, text, notice):
    answer = Visitor("add_message").post(f"/chat/{thread.pk}/write/", text=text)

    assert (answer.status_code, Message.objects.count()) == (422, 0)
    assert notice in answer.json()["notice"]


def test_a_retry_sends_once_and_says_so_of_the_second(thread, queued):
    visitor, message = Visitor("change_message"), _failed(thread)
    page = visitor.client.get(f"/chat/{thread.pk}/").content.decode()
    assert "This number is not on WhatsApp." in page

    first, second = (visitor.post(f"/chat/messages/{message}/retry/") for _ in range(2))

    assert (first.status_code, first.json()["bubbles"][0]["status"]) == (201, "pending")
    assert (second.status_code, second.json()["said"]) == (409, "not_failed")
    assert queued() == [message]


def test_what_may_have_arrived_is_sent_again_by_a_button_that_says_so(thread, queued):
    visitor, message = Visitor("change_message"), _failed(thread, "delivery_unknown")

    refused = visitor.post(f"/chat/messages/{message}/retry/")
    page = visitor.client.get(f"/chat/{thread.pk}/").content.decode()
    [hidden] = re.findall(r'name="may_repeat" value="(\w+)"', page)
    done = visitor.post(f"/chat/messages/{message}/retry/", may_repeat=hidden)

    assert (refused.status_code, "Look at the phone" in refused.json()["notice"]) == (409, True)
    assert (done.status_code, queued()) == (201, [message])


# -- what is shown ---------------------------------------------------------------------------------------------------------


def test_a_page_that_was_away_is_given_what_changed_and_how_all_stand(thread):
    long_ago = timezone.now() - timezone.timedelta(hours=1)
    old = Message.objects.create(conversation=thread, content="old", status="sent")
    Message.objects.filter(pk=old.pk).update(updated_at=long_ago, created_at=long_ago)
    new = Message.objects.create(conversation=thread, content="new <b>", status="delivered")
    visitor = Visitor()

    everything = visitor.client.get(f"/chat/{thread.pk}/state/").json()
    later = visitor.client.get(f"/chat/{thread.pk}/state/", {"since": everything["version"]}).json()

    for state in (everything, later):
        assert [(one["id"], one["status"]) for one in state["bubbles"]] == [
            (str(old.pk), "sent"),
            (str(new.pk), "delivered"),
        ]
        assert state["bubbles"][0]["order"] < state["bubbles"][1]["order"]
    assert ["html" in one for one in later["bubbles"]] == [False, True]
    assert "new &lt;b&gt;" in later["bubbles"][1]["html"]


def test_a_page_costs_as_many_queries_however_much_it_shows(thread):
    visitor = Visitor()

    def cost() -> int:
        with CaptureQueriesContext(
            connection,
        ) as queries:
            assert visitor.client.get(f"/chat/{thread.pk}/").status_code == 200
        return len(queries)

    def fill(count: int) -> None:
        for number in range(count):
            other = Conversation.objects.create(contact_phone=f"+55{number}", tenant_id=TENANT)
            Message.objects.create(conversation=other, content="x")
            made = Message.objects.create(conversation=thread, content="x", metadata={"reply_to": str(uuid.uuid4())})
            MessageAttachment.objects.create(message=made, mime_type="image/png")

    fill(2)
    few = cost()
    fill(30)
    assert cost() == few <= 12


def test_only_so_many_bubbles_are_read(thread):
    Message.objects.bulk_create(Message(conversation=thread, content=str(number)) for number in range(70))
    visitor = Visitor()

    page = visitor.client.get(f"/chat/{thread.pk}/").content.decode()

    assert page.count('<li class="bubble') == 60
    assert "?show=180" in page
    assert visitor.client.get(f"/chat/{thread.pk}/?show=180").content.decode().count('<li class="bubble') == 70
    assert visitor.client.get(f"/chat/{thread.pk}/?show=nonsense").status_code == 200
    assert len(bubbles(thread, shown=10)) == 10


def test_every_reason_has_words():
    assert in_words("not_on_whatsapp: text for operators") == "This number is not on WhatsApp."
    assert in_words("some_new_code: text for operators") == "It could not be sent (some_new_code)."
    assert in_words("") == "It could not be sent."
