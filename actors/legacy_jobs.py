"""Read what the old product queued: JSON in lists, fields in streams, records of its dead letters.

Pure: ``actors.migration`` sends what comes out. Of a payload only the operation, the ids of rows and ``use_fallback`` are kept;
keys, addresses, phone numbers and JIDs end here.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from middleware.scrub import hide

SEND, PICTURE, GROUP = OPERATIONS = ("send_message", "fetch_profile_pic", "fetch_group_info")
#: What an id of a row may look like; a UUID or a number, and never an address.
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,63}")
_UUID = re.compile(rb"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
#: Fields that nobody may read in Redis.
SECRET_FIELDS = ("api_key", "apikey", "base_url", "phone", "group_jid")
#: Where a record of a dead letter may keep the job itself.
_WRAPPERS = ("payload", "data", "original_payload", "message", "original")
_QUEUE_FIELDS = ("queue", "queue_name", "stream", "operation", "original_queue")
#: Ids remembered of one entry that is kept aside.
MAX_IDS = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class LegacyJob:
    """One row to work on: a chat message's id for ``send_message``, else a conversation's."""

    operation: str
    row_id: str
    use_fallback: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LegacyEntry:
    """One entry of an old queue. ``fault`` where it holds nothing that can be done, ``ids`` are then all that it names."""

    jobs: tuple[LegacyJob, ...] = ()
    fault: str | None = None
    ids: tuple[str, ...] = ()
    has_secrets: bool = False


def is_foreign(entry: bytes) -> bool:
    """Whether an entry of a list is a JSON object or array; an id of this project never begins like one."""
    return entry.lstrip()[:1] in (b"{", b"[")


def operation_of(name: str) -> str | None:
    """Operation of a queue or stream called so; None for those of other work."""
    last = name.rpartition(":")[2]
    return last if last in OPERATIONS else None


def is_dead_letters(name: str) -> bool:
    """Whether a queue or stream of this name is where the old product put what it gave up."""
    return re.search(r"dead|dlq", name.rpartition(":")[2], re.IGNORECASE) is not None


def entry_of_json(raw: bytes, operation: str | None) -> LegacyEntry:
    """Read an entry of a list; ``operation`` None for a record that names its queue itself."""
    try:
        fields = json.loads(raw)
    except (ValueError, RecursionError):
        fields = None
    if not isinstance(fields, dict):
        ids = dict.fromkeys(found.decode() for found in _UUID.findall(raw))
        return LegacyEntry(fault="unreadable", ids=tuple(ids)[:MAX_IDS], has_secrets=_names_secrets(raw))
    return _entry(fields, operation, has_secrets=_names_secrets(raw))


def entry_of_fields(fields: Mapping[bytes, bytes], operation: str | None) -> LegacyEntry:
    """Read an entry of a stream, some of whose values may be JSON."""
    read = {_text(name): _value(value) for name, value in fields.items()}
    return _entry(read, operation, has_secrets=_names_secrets(b" ".join([*fields.keys(), *fields.values()])))


def _names_secrets(raw: bytes) -> bool:
    text = raw.lower()
    return any(name.encode() in text for name in SECRET_FIELDS)


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")


def _value(raw: bytes) -> Any:
    text = _text(raw)
    if text[:1] not in ("{", "[", '"'):
        return text
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _entry(fields: dict[str, Any], operation: str | None, *, has_secrets: bool) -> LegacyEntry:
    fields, operation = _unwrapped(fields, operation)
    id_field = "message_id" if operation == SEND else "conversation_id"
    many = fields.get("ids", fields.get("message_ids") if operation == SEND else None)
    given = many if isinstance(many, list) else [fields.get(id_field)]
    ids = [id_ for id_ in map(_row_id, given) if id_ is not None]
    if operation not in OPERATIONS:
        return LegacyEntry(fault="other_operation", ids=_every_id(fields), has_secrets=has_secrets)
    use_fallback = operation == SEND and _use_fallback(fields.get("extra"))
    jobs = (LegacyJob(operation=operation, row_id=id_, use_fallback=use_fallback) for id_ in dict.fromkeys(ids))
    # One that names many may have lost some of them; the others are sent.
    fault = None if len(ids) == len(given) else "bad_id"
    return LegacyEntry(jobs=tuple(jobs), fault=fault if ids else "no_id", ids=shown(ids), has_secrets=has_secrets)


def shown(ids: Iterable[str]) -> tuple[str, ...]:
    """Ids as they may be kept and printed: what could be a phone number is hidden."""
    return tuple(dict.fromkeys(hide(id_) for id_ in ids))[:MAX_IDS]


def _unwrapped(fields: dict[str, Any], operation: str | None) -> tuple[dict[str, Any], str | None]:
    """The job inside a record of a dead letter, and its operation."""
    if operation is not None:
        return fields, operation
    names = [fields[name] for name in _QUEUE_FIELDS if isinstance(fields.get(name), str)]
    operation = next((found for name in names if (found := operation_of(name))), None)
    for name in _WRAPPERS:
        inner = fields.get(name)
        inner = _value(inner.encode()) if isinstance(inner, str) else inner
        if isinstance(inner, dict):
            return inner, operation or _guess(inner)
    return fields, operation or (None if names else _guess(fields))


def _guess(fields: Mapping[str, Any]) -> str | None:
    # Only sends went without the conversation; a group names its address, a picture its person.
    if "conversation_id" not in fields:
        is_edit = "new_content" in fields
        return SEND if fields.keys() & {"message_id", "message_ids"} and not is_edit else None
    if "group_jid" in fields:
        return GROUP
    return PICTURE if "phone" in fields and "instance_name" not in fields else None


def _row_id(value: object) -> str | None:
    text = str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""
    return text if _ID.fullmatch(text) else None


def _every_id(fields: Mapping[str, Any]) -> tuple[str, ...]:
    found = (_row_id(fields.get(name)) for name in ("message_id", "conversation_id"))
    return shown(id_ for id_ in found if id_ is not None)


def _use_fallback(extra: object) -> bool:
    if isinstance(extra, str):
        extra = _value(extra.encode())
    return isinstance(extra, dict) and extra.get("use_fallback") is True
