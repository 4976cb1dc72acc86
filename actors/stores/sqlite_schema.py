"""Tables of the SQLite store, and how a row becomes columns and back.

Used by ``sqlite.py``. A column is called as the field of its row value; dicts are JSON text, truth values are 0 and 1.
"""

import json
import sqlite3
from dataclasses import fields
from typing import Any, TypeVar

from actors.domain import AttemptState, SendAttempt
from actors.stores.rows import AttachmentRow, ConversationRow, InstanceRow, MessageRow, Row

R = TypeVar("R", MessageRow, ConversationRow, InstanceRow, AttachmentRow)

#: ``PRAGMA user_version`` of a file that these statements made.
VERSION = 3
_OPTIONS = """CREATE TABLE IF NOT EXISTS send_options (
    message_id TEXT PRIMARY KEY, use_fallback INTEGER NOT NULL, bulk INTEGER NOT NULL) WITHOUT ROWID"""
#: Each may run again on a file that has it.
STATEMENTS = (
    """CREATE TABLE IF NOT EXISTS conversation (
        id TEXT PRIMARY KEY, contact_phone TEXT NOT NULL, conversation_type TEXT NOT NULL, tenant_id TEXT,
        instance_name TEXT, contact_name TEXT NOT NULL, profile_pic_url TEXT, group_metadata TEXT NOT NULL)""",
    """CREATE TABLE IF NOT EXISTS message (
        id TEXT PRIMARY KEY, conversation_id TEXT NOT NULL, created_at_ms INTEGER NOT NULL, direction TEXT NOT NULL,
        content TEXT NOT NULL, status TEXT NOT NULL, message_id TEXT, evolution_status TEXT NOT NULL,
        error_message TEXT NOT NULL, is_internal INTEGER NOT NULL, is_deleted INTEGER NOT NULL,
        sender_phone TEXT NOT NULL, metadata TEXT NOT NULL)""",
    """CREATE UNIQUE INDEX IF NOT EXISTS message_provider_id
        ON message (conversation_id, message_id) WHERE message_id IS NOT NULL""",
    """CREATE INDEX IF NOT EXISTS message_pending ON message (created_at_ms, id) WHERE status = 'pending'""",
    """CREATE INDEX IF NOT EXISTS message_pending_thread
        ON message (conversation_id, created_at_ms) WHERE status = 'pending'""",
    """CREATE TABLE IF NOT EXISTS attachment (
        message_id TEXT NOT NULL, created_at_ms INTEGER NOT NULL, mime_type TEXT NOT NULL,
        original_filename TEXT NOT NULL, file_url TEXT NOT NULL, short_url TEXT)""",
    """CREATE INDEX IF NOT EXISTS attachment_message ON attachment (message_id, created_at_ms)""",
    """CREATE TABLE IF NOT EXISTS instance (
        instance_name TEXT NOT NULL, tenant_id TEXT, evolution_instance_name TEXT NOT NULL,
        integration_type TEXT NOT NULL, api_url TEXT, api_key TEXT, phone_number_id TEXT, access_token TEXT,
        is_active INTEGER NOT NULL, pace TEXT NOT NULL DEFAULT '{}')""",
    """CREATE TABLE IF NOT EXISTS send_attempt (
        message_id TEXT NOT NULL, part INTEGER NOT NULL, state TEXT NOT NULL, number INTEGER NOT NULL,
        instance_name TEXT NOT NULL, started_at_ms INTEGER NOT NULL, deadline_at_ms INTEGER NOT NULL,
        looks INTEGER NOT NULL DEFAULT 0, resends INTEGER NOT NULL DEFAULT 0, fingerprint TEXT NOT NULL DEFAULT '',
        provider_message_id TEXT, reason TEXT, PRIMARY KEY (message_id, part))""",
    """CREATE UNIQUE INDEX IF NOT EXISTS attempt_provider_id
        ON send_attempt (instance_name, provider_message_id) WHERE provider_message_id IS NOT NULL""",
    """CREATE INDEX IF NOT EXISTS attempt_started ON send_attempt (instance_name, started_at_ms)""",
    _OPTIONS,
)
#: What a file of an older version lacks, by that version; run before the statements above.
UPGRADES = {
    1: (
        "ALTER TABLE send_attempt ADD COLUMN resends INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE send_attempt ADD COLUMN fingerprint TEXT NOT NULL DEFAULT ''",
    ),
    2: (
        _OPTIONS,
        "CREATE TABLE IF NOT EXISTS fallback_allowed (message_id TEXT PRIMARY KEY) WITHOUT ROWID",
        "INSERT INTO send_options SELECT message_id, 1, 0 FROM fallback_allowed",
        "DROP TABLE fallback_allowed",
    ),
}
_TABLES: dict[type[Row], str] = {
    MessageRow: "message",
    ConversationRow: "conversation",
    InstanceRow: "instance",
    AttachmentRow: "attachment",
}
_JSON = {"metadata", "group_metadata", "pace"}
_TRUTH = {"is_internal", "is_deleted", "is_active"}


def _insert(kind: type[Row]) -> str:
    names = [field.name for field in fields(kind)]
    values = ", ".join(f":{name}" for name in names)
    return f"INSERT OR REPLACE INTO {_TABLES[kind]} ({', '.join(names)}) VALUES ({values})"  # noqa: S608  # our own names


_ATTEMPT = [field.name for field in fields(SendAttempt)]
#: Does nothing where the part has a row.
INSERT_ATTEMPT = (
    f"INSERT INTO send_attempt ({', '.join(_ATTEMPT)}) VALUES ({', '.join(f':{name}' for name in _ATTEMPT)})"  # noqa: S608
    " ON CONFLICT (message_id, part) DO NOTHING"
)
#: Writes the whole row of a part.
UPDATE_ATTEMPT = (
    f"UPDATE send_attempt SET {', '.join(f'{name} = :{name}' for name in _ATTEMPT)}"  # noqa: S608
    " WHERE message_id = :message_id AND part = :part"
)
INSERTS = {kind: _insert(kind) for kind in _TABLES}


def to_columns(row: Row) -> dict[str, Any]:
    """Values for ``INSERTS[type(row)]``."""
    values = {field.name: getattr(row, field.name) for field in fields(row)}
    return {name: json.dumps(value) if name in _JSON else value for name, value in values.items()}


def to_row(kind: type[R], columns: sqlite3.Row) -> R:
    """The row that ``SELECT *`` gave."""
    return kind(**{name: _value(name, columns[name]) for name in (field.name for field in fields(kind))})


def attempt_columns(attempt: SendAttempt) -> dict[str, Any]:
    """Values for :data:`INSERT_ATTEMPT` and :data:`UPDATE_ATTEMPT`."""
    return {name: getattr(attempt, name) for name in _ATTEMPT}


def to_attempt(columns: sqlite3.Row) -> SendAttempt:
    """The attempt that ``SELECT *`` or ``RETURNING *`` gave."""
    values = {field.name: columns[field.name] for field in fields(SendAttempt)}
    return SendAttempt(**{**values, "state": AttemptState(values["state"])})


def _value(name: str, value: Any) -> Any:
    if name in _JSON:
        return json.loads(value)
    return bool(value) if name in _TRUTH else value
