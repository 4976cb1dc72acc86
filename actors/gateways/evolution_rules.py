"""The words that the table of ``evolution_errors`` is written in: conditions, and what they lead to. Pure.

Only ``actors.gateways.evolution_errors`` uses them.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from actors.errors import Ambiguous, BadPayload, ChatError, InstanceUnavailable, Permanent, Throttled, Transient
from actors.gateways import graph_errors, http_headers
from actors.gateways.evolution_answers import Facts, Operation

#: A proxy that names no time is given this long.
RETRY_AFTER_DEFAULT_S = 30
#: WhatsApp's own limiter names no time.
OVERLIMIT_MS = 60_000
#: How soon an instance whose session is down is worth another look.
SESSION_DOWN_MS = 5_000
#: Attempts that a cause is worth which seldom passes by itself.
FEW_ATTEMPTS = 3
#: Statuses of success.
OK = range(200, 300)
_VALIDATORS = (
    r"^Text is required|^Owned media must be|^For base64 the file name|^Invalid format"
    r"|^The group id needs to be informed|must be an array of numeric strings|^The \".*\" cannot be empty$"
)
_AXIOS = r"Request failed with status code|Failed to fetch stream from|ENOTFOUND|ECONNREFUSED|getaddrinfo"
NOT_LOADED = (
    r"reading '(textMessage|mediaMessage|audioWhatsapp|locationMessage|contactMessage"
    r"|profilePicture|findGroup|fetchMessages|whatsappNumber)'"
)


@dataclass(frozen=True, slots=True)
class Success:
    """The answer is good. ``untracked``: the message provably went out and no id can be had.

    ``date`` is the header of that name: the server's clock.
    """

    body: Any = field(default=None, repr=False)
    message_id: str | None = None
    untracked: bool = False
    date: str = ""


class GroupUnclear(Transient):
    """A send to a group failed before it left, for one of three causes; ``findGroupInfos`` tells which."""

    code = "group_unclear"


def retry_after_ms(facts: Facts) -> int | None:
    """See :func:`actors.gateways.http_headers.retry_after_ms`."""
    return http_headers.retry_after_ms(facts.answer.headers, now_ms=facts.now_ms)


def status(*known: int | range) -> Callable[[Facts], bool]:
    """The status is one of these."""

    def holds(facts: Facts) -> bool:
        return any(facts.status in one if isinstance(one, range) else facts.status == one for one in known)

    return holds


def says(pattern: str, *known: int | range) -> Callable[[Facts], bool]:
    """A text matches; with ``known``, only for these statuses."""
    has_status = status(*known) if known else lambda _: True
    return lambda facts: has_status(facts) and facts.says(pattern)


def group_says(pattern: str) -> Callable[[Facts], bool]:
    """A group could not be read, and a text matches."""
    return lambda facts: (
        facts.operation is Operation.FETCH_GROUP and facts.says("Error fetching group") and facts.says(pattern)
    )


def is_sent(facts: Facts) -> bool:
    """A send was accepted under an id."""
    return status(OK)(facts) and facts.operation.is_send and facts.message_id is not None


def is_read(facts: Facts) -> bool:
    """A question was answered in JSON, ``null`` included."""
    return status(OK)(facts) and not facts.operation.is_send and facts.is_json


def is_closed(facts: Facts) -> bool:
    """Baileys' "Connection Closed", as text or as the bare Boom that ``whatsappNumbers`` gives."""
    outputs = [one["output"] for one in facts.objects if isinstance(one.get("output"), dict)]
    return facts.says(r"^(\w+: )*Connection Closed$") or any(output.get("statusCode") == 428 for output in outputs)


def is_malformed(facts: Facts) -> bool:
    """A schema, a validator or the JSON parser refused the request: a fault of ours."""
    message = facts.message
    nested = isinstance(message, list) and any(isinstance(item, list) for item in message)
    properties = any({"property", "message"} <= one.keys() for one in facts.objects)
    not_json = facts.title == "Internal Server Error" and facts.says(r"JSON|Unexpected (token|end)")
    return facts.status == 400 and (nested or properties or not_json or facts.says(_VALIDATORS))


def is_media_fetch(facts: Facts) -> bool:
    """Evolution failed to fetch the file, which it does before it sends."""
    is_media = facts.operation in (Operation.SEND_MEDIA, Operation.SEND_AUDIO)
    return is_media and facts.status == 500 and facts.says(_AXIOS)


def is_catch_all(facts: Facts) -> bool:
    """Evolution wraps the whole send in one ``catch``: before and after the stanza."""
    texts = [*facts.plain_texts, *(text[:400] for text in facts.database_texts)]
    return facts.status == 500 or (
        facts.status == 400 and any(re.search(r"Error: |\[object Object\]", text) for text in texts)
    )


def worth(error: ChatError, attempts: int | None) -> ChatError:
    """``error``, given up after ``attempts``; None leaves it to the actor."""
    if attempts is not None:
        error.max_attempts = attempts  # type: ignore[misc]  # an instance may narrow its class's limit
    return error


def permanent(kind: type[Permanent], code: str | None = None) -> Callable[[Facts, str], ChatError]:
    """Never again."""
    return lambda _, text: kind(text, code=code, request_written=True)


def transient(code: str, attempts: int | None = None) -> Callable[[Facts, str], ChatError]:
    """Not sent; again later, when ``Retry-After`` says so or after backoff."""

    def make(facts: Facts, text: str) -> ChatError:
        return worth(Transient(text, code=code, request_written=True, delay_ms=retry_after_ms(facts)), attempts)

    return make


def ambiguous(code: str, attempts: int | None = None) -> Callable[[Facts, str], ChatError]:
    """May have been sent."""
    return lambda _, text: worth(Ambiguous(text, code=code), attempts)


def session_down(code: str) -> Callable[[Facts, str], ChatError]:
    """Not sent; the instance must come back first."""
    return lambda _, text: InstanceUnavailable(text, delay_ms=SESSION_DOWN_MS, code=code, request_written=True)


def overlimit(_: Facts, text: str) -> ChatError:
    """WhatsApp's own limiter, which names no time."""
    return Throttled(text, delay_ms=OVERLIMIT_MS, code="rate_overlimit")


def rate_limited(facts: Facts, text: str) -> ChatError:
    """A proxy's limiter, which may name a time."""
    delay_ms = retry_after_ms(facts)
    return Throttled(text, delay_ms=RETRY_AFTER_DEFAULT_S * 1000 if delay_ms is None else delay_ms, code="rate_limited")


def sent(facts: Facts, _: str) -> Success:
    """The answer, with its message id when it has one."""
    return Success(body=facts.body, message_id=facts.message_id, date=facts.answer.headers.get("date", ""))


def untracked(facts: Facts, text: str) -> ChatError | Success:
    """The database failed after the send: out without an id. Sending again would be a duplicate."""
    if not facts.operation.is_send:
        return Transient(text, code="database", request_written=True)
    return Success(untracked=True)


def graph(facts: Facts, text: str) -> ChatError:
    """By the code of the Cloud API, which Evolution wraps in a success."""
    code = facts.graph_code
    said = f"{text}, Graph code {code}"
    told = graph_errors.GraphFacts(subcode=facts.graph_subcode)
    error = None if code is None else graph_errors.classify_code(code, text=said, facts=told)
    return error or graph_errors.unclear(text)


def group_unclear(_: Facts, text: str) -> ChatError:
    """Not sent, for a cause that only another question can tell."""
    return GroupUnclear(text, request_written=True)


def media_fetch(facts: Facts, text: str) -> ChatError:
    """Not sent; a file that is forbidden or gone stays so."""
    if any(re.search(r"\b40[34]\b", re.sub(r"\w+://\S+", "", one)) for one in facts.plain_texts):
        return BadPayload(text, code="media_url", request_written=True)
    return transient("media_fetch", FEW_ATTEMPTS)(facts, text)
