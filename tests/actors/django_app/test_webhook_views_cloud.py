"""The view of the Cloud API's webhooks takes what Meta signed, and gives its challenge back to who knows the token."""

import pytest
from webhook_world import CLOUD, SECRET, client, cloud_status, post, row, sent, site

from actors.gateways.cloud_webhooks import sign

__all__ = ["client", "sent", "site"]

pytestmark = pytest.mark.django_db(transaction=True)


def test_what_meta_signed_is_applied_and_nothing_else(client, sent):
    body = cloud_status(sent)

    for signature in ("", "sha256=", sign(body, app_secret="another"), sign(body + b" ", app_secret=SECRET)):
        answer = post(client, CLOUD, body, HTTP_X_HUB_SIGNATURE_256=signature)
        assert (answer.status_code, answer.content) == (403, b"")
    assert post(client, CLOUD, body).status_code == 403
    assert row(sent) == "sent"

    answer = post(client, CLOUD, body, HTTP_X_HUB_SIGNATURE_256=sign(body, app_secret=SECRET))
    assert (answer.status_code, answer.content, row(sent)) == (200, b"", "delivered")


def test_the_challenge_is_given_back_to_who_knows_the_token(client, site):
    asked = {"hub.mode": "subscribe", "hub.verify_token": "verify-me", "hub.challenge": "1158201444"}

    answer = client.get(CLOUD, asked)

    assert (answer.status_code, answer.content, answer["Content-Type"]) == (200, b"1158201444", "text/plain")


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"hub.verify_token": "another"}, 403),
        ({"hub.verify_token": ""}, 403),
        ({"hub.mode": "unsubscribe"}, 403),
        ({"hub.challenge": "<script>"}, 400),
        ({"hub.challenge": ""}, 400),
        ({"hub.challenge": "1" * 500}, 400),
    ],
)
def test_another_challenge_gets_nothing(client, site, change, status):
    asked = {"hub.mode": "subscribe", "hub.verify_token": "verify-me", "hub.challenge": "1158201444", **change}

    answer = client.get(CLOUD, asked)

    assert (answer.status_code, answer.content) == (status, b"")
