"""Bytes of the sandbox: reads a request, writes an answer in the manner that a fault asks for.

``server`` makes one :class:`Handler` per connection.
"""

import gzip
import logging
import os
import select
import socket
import struct
from collections.abc import Callable
from email.utils import formatdate
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import Any

from actors.gateways.sandbox.admin import Admin
from actors.gateways.sandbox.calls import Call
from actors.gateways.sandbox.contract import Contract
from actors.gateways.sandbox.replies import Reply, envelope
from middleware.clock import SystemClock

logger = logging.getLogger(__name__)

#: Idle connections are closed after this, as by Node.
KEEPALIVE_S = 5.0
#: Larger bodies are refused, as by Evolution.
MAX_BODY_BYTES = 136 * 1024 * 1024
#: Answers longer than this are compressed when the client asks for it.
GZIP_FROM_BYTES = 1024
#: Time between two pieces of a dripping answer.
_DRIP_S = 0.05
ADMIN_PREFIX = "/__sandbox__/"


class Handler(BaseHTTPRequestHandler):
    """One connection. ``contract``, ``admin`` and ``refuse`` are set by the server on a subclass."""

    contract: Contract
    admin: Admin
    refuse: Callable[[float, socket.socket | None], None]

    protocol_version = "HTTP/1.1"
    timeout = KEEPALIVE_S
    disable_nagle_algorithm = True

    def answer_request(self) -> None:
        """Answer one request of any method."""
        raw = self._body()
        if raw is None:
            self.close_connection = True
            self._write(envelope(413, "request entity too large", title="Internal Server Error"))
            return
        headers = {name.lower(): value for name, value in self.headers.items()}
        if self.path.startswith(ADMIN_PREFIX):
            self._answer_admin(headers, raw)
        else:
            self._answer_contract(headers, raw)

    def _answer_admin(self, headers: dict[str, str], raw: bytes) -> None:
        reply = self.admin.answer(self.command, self.path[len(ADMIN_PREFIX) :], headers, raw)
        if reply.manner.name == "refuse":
            # Closed before the answer: who has it may count on it.
            self.refuse(reply.manner.amount, self.connection)
            self.close_connection = True
        self._write(reply)

    def _answer_contract(self, headers: dict[str, str], raw: bytes) -> None:
        call = Call(method=self.command, target=self.path, headers=headers, raw=raw, is_gone=self.is_gone)
        state = self.contract.state
        is_gone, lanes = call.is_gone, call.lanes
        entry = state.begin(call.log_entry(), lanes, is_gone)
        reply = self._computed(call)
        entry |= {"seq": reply.seq, "fault": [rule.id for rule in call.struck] or None}

        # Before the last byte: a client that has its answer finds it in every count.
        def finish(status: int | None) -> None:
            state.end(entry, lanes, is_gone, status=status)

        if not self._perform(reply, finish):
            state.amend_unsent(entry)

    def _computed(self, call: Call) -> Reply:
        try:
            return self.contract.answer(call)
        except Exception:  # the process must go on serving; Evolution, too, answers 500 to what it did not expect
            logger.exception("sandbox.request_failed")
            return envelope(500, "Internal Server Error")

    def _perform(self, reply: Reply, finish: Callable[[int | None], None]) -> bool:
        """Write ``reply`` in its manner, telling ``finish`` what becomes of it; False when the client took none of it."""
        name, amount = reply.manner.name, reply.manner.amount
        if name == "hang":
            self._idle(amount)
        if name in ("drop", "hang", "refuse"):
            finish(None)
            self._reset()
            if name == "refuse":
                self.refuse(amount, None)
            return True
        head, body = self._bytes(reply)
        if name == "cut":
            finish(None)
            self._send(head + body[: int(amount)])
            self._reset(lingering=True)
            return True
        if name == "drip" and not self._drip(head, body[:-1], bytes_per_s=amount):
            finish(None)
            return True
        finish(reply.status)
        return self._send(body[-1:] if name == "drip" else head + body)

    def _write(self, reply: Reply) -> bool:
        head, body = self._bytes(reply)
        return self._send(head + body)

    def _bytes(self, reply: Reply) -> tuple[bytes, bytes]:
        body = reply.body
        headers = {"X-Powered-By": "Express", "Content-Type": reply.content_type, **reply.headers}
        if len(body) > GZIP_FROM_BYTES and "gzip" in self.headers.get("Accept-Encoding", ""):
            body = gzip.compress(body, mtime=0)
            headers["Content-Encoding"] = "gzip"
        headers |= {
            "Content-Length": str(len(body)),
            "Date": formatdate(self.contract.state.now_ms() / 1000, usegmt=True),
        }
        keep = (
            {"Connection": "close"}
            if self.close_connection
            else {"Connection": "keep-alive", "Keep-Alive": "timeout=5"}
        )
        try:
            phrase = HTTPStatus(reply.status).phrase
        except ValueError:
            phrase = "Unknown"
        lines = [f"HTTP/1.1 {reply.status} {phrase}", *(f"{n}: {v}" for n, v in {**headers, **keep}.items())]
        head = "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"
        return head, b"" if self.command == "HEAD" else body

    def _send(self, content: bytes) -> bool:
        try:
            self.connection.sendall(content)
        except OSError:
            self.close_connection = True
            return False
        return True

    def _drip(self, head: bytes, body: bytes, *, bytes_per_s: float) -> bool:
        if not self._send(head):
            return False
        step = max(1, int(bytes_per_s * _DRIP_S))
        for start in range(0, len(body), step):
            piece = body[start : start + step]
            if not self._idle(len(piece) / max(bytes_per_s, 0.001)) or not self._send(piece):
                self.close_connection = True
                return False
        return True

    def _idle(self, seconds: float) -> bool:
        """Do nothing for a while; False, at once, when the client goes or the sandbox stops."""
        clock, stopping = SystemClock(), self.contract.state.stopping
        end_ms = clock.boot_ms() + int(seconds * 1000)
        while (left_ms := end_ms - clock.boot_ms()) > 0:
            if stopping.is_set() or self.is_gone(within_s=min(left_ms / 1000, 0.1)):
                return False
        return True

    def _reset(self, *, lingering: bool = False) -> None:
        """Close the connection at once, with a reset, or after what was written has left."""
        self.close_connection = True
        try:
            if lingering:
                self.connection.shutdown(socket.SHUT_WR)
                return
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            # The reader still holds the socket, so an ordinary close would wait for it.
            os.close(self.connection.detach())
        except OSError:
            return

    def is_gone(self, *, within_s: float = 0.0) -> bool:
        """Whether the client has closed its side, or does so within that time."""
        try:
            readable, _, _ = select.select([self.connection], [], [], within_s)
            return bool(readable) and self.connection.recv(1, socket.MSG_PEEK) == b""
        except (OSError, ValueError):
            return True

    def _body(self) -> bytes | None:
        """The request's body; None when it is too large."""
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            return self._chunked_body()
        length = self.headers.get("Content-Length", "0")
        size = int(length) if length.isascii() and length.isdigit() else 0
        return None if size > MAX_BODY_BYTES else self.rfile.read(size)

    def _chunked_body(self) -> bytes | None:
        chunks: list[bytes] = []
        left = MAX_BODY_BYTES
        while True:
            size = int(self.rfile.readline(100).split(b";")[0].strip() or b"0", 16)
            left -= size
            if left < 0:
                return None
            chunks.append(self.rfile.read(size))
            self.rfile.readline(100)
            if size == 0:
                return b"".join(chunks)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the base class names it so
        """Say nothing: the log of requests is asked for through the admin interface."""

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """A request that is no HTTP."""
        self.close_connection = True
        self._send(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")

    do_DELETE = do_GET = do_HEAD = do_OPTIONS = do_PATCH = do_POST = do_PUT = answer_request  # noqa: N815
