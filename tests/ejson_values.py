"""Values for tests of Extended JSON, and how they are compared."""

from __future__ import annotations

import math
import struct
from datetime import datetime
from typing import Any

from bson import (
    Binary,
    Code,
    Decimal128,
    ObjectId,
)
from hypothesis import strategies as st

HEX = "64224f3cd79f54ad342dd9b1"
OID = ObjectId(HEX)
DATE = datetime(2023, 3, 29, 15, 54, 47, 69000)


def same(left: Any, right: Any) -> bool:
    """Equal in value and in type, all the way down; NaN is NaN and -0.0 is not 0.0."""
    if type(left) is not type(right):
        return False
    if isinstance(left, dict):
        return list(left) == list(right) and all(same(left[key], right[key]) for key in left)
    if isinstance(left, list):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, float):
        return struct.pack("d", left) == struct.pack("d", right) or (math.isnan(left) and math.isnan(right))
    if isinstance(left, Binary):
        return bool(left == right and left.subtype == right.subtype)
    if isinstance(left, Code):
        return bool(str(left) == str(right) and same(left.scope, right.scope))
    if isinstance(left, Decimal128):
        return bool(left.bid == right.bid)
    return bool(left == right)


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
