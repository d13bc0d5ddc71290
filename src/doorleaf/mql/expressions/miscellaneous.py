"""``$rand``, sizes of binary data and documents, and the parts of a timestamp."""

from __future__ import annotations

import random
from typing import Any

import bson
from bson.int64 import Int64
from bson.timestamp import Timestamp

from doorleaf.documents import CODEC
from doorleaf.mql.expressions.compile import Evaluate, Scope, fail, function, nullish, parser
from doorleaf.mql.values import as_document, type_name


@parser("$rand")
def _rand(argument: Any, scope: Scope) -> Evaluate:
    if not isinstance(argument, (dict, list)):
        fail(10065, f"invalid parameter: expected an object ($rand), found {type_name(argument)}")
    if argument:
        fail(3040501, "$rand does not currently accept arguments")
    return lambda root, variables: random.random()  # noqa: S311  # a sample, not a secret


@function("$binarySize", 1)
def _binary_size(value: Any) -> Any:
    if nullish(value):
        return None
    if isinstance(value, bytes):
        return len(value)
    if type_name(value) != "string":
        fail(51276, f"$binarySize requires a string or BinData argument, found: {type_name(value)}")
    return len(value.encode("utf-8", "surrogatepass"))


@function("$bsonSize", 1)
def _bson_size(value: Any) -> Any:
    if nullish(value):
        return None
    document = as_document(value)
    if document is None:
        fail(31393, f"$bsonSize requires a document input, found: {type_name(value)}")
    return len(bson.encode(document, codec_options=CODEC))


def _timestamp_part(name: str, code: int, part: str) -> None:
    def compute(value: Any) -> Any:
        if nullish(value):
            return None
        if not isinstance(value, Timestamp):
            fail(code, f" Argument to {name} must be a timestamp, but is {type_name(value)}")
        return Int64(getattr(value, part))

    function(name, 1)(compute)


_timestamp_part("$tsSecond", 5687301, "time")
_timestamp_part("$tsIncrement", 5687302, "inc")
