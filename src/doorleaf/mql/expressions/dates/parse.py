"""Reading dates from text: the usual written forms, or a format of ``%`` specifiers.

Both raise :class:`BadDate`; what is not understood with certainty is refused, never guessed.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from doorleaf.mql.expressions.dates.calendar import (
    DAY,
    HOUR,
    MINUTE,
    Zone,
    days_in_month,
    find_zone,
    iso_days,
    millis_of,
    weekday,
)

MONTHS = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip
_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_MONTH_NUMBERS = {name.lower(): number for number, name in enumerate(MONTHS, 1)}
_MONTH_NUMBERS |= {name[:3]: number for name, number in list(_MONTH_NUMBERS.items())} | {"sept": 9}


class BadDate(Exception):
    """The text is not a date; the message says why."""


class _Found:
    """What the text has given so far."""

    __slots__ = ("clock", "day", "day_of_week", "day_of_year", "iso", "month", "year", "zone")

    def __init__(self) -> None:
        self.year: int | None = None
        self.month: int | None = None
        self.day: int | None = None
        self.day_of_year: int | None = None
        self.iso: dict[str, int] = {}
        self.day_of_week: int | None = None
        self.clock: tuple[int, int, int, int] | None = None
        self.zone: Zone | None = None

    def millis(self, zone: Zone | None, default: Zone) -> int:
        """The instant; ``zone`` is the caller's, which the text must not contradict."""
        if self.zone is not None and zone is not None and not zone.utc:
            raise BadDate("you cannot pass in a date/time string with time zone information together with a timezone")
        hour, minute, second, millisecond = self.clock or (0, 0, 0, 0)
        time = hour * HOUR + minute * MINUTE + second * 1000 + millisecond
        return (self.zone or zone or default).instant(self._days() * DAY + time)

    def _days(self) -> int:
        if self.iso:
            if "year" not in self.iso:
                raise BadDate("an incomplete date/time string has been found, with elements missing")
            return iso_days(self.iso["year"], self.iso.get("week", 1), self.iso.get("day", 1))
        if self.year is not None and self.day_of_year is not None:
            return millis_of(self.year) // DAY + self.day_of_year - 1
        if self.year is None or self.month is None or self.day is None:
            raise BadDate("an incomplete date/time string has been found, with elements missing")
        if not 1 <= self.month <= 12 or not 1 <= self.day <= days_in_month(self.year, self.month):
            raise BadDate("The parsed date was invalid")
        days = millis_of(self.year, self.month, self.day) // DAY
        if self.day_of_week is not None and weekday(days) != self.day_of_week:
            raise BadDate("the day of the week does not belong to the date")
        return days


# --- free text -------------------------------------------------------------------------------------------------------

_MONTH_WORD = f"(?P<name>{'|'.join(sorted(_MONTH_NUMBERS, key=len, reverse=True))})"
_DAY_SUFFIX = r"(?:st|nd|rd|th)?"
_YMD = r"(?P<year>\d{4})(?P<mark>[-/])(?P<month>\d{1,2})(?P=mark)(?P<day>\d{1,2})(?!\d)"
_DATES = [
    r"(?P<isoyear>\d{4})-?W(?P<week>\d{2})(?:-?(?P<weekday>[1-7]))?(?!\d)",
    _YMD,
    r"(?P<month>\d{1,2})/(?P<day>\d{1,2})/(?P<year>\d{4})(?!\d)",
    r"(?P<day>\d{1,2})(?P<mark>[-.])(?P<month>\d{1,2})(?P=mark)(?P<year>\d{4})(?!\d)",
    r"(?P<year>\d{4})(?P<month>\d{2})(?P<day>\d{2})(?!\d)",
    r"(?P<year>\d{4})[-.]?(?P<yearday>\d{3})(?!\d)",
    rf"(?P<year>\d{{4}})-{_MONTH_WORD}-(?P<day>\d{{1,2}})(?!\d)",
    rf"(?P<day>\d{{1,2}}){_DAY_SUFFIX}[ \t.-]*{_MONTH_WORD}[ \t,.-]*(?P<year>\d{{4}})(?![\d:])",
    rf"{_MONTH_WORD}[ \t.-]*(?P<day>\d{{1,2}}){_DAY_SUFFIX}[ \t,.-]+(?P<year>\d{{4}})(?![\d:])",
    rf"{_MONTH_WORD}[ \t.-]*(?P<day>\d{{1,2}}){_DAY_SUFFIX}(?![\d:])",
    rf"(?P<day>\d{{1,2}}){_DAY_SUFFIX}[ \t.-]*{_MONTH_WORD}(?![a-z])",
    rf"{_MONTH_WORD}[ \t.,-]*(?P<year>\d{{4}})(?![\d:])",
    r"(?P<year>\d{4})-(?P<month>\d{2})(?![\d-])",
]
_TIMES = [
    (
        r"T?(?P<hour>\d{1,2}):(?P<minute>\d{2})(?::(?P<second>\d{2})(?:[.,:](?P<fraction>\d+))?)?"
        r"(?:[ \t]*(?P<half>[ap])\.?m\.?(?![a-z]))?(?!\d)"
    ),
    r"T(?P<hour>\d{2})(?P<minute>\d{2})(?:(?P<second>\d{2})(?:[.,](?P<fraction>\d+))?)?(?!\d)",
    r"(?P<hour>\d{1,2})[ \t]*(?P<half>[ap])\.?m\.?(?![a-z])",
]
_ZONE = (
    r"\(?(?:GMT|UTC)?(?P<offset>[+-]\d{1,2}(?::?\d{2})?)\)?(?!\d)"
    r"|\(?(?P<zone>[A-Za-z][A-Za-z_]*(?:/[A-Za-z_+0-9-]+)*)\)?"
)
_WEEKDAY = r"(?P<weekdayname>(?:mon|tues?|wed(?:nes)?|thu(?:rs?)?|fri|sat(?:ur)?|sun)(?:day)?)(?![a-z])[.,]?"
_YEAR = r"(?P<year>\d{4})(?![\d:])"

_PIECES = [
    ("date", [re.compile(pattern, re.I | re.A) for pattern in _DATES]),
    ("time", [re.compile(pattern, re.I | re.A) for pattern in _TIMES]),
    ("weekday", [re.compile(_WEEKDAY, re.I | re.A)]),
    ("year", [re.compile(_YEAR, re.A)]),
    ("zone", [re.compile(_ZONE, re.A)]),
]
_SPACE = re.compile("[ \t\n\r\0\u00a0,]*")
_LONGEST = 200


def parse_free(text: str, zone: Zone | None, default: Zone) -> int:
    """The instant that ``text`` says in one of the usual ways."""
    if not text or len(text) > _LONGEST:
        raise BadDate("Empty string" if not text else "the string is too long for a date")
    found = _Found()
    seen: set[str] = set()
    position = _skip(text, 0)
    while position < len(text):
        kind, match = _next_piece(text, position, seen)
        if kind in seen:
            raise BadDate(f"Double {kind} specification")
        seen.add(kind)
        _TAKERS[kind](found, match.groupdict())
        position = _skip(text, match.end())
    return found.millis(zone, default)


def _skip(text: str, position: int) -> int:
    match = _SPACE.match(text, position)
    return match.end() if match is not None else position


def _next_piece(text: str, position: int, seen: set[str]) -> tuple[str, re.Match[str]]:
    for kind, patterns in _PIECES:
        if kind == "year" and "date" not in seen:
            continue
        for pattern in patterns:
            match = pattern.match(text, position)
            if match is not None:
                return kind, match
    raise BadDate(f"Unexpected character '{text[position]}' at position {position}")


def _take_date(found: _Found, groups: dict[str, Any]) -> None:
    if groups.get("isoyear"):
        found.iso = {"year": int(groups["isoyear"]), "week": int(groups["week"]), "day": int(groups["weekday"] or 1)}
        if not 1 <= found.iso["week"] <= 53:
            raise BadDate("The parsed date was invalid")
        return
    if groups.get("yearday"):
        found.year, found.day_of_year = int(groups["year"]), int(groups["yearday"])
        if not 1 <= found.day_of_year <= 366:
            raise BadDate("The parsed date was invalid")
        return
    found.year = int(groups["year"]) if groups.get("year") else None
    found.month = _MONTH_NUMBERS[groups["name"].lower()] if groups.get("name") else int(groups["month"])
    found.day = int(groups["day"]) if groups.get("day") else 1


def _take_time(found: _Found, groups: dict[str, Any]) -> None:
    hour, minute, second = (int(groups.get(name) or 0) for name in ("hour", "minute", "second"))
    half = groups.get("half")
    if half:
        if not 1 <= hour <= 12:
            raise BadDate("Unexpected hour")
        hour = hour % 12 + (12 if half.lower() == "p" else 0)
    _set_clock(found, hour, minute, second, int(((groups.get("fraction") or "") + "000")[:3]))


def _set_clock(found: _Found, hour: int, minute: int, second: int, millisecond: int) -> None:
    if hour > 24 or minute > 59 or second > 60:
        raise BadDate("The parsed time was invalid")
    found.clock = (hour, minute, second, millisecond)


def _take_weekday(found: _Found, groups: dict[str, Any]) -> None:
    name = groups["weekdayname"].lower()[:3]
    found.day_of_week = [day[:3] for day in _WEEKDAYS].index(name) + 1


def _take_year(found: _Found, groups: dict[str, Any]) -> None:
    if found.year is not None:
        raise BadDate("Double date specification")
    found.year = int(groups["year"])


def _take_zone(found: _Found, groups: dict[str, Any]) -> None:
    name = groups["zone"] or ""
    offset = groups["offset"]
    if offset:
        sign, digits = offset[0], offset[1:].replace(":", "")
        digits = digits.zfill(2) if len(digits) <= 2 else digits.zfill(4)
        found.zone = find_zone(sign + digits)
    else:
        found.zone = find_zone("UTC" if name.upper() in ("Z", "UTC", "GMT") else name)
    if found.zone is None:
        raise BadDate(f"The timezone could not be found in the database: '{name}'")


_TAKERS: dict[str, Callable[[_Found, dict[str, Any]], None]] = {
    "date": _take_date,
    "time": _take_time,
    "weekday": _take_weekday,
    "year": _take_year,
    "zone": _take_zone,
}


# --- by a format -----------------------------------------------------------------------------------------------------

_SPECIFIERS: dict[str, re.Pattern[str]] = {
    "d": re.compile(r"\d{1,2}", re.A),
    "m": re.compile(r"\d{1,2}", re.A),
    "Y": re.compile(r"\d{4}", re.A),
    "G": re.compile(r"\d{4}", re.A),
    "V": re.compile(r"\d{1,2}", re.A),
    "u": re.compile(r"[1-7]"),
    "j": re.compile(r"\d{1,3}", re.A),
    "H": re.compile(r"\d{1,2}", re.A),
    "M": re.compile(r"\d{2}", re.A),
    "S": re.compile(r"\d{2}", re.A),
    "L": re.compile(r"\d{1,3}", re.A),
    "b": re.compile(r"[a-z]{3}", re.I | re.A),
    "B": re.compile(r"[a-z]{3,9}", re.I | re.A),
    "z": re.compile(r"(?:GMT|UTC)?[+-]\d{1,2}(?::?\d{2})?|[A-Za-z][A-Za-z_]*(?:/[A-Za-z_+0-9-]+)*", re.A),
    "Z": re.compile(r"[+-]\d{1,4}", re.A),
}
FORMAT_LETTERS = frozenset(_SPECIFIERS) | {"%"}


def parse_format(text: str, form: str, zone: Zone | None, default: Zone) -> int:
    """The instant that ``text`` says by a checked format."""
    values: dict[str, str] = {}
    position = index = 0
    while index < len(form):
        letter = form[index]
        if letter != "%" or form[index + 1] == "%":
            if text[position : position + 1] != letter:
                raise BadDate(f"Format literal not found: '{letter}'")
            position += 1
            index += 1 if letter != "%" else 2
            continue
        letter = form[index + 1]
        match = _SPECIFIERS[letter].match(text, position)
        if match is None:
            raise BadDate(f"no value found for '%{letter}' at position {position}")
        values[letter] = match.group()
        position = match.end()
        index += 2
    if position < len(text):
        raise BadDate("Trailing data")
    return _assemble(values).millis(zone, default)


def _assemble(values: dict[str, str]) -> _Found:
    found = _Found()
    found.iso = {
        name: int(values[letter]) for name, letter in (("year", "G"), ("week", "V"), ("day", "u")) if letter in values
    }
    found.year = int(values["Y"]) if "Y" in values else None
    found.day = int(values["d"]) if "d" in values else None
    # The server's parser counts days of the year from 0, its printer from 1.
    found.day_of_year = int(values["j"]) + 1 if "j" in values else None
    for letter in "bB":
        if letter in values:
            found.month = _MONTH_NUMBERS.get(values[letter].lower())
            if found.month is None:
                raise BadDate("A textual month could not be found")
    if "m" in values:
        found.month = int(values["m"])
    if any(letter in values for letter in "HMSL"):
        hour, minute, second = (int(values.get(letter, 0)) for letter in "HMS")
        _set_clock(found, hour, minute, second, int((values.get("L", "") + "000")[:3]))
    if "Z" in values:
        found.zone = Zone(int(values["Z"]) * MINUTE)
    elif "z" in values:
        match = re.compile(_ZONE, re.A).match(values["z"])
        if match is not None:
            _take_zone(found, match.groupdict())
    return found
