"""Read settings from the environment and from Django's ``CHAT_ACTORS``, and report every fault at once.

Called by ``Settings.load`` only. Fields, defaults and limits stand once, in the dataclass that is passed in.
"""

import dataclasses
import json
import os
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, get_origin, get_type_hints

from pydantic import BeforeValidator, Field, ValidationError, create_model
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from actors import settings_checks
from actors.errors import SettingsError
from actors.settings_values import Hidden

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

S = TypeVar("S", bound="DataclassInstance")

PREFIX = "CHAT_"
DJANGO_NAME = "CHAT_ACTORS"
#: Longest value that a fault quotes, in characters.
_QUOTED_CHARS = 60


class _Given(PydanticBaseSettingsSource):
    """Values by field name, already picked from where they stand."""

    def __init__(self, settings_cls: type[BaseSettings], values: dict[str, Any]) -> None:
        super().__init__(settings_cls)
        self._values = values

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        return self._values.get(field_name), field_name, False

    def __call__(self) -> dict[str, Any]:
        return self._values


def load(cls: type[S], environ: Mapping[str, str], django: Mapping[str, Any] | None) -> S:
    """Settings of both sources; Django's win.

    Raises:
        SettingsError: one text for all faults.
    """
    if django is not None and not isinstance(django, Mapping):
        raise SettingsError([f"{DJANGO_NAME} must be a dict, it is a {type(django).__name__}"])
    from_environ = dict(_from_environ(cls, environ))
    from_django = dict(_from_django(cls, django or {}))
    sources = [{name: value for name, (_, value) in given.items()} for given in (from_django, from_environ)]
    labels = {name: label for name, (label, _) in (from_environ | from_django).items()}
    values, errors = _validated(cls, sources)
    faults = [*_unknown_keys(cls, django or {}), *(_described(cls, error, labels) for error in errors)]
    if values["store"] is None and (django is not None or environ.get("DJANGO_SETTINGS_MODULE")):
        values["store"] = "django"
    faults += settings_checks.faults(values, unusable={str(error["loc"][0]) for error in errors})
    if faults:
        raise SettingsError(faults)
    return cls(**{name: _hidden(cls, name, value) for name, value in values.items()})


def unknown_names(cls: "type[DataclassInstance]", environ: Mapping[str, str]) -> dict[str, str | None]:
    """``CHAT_*`` variables that no field reads → the nearest name that one does, or None."""
    known = {name for field in dataclasses.fields(cls) for name in variables(field)}
    strange = sorted(name for name in environ if name.startswith(PREFIX) and name not in known)
    return {name: next(iter(get_close_matches(name, known, n=1, cutoff=0.75)), None) for name in strange}


def overruled(cls: "type[DataclassInstance]", environ: Mapping[str, str], django: Mapping[str, Any]) -> dict[str, str]:
    """Variables whose field ``django`` gives another value → the key that wins."""
    wins = dict(_from_django(cls, django))
    return {
        variable: field.upper()
        for field, (variable, text) in _from_environ(cls, environ)
        if field in wins and not _is_same(wins[field][1], text)
    }


def _is_same(value: Any, text: str) -> bool:
    if isinstance(value, bool):
        return text.strip().lower() in (("1", "true", "yes", "on") if value else ("0", "false", "no", "off"))
    if isinstance(value, Mapping):
        try:
            return bool(value == json.loads(text))
        except ValueError:
            return False
    return str(value).strip() == text.strip()


def variables(field: "dataclasses.Field[Any]") -> tuple[str, ...]:
    """Environment variables that set a field, the first given wins; none where only Django can set it."""
    if field.metadata.get("django_only"):
        return ()
    return field.metadata.get("env") or (PREFIX + field.name.upper(),)


def _from_environ(cls: "type[DataclassInstance]", environ: Mapping[str, str]) -> Iterator[tuple[str, tuple[str, Any]]]:
    """Field → (where it stands, its text). An empty variable is an absent one: that is how compose files leave it out."""
    for field in dataclasses.fields(cls):
        for variable in variables(field):
            if environ.get(variable, "").strip():
                yield field.name, (variable, environ[variable])
                break


def _from_django(cls: "type[DataclassInstance]", django: Mapping[str, Any]) -> Iterator[tuple[str, tuple[str, Any]]]:
    """The same of ``CHAT_ACTORS``; None and "" are absent, because hosts write ``os.environ.get(...)`` there."""
    for field in dataclasses.fields(cls):
        value = django.get(field.name.upper())
        if value is not None and value != "":
            yield field.name, (f"{DJANGO_NAME}[{field.name.upper()!r}]", _plain(value))


def _plain(value: Any) -> Any:
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    # A host may keep its own secrets in pydantic's type.
    return value.get_secret_value() if hasattr(value, "get_secret_value") else value


def _unknown_keys(cls: "type[DataclassInstance]", django: Mapping[str, Any]) -> Iterator[str]:
    known = [field.name.upper() for field in dataclasses.fields(cls)]
    for key in django:
        if key not in known:
            near = get_close_matches(str(key).upper().removeprefix(PREFIX), known, n=1)
            yield f"{DJANGO_NAME} has an unknown key {key!r}" + (f"; did you mean {near[0]!r}?" if near else "")


def _validated(
    cls: "type[DataclassInstance]", sources: list[dict[str, Any]]
) -> tuple[dict[str, Any], list[ErrorDetails]]:
    """Values of all fields, and the faults of single fields; a field with a fault has its default."""
    try:
        return _read(cls, sources), []
    except ValidationError as error:
        errors = error.errors(include_url=False, include_context=False)
    unusable = {error["loc"][0] for error in errors}
    usable = [{name: value for name, value in source.items() if name not in unusable} for source in sources]
    return _read(cls, usable), errors


def _read(cls: "type[DataclassInstance]", sources: list[dict[str, Any]]) -> dict[str, Any]:
    """Values as pydantic understands them; the first source that has one wins."""

    class Reader(BaseSettings):
        model_config = SettingsConfigDict(str_strip_whitespace=True, extra="forbid", hide_input_in_errors=True)

        @classmethod
        def settings_customise_sources(
            cls, settings_cls: type[BaseSettings], *_: PydanticBaseSettingsSource, **__: PydanticBaseSettingsSource
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            return tuple(_Given(settings_cls, source) for source in sources)

    hints = get_type_hints(cls)
    fields: dict[str, Any] = {}
    for field in dataclasses.fields(cls):
        default = {"default_factory": dict} if field.default is dataclasses.MISSING else {"default": field.default}
        fields[field.name] = (_readable(hints[field.name]), Field(**default, **field.metadata.get("limits", {})))
    return create_model("Reader", __base__=Reader, **fields)().model_dump()


def _readable(hint: Any) -> Any:
    """The type that pydantic reads a field as."""
    if hint == Hidden | None:
        return str | None
    return Annotated[hint, BeforeValidator(_from_json)] if get_origin(hint) is dict else hint


def _from_json(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        raise ValueError("must be a JSON object") from None


def _hidden(cls: "type[DataclassInstance]", name: str, value: Any) -> Any:
    return Hidden(value) if value is not None and get_type_hints(cls)[name] == Hidden | None else value


def _described(cls: "type[DataclassInstance]", error: ErrorDetails, labels: Mapping[str, str]) -> str:
    name, *inside = error["loc"]
    field = next(field for field in dataclasses.fields(cls) if field.name == name)
    label = labels[str(name)] + "".join(f"[{part!r}]" for part in inside)
    # Pydantic's sentences begin with "Input should be", or "Value error," before one of ours.
    text = error["msg"].removeprefix("Value error, ").replace("Input should be", "must be", 1)
    found = "" if field.metadata.get("secret") else f" is {_quoted(error['input'])};"
    hint = field.metadata.get("hint")
    return f"{label}{found} it {text}" + (f": {hint}" if hint else "")


def _quoted(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _QUOTED_CHARS else text[:_QUOTED_CHARS] + "…"
