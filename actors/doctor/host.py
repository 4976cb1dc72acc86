"""Check of the host's other settings: nothing of it is on the queues' database.

``run`` makes it; it asks no server.
"""

from actors import neighbours as tables
from actors import wiring
from actors.doctor.checks import Check, fail, ok, refuse
from actors.settings import Settings
from middleware.errors import ExitCode


def neighbours(settings: Settings) -> Check:
    """No cache and no channel layer of the host is on the queues' database."""
    tables_of_host = (wiring.host_table(name) for name in ("CACHES", "CHANNEL_LAYERS"))
    # What is no table is not ours to report.
    caches, layers = (table if isinstance(table, dict) else {} for table in tables_of_host)
    found = list(tables.neighbours(settings, settings.queue_db, caches=caches, layers=layers))
    shown = ", ".join(map(str, found))
    text = f"{shown} is on database {settings.queue_db}, which holds the queues"
    if any(one.table == "CACHES" for one in found):
        why = "cache.clear() empties its whole database, queued messages included"
        fix = 'let its `LOCATION` end with another number: `"LOCATION": "redis://…/0"`'
        return refuse("neighbours", text, why=why, fix=fix)
    if found:
        why = "one FLUSHDB, meant for sockets, empties the queues"
        fix = 'let its `hosts` name another number: `"hosts": ["redis://…/1"]`'
        return fail("neighbours", text, why=why, fix=fix, exit_code=ExitCode.UNSAFE)
    return ok("neighbours", f"no cache and no channel layer is on database {settings.queue_db}")
