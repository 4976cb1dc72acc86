"""The records of a backup as lines of JSON: what a queue holds → line, and back with every field checked.

``middleware.backup_file`` puts them into a file. A line that is written here is what is read here; what anybody else wrote is
refused before it gets near a queue.
"""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from middleware.brokers.redis.copies import CopiedGates, CopiedLetter, CopiedMessage

What = CopiedMessage | CopiedLetter | CopiedGates

_FACTS = ("lane", "group", "unique_key", "flags")
_GATE = re.compile(rb"(-?[0-9.e+]+ ){6}-?[0-9.e+]+")
#: Stock Dramatiq's rule.
_QUEUE = re.compile(r"[a-zA-Z_][a-zA-Z0-9._-]*")
to_json = json.JSONEncoder(separators=(",", ":")).encode
#: A text as JSON; an encoder that is called for every record took half the time of a backup.
_quoted = json.encoder.encode_basestring_ascii
#: ``json.loads`` first asks which encoding it is, and what else there may be.
_decode = json.JSONDecoder().raw_decode


class Record(NamedTuple):
    """One thing of a queue."""

    queue: str
    what: What


class BadRecord(ValueError):
    """A line is none of ours."""


def line_of(queue: str, what: What) -> str:
    """The line of a record, without its end."""
    if isinstance(what, CopiedMessage):
        return _of_message(queue, what)
    if isinstance(what, CopiedLetter):
        return to_json(_of_letter(queue, what))
    found = {_text(group): _text(gate) for group, gate in what.gates.items()}
    return to_json({"kind": "queue", "queue": queue, "paused_at_ms": what.paused_at_ms, "gates": found})


def _of_message(queue: str, one: CopiedMessage) -> str:
    # What is not said is empty or 0.
    fields = ['{"kind":"message","queue":"', queue, '","id":', _quoted(_text(one.id))]
    fields += (',"body":', _quoted(_text(one.body)))
    if one.facts:
        for name, value in zip(_FACTS, _text(one.facts).split("\0"), strict=True):
            if value:
                fields += (',"', name, '":', _quoted(value))
    if one.eta_ms:
        fields.append(f',"eta_ms":{one.eta_ms}')
    if one.holds:
        fields.append(',"holds":1')
    if one.crashes:
        fields.append(f',"crashes":{one.crashes}')
    fields.append("}")
    return "".join(fields)


def _of_letter(queue: str, one: CopiedLetter) -> dict[str, Any]:
    return {
        "kind": "letter",
        "queue": queue,
        "id": _text(one.id),
        "died_at_ms": one.died_at_ms,
        "told": int(one.told),
        "letter": _text(one.letter),
        "body": _text(one.body),
    }


def _text(raw: bytes) -> str:
    # Bytes that are no text come through as they are.
    return raw.decode("utf-8", "surrogateescape")


def parsed(line: bytes) -> dict[str, Any]:
    """Object of a line with its end.

    Raises:
        BadRecord: it is none.
    """
    try:
        text = line.decode()
        record, end = _decode(text)
    except (ValueError, RecursionError) as error:
        raise BadRecord("no JSON") from error
    if type(record) is not dict or end != len(text) - 1:
        raise BadRecord("no object")
    return record


def record_of(line: bytes) -> tuple[str, Record]:
    """Kind and record of a line with its end.

    Raises:
        BadRecord: it is none of ours.
    """
    found = parsed(line)
    try:
        kind, queue = found["kind"], found["queue"]
        return kind, Record(queue, _READERS[kind](found))
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
        raise BadRecord(type(error).__name__) from error


def check_queue(name: object) -> None:
    """Refuse what is no name of a queue.

    Raises:
        BadRecord: it is none.
    """
    if not isinstance(name, str) or not _QUEUE.fullmatch(name):
        raise BadRecord("no queue")


def _to_message(record: Mapping[str, Any]) -> CopiedMessage:
    get = record.get
    facts = f"{get('lane', '')}\0{get('group', '')}\0{get('unique_key', '')}\0{get('flags', '')}"
    if facts == "\0\0\0":
        facts = ""
    elif facts.count("\0") != 3:
        raise ValueError("NUL in a name")
    eta_ms, crashes = get("eta_ms", 0), get("crashes", 0)
    if eta_ms or crashes:
        eta_ms, crashes = _number(eta_ms), _number(crashes)
    return CopiedMessage(_id(record["id"]), _raw(record["body"]), _raw(facts), eta_ms, get("holds") == 1, crashes)


def _to_letter(record: Mapping[str, Any]) -> CopiedLetter:
    letter = json.loads(record["letter"])
    texts = [letter["reason"], letter["fingerprint"], *letter.get("about", {}).values()]
    _number(letter.get("sequence", 0))
    if not all(isinstance(text, str) and "\0" not in text for text in texts):
        raise ValueError("not a letter")
    died_at_ms, told = _number(record["died_at_ms"]), record["told"] == 1
    return CopiedLetter(_id(record["id"]), died_at_ms, _raw(record["letter"]), _raw(record["body"]), told)


def _to_gates(record: Mapping[str, Any]) -> CopiedGates:
    gates = {_id(group): _raw(gate) for group, gate in record["gates"].items()}
    if not all(_GATE.fullmatch(gate) for gate in gates.values()):
        raise ValueError("not a gate")
    return CopiedGates(_number(record["paused_at_ms"]), gates)


_READERS: Mapping[str, Callable[[Mapping[str, Any]], What]] = {
    "message": _to_message,
    "letter": _to_letter,
    "queue": _to_gates,
}


def _raw(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _id(text: str) -> bytes:
    if not text or "\0" in text:
        raise ValueError("not an id")
    return _raw(text)


def _number(value: object) -> int:
    if type(value) is not int or not 0 <= value < 2**53:
        raise ValueError("not a number")
    return value
