"""Values that only settings have: a text that hides itself, and the choices of settings such as ``CHAT_ON_UNKNOWN``.

Re-exported by ``settings.py``; import them from there.
"""

from enum import StrEnum


class Hidden:
    """A text that shows in no repr, log, error or JSON; pydantic's ``SecretStr`` without pydantic."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def get_secret_value(self) -> str:
        """The text itself; pass it to the client that needs it and keep it nowhere else."""
        return self._value

    def __repr__(self) -> str:
        return "Hidden('**********')"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Hidden) and self._value == other._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __reduce__(self) -> str:
        raise TypeError("a hidden setting is not written anywhere; read it where it is needed")


class OnUnknown(StrEnum):
    """What becomes of a send whose delivery is unknown once the gateway has been asked in vain."""

    #: Ask the gateway; send again only when it provably did not go out.
    RECONCILE_THEN_RESEND = "reconcile_then_resend"
    #: The row fails ``delivery_unknown``; a person decides.
    PARK_FOR_HUMAN = "park_for_human"
    #: Send again without asking; may deliver twice.
    RESEND = "resend"


class MediaBy(StrEnum):
    """How a file gets to the gateway."""

    #: The gateway fetches it from its URL.
    URL = "url"
    #: The worker fetches it and hands over the bytes, for gateways that cannot reach the host's storage.
    CONTENT = "content"


class OnQueueDown(StrEnum):
    """What a host's send does when the queue cannot be reached; a call may say otherwise."""

    #: One that waited for a commit is logged, any other raises.
    QUIET_AFTER_COMMIT = "quiet_after_commit"
    #: It raises, after a commit too.
    RAISE = "raise"
    #: It is logged, and answered with False.
    QUIET = "quiet"
