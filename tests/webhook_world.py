"""A product that webhooks tell, a message of its that is sent, and requests as its providers make them.

Tests import the fixtures ``site``, ``client`` and ``sent`` and name them in ``__all__``.
"""

import json

import pytest
from chat.models import Conversation, Message, WhatsAppInstance
from django.test import Client

from actors.domain import AttemptState, Receipt, SendAttempt
from actors.settings import Hidden

TOKEN = "a-token-in-a-path-0123456789"
SECRET = "app-secret"
ROW_KEY = "the-key-of-the-row"
EVOLUTION = f"/hooks/evolution/{TOKEN}/"
CLOUD = "/hooks/cloud/"


@pytest.fixture
def site(serve):
    work = serve(
        webhook_token=Hidden(TOKEN),
        whatsapp_cloud_app_secret=Hidden(SECRET),
        whatsapp_cloud_verify_token=Hidden("verify-me"),
    )
    WhatsAppInstance.objects.create(instance_name="line-1", tenant_id="t", api_key=ROW_KEY, api_url="http://e.example")
    return work


@pytest.fixture
def client():
    return Client(raise_request_exception=True, enforce_csrf_checks=True)


@pytest.fixture
def sent(site):
    """Id of a message that is with its provider as ``3EB0``."""
    thread = Conversation.objects.create(contact_phone="+5511988887777", tenant_id="t", instance_name="line-1")
    id_ = str(Message.objects.create(conversation=thread, content="oi").pk)
    attempt = SendAttempt(
        message_id=id_,
        part=0,
        state=AttemptState.SENDING,
        number=1,
        instance_name="line-1",
        started_at_ms=1,
        deadline_at_ms=2,
    )
    site.store.record_sent(site.store.claim(attempt), Receipt(provider_message_id="3EB0"))
    return id_


def cloud_status(message_id: str = "") -> bytes:
    told = {"id": "3EB0", "status": "delivered", "timestamp": "1", "biz_opaque_callback_data": f"{message_id}:0"}
    value = {"metadata": {"phone_number_id": "1"}, "statuses": [told]}
    return json.dumps({"entry": [{"changes": [{"value": value}]}]}).encode()


def post(client, path: str, body: bytes, **headers: str):
    return client.generic("POST", path, body, content_type="application/json", **headers)


def row(id_: str) -> str:
    return Message.objects.get(pk=id_).status
