"""What Evolution says it sent, asked or by webhook, is known again as the part that it tells of, by the real gateway."""

import json
from collections.abc import Iterator
from dataclasses import replace

import pytest
from sandbox_fixture import Sandbox, sandbox

from actors import errors
from actors.domain import Lid, OutgoingPart, Phone, Receipt
from actors.gateways.base import Gateway, KnowsRecords, make_gateway
from actors.gateways.evolution_webhooks import updates
from actors.settings import Settings
from actors.updates import SentUpdate
from middleware.clock import SystemClock

__all__ = ["sandbox"]

JID = "5511988887777@s.whatsapp.net"
PART = OutgoingPart(message_id="m", part=0, recipient=Phone("+5511988887777"), text="oi")


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    made = make_gateway("evolution", Settings())
    yield made
    made.close()


def look(gateway: Gateway, sandbox: Sandbox, *, since_ms: int | None = None) -> Receipt | None:
    now_ms = SystemClock().now_ms()
    since_ms = now_ms if since_ms is None else since_ms
    return gateway.find_sent(PART, instance=sandbox.instance(), since_ms=since_ms, until_ms=now_ms, bound_ids=())


def told(text: str = "oi", jid: str = JID) -> SentUpdate:
    data = {
        "key": {"id": "3EB0AA", "fromMe": True, "remoteJid": jid},
        "message": {"conversation": text},
        "messageType": "conversation",
        "messageTimestamp": 1_761_050_000,
    }
    [found] = updates(json.dumps({"event": "send.message", "instance": "line-1", "data": data}).encode())
    assert isinstance(found, SentUpdate)
    return found


@pytest.mark.parametrize(
    ("part", "update", "is_it"),
    [
        (PART, told(), True),
        (PART, told(jid="551188887777@s.whatsapp.net"), True),
        (PART, told("Oi"), False),
        (PART, told(jid="5511988887778@s.whatsapp.net"), False),
        (replace(PART, text="oi "), told(), False),
        (PART, replace(told(), record={}), False),
    ],
)
def test_a_record_is_that_of_its_part_only(gateway, part, update, is_it):
    assert isinstance(gateway, KnowsRecords)
    assert gateway.is_record_of(part, update) is is_it


LID = Lid("998877665544332@lid")


@pytest.mark.parametrize(
    "account",
    [
        {"jid": LID.jid, "exists": True, "number": "5511988887777", "lid": "lid"},
        {"jid": JID, "exists": True, "number": "5511988887777", "lid": LID.jid},
    ],
)
def test_what_went_to_the_linked_id_of_a_number_is_found(gateway, sandbox: Sandbox, account):
    """WhatsApp has two addresses for a person; under the other one a delivered message would look lost, and go out again."""
    since_ms = SystemClock().now_ms()
    sent = gateway.send(replace(PART, recipient=LID), instance=sandbox.instance(), timeout_s=5)
    sandbox.admin.add_fault({"type": "status", "status": 200, "body": [account]}, match={"op": "whatsappNumbers"})

    found = look(gateway, sandbox, since_ms=since_ms)

    assert found is not None
    assert (found.provider_message_id, found.mismatch) == (sent.provider_message_id, False)


def test_a_number_without_a_linked_id_has_one_place_to_look_at(gateway, sandbox: Sandbox):
    gateway.send(replace(PART, recipient=LID), instance=sandbox.instance(), timeout_s=5)

    assert look(gateway, sandbox) is None


def test_a_server_that_knows_no_accounts_knows_no_linked_ids(gateway, sandbox: Sandbox):
    sandbox.admin.add_fault(
        {"type": "status", "status": 404, "body": "Cannot POST /x"}, match={"op": "whatsappNumbers"}
    )

    assert look(gateway, sandbox) is None


def test_a_linked_id_that_cannot_be_looked_up_now_is_no_proof_of_absence(gateway, sandbox: Sandbox):
    sandbox.admin.add_fault({"type": "status", "preset": "nginx_502"}, match={"op": "whatsappNumbers"})

    with pytest.raises(errors.Transient):
        look(gateway, sandbox)
