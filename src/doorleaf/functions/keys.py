"""Keys and signatures for ``require("crypto")`` of functions in JavaScript, as Node.js has them.

A private key is the function's own: it comes with what is asked, and is kept nowhere.
"""

from __future__ import annotations

import re
from base64 import b64decode, urlsafe_b64decode
from collections.abc import Callable
from typing import Any

from bson import Binary
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey, RSAPublicNumbers
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509 import load_pem_x509_certificate

from doorleaf.access.identity.signed import MOST_BITS, MOST_PEM, read_key
from doorleaf.documents import Document
from doorleaf.errors import InvalidParameter
from doorleaf.functions.signatures import content

_HASHES: dict[str, Callable[[], hashes.HashAlgorithm]] = {
    "sha1": hashes.SHA1, "sha224": hashes.SHA224, "sha256": hashes.SHA256, "sha384": hashes.SHA384,
    "sha512": hashes.SHA512,
}  # fmt: skip
_CURVES = {"secp256r1": "prime256v1", "secp384r1": "secp384r1", "secp521r1": "secp521r1", "secp256k1": "secp256k1"}
"""The curves, and what Node.js calls them."""
_OF_JWK: dict[str, type[ec.EllipticCurve]] = {
    "P-256": ec.SECP256R1, "P-384": ec.SECP384R1, "P-521": ec.SECP521R1, "secp256k1": ec.SECP256K1,
}  # fmt: skip
_PKCS1, _PSS = 1, 6
_SALTS = {-1: padding.PSS.DIGEST_LENGTH, -2: padding.PSS.MAX_LENGTH}
_PSS_ALONE = bytes.fromhex("06092a864886f70d01010a")
"""How a key says that it is for RSA-PSS alone, near its beginning."""
_ARMOUR = re.compile(rb"-----[^\n]*-----|\s")


def compute(asked: Document) -> Any:
    """The answer to one question of a function about keys. Raises InvalidParameter."""
    work = {"read": _read, "sign": _sign, "verify": _verify}.get(str(asked.get("does")))
    if work is None:
        raise InvalidParameter("crypto has no such method")
    return work(asked)


def _read(asked: Document) -> Document:
    """A key in its usual form, and what it is."""
    if asked.get("type") == "private":
        private = _private(asked)
        form = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return {"pem": form.decode(), **_described(private.public_key())}
    public = _public(asked)
    form = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return {"pem": form.decode(), **_described(public)}


def _described(key: Any) -> Document:
    if isinstance(key, RSAPublicKey):
        details = {"modulusLength": key.key_size, "publicExponent": str(key.public_numbers().e)}
        return {"kind": "rsa", "details": details}
    if isinstance(key, Ed25519PublicKey):
        return {"kind": "ed25519", "details": {}}
    return {"kind": "ec", "details": {"namedCurve": _CURVES[key.curve.name]}}


# --- reading keys ---


def _private(asked: Document) -> Any:
    if "jwk" in asked:
        raise InvalidParameter("crypto: a private key as a JWK is not available in a function, one in PEM is")
    key = _key(asked)
    if not isinstance(key, (RSAPrivateKey, ec.EllipticCurvePrivateKey, Ed25519PrivateKey)):
        raise InvalidParameter("crypto: expected a private key, RSA, EC or Ed25519, without a passphrase")
    return _known(key)


def _public(asked: Document) -> Any:
    key = _of_jwk(asked["jwk"]) if "jwk" in asked else _key(asked)
    if isinstance(key, (RSAPrivateKey, ec.EllipticCurvePrivateKey, Ed25519PrivateKey)):
        key = key.public_key()
    if not isinstance(key, (RSAPublicKey, ec.EllipticCurvePublicKey, Ed25519PublicKey)):
        raise InvalidParameter("crypto: expected a public or a private key, RSA, EC or Ed25519, without a passphrase")
    return _known(key)


def _known(key: Any) -> Any:
    curve = getattr(key, "curve", None)
    if curve is not None and curve.name not in _CURVES:
        raise InvalidParameter(f"crypto: the curve {curve.name} is not available in a function")
    return key


def _key(asked: Document) -> Any:
    """The key in ``pem``, which may be that of a certificate, or in ``der``."""
    given = asked.get("pem")
    if isinstance(given, str):
        pem = given.encode("utf-8", "replace")
    else:
        pem = _armoured(asked.get("der"), "PRIVATE KEY" if asked.get("type") == "private" else "PUBLIC KEY")
    if b"-----BEGIN CERTIFICATE-----" in pem:
        pem = _of_certificate(pem)
    try:
        key = read_key(pem)
    except ValueError as error:
        raise InvalidParameter(f"crypto: {error}") from None
    if _PSS_ALONE in _begins(pem):
        raise InvalidParameter("crypto: a key for RSA-PSS alone is not available in a function")
    return key


def _of_certificate(pem: bytes) -> bytes:
    """The public key of a certificate (X.509), in PEM."""
    try:
        key = load_pem_x509_certificate(pem[:MOST_PEM]).public_key()
        return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    except (ValueError, UnsupportedAlgorithm):
        raise InvalidParameter("crypto: the certificate cannot be read") from None


def _armoured(der: Any, what: str) -> bytes:
    if not isinstance(der, str) or not der:
        raise InvalidParameter("crypto: expected a key")
    lines = b"\n".join(der[at : at + 64].encode() for at in range(0, min(len(der), MOST_PEM), 64))
    return b"-----BEGIN %b-----\n%b\n-----END %b-----\n" % (what.encode(), lines, what.encode())


def _begins(pem: bytes) -> bytes:
    """The first bytes of what is in ``pem``."""
    try:
        return b64decode(_ARMOUR.sub(b"", pem)[:88])
    except ValueError:
        return b""


def _of_jwk(jwk: Any) -> Any:
    """The public key that a JWK has (RFC 7517)."""
    if not isinstance(jwk, dict):
        raise InvalidParameter("crypto: expected a JWK")
    try:
        if jwk.get("kty") == "RSA":
            return RSAPublicNumbers(_number(jwk, "e"), _number(jwk, "n")).public_key()
        if jwk.get("kty") == "EC" and jwk.get("crv") in _OF_JWK:
            numbers = ec.EllipticCurvePublicNumbers(_number(jwk, "x"), _number(jwk, "y"), _OF_JWK[jwk["crv"]]())
            return numbers.public_key()
        if jwk.get("kty") == "OKP" and jwk.get("crv") == "Ed25519":
            return Ed25519PublicKey.from_public_bytes(_decoded(jwk, "x"))
    except ValueError:
        raise InvalidParameter("crypto: the JWK is no key") from None
    raise InvalidParameter("crypto: a JWK is one of RSA, of EC (P-256, P-384, P-521, secp256k1) or of Ed25519")


def _number(jwk: Document, name: str) -> int:
    return int.from_bytes(_decoded(jwk, name))


def _decoded(jwk: Document, name: str) -> bytes:
    given = jwk.get(name)
    if not isinstance(given, str) or not given:
        raise InvalidParameter(f"crypto: {name} of the JWK: expected text")
    found = urlsafe_b64decode(given.encode("ascii", "replace") + b"==")
    if len(found) * 8 > MOST_BITS:
        raise InvalidParameter(f"crypto: expected an RSA key of at most {MOST_BITS} bits")
    return found


# --- signatures ---


def _sign(asked: Document) -> Binary:
    key, given = _private({**asked, "type": "private"}), content(asked.get("input"))
    try:
        if isinstance(key, Ed25519PrivateKey):
            return Binary(key.sign(_unhashed(asked, given)))
        if isinstance(key, RSAPrivateKey):
            return Binary(key.sign(given, _padding(asked, padding.PSS.MAX_LENGTH), _hash(asked)))
        found = key.sign(given, ec.ECDSA(_hash(asked)))
    except (ValueError, UnsupportedAlgorithm):
        raise InvalidParameter("crypto: the key cannot be used to sign so") from None
    return Binary(found if _is_der(asked) else _joined(found, _size(key)))


def _verify(asked: Document) -> bool:
    key, given, signature = _public(asked), content(asked.get("input")), content(asked.get("signature"))
    try:
        if isinstance(key, Ed25519PublicKey):
            key.verify(signature, _unhashed(asked, given))
        elif isinstance(key, RSAPublicKey):
            key.verify(signature, given, _padding(asked, padding.PSS.AUTO), _hash(asked))
        else:
            der = signature if _is_der(asked) else _parted(signature, _size(key))
            key.verify(der, given, ec.ECDSA(_hash(asked)))
    except (InvalidSignature, ValueError, UnsupportedAlgorithm):
        return False
    return True


def _hash(asked: Document) -> hashes.HashAlgorithm:
    made = _HASHES.get(str(asked.get("hash")))
    if made is None:
        raise InvalidParameter(f"crypto: signatures are over {', '.join(_HASHES)}")
    return made()


def _unhashed(asked: Document, given: bytes) -> bytes:
    if asked.get("hash") is not None:
        raise InvalidParameter("crypto: a key of Ed25519 signs without a hash: use crypto.sign(null, data, key)")
    return given


def _padding(asked: Document, usual: Any) -> padding.AsymmetricPadding:
    chosen, salt = asked.get("padding"), asked.get("salt")
    if chosen is None or chosen == _PKCS1:
        return padding.PKCS1v15()
    if chosen != _PSS:
        raise InvalidParameter("crypto: the paddings are RSA_PKCS1_PADDING and RSA_PKCS1_PSS_PADDING")
    if salt is None or salt == -2:
        length = usual
    elif isinstance(salt, int) and (salt == -1 or 0 <= salt <= MOST_BITS):
        length = _SALTS.get(salt, salt)
    else:
        raise InvalidParameter("crypto: saltLength is a number of bytes, or one of the constants")
    return padding.PSS(mgf=padding.MGF1(_hash(asked)), salt_length=length)


def _is_der(asked: Document) -> bool:
    form = asked.get("form")
    if form not in (None, "der", "ieee-p1363"):
        raise InvalidParameter("crypto: dsaEncoding is der or ieee-p1363")
    return form != "ieee-p1363"


def _size(key: Any) -> int:
    return int((key.curve.key_size + 7) // 8)


def _joined(der: bytes, size: int) -> bytes:
    return b"".join(number.to_bytes(size) for number in decode_dss_signature(der))


def _parted(signature: bytes, size: int) -> bytes:
    if len(signature) != size * 2:
        raise InvalidSignature
    return encode_dss_signature(int.from_bytes(signature[:size]), int.from_bytes(signature[size:]))
