"""Keep a number of worker processes running: respawn what ends, drain in time, leave no orphan.

``chat-actors worker`` runs it in its main thread. Each worker is a fresh interpreter (``middleware.worker_process``): no fork,
so no lock, connection or thread is inherited. It sleeps until a signal, the end of a child or a time it set itself.

SIGTERM, SIGINT   drain and stop; a SIGINT while draining kills at once
SIGHUP            replace the workers one after another, each when the one before it runs
"""

import logging
import os
import select
import signal
import subprocess
import sys
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field

from middleware.board import Board
from middleware.clock import Clock, SystemClock
from middleware.errors import ExitCode
from middleware.stop_signal import as_bytes
from middleware.worker_process import READY, REPLACE

logger = logging.getLogger(__name__)

#: Wait before a worker that ended is started again, in milliseconds: doubles from the first to the cap.
RESPAWN_BASE_MS = 200
RESPAWN_CAP_MS = 30_000
#: A worker that lived this long was healthy: its end counts as a first one, in milliseconds.
HEALTHY_AFTER_MS = 60_000
#: What a worker gets beyond its time to drain, to give back its leases before it is killed, in milliseconds.
KILL_GRACE_MS = 3_000
#: Exit codes that another start would not change: they end the launcher, unless another worker runs. Then what changed is
#: the code or the settings on disk, and half a deployment must not stop what still works.
FINAL = frozenset({ExitCode.USAGE, ExitCode.SETTINGS, ExitCode.WRONG_DATABASE, ExitCode.UNSAFE})

# The last argument is our own search path: a child must find the very same packages, from whatever folder it is started.
_BOOT = "import sys; sys.path[:] = sys.argv.pop().split({sep!r}); from middleware.worker_process import main; sys.exit(main())"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to run. ``set_up`` is ``module:function`` and its arguments, called first in every worker (logging).

    ``patience_ms`` bounds how long workers may refuse with ``UNAVAILABLE`` before the first of them has ever run; after that
    an outage is waited out, however long.
    """

    broker: str
    modules: tuple[str, ...] = ()
    processes: int = 2
    threads: int = 8
    queues: tuple[str, ...] = ()
    drain_ms: int = 25_000
    patience_ms: int = 30_000
    set_up: tuple[str, ...] = ()


@dataclass(slots=True, eq=False)
class _Slot:
    """The place of one worker. Times are boot-clock milliseconds; a worker reports on ``ready_fd``, -1 = no more."""

    number: int
    spawn_at_ms: int | None
    process: "subprocess.Popen[bytes] | None" = None
    ready_fd: int = -1
    is_ready: bool = False
    started_ms: int = 0
    failures: int = 0
    kill_at_ms: int | None = None

    @property
    def label(self) -> dict[str, str]:
        """For logs."""
        return {"worker_id": f"{self.number}:{self.process.pid if self.process else '-'}"}


@dataclass(slots=True)
class _Restart:
    """The way of a SIGHUP through the slots."""

    waiting: deque[_Slot] = field(default_factory=deque)
    current: _Slot | None = None


class Launcher:
    """See the module. Use it once, in the main thread."""

    def __init__(self, plan: Plan, *, board: Board | None = None, clock: Clock | None = None) -> None:
        self.plan = plan
        #: What every worker reports to.
        self.board = board or Board(clock=clock)
        self.clock = clock or SystemClock()
        now_ms = self.clock.boot_ms()
        self._began_ms = now_ms
        self._slots = [_Slot(number, spawn_at_ms=now_ms) for number in range(1, plan.processes + 1)]
        self._restart = _Restart()
        self._ever_ready = False
        self._stopping = False
        self._code = ExitCode.OK

    def run(self) -> ExitCode:
        """Keep the workers running until a signal or a refusal; returns the launcher's own exit code."""
        logger.info("launcher.started", extra={"worker_id": f"launcher:{os.getpid()}"})
        with as_bytes(signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD) as woken_fd:
            while self._running() or not self._stopping:
                for slot in self._slots:
                    self._reap(slot)
                    self._act(slot)
                self._advance_restart()
                self._sleep(woken_fd)
        logger.info("launcher.stopped", extra={"code": int(self._code)})
        return self._code

    # -- one worker -----------------------------------------------------------------------------------------------

    def _act(self, slot: _Slot) -> None:
        now_ms = self.clock.boot_ms()
        if slot.process is not None and slot.kill_at_ms is not None and now_ms >= slot.kill_at_ms:
            logger.warning("worker.killed", extra=slot.label)
            slot.process.kill()
            slot.kill_at_ms = None
        if not self._stopping and slot.spawn_at_ms is not None and now_ms >= slot.spawn_at_ms:
            self._spawn(slot)

    def _spawn(self, slot: _Slot) -> None:
        slot.started_ms, slot.spawn_at_ms, slot.kill_at_ms = self.clock.boot_ms(), None, None
        ready_fd, told_fd = os.pipe()
        os.set_blocking(ready_fd, False)
        channel = self.board.open(slot.number)
        try:
            slot.process = subprocess.Popen(  # noqa: S603  # our own interpreter and our own code
                self._command(told_fd, channel.fileno()),
                stdin=subprocess.DEVNULL,
                pass_fds=(told_fd, channel.fileno()),
                # A Ctrl-C at the terminal is for the launcher alone, which then drains its workers.
                process_group=0,
            )
        except OSError as error:
            # No memory or no process left: as if it had ended at once.
            os.close(ready_fd)
            self._respawn_later(slot)
            logger.error("worker.not_started", extra={**slot.label, "code": error.errno})
        else:
            slot.ready_fd = ready_fd
            logger.info("worker.started", extra=slot.label)
        finally:
            os.close(told_fd)
            channel.close()

    def _command(self, told_fd: int, report_fd: int) -> list[str]:
        plan = self.plan
        options = {
            "--threads": plan.threads,
            "--drain-ms": plan.drain_ms,
            "--ready-fd": told_fd,
            "--report-fd": report_fd,
            "--parent": os.getpid(),
        }
        lists = {"--module": plan.modules, "--queue": plan.queues}
        return [
            *(sys.executable, "-c", _BOOT.format(sep=os.pathsep), plan.broker),
            *(str(part) for option in options.items() for part in option),
            *(part for name, values in lists.items() for value in values for part in (name, value)),
            *(("--set-up", *plan.set_up) if plan.set_up else ()),
            os.pathsep.join(sys.path),
        ]

    def _reap(self, slot: _Slot) -> None:
        code = slot.process.poll() if slot.process is not None else None
        if code is None:
            return
        lived_ms = self.clock.boot_ms() - slot.started_ms
        level = logging.INFO if code == 0 else logging.WARNING
        logger.log(level, "worker.ended", extra={**slot.label, "code": code, "duration_ms": lived_ms})
        # It may have run and ended between two looks.
        self._on_told(slot)
        self._forget_pipe(slot)
        slot.process, slot.kill_at_ms, slot.is_ready = None, None, False
        if self._stopping:
            return
        if (code in FINAL and not self._has_healthy_sibling(slot)) or (
            code == ExitCode.UNAVAILABLE and self._is_out_of_patience()
        ):
            self._stop(ExitCode(code))
        elif slot is self._restart.current and code == 0:
            slot.spawn_at_ms = self.clock.boot_ms()
        else:
            slot.failures = 0 if lived_ms >= HEALTHY_AFTER_MS else slot.failures
            self._respawn_later(slot)

    def _respawn_later(self, slot: _Slot) -> None:
        delay_ms = respawn_delay_ms(slot.failures)
        slot.failures += 1
        slot.spawn_at_ms = self.clock.boot_ms() + delay_ms
        logger.info("worker.respawns", extra={**slot.label, "delay_ms": delay_ms})

    def _is_out_of_patience(self) -> bool:
        return not self._ever_ready and self.clock.boot_ms() - self._began_ms >= self.plan.patience_ms

    def _end(self, slot: _Slot) -> None:
        if slot.process is not None:
            slot.process.terminate()
            slot.kill_at_ms = self.clock.boot_ms() + self.plan.drain_ms + KILL_GRACE_MS

    def _has_healthy_sibling(self, slot: _Slot) -> bool:
        return any(other.is_ready for other in self._running() if other is not slot)

    # -- all workers ----------------------------------------------------------------------------------------------

    def _running(self) -> list[_Slot]:
        return [slot for slot in self._slots if slot.process is not None]

    def _stop(self, code: ExitCode) -> None:
        self._stopping, self._code = True, code
        logger.info("launcher.draining", extra={"code": int(code)})
        for slot in self._slots:
            slot.spawn_at_ms = None
            self._end(slot)

    def _on_signal(self, number: int) -> None:
        if number == signal.SIGHUP and not self._stopping:
            self._restart.waiting.extend(slot for slot in self._slots if slot not in self._restart.waiting)
        elif number in (signal.SIGTERM, signal.SIGINT) and not self._stopping:
            self._stop(ExitCode.INTERRUPTED if number == signal.SIGINT else ExitCode.OK)
        elif number == signal.SIGINT:
            for slot in self._running():
                slot.kill_at_ms = self.clock.boot_ms()

    def _advance_restart(self) -> None:
        restart = self._restart
        if self._stopping or restart.current is not None or not restart.waiting:
            return
        slot = restart.waiting.popleft()
        if slot.process is None:
            # It is about to be started anyway, with the new code.
            return
        restart.current = slot
        self._end(slot)

    def _on_told(self, slot: _Slot) -> None:
        """Hear what a worker tells: that it runs, that it wants to be replaced, or by its silence that it is gone."""
        if slot.ready_fd < 0:
            return
        # Nothing to read is the end of a worker.
        words = b""
        with suppress(BlockingIOError):
            words = os.read(slot.ready_fd, 64)
            if not words:
                self._forget_pipe(slot)
        if READY in words:
            self._ever_ready = slot.is_ready = True
            if slot is self._restart.current and slot.kill_at_ms is None:
                self._restart.current = None
        if REPLACE in words and slot is not self._restart.current and slot not in self._restart.waiting:
            self._restart.waiting.append(slot)

    def _forget_pipe(self, slot: _Slot) -> None:
        if slot.ready_fd >= 0:
            os.close(slot.ready_fd)
            slot.ready_fd = -1

    def _sleep(self, woken_fd: int) -> None:
        if (self._stopping and not self._running()) or (self._restart.waiting and self._restart.current is None):
            return
        by_fd = {slot.ready_fd: slot for slot in self._slots if slot.ready_fd >= 0}
        times = [at_ms for slot in self._slots for at_ms in (slot.spawn_at_ms, slot.kill_at_ms) if at_ms is not None]
        timeout_s = max(0, min(times) - self.clock.boot_ms()) / 1000 if times else None
        found, _, _ = select.select([woken_fd, *by_fd], [], [], timeout_s)
        for fd in found:
            if fd in by_fd:
                self._on_told(by_fd[fd])
            else:
                for number in os.read(fd, 64):
                    self._on_signal(number)


def respawn_delay_ms(failures: int) -> int:
    """Wait before the next start, after ``failures`` that came close together before this one."""
    return min(RESPAWN_CAP_MS, RESPAWN_BASE_MS << min(failures, 20))
