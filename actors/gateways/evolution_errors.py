"""What an answer of Evolution 2.3 means: success, or one error of ``actors.errors``. Pure.

``actors.gateways.evolution`` asks :func:`classify` after every request. The rules are read from the top, the first match
wins; their numbers are those of docs/gateways.md, where the evidence for each stands.
"""

from collections.abc import Callable
from dataclasses import dataclass

from actors.errors import (
    Ambiguous,
    AuthConfig,
    BadPayload,
    ChatError,
    GatewayUnreachable,
    NotFound,
    NotOnWhatsApp,
    Permanent,
    Transient,
)
from actors.gateways.evolution_answers import Facts, Operation
from actors.gateways.evolution_rules import (
    FEW_ATTEMPTS,
    NOT_LOADED,
    OK,
    Success,
    ambiguous,
    graph,
    group_says,
    group_unclear,
    is_catch_all,
    is_closed,
    is_malformed,
    is_media_fetch,
    is_read,
    is_sent,
    media_fetch,
    overlimit,
    permanent,
    rate_limited,
    says,
    sent,
    session_down,
    status,
    transient,
    untracked,
    worth,
)
from actors.gateways.exchange import Answer, NoAnswer


@dataclass(frozen=True, slots=True)
class Rule:
    """One row of the table: when it holds, what it means, and our words for it."""

    number: str
    holds: Callable[[Facts], bool]
    make: Callable[[Facts, str], ChatError | Success]
    words: str


def classify(
    operation: Operation, outcome: Answer | NoAnswer, *, subject: str, to_group: bool = False, now_ms: int = 0
) -> ChatError | Success:
    """Meaning of ``outcome``; total: it never raises.

    ``subject`` is an id of ours for the text (the instance). Of an operation that may be repeated nothing is ambiguous:
    asking again does no harm.
    """
    if isinstance(outcome, NoAnswer):
        return _repeatable(operation, _no_answer(operation, outcome, subject))
    facts = Facts(operation=operation, answer=outcome, to_group=to_group, now_ms=now_ms)
    for rule in RULES:
        if rule.holds(facts):
            text = f"{subject}: {rule.words} (status {facts.status} to {operation}, rule {rule.number})"
            return _repeatable(operation, rule.make(facts, text))
    raise AssertionError("the last rule holds for every answer")


def _no_answer(operation: Operation, outcome: NoAnswer, subject: str) -> ChatError:
    if not outcome.request_written:
        # Rule 1.
        return GatewayUnreachable(
            f"{subject}: Evolution was not reached for {operation} ({outcome.cause}); check its URL"
        )
    what = "did not answer in time" if outcome.timed_out else "broke the connection"
    # Rule 2: Evolution goes on working after its client has gone.
    return Ambiguous(
        f"{subject}: Evolution {what} to {operation} ({outcome.cause})",
        code="timeout" if outcome.timed_out else "connection_lost",
    )


def _repeatable(operation: Operation, verdict: ChatError | Success) -> ChatError | Success:
    if operation.is_send or not isinstance(verdict, Ambiguous):
        return verdict
    error = Transient(str(verdict), code=verdict.code, request_written=verdict.request_written)
    return worth(error, verdict.max_attempts)


RULES = (
    Rule("2", lambda facts: not facts.answer.complete, ambiguous("answer_cut"), "the answer of Evolution was cut"),
    Rule("3", is_sent, sent, "accepted"),
    Rule("3", is_read, sent, "answered"),
    Rule(
        "4",
        lambda facts: status(OK)(facts) and facts.operation.is_send and facts.graph_code is not None,
        graph,
        "the Cloud API behind Evolution refused",
    ),
    Rule(
        "4",
        lambda facts: status(OK)(facts) and facts.operation.is_send,
        ambiguous("no_message_id"),
        "Evolution (or a proxy) said yes and named no message id",
    ),
    Rule("4", status(OK), ambiguous("not_json"), "the answer is not JSON"),
    Rule(
        "5",
        status(range(100, 400), 402, 405, 407),
        permanent(AuthConfig, "wrong_url"),
        "something else than Evolution answers at this URL; check the instance's base URL",
    ),
    Rule(
        "6", status(401), permanent(AuthConfig, "unauthorized"), "Evolution refuses the key; check the instance's key"
    ),
    Rule(
        "6",
        status(403),
        permanent(AuthConfig, "forbidden"),
        "access is forbidden; check the key and the proxy's rules",
    ),
    Rule("7", status(429), rate_limited, "too many requests"),
    Rule("8", status(408), transient("request_timeout"), "the request did not arrive whole"),
    Rule("9", status(413), permanent(BadPayload, "payload_too_large"), "the request is too large for the server"),
    Rule("9", status(414, 415, 431), permanent(BadPayload, "payload"), "the server refuses the request's form"),
    Rule(
        "10",
        says(r'The ".*" instance does not exist', 404),
        permanent(AuthConfig, "instance_missing"),
        "Evolution has no such instance; create it or correct its name",
    ),
    Rule(
        "11",
        lambda facts: facts.status == 404 and (not facts.is_json or facts.says(r"Cannot [A-Z]+ /")),
        permanent(AuthConfig, "wrong_url"),
        "no Evolution 2.x at this URL; check the instance's base URL and version",
    ),
    Rule(
        "12",
        lambda facts: any(one.get("exists") is False for one in facts.objects),
        permanent(NotOnWhatsApp),
        "the number has no WhatsApp account",
    ),
    Rule("13", is_closed, session_down("connection_closed"), "the session with WhatsApp is closed"),
    Rule("14", says(NOT_LOADED, 500), session_down("instance_not_loaded"), "Evolution has not loaded the instance yet"),
    Rule(
        "15",
        lambda facts: (
            facts.status == 500
            and (facts.says(r"reading 'find'") or facts.database_says(r"prismaRepository\.contact\.findMany"))
        ),
        transient("lookup_failed"),
        "Evolution could not look the number up",
    ),
    Rule(
        "16",
        lambda facts: facts.status == 400 and facts.database_says(r"prismaRepository\.(message|media|openaiSetting)\."),
        untracked,
        "Evolution's database failed",
    ),
    Rule(
        "17",
        lambda facts: facts.operation.is_send and facts.to_group and says(r"\[object Object\]", 400)(facts),
        group_unclear,
        "the group could not be read before the send",
    ),
    Rule(
        "18",
        is_malformed,
        permanent(BadPayload, "bad_payload"),
        "Evolution refuses the request as malformed; report it",
    ),
    Rule(
        "§4",
        group_says(r"forbidden|not-authorized"),
        permanent(Permanent, "group_forbidden"),
        "the instance is not a member of the group",
    ),
    Rule("§4", group_says(r"item-not-found"), permanent(NotFound, "group_missing"), "WhatsApp has no such group"),
    Rule("§4", group_says(r"rate-overlimit"), overlimit, "WhatsApp limits how often groups are read"),
    Rule("§4", group_says(""), transient("group_unread"), "Evolution could not read the group"),
    Rule("19", says(r"Timed Out", 400, 500), ambiguous("timed_out", FEW_ATTEMPTS), "WhatsApp did not answer Evolution"),
    Rule(
        "20",
        says(r"No sessions|SessionError|Bad MAC", 400),
        transient("no_session", FEW_ATTEMPTS),
        "Evolution could not encrypt for the recipient",
    ),
    Rule("21", says(r"rate-overlimit", 400, 500), overlimit, "WhatsApp limits this instance"),
    Rule("22", is_media_fetch, media_fetch, "Evolution could not fetch the file from its URL"),
    Rule("23", is_catch_all, ambiguous("gateway_error"), "Evolution failed, before or after the send"),
    Rule("24", status(502, 504, 520, 524), ambiguous("bad_gateway"), "a proxy lost Evolution while it worked"),
    Rule(
        "24",
        lambda facts: facts.status == 503 and facts.raw_says(r"reset before headers|connection termination"),
        ambiguous("bad_gateway"),
        "a proxy lost Evolution while it worked",
    ),
    Rule("25", status(503, range(521, 524)), transient("unavailable"), "a proxy did not pass the request on"),
    Rule(
        "26",
        status(525, 526, 530),
        permanent(AuthConfig, "origin_broken"),
        "the proxy cannot reach Evolution securely",
    ),
    Rule("27", lambda facts: facts.status >= 500, ambiguous("unknown_status"), "unknown failure"),
    Rule("27", lambda _: True, permanent(Permanent, "unknown_status"), "unknown refusal"),
)
