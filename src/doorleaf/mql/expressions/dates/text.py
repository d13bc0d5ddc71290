"""Dates and text: ``$dateToString`` and ``$dateFromString``."""

from __future__ import annotations

from typing import Any

from doorleaf.mql.display import display
from doorleaf.mql.expressions.compile import Evaluate, Named, Scope, fail, nullish, parser
from doorleaf.mql.expressions.dates.calendar import (
    DAY,
    UTC_ZONE,
    Zone,
    instant,
    iso_week,
    parts_of,
    to_date,
    weekday,
    zone_of,
)
from doorleaf.mql.expressions.dates.fields import day_of_year, week_of_year
from doorleaf.mql.expressions.dates.parse import FORMAT_LETTERS, MONTHS, BadDate, parse_format, parse_free
from doorleaf.mql.values import type_name

ISO_FORMAT = "%Y-%m-%dT%H:%M:%S.%LZ"
_LOCAL_FORMAT = "%Y-%m-%dT%H:%M:%S.%L"
_TO_LETTERS = frozenset("dGHjLmMSuUVwYzZbB%")


def iso_text(millis: int) -> str:
    """A date as ``2020-01-31T12:30:00.000Z``."""
    return format_date(millis, ISO_FORMAT, UTC_ZONE)


def check_format(form: str, letters: frozenset[str]) -> None:
    """Refuse a format with a specifier that is not among ``letters``."""
    index = form.find("%")
    while index >= 0:
        letter = form[index + 1 : index + 2]
        if not letter:
            fail(18535, "Unmatched '%' at end of format string")
        if letter not in letters:
            fail(18536, f"Invalid format character '%{letter}' in format string")
        index = form.find("%", index + 2)


def format_date(millis: int, form: str, zone: Zone) -> str:
    """A date in ``zone`` by a checked format."""
    offset = zone.offset(millis)
    local = millis + offset
    text = []
    pieces = iter(form.split("%"))
    text.append(next(pieces))
    for piece in pieces:
        if piece:
            text.append(_specified(piece[0], local, offset))
            text.append(piece[1:])
        else:
            # "%%": the split leaves an empty piece, and what follows it is literal.
            text.append("%")
            text.append(next(pieces, ""))
    return "".join(text)


def _specified(letter: str, local: int, offset: int) -> str:
    parts = parts_of(local)
    days = local // DAY
    simple = {"d": parts.day, "m": parts.month, "H": parts.hour, "M": parts.minute, "S": parts.second}
    if letter in simple:
        return f"{simple[letter]:02}"
    if letter == "Y":
        return _year(parts.year)
    if letter == "L":
        return f"{parts.millisecond:03}"
    if letter in "bB":
        return MONTHS[parts.month - 1][: 3 if letter == "b" else None]
    if letter in "zZ":
        return _offset(letter, offset)
    if letter == "G":
        return _year(iso_week(days)[0])
    if letter in "UV":
        return f"{week_of_year(days) if letter == 'U' else iso_week(days)[1]:02}"
    if letter == "j":
        return f"{day_of_year(days):03}"
    return str(weekday(days) if letter == "u" else weekday(days) % 7 + 1)


def _year(year: int) -> str:
    if not 0 <= year <= 9999:
        fail(
            18537,
            f"Could not convert date to string: date component was outside the supported range of 0-9999: {year}",
        )
    return f"{year:04}"


def _offset(letter: str, offset: int) -> str:
    minutes = abs(offset) // 60_000
    sign = "-" if offset < 0 else "+"
    if letter == "Z":
        return f"{'-' if offset < 0 else ''}{minutes}"
    return f"{sign}{minutes // 60:02}{minutes % 60:02}"


_TO_STRING = Named(
    (18629, "$dateToString only supports an object as its argument"),
    (18534, "Unrecognized argument to $dateToString: {name}"),
    {"date": (18628, "Missing 'date' parameter to $dateToString")},
    ("format", "timezone", "onNull"),
)


@parser("$dateToString")
def _date_to_string(argument: Any, scope: Scope) -> Evaluate:
    arguments = _TO_STRING.take(argument)
    date = scope.compile(arguments["date"])
    form = scope.compile_optional(arguments, "format")
    timezone = scope.compile_optional(arguments, "timezone")
    on_null = scope.compile_optional(arguments, "onNull")

    def evaluate(root: Any, variables: dict[str, Any]) -> Any:
        value = date(root, variables)
        written = None
        if form is not None:
            written = form(root, variables)
            if nullish(written):
                return on_null(root, variables) if nullish(value) and on_null is not None else None
            if type_name(written) != "string":
                shown = f"{type_name(written)} with value {display(written)}"
                fail(18533, f"$dateToString requires that 'format' be a string, found: {shown}")
            check_format(written, _TO_LETTERS)
        zone = UTC_ZONE
        if timezone is not None:
            named = timezone(root, variables)
            if nullish(named):
                return on_null(root, variables) if nullish(value) and on_null is not None else None
            zone = zone_of(named)
        if nullish(value):
            return None if on_null is None else on_null(root, variables)
        if written is None:
            written = ISO_FORMAT if zone.utc else _LOCAL_FORMAT
        return format_date(instant(value), written, zone)

    return scope.fold(evaluate, [date, form, timezone, on_null])


_FROM_STRING = Named(
    (40540, "$dateFromString only supports an object as an argument, found: {found}"),
    (40541, "Unrecognized argument to $dateFromString: {name}"),
    {"dateString": (40542, "Missing 'dateString' parameter to $dateFromString")},
    ("format", "timezone", "onNull", "onError"),
)


@parser("$dateFromString")
def _date_from_string(argument: Any, scope: Scope) -> Evaluate:
    items = {name: scope.compile(item) for name, item in _FROM_STRING.take(argument).items()}
    on_error, on_null = items.pop("onError", None), items.pop("onNull", None)

    def evaluate(root: Any, variables: dict[str, Any]) -> Any:
        values = {name: item(root, variables) for name, item in items.items()}
        form = values.get("format", "")
        if not nullish(form) and type_name(form) != "string":
            shown = f"{type_name(form)} with value {display(form)}"
            fail(40684, f"$dateFromString requires that 'format' be a string, found: {shown}")
        zone = None
        if "timezone" in values and not nullish(values["timezone"]):
            zone = zone_of(values["timezone"])
        if nullish(values["dateString"]):
            return None if on_null is None else on_null(root, variables)
        if any(nullish(value) for value in values.values()):
            return None
        check_format(form, FORMAT_LETTERS)
        try:
            return read_date("$dateFromString", values["dateString"], form if "format" in values else None, zone)
        except BadDate as error:
            if on_error is not None:
                return on_error(root, variables)
            fail(241, str(error))

    return scope.fold(evaluate, [*items.values(), on_error, on_null])


def read_date(name: str, text: Any, form: str | None, zone: Zone | None) -> Any:
    """The date written in ``text``; raises :class:`BadDate` with the server's text."""
    if type_name(text) != "string":
        shown = f"{type_name(text)} with value {display(text)}"
        raise BadDate(f"{name} requires that 'dateString' be a string, found: {shown}")
    try:
        if form is None:
            return to_date(parse_free(text, zone, UTC_ZONE))
        return to_date(parse_format(text, form, zone, UTC_ZONE))
    except BadDate as error:
        raise BadDate(f"Error parsing date string '{text[:200]}'; {error}") from None
