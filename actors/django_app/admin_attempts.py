"""Send attempts in the admin: to be seen, and to be reconciled where their end is unknown."""

from typing import Any

from django.contrib import admin, messages
from django.db.models import Max, QuerySet
from django.http import HttpRequest

from actors import services
from actors.django_app.admin_pages import Page, Unavailable, moment, reaching_redis
from actors.domain import AttemptState
from actors.endings import SEND_ACTOR
from actors.wiring import broker

#: The list shows the newest so many; older ones are found by the id of their message. The table grows without end.
NEWEST = 20_000
#: One click has so many messages reconciled at most.
MAX_RECONCILED = 200
#: Instances among which the list can be narrowed.
MAX_INSTANCES = 100
HOUR_MS = 60 * 60 * 1000
_OPEN = (AttemptState.SENDING, AttemptState.UNKNOWN)


class _State(admin.SimpleListFilter):  # type: ignore[misc]  # Django brings no types
    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(state.value, state.value) for state in AttemptState]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(state=self.value()) if self.value() else queryset


class _Instance(admin.SimpleListFilter):  # type: ignore[misc]  # Django brings no types
    title = "instance"
    parameter_name = "instance"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        # Not the names in the table: to know them all of it would be read.
        try:
            with reaching_redis():
                known, _more = services.get().store.instances(limit=MAX_INSTANCES)
        except Unavailable:
            return []
        names = {instance.name for instance in known} | ({self.value()} if self.value() else set())
        return [(name, name) for name in sorted(names)]

    def has_output(self) -> bool:
        return True

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(instance_name=self.value()) if self.value() else queryset


class _Age(admin.SimpleListFilter):  # type: ignore[misc]  # Django brings no types
    title = "age"
    parameter_name = "age"
    hours = {"hour": 1, "day": 24, "week": 7 * 24}  # noqa: RUF012 - Django's class has no such field

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("hour", "past hour"), ("day", "past day"), ("week", "past week"), ("older", "older than a day")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        now_ms, chosen = services.get().clock.now_ms(), self.value()
        if chosen == "older":
            return queryset.filter(started_at_ms__lt=now_ms - 24 * HOUR_MS)
        hours = self.hours.get(chosen or "")
        return queryset if hours is None else queryset.filter(started_at_ms__gte=now_ms - hours * HOUR_MS)


class AttemptAdmin(Page):
    """The newest attempts, newest first."""

    list_display = ("message_id", "part", "state", "number", "instance_name", "started_at", "looks", "reason")
    list_filter = (_State, _Instance, _Age)
    search_fields = ("message_id__exact",)
    search_help_text = f"The id of a message. Without it the newest {NEWEST:,} attempts are shown."
    ordering = ("-id",)
    sortable_by = ()
    list_per_page = 50
    list_max_show_all = 50
    show_full_result_count = False
    # Django 5 would count once more for each value of each filter.
    show_facets = getattr(getattr(admin, "ShowFacets", None), "NEVER", None)
    actions = ("reconcile",)
    fields = (
        *("message_id", "part", "state", "number", "resends", "looks", "instance_name", "started_at", "deadline_at"),
        *("provider_message_id", "reason", "created_at", "updated_at"),
    )
    readonly_fields = fields

    @admin.display(description="started at")  # type: ignore[untyped-decorator]  # Django brings no types
    def started_at(self, attempt: Any) -> Any:
        """When it was claimed last."""
        return moment(attempt.started_at_ms)

    @admin.display(description="deadline")  # type: ignore[untyped-decorator]  # Django brings no types
    def deadline_at(self, attempt: Any) -> Any:
        """When it is given up."""
        return moment(attempt.deadline_at_ms)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Those of one message, by its index; without one the newest of all."""
        if search_term.strip():
            return queryset.filter(message_id=search_term.strip()), False
        newest = self.model.objects.aggregate(newest=Max("pk"))["newest"] or 0
        return queryset.filter(pk__gt=newest - NEWEST), False

    def has_reconcile_permission(self, request: HttpRequest) -> bool:
        """Whether the user may have sends looked for."""
        return self.may(request, "reconcile")

    @admin.action(description="Reconcile now: find out what became of unknown ones", permissions=["reconcile"])  # type: ignore[untyped-decorator]  # Django brings no types
    def reconcile(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """Enqueue the send of every message among them whose end is unknown: its run asks the gateway first."""
        chosen = list(queryset.filter(state__in=_OPEN).order_by("pk")[: MAX_RECONCILED + 1])
        by_message = {attempt.message_id: attempt for attempt in chosen[:MAX_RECONCILED]}
        sent = 0
        try:
            for message_id, attempt in by_message.items():
                with reaching_redis():
                    broker.get_actor(SEND_ACTOR).send(message_id)
                self.log_change(request, attempt, "Had it reconciled.")
                sent += 1
        except Unavailable as error:
            self.message_user(request, f"Stopped after {sent}: {error}", messages.ERROR)
            return
        self.message_user(request, _said(sent, more=len(chosen) > MAX_RECONCILED))


def _said(sent: int, *, more: bool) -> str:
    if not sent:
        return "None of them is unknown; nothing was done."
    left = f" There are more than {MAX_RECONCILED}: choose the rest again." if more else ""
    return f"{sent} message{'s are' if sent > 1 else ' is'} looked for as soon as a worker is free.{left}"
