"""One worker process: Dramatiq's own worker on one broker, until it is told to stop.

``middleware.launcher`` starts it, in a fresh interpreter. It ends with a documented exit code (docs/exit-codes.md), and it
ends when whoever started it is gone: nobody would stop or replace it then.
"""

import argparse
import contextlib
import ctypes
import logging
import os
import signal
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import dramatiq
from dramatiq import Broker

from middleware import reporter
from middleware.errors import ExitCode
from middleware.stop_signal import StopSignal

logger = logging.getLogger(__name__)

_PR_SET_PDEATHSIG = 1

#: What a worker tells its launcher, a byte each: it runs; it wants to be replaced.
READY, REPLACE = b"1", b"2"
#: Where it tells; None where nobody listens.
_told_fd: int | None = None


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the worker that the arguments describe; returns its exit code.

    Raises:
        Refusal: the process must not start; it carries the exit code.
    """
    given = _parser().parse_args(arguments)
    if not die_with(given.parent):
        return ExitCode.INTERRUPTED
    # A Ctrl-C is the launcher's to handle.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    stop = StopSignal(signal.SIGTERM, signal.SIGHUP)
    stop.listen()
    try:
        return _run(given, stop)
    except ImportError as error:
        # Its text names modules only, and without the way there a missing one cannot be found.
        logger.critical("worker.not_importable: %s", error, exc_info=True)
        return ExitCode.USAGE
    except Exception:
        # Not left to the interpreter, which would print a foreign error's text.
        logger.critical("worker.broken", exc_info=True)
        return ExitCode.FAILED


def _run(given: argparse.Namespace, stop: StopSignal) -> int:
    if given.set_up:
        name, *rest = given.set_up
        _find(name)(*rest)
    broker = _load(given)
    reports = reporter.attach(broker, given.report_fd) if given.report_fd is not None else None
    try:
        return _boot(broker, given, stop)
    finally:
        if reports is not None:
            reports.stop()


def _boot(broker: Broker, given: argparse.Namespace, stop: StopSignal) -> int:
    # A host may have taken the signals while it was imported, and again while it booted.
    stop.listen()
    broker.emit_after("process_boot")
    stop.listen()
    declared = broker.get_declared_queues()
    unknown = set(given.queue) - declared
    if unknown or not declared:
        known = ", ".join(sorted(declared)) or "none"
        logger.critical("worker.no_such_queue: %s; declared are: %s", ", ".join(sorted(unknown)), known)
        return ExitCode.USAGE
    return _serve(broker, given, stop)


def _serve(broker: Broker, given: argparse.Namespace, stop: StopSignal) -> int:
    worker = dramatiq.Worker(broker, queues=set(given.queue) or None, worker_threads=given.threads)
    worker.start()
    _listen_to_us(given.ready_fd)
    # Before the launcher knows: what it does then comes later in the log, too.
    logger.info("worker.ready")
    _tell(READY)
    if os.getppid() == given.parent:
        stop.wait()
    logger.info("worker.draining")
    worker.stop(timeout=given.drain_ms)
    broker.close()
    return ExitCode.OK


def ask_for_another() -> bool:
    """Have the launcher end this process in good order and start another; False when there is no launcher."""
    return _tell(REPLACE)


def _listen_to_us(fd: int | None) -> None:
    global _told_fd
    if fd is not None:
        # Our own children must not hold it open: its end is the end of this process.
        os.set_inheritable(fd, False)  # noqa: FBT003 - its only form
    _told_fd = fd


def _tell(word: bytes) -> bool:
    if _told_fd is None:
        return False
    # Nobody reads when the launcher has died meanwhile; then the signal is there already.
    with contextlib.suppress(BrokenPipeError):
        os.write(_told_fd, word)
        return True
    return False


def die_with(parent: int) -> bool:
    """Have the kernel send SIGTERM when ``parent`` dies; False when it is dead already."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    # It may have died before the call above.
    return os.getppid() == parent


def _load(given: argparse.Namespace) -> Broker:
    broker = _find(given.broker)
    for module in given.module:
        import_module(module)
    if not isinstance(broker, Broker):
        raise ImportError(f"{given.broker} is not a broker")  # noqa: TRY004  # the caller's word for "cannot be loaded"
    return broker


def _find(name: str) -> Any:
    """What ``module:attribute`` names."""
    module_name, _, attribute = name.partition(":")
    module = import_module(module_name)
    if not hasattr(module, attribute):
        raise ImportError(f"module {module_name} has no {attribute!r}; name it as module:attribute")
    return getattr(module, attribute)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="worker process", description="One worker process; the launcher starts it.")
    parser.add_argument("broker", help="module:attribute")
    parser.add_argument("--module", action="append", default=[], help="imported too, for its actors")
    parser.add_argument("--queue", action="append", default=[], help="serve this one; none = all")
    parser.add_argument("--threads", type=int, default=8)
    parser.add_argument("--drain-ms", type=int, default=25_000, help="time for running messages at the end")
    parser.add_argument("--set-up", nargs="+", help="module:function that is called first, and its arguments")
    parser.add_argument("--parent", type=int, required=True, help="process id; the worker ends with it")
    parser.add_argument("--report-fd", type=int, help="what it counted and how it is goes there (middleware.reporter)")
    parser.add_argument(
        "--ready-fd", type=int, help="a byte is written here when the worker runs, another when it wants to be replaced"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
