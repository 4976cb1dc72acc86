"""Which real servers this machine offers, and what a test does without one.

``conftest.py`` builds its fixtures on it; a test may call :func:`require` itself.
"""

import functools
import os
import secrets
import socket
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass

import psycopg
import pytest
from psycopg import sql

from middleware.brokers.redis.embedded import EmbeddedRedisFailed, find_binary

POSTGRES = {"host": "127.0.0.1", "port": 5432, "user": "postgres"}
RABBITMQ = ("127.0.0.1", 5672)
RABBITMQ_URL = "amqp://guest:guest@127.0.0.1:5672/"


@dataclass(frozen=True)
class PostgresDatabase:
    """An empty database of our own."""

    name: str

    @property
    def url(self) -> str:
        """For libpq and everything that takes one text. A password, where needed, comes from ``PGPASSWORD``."""
        return f"postgresql://{POSTGRES['user']}@{POSTGRES['host']}:{POSTGRES['port']}/{self.name}"

    @property
    def django(self) -> dict[str, object]:
        """Entry of Django's ``DATABASES``."""
        place = {"HOST": POSTGRES["host"], "PORT": POSTGRES["port"], "USER": POSTGRES["user"]}
        return {"ENGINE": "django.db.backends.postgresql", "NAME": self.name, **place}


def require(server: str) -> None:
    """Go on only when ``server`` (redis, postgres, rabbitmq) can be used.

    Without it a test is skipped on a laptop and fails where ``CI`` is set: nobody should believe in a run that left it out.
    """
    missing = _CHECKS[server]()
    if missing is None:
        return
    if os.environ.get("CI"):
        pytest.fail(f"CI must have {server}: {missing}", pytrace=False)
    pytest.skip(f"no {server}: {missing}")


@contextmanager
def fresh_postgres() -> Iterator[PostgresDatabase]:
    """A database that exists inside the block, whoever is still connected at its end."""
    database = PostgresDatabase(f"chat_test_{secrets.token_hex(6)}")
    name = sql.Identifier(database.name)
    with closing(psycopg.connect(**POSTGRES, dbname="postgres", autocommit=True)) as admin:
        admin.execute(sql.SQL("CREATE DATABASE {}").format(name))
        try:
            yield database
        finally:
            admin.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(name))


@functools.cache
def _redis() -> str | None:
    try:
        find_binary()
    except EmbeddedRedisFailed as error:
        return str(error)
    return None


@functools.cache
def _postgres() -> str | None:
    try:
        psycopg.connect(**POSTGRES, dbname="postgres", connect_timeout=2).close()
    except psycopg.OperationalError as error:
        return str(error)
    return None


@functools.cache
def _rabbitmq() -> str | None:
    try:
        socket.create_connection(RABBITMQ, timeout=2).close()
    except OSError as error:
        return str(error)
    return None


_CHECKS: dict[str, Callable[[], str | None]] = {"redis": _redis, "postgres": _postgres, "rabbitmq": _rabbitmq}
