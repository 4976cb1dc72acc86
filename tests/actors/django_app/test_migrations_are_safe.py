"""Our migrations on a PostgreSQL in use: they lock no row or table of the host's, rewrite nothing, and wait for nobody."""

import re
from collections.abc import Iterator

import psycopg
import pytest
import servers
from chat.models import Conversation
from chatsite.databases import database as chatsite_database
from contracts.django_world import database
from django.core.management import call_command
from django.db import connections
from django.db.migrations.executor import MigrationExecutor

pytestmark = pytest.mark.postgres

APP = "chat_actors"
#: Statements that take a lock for a moment at most, on tables of ours. A new column has no default or one that PostgreSQL
#: keeps in its catalogue (11 and later), so the table is not written again.
HARMLESS = (
    r"CREATE TABLE \"chat_actors_\w+\" ",
    r"CREATE (UNIQUE )?INDEX \"chat_actors_\w+\" ON \"chat_actors_\w+\" ",
    r"ALTER TABLE \"chat_actors_\w+\" ADD CONSTRAINT \"\w+\" UNIQUE ",
    r"ALTER TABLE \"chat_actors_\w+\" ADD COLUMN \"\w+\" \w+(\(\d+\))? DEFAULT [\w']+ NOT NULL( CHECK \(\"\w+\" >= 0\))?;",
    r"ALTER TABLE \"chat_actors_\w+\" ADD COLUMN \"\w+\" [\w ]+(\(\d+\))? NULL;",
    r"ALTER TABLE \"chat_actors_\w+\" ALTER COLUMN \"\w+\" (DROP|SET) DEFAULT",
    r"ALTER TABLE \"chat_actors_\w+\" RENAME TO \"chat_actors_\w+\";",
    r"BEGIN;",
    r"COMMIT;",
)
PARTS = [r"FOREIGN KEY", r"REFERENCES", r"ALTER COLUMN \S+ TYPE", r"UPDATE \S+ SET"]


@pytest.fixture
def alias(django_db_setup: None, django_db_blocker) -> Iterator[str]:
    """A migrated database that nobody else has."""
    with (
        servers.fresh_postgres() as place,
        database(chatsite_database(place.url), django_db_blocker) as made,
        django_db_blocker.unblock(),
    ):
        yield made


@pytest.fixture
def steps(alias: str) -> list[str]:
    loader = MigrationExecutor(connections[alias]).loader
    return sorted(name for app, name in loader.disk_migrations if app == APP)


def test_every_statement_is_one_of_a_moment_on_a_table_of_ours(alias, steps, capsys):
    for name in steps:
        call_command("sqlmigrate", APP, name, database=alias)
        said = capsys.readouterr().out
        statements = [line for line in said.splitlines() if line and not line.startswith("--")]

        strange = [one for one in statements if not any(re.match(form, one) for form in HARMLESS)]
        assert strange == [], name
        assert [one for one in statements for part in PARTS if re.search(part, one)] == [], name


def test_they_wait_for_no_lock_of_the_hosts_and_write_no_table_again(alias, steps):
    first, rest = steps[0], steps[1:]
    call_command("migrate", APP, first, database=alias, verbosity=0, skip_checks=True)
    url = connections[alias].settings_dict
    with connections[alias].cursor() as cursor:
        cursor.execute(
            "INSERT INTO chat_actors_sendattempt (message_id, part, state, number, instance_name, started_at_ms,"
            " deadline_at_ms, looks, created_at, updated_at) SELECT n::text, 0, 'accepted', 1, 'i', 0, 0, 0, now(), now()"
            " FROM generate_series(1, 1000) n"
        )
        cursor.execute("SELECT pg_relation_filenode('chat_actors_sendattempt')")
        before = cursor.fetchone()
    Conversation.objects.using(alias).create(contact_phone="+5511988887777", instance_name="i")

    here = {"host": url["HOST"], "port": url["PORT"], "user": url["USER"], "dbname": url["NAME"]}
    with psycopg.connect(**here) as host, connections[alias].cursor() as cursor:
        # The host in the middle of its work: every table of its own locked against anything that would change it.
        host.execute("LOCK TABLE chat_message, chat_conversation, chat_whatsappinstance IN ACCESS EXCLUSIVE MODE")
        cursor.execute("SET lock_timeout = '2s'")
        for name in rest:
            call_command("migrate", APP, name, database=alias, verbosity=0, skip_checks=True)
        host.rollback()
        cursor.execute("SELECT pg_relation_filenode('chat_actors_sendattempt')")
        after = cursor.fetchone()
        cursor.execute("SELECT count(*) FROM chat_actors_sendattempt WHERE fingerprint = '' AND resends = 0")
        kept = cursor.fetchone()

    assert len(rest) >= 3
    assert (after, kept) == (before, (1000,))
