"""Whether the URL of a file may be asked for at all. Pure.

``media_fetch`` asks before it resolves a name, ``actors.files`` before a gateway gets the URL. A row may name any address:
none may lead into the network of whoever fetches.
"""

import re
import socket
from collections.abc import Collection
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import httpx

from actors.errors import BadPayload
from actors.gateways.evolution_endpoint import MAX_PORT
from middleware.scrub import hide

Address = IPv4Address | IPv6Address

#: Where nobody keeps files and what ``is_global`` leaves open: protocol assignments, and IPv6 that carries an IPv4 address.
_REFUSED = tuple(
    ip_network(text)
    for text in ("192.0.0.0/24", "192.88.99.0/24", "64:ff9b::/96", "64:ff9b:1::/48", "2001::/32", "2002::/16")
)
#: What resolvers and browsers take for an IPv4 address: 127.1, 0x7f000001, 2130706433.
_NUMERIC = re.compile(r"[0-9a-fx.]+", re.ASCII | re.IGNORECASE)


def check_url(url: str, *, hosts: Collection[str], owner: str) -> httpx.URL:
    """The URL, read; ``hosts`` may be at a private address. ``owner`` names the part, for the text.

    Raises:
        BadPayload: ``media_url``: it is no http(s), cannot be read in one way only, or names this machine or a private address.
    """
    if not re.match(r"https?://[^/?#\\]", url, re.IGNORECASE):
        raise _refused(
            owner, "has no http(s) URL: a path, a data URI or raw content is not sent; store the file and its URL"
        )
    parsed = None if re.search(r"[\s\\\x00-\x1f\x7f]", url) else _parsed(url)
    if parsed is None or not parsed.host or parsed.userinfo:
        raise _refused(owner, "has a URL that programs read in different ways (spaces, \\, user or password in it)")
    host = host_of(parsed)
    if "%" in host and ":" not in host:
        # Some programs decode it: localhost%2e is this machine to them.
        raise _refused(owner, "has a URL whose host is written with %; write it out")
    if host in hosts:
        return parsed
    address = literal(host)
    if host == "localhost" or host.endswith(".localhost") or (address is not None and is_refused(address)):
        raise private(owner, host)
    return parsed


def allowed_hosts(setting: str | None) -> frozenset[str]:
    """Names of ``CHAT_MEDIA_HOSTS``."""
    return frozenset(one.strip().strip("[]").rstrip(".").lower() for one in (setting or "").split(",")) - {""}


def host_of(url: httpx.URL) -> str:
    """Host as it is compared: lower case, without brackets and final dot."""
    return url.raw_host.decode("ascii").rstrip(".").lower()


def literal(host: str) -> Address | None:
    """The address that ``host`` is, in any of the forms that resolvers take; None for a name."""
    try:
        return ip_address(host)
    except ValueError:
        pass
    try:
        return IPv4Address(socket.inet_aton(host)) if _NUMERIC.fullmatch(host) else None
    except OSError:
        return None


def is_refused(address: Address) -> bool:
    """Whether an address is not one of the public internet: private, this machine, link-local, shared, multicast, reserved."""
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    if mapped is not None:
        return is_refused(mapped)
    if isinstance(address, IPv6Address) and (address.is_site_local or address.packed[:12] == bytes(12)):
        return True
    special = address.is_multicast or address.is_reserved or address.is_unspecified
    return special or not address.is_global or any(address in network for network in _REFUSED)


def private(owner: str, host: str) -> BadPayload:
    """A file that lies where nobody may be led."""
    return _refused(
        owner,
        f"lies at {shown(host)}, which is this machine or a private address; if it is yours, add it to CHAT_MEDIA_HOSTS",
    )


def shown(host: str) -> str:
    """``host`` for people; digits that could be a phone number are hidden."""
    return host if literal(host) is not None else hide(host[:100])


def _refused(owner: str, why: str) -> BadPayload:
    return BadPayload(f"the file of {owner} {why}", code="media_url")


def _parsed(url: str) -> httpx.URL | None:
    try:
        parsed = httpx.URL(url)
        # Decoded only when it is asked for, and then it may be none.
        _ = parsed.host
    except (httpx.InvalidURL, ValueError):
        # Not chained: the text of the cause quotes the URL.
        return None
    return parsed if parsed.port is None or 0 < parsed.port <= MAX_PORT else None
