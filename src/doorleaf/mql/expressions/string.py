"""Strings: joining, case, trimming, splitting, replacing and measuring."""

from __future__ import annotations

from typing import Any

from doorleaf.documents import is_string
from doorleaf.mql.context import Context
from doorleaf.mql.display import display
from doorleaf.mql.expressions.compile import Evaluate, Named, Scope, apply, fail, function, nullish, operands, parser
from doorleaf.mql.expressions.text import coerce, lower, upper, utf8, utf8_length
from doorleaf.mql.memory import bounded_elements, bounded_length
from doorleaf.mql.values import type_name

_BLANKS = "\0 \t\n\v\f\r\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"


@parser("$concat")
def _concat(argument: Any, scope: Scope) -> Evaluate:
    return apply(_joined, [scope.compile(item) for item in operands("$concat", argument, 0, None)], scope)


def _joined(*values: Any) -> Any:
    length = 0
    for value in values:
        if nullish(value):
            return None
        if not is_string(value):
            fail(16702, f"$concat only supports strings, not {type_name(value)}")
        length += utf8_length(value)
    bounded_length("$concat", length)
    return "".join(values)


@function("$toLower", 1, context=True)
def _to_lower(context: Context, value: Any) -> str:
    return lower(coerce(value), context)


@function("$toUpper", 1, context=True)
def _to_upper(context: Context, value: Any) -> str:
    return upper(coerce(value), context)


@function("$strcasecmp", 2, context=True)
def _strcasecmp(context: Context, left: Any, right: Any) -> int:
    first, second = utf8(upper(coerce(left), context)), utf8(upper(coerce(right), context))
    return int(first > second) - int(first < second)


@function("$strLenBytes", 1)
def _str_len_bytes(value: Any) -> int:
    if not is_string(value):
        fail(34473, f"$strLenBytes requires a string argument, found: {type_name(value)}")
    return utf8_length(value)


@function("$strLenCP", 1)
def _str_len_cp(value: Any) -> int:
    if not is_string(value):
        fail(34471, f"$strLenCP requires a string argument, found: {type_name(value)}")
    return len(value)


# --- trimming --------------------------------------------------------------------------------------------------------


def _trimmed(text: str, chars: str, ends: str) -> str:
    """``text`` without what is of ``chars`` at its ``ends``: as ``str.strip``, in time of the sum of the lengths."""
    if len(chars) < _FEW:
        return {"both": str.strip, "left": str.lstrip, "right": str.rstrip}[ends](text, chars)
    unwanted = frozenset(chars)
    start, end = 0, len(text)
    if ends != "right":
        start = next((place for place, char in enumerate(text) if char not in unwanted), end)
    if ends != "left":
        end = next((place for place in range(end, start, -1) if text[place - 1] not in unwanted), start)
    return text[start:end]


_FEW = 64


def _trimming(name: str, ends: str) -> None:
    named = Named(
        (50696, f"{name} only supports an object as an argument, found {{found}}"),
        (50694, f"{name} found an unknown argument: {{name}}"),
        {"input": (50695, f"{name} requires an 'input' field")},
        ("chars",),
    )

    def trim(text: Any, *chars: Any) -> Any:
        if nullish(text):
            return None
        if not is_string(text):
            fail(
                50699,
                f"{name} requires its input to be a string, got {display(text)} (of type {type_name(text)}) instead.",
            )
        if not chars:
            return _trimmed(text, _BLANKS, ends)
        if nullish(chars[0]):
            return None
        if not is_string(chars[0]):
            shown = f"{display(chars[0])} (of type {type_name(chars[0])})"
            fail(50700, f" {name} requires 'chars' to be a string, got {shown} instead.")
        return _trimmed(text, chars[0], ends)

    def parse(argument: Any, scope: Scope) -> Evaluate:
        arguments = named.take(argument)
        return apply(trim, [scope.compile(arguments[key]) for key in ("input", "chars") if key in arguments], scope)

    parser(name)(parse)


_trimming("$trim", "both")
_trimming("$ltrim", "left")
_trimming("$rtrim", "right")


# --- splitting and replacing -----------------------------------------------------------------------------------------


@function("$split", 2)
def _split(text: Any, separator: Any) -> Any:
    if nullish(text) or nullish(separator):
        return None
    requires = "$split requires an expression that evaluates to a string as a"
    if not is_string(text):
        fail(40085, f"{requires} first argument, found: {type_name(text)}")
    if not is_string(separator):
        fail(10503900, f"{requires} second argument, found: {type_name(separator)}")
    if not separator:
        fail(40087, "$split requires a non-empty separator")
    # An element takes its bytes and some more for its place.
    bounded_elements(text.count(separator), 8)
    return text.split(separator)


_REPLACE_CODES = (("input", 10503904), ("find", 10503901), ("replacement", 10503902))


def _replacing(name: str, most: int) -> None:
    named = Named(
        (51751, f"{name} requires an object as an argument, found: {{found}}"),
        (51750, f"{name} found an unknown argument: {{name}}"),
        {
            "input": (51749, f"{name} requires 'input' to be specified"),
            "find": (51748, f"{name} requires 'find' to be specified"),
            "replacement": (51747, f"{name} requires 'replacement' to be specified"),
        },
    )

    def replace(text: Any, find: Any, replacement: Any) -> Any:
        values = {"input": text, "find": find, "replacement": replacement}
        for key, code in _REPLACE_CODES:
            if not nullish(values[key]) and not is_string(values[key]):
                fail(code, f"{name} requires that '{key}' be a string, found: {display(values[key])}")
        if nullish(text) or nullish(find) or nullish(replacement):
            return None
        count = min(text.count(find), most) if most > 0 else text.count(find)
        bounded_length(name, utf8_length(text) + count * (utf8_length(replacement) - utf8_length(find)))
        return text.replace(find, replacement, most)

    def parse(argument: Any, scope: Scope) -> Evaluate:
        arguments = named.take(argument)
        return apply(replace, [scope.compile(arguments[key]) for key, _ in _REPLACE_CODES], scope)

    parser(name)(parse)


_replacing("$replaceOne", 1)
_replacing("$replaceAll", -1)
