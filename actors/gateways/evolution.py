"""Deliver through Evolution API 2.3.

``actors.gateways.base`` makes it by name. What each answer means stands in ``evolution_errors``, what is sent in
``evolution_requests``; this file asks and tells. Source: docs/gateways.md (Evolution 2.3.6).
"""

import json
import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from actors.domain import GroupInfo, GroupJid, Instance, OutgoingPart, Phone, Receipt, Recipient
from actors.errors import AuthConfig, BadPayload, ChatError, InstanceUnavailable, Transient, Unsupported
from actors.gateways import evolution_search as search
from actors.gateways.base import Ability
from actors.gateways.evolution_answers import Operation
from actors.gateways.evolution_endpoint import Endpoint, instance_segment, resolve
from actors.gateways.evolution_errors import classify
from actors.gateways.evolution_requests import Request, may_tell, quoted_request, send_request
from actors.gateways.evolution_rules import SESSION_DOWN_MS, GroupUnclear, Success
from actors.gateways.evolution_sent import account_request, find_sent, linked_ids
from actors.gateways.evolution_version import ASK_S, Versions, is_untested, require_2, version_of
from actors.gateways.exchange import Exchange
from actors.gateways.jids import is_same, wire_number
from actors.updates import SentUpdate
from middleware.clock import Clock, SystemClock

if TYPE_CHECKING:
    from actors.settings import Settings

logger = logging.getLogger(__name__)

#: A question's whole call, connecting included, in seconds.
QUESTION_S = 20.0
#: The same for the one about what a message quotes, before it is sent.
QUOTE_S = 5.0

_PATHS = {
    Operation.SEND_TEXT: "/message/sendText",
    Operation.SEND_MEDIA: "/message/sendMedia",
    Operation.SEND_AUDIO: "/message/sendWhatsAppAudio",
    Operation.SEND_LOCATION: "/message/sendLocation",
    Operation.SEND_CONTACT: "/message/sendContact",
    Operation.FETCH_PICTURE: "/chat/fetchProfilePictureUrl",
    Operation.FIND_ACCOUNT: "/chat/whatsappNumbers",
    Operation.FIND_MESSAGES: "/chat/findMessages",
    Operation.FETCH_GROUP: "/group/findGroupInfos",
    Operation.CONNECTION_STATE: "/instance/connectionState",
}
_GROUP_TEXTS = {"subject": "subject", "description": "desc", "owner": "owner", "picture_url": "pictureUrl"}


class EvolutionGateway:
    """See :class:`actors.gateways.base.Gateway`. ``find_endpoint`` says where an instance lives (None: the default)."""

    supports = frozenset(Ability) - {Ability.SEND_TEMPLATE, Ability.STATUS_BY_REFERENCE}

    def __init__(
        self,
        find_endpoint: Callable[[Instance | None], Endpoint],
        *,
        name: str = "evolution",
        clock: Clock | None = None,
        exchange: Exchange | None = None,
    ) -> None:
        self.name = name
        self._find_endpoint = find_endpoint
        self._clock = clock or SystemClock()
        self._exchange = exchange or Exchange(clock=self._clock)
        self._versions = Versions(self._clock, self._told_version)

    def send(self, part: OutgoingPart, *, instance: Instance, timeout_s: float) -> Receipt:
        """See :meth:`actors.gateways.base.Gateway.send`."""
        deadline_ms = self._clock.boot_ms() + int(timeout_s * 1000)
        request = send_request(part)
        self.require_contract(instance)
        if not self._keeps_quote(part, request, instance, left_s=(deadline_ms - self._clock.boot_ms()) / 1000):
            request = send_request(part, quote_is_kept=False)
        left_s = (deadline_ms - self._clock.boot_ms()) / 1000
        verdict = self._ask(request, instance, total_s=left_s, subject=part.reference)
        if isinstance(verdict, GroupUnclear) and isinstance(part.recipient, GroupJid):
            left_s = (deadline_ms - self._clock.boot_ms()) / 1000
            verdict = self._why_unclear(verdict, part.recipient, instance=instance, left_s=left_s)
        if isinstance(verdict, ChatError):
            if isinstance(verdict, BadPayload):
                # Evolution refuses what this project built: worth more than a dead letter.
                logger.error("gateway.payload_refused", extra={**_ids(part, instance), "code": verdict.code})
            raise verdict
        receipt = _receipt(part, verdict, instance)
        if receipt.mismatch and self._is_linked(receipt.recipient_jid, part.recipient, instance):
            receipt = replace(receipt, mismatch=False)
        if receipt.mismatch:
            logger.error("gateway.recipient_mismatched", extra=_ids(part, instance))
        return receipt

    def _keeps_quote(self, part: OutgoingPart, request: Request, instance: Instance, *, left_s: float) -> bool:
        """Whether Evolution looks up what is quoted by itself, with its thumbnail; so it shall where it cannot be asked."""
        if part.quote is None or not may_tell(part.quote, part.recipient) or "quoted" not in (request.payload or {}):
            return True
        verdict = self._ask(quoted_request(part.quote), instance, total_s=min(QUOTE_S, left_s / 2))
        page = search.Page.of(verdict.body) if isinstance(verdict, Success) else None
        return page is None or bool(page.records)

    def _is_linked(self, jid: str | None, recipient: Recipient, instance: Instance) -> bool:
        """Whether Evolution knows the linked id in its answer as that of the number: WhatsApp has two addresses for a person."""
        if jid is None or not jid.endswith("@lid") or not isinstance(recipient, Phone):
            return False
        verdict = self._ask(account_request(recipient), instance, total_s=QUESTION_S)
        return isinstance(verdict, Success) and jid in linked_ids(verdict.body)

    def _why_unclear(self, unclear: GroupUnclear, group: GroupJid, *, instance: Instance, left_s: float) -> ChatError:
        """Why a group could not be read before the send; the send's answer is the same for three causes."""
        if left_s <= 0:
            return unclear
        verdict = self._ask(_group_request(group), instance, total_s=min(left_s, QUESTION_S))
        # A group that can be read now, or not for a passing cause, is worth sending to again.
        return verdict if isinstance(verdict, ChatError) and not isinstance(verdict, Transient) else unclear

    def find_sent(
        self, part: OutgoingPart, *, instance: Instance, since_ms: int, until_ms: int, bound_ids: Collection[str]
    ) -> Receipt | None:
        """See :meth:`actors.gateways.base.Gateway.find_sent`; ``Transient`` when the search could not be completed."""
        return find_sent(
            partial(self._must, instance=instance),
            part,
            window=search.Window.around(since_ms, until_ms),
            bound_ids=bound_ids,
            now_ms=self._clock.now_ms(),
        )

    def is_record_of(self, part: OutgoingPart, update: SentUpdate) -> bool:
        """See :meth:`KnowsRecords.is_record_of`: chat, kind and words are those of the part, whenever it was."""
        ever = search.Window(from_ms=0, to_ms=2**53)
        return search.find(part, [update.record], window=ever, bound_ids=()) is not None

    def fetch_profile_picture(self, recipient: Recipient, *, instance: Instance) -> str | None:
        """See :meth:`actors.gateways.base.Gateway.fetch_profile_picture`.

        Evolution answers ``null`` for every failure, a closed session included.
        """
        # POST: the GET of older guides is 404 in 2.3 and reads like "no picture".
        body = self._must(Request(Operation.FETCH_PICTURE, payload={"number": wire_number(recipient)}), instance).body
        if not isinstance(body, dict):
            raise _unreadable(instance, "the picture")
        url, wuid = body.get("profilePictureUrl"), body.get("wuid")
        if isinstance(wuid, str) and not is_same(wuid, recipient):
            logger.warning("gateway.picture_mismatched", extra={"instance": instance.name})
            return None
        return url if isinstance(url, str) and url.startswith(("https://", "http://")) else None

    def fetch_group_info(self, group: Recipient, *, instance: Instance) -> GroupInfo:
        """See :meth:`actors.gateways.base.Gateway.fetch_group_info`."""
        if not isinstance(group, GroupJid):
            raise Unsupported(f"instance {instance.name!r}: Evolution knows only groups by their …@g.us id")
        body = self._must(_group_request(group), instance).body
        if not isinstance(body, dict) or body.get("id", group.jid) != group.jid:
            raise _unreadable(instance, "the group")
        texts = {ours: body.get(theirs) for ours, theirs in _GROUP_TEXTS.items()}
        size, members = body.get("size"), body.get("participants")
        return GroupInfo(
            jid=group.jid,
            **{name: value for name, value in texts.items() if isinstance(value, str)},
            size=size if isinstance(size, int) and not isinstance(size, bool) else None,
            participants=tuple(one for one in members if isinstance(one, dict)) if isinstance(members, list) else None,
        )

    def require_contract(self, instance: Instance) -> None:
        """See :meth:`HasContract.require_contract`."""
        self._versions.require(self._find_endpoint(instance), instance=instance.name)

    def check(self, instance: Instance | None = None) -> str:
        """See :meth:`actors.gateways.base.Gateway.check`."""
        if instance is None:
            return _version_line(self._must(Request(Operation.VERSION), None).body, self._find_endpoint(None))
        self.require_contract(instance)
        body = self._must(Request(Operation.CONNECTION_STATE), instance).body
        told = body.get("instance") if isinstance(body, dict) else None
        state = told.get("state") if isinstance(told, dict) else None
        if state != "open":
            state = state if state in ("close", "connecting") else "unknown"
            text = f"the session of instance {instance.name!r} is {state}, not open; connect it in Evolution"
            raise InstanceUnavailable(text, delay_ms=SESSION_DOWN_MS, code="connection_closed", request_written=True)
        return f"the session of instance {instance.name!r} is open"

    def close(self) -> None:
        """See :meth:`actors.gateways.base.Gateway.close`."""
        self._exchange.close()

    def _told_version(self, endpoint: Endpoint) -> Any:
        verdict = self._ask(Request(Operation.VERSION), None, total_s=ASK_S, endpoint=endpoint)
        return verdict.body if isinstance(verdict, Success) else None

    def _must(self, request: Request, instance: Instance | None) -> Success:
        verdict = self._ask(request, instance, total_s=QUESTION_S)
        if isinstance(verdict, ChatError):
            raise verdict
        return verdict

    def _ask(
        self,
        request: Request,
        instance: Instance | None,
        *,
        total_s: float,
        subject: str = "",
        endpoint: Endpoint | None = None,
    ) -> Success | ChatError:
        endpoint = endpoint or self._find_endpoint(instance)
        url, headers = f"{endpoint.base_url}/", {"Accept": "application/json"}
        if instance is not None:
            url = f"{endpoint.base_url}{_PATHS[request.operation]}/{instance_segment(instance.name)}"
            headers |= {"apikey": endpoint.api_key, **request.headers}
        if request.query:
            url = f"{url}?{urlencode(request.query)}"
        content = None
        if request.payload is not None:
            headers["Content-Type"] = "application/json"
            # ASCII: a lone surrogate in a text would otherwise fail here, in an error that quotes the text.
            content = json.dumps(request.payload).encode("ascii")
        outcome = self._exchange.request(
            "GET" if content is None else "POST",
            url,
            headers=headers,
            content=content,
            read_s=request.read_s,
            total_s=total_s,
        )
        where = f"instance {instance.name!r}" if instance is not None else f"server {endpoint.host}"
        return classify(
            request.operation,
            outcome,
            subject=f"{where}, part {subject}" if subject else where,
            to_group=request.to_group,
            now_ms=self._clock.now_ms(),
        )


def _group_request(group: GroupJid) -> Request:
    return Request(Operation.FETCH_GROUP, query={"groupJid": group.jid})


def _ids(part: OutgoingPart, instance: Instance) -> dict[str, str]:
    return {"message_id": part.message_id, "instance": instance.name}


def _receipt(part: OutgoingPart, success: Success, instance: Instance) -> Receipt:
    if success.untracked:
        logger.warning("gateway.send_untracked", extra=_ids(part, instance))
        return Receipt(provider_message_id=None)
    key: Mapping[str, Any] = success.body["key"]
    named = [jid for jid in (key.get("remoteJid"), key.get("remoteJidAlt")) if isinstance(jid, str) and jid]
    mismatch = bool(named) and not any(is_same(jid, part.recipient) for jid in named)
    return Receipt(provider_message_id=success.message_id, recipient_jid=named[0] if named else None, mismatch=mismatch)


def _unreadable(instance: Instance, what: str) -> Transient:
    text = f"instance {instance.name!r}: Evolution answered, but {what} is not what 2.3 gives or not what was asked for"
    return Transient(text, code="unreadable_answer", request_written=True)


def _version_line(body: Any, endpoint: Endpoint) -> str:
    version = version_of(body)
    if version is None:
        raise AuthConfig(f"the server {endpoint.host} answers, but not as Evolution; check its URL", code="wrong_url")
    require_2(version, endpoint, owner="the default server")
    return f"Evolution {version} answers at {endpoint.host}{' (tested with 2.3)' if is_untested(version) else ''}"


def make_gateway(settings: "Settings") -> EvolutionGateway:
    """The gateway with the default pair of the settings; nothing is opened before the first request."""
    key = settings.evolution_api_key
    return EvolutionGateway(
        partial(
            resolve,
            default_url=settings.evolution_url,
            default_key=key.get_secret_value() if key is not None else None,
        )
    )
