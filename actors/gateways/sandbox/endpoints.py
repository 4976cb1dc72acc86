"""What each endpoint of the sandbox does once a request has passed the guards; sends end at the accept point.

``contract`` calls :func:`answer`. Bodies are those of Evolution 2.3.6, docs/gateways.md sections 2 to 7.
"""

import base64
import hashlib
import json
import mimetypes
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from actors.gateways.jids import create_jid
from actors.gateways.sandbox import lookups
from actors.gateways.sandbox.calls import Call
from actors.gateways.sandbox.replies import CLOSED, Refused, Reply, as_json, envelope
from actors.gateways.sandbox.state import State, StoredMessage

#: The longest ``delay`` that is obeyed, in milliseconds.
MAX_DELAY_MS = 60_000
_TYPES = mimetypes.MimeTypes(filenames=())
_KINDS = {"image": "imageMessage", "video": "videoMessage", "document": "documentMessage", "audio": "audioMessage"}


def answer(state: State, call: Call) -> Reply:
    """The endpoint's answer.

    Raises:
        Refused: it ends before the accept point.
    """
    if call.is_send:
        return _send(state, call)
    endpoint: Callable[[State, Call], Reply] = lookups.ENDPOINTS[call.op or ""]
    return endpoint(state, call)


def _send(state: State, call: Call) -> Reply:
    body = call.fields
    kind, content = _content(state, call)
    jid = create_jid(body["number"])
    _check_number(state, call, jid)
    state.pause(min(max(body.get("delay", 0), 0), MAX_DELAY_MS) / 1000)
    # The session may have closed while it waited.
    if not state.is_open(call.instance):
        raise Refused(envelope(400, [f"Error: {CLOSED}"]))
    delivery = state.accept(
        _delivery(state, call, jid=jid, kind=kind, content=content), reuse_id=call.struck_by("duplicate_id") is not None
    )
    record = _record(state, call, delivery, kind, content)
    _persist(state, call, record)
    shown = {name: value for name, value in record.items() if name not in ("id", "contextInfo", "MessageUpdate")}
    wrong = call.struck_by("wrong_jid")
    if wrong is not None:
        shown["key"] = {**record["key"], "remoteJid": wrong.action["jid"]}
    return replace(as_json(201, {**shown, "status": "PENDING"}), seq=delivery["seq"])


def _content(state: State, call: Call) -> tuple[str, dict[str, Any]]:
    """Message type and content; files are prepared here, before the number is looked at.

    Raises:
        Refused: the file cannot be fetched, or the session is closed and it cannot be uploaded.
    """
    body = call.fields
    if call.op == "sendText":
        return "conversation", {"conversation": body["text"]}
    url = body["media"] if call.op == "sendMedia" else body["audio"]
    host = urlsplit(url).hostname or ""
    # Nothing is fetched; names under .invalid never resolve anywhere, so these fail here as they would there.
    if host.endswith(".invalid"):
        raise Refused(envelope(500, f"getaddrinfo ENOTFOUND {host}"))
    if call.op == "sendWhatsAppAudio":
        return "audioMessage", {"audioMessage": {"url": url, "mimetype": "audio/ogg; codecs=opus", "ptt": True}}
    if not state.is_open(call.instance):
        raise Refused(envelope(500, [f"Error: {CLOSED}"]))
    kind = _KINDS[body["mediatype"]]
    inner: dict[str, Any] = {"url": url, "mimetype": _mimetype(body)}
    if kind == "documentMessage":
        inner["fileName"] = body.get("fileName")
    if kind == "audioMessage":
        inner["ptt"] = False
    elif body.get("caption"):
        inner["caption"] = body["caption"]
    return kind, {kind: inner}


def _mimetype(body: dict[str, Any]) -> str:
    """The file name decides, whatever the request says; an unknown extension gives the type ``false``."""
    if body.get("fileName"):
        guessed = _TYPES.guess_type(body["fileName"], strict=False)[0]
        return guessed or "false"
    return str(body.get("mimetype", "application/octet-stream"))


def _check_number(state: State, call: Call, jid: str) -> None:
    is_open = state.is_open(call.instance)
    if jid.endswith("@g.us"):
        group = state.groups.get(jid)
        # One body for three causes: closed, missing, forbidden.
        if not is_open or group is None or group.error is not None:
            raise Refused(envelope(400, ["[object Object]"]))
        return
    if not is_open:
        known = jid in state.known_jids or not jid.endswith("@s.whatsapp.net")
        raise Refused(envelope(400, [f"Error: {CLOSED}"]) if known else envelope(500, CLOSED))
    contact = state.contacts.get(jid)
    if jid == "@s.whatsapp.net" or (contact is not None and not contact.exists):
        raise Refused(envelope(400, [{"jid": jid, "exists": False, "number": call.fields["number"]}]))
    with state.lock:
        state.known_jids.add(jid)


def _delivery(state: State, call: Call, *, jid: str, kind: str, content: dict[str, Any]) -> dict[str, Any]:
    body = call.fields
    media = _media(body, content.get(kind))
    text, caption = body.get("text"), body.get("caption")
    quoted = body.get("quoted") if call.op != "sendWhatsAppAudio" else None
    quoted_id = quoted["key"].get("id") if isinstance(quoted, dict) and isinstance(quoted.get("key"), dict) else None
    with state.lock:
        stored = {one.record["key"]["id"] for one in state.messages if one.instance == call.instance}
    has_message = isinstance(quoted, dict) and isinstance(quoted.get("message"), dict)
    parts = [call.instance, jid, call.op, text or caption or "", media["sha256"] if media else ""]
    return {
        "instance": call.instance,
        "apikey_id": hashlib.sha256(call.headers.get("apikey", "").encode()).hexdigest()[:12],
        "requested_number": body["number"],
        "jid": jid,
        "op": call.op,
        "type": kind,
        "text": text,
        "caption": caption,
        "media": media,
        "quoted_id": quoted_id,
        # Evolution looks the quoted message up and sends unquoted, silently, when it has none.
        "quote_lost": quoted_id is not None and not has_message and quoted_id not in stored,
        "mentions": _mentions(call, jid),
        "client_ref": call.client_ref,
        "client_seq": call.client_seq,
        "fingerprint": hashlib.sha256(json.dumps(parts).encode()).hexdigest(),
        "peer_disconnected": call.is_gone(),
        "response_sent": False,
        "fault": [rule.id for rule in call.struck] or None,
    }


def _mentions(call: Call, jid: str) -> dict[str, Any] | None:
    if call.op == "sendWhatsAppAudio" or not jid.endswith("@g.us"):
        return None
    everyone = call.fields.get("mentionsEveryOne") is True
    mentioned = call.fields.get("mentioned", [])
    return {"everyone": everyone, "mentioned": mentioned} if everyone or mentioned else None


def _media(body: dict[str, Any], inner: Any) -> dict[str, Any] | None:
    source = body.get("media", body.get("audio"))
    if not isinstance(source, str) or not isinstance(inner, dict):
        return None
    is_url = "://" in source or "." in source
    content = source.encode() if is_url else base64.b64decode(source)
    return {
        "sha256": hashlib.sha256(content).hexdigest(),
        "bytes": None if is_url else len(content),
        "url": source if is_url else None,
        "fileName": body.get("fileName"),
        "mimetype": inner.get("mimetype"),
    }


def _record(state: State, call: Call, delivery: dict[str, Any], kind: str, content: dict[str, Any]) -> dict[str, Any]:
    quoted = delivery["quoted_id"] if not delivery["quote_lost"] else None
    return {
        "id": f"db-{delivery['seq']}",
        "key": {"remoteJid": delivery["jid"], "fromMe": True, "id": delivery["key_id"]},
        "pushName": "Você",
        "messageType": kind,
        "message": content,
        "messageTimestamp": delivery["accepted_at"]["wall_ms"] // 1000,
        "instanceId": hashlib.sha256(call.instance.encode()).hexdigest()[:32],
        "source": "unknown",
        "contextInfo": None if quoted is None else {"stanzaId": quoted},
        "MessageUpdate": [{"status": "SERVER_ACK"}],
    }


def _persist(state: State, call: Call, record: dict[str, Any]) -> None:
    if not state.instances[call.instance].save_messages:
        return
    if any(rule.action.get("preset") == "prisma_after_send" for rule in call.struck):
        return
    lag = call.struck_by("persist_lag")
    visible_at_ms: int | None = state.boot_ms()
    if lag is not None:
        visible_at_ms = None if lag.action.get("never") else state.boot_ms() + int(lag.action.get("ms", 0))
    with state.lock:
        state.messages.append(StoredMessage(call.instance, record, visible_at_ms))
