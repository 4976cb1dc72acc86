"""The host's side of webhooks in a storm: what the sandbox tells, twice and out of order, is applied while workers do the same.

``storm_world`` has the sandbox post to :attr:`Hooks.url`.
"""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from chaos_rows import Rows
from cloud_listener import Posts, listening
from waiting import until

from actors.errors import Transient
from actors.gateways import evolution_webhooks
from actors.intake import Applied, apply_all
from middleware.errors import PipelineError

EVENTS = ["send.message", "connection.update"]


@dataclass
class Hooks:
    """What was posted, and what it came to."""

    posts: Posts
    rows: Rows
    came_to: Counter[Applied] = field(default_factory=Counter)
    applied: int = 0
    is_stopping: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        return self.posts.url

    @property
    def is_quiet(self) -> bool:
        """Everything that was posted has been applied."""
        return self.applied == len(self.posts.bodies)

    def run(self) -> None:
        """Apply in the order in which it came; what cannot be applied now is told again."""
        while not self.is_stopping.is_set():
            until(lambda: not self.is_quiet or self.is_stopping.is_set(), within_ms=600_000)
            if self.is_quiet:
                continue
            try:
                self.rows.store.close_stale_connections()
                self.came_to += apply_all(evolution_webhooks.updates(self.posts.bodies[self.applied]))
            except (Transient, PipelineError):
                self.is_stopping.wait(0.05)
                continue
            self.applied += 1
        self.rows.leave_thread()


@contextmanager
def hearing(rows: Rows) -> Iterator[Hooks]:
    """Hooks are applied meanwhile."""
    with listening() as posts:
        hooks = Hooks(posts, rows)
        thread = threading.Thread(target=hooks.run, daemon=True)
        thread.start()
        try:
            yield hooks
        finally:
            hooks.is_stopping.set()
            thread.join(10)
