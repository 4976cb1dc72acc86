"""Statements that Django compiles once: it takes longer to write one than PostgreSQL to answer it.

``django_rows.py``, ``django_attempts.py`` and ``django_orm.py`` run the ones of every message through it. Each is given as a
function from values to a queryset, called once with placeholders. Where what Django makes of them is not one plain statement
(a model over several tables, a field that cannot take a placeholder) the function is called with the values every time.
"""

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import EmptyResultSet, FieldError
from django.db import connections
from django.db.models import Expression, sql

#: Field → what a statement gets for it.
Values = Mapping[str, Any]


class Given(Expression):  # type: ignore[misc]  # Django brings no types
    """A value that comes with each run; ``field`` says how it is written."""

    def __init__(self, name: str, field: Any, *, is_saved: bool = False) -> None:
        super().__init__(output_field=field)
        self.name = name
        self.is_saved = is_saved

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, list["Given"]]:
        """Itself as the parameter: :meth:`_Compiled.parameters` puts the value there."""
        return "%s", [self]

    def write(self, value: Any, connection: Any) -> Any:
        """``value`` as the database takes it."""
        if self.is_saved:
            return self.output_field.get_db_prep_save(value, connection=connection)
        return self.output_field.get_db_prep_value(value, connection=connection, prepared=False)


@dataclass(frozen=True, slots=True)
class _Compiled:
    """``text`` is None where values must be given to Django itself."""

    connection: Any
    text: str | None = None
    given: Sequence[Any] = ()
    converters: Sequence[tuple[int, Any, Any]] = ()

    def parameters(self, values: Values) -> list[Any]:
        return [one.write(values[one.name], self.connection) if isinstance(one, Given) else one for one in self.given]

    def converted(self, row: Sequence[Any]) -> list[Any]:
        found = list(row)
        for place, converters, expression in self.converters:
            for convert in converters:
                found[place] = convert(found[place], expression, self.connection)
        return found


class _Prepared(ABC):
    """What the statements have in common. ``fields`` are the model's, by the name that a run gives the value."""

    def __init__(self, using: str, fields: Mapping[str, Any]) -> None:
        self._using = using
        self._fields = dict(fields)
        # Converters belong to a connection, and a connection to a thread.
        self._own = threading.local()

    @property
    def given(self) -> list[str]:
        """Names of the values of a run."""
        return list(self._fields)

    def _compiled(self) -> _Compiled:
        connection = connections[self._using]
        known: _Compiled | None = getattr(self._own, "compiled", None)
        if known is None or known.connection is not connection:
            known = self._own.compiled = self._compile_or_not(connection)
        return known

    def _compile_or_not(self, connection: Any) -> _Compiled:
        try:
            compiled = self._compile(connection)
        except (EmptyResultSet, FieldError, TypeError, ValueError, AttributeError):
            # A field of the host's that cannot do without the value.
            return _Compiled(connection)
        found = {one.name for one in compiled.given if isinstance(one, Given)}
        return compiled if found == set(self._fields) else _Compiled(connection)

    @abstractmethod
    def _compile(self, connection: Any) -> _Compiled: ...

    def _givens(self, *, is_saved: Sequence[str] = ()) -> dict[str, Given]:
        return {name: Given(name, field, is_saved=name in is_saved) for name, field in self._fields.items()}


class Read(_Prepared):
    """``make(**values)`` is a ``values_list`` queryset, ``names`` its columns. Safe to share between threads."""

    def __init__(
        self, using: str, make: Callable[..., Any], *, names: Sequence[str], fields: Mapping[str, Any]
    ) -> None:
        super().__init__(using, fields)
        self._make = make
        self.names = tuple(names)

    def rows(self, **values: Any) -> list[dict[str, Any]]:
        """Rows as dicts, name → value."""
        compiled = self._compiled()
        if compiled.text is None:
            return [dict(zip(self.names, row, strict=True)) for row in self._make(**values)]
        with compiled.connection.cursor() as cursor:
            cursor.execute(compiled.text, compiled.parameters(values))
            found = cursor.fetchall()
        return [dict(zip(self.names, compiled.converted(row), strict=True)) for row in found]

    def _compile(self, connection: Any) -> _Compiled:
        compiler = self._make(**self._givens()).query.get_compiler(connection=connection)
        text, given = compiler.as_sql()
        columns = [column for column, _, _ in compiler.select]
        converters = [(place, *pair) for place, pair in compiler.get_converters(columns).items()]
        return _Compiled(connection, text, given, converters)


class Change(_Prepared):
    """``make(**values)`` is a queryset and the changes of its ``update``; ``saved`` names the values that are written."""

    def __init__(
        self,
        using: str,
        make: Callable[..., tuple[Any, dict[str, Any]]],
        *,
        fields: Mapping[str, Any],
        saved: Sequence[str] = (),
    ) -> None:
        super().__init__(using, fields)
        self._make = make
        self._saved = tuple(saved)

    def run(self, **values: Any) -> int:
        """How many rows were changed."""
        compiled = self._compiled()
        if compiled.text is None:
            found, changes = self._make(**values)
            return int(found.update(**changes))
        with compiled.connection.cursor() as cursor:
            cursor.execute(compiled.text, compiled.parameters(values))
            return int(cursor.rowcount)

    def _compile(self, connection: Any) -> _Compiled:
        found, changes = self._make(**self._givens(is_saved=self._saved))
        query = found.query.chain(sql.UpdateQuery)
        query.add_update_values(changes)
        query.get_initial_alias()
        if query.related_updates or query.count_active_tables() != 1:
            return _Compiled(connection)
        return _Compiled(connection, *query.get_compiler(connection=connection).as_sql())


class Insert(_Prepared):
    """One row of ``model``, which lies in one table; a value for each field that the database does not fill."""

    def __init__(self, using: str, model: Any) -> None:
        fields = [field for field in model._meta.concrete_fields if not field.auto_created]
        super().__init__(using, {field.attname: field for field in fields})
        self._model = model

    def run(self, **values: Any) -> None:
        """Insert the row.

        Raises:
            IntegrityError: there is one already.
        """
        compiled = self._compiled()
        if compiled.text is None:
            self._model(**values).save(using=self._using, force_insert=True)
            return
        with compiled.connection.cursor() as cursor:
            cursor.execute(compiled.text, compiled.parameters(values))

    def _compile(self, connection: Any) -> _Compiled:
        query = sql.InsertQuery(self._model)
        row = self._model()
        for name, given in self._givens(is_saved=list(self._fields)).items():
            setattr(row, name, given)
        query.insert_values(list(self._fields.values()), [row], raw=True)
        ((text, given),) = query.get_compiler(connection=connection).as_sql()
        return _Compiled(connection, text, given)
