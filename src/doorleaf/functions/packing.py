"""Compressed data of functions in JavaScript, as the zlib module of Node.js has it."""

from __future__ import annotations

import zlib

from bson import Binary

from doorleaf.documents import Document
from doorleaf.errors import InvalidParameter
from doorleaf.functions.signatures import content

MAX_BYTES = 16 * 1024 * 1024
"""Most that may come of compressed data."""
MOST_MEMBERS = 1000
"""Parts of data by gzip, each compressed for itself."""

_FORMS = {"gzip": 31, "gunzip": 31, "deflate": 15, "inflate": 15, "deflateRaw": -15, "inflateRaw": -15, "unzip": 47}


def compute(asked: Document) -> Binary:
    """Bytes by ``{does, input}``: ``does`` is the name of a function of zlib. InvalidParameter for data that is not
    compressed in this way, or too much."""
    does, given = str(asked.get("does")), content(asked.get("input"))
    form = _FORMS.get(does)
    if form is None:
        raise InvalidParameter("zlib has no such function")
    if does in ("gzip", "deflate", "deflateRaw"):
        packing = zlib.compressobj(wbits=form)
        return Binary(packing.compress(given) + packing.flush())
    return Binary(_unpacked(does, form, given))


def _unpacked(does: str, form: int, given: bytes) -> bytes:
    found = bytearray()
    for _ in range(MOST_MEMBERS):
        unpacking = zlib.decompressobj(wbits=form)
        try:
            found += unpacking.decompress(given, MAX_BYTES + 1 - len(found))
        except zlib.error:
            raise InvalidParameter(f"zlib.{does}: the data has another form") from None
        if len(found) > MAX_BYTES:
            raise InvalidParameter(f"zlib.{does}: the data makes more than {MAX_BYTES // 1024 // 1024} MiB")
        if not unpacking.eof:
            raise InvalidParameter(f"zlib.{does}: unexpected end of the data")
        given = unpacking.unused_data
        if not given.startswith(b"\x1f\x8b"):
            return bytes(found)
    raise InvalidParameter(f"zlib.{does}: the data has more than {MOST_MEMBERS} parts")
