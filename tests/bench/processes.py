"""Worker processes of a contestant: start them, read what they use, end them."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from middleware.brokers.redis.embedded import ending_with_us

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_STOP_WITHIN_S = 5


class Worker:
    """One worker process and its children. It ends with the process that started it."""

    def __init__(self, name: str, *, threads: int, log: Path, environment: Mapping[str, str] | None = None) -> None:
        #: CPU time, once it was ended.
        self.used_s = 0.0
        self.output = log.parent / f"{name}.out"
        command = [sys.executable, "-m", "bench.worker", name, str(threads)]
        with self.output.open("ab") as output:
            self.process = subprocess.Popen(
                ending_with_us(command),
                env={**os.environ, "BENCH_LOG": str(log), **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self.process.pid

    def cpu_s(self) -> float:
        """CPU time of the process and its living children, user and system."""
        return sum(cpu_s(pid) for pid in _tree(self.pid))

    def rss_bytes(self) -> int:
        """Resident memory of the process and its children."""
        return sum(_rss_bytes(pid) for pid in _tree(self.pid))

    def kill(self) -> None:
        """SIGKILL to it and all that it started."""
        if self.process.poll() is None:
            self.used_s = self.cpu_s()
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        """Let it end in good order, by force after a while."""
        self.used_s = self.cpu_s()
        self.process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(_STOP_WITHIN_S)
        self.kill()


def _tree(pid: int) -> list[int]:
    found = [pid]
    with suppress(FileNotFoundError, ProcessLookupError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                found += _tree(int(child))
    return found


def cpu_s(pid: int) -> float:
    """CPU time of a process, and of its children that were waited for."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return sum(int(field) for field in fields[11:15]) / _TICKS_PER_S


def _rss_bytes(pid: int) -> int:
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def preemptions(pid: int) -> int:
    """How often the kernel took the processor away from the main thread of a process."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("nonvoluntary_ctxt_switches")))
