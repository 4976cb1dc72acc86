"""``chat-actors worker``: worker processes that are kept running."""

from enum import StrEnum
from typing import Annotated

import typer

from middleware.errors import ExitCode

EXAMPLES = """\b
Examples:
  chat-actors worker
  chat-actors worker --processes 4 --threads 16
  chat-actors worker --queues send_message --log-json
  chat-actors worker myapp.tasks            with more actors, declared on actors.broker

\b
SIGTERM and Ctrl-C let running messages finish (CHAT_SHUTDOWN_TIMEOUT_MS); a second Ctrl-C kills at once.
SIGHUP replaces the processes one after another. A process that ends is started again; one that refuses to start
because of its settings ends the command with its exit code (docs/exit-codes.md)."""

BROKER = "actors:broker"


class Level(StrEnum):
    """How much the log says."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


def worker(  # noqa: PLR0913  # one per option
    modules: Annotated[list[str] | None, typer.Argument(metavar="MODULE", help="Imported for their actors.")] = None,
    processes: Annotated[int, typer.Option("--processes", "-p", min=1, help="Worker processes.")] = 2,
    threads: Annotated[int, typer.Option("--threads", "-t", min=1, help="Threads of each.")] = 8,
    queues: Annotated[list[str] | None, typer.Option("--queues", "-Q", help="Only this one; may be repeated.")] = None,
    patience: Annotated[float, typer.Option(min=0, help="Seconds to wait for Redis at the first start.")] = 30.0,
    log_level: Annotated[Level, typer.Option(help="How much the log says.")] = Level.INFO,
    *,
    log_json: Annotated[bool, typer.Option("--log-json", help="One JSON object per line.")] = False,
) -> ExitCode:
    """Run worker processes, and keep them running."""
    from actors import services, watching, wiring
    from actors.cli import logs
    from middleware.board import Board
    from middleware.launcher import Launcher, Plan

    settings = services.settings()
    # What would make every process refuse is said here, once.
    if settings.broker == "redis":
        settings.queue_connection()
    settings.require_store()
    form = "json" if log_json else "text"
    logs.set_up(form, log_level.value)
    plan = Plan(
        broker=BROKER,
        modules=tuple(modules or ()),
        processes=processes,
        threads=threads,
        queues=tuple(queues or ()),
        drain_ms=settings.shutdown_timeout_ms,
        patience_ms=int(patience * 1000),
        set_up=(f"{logs.__name__}:{logs.set_up.__name__}", form, log_level.value),
    )
    board = Board()
    exposition = watching.serve(board, wiring.broker, settings)
    try:
        return Launcher(plan, board=board).run()
    finally:
        exposition.stop()
