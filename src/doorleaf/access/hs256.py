"""JSON Web Tokens that this server signs for itself, with a secret of its own (RFC 7519; HS256 of RFC 7518, 3.2).

PyJWT comes with the first token: it brings cryptography, ten megabytes that a server of keys alone does without.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from doorleaf.documents import Document

ALGORITHM = "HS256"
_BY_OUR_CLOCK = {f"verify_{name}": False for name in ("exp", "nbf", "iat", "aud")}
"""Times are for the caller to look at, and nobody is named as an audience."""


def sign(claims: Document, secret: bytes, *, key_id: str | None = None) -> str:
    """A token that says ``claims``; ``key_id`` becomes ``kid`` of its header."""
    import jwt

    return jwt.encode(claims, secret, algorithm=ALGORITHM, headers=None if key_id is None else {"kid": key_id})


def verified(token: str, secret: bytes, *, require: Sequence[str], issuer: str | None = None) -> Document:
    """The claims of a token that was signed with ``secret``, of ``issuer`` where one is given, with all that
    ``require`` names. ValueError for any other; whether it has ended is not looked at."""
    import jwt

    options: Any = {"require": require, **_BY_OUR_CLOCK}
    try:
        claims: Document = jwt.decode(token, secret, algorithms=[ALGORITHM], issuer=issuer, options=options)
    except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
        raise ValueError("not a token of this server") from None
    return claims


def unverified(token: str) -> Document:
    """The claims of a token that was verified before."""
    import jwt

    claims: Document = jwt.decode(token, options={"verify_signature": False})
    return claims


def key_id(token: str) -> Any:
    """The ``kid`` of a token's header, which anybody may have written; None without one, and for what is no token."""
    import jwt

    try:
        return jwt.get_unverified_header(token).get("kid")
    except (jwt.PyJWTError, ValueError, RecursionError):
        return None
