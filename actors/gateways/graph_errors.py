"""Errors of Meta's Graph API by their ``code``: what each means for a message. Pure.

The Evolution client uses it for instances that Evolution itself connects through the Cloud API: their errors come
wrapped in a 201. Source: docs/gateways.md, "Cloud codes" (Meta's table of 12 December 2025).
"""

from collections.abc import Callable
from dataclasses import dataclass

from actors.errors import Ambiguous, AuthConfig, BadPayload, BadRecipient, ChatError, Permanent, Throttled, Transient

#: Subcode of code 100 that means "no such object or no access to it".
_NO_SUCH_OBJECT = 33
_MINUTE_MS = 60_000
_HOUR_MS = 60 * _MINUTE_MS


@dataclass(frozen=True, slots=True)
class GraphRule:
    """Codes that mean the same, and the error they become."""

    codes: tuple[int | range, ...]
    make: Callable[[str], ChatError]

    def covers(self, code: int) -> bool:
        """Whether ``code`` is one of them."""
        return any(code in known if isinstance(known, range) else code == known for known in self.codes)


def _auth(reason: str) -> Callable[[str], ChatError]:
    return lambda text: AuthConfig(text, code=reason, request_written=True)


def _permanent(reason: str) -> Callable[[str], ChatError]:
    return lambda text: Permanent(text, code=reason, request_written=True)


def _throttled(delay_ms: int, scope: str) -> Callable[[str], ChatError]:
    return lambda text: Throttled(text, delay_ms=delay_ms, scope=scope, code="rate_limited")


def _transient(text: str) -> ChatError:
    return Transient(text, code="provider_overloaded", request_written=True)


def _payload(text: str) -> ChatError:
    return BadPayload(text, request_written=True)


def _recipient(text: str) -> ChatError:
    return BadRecipient(text, code="recipient_is_sender", request_written=True)


def unclear(text: str) -> ChatError:
    """An answer that says neither sent nor refused; worth two more tries at most."""
    error = Ambiguous(text, code="provider_unclear")
    error.max_attempts = 3  # type: ignore[misc]  # an instance may narrow its class's limit
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
    GraphRule((131207, 131215), _auth("groups_not_allowed")),
    GraphRule((4, 80007), _throttled(_MINUTE_MS, "account")),
    GraphRule((130429,), _throttled(1_000, "instance")),
    GraphRule((131056,), _throttled(1_000, "pair")),
    GraphRule((131048, 131064), _throttled(_HOUR_MS, "instance")),
    GraphRule((131057, 131208), _throttled(_MINUTE_MS, "instance")),
    GraphRule((2, 131016, 133004), _transient),
    GraphRule((1, 131000), unclear),
    GraphRule((100, 131008, 131009, 131051, 135000), _payload),
    GraphRule((131021,), _recipient),
    GraphRule((131026,), _permanent("undeliverable")),
    GraphRule((131047,), _permanent("window_closed")),
    GraphRule((131049,), _permanent("marketing_cap")),
    GraphRule((131050,), _permanent("opted_out")),
    GraphRule((130472,), _permanent("experiment")),
    GraphRule((130497,), _permanent("country_restricted")),
    GraphRule((131052, 131053), _permanent("media_url")),
    GraphRule((range(132000, 132100),), _permanent("template")),
    GraphRule((131020, 131041, 131059, range(131201, 131216)), _permanent("group_refused")),
)


def classify_code(code: int, *, subcode: int | None = None, text: str) -> ChatError | None:
    """Error for a Graph ``code`` with ``text``; None when Meta's table does not have it.

    Meta's own texts are not quoted: they may hold a number.
    """
    if code == 100 and subcode == _NO_SUCH_OBJECT:
        code = _NO_SUCH_OBJECT
    for rule in RULES:
        if rule.covers(code):
            return rule.make(text)
    return None
