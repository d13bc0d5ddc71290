"""``context.utils`` of functions in Python: the hashes, ciphers and tokens that JavaScript has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from doorleaf.documents import Document
from doorleaf.functions import signatures
from doorleaf.operations.fields import wrong


class Crypto:
    """``context.utils.crypto``. Text is taken as UTF-8; errors are InvalidParameter."""

    def hash(self, algorithm: str, input: str | bytes) -> bytes:
        """The digest by ``md5``, ``sha1``, ``sha224``, ``sha256``, ``sha384`` or ``sha512``."""
        return bytes(signatures.compute({"does": "hash", "algorithm": algorithm, "input": _content(input)}))

    def hmac(self, input: str | bytes, secret: str | bytes, algorithm: str, output_format: str = "base64") -> str:
        """The HMAC as ``base64`` or ``hex``."""
        asked = {"does": "hmac", "algorithm": algorithm, "input": _content(input), "form": output_format}
        return str(signatures.compute({**asked, "secret": _content(secret)}))

    def encrypt(self, encryption_type: str, message: str | bytes, key: str | bytes) -> bytes:
        """The message by ``aes``: a nonce of 12 bytes, and then the text with its tag."""
        asked = {"does": "encrypt", "algorithm": encryption_type, "input": _content(message)}
        return bytes(signatures.compute({**asked, "secret": _content(key)}))

    def decrypt(self, encryption_type: str, message: str | bytes, key: str | bytes) -> bytes:
        """Decrypt what was encrypted with ``key``."""
        asked = {"does": "decrypt", "algorithm": encryption_type, "input": _content(message)}
        return bytes(signatures.compute({**asked, "secret": _content(key)}))

    def sign(self, encryption_type: str, message: str | bytes, key: str, scheme: str = "pss") -> bytes:
        """The signature by a private RSA key in PEM."""
        asked = {"does": "sign", "algorithm": encryption_type, "input": _content(message), "scheme": scheme}
        return bytes(signatures.compute({**asked, "secret": _content(key)}))

    def verify(
        self, encryption_type: str, message: str | bytes, key: str, signature: bytes, scheme: str = "pss"
    ) -> bool:
        """Whether a public RSA key in PEM says that ``signature`` is of ``message``."""
        asked = {"does": "verify", "algorithm": encryption_type, "input": _content(message), "scheme": scheme}
        return bool(signatures.compute({**asked, "secret": _content(key), "signature": _content(signature)}))


class Jwt:
    """``context.utils.jwt``. Errors are InvalidParameter."""

    def encode(self, signing_method: str, payload: Document, secret: str, headers: Document | None = None) -> str:
        """A token with ``payload``."""
        asked = {"does": "encode", "method": signing_method, "payload": payload, "secret": secret}
        return str(signatures.token({**asked, "headers": headers or {}}))

    def decode(
        self, token: str, key: str, return_header: bool = False, accepted_signing_methods: Sequence[str] | None = None
    ) -> Any:
        """The payload, or ``{header, payload}``, of a token whose signature and time are right."""
        accepted = None if accepted_signing_methods is None else [*accepted_signing_methods]
        return signatures.token(
            {"does": "decode", "token": token, "key": key, "header": return_header, "accepted": accepted}
        )


class Utils:
    """The value that a function in Python has as ``context.utils``."""

    def __init__(self) -> None:
        self.crypto = Crypto()
        self.jwt = Jwt()


def _content(given: str | bytes) -> Document:
    if isinstance(given, str):
        return {"text": given}
    if isinstance(given, (bytes, bytearray, memoryview)):
        return {"bytes": bytes(given)}
    raise wrong("utils.crypto", "text or bytes", given)  # a number would count as so many bytes
