"""Read what an encoder gave back as a message, or refuse it; and say what of a message is kept.

``broker`` calls it for every body: some were written by another program, and what nobody can run or bury must not get as far
as a worker's thread.
"""

import json
import os
from collections.abc import Mapping
from typing import Any

from dramatiq import Message
from dramatiq.encoder import JSONEncoder, MessageData

_SHAPE: dict[str, type | tuple[type, ...]] = {
    "queue_name": str,
    "actor_name": str,
    "args": (list, tuple),
    "kwargs": dict,
    "options": dict,
    "message_id": str,
    "message_timestamp": int,
}


#: What JSON gives for arguments, keyword arguments, options and time: the quick way to see that all is well.
_JSON_KINDS = (list, dict, dict, int)
_ALPHABET = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
#: A letter or digit for every byte.
_TO_ALPHABET = bytes(_ALPHABET[byte % 62] for byte in range(256))


_to_json = json.JSONEncoder(separators=(",", ":")).encode
_from_json = json.JSONDecoder().decode


class WireEncoder(JSONEncoder):
    """Dramatiq's JSON, made by one encoder: ``json.dumps`` with separators makes a new one each time."""

    def encode(self, data: MessageData) -> bytes:
        """See :meth:`dramatiq.encoder.Encoder.encode`."""
        return _to_json(data).encode()

    def decode(self, data: bytes) -> MessageData:
        """See :meth:`dramatiq.encoder.Encoder.decode`; the broker makes every error a ``DecodeError``."""
        found: MessageData = _from_json(data.decode())
        return found


def new_id() -> str:
    """A new id of a message in Redis: 12 letters and digits, 71 random bits. A UUID would cost every key 32 bytes more."""
    return os.urandom(12).translate(_TO_ALPHABET).decode()


def random_uuid() -> str:
    """A random UUID as text (RFC 9562, version 4): in a third of the time of ``uuid4``, which takes a tenth of a send's Python."""
    digits = os.urandom(16).hex()
    variant = "89ab"[int(digits[16], 16) & 3]
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:]}"


def message_of(fields: Mapping[str, Any]) -> "Message[Any]":
    """The message with these fields.

    Raises:
        KeyError, TypeError: a field is missing, unknown or of another kind. A ``null`` for the options took a consumer's place
            for ever, one for the arguments ended the thread that announces dead letters.
    """
    message: Message[Any] = Message(**fields)
    kinds = tuple(map(type, (message.args, message.kwargs, message.options, message.message_timestamp)))
    if (
        len(fields) != len(_SHAPE)
        or kinds != _JSON_KINDS
        or type(message.queue_name) is not str
        or type(message.actor_name) is not str
    ):
        for name, kind in _SHAPE.items():
            if not isinstance(fields[name], kind):
                raise TypeError(f"{name} is a {type(fields[name]).__name__}")
    # Frozen to others; nobody has it yet.
    object.__setattr__(message, "args", tuple(message.args))
    return message


#: Options that Redis keeps beside a message or knows by its id: kept in the message too they would cost a third of its memory.
BESIDE = frozenset({"redis_message_id", "lane", "group", "unique_key", "enqueue_id"})


def fields_of(message: "Message[Any]") -> dict[str, Any]:
    """What is kept of a message. Not ``asdict``, which copies every argument deeply."""
    return {
        "queue_name": message.queue_name,
        "actor_name": message.actor_name,
        "args": message.args,
        "kwargs": message.kwargs,
        "options": {name: value for name, value in message.options.items() if name not in BESIDE},
        "message_id": message.message_id,
        "message_timestamp": message.message_timestamp,
    }


def with_id(message: "Message[Any]", id_: str) -> "Message[Any]":
    """Copy of a message that knows its id in Redis; ``Message.copy`` takes six times as long."""
    copied: Message[Any] = object.__new__(Message)
    # Frozen to others; nobody has it yet.
    vars(copied).update(vars(message), options={**message.options, "redis_message_id": id_})
    return copied
