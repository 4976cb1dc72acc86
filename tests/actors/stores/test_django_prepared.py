"""Statements that are compiled once say what Django itself would say, also where they cannot be compiled."""

import threading
import uuid
from collections.abc import Iterator

import pytest
from django.db import IntegrityError, connections, models
from django.test.utils import CaptureQueriesContext, isolate_apps
from django.utils import timezone

from actors.stores.django_prepared import Change, Insert, Read


class Wrapped(models.TextField):
    """As hosts' encrypted fields are: what it stores is made from the value itself."""

    def get_db_prep_save(self, value, connection):
        return f"<{value}>"

    def from_db_value(self, value, expression, connection):
        return value[1:-1]


class Strict(models.TextField):
    """One that takes nothing but text."""

    def get_db_prep_save(self, value, connection):
        return value.upper()


class Tables:
    """A table of one piece, and one of two."""

    def __init__(self) -> None:
        class Row(models.Model):
            id = models.UUIDField(primary_key=True, default=uuid.uuid4)
            number = models.IntegerField(default=0)
            extra = models.JSONField(default=dict)
            seen_at = models.DateTimeField(null=True)
            wrapped = Wrapped(default="")
            strict = Strict(default="")

            class Meta:
                app_label = "desk"

        class Longer(Row):
            more = models.TextField(default="")

            class Meta:
                app_label = "desk"

        self.row, self.longer = Row, Longer


@pytest.fixture(params=["sqlite", "postgres"])
def using(request: pytest.FixtureRequest, unblocked: None) -> str:
    return request.getfixturevalue(f"{request.param}_alias")


@pytest.fixture
def tables(using: str) -> Iterator[Tables]:
    with isolate_apps("desk"):
        made = Tables()
        with connections[using].schema_editor() as editor:
            editor.create_model(made.row)
            editor.create_model(made.longer)
        yield made
        with connections[using].schema_editor() as editor:
            editor.delete_model(made.longer)
            editor.delete_model(made.row)


def changing(using: str, model: type[models.Model], name: str) -> Change:
    """The statement that gives the row with a key a new value of ``name``."""
    rows, field = model._base_manager.using(using), model._meta.get_field(name)
    return Change(
        using,
        lambda key, **changes: (rows.filter(pk=key), changes),
        fields={"key": model._meta.pk, name: field},
        saved=(name,),
    )


def reading(using: str, model: type[models.Model], *names: str) -> Read:
    rows = model._base_manager.using(using).values_list(*names)
    return Read(using, lambda key: rows.filter(pk=key), names=names, fields={"key": model._meta.pk})


def test_a_row_is_read_as_django_reads_it(using, tables):
    now = timezone.now()
    row = tables.row.objects.using(using).create(number=7, extra={"a": [1]}, seen_at=now, wrapped="x")
    names = ("id", "number", "extra", "seen_at", "wrapped")
    read = reading(using, tables.row, *names)

    for _ in range(2):
        assert read.rows(key=row.pk) == [
            {"id": row.pk, "number": 7, "extra": {"a": [1]}, "seen_at": now, "wrapped": "x"}
        ]
    assert read.rows(key=uuid.uuid4()) == []


def test_only_the_first_run_of_a_thread_asks_django_to_write_the_statement(using, tables):
    made = []
    rows = tables.row.objects.using(using).values_list("number")

    def make(key):
        made.append(key)
        return rows.filter(pk=key)

    read = Read(using, make, names=("number",), fields={"key": tables.row._meta.pk})
    row = tables.row.objects.using(using).create(number=3)

    def run() -> None:
        for _ in range(3):
            assert read.rows(key=row.pk) == [{"number": 3}]
        connections[using].close()

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(made) == 4


def test_a_closed_connection_is_opened_again(using, tables):
    row = tables.row.objects.using(using).create(number=1)
    read, change = reading(using, tables.row, "number"), changing(using, tables.row, "number")

    assert change.run(key=row.pk, number=2) == 1
    connections[using].close()
    assert change.run(key=row.pk, number=3) == 1
    connections[using].close()
    assert read.rows(key=row.pk) == [{"number": 3}]


@pytest.mark.parametrize("value", [{"b": None}, [], "text", 1.5])
def test_a_change_writes_as_update_writes(using, tables, value):
    row, other = (tables.row.objects.using(using).create() for _ in range(2))
    tables.row.objects.using(using).filter(pk=other.pk).update(extra=value)

    assert changing(using, tables.row, "extra").run(key=row.pk, extra=value) == 1
    assert changing(using, tables.row, "extra").run(key=uuid.uuid4(), extra=value) == 0

    with connections[using].cursor() as cursor:
        cursor.execute("SELECT count(DISTINCT CAST(extra AS text)) FROM desk_row")
        assert cursor.fetchone() == (1,)


def test_a_change_may_write_null(using, tables):
    row = tables.row.objects.using(using).create(seen_at=timezone.now())

    assert changing(using, tables.row, "seen_at").run(key=row.pk, seen_at=None) == 1

    assert tables.row.objects.using(using).get().seen_at is None


@pytest.mark.parametrize(("name", "stored"), [("wrapped", "<word>"), ("strict", "WORD")])
def test_a_field_that_needs_the_value_itself_gets_it(using, tables, name, stored):
    row = tables.row.objects.using(using).create()

    assert changing(using, tables.row, name).run(key=row.pk, **{name: "word"}) == 1

    with connections[using].cursor() as cursor:
        cursor.execute(f"SELECT {name} FROM desk_row")  # noqa: S608 - a name of this test
        assert cursor.fetchone() == (stored,)


@pytest.mark.parametrize("name", ["number", "more"])
def test_a_model_over_two_tables_is_changed_by_django_itself(using, tables, name):
    row = tables.longer.objects.using(using).create()

    assert changing(using, tables.longer, name).run(key=row.pk, **{name: 5}) == 1

    assert str(getattr(tables.longer.objects.using(using).get(), name)) == "5"


def test_a_row_is_inserted_once(using, tables):
    class Plain(models.Model):
        key = models.CharField(max_length=20, unique=True)
        at = models.DateTimeField(null=True)

        class Meta:
            app_label = "desk"

    with connections[using].schema_editor() as editor:
        editor.create_model(Plain)
    try:
        insert = Insert(using, Plain)
        insert.run(key="a", at=None)
        with pytest.raises(IntegrityError):
            insert.run(key="a", at=timezone.now())
        with CaptureQueriesContext(connections[using]) as queries:
            insert.run(key="b", at=timezone.now())

        assert sorted(Plain.objects.using(using).values_list("key", flat=True)) == ["a", "b"]
        assert [query["sql"].split()[0] for query in queries] == ["INSERT"]
    finally:
        with connections[using].schema_editor() as editor:
            editor.delete_model(Plain)
