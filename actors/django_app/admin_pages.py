"""What the admin's pages share: nobody adds or deletes rows there, and Redis that is down is said and breaks nothing."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest
from django.template.response import TemplateResponse

from actors import services, wiring
from actors.errors import SettingsError, Transient
from middleware.audit import AuditTrail
from middleware.brokers.redis import connections
from middleware.brokers.redis.broker import CarrierBroker
from middleware.errors import PipelineError, Refusal


class Unavailable(Exception):
    """Redis, or the settings that lead to it, cannot be used now; the text is ours and says why."""


@contextmanager
def reaching_redis() -> Iterator[None]:
    """Turn whatever Redis, the store or the settings refuse into :class:`Unavailable`."""
    try:
        yield
    except (PipelineError, SettingsError, Transient) as error:
        raise Unavailable(f"{error} ({error.code})") from error
    except Refusal as refusal:
        # A SystemExit: it would end the web process.
        raise Unavailable(str(refusal)) from refusal


def carrier() -> CarrierBroker:
    """The queues, whose connection is on the pinned database.

    Raises:
        SettingsError, PipelineError, Refusal: see :func:`reaching_redis`.
    """
    settings = services.settings()
    settings.queue_connection()
    broker = wiring.broker
    if not isinstance(broker, CarrierBroker):
        raise SettingsError([f"CHAT_BROKER is {settings.broker!r}: only the queues of the broker redis can be shown"])
    connections.assert_pinned(broker.client, db=settings.queue_db)
    return broker


def note(request: HttpRequest, what: str, **facts: Any) -> None:
    """Leave a line in the queues' audit trail: the user by key, whose name stands in the admin's own log."""
    AuditTrail(carrier()).note(f"admin:{request.user.pk}", what, **facts)


def moment(at_ms: int | None) -> datetime | None:
    """A time in milliseconds for a template, which shows it in the time zone of the admin."""
    return None if not at_ms else datetime.fromtimestamp(at_ms / 1000, tz=UTC)


class Page(admin.ModelAdmin):  # type: ignore[misc]  # Django brings no types
    """A page of the admin that only shows; rights beyond seeing are asked by name with :meth:`may`."""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody."""
        return False

    def may(self, request: HttpRequest, doing: str) -> bool:
        """Whether the user has the right ``chat_actors.<doing>_<model>``."""
        return bool(request.user.has_perm(f"{self.opts.app_label}.{doing}_{self.opts.model_name}"))

    def require(self, allowed: bool) -> None:  # noqa: FBT001 - it says yes or no
        """Go on only when ``allowed``.

        Raises:
            PermissionDenied: it is not.
        """
        if not allowed:
            raise PermissionDenied

    def wrapped(self, view: Callable[..., Any]) -> Callable[..., Any]:
        """A view of ours behind the admin's login."""
        made: Callable[..., Any] = self.admin_site.admin_view(view)
        return made

    def shown(self, request: HttpRequest, template: str, *, title: str, **context: Any) -> TemplateResponse:
        """A page in the admin's clothes."""
        common = {**self.admin_site.each_context(request), "opts": self.opts, "title": title}
        return TemplateResponse(request, f"admin/chat_actors/{template}", {**common, **context})
