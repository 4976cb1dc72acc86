"""The WhatsApp Cloud API as a dialect of the sandbox: routes under ``/v<n>.<n>/``, tokens, validation, the accept point.

``server`` gives it to ``contract`` before Evolution. An instance of the sandbox is here a phone number id; its token, or the
sandbox's key, is the Bearer token.
"""

import base64
import hashlib
import hmac
import json
import re
from collections import defaultdict
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from actors.gateways.jids import create_jid
from actors.gateways.sandbox.calls import MALFORMED, Call, json_body
from actors.gateways.sandbox.cloud_checks import GROUP_ID, MEDIA, check_message, check_upload
from actors.gateways.sandbox.cloud_hooks import StatusHooks
from actors.gateways.sandbox.cloud_replies import graph_error
from actors.gateways.sandbox.forms import MULTIPART, BadForm, Form, Upload, parse_multipart
from actors.gateways.sandbox.replies import Refused, Reply, as_json
from actors.gateways.sandbox.saved import StoredMessage
from actors.gateways.sandbox.sends import fingerprint
from actors.gateways.sandbox.state import State

_VERSION = re.compile(r"v\d{1,3}\.\d{1,2}", re.ASCII)
#: Put before a number without ``+``, as Meta puts the sender's country: India, as in Meta's own warning.
SENDERS_COUNTRY = "91"
#: What a group's fixture answers, by its error.
_GROUP_ERRORS = {"forbidden": 131041, "item-not-found": 131041, "rate-overlimit": 131208}


class Cloud:
    """One Graph API with the phone number ids of ``state``."""

    def __init__(self, state: State, hooks: StatusHooks, *, api_key: str) -> None:
        self._state = state
        self._hooks = hooks
        self._api_key = api_key
        self._uploads: dict[str, dict[str, dict[str, Any]]] = defaultdict(dict)

    def claims(self, call: Call) -> bool:
        """Paths that begin with a version."""
        return bool(call.segments) and _VERSION.fullmatch(call.segments[0]) is not None

    def read(self, call: Call) -> None:
        """See :meth:`Dialect.read`."""
        call.op, call.instance = self._route(call.method, call.segments[1:])
        if call.op != "messages":
            return
        call.body = json_body(call)
        call.is_send = call.fields.get("status") != "read"
        call.number = _text_of(call.fields.get("to"))
        call.jid = _jid(call.number)
        kind = call.fields.get("type", "text")
        content = call.fields.get(kind) if isinstance(kind, str) else None
        content = content if isinstance(content, dict) else {}
        call.text = _text_of(content.get("body", content.get("caption")))
        call.client_ref = _text_of(call.fields.get("biz_opaque_callback_data")) or None
        if not call.is_send:
            call.op = "read"

    def _route(self, method: str, segments: list[str]) -> tuple[str | None, str]:
        if len(segments) == 2 and method == "POST" and segments[1] in ("messages", "media"):
            return segments[1], segments[0]
        if len(segments) != 1 or method != "GET":
            return None, ""
        if segments[0] == "me":
            return "me", ""
        return "group" if GROUP_ID.fullmatch(segments[0]) else "phone_number", segments[0]

    def guard(self, call: Call) -> None:
        """See :meth:`Dialect.guard`: the token, the object, its fields."""
        self._check_token(call)
        if call.op is None:
            raise Refused(graph_error(2500, f"Unknown path components: {urlsplit(call.target).path}", status=400))
        if call.op in ("me", "group"):
            return
        if call.instance not in self._state.instances:
            raise Refused(graph_error(100, "Object does not exist or no access to it", subcode=33))
        if call.body is MALFORMED:
            raise Refused(graph_error(100, "The request body is no JSON object"))
        if call.op == "messages":
            check_message(call.fields, uploads=self._uploads[call.instance])
        elif call.op == "read" and not _text_of(call.fields.get("message_id")).startswith("wamid."):
            raise Refused(graph_error(131009, "message_id is no message id"))

    def _check_token(self, call: Call) -> None:
        given = call.headers.get("authorization", "")
        tokens = [self._api_key, *(one.token for one in self._fixtures(call) if one.token)]
        if not any(hmac.compare_digest(given.encode(), f"Bearer {token}".encode()) for token in tokens):
            raise Refused(graph_error(190, "Invalid OAuth access token - Cannot parse access token"))

    def _fixtures(self, call: Call) -> list[Any]:
        with self._state.lock:
            if call.op in ("me", "group"):
                return list(self._state.instances.values())
            return [one for one in (self._state.instances.get(call.instance),) if one is not None]

    def serve(self, call: Call) -> Reply:
        """See :meth:`Dialect.serve`."""
        if call.op == "messages":
            return self._send(call)
        if call.op == "media":
            return self._upload(call)
        if call.op == "group":
            return self._group(call)
        if call.op == "read":
            return as_json(200, {"success": True})
        if call.op == "me":
            return as_json(200, {"id": "1000000000000001"})
        return as_json(200, {"id": call.instance, "quality_rating": "GREEN"})

    def too_many(self, call: Call, *, wait_s: float) -> Reply:
        """The limit of one pair; ``limits`` may also stand for the number's, which looks the same to a client of one chat."""
        return graph_error(131056, f"wait {max(1, round(wait_s))} s")

    def _send(self, call: Call) -> Reply:
        body, kind = call.fields, call.fields.get("type", "text")
        self._check_recipient(call)
        content = body[kind]
        if kind in MEDIA and (urlsplit(str(content.get("link", ""))).hostname or "").endswith(".invalid"):
            # Names under .invalid never resolve anywhere, so these fail here as they would there.
            raise Refused(graph_error(131053, "Downloading media from weblink failed"))
        media = self._media(call, content) if kind in MEDIA else None
        delivery = self._state.accept(
            self._delivery(call, kind, content, media),
            reuse_id=call.struck_by("duplicate_id") is not None,
            make_id=lambda digest: "wamid." + base64.b64encode(bytes.fromhex(digest)[:24]).decode(),
        )
        record = {"key": {"id": delivery["key_id"], "remoteJid": call.jid, "fromMe": True}, "messageTimestamp": 0}
        self._state.saved.add(StoredMessage(call.instance, record, visible_at_ms=None))
        self._hooks.accepted(delivery)
        return replace(as_json(200, self._answer(call, kind, delivery)), seq=delivery["seq"])

    def _answer(self, call: Call, kind: str, delivery: dict[str, Any]) -> dict[str, Any]:
        wrong = call.struck_by("wrong_jid")
        jid = call.jid if wrong is None else str(wrong.action["jid"])
        message: dict[str, Any] = {"id": delivery["key_id"]}
        if GROUP_ID.fullmatch(call.number):
            message["group_id"] = jid
        if kind == "template":
            message["message_status"] = "accepted"
        contact = {"input": call.number, "wa_id": jid.partition("@")[0]}
        return {"messaging_product": "whatsapp", "contacts": [contact], "messages": [message]}

    def _check_recipient(self, call: Call) -> None:
        if self._state.instances[call.instance].state != "open":
            raise Refused(graph_error(133010, "The number is not registered"))
        if GROUP_ID.fullmatch(call.number):
            group = self._state.groups.get(call.number)
            if group is None or group.error is not None:
                raise Refused(graph_error(_GROUP_ERRORS[group.error if group and group.error else "item-not-found"]))
            return
        contact = self._state.contacts.get(call.jid)
        if contact is not None and not contact.exists:
            raise Refused(graph_error(131026, "The number is not on WhatsApp"))

    def _delivery(self, call: Call, kind: str, content: Any, media: dict[str, Any] | None) -> dict[str, Any]:
        quoted_id = call.fields.get("context", {}).get("message_id")
        caption = content.get("caption") if isinstance(content, dict) else None
        words = call.text or ("" if media else json.dumps(content, sort_keys=True))
        return {
            "instance": call.instance,
            "apikey_id": hashlib.sha256(call.headers.get("authorization", "").encode()).hexdigest()[:12],
            "requested_number": call.number,
            "jid": call.jid,
            "op": call.op,
            "type": kind,
            "text": content.get("body") if kind == "text" else None,
            "caption": caption,
            "content": content,
            "media": media,
            "quoted_id": quoted_id,
            # A message that is gone, or older than 30 days, is quoted by nobody, silently.
            "quote_lost": quoted_id is not None and not self._state.saved.knows(call.instance, quoted_id),
            "mentions": None,
            "client_ref": call.client_ref,
            "client_seq": call.client_seq,
            "fingerprint": fingerprint(call, words=words, media=media),
            "peer_disconnected": call.is_gone(),
            "response_sent": False,
            "fault": [rule.id for rule in call.struck] or None,
        }

    def _media(self, call: Call, content: dict[str, Any]) -> dict[str, Any]:
        if "id" in content:
            return {**self._uploads[call.instance][str(content["id"])], "voice": content.get("voice", False)}
        link = content["link"]
        return {
            "sha256": hashlib.sha256(link.encode()).hexdigest(),
            "bytes": None,
            "url": link,
            "fileName": content.get("filename"),
            "mimetype": None,
            "voice": content.get("voice", False),
        }

    def _upload(self, call: Call) -> Reply:
        file = self._file(call)
        mimetype = file.mimetype or "application/octet-stream"
        check_upload(mimetype, len(file.content))
        digest = hashlib.sha256(file.content).hexdigest()
        with self._state.lock:
            media_id = str(int(digest[:12], 16) * 1_000 + len(self._uploads[call.instance]))
            self._uploads[call.instance][media_id] = {
                "sha256": digest,
                "bytes": len(file.content),
                "url": None,
                "fileName": file.name,
                "mimetype": mimetype,
            }
        return as_json(200, {"id": media_id})

    def _file(self, call: Call) -> Upload:
        kind = call.headers.get("content-type", "")
        try:
            form = parse_multipart(kind, call.raw) if kind.startswith(MULTIPART) else Form()
        except BadForm:
            form = Form()
        if "file" not in form.files or form.fields.get("messaging_product") != "whatsapp":
            raise Refused(graph_error(100, "file and messaging_product are required"))
        return form.files["file"]

    def _group(self, call: Call) -> Reply:
        group = self._state.groups.get(call.instance)
        if group is None:
            raise Refused(graph_error(100, "Object does not exist or no access to it", subcode=33))
        if group.error is not None:
            raise Refused(graph_error(_GROUP_ERRORS[group.error]))
        told = {
            "subject": group.subject,
            "description": group.desc,
            "suspended": False,
            "creation_timestamp": 1_600_000_000,
            "total_participant_count": len(group.participants),
            "participants": group.participants,
        }
        wanted = call.query.get("fields", "subject").split(",")
        shown = {name: told[name] for name in wanted if told.get(name) is not None}
        return as_json(200, {"messaging_product": "whatsapp", "id": call.instance, **shown})


def _jid(to: str) -> str:
    """Whom Meta sends to: a number without ``+`` is taken for one of the sender's country."""
    if GROUP_ID.fullmatch(to):
        return to
    return create_jid(to if to.startswith("+") else f"{SENDERS_COUNTRY}{to}")


def _text_of(value: Any) -> str:
    return value if isinstance(value, str) else ""
