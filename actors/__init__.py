"""Chat actors: every chat message that Django committed ends exactly once as sent or failed, in order.

``dramatiq actors``, ``chat-actors worker`` and ``periodiq actors`` load this module; Django imports the actors from it and calls
``.send()``. Importing it connects to nothing, starts nothing and needs no setting.
"""

import middleware

if not hasattr(middleware, "default_stack"):
    # A host's own package of that name comes first on the path; without this it is "No module named 'middleware.errors'".
    raise ImportError(
        f"{middleware.__file__ or 'a folder'} hides the package 'middleware' of chat-actors: rename yours, both cannot be imported"
    )

from actors.wiring import before_worker_boot, broker, on_worker_boot

from actors.chat import fetch_group_info, fetch_profile_pic, send_message  # isort: skip - the broker comes first
from actors import sampling
from actors.alerts import check_alerts, keep_lookout
from actors.backups import backup_queues
from actors.doctor.start_gate import refuse_unsafe
from actors.housekeeping import record_memory_usage, sweep_pending
from actors.instances import tend_instances, watch_instance
from actors.schedulers.base import prepare
from actors.schedulers.periodiq import attach
from actors.watching import prepare as show

__all__ = [
    "backup_queues",
    "broker",
    "check_alerts",
    "fetch_group_info",
    "fetch_profile_pic",
    "record_memory_usage",
    "send_message",
    "sweep_pending",
    "tend_instances",
    "watch_instance",
]

attach(broker)
before_worker_boot(refuse_unsafe, first=True)
on_worker_boot(prepare)
on_worker_boot(show)
on_worker_boot(keep_lookout)
on_worker_boot(sampling.prepare)
