"""Look for a part among what a gateway really sent, and give every message with the same words a record of its own.

``actors.delivery`` calls :func:`find`. Which records belong to whom is decided in ``actors.steps``.
"""

from actors.domain import AttemptState, Instance, OutgoingPart, Receipt, SendAttempt
from actors.gateways.base import Gateway
from actors.services import Services
from actors.steps import rivals
from middleware.errors import Snooze

#: Clocks of the gateway and of this machine may differ by this much.
SKEW_MS = 5_000
#: A gateway's list may begin this long before the time that was asked for.
LIST_MARGIN_MS = 15_000
#: Providers count in seconds: a record's time may lie this long before the send.
SECOND_MS = 1_000
#: Attempts without a provider id that are looked at; one instance has few at a time.
MAX_UNACCOUNTED = 200
#: Graces that a look waits for an earlier message with the same words to be found first; then it no longer counts on it.
RIVAL_GRACES = 8


def find(
    work: Services, gateway: Gateway, part: OutgoingPart, attempt: SendAttempt, *, instance: Instance
) -> Receipt | None:
    """What the gateway has of ``part``; None when it has nothing that is not another message's.

    Raises:
        Snooze: an earlier message with the same words is not found yet; who comes first is looked for first.
        Unsupported: the gateway cannot be asked.
    """
    since_ms = attempt.started_at_ms - SKEW_MS
    # Whatever the list may show must be known as another's: the same words, said shortly before, would pass for this part,
    # and this part would be lost. What went out then may have been begun a whole attempt earlier.
    earliest_ms = since_ms - LIST_MARGIN_MS - work.settings.time_limit_ms
    taken = work.store.bound_ids(instance.name, since_ms=earliest_ms)
    for rival in _rivals(work, attempt, since_ms=earliest_ms):
        _wait_for(work, rival, attempt)
        # It is gone or was taken without an id: whatever was sent before this part was begun is its record.
        end_ms = attempt.started_at_ms - SECOND_MS
        theirs = gateway.find_sent(
            part, instance=instance, since_ms=rival.started_at_ms - SKEW_MS, until_ms=end_ms, bound_ids=taken
        )
        if theirs is not None and theirs.provider_message_id is not None:
            taken.add(theirs.provider_message_id)
    until_ms = work.clock.now_ms() + SKEW_MS
    return gateway.find_sent(part, instance=instance, since_ms=since_ms, until_ms=until_ms, bound_ids=taken)


def _rivals(work: Services, attempt: SendAttempt, *, since_ms: int) -> list[SendAttempt]:
    found = work.store.unaccounted(
        attempt.instance_name, since_ms=since_ms, until_ms=attempt.started_at_ms, limit=MAX_UNACCOUNTED
    )
    return rivals(attempt, found)


def _wait_for(work: Services, rival: SendAttempt, attempt: SendAttempt) -> None:
    """Let the earlier one be looked for first: two jobs with one record between them must not both take or both miss it."""
    if rival.state not in (AttemptState.SENDING, AttemptState.UNKNOWN):
        return
    grace_ms = int(work.settings.reconcile_grace_s * 1000)
    # Its run may be gone for good, with its conversation deleted or its instance parked.
    end_ms = attempt.started_at_ms + work.settings.time_limit_ms + RIVAL_GRACES * grace_ms
    if work.clock.now_ms() < end_ms:
        raise Snooze(
            f"message {attempt.message_id}:{attempt.part} waits for {rival.message_id}:{rival.part}, which says the same "
            "and went out before",
            delay_ms=max(grace_ms, 1),
        )
