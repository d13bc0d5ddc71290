"""The calendar: milliseconds since 1970 to and from civil dates of any year, and time zones."""

from __future__ import annotations

import re
import struct
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from bson.objectid import ObjectId
from bson.timestamp import Timestamp

from doorleaf.mql.display import display
from doorleaf.mql.expressions.compile import fail
from doorleaf.mql.numbers import INT64_MAX, INT64_MIN
from doorleaf.mql.values import date_millis, is_date, millis_date, type_name

SECOND, MINUTE, HOUR, DAY = 1_000, 60_000, 3_600_000, 86_400_000

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ZONED_MIN = date_millis(datetime(2, 1, 1))
_ZONED_MAX = date_millis(datetime(9998, 12, 31))
_OFFSET = re.compile(r"([+-])(\d\d)(?::?(\d\d))?", re.ASCII)
_ZONE_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_+-]*(?:/[A-Za-z0-9_+-]+){0,2}", re.ASCII)
_NOT_ZONES = ("localtime", "posixrules", "Factory", "right", "posix")


class Parts(NamedTuple):
    """A civil date and time; month and day from 1."""

    year: int
    month: int
    day: int
    hour: int
    minute: int
    second: int
    millisecond: int


def days_of(year: int, month: int, day: int) -> int:
    """Days since 1970-01-01 of a civil date; month and day may be out of range and carry over."""
    year += (month - 1) // 12
    month = (month - 1) % 12 + 1
    if month <= 2:
        year -= 1
        month += 12
    # Years that begin in March put the leap day last.
    return 365 * year + year // 4 - year // 100 + year // 400 + (153 * month - 457) // 5 + day - 719469


def civil(days: int) -> tuple[int, int, int]:
    """Year, month and day of a number of days since 1970-01-01."""
    days += 719468
    era, day_of_era = divmod(days, 146097)
    year = (day_of_era - day_of_era // 1460 + day_of_era // 36524 - day_of_era // 146096) // 365
    day_of_year = day_of_era - (365 * year + year // 4 - year // 100)
    shifted = (5 * day_of_year + 2) // 153
    month = shifted + 3 if shifted < 10 else shifted - 9
    return year + era * 400 + (month <= 2), month, day_of_year - (153 * shifted + 2) // 5 + 1


def parts_of(local: int) -> Parts:
    """The civil date and time of local milliseconds."""
    days, rest = divmod(local, DAY)
    hour, rest = divmod(rest, HOUR)
    minute, rest = divmod(rest, MINUTE)
    second, millisecond = divmod(rest, SECOND)
    return Parts(*civil(days), hour, minute, second, millisecond)


def millis_of(
    year: int, month: int = 1, day: int = 1, hour: int = 0, minute: int = 0, second: int = 0, millisecond: int = 0
) -> int:
    """Local milliseconds of a civil date and time; every part may be out of range and carries over."""
    days = days_of(year, month, 1) + day - 1
    return days * DAY + hour * HOUR + minute * MINUTE + second * SECOND + millisecond


def days_in_month(year: int, month: int) -> int:
    """The number of days of a month."""
    return days_of(year, month + 1, 1) - days_of(year, month, 1)


def weekday(days: int) -> int:
    """The ISO day of the week, 1 for Monday to 7 for Sunday."""
    return (days + 3) % 7 + 1


def iso_week(days: int) -> tuple[int, int]:
    """The ISO year and week of a day: those of the Thursday of its week."""
    thursday = days - weekday(days) + 4
    year = civil(thursday)[0]
    return year, (thursday - days_of(year, 1, 1)) // 7 + 1


def iso_days(year: int, week: int, day: int) -> int:
    """Days since 1970 of an ISO year, week and day of the week, which may carry over."""
    fourth = days_of(year, 1, 4)
    return fourth - weekday(fourth) + (week - 1) * 7 + day


# --- time zones ------------------------------------------------------------------------------------------------------


class Zone:
    """A time zone: a fixed offset in milliseconds, or rules by name."""

    __slots__ = ("_fixed", "_rules", "utc")

    def __init__(self, fixed: int = 0, rules: ZoneInfo | None = None) -> None:
        self._fixed = fixed
        self._rules = rules
        self.utc = rules is None and fixed == 0

    def offset(self, millis: int) -> int:
        """Milliseconds to add to ``millis`` (UTC) to have local time."""
        if self._rules is None:
            return self._fixed
        instant = _EPOCH + timedelta(milliseconds=min(max(millis, _ZONED_MIN), _ZONED_MAX))
        shift = instant.astimezone(self._rules).utcoffset()
        return round(shift.total_seconds()) * SECOND if shift is not None else 0

    def local(self, millis: int) -> int:
        """Local milliseconds of an instant."""
        return millis + self.offset(millis)

    def instant(self, local: int) -> int:
        """The instant of local milliseconds: the earlier of two, and as before the change in a gap."""
        if self._rules is None:
            return local - self._fixed
        naive = _EPOCH + timedelta(milliseconds=min(max(local, _ZONED_MIN), _ZONED_MAX))
        shift = naive.replace(tzinfo=self._rules).utcoffset()
        return local - (round(shift.total_seconds()) * SECOND if shift is not None else 0)


UTC_ZONE = Zone()
_LONGEST_ZONE = 64
"""Characters of a name that is looked up and remembered."""


def find_zone(name: str) -> Zone | None:
    """The time zone of an Olson name or an offset (``+hh``, ``+hhmm``, ``+hh:mm``), None when there is none."""
    return _known_zone(name) if len(name) <= _LONGEST_ZONE else None


@lru_cache(maxsize=1024)
def _known_zone(name: str) -> Zone | None:
    offset = _OFFSET.fullmatch(name)
    if offset is not None:
        sign, hours, minutes = offset.groups()
        size = int(hours) * HOUR + int(minutes or 0) * MINUTE
        return Zone(-size if sign == "-" else size)
    if name in ("UTC", "GMT"):
        return UTC_ZONE
    if not _ZONE_NAME.fullmatch(name) or name.split("/")[0] in _NOT_ZONES:
        return None
    try:
        return Zone(rules=ZoneInfo(name))
    except (KeyError, ValueError, OSError):
        return None


def zone_of(value: Any) -> Zone:
    """The time zone that an operand names."""
    if type_name(value) != "string":
        fail(40517, f"timezone must evaluate to a string, found {type_name(value)}")
    zone = find_zone(value)
    if zone is None:
        fail(40485, f'unrecognized time zone identifier: "{value}"')
    return zone


# --- values ----------------------------------------------------------------------------------------------------------


def instant_or_none(value: Any) -> int | None:
    """Milliseconds of a date, timestamp or ObjectId, else None."""
    if is_date(value):
        return date_millis(value)
    if isinstance(value, Timestamp):
        return value.time * SECOND
    if isinstance(value, ObjectId):
        seconds: int = struct.unpack(">i", value.binary[:4])[0]
        return seconds * SECOND
    return None


def instant(value: Any) -> int:
    """Milliseconds of a date, timestamp or ObjectId; code 16006 for anything else."""
    millis = instant_or_none(value)
    if millis is None:
        fail(16006, f"can't convert from BSON type {type_name(value)} to Date")
    return millis


def to_date(millis: int, operator: str = "date") -> Any:
    """The date of ``millis``, which must fit 64 bits."""
    if not INT64_MIN <= millis <= INT64_MAX:
        fail(15, f"{operator} overflowed: {display(str(millis))} is not a date")
    return millis_date(millis)
