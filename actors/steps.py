"""What to do next with a part, decided from its attempt row alone. Pure; ``actors.delivery`` acts.

(none) ──claim──► sending ──► accepted
                    │  ├────► retryable   provably not sent; the next run claims again
                    │  └────► dead        can never succeed
                    └───────► unknown ──look──► accepted
                                 └──two looks found nothing──► sending (again) or dead, as CHAT_ON_UNKNOWN says
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from actors.domain import AttemptState, SendAttempt
from actors.errors import RecipientMismatch
from actors.settings import OnUnknown

#: Looks that must find nothing before a part counts as not sent.
LOOKS = 2
#: Reasons of a row after which nobody can prove what became of the part, and how often it is sent again all the same.
#: ``timed_out``: WhatsApp did not answer Evolution, which lists a message only once it has: mostly nothing is out.
#: ``provider_unclear``: Meta's code for a fault of its own, or of the request. Resends for other reasons count, too: the row keeps
#: one number of them, and fewer is the careful side.
UNPROVABLE_RESENDS = {"timed_out": 2, "provider_unclear": 2}


class Step(StrEnum):
    """What to do next with a part, given its attempt row."""

    #: The gateway has it.
    SETTLED = "settled"
    #: Nothing is out; take the right to send.
    CLAIM = "claim"
    #: It may be out; give the gateway time to finish, then look.
    WAIT = "wait"
    #: It may be out; ask the gateway.
    LOOK = "look"
    #: It was looked for often enough; send again.
    RESEND = "resend"
    #: A person decides.
    PARK = "park"
    #: It was given up before.
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True)
class UnknownPolicy:
    """What an unknown part is worth.

    ``can_ask``: the gateway can say what it sent. ``told_within_ms``: it cannot, but its webhooks name our reference, and
    would have done so by then; None where they do not.
    """

    on_unknown: OnUnknown
    can_ask: bool
    grace_ms: int
    max_resends: int
    told_within_ms: int | None = None


def next_step(attempt: SendAttempt | None, *, now_ms: int, policy: UnknownPolicy) -> Step:
    """Decide from the row alone. ``sending`` found by a later run is unknown: nobody knows what its request came to."""
    if attempt is None or attempt.state is AttemptState.RETRYABLE:
        return Step.CLAIM
    if attempt.state is AttemptState.ACCEPTED:
        return Step.SETTLED
    if attempt.state is AttemptState.DEAD:
        return Step.REFUSE
    if now_ms < wait_until_ms(attempt, policy):
        return Step.WAIT
    if policy.on_unknown is not OnUnknown.RESEND and policy.can_ask and attempt.looks < LOOKS:
        return Step.LOOK
    return unknown_to_the_end(attempt, policy)


def unknown_to_the_end(attempt: SendAttempt, policy: UnknownPolicy) -> Step:
    """What becomes of a part that was looked for in vain, or that nobody can be asked about."""
    if attempt.resends >= min(policy.max_resends, UNPROVABLE_RESENDS.get(attempt.reason or "", policy.max_resends)):
        return Step.PARK
    if policy.on_unknown is OnUnknown.RESEND:
        return Step.RESEND
    may_resend = policy.can_ask and policy.on_unknown is OnUnknown.RECONCILE_THEN_RESEND
    return Step.RESEND if may_resend else Step.PARK


def wait_until_ms(attempt: SendAttempt, policy: UnknownPolicy) -> int:
    """When an unknown part is looked at again: the next look, or the time by which its webhook would have told."""
    if policy.told_within_ms is not None and not policy.can_ask:
        return attempt.started_at_ms + policy.told_within_ms
    return look_at_ms(attempt, grace_ms=policy.grace_ms)


def look_at_ms(attempt: SendAttempt, *, grace_ms: int) -> int:
    """When the next look may be taken: one grace after the send, and one more after each look in vain."""
    return attempt.started_at_ms + grace_ms * (attempt.looks + 1)


def rivals(attempt: SendAttempt, unaccounted: Iterable[SendAttempt]) -> list[SendAttempt]:
    """Those that own one of the gateway's records before ``attempt`` does, the earliest first.

    Same words to the same address, from whatever conversation, sent earlier: the list cannot tell them apart, so each gets
    one record, in the order of their sends.
    """
    own = _order(attempt)
    return sorted(
        (
            row
            for row in unaccounted
            if row.fingerprint and row.fingerprint == attempt.fingerprint and _order(row) < own
        ),
        key=_order,
    )


def _order(attempt: SendAttempt) -> tuple[int, str, int]:
    return attempt.started_at_ms, attempt.message_id, attempt.part


def stop_after_mismatch(attempts: Iterable[SendAttempt], *, redriven_at_ms: int) -> None:
    """Stop the conversation whose message went to somebody else in a run that died before it could.

    Raises:
        RecipientMismatch: it did, and no redrive says that a person has looked.
    """
    for attempt in attempts:
        went_astray = attempt.state is AttemptState.ACCEPTED and attempt.reason == RecipientMismatch.code
        if went_astray and not redriven_at_ms:
            raise mismatch_of(attempt.message_id)


def mismatch_of(message_id: str) -> RecipientMismatch:
    """What becomes of a message that the gateway gave to somebody else."""
    return RecipientMismatch(
        f"message {message_id} is out, and the gateway says that it went to somebody else; nothing more goes to its "
        "conversation: compare the conversation's number with the phone, then redrive or discard this letter to go on"
    )
