"""Read what an encoder gave back as a message, or refuse it.

``broker.decode`` calls it for every body: some were written by another program, and what nobody can run or bury must not get
as far as a worker's thread.
"""

from collections.abc import Mapping
from typing import Any

from dramatiq import Message

_SHAPE: dict[str, type | tuple[type, ...]] = {
    "queue_name": str,
    "actor_name": str,
    "args": (list, tuple),
    "kwargs": dict,
    "options": dict,
    "message_id": str,
    "message_timestamp": int,
}


def message_of(fields: Mapping[str, Any]) -> "Message[Any]":
    """The message with these fields.

    Raises:
        KeyError, TypeError: a field is missing, unknown or of another kind. A ``null`` for the options took a consumer's place
            for ever, one for the arguments ended the thread that announces dead letters.
    """
    for name, kind in _SHAPE.items():
        if not isinstance(fields[name], kind):
            raise TypeError(f"{name} is a {type(fields[name]).__name__}")
    return Message(**{**fields, "args": tuple(fields["args"])})
