"""Delete dead letters whose message was sent since: by a person at the phone, a webhook that came late, a newer send.

The sweep runs it, a bounded number of letters at a time; where it ended is kept with the queue.
"""

import logging

from dramatiq import Broker

from actors.domain import SENT_STATUSES
from actors.endings import SEND_ACTOR
from actors.errors import RecipientMismatch
from actors.services import Services
from middleware.audit import AuditTrail
from middleware.brokers.redis.broker import CarrierBroker
from middleware.letters import DeadLetter, DeadLetters

logger = logging.getLogger(__name__)

#: Letters looked at per run; a hundred cost two round trips and one query.
LOOK_AT = 1_000
#: Name of the place where the next run goes on.
PLACE = "resolve_after"


def resolve_letters(work: Services, broker: Broker) -> int:
    """Look at the next :data:`LOOK_AT` letters of sends, oldest first and round and round; returns how many went."""
    if not isinstance(broker, CarrierBroker):
        return 0
    dead, queue = DeadLetters(broker), broker.get_actor(SEND_ACTOR).queue_name
    looked_at, over = 0, []
    place = dead.place(queue, PLACE)
    for page in dead.pages(queue, oldest_first=True, after=place):
        over += _sent_since(work, list(page.letters))
        looked_at, place = looked_at + page.looked_at, page.after
        if looked_at >= LOOK_AT:
            break
    else:
        place = None
    dead.keep_place(queue, PLACE, place)
    if over:
        AuditTrail(broker).note("sweep", "dlq.resolve", letters=len(over), ids=[letter.id for letter in over][:100])
        logger.info("letters.resolved", extra={"queue": queue, "letters": len(over)})
    return dead.discard(over)


def _sent_since(work: Services, letters: list[DeadLetter]) -> list[DeadLetter]:
    # What went to somebody else is sent, too, and its letter holds the conversation until a person has looked.
    of_messages = {
        str(letter.kwargs["message_id"]): letter
        for letter in letters
        if "message_id" in letter.kwargs and letter.reason != RecipientMismatch.code
    }
    known = work.store.known_messages(list(of_messages)) if of_messages else {}
    return [of_messages[id_] for id_, row in known.items() if row.status in SENT_STATUSES]
