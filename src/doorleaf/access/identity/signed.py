"""JSON Web Tokens that the functions of an app make and read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jwt

from doorleaf.documents import Document
from doorleaf.errors import InvalidParameter

METHODS = ("HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "ES256", "ES384", "ES512", "PS256", "PS384", "PS512")


def encode_token(method: str, payload: Document, secret: str, headers: Document) -> str:
    """A token with ``payload``, signed with ``secret``, which is a key in PEM for all but the HS methods."""
    if method not in METHODS:
        raise InvalidParameter(f"jwt.encode: the methods are {', '.join(METHODS)}")
    try:
        return jwt.encode(payload, secret, algorithm=method, headers=headers)
    except (jwt.PyJWTError, ValueError, TypeError, AttributeError):  # the last for a public key
        raise InvalidParameter("jwt.encode: the payload, the headers or the key cannot be used") from None


def decode_token(token: str, key: str, accepted: Sequence[str] | None, *, with_header: bool) -> Any:
    """The payload of ``token``, or ``{header, payload}``; InvalidParameter when its signature or its time is wrong.

    A key in PEM is never taken for the secret of an HS method.
    """
    allowed = [name for name in METHODS if name.startswith("HS") != ("-----BEGIN" in key)]
    if accepted is not None:
        allowed = [name for name in allowed if name in accepted]
    try:
        found = jwt.decode_complete(token, key, algorithms=allowed, options={"verify_aud": False})
    except (jwt.PyJWTError, ValueError, TypeError) as error:
        raise InvalidParameter(f"jwt.decode: {str(error)[:200].lower()}") from None
    except AttributeError:
        raise InvalidParameter("jwt.decode: the key is none to verify with") from None
    return {"header": found["header"], "payload": found["payload"]} if with_header else found["payload"]
