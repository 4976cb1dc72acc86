"""A gateway that delivers nowhere: ``server`` answers like Evolution and the Cloud API, and this client sends to no other host.

``actors.gateways.base`` makes it for ``CHAT_GATEWAY=sandbox``: a copied database can send nothing.
"""

from typing import TYPE_CHECKING

from actors.domain import Instance
from actors.errors import ChatError, SettingsError
from actors.gateways.evolution import EvolutionGateway
from actors.gateways.evolution_endpoint import Endpoint, clean_url, is_loopback
from actors.gateways.sandbox.server import SANDBOX_KEY, serve
from actors.gateways.whatsapp_cloud import WhatsAppCloudGateway
from actors.gateways.whatsapp_cloud_endpoint import CloudEndpoint

if TYPE_CHECKING:
    from actors.settings import Settings

__all__ = ["SANDBOX_KEY", "make_gateway", "serve"]


def make_gateway(settings: "Settings", *, in_place_of: str | None = None) -> EvolutionGateway | WhatsAppCloudGateway:
    """The client of the gateway that it stands in for, with every instance's URL replaced by the sandbox's.

    The instance's own key is kept, so that a revoked one can be tried; an instance without gets the settings' or the
    sandbox's default. Whatever is not the Cloud API is spoken to as Evolution.

    Raises:
        SettingsError: ``CHAT_SANDBOX_URL`` is missing or names another machine.
    """
    url = _loopback_url(settings)
    is_cloud = in_place_of == "whatsapp_cloud"
    secret = settings.whatsapp_cloud_token if is_cloud else settings.evolution_api_key
    default_key = secret.get_secret_value() if secret is not None else SANDBOX_KEY

    def key_of(instance: Instance | None) -> str:
        own_key = instance.api_key if instance is not None else None
        return own_key or default_key

    if is_cloud:
        base_url = f"{url}/{settings.whatsapp_cloud_version}"
        return WhatsAppCloudGateway(lambda one: CloudEndpoint(base_url=base_url, token=key_of(one)), name="sandbox")
    return EvolutionGateway(lambda one: Endpoint(base_url=url, api_key=key_of(one)), name="sandbox")


def _loopback_url(settings: "Settings") -> str:
    if not settings.sandbox_url:
        raise SettingsError(["CHAT_SANDBOX_URL is not set: start chat-actors sandbox and set it to the URL it prints"])
    try:
        url = clean_url(settings.sandbox_url, source="CHAT_SANDBOX_URL")
    except ChatError as error:
        raise SettingsError([str(error)]) from error
    if not is_loopback(url):
        raise SettingsError(["CHAT_SANDBOX_URL names another machine: a sandbox is 127.0.0.1, ::1 or localhost"])
    return url
