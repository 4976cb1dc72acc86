"""The routes of Evolution that deliver: they end at the accept point.

``evolution`` lists :data:`OPERATIONS`; another kind of message is a composer of its own and ``partial(send, compose=…)``.
Bodies are those of Evolution 2.3.6, docs/gateways.md section 2.
"""

import base64
import hashlib
import json
import mimetypes
import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from actors.gateways.sandbox import validators
from actors.gateways.sandbox.calls import Call
from actors.gateways.sandbox.forms import Upload
from actors.gateways.sandbox.history import update_of
from actors.gateways.sandbox.operations import Operation, of_body
from actors.gateways.sandbox.replies import CLOSED, Refused, Reply, as_json, envelope
from actors.gateways.sandbox.saved import StoredMessage
from actors.gateways.sandbox.state import State, instance_id

#: The longest ``delay`` that is obeyed, in milliseconds.
MAX_DELAY_MS = 60_000
_TYPES = mimetypes.MimeTypes(filenames=())
_KINDS = {"image": "imageMessage", "video": "videoMessage", "document": "documentMessage", "audio": "audioMessage"}
_DEFAULT_NAMES = {"imageMessage": "image.jpg", "videoMessage": "video.mp4"}


#: These ignore replies and mentions, also well-formed ones.
_WITHOUT_CONTEXT = ("sendWhatsAppAudio", "sendContact")

#: Message type and content of a send. Raises ``Refused`` for what fails before the number is looked at.
Composer = Callable[[State, Call], tuple[str, dict[str, Any]]]


def send(state: State, call: Call, *, compose: Composer) -> Reply:
    """Deliver what ``compose`` makes of the request.

    Raises:
        Refused: it ends before the accept point.
    """
    body = call.fields
    kind, content = compose(state, call)
    jid = call.jid
    _check_number(state, call, jid)
    state.pause(min(max(body.get("delay", 0), 0), MAX_DELAY_MS) / 1000)
    # The session may have closed while it waited.
    if not state.is_open(call.instance):
        raise Refused(envelope(400, [f"Error: {CLOSED}"]))
    delivery = state.accept(
        _delivery(state, call, kind=kind, content=content), reuse_id=call.struck_by("duplicate_id") is not None
    )
    record = _record(call, delivery, kind, content)
    shown = {name: value for name, value in record.items() if name not in ("id", "contextInfo")} | {"status": "PENDING"}
    _persist(state, call, record, shown)
    wrong = call.struck_by("wrong_jid")
    if wrong is not None:
        shown = {**shown, "key": {**record["key"], "remoteJid": wrong.action["jid"]}}
    return replace(as_json(201, shown), seq=delivery["seq"])


def _text(_: State, call: Call) -> tuple[str, dict[str, Any]]:
    return "conversation", {"conversation": call.fields["text"]}


def _voice(_: State, call: Call) -> tuple[str, dict[str, Any]]:
    url = _source(call.fields, "audio")
    _check_host(url)
    return "audioMessage", {"audioMessage": {"url": url, "mimetype": "audio/ogg; codecs=opus", "ptt": True}}


def _file(state: State, call: Call) -> tuple[str, dict[str, Any]]:
    body = call.fields
    source = _source(body, "media")
    _check_host(source)
    if not state.is_open(call.instance):
        raise Refused(envelope(500, [f"Error: {CLOSED}"]))
    kind = _KINDS[body["mediatype"]]
    name = (
        body.get("fileName") or _DEFAULT_NAMES.get(kind) or (_bare_name(source) if kind == "documentMessage" else None)
    )
    inner: dict[str, Any] = {"url": source, "mimetype": _mimetype(name, body)}
    inner |= {"fileName": name} if name else {}
    inner |= {"caption": body["caption"]} if body.get("caption") is not None else {}
    return kind, {kind: inner}


def _source(body: dict[str, Any], field: str) -> str:
    """Where the file is: its URL, or itself in base64."""
    upload = body.get(validators.FILE)
    if isinstance(upload, Upload):
        return base64.b64encode(upload.content).decode()
    return str(body[field])


def _bare_name(source: str) -> str:
    """Evolution names a document by what stands before the first dot after a slash, which leaves no extension."""
    match = re.match(r".*/(.+?)\.", source)
    if match is None:
        raise Refused(envelope(500, ["TypeError: Cannot read properties of null (reading '1')"]))
    return match[1]


def _check_host(url: str) -> None:
    """Nothing is fetched; names under .invalid never resolve anywhere, so these fail here as they would there."""
    host = urlsplit(url).hostname or ""
    if host.endswith(".invalid"):
        raise Refused(envelope(500, [f"AxiosError: getaddrinfo ENOTFOUND {host}"]))


def _mimetype(name: str | None, body: dict[str, Any]) -> str:
    """The file name decides, whatever the request says; an unknown extension gives the type ``false``."""
    if name:
        return _TYPES.guess_type(name, strict=False)[0] or "false"
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


def _delivery(state: State, call: Call, *, kind: str, content: dict[str, Any]) -> dict[str, Any]:
    body = call.fields
    media = _media(body, content.get(kind))
    text, caption = body.get("text"), body.get("caption")
    quoted = body.get("quoted") if call.op not in _WITHOUT_CONTEXT else None
    quoted_id, quoted_text = _quoted(state, call, quoted)
    words = text or caption or ("" if media else json.dumps(content, sort_keys=True))
    return {
        "instance": call.instance,
        "apikey_id": hashlib.sha256(call.headers.get("apikey", "").encode()).hexdigest()[:12],
        "requested_number": call.number,
        "jid": call.jid,
        "op": call.op,
        "type": kind,
        "text": text,
        "caption": caption,
        "media": media,
        "content": content if media is None else None,
        "quoted_id": quoted_id,
        "quoted_text": quoted_text,
        "quote_lost": quoted_id is not None and quoted_text is None,
        "mentions": _mentions(call, call.jid),
        "client_ref": call.client_ref,
        "client_seq": call.client_seq,
        "fingerprint": fingerprint(call, words=words, media=media),
        "peer_disconnected": call.is_gone(),
        "response_sent": False,
        "request_id": call.request_id,
        "fault": [rule.id for rule in call.struck] or None,
    }


def _quoted(state: State, call: Call, quoted: Any) -> tuple[str | None, str | None]:
    """Id of what is quoted, and what its bubble says; None where Evolution sends unquoted, silently.

    What the request tells wins; else Evolution looks it up by its id among what it has saved.
    """
    key = quoted.get("key") if isinstance(quoted, dict) else None
    key_id = key.get("id") if isinstance(key, dict) else None
    if key_id is None:
        return None, None
    told = quoted.get("message")
    row = None if isinstance(told, dict) else state.saved.get(call.instance, key_id)
    message = told if isinstance(told, dict) else row.record["message"] if row is not None else None
    return key_id, None if message is None else _words(message)


def _words(message: dict[str, Any]) -> str:
    said = message.get("conversation")
    captions = (one.get("caption") for one in message.values() if isinstance(one, dict))
    return next((text for text in (said, *captions) if isinstance(text, str)), "")


def fingerprint(call: Call, *, words: str, media: dict[str, Any] | None) -> str:
    """Digest of who gets what: equal for two sends that look the same on the phone."""
    parts = [call.instance, call.jid, call.op, words, media["sha256"] if media else ""]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _mentions(call: Call, jid: str) -> dict[str, Any] | None:
    if call.op in _WITHOUT_CONTEXT or not jid.endswith("@g.us"):
        return None
    everyone = call.fields.get("mentionsEveryOne") is True
    mentioned = call.fields.get("mentioned", [])
    return {"everyone": everyone, "mentioned": mentioned} if everyone or mentioned else None


def _media(body: dict[str, Any], inner: Any) -> dict[str, Any] | None:
    if not isinstance(inner, dict) or "url" not in inner:
        return None
    source = inner["url"]
    is_url = "://" in source or "." in source
    content = source.encode() if is_url else base64.b64decode(source)
    return {
        "sha256": hashlib.sha256(content).hexdigest(),
        "bytes": None if is_url else len(content),
        "url": source if is_url else None,
        "fileName": body.get("fileName"),
        "mimetype": inner.get("mimetype"),
    }


def _record(call: Call, delivery: dict[str, Any], kind: str, content: dict[str, Any]) -> dict[str, Any]:
    quoted = delivery["quoted_id"] if not delivery["quote_lost"] else None
    return {
        "id": f"db-{delivery['seq']}",
        "key": {"remoteJid": delivery["jid"], "fromMe": True, "id": delivery["key_id"]},
        "pushName": "Você",
        "messageType": kind,
        "message": content,
        "messageTimestamp": delivery["accepted_at"]["wall_ms"] // 1000,
        "instanceId": instance_id(call.instance),
        "source": "unknown",
        "contextInfo": None if quoted is None else {"stanzaId": quoted},
    }


def _persist(state: State, call: Call, record: dict[str, Any], shown: dict[str, Any]) -> None:
    """The row and its webhooks; a database that failed has neither."""
    if any(rule.action.get("preset") == "prisma_after_send" for rule in call.struck):
        return
    now_ms = state.boot_ms()
    acks = [(int(rule.action.get("after_ms", 0)), rule.action["status"]) for rule in call.struck if rule.kind == "ack"]
    lag = call.struck_by("persist_lag")
    visible_at_ms: int | None = now_ms
    if lag is not None:
        visible_at_ms = None if lag.action.get("never") else now_ms + int(lag.action.get("ms", 0))
    # Without a rule WhatsApp takes it at once, and says so to the database only.
    at = [(now_ms + after_ms, status) for after_ms, status in acks] or [(now_ms, "SERVER_ACK")]
    row = StoredMessage(call.instance, record, visible_at_ms, at)
    if state.instances[call.instance].save_messages:
        state.saved.add(row)
    state.announce("send.message", call.instance, shown)
    key_id = record["key"]["id"]
    for after_ms, status in acks:
        # Evolution skips updates of messages that its database does not have.
        state.announce(
            "messages.update",
            call.instance,
            update_of(row, status),
            delay_ms=after_ms,
            still=lambda: state.saved.get(call.instance, key_id) is not None,
        )


OPERATIONS = tuple(
    Operation(
        op, "POST", "message", partial(send, compose=compose), check=of_body(check), unloaded=unloaded, is_send=True
    )
    for op, compose, check, unloaded in (
        ("sendText", _text, validators.check_text, "textMessage"),
        ("sendMedia", _file, validators.check_media, "mediaMessage"),
        ("sendWhatsAppAudio", _voice, validators.check_audio, "audioWhatsapp"),
    )
)
