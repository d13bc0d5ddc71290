"""Bearer tokens of workspaces: JSON Web Tokens signed with the secret of their tenant."""

from __future__ import annotations

import math
import secrets
from dataclasses import dataclass, replace
from typing import Any

from doorleaf.access import hs256
from doorleaf.errors import Unauthenticated

ISSUER = "doorleaf"
LONGEST = 8192
"""Characters of a token that may be ours."""
LONGEST_SECONDS = 366 * 86_400


@dataclass(frozen=True, slots=True)
class Said:
    """The claims of a verified token: who shows it, of which tenant, for which workspaces (None: all of the tenant's),
    with which scopes, and from when until when it is good (seconds since 1970). One of ours has the ``birth`` of its
    workspace."""

    subject: str
    tenant: str
    workspaces: frozenset[str] | None
    scopes: frozenset[str]
    issued: float
    expires: float
    birth: str | None = None


def issue(
    secret: bytes, tenant: str, workspace: tuple[str, str], scopes: list[str], now: float, seconds: float
) -> tuple[str, float]:
    """A token for a ``workspace``, its id and its birth, and when it ends."""
    expires = int(now + min(seconds, LONGEST_SECONDS))
    issued = math.floor(now * 1000) / 1000  # as dates of the database are, so that both compare
    claims = {"iss": ISSUER, "typ": "workspace", "sub": secrets.token_hex(12), "iat": issued, "exp": expires}
    identifier, birth = workspace
    claims |= {"tenant_id": tenant, "workspace_id": identifier, "birth": birth, "scope": " ".join(scopes)}
    return hs256.sign(claims, secret, key_id=f"{ISSUER}:{tenant}"), expires


def tenant_of(token: str) -> str | None:
    """The tenant whose secret a token of ours says to be signed with; None for a token that is not ours."""
    if len(token) > LONGEST:
        return None
    key = hs256.key_id(token)
    issuer, _, tenant = key.partition(":") if isinstance(key, str) else ("", "", "")
    return tenant if issuer == ISSUER and tenant else None


def verify(token: str, secret: bytes, tenant: str) -> Said:
    """Verify a token of ours and return its claims; Unauthenticated for one that we did not sign. Its end is for others
    to look at."""
    try:
        claims = hs256.verified(token, secret, require=("exp", "iat", "sub", "tenant_id"), issuer=ISSUER)
        if claims.get("typ") != "workspace" or claims["tenant_id"] != tenant:
            raise ValueError("another kind of token")
        found = said(claims, float(claims["iat"]), float(claims["exp"]))
        return replace(found, birth=str(claims.get("birth", "")))  # those of before had none, nor had workspaces
    except (ValueError, TypeError, KeyError):
        raise Unauthenticated("the token is not valid") from None


def said(claims: Any, issued: float, expires: float) -> Said:
    """Read what claims say about tenants, workspaces and scopes; ValueError or KeyError where they do not."""
    tenant, subject = claims["tenant_id"], claims["sub"]
    listed = claims.get("workspaces")
    one = claims.get("workspace_id")
    named = [*(listed if isinstance(listed, list) else ()), *([] if one is None else [one])]
    scope = claims.get("scope", claims.get("scopes", ""))
    scopes = scope.split() if isinstance(scope, str) else scope
    if not isinstance(tenant, str) or not isinstance(subject, str) or not isinstance(scopes, list):
        raise ValueError("a claim is of another type")
    if not all(isinstance(text, str) for text in (*named, *scopes)) or (listed is not None and named == []):
        raise ValueError("a claim is of another type")
    workspaces = frozenset(named) if named else None
    return Said(subject, tenant, workspaces, frozenset(scopes), issued, expires)
