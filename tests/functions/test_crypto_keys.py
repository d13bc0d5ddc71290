# ruff: noqa: E501  # a function is a line
"""Keys and signatures of ``require("crypto")``: what it signs others verify, and the other way round."""

from __future__ import annotations

import hmac
from base64 import b64decode, b64encode, urlsafe_b64encode
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from asgi import Application, application
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA1, SHA256, SHA512
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from shop_app import alone

from doorleaf.access.identity.signed import MOST_BITS, MOST_PEM
from doorleaf.errors import InvalidParameter
from doorleaf.functions.keys import compute

FUNCTION = """
const crypto = require('crypto');
const does = {
  about: ({ type, key }) => {
    const made = type === 'private' ? crypto.createPrivateKey(key) : crypto.createPublicKey(key);
    const details = made.asymmetricKeyDetails;
    const again = crypto.createPublicKey({ key: crypto.createPublicKey(made.type === 'private' ? made : key).export({ format: 'der', type: 'spki' }), format: 'der', type: 'spki' });
    return [made.type, made.asymmetricKeyType, { ...details, publicExponent: String(details.publicExponent) }, made.export({ format: 'pem' }), made.equals(made), again.type];
  },
  sign: ({ algorithm, text, key, options }) => crypto.createSign(algorithm).update(text.slice(0, 1)).update(text.slice(1)).sign(options === undefined ? key : { key, ...options }, 'base64'),
  verify: ({ algorithm, text, key, signature, options }) => crypto.createVerify(algorithm).update(text).verify(options === undefined ? key : { key, ...options }, signature, 'base64'),
  once: ({ algorithm, text, key }) => crypto.sign(algorithm, Buffer.from(text), crypto.createPrivateKey(key)).toString('base64'),
  holds: ({ algorithm, text, key, signature }) => new Promise((done, failed) => crypto.verify(algorithm, Buffer.from(text), crypto.createPublicKey(key), Buffer.from(signature, 'base64'), (error, held) => (error ? failed(error) : done(held)))),
  hmac: ({ algorithm, text, key }) => crypto.createHmac(algorithm, crypto.createSecretKey(Buffer.from(key))).update(text).digest('hex'),
};
exports = (request) => { const given = JSON.parse(request.body.text()); return does[given.does](given) };
"""


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Application]:
    folder = tmp_path_factory.mktemp("crypto")
    with application(folder / "data", app=alone(folder / "app", "crypto", FUNCTION)) as running:
        yield running


def ask(app: Application, does: str, **given: Any) -> Any:
    answer = app.call("POST", "/endpoint/crypto", orjson.dumps({"does": does, **given}))
    assert answer.status == 200, answer.body
    return answer.json


def refused(app: Application, does: str, **given: Any) -> str:
    answer = app.call("POST", "/endpoint/crypto", orjson.dumps({"does": does, **given}))
    assert (answer.status, answer.json["error_code"]) == (400, "FunctionExecutionError"), answer.body
    return str(answer.json["error"])


def private_pem(key: Any, form: PrivateFormat = PrivateFormat.PKCS8) -> str:
    return str(key.private_bytes(Encoding.PEM, form, NoEncryption()).decode())


def public_pem(key: Any, form: PublicFormat = PublicFormat.SubjectPublicKeyInfo) -> str:
    return str(key.public_key().public_bytes(Encoding.PEM, form).decode())


RSA = rsa.generate_private_key(65537, 2048)
EC = ec.generate_private_key(ec.SECP256R1())
ED = ed25519.Ed25519PrivateKey.generate()
KINDS: list[tuple[Any, str, dict[str, Any]]] = [
    (RSA, "rsa", {"modulusLength": 2048, "publicExponent": "65537"}),
    (EC, "ec", {"namedCurve": "prime256v1", "publicExponent": "undefined"}),
    (ED, "ed25519", {"publicExponent": "undefined"}),
]


def certificate(key: rsa.RSAPrivateKey) -> str:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "somebody")])
    made = x509.CertificateBuilder(
        name, name, key.public_key(), 5, datetime.now(UTC), datetime.now(UTC) + timedelta(days=1)
    )
    return made.sign(key, SHA256()).public_bytes(Encoding.PEM).decode()


@pytest.mark.parametrize(("key", "kind", "details"), KINDS)
def test_what_a_key_is(app: Application, key: Any, kind: str, details: dict[str, Any]) -> None:
    private, public = private_pem(key), public_pem(key)
    assert ask(app, "about", type="private", key=private) == ["private", kind, details, private, True, "public"]
    for given in (public, private):  # a public key is made of a private one too
        assert ask(app, "about", type="public", key=given) == ["public", kind, details, public, True, "public"]


def test_keys_in_other_forms(app: Application) -> None:
    told = ["public", "rsa", KINDS[0][2], public_pem(RSA), True, "public"]
    for given in (
        public_pem(RSA, PublicFormat.PKCS1),
        certificate(RSA),
        private_pem(RSA, PrivateFormat.TraditionalOpenSSL),
    ):
        assert ask(app, "about", type="public", key=given) == told
    numbers = RSA.public_key().public_numbers()
    jwk = {"kty": "RSA", "n": written(numbers.n), "e": written(numbers.e), "kid": "5", "use": "sig"}
    assert ask(app, "about", type="public", key={"key": jwk, "format": "jwk"}) == told
    point = EC.public_key().public_numbers()
    jwk = {"kty": "EC", "crv": "P-256", "x": written(point.x), "y": written(point.y)}
    assert ask(app, "about", type="public", key={"key": jwk, "format": "jwk"})[3] == public_pem(EC)
    raw = ED.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    jwk = {"kty": "OKP", "crv": "Ed25519", "x": urlsafe_b64encode(raw).decode().rstrip("=")}
    assert ask(app, "about", type="public", key={"key": jwk, "format": "jwk"})[3] == public_pem(ED)


def written(number: int) -> str:
    return urlsafe_b64encode(number.to_bytes((number.bit_length() + 7) // 8)).decode().rstrip("=")


PSS = {"padding": 6}
SCHEMES: list[tuple[str, Any, Any]] = [
    ("RSA-SHA256", None, (padding.PKCS1v15(), SHA256())),
    ("sha1", None, (padding.PKCS1v15(), SHA1())),
    ("SHA512", {"padding": 1}, (padding.PKCS1v15(), SHA512())),
    (
        "RSA-SHA256",
        {**PSS, "saltLength": -1},
        (padding.PSS(padding.MGF1(SHA256()), padding.PSS.DIGEST_LENGTH), SHA256()),
    ),
    ("sha256", PSS, (padding.PSS(padding.MGF1(SHA256()), padding.PSS.MAX_LENGTH), SHA256())),
    ("sha256WithRSAEncryption", {**PSS, "saltLength": 20}, (padding.PSS(padding.MGF1(SHA256()), 20), SHA256())),
]


@pytest.mark.parametrize(("algorithm", "options", "scheme"), SCHEMES)
def test_signatures_by_rsa(app: Application, algorithm: str, options: Any, scheme: Any) -> None:
    how = {"algorithm": algorithm, "text": "a téxt", **({} if options is None else {"options": options})}
    signature = ask(app, "sign", key=private_pem(RSA), **how)
    RSA.public_key().verify(b64decode(signature), "a téxt".encode(), *scheme)
    theirs = b64encode(RSA.sign("a téxt".encode(), *scheme)).decode()
    assert ask(app, "verify", key=public_pem(RSA), signature=theirs, **how) is True
    assert ask(app, "verify", key=private_pem(RSA), signature=theirs, **how) is True
    for wrong in (
        {"text": "another"},
        {"algorithm": "sha384"},
        {"signature": theirs[:-8]},
        {"signature": ""},
        {"key": public_pem(rsa.generate_private_key(65537, 2048))},
    ):
        assert ask(app, "verify", **{**how, "key": public_pem(RSA), "signature": theirs, **wrong}) is False, wrong
    other = {**how, "options": {"padding": 1} if options and options["padding"] == 6 else PSS}
    assert ask(app, "verify", key=public_pem(RSA), signature=theirs, **other) is False


@pytest.mark.parametrize("curve", [ec.SECP256R1, ec.SECP384R1, ec.SECP521R1, ec.SECP256K1])
def test_signatures_by_ec(app: Application, curve: type[ec.EllipticCurve]) -> None:
    key = ec.generate_private_key(curve())
    size = (key.key_size + 7) // 8
    how = {"algorithm": "sha256", "text": "text"}
    key.public_key().verify(b64decode(ask(app, "sign", key=private_pem(key), **how)), b"text", ec.ECDSA(SHA256()))
    der = key.sign(b"text", ec.ECDSA(SHA256()))
    joined = b"".join(number.to_bytes(size) for number in decode_dss_signature(der))
    plain = {"dsaEncoding": "ieee-p1363"}
    assert ask(app, "verify", key=public_pem(key), signature=b64encode(der).decode(), **how) is True
    assert ask(app, "verify", key=public_pem(key), signature=b64encode(joined).decode(), options=plain, **how) is True
    assert ask(app, "verify", key=public_pem(key), signature=b64encode(joined).decode(), **how) is False
    assert ask(app, "verify", key=public_pem(key), signature=b64encode(der).decode(), options=plain, **how) is False
    ours = ask(app, "sign", key=private_pem(key), options=plain, **how)
    assert len(b64decode(ours)) == 2 * size
    assert ask(app, "verify", key=public_pem(key), signature=ours, options=plain, **how) is True


def test_signatures_at_once(app: Application) -> None:
    found = b64decode(ask(app, "once", algorithm=None, text="text", key=private_pem(ED)))
    ED.public_key().verify(found, b"text")
    with pytest.raises(InvalidSignature):
        ED.public_key().verify(found, b"other")
    given = {"algorithm": None, "key": public_pem(ED), "signature": b64encode(found).decode()}
    assert [ask(app, "holds", text=text, **given) for text in ("text", "other")] == [True, False]
    ours = ask(app, "hmac", algorithm="sha384", text="text", key="k")
    assert ours == hmac.new(b"k", b"text", "sha384").hexdigest()


def test_what_is_no_key_is_refused_by_name(app: Application) -> None:
    secret = RSA.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"password")).decode()
    dh = private_pem(dsa.generate_private_key(1024))
    brainpool = private_pem(ec.generate_private_key(ec.BrainpoolP256R1()))
    marked = "-----BEGIN PUBLIC KEY-----"
    for kind, key, words in (
        ("private", public_pem(RSA), "expected a private key"), ("private", marked, "expected a private key"), ("public", marked, "expected a public or a private key"),
        ("private", secret, "without a passphrase"), ("private", dh, "RSA, EC or Ed25519"), ("public", dh, "RSA, EC or Ed25519"),
        ("private", brainpool, "the curve brainpoolP256r1 is not available"), ("public", "-----BEGIN CERTIFICATE-----", "the certificate cannot be read"),
        ("public", marked + "x" * MOST_PEM, f"at most {MOST_PEM} characters"), ("public", {"key": {"kty": "oct", "k": "x"}, "format": "jwk"}, "a JWK is one of"),
        ("public", {"key": {"kty": "EC", "crv": "P-256", "x": "AQ", "y": "AQ"}, "format": "jwk"}, "the JWK is no key"),
        ("public", {"key": {"kty": "RSA", "e": "AQAB"}, "format": "jwk"}, "n of the JWK: expected text"),
        ("private", {"key": {"kty": "RSA", "n": "x", "e": "x", "d": "x"}, "format": "jwk"}, "a private key as a JWK is not available"),
        ("public", {"key": "AAAA", "format": "der", "encoding": "base64"}, "expected a public or a private key"), ("public", {"key": "x", "format": "raw"}, "the format raw is none of a key"),
    ):  # fmt: skip
        assert words in refused(app, "about", type=kind, key=key), words
    for given, words in (
        ({"key": private_pem(RSA), "algorithm": "sha256", "options": {"padding": 3}}, "the paddings are"),
        ({"key": private_pem(RSA), "algorithm": "sha256", "options": {**PSS, "saltLength": 5000}}, "cannot be used to sign so"),
        ({"key": private_pem(EC), "algorithm": "sha256", "options": {"dsaEncoding": "x"}}, "dsaEncoding is der or ieee-p1363"),
        ({"key": private_pem(ED), "algorithm": "sha256"}, "signs without a hash"),
        ({"key": public_pem(RSA), "algorithm": "sha256"}, "expected a private key"),
    ):  # fmt: skip
        assert words in refused(app, "sign", text="x", **given), words
    assert "signatures are over" in refused(app, "once", text="x", key=private_pem(RSA), algorithm=None)


def test_no_key_keeps_the_server_at_work() -> None:
    large = rsa.RSAPublicNumbers(65537, (1 << MOST_BITS) + 1)
    pem = large.public_key().public_bytes(Encoding.PEM, PublicFormat.PKCS1).decode()
    for given in ({"pem": pem}, {"jwk": {"kty": "RSA", "e": "AQAB", "n": written(large.n)}}):
        with pytest.raises(InvalidParameter, match="at most 8192 bits"):
            compute({"does": "read", "type": "public", **given})
    pss_alone = rsa_pss(public_pem(RSA))
    with pytest.raises(InvalidParameter, match="RSA-PSS alone"):
        compute({"does": "read", "type": "public", "pem": pss_alone})
    for asked in ({}, {"does": "else"}):
        with pytest.raises(InvalidParameter, match="no such method"):
            compute(asked)
    no_keys: list[dict[str, Any]] = [
        {}, {"pem": 5}, {"der": ""}, {"der": 5}, {"der": "A" * 100_000}, {"jwk": None}, {"jwk": {"kty": "RSA", "e": 5, "n": "é"}},
    ]  # fmt: skip
    for given in no_keys:
        with pytest.raises(InvalidParameter):
            compute({"does": "read", "type": "public", **given})


def rsa_pss(pem: str) -> str:
    """The same key, said to be for RSA-PSS alone."""
    der = b64decode("".join(pem.splitlines()[1:-1]))
    usual, alone = bytes.fromhex("06092a864886f70d0101010500"), bytes.fromhex("06092a864886f70d01010a0500")
    assert usual in der
    return f"-----BEGIN PUBLIC KEY-----\n{b64encode(der.replace(usual, alone)).decode()}\n-----END PUBLIC KEY-----\n"
