"""Answers of the WhatsApp Cloud API as the sandbox gives them, and a preset for each of Meta's codes.

``cloud`` and its checks answer with them, ``server`` adds the presets to those of Evolution. Source: docs/whatsapp-cloud.md, "Cloud
codes", whose HTTP statuses are those of Meta's table.
"""

from collections.abc import Callable
from dataclasses import replace

from actors.gateways.sandbox.replies import Reply, Subject, as_json

#: Code → HTTP status and title.
CODES: dict[int, tuple[int, str]] = {
    0: (401, "AuthException"),
    1: (400, "API Unknown"),
    2: (503, "API Service"),
    3: (500, "API Method"),
    4: (400, "API Too Many Calls"),
    10: (403, "API Permission Denied"),
    33: (400, "Parameter value is not valid"),
    100: (400, "Invalid parameter"),
    190: (401, "Access token has expired"),
    200: (403, "API Permission"),
    299: (403, "API Permission"),
    368: (403, "Temporarily blocked for policies violations"),
    80007: (400, "Rate limit issues"),
    130429: (400, "Rate limit hit"),
    130472: (400, "User's number is part of an experiment"),
    130497: (403, "Business account is restricted from messaging users in this country"),
    131000: (500, "Something went wrong"),
    131005: (403, "Access denied"),
    131008: (400, "Required parameter is missing"),
    131009: (400, "Parameter value is not valid"),
    131016: (500, "Service unavailable"),
    131020: (400, "Invalid group"),
    131021: (400, "Recipient cannot be sender"),
    131026: (400, "Message undeliverable"),
    131030: (400, "Recipient phone number not in allowed list"),
    131031: (403, "Account has been locked"),
    131037: (400, "Display name approval is needed"),
    131041: (400, "Unknown group"),
    131042: (400, "Business eligibility payment issue"),
    131045: (500, "Incorrect certificate"),
    131047: (400, "Re-engagement message"),
    131048: (400, "Spam rate limit hit"),
    131049: (400, "This message was not delivered to maintain healthy ecosystem engagement"),
    131050: (400, "User has stopped marketing messages"),
    131051: (400, "Unsupported message type"),
    131052: (400, "Media download error"),
    131053: (400, "Media upload error"),
    131056: (400, "(Business Account, Consumer Account) pair rate limit hit"),
    131057: (500, "Account in maintenance mode"),
    131059: (400, "Invalid cursor"),
    131064: (400, "Messaging limit lowered"),
    131201: (206, "Partial success"),
    131207: (403, "Group suspended"),
    131208: (429, "Group rate limit hit"),
    131215: (400, "Phone number is not eligible for groups"),
    132000: (400, "Template param count mismatch"),
    132001: (404, "Template does not exist"),
    132005: (400, "Template hydrated text too long"),
    132007: (400, "Template format character policy violated"),
    132012: (400, "Template parameter format mismatch"),
    132015: (400, "Template is paused"),
    132016: (400, "Template is disabled"),
    132068: (400, "Flow is blocked"),
    132069: (400, "Flow is throttled"),
    133000: (500, "Incomplete deregistration"),
    133004: (503, "Server temporarily unavailable"),
    133005: (400, "Two step verification PIN mismatch"),
    133006: (400, "Phone number re-verification needed"),
    133008: (400, "Too many two step verification PIN guesses"),
    133009: (400, "Two step verification PIN guessed too fast"),
    133010: (400, "Phone number not registered"),
    133015: (400, "Please wait a few minutes before attempting to register this phone number"),
    133016: (400, "Account register deregister rate limit exceeded"),
    135000: (400, "Generic user error"),
}
_TRACE = "AbCdEfGhIjK"


def graph_error(code: int, details: str = "", *, subcode: int | None = None, status: int | None = None) -> Reply:
    """Meta's error body for ``code``, with the status of its table unless another is given."""
    known_status, title = CODES.get(code, (400, "Unknown error"))
    error = {
        "message": f"(#{code}) {title}",
        "type": "OAuthException",
        "code": code,
        "error_data": {"messaging_product": "whatsapp", "details": details or title},
        "fbtrace_id": _TRACE,
    }
    if subcode is not None:
        error["error_subcode"] = subcode
    return as_json(known_status if status is None else status, {"error": error})


def _preset(code: int, subcode: int | None = None) -> Callable[[Subject], Reply]:
    def answer(subject: Subject) -> Reply:
        reply = graph_error(code, subcode=subcode)
        return reply if subject.retry_after is None else replace(reply, headers={"Retry-After": subject.retry_after})

    return answer


#: Preset name → answer: ``graph_<code>``, and ``graph_100_33``.
CLOUD_PRESETS: dict[str, Callable[[Subject], Reply]] = {
    **{f"graph_{code}": _preset(code) for code in CODES},
    "graph_100_33": _preset(100, 33),
}
