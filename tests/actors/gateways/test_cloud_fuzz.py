"""A million damaged answers and webhooks of both providers: nothing crashes, and no meaning is outside the table.

The seeds are real bodies; what is done to them is what networks, proxies and liars do: cut, flip, splice, repeat, put one token in
another's place. Under ``make prove``; the property tests beside this file take the same checks through hypothesis.
"""

import random
import re

import pytest

from actors import errors
from actors.gateways import cloud_webhooks, evolution_webhooks
from actors.gateways.exchange import Answer
from actors.gateways.sandbox.cloud_replies import CLOUD_PRESETS
from actors.gateways.sandbox.replies import PRESETS, Subject
from actors.gateways.whatsapp_cloud_errors import Accepted, Asked, Operation, classify
from actors.updates import DeliveryStatus

INPUTS = 500_000
#: Codes that the table has for each class.
KINDS = {
    errors.AuthConfig: {"token_refused", "permission", "account_locked", "phone_number_id", "not_in_test_list"}
    | {"registration", "unauthorized", "forbidden", "wrong_url"},
    errors.Permanent: {"undeliverable", "window_closed", "marketing_cap", "opted_out", "experiment", "media_url"}
    | {"country_restricted", "template", "template_paused", "group_refused", "groups_not_allowed"}
    | {"unknown_code", "unknown_status"},
    errors.BadPayload: {"bad_payload", "payload", "payload_too_large"},
    errors.BadRecipient: {"recipient_is_sender"},
    errors.NotFound: {"group_missing"},
    errors.Throttled: {"rate_limited", "quality_limited"},
    errors.Transient: {"provider_overloaded", "provider_unclear", "media_fetch", "request_timeout", "answer_cut"}
    | {"not_json", "bad_gateway", "unknown_code", "unknown_status"},
    errors.Ambiguous: {"provider_unclear", "answer_cut", "no_message_id", "bad_gateway", "unknown_code"}
    | {"unknown_status"},
}
SENT = b'{"messaging_product":"whatsapp","contacts":[{"input":"+551","wa_id":"551"}],"messages":[{"id":"wamid.HBg"}]}'
STATUS = (
    b'{"object":"whatsapp_business_account","entry":[{"id":"1","changes":[{"value":{"metadata":{"phone_number_id":"1"},'
    b'"statuses":[{"id":"wamid.1","status":"failed","timestamp":"1739321024","recipient_id":"551",'
    b'"biz_opaque_callback_data":"m1:0","errors":[{"code":131026,"title":"x"}]}]},"field":"messages"}]}]}'
)
EVOLUTION = (
    b'{"event":"messages.update","instance":"i1","data":{"keyId":"3EB0","remoteJid":"551@s.whatsapp.net","fromMe":true,'
    b'"status":"READ"},"apikey":"k"}',
    b'{"event":"send.message","instance":"i1","data":{"key":{"remoteJid":"551@s.whatsapp.net","fromMe":true,"id":"3EB0"},'
    b'"message":{"conversation":"oi"},"messageTimestamp":1761050000},"apikey":"k"}',
    b'{"event":"connection.update","instance":"i1","data":{"state":"close","statusReason":401},"apikey":"k"}',
    b'{"event":"status.instance","instance":"i1","data":{"status":"closed","disconnectionReasonCode":401},"apikey":"k"}',
)
TOKENS = (
    b"null",
    b"true",
    b"-1",
    b"1e999",
    b"NaN",
    b'""',
    b'"\\ud800"',
    b"[]",
    b"{}",
    b"131056",
    b"9" * 30,
    b'"\\u0000"',
)
TOKEN = re.compile(rb'"[^"]*"|-?\d+|true|false|null')


def damaged(draw: random.Random, seeds: list[bytes]) -> bytes:
    raw = draw.choice(seeds)
    for _ in range(draw.randrange(4)):
        at, how = draw.randrange(len(raw) + 1), draw.randrange(6)
        if how == 0:
            raw = raw[:at]
        elif how == 1:
            raw = raw[:at] + bytes([draw.randrange(256)]) + raw[at + 1 :]
        elif how == 2:
            raw = raw[:at] + draw.choice(seeds)[draw.randrange(50) :]
        elif how == 3:
            raw = raw[:at] + raw[at : at + 40] * 2 + raw[at:]
        else:
            tokens = list(TOKEN.finditer(raw))
            if tokens:
                one = draw.choice(tokens)
                new = draw.choice(TOKENS) if how == 4 else draw.choice(tokens)[0]
                raw = raw[: one.start()] + new + raw[one.end() :]
    return raw


@pytest.mark.slow
def test_a_million_damaged_bodies_crash_nothing_and_mean_nothing_new():
    draw = random.Random(4)  # noqa: S311  # repeatable, not a secret
    answers = [SENT, b'{"id":"1"}', b'{"success":true}', b""]
    answers += [make(Subject("1")).body for make in (*CLOUD_PRESETS.values(), *PRESETS.values())]
    posts = [STATUS, *EVOLUTION, STATUS.replace(b"failed", b"sent")]
    statuses = [200, 201, 206, 301, 400, 401, 403, 404, 408, 413, 418, 429, 500, 502, 503, 524]
    headers = [{}, {"retry-after": "7"}, {"x-business-use-case-usage": '{"1":[{"estimated_time_to_regain_access":9}]}'}]

    seen = set()
    for _ in range(INPUTS):
        operation = draw.choice(list(Operation))
        asked = Asked(operation, "x", by_link=draw.random() < 0.5)
        answer = Answer(
            draw.choice(statuses), draw.choice(headers), damaged(draw, answers), complete=draw.random() < 0.95
        )
        verdict = classify(asked, answer, now_ms=1)
        if isinstance(verdict, Accepted):
            assert 200 <= answer.status < 300
            continue
        seen.add(type(verdict))
        assert verdict.code in KINDS[type(verdict)]
        assert operation is Operation.SEND or not isinstance(verdict, errors.Ambiguous)
        assert len(str(verdict)) < 500

    for _ in range(INPUTS):
        raw = damaged(draw, posts)
        for update in cloud_webhooks.updates(raw):
            assert (update.error_code is None) is (update.status is not DeliveryStatus.FAILED)
        evolution_webhooks.updates(raw)
        evolution_webhooks.has_key(raw, api_keys=["k"])

    assert seen == set(KINDS)
