"""What values of settings, of keys and of users have to look like."""

from __future__ import annotations

import re
from collections.abc import Mapping
from ipaddress import IPv6Network, ip_network
from typing import Annotated, Any

from pydantic import BeforeValidator, SecretStr

MINIMUM_SECRET_BYTES = 32


ANYWHERE = ("0.0.0.0/0", "::/0")
RATED = ("key", "user", "address", "data_source")
"""What a rate may hold for."""
QUOTAS = tuple(f"{what}_per_{period}" for what in ("requests", "documents", "bytes") for period in ("day", "month"))
_RATE = re.compile(r"[1-9]\d{0,9} ?/ ?([1-9]\d{0,4} ?)?(second|minute|hour|day)s?")


def _separated(value: Any) -> Any:
    """A variable's text as a list: a JSON array is left to the parser, anything else is split at commas."""
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return value


Names = Annotated[tuple[str, ...], BeforeValidator(_separated)]
"""The type of a setting that is a list of texts."""


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


def check_secret(secret: SecretStr | None) -> SecretStr | None:
    """``secret`` if it has bytes enough that nobody guesses it, or is None; else ValueError."""
    if secret is not None and len(secret.get_secret_value().encode()) < MINIMUM_SECRET_BYTES:
        raise ValueError(f"is shorter than {MINIMUM_SECRET_BYTES} bytes")
    return secret


def check_database(name: str) -> str:
    """``name`` if MongoDB takes it as the name of a database; else ValueError."""
    if not name or len(name.encode()) > 63 or any(character in name for character in '/\\. "$\0'):
        raise ValueError('is no database name: up to 63 bytes without / \\ . " $ and spaces')
    return name
