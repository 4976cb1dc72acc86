"""Connections are used again while they are fresh, and never by two threads or by a child process."""

import socket
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from exchange_world import ask, exchange, listening
from waiting import until

from actors.gateways.exchange import Answer

__all__ = ["exchange"]


def keep_alive(connection: socket.socket) -> None:
    asked = b""
    while chunk := connection.recv(65_536):
        asked += chunk
        if not asked.endswith(b"{}"):
            # The head came without the body.
            continue
        asked = b""
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")


def test_a_connection_is_used_again_while_it_is_fresh(exchange):
    accepted: list[int] = []

    def serve(connection: socket.socket) -> None:
        accepted.append(connection.fileno())
        keep_alive(connection)

    with listening(serve) as url:
        outcomes = [ask(exchange, url) for _ in range(3)]
        exchange.close()

    assert [type(one) for one in outcomes] == [Answer] * 3
    assert len(accepted) == 1


def test_a_connection_that_was_idle_for_too_long_is_not_used_again(exchange, monkeypatch):
    """Node closes it after 5 s; a request that meets the closing would count as one that nobody knows the end of."""
    monkeypatch.setattr("actors.gateways.exchange.KEEPALIVE_S", -1.0)
    accepted: list[int] = []

    def serve(connection: socket.socket) -> None:
        accepted.append(connection.fileno())
        keep_alive(connection)

    with listening(serve) as url:
        outcomes = [ask(exchange, url) for _ in range(3)]
        exchange.close()

    assert [type(one) for one in outcomes] == [Answer] * 3
    assert len(accepted) == 3
    assert sum(len(idle) for idle in exchange._idle.values()) == 0


def test_a_connection_that_grew_old_while_it_waited_is_not_used_again(exchange, monkeypatch):
    monkeypatch.setattr("actors.gateways.exchange.KEEPALIVE_S", 0.05)
    accepted: list[int] = []

    def serve(connection: socket.socket) -> None:
        accepted.append(connection.fileno())
        keep_alive(connection)

    with listening(serve) as url:
        ask(exchange, url)
        [idle] = exchange._idle.values()
        old = idle[-1]
        until(old.has_expired, within_ms=20_000)
        outcome = ask(exchange, url)
        assert old.is_closed()
        exchange.close()

    assert isinstance(outcome, Answer)
    assert len(accepted) == 2


def test_a_connection_that_the_server_closed_is_not_used_again(exchange):
    def serve(connection: socket.socket) -> None:
        connection.recv(65_536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

    with listening(serve) as url:
        outcomes = [ask(exchange, url)]
        [idle] = exchange._idle.values()
        until(lambda: not idle or idle[-1].has_expired(), within_ms=20_000)
        outcomes.append(ask(exchange, url))

    assert [type(one) for one in outcomes] == [Answer] * 2


def test_many_threads_each_have_their_own_answer(exchange):
    class Echo(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    wrong: list[bytes] = []

    def run(number: int) -> None:
        for turn in range(30):
            body = f"{number}:{turn}".encode() * (1 + number)
            answer = exchange.request("POST", url, headers={}, content=body, read_s=5, total_s=5)
            if not isinstance(answer, Answer) or answer.body != body:
                wrong.append(body)

    with ThreadingHTTPServer(("127.0.0.1", 0), Echo) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        threads = [threading.Thread(target=run, args=(number,)) for number in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        exchange.close()
        server.shutdown()

    assert wrong == []


FORKING = """
import os, sys
from actors.gateways.exchange import Exchange
from middleware.clock import SystemClock

exchange = Exchange(clock=SystemClock())
def ask():
    answer = exchange.request("POST", sys.argv[1], headers={}, content=b"{}", read_s=5, total_s=5)
    assert answer.status == 200, answer

ask()
pid = os.fork()
ask()
exchange.close()
if pid:
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
"""


def test_a_child_process_opens_connections_of_its_own():
    ports: list[int] = []

    class OneByOne(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            ports.append(self.client_address[1])
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), OneByOne) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        # A process of its own: forking this one, with its threads, is not what a worker does.
        subprocess.run([sys.executable, "-c", FORKING, url], check=True, timeout=30)
        server.shutdown()

    # Three requests: the parent reused its connection, the child opened another.
    assert len(ports) == 3
    assert len(set(ports)) == 2
