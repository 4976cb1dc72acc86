"""The sandbox gateway: a real HTTP server on loopback that answers like Evolution API 2.3.6, with faults on request.

``chat-actors sandbox`` and ``python -m actors.gateways.sandbox`` call :func:`serve`; tests and the demo start
:class:`SandboxServer` in their own process.
"""

import ipaddress
import json
import secrets
import signal
import socket
import sys
import threading
from collections.abc import Mapping
from socketserver import ThreadingTCPServer
from typing import Any, Self
from urllib.parse import quote

from actors.gateways.sandbox.admin import Admin
from actors.gateways.sandbox.cloud import Cloud
from actors.gateways.sandbox.cloud_hooks import StatusHooks
from actors.gateways.sandbox.cloud_replies import CLOUD_PRESETS
from actors.gateways.sandbox.contract import Contract
from actors.gateways.sandbox.evolution import Evolution
from actors.gateways.sandbox.faults import Faults
from actors.gateways.sandbox.limits import Limits
from actors.gateways.sandbox.replies import PRESETS
from actors.gateways.sandbox.state import State
from actors.gateways.sandbox.webhook_sender import WebhookSender
from actors.gateways.sandbox.webhooks import Webhooks
from actors.gateways.sandbox.wire import Connection
from middleware.clock import SystemClock
from middleware.stop_signal import StopSignal

#: Key of a sandbox that was given none, and of instances that have none of their own.
SANDBOX_KEY = "sandbox-key"
#: Connections are given this long to end at :meth:`SandboxServer.close`, in seconds.
_DRAIN_S = 5.0
_FIXTURES = ("instances", "contacts", "groups")


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


class _Listener(ThreadingTCPServer):
    """Accepts connections and remembers them, so that closing the sandbox ends them."""

    daemon_threads = True
    request_queue_size = 256
    allow_reuse_address = True

    def __init__(self, address: tuple[str, int], handler: type[Connection]) -> None:
        self.connections: set[Any] = set()
        self.idle = threading.Condition()
        self.address_family = _family(address[0])
        super().__init__(address, handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self.idle:
            self.connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        super().shutdown_request(request)
        with self.idle:
            self.connections.discard(request)
            self.idle.notify_all()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that broke is no news here."""

    def end_connections(self, *, but: socket.socket | None) -> None:
        with self.idle:
            for one in self.connections - {but}:
                try:
                    one.shutdown(socket.SHUT_RDWR)
                except OSError:
                    continue

    def drain(self) -> None:
        with self.idle:
            self.idle.wait_for(lambda: not self.connections, timeout=_DRAIN_S)


class SandboxServer:
    """A sandbox in this process, listening from :meth:`start` to :meth:`close`; also a context manager.

    ``port`` 0 takes a free one; it stays the sandbox's own until close, also while connections are refused.

    Raises:
        ValueError: the host is not loopback and ``allow_remote`` is not set.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        apikey: str = SANDBOX_KEY,
        seed: int = 0,
        admin_token: str | None = None,
        allow_remote: bool = False,
    ) -> None:
        if not allow_remote and host != "localhost" and not ipaddress.ip_address(host).is_loopback:
            raise ValueError(f"{host} is not on this machine; a sandbox is for loopback unless remote is allowed")
        self.apikey = apikey
        self.admin_token = admin_token or secrets.token_urlsafe(16)
        self.state = State(SystemClock())
        self.sender = WebhookSender(self.state, seed=seed)
        self.webhooks = Webhooks(self.state, self.sender, seed=seed, server_url=lambda: self.url)
        hooks = StatusHooks(self.state, self.sender)
        self.contract = Contract(
            self.state,
            Faults(seed, presets={**PRESETS, **CLOUD_PRESETS}),
            Limits(),
            dialects=[Cloud(self.state, hooks, api_key=apikey), Evolution(self.state, api_key=apikey)],
        )
        self.admin = Admin(
            self.contract, self.webhooks, token=self.admin_token, more=hooks.routes, allow_remote=allow_remote
        )
        self._host, self._port = host, port
        self._door = threading.Lock()
        self._listener: _Listener | None = None
        self._holder: socket.socket | None = None
        self._reopen: threading.Timer | None = None

    @property
    def url(self) -> str:
        """Base URL for clients."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._port}"

    def start(self) -> Self:
        """Listen."""
        # A bound socket that does not listen keeps the port while connections are refused.
        self._holder = socket.socket(_family(self._host))
        self._holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._holder.bind((self._host, self._port))
        self._port = self._holder.getsockname()[1]
        with self._door:
            self._open()
        return self

    def load(self, fixtures: Mapping[str, Any]) -> None:
        """Take fixtures as the admin interface shows them, ``{"instances": {name: …}, …}``.

        Beside ``instances``, ``contacts`` and ``groups`` there may be ``faults`` (a list), ``limits`` and ``webhook``.

        Raises:
            ValueError: something in it is unknown; the text says what.
        """
        unknown = set(fixtures) - {*_FIXTURES, "faults", "limits", "webhook"}
        if unknown:
            raise ValueError(f"unknown: {', '.join(sorted(unknown))}")
        token = {"x-sandbox-admin": self.admin_token}
        calls = [
            ("PUT", f"{kind}/{quote(name, safe='')}", body)
            for kind in _FIXTURES
            for name, body in fixtures.get(kind, {}).items()
        ]
        calls += [("PUT", name, fixtures[name]) for name in ("limits", "webhook") if name in fixtures]
        calls += [("POST", "faults", body) for body in fixtures.get("faults", [])]
        for method, path, body in calls:
            reply = self.admin.answer(method, path, token, json.dumps(body).encode())
            if reply.status != 200:
                raise ValueError(f"{path}: {json.loads(reply.body)['error']}")

    def refuse(self, for_s: float, but: socket.socket | None = None) -> None:
        """Refuse connections for a while and end all that are open but one: a gateway that restarts looks like this."""
        with self._door:
            self._shut(but=but)
            if self.state.stopping.is_set():
                return
            self._reopen = threading.Timer(for_s, self.open_again)
            self._reopen.daemon = True
            self._reopen.start()

    def open_again(self) -> None:
        """End :meth:`refuse` now; nothing to do when connections are taken."""
        with self._door:
            if self._reopen is not None:
                self._reopen.cancel()
            self._open()

    def close(self) -> None:
        """Stop listening and end every connection. Repeatable."""
        self.state.stop()
        with self._door:
            if self._reopen is not None:
                self._reopen.cancel()
            listener = self._shut()
            if self._holder is not None:
                self._holder.close()
                self._holder = None
        if listener is not None:
            listener.drain()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open(self) -> None:
        if self._listener is not None or self.state.stopping.is_set():
            return
        handler = type(
            "BoundConnection",
            (Connection,),
            {"contract": self.contract, "admin": self.admin, "refuse": staticmethod(self.refuse)},
        )
        self._listener = _Listener((self._host, self._port), handler)
        threading.Thread(target=self._listener.serve_forever, args=(0.02,), name="sandbox", daemon=True).start()

    def _shut(self, *, but: socket.socket | None = None) -> _Listener | None:
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.shutdown()
            listener.server_close()
            listener.end_connections(but=but)
        return listener


def serve(  # noqa: PLR0913  # one per option of the command line
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    apikey: str = SANDBOX_KEY,
    seed: int = 0,
    admin_token: str | None = None,
    fixtures: Mapping[str, Any] | None = None,
    allow_remote: bool = False,
) -> None:
    """Serve until SIGTERM or SIGINT; call it in the main thread.

    Prints one JSON line ``{"url", "admin_token"}`` once it listens.
    """
    stop = StopSignal(signal.SIGTERM, signal.SIGINT)
    server = SandboxServer(
        host=host, port=port, apikey=apikey, seed=seed, admin_token=admin_token, allow_remote=allow_remote
    )
    stop.listen()
    server.load(fixtures or {})
    with server:
        sys.stdout.write(json.dumps({"url": server.url, "admin_token": server.admin_token}) + "\n")
        sys.stdout.flush()
        stop.wait()
