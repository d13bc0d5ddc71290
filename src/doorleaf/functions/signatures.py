"""``utils.crypto`` and ``utils.jwt`` of functions, and the proofs that requests to endpoints bring."""

from __future__ import annotations

import hashlib
import hmac
import os
import re
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from typing import Any

from bson import Binary
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256

from doorleaf.access.identity.signed import decode_token, encode_token, read_key
from doorleaf.dialects.base import Request
from doorleaf.documents import Document
from doorleaf.errors import InvalidParameter, Unauthenticated

_ALGORITHMS = frozenset({"md5", "sha1", "sha224", "sha256", "sha384", "sha512"})
_NONCE_BYTES = 12
SIGNATURE = b"endpoint-signature"
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


def unproven(validation: str, secret: str | None, request: Request, query: Mapping[str, str]) -> Unauthenticated | None:
    """The error for a request that does not bring the proof that ``validation`` wants, or for which there is no
    ``secret``; None where all is well. ``query`` has the first value of each parameter."""
    if validation == "NO_VALIDATION":
        return None
    if validation == "VERIFY_PAYLOAD":
        what, good = "signature", secret and is_signed(request.headers.get(SIGNATURE), secret, request.body)
    else:
        what, good = "secret", secret and is_secret(query.get("secret"), secret)
    if good:
        return None
    return Unauthenticated(f"the {what} of the request is missing or wrong", code="InvalidSignature")


def is_long(asked: Document) -> bool:
    """Whether what is asked for takes a key whose size makes it long, makes one of a password, or unpacks much."""
    with_pair = asked.get("does") in ("sign", "verify", "pbkdf2", "scrypt") or "-----BEGIN" in str(asked.get("key", ""))
    return with_pair or asked.get("to") in ("keys", "zlib") or not str(asked.get("method", "HS")).startswith("HS")


def compute(asked: Document) -> Any:
    """The answer to one call of ``utils.crypto``. Raises InvalidParameter."""
    work = _WORK.get(str(asked.get("does")))
    if work is None:
        raise InvalidParameter("utils.crypto has no such method")
    return work(asked)


def _hash(asked: Document) -> Binary:
    return Binary(hashlib.new(_algorithm(asked), content(asked.get("input"))).digest())


def _hmac(asked: Document) -> str:
    digest = hmac.new(content(asked.get("secret")), content(asked.get("input")), _algorithm(asked)).digest()
    form = asked.get("form") or "base64"
    if form == "hex":
        return digest.hex()
    if form != "base64":
        raise InvalidParameter("hmac: expected the output format base64 or hex")
    return b64encode(digest).decode()


def _algorithm(asked: Document) -> str:
    algorithm = str(asked.get("algorithm")).lower().replace("-", "")
    if algorithm not in _ALGORITHMS:
        raise InvalidParameter(f"{asked['does']}: the algorithms are {', '.join(sorted(_ALGORITHMS))}")
    return algorithm


def _encrypt(asked: Document) -> Binary:
    """AES-GCM: a nonce of 12 bytes, and then the text with its tag, as App Services has it."""
    cipher, nonce = _cipher(asked), os.urandom(_NONCE_BYTES)
    return Binary(nonce + cipher.encrypt(nonce, content(asked.get("input")), None))


def _decrypt(asked: Document) -> Binary:
    cipher, given = _cipher(asked), content(asked.get("input"))
    try:
        return Binary(cipher.decrypt(given[:_NONCE_BYTES], given[_NONCE_BYTES:], None))
    except (InvalidTag, ValueError):
        raise InvalidParameter("decrypt: this was not encrypted with this key, or has been changed") from None


def _cipher(asked: Document) -> AESGCM:
    key = content(asked.get("secret"))
    if asked.get("algorithm") != "aes":
        raise InvalidParameter(f"{asked['does']}: the only kind of encryption is aes")
    if len(key) not in (16, 24, 32):
        raise InvalidParameter(f"{asked['does']}: expected a key of 16, 24 or 32 bytes, got {len(key)}")
    return AESGCM(key)


def _sign(asked: Document) -> Binary:
    """RSA over SHA-256; with PSS the salt is as long as the key has room for."""
    key, scheme = _rsa(asked), _scheme(asked, padding.PSS.MAX_LENGTH)
    if not isinstance(key, RSAPrivateKey):
        raise InvalidParameter("sign: expected a private RSA key in PEM")
    try:
        return Binary(key.sign(content(asked.get("input")), scheme, SHA256()))
    except ValueError:
        raise InvalidParameter("sign: the key cannot be used") from None


def _verify(asked: Document) -> bool:
    key, scheme = _rsa(asked), _scheme(asked, padding.PSS.AUTO)
    if not isinstance(key, RSAPublicKey):
        raise InvalidParameter("verify: expected a public RSA key in PEM")
    try:
        key.verify(content(asked.get("signature")), content(asked.get("input")), scheme, SHA256())
    except (InvalidSignature, ValueError):
        return False
    return True


def _rsa(asked: Document) -> RSAPrivateKey | RSAPublicKey:
    if asked.get("algorithm") != "rsa":
        raise InvalidParameter(f"{asked['does']}: the only kind of key is rsa")
    try:
        key = read_key(content(asked.get("secret")))
    except ValueError as error:
        raise InvalidParameter(f"{asked['does']}: {error}") from None
    if not isinstance(key, (RSAPrivateKey, RSAPublicKey)):
        raise InvalidParameter(f"{asked['does']}: expected an RSA key in PEM, without a password")
    return key


def _scheme(asked: Document, salt: Any) -> padding.AsymmetricPadding:
    scheme = asked.get("scheme") or "pss"
    if scheme == "pkcs1v15":
        return padding.PKCS1v15()
    if scheme != "pss":
        raise InvalidParameter(f"{asked['does']}: the schemes are pss and pkcs1v15")
    return padding.PSS(mgf=padding.MGF1(SHA256()), salt_length=salt)


_WORK: dict[str, Callable[[Document], Any]] = {
    "hash": _hash, "hmac": _hmac, "encrypt": _encrypt, "decrypt": _decrypt, "sign": _sign, "verify": _verify,
}  # fmt: skip


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


def content(given: Any) -> bytes:
    """Text or bytes as a function sends them. Raises InvalidParameter."""
    if isinstance(given, dict):
        if isinstance(given.get("text"), str):
            return str(given["text"]).encode("utf-8", "surrogatepass")
        if isinstance(given.get("bytes"), bytes):  # from Python
            return bytes(given["bytes"])
        if isinstance(given.get("base64"), str):
            return b64decode(given["base64"])
    raise InvalidParameter("expected text or Binary")
