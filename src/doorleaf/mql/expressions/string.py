"""Strings: joining, case, trimming, splitting, replacing and measuring."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from doorleaf.mql.display import display
from doorleaf.mql.expressions.compile import (
    Evaluate,
    Named,
    Scope,
    apply,
    bounded_length,
    fail,
    function,
    nullish,
    operands,
    parser,
)
from doorleaf.mql.expressions.text import LOWER, UPPER, coerce, is_string, utf8, utf8_length
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


@function("$toLower", 1)
def _to_lower(value: Any) -> str:
    return coerce(value).translate(LOWER)


@function("$toUpper", 1)
def _to_upper(value: Any) -> str:
    return coerce(value).translate(UPPER)


@function("$strcasecmp", 2)
def _strcasecmp(left: Any, right: Any) -> int:
    first, second = utf8(coerce(left).translate(UPPER)), utf8(coerce(right).translate(UPPER))
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


def _trimming(name: str, strip: Callable[[str, str], str]) -> None:
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
            return strip(text, _BLANKS)
        if nullish(chars[0]):
            return None
        if not is_string(chars[0]):
            shown = f"{display(chars[0])} (of type {type_name(chars[0])})"
            fail(50700, f" {name} requires 'chars' to be a string, got {shown} instead.")
        return strip(text, chars[0]) if chars[0] else text

    def parse(argument: Any, scope: Scope) -> Evaluate:
        arguments = named.take(argument)
        return apply(trim, [scope.compile(arguments[key]) for key in ("input", "chars") if key in arguments], scope)

    parser(name)(parse)


_trimming("$trim", str.strip)
_trimming("$ltrim", str.lstrip)
_trimming("$rtrim", str.rstrip)


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
