"""Errors of Meta's Graph API by their ``code``: what each means for a message. Pure.

The Cloud API client asks it for answers and webhooks, the Evolution client for instances that Evolution itself connects
through the Cloud API: their errors come wrapped in a 201. Source: docs/whatsapp-cloud.md, "Cloud codes" (Meta's table of 12
December 2025).
"""

from collections.abc import Callable
from dataclasses import dataclass

from actors.errors import Ambiguous, AuthConfig, BadPayload, BadRecipient, ChatError, Permanent, Throttled, Transient

#: Subcode of code 100 that means "no such object or no access to it".
_NO_SUCH_OBJECT = 33
_SECOND_MS = 1_000
_MINUTE_MS = 60 * _SECOND_MS
_HOUR_MS = 60 * _MINUTE_MS
#: No time that Meta names is believed beyond this.
_REGAIN_CAP_MS = 24 * _HOUR_MS
#: A burst to one person borrows at most 45 messages of 6 s each: 4^4 s are enough.
_PAIR_CAP_MS = 256 * _SECOND_MS


@dataclass(frozen=True, slots=True)
class GraphFacts:
    """What the meaning of a code depends on besides the code.

    ``regain_ms``: when the account may call again, as ``X-Business-Use-Case-Usage`` says. ``retry_after_ms``: the header of
    that name. ``by_link``: the message's file was to be fetched by Meta.
    """

    subcode: int | None = None
    regain_ms: int | None = None
    retry_after_ms: int | None = None
    by_link: bool = False


_NO_FACTS = GraphFacts()
Make = Callable[[str, GraphFacts], ChatError]


@dataclass(frozen=True, slots=True)
class GraphRule:
    """Codes that mean the same, and the error they become."""

    codes: tuple[int | range, ...]
    make: Make

    def covers(self, code: int) -> bool:
        """Whether ``code`` is one of them."""
        return any(code in known if isinstance(known, range) else code == known for known in self.codes)


def _auth(reason: str) -> Make:
    return lambda text, _: AuthConfig(text, code=reason, request_written=True)


def _permanent(reason: str) -> Make:
    return lambda text, _: Permanent(text, code=reason, request_written=True)


def _alarming(reason: str) -> Make:
    return lambda text, _: Permanent(text, code=reason, request_written=True, alert=True)


def _limited(delay_ms: int, scope: str, *, by: float = 1.0, cap_ms: int | None = None) -> Make:
    """A limit of ``scope``; it grows ``by`` a factor unless the answer says how long."""

    def make(text: str, facts: GraphFacts) -> ChatError:
        told_ms = max((facts.regain_ms if scope == "account" else 0) or 0, facts.retry_after_ms or 0)
        if told_ms > delay_ms:
            return Throttled(text, delay_ms=min(told_ms, _REGAIN_CAP_MS), scope=scope, code="rate_limited")
        error = Throttled(text, delay_ms=delay_ms, scope=scope, code="rate_limited")
        return error.growing(by, cap_ms=delay_ms if cap_ms is None else cap_ms)

    return make


def _quality_limited(text: str, _: GraphFacts) -> ChatError:
    # Hammering makes it worse; who blocks or reports the number is no technical matter.
    return Throttled(text, delay_ms=_HOUR_MS, code="quality_limited", alert=True)


def _transient(text: str, _: GraphFacts) -> ChatError:
    return Transient(text, code="provider_overloaded", request_written=True)


def _payload(text: str, _: GraphFacts) -> ChatError:
    return BadPayload(text, request_written=True)


def _recipient(text: str, _: GraphFacts) -> ChatError:
    return BadRecipient(text, code="recipient_is_sender", request_written=True)


def _media(text: str, facts: GraphFacts) -> ChatError:
    if not facts.by_link:
        return Permanent(text, code="media_url", request_written=True)
    # The host of the link may have had a bad moment: once more, no further.
    return worth(Transient(text, code="media_fetch", request_written=True), 2)


def unclear(text: str) -> ChatError:
    """An answer that says neither sent nor refused; how often a send is repeated after it, ``actors.steps`` says."""
    return worth(Ambiguous(text, code="provider_unclear"), 3)


def worth(error: ChatError, attempts: int) -> ChatError:
    """``error``, given up after ``attempts``."""
    error.max_attempts = attempts  # type: ignore[misc]  # an instance may narrow its class's limit
    return error


#: First match wins.
RULES = (
    GraphRule((0, 190), _auth("token_refused")),
    GraphRule((3, 10, range(200, 300), 131005), _auth("permission")),
    GraphRule((368, 131031), _auth("account_locked")),
    GraphRule((33,), _auth("phone_number_id")),
    GraphRule((131030,), _auth("not_in_test_list")),
    GraphRule(
        (131037, 131042, 131045, 133000, 133005, 133006, range(133008, 133011), 133015, 133016), _auth("registration")
    ),
    # Not an operator's error: that parks the instance, whose other chats have nothing to do with its groups.
    GraphRule((131207, 131215), _alarming("groups_not_allowed")),
    # The windows of both limits are an hour long.
    GraphRule((4, 80007), _limited(_MINUTE_MS, "account", by=2, cap_ms=_HOUR_MS)),
    GraphRule((130429,), _limited(_SECOND_MS, "instance", by=2, cap_ms=_MINUTE_MS)),
    GraphRule((131056,), _limited(_SECOND_MS, "pair", by=4, cap_ms=_PAIR_CAP_MS)),
    GraphRule((131048, 131064), _quality_limited),
    GraphRule((131057, 131208), _limited(_MINUTE_MS, "instance")),
    GraphRule((2, 131016, 133004), _transient),
    GraphRule((1, 131000), lambda text, _: unclear(text)),
    GraphRule((100, 131008, 131009, 131051, 135000), _payload),
    GraphRule((131021,), _recipient),
    GraphRule((131026,), _permanent("undeliverable")),
    GraphRule((131047,), _permanent("window_closed")),
    GraphRule((131049,), _permanent("marketing_cap")),
    GraphRule((131050,), _permanent("opted_out")),
    GraphRule((130472,), _permanent("experiment")),
    GraphRule((130497,), _permanent("country_restricted")),
    GraphRule((131052, 131053), _media),
    GraphRule((132015, 132016), _alarming("template_paused")),
    GraphRule((range(132000, 132100),), _permanent("template")),
    GraphRule((131020, 131041, 131059, range(131201, 131216)), _permanent("group_refused")),
)


def classify_code(code: int, *, text: str, facts: GraphFacts = _NO_FACTS) -> ChatError | None:
    """Error for a Graph ``code`` with ``text``; None when Meta's table does not have it.

    Meta's own texts are not quoted: they may hold a number.
    """
    if code == 100 and facts.subcode == _NO_SUCH_OBJECT:
        code = _NO_SUCH_OBJECT
    for rule in RULES:
        if rule.covers(code):
            return rule.make(text, facts)
    return None


def unknown_code(code: int, *, status: int, text: str) -> ChatError:
    """Error for a code that Meta's table does not have, by the HTTP status beside it."""
    if status >= 500:
        return Ambiguous(text, code="unknown_code")
    return Permanent(text, code="unknown_code", request_written=True, alert=True)
