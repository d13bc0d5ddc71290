"""Ciphers and keys made of passwords, for ``require("crypto")`` of functions in JavaScript, as Node.js has them.

Nothing is kept from one question to the next: what has been given so far comes with each.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any

from bson import Binary
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC, CTR, GCM
from cryptography.hazmat.primitives.padding import PKCS7

from doorleaf.documents import Document
from doorleaf.errors import InvalidParameter
from doorleaf.functions.signatures import content

MOST_ROUNDS = 1_000_000
MOST_ALL_ROUNDS = 2 * MOST_ROUNDS
"""Rounds of PBKDF2 for all parts of a key, each as long as a hash, which take a second or so in a thread of few."""
MOST_KEY_BYTES = 1024
MOST_MEMORY = 32 * 1024 * 1024
"""What scrypt may take, which is also the most that Node.js lets it have unless told otherwise."""
MOST_LANES = 16
TAG_BYTES = 16
_NAME = re.compile(r"aes-(128|192|256)-(cbc|ctr|gcm)")
_HASHES = ("sha1", "sha224", "sha256", "sha384", "sha512")


def compute(asked: Document) -> Any:
    """The answer to one question of a function about ciphers. Raises InvalidParameter."""
    work = {"encrypt": _encrypt, "decrypt": _decrypt, "pbkdf2": _pbkdf2, "scrypt": _scrypt}.get(str(asked.get("does")))
    if work is None:
        raise InvalidParameter("crypto has no such method")
    return work(asked)


def _encrypt(asked: Document) -> Document:
    """All that comes of what has been given so far; at the end with the tag, where the cipher has one."""
    cipher, pads = _cipher(asked)
    encryptor, given, ends = cipher.encryptor(), content(asked.get("input")), asked.get("ends") is True
    if isinstance(cipher.mode, GCM):
        encryptor.authenticate_additional_data(_beside(asked))
    elif pads:
        padder = PKCS7(128).padder()
        given = padder.update(given) + (padder.finalize() if ends else b"")
    found = encryptor.update(given)
    if not ends:
        return {"bytes": Binary(found)}
    try:
        found += encryptor.finalize()
    except ValueError:
        raise InvalidParameter("crypto: the input is no whole number of blocks") from None
    return {"bytes": Binary(found), "tag": Binary(encryptor.tag) if isinstance(cipher.mode, GCM) else None}


def _decrypt(asked: Document) -> Document:
    cipher, pads = _cipher(asked)
    decryptor, ends = cipher.decryptor(), asked.get("ends") is True
    try:
        if isinstance(cipher.mode, GCM):
            decryptor.authenticate_additional_data(_beside(asked))
            found = decryptor.update(content(asked.get("input")))
            return {"bytes": Binary(found + (decryptor.finalize_with_tag(_tag(asked)) if ends else b""))}
        found = decryptor.update(content(asked.get("input"))) + (decryptor.finalize() if ends else b"")
        if pads:
            unpadder = PKCS7(128).unpadder()
            found = unpadder.update(found) + (unpadder.finalize() if ends else b"")
    except (InvalidTag, ValueError):
        raise InvalidParameter("crypto: this was not encrypted with this key, or has been changed") from None
    return {"bytes": Binary(found)}


def _cipher(asked: Document) -> tuple[Cipher[Any], bool]:
    """The cipher, and whether it fills the last block up."""
    name, key, iv = str(asked.get("algorithm")).lower(), content(asked.get("key")), content(asked.get("iv"))
    found = _NAME.fullmatch(name)
    if found is None:
        raise InvalidParameter("crypto: the ciphers are aes-128, aes-192 and aes-256, each with -cbc, -ctr and -gcm")
    if len(key) * 8 != int(found[1]):
        raise InvalidParameter(f"crypto: expected a key of {int(found[1]) // 8} bytes for {name}, got {len(key)}")
    if found[2] == "gcm":
        if not 8 <= len(iv) <= 128:
            raise InvalidParameter(f"crypto: expected an initialization vector of 8 to 128 bytes, got {len(iv)}")
        return Cipher(AES(key), GCM(iv)), False
    if len(iv) != 16:
        raise InvalidParameter(f"crypto: expected an initialization vector of 16 bytes for {name}, got {len(iv)}")
    if found[2] == "ctr":
        return Cipher(AES(key), CTR(iv)), False
    return Cipher(AES(key), CBC(iv)), asked.get("pads") is not False


def _beside(asked: Document) -> bytes:
    return b"" if asked.get("beside") is None else content(asked["beside"])


def _tag(asked: Document) -> bytes:
    tag = b"" if asked.get("tag") is None else content(asked["tag"])
    if len(tag) != TAG_BYTES:  # shorter ones are easier to forge
        raise InvalidParameter(f"crypto: expected a tag of {TAG_BYTES} bytes by setAuthTag, got {len(tag)}")
    return tag


def _pbkdf2(asked: Document) -> Binary:
    password, salt = content(asked.get("password")), content(asked.get("salt"))
    rounds, size = _count(asked, "iterations", MOST_ROUNDS), _count(asked, "keylen", MOST_KEY_BYTES)
    digest = str(asked.get("digest")).lower().replace("-", "")
    if digest not in _HASHES:
        raise InvalidParameter(f"pbkdf2: the digests are {', '.join(_HASHES)}")
    parts = -(-size // hashlib.new(digest).digest_size)
    if rounds * parts > MOST_ALL_ROUNDS:
        raise InvalidParameter(
            f"pbkdf2: a key of {size} bytes takes {parts} times the iterations, which is more than {MOST_ALL_ROUNDS}"
        )
    return Binary(hashlib.pbkdf2_hmac(digest, password, salt, rounds, size))


def _scrypt(asked: Document) -> Binary:
    password, salt, size = (
        content(asked.get("password")),
        content(asked.get("salt")),
        _count(asked, "keylen", MOST_KEY_BYTES),
    )
    cost, block, lanes = _count(asked, "N", 1 << 20), _count(asked, "r", 1 << 10), _count(asked, "p", MOST_LANES)
    if cost < 2 or cost & (cost - 1):
        raise InvalidParameter("scrypt: N is a power of two")
    if cost.bit_length() > 16 * block:  # RFC 7914, section 6: N is less than 2^(128 * r / 8)
        raise InvalidParameter(f"scrypt: N is less than 2^{16 * block} where r is {block}")
    if 128 * block * (cost + lanes) > MOST_MEMORY:
        raise InvalidParameter(f"scrypt: N, r and p take more than {MOST_MEMORY // 1024 // 1024} MiB")
    return Binary(hashlib.scrypt(password, salt=salt, n=cost, r=block, p=lanes, maxmem=MOST_MEMORY * 2, dklen=size))


def _count(asked: Document, name: str, most: int) -> int:
    number = asked.get(name)
    if type(number) is not int or not 1 <= number <= most:
        raise InvalidParameter(f"{asked['does']}: {name} is a number from 1 to {most}")
    return number
