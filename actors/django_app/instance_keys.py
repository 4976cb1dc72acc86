"""Which keys an Evolution webhook may name: those of the rows of its instance.

``views`` asks; kept for :data:`KEPT_MS` in the process, so that a busy instance does not cost a query per event.
"""

from collections import defaultdict
from collections.abc import Iterable
from threading import Lock

from actors import services
from actors.domain import Instance
from actors.gateways.evolution_webhooks import has_key
from actors.instances import all_instances

#: A key that was changed is refused, and an old one accepted, for so long at most, in milliseconds.
KEPT_MS = 30_000
#: A body whose key is not among those kept, or whose instance has none, has them read again, at most this often for all
#: instances together.
READ_AGAIN_MS = 1_000


class InstanceKeys:
    """Keys by instance name on the wire. Safe to share between threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._keys: dict[str, frozenset[str]] = {}
        self._read_ms: int | None = None

    def fits(self, body: bytes, instance_name: str) -> bool:
        """Whether the body names a key of the instance; also where no active row of it has one, so there is none to compare.

        Raises:
            Transient: the store is down.
        """
        known = self._known(KEPT_MS).get(instance_name)
        if known and has_key(body, api_keys=known):
            return True
        # A new instance, one whose key was changed a moment ago, or one that has none: only who looked again can tell.
        known = self._known(READ_AGAIN_MS).get(instance_name)
        return not known or has_key(body, api_keys=known)

    def forget(self) -> None:
        """Read them again at the next body."""
        with self._lock:
            self._read_ms = None

    def _known(self, older_ms: int) -> dict[str, frozenset[str]]:
        work = services.get()
        with self._lock:
            now_ms = work.clock.boot_ms()
            if self._read_ms is None or now_ms - self._read_ms >= older_ms:
                self._keys = _by_name(all_instances(work))
                self._read_ms = now_ms
            return self._keys


def _by_name(instances: Iterable[Instance]) -> dict[str, frozenset[str]]:
    found: defaultdict[str, set[str]] = defaultdict(set)
    for instance in instances:
        if instance.api_key:
            # Evolution calls it by its name on the wire.
            found[instance.name].add(instance.api_key)
    return {name: frozenset(keys) for name, keys in found.items()}


keys = InstanceKeys()
