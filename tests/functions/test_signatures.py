"""``utils.crypto``: vectors that App Services publishes, and what is refused."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from doorleaf.access.identity.signed import MOST_BITS
from doorleaf.errors import InvalidParameter
from doorleaf.functions.signatures import compute, is_long, token
from doorleaf.functions.utils import Crypto

KEY = "603082712271C525E087BD999A4E0738"


def ask(does: str, algorithm: str, text: str | bytes = "", key: str = KEY, **more: Any) -> Any:
    content = {"text": text} if isinstance(text, str) else {"base64": b64encode(text).decode()}
    return compute({"does": does, "algorithm": algorithm, "input": content, "secret": {"text": key}, **more})


def test_published_vectors() -> None:
    encrypted = "WPBuIvJ6Bity43Uh822dW8QlVYVJaFUiDeUjlTiJXzptUuTYIKPlXekBQAJb"
    given = {"does": "decrypt", "algorithm": "aes", "input": {"base64": encrypted}, "secret": {"text": KEY}}
    assert bytes(compute(given)) == b"MongoDB is great!"
    hashed = ask("hash", "sha256", "hello!")
    assert b64encode(hashed).decode() == "zgYJL7lI2f+sfRo3bkBLJrdXW8wR7gWkYV/vT+w6MIs="
    assert ask("hmac", "sha256", "hello!", "super-secret") == "SUXd6PRMaTXXgBGaGsIHzaDWgTSa6C3D44lRGrvRak0="


@pytest.mark.parametrize("size", [16, 24, 32])
def test_what_is_encrypted_is_decrypted_by_its_key_alone(size: int) -> None:
    first, second = (ask("encrypt", "aes", "hé", "k" * size) for _ in range(2))
    assert first != second
    assert bytes(ask("decrypt", "aes", bytes(first), "k" * size)).decode() == "hé"
    changed = bytes(first[:-1]) + bytes([first[-1] ^ 1])
    for given, key in ((first, "x" * size), (changed, "k" * size), (b"", "k" * size), (b"short", "k" * size)):
        with pytest.raises(InvalidParameter, match="was not encrypted with this key"):
            ask("decrypt", "aes", bytes(given), key)


def pem(key: rsa.RSAPrivateKey) -> tuple[str, str]:
    private = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    return private.decode(), key.public_key().public_bytes(Encoding.PEM, PublicFormat.PKCS1).decode()


def test_what_is_signed_is_verified_by_the_same_scheme() -> None:
    private, public = pem(rsa.generate_private_key(65537, 1024))  # as small as the published one
    for scheme in (None, "pss", "pkcs1v15"):
        signature = ask("sign", "rsa", "text", private, scheme=scheme)
        given = {"base64": b64encode(signature).decode()}
        assert ask("verify", "rsa", "text", public, signature=given, scheme=scheme) is True
        assert ask("verify", "rsa", "other", public, signature=given, scheme=scheme) is False
        assert ask("verify", "rsa", "text", public, signature={"text": ""}, scheme=scheme) is False
        other = "pss" if scheme == "pkcs1v15" else "pkcs1v15"
        assert ask("verify", "rsa", "text", public, signature=given, scheme=other) is False
    for does, key, message in (
        ("sign", public, "expected a private RSA key"),
        ("verify", private, "expected a public RSA key"),
        ("sign", KEY, "expected an RSA key in PEM"),
        ("sign", "-----BEGIN RSA PRIVATE KEY-----", "expected an RSA key in PEM"),
    ):
        with pytest.raises(InvalidParameter, match=message):
            ask(does, "rsa", "text", key, signature={"text": ""})


def der(tag: int, content: bytes) -> bytes:
    size = len(content).to_bytes((len(content).bit_length() + 7) // 8 or 1)
    return bytes([tag, *([] if len(content) < 128 else [0x80 + len(size)])]) + size + content


def test_no_key_keeps_the_server_at_work() -> None:
    numbers = rsa.RSAPublicNumbers(65537, (1 << MOST_BITS) + 1)
    public = numbers.public_key().public_bytes(Encoding.PEM, PublicFormat.PKCS1).decode()
    with pytest.raises(InvalidParameter, match="at most 8192 bits, got 8193"):
        ask("verify", "rsa", "text", public, signature={"text": ""})
    own = rsa.generate_private_key(65537, 1024).private_numbers()
    exponent = own.dmp1 + (own.p - 1 << MOST_BITS)  # which signs the same, and takes long
    parts = (0, own.public_numbers.n, 65537, own.d, own.p, own.q, exponent, own.dmq1, own.iqmp)
    written = der(0x30, b"".join(der(2, part.to_bytes(part.bit_length() // 8 + 1)) for part in parts))
    private = f"-----BEGIN RSA PRIVATE KEY-----\n{b64encode(written).decode()}\n-----END RSA PRIVATE KEY-----\n"
    encode = {"does": "encode", "method": "RS256", "payload": {}, "headers": {}}
    with pytest.raises(InvalidParameter, match="at most 8192 bits, got 8"):
        ask("sign", "rsa", "text", private)
    with pytest.raises(InvalidParameter, match="cannot be used"):
        token({**encode, "secret": private})
    with pytest.raises(InvalidParameter, match="at most 32768 characters"):
        ask("sign", "rsa", "text", private + " " * 40_000)


@pytest.mark.parametrize(
    ("does", "algorithm", "key", "more", "message"),
    [
        ("encrypt", "des", KEY, {}, "the only kind of encryption is aes"),
        ("encrypt", "aes", "short", {}, "expected a key of 16, 24 or 32 bytes, got 5"),
        ("sign", "ec", KEY, {}, "the only kind of key is rsa"),
        ("hash", "crc", KEY, {}, "hash: the algorithms are"),
        ("hmac", "sha256", KEY, {"form": "octal"}, "base64 or hex"),
        ("guess", "aes", KEY, {}, "has no such method"),
    ],
)
def test_what_is_refused(does: str, algorithm: str, key: str, more: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidParameter, match=message):
        ask(does, algorithm, "text", key, **more)


def test_keys_of_the_wrong_half_are_refused_apart_from_others() -> None:
    pair = rsa.generate_private_key(65537, 2048)
    private = pair.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    public = pair.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    encode = {"does": "encode", "method": "RS256", "payload": {"a": 1}, "headers": {}}
    made = token({**encode, "secret": private})
    assert token({"does": "decode", "token": made, "key": public}) == {"a": 1}
    with pytest.raises(InvalidParameter, match="cannot be used"):
        token({**encode, "secret": public})
    for_it = {"does": "decode", "token": made, "key": private}
    with pytest.raises(InvalidParameter, match="key is none to verify with"):
        token(for_it)
    assert is_long(for_it)
    assert not is_long({"does": "decode", "token": made, "key": "k" * 32})


@pytest.mark.parametrize("given", [5, 10**12, None, [1, 2], {"a": 1}])
def test_python_hashes_text_and_bytes_and_nothing_else(given: Any) -> None:
    crypto: Any = Crypto()
    assert (
        crypto.hash("sha256", bytearray(b"a")) == crypto.hash("sha256", memoryview(b"a")) == crypto.hash("sha256", "a")
    )
    with pytest.raises(InvalidParameter, match=r"utils\.crypto: expected text or bytes, got"):
        crypto.hash("sha256", given)
