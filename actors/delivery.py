"""Send one part of a chat message so that the phone gets it once.

``actors.chat`` makes one :class:`Delivery` per run, which sends one part. The attempt is committed before the request; whatever is not known to
have failed is *unknown* afterwards, and an unknown part is looked for at the gateway before it is ever sent again.

What comes next is decided in ``actors.steps``.
"""

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

from actors.domain import AttemptState, ChatMessage, GroupJid, Instance, OutgoingPart, Receipt, SendAttempt
from actors.errors import (
    Ambiguous,
    ChatError,
    DeliveryUnknown,
    Expired,
    LeaseTooShort,
    Permanent,
    RecipientMismatch,
    Unsupported,
)
from actors.files import with_file
from actors.gateways.base import Ability, Gateway
from actors.gateways.first_byte import before_first_byte
from actors.looks import find
from actors.pace import FreeTurn, Kind, Turn
from actors.parts import fingerprint, first_attempt
from actors.services import Services
from actors.steps import LOOKS, Step, UnknownPolicy, mismatch_of, next_step, unknown_to_the_end, wait_until_ms
from middleware.errors import Snooze, ask_for_another

logger = logging.getLogger(__name__)

#: A request is not begun with less of the lease left: its outcome could belong to somebody else by then.
LEASE_MARGIN_MS = 5_000
#: A request ends this long before the attempt's time limit, so that its outcome can still be recorded.
RECORD_MARGIN_MS = 5_000
#: Files are fetched and uploaded by the gateway before they are sent, groups asked for their members: they may take so many
#: times the grace of a text to a person.
SLOW_GRACE_FACTOR = 3


class Delivery:
    """Delivers the parts of one chat message through one instance."""

    def __init__(
        self,
        work: Services,
        chat_message: ChatMessage,
        instance: Instance,
        *,
        lease_left_ms: Callable[[], int | None],
        turn: Turn | None = None,
        redriven_at_ms: int = 0,
    ) -> None:
        """``turn`` is entered around every request; it may put the message back before anything is done."""
        self.work = work
        self.chat_message = chat_message
        self.instance = instance
        self.gateway: Gateway = work.gateway(instance)
        self.lease_left_ms = lease_left_ms
        self.turn = turn or FreeTurn()
        wanted_at_ms = max(chat_message.created_at_ms, redriven_at_ms)
        self.deadline_at_ms = wanted_at_ms + work.settings.send_deadline_s * 1000
        self.began_boot_ms = work.clock.boot_ms()
        self._rest: list[SendAttempt] | None = None

    def deliver_last(self, part: OutgoingPart, attempts: Mapping[int, SendAttempt]) -> None:
        """:meth:`deliver` the only part that is missing; with it the message's row becomes sent, in the same transaction.

        ``attempts`` are the rows of the message by part.
        """
        self._rest = [row for number, row in attempts.items() if number != part.part]
        self.deliver(part, attempts.get(part.part))

    def deliver(self, part: OutgoingPart, attempt: SendAttempt | None) -> None:
        """Bring one part to ``accepted``.

        Raises:
            Snooze: not now: the gateway may still be busy with it, is throttled, or its session is down.
            Transient, Ambiguous: try again; the row says how.
            Permanent: never.
        """
        policy = self._policy(part)
        if attempt is not None and attempt.state is not AttemptState.RETRYABLE:
            # A run that died with its place, before or after it had recorded what its request came to. First of all: one that
            # dies here finds the row as it is and does it again.
            self.turn.abandon()
        # A row left in ``sending`` belongs to a run that ended without a word.
        if attempt is not None and attempt.state is AttemptState.SENDING:
            attempt = self._settled(part, attempt, AttemptState.UNKNOWN, reason="interrupted")
        step = next_step(attempt, now_ms=self.work.clock.now_ms(), policy=policy)
        if step is Step.CLAIM:
            self._refuse_when_expired()
            self._claim_and_send(part, attempt)
        else:
            assert attempt is not None  # noqa: S101 - only CLAIM is decided without a row
            self._go_on(step, part, attempt, policy)

    def _go_on(self, step: Step, part: OutgoingPart, attempt: SendAttempt, policy: UnknownPolicy) -> None:
        if step is Step.WAIT:
            wait_ms = wait_until_ms(attempt, policy) - self.work.clock.now_ms()
            raise Snooze(f"message {part.reference}: the gateway may still be sending it", delay_ms=max(wait_ms, 1))
        if step is Step.REFUSE:
            raise Permanent(
                f"message {part.reference} was given up before; redrive it to try again", code=attempt.reason
            )
        if step is Step.LOOK:
            self._look(part, attempt, policy)
        elif step is Step.RESEND and self.work.clock.now_ms() < self.deadline_at_ms:
            self._claim_and_send(part, attempt)
        elif step is not Step.SETTLED:
            self._park(part, attempt)

    def _policy(self, part: OutgoingPart) -> UnknownPolicy:
        settings = self.work.settings
        can_ask = Ability.RECONCILE in self.gateway.supports
        is_slow = part.media is not None or isinstance(part.recipient, GroupJid)
        grace_ms = int(settings.reconcile_grace_s * 1000) * (SLOW_GRACE_FACTOR if is_slow else 1)
        is_told = Ability.STATUS_BY_REFERENCE in self.gateway.supports
        return UnknownPolicy(
            settings.on_unknown,
            can_ask,
            grace_ms,
            max_resends=settings.max_attempts - 1,
            told_within_ms=int(settings.told_within_s * 1000) if is_told else None,
        )

    def _refuse_when_expired(self) -> None:
        if self.work.clock.now_ms() >= self.deadline_at_ms:
            raise Expired(f"message {self.chat_message.id} was not sent within {self.work.settings.send_deadline_s} s")

    def _claim_and_send(self, part: OutgoingPart, before: SendAttempt | None) -> None:
        # Before the claim: nothing is "being sent" while its file is still on the way, and what fails here never left.
        whole = with_file(self.work, part)
        with self.turn():
            attempt = self._claim(part, before)
            receipt = self._send(whole, attempt)
        # The turn ends with the answer: whoever watches the instance learns that it answers, whatever becomes of the record.
        with _looked_for():
            self._accepted(part, attempt, receipt)

    def _claim(self, part: OutgoingPart, before: SendAttempt | None) -> SendAttempt:
        when = {"now_ms": self.work.clock.now_ms(), "deadline_at_ms": self.deadline_at_ms}
        if before is None:
            claim = first_attempt(part, instance_name=self.instance.name, **when)
        else:
            # Rows of an older version have no fingerprint.
            claim = replace(before.again(instance_name=self.instance.name, **when), fingerprint=fingerprint(part))
        return self.work.store.claim(claim, before=before) or self._lost_race(part)

    def _lost_race(self, part: OutgoingPart) -> SendAttempt:
        # Another run has the row: its lease outlived ours. Whatever it does is on the row when we look again.
        raise Snooze(f"message {part.reference} is being sent by another run", delay_ms=1_000)

    def _send(self, part: OutgoingPart, attempt: SendAttempt) -> Receipt:
        used_ms = self.work.clock.boot_ms() - self.began_boot_ms
        timeout_s = max(1.0, (self.work.settings.time_limit_ms - RECORD_MARGIN_MS - used_ms) / 1000)
        try:
            # Now, so that nothing is opened in vain, and again when the byte leaves.
            self._check_lease(part)
            with before_first_byte(partial(self._check_lease, part)):
                return self.gateway.send(part, instance=self.instance, timeout_s=timeout_s)
        except Ambiguous as error:
            self._settle(attempt, AttemptState.UNKNOWN, reason=error.code)
            # The next run can only look, so it need not come before the first look is due.
            policy = self._policy(part)
            error.delay_ms = policy.grace_ms if policy.can_ask else policy.told_within_ms or policy.grace_ms
            raise
        except ChatError as error:
            self._settle(attempt, AttemptState.DEAD if error.permanent else AttemptState.RETRYABLE, reason=error.code)
            raise
        except BaseException as error:
            # A time limit, a shutdown, a bug: no one can say whether the request was out.
            ask_for_another(error)
            self._settle(attempt, AttemptState.UNKNOWN, reason=type(error).__name__)
            raise

    def _check_lease(self, part: OutgoingPart) -> None:
        left_ms = self.lease_left_ms()
        if left_ms is not None and left_ms < min(LEASE_MARGIN_MS, self.work.settings.lease_ms // 3):
            raise LeaseTooShort(f"message {part.reference}: {left_ms} ms of its lease are left; put back", delay_ms=1)

    def _look(self, part: OutgoingPart, attempt: SendAttempt, policy: UnknownPolicy) -> None:
        try:
            with self.turn(Kind.LOOK):
                receipt = find(self.work, self.gateway, part, attempt, instance=self.instance)
        except Unsupported:
            # This server does not keep what it sent: as good as a gateway that cannot be asked.
            cannot_ask = replace(policy, can_ask=False)
            self._go_on(unknown_to_the_end(attempt, cannot_ask), part, attempt, cannot_ask)
            return
        if receipt is not None:
            self._accepted(part, attempt, receipt)
            return
        attempt = self.work.store.looked(attempt)
        logger.info("message.not_found_at_gateway", extra={"chat_message_id": part.message_id, "looks": attempt.looks})
        if attempt.looks < LOOKS:
            # A look that came late (a request may last a minute) would else be followed by the next at once.
            raise Snooze(f"message {part.reference} was not found yet; one more look", delay_ms=policy.grace_ms)
        self.deliver(part, attempt)

    def _park(self, part: OutgoingPart, attempt: SendAttempt) -> None:
        self._settled(part, attempt, AttemptState.DEAD, reason=DeliveryUnknown.code)
        raise DeliveryUnknown(
            f"message {part.reference} may have been delivered and the gateway cannot say; look at the phone, then redrive "
            "or discard its dead letter"
        )

    def _accepted(self, part: OutgoingPart, attempt: SendAttempt, receipt: Receipt) -> None:
        store = self.work.store
        if receipt.mismatch:
            # The row becomes sent with the letter that stops the conversation.
            logger.error("message.recipient_mismatch", extra={"chat_message_id": part.message_id})
            store.settle(attempt, AttemptState.ACCEPTED, receipt=receipt, reason=RecipientMismatch.code)
            raise mismatch_of(part.message_id)
        if self._rest is None:
            settled = store.settle(attempt, AttemptState.ACCEPTED, receipt=receipt)
        else:
            first = min(self._rest, key=lambda row: row.part, default=None)
            is_first = first is None or part.part < first.part
            settled = store.record_sent(attempt, receipt, first=None if is_first else first)
        if settled is None:
            self._keep_late(part, attempt, receipt)

    def _keep_late(self, part: OutgoingPart, attempt: SendAttempt, receipt: Receipt) -> None:
        """The row moved on while the gateway answered: a webhook was faster, or another run holds it. It is out all the same."""
        id_, rows = receipt.provider_message_id, self.work.store.attempts(part.message_id)
        # A webhook that names this id has said more than the answer: the provider may have refused it since.
        if id_ is not None and id_ not in {row.provider_message_id for row in rows}:
            bound = self.work.store.bind(part.message_id, part.part, provider_message_id=id_)
            if bound is None and _is_out_by_another_id(rows, part):
                ids = {"chat_message_id": part.message_id, "instance": self.instance.name}
                logger.error("attempt.sent_twice", extra={**ids, "attempt": attempt.number})
        raise Snooze(f"message {part.reference} is out and its row moved on; it is read again", delay_ms=1)

    def _settled(self, part: OutgoingPart, attempt: SendAttempt, state: AttemptState, *, reason: str) -> SendAttempt:
        return self.work.store.settle(attempt, state, reason=reason) or self._lost_race(part)

    def _settle(self, attempt: SendAttempt, state: AttemptState, *, reason: str) -> None:
        """Record; a row that moved on is another run's and is left to it."""
        with _looked_for():
            self.work.store.settle(attempt, state, reason=reason)


@contextmanager
def _looked_for() -> Iterator[None]:
    """What fails within leaves a row that says "sending": the next run looks for the part, also after the last attempt."""
    try:
        yield
    except BaseException as error:
        ask_for_another(error)
        raise


def _is_out_by_another_id(rows: list[SendAttempt], part: OutgoingPart) -> bool:
    known = next((row for row in rows if row.part == part.part), None)
    return known is not None and known.state is AttemptState.ACCEPTED and known.provider_message_id is not None
