"""The sandbox gateway in the process of a test: what the phones got, and what shall go wrong."""

from types import TracebackType
from typing import Any, Self

from actors.gateways.sandbox.admin_client import SandboxAdmin
from actors.gateways.sandbox.server import SandboxServer
from actors.stores.base import Store

#: Rows of instances asked for at a time.
PAGE = 200


class Sandbox:
    """A listening sandbox that answers like Evolution and the Cloud API, and delivers nowhere.

    ``admin`` steers it (:class:`actors.gateways.sandbox.admin_client.SandboxAdmin`): faults, contacts, groups, limits.
    """

    def __init__(self) -> None:
        self._server = SandboxServer()
        self._server.start()
        self.admin = SandboxAdmin(self._server.url, self._server.admin_token)
        self._connected: set[str] = set()

    @property
    def url(self) -> str:
        """Where it listens."""
        return self._server.url

    def connect(self, name: str, **fixture: Any) -> None:
        """Connect a number: an instance's name at the gateway, or a ``phone_number_id``; ``token`` where its row has a key."""
        self._connected.add(name)
        self.admin.put_instance(name, **fixture)

    def connect_rows(self, store: Store) -> None:
        """Connect every active instance of the store that is not known here yet, with the key of its row."""
        after: str | None = None
        while True:
            instances, after = store.instances(limit=PAGE, after=after)
            for instance in instances:
                name = instance.phone_number_id or instance.name
                if name not in self._connected:
                    self.connect(name, **({"token": instance.api_key} if instance.api_key else {}))
            if after is None:
                return

    def deliveries(self, **query: Any) -> list[dict[str, Any]]:
        """What was accepted, in order; ``instance`` and ``jid`` narrow it. See docs/sandbox.md for its keys."""
        return self.admin.deliveries(**query)

    def texts(self) -> list[str]:
        """Texts and captions as the phones got them, in order."""
        return [str(one["text"] or one["caption"] or "") for one in self.deliveries()]

    def close(self) -> None:
        """End it."""
        self.admin.close()
        self._server.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
