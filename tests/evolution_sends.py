"""What tests of Evolution's own ways send, to whom, and the gateway that sends it."""

import pytest

from actors.domain import GroupJid, OutgoingPart, Phone
from actors.gateways.base import make_gateway
from actors.settings import Settings

PERSON = Phone("+5511988887777")
GROUP = GroupJid("120363025246125486@g.us")
DIGITS = "5511988887777"


@pytest.fixture
def gateway():
    made = make_gateway("evolution", Settings())
    yield made
    made.close()


def part(text="oi", recipient=PERSON, **fields):
    return OutgoingPart(message_id="m1", part=0, recipient=recipient, text=text, **fields)
