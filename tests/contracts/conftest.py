"""Fixtures of the tests in this folder."""

from django_fixtures import postgres_alias, sqlite_alias, unblocked

__all__ = ["postgres_alias", "sqlite_alias", "unblocked"]
