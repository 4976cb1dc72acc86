"""Tell open pages what the host's own views did, in the groups and shapes of ``actors.django_app.sockets``.

Ids only: a page asks for the rest, so no text lies in Redis. A page that was not told sees it when it asks next.
"""

import asyncio
import logging

from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer
from chat.models import Message

logger = logging.getLogger(__name__)

#: A layer that is down costs a request so long at most, in seconds.
TIMEOUT_S = 1.0


def written(message: Message) -> None:
    """There is a new message."""
    _tell(message, {"type": "message_received", "message": {"id": str(message.pk)}})


def waiting_again(message: Message) -> None:
    """A failed message is pending again."""
    _tell(message, {"type": "message_status_update", "message_id": str(message.pk), "status": "pending"})


def _tell(message: Message, event: dict[str, object]) -> None:
    conversation = message.conversation
    layer = get_channel_layer()
    if layer is None or conversation.tenant_id is None:
        return

    async def send() -> None:
        async with asyncio.timeout(TIMEOUT_S):
            await layer.group_send(
                f"chat_tenant_{conversation.tenant_id}", {**event, "conversation_id": str(conversation.pk)}
            )

    try:
        async_to_sync(send)()
    except Exception as error:
        logger.warning("page.not_told: %s", type(error).__name__)
