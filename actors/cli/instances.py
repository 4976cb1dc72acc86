"""``chat-actors instances``, ``instances park`` and ``instances release``: how instances stand, and an operator's word in it."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from actors.cli import terminal
from actors.cli.queues import note, open_queues

if TYPE_CHECKING:
    from actors.circuit import Circuit
    from actors.domain import Instance
    from actors.services import Services
    from actors.traffic import Traffic

EXAMPLES = """\b
Examples:
  chat-actors instances                          who passes, who is parked, and why
  chat-actors instances --json
  chat-actors instances park support             nothing is sent or asked through it
  chat-actors instances release support          one message tries; gets it through, more and more follow

\b
A parked instance keeps what waits, in order, and uses no attempts."""

app = typer.Typer(name="instances", help="How instances stand; park or release one.", epilog=EXAMPLES)

Name = Annotated[str, typer.Argument(metavar="NAME", help="Any of the instance's names.")]
Tenant = Annotated[str | None, typer.Option("--tenant", help="Whose, where two tenants have one of that name.")]


@app.callback(invoke_without_command=True)
def instances(context: typer.Context, *, as_json: terminal.AsJson = False) -> None:
    """Show every active instance, and each in trouble."""
    if context.invoked_subcommand is None:
        with open_queues():
            rows = _rows()
        if as_json:
            terminal.say_json(rows)
        else:
            columns = ("instance", "tenant", "gateway", "state", "cause", "code", "since", "waiting")
            keys = ("name", "tenant", "gateway", "state", "cause", "code", "since", "parked")
            terminal.show_table(columns, ([row[key] for key in keys] for row in rows))


@app.command(epilog=EXAMPLES)
def park(name: Name, tenant: Tenant = None) -> None:
    """Let nothing through an instance until it is released."""
    with open_queues() as broker:
        _, traffic, instance = _find(name, tenant)
        note(broker, "instance.park", instance=instance.name, tenant=instance.tenant_id)
        _say(instance, traffic.hold(instance), traffic)


@app.command(epilog=EXAMPLES)
def release(name: Name, tenant: Tenant = None) -> None:
    """Let a parked or held instance try again: one message, then more and more."""
    with open_queues() as broker:
        _, traffic, instance = _find(name, tenant)
        note(broker, "instance.release", instance=instance.name, tenant=instance.tenant_id)
        _say(instance, traffic.release(instance), traffic)


def _rows() -> list[dict[str, Any]]:
    from actors import services, wiring
    from actors.circuit import Circuit
    from actors.instances import all_instances
    from actors.pace import paces_of
    from actors.standings import standings
    from middleware.stats import take_snapshot

    work, traffic = services.get(), _traffic()
    known = list(all_instances(work))
    circuits = {name: Circuit.read(text) for name, text in traffic.limits.all_records().items()}
    stand = standings(take_snapshot(wiring.broker).as_json()["groups"], circuits, known)  # type: ignore[arg-type]  # open_queues
    rows = []
    for instance in known:
        gateway = work.gateway_name(instance)
        paces = paces_of(instance, gateway=gateway, overrides=work.settings.pace)
        rows.append(_row(instance.name, instance.tenant_id, gateway, stand.get(instance.name), paces))
    # In trouble, and no active row of it (any more).
    listed = {instance.name for instance in known}
    rows += [
        _row(name, circuit.tenant_id, None, stand.get(name), {})
        for name, circuit in circuits.items()
        if name not in listed
    ]
    return sorted(rows, key=lambda row: (row["name"], row["tenant"] or ""))


def _row(
    name: str, tenant: str | None, gateway: str | None, stands: "dict[str, Any] | None", paces: Any
) -> dict[str, Any]:
    from dataclasses import asdict

    stands = stands or {"state": "open", "cause": None, "code": None, "since": None, "parked": 0}
    told = {key: stands[key] for key in ("state", "cause", "code", "since", "parked")}
    pace = {str(kind): asdict(limits) for kind, limits in paces.items()}
    return {"name": name, "tenant": tenant, "gateway": gateway, **told, "pace": pace}


def _find(name: str, tenant: str | None) -> "tuple[Services, Traffic, Instance]":
    from actors import services
    from actors.domain import Instance
    from actors.instances import all_instances

    work, traffic = services.get(), _traffic()
    known = [one for one in all_instances(work) if name in one.names and tenant in (None, one.tenant_id)]
    if len(known) > 1:
        tenants = ", ".join(sorted(str(one.tenant_id) for one in known))
        raise terminal.Refused(f"{len(known)} instances are named {name!r}, of the tenants {tenants}; say --tenant")
    if known:
        return work, traffic, known[0]
    record = traffic.circuit(name)
    if record.text():
        # Its row is gone or inactive; what is known of it must still be let go.
        return work, traffic, Instance(name=name, tenant_id=record.tenant_id)
    raise terminal.Refused(f"no active instance is named {name!r}; see chat-actors instances")


def _traffic() -> "Traffic":
    from actors import wiring

    traffic = wiring.traffic()
    if traffic is None:
        raise terminal.Refused("this broker has no gates")
    return traffic


def _say(instance: "Instance", circuit: "Circuit", traffic: "Traffic") -> None:
    from actors.standings import word_of

    waiting = sum(traffic.gates.waiting(instance).values())
    terminal.say(f"{instance.name} is {word_of(circuit)}; {waiting} wait or are under way")
