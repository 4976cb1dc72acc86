"""How many requests a second one process makes over each HTTP client, and over ours.

Run it by hand: ``python tests/bench/http_clients.py``. The server answers at once, in a process of its own; the variants
take turns, round by round, so that whatever else the machine does strikes them alike. Prints the table of docs/gateways.md.
"""

import argparse
import asyncio
import json
import multiprocessing
import statistics
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpcore
import httpx

sys.path.insert(0, str(Path(__file__).parents[2]))

from actors.gateways.exchange import Answer, Exchange
from middleware.clock import SystemClock

BODY = json.dumps({"number": "5511988887777", "text": "x" * 60}).encode()
ANSWER = json.dumps({"key": {"id": "3EB0" + "A" * 18, "remoteJid": "5511988887777@s.whatsapp.net"}, "pad": "x" * 200})
REPLY = (
    f"HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nContent-Length: {len(ANSWER)}\r\n\r\n{ANSWER}".encode()
)
HEADERS = {
    "Accept": "application/json",
    "apikey": "key",
    "Content-Type": "application/json",
    "X-Client-Ref": "m:0",
}
#: Makes one request on the calling thread.
Ask = Callable[[str], None]


class _Server(asyncio.Protocol):
    def __init__(self) -> None:
        self.buffer = b""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0 and len(self.buffer) >= end + 4 + len(BODY):
            self.buffer = self.buffer[end + 4 + len(BODY) :]
            self.transport.write(REPLY)


def serve(port: Any) -> None:
    async def main() -> None:
        server = await asyncio.get_running_loop().create_server(_Server, "127.0.0.1", 0, backlog=256)
        port.value = server.sockets[0].getsockname()[1]
        await server.serve_forever()

    with suppress(KeyboardInterrupt):
        asyncio.run(main())


def per_thread(make: Callable[[], Ask]) -> Ask:
    local = threading.local()

    def ask(url: str) -> None:
        if not hasattr(local, "ask"):
            local.ask = make()
        local.ask(url)

    return ask


def over_httpx() -> Ask:
    client = httpx.Client(
        follow_redirects=False, trust_env=False, limits=httpx.Limits(max_connections=100, keepalive_expiry=2)
    )

    def ask(url: str) -> None:
        with client.stream("POST", url, headers=HEADERS, content=BODY) as response:
            response.read()
        assert response.status_code == 201

    return ask


def over_httpcore() -> Ask:
    pool = httpcore.ConnectionPool(max_connections=100, keepalive_expiry=2)

    def ask(url: str) -> None:
        response = pool.request("POST", url, headers={**HEADERS, "Host": "h"}, content=BODY)
        assert response.status == 201

    return ask


def over_urllib3() -> Ask:
    import urllib3

    pool = urllib3.PoolManager(maxsize=100, retries=False)

    def ask(url: str) -> None:
        response = pool.request("POST", url, headers=HEADERS, body=BODY, redirect=False)
        assert response.status == 201

    return ask


def over_exchange() -> Ask:
    exchange = Exchange(clock=SystemClock())

    def ask(url: str) -> None:
        answer = exchange.request("POST", url, headers=HEADERS, content=BODY, read_s=60, total_s=175)
        assert isinstance(answer, Answer)
        assert answer.status == 201

    return ask


VARIANTS: dict[str, Callable[[], Ask]] = {
    "ours (`Exchange`)": over_exchange,
    "httpx, one client": over_httpx,
    "httpx, one client per thread": lambda: per_thread(over_httpx),
    "httpcore, one pool": over_httpcore,
    "httpcore, one pool per thread": lambda: per_thread(over_httpcore),
    "urllib3, one pool": over_urllib3,
    "urllib3, one pool per thread": lambda: per_thread(over_urllib3),
}


def requests_per_s(ask: Ask, url: str, *, threads: int, seconds: float) -> float:
    """Requests of ``threads`` threads in ``seconds``, after each has made one."""
    counts, ready, stop = [0] * threads, threading.Barrier(threads + 1), threading.Event()

    def run(index: int) -> None:
        ask(url)
        ready.wait()
        while not stop.is_set():
            ask(url)
            counts[index] += 1

    workers = [threading.Thread(target=run, args=(index,)) for index in range(threads)]
    for worker in workers:
        worker.start()
    ready.wait()
    begin = time.perf_counter()
    stop.wait(seconds)
    took_s, total = time.perf_counter() - begin, sum(counts)
    stop.set()
    for worker in workers:
        worker.join()
    return total / took_s


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=1.5)
    parser.add_argument("--threads", type=int, nargs="*", default=[1, 64])
    chosen = parser.parse_args()
    spawn = multiprocessing.get_context("spawn")
    port = spawn.Value("i", 0)
    server = spawn.Process(target=serve, args=(port,), daemon=True)
    server.start()
    while not port.value and server.is_alive():
        threading.Event().wait(0.02)
    url = f"http://127.0.0.1:{port.value}/message/sendText/i1"
    found: dict[tuple[str, int], list[float]] = {}
    for _ in range(chosen.rounds):
        for threads in chosen.threads:
            for name, make in VARIANTS.items():
                rate = requests_per_s(make(), url, threads=threads, seconds=chosen.seconds)
                found.setdefault((name, threads), []).append(rate)
    server.terminate()
    sys.stdout.write(_table(found, chosen.threads))


def _table(found: dict[tuple[str, int], list[float]], threads: list[int]) -> str:
    """Medians, and the median of each round's ratio to ours."""
    heads = [f"{count} threads, requests/s | to ours" for count in threads]
    lines = [f"| client | {' | '.join(heads)} |", "|---|" + "---|" * 2 * len(threads)]
    ours = next(iter(VARIANTS))
    for name in VARIANTS:
        cells = [name]
        for count in threads:
            ratios = [one / own for one, own in zip(found[name, count], found[ours, count], strict=True)]
            cells += [f"{statistics.median(found[name, count]):.0f}", f"{statistics.median(ratios):.2f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
