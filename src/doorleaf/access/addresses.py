"""Where a request really comes from, and whether that address may call at all."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from doorleaf.errors import PermissionDenied
from doorleaf.settings.checks import ANYWHERE, check_network

Network = IPv4Network | IPv6Network

_MAPPED = "::ffff:"


def networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """Addresses and CIDR blocks as networks; ValueError names the first that is neither."""
    return tuple(ip_network(check_network(text)) for text in texts)


class Addresses:
    """The IP access list, and the proxies whose word is taken for their clients.

    An empty ``allowed`` means nobody. ``X-Forwarded-For`` counts only when the connection comes from a proxy in
    ``trusted_proxies``, and then its last address that is not such a proxy.
    """

    __slots__ = ("_allowed", "_allows", "_trusted", "open_to_all", "trusts_nobody")

    def __init__(self, allowed: Iterable[str] = ANYWHERE, trusted_proxies: Iterable[str] = ()) -> None:
        self._allowed = networks(allowed)
        self._trusted = networks(trusted_proxies)
        self._allows = lru_cache(maxsize=4096)(self._is_allowed)
        self.open_to_all = {str(item) for item in self._allowed} >= set(ANYWHERE)
        """Whether the list has to be asked never."""
        self.trusts_nobody = not self._trusted
        """Whether the connection's address is always the caller's."""

    def client(self, peer: str, forwarded: str | None) -> str:
        """The caller's address, of the connection's ``peer`` and the ``X-Forwarded-For`` header's text."""
        if forwarded is None or not among(peer, self._trusted):
            return peer
        known = peer
        for part in reversed(forwarded.split(",")):
            hop = _parse(_bare(part))
            if hop is None:
                # What stands left of nonsense was not written by a proxy we trust.
                return known
            known = str(hop)
            if not among(known, self._trusted):
                return known
        return known

    def trusts(self, peer: str) -> bool:
        """Whether what the connection's ``peer`` says of its clients is believed."""
        return among(peer, self._trusted)

    def require(self, address: str) -> None:
        """Raise :class:`PermissionDenied` for an address that is not on the list."""
        if not self.open_to_all and not self._allows(address):
            raise PermissionDenied("requests from this address are not allowed", code="AddressNotAllowed")

    def _is_allowed(self, address: str) -> bool:
        return among(address, self._allowed)


def among(address: str, blocks: Iterable[Network]) -> bool:
    """Whether ``address`` lies in one of ``blocks``; what is no address lies in none."""
    parsed = _parse(address)
    return parsed is not None and any(parsed.version == item.version and parsed in item for item in blocks)


def unmapped(address: str) -> str:
    """``::ffff:192.0.2.1``, which a socket for both families reports, as ``192.0.2.1``."""
    tail = address[len(_MAPPED) :]
    return tail if address.startswith(_MAPPED) and "." in tail else address


@lru_cache(maxsize=4096)
def neighbourhood(address: str) -> str:
    """The part of an address that stands for one caller: an IPv4 address, or the /64 of an IPv6 address, which is one
    customer's network."""
    parsed = _parse(address)
    if isinstance(parsed, IPv6Address):
        return str(IPv6Network((int(parsed) >> 64 << 64, 64)))
    return address


def _bare(part: str) -> str:
    """``1.2.3.4:5678`` and ``[2001:db8::1]:5678`` without their ports."""
    text = part.strip()
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0] if text.count(":") == 1 else text


def _parse(address: str) -> IPv4Address | IPv6Address | None:
    try:
        parsed = ip_address(address)
    except ValueError:
        return None
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is not None:
        return parsed.ipv4_mapped
    return parsed
