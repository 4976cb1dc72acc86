"""The host's rows as the Django store reads them. ``django_orm.py`` builds its store on it."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from django.db import InterfaceError, OperationalError
from django.db.models import Exists, OuterRef, Q, Subquery

from actors.domain import ChatMessage, Conversation, Instance, KnownMessage, MessageStatus, Route
from actors.errors import NotFound
from actors.stores import rows, writes
from actors.stores.django_host import HostModel, Reading, to_moment, to_ms, to_row
from actors.stores.django_prepared import Read
from actors.stores.rows import AttachmentRow, ConversationRow, InstanceRow, MessageRow

#: Column of whether a message has attachments.
_ATTACHED = "chat_actors_attached"


@writes.translates(OperationalError, InterfaceError)
class HostRows:
    """Rows of the models ``host``, under the database alias ``using``."""

    def __init__(self, host: dict[str, HostModel], *, using: str) -> None:
        self._using = using
        self._message = host["message"]
        self._conversation = host["conversation"]
        self._instance = host["instance"]
        self._attachment = host.get("attachment")
        self._to_conversation = self._message.paths["conversation"]
        paths = self._conversation.paths
        home = {name: paths[name] for name in ("instance_name", "tenant_id") if name in paths}
        self._thread = {**self._conversation.columns(ConversationRow), "id": "pk"}
        self._attachment_reading = self._attachments() if self._attachment is not None else None
        self._message_reading = Reading(self._with_attachments(self._message.rows(using)), self._message_columns())
        self._thread_reading = Reading(self._conversation.rows(using), self._thread)
        self._home_reading = Reading(self._conversation.rows(using), {"id": "pk", **home})
        self._route_reading = Reading(self._message.rows(using), self._route_columns(home))
        self._known_reading = Reading(self._message.rows(using), self._known_columns(home))
        self._instance_reading = Reading(
            self._instance.rows(using).filter(self._instance_has("is_active", value=True)).order_by("pk"),
            {**self._instance.columns(InstanceRow), "place": "pk"},
        )
        self._older_pending = self._oldest_before()
        self._prepare()
        # A campaign asks for the keys of the same messages again and again.
        self._keys = lru_cache(maxsize=4096)(self._message.keys)

    def route(self, message_id: str) -> Route | None:
        """See :meth:`Store.route`."""
        for found in self._by_key(self._read_route, message_id):
            return _route(found, rows.preferred_instance(found.get("metadata") or {}, found["instance_name"]))
        return None

    def conversation_route(self, conversation_id: str) -> Route | None:
        """See :meth:`Store.conversation_route`."""
        reading = self._home_reading
        for found in reading.rows(self._conversation.find(reading.all, conversation_id)):
            return _route(found, found["instance_name"] or None)
        return None

    def load_message(self, message_id: str) -> ChatMessage:
        """See :meth:`Store.load_message`; one query, one more for attachments and one for a reply."""
        values = next(iter(self._by_key(self._read_message, message_id)), None)
        if values is None:
            raise NotFound(f"message {message_id!r} does not exist (any more)")
        message, conversation = self._with_thread(values)
        if conversation is None:
            raise NotFound(f"message {message_id!r}: its conversation does not exist (any more)")
        quoted = rows.reply_target(message.metadata)
        same_conversation = {self._to_conversation: message.conversation_id}
        every = self._message_reading.all
        originals = self._message_rows(self._message.find(every, quoted).filter(**same_conversation)) if quoted else []
        original = next((row for row, _ in originals), None)
        attachments = self._attachment_rows(message.id) if values.get(_ATTACHED) else []
        return rows.to_chat_message(message, conversation, attachments, original)

    def load_conversation(self, conversation_id: str) -> Conversation:
        """See :meth:`Store.load_conversation`."""
        found = self._conversation_row(conversation_id, self._thread_reading.all)
        if found is None:
            raise NotFound(f"conversation {conversation_id!r} does not exist (any more)")
        return rows.to_conversation(found)

    def conversation_routes(self, conversation_ids: Sequence[str]) -> dict[str, Route]:
        """See :meth:`Store.conversation_routes`."""
        found = self._conversation.find_many(self._home_reading, conversation_ids, key="id")
        return {asked: _route(row, row["instance_name"] or None) for asked, row in found.items()}

    def known_messages(self, message_ids: Sequence[str]) -> dict[str, KnownMessage]:
        """See :meth:`Store.known_messages`."""
        found = self._message.find_many(self._known_reading, message_ids, key="key")
        return {asked: _known(row) for asked, row in found.items()}

    def load_instance(self, name: str | None, *, tenant_id: str | None, use_fallback: bool = False) -> Instance | None:
        """See :meth:`Store.load_instance`."""
        read = self._read_named if name and not use_fallback else self._read_every
        given = {one: tenant_id if one == "tenant_id" else name for one in read.given}
        known = [to_row(InstanceRow, found) for found in read.rows(**given)]
        return rows.find_instance(known, name, tenant_id=tenant_id, use_fallback=use_fallback)

    def instances(self, *, limit: int, after: str | None = None) -> tuple[list[Instance], str | None]:
        """See :meth:`Store.instances`."""
        reading = self._instance_reading
        active = reading.all if after is None else reading.all.filter(pk__gt=after)
        found = reading.rows(active[:limit])
        known = [rows.to_instance(to_row(InstanceRow, values)) for values in found]
        return known, str(found[-1]["place"]) if len(found) == limit else None

    def pending_messages(self, *, before_ms: int, limit: int, after_id: str | None = None) -> list[str]:
        """See :meth:`Store.pending_messages`."""
        created_at = self._message.paths["created_at"]
        found = self._pending().filter(**{f"{created_at}__lt": to_moment(before_ms)})
        if after_id is not None:
            place = self._messages(after_id).values_list(created_at, "pk").first()
            if place is None:
                return []
            same_time = Q(**{created_at: place[0], "pk__gt": place[1]})
            found = found.filter(same_time | Q(**{f"{created_at}__gt": place[0]}))
        return [str(key) for key in found.order_by(created_at, "pk").values_list("pk", flat=True)[:limit]]

    def older_pending(self, message_id: str) -> str | None:
        """See :meth:`Store.older_pending`."""
        older = next((row["older"] for row in self._by_key(self._read_older, message_id)), None)
        return None if older is None else str(older)

    def _prepare(self) -> None:
        """The reads of every message."""
        key = {"key": self._message.key_field}
        messages, routes, older = self._message_reading, self._route_reading, self._older_pending
        self._read_message = Read(
            self._using, lambda key: messages.all.filter(pk=key), names=messages.names, fields=key
        )
        self._read_route = Read(self._using, lambda key: routes.all.filter(pk=key), names=routes.names, fields=key)
        self._read_older = Read(self._using, lambda key: older.filter(pk=key), names=("older",), fields=key)
        self._read_named = self._read_instances("instance_name", "evolution_instance_name", "phone_number_id")
        self._read_every = self._read_instances()

    def _read_instances(self, *names: str) -> Read:
        """Active instances of one tenant and of none, that have the value under one of ``names``."""
        reading, paths = self._instance_reading, self._instance.paths
        own = [name for name in names if name in paths]
        tenant = ["tenant_id"] if "tenant_id" in paths else []

        def make(**values: Any) -> Any:
            named = [(paths[name], values[name]) for name in own]
            usable = [Q(*named, _connector=Q.OR)] if named else []
            usable += [Q(**{paths[name]: values[name]}) | self._instance_has(name, value=None) for name in tenant]
            return reading.all.filter(*usable)

        fields = {name: self._instance.field(name) for name in (*own, *tenant)}
        return Read(self._using, make, names=reading.names, fields=fields)

    def _by_key(self, read: Read, message_id: str) -> list[dict[str, Any]]:
        keys = self._keys(message_id)
        return read.rows(key=keys[0]) if keys else []

    def _with_attachments(self, messages: Any) -> Any:
        """With whether there are any: most messages have none, which then need not be asked for."""
        if self._attachment is None:
            return messages
        own = self._attachment.rows(self._using).filter(**{self._attachment.paths["message"]: OuterRef("pk")})
        return messages.annotate(**{_ATTACHED: Exists(own)})

    def _oldest_before(self) -> Any:
        """Per message the key of the oldest that waits in its conversation and is older; NULL when there is none."""
        paths = self._message.paths
        created_at, conversation = paths["created_at"], paths["conversation"]
        before = {conversation: OuterRef(conversation), f"{created_at}__lt": OuterRef(created_at)}
        older = self._pending().filter(**before).order_by(created_at, "pk").values("pk")[:1]
        return self._message.rows(self._using).annotate(_older=Subquery(older)).values_list("_older", flat=True)

    def _pending(self) -> Any:
        paths = self._message.paths
        found = self._message.rows(self._using).filter(
            **{paths["status"]: MessageStatus.PENDING, paths["direction"]: rows.OUTGOING}
        )
        return found.filter(**{paths["is_internal"]: False}) if "is_internal" in paths else found

    def _messages(self, message_id: str, *statuses: MessageStatus) -> Any:
        found = self._message.find(self._message.rows(self._using), message_id)
        return found.filter(**{f"{self._message.paths['status']}__in": statuses}) if statuses else found

    def _conversations(self, conversation_id: str) -> Any:
        return self._conversation.find(self._conversation.rows(self._using), conversation_id)

    def _instance_has(self, *names: str, value: Any) -> Q:
        paths = [self._instance.paths[name] for name in names if name in self._instance.paths]
        return Q(*((path, value) for path in paths), _connector=Q.OR)

    def _message_columns(self) -> dict[str, str]:
        """Of a message and, under ``thread_…``, of its conversation: one query has both."""
        paths = self._message.paths
        own = {"id": "pk", "conversation_id": paths["conversation"], "created_at_ms": paths["created_at"]}
        thread = {f"thread_{name}": f"{self._to_conversation}__{path}" for name, path in self._thread.items()}
        attached = {} if self._attachment is None else {_ATTACHED: _ATTACHED}
        return {**self._message.columns(MessageRow), **own, **thread, **attached}

    def _route_columns(self, home: Mapping[str, str]) -> dict[str, str]:
        over = {name: f"{self._to_conversation}__{path}" for name, path in home.items()}
        own = {name: self._message.paths[name] for name in ("metadata",) if name in self._message.paths}
        return {"id": self._to_conversation, **over, **own}

    def _known_columns(self, home: Mapping[str, str]) -> dict[str, str]:
        own = {name: self._message.paths[name] for name in ("status", "message_id")}
        return {**self._route_columns(home), **own, "key": "pk"}

    def _message_rows(self, found: Any) -> list[tuple[MessageRow, ConversationRow | None]]:
        return [self._with_thread(values) for values in self._message_reading.rows(found)]

    def _with_thread(self, values: dict[str, Any]) -> tuple[MessageRow, ConversationRow | None]:
        message = to_row(MessageRow, {**values, "created_at_ms": to_ms(values["created_at_ms"])})
        thread = {name: values[f"thread_{name}"] for name in self._thread}
        # Without a row to join every column is NULL, also those that never are.
        is_there = thread["id"] is not None and (thread["conversation_type"], thread["contact_phone"]) != (None, None)
        return message, to_row(ConversationRow, thread) if is_there else None

    def _conversation_row(self, conversation_id: str, every: Any) -> ConversationRow | None:
        found = self._thread_reading.rows(self._conversation.find(every, conversation_id))
        return to_row(ConversationRow, found[0]) if found else None

    def _attachments(self) -> Reading:
        assert self._attachment is not None  # noqa: S101 - who calls has asked
        paths = self._attachment.paths
        ordered = self._attachment.rows(self._using).order_by(
            *([paths["created_at"]] if "created_at" in paths else []), "pk"
        )
        return Reading(ordered, {**self._attachment.columns(AttachmentRow), "message_id": paths["message"]})

    def _attachment_rows(self, message_id: str) -> list[AttachmentRow]:
        reading, keys = self._attachment_reading, self._message.keys(message_id)
        if reading is None or self._attachment is None:
            return []
        found = reading.rows(reading.all.filter(**{self._attachment.paths["message"]: keys[0]}))
        # The order is the query's; the time is not asked again.
        return [to_row(AttachmentRow, {**values, "created_at_ms": 0}) for values in found]

    def _message_key(self, message_id: str) -> str:
        # Two spellings of one UUID must not make two attempts.
        return next((str(key) for key in self._keys(message_id)), message_id)


def _route(found: dict[str, Any], instance_name: str | None) -> Route:
    tenant_id = found.get("tenant_id")
    return Route(
        conversation_id=str(found["id"]),
        instance_name=instance_name,
        tenant_id=None if tenant_id is None else str(tenant_id),
    )


def _known(found: dict[str, Any]) -> KnownMessage:
    route = _route(found, rows.preferred_instance(found.get("metadata") or {}, found["instance_name"]))
    return KnownMessage(route=route, status=str(found["status"]), provider_message_id=found["message_id"] or None)
