"""Whether the host's columns can hold what is written into them, and the sweep finds its rows by an index.

``django_app/checks.py`` reports it. ``update()`` asks no validator: a column that is too short or of another kind fails in the
database, after the message went out.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from actors.domain import MessageStatus
from actors.stores.django_host import Fault, HostModel
from actors.stores.writes import ERROR_CHARS, NAME_CHARS, URL_CHARS

#: Room for the id of any provider: the Cloud API's are the longest, and have no documented limit.
PROVIDER_ID_CHARS = 100
_STATUS_CHARS = max(len(status) for status in MessageStatus)

#: Django's words for kinds of columns. One that is not here is the host's own kind, and its own affair.
_TEXT = frozenset({"CharField", "TextField", "SlugField", "URLField", "EmailField"})
_MOMENT = frozenset({"DateTimeField"})
_TRUTH = frozenset({"BooleanField"})
_OBJECT = frozenset({"JSONField"})
_NUMBERS = ("AutoField", "BigAutoField", "IntegerField", "BigIntegerField", "FloatField", "DecimalField")
_OTHERS = ("DateField", "TimeField", "DurationField", "UUIDField", "BinaryField", "FileField", "ForeignKey")
_SMALL = ("SmallIntegerField", "PositiveIntegerField", "PositiveSmallIntegerField", "PositiveBigIntegerField")
_KNOWN = _TEXT | _MOMENT | _TRUTH | _OBJECT | {*_NUMBERS, *_SMALL, *_OTHERS}


@dataclass(frozen=True, slots=True)
class _Need:
    """Kinds of column that will do; of text the fewest characters, and the values that a closed choice must have."""

    kinds: frozenset[str]
    chars: int = 0
    choices: frozenset[str] = frozenset()


_STATUS = _Need(_TEXT, _STATUS_CHARS, frozenset(MessageStatus))
NEEDS: dict[str, dict[str, _Need]] = {
    "message": {
        "status": _STATUS,
        "evolution_status": _Need(_TEXT, _STATUS_CHARS),
        "message_id": _Need(_TEXT, PROVIDER_ID_CHARS),
        "error_message": _Need(_TEXT, ERROR_CHARS),
        "content": _Need(_TEXT),
        "direction": _Need(_TEXT),
        "created_at": _Need(_MOMENT),
        "updated_at": _Need(_MOMENT),
        "is_internal": _Need(_TRUTH),
        "is_deleted": _Need(_TRUTH),
        "metadata": _Need(_OBJECT),
    },
    "conversation": {
        "conversation_type": _Need(_TEXT),
        "contact_name": _Need(_TEXT, NAME_CHARS),
        "profile_pic_url": _Need(_TEXT, URL_CHARS),
        "group_metadata": _Need(_OBJECT),
    },
    "instance": {"instance_name": _Need(_TEXT), "is_active": _Need(_TRUTH), "pace": _Need(_OBJECT)},
    "attachment": {"mime_type": _Need(_TEXT), "file_url": _Need(_TEXT)},
}
#: Columns that lead from a row to another of the host's.
_LINKS = (("message", "conversation"), ("attachment", "message"))


def unfit(host: Mapping[str, HostModel]) -> Iterator[Fault]:
    """Columns of the wrong kind, too short, with a choice that lacks a status, or that lead to another model."""
    for role, needs in NEEDS.items():
        if role not in host:
            continue
        for name, need in needs.items():
            path = host[role].paths.get(name)
            fault = path and _fault(host[role].model._meta.get_field(path), need)
            if fault:
                yield _said(role, host[role], path or "", fault)
    for role, target in _LINKS:
        path = host[role].paths.get(target) if role in host and target in host else None
        if path and not _leads_to(host[role].model._meta.get_field(path), host[target].model):
            yield _said(role, host[role], path, f"is no foreign key to {host[target].model._meta.label}")


def _said(role: str, host: HostModel, path: str, fault: str) -> Fault:
    hint = f"Change the column, or name another one: CHAT_ACTORS['FIELD_MAP'][{role!r}] (docs/stores.md)."
    return Fault(text=f"{host.model._meta.label}.{path} ({role}) {fault}", hint=hint)


def _fault(field: Any, need: _Need) -> str | None:
    kind = field.get_internal_type()
    if kind in _KNOWN and kind not in need.kinds:
        return f"is a {kind}, and must be a {' or '.join(sorted(need.kinds))}"
    chars = getattr(field, "max_length", None)
    if need.chars and chars is not None and chars < need.chars:
        return f"has room for {chars} characters, and must have it for {need.chars}"
    lacking = need.choices - {str(value) for value, _ in field.flatchoices}
    if field.flatchoices and lacking:
        return f"has choices without {', '.join(sorted(lacking))}"
    return None


def _leads_to(field: Any, model: Any) -> bool:
    related = getattr(field, "related_model", None)
    if related is None:
        return False
    return related._meta.concrete_model in {one._meta.concrete_model for one in (model, *model._meta.get_parent_list())}


def sweeps_by_index(host: HostModel) -> bool:
    """Whether an index begins with the status or the time of a message; without one the sweep reads the whole table."""
    wanted = {host.paths["status"], host.paths["created_at"]}
    options = host.model._meta
    own = {name for name in wanted if options.get_field(name).db_index or options.get_field(name).unique}
    indexes = [index.fields for index in options.indexes]
    constraints = [getattr(one, "fields", ()) for one in options.constraints]
    together = [*options.unique_together, *getattr(options, "index_together", ())]
    firsts = {fields[0].lstrip("-") for fields in (*indexes, *constraints, *together) if fields}
    return bool(own or firsts & wanted)
