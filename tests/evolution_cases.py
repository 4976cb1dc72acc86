"""Answers of Evolution 2.3.6 and its proxies, and what each means: at least one for every rule of docs/gateways.md.

``test_evolution_errors`` asks the table of rules, ``contracts/test_answers`` the client over a socket.
"""

import json
from dataclasses import dataclass, field
from typing import Any

from actors import errors
from actors.gateways.evolution_answers import Operation
from actors.gateways.evolution_rules import GroupUnclear, Success

NOW_MS = 1_761_050_000_000
HTML = b"<html><body>Connection Closed, 5511988887777</body></html>"
ENVOY = b"upstream connect error or disconnect/reset before headers. reset reason: connection termination"
PRISMA = (
    "PrismaClientKnownRequestError: \nInvalid `this.prismaRepository.{model}.{call}()` invocation in\n/evolution/main.js:1\n"
    'data: {{ message: {{ conversation: "Error: Connection Closed" }} }}'
)


def envelope(status: int, message: Any, title: str = "Bad Request") -> bytes:
    return json.dumps({"status": status, "error": title, "response": {"message": message}}).encode()


@dataclass(frozen=True)
class Case:
    rule: str
    status: int
    body: bytes
    kind: type
    code: str = ""
    operation: Operation = Operation.SEND_TEXT
    to_group: bool = False
    headers: dict[str, str] = field(default_factory=dict)
    delay_ms: int | None = None
    max_attempts: int | None = None
    complete: bool = True

    def __str__(self) -> str:
        return f"{self.rule}-{self.status}-{self.code or self.kind.__name__}-{self.operation}"


TEXT, MEDIA, AUDIO = Operation.SEND_TEXT, Operation.SEND_MEDIA, Operation.SEND_AUDIO
GROUP, FIND_ACCOUNT = Operation.FETCH_GROUP, Operation.FIND_ACCOUNT
FIND, PICTURE = Operation.FIND_MESSAGES, Operation.FETCH_PICTURE
SENT = json.dumps({"key": {"id": "3EB0ABCDEF", "remoteJid": "x", "fromMe": True}, "status": "PENDING"}).encode()
BOOM = json.dumps(
    {"data": None, "isBoom": True, "output": {"statusCode": 428, "payload": {"message": "Precondition Required"}}}
).encode()
ABSENT = [{"jid": "5511988887777@s.whatsapp.net", "exists": False, "number": "5511988887777"}]
GRAPH = json.dumps({"message": "(#131030) not allowed", "type": "OAuthException", "code": 131030}).encode()

CASES = [
    Case("2", 201, SENT[:20], errors.Ambiguous, "answer_cut", complete=False),
    Case("2", 400, b"", errors.Ambiguous, "answer_cut", complete=False),
    Case("2", 200, b"{", errors.Transient, "answer_cut", FIND, complete=False),
    Case("3", 201, SENT, Success),
    Case("3", 200, SENT, Success),
    Case("3", 200, b"null", Success, operation=GROUP),
    Case("4", 201, GRAPH, errors.AuthConfig, "not_in_test_list"),
    Case("4", 201, b'{"error": {"code": 100, "error_subcode": 33}}', errors.AuthConfig, "phone_number_id"),
    Case("4", 201, b'{"code": 100}', errors.BadPayload, "bad_payload"),
    Case("4", 201, b'{"code": ' + b"9" * 4_000 + b"}", errors.Ambiguous, "no_message_id"),
    Case("4", 201, b'{"error": {"code": 131056}}', errors.Throttled, "rate_limited", delay_ms=1_000),
    Case("4", 201, b'{"code": 987654}', errors.Ambiguous, "provider_unclear", max_attempts=3),
    Case("4", 200, HTML, errors.Ambiguous, "no_message_id"),
    Case("4", 200, b"{}", errors.Ambiguous, "no_message_id"),
    Case("4", 200, b"null", errors.Ambiguous, "no_message_id"),
    Case("4", 201, b'{"key": {"id": ""}}', errors.Ambiguous, "no_message_id"),
    Case("4", 201, b'{"key": {"id": 7}}', errors.Ambiguous, "no_message_id"),
    Case("4", 201, b'{"key": {"id": "\\ud800"}}', errors.Ambiguous, "no_message_id"),
    Case("4", 204, b"", errors.Ambiguous, "no_message_id"),
    Case("4", 200, HTML, errors.Transient, "not_json", FIND),
    *[Case("5", status, HTML, errors.AuthConfig, "wrong_url") for status in (301, 302, 304, 308, 402, 405, 407)],
    Case("6", 401, envelope(401, "Unauthorized", "Unauthorized"), errors.AuthConfig, "unauthorized"),
    Case("6", 403, HTML, errors.AuthConfig, "forbidden"),
    Case("7", 429, HTML, errors.Throttled, "rate_limited", delay_ms=30_000),
    Case("7", 429, b"", errors.Throttled, "rate_limited", headers={"retry-after": "7"}, delay_ms=7_000),
    Case("7", 429, b"", errors.Throttled, "rate_limited", headers={"retry-after": "99999"}, delay_ms=900_000),
    Case("7", 429, b"", errors.Throttled, "rate_limited", headers={"retry-after": "9" * 400}, delay_ms=900_000),
    Case("7", 429, b"", errors.Throttled, "rate_limited", headers={"retry-after": "0"}, delay_ms=1_000),
    Case("7", 429, b"", errors.Throttled, "rate_limited", headers={"retry-after": "soon"}, delay_ms=30_000),
    Case(
        "7",
        429,
        b"",
        errors.Throttled,
        "rate_limited",
        headers={"retry-after": "Tue, 21 Oct 2025 12:34:00 GMT"},
        delay_ms=40_000,
    ),
    Case(
        "7",
        429,
        b"",
        errors.Throttled,
        "rate_limited",
        headers={"retry-after": "Tue, 21 Oct 2025 12:33:50 -0000"},
        delay_ms=30_000,
    ),
    Case("8", 408, b"", errors.Transient, "request_timeout"),
    Case("9", 413, envelope(413, "request entity too large"), errors.BadPayload, "payload_too_large"),
    *[Case("9", status, b"", errors.BadPayload, "payload") for status in (414, 415, 431)],
    Case("10", 404, envelope(404, ['The "nope" instance does not exist']), errors.AuthConfig, "instance_missing"),
    Case("11", 404, envelope(404, ["Cannot POST /message/sendText/i1"]), errors.AuthConfig, "wrong_url"),
    Case("11", 404, envelope(404, ["Cannot GET /x?y"]), errors.AuthConfig, "wrong_url", PICTURE),
    Case("11", 404, HTML, errors.AuthConfig, "wrong_url"),
    Case("12", 400, envelope(400, ABSENT), errors.NotOnWhatsApp, "not_on_whatsapp"),
    Case("12", 400, envelope(400, [[{"deep": ABSENT}]]), errors.NotOnWhatsApp, "not_on_whatsapp"),
    Case(
        "13", 500, envelope(500, "Connection Closed"), errors.InstanceUnavailable, "connection_closed", delay_ms=5_000
    ),
    Case("13", 400, envelope(400, ["Error: Connection Closed"]), errors.InstanceUnavailable, "connection_closed"),
    Case(
        "13", 500, envelope(500, ["Error: Connection Closed"]), errors.InstanceUnavailable, "connection_closed", MEDIA
    ),
    Case("13", 400, BOOM, errors.InstanceUnavailable, "connection_closed"),
    Case(
        "13",
        404,
        envelope(404, ["Error fetching group", "Error: Connection Closed"]),
        errors.InstanceUnavailable,
        "connection_closed",
        GROUP,
    ),
    *[
        Case(
            "14",
            500,
            envelope(500, f"Cannot read properties of undefined (reading '{method}')"),
            errors.InstanceUnavailable,
            "instance_not_loaded",
        )
        for method in ("textMessage", "mediaMessage", "audioWhatsapp", "locationMessage", "contactMessage")
    ],
    Case(
        "15",
        500,
        envelope(500, "Cannot read properties of undefined (reading 'find')"),
        errors.Transient,
        "lookup_failed",
    ),
    Case("15", 500, envelope(500, PRISMA.format(model="contact", call="findMany")), errors.Transient, "lookup_failed"),
    *[
        Case("16", 400, envelope(400, [PRISMA.format(model=model, call="create")]), Success)
        for model in ("message", "media", "openaiSetting")
    ],
    Case("16", 400, envelope(400, [PRISMA.format(model="message", call="find")]), errors.Transient, "database", FIND),
    Case("17", 400, envelope(400, ["[object Object]"]), GroupUnclear, "group_unclear", to_group=True),
    Case("18", 400, envelope(400, [['requires property "number"']]), errors.BadPayload, "bad_payload"),
    Case("18", 400, envelope(400, ["Text is required"]), errors.BadPayload, "bad_payload"),
    Case("18", 400, envelope(400, ["Owned media must be a url or base64"]), errors.BadPayload, "bad_payload", MEDIA),
    Case(
        "18",
        400,
        envelope(400, ["For base64 the file name must be informed."]),
        errors.BadPayload,
        "bad_payload",
        MEDIA,
    ),
    Case("18", 400, envelope(400, ["Invalid format"]), errors.BadPayload, "bad_payload"),
    Case(
        "18",
        400,
        envelope(400, "Unexpected token } in JSON at position 5", "Internal Server Error"),
        errors.BadPayload,
        "bad_payload",
    ),
    Case(
        "18", 400, envelope(400, [{"property": "groupJid", "message": "bad"}]), errors.BadPayload, "bad_payload", GROUP
    ),
    *[
        Case(
            "§4", 404, envelope(404, ["Error fetching group", f"Error: {cause}"]), kind, code, GROUP, delay_ms=delay_ms
        )
        for cause, kind, code, delay_ms in (
            ("forbidden", errors.Permanent, "group_forbidden", None),
            ("not-authorized", errors.Permanent, "group_forbidden", None),
            ("item-not-found", errors.NotFound, "group_missing", None),
            ("rate-overlimit", errors.Throttled, "rate_overlimit", 60_000),
            ("Timed Out", errors.Transient, "group_unread", None),
        )
    ],
    Case("19", 400, envelope(400, ["Error: Timed Out"]), errors.Ambiguous, "timed_out", max_attempts=3),
    Case("19", 500, envelope(500, "Timed Out"), errors.Ambiguous, "timed_out", max_attempts=3),
    Case("19", 500, envelope(500, "Timed Out"), errors.Transient, "timed_out", PICTURE, max_attempts=3),
    *[
        Case("20", 400, envelope(400, [text]), errors.Transient, "no_session", max_attempts=3)
        for text in ("SessionError: No sessions", "Error: Bad MAC", "Error: No sessions")
    ],
    Case("21", 400, envelope(400, ["Error: rate-overlimit"]), errors.Throttled, "rate_overlimit", delay_ms=60_000),
    Case("21", 500, envelope(500, "rate-overlimit"), errors.Throttled, "rate_overlimit", delay_ms=60_000),
    *[
        Case("22", 500, json.dumps({"message": text}).encode(), errors.Transient, "media_fetch", MEDIA, max_attempts=3)
        for text in (
            "Request failed with status code 500",
            "getaddrinfo ENOTFOUND files.example",
            "connect ECONNREFUSED",
            "Failed to fetch stream from https://files.example/404/a.pdf",
        )
    ],
    Case("22", 500, envelope(500, "Request failed with status code 403"), errors.BadPayload, "media_url", MEDIA),
    Case("22", 500, envelope(500, "Request failed with status code 404"), errors.BadPayload, "media_url", AUDIO),
    Case("23", 500, envelope(500, "Request failed with status code 404"), errors.Ambiguous, "gateway_error"),
    Case("23", 400, envelope(400, ["TypeError: Cannot read properties"]), errors.Ambiguous, "gateway_error"),
    Case("23", 400, envelope(400, ["[object Object]"]), errors.Ambiguous, "gateway_error"),
    Case("23", 500, HTML, errors.Ambiguous, "gateway_error"),
    Case("23", 500, HTML, errors.Transient, "gateway_error", FIND),
    *[Case("24", status, HTML, errors.Ambiguous, "bad_gateway") for status in (502, 504, 520, 524)],
    Case("24", 503, ENVOY, errors.Ambiguous, "bad_gateway"),
    Case("24", 502, HTML, errors.Transient, "bad_gateway", GROUP),
    *[Case("25", status, HTML, errors.Transient, "unavailable") for status in (503, 521, 522, 523)],
    Case("25", 503, HTML, errors.Transient, "unavailable", headers={"retry-after": "5"}, delay_ms=5_000),
    *[Case("26", status, HTML, errors.AuthConfig, "origin_broken") for status in (525, 526, 530)],
    Case("27", 599, b"", errors.Ambiguous, "unknown_status"),
    Case("27", 501, b"", errors.Transient, "unknown_status", PICTURE),
    Case("27", 418, b"", errors.Permanent, "unknown_status"),
    Case("27", 404, b"{}", errors.Permanent, "unknown_status"),
]
