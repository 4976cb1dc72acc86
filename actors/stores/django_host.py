"""The host project's own models: which they are, what their fields are called, and how a row is read.

``django_orm.py`` reads and writes through it; ``django_app/checks.py`` reports its faults. Nothing is assumed of a model
but the fields below; one that is not required may be absent.
"""

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from django.apps import apps
from django.conf import settings as django_settings
from django.core.exceptions import FieldDoesNotExist, ValidationError
from django.utils import timezone

from actors.stores.rows import AttachmentRow, ConversationRow, InstanceRow, MessageRow, Row

R = TypeVar("R", MessageRow, ConversationRow, InstanceRow, AttachmentRow)

#: ``settings.models`` where it says nothing.
DEFAULT_MODELS = {
    "message": "chat.Message",
    "conversation": "chat.Conversation",
    "instance": "chat.WhatsAppInstance",
    "attachment": "chat.MessageAttachment",
}
#: Field per role; True = there is no work without it.
FIELDS = {
    "message": {
        **dict.fromkeys(("conversation", "direction", "content", "status", "message_id"), True),
        **dict.fromkeys(("error_message", "created_at"), True),
        **dict.fromkeys(("updated_at", "evolution_status", "is_internal", "is_deleted"), False),
        **dict.fromkeys(("sender_phone", "metadata"), False),
    },
    "conversation": {
        **dict.fromkeys(("conversation_type", "contact_phone", "instance_name"), True),
        **dict.fromkeys(("contact_name", "profile_pic_url", "group_metadata"), True),
        "tenant_id": False,
    },
    "instance": {
        **dict.fromkeys(("instance_name", "is_active"), True),
        **dict.fromkeys(("tenant_id", "evolution_instance_name", "integration_type", "api_url"), False),
        **dict.fromkeys(("api_key", "phone_number_id", "access_token", "pace"), False),
    },
    "attachment": {
        **dict.fromkeys(("message", "mime_type", "file_url"), True),
        **dict.fromkeys(("created_at", "original_filename", "short_url"), False),
    },
}
#: The table of Redis' memory, which is ``django_usage``'s.
USAGE_ROLE = "redis_usage"
#: Fields that may be paths over relations (``inbox__tenant_id``); the others are columns of the model itself.
REACHED = frozenset({"tenant_id", "instance_name"})
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What is wrong with the host's models. ``is_model`` where the whole model is missing."""

    text: str
    hint: str
    is_model: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class HostModel:
    """A model of the host. ``paths`` says where each field of ours is; a field that the host lacks is not in it."""

    model: Any
    paths: Mapping[str, str]

    def rows(self, using: str) -> Any:
        """All rows, past any filter of the host's default manager."""
        return self.model._base_manager.using(using)  # public by Django's documentation

    @property
    def key_field(self) -> Any:
        """Field of the primary key."""
        return self.model._meta.pk  # public by Django's documentation

    def field(self, name: str) -> Any:
        """Field of ours that a path may reach over relations."""
        return _field_at(self.model, self.paths[name])

    def keys(self, row_id: str) -> list[Any]:
        """``row_id`` as this model's primary key; nothing when it can be none."""
        field = self.key_field
        try:
            value = field.to_python(row_id)
            field.run_validators(value)
        except (ValidationError, ValueError, TypeError, OverflowError):
            return []
        # Not every database says how large its integers are.
        return [] if isinstance(value, int) and not -(2**63) <= value < 2**63 else [value]

    def find(self, found: Any, row_id: str) -> Any:
        """The row of the queryset ``found`` that has this id; nothing when it can be none."""
        keys = self.keys(row_id)
        return found.filter(pk=keys[0]) if keys else found.none()

    def find_many(self, reading: "Reading", row_ids: Sequence[str], *, key: str) -> dict[str, dict[str, Any]]:
        """Rows of ``reading`` by the id that was asked for; ``key`` is its name for the primary key."""
        keys = {asked: keys[0] for asked in row_ids if (keys := self.keys(asked))}
        rows = {row[key]: row for row in reading.rows(reading.all.filter(pk__in=set(keys.values())))}
        return {asked: rows[value] for asked, value in keys.items() if value in rows}

    def changes(self, **values: Any) -> dict[str, Any]:
        """Arguments of ``update()``; what the host has no field for is left out."""
        return {self.paths[name]: value for name, value in values.items() if name in self.paths}

    def empty(self, name: str) -> str | None:
        """What the column of ``name`` holds when it holds nothing."""
        return None if self.model._meta.get_field(self.paths[name]).null else ""

    def columns(self, kind: type[Row]) -> dict[str, str]:
        """Field of ``kind`` → path for ``values_list``, for those that the host has."""
        return {field.name: self.paths[field.name] for field in fields(kind) if field.name in self.paths}


def find_host(
    models: Mapping[str, str | None], field_map: Mapping[str, Mapping[str, Any]]
) -> tuple[dict[str, HostModel], list[Fault]]:
    """The host's models by role, and everything that is wrong with them. Attachments may be absent."""
    found: dict[str, HostModel] = {}
    faults = [
        Fault(text=f"CHAT_ACTORS: FIELD_MAP has an unknown key {role!r}", hint=f"Known are {', '.join(FIELDS)}.")
        for role in field_map
        if role not in FIELDS and role != USAGE_ROLE
    ]
    for role, default in DEFAULT_MODELS.items():
        label = models.get(role, default)
        if not label and role == "attachment":
            continue
        model = _model(label) if label else None
        if model is not None:
            paths, wrong = _paths(role, model, field_map.get(role, {}))
            found[role] = HostModel(model=model, paths=paths)
            faults += wrong
        elif role in models or role != "attachment":
            hint = f"Install the app that has it, or set CHAT_ACTORS['MODELS'][{role!r}]."
            faults.append(Fault(text=f"the model {label!r} ({role}) does not exist", hint=hint, is_model=True))
    return found, faults


def _model(label: str) -> Any | None:
    try:
        return apps.get_model(label)
    except (LookupError, ValueError):
        return None


def _paths(role: str, model: Any, renamed: Mapping[str, Any]) -> tuple[dict[str, str], list[Fault]]:
    paths: dict[str, str] = {}
    faults = [
        Fault(
            text=f"CHAT_ACTORS: FIELD_MAP[{role!r}] has an unknown key {name!r}",
            hint=f"Known are {', '.join(FIELDS[role])}.",
        )
        for name in renamed
        if name not in FIELDS[role]
    ]
    for name, is_required in FIELDS[role].items():
        path = renamed.get(name, name)
        if path and _exists(model, path, may_reach=name in REACHED):
            paths[name] = path
        elif is_required or (path and name in renamed):
            text = f"the model {model._meta.label} ({role}) has no usable field {path!r}"
            hint = f"Name the field that holds it: CHAT_ACTORS['FIELD_MAP'][{role!r}][{name!r}]."
            faults.append(Fault(text=text, hint=hint))
    return paths, faults


def _exists(model: Any, path: str, *, may_reach: bool) -> bool:
    first, _, rest = path.partition("__")
    try:
        field = model._meta.get_field(first)
    except FieldDoesNotExist:
        return False
    if not rest:
        return not field.is_relation or not (field.many_to_many or field.one_to_many)
    return may_reach and field.related_model is not None and _exists(field.related_model, rest, may_reach=True)


def _field_at(model: Any, path: str) -> Any:
    first, _, rest = path.partition("__")
    field = model._meta.get_field(first)
    return _field_at(field.related_model, rest) if rest else field


def to_row(kind: type[R], values: Mapping[str, Any]) -> R:
    """A row value from what a query gave; NULL and absent become the default."""
    known: dict[str, Any] = {}
    for field in fields(kind):
        value = values.get(field.name)
        if value is None:
            if field.default is MISSING and field.default_factory is MISSING:
                known[field.name] = ""
        elif field.name in ("metadata", "group_metadata"):
            # As it is, also where it is no object: ``rows`` says what that means.
            known[field.name] = value
        elif field.name == "pace":
            known[field.name] = value if isinstance(value, dict) else {}
        else:
            known[field.name] = value if field.type in (bool, int) else str(value)
    return kind(**known)


def to_ms(moment: datetime) -> int:
    """Milliseconds since 1970; a naive time (``USE_TZ = False``) is in the project's time zone."""
    aware = timezone.make_aware(moment) if timezone.is_naive(moment) else moment
    return (aware - _EPOCH) // _MILLISECOND


def to_moment(at_ms: int) -> datetime:
    """The time as the project's columns hold it."""
    moment = _EPOCH + at_ms * _MILLISECOND
    return moment if django_settings.USE_TZ else timezone.make_naive(moment)


class Reading:
    """A queryset with named columns, made once: Django takes longer to make one than a database to answer it.

    ``wanted`` is name → path. Filter ``all``, give the result to :meth:`rows`. Safe to share between threads.
    """

    def __init__(self, found: Any, wanted: Mapping[str, str]) -> None:
        self.names = tuple(wanted)
        self.all = found.values_list(*wanted.values())

    def rows(self, found: Any) -> list[dict[str, Any]]:
        """Rows of ``found`` as dicts, name → value."""
        return [dict(zip(self.names, values, strict=True)) for values in found]
