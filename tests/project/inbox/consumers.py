"""The WebSocket of a page: what happens in its tenant's conversations, as it happens.

    server → page   {"type": "ready"}                   it misses nothing from here on; now it asks what it missed before
                    {"type": "message_status_update"}   a message went on or failed
                    {"type": "message_received"}        there is a new message
                    {"type": "conversation_updated"}    another picture, name or group

A page says nothing. Whoever is not logged in, or belongs to no tenant, is refused.
"""

from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncJsonWebsocketConsumer

from inbox.models import tenant_of


class ChatConsumer(AsyncJsonWebsocketConsumer):
    tenant_group: str | None = None

    async def connect(self) -> None:
        tenant = await database_sync_to_async(tenant_of)(self.scope["user"])
        if tenant is None:
            await self.close()
            return
        self.tenant_group = f"chat_tenant_{tenant}"
        await self.channel_layer.group_add(self.tenant_group, self.channel_name)
        await self.accept()
        await self.send_json({"type": "ready"})

    async def disconnect(self, code: int) -> None:
        if self.tenant_group is not None:
            await self.channel_layer.group_discard(self.tenant_group, self.channel_name)

    async def receive_json(self, content: object, **kwargs: object) -> None:
        pass

    async def message_status_update(self, event: dict[str, object]) -> None:
        await self._forward(event, "message_id", "status")

    async def message_received(self, event: dict[str, object]) -> None:
        await self._forward(event)

    async def conversation_updated(self, event: dict[str, object]) -> None:
        conversation = event.get("conversation")
        id_ = conversation.get("id") if isinstance(conversation, dict) else None
        await self._forward({**event, "conversation_id": id_})

    async def _forward(self, event: dict[str, object], *names: str) -> None:
        await self.send_json({name: event.get(name) for name in ("type", "conversation_id", *names)})
