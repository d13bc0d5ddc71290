"""Changes that make a right request a wrong or a strange one, each decided by a random generator with a seed."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable, Iterator
from typing import Any

Body = dict[str, Any]
Place = tuple[Any, Any]
"""A container and the key or index of one of its values."""

_AGAIN = "\x00again"

SPECIAL: list[Any] = [
    *(None, True, False, 0, -1, 1, 2, 1.5, -0.0, 1e308, 2**31, -(2**31) - 1, 2**53 + 1, 2**63 - 1, 2**64, 5.0),
    *(
        "",
        "x",
        "$",
        "$$",
        "$n",
        "$$ROOT",
        "$$NOW",
        "$$x",
        ".",
        "a.",
        ".a",
        "a..b",
        "a.0.b",
        "$[]",
        "$[e]",
        "a.$",
        "a\x00b",
    ),
    *("\ud800", "é😀", "x" * 5000, "_id", "$a.b", "(", "[", "(?R)", "(a|aa)+$", "*", "_id_", "string", "things", "s_n"),
    *([], {}, [[]], [{}], {"": 1}, [None], {"a": {"b": 1}}, {"$n": 1}, [1, "a", None], {"$each": []}, {"_id": 1}),
    *({"$code": "x"}, {"$code": "x", "$scope": {}}, {"$symbol": "s"}, {"$minKey": 1}, {"$maxKey": 1}),
    *({"$undefined": True}, {"$numberInt": "1"}, {"$numberLong": "9223372036854775807"}, {"$numberLong": "1"}),
    *(
        {"$numberDouble": "NaN"},
        {"$numberDouble": "Infinity"},
        {"$numberDouble": "-Infinity"},
        {"$numberDouble": "-0.0"},
    ),
    *(
        {"$numberDecimal": "1"},
        {"$numberDecimal": "NaN"},
        {"$numberDecimal": "-Infinity"},
        {"$numberDecimal": "1E6144"},
    ),
    *({"$numberDecimal": "0E-6176"}, {"$oid": "64224f3cd79f54ad342dd9b1"}, {"$date": "2026-01-01T00:00:00Z"}),
    *({"$date": {"$numberLong": "9223372036854775807"}}, {"$date": {"$numberLong": "-9223372036854775808"}}),
    *(
        {"$binary": {"base64": "", "subType": "00"}},
        {"$binary": {"base64": "AAECAwQFBgcICQoLDA0ODw==", "subType": "04"}},
    ),
    *({"$binary": {"base64": "AA==", "subType": "80"}}, {"$regularExpression": {"pattern": "(", "options": "i"}}),
    *({"$regularExpression": {"pattern": "a", "options": "ilmsux"}}, {"$timestamp": {"t": 0, "i": 0}}),
    *({"$timestamp": {"t": 4294967295, "i": 4294967295}}, {"$ref": "c", "$id": 1}, {"$ref": "c", "$id": 1, "$db": "d"}),
    *(
        {"$dbPointer": {"$ref": "c", "$id": {"$oid": "64224f3cd79f54ad342dd9b1"}}},
        {"$uuid": "x"},
        {"$minKey": 1, "": 2},
    ),
]
"""Values that somebody may not have thought of."""

LARGEST = 8 * 1024 * 1024
"""Bytes that a value may become by being repeated: more than a body may have says nothing new."""

_NAMES = [
    *("", "a", "n", "_id", "$", "$x", "a.b", "$set", "$match", "$expr", "$in", "$and", "$code", "$oid", "$numberInt"),
    *("as", "let", "pipeline", "from", "into", "filter", "keys", "name", "options", "\x00", "é", "0", "__proto__"),
    *("$each", "$sort", "$slice", "$literal", "$regex", "$options", "$elemMatch", "$not", "input", "in", "cond", "n"),
]


class Mutator:
    """Changes copies of ``pool``'s bodies; the same ``generator`` state gives the same changes."""

    def __init__(self, generator: random.Random, pool: list[Body]) -> None:
        self._random = generator
        self._pool = pool
        self._kinds: list[Callable[[Place], None]] = [
            self._special,
            self._special,
            self._delete,
            self._again,
            self._rename,
            self._swap,
            self._swap,
            self._wrap,
            self._retype,
            self._deep,
            self._long,
        ]

    def changed(self, body: Body, *, shallow: bool = False) -> bytes:
        """The JSON of ``body`` after one to four changes, and now and then with bytes flipped.

        ``shallow`` changes its own fields as readily as what is inside them.
        """
        made = copy.deepcopy(body)
        for _ in range(self._random.choice((1, 1, 1, 1, 2, 2, 3))):
            places = list(_places(made))
            # Most of what can go wrong lies deep: a wrong name of a collection ends everything at the door.
            deep = [place for place in places if place[0] is not made]
            if deep and not shallow and self._random.random() < 0.9:
                places = deep
            if places:
                self._random.choice(self._kinds)(self._random.choice(places))
        text = json.dumps(made).replace(json.dumps(_AGAIN)[1:-1], "").encode()
        return self.flipped(text) if self._random.random() < 0.08 else text

    def flipped(self, text: bytes) -> bytes:
        changed = bytearray(text)
        for _ in range(self._random.randint(1, 3)):
            changed[self._random.randrange(len(changed))] = self._random.randrange(256)
        if self._random.random() < 0.2:
            del changed[self._random.randrange(len(changed)) :]
        return bytes(changed)

    def _special(self, place: Place) -> None:
        place[0][place[1]] = copy.deepcopy(self._random.choice(SPECIAL))

    def _delete(self, place: Place) -> None:
        del place[0][place[1]]

    def _again(self, place: Place) -> None:
        """The same field twice, or the same element."""
        container, key = place
        if isinstance(container, list):
            container.append(container[key])
        elif not key.endswith(_AGAIN):
            container[key + _AGAIN] = copy.deepcopy(self._random.choice([container[key], *SPECIAL]))

    def _rename(self, place: Place) -> None:
        container, key = place
        if isinstance(container, dict):
            items = list(container.items())
            fresh = self._random.choice(_NAMES if self._random.random() < 0.5 else self._keys())
            container.clear()
            container.update((fresh if name == key else name, value) for name, value in items)

    def _keys(self) -> list[str]:
        return [key for _, key in self._elsewhere() if isinstance(key, str)] or [""]

    def _elsewhere(self) -> list[Place]:
        """The places of another request."""
        return list(_places(self._random.choice(self._pool)))

    def _swap(self, place: Place) -> None:
        """A part of another request in its place."""
        other, key = self._random.choice(self._elsewhere())
        place[0][place[1]] = copy.deepcopy(other[key])

    def _wrap(self, place: Place) -> None:
        value = place[0][place[1]]
        name = self._random.choice(_NAMES)
        place[0][place[1]] = self._random.choice([[value], {name: value}, {"$literal": value}, [[value], value]])

    def _retype(self, place: Place) -> None:
        """The same text or number, as another type."""
        value = place[0][place[1]]
        text = value if isinstance(value, str) else str(value if not isinstance(value, (dict, list)) else 1)
        place[0][place[1]] = self._random.choice(
            [
                {"$code": text},
                {"$symbol": text},
                {"$code": text, "$scope": {"a": 1}},
                {"$numberDecimal": text},
                {"$numberLong": text},
                {"$numberDouble": text},
                {"$regularExpression": {"pattern": text.replace("\0", ""), "options": ""}},
                {"$ref": text, "$id": value},
                text,
                float(value) if isinstance(value, int) else [text],
            ]
        )

    def _deep(self, place: Place) -> None:
        value = place[0][place[1]]
        key = self._random.choice(("a", "$and", "$not", "$add", "$or", ""))
        for _ in range(self._random.choice((5, 40, 150))):
            value = {key: [value] if self._random.random() < 0.5 else value}
        place[0][place[1]] = value

    def _long(self, place: Place) -> None:
        value = place[0][place[1]]
        count = min(self._random.choice((3, 30, 300)), LARGEST // (1 + len(json.dumps(value))))
        place[0][place[1]] = [value] * count if isinstance(place[0], list) else {f"k{i}": value for i in range(count)}


def _places(value: Any) -> Iterator[Place]:
    for key, inner in list(value.items() if isinstance(value, dict) else enumerate(value)):
        yield value, key
        if isinstance(inner, (dict, list)):
            yield from _places(inner)
