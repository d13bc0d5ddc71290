"""JSON Web Tokens that the functions of an app make and read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from doorleaf.documents import Document
from doorleaf.errors import InvalidParameter

METHODS = ("HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "ES256", "ES384", "ES512", "PS256", "PS384", "PS512")

MOST_BITS = 8192
"""The largest RSA key."""
MOST_PEM = 32 * 1024
"""Most characters of a key in PEM; one of :data:`MOST_BITS` has 6,400."""


def read_key(pem: bytes) -> Any:
    """The key in ``pem``, private or public; None where there is none. ValueError for one that is too large."""
    if len(pem) > MOST_PEM:
        raise ValueError(f"a key in PEM has at most {MOST_PEM} characters, got {len(pem)}")
    try:
        # Whether a private key is sound is for its owner to know, and would take long.
        key: Any = (
            load_pem_private_key(pem, None, unsafe_skip_rsa_key_validation=True)
            if b"PRIVATE" in pem
            else load_pem_public_key(pem)
        )
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return None
    if isinstance(key, (RSAPrivateKey, RSAPublicKey)):
        bits = key.key_size
        if bits <= MOST_BITS and isinstance(key, RSAPrivateKey):
            # The work of signing grows with the private numbers, which say nothing about the size that the key tells.
            own = key.private_numbers()
            bits = max(bits, *(it.bit_length() for it in (own.d, own.p, own.q, own.dmp1, own.dmq1, own.iqmp)))
        if bits > MOST_BITS:
            raise ValueError(f"expected an RSA key of at most {MOST_BITS} bits, got {bits}")
    return key


def _prepared(key: str) -> Any:
    """``key`` as the library takes it: a secret as it is, one in PEM read within bounds."""
    return read_key(key.encode()) if "-----BEGIN" in key else key


def encode_token(method: str, payload: Document, secret: str, headers: Document) -> str:
    """A token with ``payload``, signed with ``secret``, which is a key in PEM for all but the HS methods."""
    if method not in METHODS:
        raise InvalidParameter(f"jwt.encode: the methods are {', '.join(METHODS)}")
    try:
        return jwt.encode(payload, _prepared(secret), algorithm=method, headers=headers)
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
        found = jwt.decode_complete(token, _prepared(key), algorithms=allowed, options={"verify_aud": False})
    except (jwt.PyJWTError, ValueError, TypeError) as error:
        raise InvalidParameter(f"jwt.decode: {str(error)[:200].lower()}") from None
    except AttributeError:
        raise InvalidParameter("jwt.decode: the key is none to verify with") from None
    return {"header": found["header"], "payload": found["payload"]} if with_header else found["payload"]
