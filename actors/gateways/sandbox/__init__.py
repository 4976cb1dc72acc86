"""A gateway that delivers nowhere: ``server`` answers like Evolution, and this client sends to no other host.

``actors.gateways.base`` makes it for ``CHAT_GATEWAY=sandbox``: a copied database can send nothing.
"""

from typing import TYPE_CHECKING

from actors.domain import Instance
from actors.errors import ChatError, SettingsError
from actors.gateways.evolution import EvolutionGateway
from actors.gateways.evolution_endpoint import Endpoint, clean_url, is_loopback
from actors.gateways.sandbox.server import SANDBOX_KEY, serve

if TYPE_CHECKING:
    from actors.settings import Settings

__all__ = ["SANDBOX_KEY", "make_gateway", "serve"]


def make_gateway(settings: "Settings") -> EvolutionGateway:
    """The Evolution client, with every instance's URL replaced by the sandbox's.

    The instance's own key is kept, so that a revoked one can be tried; an instance without gets ``CHAT_EVOLUTION_API_KEY``
    or the sandbox's default.

    Raises:
        SettingsError: ``CHAT_SANDBOX_URL`` is missing or names another machine.
    """
    if not settings.sandbox_url:
        raise SettingsError(["CHAT_SANDBOX_URL is not set: start chat-actors sandbox and set it to the URL it prints"])
    try:
        url = clean_url(settings.sandbox_url, source="CHAT_SANDBOX_URL")
    except ChatError as error:
        raise SettingsError([str(error)]) from error
    if not is_loopback(url):
        raise SettingsError(["CHAT_SANDBOX_URL names another machine: a sandbox is 127.0.0.1, ::1 or localhost"])
    secret = settings.evolution_api_key
    default_key = secret.get_secret_value() if secret is not None else SANDBOX_KEY

    def find_endpoint(instance: Instance | None) -> Endpoint:
        own_key = instance.api_key if instance is not None else None
        return Endpoint(base_url=url, api_key=own_key or default_key)

    return EvolutionGateway(find_endpoint, name="sandbox")
