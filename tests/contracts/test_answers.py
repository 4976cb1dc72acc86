"""Every answer in the tables of both gateways, given over a socket and read by the client whole.

``actors/gateways/test_evolution_errors`` and its neighbours ask the tables alone; here the bytes travel, and what a caller gets
is what the row says. Nothing is asked twice.
"""

from typing import Any

import cloud_cases
import evolution_cases
import pytest
from canned_server import Canned, canned_server
from cloud_cases import EVERY_CODE, refusal
from evolution_cases import AUDIO, MEDIA

from actors import errors
from actors.domain import GroupJid, Instance, Media, MediaKind, OutgoingPart, Phone
from actors.errors import ChatError
from actors.gateways.evolution import EvolutionGateway
from actors.gateways.evolution_endpoint import Endpoint
from actors.gateways.evolution_requests import Request
from actors.gateways.evolution_rules import GroupUnclear, Success
from actors.gateways.whatsapp_cloud import WhatsAppCloudGateway, _Request
from actors.gateways.whatsapp_cloud_endpoint import CloudEndpoint
from actors.gateways.whatsapp_cloud_errors import Accepted, Asked, Operation
from middleware.clock import SystemClock

pytestmark = pytest.mark.contract

PERSON = Phone("+5511988887777")
GROUP = GroupJid("120363025246125486@g.us")
I1 = Instance(name="i1", phone_number_id="106540352242922")
FILES = {
    MEDIA: Media(kind=MediaKind.DOCUMENT, url="https://f.example/a", mimetype="application/pdf", file_name="a.pdf"),
    AUDIO: Media(kind=MediaKind.VOICE, url="https://f.example/a", mimetype="audio/ogg", file_name="a.ogg"),
}


class ThenClock(SystemClock):
    """At the time of the cases, whose answers name dates."""

    def now_ms(self) -> int:
        return evolution_cases.NOW_MS


@pytest.fixture(scope="module")
def server():
    with canned_server() as canned:
        yield canned


@pytest.fixture(scope="module")
def evolution(server: Canned):
    gateway = EvolutionGateway(lambda _: Endpoint(base_url=server.url, api_key="key"), clock=ThenClock())
    yield gateway
    gateway.close()


@pytest.fixture(scope="module")
def cloud(server: Canned):
    gateway = WhatsAppCloudGateway(
        lambda _: CloudEndpoint(base_url=f"{server.url}/v24.0", token="token"), clock=ThenClock()
    )
    yield gateway
    gateway.close()


def sent(gateway: Any, media: Media | None = None, recipient: Any = PERSON) -> Any:
    text = "" if media is not None and media.kind is MediaKind.VOICE else "oi"
    part = OutgoingPart(message_id="m1", part=0, recipient=recipient, text=text, media=media)
    try:
        return gateway.send(part, instance=I1, timeout_s=10)
    except ChatError as error:
        return error


@pytest.mark.parametrize("case", evolution_cases.CASES, ids=str)
def test_an_answer_of_evolution_means_what_its_rule_says(evolution, server, case):
    server.answer(case.status, case.headers, case.body, complete=case.complete)
    if case.operation.is_send:
        got = sent(evolution, FILES.get(case.operation), GROUP if case.to_group else PERSON)
    else:
        got = evolution._ask(Request(case.operation, payload={}), I1, total_s=10)

    # One question more where one body has three causes.
    assert len(server.lines) == (2 if case.kind is GroupUnclear else 1)
    if case.kind is Success:
        assert not isinstance(got, ChatError)
        return
    assert (type(got), got.code, got.request_written) == (case.kind, case.code, True)
    assert got.max_attempts == case.max_attempts
    assert case.delay_ms in (None, got.delay_ms)


@pytest.mark.parametrize("case", cloud_cases.CASES, ids=str)
def test_an_answer_of_the_cloud_api_means_what_the_table_says(cloud, server, case):
    server.answer(case.status, case.headers, case.body, complete=case.complete)
    if case.operation is Operation.SEND:
        got = sent(cloud)
    else:
        got = cloud._ask(_Request(Asked(case.operation, "x"), "1/x", payload={}), I1, total_s=10)

    assert len(server.lines) == 1
    if case.kind is Accepted:
        assert not isinstance(got, ChatError)
        return
    assert (type(got), got.code) == (case.kind, case.code)
    assert case.delay_ms in (None, got.delay_ms)
    assert case.alert in (None, got.alert)


@pytest.mark.parametrize(("code", "kind", "reason", "alert"), EVERY_CODE)
def test_a_code_of_meta_means_what_its_table_says(cloud, server, code, kind, reason, alert):
    server.answer(400, {}, refusal(code))

    got = sent(cloud)

    assert (type(got), got.code, got.alert, len(server.lines)) == (kind, reason, alert, 1)


@pytest.mark.parametrize("code", [code for code, kind, *_ in EVERY_CODE if kind is errors.AuthConfig])
def test_evolution_over_the_cloud_api_says_the_same_in_a_success(evolution, server, code):
    server.answer(201, {}, b'{"message": "(#1)", "type": "OAuthException", "code": %d}' % code)

    assert isinstance(sent(evolution), errors.AuthConfig)
