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

from actors.wiring import broker, on_worker_boot

from actors.chat import fetch_group_info, fetch_profile_pic, send_message  # isort: skip - the broker comes first
from actors.housekeeping import record_memory_usage, sweep_pending
from actors.schedulers.base import prepare
from actors.schedulers.periodiq import attach

__all__ = [
    "broker",
    "fetch_group_info",
    "fetch_profile_pic",
    "record_memory_usage",
    "send_message",
    "sweep_pending",
]

attach(broker)
on_worker_boot(prepare)
