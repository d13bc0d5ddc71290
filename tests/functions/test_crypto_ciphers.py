# ruff: noqa: E501  # a function is a line
"""Ciphers and keys of passwords of ``require("crypto")``: others read what it writes, and it what others write."""

from __future__ import annotations

import hashlib
import os
from base64 import b64decode, b64encode
from collections.abc import Iterator
from typing import Any

import orjson
import pytest
from asgi import Application, application
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC, CTR
from cryptography.hazmat.primitives.padding import PKCS7
from shop_app import alone

from doorleaf.errors import InvalidParameter
from doorleaf.functions.ciphers import MOST_ROUNDS, compute
from doorleaf.functions.signatures import is_long

FUNCTION = """
const crypto = require('crypto');
const b = (text) => Buffer.from(text, 'base64');
const does = {
  encrypt: ({ algorithm, key, iv, parts, beside, encoding }) => {
    const cipher = crypto.createCipheriv(algorithm, b(key), b(iv));
    if (beside) cipher.setAAD(Buffer.from(beside));
    const made = encoding ? parts.map((part) => cipher.update(part, 'utf8', encoding)) : parts.map((part) => cipher.update(part));
    made.push(cipher.final(encoding));
    const all = encoding ? made.join('') : Buffer.concat(made).toString('base64');
    return [all, made.map((one) => one.length), algorithm.endsWith('gcm') ? cipher.getAuthTag().toString('base64') : null];
  },
  decrypt: ({ algorithm, key, iv, text, cut, beside, tag, pads }) => {
    const decipher = crypto.createDecipheriv(algorithm, crypto.createSecretKey(b(key)), b(iv));
    if (tag) decipher.setAuthTag(b(tag));
    if (beside) decipher.setAAD(Buffer.from(beside));
    if (pads === false) decipher.setAutoPadding(false);
    return decipher.update(b(text).subarray(0, cut), undefined, 'utf8') + decipher.update(b(text).subarray(cut), undefined, 'utf8') + decipher.final('utf8');
  },
  pbkdf2: ({ given }) => new Promise((done, failed) => crypto.pbkdf2(...given, (error, found) => (error ? failed(error) : done([found.toString('hex'), crypto.pbkdf2Sync(...given).toString('hex')])))),
  scrypt: ({ given }) => new Promise((done, failed) => crypto.scrypt(...given, (error, found) => (error ? failed(error) : done([found.toString('hex'), crypto.scryptSync(...given).toString('hex')])))),
  twice: ({ key, iv }) => { const cipher = crypto.createCipheriv('aes-256-cbc', b(key), b(iv)); cipher.final(); cipher.final() },
  early: ({ key, iv }) => crypto.createCipheriv('aes-256-gcm', b(key), b(iv)).getAuthTag(),
};
exports = (request) => { const given = JSON.parse(request.body.text()); return does[given.does](given) };
"""
PARTS = ["", "a téxt of more than a block of sixteen", "😀", "!"]
TEXT = "".join(PARTS).encode()
CIPHERS = [f"aes-{bits}-{mode}" for bits in (128, 192, 256) for mode in ("cbc", "ctr", "gcm")]


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Application]:
    folder = tmp_path_factory.mktemp("ciphers")
    with application(folder / "data", app=alone(folder / "app", "ciphers", FUNCTION)) as running:
        yield running


def told(app: Application, does: str, **given: Any) -> tuple[int, Any]:
    answer = app.call("POST", "/endpoint/ciphers", orjson.dumps({"does": does, **given}))
    return answer.status, answer.json


def ask(app: Application, does: str, **given: Any) -> Any:
    status, found = told(app, does, **given)
    assert status == 200, found
    return found


def refused(app: Application, does: str, **given: Any) -> str:
    status, found = told(app, does, **given)
    assert (status, found["error_code"]) == (400, "FunctionExecutionError"), found
    return str(found["error"])


def theirs(algorithm: str, key: bytes, iv: bytes, beside: bytes | None = None) -> tuple[bytes, bytes]:
    """What others make of the text, and the tag."""
    if algorithm.endswith("gcm"):
        found = AESGCM(key).encrypt(iv, TEXT, beside)
        return found[:-16], found[-16:]
    padder = PKCS7(128).padder()
    cbc = algorithm.endswith("cbc")
    given = padder.update(TEXT) + padder.finalize() if cbc else TEXT
    encryptor = Cipher(AES(key), CBC(iv) if cbc else CTR(iv)).encryptor()
    return encryptor.update(given) + encryptor.finalize(), b""


@pytest.mark.parametrize("algorithm", CIPHERS)
def test_what_is_encrypted_is_what_others_encrypt(app: Application, algorithm: str) -> None:
    key, iv = os.urandom(int(algorithm.split("-")[1]) // 8), os.urandom(12 if algorithm.endswith("gcm") else 16)
    how = {"algorithm": algorithm, "key": b64encode(key).decode(), "iv": b64encode(iv).decode()}
    expected, tag = theirs(algorithm, key, iv)
    found, sizes, its_tag = ask(app, "encrypt", parts=PARTS, **how)
    assert (b64decode(found), b64decode(its_tag or "")) == (expected, tag)
    whole, left = divmod(len(TEXT), 16)
    assert sum(sizes) == len(expected)
    assert sizes[-1] == (16 if algorithm.endswith("cbc") else 0), (whole, left)  # as it comes, not all at the end
    for encoding in ("hex", "base64"):
        text = ask(app, "encrypt", parts=PARTS, encoding=encoding, **how)[0]
        assert (bytes.fromhex(text) if encoding == "hex" else b64decode(text)) == expected
    for cut in (0, 5, 16, 30, len(expected)):
        given = {"text": b64encode(expected).decode(), "tag": b64encode(tag).decode(), "cut": cut}
        assert ask(app, "decrypt", **given, **how).encode() == TEXT


def test_what_was_changed_is_refused(app: Application) -> None:
    key, iv = os.urandom(32), os.urandom(12)
    how = {"algorithm": "aes-256-gcm", "key": b64encode(key).decode(), "iv": b64encode(iv).decode(), "cut": 3}
    found, tag = theirs("aes-256-gcm", key, iv, b"beside")
    right = {"text": b64encode(found).decode(), "tag": b64encode(tag).decode(), "beside": "beside"}
    assert ask(app, "decrypt", **how, **right).encode() == TEXT
    made = ask(app, "encrypt", parts=PARTS, beside="beside", **{**how, "cut": None})
    assert (b64decode(made[0]), b64decode(made[2])) == (found, tag)
    other = bytes([found[0] ^ 1]) + found[1:]
    for wrong in (
        {"text": b64encode(other).decode()}, {"tag": b64encode(os.urandom(16)).decode()}, {"beside": "else"}, {"beside": None},
    ):  # fmt: skip
        assert "was not encrypted with this key, or has been changed" in refused(
            app, "decrypt", **{**how, **right, **wrong}
        )
    for short in (None, b64encode(tag[:4]).decode()):
        assert "expected a tag of 16 bytes" in refused(app, "decrypt", **{**how, **right, "tag": short})


def test_blocks_that_are_not_filled_up(app: Application) -> None:
    key, iv = os.urandom(16), os.urandom(16)
    how = {"algorithm": "aes-128-cbc", "key": b64encode(key).decode(), "iv": b64encode(iv).decode(), "cut": 0}
    encryptor = Cipher(AES(key), CBC(iv)).encryptor()
    plain = encryptor.update(b"sixteen letters.") + encryptor.finalize()
    assert ask(app, "decrypt", text=b64encode(plain).decode(), pads=False, **how) == "sixteen letters."
    for pads, text in ((True, plain), (False, plain[:-1]), (True, plain[:-1]), (True, b"")):
        assert "was not encrypted" in refused(app, "decrypt", text=b64encode(text).decode(), pads=pads, **how)


def test_keys_of_passwords(app: Application) -> None:
    for digest in ("sha1", "sha256", "SHA-512"):
        expected = hashlib.pbkdf2_hmac(digest.replace("-", ""), "pässword".encode(), b"salt", 1000, 40).hex()
        assert ask(app, "pbkdf2", given=["pässword", "salt", 1000, 40, digest]) == [expected, expected]
    assert (
        ask(app, "pbkdf2", given=["p", "s", 1, 1024, "sha1"])[0]
        == hashlib.pbkdf2_hmac("sha1", b"p", b"s", 1, 1024).hex()
    )
    expected = hashlib.scrypt(b"password", salt=b"salt", n=16384, r=8, p=1, maxmem=1 << 26, dklen=32).hex()
    assert ask(app, "scrypt", given=["password", "salt", 32]) == [expected, expected]
    expected = hashlib.scrypt(b"password", salt=b"salt", n=1024, r=4, p=2, dklen=16).hex()
    assert ask(app, "scrypt", given=["password", "salt", 16, {"cost": 1024, "blockSize": 4, "p": 2}]) == [expected] * 2


def test_what_cannot_be_is_refused_by_name(app: Application) -> None:
    how = {"key": b64encode(bytes(32)).decode(), "iv": b64encode(bytes(16)).decode(), "parts": []}
    for given, words in (
        ({"algorithm": "des-ede3-cbc"}, "the ciphers are aes-128"), ({"algorithm": "aes-128-cbc"}, "expected a key of 16 bytes for aes-128-cbc, got 32"),
        ({"algorithm": "aes-256-cbc", "iv": ""}, "initialization vector of 16 bytes"), ({"algorithm": "aes-256-gcm", "iv": "AAAA"}, "initialization vector of 8 to 128 bytes"),
    ):  # fmt: skip
        assert words in refused(app, "encrypt", **{**how, **given})
    assert "final was called already" in refused(app, "twice", **how)
    assert "a tag is there after final" in refused(app, "early", **how)
    for does, shown, words in (
        ("pbkdf2", ["p", "s", MOST_ROUNDS + 1, 32, "sha256"], "iterations is a number from 1 to 1000000"), ("pbkdf2", ["p", "s", 1, 0, "sha256"], "keylen is a number from 1"),
        ("pbkdf2", ["p", "s", MOST_ROUNDS, 41, "sha1"], "a key of 41 bytes takes 3 times the iterations, which is more than 2000000"), ("pbkdf2", ["p", "s", 38_462, 1024, "sha1"], "takes 52 times"),
        ("pbkdf2", ["p", "s", 1, 32, "md5"], "the digests are"), ("scrypt", ["p", "s", 32, {"N": 1 << 16, "r": 1}], "N is less than 2^16 where r is 1"), ("scrypt", ["p", "s", 32, {"N": 3}], "N is a power of two"),
        ("scrypt", ["p", "s", 32, {"N": 1 << 20}], "take more than 32 MiB"), ("scrypt", ["p", "s", 32, {"p": 100}], "p is a number from 1 to 16"),
    ):  # fmt: skip
        assert words in refused(app, does, given=shown)


def test_what_takes_long_is_not_done_on_the_event_loop() -> None:
    for does in ("pbkdf2", "scrypt"):
        assert is_long({"to": "ciphers", "does": does})
        with pytest.raises(InvalidParameter, match="expected text or Binary"):
            compute({"does": does})
    assert not is_long({"to": "ciphers", "does": "encrypt"})
    with pytest.raises(InvalidParameter, match="no such method"):
        compute({"does": "else"})
