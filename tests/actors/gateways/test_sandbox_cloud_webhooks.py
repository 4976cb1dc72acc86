"""The sandbox's webhooks of the Cloud API: signed statuses with our reference, late, again and at will, on this machine only."""

import httpx
import pytest
from cloud_client import ask, send
from cloud_listener import listening
from sandbox_fixture import NUMBER_ID
from waiting import until

from actors.gateways.cloud_webhooks import is_signed, updates
from actors.gateways.sandbox.admin_client import SandboxRefused
from actors.updates import DeliveryStatus

__all__ = ["ask", "send"]

SECRET = "app-secret"


@pytest.fixture
def sandbox(emptied_sandbox):
    return emptied_sandbox


@pytest.fixture
def hook(sandbox):
    """``hook(**plan)`` configures the endpoint and gives what it got."""
    with listening() as posts:

        def hook(**plan):
            sandbox.admin.put_cloud_webhook(url=posts.url, app_secret=SECRET, **plan)
            return posts

        yield hook
        sandbox.admin.put_cloud_webhook()


def said(posts):
    return [update for body in posts.bodies for update in updates(body)]


def test_a_message_is_followed_by_signed_statuses_with_our_reference(send, sandbox, hook):
    posts = hook(statuses=["sent", "delivered", "read"])

    _, body = send(biz_opaque_callback_data="m1:0")

    until(lambda: len(posts.bodies) == 3, within_ms=10_000)
    assert [update.status for update in said(posts)] == ["sent", "delivered", "read"]
    for update in said(posts):
        assert update.reference == "m1:0"
        assert update.provider_message_id == body["messages"][0]["id"]
        assert update.phone_number_id == NUMBER_ID
        assert update.recipient == "5511988887777"
        assert update.at_ms > 0
    for raw, headers in zip(posts.bodies, posts.headers, strict=True):
        assert is_signed(raw, headers["x-hub-signature-256"], app_secret=SECRET)
        assert not is_signed(raw, headers["x-hub-signature-256"], app_secret="another")


def test_a_status_comes_although_the_answer_to_the_send_was_lost(send, sandbox, hook):
    posts = hook(statuses=["sent"])
    sandbox.admin.add_fault({"type": "drop", "when": "after_accept"})

    with pytest.raises(httpx.TransportError):
        send(biz_opaque_callback_data="m1:0")

    until(lambda: len(posts.bodies) == 1, within_ms=10_000)
    assert said(posts)[0].reference == "m1:0"
    assert said(posts)[0].provider_message_id == sandbox.admin.deliveries()[0]["key_id"]


def test_a_message_that_was_not_accepted_has_no_status(send, sandbox, hook):
    posts = hook(statuses=["sent"])
    sandbox.admin.add_fault({"type": "status", "preset": "graph_131026"}, trigger={"next": 1})

    send()
    send()

    until(lambda: len(posts.bodies) == 1, within_ms=10_000)
    assert said(posts)[0].provider_message_id == sandbox.admin.deliveries()[0]["key_id"]


def test_a_message_may_fail_later_with_a_code(send, sandbox, hook):
    posts = hook(statuses=["sent", "failed"], error_code=131047)

    send()

    until(lambda: len(posts.bodies) == 2, within_ms=10_000)
    assert [(update.status, update.error_code) for update in said(posts)] == [
        ("sent", None),
        ("failed", "window_closed"),
    ]


def test_statuses_may_repeat_and_be_sent_again_when_they_were_refused(send, sandbox, hook):
    posts = hook(statuses=["sent"], repeat=2, first_s=0.01)
    posts.statuses += [503, 400]

    send()

    # Refused with 400 too, as Meta does; two statuses, each sent twice.
    until(lambda: len(posts.bodies) == 4, within_ms=10_000)
    assert {update.key for update in said(posts)} == {(sandbox.admin.deliveries()[0]["key_id"], DeliveryStatus.SENT)}


def test_a_status_can_be_said_at_will(send, sandbox, hook):
    posts = hook(statuses=[])
    send()

    sandbox.admin.say_cloud_status(1, "failed", error_code=131050)

    until(lambda: len(posts.bodies) == 1, within_ms=10_000)
    assert said(posts)[0].error_code == "opted_out"


@pytest.mark.parametrize("plan", [{"statuses": ["deleted"]}, {"colour": "red"}, {"statuses": ["sent"], "repeat": "x"}])
def test_a_plan_that_cannot_be_used_is_refused(sandbox, plan):
    with pytest.raises(SandboxRefused):
        sandbox.admin.put_cloud_webhook(url="http://127.0.0.1:1", **plan)


def test_a_status_of_nothing_is_refused(sandbox):
    with pytest.raises(SandboxRefused):
        sandbox.admin.say_cloud_status(1, "sent")


@pytest.mark.parametrize("url", ["https://hooks.example/x", "nonsense", "http://a:b@127.0.0.1/"])
def test_webhooks_stay_on_this_machine(sandbox, url):
    with pytest.raises(SandboxRefused):
        sandbox.admin.put_cloud_webhook(url=url)
