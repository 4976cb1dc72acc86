"""Databases of Django that a test may really commit to, from many threads.

The ``conftest.py`` of the folders that need them import the fixtures.
"""

from collections.abc import Iterator
from typing import Any

import pytest
import servers
from chatsite.databases import database as chatsite_database
from contracts.django_world import database
from django.db import connections


@pytest.fixture(scope="session")
def sqlite_alias(django_db_setup: None, django_db_blocker: Any, tmp_path_factory: Any) -> Iterator[str]:
    path = tmp_path_factory.mktemp("django") / "chats.sqlite3"
    with database(chatsite_database(str(path)), django_db_blocker) as alias:
        yield alias


@pytest.fixture(scope="session")
def postgres_alias(django_db_setup: None, django_db_blocker: Any, postgres: servers.PostgresDatabase) -> Iterator[str]:
    with database(chatsite_database(postgres.url), django_db_blocker) as alias:
        yield alias


@pytest.fixture
def unblocked(django_db_blocker: Any) -> Iterator[None]:
    with django_db_blocker.unblock():
        yield
        # A test may have had its server cut them: whoever opens the database next gets connections that work.
        for connection in connections.all(initialized_only=True):
            if connection.alias.startswith("world_"):
                connection.close()
