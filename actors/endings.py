"""End the row of a send whose run could not: everything is out, or it was given up.

``actors.chat`` hears of dead letters through :func:`record_death`; the sweep repairs with it what was never heard.
"""

import logging
from collections.abc import Mapping, Sequence

from actors import services
from actors.domain import AttemptState, ChatMessage, SendAttempt
from actors.errors import DeliveryUnknown, Permanent
from actors.parts import is_all_out
from actors.services import Services
from middleware.letters import DeadLetter

logger = logging.getLogger(__name__)

#: Name of the actor that delivers.
SEND_ACTOR = "send_message"


def record_sent(work: Services, chat_message: ChatMessage, attempts: Mapping[int, SendAttempt]) -> None:
    """Every part is out and the row does not say so; ``attempts`` are its rows by part."""
    # The first part carries the caption and is what a reply quotes, so its id is the row's.
    first = attempts[min(attempts)]
    work.store.mark_sent(chat_message.id, provider_message_id=first.provider_message_id)
    logger.debug("message.sent", extra={"chat_message_id": chat_message.id, "instance": first.instance_name})


def sent_after_all(work: Services, message_id: str, attempts: Sequence[SendAttempt]) -> bool:
    """Whether every part is out; the row is then recorded as sent: "failed" would invite a second delivery."""
    if not any(row.state is AttemptState.ACCEPTED for row in attempts):
        return False
    try:
        chat_message = work.store.load_message(message_id)
    except Permanent:
        # Deleted or unreadable by now: nobody can say what its parts are.
        return False
    if not is_all_out(chat_message, attempts):
        return False
    record_sent(work, chat_message, {row.part: row for row in attempts})
    return True


def record_death(letter: DeadLetter) -> None:
    """A send was given up: its row fails, with the reason that an operator sees. Heard once or twice, the same.

    Where everything is out and only the row could not say so, it says so now.
    """
    message_id = letter.kwargs.get("message_id")
    if letter.actor != SEND_ACTOR or not isinstance(message_id, str):
        return
    work = services.get()
    store, attempts = work.store, work.store.attempts(message_id)
    if sent_after_all(work, message_id, attempts):
        return
    if any(row.state in (AttemptState.SENDING, AttemptState.UNKNOWN) for row in attempts):
        # It died while a request was unaccounted for: "failed" alone would invite a second delivery.
        text = f"given up ({letter.reason}) while a request may have been delivered; look at the phone before sending again"
        store.mark_failed(message_id, code=DeliveryUnknown.code, text=text)
    else:
        store.mark_failed(message_id, code=letter.reason, text=letter.error or f"given up: {letter.reason}")
