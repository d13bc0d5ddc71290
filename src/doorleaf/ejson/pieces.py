"""Reading a large body so that no call into C holds the interpreter for long, and refusing shapes that are absurd.

A JSON parser's state depends on nothing but what it has read. So where a prefix of an array's text, closed with ``]``,
is a valid array, that prefix ends behind a whole element of it, whatever follows: the array can be read in such parts,
and the rest with the body around it.
"""

from __future__ import annotations

import re
from typing import Any

import orjson

from doorleaf.errors import PayloadTooLarge

LARGE_BYTES = 1024 * 1024
"""A body of fewer bytes is read at once."""

PIECE_BYTES = 512 * 1024

MAX_VALUES = 3_000_000
MAX_CONTAINERS = 1_000_000
"""Most values, and most objects and arrays among them, that a body may have: each takes memory, however short it is."""

_HEAD_BYTES = 64 * 1024
_TRIES = 4
_ARRAY = re.compile(rb'"(?:documents|operations|\$in|\$nin|\$each)"[ \t\r\n]*:[ \t\r\n]*\[')
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"')
_COMMA = re.compile(rb"(),")
_SLICE_BYTES = 256 * 1024
_FIRST_KEY = re.compile(rb'[ \t\r\n]*\{[ \t\r\n]*("(?:[^"\\]|\\.){1,200}")[ \t\r\n]*:')


class Whole(Exception):
    """A large body has no long array that it could be read in parts of, or is malformed somewhere."""


def load(body: bytes) -> Any:
    """Read as ``orjson.loads`` does. Raises :class:`Whole` where that would hold the interpreter for long, and
    PayloadTooLarge for more values than a request may have."""
    if len(body) < LARGE_BYTES:
        return orjson.loads(body)
    require_sensible(body)
    head = _ARRAY.search(body, 0, _HEAD_BYTES)
    path = None if head is None else _path(body[: head.end()])
    if head is None or path is None:
        raise Whole
    elements, at = _elements(body, head.end())
    if not elements or len(body) - at > 4 * PIECE_BYTES:
        raise Whole
    root = orjson.loads(body[: head.end()] + body[at:])
    rest = _at(root, path)
    if type(rest) is not list:  # a name came twice
        raise Whole
    rest[:0] = elements
    return root


def require_sensible(body: bytes) -> None:
    """Raise PayloadTooLarge where ``body`` has too many values."""
    commas, containers = count(body, b","), count(body, b"{") + count(body, b"[")
    if commas + containers <= MAX_VALUES and containers <= MAX_CONTAINERS:
        return
    commas, containers = _outside_strings(body)  # many of them may be in texts
    for name, found, most in (
        ("values", commas + containers, MAX_VALUES),
        ("objects and arrays", containers, MAX_CONTAINERS),
    ):
        if found > most:
            raise PayloadTooLarge(f"the body has more than {most} {name}")


def weight(body: bytes) -> int:
    """About how many bytes ``body``, what is read from it and its BSON take.

    Three times its length is what texts take; an object that has something in it takes about 184 bytes, an empty one or
    an array 64, and any value of a few bytes about 45 with its place.
    """
    empty = count(body, b"{}")
    objects = count(body, b"{") - empty
    return 3 * len(body) + 184 * objects + 64 * (count(body, b"[") + empty) + 45 * count(body, b",")


def count(body: bytes, part: bytes) -> int:
    """Count ``part``, which cannot overlap itself, in ``body``; no call lasts long, however long ``body`` is."""
    more = len(part) - 1
    return sum(body.count(part, at, at + _SLICE_BYTES + more) for at in range(0, len(body), _SLICE_BYTES))


def require_few(body: bytes, most: int) -> None:
    """Raise PayloadTooLarge where ``body``, which is read on the event loop, may have more than ``most`` values."""
    if body.count(b",") + body.count(b"{") + body.count(b"[") > most:
        raise PayloadTooLarge(f"the body has more than {most} values")


def _outside_strings(body: bytes) -> tuple[int, int]:
    """How many commas, and how many beginnings of objects and arrays, are no part of a string."""
    commas = containers = at = 0
    while True:
        begin = body.find(b'"', at)
        end = len(body) if begin < 0 else begin
        commas += body.count(b",", at, end)
        containers += body.count(b"{", at, end) + body.count(b"[", at, end)
        if begin < 0 or containers > MAX_CONTAINERS or commas > MAX_VALUES:
            return commas, containers
        at = _behind_string(body, begin + 1)


def _behind_string(body: bytes, at: int) -> int:
    """Where a string that begins at ``at`` is over."""
    while True:
        end = body.find(b'"', at)
        if end < 0:
            return len(body)
        slashes = end
        while slashes > at and body[slashes - 1] == 0x5C:
            slashes -= 1
        if (end - slashes) % 2 == 0:
            return end + 1
        at = end + 1


def _path(head: bytes) -> list[str | int] | None:
    """Where the array is that opens at the end of ``head``: keys and indexes from the root on. None where no array
    does, as in a string."""
    closing = b""
    for letter in _STRING.sub(b"", head):
        if letter in b"{[":
            closing = (b"}" if letter == 0x7B else b"]") + closing
        elif letter in b"}]":
            closing = closing[1:]
    try:
        value = orjson.loads(head + closing)
    except orjson.JSONDecodeError:
        return None
    path: list[str | int] = []
    while value:
        if type(value) is not dict and type(value) is not list:
            return None
        key: Any = next(reversed(value)) if type(value) is dict else len(value) - 1
        path.append(key)
        value = value[key]
    return path if value == [] and len(path) == len(closing) - 1 else None


def _at(root: Any, path: list[str | int]) -> Any:
    """What is at ``path``, None where nothing is."""
    for key in path:
        if type(root) is dict and type(key) is str:
            root = root.get(key)
        elif type(root) is list and type(key) is int and key < len(root):
            root = root[key]
        else:
            return None
    return root


def _elements(body: bytes, at: int) -> tuple[list[Any], int]:
    """The elements from ``at`` on as far as they can be told apart, and where the others begin."""
    first = _FIRST_KEY.match(body, at)
    if first is not None:
        # Documents that come together mostly begin with the same key; what is found is only tried.
        border = re.compile(rb"(\})[ \t\r\n]*,(?=[ \t\r\n]*\{[ \t\r\n]*" + re.escape(first[1]) + rb")")
    else:
        border = _COMMA
    elements: list[Any] = []
    while len(body) - at > 2 * PIECE_BYTES:
        piece = None
        search = at + PIECE_BYTES
        for _ in range(_TRIES):
            found = border.search(body, search, at + 3 * PIECE_BYTES)
            if found is None:
                break
            try:
                piece = orjson.loads(b"[%b]" % body[at : found.end(1)])
            except orjson.JSONDecodeError:
                search = found.end()
                continue
            elements += piece
            at = found.end()
            break
        if piece is None:
            break
    return elements, at
