"""Deliver through Meta's WhatsApp Cloud API.

``actors.gateways.base`` makes it by name. What is sent stands in ``whatsapp_cloud_requests``, what each answer means in
``whatsapp_cloud_errors``; this file asks and tells. Source: docs/whatsapp-cloud.md, "The Cloud API".
"""

import json
import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from actors.domain import CloudGroup, GroupInfo, Instance, OutgoingPart, Receipt, Recipient
from actors.errors import BadPayload, ChatError, Transient, Unsupported
from actors.gateways import whatsapp_cloud_requests as requests
from actors.gateways.base import Ability
from actors.gateways.exchange import Exchange
from actors.gateways.jids import is_same
from actors.gateways.multipart import FilePart, Form
from actors.gateways.whatsapp_cloud_endpoint import CloudDefaults, CloudEndpoint, phone_number_id, resolve
from actors.gateways.whatsapp_cloud_errors import Accepted, Asked, Operation, classify
from middleware.clock import Clock, SystemClock

if TYPE_CHECKING:
    from actors.settings import Settings

logger = logging.getLogger(__name__)

#: A question's whole call, connecting included, in seconds.
QUESTION_S = 20.0
#: Waiting for the next bytes of an answer, in seconds: to a question, to a text, to a file, which Meta may fetch first.
_READ_S = 15.0
_TEXT_READ_S = 60.0
_MEDIA_READ_S = 120.0
_GROUP_FIELDS = "subject,description,suspended,creation_timestamp,total_participant_count,participants"


@dataclass(frozen=True, slots=True)
class _Request:
    """One request: ``path`` after the version, and its body: JSON, a form, or none (a GET)."""

    asked: Asked
    path: str
    payload: Mapping[str, Any] | None = field(default=None, repr=False)
    form: Form | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict)
    read_s: float = _READ_S


class WhatsAppCloudGateway:
    """See :class:`actors.gateways.base.Gateway`. ``find_endpoint`` says where the API is for an instance (None: the default)."""

    supports = frozenset(
        {
            Ability.SEND_TEXT,
            Ability.SEND_MEDIA,
            Ability.SEND_VOICE,
            Ability.SEND_LOCATION,
            Ability.SEND_CONTACT,
            Ability.SEND_TEMPLATE,
            Ability.REPLY,
            Ability.FETCH_GROUP_INFO,
            Ability.STATUS_BY_REFERENCE,
        }
    )

    def __init__(
        self,
        find_endpoint: Callable[[Instance | None], CloudEndpoint],
        *,
        name: str = "whatsapp_cloud",
        clock: Clock | None = None,
        exchange: Exchange | None = None,
    ) -> None:
        self.name = name
        self._find_endpoint = find_endpoint
        self._clock = clock or SystemClock()
        self._exchange = exchange or Exchange(clock=self._clock)

    def send(self, part: OutgoingPart, *, instance: Instance, timeout_s: float) -> Receipt:
        """See :meth:`actors.gateways.base.Gateway.send`. A file whose bytes are here is uploaded first, within the same time."""
        requests.check(part)
        number_id = phone_number_id(instance)
        deadline_ms = self._clock.boot_ms() + int(timeout_s * 1000)
        media_id = self._upload(part, instance, number_id, total_s=timeout_s)
        asked = Asked(
            Operation.SEND, _subject(instance, part), by_link=part.media is not None and part.media.content is None
        )
        verdict = self._ask(
            _Request(
                asked,
                f"{number_id}/messages",
                payload=requests.message(part, media_id=media_id),
                # Meta ignores it; the sandbox tells the order by it.
                headers={"X-Client-Seq": str(part.sequence)} if part.sequence > 0 else {},
                read_s=_TEXT_READ_S if part.media is None else _MEDIA_READ_S,
            ),
            instance,
            total_s=(deadline_ms - self._clock.boot_ms()) / 1000,
        )
        return _receipt(part, self._checked(verdict, part, instance), instance)

    def _upload(self, part: OutgoingPart, instance: Instance, number_id: str, *, total_s: float) -> str | None:
        """Id of the part's file at Meta, kept there for 30 days; None where Meta is to fetch it, or there is none."""
        media = part.media
        if media is None or media.content is None:
            return None
        mimetype = requests.base_type(media)
        form = Form(
            {"messaging_product": "whatsapp", "type": mimetype},
            FilePart("file", media.content, requests.file_name(media), mimetype),
        )
        asked = Asked(Operation.UPLOAD, _subject(instance, part))
        request = _Request(asked, f"{number_id}/media", form=form, read_s=_MEDIA_READ_S)
        return self._checked(self._ask(request, instance, total_s=total_s), part, instance).id

    def _checked(self, verdict: Accepted | ChatError, part: OutgoingPart, instance: Instance) -> Accepted:
        if isinstance(verdict, ChatError):
            if isinstance(verdict, BadPayload):
                # Meta refuses what this project built: worth more than a dead letter.
                logger.error("gateway.payload_refused", extra={**_ids(part, instance), "code": verdict.code})
            elif verdict.alert and not verdict.permanent:
                # No dead letter tells of it: the message is only put back.
                logger.error("gateway.alerted", extra={**_ids(part, instance), "code": verdict.code})
            raise verdict
        return verdict

    def find_sent(
        self, part: OutgoingPart, *, instance: Instance, since_ms: int, until_ms: int, bound_ids: Collection[str]
    ) -> Receipt | None:
        """See :meth:`actors.gateways.base.Gateway.find_sent`; always ``Unsupported``: a status webhook says it instead."""
        raise Unsupported(
            f"part {part.reference}: the Cloud API cannot be asked what it sent; its status webhook names the message"
        )

    def fetch_profile_picture(self, recipient: Recipient, *, instance: Instance) -> str | None:
        """See :meth:`actors.gateways.base.Gateway.fetch_profile_picture`; always ``Unsupported``."""
        raise Unsupported(f"instance {instance.name!r}: the Cloud API has no pictures of people")

    def fetch_group_info(self, group: Recipient, *, instance: Instance) -> GroupInfo:
        """See :meth:`actors.gateways.base.Gateway.fetch_group_info`; groups made by this API only. No picture, no owner."""
        if not isinstance(group, CloudGroup):
            raise Unsupported(f"instance {instance.name!r}: the Cloud API knows only groups that it made itself")
        path = f"{quote(group.id, safe='')}?{urlencode({'fields': _GROUP_FIELDS})}"
        body = self._must(_Request(Asked(Operation.FETCH_GROUP, _subject(instance)), path), instance).body
        if body.get("id", group.id) != group.id:
            raise _unreadable(instance, "the group")
        subject, description = body.get("subject"), body.get("description")
        size, members = body.get("total_participant_count"), body.get("participants")
        return GroupInfo(
            jid=group.id,
            subject=subject if isinstance(subject, str) else None,
            description=description if isinstance(description, str) else None,
            size=size if isinstance(size, int) and not isinstance(size, bool) else None,
            participants=tuple(one for one in members if isinstance(one, dict)) if isinstance(members, list) else None,
        )

    def mark_read(self, provider_message_id: str, *, instance: Instance) -> None:
        """Tell the other side that its message, and what came before it, was read. Idempotent; within 30 days of it."""
        asked = Asked(Operation.MARK_READ, _subject(instance))
        payload = {"messaging_product": "whatsapp", "status": "read", "message_id": provider_message_id}
        self._must(_Request(asked, f"{phone_number_id(instance)}/messages", payload=payload), instance)

    def edit_message(self, provider_message_id: str, text: str, *, instance: Instance) -> None:
        """Always ``Unsupported``: the API only tells of the other side's edits."""
        raise Unsupported(f"instance {instance.name!r}: the Cloud API cannot edit what was sent")

    def check(self, instance: Instance | None = None) -> str:
        """See :meth:`actors.gateways.base.Gateway.check`; there is no session here: a number is there, and the token opens it."""
        if instance is None:
            self._must(_Request(Asked(Operation.LOOK, "the default token"), "me?fields=id"), None)
            return f"the Cloud API at {self._find_endpoint(None).host} takes the default token"
        path = f"{phone_number_id(instance)}?fields=id,quality_rating"
        body = self._must(_Request(Asked(Operation.LOOK, _subject(instance)), path), instance).body
        if body.get("id") != instance.phone_number_id:
            raise _unreadable(instance, "the number")
        rating = body.get("quality_rating")
        note = f", quality {rating.lower()}" if rating in ("GREEN", "YELLOW", "RED") else ""
        return f"the number of instance {instance.name!r} is known to the Cloud API{note}"

    def close(self) -> None:
        """See :meth:`actors.gateways.base.Gateway.close`."""
        self._exchange.close()

    def _must(self, request: _Request, instance: Instance | None) -> Accepted:
        verdict = self._ask(request, instance, total_s=QUESTION_S)
        if isinstance(verdict, ChatError):
            raise verdict
        return verdict

    def _ask(self, request: _Request, instance: Instance | None, *, total_s: float) -> Accepted | ChatError:
        endpoint = self._find_endpoint(instance)
        headers = {
            "Accept": "application/json",
            "Authorization": f"Bearer {endpoint.token}",
            **request.headers,
        }
        content: bytes | Form | None = None
        if request.form is not None:
            content = request.form
            headers["Content-Type"] = request.form.content_type
        elif request.payload is not None:
            # ASCII: a lone surrogate in a text would otherwise fail here, in an error that quotes the text.
            content = json.dumps(request.payload).encode("ascii")
            headers["Content-Type"] = "application/json"
        outcome = self._exchange.request(
            "GET" if content is None else "POST",
            f"{endpoint.base_url}/{request.path}",
            headers=headers,
            content=content,
            read_s=request.read_s,
            total_s=total_s,
        )
        return classify(request.asked, outcome, now_ms=self._clock.now_ms())


def _subject(instance: Instance, part: OutgoingPart | None = None) -> str:
    where = f"instance {instance.name!r}"
    return where if part is None else f"{where}, part {part.reference}"


def _ids(part: OutgoingPart, instance: Instance) -> dict[str, str]:
    return {"message_id": part.message_id, "instance": instance.name}


def _receipt(part: OutgoingPart, accepted: Accepted, instance: Instance) -> Receipt:
    """What Meta says of the recipient, compared with whom it was asked for; it need not say anything."""
    named = _named_recipient(accepted.body)
    is_asked = named is None or (
        named == part.recipient.id if isinstance(part.recipient, CloudGroup) else is_same(named, part.recipient)
    )
    if not is_asked:
        logger.error("gateway.recipient_mismatched", extra=_ids(part, instance))
    return Receipt(provider_message_id=accepted.id, recipient_jid=named, mismatch=not is_asked)


def _named_recipient(body: Mapping[str, Any]) -> str | None:
    message = body["messages"][0]
    group_id = message.get("group_id")
    if isinstance(group_id, str) and group_id:
        return group_id
    contacts = body.get("contacts")
    contact = contacts[0] if isinstance(contacts, list) and contacts else None
    wa_id = contact.get("wa_id") if isinstance(contact, dict) else None
    # A person who hides the number has another kind of id, which says nothing about the number asked for.
    return f"{wa_id}@s.whatsapp.net" if isinstance(wa_id, str) and wa_id.isascii() and wa_id.isdigit() else None


def _unreadable(instance: Instance, what: str) -> Transient:
    text = f"instance {instance.name!r}: the Cloud API answered, but {what} is not what was asked for"
    return Transient(text, code="unreadable_answer", request_written=True)


def make_gateway(settings: "Settings") -> WhatsAppCloudGateway:
    """The gateway with the settings' URL, version and token; nothing is opened before the first request."""
    token = settings.whatsapp_cloud_token
    defaults = CloudDefaults(
        url=settings.whatsapp_cloud_url,
        version=settings.whatsapp_cloud_version,
        token=token.get_secret_value() if token is not None else None,
    )
    return WhatsAppCloudGateway(partial(resolve, defaults=defaults))
