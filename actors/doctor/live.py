"""``chat-actors doctor --live``: how the workers that run on this machine are, for platforms that cannot ask by HTTP."""

from collections.abc import Iterator
from typing import Any

from actors import watching
from actors.doctor.checks import Check, fail, ok, warn
from actors.settings import Settings
from middleware.errors import ExitCode


def checks(settings: Settings) -> list[Check]:
    """One check for each worker process: failed where a restart helps, a warning where it only cannot work at this moment.

    Asks the processes themselves, by their local sockets; not Redis, and not the store.
    """
    found = watching.examine_live(settings)
    if not found:
        why = "none of this deployment runs here, or it hangs before it began"
        return [fail("live", "no worker answers", why=why, fix="chat-actors worker", exit_code=ExitCode.UNAVAILABLE)]
    return [check for one in found for check in _of_process(one)]


def _of_process(live: watching.Live) -> Iterator[Check]:
    pid, workers = live.name.rpartition(":")[2], live.page.get("workers")
    if not isinstance(workers, list):
        yield _hangs(f"process {pid}", [str(live.page.get("error", "an answer that is none"))])
        return
    for worker in workers:
        yield _of_worker(f"worker {worker['worker']} of process {pid}", worker["checks"])
    if not workers:
        yield warn("live", f"process {pid} has started no worker yet", why="nothing is delivered", fix="wait for it")


def _of_worker(name: str, found: dict[str, dict[str, Any]]) -> Check:
    failing = {part: one for part, one in found.items() if one["status"] != "ok"}
    said = [f"{part} {one['found']}" for part, one in failing.items()]
    if any(one["restart_helps"] for one in failing.values()):
        return _hangs(name, said)
    if failing:
        why = "what it needs is not there, or it starts or stops; a restart does not help"
        return warn("live", f"{name}: {'; '.join(said)}", why=why, fix="see what it depends on: chat-actors doctor")
    return ok("live", f"{name}: ready")


def _hangs(name: str, said: list[str]) -> Check:
    fix = "restart it; its messages go on elsewhere"
    return fail("live", f"{name}: {'; '.join(said)}", why="it does not do its work and will not by itself", fix=fix)
