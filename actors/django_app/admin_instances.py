"""Instances in the admin: how they stand, parked and released by an operator."""

from dataclasses import replace
from datetime import datetime
from typing import Any

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import path, reverse

from actors import services, wiring
from actors.circuit import Circuit, State
from actors.django_app.admin_pages import Page, Unavailable, carrier, note, reaching_redis
from actors.domain import Instance
from actors.errors import SettingsError
from actors.standings import standings, word_of
from actors.traffic import Traffic
from middleware.stats import take_snapshot

#: Instances on a page.
PAGE = 100
_VERBS = {"park": "Park", "release": "Release"}
_DONE = {"park": "Parked.", "release": "Released."}
_MEANS = {
    "park": "Nothing is sent or asked through it until it is released. What waits keeps its order and uses no attempts.",
    "release": "One message tries; when it gets through, more and more follow.",
}


class InstanceAdmin(Page):
    """Every active instance, and each in trouble."""

    def get_urls(self) -> list[Any]:
        """The two changes beside Django's own pages."""
        name = f"{self.opts.app_label}_{self.opts.model_name}"
        own = [path("<str:doing>/confirm/", self.wrapped(self.change_one), name=f"{name}_confirm")]
        return [*own, *super().get_urls()]

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        """A page of instances, those in trouble first on the first one."""
        self.require(self.has_view_permission(request))
        rows: list[dict[str, Any]] = []
        more, problem = None, None
        try:
            with reaching_redis():
                rows, more = _rows(request.GET.get("after") or None)
        except Unavailable as error:
            problem = str(error)
        rights = {f"may_{doing}": self.may(request, doing) for doing in _VERBS}
        context = {"rows": rows, "more": more, "problem": problem, **rights}
        return self.shown(request, "instances.html", title="Instances", **context)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """An instance has no page of its own; the admin's log leads to the list."""
        self.require(self.has_view_permission(request))
        return HttpResponseRedirect(self._list())

    def change_one(self, request: HttpRequest, doing: str) -> HttpResponse:
        """Ask, then park or release."""
        if doing not in _VERBS:
            raise Http404
        self.require(self.has_view_permission(request) and self.may(request, doing))
        name, tenant = request.POST.get("name", ""), request.POST.get("tenant") or None
        try:
            with reaching_redis():
                instance = _find(name, tenant) if request.method == "POST" else None
                if instance is None:
                    self.message_user(request, "There is no such instance (any more).", messages.WARNING)
                elif "confirmed" not in request.POST:
                    context = {
                        "instance": instance,
                        "verb": _VERBS[doing],
                        "means": _MEANS[doing],
                        "back": self._list(),
                    }
                    title = f"{_VERBS[doing]} {instance.name}?"
                    return self.shown(request, "instance_confirm.html", title=title, **context)
                else:
                    self._do(request, doing, instance)
        except Unavailable as error:
            self.message_user(request, str(error), messages.ERROR)
        return HttpResponseRedirect(self._list())

    def _do(self, request: HttpRequest, doing: str, instance: Instance) -> None:
        traffic = _traffic()
        note(request, f"instance.{doing}", instance=instance.name, tenant=instance.tenant_id)
        circuit = traffic.hold(instance) if doing == "park" else traffic.release(instance)
        self.log_change(request, self.model(pk=instance.name), _DONE[doing])
        self.message_user(request, f"Instance {instance.name} is {word_of(circuit)}.", messages.SUCCESS)

    def _list(self) -> str:
        return str(reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_changelist"))


def _traffic() -> Traffic:
    carrier()
    traffic = wiring.traffic()
    if traffic is None:
        raise SettingsError(["this broker has no gates"])
    return traffic


def _rows(after: str | None) -> tuple[list[dict[str, Any]], str | None]:
    """One page and where the next begins: one query, and a bounded number of round trips."""
    work, traffic = services.get(), _traffic()
    known, more = work.store.instances(limit=PAGE, after=after)
    circuits = {name: Circuit.read(text) for name, text in traffic.limits.all_records().items()}
    stand = standings(take_snapshot(carrier()).as_json()["groups"], circuits, known)
    rows = [_row(one, stand.get(one.name), gateway=work.gateway_name(one)) for one in known]
    if after is None:
        # In trouble and on no page: its row is gone or inactive, or stands on a later one.
        listed = {instance.name for instance in known}
        rows += [
            _row(Instance(name=name, tenant_id=circuit.tenant_id), stand.get(name), gateway="")
            for name, circuit in sorted(circuits.items())
            if name not in listed and circuit.state is not State.CLOSED
        ]
        rows.sort(key=lambda row: (row["state"] == "open", row["name"], row["tenant"] or ""))
    return rows, more


def _row(instance: Instance, stands: dict[str, Any] | None, *, gateway: str) -> dict[str, Any]:
    stands = stands or {"state": "open", "cause": None, "code": None, "since": None, "parked": 0}
    told = {key: stands[key] for key in ("state", "cause", "code", "parked")}
    may_release = stands["state"] in ("held", "parked")
    return {
        "name": instance.name,
        "tenant": instance.tenant_id,
        "gateway": gateway,
        "may_be_released": may_release,
        "since": None if stands["since"] is None else datetime.fromisoformat(stands["since"]),
        **told,
    }


def _find(name: str, tenant_id: str | None) -> Instance | None:
    found = services.get().store.load_instance(name, tenant_id=tenant_id) if name else None
    if found is not None:
        return found
    circuit = _traffic().circuit(name) if name else Circuit()
    # Its row is gone or inactive; what is known of it must still be let go.
    return replace(Instance(name=name), tenant_id=circuit.tenant_id) if circuit.text() else None
