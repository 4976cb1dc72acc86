"""The table of send attempts is what its migrations make, and nothing of the host's hangs on it."""

import pytest
from django.core.management import call_command
from django.db import connection

from actors.django_app.models import SendAttempt


@pytest.mark.django_db
def test_no_migration_is_missing():
    call_command("makemigrations", "--check", "--dry-run", verbosity=0)


@pytest.mark.django_db
def test_the_table_points_at_no_row_of_the_host():
    with connection.cursor() as cursor:
        relations = connection.introspection.get_relations(cursor, SendAttempt._meta.db_table)

    assert relations == {}


def test_an_attempt_is_shown_without_its_content():
    row = SendAttempt(message_id="m-1", part=0, state="sending", instance_name="line-1")

    assert str(row) == "m-1:0 sending"
