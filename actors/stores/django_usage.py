"""Rows of the host's own table of Redis' memory, in the shape of the adopting product's ``RedisUsageSample``.

``actors.sampling`` writes one where ``CHAT_ACTORS["MODELS"]["redis_usage"]`` names a model. That product's page draws the oldest
1,008 rows, a week of one in ten minutes: rows come as far apart as there, and those older than a week are removed.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.apps import apps
from django.core.exceptions import FieldDoesNotExist
from django.db import DatabaseError, InterfaceError, router
from django.utils import timezone

from actors.errors import SettingsError, Transient
from middleware.memory import Sample

#: Time between two rows, and how long they stay, in seconds.
ROW_EVERY_S = 600
KEEP_S = 7 * 24 * 60 * 60
#: A row may come this much early, in seconds: minutes of a machine are not equally long.
_EARLY_S = 30
#: Field of ours → whether there is no row without it.
FIELDS = {
    "sampled_at": True,
    "used_memory": True,
    "aof_current_size": False,
    "keys_profile_pic": False,
    "keys_webhook": False,
}
#: Fields that count keys of the cache → what these have in their names.
COUNTED = {"keys_profile_pic": b"profile_pic:", "keys_webhook": b"webhook:"}

#: Counts keys of the cache by what is in their names; None where that cannot be told.
Count = Callable[[Mapping[str, bytes]], Mapping[str, int | None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageRows:
    """Writes rows of ``model``; ``paths`` says what the host calls the fields, those it lacks are not in it."""

    model: Any
    paths: Mapping[str, str]

    @classmethod
    def of(cls, label: str, renamed: Mapping[str, Any]) -> "UsageRows":
        """Rows of the model ``"app.Model"``.

        Raises:
            SettingsError: there is no such model, or it lacks a field.
        """
        try:
            model = apps.get_model(label)
        except (LookupError, ValueError) as error:
            raise SettingsError(
                [f"the model {label!r} (redis_usage) does not exist: install the app that has it"]
            ) from error
        paths, faults = (
            {},
            [f"FIELD_MAP['redis_usage'] has an unknown key {name!r}" for name in renamed.keys() - FIELDS],
        )
        for name, is_required in FIELDS.items():
            path = renamed.get(name, name)
            if _has(model, path):
                paths[name] = path
            elif is_required or name in renamed:
                faults.append(
                    f"the model {label} (redis_usage) has no field {path!r}: name it in FIELD_MAP['redis_usage'][{name!r}]"
                )
        if faults:
            raise SettingsError(faults)
        return cls(model=model, paths=paths)

    def add(self, sample: Sample, *, count: Count) -> None:
        """Write a row for a sample unless the newest is younger than ten minutes, and remove those older than a week.

        Raises:
            Transient: ``store_unavailable``.
        """
        if sample.used_memory_bytes is None:
            return
        at, using = self.paths["sampled_at"], router.db_for_write(self.model)
        rows = self.model._base_manager.using(using)  # public by Django's documentation
        now = timezone.now()
        try:
            if rows.filter(**{f"{at}__gt": now - timedelta(seconds=ROW_EVERY_S - _EARLY_S)}).exists():
                return
            words = {name: word for name, word in COUNTED.items() if name in self.paths}
            rows.create(**self._values(sample, now, count(words)))
            rows.filter(**{f"{at}__lt": now - timedelta(seconds=KEEP_S)}).delete()
        except (DatabaseError, InterfaceError) as error:
            raise Transient("the table of Redis' memory took no row", code="store_unavailable") from error

    def _values(self, sample: Sample, now: Any, counts: Mapping[str, int | None]) -> dict[str, Any]:
        said = {
            **counts,
            "sampled_at": now,
            "used_memory": sample.used_memory_bytes,
            "aof_current_size": sample.persistence.get("aof_bytes"),
        }
        return {path: said[name] for name, path in self.paths.items()}


def _has(model: Any, name: Any) -> bool:
    try:
        model._meta.get_field(name)  # public by Django's documentation
    except FieldDoesNotExist:
        return False
    return True
