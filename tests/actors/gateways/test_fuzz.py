"""Half a million answers and half a million addresses: no crash, and nothing outside of the tables.

Seeded, with the words that the rules look for, so that every rule is met many times. `make prove` runs it.
"""

import json
import random
import re
from typing import Any

import pytest
from docs_codes import codes

from actors import errors
from actors.gateways.evolution_answers import Operation
from actors.gateways.evolution_errors import classify
from actors.gateways.evolution_rules import Success
from actors.gateways.exchange import Answer
from actors.gateways.jids import is_same, possible_jids, wire_number
from actors.recipients import CALLING_CODES, CloudGroup, ConversationType, GroupJid, Lid, Phone, parse_recipient

pytestmark = pytest.mark.slow

COUNT = 500_000
WORDS = (
    "Connection Closed", "Error: Connection Closed", "[object Object]", "Timed Out", "SessionError: No sessions", "Bad MAC",
    "rate-overlimit", "Request failed with status code 404", "getaddrinfo ENOTFOUND x", "reading 'textMessage'", "reading 'find'",
    "Cannot POST /x", 'The "i1" instance does not exist', "Text is required", "Error fetching group", "forbidden", "item-not-found",
    "Invalid `this.prismaRepository.message.create()` invocation", "Unexpected token } in JSON", "reset before headers", "Error: x",
    "5511988887777", "\ud800", "", "\x00",
)  # fmt: skip
KEYS = (
    "response",
    "message",
    "key",
    "id",
    "code",
    "error",
    "error_subcode",
    "exists",
    "output",
    "statusCode",
    "status",
    "property",
)
STATUSES = (*range(100, 600, 7), 200, 201, 400, 401, 403, 404, 408, 413, 429, 500, 502, 503, 504, 520, 521, 525)
DIGITS = "0123456789"
PIECES = (
    "+",
    "@g.us",
    "@lid",
    "@s.whatsapp.net",
    "@broadcast",
    "-",
    " ",
    ":12",
    "(11)",
    "55",
    "5511",
    "9",
    "Y2FwaV9ncm91cDo",
    "\u0665",
    "\x00",
    "=",
)


def value(draw: random.Random, depth: int = 0) -> Any:
    kind = draw.random()
    if depth < 4 and kind < 0.35:
        return {draw.choice(KEYS): value(draw, depth + 1) for _ in range(draw.randint(0, 3))}
    if depth < 4 and kind < 0.5:
        return [value(draw, depth + 1) for _ in range(draw.randint(0, 3))]
    if kind < 0.8:
        return draw.choice(WORDS)
    return draw.choice((None, True, False, 0, 1, 428, 190, 131056, 987654, -1, 1e400, 10**40, 3.5))


def body(draw: random.Random) -> bytes:
    kind = draw.random()
    if kind < 0.1:
        return draw.randbytes(draw.randint(0, 60))
    inner = value(draw)
    text = json.dumps(
        {"status": 400, "error": draw.choice(WORDS), "response": {"message": inner}} if kind < 0.6 else inner
    )
    encoded = text.encode(draw.choice(("utf-8", "utf-8", "utf-8", "utf-8-sig", "utf-16")))
    return encoded[: draw.randint(0, len(encoded))] if kind > 0.95 else encoded


def test_half_a_million_answers_get_a_meaning_of_the_table(record_property):
    known = {code.code for code in codes()} | {"rate_limited"}
    draw, met = random.Random(20251121), set()  # noqa: S311
    for _ in range(COUNT):
        headers = {"retry-after": draw.choice(("", "7", "9" * 30, "soon", "Tue, 21 Oct 2025 12:34:00 GMT", "-1"))}
        answer = Answer(draw.choice(STATUSES), headers, body(draw), complete=draw.random() > 0.02)
        operation = draw.choice(list(Operation))
        verdict = classify(operation, answer, subject="x", to_group=draw.random() < 0.3, now_ms=1_761_050_000_000)
        if isinstance(verdict, Success):
            assert verdict.untracked or not operation.is_send or verdict.message_id
            met.add("success")
            continue
        assert isinstance(verdict, errors.ChatError)
        assert verdict.code in known
        assert "5511988887777" not in str(verdict)
        assert operation.is_send or not isinstance(verdict, errors.Ambiguous)
        met.add(verdict.code)
    record_property("answers", COUNT)
    record_property("meanings_met", len(met))

    assert len(met) > 30


def test_half_a_million_addresses_are_refused_or_are_who_they_say(record_property):
    draw, taken, quoted = random.Random(20251122), 0, []  # noqa: S311
    for _ in range(COUNT):
        parts = [
            draw.choice(PIECES) if draw.random() < 0.4 else "".join(draw.choices(DIGITS, k=draw.randint(1, 9)))
            for _ in range(draw.randint(0, 4))
        ]
        text, kind = "".join(parts), draw.choice(list(ConversationType))
        try:
            recipient = parse_recipient(text, kind, default_region=draw.choice((None, *CALLING_CODES)))
        except errors.BadRecipient as error:
            quoted += [run for run in re.findall(r"[0-9]{4,}", text) if run in str(error)]
            continue
        taken += 1
        is_group = isinstance(recipient, GroupJid | CloudGroup)
        assert is_group is (kind is ConversationType.GROUP)
        if isinstance(recipient, CloudGroup):
            continue
        wire = wire_number(recipient)
        assert (
            wire.isdigit()
            if isinstance(recipient, Phone)
            else wire.endswith("@lid" if isinstance(recipient, Lid) else "@g.us")
        )
        assert is_same(possible_jids(recipient)[0], recipient)
        # No two kinds of recipient have an address in common.
        assert all(jid.endswith("@s.whatsapp.net") for jid in possible_jids(recipient)) is isinstance(recipient, Phone)
    record_property("addresses", COUNT)
    record_property("taken", taken)

    assert quoted == []
    assert taken > COUNT // 100
