"""From a request body to BSON values, exactly or not at all.

orjson reads the body, and one walk in place turns wrappers into values and integers beyond 32 bits into int64. Three
things orjson would let pass are noticed on the way, and the body is then read again by a slow and exact reader, which
names the path: a key twice in one object, an integer beyond 64 bits, a NUL in a key.

A body of some length that has nothing rare in it is read by the native part, if it was built (``native/read.c``): to
BSON, and from there to values (``native/values.c``, or the driver where a type is rare). It declines what is malformed,
and the Python here says why.

Numbers: an integer is an int32 if it fits, else an int64; with a point or an exponent it is a double.
"""

from __future__ import annotations

import json
from codecs import BOM_UTF8
from typing import Any

import orjson
from bson import Int64

from doorleaf.ejson.parts import decode
from doorleaf.ejson.patient import Patient, halves
from doorleaf.ejson.pieces import LARGE_BYTES, Whole, count, load, require_sensible
from doorleaf.ejson.transcoder import native as native
from doorleaf.ejson.wrappers import INT32_MAX, INT32_MIN, INT64_MAX, INT64_MIN, WRAPPERS, Malformed, described, unwrap
from doorleaf.errors import InvalidParameter, MalformedJSON

MAX_DEPTH = 100
"""How deep objects and arrays may nest inside the root; a wrapper counts as the value that it is."""

NATIVE_BYTES = 32
"""From here on the native part is faster."""

SHORT_BYTES = 16 * 1024
"""A body that is shorter becomes values at once, where it has none of a rare type."""

_NO_WRAPPER = frozenset(WRAPPERS).isdisjoint


class _Inexact(Exception):
    """What orjson made of the body may not be what was written."""


def loads(body: bytes, start: int = 0) -> dict[str, Any]:
    """Read a JSON object, wrappers of Extended JSON included, into BSON values; key order is kept.

    Raises InvalidParameter: for JSON that is malformed, with the byte where, of which ``body`` begins at ``start``; for
    anything else with the path.
    """
    if native is not None and len(body) >= NATIVE_BYTES:
        if len(body) < SHORT_BYTES:
            values: dict[str, Any] | None = native.values(body)
            if values is not None:
                return values
        found = loads_bson(body)
        if found is not None:
            return decode(found)
    return loads_rest(body, start)


def loads_rest(body: bytes, start: int = 0) -> dict[str, Any]:
    """Read as :func:`loads` does what :func:`loads_bson` leaves to it."""
    if body.startswith(BOM_UTF8):
        start, body = start + len(BOM_UTF8), body[len(BOM_UTF8) :]
    try:
        root = load(body)
    except Whole:
        return _read(_exact(body, start), None)
    except orjson.JSONDecodeError as error:
        _exact(body, start)
        at = start + len(error.doc[: error.pos].encode())
        raise MalformedJSON(f"malformed JSON at byte {at}: {error.msg}") from None
    try:
        return _read(root, body)
    except _Inexact:
        return _read(_exact(body, start), None)


def loads_bson(body: bytes) -> bytes | None:
    """Read a JSON object as :func:`loads` does, to BSON; None where that has to read it."""
    if native is None:
        return None
    if len(body) >= LARGE_BYTES:
        require_sensible(body)
    found: bytes | None = native.bson(body)
    return found


def loads_documents(body: bytes) -> Any:
    """Read a JSON body that may be something else than an object, an array for instance, as :func:`loads` does.

    Paths in errors begin with ``documents``.
    """
    body = body.removeprefix(BOM_UTF8)
    head = b'{"documents":'
    found = loads(b"".join((head, body, b"}")), -len(head))
    if found.keys() != {"documents"}:
        raise MalformedJSON("malformed JSON: there is something behind the value")
    return found["documents"]


def _read(root: Any, body: bytes | None) -> dict[str, Any]:
    """Decode ``root`` in place; with ``body``, check that no key of it went missing in ``root``."""
    if type(root) is not dict:
        raise InvalidParameter(f"the body must be a JSON object, got {described(root)}")
    try:
        keys = _object(root, 0)
    except Malformed as error:
        raise InvalidParameter(str(error)) from None
    if body is not None and ((count(body, b":") != keys and _most_keys(body) != keys) or b"\\u0000" in body):
        raise _Inexact
    return root


def _most_keys(body: bytes) -> int:
    """No fewer than the keys written in ``body``: a key's colon follows its quote or white space."""
    return sum(count(body, part) for part in (b'":', b" :", b"\n:", b"\r:", b"\t:"))


def _object(values: dict[str, Any], depth: int) -> int:
    """Decode the members of ``values`` in place and count the keys in it and below."""
    if depth > MAX_DEPTH:
        raise InvalidParameter(f"the body nests deeper than {MAX_DEPTH} levels")
    keys = len(values)
    try:
        for key, value in values.items():
            kind = type(value)
            if kind is str:
                continue
            if kind is dict:
                if _NO_WRAPPER(value):
                    keys += _object(value, depth + 1)
                else:
                    values[key], inside = _value(value, depth + 1)
                    keys += inside
            elif kind is list:
                keys += _array(value, depth + 1)
            elif kind is int:
                if not INT32_MIN <= value <= INT32_MAX:
                    values[key] = _long(value)
            elif kind is float:
                if not INT64_MIN < value < INT64_MAX:  # orjson reads integers beyond 64 bits as such doubles
                    raise _Inexact
            elif kind is _Double:
                values[key] = float(value)
    except Malformed as error:
        error.path.append(key)
        raise
    return keys


def _array(values: list[Any], depth: int) -> int:
    """Decode the elements of ``values`` in place and count the keys below."""
    if depth > MAX_DEPTH:
        raise InvalidParameter(f"the body nests deeper than {MAX_DEPTH} levels")
    keys = 0
    try:
        for index, value in enumerate(values):
            kind = type(value)
            if kind is dict:
                if _NO_WRAPPER(value):
                    keys += _object(value, depth + 1)
                else:
                    values[index], inside = _value(value, depth + 1)
                    keys += inside
            elif kind is list:
                keys += _array(value, depth + 1)
            elif kind is int:
                if not INT32_MIN <= value <= INT32_MAX:
                    values[index] = _long(value)
            elif kind is float:
                if not INT64_MIN < value < INT64_MAX:  # orjson reads integers beyond 64 bits as such doubles
                    raise _Inexact
            elif kind is _Double:
                values[index] = float(value)
    except Malformed as error:
        error.path.append(str(index))
        raise
    return keys


def _value(written: dict[str, Any], depth: int) -> tuple[Any, int]:
    """The value of a wrapper, and its number of keys (too few is safe: it leads to the exact reader)."""
    keys = len(written)
    for name, content in written.items():
        if type(content) is dict:
            if name == "$scope":
                try:
                    keys += _object(content, depth + 1)
                except Malformed as error:
                    error.path.append(name)
                    raise
            else:
                keys += len(content)
    return unwrap(written), keys


def _long(value: int) -> Int64:
    if not INT64_MIN <= value <= INT64_MAX:
        raise _Inexact
    return Int64(value)


# --- the exact reader --------------------------------------------------------------------------------------------


class _Pairs(list[tuple[str, Any]]):
    """An object as written: duplicate keys are still there."""


class _Beyond(str):
    """A number that fits neither int64 nor double, as written."""


class _Double(float):
    """A double that was written as one, however large."""


class _Constant(Exception):
    """NaN, Infinity or -Infinity, bare."""


def _parse_integer(text: str) -> int | _Beyond:
    _only_ascii(text)
    if len(text) < 25 and INT64_MIN <= int(text) <= INT64_MAX:
        return int(text)
    return _Beyond(text)


def _parse_number(text: str) -> float:
    _only_ascii(text)
    return _Double(text)


def _only_ascii(text: str) -> None:
    """Refuse digits of other scripts, which the reader in Python takes before Python 3.14."""
    if not text.isascii():
        raise MalformedJSON(f"malformed JSON: the number {text[:40]} has digits that are not ASCII")


def _parse_constant(name: str) -> Any:
    raise _Constant(name)


_READER = json.JSONDecoder(
    object_pairs_hook=_Pairs, parse_int=_parse_integer, parse_float=_parse_number, parse_constant=_parse_constant
)

_PATIENT = Patient(
    object_pairs_hook=_Pairs, parse_int=_parse_integer, parse_float=_parse_number, parse_constant=_parse_constant
)


def _exact(body: bytes, start: int) -> Any:
    """The body as plain JSON values, every key, string and number looked at. Raises InvalidParameter."""
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise MalformedJSON(f"malformed JSON at byte {start + error.start}: invalid UTF-8") from None
    try:
        return _checked((_READER if len(body) < LARGE_BYTES else _PATIENT).decode(text), 0)
    except json.JSONDecodeError as error:
        at = start + len(text[: error.pos].encode())
        raise MalformedJSON(f"malformed JSON at byte {at}: {error.msg[:1].lower()}{error.msg[1:]}") from None
    except _Constant as error:
        raise MalformedJSON(f'malformed JSON: write {error} as {{"$numberDouble": "{error}"}}') from None
    except RecursionError:
        raise InvalidParameter(f"the body nests deeper than {MAX_DEPTH} levels") from None
    except Malformed as error:
        raise InvalidParameter(str(error)) from None


def _checked(value: Any, depth: int) -> Any:
    """``value`` with its objects as dicts. Raises Malformed with the path."""
    if isinstance(value, _Pairs):
        return _checked_object(value, depth)
    if isinstance(value, list):
        values = []
        for index, element in enumerate(value):
            try:
                values.append(_checked(element, depth + 1))
            except Malformed as error:
                error.path.append(str(index))
                raise
        return values
    if isinstance(value, _Beyond):
        raise Malformed(f"the integer {value[:40]} is beyond 64 bits; $numberDecimal takes 34 digits")
    if isinstance(value, _Double):
        if value in (float("inf"), float("-inf")):
            raise Malformed("the number is beyond a double")
        return value if not INT64_MIN < value < INT64_MAX else float(value)
    if isinstance(value, str) and halves(value):
        raise Malformed("the string has half a surrogate pair")
    return value


def _checked_object(pairs: _Pairs, depth: int) -> dict[str, Any]:
    if depth > 2 * MAX_DEPTH:  # what recursion can bear; the walk that follows knows wrappers and counts exactly
        raise InvalidParameter(f"the body nests deeper than {MAX_DEPTH} levels")
    values: dict[str, Any] = {}
    for key, value in pairs:
        try:
            if key in values:
                raise Malformed("the key is there twice")
            if "\0" in key or halves(key):
                raise Malformed("a key cannot have a NUL or half a surrogate pair")
            values[key] = _checked(value, depth + 1)
        except Malformed as error:
            error.path.append(key.encode(errors="replace").decode().replace("\0", "\\0"))
            raise
    return values
