"""The errors of the work, classed by what to do next (docs/errors.md has one row per code).

    ChatError                        text of our own: ids and advice, never content, numbers or keys
    ├── SettingsError                stop at boot; lists every fault at once
    ├── Transient                    provably not done; try again with backoff
    │   └── GatewayUnreachable       nothing was sent: DNS, refused, TLS, connect timeout
    ├── Ambiguous                    may have been done; reconcile before anything else
    ├── Throttled (Snooze)           not done, slow down; no attempt used
    ├── InstanceUnavailable (Snooze) session down, not done; no attempt used
    ├── Paced (Snooze)               our own pace, or the instance is parked; nothing was asked
    ├── LeaseTooShort (Snooze)       stopped before the first byte: too little of the lease is left
    └── Permanent                    can never succeed; dead letter at once
        ├── InsideTransaction        async code sends, or a retry is asked for, while its transaction is open
        ├── NotFound                 the row does not exist
        ├── BadRecipient             no usable phone, group or id
        ├── BadPayload               nothing to send, or the gateway refuses the content
        ├── NotOnWhatsApp            the number has no account
        ├── NotDelivered             accepted, and the provider says later that it will not arrive
        ├── AuthConfig               an operator must act: key, URL, instance, permission
        ├── NoCredentials            key and URL do not come from the same source
        ├── WrongContract            the server speaks another contract
        ├── Unsupported              this gateway has no such operation
        ├── Expired                  the deadline of the send has passed
        ├── RecipientMismatch        sent, and the gateway says to somebody else; its conversation waits for a person
        └── DeliveryUnknown          may have been delivered; a person decides

Nothing here carries a number, a text or a key; instances add ids and advice.
"""

from typing import Self

from middleware.errors import Described, Snooze


class ChatError(Described):
    """The work could not be done. ``code`` is the reason an operator sees.

    Attributes:
        request_written: whether any byte of a request body left this machine.
        alert: whether an operator must act (Sentry), beyond the dead letter.
    """

    code = "chat"
    alert: bool = False

    def __init__(
        self, message: str = "", *, code: str | None = None, request_written: bool = False, alert: bool | None = None
    ) -> None:
        # Not super(): for what is put back the next in line is Snooze, which asks for a delay of its own.
        Described.__init__(self, message)
        if code is not None:
            self.code = code  # type: ignore[misc]  # an instance may narrow its class's reason
        if alert is not None:
            self.alert = alert
        self.request_written = request_written


class SettingsError(ChatError):
    """Settings are missing or wrong; the text lists every fault."""

    code = "settings"
    permanent = True

    def __init__(self, faults: list[str]) -> None:
        self.faults = faults
        super().__init__("settings cannot be used:\n" + "\n".join(f"  - {fault}" for fault in faults))


class Transient(ChatError):
    """Provably not done; another attempt may succeed."""

    code = "transient"

    def __init__(
        self, message: str = "", *, code: str | None = None, request_written: bool = False, delay_ms: int | None = None
    ) -> None:
        super().__init__(message, code=code, request_written=request_written)
        self.delay_ms = delay_ms


class GatewayUnreachable(Transient):
    """Nothing was sent: DNS, connection refused, TLS, connect or pool timeout."""

    code = "gateway_unreachable"


class Ambiguous(ChatError):
    """May have been done: a timeout, a reset or a broken answer after the request was written.

    After the last attempt, too, somebody must look for it; how often it is sent again, its attempt row counts.
    """

    code = "ambiguous"
    needs_another = True

    def __init__(self, message: str = "", *, code: str | None = None, request_written: bool = True) -> None:
        super().__init__(message, code=code, request_written=request_written)


class _PutBack(ChatError, Snooze):
    """Base of the errors that use no attempt."""

    delay_ms: int

    def __init__(
        self,
        message: str = "",
        *,
        delay_ms: int,
        code: str | None = None,
        request_written: bool = False,
        alert: bool | None = None,
    ) -> None:
        ChatError.__init__(self, message, code=code, request_written=request_written, alert=alert)
        self.delay_ms = delay_ms


class Throttled(_PutBack):
    """Not done; the gateway says slow down.

    Attributes:
        scope: what must slow down: ``instance``, ``pair`` (instance and recipient) or ``account``.
        delay_ms: the wait when it is met for the first time.
        grows_by: each time in a row the wait is so many times as long.
        cap_ms: no wait is longer, unless the first is.
    """

    code = "throttled"
    grows_by: float = 1.0
    cap_ms: int = 15 * 60 * 1000

    def __init__(
        self,
        message: str = "",
        *,
        delay_ms: int,
        scope: str = "instance",
        code: str | None = None,
        alert: bool | None = None,
    ) -> None:
        super().__init__(message, delay_ms=delay_ms, code=code, request_written=True, alert=alert)
        self.scope = scope
        self.cap_ms = max(delay_ms, self.cap_ms)

    def growing(self, by: float, *, cap_ms: int) -> Self:
        """This error, with a wait that grows ``by`` a factor each time in a row, up to ``cap_ms``."""
        self.grows_by, self.cap_ms = by, cap_ms
        return self


class InstanceUnavailable(_PutBack):
    """The instance's session is down; nothing was sent."""

    code = "instance_unavailable"


class Paced(_PutBack):
    """Our own pace says later, or the instance is parked; nothing was asked, so the turn does not count."""

    code = "paced"
    unspent = True


class LeaseTooShort(_PutBack):
    """Stopped before the first byte: too little of the lease is left to be sure of the outcome."""

    code = "lease_too_short"
    unspent = True


class Permanent(ChatError):
    """Can never succeed; dead letter at once."""

    code = "permanent"
    permanent = True


class InsideTransaction(Permanent):
    """Async code sends, or a retry is asked for, while a transaction is open, of which others see nothing."""

    code = "inside_transaction"


class NotFound(Permanent):
    """The row does not exist (any more)."""

    code = "not_found"


class BadRecipient(Permanent):
    """The conversation names no phone, group or id that can be addressed."""

    code = "bad_recipient"


class BadPayload(Permanent):
    """Nothing to send, or the gateway refuses the content as malformed."""

    code = "bad_payload"


class NotOnWhatsApp(Permanent):
    """The number has no WhatsApp account."""

    code = "not_on_whatsapp"


class NotDelivered(Permanent):
    """The gateway had taken it, and says later that it will not arrive."""

    code = "not_delivered"


class AuthConfig(Permanent):
    """An operator must act: key, base URL, instance name or permission."""

    code = "auth_config"
    alert = True


class NoCredentials(AuthConfig):
    """A key and a URL from the same source are needed and are not there."""

    code = "no_credentials"


class WrongContract(AuthConfig):
    """The server speaks another contract than the one that is spoken here; it must be upgraded."""

    code = "wrong_version"


class Unsupported(Permanent):
    """This gateway has no such operation; nothing was requested."""

    code = "unsupported"


class Expired(Permanent):
    """The deadline of the send has passed."""

    code = "expired"


class RecipientMismatch(Permanent):
    """It is out, and the gateway names somebody else than was asked; nothing more goes to its conversation before a person looked."""

    code = "recipient_mismatch"
    alert = True
    holds_lane = True


class DeliveryUnknown(Permanent):
    """The message may have been delivered; a person decides (``CHAT_ON_UNKNOWN``)."""

    code = "delivery_unknown"
    alert = True
