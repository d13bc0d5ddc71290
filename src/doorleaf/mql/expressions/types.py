"""Types of values: ``$type`` and ``$isNumber``."""

from __future__ import annotations

from typing import Any

from doorleaf.mql.expressions.compile import function
from doorleaf.mql.numbers import is_number
from doorleaf.mql.values import type_name


@function("$type", 1)
def _type(value: Any) -> str:
    return type_name(value)


@function("$isNumber", 1)
def _is_number(value: Any) -> bool:
    return is_number(value)
