"""Take in webhooks of Evolution and of the WhatsApp Cloud API.

``actors.gateways.evolution_webhooks`` and ``cloud_webhooks`` read them, ``actors.intake`` applies them. Answers have no body.
Who does not show the secret is told 403 or 404 and changes nothing; 503 says that the store or Redis is down, which makes the
provider tell again. Neither the body, which carries the instance's key, nor the path, which carries the token, is logged or kept.
"""

import hmac
import logging
from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any

from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.utils.log import log_response
from django.views.decorators.csrf import csrf_exempt

from actors import intake, services
from actors.django_app.instance_keys import keys
from actors.errors import Transient
from actors.gateways import cloud_webhooks, evolution_webhooks
from actors.settings import Hidden
from actors.updates import Update
from middleware.errors import Described, PipelineError

logger = logging.getLogger(__name__)

#: Longest body, in bytes: Meta's own bound.
MAX_BODY_BYTES = 3 * 1024 * 1024
#: Longest challenge that is given back to Meta; hers has ten digits.
MAX_CHALLENGE_CHARS = 200

View = Callable[..., HttpResponse]


def _intake(view: View) -> View:
    """What both have in common: no CSRF, no transaction around it, no word about the request in any log or report."""

    @csrf_exempt  # type: ignore[untyped-decorator]  # Django brings no types
    @transaction.non_atomic_requests  # type: ignore[untyped-decorator]  # Django brings no types
    @wraps(view)
    def answer(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        try:
            response = view(request, *args, **kwargs)
        except Exception as error:
            # Nothing that Django or Sentry would attach to it may leave: body and path are secret.
            logger.error("webhook.broken", extra={"code": _code(error)})
            response = HttpResponse(status=500)
        if response.status_code >= 400:
            # Marks it as logged: Django would log the path, and with it the token, and mail it to the admins.
            log_response("webhook answered %s", response.status_code, response=response, logger=logger, level="debug")
        return response

    made: View = answer
    return made


@_intake
def evolution(request: HttpRequest, token: str, event: str = "") -> HttpResponse:
    """An event of Evolution: POST ``…/evolution/<token>/``.

    Evolution signs nothing: the token in the path is the secret, and the body must name the key of its instance's row, where
    that has one.
    """
    del event
    if not _is_same(services.settings().webhook_token, token):
        return HttpResponse(status=404)
    if request.method != "POST":
        return HttpResponse(status=405)
    body = _body(request)
    if body is None:
        return HttpResponse(status=413)
    updates = evolution_webhooks.updates(body)
    if not updates:
        return HttpResponse(status=200)
    # All updates of a body are of its one instance.
    name = updates[0].instance_name or ""
    try:
        if not keys.fits(body, name):
            logger.warning("webhook.refused", extra={"instance": name, "code": "wrong_key"})
            return HttpResponse(status=403)
    except (Transient, PipelineError) as error:
        return _unavailable(error)
    return _apply(updates)


@_intake
def cloud(request: HttpRequest) -> HttpResponse:
    """A webhook of Meta: GET proves that the URL is ours, POST brings signed statuses."""
    settings = services.settings()
    if settings.whatsapp_cloud_app_secret is None:
        return HttpResponse(status=404)
    if request.method == "GET":
        return _challenge(request, settings.whatsapp_cloud_verify_token)
    if request.method != "POST":
        return HttpResponse(status=405)
    body = _body(request)
    if body is None:
        return HttpResponse(status=413)
    secret = settings.whatsapp_cloud_app_secret.get_secret_value()
    if not cloud_webhooks.is_signed(body, request.headers.get("X-Hub-Signature-256"), app_secret=secret):
        logger.warning("webhook.refused", extra={"instance": None, "code": "wrong_signature"})
        return HttpResponse(status=403)
    return _apply(cloud_webhooks.updates(body))


def _challenge(request: HttpRequest, expected: Hidden | None) -> HttpResponse:
    asked = request.GET
    challenge = asked.get("hub.challenge", "")
    if asked.get("hub.mode") != "subscribe" or not _is_same(expected, asked.get("hub.verify_token", "")):
        return HttpResponse(status=403)
    if not (challenge.isascii() and challenge.isalnum() and len(challenge) <= MAX_CHALLENGE_CHARS):
        return HttpResponse(status=400)
    return HttpResponse(challenge, content_type="text/plain")


def _is_same(expected: Hidden | None, given: str) -> bool:
    """In constant time; nothing is the same as a secret that is not set."""
    if expected is None:
        return False
    return hmac.compare_digest(expected.get_secret_value().encode(), given.encode("utf-8", "replace"))


def _body(request: HttpRequest) -> bytes | None:
    """The raw body; None for one that is too long, of which no more is read than shows it."""
    try:
        announced = int(request.headers.get("Content-Length") or 0)
    except ValueError:
        announced = 0
    if announced > MAX_BODY_BYTES:
        return None
    body: bytes = request.read(MAX_BODY_BYTES + 1)
    return body if len(body) <= MAX_BODY_BYTES else None


def _apply(updates: Iterable[Update]) -> HttpResponse:
    try:
        intake.apply_all(updates)
    except (Transient, PipelineError) as error:
        return _unavailable(error)
    return HttpResponse(status=200)


def _unavailable(error: Described) -> HttpResponse:
    logger.warning("webhook.put_off", extra={"code": error.code})
    return HttpResponse(status=503)


def _code(error: Exception) -> str:
    return error.code if isinstance(error, Described) else type(error).__name__
