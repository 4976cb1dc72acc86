"""How the line of a conversation stands, in the words of people who chat."""

from dataclasses import dataclass

from chat.models import Conversation

from actors import services, wiring
from actors.circuit import Cause, Circuit, State
from actors.errors import ChatError, SettingsError
from middleware.errors import PipelineError, Refusal

_CAUSES = {
    Cause.SESSION_DOWN: "has lost its connection to WhatsApp",
    Cause.NOT_REACHED: "cannot reach its gateway",
    Cause.REFUSED: "is refused by its gateway; somebody has to mend it",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Banner:
    """What is shown above a conversation; ``tone`` is ``trouble`` or ``recovering``."""

    tone: str
    text: str


def banner_of(conversation: Conversation) -> Banner | None:
    """Something that people should know of the line; None when all is well, or when it cannot be asked now."""
    if not conversation.instance_name:
        return None
    try:
        work, traffic = services.get(), wiring.traffic()
        instance = work.store.load_instance(conversation.instance_name, tenant_id=conversation.tenant_id)
        circuit = None if traffic is None or instance is None else traffic.circuit(instance.name)
    except (PipelineError, ChatError, SettingsError, Refusal):
        # A page must open whatever is down.
        return None
    return None if circuit is None else _in_words(conversation.instance_name, circuit)


def _in_words(name: str, circuit: Circuit) -> Banner | None:
    if circuit.state is State.HELD:
        return Banner(tone="trouble", text=f"The line {name} is held by an operator. Messages wait, in order.")
    if circuit.state is State.OPEN:
        why = _CAUSES.get(circuit.cause, "is in trouble")
        return Banner(
            tone="trouble", text=f"The line {name} {why}. Messages wait, in order, and go out when it is back."
        )
    if circuit.state is State.TRYING:
        return Banner(tone="recovering", text=f"The line {name} is coming back: one message tries.")
    return None
