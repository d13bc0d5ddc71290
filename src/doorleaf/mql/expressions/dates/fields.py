"""Parts of dates: ``$year`` … ``$millisecond``, ``$dateToParts`` and ``$dateFromParts``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bson.int64 import Int64

from doorleaf.mql.display import display
from doorleaf.mql.expressions.compile import Evaluate, Named, Scope, evaluate_all, fail, nullish, parser
from doorleaf.mql.expressions.dates.calendar import (
    DAY,
    HOUR,
    MINUTE,
    SECOND,
    UTC_ZONE,
    civil,
    days_of,
    instant,
    iso_days,
    iso_week,
    millis_of,
    parts_of,
    to_date,
    weekday,
    zone_of,
)
from doorleaf.mql.numbers import integral
from doorleaf.mql.values import type_name

# --- one part --------------------------------------------------------------------------------------------------------


def _field(name: str, compute: Callable[[int], Any]) -> None:
    """Register an operator of one date; ``compute`` takes local milliseconds."""

    def parse(argument: Any, scope: Scope) -> Evaluate:
        date, timezone = _date_and_zone(name, argument, scope)

        def evaluate(root: Any, variables: dict[str, Any]) -> Any:
            value = date(root, variables)
            if nullish(value):
                return None
            if timezone is None:
                return compute(instant(value))
            zone = timezone(root, variables)
            if nullish(zone):
                return None
            millis = instant(value)
            return compute(zone_of(zone).local(millis))

        return scope.fold(evaluate, [date, timezone])

    parser(name)(parse)


def _date_and_zone(name: str, argument: Any, scope: Scope) -> tuple[Evaluate, Evaluate | None]:
    if isinstance(argument, dict) and not next(iter(argument), "").startswith("$"):
        for option in argument:
            if option not in ("date", "timezone"):
                fail(40535, f'unrecognized option to {name}: "{option}"')
        if "date" not in argument:
            fail(40539, f"missing 'date' argument to {name}, provided: {display(argument)}")
        return scope.compile(argument["date"]), scope.compile_optional(argument, "timezone")
    if isinstance(argument, (list, tuple)):
        if len(argument) != 1:
            count = len(argument)
            fail(40536, f"{name} accepts exactly one argument if given an array, but was given {count}")
        argument = argument[0]
    return scope.compile(argument), None


def day_of_year(days: int) -> int:
    """The day of the year, from 1."""
    return days - days_of(civil(days)[0], 1, 1) + 1


def week_of_year(days: int) -> int:
    """The week of the year, weeks beginning on Sunday, from 0."""
    return (day_of_year(days) + 6 - weekday(days) % 7) // 7


_field("$year", lambda local: civil(local // DAY)[0])
_field("$month", lambda local: civil(local // DAY)[1])
_field("$dayOfMonth", lambda local: civil(local // DAY)[2])
_field("$hour", lambda local: local // HOUR % 24)
_field("$minute", lambda local: local // MINUTE % 60)
_field("$second", lambda local: local // SECOND % 60)
_field("$millisecond", lambda local: local % SECOND)
_field("$dayOfWeek", lambda local: weekday(local // DAY) % 7 + 1)
_field("$dayOfYear", lambda local: day_of_year(local // DAY))
_field("$week", lambda local: week_of_year(local // DAY))
_field("$isoDayOfWeek", lambda local: weekday(local // DAY))
_field("$isoWeek", lambda local: iso_week(local // DAY)[1])
_field("$isoWeekYear", lambda local: Int64(iso_week(local // DAY)[0]))


# --- all parts -------------------------------------------------------------------------------------------------------

_TO_PARTS = Named(
    (40524, "$dateToParts only supports an object as its argument"),
    (40520, "Unrecognized argument to $dateToParts: {name}"),
    {"date": (40522, "Missing 'date' parameter to $dateToParts")},
    ("timezone", "iso8601"),
)


@parser("$dateToParts")
def _date_to_parts(argument: Any, scope: Scope) -> Evaluate:
    arguments = _TO_PARTS.take(argument)
    date = scope.compile(arguments["date"])
    timezone = scope.compile_optional(arguments, "timezone")
    iso = scope.compile_optional(arguments, "iso8601")

    def evaluate(root: Any, variables: dict[str, Any]) -> Any:
        value = date(root, variables)
        zone = UTC_ZONE
        if timezone is not None:
            named = timezone(root, variables)
            if nullish(named):
                return None
            zone = zone_of(named)
        as_iso = False if iso is None else iso(root, variables)
        if nullish(as_iso) or nullish(value):
            return None
        if not isinstance(as_iso, bool):
            fail(40521, f"iso8601 must evaluate to a bool, found {type_name(as_iso)}")
        return _split(zone.local(instant(value)), as_iso)

    return scope.fold(evaluate, [date, timezone, iso])


def _split(local: int, as_iso: bool) -> dict[str, int]:
    parts = parts_of(local)
    time = {"hour": parts.hour, "minute": parts.minute, "second": parts.second, "millisecond": parts.millisecond}
    if not as_iso:
        return {"year": parts.year, "month": parts.month, "day": parts.day, **time}
    year, week = iso_week(local // DAY)
    return {"isoWeekYear": year, "isoWeek": week, "isoDayOfWeek": weekday(local // DAY), **time}


# --- from parts ------------------------------------------------------------------------------------------------------

_TIME = ("hour", "minute", "second", "millisecond")
_FROM_PARTS = Named(
    (40519, "$dateFromParts only supports an object as its argument"),
    (40518, "Unrecognized argument to $dateFromParts: {name}"),
    {},
    ("year", "month", "day", "isoWeekYear", "isoWeek", "isoDayOfWeek", *_TIME, "timezone"),
)
_UNBOUNDED = ("second", "millisecond")


@parser("$dateFromParts")
def _date_from_parts(argument: Any, scope: Scope) -> Evaluate:
    arguments = _FROM_PARTS.take(argument)
    if "year" not in arguments and "isoWeekYear" not in arguments:
        fail(40516, "$dateFromParts requires either 'year' or 'isoWeekYear' to be present")
    if "year" in arguments and any(name in arguments for name in ("isoWeekYear", "isoWeek", "isoDayOfWeek")):
        fail(40489, "$dateFromParts does not allow mixing natural dates with ISO dates")
    if "isoWeekYear" in arguments and any(name in arguments for name in ("month", "day")):
        fail(40525, "$dateFromParts does not allow mixing ISO dates with natural dates")
    items = {name: scope.compile(item) for name, item in arguments.items()}

    def evaluate(root: Any, variables: dict[str, Any]) -> Any:
        values = evaluate_all(items, root, variables)
        if any(nullish(value) for value in values.values()):
            return None
        zone = zone_of(values.pop("timezone")) if "timezone" in values else UTC_ZONE
        numbers = {name: _part(name, value) for name, value in values.items()}
        clock = [numbers.get(name, 0) for name in _TIME]
        if "year" in numbers:
            local = millis_of(numbers["year"], numbers.get("month", 1), numbers.get("day", 1), *clock)
        else:
            days = iso_days(numbers["isoWeekYear"], numbers.get("isoWeek", 1), numbers.get("isoDayOfWeek", 1))
            local = days * DAY + millis_of(1970, 1, 1, *clock)
        return to_date(zone.instant(local), "$dateFromParts")

    return scope.fold(evaluate, items.values())


def _part(name: str, value: Any) -> int:
    number = integral(value)
    if number is None:
        shown = f"{type_name(value)} with value {display(value)}"
        fail(40515, f"'{name}' must evaluate to an integer, found {shown}")
    if name in ("year", "isoWeekYear"):
        if not 1 <= number <= 9999:
            fail(40523, f"'{name}' must evaluate to an integer in the range 1 to 9999, found {number}")
    elif name not in _UNBOUNDED and not -32768 <= number <= 32767:
        fail(31034, f"'{name}' must evaluate to a value in the range [-32768, 32767]; value {number} is not in range")
    return number
