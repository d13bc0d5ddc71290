"""Tests of one value: comparison, ``$in``, ``$type``, ``$mod``, bits. Each function compiles an operator's argument."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

from bson.decimal128 import Decimal128
from bson.int64 import Int64
from bson.objectid import ObjectId

from doorleaf.documents import is_string
from doorleaf.errors import DataError
from doorleaf.mql.context import Context
from doorleaf.mql.display import display, display_field
from doorleaf.mql.filters.nodes import Leaf, Test
from doorleaf.mql.numbers import INT32_MAX, INT32_MIN, INT64_MAX, INT64_MIN
from doorleaf.mql.regular.compile import Regular, compile_regex
from doorleaf.mql.values import (
    MISSING,
    ORDER_ARRAY,
    ORDER_MAX_KEY,
    ORDER_MIN_KEY,
    ORDER_NULL,
    ORDER_NUMBER,
    ORDER_OBJECT,
    ORDER_STRING,
    TYPE_CODES,
    canonical,
    is_nan,
    is_number,
    regex_flags,
    sort_token,
    type_name,
    type_order,
)

_ORDERED: dict[str, Callable[[Any, Any], bool]] = {
    "$gt": operator.gt,
    "$gte": operator.ge,
    "$lt": operator.lt,
    "$lte": operator.le,
}
_PLAIN_NUMBERS = frozenset((int, float, Int64))
_NUMBER_NAMES = frozenset(("int", "long", "double", "decimal"))
_CODE_NAMES = {code: name for name, code in TYPE_CODES.items()}


# --- comparison ------------------------------------------------------------------------------------------------------


def equality(wanted: Any) -> Leaf:
    """``$eq``: the same value, and for null also a missing field."""
    if wanted is None:
        return Leaf(lambda value: value is None or value is MISSING)
    order = type_order(wanted)
    if order == ORDER_NUMBER and not is_nan(wanted):
        number = wanted.to_decimal() if isinstance(wanted, Decimal128) else wanted
        return Leaf(_number_test(number, operator.eq))
    key = canonical(wanted)
    if wanted.__class__ is str or wanted.__class__ is ObjectId:
        return Leaf(lambda value: value == key, equals=wanted)
    if order in (ORDER_OBJECT, ORDER_ARRAY):
        size = _length(wanted)
        # The number of fields is compared first: it is cheap and mostly different.
        return Leaf(
            lambda value: type_order(value) == order and _length(value) == size and bool(canonical(value) == key)
        )
    return Leaf(lambda value: type_order(value) == order and bool(canonical(value) == key))


def _length(value: Any) -> int:
    return len(value) if isinstance(value, (dict, list, tuple)) else len(value.as_doc())


def _number_test(number: Any, relation: Callable[[Any, Any], bool]) -> Test:
    def test(value: Any) -> bool:
        kind = value.__class__
        if kind in _PLAIN_NUMBERS:
            # NaN is in no order with anything, and Python's Decimal raises when asked.
            return value == value and relation(value, number)
        if kind is Decimal128:
            decimal = value.to_decimal()
            return not decimal.is_nan() and relation(decimal, number)
        return False

    return test


def ordering(name: str, wanted: Any) -> Leaf:
    """``$gt``, ``$gte``, ``$lt``, ``$lte``: compares within the type of ``wanted`` only."""
    relation = _ORDERED[name]
    order = type_order(wanted)
    inclusive = name in ("$gte", "$lte")
    if order == ORDER_NULL or is_nan(wanted):
        return equality(wanted) if inclusive else Leaf(lambda _value: False)
    if order in (ORDER_MIN_KEY, ORDER_MAX_KEY):
        others = name in ("$gt", "$gte") if order == ORDER_MIN_KEY else name in ("$lt", "$lte")
        return Leaf(lambda value: inclusive if type_order(value) == order else others)
    if order == ORDER_NUMBER:
        return Leaf(_number_test(wanted.to_decimal() if isinstance(wanted, Decimal128) else wanted, relation))
    if order == ORDER_STRING:
        text = str(wanted)
        return Leaf(lambda value: value.__class__ is str and relation(value, text))
    token = sort_token(wanted)
    return Leaf(lambda value: type_order(value) == order and relation(sort_token(value), token))


def membership(wanted: list[Any], context: Context) -> Leaf:
    """``$in``: equal to any of ``wanted``, or matching any regular expression among them."""
    keys = set()
    tests = []
    for item in context.each(wanted):
        if type_name(item) == "regex":
            context.check_now()
            tests.append(regular(compile_regex(_pattern(item), regex_flags(item)), context).test)
        else:
            keys.add(canonical(item))
    if None in keys:
        keys.add(MISSING)
    if not tests:
        return Leaf(lambda value: canonical(value) in keys)
    return Leaf(lambda value: canonical(value) in keys or any(test(value) for test in tests))


# --- regular expressions ---------------------------------------------------------------------------------------------


def _pattern(value: Any) -> str:
    return value.pattern if isinstance(value.pattern, str) else value.pattern.decode("utf-8", "replace")


def regular(expression: Regular, context: Context) -> Leaf:
    """Strings that match, and regular expressions that are the same."""
    options = "".join(sorted(expression.options))

    def test(value: Any) -> bool:
        if value.__class__ is str:
            context.check()
            return expression.matches(value, context)
        if value is None or value is MISSING or type_name(value) != "regex":
            return False
        return _pattern(value) == expression.pattern and regex_flags(value) == options

    return Leaf(test)


def regular_value(value: Any, context: Context) -> Leaf:
    """A regular expression given as a BSON value."""
    return regular(compile_regex(_pattern(value), regex_flags(value)), context)


def regular_document(operators: dict[str, Any], context: Context) -> Leaf:
    """``{$regex, $options}``."""
    pattern, options, given = "", "", False
    for name, argument in operators.items():
        if name == "$regex":
            if is_string(argument):
                pattern = str(argument)
            elif argument is not None and type_name(argument) == "regex":
                pattern, flags = _pattern(argument), regex_flags(argument)
                if flags and options:
                    raise DataError("options set in both $regex and $options", number=51074)
                options, given = flags or options, bool(flags)
            else:
                raise DataError("$regex has to be a string")
        elif name == "$options":
            if not is_string(argument):
                raise DataError("$options has to be a string")
            if given:
                raise DataError("options set in both $regex and $options", number=51075)
            options = str(argument)
    return regular(compile_regex(pattern, options), context)


# --- element and evaluation ------------------------------------------------------------------------------------------


def types(field: str, argument: Any) -> Leaf:
    """``$type``: a name, a code, ``"number"`` or an array of these."""
    wanted = set[str]()
    for item in argument if isinstance(argument, list) else [argument]:
        wanted |= _type_names(item)
    if not wanted:
        raise DataError(f"{field} must match at least one type", number=9)
    return Leaf(lambda value: value is not MISSING and type_name(value) in wanted)


def _type_names(item: Any) -> set[str]:
    if is_string(item):
        if item == "number":
            return set(_NUMBER_NAMES)
        if item == "missing":
            raise DataError(
                "'missing' is not a legal type name. To query for non-existence of a field, use {$exists:false}."
            )
        if item not in TYPE_CODES:
            raise DataError(f"Unknown type name alias: {item}")
        return {item}
    if not is_number(item):
        raise DataError("type must be represented as a number or a string", number=14)
    code = _whole(item)
    if code == 0:
        raise DataError("Invalid numerical type code: 0. Instead use {$exists:false}.")
    if code not in _CODE_NAMES:
        raise DataError(f"Invalid numerical type code: {display(item)}")
    return {_CODE_NAMES[code]}


def _whole(value: Any) -> int | None:
    """The integer that a number of any kind is, or None."""
    plain = value.to_decimal() if isinstance(value, Decimal128) else value
    if is_nan(value) or plain in (math.inf, -math.inf) or plain != int(plain):
        return None
    return int(plain)


def integer_argument(name: str, value: Any, prefix: str = "") -> int:
    """A whole number within int64, else the server's error with code 9 (2 behind a prefix)."""
    code = 2 if prefix else 9
    shown = display_field(name, value)
    if not is_number(value):
        raise DataError(f"{prefix}Expected a number in: {shown}", number=code)
    if is_nan(value):
        raise DataError(f"{prefix}Expected an integer, but found NaN in: {shown}", number=code)
    plain = value.to_decimal() if isinstance(value, Decimal128) else value
    if not INT64_MIN <= plain <= INT64_MAX:
        raise DataError(f"{prefix}Cannot represent as a 64-bit integer: {shown}", number=code)
    if plain != int(plain):
        raise DataError(f"{prefix}Expected an integer: {shown}", number=code)
    return int(plain)


def size(argument: Any) -> Leaf:
    """``$size``: an array of exactly so many elements."""
    prefix = "Failed to parse $size. "
    wanted = integer_argument("$size", argument, prefix)
    if wanted < 0:
        raise DataError(f"{prefix}Expected a non-negative number in: {display_field('$size', argument)}")
    return Leaf(lambda value: value.__class__ is list and len(value) == wanted, leaf_arrays=False)


def modulo(argument: Any) -> Leaf:
    """``$mod``: ``[divisor, remainder]``; fractions are cut off."""
    if not isinstance(argument, list):
        raise DataError("malformed mod, needs to be an array")
    if len(argument) < 2:
        raise DataError("malformed mod, not enough elements")
    if len(argument) > 2:
        raise DataError("malformed mod, too many elements")
    divisor = _mod_part("divisor", argument[0])
    remainder = _mod_part("remainder", argument[1])
    if divisor == 0:
        raise DataError("divisor cannot be 0")

    def test(value: Any) -> bool:
        number = _truncated(value)
        if number is None:
            return False
        # The remainder has the sign of the dividend, unlike Python's.
        rest = abs(number) % abs(divisor)
        return (rest if number >= 0 else -rest) == remainder

    return Leaf(test)


def _mod_part(word: str, value: Any) -> int:
    if not is_number(value):
        raise DataError(f"malformed mod, {word} not a number")
    number = _truncated(value)
    if number is None:
        plain = value.to_decimal() if isinstance(value, Decimal128) else value
        finite = not is_nan(value) and abs(plain) != math.inf
        reason = "Out of bounds coercing to integral value" if finite else "Unable to coerce NaN/Inf to integral type"
        raise DataError(f"{word} value is invalid :: caused by :: {reason}")
    return number


def _truncated(value: Any) -> int | None:
    """A number cut to an int64; None for anything else."""
    if not is_number(value):
        return None
    if isinstance(value, int):
        return int(value)
    if is_nan(value):
        return None
    plain = value.to_decimal() if isinstance(value, Decimal128) else value
    if not INT64_MIN <= plain <= INT64_MAX:
        return None
    number = int(plain)
    return number if INT64_MIN <= number <= INT64_MAX else None


# --- bits ------------------------------------------------------------------------------------------------------------

_BITS: dict[str, Callable[[int, int], bool]] = {
    "$bitsAllSet": lambda count, total: count == total,
    "$bitsAllClear": lambda count, total: count == 0,
    "$bitsAnySet": lambda count, total: count > 0,
    "$bitsAnyClear": lambda count, total: count < total,
}


def bits(field: str, name: str, argument: Any) -> Leaf:
    """``$bitsAllSet`` and its kin: the mask is a number, a binary or an array of positions."""
    positions = _positions(field, name, argument)
    relation = _BITS[name]
    total = len(positions)
    # Beyond bit 63 a number repeats its sign.
    mask = sum(1 << position for position in {min(position, 63) for position in positions})
    distinct = mask.bit_count()

    def test(value: Any) -> bool:
        if isinstance(value, bytes):
            return relation(_count_set(value, positions), total)
        if not is_number(value):
            return False
        number = _whole(value)
        if number is None or not INT64_MIN <= number <= INT64_MAX:
            return False
        return relation((number & mask).bit_count(), distinct)

    return Leaf(test)


def _count_set(value: bytes, positions: set[int]) -> int:
    limit = len(value) * 8
    return sum(value[position >> 3] >> (position & 7) & 1 for position in positions if position < limit)


def _positions(field: str, name: str, argument: Any) -> set[int]:
    """The bit positions of a mask."""
    if isinstance(argument, list):
        return {_bit_position(position) for position in argument}
    if isinstance(argument, bytes):
        return {index * 8 + bit for index, byte in enumerate(argument) for bit in range(8) if byte >> bit & 1}
    if not is_number(argument):
        shown = display_field(name, argument)
        raise DataError(f"{field} takes an Array, a number, or a BinData but received: {shown}")
    mask = integer_argument(name, argument)
    if mask < 0:
        raise DataError(f"Expected a non-negative number in: {display_field(name, argument)}", number=9)
    return {bit for bit in range(64) if mask >> bit & 1}


def _bit_position(value: Any) -> int:
    shown = display_field("0", value)
    if not is_number(value):
        raise DataError(f"Failed to parse bit position. Expected a number in: {shown}")
    position = integer_argument("0", value, "Failed to parse bit position. ")
    if position < 0:
        raise DataError(f"Failed to parse bit position. Expected a non-negative number in: {shown}")
    if not INT32_MIN <= position <= INT32_MAX:
        raise DataError(f"Failed to parse bit position. Cannot represent {shown} in an int")
    return position
