"""Bytes that a document must have in it to match: what lacks them need not be decoded.

An element of BSON is its type, its name and its value. A document that equals a value at a path has, somewhere, the
last name of the path followed by the value, in one of the ways of writing it, or that name with an array.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from struct import pack
from typing import Any

from bson.int64 import Int64
from bson.objectid import ObjectId

from doorleaf.mql.numbers import INT32_MAX, INT32_MIN
from doorleaf.mql.values import date_millis
from doorleaf.stores.embedded.reading.conditions import Predicate

MOST_NEEDLES = 8
"""Ways of writing the values of one condition that are searched for."""

_NUMBERS = frozenset((int, Int64, float))


def needle_test(predicates: Iterable[Predicate]) -> Callable[[bytes], bool] | None:
    """A test that every document passes that meets ``predicates``, None where none is known that tells much."""
    known: list[list[bytes]] = [needles for predicate in predicates if (needles := _needles(predicate))]
    if not known:
        return None
    fewest = min(known, key=len)
    wanted = tuple(fewest)

    def test(document: bytes) -> bool:
        for needle in wanted:  # noqa: SIM110  # a loop is faster than a generator
            if needle in document:
                return True
        return False

    return test


def _needles(predicate: Predicate) -> list[bytes]:
    """Byte strings of which a document that meets ``predicate`` has one; none where that is not known."""
    if predicate.operator in ("$eq", "expr$eq"):
        values: Sequence[Any] = (predicate.value,)
    elif predicate.operator in ("$in", "expr$in") and predicate.value.__class__ is list:
        values = predicate.value[: MOST_NEEDLES + 1]
    else:
        return []
    last = predicate.path.rpartition(".")[2]
    if last[:1] == "$":
        return []  # the parts of a reference to a document need not be written with their names
    name = last.encode("utf-8", "surrogatepass") + b"\x00"
    found = {b"\x04" + name}
    for value in values:
        written = _written(value)
        if not written:
            return []
        found.update(name + item for item in written)
        if value.__class__ in _NUMBERS:
            found.add(b"\x13" + name)  # a decimal can write a number in many ways
    return sorted(found, key=len, reverse=True) if len(found) <= MOST_NEEDLES else []


def _written(value: Any) -> list[bytes]:
    """How BSON may write what equals ``value``, decimals apart; nothing for most kinds."""
    kind = value.__class__
    if kind is str:
        text = value.encode("utf-8", "surrogatepass")
        return [pack("<i", len(text) + 1) + text + b"\x00"]
    if kind is ObjectId:
        return [value.binary]
    if kind is datetime:
        return [pack("<q", date_millis(value))]
    return _number(value) if kind in _NUMBERS and value == value else []


def _number(value: float) -> list[bytes]:
    if value == 0:
        return [bytes(4), pack("<d", -0.0)]  # a zero of eight bytes begins with one of four
    written = []
    if value in (float("inf"), float("-inf")):
        return [pack("<d", value)]
    whole = int(value)
    if whole == value and -(1 << 63) <= whole < 1 << 63:
        # A small number is written alike in the first four bytes of eight.
        written.append(pack("<i", whole) if INT32_MIN <= whole <= INT32_MAX else pack("<q", whole))
    if float(value) == value:
        written.append(pack("<d", value))
    return written
