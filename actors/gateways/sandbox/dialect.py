"""What the sandbox needs to know of a provider to answer in its stead.

``evolution`` is one, another provider is a file of its own in the list that ``server`` gives to ``contract``. Faults, limits,
logs, counters and webhooks are the same for all.
"""

from typing import Protocol

from actors.gateways.sandbox.calls import Call
from actors.gateways.sandbox.replies import Reply


class Dialect(Protocol):
    """One provider's side of the sandbox. Safe to call from many threads."""

    def claims(self, call: Call) -> bool:
        """Whether the request is addressed to this provider, by its path."""
        ...

    def read(self, call: Call) -> None:
        """Fill in what was asked: ``op``, ``instance``, ``body``, ``is_send``, ``number``, ``jid``, ``text``, ``client_ref``.

        Must take any bytes.
        """
        ...

    def guard(self, call: Call) -> None:
        """Routes, keys and validation: what is looked at before a fault may strike.

        Raises:
            Refused: the request ends here.
        """
        ...

    def serve(self, call: Call) -> Reply:
        """The answer; a send passes its accept point in here.

        Raises:
            Refused: it ends before the accept point.
        """
        ...

    def too_many(self, call: Call, *, wait_s: float) -> Reply:
        """The answer to a send beyond a rate limit."""
        ...
