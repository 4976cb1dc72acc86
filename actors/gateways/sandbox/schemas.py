"""The schemas that Evolution 2.3.6 checks request bodies with, and the words that its validator has for what is wrong. Pure.

``validators`` turns them into refusals. A schema is a JSON schema with the few keywords that occur here, in the order in which
they are judged; ``not_empty`` names properties that may not be empty when an object has no others (Evolution's if/then).

Source: gateways.md section 2; each message is a case of ``evolution-2.3.6.json``, whose answers were given by Evolution's own
routers.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

Schema = Mapping[str, Any]

STRING: Schema = {"type": "string"}
OBJECT: Schema = {"type": "object"}
INTEGER: Schema = {"type": "integer"}
FLOAT: Schema = {"type": "number"}
FLAG: Schema = {"type": "boolean", "enum": (True, False)}
NUMBER: Schema = {"type": "string", "description": "Invalid format"}
DELAY: Schema = {"type": "integer", "description": "Enter a value in milliseconds"}
MENTIONED: Schema = {
    "type": "array",
    "minItems": 1,
    "uniqueItems": True,
    "items": {
        "type": "string",
        "pattern": r"^\d+",
        "description": '"mentioned" must be an array of numeric strings',
    },
}
_KEY = {"id": STRING, "remoteJid": STRING, "fromMe": FLAG}
_WHOLE_KEY: Schema = {"required": ("id", "fromMe", "remoteJid"), "not_empty": ("id", "remoteJid")}
_NOT_EMPTY: Schema = {"type": "string", "minLength": 1, "description": "The property cannot be empty"}
QUOTED: Schema = {
    "properties": {
        "key": {"type": "object", "properties": _KEY, "required": ("id",), "not_empty": ("id",)},
        "message": OBJECT,
    }
}
#: What any send may have beside its own fields.
OPTIONS: Mapping[str, Schema] = {"delay": DELAY, "quoted": QUOTED, "everyOne": FLAG, "mentioned": MENTIONED}


def body(
    properties: Mapping[str, Schema], *, required: tuple[str, ...] = (), not_empty: tuple[str, ...] = ()
) -> Schema:
    """The schema of a whole body."""
    return {"type": "object", "properties": properties, "required": required, "not_empty": not_empty}


TEXT = body(
    {"number": NUMBER, "text": STRING, "linkPreview": {"type": "boolean"}, **OPTIONS}, required=("number", "text")
)
MEDIA = body(
    {
        "number": NUMBER,
        "mediatype": {"type": "string", "enum": ("image", "document", "video", "audio")},
        **dict.fromkeys(("mimetype", "media", "fileName", "caption"), STRING),
        **OPTIONS,
    },
    required=("number", "mediatype"),
)
AUDIO = body({"number": NUMBER, "audio": STRING, **OPTIONS}, required=("number",))
PICTURE = body({"number": STRING, "picture": STRING})
RECEIPTS = body(
    {
        "readMessages": {
            "type": "array",
            "minItems": 1,
            "uniqueItems": True,
            "items": {"properties": _KEY, **_WHOLE_KEY},
        }
    },
    required=("readMessages",),
)
EDIT = body(
    {"number": STRING, "text": STRING, "key": {"type": "object", "properties": _KEY, **_WHOLE_KEY}},
    not_empty=("number", "text", "key"),
)
NUMBERS = body(
    {
        "numbers": {
            "type": "array",
            "minItems": 1,
            "uniqueItems": True,
            "items": {"type": "string", "description": '"numbers" must be an array of numeric strings'},
        }
    }
)
_SEARCH_KEY: Schema = {
    "type": "object",
    "only": {"remoteJid": _NOT_EMPTY, "id": _NOT_EMPTY, "fromMe": FLAG},
}
SEARCH = body({"where": {"type": "object", "properties": {"key": _SEARCH_KEY, "message": OBJECT}}, "limit": INTEGER})
STATUSES = body(
    {
        "where": {
            "type": "object",
            "properties": {
                **_KEY,
                "participant": STRING,
                "status": {
                    "type": "string",
                    "enum": ("ERROR", "PENDING", "SERVER_ACK", "DELIVERY_ACK", "READ", "PLAYED"),
                },
            },
            "not_empty": ("remoteJid", "id", "status"),
        },
        "limit": INTEGER,
    }
)

#: Name of a JSON type → whether a value is of it.
TYPES: dict[str, Callable[[Any], bool]] = {
    "string": lambda value: isinstance(value, str),
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "boolean": lambda value: isinstance(value, bool),
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "integer": lambda value: isinstance(value, int | float) and not isinstance(value, bool) and value % 1 == 0,
}


def violations(value: Any, schema: Schema, *, at: str = "instance") -> list[str]:
    """What is wrong with ``value``, in Evolution's words and order; empty when nothing is."""
    found: list[str] = []
    for keyword, wanted in schema.items():
        judge = _KEYWORDS.get(keyword)
        for text in judge(value, wanted, at) if judge else ():
            own = keyword in _NESTED
            found.append(text if own else schema.get("description", text.removeprefix("instance.")))
    return found


def _type(value: Any, wanted: str, at: str) -> Iterator[str]:
    if not TYPES[wanted](value):
        yield f"{at} is not of a type(s) {wanted}"


def _enum(value: Any, wanted: tuple[Any, ...], at: str) -> Iterator[str]:
    if not any(value is one or (isinstance(value, str) and value == one) for one in wanted):
        yield f"{at} is not one of enum values: {','.join(str(one).lower() if one in (True, False) else one for one in wanted)}"


def _properties(value: Any, wanted: Mapping[str, Schema], at: str) -> Iterator[str]:
    for name, schema in wanted.items() if isinstance(value, dict) else ():
        if name in value:
            yield from violations(value[name], schema, at=f"{at}.{name}")


def _only(value: Any, wanted: Mapping[str, Schema], at: str) -> Iterator[str]:
    if isinstance(value, dict) and set(value) <= set(wanted):
        yield from _properties(value, wanted, at)


def _not_empty(value: Any, wanted: tuple[str, ...], at: str) -> Iterator[str]:
    schema = {name: {"minLength": 1, "description": f'The "{name}" cannot be empty'} for name in wanted}
    return _only(value, schema, at)


def _required(value: Any, wanted: tuple[str, ...], at: str) -> Iterator[str]:
    for name in wanted if isinstance(value, dict) else ():
        if name not in value:
            yield f'{at} requires property "{name}"'


def _items(value: Any, wanted: Schema, at: str) -> Iterator[str]:
    for index, one in enumerate(value if isinstance(value, list) else ()):
        yield from violations(one, wanted, at=f"{at}[{index}]")


def _min_items(value: Any, wanted: int, at: str) -> Iterator[str]:
    if isinstance(value, list) and len(value) < wanted:
        yield f"{at} does not meet minimum length of {wanted}"


def _unique(value: Any, _: bool, at: str) -> Iterator[str]:  # noqa: FBT001  # the keyword's value
    if isinstance(value, list) and any(one in value[:index] for index, one in enumerate(value)):
        yield f"{at} contains duplicate item"


def _min_length(value: Any, wanted: int, at: str) -> Iterator[str]:
    if isinstance(value, str) and len(value) < wanted:
        yield f"{at} does not meet minimum length of {wanted}"


def _pattern(value: Any, wanted: str, at: str) -> Iterator[str]:
    if isinstance(value, str) and not re.search(wanted, value, re.ASCII):
        yield f"{at} does not match pattern"


_KEYWORDS: dict[str, Callable[[Any, Any, str], Iterator[str]]] = {
    "type": _type,
    "enum": _enum,
    "properties": _properties,
    "only": _only,
    "not_empty": _not_empty,
    "required": _required,
    "items": _items,
    "minItems": _min_items,
    "uniqueItems": _unique,
    "minLength": _min_length,
    "pattern": _pattern,
}
#: Keywords whose texts come from schemas further in, with descriptions of their own.
_NESTED = frozenset({"properties", "only", "not_empty", "items"})
