"""Where the Cloud API is, with which token, and which number sends. Pure.

``actors.gateways.whatsapp_cloud`` resolves it before every request; the sandbox brings its own resolver.
"""

import re
from dataclasses import dataclass, field

import httpx

from actors.domain import Instance
from actors.errors import AuthConfig, NoCredentials
from actors.gateways.evolution_endpoint import clean_url

_PHONE_NUMBER_ID = re.compile(r"[0-9]{1,32}", re.ASCII)


@dataclass(frozen=True, slots=True)
class CloudEndpoint:
    """A base URL with version, and the token that opens it."""

    base_url: str = field(repr=False)
    token: str = field(repr=False)

    @property
    def host(self) -> str:
        """Host name, for people."""
        return httpx.URL(self.base_url).host


@dataclass(frozen=True, slots=True)
class CloudDefaults:
    """What the settings say."""

    url: str
    version: str
    token: str | None = field(default=None, repr=False)


def resolve(instance: Instance | None, defaults: CloudDefaults) -> CloudEndpoint:
    """The instance's own token, else the default one.

    The address of the Cloud API is the provider's and holds for every token; a row may name another, and then brings the
    token for it: the operator's is never shown to a server that a row names.

    Raises:
        NoCredentials: there is no token, or a row has a URL and none.
        AuthConfig: URL or token cannot be used; nothing was requested.
    """
    url, token, source = defaults.url, defaults.token, "CHAT_WHATSAPP_CLOUD_TOKEN"
    if instance is not None and (instance.api_key or instance.base_url):
        url, token, source = instance.base_url or url, instance.api_key, f"the row of instance {instance.name!r}"
    if not token:
        raise NoCredentials(f"{source} must hold a token of the Cloud API; one is never completed from elsewhere")
    if not (token.isascii() and token.isprintable()) or " " in token:
        raise AuthConfig(f"the token from {source} has characters that no HTTP header can carry", code="bad_key")
    base_url = clean_url(
        url, source=source if instance is not None and instance.base_url else "CHAT_WHATSAPP_CLOUD_URL"
    )
    return CloudEndpoint(base_url=f"{base_url}/{defaults.version}", token=token)


def phone_number_id(instance: Instance) -> str:
    """The id under which Meta knows the instance's number; never the number itself.

    Raises:
        NoCredentials: the row has none.
        AuthConfig: it is not an id: digits only.
    """
    if not instance.phone_number_id:
        raise NoCredentials(
            f"the row of instance {instance.name!r} has no phone_number_id; copy it from Meta's app dashboard"
        )
    if not _PHONE_NUMBER_ID.fullmatch(instance.phone_number_id):
        raise AuthConfig(
            f"the phone_number_id of instance {instance.name!r} is not an id of the Cloud API: digits without +",
            code="phone_number_id",
        )
    return instance.phone_number_id
