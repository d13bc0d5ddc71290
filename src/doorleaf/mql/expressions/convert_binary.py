"""Conversions between binary data and text or numbers, for ``$convert``."""

from __future__ import annotations

import base64
import binascii
import re
import struct
from typing import Any, NamedTuple

from bson.binary import Binary
from bson.int64 import Int64

from doorleaf.documents import is_string
from doorleaf.mql.display import display
from doorleaf.mql.expressions.compile import fail, nullish
from doorleaf.mql.expressions.text import utf8
from doorleaf.mql.numbers import integral, is_long, is_number
from doorleaf.mql.values import type_name

FORMATS = ("base64", "base64url", "utf8", "hex", "uuid", "auto")
_UUID_SUBTYPE = 4
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_SIZES = {"int": (1, 2, 4), "long": (1, 2, 4, 8), "double": (4, 8)}
_LETTERS = {1: "b", 2: "h", 4: "i", 8: "q"}


class ConversionError(Exception):
    """A value that cannot be converted; the message is the server's."""


class Form(NamedTuple):
    """How binary data is written: the text format (None when not given), the byte order and the subtype."""

    format: str | None = None
    big: bool = False
    subtype: int = 0


def read_format(value: Any) -> str | None:
    """The operand ``format``."""
    if nullish(value):
        return None
    if not is_string(value):
        fail(
            4341114,
            f"$convert requires that 'format' be a string, found: {type_name(value)} with value {display(value)}",
        )
    if value not in FORMATS:
        fail(4341125, f"Invalid 'format' argument for $convert: {value}")
    return str(value)


def read_byte_order(value: Any) -> bool:
    """The operand ``byteOrder``: whether it is big-endian."""
    if nullish(value):
        return False
    if not is_string(value):
        fail(9130001, f"$convert requires that 'byteOrder' be a string, found: {type_name(value)}")
    if value not in ("little", "big"):
        fail(9130002, f"Invalid 'byteOrder' argument for $convert: {value}")
    return bool(value == "big")


def read_subtype(value: Any) -> int:
    """The member ``subtype`` of ``to``."""
    if not is_number(value):
        fail(4341108, f"$convert's 'subtype' must be a number, but is {type_name(value)}")
    subtype = integral(value)
    if subtype is None:
        fail(4341106, f"In $convert, numeric 'subtype' argument is not an integer: {display(value)}")
    if not (0 <= subtype <= 9 or 128 <= subtype <= 255):
        fail(4341107, f"In $convert, numeric value for 'subtype' does not correspond to a BinData type: {subtype}")
    return subtype


# --- to binary data --------------------------------------------------------------------------------------------------


def to_binary(value: Any, form: Form) -> Any:
    """A string, number or binary data as binary data of the asked subtype."""
    if isinstance(value, bytes):
        own = value.subtype if isinstance(value, Binary) else 0
        if own != form.subtype:
            raise ConversionError("Conversions between different BinData subtypes are not supported")
        return value
    data = _from_text(value, form) if is_string(value) else _from_number(value, form)
    return Binary(data, form.subtype) if form.subtype else data


def _from_number(value: Any, form: Form) -> bytes:
    letter = "d" if isinstance(value, float) else "q" if is_long(value) else "i"
    return struct.pack((">" if form.big else "<") + letter, value)


def _from_text(text: str, form: Form) -> bytes:
    if form.format is None:
        fail(4341115, "Format must be specified when converting from 'string' to 'binData'")
    if (form.format == "uuid") is not (form.subtype == _UUID_SUBTYPE):
        raise ConversionError("Only the UUID format is allowed with the UUID subtype")
    try:
        return _decode(text, form.format)
    except (ValueError, binascii.Error):
        raise ConversionError(
            f"Input string is not valid as '{form.format}' in $convert with no onError value"
        ) from None


def _decode(text: str, form: str) -> bytes:
    if form == "utf8":
        return utf8(text)
    if form == "base64":
        return base64.b64decode(text, validate=True)
    if form == "base64url":
        if set(text) & set("+/"):
            raise ValueError(text)
        padded = text + "=" * (-len(text) % 4)
        return base64.b64decode(padded, altchars=b"-_", validate=True)
    if form == "hex" and re.fullmatch(r"(?:[0-9a-fA-F]{2})*", text):
        return bytes.fromhex(text)
    if form == "uuid" and _UUID.fullmatch(text):
        return bytes.fromhex(text.replace("-", ""))
    raise ValueError(text)


# --- from binary data ------------------------------------------------------------------------------------------------


def _payload(value: bytes) -> bytes:
    """The bytes as they are stored: the old binary subtype begins with its length."""
    data = bytes(value)
    return struct.pack("<i", len(data)) + data if isinstance(value, Binary) and value.subtype == 2 else data


def to_text(value: bytes, form: Form) -> str:
    """Binary data as a string in the asked format."""
    subtype = value.subtype if isinstance(value, Binary) else 0
    is_uuid = subtype == _UUID_SUBTYPE and len(value) == 16
    asked = form.format
    if asked is None:
        fail(4341115, "Format must be specified when converting from 'binData' to 'string'")
    if asked == "auto":
        asked = "uuid" if is_uuid else "base64"
    data = _payload(value)
    if asked == "uuid":
        if not is_uuid:
            raise ConversionError("Only 16 bytes of the UUID subtype can be written in the UUID format")
        digits = data.hex()
        return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
    if asked == "hex":
        return data.hex().upper()
    if asked == "base64":
        return base64.b64encode(data).decode()
    if asked == "base64url":
        return base64.urlsafe_b64encode(data).decode().rstrip("=")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise ConversionError("BinData is not valid UTF-8 in $convert with no onError value") from None


def to_number(value: bytes, target: str, form: Form) -> Any:
    """Binary data as an int, long or double, by its bytes."""
    data = _payload(value)
    size = len(data)
    if size not in _SIZES[target]:
        raise ConversionError(f"Failed to convert '{display(value)}' to {target} because of invalid length: {size}")
    order = ">" if form.big else "<"
    if target == "double":
        return float(struct.unpack(order + ("f" if size == 4 else "d"), data)[0])
    number = struct.unpack(order + _LETTERS[size], data)[0]
    return Int64(number) if target == "long" else int(number)
