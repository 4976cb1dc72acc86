"""Bytes of the sandbox: reads a request, writes an answer in the manner that a fault asks for.

``server`` makes one :class:`Connection` per connection, in a thread of its own. Requests are parsed and answers are framed by
``h11``, which httpx needs anyway: it is strict where Node is strict, knows chunks, ``Expect`` and when a connection may be used
again, and gives the bytes of an answer without sending them. That is why it is no whole server, of the standard library or
another: a fault drops, delays, cuts and resets those bytes, and only who holds the socket can. Threads, not a loop, because a
fault then is a wait and nothing else; it costs no processor time while it waits.
"""

import gzip
import logging
import select
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from socketserver import BaseRequestHandler

import h11

from actors.gateways.sandbox.admin import Admin
from actors.gateways.sandbox.calls import Call
from actors.gateways.sandbox.contract import Contract
from actors.gateways.sandbox.dialect import Dialect
from actors.gateways.sandbox.replies import Reply, envelope
from middleware.clock import SystemClock

logger = logging.getLogger(__name__)

#: Idle connections are closed after this, as by Node.
KEEPALIVE_S = 5.0
#: A request that has begun has this long to arrive, as with Node.
REQUEST_S = 300.0
#: Larger bodies are refused, as by Evolution.
MAX_BODY_BYTES = 136 * 1024 * 1024
#: Answers longer than this are compressed when the client asks for it.
GZIP_FROM_BYTES = 1024
#: Time between two pieces of a dripping answer.
_DRIP_S = 0.05
#: The longest head of a request; Node's is 16 KB.
_MAX_HEAD_BYTES = 16 * 1024
_CHUNK_BYTES = 256 * 1024
ADMIN_PREFIX = "/__sandbox__/"


@dataclass(frozen=True, slots=True)
class _Asked:
    method: str
    target: str
    headers: dict[str, str]
    body: bytes | None  # None: too large


class Connection(BaseRequestHandler):
    """One connection. ``contract``, ``admin`` and ``refuse`` are set by the server on a subclass."""

    contract: Contract
    admin: Admin
    refuse: Callable[[float, socket.socket | None], None]

    request: socket.socket

    def setup(self) -> None:
        """See :class:`BaseRequestHandler`."""
        self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._parser = h11.Connection(h11.SERVER, max_incomplete_event_size=_MAX_HEAD_BYTES)
        self._is_over = False

    def handle(self) -> None:
        """Answer requests until one side has enough."""
        while not self._is_over:
            try:
                asked = self._read()
            except h11.RemoteProtocolError as error:
                # As short as Node's own.
                status = HTTPStatus(error.error_status_hint)
                self._send(f"HTTP/1.1 {status.value} {status.phrase}\r\nConnection: close\r\n\r\n".encode())
                return
            if asked is None:
                return
            self._answer(asked)
            if self._parser.our_state is not h11.DONE or self._parser.their_state is not h11.DONE:
                return
            self._parser.start_next_cycle()

    def _read(self) -> _Asked | None:
        """The next request; None when there is none, or it stops half-way."""
        head: h11.Request | None = None
        body: list[bytes] = []
        announced = size = 0
        while True:
            event = self._parser.next_event()
            if event is h11.NEED_DATA:
                if not self._receive(timeout_s=KEEPALIVE_S if head is None else REQUEST_S):
                    return None
            elif isinstance(event, h11.Request):
                head, announced = event, _announced_bytes(event)
            elif isinstance(event, h11.Data):
                body.append(bytes(event.data))
                size += len(event.data)
            elif isinstance(event, h11.EndOfMessage) and head is not None:
                return _asked(head, b"".join(body))
            else:
                return None
            if head is not None and max(announced, size) > MAX_BODY_BYTES:
                return _asked(head, None)

    def _receive(self, *, timeout_s: float) -> bool:
        """Take what has come; False when nothing did."""
        try:
            if self._parser.they_are_waiting_for_100_continue:
                self.request.sendall(self._parser.send(h11.InformationalResponse(status_code=100, headers=[])) or b"")
            self.request.settimeout(timeout_s)
            content = self.request.recv(_CHUNK_BYTES)
            self.request.settimeout(None)
        except OSError:
            return False
        self._parser.receive_data(content)
        return bool(content)

    def _answer(self, asked: _Asked) -> None:
        if asked.body is None:
            self._is_over = True
            self._send(
                b"".join(self._bytes(envelope(413, "request entity too large", title="Internal Server Error"), asked))
            )
        elif asked.target.startswith(ADMIN_PREFIX):
            self._answer_admin(asked, asked.body)
        else:
            self._answer_contract(asked, asked.body)

    def _answer_admin(self, asked: _Asked, raw: bytes) -> None:
        reply = self.admin.answer(asked.method, asked.target[len(ADMIN_PREFIX) :], asked.headers, raw)
        if reply.manner.name == "refuse":
            # Closed before the answer: who has it may count on it.
            self.refuse(reply.manner.amount, self.request)
            self._is_over = True
        self._send(b"".join(self._bytes(reply, asked)))

    def _answer_contract(self, asked: _Asked, raw: bytes) -> None:
        call = Call(method=asked.method, target=asked.target, headers=asked.headers, raw=raw, is_gone=self.is_gone)
        state = self.contract.state
        dialect = self.contract.read(call)
        is_gone, lanes = call.is_gone, call.lanes
        entry = state.begin(call.log_entry(), lanes, is_gone)
        call.request_id = entry["request_id"]
        reply = self._computed(call, dialect)
        entry |= {"seq": reply.seq, "fault": [rule.id for rule in call.struck] or None}

        # Before the last byte: a client that has its answer finds it in every count.
        def finish(status: int | None) -> None:
            state.end(entry, lanes, is_gone, status=status)

        if not self._perform(reply, asked, finish):
            state.amend_unsent(entry)

    def _computed(self, call: Call, dialect: Dialect) -> Reply:
        try:
            return self.contract.answer(call, dialect)
        except Exception:  # the process must go on serving; Evolution, too, answers 500 to what it did not expect
            logger.exception("sandbox.request_failed")
            return envelope(500, "Internal Server Error")

    def _perform(self, reply: Reply, asked: _Asked, finish: Callable[[int | None], None]) -> bool:
        """Write ``reply`` in its manner, telling ``finish`` what becomes of it; False when the client took none of it."""
        name, amount = reply.manner.name, reply.manner.amount
        if name == "hang":
            self._idle(amount)
        if name in ("drop", "hang", "refuse"):
            finish(None)
            if name == "refuse":
                # Before the client hears of it: else its next request may get in and be cut with the answer on its way.
                self.refuse(amount, self.request)
            self._reset()
            return True
        head, body = self._bytes(reply, asked)
        if name == "cut":
            finish(None)
            self._send(head + body[: int(amount)])
            self._reset(lingering=True)
            return True
        if name == "drip" and not self._drip(head, body[:-1], bytes_per_s=amount):
            finish(None)
            return True
        # Who has closed the connection will not read it.
        finish(None if self.is_gone() else reply.status)
        return self._send(body[-1:] if name == "drip" else head + body)

    def _bytes(self, reply: Reply, asked: _Asked) -> tuple[bytes, bytes]:
        """Head and body of an answer, framed and not sent."""
        body = reply.body
        headers = {"X-Powered-By": "Express", "Content-Type": reply.content_type, **reply.headers}
        if len(body) > GZIP_FROM_BYTES and "gzip" in asked.headers.get("accept-encoding", ""):
            body = gzip.compress(body, compresslevel=6, mtime=0)
            headers["Content-Encoding"] = "gzip"
        headers |= {"Content-Length": str(len(body)), "Date": _http_date(self.contract.state.now_ms() // 1000)}
        headers |= {"Connection": "close"} if self._is_over else {"Connection": "keep-alive", "Keep-Alive": "timeout=5"}
        try:
            phrase = HTTPStatus(reply.status).phrase
        except ValueError:
            phrase = "Unknown"
        head = h11.Response(status_code=reply.status, headers=list(headers.items()), reason=phrase)
        framed = [self._parser.send(head)]
        if asked.method != "HEAD":
            framed.append(self._parser.send(h11.Data(data=body)))
        framed.append(self._parser.send(h11.EndOfMessage()))
        return framed[0] or b"", b"".join(one or b"" for one in framed[1:])

    def _send(self, content: bytes) -> bool:
        try:
            self.request.sendall(content)
        except OSError:
            self._is_over = True
            return False
        return True

    def _drip(self, head: bytes, body: bytes, *, bytes_per_s: float) -> bool:
        if not self._send(head):
            return False
        step = max(1, int(bytes_per_s * _DRIP_S))
        for start in range(0, len(body), step):
            piece = body[start : start + step]
            if not self._idle(len(piece) / max(bytes_per_s, 0.001)) or not self._send(piece):
                self._is_over = True
                return False
        return True

    def _idle(self, seconds: float) -> bool:
        """Do nothing for a while; False, at once, when the client goes or the sandbox stops, which ends the connection."""
        clock = SystemClock()
        end_ms = clock.boot_ms() + int(seconds * 1000)
        while (left_ms := end_ms - clock.boot_ms()) > 0:
            if self.contract.state.stopping.is_set() or self.is_gone(within_s=min(left_ms / 1000, 1.0)):
                return False
        return True

    def _reset(self, *, lingering: bool = False) -> None:
        """Close the connection at once, with a reset, or after what was written has left."""
        self._is_over = True
        try:
            if lingering:
                self.request.shutdown(socket.SHUT_WR)
                return
            self.request.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.request.close()
        except OSError:
            return

    def is_gone(self, *, within_s: float = 0.0) -> bool:
        """Whether the client has closed its side, or does so within that time."""
        try:
            poll = select.poll()
            poll.register(self.request, select.POLLIN)
            return bool(poll.poll(int(within_s * 1000))) and self.request.recv(1, socket.MSG_PEEK) == b""
        except (OSError, ValueError):
            return True


def _announced_bytes(head: h11.Request) -> int:
    return next((int(value) for name, value in head.headers if name == b"content-length"), 0)


def _asked(head: h11.Request, body: bytes | None) -> _Asked:
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in head.headers}
    return _Asked(head.method.decode("ascii"), head.target.decode("latin-1"), headers, body)


@lru_cache(maxsize=4)
def _http_date(epoch_s: int) -> str:
    return formatdate(epoch_s, usegmt=True)
