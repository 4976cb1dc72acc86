"""Which real servers this machine offers, and what a test does without one.

``conftest.py`` builds its fixtures on it; a test may call :func:`require` itself.
"""

import functools
import os
import secrets
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from middleware.brokers.redis.embedded import EmbeddedRedisFailed, find_binary

#: Another ``redis-server`` for the whole suite; None = the one that is found.
REDIS_BINARY = Path(os.environ["TEST_REDIS_BINARY"]) if "TEST_REDIS_BINARY" in os.environ else None
POSTGRES = {"host": "127.0.0.1", "port": 5432, "user": "postgres"}
RABBITMQ = ("127.0.0.1", 5672)
#: A browser and what drives it; of the system, never fetched.
BROWSER = ("chromium", "chromedriver")
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
    """Go on only when ``server`` (redis, postgres, rabbitmq, browser) can be used.

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


@functools.cache
def _browser() -> str | None:
    missing = [name for name in BROWSER if shutil.which(name) is None]
    return f"{' and '.join(missing)} not on PATH" if missing else None


_CHECKS: dict[str, Callable[[], str | None]] = {
    "redis": _redis,
    "postgres": _postgres,
    "rabbitmq": _rabbitmq,
    "browser": _browser,
}


def end(process: "subprocess.Popen[bytes]", *, within_s: float = 20) -> None:
    """Have a process end, by force where it does not."""
    process.terminate()
    try:
        process.wait(within_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def own_address() -> str:
    """An address of this machine that is not loopback; without one the test is skipped."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            # Sends nothing: it asks the kernel which address it would send from.
            probe.connect(("192.0.2.1", 9))
        except OSError:
            pytest.skip("this machine has no address but loopback")
        address: str = probe.getsockname()[0]
    if address.startswith("127."):
        pytest.skip("this machine has no address but loopback")
    return address
