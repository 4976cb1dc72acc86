"""Read a webhook of the WhatsApp Cloud API: who signed it, and what it says of messages that were sent. Pure.

A view hands over the raw body and the header, then applies what :func:`updates` gives. Hostile bodies give nothing; they
never fail. Source: docs/whatsapp-cloud.md, "Webhooks".
"""

import hashlib
import hmac
from collections.abc import Iterator
from typing import Any

from actors.errors import NotDelivered
from actors.gateways.graph_errors import classify_code, unknown_code
from actors.gateways.webhook_values import decoded, items, table, text, time_ms, whole
from actors.gateways.whatsapp_cloud_requests import MAX_REFERENCE_CHARS
from actors.updates import DeliveryStatus, StatusUpdate

#: Meta puts at most this many into one post; more is not hers.
MAX_UPDATES = 1_000
_SIGNATURE = "sha256="
_STATUSES = {str(status): status for status in DeliveryStatus}


def is_signed(raw: bytes, signature: str | None, *, app_secret: str) -> bool:
    """Whether ``signature`` (header ``X-Hub-Signature-256``) is Meta's for exactly these bytes.

    Takes as long for a wrong one as for the right one. Without a secret nothing is signed.
    """
    if not app_secret or not signature or not signature.startswith(_SIGNATURE):
        return False
    return hmac.compare_digest(sign(raw, app_secret=app_secret).encode(), signature.encode("utf-8", "replace"))


def sign(raw: bytes, *, app_secret: str) -> str:
    """The header's value for a body."""
    return _SIGNATURE + hmac.new(app_secret.encode(), raw, hashlib.sha256).hexdigest()


def updates(raw: bytes) -> list[StatusUpdate]:
    """Every status in a body, in its order, repeats of one message's status once; check :func:`is_signed` before."""
    found: dict[tuple[str, DeliveryStatus], StatusUpdate] = {}
    for value in _values(decoded(raw)):
        number_id = text(table(value.get("metadata")).get("phone_number_id"))
        for status in items(value.get("statuses")):
            update = _status(status, number_id)
            if update is not None and len(found) < MAX_UPDATES:
                found.setdefault(update.key, update)
    return list(found.values())


def _values(body: Any) -> Iterator[dict[str, Any]]:
    for entry in items(table(body).get("entry")):
        for change in items(entry.get("changes")):
            yield table(change.get("value"))


def _status(told: dict[str, Any], number_id: str | None) -> StatusUpdate | None:
    message_id = text(told.get("id"))
    said = told.get("status")
    status = _STATUSES.get(said) if isinstance(said, str) else None
    if message_id is None or status is None:
        return None
    error_code, alert = _failure(told) if status is DeliveryStatus.FAILED else (None, False)
    return StatusUpdate(
        provider_message_id=message_id,
        status=status,
        at_ms=time_ms(told.get("timestamp")),
        reference=text(told.get("biz_opaque_callback_data"), max_chars=MAX_REFERENCE_CHARS),
        phone_number_id=number_id,
        recipient=text(told.get("recipient_id")),
        error_code=error_code,
        alert=alert,
    )


def _failure(told: dict[str, Any]) -> tuple[str, bool]:
    """Why it failed, as a code of ours, and whether that calls an operator: by the same table as an answer."""
    first = next(items(told.get("errors")), {})
    code = whole(first.get("code"))
    if code is None:
        return NotDelivered.code, False
    error = classify_code(code, text="") or unknown_code(code, status=400, text="")
    return error.code, error.alert
