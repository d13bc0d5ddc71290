"""``utils.crypto`` and ``utils.jwt`` of functions, and the proofs that requests to endpoints bring."""

from __future__ import annotations

import hashlib
import hmac
import re
from base64 import b64decode, b64encode
from typing import Any

from bson import Binary

from doorleaf.access.identity.signed import decode_token, encode_token
from doorleaf.documents import Document
from doorleaf.errors import InvalidParameter, Unsupported

_ALGORITHMS = {"sha1": "sha1", "sha256": "sha256", "sha512": "sha512", "md5": "md5"}
_SIGNATURE = re.compile(rb"sha256=([0-9a-fA-F]{64})")


def is_signed(header: bytes | None, secret: str, body: bytes) -> bool:
    """Whether ``Endpoint-Signature: sha256=<hex>`` is the HMAC of the raw ``body``."""
    found = None if header is None else _SIGNATURE.fullmatch(header.strip())
    if found is None:
        return False
    expected = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(found[1].lower(), expected.encode())


def is_secret(given: str | None, secret: str) -> bool:
    """Whether ``given`` is the secret."""
    return given is not None and hmac.compare_digest(given.encode("utf-8", "replace"), secret.encode())


def compute(asked: Document) -> Any:
    """The answer to one call of ``utils.crypto``. Raises InvalidParameter or Unsupported."""
    does = asked.get("does")
    if does in ("hash", "hmac"):
        algorithm = _ALGORITHMS.get(str(asked.get("algorithm")).lower().replace("-", ""))
        if algorithm is None:
            raise InvalidParameter(f"{does}: the algorithms are {', '.join(sorted(_ALGORITHMS))}")
        if does == "hash":
            return Binary(hashlib.new(algorithm, _content(asked.get("input"))).digest())
        digest = hmac.new(_content(asked.get("secret")), _content(asked.get("input")), algorithm).digest()
        form = asked.get("form") or "base64"
        if form == "hex":
            return digest.hex()
        if form != "base64":
            raise InvalidParameter("hmac: expected the output format base64 or hex")
        return b64encode(digest).decode()
    raise Unsupported(f"utils.crypto.{str(does)[:50]} is not available")


def token(asked: Document) -> Any:
    """The answer to one call of ``utils.jwt``. Raises InvalidParameter."""
    if asked.get("does") == "encode":
        payload, headers = asked.get("payload"), asked.get("headers")
        if not isinstance(payload, dict) or not isinstance(headers, dict):
            raise InvalidParameter("jwt.encode: expected an object as payload")
        return encode_token(str(asked.get("method")), payload, str(asked.get("secret")), headers)
    accepted = asked.get("accepted")
    names = [str(name) for name in accepted] if isinstance(accepted, list) else None
    return decode_token(str(asked.get("token")), str(asked.get("key")), names, with_header=asked.get("header") is True)


def _content(given: Any) -> bytes:
    """Text or bytes as a function sends them."""
    if isinstance(given, dict):
        if isinstance(given.get("text"), str):
            return str(given["text"]).encode("utf-8", "surrogatepass")
        if isinstance(given.get("base64"), str):
            return b64decode(given["base64"])
    raise InvalidParameter("expected text or Binary")
