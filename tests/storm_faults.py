"""What the sandbox does wrong in a storm: every kind of fault after which it is known what must come of a message.

Left out, because the right end would depend on chance:

- ``wrong_jid`` stops a conversation until a person has looked (``tests/flows/test_recipient_mismatch.py``);
- ``prisma_after_send`` and ``persist_lag never`` leave nothing that a message of a killed worker could be found by;
- ``duplicate_id`` gives two messages one record, of which a lost answer can then find only one;
- ``invalid_json`` with another status than 2xx: a page with 404 means a wrong URL (rule 11), which parks the instance;
- ``persist_lag`` of a message that is answered: Evolution sends a reply to what its database does not have yet unquoted.

``Timed Out`` (rule 19) is borne twice and ``No sessions`` (rule 20) thrice, so the messages that meet those meet nothing else
that costs an attempt.
"""

from collections.abc import Iterable
from typing import Any

from storm_plan import Storm

from actors.gateways.sandbox.rules import AFTER, BEFORE

#: id → share of all requests, action. With those below a fifth of the requests; after these no attempt is used.
FAULTS: dict[str, tuple[float, dict[str, Any]]] = {
    "429": (0.006, {"type": "status", "preset": "429", "retry_after": 1}),
    "not loaded": (0.002, {"type": "status", "preset": "not_loaded"}),
    "closed": (0.002, {"type": "status", "preset": "conn_closed_400"}),
    "slow after": (0.02, {"type": "latency", "ms": [20, 150], "when": AFTER}),
    "drip": (0.01, {"type": "slow_body", "bytes_per_s": 3_000}),
}
#: The same, of those after which an attempt is used; after most of them the client does not know what it came to.
COSTLY: dict[str, tuple[float, dict[str, Any]]] = {
    "503": (0.02, {"type": "status", "preset": "nginx_503"}),
    "usync": (0.008, {"type": "status", "preset": "usync_find"}),
    "502": (0.012, {"type": "status", "preset": "nginx_502"}),
    "502 late": (0.012, {"type": "status", "preset": "nginx_502", "when": AFTER}),
    "504": (0.006, {"type": "status", "preset": "nginx_504"}),
    "504 late": (0.006, {"type": "status", "preset": "nginx_504", "when": AFTER}),
    "520": (0.004, {"type": "status", "preset": "cf_520"}),
    "524 late": (0.004, {"type": "status", "preset": "cf_524", "when": AFTER}),
    "503 reset late": (0.004, {"type": "status", "preset": "envoy_503_reset", "when": AFTER}),
    "500 late": (0.004, {"type": "status", "status": 500, "body": {"why": "?"}, "when": AFTER}),
    "cut": (0.012, {"type": "drop"}),
    "cut late": (0.012, {"type": "drop", "when": AFTER}),
    "hang": (0.005, {"type": "hang", "max_s": 0.3}),
    "hang late": (0.005, {"type": "hang", "max_s": 0.3, "when": AFTER}),
    "truncate": (0.008, {"type": "truncate", "bytes": 20}),
    "html": (0.004, {"type": "invalid_json", "status": 201, "body": "html"}),
    "cut json": (0.004, {"type": "invalid_json", "status": 201, "body": "cut"}),
    "empty": (0.004, {"type": "invalid_json", "status": 201, "body": "empty"}),
    "null": (0.004, {"type": "invalid_json", "status": 201, "body": "null"}),
}
#: Of messages that nobody answers: Evolution's database has them later.
LAGGING = 0.05
#: Of groups: one answer for three causes.
GROUP_UNREAD = 0.02
#: Struck once each, by turns.
BOUNDED = ("timed_out", "no_sessions")


def rules(storm: Storm) -> list[dict[str, Any]]:
    """Rules for the sandbox; their draws depend on the seed, the rule's id and the request, never on timing."""
    own = [
        _rule(f"{preset} {id_}", {"next": 1}, {"type": "status", "preset": preset}, {"ref_re": _of([id_])})
        for index, id_ in enumerate(storm.frail)
        for preset in [BOUNDED[index % len(BOUNDED)]]
    ]
    slow = _rule("slow", {"always": True}, {"type": "latency", "ms": [3, 25], "when": BEFORE})
    quoted = sorted({part.quotes for one in storm.plan.messages for part in one.parts if part.quotes})
    sturdy = {"ref_re": f"^(?!{'|'.join(storm.frail)})"}
    in_group = {**sturdy, "number_re": "@g.us$"}
    return [
        slow,
        *own,
        *(_rule(id_, {"probability": share}, action) for id_, (share, action) in FAULTS.items()),
        _rule(
            "lag", {"probability": LAGGING}, {"type": "persist_lag", "ms": 300}, {"ref_re": f"^(?!{'|'.join(quoted)})"}
        ),
        *(_rule(id_, {"probability": share}, action, sturdy) for id_, (share, action) in COSTLY.items()),
        _rule("group", {"probability": GROUP_UNREAD}, {"type": "status", "preset": "object_object"}, in_group),
    ]


def _of(ids: Iterable[str]) -> str:
    return f"^({'|'.join(ids)})"


def _rule(
    id_: str, trigger: dict[str, Any], action: dict[str, Any], match: dict[str, Any] | None = None
) -> dict[str, Any]:
    return {"id": id_, "match": match or {}, "trigger": trigger, "action": action}
