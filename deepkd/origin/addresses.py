"""Addresses: which may be connected to, and how they are shown without their credentials."""

import ipaddress
import re
from collections.abc import Iterable

from deepkd.imports import is_installed

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

HIDDEN = "***"
"""Shown in place of a credential."""
UNICAST = ipaddress.IPv6Network("2000::/3")
"""Addresses of the public IPv6 internet; what lies outside is local or reserved."""
NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
"""Addresses that stand for IPv4 addresses (RFC 6052)."""

_SECRET = re.compile(
    r"token|sig|key|auth|pass|pwd|pw$|secret|sess|sid|cred|code|jwt|hmac|policy|ticket",
    re.IGNORECASE,
)
"""Names of parameters in an address whose values may open a door."""
_PARTS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*://)([^/?#]*)(.*)", re.DOTALL)
_PARAMETER = re.compile(r"(?<=[?&#;])([^=&#;?]+)=[^&#;]*")


def can_fetch() -> bool:
    """Whether the extra `url` is installed, with which links are fetched."""
    return is_installed("yt_dlp")


def hide_credentials(url: str) -> str:
    """The address as it may be shown: without user and password, secret parameters hidden."""
    match = _PARTS.fullmatch(url)
    if not match:
        return url
    scheme, host, rest = match.groups()
    host = host.rpartition("@")[2]
    if re.search(r":[^\]]*[^\d\]]", host) and "@" in rest:  # a password with a slash in it
        host, rest = "", rest.rpartition("@")[2]
    return scheme + host + _PARAMETER.sub(_hide, rest)


def _hide(match: re.Match[str]) -> str:
    return f"{match[1]}={HIDDEN}" if _SECRET.search(match[1]) else match[0]


def parse_networks(text: str) -> list[Network]:
    """The networks that a list such as `127.0.0.1, 10.1.0.0/16` names."""
    return [ipaddress.ip_network(each.strip()) for each in text.split(",") if each.strip()]


def may_connect(address: str, allowed: Iterable[Network] = ()) -> bool:
    """Whether an IP address is public, or in one of the allowed networks.

    A name is no IP address, and may not be connected to: it could lead anywhere.
    """
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped:
        parsed = parsed.ipv4_mapped
    return _is_public(parsed) or any(parsed in network for network in allowed)


def _is_public(address: IPAddress) -> bool:
    if isinstance(address, ipaddress.IPv4Address):
        return address.is_global and not address.is_multicast
    if address in NAT64:
        return _is_public(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    if address.sixtofour:
        return _is_public(address.sixtofour)
    return address in UNICAST and address.is_global
