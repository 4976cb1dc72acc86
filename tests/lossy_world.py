"""A queue and two who work on it: the replies of one get lost, the other has luck."""

from collections.abc import Callable
from dataclasses import dataclass, field

from carriage import SOON_MS, Carriage
from lossy_redis import LossyRedis
from waiting import until

from middleware.errors import Described


class Hopeless(Described):
    """No other attempt can succeed."""

    permanent = True


@dataclass
class Lossy:
    """``behind``: the carrier whose replies are lost; ``outside``: another process on the same queue, which has luck."""

    proxy: LossyRedis
    behind: Carriage
    outside: Carriage
    heard: list[str] = field(default_factory=list)

    def lose(self, *scripts: str) -> None:
        """Lose the next reply of each."""
        for script in scripts:
            self.proxy.lose(script)

    def lost(self, times: int = 1) -> None:
        """Wait until so many were."""
        until(lambda: self.proxy.lost == times, within_ms=SOON_MS)

    def work(self, *, done: int) -> list[str]:
        """Let the unlucky one work until ``done`` messages are done; gives what began."""
        with self.behind.working():
            self.behind.drained(done=done)
        return self.behind.began

    def letter(self, name: str = "a") -> None:
        """A message died and nobody has been told."""
        self.outside.plans[name] = [raising(Hopeless())]
        self.outside.send(name, lane="l")
        with self.outside.working():
            until(lambda: self.outside.stats().dead == 1, within_ms=SOON_MS)


def raising(error: Exception) -> Callable[[], None]:
    def plan() -> None:
        raise error

    return plan
