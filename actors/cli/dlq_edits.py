"""What may be changed of a dead letter before it is sent again. Pure; ``dlq redrive --set`` asks.

Never whom it goes to, through which instance, or what it may fall back on: that was decided when it was sent, for that person.
"""

import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from actors.cli import terminal

if TYPE_CHECKING:
    from middleware.letters import DeadLetter

#: Arguments of our own actors that may be changed, and their types.
OURS: Mapping[str, Mapping[str, type]] = {
    "send_message": {},
    "fetch_profile_pic": {"force": bool},
    "fetch_group_info": {"force": bool},
}
#: Names that say whom, or through what; of an actor of the host's, too.
NEVER = frozenset(
    {
        *("message_id", "conversation_id", "use_fallback", "bulk", "instance", "instance_name", "tenant_id"),
        *("recipient", "phone", "number", "to", "jid", "group_jid", "chat_id"),
    }
)


def read_changes(pairs: Iterable[str]) -> dict[str, Any]:
    """``name=value`` as a dict; a value that is JSON is read as JSON.

    Raises:
        Refused: a pair has no name or no value.
    """
    changes = {}
    for pair in pairs:
        name, separator, text = pair.partition("=")
        if not (name and separator):
            raise terminal.Refused(f"--set {pair!r} names no value; write --set name=value")
        try:
            changes[name] = json.loads(text)
        except ValueError:
            changes[name] = text
    return changes


def edit_fault(letter: "DeadLetter", changes: Mapping[str, Any]) -> str | None:
    """Why a letter cannot have these changes; None when it can."""
    for name, value in changes.items():
        if name in NEVER:
            return f"{name} may not be changed: whom a message goes to, and through what, was decided when it was sent"
        ours = OURS.get(letter.actor or "")
        if ours is not None:
            kind, known = ours.get(name), ", ".join(ours) or "none"
        else:
            kind = type(letter.kwargs[name]) if name in letter.kwargs else None
            known = ", ".join(sorted(set(letter.kwargs) - NEVER)) or "none"
        if kind is None:
            return f"{letter.actor} has no argument {name!r} that may be changed; there are: {known}"
        if type(value) is not kind:
            return f"{name} must be {kind.__name__}, like before; {json.dumps(value)} is not"
    return None
