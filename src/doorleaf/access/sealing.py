"""Documents in the database that only a text opens which nobody but its bearer has: the database knows neither.

A document is found by :func:`name_of` the text, and encrypted with a key that only the text gives.
"""

from __future__ import annotations

import os
from hashlib import sha256

import bson

from doorleaf.documents import CODEC, Document

_NONCE = 12


def name_of(text: str) -> str:
    """The name that the document of ``text`` has, which tells nothing of the text."""
    return sha256(b"name\0" + text.encode()).hexdigest()


def seal(text: str, content: Document, bound: str = "") -> bytes:
    """``content`` for whoever has ``text`` and knows what it is ``bound`` to."""
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305  # megabytes, for whom seals something

    nonce = os.urandom(_NONCE)
    plain = bson.encode(content, codec_options=CODEC)
    return nonce + ChaCha20Poly1305(_key(text)).encrypt(nonce, plain, _bytes(bound))


def unseal(text: str, sealed: bytes, bound: str = "") -> Document | None:
    """Open what was sealed; None with another text, or bound to something else."""
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

    sealed = bytes(sealed)
    try:
        plain = ChaCha20Poly1305(_key(text)).decrypt(sealed[:_NONCE], sealed[_NONCE:], _bytes(bound))
    except InvalidTag:
        return None
    return bson.decode(plain, CODEC)


def _key(text: str) -> bytes:
    return sha256(b"key\0" + text.encode()).digest()


def _bytes(bound: str) -> bytes:
    return bound.encode("utf-8", "surrogatepass")
