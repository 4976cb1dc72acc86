"""The demo project for an ASGI server: pages, files and the WebSocket of open pages.

The files of ``static/`` are served here too, so that one process is the whole site; a product has its web server do that.
"""

import os

from channels.auth import AuthMiddlewareStack
from channels.routing import ProtocolTypeRouter, URLRouter
from channels.security.websocket import AllowedHostsOriginValidator
from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler
from django.core.asgi import get_asgi_application
from django.urls import path

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "chatsite.settings")
pages = get_asgi_application()

# Django is set up by now; before, this would find no models.
from inbox.consumers import ChatConsumer  # noqa: E402

sockets = URLRouter([path("ws/chat/", ChatConsumer.as_asgi())])
application = ProtocolTypeRouter(
    {
        "http": ASGIStaticFilesHandler(pages),
        "websocket": AllowedHostsOriginValidator(AuthMiddlewareStack(sockets)),
    }
)
