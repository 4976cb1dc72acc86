"""Check that a message goes all the way: in, out, done; on keys of its own that are gone afterwards.

``run`` makes it. What it meets is what a send and a worker would meet: a full server, a missing right, a refused script.
"""

import secrets
from contextlib import suppress

import redis

from actors.doctor.checks import Check, fail, ok
from actors.doctor.connection import Probe
from middleware.errors import ExitCode, PipelineError, QueueFull, QueueUnavailable
from middleware.outcomes import Done

_LEASE_MS = 10_000


def round_trip(probe: Probe) -> Check:
    """A message can be enqueued, handed out and finished."""
    # Nobody serves a queue of this name.
    queue = f"doctor:{secrets.token_hex(8)}"
    steps, doing = probe.broker.transitions, "enqueued"
    try:
        steps.enqueue(queue, "doctor", b"{}")
        doing = "handed out"
        found = steps.fetch(queue, limit=1, lease_ms=_LEASE_MS, owner="doctor").messages
        doing = "finished"
        done = [steps.finish(one.lease, Done(), body=one.body) for one in found]
    except QueueUnavailable:
        raise
    except PipelineError as error:
        return _stuck(error, doing)
    finally:
        # What refuses to write has nothing to delete.
        with suppress(redis.ResponseError):
            probe.client().delete(*probe.keys.queue(queue))
    if done != [True]:
        return fail("round_trip", "a message went in and did not come out", why=_WHY, fix=_FIX)
    return ok("round_trip", "a message was enqueued, handed out and finished")


_WHY = "nothing can be sent or delivered"
_FIX = "see docs/redis-keys.md for the keys, and let this user run scripts on them: `ACL SETUSER <user> +@scripting ~chat:queue:*`"


def _stuck(error: PipelineError, doing: str) -> Check:
    fix = _FIX
    if isinstance(error, QueueFull):
        fix = 'give it room: `redis-cli -u "$REDIS_URL" CONFIG SET maxmemory <more>`, or shorten what the cache keeps'
    found = f"a message could not be {doing}: {error}"
    return fail("round_trip", found, why=_WHY, fix=fix, exit_code=ExitCode.UNAVAILABLE)
