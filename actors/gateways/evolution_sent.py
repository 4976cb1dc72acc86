"""Ask Evolution 2.3 what it sent to somebody, under each address that the person has.

``actors.gateways.evolution`` brings the connection; what is asked and recognised stands in ``evolution_search``.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from actors.domain import OutgoingPart, Phone, Receipt
from actors.errors import Permanent, Transient
from actors.gateways import evolution_search as search
from actors.gateways.evolution_answers import Operation
from actors.gateways.evolution_requests import Request
from actors.gateways.evolution_rules import Success
from actors.gateways.jids import possible_jids, wire_number

#: Asks one question; raises what its answer means where that is not a success.
Ask = Callable[[Request], Success]


def find_sent(
    ask: Ask, part: OutgoingPart, *, window: search.Window, bound_ids: Collection[str], now_ms: int
) -> Receipt | None:
    """The earliest record that is ``part``; None when there surely is none.

    Raises:
        Transient: the search could not be completed.
    """
    jids = possible_jids(part.recipient)
    found, skew_ms = _look(ask, part, jids, window=window, bound_ids=bound_ids, now_ms=now_ms)
    windows = [window]
    if found is None and skew_ms != 0:
        # The clock of the ``Date`` may be a proxy's, or may have been set since: both readings are looked at.
        windows.append(window.moved(skew_ms))
        found, _ = _look(ask, part, jids, window=windows[1], bound_ids=bound_ids, now_ms=now_ms)
    if found is None and isinstance(part.recipient, Phone):
        # WhatsApp may have moved the chat to the person's other address.
        linked = sorted(_linked(ask, part.recipient))
        for one in windows if linked else ():
            found = found or _look(ask, part, linked, window=one, bound_ids=bound_ids, now_ms=now_ms)[0]
    return found


def account_request(phone: Phone) -> Request:
    """Asks for the account behind a number."""
    return Request(Operation.FIND_ACCOUNT, payload={"numbers": [wire_number(phone)]})


def linked_ids(body: Any) -> set[str]:
    """Linked ids that an answer to :func:`account_request` names.

    2.3.6 names one as ``jid``, beside ``"lid": "lid"`` (``whatsapp.baileys.service.ts:3405-3417``); others as ``lid``.
    """
    accounts = [one for one in body if isinstance(one, dict)] if isinstance(body, list) else []
    named = [value for one in accounts for value in (one.get("jid"), one.get("lid"))]
    return {value for value in named if isinstance(value, str) and value.endswith("@lid")}


def _linked(ask: Ask, phone: Phone) -> set[str]:
    try:
        return linked_ids(ask(account_request(phone)).body)
    except Permanent:
        # A server that has no such question knows no linked ids.
        return set()


def _look(
    ask: Ask,
    part: OutgoingPart,
    jids: Sequence[str],
    *,
    window: search.Window,
    bound_ids: Collection[str],
    now_ms: int,
) -> tuple[Receipt | None, int]:
    """The part among everything sent to ``jids`` in the window, and the skew of the server's clock in milliseconds."""
    records: list[Mapping[str, Any]] = []
    skew_ms = 0
    for jid in jids:
        number, pages = 0, 1
        while number < pages:
            if number == search.MAX_PAGES:
                text = f"part {part.reference}: more was sent in the window than is searched; look by hand"
                raise Transient(text, code="too_many_sent", request_written=True)
            number += 1
            answer = ask(Request(Operation.FIND_MESSAGES, payload=search.query(jid, window, page=number)))
            page = search.Page.of(answer.body)
            if page is None:
                # Never read as "nothing was sent": that would send it again.
                text = f"part {part.reference}: Evolution answered, but the list of sent messages is not what 2.3 gives"
                raise Transient(text, code="unreadable_answer", request_written=True)
            skew_ms = search.skew_ms(answer.date, now_ms=now_ms)
            records.extend(page.records)
            pages = page.pages
    return search.find(part, records, window=window, bound_ids=bound_ids, jids=jids), skew_ms
