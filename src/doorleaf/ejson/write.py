"""From BSON values to an answer's bytes, in one of the modes of :class:`Mode`.

Plain, the default:

=====================  ================================================================================
ObjectId, Decimal128   a string
date                   ``"2023-03-29T15:54:47.069Z"``; outside years 1 to 9999 ``{"$date": {"$numberLong": "…"}}``
int32, int64           a number with all its digits
double                 a number that keeps its point or exponent (``10.0``); NaN and infinities are
                       ``{"$numberDouble": "NaN"}``, never null
binary                 ``{"Subtype": 5, "Data": "<base64>"}``
regular expression     ``{"Pattern": "…", "Options": "…"}``
timestamp              ``{"T": seconds, "I": ordinal}``
MinKey, MaxKey         ``{}``
code                   a string; with a scope ``{"Code": "…", "Scope": {…}}``
DBRef                  its document
=====================  ================================================================================

Canonical and relaxed are Extended JSON v2. Bytes of stored strings that are not UTF-8 are replaced by U+FFFD.

BSON that nobody had to look into is written by the native transcoder (``native/transcode.c``), if it was built. It
declines what is rare, and then, as without it, the functions here write the same bytes.
"""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from math import isfinite
from typing import Any

import bson
import orjson
from bson import Binary, Code, DatetimeMS, DBRef, Decimal128, Int64, MaxKey, MinKey, ObjectId, Regex, Timestamp

from doorleaf.documents import ABSENT, CODEC, Document, Documents
from doorleaf.ejson.modes import Mode
from doorleaf.ejson.transcoder import native as native
from doorleaf.errors import DataError
from doorleaf.operations.results import DocumentResult, DocumentsResult, InsertOneResult, Result, UpdateResult

PIECE_BYTES = 256 * 1024
PIECE_DOCUMENTS = 500
"""How much of a long answer is written at once."""

Convert = Callable[[Any], Any]

_MODES = {Mode.PLAIN: 0, Mode.CANONICAL: 1, Mode.RELAXED: 2, Mode.JAVASCRIPT: 3}
_PLUS = orjson.dumps(1e300) == b"1e+300"
"""Whether the orjson that is installed writes a sign in exponents, so that both ways write the same."""

_OPTIONS = orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_SUBCLASS
_EPOCH = datetime(1970, 1, 1)
_MILLISECOND = timedelta(milliseconds=1)


def _may_have_nan(document: bytes) -> bool:
    """Whether a NaN or an infinity (an exponent of ones) may be in BSON: never False when there is one.

    Before such a double are its type, 01, and its name, which ends with the only NUL in it. The time is linear,
    whatever the bytes are: no look back passes the NUL of the one before.
    """
    for last in (b"\x7f", b"\xff"):
        at = document.find(last, 8)
        while at >= 0:
            name_end = at - 8
            if document[at - 1] >= 0xF0 and not document[name_end]:
                before = document.rfind(b"\0", 0, name_end) + 1
                if document.find(b"\x01", before, name_end) >= 0:
                    return True
            at = document.find(last, at + 1)
    return False


def encode_result(result: Result, mode: Mode) -> bytes:
    """The body of the answer ``result``."""
    if type(result) is DocumentResult:
        document = result.document
        body = encode_document(document, mode) if isinstance(document, bytes) else _looked_at(result, mode)
        return b'{"document":' + body + b"}"
    if type(result) is DocumentsResult:
        return b'{"documents":' + encode_documents(result.documents, mode) + b"}"
    return _of_write(result, mode) or dumps(result.wire(), mode)


def _of_write(result: Result, mode: Mode) -> bytes:
    """The answer of a write of one document as most are, which need not be looked at member by member; else ""."""
    if type(result) is InsertOneResult:
        number = result.inserted_id
        if type(number) is ObjectId:
            bare = mode is not Mode.CANONICAL and mode is not Mode.RELAXED
            return (b'{"insertedId":"%b"}' if bare else b'{"insertedId":{"$oid":"%b"}}') % number.binary.hex().encode()
    elif type(result) is UpdateResult and result.upserted_id is ABSENT and mode is not Mode.CANONICAL:
        matched, modified = result.matched_count, result.modified_count
        if type(matched) is int and type(modified) is int:
            return b'{"matchedCount":%d,"modifiedCount":%d}' % (matched, modified)
    return b""


def _looked_at(result: DocumentResult, mode: Mode) -> bytes:
    """A document that somebody had to look at, and so is there as Python values."""
    document, source = result.document, result.source
    if source is None or mode is not Mode.PLAIN:
        return dumps(document, mode)
    return _plain(document, lambda: _may_have_nan(source))


def _is_bare(written: bytes) -> bool:
    """Whether plain JSON has nothing in it that ``BARE`` writes otherwise; a text may look like that."""
    return b'"Subtype":' not in written and b'"$numberDouble":' not in written


def encode_document(document: bytes, mode: Mode) -> bytes:
    """One BSON document as a JSON object."""
    if mode is Mode.BARE:
        plain = encode_document(document, Mode.PLAIN)
        return plain if _is_bare(plain) else _walked(bson.decode(document, CODEC), _BARE)
    if native is not None and mode is not Mode.ATLAS:
        written: bytes | None = native.document(document, _MODES[mode], _PLUS)
        if written is not None:
            return written
    value = bson.decode(document, CODEC)
    if mode is not Mode.PLAIN:
        return _walked(value, _TABLES[mode])
    return _plain(value, lambda: _may_have_nan(document))


def encode_exactly(document: bytes, mode: Mode) -> bytes | None:
    """One BSON document as a JSON object, None where canonical Extended JSON has another value for anything in it:
    types that MongoDB has given up, text that is not UTF-8, a name that comes twice."""
    if native is not None:
        written: bytes | None = native.document(document, _MODES[Mode.CANONICAL], _PLUS)
        if written is not None and native.bson(written) == document:
            return written if mode is Mode.CANONICAL else encode_document(document, mode)
    values: Document = bson.decode(document, CODEC)
    if bson.encode(values, codec_options=CODEC) != document:
        return None
    return encode_document(document, mode)


def encode_documents(documents: Documents, mode: Mode, head: bytes = b"", tail: bytes = b"") -> bytes:
    """BSON documents as a JSON array, between ``head`` and ``tail``."""
    if mode is Mode.BARE:
        plain = encode_documents(documents, Mode.PLAIN)
        bare = plain if _is_bare(plain) else _walked(documents.decode(), _BARE)
        return b"".join((head, bare, tail))
    if native is not None and documents.encoded and mode is not Mode.ATLAS:
        whole: bytes | None = native.documents(documents.batches, _MODES[mode], _PLUS, head, tail)
        if whole is not None:
            return whole
    values = documents.decode()
    if mode is Mode.PLAIN:
        written = _plain(values, lambda: any(map(_may_have_nan, documents.source)))
    else:
        written = _walked(values, _TABLES[mode])
    return b"".join((head, written, tail))


def encode_pieces(documents: Documents, mode: Mode, *, bare: bool = False) -> Iterator[bytes]:
    """The body of the answer with ``documents``, piece by piece, so that it is nowhere as a whole; ``bare`` is the
    array alone."""
    head, tail = (b"[", b"]") if bare else (b'{"documents":[', b"]}")
    before = head
    for part in documents.parts(PIECE_BYTES, PIECE_DOCUMENTS):
        written = encode_documents(part, mode)
        yield before
        yield written[1:-1]
        before = b","
    yield tail if before == b"," else head + tail


def encode_lines(documents: Documents, mode: Mode) -> bytes:
    """BSON documents as JSON objects, each with a line end behind it; no JSON has one inside."""
    if documents.encoded:
        written = [encode_document(document, mode) for document in documents]
    else:
        written = [dumps(document, mode) for document in documents.decode()]
    return b"\n".join((*written, b""))


def dumps(value: Any, mode: Mode) -> bytes:
    """Any BSON value as JSON; :class:`Documents` are an array, ``bytes`` are binary of subtype 0."""
    if mode not in (Mode.PLAIN, Mode.BARE):
        return _walked(value, _TABLES[mode])
    plain = _plain(value, lambda: _has_nan(value))
    return plain if mode is Mode.PLAIN or _is_bare(plain) else _walked(value, _BARE)


def _has_nan(value: Any) -> bool:
    """Whether a NaN or an infinity is in ``value``, or something that is not looked into."""
    kind = type(value)
    if kind is float:
        return not isfinite(value)
    if kind is dict or kind is list:
        for member in value if kind is list else value.values():
            if member.__class__ not in _WITHOUT_NAN and _has_nan(member):
                return True
        return False
    return kind not in _WITHOUT_NAN


def _plain(value: Any, may_have_nan: Callable[[], bool]) -> bytes:
    """orjson writes null for a double that is not finite, so a null that may be one sends ``value`` the slow way."""
    try:
        written = orjson.dumps(value, _default, _OPTIONS)
    except orjson.JSONEncodeError:  # nested beyond what orjson takes
        return _walked(value, _PLAIN)
    if b"null" in written and may_have_nan():
        return _walked(value, _PLAIN)
    return written


def _walked(value: Any, table: dict[type, Convert]) -> bytes:
    """``value`` as JSON, container by container. Raises DataError for one that is nested deeper than can be walked:
    what a pipeline makes may be deeper than any document that is stored."""
    try:
        return _json(_tree(value, table))
    except RecursionError:
        raise DataError("the answer is nested too deeply to be written", number=15) from None


def _json(tree: Any) -> bytes:
    try:
        return orjson.dumps(tree, None, orjson.OPT_PASSTHROUGH_SUBCLASS)
    except orjson.JSONEncodeError:
        return json.dumps(tree, ensure_ascii=False, separators=(",", ":")).encode(errors="replace")


def _default(value: Any) -> Any:
    """The plain form of what orjson does not know, the most frequent types first."""
    kind = type(value)
    if kind is ObjectId:
        return value.binary.hex()
    if kind is datetime:
        return _iso(value)
    if kind is Int64:
        return int(value)
    convert = _PLAIN.get(kind)
    return convert(value) if convert else _converted(value, _PLAIN)


def _tree(value: Any, table: dict[type, Convert]) -> Any:
    """``value`` as JSON values: by its type from ``table``, containers member by member."""
    kind = type(value)
    if kind is str:
        return value
    if kind is dict:
        return {key: _tree(member, table) for key, member in value.items()}
    if kind is list:
        return [_tree(member, table) for member in value]
    convert = table.get(kind)
    if convert is None:
        return _tree(_converted(value, table), table)
    written = convert(value)
    return _tree(written, table) if kind in _HOLDERS else written


_WITHOUT_NAN = frozenset(
    {str, bool, type(None), int, Int64, ObjectId, datetime, DatetimeMS, Decimal128, bytes, Binary, Timestamp}
)

_HOLDERS = (DBRef, Documents)
"""Types whose conversion has BSON values inside."""


def _converted(value: Any, table: dict[type, Convert]) -> Any:
    """A value whose type is a subclass of a known one, as that one. Raises TypeError for what BSON cannot hold."""
    for kind in (bool, int, float, str):
        if isinstance(value, kind):
            return kind(value)
    if isinstance(value, dict):
        return dict(value)
    if isinstance(value, (list, tuple)):
        return list(value)
    for known, convert in table.items():
        if isinstance(value, known):
            return convert(value)
    raise TypeError(f"a {type(value).__name__} is no BSON value")


# --- one function per type and form ------------------------------------------------------------------------------


def _itself(value: Any) -> Any:
    return value


def _utc(value: datetime) -> datetime:
    return value if value.tzinfo is None else value.astimezone(UTC).replace(tzinfo=None)


def _milliseconds(value: datetime | DatetimeMS) -> int:
    return int(value) if isinstance(value, DatetimeMS) else (_utc(value) - _EPOCH) // _MILLISECOND


_MINUTES = tuple(f"T{minute // 60:02}:{minute % 60:02}:" for minute in range(24 * 60))
_SECONDS = tuple(f"{second:02}." for second in range(60))
_MILLISECONDS = tuple(f"{milliseconds:03}Z" for milliseconds in range(1000))


@lru_cache(4096)
def _day(ordinal: int) -> str:
    return date.fromordinal(ordinal).isoformat()


def _iso(value: datetime) -> str:
    """``2023-03-29T15:54:47.069Z``, put together from ready parts: in a long answer dates cost more than all else."""
    if value.tzinfo is not None:
        value = _utc(value)
    minute = _MINUTES[value.hour * 60 + value.minute]
    return _day(value.toordinal()) + minute + _SECONDS[value.second] + _MILLISECONDS[value.microsecond // 1000]


def _go_date(value: datetime) -> str:
    """Write a time as Go does (RFC 3339): without zeros at the end of its fraction, and without an empty one."""
    written = _iso(value)[:-1].rstrip("0")
    return (written[:-1] if written.endswith(".") else written) + "Z"


def _go_double(value: float) -> Any:
    """Write a float64 as Go does: without a point where it is whole, with an exponent from 1e21 on and below 1e-6."""
    if not isfinite(value):
        return _double(value)
    if value == 0:
        return orjson.Fragment(b"-0") if str(value)[0] == "-" else 0
    if abs(value) < 2**53 and value.is_integer():
        return int(value)
    sign, digits, exponent = Decimal(repr(value)).normalize().as_tuple()
    point = len(digits) + int(exponent)
    text = "".join(map(str, digits))
    if point > 21 or point < -5:
        scale = point - 1
        written = f"{text[0]}{'.' + text[1:] if text[1:] else ''}e{'+' if scale > 0 else '-'}{abs(scale)}"
    elif point <= 0:
        written = "0." + "0" * -point + text
    elif point >= len(text):
        written = text + "0" * (point - len(text))
    else:
        written = f"{text[:point]}.{text[point:]}"
    return orjson.Fragment(("-" if sign else "") + written)


def _canonical_date(value: datetime | DatetimeMS) -> Any:
    return {"$date": {"$numberLong": str(_milliseconds(value))}}


def _relaxed_date(value: datetime) -> Any:
    """ISO between 1970 and 9999, its fraction left out when it is zero."""
    value = _utc(value)
    if value.year < 1970:
        return _canonical_date(value)
    fraction = "milliseconds" if value.microsecond // 1000 else "seconds"
    return {"$date": value.isoformat(timespec=fraction) + "Z"}


def _canonical_double(value: float) -> Any:
    if value != value:
        return {"$numberDouble": "NaN"}
    if value in (float("inf"), float("-inf")):
        return {"$numberDouble": "Infinity" if value > 0 else "-Infinity"}
    return {"$numberDouble": repr(value)}


def _double(value: float) -> Any:
    finite = float("-inf") < value < float("inf")
    return value if finite else _canonical_double(value)


def _canonical_int(value: int) -> Any:
    return {"$numberInt" if -(2**31) <= value < 2**31 else "$numberLong": str(value)}


def _safe_int(value: int) -> Any:
    return int(value) if abs(value) < 2**53 else {"$numberLong": str(value)}


def _canonical_binary(value: bytes) -> Any:
    subtype = value.subtype if isinstance(value, Binary) else 0
    return {"$binary": {"base64": b64encode(value).decode(), "subType": f"{subtype:02x}"}}


def _plain_binary(value: bytes) -> Any:
    return {"Subtype": value.subtype if isinstance(value, Binary) else 0, "Data": b64encode(value).decode()}


_LETTERS = ((re.I, "i"), (re.L, "l"), (re.M, "m"), (re.S, "s"), (re.U, "u"), (re.X, "x"))


def _options(value: Regex[Any]) -> str:
    return "".join(letter for flag, letter in _LETTERS if value.flags & flag)


def _pattern(value: Regex[Any]) -> str:
    pattern = value.pattern
    return pattern if isinstance(pattern, str) else pattern.decode(errors="replace")


def _canonical_code(table: dict[type, Convert]) -> Convert:
    def convert(value: Code) -> Any:
        written: dict[str, Any] = {"$code": str(value)}
        if value.scope is not None:
            written["$scope"] = _tree(dict(value.scope), table)
        return written

    return convert


def _plain_code(table: dict[type, Convert]) -> Convert:
    def convert(value: Code) -> Any:
        return str(value) if value.scope is None else {"Code": str(value), "Scope": _tree(dict(value.scope), table)}

    return convert


def _dbref(value: DBRef) -> Any:
    return dict(value.as_doc())


_PLAIN: dict[type, Convert] = {
    bool: _itself,
    type(None): _itself,
    int: _itself,
    Int64: int,
    float: _double,
    ObjectId: str,
    datetime: _iso,
    DatetimeMS: _canonical_date,
    Decimal128: str,
    bytes: _plain_binary,
    Binary: _plain_binary,
    Regex: lambda value: {"Pattern": _pattern(value), "Options": _options(value)},
    Timestamp: lambda value: {"T": value.time, "I": value.inc},
    MinKey: lambda value: {},
    MaxKey: lambda value: {},
    DBRef: _dbref,
    Documents: Documents.decode,
}

_PLAIN[Code] = _plain_code(_PLAIN)

_CANONICAL: dict[type, Convert] = {
    bool: _itself,
    type(None): _itself,
    int: _canonical_int,
    Int64: lambda value: {"$numberLong": str(value)},
    float: _canonical_double,
    ObjectId: lambda value: {"$oid": str(value)},
    datetime: _canonical_date,
    DatetimeMS: _canonical_date,
    Decimal128: lambda value: {"$numberDecimal": str(value)},
    bytes: _canonical_binary,
    Binary: _canonical_binary,
    Regex: lambda value: {"$regularExpression": {"pattern": _pattern(value), "options": _options(value)}},
    Timestamp: lambda value: {"$timestamp": {"t": value.time, "i": value.inc}},
    MinKey: lambda value: {"$minKey": 1},
    MaxKey: lambda value: {"$maxKey": 1},
    DBRef: _dbref,
    Documents: Documents.decode,
}
_CANONICAL[Code] = _canonical_code(_CANONICAL)

_RELAXED: dict[type, Convert] = _CANONICAL | {int: _itself, Int64: int, float: _double, datetime: _relaxed_date}
_RELAXED[Code] = _canonical_code(_RELAXED)

_JAVASCRIPT: dict[type, Convert] = _RELAXED | {int: _safe_int, Int64: _safe_int}
_JAVASCRIPT[Code] = _canonical_code(_JAVASCRIPT)

_ATLAS: dict[type, Convert] = _PLAIN | {float: _go_double, datetime: _go_date}
_ATLAS[Code] = _plain_code(_ATLAS)

_BARE: dict[type, Convert] = _PLAIN | {
    float: lambda value: value if isfinite(value) else None,
    bytes: lambda value: b64encode(value).decode(),
    Binary: lambda value: b64encode(value).decode(),
}
_BARE[Code] = _plain_code(_BARE)

_TABLES = {
    Mode.PLAIN: _PLAIN,
    Mode.ATLAS: _ATLAS,
    Mode.BARE: _BARE,
    Mode.CANONICAL: _CANONICAL,
    Mode.RELAXED: _RELAXED,
    Mode.JAVASCRIPT: _JAVASCRIPT,
}
