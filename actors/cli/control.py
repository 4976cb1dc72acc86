"""``chat-actors pause``, ``resume`` and ``cancel``: hold back a queue or an instance, take a message back."""

from typing import TYPE_CHECKING, Annotated

import typer

from actors.cli import terminal
from actors.cli.queues import note, open_queues
from middleware.errors import ExitCode

if TYPE_CHECKING:
    from middleware.brokers.redis.broker import CarrierBroker

PAUSE_EXAMPLES = """\b
Examples:
  chat-actors pause send_message                 nothing of the queue is handed out
  chat-actors pause --instance support           nothing of the instance, in any queue
  chat-actors pause send_message --instance support

\b
What runs goes on; what waits, and what comes meanwhile, keeps its place. It lasts until it is resumed."""
RESUME_EXAMPLES = """\b
Examples:
  chat-actors resume send_message
  chat-actors resume --instance support"""
CANCEL_EXAMPLES = """\b
Examples:
  chat-actors cancel 6f1c1f0e-…          a chat message by its id: its row fails, with the reason cancelled
  chat-actors cancel 4kZq81uWc0aB        any message by its id in the queue

\b
What a worker has in hand cannot be cancelled."""

#: Reason that the row of a cancelled chat message gets.
CANCELLED = "cancelled"

Queues = Annotated[list[str] | None, typer.Argument(metavar="QUEUE", help="Queues; none = all.")]
Instance = Annotated[str | None, typer.Option("--instance", help="Only what goes through this instance.")]


def pause(queues: Queues = None, instance: Instance = None) -> None:
    """Hand out nothing of a queue, or of an instance."""
    _hold(queues, instance, paused=True)


def resume(queues: Queues = None, instance: Instance = None) -> None:
    """Hand out again what was paused, in its order."""
    _hold(queues, instance, paused=False)


def _hold(queues: list[str] | None, instance: str | None, *, paused: bool) -> None:
    from middleware.brokers.redis.values import GateChange

    if not queues and instance is None:
        raise terminal.Refused("say what: queues by name, or --instance")
    with open_queues() as broker:
        moves, doing = broker.transitions, "paused" if paused else "resumed"
        note(broker, "queue.pause" if paused else "queue.resume", queues=_known(broker, queues), instance=instance)
        for name in _known(broker, queues):
            if instance is not None:
                for group in _groups(name, instance):
                    moves.set_gate(name, group, GateChange(paused=paused))
                terminal.say(f"{doing} {instance} in {name}")
                continue
            changed = moves.pause(name) if paused else moves.resume(name)
            terminal.say(f"{doing} {name}" if changed else f"{name} was {doing} before")


def _groups(queue_name: str, instance_name: str) -> list[str]:
    """Groups of a queue that are the instance's, under all its names and with its campaigns."""
    from actors import services
    from actors.errors import ChatError
    from actors.gates import QUEUES, group_of
    from actors.instances import all_instances

    names = [instance_name]
    try:
        names += [name for one in all_instances(services.get()) if instance_name in one.names for name in one.names]
    except ChatError:
        # It must be possible to stop an instance while the rows cannot be read.
        terminal.say("the instance's other names are not known: its rows cannot be read")
    kinds = [kind for kind, queue in QUEUES.items() if queue == queue_name]
    groups = [group_of(name, kind) for name in names for kind in kinds]
    return list(dict.fromkeys(groups or names))


def _known(broker: "CarrierBroker", queues: list[str] | None) -> list[str]:
    declared = broker.get_declared_queues()
    unknown = sorted(set(queues or ()) - declared)
    if unknown:
        raise terminal.Refused(f"no queue {', '.join(unknown)}; there are {', '.join(sorted(declared))}")
    return list(dict.fromkeys(queues or sorted(declared)))


def cancel(
    message_id: Annotated[str, typer.Argument(metavar="ID", help="A chat message's id, or one in the queue.")],
    *,
    yes: terminal.Yes = False,
) -> ExitCode:
    """Take a message back that no worker has in hand."""
    with open_queues() as broker:
        found = _find(broker, message_id)
        if found is None:
            raise terminal.Refused(f"no message waits with the id {message_id}")
        queue, id_ = found
        terminal.confirm(f"cancel the message {message_id} of {queue}?", yes=yes)
        note(broker, "queue.cancel", queue=queue, id=message_id)
        state = broker.transitions.cancel(queue, id_)
        if state == "cancelled" and id_ != message_id:
            _fail_row(message_id)
    terminal.say({"cancelled": "cancelled", "running": "a worker has it in hand", "missing": "it is over"}[state])
    return ExitCode.OK if state == "cancelled" else ExitCode.FAILED


def _find(broker: "CarrierBroker", message_id: str) -> tuple[str, str] | None:
    moves = broker.transitions
    for queue in sorted(broker.get_declared_queues()):
        if moves.holds(queue, message_id):
            return queue, message_id
    # A send has the chat message's id as its unique key.
    holder = moves.holder_of_key("send_message", message_id)
    return None if holder is None else ("send_message", holder)


def _fail_row(message_id: str) -> None:
    # Else the sweep would send it again.
    from actors import services

    services.get().store.mark_failed(message_id, code=CANCELLED, text="cancelled by an operator before it was sent")
