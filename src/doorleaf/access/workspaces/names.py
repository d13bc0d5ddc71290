"""Names of tenants and workspaces, and what may be said about one."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Iterable, Mapping
from typing import Any

from doorleaf.access.workspaces.tenancy import CAPABILITIES, QUOTAS, REALTIME, SCOPES, SUBSCRIBE
from doorleaf.errors import InvalidParameter

RESERVED = frozenset({"workspaces", "databases"})
"""Words that stand where a workspace's id does in other APIs of the kind."""
SERVER_DATABASES = frozenset({"admin", "local", "config"})
MOST = 2**53
_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,47}")
_DATABASE = re.compile(r"[A-Za-z0-9_-]{1,63}")


def new_id(prefix: str) -> str:
    """``prefix`` and a ULID: 26 characters that sort by the time they were made."""
    number = (time.time_ns() // 1_000_000) << 80 | secrets.randbits(80)
    return prefix + "".join(_CROCKFORD[number >> shift & 31] for shift in range(125, -1, -5))


def check_id(identifier: str, what: str) -> str:
    """``identifier``, which can be one of ``what``; else InvalidParameter."""
    if not _ID.fullmatch(identifier):
        raise InvalidParameter(f"id: {what} has up to 48 letters, digits, _ and -, and begins with a letter or digit")
    if identifier.lower() in RESERVED:
        raise InvalidParameter(f"id: {identifier!r} is reserved")
    return identifier


def check_database(name: str, system: str) -> str:
    """``name``, which can be the database of a workspace; else InvalidParameter."""
    if not _DATABASE.fullmatch(name):
        raise InvalidParameter("database: a name has up to 63 letters, digits, _ and -")
    if name.lower() in SERVER_DATABASES or name.casefold() == system.casefold():
        raise InvalidParameter(f"database: {name!r} belongs to the server")
    return name


def check_scopes(scopes: Iterable[str]) -> list[str]:
    """``scopes`` without repetition, all that there are if there are none; InvalidParameter names one that is none."""
    given = {REALTIME if scope == SUBSCRIBE else scope for scope in scopes} or set(SCOPES)
    for scope in given:
        if scope not in SCOPES:
            raise InvalidParameter(f"scopes: {str(scope)[:50]!r} is none; there are {', '.join((*SCOPES, SUBSCRIBE))}")
    return [scope for scope in SCOPES if scope in given]


def check_capabilities(capabilities: Iterable[str]) -> list[str]:
    """``capabilities`` without repetition; InvalidParameter names one that is none."""
    given = list(capabilities)
    for capability in given:
        if capability not in CAPABILITIES:
            known = ", ".join(CAPABILITIES)
            raise InvalidParameter(f"capabilities: {str(capability)[:50]!r} is none; there are {known}")
    return [capability for capability in CAPABILITIES if capability in given]


def check_quotas(quotas: Mapping[str, Any]) -> dict[str, int | None]:
    """``quotas`` by kind, None for one that is taken away; InvalidParameter names what is wrong."""
    for kind, most in quotas.items():
        if kind not in QUOTAS:
            raise InvalidParameter(f"quotas: {kind[:50]!r} is none; there are {', '.join(QUOTAS)}")
        if most is not None and (type(most) is not int or not 0 <= most <= MOST):
            raise InvalidParameter(f"quotas.{kind}: expected a whole number that is not below 0, or null")
    return dict(quotas)
