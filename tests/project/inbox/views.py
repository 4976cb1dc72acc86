"""The pages, and what their forms do. All of it works without JavaScript; ``static/inbox/chat.js`` makes it live."""

from collections.abc import Callable
from functools import wraps
from uuid import UUID, uuid4

from chat.models import Conversation, Message
from django.conf import settings
from django.contrib.auth import get_user_model, login
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.db import IntegrityError, transaction
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.template.loader import render_to_string
from django.utils.cache import add_never_cache_headers
from django.utils.crypto import constant_time_compare
from django.views.decorators.http import require_GET, require_POST

from actors.django_app.retry import Retried, retry_message
from actors.django_app.send import send_on_commit
from inbox import portraits, rows, tell
from inbox.lines import banner_of
from inbox.models import tenant_of
from middleware.errors import PipelineError

#: Nothing is loaded from elsewhere, nothing runs but the file of ours, nobody frames the page.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
#: Longest text that is taken, in characters.
MAX_CHARS = 4_096
#: What a form came to, in words.
NOTICES = {
    "empty": "There is nothing to send.",
    "too_long": f"That is longer than {MAX_CHARS} characters.",
    "not_failed": "It is being sent, or was sent already.",
    "may_be_delivered": "It may have arrived. Look at the phone before you send it again.",
    "busy": "It cannot be sent again just now. Try once more in a minute.",
    "queue": "It cannot be sent just now. It is kept, and goes out by itself later.",
    "asked": "Asked. What comes back is shown here.",
}


def for_members(*rights: str) -> Callable[[Callable[..., HttpResponse]], Callable[..., HttpResponse]]:
    """Give a view the tenant of whoever asks; nobody else gets in, nor who lacks one of the rights."""

    def decorate(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
        @login_required
        @wraps(view)
        def answer(request: HttpRequest, **kwargs: object) -> HttpResponse:
            tenant = tenant_of(request.user)
            if tenant is None or not request.user.has_perms(rights):
                raise PermissionDenied
            response = view(request, tenant, **kwargs)
            response.headers.setdefault("Content-Security-Policy", POLICY)
            if not response.has_header("Cache-Control"):
                add_never_cache_headers(response)
            return response

        return answer

    return decorate


@require_GET
def enter(request: HttpRequest, token: str) -> HttpResponse:
    """Log in with the link that the demo prints; without a token in the settings there is no such page."""
    expected = settings.CHATSITE_ENTRY_TOKEN
    if not expected or not constant_time_compare(token, expected):
        raise Http404
    login(request, get_object_or_404(get_user_model(), username=settings.CHATSITE_ENTRY_USER))
    return redirect("inbox")


@require_GET
@for_members()
def page(request: HttpRequest, tenant: str, conversation_id: UUID | None = None) -> HttpResponse:
    """The list, and a conversation where one is open."""
    context = _context(request, tenant, _conversation(tenant, conversation_id) if conversation_id else None)
    return render(request, "inbox/page.html", {**context, "notice": NOTICES.get(request.GET.get("said", ""), "")})


@require_GET
@for_members()
def state(request: HttpRequest, tenant: str, conversation_id: UUID | None = None) -> HttpResponse:
    """What a page that was away needs: how every bubble stands, and those that changed since ``since`` as they look now."""
    conversation = _conversation(tenant, conversation_id) if conversation_id else None
    context = _context(request, tenant, conversation, since=request.GET.get("since", ""))
    answer = {"list": render_to_string("inbox/_list.html", context, request)}
    if conversation is not None:
        answer |= {
            "head": render_to_string("inbox/_head.html", context, request),
            "banner": render_to_string("inbox/_banner.html", context, request),
            "version": context["version"],
            "bubbles": [_as_json(request, one) for one in context["bubbles"]],
        }
    return JsonResponse(answer)


@require_POST
@for_members("chat.add_message")
def write(request: HttpRequest, tenant: str, conversation_id: UUID) -> HttpResponse:
    """Save a message and have it sent once that is committed. The form chooses its id: sent twice it is one message."""
    from actors import send_message

    conversation = _conversation(tenant, conversation_id)
    text = request.POST.get("text", "").replace("\r\n", "\n").strip()
    if not text or len(text) > MAX_CHARS:
        return _said(request, conversation, "too_long" if text else "empty", status=422)
    own = {"pk": _own_id(request), "conversation": conversation}
    name = request.user.get_full_name() or request.user.get_username()
    try:
        with transaction.atomic():
            message = Message.objects.create(**own, content=text, sender_name=name)
            # Told first: a page must not hear that a message was sent before it knows of it.
            transaction.on_commit(lambda: tell.written(message))
            send_on_commit(send_message, message.pk)
    except IntegrityError:
        # A double click, or a browser that asked again: the first one counts.
        message = get_object_or_404(Message, **own)
    return _changed(request, message)


@transaction.non_atomic_requests
@require_POST
@for_members("chat.change_message")
def retry(request: HttpRequest, tenant: str, message_id: UUID) -> HttpResponse:
    """Send a failed message again."""
    message = get_object_or_404(
        Message.objects.select_related("conversation"),
        pk=message_id,
        conversation__tenant_id=tenant,
        direction="outgoing",
    )
    try:
        said = retry_message(message.pk, may_repeat=request.POST.get("may_repeat") == "yes")
    except PipelineError:
        return _said(request, message.conversation, "queue", status=503)
    if said is not Retried.SENT_AGAIN:
        return _said(request, message.conversation, said, status=409)
    tell.waiting_again(message)
    message.refresh_from_db()
    return _changed(request, message)


@require_POST
@for_members("chat.change_conversation")
def refresh(request: HttpRequest, tenant: str, conversation_id: UUID) -> HttpResponse:
    """Ask for the picture of a person, or for all that is known of a group."""
    from actors import fetch_group_info, fetch_profile_pic

    conversation = _conversation(tenant, conversation_id)
    fetch = fetch_group_info if conversation.conversation_type == "group" else fetch_profile_pic
    send_on_commit(fetch, str(conversation.pk), force=True)
    return _said(request, conversation, "asked", status=202)


@require_GET
@for_members()
def picture(request: HttpRequest, tenant: str, conversation_id: UUID) -> HttpResponse:
    """The picture of a person or group; drawn, see ``portraits``."""
    conversation = _conversation(tenant, conversation_id)
    if not conversation.profile_pic_url:
        raise Http404
    drawn = portraits.draw(conversation.profile_pic_url, is_group=conversation.conversation_type == "group")
    # Its address in the page changes with the picture.
    return HttpResponse(drawn, content_type="image/svg+xml", headers={"Cache-Control": "private, max-age=86400"})


def _conversation(tenant: str, conversation_id: UUID) -> Conversation:
    return get_object_or_404(Conversation, pk=conversation_id, tenant_id=tenant)


def _context(
    request: HttpRequest, tenant: str, conversation: Conversation | None, *, since: str = ""
) -> dict[str, object]:
    shown = _shown(request)
    context: dict[str, object] = {
        "entries": rows.entries(tenant, open_id=conversation.pk if conversation else None),
        "labels": rows.STATUSES,
        "conversation": conversation,
    }
    if conversation is None:
        return context
    found = rows.bubbles(conversation, shown=shown, since=since)
    return context | {
        "about": rows.about(conversation),
        "banner": banner_of(conversation),
        "bubbles": found,
        "version": rows.newest_version(found),
        "shown": shown,
        "earlier": min(rows.MOST_SHOWN, shown * 3) if len(found) == shown < rows.MOST_SHOWN else None,
        "new_id": uuid4(),
        "max_chars": MAX_CHARS,
    }


def _shown(request: HttpRequest) -> int:
    try:
        return max(1, min(rows.MOST_SHOWN, int(request.GET.get("show", rows.SHOWN))))
    except ValueError:
        return rows.SHOWN


def _as_json(request: HttpRequest, one: rows.Bubble) -> dict[str, object]:
    told = {name: getattr(one, name) for name in ("id", "order", "version", "status", "day", "day_label")}
    if one.is_changed:
        told["html"] = render_to_string("inbox/_bubble.html", {"bubble": one}, request)
    return told


def _own_id(request: HttpRequest) -> UUID:
    try:
        return UUID(request.POST.get("id", ""))
    except ValueError:
        return uuid4()


def _wants_json(request: HttpRequest) -> bool:
    return request.headers.get("Accept") == "application/json"


def _changed(request: HttpRequest, message: Message) -> HttpResponse:
    if not _wants_json(request):
        return redirect("conversation", conversation_id=message.conversation_id)
    return JsonResponse({"bubbles": [_as_json(request, rows.bubble(message))], "new_id": str(uuid4())}, status=201)


def _said(request: HttpRequest, conversation: Conversation, what: str, *, status: int) -> HttpResponse:
    if _wants_json(request):
        return JsonResponse({"said": what, "notice": NOTICES[what]}, status=status)
    page_ = redirect("conversation", conversation_id=conversation.pk)
    return HttpResponseRedirect(f"{page_.url}?said={what}")
