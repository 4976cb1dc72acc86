"""Endpoints of the sandbox that deliver nothing: version, state, picture, group, sent messages, receipts, edits.

``endpoints`` looks them up by name. A closed session answers each in its own way, docs/gateways.md section 6.2.
"""

import math
from collections.abc import Callable
from datetime import datetime
from typing import Any

from actors.gateways.jids import create_jid
from actors.gateways.sandbox.calls import Call
from actors.gateways.sandbox.replies import CLOSED, Reply, as_json, envelope
from actors.gateways.sandbox.state import State


def _version(_: State, __: Call) -> Reply:
    return as_json(
        200,
        {
            "status": 200,
            "message": "Welcome to the Evolution API, it is working!",
            "version": "2.3.6",
            "clientName": "sandbox",
            "documentation": "https://doc.evolution-api.com",
            "whatsappWebVersion": "2.3000.0",
        },
    )


def _connection_state(state: State, call: Call) -> Reply:
    return as_json(200, {"instance": {"instanceName": call.instance, "state": state.told_state(call.instance)}})


def _fetch_instances(state: State, _: Call) -> Reply:
    with state.lock:
        return as_json(
            200, [{"name": name, "connectionStatus": state.told_state(name)} for name in sorted(state.instances)]
        )


def _picture(state: State, call: Call) -> Reply:
    number = call.fields.get("number")
    if not isinstance(number, str):
        return envelope(500, "Cannot read properties of undefined (reading 'replace')")
    jid = create_jid(number)
    known = state.groups.get(jid) if jid.endswith("@g.us") else state.contacts.get(jid)
    # Every failure is null, a closed session too.
    url = known.picture_url if known is not None and state.is_open(call.instance) else None
    return as_json(200, {"wuid": jid, "profilePictureUrl": url})


def _group(state: State, call: Call) -> Reply:
    jid = call.query["groupJid"]
    group = state.groups.get(jid)
    if not state.is_open(call.instance):
        return envelope(404, ["Error fetching group", f"Error: {CLOSED}"])
    if group is None or group.error is not None:
        cause = "item-not-found" if group is None else str(group.error)
        return envelope(404, ["Error fetching group", f"Error: {cause}"])
    body: dict[str, Any] = {
        "id": jid,
        "subject": group.subject,
        "pictureUrl": group.picture_url,
        "size": len(group.participants),
        "creation": 1_600_000_000,
        "restrict": False,
        "announce": False,
        "participants": group.participants,
        "isCommunity": False,
        "isCommunityAnnounce": False,
    }
    return as_json(200, body | {k: v for k, v in (("owner", group.owner), ("desc", group.desc)) if v is not None})


def _numbers(state: State, call: Call) -> Reply:
    if not state.is_open(call.instance):
        payload = {"statusCode": 428, "error": "Precondition Required", "message": CLOSED}
        boom = {"data": None, "isBoom": True, "isServer": False, "output": {"statusCode": 428, "payload": payload}}
        return as_json(400, boom)
    found = []
    for number in call.fields.get("numbers", []):
        jid = create_jid(str(number))
        contact = state.contacts.get(jid)
        one = {"jid": jid, "exists": contact is None or contact.exists, "number": number}
        found.append(one | ({"lid": contact.lid} if contact is not None and contact.lid else {}))
    return as_json(200, found)


def _messages(state: State, call: Call) -> Reply:
    where = call.fields.get("where")
    where = where if isinstance(where, dict) else {}
    now_ms = state.boot_ms()
    with state.lock:
        stored = [
            one.record
            for one in reversed(state.messages)
            if one.instance == call.instance and one.visible_at_ms is not None and one.visible_at_ms <= now_ms
        ]
    found = [record for record in stored if _matches(record, where)]
    found.sort(key=lambda record: -record["messageTimestamp"])
    size = max(1, _count(call.fields.get("offset"), 50))
    page = max(1, _count(call.fields.get("page"), 1))
    records = found[(page - 1) * size : page * size]
    pages = math.ceil(len(found) / size)
    return as_json(200, {"messages": {"total": len(found), "pages": pages, "currentPage": page, "records": records}})


def _matches(record: dict[str, Any], where: dict[str, Any]) -> bool:
    key = where.get("key")
    for name, value in (key if isinstance(key, dict) else {}).items():
        # Falsy filters are ignored, as there.
        if name in ("id", "remoteJid", "fromMe") and value and record["key"][name] != value:
            return False
    if where.get("id") and record["id"] != where["id"]:
        return False
    if where.get("messageType") and record["messageType"] != where["messageType"]:
        return False
    times = where.get("messageTimestamp")
    if not isinstance(times, dict) or not times.get("gte") or not times.get("lte"):
        return True
    return bool(_epoch_s(times["gte"]) <= record["messageTimestamp"] <= _epoch_s(times["lte"]))


def _epoch_s(text: str) -> int:
    return math.floor(datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp())


def _count(value: Any, default: int) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else default


def _statuses(state: State, call: Call) -> Reply:
    where = call.fields.get("where")
    key_id = where.get("id") if isinstance(where, dict) else None
    with state.lock:
        found = [one.record for one in state.messages if one.instance == call.instance]
    return as_json(
        200,
        [
            {"keyId": key_id, "remoteJid": record["key"]["remoteJid"], "fromMe": True, "status": "SERVER_ACK"}
            for record in found
            if record["key"]["id"] == key_id
        ],
    )


def _mark_read(state: State, call: Call) -> Reply:
    if not state.is_open(call.instance):
        return envelope(500, ["Read messages fail", f"Error: {CLOSED}"])
    return as_json(201, {"message": "Read messages", "read": "success"})


def _update(state: State, call: Call) -> Reply:
    if not isinstance(call.fields.get("number"), str):
        return envelope(500, "Cannot read properties of undefined (reading 'replace')")
    if not state.is_open(call.instance):
        return envelope(500, CLOSED)
    key = call.fields.get("key")
    key = key if isinstance(key, dict) else {}
    with state.lock:
        found = [one.record for one in state.messages if one.record["key"]["id"] == key.get("id")]
    if not found:
        return envelope(400, ["Message not compatible"])
    if found[0]["key"]["remoteJid"] != create_jid(call.fields["number"]):
        return envelope(400, ["RemoteJid does not match"])
    edited = {"protocolMessage": {"key": found[0]["key"], "type": 14}}
    return as_json(200, {"key": found[0]["key"], "message": edited, "messageType": "protocolMessage"})


#: Operation → endpoint.
ENDPOINTS: dict[str, Callable[[State, Call], Reply]] = {
    "version": _version,
    "connectionState": _connection_state,
    "fetchInstances": _fetch_instances,
    "fetchProfilePictureUrl": _picture,
    "findGroupInfos": _group,
    "whatsappNumbers": _numbers,
    "findMessages": _messages,
    "findStatusMessage": _statuses,
    "markMessageAsRead": _mark_read,
    "updateMessage": _update,
}
