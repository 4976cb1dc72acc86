"""What the WhatsApp Cloud API refuses of a message before it takes it. Pure.

``cloud`` calls it. Source: docs/whatsapp-cloud.md, "The Cloud API".
"""

import re
from collections.abc import Callable, Collection
from typing import Any

from actors.gateways.sandbox.cloud_replies import graph_error
from actors.gateways.sandbox.replies import Refused

GROUP_ID = re.compile(r"Y2FwaV9ncm91cDo[\w=+/-]{4,240}", re.ASCII)
_MB = 1024 * 1024
#: Largest file that is taken, in bytes, by the family of its type.
_MAX_BYTES = {"image": 5 * _MB, "audio": 16 * _MB, "video": 16 * _MB}
_MAX_DOCUMENT_BYTES = 100 * _MB
_UPLOADS = {
    "image": {"image/jpeg", "image/png", "image/webp"},
    "audio": {"audio/aac", "audio/amr", "audio/mpeg", "audio/mp4", "audio/ogg"},
    "video": {"video/mp4", "video/3gpp"},
}
MEDIA = ("image", "video", "document", "audio")


def check_message(body: dict[str, Any], *, uploads: Collection[str]) -> None:
    """``POST …/messages``; ``uploads`` are the ids of files that the number may send.

    Raises:
        Refused: with the code that Meta gives.
    """
    if body.get("messaging_product") != "whatsapp":
        _refuse(100, "The parameter messaging_product is required.")
    _check_recipient(body)
    kind = body.get("type", "text")
    if not isinstance(kind, str) or kind not in _CONTENTS:
        _refuse(131051, "Message type is unknown")
    if kind not in body:
        _refuse(131008, f"Parameter {kind} is missing")
    reference = body.get("biz_opaque_callback_data", "")
    if not isinstance(reference, str) or len(reference) > 512:
        _refuse(131009, "biz_opaque_callback_data is a string of at most 512 characters")
    context = body.get("context", {"message_id": "wamid"})
    if not isinstance(context, dict) or not isinstance(context.get("message_id"), str) or not context["message_id"]:
        _refuse(131009, "context.message_id is a string")
    _CONTENTS[kind](body[kind], uploads)


def check_upload(mimetype: str, size_bytes: int) -> None:
    """``POST …/media``.

    Raises:
        Refused: with the code that Meta gives.
    """
    family = mimetype.partition("/")[0]
    if mimetype not in _UPLOADS.get(family, {mimetype}):
        _refuse(100, f"Param file must be a file with one of the known types, not {family}")
    if not 0 < size_bytes <= _MAX_BYTES.get(family, _MAX_DOCUMENT_BYTES):
        _refuse(131053, "File size out of limits")


def _check_recipient(body: dict[str, Any]) -> None:
    to, kind = body.get("to"), body.get("recipient_type", "individual")
    if not isinstance(to, str) or not to:
        _refuse(131008, "Parameter to is missing")
        return
    if kind not in ("individual", "group"):
        _refuse(131009, "recipient_type is individual or group")
    if (kind == "group") != bool(GROUP_ID.fullmatch(to)):
        _refuse(131009, "recipient_type does not match the recipient")
    if kind == "individual" and not re.fullmatch(r"\+?[\d ()-]{5,30}", to, re.ASCII):
        _refuse(131009, "to is no phone number")


def _text(content: Any, _: Collection[str]) -> None:
    body = content.get("body") if isinstance(content, dict) else None
    if not isinstance(body, str) or not body.strip():
        _refuse(100, "The parameter text['body'] is required.")
    elif len(body) > 4096:
        _refuse(100, "Param text['body'] must be at most 4096 characters long.")
    elif not isinstance(content.get("preview_url", False), bool):
        _refuse(100, "Param text['preview_url'] must be a boolean.")


def _media(content: Any, uploads: Collection[str]) -> None:
    if not isinstance(content, dict) or ("id" in content) == ("link" in content):
        _refuse(131009, "Media needs an id or a link")
        return
    if "id" in content and str(content["id"]) not in uploads:
        _refuse(100, "Param id is not a valid whatsapp business account media attachment ID")
    if "link" in content and not re.match(r"https?://[^/\s]", str(content["link"])):
        _refuse(131009, "link is no URL")
    caption = content.get("caption", "")
    if not isinstance(caption, str) or len(caption) > 1024:
        _refuse(100, "Param caption must be at most 1024 characters long.")


def _audio(content: Any, uploads: Collection[str]) -> None:
    _media(content, uploads)
    if "caption" in content:
        _refuse(100, "Unexpected key caption on param audio.")
    if not isinstance(content.get("voice", False), bool):
        _refuse(100, "Param voice must be a boolean.")


def _location(content: Any, _: Collection[str]) -> None:
    values = [content.get(name) if isinstance(content, dict) else None for name in ("latitude", "longitude")]
    for value, limit in zip(values, (90, 180), strict=True):
        try:
            is_usable = abs(float(str(value))) <= limit
        except ValueError:
            is_usable = False
        if not is_usable:
            _refuse(131009, "latitude and longitude are degrees")


def _contacts(content: Any, _: Collection[str]) -> None:
    if not isinstance(content, list) or not content:
        _refuse(131009, "contacts is a list")
        return
    for one in content:
        name = one.get("name") if isinstance(one, dict) else None
        if not isinstance(name, dict) or not name.get("formatted_name") or len(name) < 2:
            _refuse(131009, "name needs formatted_name and one more name")


def _template(content: Any, _: Collection[str]) -> None:
    language = content.get("language") if isinstance(content, dict) else None
    if not isinstance(language, dict) or not content.get("name") or not language.get("code"):
        _refuse(131008, "A template needs name and language")
    elif not isinstance(content.get("components", []), list):
        _refuse(132012, "components is a list")


_CONTENTS: dict[str, Callable[[Any, Collection[str]], None]] = {
    "text": _text,
    "image": _media,
    "video": _media,
    "document": _media,
    "audio": _audio,
    "location": _location,
    "contacts": _contacts,
    "template": _template,
}


def _refuse(code: int, details: str) -> None:
    raise Refused(graph_error(code, details))
