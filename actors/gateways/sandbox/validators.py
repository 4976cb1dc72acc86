"""What Evolution 2.3.6 refuses before it looks at the number: schemas (400, nested) and controllers (400, flat). Pure.

``endpoints`` calls them. Source: docs/gateways.md, section 2.
"""

import ipaddress
import re
from typing import Any
from urllib.parse import urlsplit

from actors.gateways.sandbox.replies import Refused, envelope

_BASE64 = re.compile(r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?", re.ASCII)
_HOST = re.compile(r"(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)+[a-z]{2,63}", re.ASCII | re.IGNORECASE)
_MEDIA_TYPES = ("image", "document", "video", "audio")
_GROUP = re.compile(r"[\d-]+@g\.us", re.ASCII)


def check_text(body: dict[str, Any]) -> None:
    """``sendText``."""
    problems = _common(body)
    if "text" not in body:
        problems.append('requires property "text"')
    elif not isinstance(body["text"], str):
        problems.append("text is not of a type(s) string")
    _refuse_nested(problems)
    if not body["text"].strip():
        raise Refused(envelope(400, ["Text is required"]))


def check_media(body: dict[str, Any]) -> None:
    """``sendMedia``."""
    problems = _common(body)
    if "mediatype" not in body:
        problems.append('requires property "mediatype"')
    elif body["mediatype"] not in _MEDIA_TYPES:
        problems.append(f"mediatype is not one of enum values: {','.join(_MEDIA_TYPES)}")
    problems += [
        f"{name} is not of a type(s) string"
        for name in ("mimetype", "media", "fileName", "caption")
        if name in body and not isinstance(body[name], str)
    ]
    _refuse_nested(problems)
    media = body.get("media", "")
    if is_base64(media) and not body.get("fileName") and body["mediatype"] == "document":
        raise Refused(envelope(400, ["For base64 the file name must be informed."]))
    if not is_url(media) and not is_base64(media):
        raise Refused(envelope(400, ["Owned media must be a url or base64"]))


def check_audio(body: dict[str, Any]) -> None:
    """``sendWhatsAppAudio``."""
    problems = _common(body)
    if "audio" in body and not isinstance(body["audio"], str):
        problems.append("audio is not of a type(s) string")
    _refuse_nested(problems)
    audio = body.get("audio", "")
    if not is_url(audio) and not is_base64(audio):
        raise Refused(envelope(400, ["Owned media must be a url, base64, or valid file with buffer"]))


def check_group(query: dict[str, str]) -> str:
    """The group of ``findGroupInfos``; a value without suffix gets it."""
    jid = query.get("groupJid", "")
    if not jid:
        hint = ["The group id needs to be informed in the query", 'ex: "groupJid=120362@g.us"']
        raise Refused(envelope(400, hint))
    jid = jid if jid.endswith("@g.us") else f"{jid}@g.us"
    if not _GROUP.fullmatch(jid):
        raise Refused(envelope(400, [{"property": "groupJid", "message": "Group ID must have a valid format"}]))
    return jid


def is_url(text: str) -> bool:
    """A URL as class-validator takes it: a host with a top-level domain, or an IP address; no ``data:``."""
    scheme, colon, _ = text.partition("://")
    if colon and scheme.lower() not in ("http", "https", "ftp"):
        return False
    try:
        host = urlsplit(text if colon else f"http://{text}").hostname
    except ValueError:
        return False
    if not host or re.search(r"\s", text):
        return False
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return _HOST.fullmatch(host) is not None
    return True


def is_base64(text: str) -> bool:
    """Raw base64 with padding."""
    return bool(text) and _BASE64.fullmatch(text) is not None


def _common(body: dict[str, Any]) -> list[str]:
    problems: list[str] = []
    if "number" not in body:
        problems.append('requires property "number"')
    elif not isinstance(body["number"], str):
        problems.append("Invalid format")
    if "delay" in body and (not isinstance(body["delay"], int) or isinstance(body["delay"], bool)):
        problems.append("Enter a value in milliseconds")
    if "linkPreview" in body and not isinstance(body["linkPreview"], bool):
        problems.append("linkPreview is not of a type(s) boolean")
    if "mentionsEveryOne" in body and not isinstance(body["mentionsEveryOne"], bool):
        problems.append("mentionsEveryOne is not of a type(s) boolean")
    return problems + _mentioned(body) + _quoted(body)


def _mentioned(body: dict[str, Any]) -> list[str]:
    mentioned = body.get("mentioned", ["1"])
    if not isinstance(mentioned, list):
        return ["mentioned is not of a type(s) array"]
    if not mentioned:
        return ["mentioned does not meet minimum length of 1"]
    if not all(isinstance(one, str) and re.match(r"\d", one, re.ASCII) for one in mentioned):
        return ['"mentioned" must be an array of numeric strings']
    return ["mentioned contains duplicate item"] if len(set(mentioned)) < len(mentioned) else []


def _quoted(body: dict[str, Any]) -> list[str]:
    quoted = body.get("quoted")
    if not isinstance(quoted, dict) or "key" not in quoted:
        return []
    key = quoted["key"]
    if not isinstance(key, dict):
        return ["quoted.key is not of a type(s) object"]
    if "id" not in key:
        return ['quoted.key requires property "id"']
    if not isinstance(key["id"], str):
        return ["quoted.key.id is not of a type(s) string"]
    return ['The "id" cannot be empty'] if not key["id"] else []


def _refuse_nested(problems: list[str]) -> None:
    if problems:
        raise Refused(envelope(400, [problems]))
