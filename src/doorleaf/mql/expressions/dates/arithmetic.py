"""Date arithmetic: ``$dateAdd``, ``$dateSubtract``, ``$dateDiff`` and ``$dateTrunc``, in local time."""

from __future__ import annotations

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
    Zone,
    civil,
    days_in_month,
    days_of,
    instant_or_none,
    millis_of,
    to_date,
    weekday,
    zone_of,
)
from doorleaf.mql.numbers import INT64_MAX, INT64_MIN, integral
from doorleaf.mql.values import type_name

_FIXED = {"millisecond": 1, "second": SECOND, "minute": MINUTE, "hour": HOUR}
_DAYS = {"day": 1, "week": 7}
_MONTHS = {"month": 1, "quarter": 3, "year": 12}
UNITS = (*_FIXED, *_DAYS, *_MONTHS)

_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_START = {name: index + 1 for index, name in enumerate(_WEEKDAYS)} | {
    name[:3]: index + 1 for index, name in enumerate(_WEEKDAYS)
}
_LARGEST_BIN = 100_000_000_000
_SATURDAY_2000 = days_of(2000, 1, 1)


def _zone(values: dict[str, Any]) -> Zone:
    return zone_of(values["timezone"]) if "timezone" in values else UTC_ZONE


# --- adding ----------------------------------------------------------------------------------------------------------


def _shifting(name: str, sign: int) -> None:
    missing = (5166402, f"{name} requires startDate, unit, and amount to be present")
    expected = "Expected arguments are startDate, unit, amount, and optionally timezone."
    named = Named(
        (5166400, f"{name} expects an object as its argument.found input type: {{found}}"),
        (5166401, f"Unrecognized argument to {name}: {{name}}. {expected}"),
        {"startDate": missing, "unit": missing, "amount": missing},
        ("timezone",),
    )

    def parse(argument: Any, scope: Scope) -> Evaluate:
        items = {key: scope.compile(item) for key, item in named.take(argument).items()}

        def evaluate(root: Any, variables: dict[str, Any]) -> Any:
            values = evaluate_all(items, root, variables)
            if any(nullish(value) for value in values.values()):
                return None
            return _shifted(name, sign, values)

        return scope.fold(evaluate, items.values())

    parser(name)(parse)


def _shifted(name: str, sign: int, values: dict[str, Any]) -> Any:
    start = instant_or_none(values["startDate"])
    if start is None:
        fail(5166403, f"{name} requires startDate to be convertible to a date")
    unit = _unit(name, values["unit"])
    amount = integral(values["amount"])
    if amount is None:
        fail(5166405, f"{name} expects integer amount of time units")
    if sign < 0 and amount == INT64_MIN:
        fail(6045000, f"invalid {name} 'amount' parameter value: {amount}")
    zone = _zone(values)
    limit = INT64_MAX // _FIXED[unit] if unit in _FIXED else INT64_MAX // (DAY * _DAYS.get(unit, 28))
    if abs(amount) > limit:
        fail(5976500, f"invalid {name} 'amount' parameter value: {amount} {unit}")
    moved = add_units(start, unit, sign * amount, zone)
    if not INT64_MIN <= moved <= INT64_MAX:
        fail(5166406, f"{name} overflowed")
    return to_date(moved, name)


def add_units(start: int, unit: str, amount: int, zone: Zone = UTC_ZONE) -> int:
    """``start`` moved by ``amount`` units: days and more keep the local time, months end on their last day."""
    if unit in _FIXED:
        return start + amount * _FIXED[unit]
    local = zone.local(start)
    if unit in _DAYS:
        return zone.instant(local + amount * _DAYS[unit] * DAY)
    days, rest = divmod(local, DAY)
    year, month, day = civil(days)
    months = year * 12 + month - 1 + amount * _MONTHS[unit]
    year, month = months // 12, months % 12 + 1
    day = min(day, days_in_month(year, month))
    return zone.instant(days_of(year, month, day) * DAY + rest)


_shifting("$dateAdd", 1)
_shifting("$dateSubtract", -1)


# --- difference ------------------------------------------------------------------------------------------------------

_DIFF = Named(
    (5166301, "$dateDiff only supports an object as its argument"),
    (5166302, "Unrecognized argument to $dateDiff: {name}"),
    {
        "startDate": (5166303, "Missing 'startDate' parameter to $dateDiff"),
        "endDate": (5166304, "Missing 'endDate' parameter to $dateDiff"),
        "unit": (5166305, "Missing 'unit' parameter to $dateDiff"),
    },
    ("timezone", "startOfWeek"),
)


@parser("$dateDiff")
def _date_diff(argument: Any, scope: Scope) -> Evaluate:
    items = {name: scope.compile(item) for name, item in _DIFF.take(argument).items()}

    def evaluate(root: Any, variables: dict[str, Any]) -> Any:
        values = evaluate_all(items, root, variables)
        if _any_null(values):
            return None
        ends = []
        for name in ("startDate", "endDate"):
            millis = instant_or_none(values[name])
            if millis is None:
                fail(5166307, f"$dateDiff requires '{name}' to be a date, but got {type_name(values[name])}")
            ends.append(millis)
        unit = _unit("$dateDiff", values["unit"])
        first_day = _start_of_week("$dateDiff", unit, values)
        count = units_between(ends[0], ends[1], unit, _zone(values), first_day)
        if not INT64_MIN <= count <= INT64_MAX:
            fail(15, "$dateDiff overflowed")
        return Int64(count)

    return scope.fold(evaluate, items.values())


def _any_null(values: dict[str, Any]) -> bool:
    """Whether an operand that counts is null; the start of the week counts for weeks alone."""
    counting = (value for name, value in values.items() if name != "startOfWeek" or values.get("unit") == "week")
    return any(nullish(value) for value in counting)


def _unit(name: str, unit: Any) -> str:
    if type_name(unit) != "string":
        fail(5439013, f"{name} requires 'unit' to be a string, but got {type_name(unit)}")
    if unit not in UNITS:
        fail(9, f"{name} parameter 'unit' value cannot be recognized as a time unit: {unit}")
    return str(unit)


def _start_of_week(name: str, unit: str, values: dict[str, Any]) -> int:
    if unit != "week" or "startOfWeek" not in values:
        return 7
    first = values["startOfWeek"]
    if type_name(first) != "string":
        fail(5439015, f"{name} requires 'startOfWeek' to be a string, but got {type_name(first)}")
    day = _START.get(first.lower())
    if day is None:
        fail(5439016, f"{name} parameter 'startOfWeek' value cannot be recognized as a day of a week: {first}")
    return day


def units_between(start: int, end: int, unit: str, zone: Zone = UTC_ZONE, first_day: int = 7) -> int:
    """How many boundaries of ``unit`` lie between two instants, in the zone's time."""
    first, last = zone.local(start), zone.local(end)
    if unit in _FIXED:
        size = _FIXED[unit]
        # What the clocks were moved by in between is no boundary.
        moved = int(((last - end) - (first - start)) / size)
        return last // size - first // size - moved
    if unit == "day":
        return last // DAY - first // DAY
    if unit == "week":
        return _week_start(last // DAY, first_day) // 7 - _week_start(first // DAY, first_day) // 7
    months = [year * 12 + month - 1 for year, month, _ in (civil(first // DAY), civil(last // DAY))]
    return months[1] // _MONTHS[unit] - months[0] // _MONTHS[unit]


def _week_start(days: int, first_day: int) -> int:
    return days - (weekday(days) - first_day) % 7


# --- truncation ------------------------------------------------------------------------------------------------------

_TRUNC = Named(
    (5439007, "$dateTrunc only supports an object as its argument"),
    (5439008, "Unrecognized argument to $dateTrunc: {name}"),
    {
        "date": (5439009, "Missing 'date' parameter to $dateTrunc"),
        "unit": (5439010, "Missing 'unit' parameter to $dateTrunc"),
    },
    ("binSize", "timezone", "startOfWeek"),
)


@parser("$dateTrunc")
def _date_trunc(argument: Any, scope: Scope) -> Evaluate:
    items = {name: scope.compile(item) for name, item in _TRUNC.take(argument).items()}

    def evaluate(root: Any, variables: dict[str, Any]) -> Any:
        values = evaluate_all(items, root, variables)
        if _any_null(values):
            return None
        millis = instant_or_none(values["date"])
        if millis is None:
            fail(5166307, f"$dateTrunc requires 'date' to be a date, but got {type_name(values['date'])}")
        unit = _unit("$dateTrunc", values["unit"])
        size = _bin_size(values.get("binSize", 1))
        if unit in _FIXED and size * _FIXED[unit] > INT64_MAX:
            fail(5439002, f"$dateTrunc: the bin of {size} {unit}s is too large")
        if unit not in _FIXED and size > _LARGEST_BIN:
            fail(5439006, f"$dateTrunc: the bin of {size} {unit}s is too large")
        first_day = _start_of_week("$dateTrunc", unit, values)
        return to_date(truncate(millis, unit, size, _zone(values), first_day), "$dateTrunc")

    return scope.fold(evaluate, items.values())


def _bin_size(value: Any) -> int:
    size = integral(value)
    if size is None:
        shown = f"'{display(value)}' of type {type_name(value)}"
        fail(5439017, f"$dateTrunc requires 'binSize' to be a 64-bit integer, but got value {shown}")
    if size <= 0:
        fail(5439018, f"$dateTrunc requires 'binSize' to be greater than 0, but got value {size}")
    return size


def truncate(millis: int, unit: str, size: int = 1, zone: Zone = UTC_ZONE, first_day: int = 7) -> int:
    """The beginning of the bin of ``size`` units that an instant is in; bins are counted from the year 2000."""
    if unit in _FIXED:
        origin = zone.instant(millis_of(2000))
        step = _FIXED[unit] * size
        return origin + (millis - origin) // step * step
    days = zone.local(millis) // DAY
    if unit in _DAYS:
        origin = _SATURDAY_2000
        if unit == "week":
            origin += (first_day - weekday(origin)) % 7
        step = _DAYS[unit] * size
        return zone.instant((origin + (days - origin) // step * step) * DAY)
    year, month, _ = civil(days)
    step = _MONTHS[unit] * size
    months = (year - 2000) * 12 + month - 1
    begin = months // step * step
    return zone.instant(days_of(2000 + begin // 12, begin % 12 + 1, 1) * DAY)
