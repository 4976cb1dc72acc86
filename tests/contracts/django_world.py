"""Worlds for the store's contract over Django: a database of its own, and a host's models in it.

``test_store_contract.py`` and the tests of the Django store open them. They use no test database of pytest-django, because
claims need real commits on the real backend, in many threads.
"""

import itertools
import operator
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from desk.models import Inbox
from django.apps import apps
from django.core.management import call_command
from django.db import connections, transaction

from actors.stores.django_host import HostModel, find_host, to_moment, to_ms, to_row
from actors.stores.django_orm import TABLES, DjangoStore
from actors.stores.rows import AttachmentRow, ConversationRow, InstanceRow, MessageRow, Row

ROLES = {MessageRow: "message", ConversationRow: "conversation", InstanceRow: "instance", AttachmentRow: "attachment"}
#: ``CHAT_ACTORS`` of the app ``desk``.
DESK = {
    "models": {"message": "desk.Entry", "conversation": "desk.Thread", "instance": "desk.Line", "attachment": None},
    "field_map": {
        "message": {
            "conversation": "thread", "direction": "way", "content": "body", "status": "state", "message_id": "external_id",
            "error_message": "failure", "created_at": "written_at", "is_internal": "note", "is_deleted": "removed",
            "sender_phone": "author", "metadata": "extra", "evolution_status": "raw_state",
        },
        "conversation": {
            "conversation_type": "kind", "contact_phone": "address", "instance_name": "line", "contact_name": "title",
            "profile_pic_url": "avatar", "group_metadata": "group", "tenant_id": "inbox__owner",
        },
        "instance": {
            "instance_name": "label", "evolution_instance_name": "wire_name", "is_active": "enabled", "tenant_id": "owner",
        },
    },
}  # fmt: skip


@contextmanager
def database(config: dict[str, object], blocker: Any) -> Iterator[str]:
    """Alias of a migrated database that exists inside the block; begin it after pytest-django has set up its own."""
    alias = f"world_{uuid.uuid4().hex[:8]}"
    connections.settings[alias] = connections.configure_settings({"default": {}, alias: dict(config)})[alias]
    with blocker.unblock():
        try:
            call_command("migrate", database=alias, verbosity=0, skip_checks=True)
            yield alias
        finally:
            connections[alias].close()
            del connections[alias]
            del connections.settings[alias]


class DjangoWorld:
    """The demo project's rows, or those of the models that ``settings`` names."""

    def __init__(self, alias: str, settings: dict[str, Any] | None = None) -> None:
        settings = settings or {"models": {}, "field_map": {}}
        self.alias = alias
        self.host, faults = find_host(settings["models"], settings["field_map"])
        assert faults == []
        self.store = self.another_store()

    def another_store(self) -> DjangoStore:
        tables = {name: apps.get_model("chat_actors", name) for name in TABLES}
        return DjangoStore(self.host, tables=tables, using=self.alias)

    def new_id(self) -> str:
        return str(uuid.uuid4())

    def add(self, *rows: Row) -> None:
        for row in rows:
            self._create(row, self.host[ROLES[type(row)]])

    def message(self, message_id: str) -> MessageRow:
        found = self._get("message", message_id)
        paths = self.host["message"].paths
        own = {"id": found.pk, "conversation_id": getattr(found, f"{paths['conversation']}_id")}
        created_at = getattr(found, paths["created_at"])
        row = to_row(MessageRow, {**self._values(MessageRow, found), **own, "created_at_ms": to_ms(created_at)})
        return replace(row, message_id=row.message_id or None)

    def conversation(self, conversation_id: str) -> ConversationRow:
        found = self._get("conversation", conversation_id)
        row = to_row(ConversationRow, {**self._values(ConversationRow, found), "id": found.pk})
        return replace(row, profile_pic_url=row.profile_pic_url or None)

    def write_group_key(self, conversation_id: str, key: str, value: str) -> None:
        host = self.host["conversation"]
        found = host.rows(self.alias).filter(pk=conversation_id)
        with transaction.atomic(using=self.alias):
            # The lock first: of the row, or of the whole file where SQLite has no other.
            found.update(**{host.paths["contact_phone"]: "locked"})
            metadata = found.values_list(host.paths["group_metadata"], flat=True).get()
            found.update(**{host.paths["group_metadata"]: {**metadata, key: value}})

    def leave_thread(self) -> None:
        connections.close_all()

    def clear(self) -> None:
        """Delete every row."""
        for role in ("attachment", "message", "conversation", "instance"):
            if role in self.host:
                self.host[role].rows(self.alias).delete()
        for name in TABLES:
            apps.get_model("chat_actors", name).objects.using(self.alias).all().delete()

    def _create(self, row: Row, host: HostModel) -> None:
        values = {host.paths[name]: getattr(row, name) for name in host.columns(type(row))}
        match row:
            case MessageRow():
                values |= {"pk": row.id, f"{host.paths['conversation']}_id": row.conversation_id}
                values[host.paths["created_at"]] = to_moment(row.created_at_ms)
                values[host.paths["message_id"]] = row.message_id or host.empty("message_id")
            case ConversationRow():
                values |= {"pk": row.id, **self._tenant(row, host)}
                values[host.paths["profile_pic_url"]] = row.profile_pic_url or host.empty("profile_pic_url")
            case AttachmentRow():
                values |= {f"{host.paths['message']}_id": values.pop(host.paths["message"], row.message_id)}
                values[host.paths["created_at"]] = to_moment(row.created_at_ms)
        host.rows(self.alias).create(**values)

    def _tenant(self, row: ConversationRow, host: HostModel) -> dict[str, Any]:
        return {host.paths["tenant_id"]: row.tenant_id}

    def _get(self, role: str, row_id: str) -> Any:
        return self.host[role].rows(self.alias).get(pk=row_id)

    def _values(self, kind: Any, found: Any) -> dict[str, Any]:
        columns = self.host[ROLES[kind]].columns(kind)
        return {name: operator.attrgetter(path.replace("__", "."))(found) for name, path in columns.items()}


class DeskWorld(DjangoWorld):
    """Another host: integer keys, other names, a tenant behind a relation, no attachments."""

    def __init__(self, alias: str) -> None:
        super().__init__(alias, DESK)
        self._ids = itertools.count(1)

    def new_id(self) -> str:
        return str(next(self._ids))

    def clear(self) -> None:
        super().clear()
        Inbox.objects.using(self.alias).all().delete()

    def _create(self, row: Row, host: HostModel) -> None:
        if isinstance(row, ConversationRow):
            inbox = Inbox.objects.using(self.alias).create(owner=row.tenant_id)
            columns = host.columns(ConversationRow)
            values = {columns[name]: getattr(row, name) for name in columns if name != "tenant_id"}
            host.rows(self.alias).create(
                **{**values, "pk": row.id, "inbox": inbox, host.paths["profile_pic_url"]: row.profile_pic_url or ""}
            )
        else:
            super()._create(row, host)
