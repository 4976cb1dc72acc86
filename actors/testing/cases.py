"""A mixin for ``unittest`` and Django test cases; what it needs of Django the test case itself brings."""

import unittest
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from actors.testing.queue import Sent
from actors.testing.sends import Sends, opened

if TYPE_CHECKING:
    _Base = unittest.TestCase
else:
    _Base = object


class ChatActorsMixin(_Base):
    """``class MyTest(ChatActorsMixin, TestCase)``: ``self.chat_sends`` is open during every test (:class:`Sends`)."""

    chat_sends: Sends

    def setUp(self) -> None:
        """Open ``chat_sends``."""
        super().setUp()
        already = opened()
        self.chat_sends = already or Sends()
        if already is None:
            self.chat_sends.__enter__()
            self.addCleanup(self.chat_sends.__exit__, None, None, None)

    @contextmanager
    def capture_sends(self, *, commit: bool = True, using: str | None = None) -> Iterator[list[Sent]]:
        """A list that has, after the block, what the block sent.

        In a Django ``TestCase``, whose transaction never commits, ``commit`` runs what waits for a commit at the end of the
        block, as ``captureOnCommitCallbacks(execute=True)`` does; without it only what was sent at once is in the list. A
        ``TransactionTestCase`` commits by itself. ``using`` is the alias of the database, None its default one.
        """
        before = len(self.chat_sends.sent)
        sent: list[Sent] = []
        with ExitStack() as stack:
            capture: Any = getattr(self, "captureOnCommitCallbacks", None)
            if capture is not None:
                stack.enter_context(capture(execute=commit, **({"using": using} if using else {})))
            yield sent
        sent += self.chat_sends.sent[before:]

    def assert_sent(self, actor: Any, *ids: object) -> None:
        """The ids of what was sent of ``actor`` so far are these, in this order."""
        self.assertEqual(self.chat_sends.ids(actor), [str(id_) for id_ in ids])  # noqa: PT009 - shows both

    def assert_nothing_sent(self) -> None:
        """Nothing reached the queue."""
        self.assertEqual(self.chat_sends.sent, [])  # noqa: PT009 - shows both
