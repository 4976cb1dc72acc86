"""What Evolution 2.3.6 refuses before it looks at the number: schemas (400, nested) and controllers (400, flat). Pure.

The routes in ``sends`` and ``lookups`` name them. Source: docs/gateways.md, section 2.
"""

import ipaddress
import re
from typing import Any
from urllib.parse import urlsplit

from actors.gateways.sandbox import schemas
from actors.gateways.sandbox.replies import Refused, as_json, envelope

_BASE64 = re.compile(r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?", re.ASCII)
_HOST = re.compile(r"(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)+[a-z]{2,63}", re.ASCII | re.IGNORECASE)
_GROUP = re.compile(r"[\d-]+@g\.us", re.ASCII)
#: Where a form's file is put, beside the form's own fields.
FILE = "\0file"


def check_text(body: dict[str, Any]) -> None:
    """``sendText``."""
    check_schema(body, schemas.TEXT)
    if not body["text"].strip():
        raise Refused(envelope(400, ["Text is required"]))


def check_media(body: dict[str, Any]) -> None:
    """``sendMedia``."""
    check_schema(body, schemas.MEDIA)
    media = body.get("media", "")
    if is_base64(media) and not body.get("fileName") and body["mediatype"] == "document":
        raise Refused(envelope(400, ["For base64 the file name must be informed."]))
    if FILE not in body and not is_url(media) and not is_base64(media):
        raise Refused(envelope(400, ["Owned media must be a url or base64"]))


def check_audio(body: dict[str, Any]) -> None:
    """``sendWhatsAppAudio``."""
    check_schema(body, schemas.AUDIO)
    audio = body.get("audio", "")
    if FILE not in body and not is_url(audio) and not is_base64(audio):
        raise Refused(envelope(400, ["Owned media must be a url, base64, or valid file with buffer"]))


def check_picture(body: dict[str, Any]) -> None:
    """``fetchProfilePictureUrl``."""
    check_schema(body, schemas.PICTURE)


def check_receipts(body: dict[str, Any]) -> None:
    """``markMessageAsRead``."""
    check_schema(body, schemas.RECEIPTS)


def check_edit(body: dict[str, Any]) -> None:
    """``updateMessage``."""
    check_schema(body, schemas.EDIT)


def check_search(body: dict[str, Any]) -> None:
    """``findMessages``."""
    check_schema(body, schemas.SEARCH)


def check_statuses(body: dict[str, Any]) -> None:
    """``findStatusMessage``."""
    check_schema(body, schemas.STATUSES)


def check_numbers(body: dict[str, Any]) -> None:
    """``whatsappNumbers``, whose errors come without the envelope; a missing list is an exception without any words."""
    problems = schemas.violations(body, schemas.NUMBERS)
    if problems:
        raise Refused(as_json(400, {"status": 400, "error": "Bad Request", "message": [problems]}))
    if "numbers" not in body:
        raise Refused(as_json(400, {}))


def check_schema(body: dict[str, Any], schema: schemas.Schema) -> None:
    """Refuse a body that breaks its schema, with all that is wrong in one nested list.

    Raises:
        Refused: it does.
    """
    problems = schemas.violations(body, schema)
    if problems:
        raise Refused(envelope(400, [problems]))


def check_group(query: dict[str, str]) -> str:
    """The group of ``findGroupInfos``; a value without suffix gets it."""
    jid = query.get("groupJid", "")
    if not jid:
        hint = ["The group id needs to be informed in the query", 'ex: "groupJid=120362@g.us"']
        raise Refused(envelope(400, hint))
    jid = jid if jid.endswith("@g.us") else f"{jid}@g.us"
    if not _GROUP.fullmatch(jid):
        raise Refused(
            envelope(400, [{"property": "groupJid", "message": 'groupJid does not match pattern "^[\\\\d-]+@g.us$"'}])
        )
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
