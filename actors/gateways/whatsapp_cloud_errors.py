"""What an answer of the WhatsApp Cloud API means: accepted, or one error of ``actors.errors``. Pure; no body makes it fail.

``actors.gateways.whatsapp_cloud`` asks :func:`classify` after every request. Meta's ``code`` decides wherever the body has
one, the HTTP status only where it has none: providers between Meta and us change statuses. Source: docs/whatsapp-cloud.md,
"Cloud codes".
"""

import json
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from actors.errors import (
    Ambiguous,
    AuthConfig,
    BadPayload,
    ChatError,
    GatewayUnreachable,
    NotFound,
    Permanent,
    Throttled,
    Transient,
)
from actors.gateways import http_headers
from actors.gateways.exchange import Answer, NoAnswer
from actors.gateways.graph_errors import GraphFacts, classify_code, unknown_code, worth

#: A proxy that names no time is given this long.
_RETRY_AFTER_DEFAULT_MS = 30_000
#: Longest id that is one, in characters; stores keep 255.
MAX_ID_CHARS = 255


class Operation(StrEnum):
    """What was asked of the Cloud API."""

    #: A message to a person or group.
    SEND = "messages"
    #: A file, to be sent by its id.
    UPLOAD = "media"
    #: That a message of the other side was read.
    MARK_READ = "read"
    #: A group's subject and size.
    FETCH_GROUP = "group"
    #: Whether a number, or the token's owner, is there.
    LOOK = "look"


@dataclass(frozen=True, slots=True)
class Accepted:
    """The answer is good. ``id`` is the message's, or the uploaded file's; empty for a question."""

    body: Any = field(default=None, repr=False)
    id: str = ""


@dataclass(frozen=True, slots=True)
class Asked:
    """One request as far as its answer's meaning depends on it. ``subject`` is an id of ours, for texts."""

    operation: Operation
    subject: str
    by_link: bool = False


def classify(asked: Asked, outcome: Answer | NoAnswer, *, now_ms: int = 0) -> ChatError | Accepted:
    """Meaning of ``outcome``; total: it never raises.

    Nothing but a send can be ambiguous: whatever else is asked may be asked again.
    """
    verdict = _no_answer(asked, outcome) if isinstance(outcome, NoAnswer) else _answer(asked, outcome, now_ms)
    if asked.operation is Operation.SEND or not isinstance(verdict, Ambiguous):
        return verdict
    error = Transient(str(verdict), code=verdict.code, request_written=verdict.request_written)
    return error if verdict.max_attempts is None else worth(error, verdict.max_attempts)


def _no_answer(asked: Asked, outcome: NoAnswer) -> ChatError:
    if not outcome.request_written:
        return GatewayUnreachable(
            f"{asked.subject}: the Cloud API was not reached for {asked.operation} ({outcome.cause}); "
            "check CHAT_WHATSAPP_CLOUD_URL"
        )
    what = "did not answer in time" if outcome.timed_out else "broke the connection"
    return Ambiguous(
        f"{asked.subject}: the Cloud API {what} to {asked.operation} ({outcome.cause})",
        code="timeout" if outcome.timed_out else "connection_lost",
    )


def _answer(asked: Asked, answer: Answer, now_ms: int) -> ChatError | Accepted:
    where = f"status {answer.status} to {asked.operation}"
    if not answer.complete:
        return Ambiguous(f"{asked.subject}: the answer of the Cloud API was cut ({where})", code="answer_cut")
    body = _decoded(answer.body)
    is_success = 200 <= answer.status < 300
    if is_success:
        accepted = _accepted(asked.operation, body)
        if accepted is not None:
            return accepted
    code, subcode = _codes(body)
    if code is not None:
        facts = GraphFacts(
            subcode=subcode,
            regain_ms=http_headers.regain_ms(answer.headers),
            retry_after_ms=http_headers.retry_after_ms(answer.headers, now_ms=now_ms),
            by_link=asked.by_link,
        )
        return _by_code(asked, code, answer.status, facts)
    return _by_status(asked, answer, now_ms)


def _by_code(asked: Asked, code: int, status: int, facts: GraphFacts) -> ChatError:
    text = f"{asked.subject}: the Cloud API refuses {asked.operation} with code {code} (status {status})"
    if asked.operation is Operation.FETCH_GROUP and (code == 33 or (code == 100 and facts.subcode == 33)):
        advice = "there is no such group, or no access to it"
        return NotFound(f"{text}: {advice}", code="group_missing", request_written=True)
    return classify_code(code, text=text, facts=facts) or unknown_code(code, status=status, text=text)


def _by_status(asked: Asked, answer: Answer, now_ms: int) -> ChatError:
    status = answer.status
    text = f"{asked.subject}: status {status} to {asked.operation} without a code of the Cloud API"
    if status == 429:
        asked_ms = http_headers.retry_after_ms(answer.headers, now_ms=now_ms)
        return Throttled(text, delay_ms=asked_ms or _RETRY_AFTER_DEFAULT_MS, code="rate_limited")
    if status == 408:
        return Transient(text, code="request_timeout", request_written=True)
    if status == 413:
        return BadPayload(text, code="payload_too_large", request_written=True)
    if status in (414, 415, 431):
        return BadPayload(text, code="payload", request_written=True)
    if status == 401:
        return AuthConfig(f"{text}; check the instance's token", code="unauthorized", request_written=True)
    if status == 403:
        return AuthConfig(f"{text}; check the token and the proxy's rules", code="forbidden", request_written=True)
    if status in (402, 404, 405, 407) or status < 200 or 300 <= status < 400:
        advice = "something else answers here; check CHAT_WHATSAPP_CLOUD_URL and CHAT_WHATSAPP_CLOUD_VERSION"
        return AuthConfig(f"{text}; {advice}", code="wrong_url", request_written=True)
    return _unclear_status(asked, status, text)


def _unclear_status(asked: Asked, status: int, text: str) -> ChatError:
    if 200 <= status < 300:
        return Ambiguous(text, code="no_message_id" if asked.operation is Operation.SEND else "not_json")
    if status >= 500:
        # There is no key that makes a repeated send harmless, so a proxy's page proves nothing.
        return Ambiguous(text, code="bad_gateway" if status in (502, 503, 504, 520, 524) else "unknown_status")
    return Permanent(text, code="unknown_status", request_written=True, alert=True)


def _accepted(operation: Operation, body: Any) -> Accepted | None:
    """The good answer in a decoded body of a 2xx; None when it is not one."""
    if not isinstance(body, dict):
        return None
    if operation is Operation.SEND:
        messages = body.get("messages")
        first = messages[0] if isinstance(messages, list) and messages else None
        message_id = _usable_id(first.get("id") if isinstance(first, dict) else None)
        return None if message_id is None else Accepted(body, message_id)
    if operation is Operation.UPLOAD:
        media_id = _usable_id(body.get("id"))
        return None if media_id is None else Accepted(body, media_id)
    if operation is Operation.MARK_READ:
        return Accepted(body) if body.get("success") is True else None
    return None if "error" in body else Accepted(body)


def _usable_id(value: Any) -> str | None:
    # A lone surrogate is a str that no database takes; such an id would be lost, hence it is none.
    if isinstance(value, str) and 0 < len(value) <= MAX_ID_CHARS and value.isprintable() and value.strip():
        return value
    return None


def _decoded(raw: bytes) -> Any:
    try:
        return json.loads(raw)
    except (ValueError, RecursionError):
        return None


def _codes(body: Any) -> tuple[int | None, int | None]:
    """``error.code`` and ``error.error_subcode``."""
    error = body.get("error") if isinstance(body, dict) else None
    if not isinstance(error, dict):
        return None, None
    return _integer(error.get("code")), _integer(error.get("error_subcode"))


def _integer(value: Any) -> int | None:
    # No code has more digits; what has may be somebody's number, and texts name the code.
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10_000_000 else None
