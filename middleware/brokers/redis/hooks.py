"""Call the hooks that a middleware has, and only these.

Dramatiq calls every hook of every middleware, most of which do nothing: a third of the interpreter's time of a short message.
"""

import logging
import traceback
from collections.abc import Callable, Sequence
from typing import Any

from dramatiq import Middleware
from dramatiq.brokers.redis import RedisBroker
from dramatiq.middleware import MiddlewareError

logger = logging.getLogger(__name__)

Hook = Callable[..., None]


class Hooks:
    """The hooks of one broker's middleware, by name, in the order of its list."""

    def __init__(self) -> None:
        self._of: list[Middleware] = []
        self._found: dict[str, list[tuple[Middleware, Hook]]] = {}

    def named(self, name: str, middleware: Sequence[Middleware]) -> list[tuple[Middleware, Hook]]:
        """Each middleware that has a hook ``name``, with it. The list may be changed between two calls."""
        if self._of != middleware:
            self._of, self._found = list(middleware), {}
        found = self._found.get(name)
        if found is None:
            found = self._found[name] = [(one, getattr(one, name)) for one in middleware if _has(one, name)]
        return found


def _has(middleware: Middleware, name: str) -> bool:
    own: Any = getattr(type(middleware), name, None)
    return name in vars(middleware) or own is None or own is not getattr(Middleware, name, None)


class HookedBroker(RedisBroker):
    """A Redis broker that calls the hooks of its middleware itself."""

    hooks: Hooks

    def add_middleware(
        self, middleware: Middleware, *, before: type[Middleware] | None = None, after: type[Middleware] | None = None
    ) -> None:
        """Add a middleware at the end, but before one that ``stands_last``, unless its place is given."""
        if before is None and after is None:
            before = next((type(one) for one in self.middleware if getattr(one, "stands_last", False)), None)
        super().add_middleware(middleware, before=before, after=after)

    def emit_before(self, signal: str, *args: Any, **kwargs: Any) -> None:
        """See :meth:`dramatiq.Broker.emit_before`: errors are logged, but for those of Dramatiq's own for middleware."""
        for middleware, hook in self.hooks.named(f"before_{signal}", self.middleware):
            try:
                hook(self, *args, **kwargs)
            except MiddlewareError:
                raise
            except Exception as error:
                self._hook_broke(f"before_{signal}", middleware, error)

    def emit_after(self, signal: str, *args: Any, **kwargs: Any) -> None:
        """See :meth:`dramatiq.Broker.emit_after`: errors are logged, whatever they are."""
        for middleware, hook in reversed(self.hooks.named(f"after_{signal}", self.middleware)):
            try:
                hook(self, *args, **kwargs)
            except Exception as error:
                self._hook_broke(f"after_{signal}", middleware, error)

    def _hook_broke(self, signal: str, middleware: Middleware, error: Exception) -> None:
        # Not the error's text, which may quote a row.
        place = traceback.extract_tb(error.__traceback__)[-1]
        extra = {"hook": f"{type(middleware).__name__}.{signal}", "code": type(error).__name__}
        logger.critical("hook.broke", extra={**extra, "where": f"{place.filename}:{place.lineno}"})
