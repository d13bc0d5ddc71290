"""What values of settings, of keys and of users have to look like."""

from __future__ import annotations

import re
from collections.abc import Mapping
from ipaddress import IPv6Network, ip_network
from typing import Any

MINIMUM_SECRET_BYTES = 32


ANYWHERE = ("0.0.0.0/0", "::/0")
RATED = ("key", "user", "address", "data_source")
"""What a rate may hold for."""
QUOTAS = tuple(f"{what}_per_{period}" for what in ("requests", "documents", "bytes") for period in ("day", "month"))
_RATE = re.compile(r"[1-9]\d{0,9} ?/ ?([1-9]\d{0,4} ?)?(second|minute|hour|day)s?")


def check_network(text: str) -> str:
    """``text`` if it is an IP address or a CIDR block; else ValueError says what is wrong with it."""
    try:
        block = ip_network(text)
    except ValueError:
        raise ValueError(f"{text!r} is no IP address and no CIDR block such as 192.0.2.0/24") from None
    if isinstance(block, IPv6Network) and block.network_address.ipv4_mapped is not None:
        raise ValueError(f"{text!r} is an IPv4 address in IPv6 clothes; write it as IPv4")
    return text


def check_rate(text: str) -> str:
    """``text`` if it is one or more rates joined by semicolons, such as ``20/second;5000/hour``; else ValueError."""
    for part in text.split(";"):
        if not _RATE.fullmatch(part.strip()):
            raise ValueError(f"{text!r} is no rate such as '20/second;5000/hour'")
    return text


def check_quotas(quotas: Mapping[str, Any]) -> None:
    """ValueError unless ``quotas`` maps names of :data:`QUOTAS` to numbers from 0 on; 0 is no quota."""
    for name, most in quotas.items():
        if name not in QUOTAS:
            raise ValueError(f"there is no quota {name!r}; there are {', '.join(QUOTAS)}")
        if not isinstance(most, int) or isinstance(most, bool) or not 0 <= most < 2**63:
            raise ValueError(f"{name}: expected a number from 0 on")
