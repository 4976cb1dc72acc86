"""Answers of the Cloud API and its proxies, and what each means: one for every row of docs/whatsapp-cloud.md.

``test_whatsapp_cloud_errors`` and ``test_graph_errors`` ask the tables, ``contracts/test_answers`` the client over a socket.
"""

import json
from dataclasses import dataclass, field

from actors import errors
from actors.gateways.whatsapp_cloud_errors import Accepted, Operation

NOW_MS = 1_761_050_000_000
SEND, UPLOAD, GROUP, LOOK, READ = (
    Operation.SEND,
    Operation.UPLOAD,
    Operation.FETCH_GROUP,
    Operation.LOOK,
    Operation.MARK_READ,
)
HTML = b"<html><body>(#190) 5511988887777</body></html>"
SENT = json.dumps(
    {
        "messaging_product": "whatsapp",
        "contacts": [{"input": "+5511988887777", "wa_id": "5511988887777"}],
        "messages": [{"id": "wamid.HBg"}],
    }
).encode()


def refusal(code, subcode=None, **more):
    error = {"message": f"(#{code}) 5511988887777", "type": "OAuthException", "code": code, "error_subcode": subcode}
    return json.dumps({"error": error, **more}).encode()


@dataclass(frozen=True)
class Case:
    status: int
    body: bytes
    kind: type
    code: str = ""
    operation: Operation = SEND
    headers: dict[str, str] = field(default_factory=dict)
    delay_ms: int | None = None
    alert: bool | None = None
    complete: bool = True

    def __str__(self) -> str:
        return f"{self.status}-{self.code or self.kind.__name__}-{self.operation}-{len(self.body)}"


CASES = [
    # Success needs a 2xx and an id.
    Case(200, SENT, Accepted),
    Case(202, SENT, Accepted),
    Case(200, b'{"id": "1037543291543636"}', Accepted, operation=UPLOAD),
    Case(200, b'{"success": true}', Accepted, operation=READ),
    Case(200, b'{"id": "g", "subject": "G"}', Accepted, operation=GROUP),
    Case(200, b"{}", errors.Ambiguous, "no_message_id"),
    Case(200, b"", errors.Ambiguous, "no_message_id"),
    Case(200, b"null", errors.Ambiguous, "no_message_id"),
    Case(200, HTML, errors.Ambiguous, "no_message_id"),
    Case(200, b'{"messages": []}', errors.Ambiguous, "no_message_id"),
    Case(200, b'{"messages": [{"id": ""}]}', errors.Ambiguous, "no_message_id"),
    Case(200, b'{"messages": [{"id": " "}]}', errors.Ambiguous, "no_message_id"),
    Case(200, b'{"messages": [{"id": 7}]}', errors.Ambiguous, "no_message_id"),
    Case(200, b'{"messages": {"id": "wamid"}}', errors.Ambiguous, "no_message_id"),
    Case(200, b'{"messages": [{"id": "\\ud800"}]}', errors.Ambiguous, "no_message_id"),
    Case(200, json.dumps({"messages": [{"id": "w" * 300}]}).encode(), errors.Ambiguous, "no_message_id"),
    Case(200, b"{}", errors.Transient, "not_json", UPLOAD),
    Case(200, b'{"success": false}', errors.Transient, "not_json", READ),
    Case(200, HTML, errors.Transient, "not_json", LOOK),
    # The code decides, whatever the status is.
    Case(200, refusal(131026), errors.Permanent, "undeliverable"),
    Case(206, refusal(131201), errors.Permanent, "group_refused"),
    Case(429, refusal(130429), errors.Throttled, "rate_limited", delay_ms=1_000),
    Case(400, refusal(130429), errors.Throttled, "rate_limited", delay_ms=1_000),
    Case(429, refusal(131056), errors.Throttled, "rate_limited", delay_ms=1_000),
    Case(500, refusal(190), errors.AuthConfig, "token_refused", alert=True),
    Case(200, refusal(190), errors.AuthConfig, "token_refused", alert=True),
    Case(401, refusal(131047), errors.Permanent, "window_closed"),
    Case(400, refusal(100), errors.BadPayload, "bad_payload"),
    Case(400, refusal(100, 33), errors.AuthConfig, "phone_number_id"),
    Case(400, refusal(33), errors.AuthConfig, "phone_number_id"),
    Case(400, refusal(100, 33), errors.NotFound, "group_missing", GROUP),
    Case(400, refusal(131041), errors.Permanent, "group_refused", GROUP),
    Case(400, refusal(80007), errors.Throttled, "rate_limited", delay_ms=60_000),
    Case(
        400,
        refusal(80007),
        errors.Throttled,
        "rate_limited",
        headers={"x-business-use-case-usage": '{"1": [{"estimated_time_to_regain_access": 19}]}'},
        delay_ms=1_140_000,
    ),
    Case(500, refusal(131000), errors.Ambiguous, "provider_unclear"),
    Case(400, refusal(1), errors.Ambiguous, "provider_unclear"),
    Case(500, refusal(131000), errors.Transient, "provider_unclear", UPLOAD),
    Case(503, refusal(2), errors.Transient, "provider_overloaded"),
    Case(400, refusal(987_654), errors.Permanent, "unknown_code", alert=True),
    Case(500, refusal(987_654), errors.Ambiguous, "unknown_code"),
    Case(400, refusal(987_654, messages=[{"id": "wamid.1"}]), errors.Permanent, "unknown_code"),
    # Without a code: the status.
    Case(429, b"", errors.Throttled, "rate_limited", headers={"retry-after": "7"}, delay_ms=7_000),
    Case(429, HTML, errors.Throttled, "rate_limited", delay_ms=30_000),
    Case(408, b"", errors.Transient, "request_timeout"),
    Case(413, HTML, errors.BadPayload, "payload_too_large"),
    Case(414, b"", errors.BadPayload, "payload"),
    Case(415, b"", errors.BadPayload, "payload"),
    Case(431, b"", errors.BadPayload, "payload"),
    Case(
        401, b'{"meta": {"http_code": 401, "developer_message": "Invalid api key"}}', errors.AuthConfig, "unauthorized"
    ),
    Case(403, HTML, errors.AuthConfig, "forbidden"),
    Case(301, b"", errors.AuthConfig, "wrong_url"),
    Case(304, b"", errors.AuthConfig, "wrong_url"),
    Case(402, b"", errors.AuthConfig, "wrong_url"),
    Case(404, HTML, errors.AuthConfig, "wrong_url"),
    Case(405, b"", errors.AuthConfig, "wrong_url"),
    Case(407, b"", errors.AuthConfig, "wrong_url"),
    Case(500, HTML, errors.Ambiguous, "unknown_status"),
    Case(502, HTML, errors.Ambiguous, "bad_gateway"),
    Case(503, HTML, errors.Ambiguous, "bad_gateway"),
    Case(504, HTML, errors.Ambiguous, "bad_gateway"),
    Case(520, HTML, errors.Ambiguous, "bad_gateway"),
    Case(524, HTML, errors.Ambiguous, "bad_gateway"),
    Case(502, HTML, errors.Transient, "bad_gateway", UPLOAD),
    Case(400, HTML, errors.Permanent, "unknown_status", alert=True),
    Case(418, b"", errors.Permanent, "unknown_status", alert=True),
    # Bodies that are not what they should be.
    Case(400, b'{"error": "text"}', errors.Permanent, "unknown_status"),
    Case(400, b'{"error": {"code": "190"}}', errors.Permanent, "unknown_status"),
    Case(400, b'{"error": {"code": true}}', errors.Permanent, "unknown_status"),
    Case(400, b'{"error": {"code": 5511988887777}}', errors.Permanent, "unknown_status"),
    Case(400, b'{"error": {"code": -1}}', errors.Permanent, "unknown_status"),
    Case(400, b'{"error": {"code": ' + b"9" * 5_000 + b"}}", errors.Permanent, "unknown_status"),
    Case(400, b"[" * 200_000, errors.Permanent, "unknown_status"),
    Case(500, b"\xff" * 2_000_000, errors.Ambiguous, "unknown_status"),
    Case(200, SENT[:40], errors.Ambiguous, "answer_cut", complete=False),
    Case(400, refusal(190), errors.Ambiguous, "answer_cut", complete=False),
    Case(200, b"", errors.Transient, "answer_cut", UPLOAD, complete=False),
]

AUTH, DEAD, BAD = errors.AuthConfig, errors.Permanent, errors.BadPayload
#: Codes, class, reason, and whether an operator is called.
ROWS = [
    ((0, 190), AUTH, "token_refused", True),
    ((3, 10, 200, 250, 299, 131005), AUTH, "permission", True),
    ((368, 131031), AUTH, "account_locked", True),
    ((33,), AUTH, "phone_number_id", True),
    ((131030,), AUTH, "not_in_test_list", True),
    ((131037, 131042, 131045, 133000, 133005, 133006, 133008, 133009), AUTH, "registration", True),
    ((133010, 133015, 133016), AUTH, "registration", True),
    ((131207, 131215), DEAD, "groups_not_allowed", True),
    ((4, 80007, 130429, 131056, 131057, 131208), errors.Throttled, "rate_limited", False),
    ((131048, 131064), errors.Throttled, "quality_limited", True),
    ((2, 131016, 133004), errors.Transient, "provider_overloaded", False),
    ((1, 131000), errors.Ambiguous, "provider_unclear", False),
    ((100, 131008, 131009, 131051, 135000), BAD, "bad_payload", False),
    ((131021,), errors.BadRecipient, "recipient_is_sender", False),
    ((131026,), DEAD, "undeliverable", False),
    ((131047,), DEAD, "window_closed", False),
    ((131049,), DEAD, "marketing_cap", False),
    ((131050,), DEAD, "opted_out", False),
    ((130472,), DEAD, "experiment", False),
    ((130497,), DEAD, "country_restricted", False),
    ((131052, 131053), DEAD, "media_url", False),
    ((132015, 132016), DEAD, "template_paused", True),
    ((132000, 132001, 132005, 132007, 132012, 132068, 132069), DEAD, "template", False),
    ((131020, 131041, 131059, 131201, 131202, 131206, 131209, 131214), DEAD, "group_refused", False),
]
EVERY_CODE = [(code, *rest) for codes, *rest in ROWS for code in codes]
