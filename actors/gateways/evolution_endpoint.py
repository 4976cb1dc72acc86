"""Where Evolution is and with which key: always a pair from one source. Pure.

``actors.gateways.evolution`` resolves it before every request; the sandbox gateway brings its own resolver.
"""

import ipaddress
from dataclasses import dataclass, field
from urllib.parse import quote

import httpx

from actors.domain import Instance
from actors.errors import AuthConfig, NoCredentials

MAX_PORT = 65_535
MAX_HOST_CHARS = 253
MAX_LABEL_CHARS = 63


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A server and the key that opens it."""

    base_url: str = field(repr=False)
    api_key: str = field(repr=False)

    @property
    def host(self) -> str:
        """Host name, for people."""
        return httpx.URL(self.base_url).host


def resolve(instance: Instance | None, *, default_url: str | None, default_key: str | None) -> Endpoint:
    """The instance's own pair, else the default pair.

    A URL from one source is never used with a key from the other: that would send a tenant's messages, or an operator's
    key, to a server of somebody else.

    Raises:
        NoCredentials: neither pair is whole, or the one that counts is half.
        AuthConfig: the pair cannot be used; nothing was requested.
    """
    url, key, source = default_url, default_key, "CHAT_EVOLUTION_URL and CHAT_EVOLUTION_API_KEY"
    if instance is not None and (instance.base_url or instance.api_key):
        url, key, source = instance.base_url, instance.api_key, f"the row of instance {instance.name!r}"
    if not url or not key:
        raise NoCredentials(f"{source} must hold both a URL and a key; a half pair is never completed from elsewhere")
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise AuthConfig(f"the key from {source} has characters that no HTTP header can carry", code="bad_key")
    return Endpoint(base_url=clean_url(url, source=source), api_key=key)


def clean_url(url: str, *, source: str) -> str:
    """``url`` without a trailing slash.

    Raises:
        AuthConfig: it is not http(s), or has more than host, port and path.
    """
    try:
        parsed = httpx.URL(url.strip())
        # Decoded only when it is asked for, and then it may be none.
        is_host = parsed.host == "" or _is_host(parsed.raw_host.decode("ascii"))
    except (httpx.InvalidURL, ValueError):
        # From None: the text of the cause quotes the URL, which may hold a password.
        raise AuthConfig(f"the URL from {source} cannot be read", code="wrong_url") from None
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise AuthConfig(f"the URL from {source} must begin with http:// or https:// and name a host", code="wrong_url")
    if parsed.userinfo or parsed.query or parsed.fragment:
        raise AuthConfig(f"the URL from {source} must have no user, query or fragment", code="wrong_url")
    if not is_host or not (parsed.port is None or 0 < parsed.port <= MAX_PORT):
        raise AuthConfig(f"the URL from {source} names a host or a port that cannot be", code="wrong_url")
    return str(parsed).rstrip("/")


def _is_host(host: str) -> bool:
    """Whether a resolver takes it: an address, or labels of 1 to 63 characters; others it refuses with an error of its own."""
    labels = host.removesuffix(".").split(".")
    return ":" in host or (len(host) <= MAX_HOST_CHARS and all(0 < len(one) <= MAX_LABEL_CHARS for one in labels))


def is_loopback(url: str) -> bool:
    """Whether ``url`` cannot leave this machine."""
    host = httpx.URL(url).host
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def instance_segment(name: str) -> str:
    """The instance's name as one segment of a path.

    Raises:
        AuthConfig: the name would change the path or the query. Evolution lets ``?instanceName=`` override the path after
            its guards, so such a name could send through another tenant's number.
    """
    if not name or name in (".", "..") or any(one in "/?#\\" or not one.isprintable() for one in name):
        raise AuthConfig(
            f"instance {name!r} has a name that cannot stand in a URL; rename it", code="bad_instance_name"
        )
    return quote(name, safe="")
