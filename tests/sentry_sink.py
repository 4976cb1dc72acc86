"""A Sentry server on this machine, as far as the SDK's own transport can tell: it keeps every envelope that arrives.

``sink`` answers at once; ``sink.hold()`` makes it take requests and answer none. Fixtures stand in ``tests/conftest.py``'s plugins.
"""

import gzip
import json
import threading
import warnings
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import sentry_sdk
from sentry_sdk.envelope import Envelope
from sentry_sdk.integrations.logging import LoggingIntegration, unignore_logger
from sentry_sdk.scope import global_event_processors
from waiting import until

from middleware import sentry_client


class Sink:
    """What arrived."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.open = threading.Event()
        self.open.set()
        self.waiting = 0
        self._lock = threading.Lock()
        sink = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                with sink._lock:
                    sink.waiting += 1
                sink.open.wait(60)
                with sink._lock:
                    sink.waiting -= 1
                    sink.bodies.append(gzip.decompress(body) if self.headers["Content-Encoding"] == "gzip" else body)
                self.send_response(200)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, *_: Any) -> None:
                pass

        class Quiet(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: Any) -> None:
                """A client that has gone is none of the test's business."""

        self.server = Quiet(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()

    @property
    def dsn(self) -> str:
        return f"http://public@127.0.0.1:{self.server.server_port}/1"

    def hold(self) -> None:
        self.open.clear()

    def items(self, *types: str) -> list[dict[str, Any]]:
        """Payloads of these types (all types when none is named), in their order."""
        with self._lock:
            bodies = list(self.bodies)
        found = [item for body in bodies for item in Envelope.deserialize(body).items]
        return [json.loads(item.payload.get_bytes()) for item in found if not types or item.type in types]

    def events(self) -> list[dict[str, Any]]:
        return self.items("event")

    def transactions(self) -> list[dict[str, Any]]:
        return self.items("transaction")

    def check_ins(self) -> list[dict[str, Any]]:
        return self.items("check_in")

    def bytes(self) -> str:
        """Everything that left the process, for looking for what must not."""
        with self._lock:
            return b"\n".join(self.bodies).decode("utf-8", "replace")

    def wait(self, ready: Callable[[], object], *, within_ms: int = 10_000) -> Any:
        """What ``ready`` says once it is true; the SDK's queue is flushed in between."""

        def look() -> object:
            sentry_sdk.get_client().flush(timeout=1)
            return ready()

        return until(look, within_ms=within_ms)

    def close(self) -> None:
        self.open.set()
        self.server.shutdown()
        self.server.server_close()
        self._thread.join()


def forget_sentry() -> None:
    """Leave no client, processor or quiet logger behind."""
    sentry_sdk.get_client().close(timeout=0)
    sentry_sdk.get_global_scope().set_client(None)
    global_event_processors.clear()
    for name in sentry_client.QUIET_LOGGERS:
        unignore_logger(name)


@pytest.fixture
def sink() -> Iterator[Sink]:
    """A Sentry server that keeps what it gets; whatever client the test makes is forgotten after it."""
    sink = Sink()
    yield sink
    sink.open.set()
    forget_sentry()
    sink.close()


@pytest.fixture
def generous_host(sink: Sink) -> Callable[..., None]:
    """``generous_host(**options)``: the host's own Sentry, which sends whatever it can get hold of."""

    def init(**options: Any) -> None:
        chosen = {
            "dsn": sink.dsn,
            "default_integrations": False,
            "integrations": [LoggingIntegration()],
            "traces_sample_rate": 1.0,
            "environment": "test",
            "release": "host@1",
            **options,
        }
        with warnings.catch_warnings():
            # The newer way to say "send everything" is not in the oldest SDK that we take.
            warnings.simplefilter("ignore", DeprecationWarning)
            sentry_sdk.init(send_default_pii=True, include_local_variables=True, **chosen)

    return init
