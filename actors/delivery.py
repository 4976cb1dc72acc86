"""Send one part of a chat message so that the phone gets it once.

``actors.chat`` calls :func:`deliver` for each part. The attempt is committed before the request; whatever is not known to
have failed is *unknown* afterwards, and an unknown part is looked for at the gateway before it is ever sent again.

    (none) ──claim──► sending ──► accepted
                        │  ├────► retryable   provably not sent; the next run claims again
                        │  └────► dead        can never succeed
                        └───────► unknown ──look──► accepted
                                     └──two looks found nothing──► sending (again) or dead, as CHAT_ON_UNKNOWN says
"""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from enum import StrEnum

from actors.domain import (
    AttemptState,
    ChatMessage,
    Instance,
    Media,
    MediaKind,
    OutgoingPart,
    Receipt,
    Recipient,
    SendAttempt,
)
from actors.errors import Ambiguous, ChatError, DeliveryUnknown, Expired, LeaseTooShort, Permanent, Unsupported
from actors.gateways.base import Ability, Gateway
from actors.services import Services
from actors.settings import OnUnknown
from middleware.errors import Snooze

logger = logging.getLogger(__name__)

#: A request is not begun with less of the lease left: its outcome could belong to somebody else by then.
LEASE_MARGIN_MS = 5_000
#: A request ends this long before the attempt's time limit, so that its outcome can still be recorded.
RECORD_MARGIN_MS = 5_000
#: Media is fetched and uploaded by the gateway before it is sent: it may take this many times the grace of a text.
MEDIA_GRACE_FACTOR = 3
#: Looks that must find nothing before a part counts as not sent.
LOOKS = 2
#: Clocks of the gateway and of this machine may differ by this much.
SKEW_MS = 5_000
#: A gateway's list may begin this long before the time that was asked for.
LIST_MARGIN_MS = 15_000


def outgoing_parts(chat_message: ChatMessage, recipient: Recipient) -> list[OutgoingPart]:
    """Provider messages that a chat message becomes: its text, or one per attachment.

    The text is the caption of the first attachment. Sound has none, so there the text follows as a part of its own.
    """
    parts = [
        OutgoingPart(message_id=chat_message.id, part=index, recipient=recipient, text=text, media=media)
        for index, (media, text) in enumerate(_contents(chat_message))
    ]
    return [_complete(part, chat_message, text_part=bool(part.text)) for part in parts]


def _contents(chat_message: ChatMessage) -> list[tuple[Media | None, str]]:
    contents: list[tuple[Media | None, str]] = [(media, "") for media in chat_message.media]
    if contents and chat_message.media[0].kind not in (MediaKind.VOICE, MediaKind.AUDIO):
        contents[0] = (chat_message.media[0], chat_message.text)
    elif chat_message.text:
        contents.append((None, chat_message.text))
    return contents


def is_all_out(chat_message: ChatMessage, attempts: Iterable[SendAttempt]) -> bool:
    """Whether the gateway has every part; asks nothing that may have changed since they were sent."""
    out = {attempt.part for attempt in attempts if attempt.state is AttemptState.ACCEPTED}
    parts = range(len(_contents(chat_message)))
    return bool(parts) and out.issuperset(parts)


def _complete(part: OutgoingPart, chat_message: ChatMessage, *, text_part: bool) -> OutgoingPart:
    return OutgoingPart(
        message_id=part.message_id,
        part=part.part,
        # Milliseconds leave room for the parts of one message; nobody writes two messages in one.
        sequence=chat_message.created_at_ms * 100 + part.part,
        recipient=part.recipient,
        text=part.text,
        media=part.media,
        quote=chat_message.quote if part.part == 0 else None,
        mentions=chat_message.mentions if text_part else (),
        mention_everyone=chat_message.mention_everyone and text_part,
    )


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
    """What an unknown part is worth. ``can_ask``: the gateway can say what it sent."""

    on_unknown: OnUnknown
    can_ask: bool
    grace_ms: int
    max_sends: int


def next_step(attempt: SendAttempt | None, *, now_ms: int, policy: UnknownPolicy) -> Step:
    """Decide from the row alone. ``sending`` found by a later run is unknown: nobody knows what its request came to."""
    if attempt is None or attempt.state is AttemptState.RETRYABLE:
        return Step.CLAIM
    if attempt.state is AttemptState.ACCEPTED:
        return Step.SETTLED
    if attempt.state is AttemptState.DEAD:
        return Step.REFUSE
    if now_ms < look_at_ms(attempt, grace_ms=policy.grace_ms):
        return Step.WAIT
    if policy.on_unknown is not OnUnknown.RESEND and policy.can_ask and attempt.looks < LOOKS:
        return Step.LOOK
    return _unknown_to_the_end(attempt, policy)


def _unknown_to_the_end(attempt: SendAttempt, policy: UnknownPolicy) -> Step:
    if attempt.number >= policy.max_sends:
        return Step.PARK
    if policy.on_unknown is OnUnknown.RESEND:
        return Step.RESEND
    may_resend = policy.can_ask and policy.on_unknown is OnUnknown.RECONCILE_THEN_RESEND
    return Step.RESEND if may_resend else Step.PARK


def look_at_ms(attempt: SendAttempt, *, grace_ms: int) -> int:
    """When the next look may be taken: one grace after the send, and one more after each look in vain."""
    return attempt.started_at_ms + grace_ms * (attempt.looks + 1)


class Delivery:
    """Delivers the parts of one chat message through one instance."""

    def __init__(
        self,
        work: Services,
        chat_message: ChatMessage,
        instance: Instance,
        *,
        lease_left_ms: Callable[[], int | None],
        redriven_at_ms: int = 0,
    ) -> None:
        self.work = work
        self.chat_message = chat_message
        self.instance = instance
        self.gateway: Gateway = work.gateway(instance)
        self.lease_left_ms = lease_left_ms
        wanted_at_ms = max(chat_message.created_at_ms, redriven_at_ms)
        self.deadline_at_ms = wanted_at_ms + work.settings.send_deadline_s * 1000

    def deliver(self, part: OutgoingPart, attempt: SendAttempt | None) -> str | None:
        """Bring one part to ``accepted``; returns the provider's id, None when it has none.

        Raises:
            Snooze: not now: the gateway may still be busy with it, is throttled, or its session is down.
            Transient, Ambiguous: try again; the row says how.
            Permanent: never.
        """
        policy = self._policy(part)
        # A row left in ``sending`` belongs to a run that ended without a word.
        if attempt is not None and attempt.state is AttemptState.SENDING:
            attempt = self._settled(attempt, AttemptState.UNKNOWN, reason="interrupted")
        step = next_step(attempt, now_ms=self.work.clock.now_ms(), policy=policy)
        if step is Step.CLAIM:
            self._refuse_when_expired()
            return self._send(part, self._claim(part))
        assert attempt is not None  # noqa: S101 - only CLAIM is decided without a row
        return self._go_on(step, part, attempt, policy)

    def _go_on(self, step: Step, part: OutgoingPart, attempt: SendAttempt, policy: UnknownPolicy) -> str | None:
        if step is Step.SETTLED:
            return attempt.provider_message_id
        if step is Step.WAIT:
            wait_ms = look_at_ms(attempt, grace_ms=policy.grace_ms) - self.work.clock.now_ms()
            raise Snooze(f"message {part.reference}: the gateway may still be sending it", delay_ms=max(wait_ms, 1))
        if step is Step.LOOK:
            return self._look(part, attempt, policy)
        if step is Step.RESEND and self.work.clock.now_ms() < self.deadline_at_ms:
            again = self.work.store.reclaim(attempt, now_ms=self.work.clock.now_ms())
            return self._send(part, again or self._lost_race(part))
        if step is Step.REFUSE:
            raise Permanent(
                f"message {part.reference} was given up before; redrive it to try again", code=attempt.reason
            )
        return self._park(part, attempt)

    def _policy(self, part: OutgoingPart) -> UnknownPolicy:
        settings = self.work.settings
        grace_ms = int(settings.reconcile_grace_s * 1000) * (MEDIA_GRACE_FACTOR if part.media else 1)
        can_ask = Ability.RECONCILE in self.gateway.supports
        return UnknownPolicy(settings.on_unknown, can_ask, grace_ms, settings.max_attempts)

    def _refuse_when_expired(self) -> None:
        if self.work.clock.now_ms() >= self.deadline_at_ms:
            raise Expired(f"message {self.chat_message.id} was not sent within {self.work.settings.send_deadline_s} s")

    def _claim(self, part: OutgoingPart) -> SendAttempt:
        claimed = self.work.store.claim(
            part.message_id,
            part.part,
            instance_name=self.instance.name,
            now_ms=self.work.clock.now_ms(),
            deadline_at_ms=self.deadline_at_ms,
        )
        return claimed or self._lost_race(part)

    def _lost_race(self, part: OutgoingPart) -> SendAttempt:
        # Another run has the row: its lease outlived ours. Whatever it does is on the row when we look again.
        raise Snooze(f"message {part.reference} is being sent by another run", delay_ms=1_000)

    def _send(self, part: OutgoingPart, attempt: SendAttempt) -> str | None:
        left_ms = self.lease_left_ms()
        if left_ms is not None and left_ms < min(LEASE_MARGIN_MS, self.work.settings.lease_ms // 3):
            self._settled(attempt, AttemptState.RETRYABLE, reason=LeaseTooShort.code)
            raise LeaseTooShort(f"message {part.reference}: {left_ms} ms of its lease are left; put back", delay_ms=1)
        timeout_s = max(1.0, (self.work.settings.time_limit_ms - RECORD_MARGIN_MS) / 1000)
        try:
            receipt = self.gateway.send(part, instance=self.instance, timeout_s=timeout_s)
        except Ambiguous as error:
            self._settled(attempt, AttemptState.UNKNOWN, reason=error.code)
            # The next run can only look, so it need not come before the first look is due.
            error.delay_ms = self._policy(part).grace_ms
            raise
        except ChatError as error:
            self._settled(attempt, AttemptState.DEAD if error.permanent else AttemptState.RETRYABLE, reason=error.code)
            raise
        except BaseException as error:
            # A time limit, a shutdown, a bug: no one can say whether the request was out.
            self._settled(attempt, AttemptState.UNKNOWN, reason=type(error).__name__)
            raise
        return self._accepted(part, attempt, receipt)

    def _look(self, part: OutgoingPart, attempt: SendAttempt, policy: UnknownPolicy) -> str | None:
        since_ms = attempt.started_at_ms - SKEW_MS
        # Whatever the list may show must be known as another's: the same words, said shortly before, would pass for this
        # part, and this part would be lost. What went out then may have been begun a whole attempt earlier.
        bound_since_ms = since_ms - LIST_MARGIN_MS - self.work.settings.time_limit_ms
        try:
            receipt = self.gateway.find_sent(
                part,
                instance=self.instance,
                since_ms=since_ms,
                until_ms=self.work.clock.now_ms() + SKEW_MS,
                bound_ids=self.work.store.bound_ids(self.instance.name, since_ms=bound_since_ms),
            )
        except Unsupported:
            # This server does not keep what it sent: as good as a gateway that cannot be asked.
            cannot_ask = replace(policy, can_ask=False)
            return self._go_on(_unknown_to_the_end(attempt, cannot_ask), part, attempt, cannot_ask)
        if receipt is not None:
            return self._accepted(part, attempt, receipt)
        attempt = self.work.store.looked(attempt)
        logger.info("message.not_found_at_gateway", extra={"chat_message_id": part.message_id, "looks": attempt.looks})
        if attempt.looks < LOOKS:
            # A look that came late (a request may last a minute) would else be followed by the next at once.
            raise Snooze(f"message {part.reference} was not found yet; one more look", delay_ms=policy.grace_ms)
        return self.deliver(part, attempt)

    def _park(self, part: OutgoingPart, attempt: SendAttempt) -> str | None:
        self._settled(attempt, AttemptState.DEAD, reason=DeliveryUnknown.code)
        raise DeliveryUnknown(
            f"message {part.reference} may have been delivered and the gateway cannot say; look at the phone, then redrive "
            "or discard its dead letter"
        )

    def _accepted(self, part: OutgoingPart, attempt: SendAttempt, receipt: Receipt) -> str | None:
        if receipt.mismatch:
            logger.error("message.recipient_mismatch", extra={"chat_message_id": part.message_id})
        settled = self._settled(attempt, AttemptState.ACCEPTED, receipt=receipt)
        return settled.provider_message_id

    def _settled(
        self, attempt: SendAttempt, state: AttemptState, *, receipt: Receipt | None = None, reason: str | None = None
    ) -> SendAttempt:
        """Record, and give the row as it is then; a row that moved on is another run's and is left to it."""
        self.work.store.settle(attempt, state, receipt=receipt, reason=reason)
        rows = {row.part: row for row in self.work.store.attempts(attempt.message_id)}
        return rows[attempt.part]
