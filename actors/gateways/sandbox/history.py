"""Endpoints of Evolution about messages that were sent: search, statuses, receipts, edits.

``evolution`` lists :data:`OPERATIONS`. Bodies: docs/gateways.md, sections 5 and 7.
"""

import math
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from actors.gateways.jids import create_jid
from actors.gateways.sandbox import validators
from actors.gateways.sandbox.calls import Call
from actors.gateways.sandbox.operations import Operation, of_body
from actors.gateways.sandbox.replies import CLOSED, Reply, as_json, envelope
from actors.gateways.sandbox.saved import StoredMessage
from actors.gateways.sandbox.state import State

#: Kinds of message whose words can be changed.
_EDITABLE = ("conversation", "imageMessage", "videoMessage")


def _messages(state: State, call: Call) -> Reply:
    where = call.fields.get("where")
    where = where if isinstance(where, dict) else {}
    asked = where.get("key")
    key = asked if isinstance(asked, dict) else {}
    rows = state.saved.newest_first(call.instance, jid=key.get("remoteJid") or None)
    try:
        found = [one for one in rows if _matches(one.record, where, key)]
    except ValueError:
        return envelope(500, "Invalid value for argument `gte`: premature end of input.")
    size = max(1, _count(call.fields.get("offset"), 50))
    page = max(1, _count(call.fields.get("page"), 1))
    now_ms = state.boot_ms()
    records = [one.shown(now_ms) for one in found[(page - 1) * size : page * size]]
    pages = math.ceil(len(found) / size)
    return as_json(200, {"messages": {"total": len(found), "pages": pages, "currentPage": page, "records": records}})


def _matches(record: dict[str, Any], where: dict[str, Any], key: dict[str, Any]) -> bool:
    # Filters are equality, and falsy ones are ignored, as there.
    asked: Iterable[tuple[Any, Any]] = (
        *((key.get(name), record["key"].get(name)) for name in ("id", "remoteJid", "fromMe")),
        *((where.get(name), record.get(name)) for name in ("id", "messageType", "source")),
    )
    if any(wanted and wanted != has for wanted, has in asked):
        return False
    times = where.get("messageTimestamp")
    if not isinstance(times, dict) or not times.get("gte") or not times.get("lte"):
        return True
    return bool(_epoch_s(times["gte"]) <= record["messageTimestamp"] <= _epoch_s(times["lte"]))


def _epoch_s(text: Any) -> int:
    return math.floor(datetime.fromisoformat(str(text).replace("Z", "+00:00")).timestamp())


def _count(value: Any, default: int) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else default


def _statuses(state: State, call: Call) -> Reply:
    where = call.fields.get("where")
    where = where if isinstance(where, dict) else {}
    key_id, jid = where.get("id"), where.get("remoteJid")
    if key_id is None:
        rows = state.saved.newest_first(call.instance, jid=jid)[::-1]
    else:
        one = state.saved.get(call.instance, key_id)
        rows = [one] if one is not None and jid in (None, one.record["key"]["remoteJid"]) else []
    now_ms = state.boot_ms()
    return as_json(200, [update_of(row, status) for row in rows for status in row.statuses(now_ms)])


def update_of(row: StoredMessage, status: str) -> dict[str, Any]:
    """One status of a message, as the database and ``messages.update`` have it: ``messageId`` is the row's, not the phone's."""
    key = row.record["key"]
    return {
        "keyId": key["id"],
        "remoteJid": key["remoteJid"],
        "fromMe": key["fromMe"],
        "participant": None,
        "status": status,
        "pollUpdates": None,
        "instanceId": row.record["instanceId"],
        "messageId": row.record["id"],
    }


def _mark_read(state: State, call: Call) -> Reply:
    """Receipts for linked ids are dropped there, and success is told all the same."""
    if not state.is_open(call.instance):
        return envelope(500, ["Read messages fail", f"Error: {CLOSED}"])
    return as_json(201, {"message": "Read messages", "read": "success"})


def _update(state: State, call: Call) -> Reply:
    if not isinstance(call.fields.get("number"), str):
        return envelope(500, "Cannot read properties of undefined (reading 'replace')")
    key = call.fields.get("key")
    row = state.saved.get(call.instance, key.get("id")) if isinstance(key, dict) else None
    # The database is asked before the session.
    if row is None or row.record["messageType"] not in _EDITABLE:
        return envelope(400, ["Message not compatible"])
    if row.record["key"]["remoteJid"] != create_jid(call.fields["number"]):
        return envelope(400, ["RemoteJid does not match"])
    if not state.is_open(call.instance):
        return envelope(500, CLOSED)
    return as_json(200, _edited(state, row, str(call.fields.get("text", ""))))


def _edited(state: State, row: StoredMessage, text: str) -> dict[str, Any]:
    record = row.record
    kind = record["messageType"]
    with state.lock:
        if kind == "conversation":
            record["message"] = {"conversation": text}
        else:
            record["message"] = {kind: {**record["message"][kind], "caption": text}}
        row.acks.append((state.boot_ms(), "EDITED"))
    protocol = {"key": record["key"], "type": 14, "editedMessage": record["message"]}
    state.announce("send.message.update", row.instance, protocol)
    return {
        "key": record["key"],
        "message": {"protocolMessage": protocol},
        "messageType": "protocolMessage",
        "messageTimestamp": state.now_ms() // 1000,
        "status": "PENDING",
    }


OPERATIONS = tuple(
    Operation(op, "POST", "chat", answer, check=of_body(check), unloaded=unloaded)
    for op, answer, check, unloaded in (
        ("findMessages", _messages, validators.check_search, "fetchMessages"),
        ("findStatusMessage", _statuses, validators.check_statuses, "fetchStatusMessage"),
        ("markMessageAsRead", _mark_read, validators.check_receipts, "markMessageAsRead"),
        ("updateMessage", _update, validators.check_edit, "updateMessage"),
    )
)
