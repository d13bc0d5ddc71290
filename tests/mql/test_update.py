"""Updates: what operators make of fields and numbers, or the server's error; kinds, paths, bounds and properties."""

from __future__ import annotations

import contextlib
import copy
import re
from datetime import datetime
from typing import Any

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
from update_checks import NOW, L, Rows, apply, bytes_of, check

from doorleaf.errors import DataError
from doorleaf.mql.context import Context
from doorleaf.mql.updates.compile import check_id, check_size, compile_update, replace, validate_update
from doorleaf.mql.updates.paths import compare_names

D = Decimal128
BIG = 2**63 - 1
OID = ObjectId("64b7f0f0f0f0f0f0f0f0f0f0")


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


@pytest.mark.parametrize(("document", "update", "expected"), FIELDS + NUMBERS + ERRORS)
def test_operators(document: dict[str, Any], update: Any, expected: Any) -> None:
    check(document, update, expected)


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


@pytest.mark.parametrize("part", ["a", "0", "$[]"])
@pytest.mark.parametrize("operator", ["$set", "$unset", "$inc", "$push", "$rename"])
def test_paths_of_many_components_are_refused(operator: str, part: str) -> None:
    for count in (201, 20_000):
        with pytest.raises(DataError) as caught:
            apply({"_id": 1, "x": 1}, {operator: {"x" + f".{part}" * count: "y"}})
        assert caught.value.number == 5984700


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
