"""The host's side of a send: save the rows, say that they are to be sent, answer. One transaction per request."""

import json
from collections.abc import Callable
from functools import wraps
from uuid import UUID

from django.db import transaction
from django.db.models import Count
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_GET, require_POST

from actors.django_app.send import send_on_commit
from chat.models import Conversation, Message, MessageAttachment

ATTACHMENT_FIELDS = ("mime_type", "original_filename", "file_url", "short_url")
METADATA_FIELDS = ("reply_to", "mentions", "mention_everyone", "flow_prefer_instance_name")


class BadRequest(Exception):
    """The body cannot be used; the text says why."""


def _answers_json(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    @csrf_exempt
    @wraps(view)
    def answer(request: HttpRequest, **kwargs: object) -> HttpResponse:
        try:
            with transaction.atomic():
                return view(request, **kwargs)
        except BadRequest as error:
            return JsonResponse({"error": str(error)}, status=400)
        except Conversation.DoesNotExist:
            return JsonResponse({"error": "no such conversation"}, status=404)

    return answer


@_answers_json
@require_POST
def create_message(request: HttpRequest) -> HttpResponse:
    """``{"conversation_id", "content", "attachments": [{"mime_type", "file_url", …}], "reply_to", "mentions", …}``.

    A caller may choose the row's ``id``, a UUID of its own; one that is taken answers 409.
    """
    from actors import send_message

    body = _body(request)
    conversation = Conversation.objects.get(pk=_uuid(body.get("conversation_id")))
    files = body.get("attachments", [])
    metadata = {name: body[name] for name in METADATA_FIELDS if name in body}
    if files:
        metadata["attachment_urls"] = [file.get("file_url", "") for file in files]
    own_id = {"id": _uuid(body["id"], name="id")} if "id" in body else {}
    if own_id and Message.objects.filter(pk=own_id["id"]).exists():
        return JsonResponse({"error": "there is a message with this id"}, status=409)
    message = Message.objects.create(
        **own_id,
        conversation=conversation,
        content=body.get("content", ""),
        is_internal=body.get("is_internal", False),
        metadata=metadata,
    )
    for file in files:
        known = {name: file[name] for name in ATTACHMENT_FIELDS if name in file}
        MessageAttachment.objects.create(message=message, **known)
    send_on_commit(send_message, str(message.pk))
    return JsonResponse({"id": str(message.pk), "status": message.status}, status=201)


@_answers_json
@require_POST
def refresh_picture(request: HttpRequest, conversation_id: UUID) -> HttpResponse:
    """Ask for the contact's picture again."""
    from actors import fetch_profile_pic

    conversation = Conversation.objects.get(pk=conversation_id)
    send_on_commit(fetch_profile_pic, str(conversation.pk), force=bool(_body(request).get("force")))
    return JsonResponse({"conversation_id": str(conversation.pk)}, status=202)


@_answers_json
@require_POST
def refresh_group(request: HttpRequest, conversation_id: UUID) -> HttpResponse:
    """Ask for the group's name, picture and size again."""
    from actors import fetch_group_info

    conversation = Conversation.objects.get(pk=conversation_id)
    send_on_commit(fetch_group_info, str(conversation.pk), force=bool(_body(request).get("force")))
    return JsonResponse({"conversation_id": str(conversation.pk)}, status=202)


@require_GET
def count_by_status(request: HttpRequest) -> HttpResponse:
    """How many outgoing messages are pending, sent, delivered, seen, failed."""
    outgoing = Message.objects.filter(direction="outgoing")
    counted = outgoing.values_list("status").annotate(Count("pk")).order_by("status")
    return JsonResponse(dict(counted))


def _body(request: HttpRequest) -> dict:
    try:
        body = json.loads(request.body or b"{}")
    except ValueError as error:
        raise BadRequest("the body is not JSON") from error
    if not isinstance(body, dict):
        raise BadRequest("the body is not a JSON object")
    return body


def _uuid(value: object, *, name: str = "conversation_id") -> UUID:
    try:
        return UUID(str(value))
    except ValueError as error:
        raise BadRequest(f"{name} is not a UUID") from error
