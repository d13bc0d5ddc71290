"""Updates: what each operator makes of a document, or the server's error; upserts, replacements, pipelines."""

from __future__ import annotations

import contextlib
import copy
import re
from datetime import datetime
from typing import Any

import bson
import pytest
from bson.binary import Binary
from bson.decimal128 import Decimal128
from bson.int64 import Int64
from bson.max_key import MaxKey
from bson.min_key import MinKey
from bson.objectid import ObjectId
from bson.regex import Regex
from bson.timestamp import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from doorleaf.documents import CODEC
from doorleaf.errors import DataError
from doorleaf.mql.context import Context
from doorleaf.mql.updates.compile import check_id, check_size, compile_update, replace, upsert_base, validate_update
from doorleaf.mql.updates.paths import compare_names

NOW = datetime(2024, 5, 6, 7, 8, 9, 123000)
L = Int64
D = Decimal128
BIG = 2**63 - 1
Rows = list[tuple[dict[str, Any], Any, Any]]
OID = ObjectId("64b7f0f0f0f0f0f0f0f0f0f0")


def bytes_of(document: dict[str, Any]) -> bytes:
    return bson.encode(document, codec_options=CODEC)


def apply(document: dict[str, Any], update: Any, **options: Any) -> dict[str, Any]:
    positional = options.pop("positional", None)
    inserting = options.pop("inserting", False)
    before = copy.deepcopy(document)
    compiled = compile_update(update, Context(now=NOW), **options)
    result = compiled.apply(document, positional, inserting=inserting)
    assert bytes_of(document) == bytes_of(before), "the input was changed"
    return result


def check(document: dict[str, Any], update: Any, expected: Any, **options: Any) -> None:
    """``expected``: the new document, None for "the same object", or (code, part of the message)."""
    if isinstance(expected, tuple):
        with pytest.raises(DataError) as caught:
            apply(document, update, **options)
        assert (caught.value.number, expected[1] in caught.value.message) == (expected[0], True), caught.value.message
        return
    result = apply(document, update, **options)
    if expected is None:
        assert result is document
    else:
        assert result is not document
        assert bytes_of(result) == bytes_of(expected), result


FIELDS: Rows = [
    # $set
    ({"_id": 1}, {"$set": {"a": 1}}, {"_id": 1, "a": 1}),
    ({"_id": 1, "a": 1}, {"$set": {"a": 2}}, {"_id": 1, "a": 2}),
    ({"_id": 1, "a": 1}, {"$set": {"a": 1}}, None),
    ({"_id": 1, "a": 1}, {"$set": {"a": L(1)}}, {"_id": 1, "a": L(1)}),
    ({"_id": 1, "a": 1}, {"$set": {"a": 1.0}}, {"_id": 1, "a": 1.0}),
    ({"_id": 1, "a": 1}, {"$set": {"a": True}}, {"_id": 1, "a": True}),
    ({"_id": 1, "a": 0.0}, {"$set": {"a": -0.0}}, {"_id": 1, "a": -0.0}),
    ({"_id": 1, "a": float("nan")}, {"$set": {"a": float("nan")}}, None),
    ({"_id": 1, "a": D("1.0")}, {"$set": {"a": D("1.00")}}, {"_id": 1, "a": D("1.00")}),
    ({"_id": 1, "a": L(2**40)}, {"$set": {"a": 2**40}}, None),
    ({"_id": 1, "a": None}, {"$set": {"a": None}}, None),
    ({"_id": 1}, {"$set": {"a": None}}, {"_id": 1, "a": None}),
    ({"_id": 1, "a": {"x": 1, "y": 2}}, {"$set": {"a": {"y": 2, "x": 1}}}, {"_id": 1, "a": {"y": 2, "x": 1}}),
    ({"_id": 1, "a": {"x": 1, "y": 2}}, {"$set": {"a": {"x": 1, "y": 2}}}, None),
    ({"_id": 1, "a": [1, 2]}, {"$set": {"a": [1, 2]}}, None),
    ({"_id": 1, "a": [1, 2]}, {"$set": {"a": [1, 2, 3]}}, {"_id": 1, "a": [1, 2, 3]}),
    ({"_id": 1, "a": Regex("x", "i")}, {"$set": {"a": Regex("x", "i")}}, None),
    ({"_id": 1, "a": Regex("x", "i")}, {"$set": {"a": Regex("x")}}, {"_id": 1, "a": Regex("x")}),
    ({"_id": 1, "a": b"x"}, {"$set": {"a": Binary(b"x", 0)}}, None),
    ({"_id": 1, "a": b"x"}, {"$set": {"a": Binary(b"x", 5)}}, {"_id": 1, "a": Binary(b"x", 5)}),
    ({"_id": 1, "a": NOW}, {"$set": {"a": NOW}}, None),
    ({"_id": 1, "a": "x"}, {"$set": {"a": "x"}}, None),
    ({"_id": 1, "a": MinKey()}, {"$set": {"a": MinKey()}}, None),
    ({"_id": 1, "a": MinKey()}, {"$set": {"a": MaxKey()}}, {"_id": 1, "a": MaxKey()}),
    ({"_id": 1, "a": Timestamp(1, 2)}, {"$set": {"a": Timestamp(1, 2)}}, None),
    ({"_id": 1, "a": OID}, {"$set": {"a": OID}}, None),
    ({"_id": 1}, {"$set": {"a.b.c": 1}}, {"_id": 1, "a": {"b": {"c": 1}}}),
    ({"_id": 1, "a": {"x": 1}}, {"$set": {"a.b": 1}}, {"_id": 1, "a": {"x": 1, "b": 1}}),
    ({"_id": 1, "a": {"b": 1}}, {"$set": {"a.b": 1}}, None),
    ({"_id": 1}, {"$set": {"a.0": 1}}, {"_id": 1, "a": {"0": 1}}),
    ({"_id": 1}, {"$set": {}}, None),
    ({"_id": 1}, {"$set": {}, "$unset": {}}, None),
    ({"_id": 1, "a": 5}, {"$set": {"a.b": 1}}, (28, "Cannot create field 'b' in element {a: 5}")),
    ({"_id": 1, "a": None}, {"$set": {"a.b": 1}}, (28, "Cannot create field 'b' in element {a: null}")),
    ({"_id": 1, "a": "s"}, {"$set": {"a.b.c": 1}}, (28, "Cannot create field 'b' in element {a: \"s\"}")),
    ({"_id": 1, "a": {"b": 5}}, {"$set": {"a.b.c": 1}}, (28, "Cannot create field 'c' in element {b: 5}")),
    # arrays by index
    ({"_id": 1, "a": [1, 2]}, {"$set": {"a.0": 9}}, {"_id": 1, "a": [9, 2]}),
    ({"_id": 1, "a": [1, 2]}, {"$set": {"a.0": 1}}, None),
    ({"_id": 1, "a": [1]}, {"$set": {"a.1": 9}}, {"_id": 1, "a": [1, 9]}),
    ({"_id": 1, "a": [1]}, {"$set": {"a.4": 9}}, {"_id": 1, "a": [1, None, None, None, 9]}),
    ({"_id": 1, "a": []}, {"$set": {"a.0.b": 9}}, {"_id": 1, "a": [{"b": 9}]}),
    ({"_id": 1, "a": []}, {"$set": {"a.1.b.c": 9}}, {"_id": 1, "a": [None, {"b": {"c": 9}}]}),
    ({"_id": 1, "a": [{"b": 1}]}, {"$set": {"a.0.b": 9}}, {"_id": 1, "a": [{"b": 9}]}),
    ({"_id": 1, "a": [[1]]}, {"$set": {"a.0.2": 9}}, {"_id": 1, "a": [[1, None, 9]]}),
    ({"_id": 1, "a": []}, {"$set": {"a.10": 1, "a.9": 2}}, {"_id": 1, "a": [None] * 9 + [2, 1]}),
    ({"_id": 1, "a": [1]}, {"$set": {"a.b": 9}}, (28, "Cannot create field 'b' in element {a: [ 1 ]}")),
    ({"_id": 1, "a": [1]}, {"$set": {"a.-1": 9}}, (28, "Cannot create field '-1' in element {a: [ 1 ]}")),
    ({"_id": 1, "a": [1]}, {"$set": {"a.0.b": 9}}, (28, "Cannot create field 'b' in element {0: 1}")),
    ({"_id": 1, "a": []}, {"$set": {"a.1500001": 9}}, (34, "can't backfill more than 1500000 elements")),
    ({"_id": 1, "a": [1]}, {"$set": {"a.99999999999999999999": 9}}, (34, "can't backfill")),
    # order
    ({"_id": 1}, {"$set": {"b": 1, "a": 2}}, {"_id": 1, "a": 2, "b": 1}),
    ({"_id": 1}, {"$set": {"b": 1}, "$inc": {"a": 2}}, {"_id": 1, "a": 2, "b": 1}),
    ({"_id": 1}, {"$set": {"10": 1, "9": 2, "x": 0}}, {"_id": 1, "9": 2, "10": 1, "x": 0}),
    ({"_id": 1, "z": 0}, {"$set": {"z": 1, "B": 1, "a": 1}}, {"_id": 1, "z": 1, "B": 1, "a": 1}),
    ({"_id": 1}, {"$set": {"m.b": 1, "m.a": 2}}, {"_id": 1, "m": {"a": 2, "b": 1}}),
    # $unset
    ({"_id": 1, "a": 1, "b": 2}, {"$unset": {"a": ""}}, {"_id": 1, "b": 2}),
    ({"_id": 1, "a": 1}, {"$unset": {"a": 1}}, {"_id": 1}),
    ({"_id": 1}, {"$unset": {"a": ""}}, None),
    ({"_id": 1, "a": {"b": 1, "c": 2}}, {"$unset": {"a.b": ""}}, {"_id": 1, "a": {"c": 2}}),
    ({"_id": 1, "a": {"b": 1}}, {"$unset": {"a.b": ""}}, {"_id": 1, "a": {}}),
    ({"_id": 1, "a": {"b": 1}}, {"$unset": {"a.c.d": ""}}, None),
    ({"_id": 1, "a": 5}, {"$unset": {"a.b": ""}}, None),
    ({"_id": 1, "a": [1, 2, 3]}, {"$unset": {"a.1": ""}}, {"_id": 1, "a": [1, None, 3]}),
    ({"_id": 1, "a": [1]}, {"$unset": {"a.7": ""}}, None),
    ({"_id": 1, "a": [1]}, {"$unset": {"a.b": ""}}, None),
    ({"_id": 1, "a": [{"b": 1, "c": 1}]}, {"$unset": {"a.0.b": ""}}, {"_id": 1, "a": [{"c": 1}]}),
    # $setOnInsert without an insert
    ({"_id": 1}, {"$setOnInsert": {"a": 1}}, None),
    ({"_id": 1, "a": 5}, {"$setOnInsert": {"a.b": 1}}, None),
    ({"_id": 1, "a": 5}, {"$setOnInsert": {"a": 1}, "$set": {"b": 1}}, {"_id": 1, "a": 5, "b": 1}),
    # $min, $max
    ({"_id": 1, "a": 5}, {"$min": {"a": 3}}, {"_id": 1, "a": 3}),
    ({"_id": 1, "a": 5}, {"$min": {"a": 7}}, None),
    ({"_id": 1, "a": 5}, {"$min": {"a": 5.0}}, None),
    ({"_id": 1, "a": 5}, {"$max": {"a": 7}}, {"_id": 1, "a": 7}),
    ({"_id": 1, "a": 5}, {"$max": {"a": 3}}, None),
    ({"_id": 1}, {"$min": {"a": 3}}, {"_id": 1, "a": 3}),
    ({"_id": 1}, {"$max": {"a.b": 3}}, {"_id": 1, "a": {"b": 3}}),
    ({"_id": 1, "a": 5}, {"$max": {"a": "x"}}, {"_id": 1, "a": "x"}),
    ({"_id": 1, "a": 5}, {"$min": {"a": None}}, {"_id": 1, "a": None}),
    ({"_id": 1, "a": NOW}, {"$max": {"a": datetime(2030, 1, 1)}}, {"_id": 1, "a": datetime(2030, 1, 1)}),
    ({"_id": 1, "a": {"x": 1}}, {"$max": {"a": {"x": 2}}}, {"_id": 1, "a": {"x": 2}}),
    ({"_id": 1, "a": [1]}, {"$min": {"a": [0, 9]}}, {"_id": 1, "a": [0, 9]}),
    # $currentDate
    ({"_id": 1}, {"$currentDate": {"a": True}}, {"_id": 1, "a": NOW}),
    ({"_id": 1, "a": 1}, {"$currentDate": {"a": {"$type": "date"}}}, {"_id": 1, "a": NOW}),
    ({"_id": 1}, {"$currentDate": {"a.b": False}}, {"_id": 1, "a": {"b": NOW}}),
    ({"_id": 1}, {"$currentDate": {"a": 1}}, (2, "int is not valid type for $currentDate")),
    ({"_id": 1}, {"$currentDate": {"a": {"$type": "time"}}}, (2, "The '$type' string field is required to be")),
    ({"_id": 1}, {"$currentDate": {"a": {}}}, (2, "The '$type' string field is required to be")),
    ({"_id": 1}, {"$currentDate": {"a": {"type": "date"}}}, (2, "Unrecognized $currentDate option: type")),
    # $rename
    ({"_id": 1, "a": 1}, {"$rename": {"a": "b"}}, {"_id": 1, "b": 1}),
    ({"_id": 1, "a": 1, "b": 2}, {"$rename": {"a": "b"}}, {"_id": 1, "b": 1}),
    ({"_id": 1, "a": 1, "b": 1}, {"$rename": {"a": "b"}}, {"_id": 1, "b": 1}),
    ({"_id": 1, "b": 1}, {"$rename": {"a": "b"}}, None),
    ({"_id": 1, "a": {"b": 1}}, {"$rename": {"a.b": "c.d"}}, {"_id": 1, "a": {}, "c": {"d": 1}}),
    ({"_id": 1, "a": {"b": 1, "x": 1}}, {"$rename": {"a.b": "a.c"}}, {"_id": 1, "a": {"x": 1, "c": 1}}),
    ({"_id": 1, "a": [1]}, {"$rename": {"a": "b"}}, {"_id": 1, "b": [1]}),
    ({"_id": 1, "a": 1, "c": 5}, {"$rename": {"a": "c.d"}}, (28, "Cannot create field 'd' in element {c: 5}")),
    ({"_id": 1, "c": 5}, {"$rename": {"a": "c.d"}}, None),
    ({"_id": 1, "a": 5}, {"$rename": {"a.b": "c"}}, (28, "cannot use the part (a of a.b) to traverse")),
    ({"_id": 1, "a": [{"b": 1}]}, {"$rename": {"a.0.b": "c"}}, (2, "The source field cannot be an array element")),
    ({"_id": 1, "a": 1, "c": [1]}, {"$rename": {"a": "c.0"}}, (2, "The destination field cannot be an array element")),
    ({"_id": 1, "a": [1]}, {"$rename": {"a.b": "c"}}, (28, "to traverse the element")),
    ({"_id": 1, "a": 1}, {"$rename": {"a": "a"}}, (2, 'The source and target field for $rename must differ: a: "a"')),
    ({"_id": 1, "a": 1}, {"$rename": {"a": "a.b"}}, (2, "must not be on the same path")),
    ({"_id": 1, "a": 1}, {"$rename": {"a.b": "a"}}, (2, "must not be on the same path")),
    ({"_id": 1, "a": 1}, {"$rename": {"a": 5}}, (2, "The 'to' field for $rename must be a string: a: 5")),
    ({"_id": 1, "a": 1}, {"$rename": {"a": ""}}, (56, "An empty update path is not valid.")),
    ({"_id": 1, "a": 1}, {"$rename": {"a.$": "b"}}, (2, "The source field for $rename may not be dynamic: a.$")),
    ({"_id": 1, "a": 1}, {"$rename": {"a": "b.$[]"}}, (2, "The destination field for $rename may not be dynamic")),
    ({"_id": 1, "a": 1}, {"$rename": {"_id": "b"}}, (66, "Unsetting the path '_id' using $rename would modify")),
    ({"_id": 1, "a": 2}, {"$rename": {"a": "_id"}}, (66, "would modify the immutable field '_id'")),
    ({"_id": 1, "a": 1, "c": 3}, {"$rename": {"a": "b"}, "$set": {"c": 4}}, {"_id": 1, "c": 4, "b": 1}),
    ({"_id": 1, "a": 1}, {"$rename": {"a": "b"}, "$set": {"b": 4}}, (40, "would create a conflict at 'b'")),
    ({"_id": 1, "a": 1}, {"$rename": {"a": "b"}, "$set": {"a": 4}}, (40, "would create a conflict at 'a'")),
]

NUMBERS: Rows = [
    ({"_id": 1, "a": 1}, {"$inc": {"a": 2}}, {"_id": 1, "a": 3}),
    ({"_id": 1, "a": 1}, {"$inc": {"a": 0}}, None),
    ({"_id": 1, "a": 1}, {"$inc": {"a": 0.0}}, {"_id": 1, "a": 1.0}),
    ({"_id": 1}, {"$inc": {"a": 2}}, {"_id": 1, "a": 2}),
    ({"_id": 1}, {"$inc": {"a.b": L(2)}}, {"_id": 1, "a": {"b": L(2)}}),
    ({"_id": 1, "a": 1}, {"$inc": {"a": L(1)}}, {"_id": 1, "a": L(2)}),
    ({"_id": 1, "a": L(1)}, {"$inc": {"a": 1}}, {"_id": 1, "a": L(2)}),
    ({"_id": 1, "a": 1}, {"$inc": {"a": 0.5}}, {"_id": 1, "a": 1.5}),
    ({"_id": 1, "a": 1}, {"$inc": {"a": D("0.5")}}, {"_id": 1, "a": D("1.5")}),
    ({"_id": 1, "a": 0.5}, {"$inc": {"a": D("0.5")}}, {"_id": 1, "a": D("1.000000000000000")}),
    ({"_id": 1, "a": 2**31 - 1}, {"$inc": {"a": 1}}, {"_id": 1, "a": L(2**31)}),
    ({"_id": 1, "a": -(2**31)}, {"$inc": {"a": -1}}, {"_id": 1, "a": L(-(2**31) - 1)}),
    ({"_id": 1, "a": L(BIG)}, {"$inc": {"a": 1}}, (2, "Failed to apply $inc operations to current value")),
    ({"_id": 1, "a": L(BIG)}, {"$inc": {"a": 1}}, (2, "((NumberLong)9223372036854775807) for document {_id: 1}")),
    ({"_id": 1, "a": L(BIG)}, {"$inc": {"a": 1.0}}, {"_id": 1, "a": float(BIG)}),
    ({"_id": 7, "a": "x"}, {"$inc": {"a": 1}}, (14, "Cannot apply $inc to a value of non-numeric type. {_id: 7}")),
    ({"_id": 7, "a": "x"}, {"$inc": {"a": 1}}, (14, "has the field 'a' of non-numeric type string")),
    ({"_id": 7, "a": None}, {"$inc": {"a": 1}}, (14, "of non-numeric type null")),
    ({"_id": 7, "a": True}, {"$inc": {"a": 1}}, (14, "of non-numeric type bool")),
    ({"_id": 7, "a": {"b": []}}, {"$mul": {"a.b": 1}}, (14, "Cannot apply $mul to a value of non-numeric type")),
    ({"_id": 1}, {"$inc": {"a": "x"}}, (14, 'Cannot increment with non-numeric argument: {a: "x"}')),
    ({"_id": 1}, {"$mul": {"a.b": None}}, (14, "Cannot multiply with non-numeric argument: {a.b: null}")),
    ({"_id": 1}, {"$inc": {"a": True}}, (14, "Cannot increment with non-numeric argument")),
    ({"_id": 1, "a": 3}, {"$mul": {"a": 4}}, {"_id": 1, "a": 12}),
    ({"_id": 1, "a": 3}, {"$mul": {"a": 1}}, None),
    ({"_id": 1, "a": 3}, {"$mul": {"a": L(1)}}, {"_id": 1, "a": L(3)}),
    ({"_id": 1, "a": 3}, {"$mul": {"a": 0.5}}, {"_id": 1, "a": 1.5}),
    ({"_id": 1}, {"$mul": {"a": 4}}, {"_id": 1, "a": 0}),
    ({"_id": 1}, {"$mul": {"a": L(4)}}, {"_id": 1, "a": L(0)}),
    ({"_id": 1}, {"$mul": {"a": 4.5}}, {"_id": 1, "a": 0.0}),
    ({"_id": 1}, {"$mul": {"a": D("4")}}, {"_id": 1, "a": D("0")}),
    ({"_id": 1, "a": 2**30}, {"$mul": {"a": 4}}, {"_id": 1, "a": L(2**32)}),
    ({"_id": 1, "a": L(2**62)}, {"$mul": {"a": 4}}, (2, "Failed to apply $mul operations to current value")),
    ({"_id": 1, "a": [1, 2]}, {"$inc": {"a.1": 5}}, {"_id": 1, "a": [1, 7]}),
    # $bit
    ({"_id": 1, "a": 13}, {"$bit": {"a": {"and": 10}}}, {"_id": 1, "a": 8}),
    ({"_id": 1, "a": 3}, {"$bit": {"a": {"or": 5}}}, {"_id": 1, "a": 7}),
    ({"_id": 1, "a": 1}, {"$bit": {"a": {"xor": 5}}}, {"_id": 1, "a": 4}),
    ({"_id": 1, "a": 1}, {"$bit": {"a": {"or": L(1)}}}, {"_id": 1, "a": L(1)}),
    ({"_id": 1, "a": 1}, {"$bit": {"a": {"or": 1}}}, None),
    ({"_id": 1}, {"$bit": {"a": {"or": 5}}}, {"_id": 1, "a": 5}),
    ({"_id": 1}, {"$bit": {"a": {"and": L(5)}}}, {"_id": 1, "a": L(0)}),
    ({"_id": 1, "a": -1}, {"$bit": {"a": {"and": 255, "or": 256}}}, {"_id": 1, "a": 511}),
    ({"_id": 1, "a": 1.0}, {"$bit": {"a": {"or": 1}}}, (2, "Cannot apply $bit to a value of non-integral type")),
    ({"_id": 1, "a": 1}, {"$bit": {"a": {"or": 1.0}}}, (2, "a 'double' is not supported here: {or: 1.0}")),
    ({"_id": 1, "a": 1}, {"$bit": {"a": {"not": 1}}}, (2, "only supports 'and', 'or', and 'xor', not 'not'")),
    ({"_id": 1, "a": 1}, {"$bit": {"a": {}}}, (2, "You must pass in at least one bitwise operation")),
    ({"_id": 1, "a": 1}, {"$bit": {"a": 5}}, (2, "The $bit modifier is not compatible with a int")),
]

ARRAYS: Rows = [
    # $push
    ({"_id": 1}, {"$push": {"a": 1}}, {"_id": 1, "a": [1]}),
    ({"_id": 1, "a": [1]}, {"$push": {"a": 1}}, {"_id": 1, "a": [1, 1]}),
    ({"_id": 1, "a": [1]}, {"$push": {"a": [2, 3]}}, {"_id": 1, "a": [1, [2, 3]]}),
    ({"_id": 1}, {"$push": {"a.b": {"x": 1}}}, {"_id": 1, "a": {"b": [{"x": 1}]}}),
    ({"_id": 1, "a": [1]}, {"$push": {"a": {"$each": [2, 3]}}}, {"_id": 1, "a": [1, 2, 3]}),
    ({"_id": 1, "a": [1]}, {"$push": {"a": {"$each": []}}}, None),
    ({"_id": 1}, {"$push": {"a": {"$each": []}}}, {"_id": 1, "a": []}),
    ({"_id": 1, "a": [1, 2]}, {"$push": {"a": {"$each": [9], "$position": 0}}}, {"_id": 1, "a": [9, 1, 2]}),
    ({"_id": 1, "a": [1, 2]}, {"$push": {"a": {"$each": [9, 8], "$position": 1}}}, {"_id": 1, "a": [1, 9, 8, 2]}),
    ({"_id": 1, "a": [1, 2]}, {"$push": {"a": {"$each": [9], "$position": 99}}}, {"_id": 1, "a": [1, 2, 9]}),
    ({"_id": 1, "a": [1, 2]}, {"$push": {"a": {"$each": [9], "$position": -1}}}, {"_id": 1, "a": [1, 9, 2]}),
    ({"_id": 1, "a": [1, 2]}, {"$push": {"a": {"$each": [9], "$position": -9}}}, {"_id": 1, "a": [9, 1, 2]}),
    ({"_id": 1, "a": [1, 2]}, {"$push": {"a": {"$each": [3], "$slice": 2}}}, {"_id": 1, "a": [1, 2]}),
    ({"_id": 1, "a": [1, 2]}, {"$push": {"a": {"$each": [3], "$slice": -2}}}, {"_id": 1, "a": [2, 3]}),
    ({"_id": 1, "a": [1, 2]}, {"$push": {"a": {"$each": [3], "$slice": 0}}}, {"_id": 1, "a": []}),
    ({"_id": 1, "a": [1, 2]}, {"$push": {"a": {"$each": [], "$slice": 1}}}, {"_id": 1, "a": [1]}),
    ({"_id": 1, "a": [1, 2]}, {"$push": {"a": {"$each": [], "$slice": 5.0}}}, None),
    ({"_id": 1, "a": [3, 1]}, {"$push": {"a": {"$each": [2], "$sort": 1}}}, {"_id": 1, "a": [1, 2, 3]}),
    ({"_id": 1, "a": [3, 1]}, {"$push": {"a": {"$each": [2], "$sort": -1}}}, {"_id": 1, "a": [3, 2, 1]}),
    ({"_id": 1, "a": [1, "x", None]}, {"$push": {"a": {"$each": [], "$sort": 1}}}, {"_id": 1, "a": [None, 1, "x"]}),
    (
        {"_id": 1, "a": [{"k": 2, "v": 1}, {"k": 1, "v": 2}]},
        {"$push": {"a": {"$each": [{"k": 3, "v": 0}], "$sort": {"k": -1}, "$slice": 2}}},
        {"_id": 1, "a": [{"k": 3, "v": 0}, {"k": 2, "v": 1}]},
    ),
    (
        {"_id": 1, "a": [{"k": {"x": 2}}, 5, {"k": {"x": 1}}]},
        {"$push": {"a": {"$each": [], "$sort": {"k.x": 1}}}},
        {"_id": 1, "a": [5, {"k": {"x": 1}}, {"k": {"x": 2}}]},
    ),
    (
        {"_id": 1, "a": [{"k": 1, "v": 1}, {"k": 1, "v": 2}, {"k": 0, "v": 3}]},
        {"$push": {"a": {"$each": [], "$sort": {"k": 1, "v": -1}}}},
        {"_id": 1, "a": [{"k": 0, "v": 3}, {"k": 1, "v": 2}, {"k": 1, "v": 1}]},
    ),
    (
        {"_id": 1, "a": 5},
        {"$push": {"a": 1}},
        (2, "The field 'a' must be an array but is of type int in document {_id: 1}"),
    ),
    ({"_id": 1}, {"$push": {"a": {"$each": 5}}}, (2, "must be an array but it was of type: int")),
    ({"_id": 1}, {"$push": {"a": {"$each": [], "x": 1}}}, (2, "Unrecognized clause in $push: x")),
    ({"_id": 1}, {"$push": {"a": {"$each": [], "$slice": "x"}}}, (2, "The value for $slice must be an integer value")),
    ({"_id": 1}, {"$push": {"a": {"$each": [], "$slice": 1.5}}}, (2, "was given type: double")),
    ({"_id": 1}, {"$push": {"a": {"$each": [], "$position": None}}}, (2, "The value for $position must be an integer")),
    ({"_id": 1}, {"$push": {"a": {"$each": [], "$sort": 2}}}, (2, "The sort element value must be either 1 or -1")),
    ({"_id": 1}, {"$push": {"a": {"$each": [], "$sort": "x"}}}, (2, "The $sort is invalid")),
    ({"_id": 1}, {"$push": {"a": {"$each": [], "$sort": {}}}}, (2, "The sort pattern is empty")),
    ({"_id": 1}, {"$push": {"a": {"$each": [], "$sort": {"x": 3}}}}, (2, "must be either 1 or -1")),
    ({"_id": 1}, {"$push": {"a": {"$each": [], "$sort": {"x..y": 1}}}}, (2, "has an empty part: x..y")),
    ({"_id": 1, "a": [[1]]}, {"$push": {"a.0": 2}}, {"_id": 1, "a": [[1, 2]]}),
    # $addToSet
    ({"_id": 1}, {"$addToSet": {"a": 1}}, {"_id": 1, "a": [1]}),
    ({"_id": 1, "a": [1]}, {"$addToSet": {"a": 1}}, None),
    ({"_id": 1, "a": [1]}, {"$addToSet": {"a": 1.0}}, None),
    ({"_id": 1, "a": [1]}, {"$addToSet": {"a": True}}, {"_id": 1, "a": [1, True]}),
    ({"_id": 1, "a": [1]}, {"$addToSet": {"a": "1"}}, {"_id": 1, "a": [1, "1"]}),
    ({"_id": 1, "a": [1, 1]}, {"$addToSet": {"a": 2}}, {"_id": 1, "a": [1, 1, 2]}),
    ({"_id": 1, "a": [1]}, {"$addToSet": {"a": {"$each": [3, 1, 2, 3]}}}, {"_id": 1, "a": [1, 3, 2]}),
    ({"_id": 1}, {"$addToSet": {"a": {"$each": [2, 2, 1]}}}, {"_id": 1, "a": [2, 1]}),
    ({"_id": 1}, {"$addToSet": {"a": {"$each": []}}}, {"_id": 1, "a": []}),
    ({"_id": 1, "a": [1]}, {"$addToSet": {"a": [1]}}, {"_id": 1, "a": [1, [1]]}),
    ({"_id": 1, "a": [{"x": 1, "y": 2}]}, {"$addToSet": {"a": {"x": 1, "y": 2}}}, None),
    (
        {"_id": 1, "a": [{"x": 1, "y": 2}]},
        {"$addToSet": {"a": {"y": 2, "x": 1}}},
        {"_id": 1, "a": [{"x": 1, "y": 2}, {"y": 2, "x": 1}]},
    ),
    ({"_id": 1, "a": 5}, {"$addToSet": {"a": 1}}, (2, "Field named 'a' has non-array type int")),
    ({"_id": 1}, {"$addToSet": {"a": {"$each": 1}}}, (14, "must be an array but it was of type int")),
    ({"_id": 1}, {"$addToSet": {"a": {"$each": [], "x": 1}}}, (2, "Found unexpected fields after $each in $addToSet")),
    # $pop
    ({"_id": 1, "a": [1, 2, 3]}, {"$pop": {"a": 1}}, {"_id": 1, "a": [1, 2]}),
    ({"_id": 1, "a": [1, 2, 3]}, {"$pop": {"a": -1}}, {"_id": 1, "a": [2, 3]}),
    ({"_id": 1, "a": [1]}, {"$pop": {"a": 1.0}}, {"_id": 1, "a": []}),
    ({"_id": 1, "a": []}, {"$pop": {"a": 1}}, None),
    ({"_id": 1}, {"$pop": {"a": 1}}, None),
    ({"_id": 1, "a": {}}, {"$pop": {"a.b.c": 1}}, None),
    ({"_id": 1, "a": 5}, {"$pop": {"a": 1}}, (14, "Path 'a' contains an element of non-array type 'int'")),
    (
        {"_id": 1, "a": 5},
        {"$pop": {"a.b": 1}},
        (28, "Cannot use the part (b) of (a.b) to traverse the element ({a: 5})"),
    ),
    ({"_id": 1, "a": [1]}, {"$pop": {"a": 2}}, (9, "$pop expects 1 or -1, found: 2")),
    ({"_id": 1, "a": [1]}, {"$pop": {"a": "x"}}, (9, 'Expected a number in: a: "x"')),
    ({"_id": 1, "a": [1]}, {"$pop": {"a": 1.5}}, (9, "Expected an integer: a: 1.5")),
    # $pull
    ({"_id": 1, "a": [1, 2, 1]}, {"$pull": {"a": 1}}, {"_id": 1, "a": [2]}),
    ({"_id": 1, "a": [1, 2]}, {"$pull": {"a": 9}}, None),
    ({"_id": 1, "a": [1.0, L(1), True]}, {"$pull": {"a": 1}}, {"_id": 1, "a": [True]}),
    ({"_id": 1, "a": [1, 5, 9]}, {"$pull": {"a": {"$gt": 4}}}, {"_id": 1, "a": [1]}),
    ({"_id": 1, "a": [1, 5, 9]}, {"$pull": {"a": {"$in": [1, 9]}}}, {"_id": 1, "a": [5]}),
    ({"_id": 1, "a": [1, None]}, {"$pull": {"a": None}}, {"_id": 1, "a": [1]}),
    ({"_id": 1, "a": ["ab", "cd", 1]}, {"$pull": {"a": Regex("^a")}}, {"_id": 1, "a": ["cd", 1]}),
    ({"_id": 1, "a": [{"x": 1, "y": 2}, {"x": 2}]}, {"$pull": {"a": {"x": 1}}}, {"_id": 1, "a": [{"x": 2}]}),
    ({"_id": 1, "a": [{"x": 1}, {"x": 5}]}, {"$pull": {"a": {"x": {"$gte": 5}}}}, {"_id": 1, "a": [{"x": 1}]}),
    ({"_id": 1, "a": [{"x": 1}, 5]}, {"$pull": {"a": {"x": {"$ne": 1}}}}, None),
    ({"_id": 1, "a": [{"x": 1}, {"x": 2}, 3]}, {"$pull": {"a": {"$or": [{"x": 1}, {"x": 2}]}}}, {"_id": 1, "a": [3]}),
    ({"_id": 1, "a": [{"x": 1}, 5]}, {"$pull": {"a": {}}}, {"_id": 1, "a": [5]}),
    ({"_id": 1, "a": [[1], [2], 1]}, {"$pull": {"a": [1]}}, {"_id": 1, "a": [[2], 1]}),
    ({"_id": 1, "a": [{"r": [{"q": 1}]}]}, {"$pull": {"a": {"r": {"$elemMatch": {"q": 1}}}}}, {"_id": 1, "a": []}),
    ({"_id": 1}, {"$pull": {"a": 1}}, None),
    ({"_id": 1, "a": {"b": [1, 2]}}, {"$pull": {"a.b": 1}}, {"_id": 1, "a": {"b": [2]}}),
    ({"_id": 1, "a": 5}, {"$pull": {"a": 1}}, (2, "Cannot apply $pull to a non-array value")),
    ({"_id": 1, "a": 5}, {"$pull": {"a.b": 1}}, (28, "Cannot use the part (b) of (a.b)")),
    ({"_id": 1, "a": []}, {"$pull": {"a": {"$nope": 1}}}, (2, "$nope")),
    ({"_id": 1, "a": []}, {"$pull": {"a": {"x": {"$nope": 1}}}}, (2, "unknown operator: $nope")),
    ({"_id": 1, "a": []}, {"$pull": {"a": {"$expr": True}}}, (224, "$expr is not allowed in this context")),
    # $pullAll
    ({"_id": 1, "a": [1, 2, 3, 1]}, {"$pullAll": {"a": [1, 3]}}, {"_id": 1, "a": [2]}),
    ({"_id": 1, "a": [1]}, {"$pullAll": {"a": [9]}}, None),
    (
        {"_id": 1, "a": [{"x": 1}, {"x": 1, "y": 1}]},
        {"$pullAll": {"a": [{"x": 1}]}},
        {"_id": 1, "a": [{"x": 1, "y": 1}]},
    ),
    ({"_id": 1, "a": [1]}, {"$pullAll": {"a": 5}}, (2, "$pullAll requires an array argument but was given a int")),
    ({"_id": 1, "a": 1}, {"$pullAll": {"a": [5]}}, (2, "Cannot apply $pull to a non-array value")),
]

ERRORS: Rows = [
    ({"_id": 1}, {"$who": {"a": 1}}, (9, "Unknown modifier: $who. Expected a valid update modifier or pipeline-style")),
    ({"_id": 1}, {"$set": {"a": 1}, "b": 1}, (9, "Unknown modifier: b.")),
    ({"_id": 1}, {"a": 1}, (9, "Unknown modifier: a.")),
    ({"_id": 1}, {}, (9, "Unknown modifier")),
    ({"_id": 1}, 5, (9, "Update argument must be either an object or an array")),
    ({"_id": 1}, {"$set": 5}, (9, "Modifiers operate on fields but we found type int instead.")),
    ({"_id": 1}, {"$set": [1]}, (9, "not {$set: [ 1 ]}")),
    ({"_id": 1}, {"$set": {"": 1}}, (56, "An empty update path is not valid.")),
    (
        {"_id": 1},
        {"$set": {"a..b": 1}},
        (56, "The update path 'a..b' contains an empty field name, which is not allowed."),
    ),
    ({"_id": 1}, {"$set": {"a.": 1}}, (56, "The update path 'a.'")),
    ({"_id": 1}, {"$unset": {".a": 1}}, (56, "The update path '.a'")),
    ({"_id": 1}, {"$set": {"a": 1}, "$inc": {"a": 1}}, (40, "Updating the path 'a' would create a conflict at 'a'")),
    ({"_id": 1}, {"$set": {"a": 1, "a.b": 1}}, (40, "Updating the path 'a.b' would create a conflict at 'a'")),
    ({"_id": 1}, {"$set": {"a.b": 1, "a": 1}}, (40, "Updating the path 'a' would create a conflict at 'a'")),
    ({"_id": 1}, {"$set": {"a.b.c": 1}, "$unset": {"a.b": 1}}, (40, "Updating the path 'a.b' would create a conflict")),
    ({"_id": 1}, {"$set": {"a.$[].b": 1, "a.0": 1}}, (40, "Updating the path 'a.0' would create a conflict at 'a'")),
    (
        {"_id": 1},
        {"$set": {"_id": 2}},
        (66, "Performing an update on the path '_id' would modify the immutable field '_id'"),
    ),
    ({"_id": 1}, {"$set": {"_id": 1}}, None),
    ({"_id": 1}, {"$set": {"_id": L(1)}}, (66, "immutable field '_id'")),
    ({"_id": 1}, {"$unset": {"_id": 1}}, (66, "Performing an update on the path '_id' would modify")),
    ({"_id": 1}, {"$inc": {"_id": 1}}, (66, "Performing an update on the path '_id' would modify")),
    ({"_id": {"a": 1}}, {"$set": {"_id.a": 2}}, (66, "Performing an update on the path '_id.a' would modify")),
    (
        {"_id": {"a": 1}},
        {"$set": {"_id.b": 2}},
        (66, "Updating the path '_id' to _id: { a: 1 } would modify the immutable"),
    ),
    ({"_id": 1}, {"$set": {"$a": 1}}, (52, "The dollar ($) prefixed field '$a' in '$a' is not allowed in the context")),
    ({"_id": 1}, {"$set": {"$a.b": 1}}, (52, "The dollar ($) prefixed field '$a'")),
    ({"_id": 1, "$a": 1}, {"$set": {"$a": 2}}, (52, "The dollar ($) prefixed field '$a'")),
    ({"_id": 1, "$a": {"b": 1}}, {"$set": {"$a.b": 2}}, {"_id": 1, "$a": {"b": 2}}),
    ({"_id": 1, "$a": 1}, {"$unset": {"$a": 1}}, {"_id": 1}),
    ({"_id": 1}, {"$set": {"a.$b": 1}}, {"_id": 1, "a": {"$b": 1}}),
    ({"_id": 1}, {"$set": {"a": {"$b": 1}}}, {"_id": 1, "a": {"$b": 1}}),
    ({"_id": 1}, {"$set": {"$id": 1}}, (55, "Found $id field without a $ref before it")),
    ({"_id": 1}, {"$set": {"a.$.b.$": 1}}, (2, "Too many positional (i.e. '$') elements found in path 'a.$.b.$'")),
    (
        {"_id": 1},
        {"$set": {"$.a": 1}},
        (2, "Cannot have positional (i.e. '$') element in the first position in path '$.a'"),
    ),
    ({"_id": 1}, {"$set": {"$[].a": 1}}, (2, "element in the first position in path '$[].a'")),
    (
        {"_id": 1, "a": [1]},
        {"$set": {"a.$": 1}},
        (2, "The positional operator did not find the match needed from the query."),
    ),
    (
        {"_id": 1},
        {"$set": {"a.$[]": 1}},
        (2, "The path 'a' must exist in the document in order to apply array updates."),
    ),
    ({"_id": 1, "a": 5}, {"$set": {"a.$[]": 1}}, (2, "Cannot apply array updates to non-array element a: 5")),
    ({"_id": 1, "a": {"b": 1}}, {"$set": {"a.c.$[].d": 1}}, (2, "The path 'a.c' must exist in the document")),
    ({"_id": 1, "a": [1]}, {"$set": {"a.$[x]": 1}}, (2, "No array filter found for identifier 'x' in path 'a.$[x]'")),
]


@pytest.mark.parametrize(("document", "update", "expected"), FIELDS + NUMBERS + ARRAYS + ERRORS)
def test_operators(document: dict[str, Any], update: Any, expected: Any) -> None:
    check(document, update, expected)


POSITIONAL = [
    ({"_id": 1, "a": [1, 2, 3]}, {"$set": {"a.$": 9}}, 1, {"_id": 1, "a": [1, 9, 3]}),
    ({"_id": 1, "a": [{"b": 1}, {"b": 2}]}, {"$inc": {"a.$.b": 5}}, 1, {"_id": 1, "a": [{"b": 1}, {"b": 7}]}),
    ({"_id": 1, "a": [1, 2]}, {"$unset": {"a.$": 1}}, 0, {"_id": 1, "a": [None, 2]}),
    ({"_id": 1, "a": [{"b": [1]}]}, {"$push": {"a.$.b": 2}}, 0, {"_id": 1, "a": [{"b": [1, 2]}]}),
    (
        {"_id": 1, "a": [{"b": 1}, {"b": 2}]},
        {"$set": {"a.$.c": 5, "a.0.d": 6}},
        0,
        {"_id": 1, "a": [{"b": 1, "c": 5, "d": 6}, {"b": 2}]},
    ),
    (
        {"_id": 1, "a": [{"b": 1}, {"b": 2}]},
        {"$set": {"a.$.c": 5, "a.1.d": 6}},
        0,
        {"_id": 1, "a": [{"b": 1, "c": 5}, {"b": 2, "d": 6}]},
    ),
    ({"_id": 1, "a": [1, 2]}, {"$set": {"a.$": 5, "a.0": 6}}, 0, (40, "Update created a conflict at 'a.0'")),
    ({"_id": 1, "a": [1]}, {"$set": {"a.$": 5}}, 3, {"_id": 1, "a": [1, None, None, 5]}),
    ({"_id": 1, "a": 5}, {"$set": {"a.$": 5}}, 0, (28, "Cannot create field '0' in element {a: 5}")),
    ({"_id": 1, "a": [1, 2]}, {"$set": {"b": 5}}, None, {"_id": 1, "a": [1, 2], "b": 5}),
]


@pytest.mark.parametrize(("document", "update", "positional", "expected"), POSITIONAL)
def test_positional(document: dict[str, Any], update: Any, positional: int | None, expected: Any) -> None:
    check(document, update, expected, positional=positional)


FILTERED = [
    ({"_id": 1, "a": [1, 2]}, {"$inc": {"a.$[]": 10}}, [], {"_id": 1, "a": [11, 12]}),
    ({"_id": 1, "a": []}, {"$inc": {"a.$[]": 10}}, [], None),
    ({"_id": 1, "a": [{"b": 1}, {}]}, {"$set": {"a.$[].b": 1}}, [], {"_id": 1, "a": [{"b": 1}, {"b": 1}]}),
    ({"_id": 1, "a": [[1], [2, 3]]}, {"$inc": {"a.$[].$[]": 1}}, [], {"_id": 1, "a": [[2], [3, 4]]}),
    ({"_id": 1, "a": [1, 5, 9]}, {"$set": {"a.$[x]": 0}}, [{"x": {"$gt": 4}}], {"_id": 1, "a": [1, 0, 0]}),
    ({"_id": 1, "a": [1, 5]}, {"$set": {"a.$[x]": 0}}, [{"x": {"$gt": 50}}], None),
    ({"_id": 1, "a": [1, 5]}, {"$unset": {"a.$[x]": 0}}, [{"x": 5}], {"_id": 1, "a": [1, None]}),
    (
        {"_id": 1, "a": [{"b": 1, "c": 1}, {"b": 2, "c": 2}]},
        {"$set": {"a.$[e].c": 0}},
        [{"e.b": 2}],
        {"_id": 1, "a": [{"b": 1, "c": 1}, {"b": 2, "c": 0}]},
    ),
    (
        {"_id": 1, "a": [{"b": 1, "c": 1}, {"b": 2, "c": 2}]},
        {"$set": {"a.$[e].d": 0}},
        [{"e.b": 2, "e.c": {"$gt": 1}}],
        {"_id": 1, "a": [{"b": 1, "c": 1}, {"b": 2, "c": 2, "d": 0}]},
    ),
    (
        {"_id": 1, "a": [{"b": [1, 5]}, {"b": [7]}]},
        {"$set": {"a.$[].b.$[n]": 0}},
        [{"n": {"$gte": 5}}],
        {"_id": 1, "a": [{"b": [1, 0]}, {"b": [0]}]},
    ),
    (
        {"_id": 1, "a": [1, 2, 3]},
        {"$set": {"a.$[x]": 0}},
        [{"$or": [{"x": 1}, {"x": 3}]}],
        {"_id": 1, "a": [0, 2, 0]},
    ),
    (
        {"_id": 1, "a": [{"k": 1}, {"k": 2}]},
        {"$set": {"a.$[x].m": 1, "a.$[y].n": 2}},
        [{"x.k": 1}, {"y.k": {"$gte": 1}}],
        {"_id": 1, "a": [{"k": 1, "m": 1, "n": 2}, {"k": 2, "n": 2}]},
    ),
    (
        {"_id": 1, "a": [1, 2]},
        {"$set": {"a.$[x]": 1, "a.$[y]": 2}},
        [{"x": 1}, {"y": {"$gte": 1}}],
        (40, "Update created a conflict at 'a.0'"),
    ),
    ({"_id": 1, "a": [5]}, {"$set": {"a.$[x].b": 1}}, [{"x": 5}], (28, "Cannot create field 'b' in element {0: 5}")),
    ({"_id": 1}, {"$set": {"a": 1}}, [{"x": 1}], (9, "The array filter for identifier 'x' was not used in the update")),
    ({"_id": 1}, {"$set": {"a.$[x]": 1}}, [{"y": 1}], (2, "No array filter found for identifier 'x'")),
    ({"_id": 1}, {"$set": {"a.$[x]": 1}}, [{"x": 1, "y": 1}], (9, "single top-level field name, found 'x' and 'y'")),
    ({"_id": 1}, {"$set": {"a.$[x]": 1}}, [{"x": 1}, {"x": 2}], (9, "Found multiple array filters")),
    ({"_id": 1}, {"$set": {"a.$[X]": 1}}, [{"X": 1}], (2, "beginning with a lowercase letter, found 'X'")),
    ({"_id": 1}, {"$set": {"a.$[x]": 1}}, [{}], (9, "without a top-level field name in arrayFilters")),
    ({"_id": 1}, {"$set": {"a.$[x]": 1}}, [{"x": {"$nope": 1}}], (2, "unknown operator: $nope")),
    ({"_id": 1}, [{"$set": {"a": 1}}], [{"x": 1}], (9, "may not be specified for pipeline-style updates")),
]


@pytest.mark.parametrize(("document", "update", "filters", "expected"), FILTERED)
def test_array_filters(document: dict[str, Any], update: Any, filters: list[Any], expected: Any) -> None:
    check(document, update, expected, array_filters=filters)


PIPELINES = [
    ({"_id": 1, "a": 1}, [{"$set": {"b": {"$add": ["$a", 1]}}}], {"_id": 1, "a": 1, "b": 2}),
    ({"_id": 1, "a": 1}, [{"$set": {"a": 1}}], None),
    ({"_id": 1, "a": 1}, [], None),
    ({"_id": 1, "a": 1, "b": 2}, [{"$unset": "a"}], {"_id": 1, "b": 2}),
    ({"_id": 1, "a": 1, "b": 2}, [{"$unset": ["a", "b"]}], {"_id": 1}),
    ({"_id": 1, "a": 1, "b": 2}, [{"$project": {"a": 1}}], {"_id": 1, "a": 1}),
    ({"_id": 1, "a": {"x": 1}}, [{"$replaceRoot": {"newRoot": "$a"}}], {"_id": 1, "x": 1}),
    ({"_id": 1, "a": {"x": 1}}, [{"$replaceWith": "$a"}], {"_id": 1, "x": 1}),
    ({"_id": 1, "a": 1}, [{"$addFields": {"b": "$$NOW"}}], {"_id": 1, "a": 1, "b": NOW}),
    ({"_id": 1, "a": 1}, [{"$set": {"a": "$$n"}}], {"_id": 1, "a": 7}),
    ({"_id": 1, "a": 1}, [{"$set": {"b": "$a"}}, {"$set": {"a": 2}}], {"_id": 1, "a": 2, "b": 1}),
    ({"_id": 1, "a": 1}, [{"$project": {"_id": 0}}], {"_id": 1, "a": 1}),
    (
        {"_id": 1, "a": 1},
        [{"$set": {"_id": 2}}],
        (66, "(immutable) field '_id' was found to have been altered to _id: 2"),
    ),
    ({"_id": 1, "a": 1}, [{"$match": {}}], (72, "$match is not allowed to be used within an update")),
    ({"_id": 1, "a": 1}, [{"$set": {"a": 1}, "$unset": "b"}], (40323, "must contain exactly one field")),
    ({"_id": 1, "a": 1}, [{"$replaceWith": "$a"}], (40228, "must evaluate to an object")),
    ({"_id": 1, "a": 1}, [5], (14, "Each element of the 'pipeline' array must be an object")),
    ({"_id": 1, "a": 1}, [{"$set": {"a": "$$undefined"}}], (17276, "Use of undefined variable: undefined")),
    ({"_id": 1}, [{"$replaceWith": {"$literal": {"$a": 1}}}], {"_id": 1, "$a": 1}),
]


@pytest.mark.parametrize(("document", "update", "expected"), PIPELINES)
def test_pipelines(document: dict[str, Any], update: Any, expected: Any) -> None:
    check(document, update, expected, variables={"n": 7})


UPSERTS = [
    ({}, {"$set": {"a": 1}}, {"a": 1}),
    ({"a": 5}, {"$set": {"b": 1}}, {"a": 5, "b": 1}),
    ({"_id": 7, "a": 5}, {"$set": {"b": 1}}, {"_id": 7, "a": 5, "b": 1}),
    ({"b": 1, "_id": 7, "a": 5}, {"$setOnInsert": {"c": 1}}, {"_id": 7, "a": 5, "b": 1, "c": 1}),
    ({"a": 5}, {"$setOnInsert": {"_id": 3}}, {"_id": 3, "a": 5}),
    ({"a": {"$eq": 5}}, {"$set": {"b": 1}}, {"a": 5, "b": 1}),
    ({"a": {"$gt": 5}}, {"$set": {"b": 1}}, {"b": 1}),
    ({"a.b": 5}, {"$set": {"a.c": 1}}, {"a": {"b": 5, "c": 1}}),
    ({"a": {"b": 5}}, {"$set": {"a.c": 1}}, {"a": {"b": 5, "c": 1}}),
    ({"$and": [{"a": 1}, {"b": {"$eq": 2}}]}, {"$set": {"c": 1}}, {"a": 1, "b": 2, "c": 1}),
    ({"$or": [{"a": 1}]}, {"$set": {"c": 1}}, {"a": 1, "c": 1}),
    ({"$or": [{"a": 1}, {"b": 1}]}, {"$set": {"c": 1}}, {"c": 1}),
    ({"a": {"$in": [4]}}, {"$set": {"c": 1}}, {"a": 4, "c": 1}),
    ({"a": {"$in": [4, 5]}}, {"$set": {"c": 1}}, {"c": 1}),
    ({"a": {"$all": [4]}}, {"$set": {"c": 1}}, {"a": 4, "c": 1}),
    ({"a": Regex("x")}, {"$set": {"c": 1}}, {"c": 1}),
    ({"a": None}, {"$set": {"c": 1}}, {"a": None, "c": 1}),
    ({"a": [1, 2]}, {"$push": {"a": 3}}, {"a": [1, 2, 3]}),
    ({"a": 5}, {"$inc": {"a": 1}}, {"a": 6}),
    ({"a": 5}, {"$unset": {"a": 1}}, {}),
    ({"_id": 1}, {"$set": {"_id": 1, "a": 1}}, {"_id": 1, "a": 1}),
    ({"_id": 1}, {"$set": {"_id": 2}}, (66, "would modify the immutable field '_id'")),
    ({"a": 1}, {"$set": {"_id": [1]}}, (53, "The '_id' value cannot be of type array")),
    ({"a": 1, "$and": [{"a": 2}]}, {"$set": {"b": 1}}, (54, "path 'a' is matched twice")),
    ({"a": 1, "a.b": 2}, {"$set": {"b": 1}}, (54, "both paths 'a.b' and 'a' are matched")),
    ({"a": {"$all": [1, 2]}}, {"$set": {"b": 1}}, (54, "path 'a' is matched twice")),
    (
        {"$expr": {"$eq": ["$a", 1]}},
        {"$set": {"b": 1}},
        (224, "$expr is not allowed in the query predicate for an upsert"),
    ),
    ({"a": 1}, [{"$set": {"b": "$a"}}], {"a": 1, "b": 1}),
    ({"_id": 1}, [{"$replaceWith": {"b": 1}}], {"_id": 1, "b": 1}),
    ({"a": 1}, {"$set": {"x.$[]": 1}}, (2, "must exist in the document")),
]


@pytest.mark.parametrize(("filter", "update", "expected"), UPSERTS)
def test_upserts(filter: dict[str, Any], update: Any, expected: Any) -> None:
    if isinstance(expected, tuple):
        with pytest.raises(DataError) as caught:
            apply(upsert_base(filter), update, inserting=True)
        assert caught.value.number == expected[0]
        assert expected[1] in caught.value.message
        return
    result = apply(upsert_base(filter), update, inserting=True)
    assert next(iter(result)) == "_id"
    if "_id" not in expected:
        assert isinstance(result.pop("_id"), ObjectId)
    assert bytes_of(result) == bytes_of(expected)


REPLACEMENTS = [
    ({"_id": 1, "a": 1}, {"b": 2}, {"_id": 1, "b": 2}),
    ({"_id": 1, "a": 1}, {}, {"_id": 1}),
    ({"_id": 1, "a": 1}, {"b": 2, "_id": 1}, {"_id": 1, "b": 2}),
    ({"_id": 1, "a": 1}, {"b": 2, "_id": 1.0}, {"_id": 1.0, "b": 2}),
    ({"_id": 1, "a": 1}, {"_id": 1, "a": 1}, None),
    ({"_id": 1, "a": 1}, {"_id": 2}, (66, "(immutable) field '_id' was found to have been altered to _id: 2")),
    ({"_id": 1, "a": 1}, {"a": {"$b": 1}}, {"_id": 1, "a": {"$b": 1}}),
    ({"_id": 1, "a": 1}, {"$set": {"a": 1}}, (52, "The dollar ($) prefixed field '$set' in '$set' is not allowed")),
    ({"_id": 1, "a": 1}, {"a": 1, "$x": 1}, (52, "The dollar ($) prefixed field '$x'")),
    ({"_id": 1}, {"$ref": "c", "$id": 1}, {"_id": 1, "$ref": "c", "$id": 1}),
    ({"_id": 1}, {"$ref": 5, "$id": 1}, (55, "The DBRef $ref field must be a String, not a int")),
    ({"_id": 1}, {"$ref": "c"}, (55, "The DBRef $ref field must be followed by a $id field")),
    ({"_id": 1}, {"$db": "c"}, (55, "Found $db field without a $id before it")),
]


@pytest.mark.parametrize(("document", "replacement", "expected"), REPLACEMENTS)
def test_replacements(document: dict[str, Any], replacement: dict[str, Any], expected: Any) -> None:
    before = copy.deepcopy((document, replacement))
    if isinstance(expected, tuple):
        with pytest.raises(DataError) as caught:
            replace(document, replacement)
        assert caught.value.number == expected[0]
        assert expected[1] in caught.value.message
    else:
        result = replace(document, replacement)
        if expected is None:
            assert result is document
        else:
            assert bytes_of(result) == bytes_of(expected)
    assert (document, replacement) == before


def test_replacement_upserts_take_the_id_of_the_filter_alone() -> None:
    base = upsert_base({"_id": 5, "a": 1}, replacing=True)
    assert replace(base, {"b": 1}, inserting=True) == {"_id": 5, "b": 1}
    made = replace(upsert_base({"a": 1}, replacing=True), {"b": 1}, inserting=True)
    assert list(made) == ["_id", "b"]
    assert isinstance(made["_id"], ObjectId)
    with pytest.raises(DataError) as caught:
        upsert_base({"_id.x": 5}, replacing=True)
    assert caught.value.number == 111
    with pytest.raises(DataError) as caught:
        replace({}, {"_id": [1]}, inserting=True)
    assert caught.value.number == 53


KINDS = [
    ({"$set": {"a": 1}}, "operators"),
    ([], "pipeline"),
    ([{"$set": {}}], "pipeline"),
    ({}, "replacement"),
    ({"a": 1}, "replacement"),
    ({"a": 1, "$set": {}}, 52),
    ({"$set": {}, "a": 1}, 9),
    ({"$nope": 1}, 9),
    ("x", 9),
    (None, 9),
]


@pytest.mark.parametrize(("update", "expected"), KINDS)
def test_kinds(update: Any, expected: Any) -> None:
    if isinstance(expected, str):
        assert validate_update(update) == expected
        return
    with pytest.raises(DataError) as caught:
        validate_update(update)
    assert caught.value.number == expected


PATHS = [
    ({"$set": {"a.b": 1, "c": 1}, "$inc": {"d.$[].e": 1}}, {"a.b", "c", "d.$[].e"}, False),
    ({"$rename": {"a": "b.c"}}, {"a", "b.c"}, False),
    ({"$set": {"a.$.b": 1}}, {"a.$.b"}, True),
    ([{"$set": {"a.b": 1}}, {"$unset": ["c", "d"]}, {"$unset": "e"}], {"a.b", "c", "d", "e"}, False),
    ([{"$replaceWith": {"x": 1}}], {""}, False),
]


@pytest.mark.parametrize(("update", "paths", "positional"), PATHS)
def test_paths(update: Any, paths: set[str], positional: bool) -> None:
    compiled = compile_update(update, Context(now=NOW))
    assert compiled.paths == paths
    assert compiled.needs_positional is positional


def test_what_is_not_changed_is_shared() -> None:
    document = {"_id": 1, "a": {"b": 1}, "c": {"d": [1, 2]}}
    result = apply(document, {"$set": {"a.b": 2}})
    assert result["c"] is document["c"]
    assert result["a"] is not document["a"]


def test_one_update_applies_to_many_documents() -> None:
    compiled = compile_update({"$set": {"s": {"n": [1]}}, "$push": {"a": {"x": 1}}}, Context(now=NOW))
    first = compiled.apply({"_id": 1, "a": []})
    second = compiled.apply({"_id": 2})
    assert compile_update({"$push": {"s.n": 2}}, Context(now=NOW)).apply(first)["s"] == {"n": [1, 2]}
    assert second == {"_id": 2, "a": [{"x": 1}], "s": {"n": [1]}}


def test_timestamps_differ() -> None:
    compiled = compile_update({"$currentDate": {"a": {"$type": "timestamp"}}}, Context(now=NOW))
    first, second = (compiled.apply({"_id": 1})["a"] for _ in range(2))
    assert isinstance(first, Timestamp)
    assert first != second


def test_depth_and_size_are_bounded() -> None:
    deep: Any = 1
    for _ in range(200):
        deep = {"a": deep}
    for update in ({"$set": {"x": deep}}, {"$push": {"x": deep}}, {"$set": {".".join("a" * 181): 1}}):
        with pytest.raises(DataError) as caught:
            apply({"_id": 1}, update)
        assert caught.value.number == 15
    with pytest.raises(DataError) as caught:
        replace({"_id": 1}, {"a": deep})
    assert caught.value.number == 15
    check_size(b"x" * (16 << 20))
    with pytest.raises(DataError) as caught:
        check_size(b"x" * ((16 << 20) + 1))
    assert caught.value.number == 17419
    with pytest.raises(DataError) as caught:
        check_size(b"x" * ((16 << 20) + 1), inserting=True)
    assert caught.value.number == 17420


IDENTITIES = [
    (1, None),
    ("", None),
    (None, None),
    ({"a": 1}, None),
    ({"$ref": "c", "$id": 1}, None),
    ([1], 53),
    (Regex("x"), 53),
    (re.compile("x"), 53),
    ({"$a": 1}, 52),
]


@pytest.mark.parametrize(("identity", "expected"), IDENTITIES)
def test_identities(identity: Any, expected: int | None) -> None:
    if expected is None:
        check_id(identity)
        return
    with pytest.raises(DataError) as caught:
        check_id(identity)
    assert caught.value.number == expected


ORDERED = [
    ("a", "b", -1),
    ("b", "a", 1),
    ("a", "a", 0),
    ("9", "10", -1),
    ("10", "9a", -1),
    ("01", "1", -1),
    ("A", "a", -1),
]


@pytest.mark.parametrize(("left", "right", "expected"), ORDERED)
def test_order_of_names(left: str, right: str, expected: int) -> None:
    assert compare_names(left, right) == expected


# --- properties ------------------------------------------------------------------------------------------------------

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 5),
    st.integers(-(2**63), 2**63 - 1).map(Int64),
    st.floats(allow_nan=False),
    st.sampled_from(["", "a", "b"]),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.sampled_from("abc01"), inner, max_size=3)),
    max_leaves=8,
)
DOCUMENTS = st.dictionaries(st.sampled_from("abc"), VALUES, max_size=3).map(lambda document: {"_id": 1, **document})
PATH = st.lists(st.sampled_from(["a", "b", "c", "0", "1", "$[]", "$"]), min_size=1, max_size=3).map(".".join)
OPERATIONS = st.one_of(
    st.tuples(st.sampled_from(["$set", "$min", "$max", "$push", "$addToSet", "$pull", "$unset"]), PATH, VALUES),
    st.tuples(st.sampled_from(["$inc", "$mul"]), PATH, st.integers(-5, 5)),
    st.tuples(st.just("$pop"), PATH, st.sampled_from([1, -1])),
    st.tuples(st.just("$rename"), PATH, st.sampled_from(["a", "b.c", "c"])),
    st.tuples(st.just("$pullAll"), PATH, st.lists(SCALARS, max_size=2)),
)


@given(DOCUMENTS, st.lists(OPERATIONS, min_size=1, max_size=3), st.one_of(st.none(), st.integers(0, 2)))
def test_the_input_is_never_changed(document: dict[str, Any], operations: list[Any], positional: int | None) -> None:
    update: dict[str, dict[str, Any]] = {}
    for name, path, argument in operations:
        update.setdefault(name, {})[path] = argument
    before = bytes_of(document), copy.deepcopy(update)
    result = document
    with contextlib.suppress(DataError):
        result = compile_update(update, Context(now=NOW)).apply(document, positional)
    assert (bytes_of(document), update) == before
    if result is not document:
        assert next(iter(result)) == "_id"
        bytes_of(result)


@given(DOCUMENTS, st.lists(st.sampled_from("abc"), min_size=1, max_size=3), VALUES)
def test_what_was_set_is_read_back(document: dict[str, Any], parts: list[str], value: Any) -> None:
    compiled = compile_update({"$set": {".".join(parts): value}}, Context(now=NOW))
    try:
        result = compiled.apply(document)
    except DataError as error:
        if error.number != 28:
            raise
        return
    found: Any = result
    for part in parts:
        found = found[part]
    assert bytes_of({"": found}) == bytes_of({"": value})
    assert compiled.apply(result) is result
