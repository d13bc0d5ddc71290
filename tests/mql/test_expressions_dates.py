"""Dates: parts, arithmetic over clock changes, truncation, formats and parsing."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
from bson import DatetimeMS, Int64, ObjectId, Timestamp
from expression_checks import ErrorRow, Row, assert_error, assert_row

DAY: dict[str, Any] = {"d": datetime(2024, 2, 29, 13, 4, 5, 678_000)}
NEW_YEAR = {"d": datetime(2021, 1, 1)}
FAR = {"d": DatetimeMS(253402300800000 + 86_400_000)}
NY = "America/New_York"
D = "$d"


def parts(**arguments: Any) -> dict[str, Any]:
    return {"$dateFromParts": arguments}


def read(text: Any, **arguments: Any) -> dict[str, Any]:
    return {"$dateFromString": {"dateString": text, **arguments}}


def text(form: str | None = None, **arguments: Any) -> dict[str, Any]:
    return {"$dateToString": {"date": D, **({} if form is None else {"format": form}), **arguments}}


def add(unit: str, amount: Any, **arguments: Any) -> dict[str, Any]:
    return {"$dateAdd": {"startDate": D, "unit": unit, "amount": amount, **arguments}}


def diff(unit: str, end: datetime, **arguments: Any) -> dict[str, Any]:
    return {"$dateDiff": {"startDate": D, "endDate": end, "unit": unit, **arguments}}


def trunc(unit: str, **arguments: Any) -> dict[str, Any]:
    return {"$dateTrunc": {"date": D, "unit": unit, **arguments}}


ROWS: list[Row] = [
    (DAY, {"$year": D}, 2024),
    (DAY, {"$month": D}, 2),
    (DAY, {"$dayOfMonth": D}, 29),
    (DAY, {"$dayOfYear": D}, 60),
    (DAY, {"$dayOfWeek": D}, 5),
    (DAY, {"$isoDayOfWeek": D}, 4),
    (DAY, {"$hour": D}, 13),
    (DAY, {"$minute": D}, 4),
    (DAY, {"$second": D}, 5),
    (DAY, {"$millisecond": D}, 678),
    (DAY, {"$week": D}, 8),
    (DAY, {"$isoWeek": D}, 9),
    (DAY, {"$isoWeekYear": D}, Int64(2024)),
    (NEW_YEAR, {"$isoWeek": D}, 53),
    (NEW_YEAR, {"$isoWeekYear": D}, Int64(2020)),
    (NEW_YEAR, {"$week": D}, 0),
    (NEW_YEAR, {"$year": {"date": D, "timezone": NY}}, 2020),
    (DAY, {"$hour": {"date": D, "timezone": "+05:30"}}, 18),
    (DAY, {"$minute": {"date": D, "timezone": "-0315"}}, 49),
    (DAY, {"$hour": {"date": D, "timezone": "Europe/Oslo"}}, 14),
    (DAY, {"$hour": [D]}, 13),
    (DAY, {"$year": {"date": D, "timezone": None}}, None),
    ({}, {"$year": None}, None),
    ({"t": Timestamp(86400, 1)}, {"$dayOfMonth": "$t"}, 2),
    ({"o": ObjectId("65a000000000000000000000")}, {"$year": "$o"}, 2024),
    ({"d": datetime(1969, 12, 31, 23, 59, 59, 999_000)}, {"$millisecond": D}, 999),
    (FAR, {"$year": D}, 10000),
    (FAR, {"$dayOfYear": D}, 2),
    (
        DAY,
        {"$dateToParts": {"date": D}},
        {"year": 2024, "month": 2, "day": 29, "hour": 13, "minute": 4, "second": 5, "millisecond": 678},
    ),
    (
        NEW_YEAR,
        {"$dateToParts": {"date": D, "iso8601": True}},
        {"isoWeekYear": 2020, "isoWeek": 53, "isoDayOfWeek": 5, "hour": 0, "minute": 0, "second": 0, "millisecond": 0},
    ),
    ({}, {"$dateToParts": {"date": None}}, None),
    ({}, parts(year=2024, month=2, day=29, hour=12), datetime(2024, 2, 29, 12)),
    ({}, parts(year=2024), datetime(2024, 1, 1)),
    ({}, parts(year=2024, month=14, day=0), datetime(2025, 1, 31)),
    ({}, parts(year=2024, month=-1, hour=-1), datetime(2023, 10, 31, 23)),
    ({}, parts(year=2024, month=7, timezone=NY), datetime(2024, 7, 1, 4)),
    ({}, parts(isoWeekYear=2020, isoWeek=53, isoDayOfWeek=5), datetime(2021, 1, 1)),
    ({}, parts(year=2024, second=90061), datetime(2024, 1, 2, 1, 1, 1)),
    ({}, parts(year=2024, month=None), None),
    ({"y": 2024.0}, parts(year="$y"), datetime(2024, 1, 1)),
    (DAY, add("day", 1), datetime(2024, 3, 1, 13, 4, 5, 678_000)),
    (DAY, add("year", 1), datetime(2025, 2, 28, 13, 4, 5, 678_000)),
    (DAY, add("month", Int64(-1)), datetime(2024, 1, 29, 13, 4, 5, 678_000)),
    (DAY, add("quarter", 1), datetime(2024, 5, 29, 13, 4, 5, 678_000)),
    (DAY, add("week", 1.0), datetime(2024, 3, 7, 13, 4, 5, 678_000)),
    (DAY, add("hour", 24), datetime(2024, 3, 1, 13, 4, 5, 678_000)),
    (DAY, add("millisecond", 2), datetime(2024, 2, 29, 13, 4, 5, 680_000)),
    ({"d": datetime(2024, 3, 9, 12)}, add("day", 1, timezone=NY), datetime(2024, 3, 10, 11)),
    ({"d": datetime(2024, 3, 9, 12)}, add("hour", 24, timezone=NY), datetime(2024, 3, 10, 12)),
    ({"d": datetime(2024, 1, 31)}, add("month", 1), datetime(2024, 2, 29)),
    (DAY, add("day", None), None),
    (
        DAY,
        {"$dateSubtract": {"startDate": D, "unit": "month", "amount": 12}},
        datetime(2023, 2, 28, 13, 4, 5, 678_000),
    ),
    (NEW_YEAR, diff("year", datetime(2020, 12, 31)), Int64(-1)),
    (NEW_YEAR, diff("month", datetime(2022, 3, 1)), Int64(14)),
    (NEW_YEAR, diff("quarter", datetime(2021, 3, 31)), Int64(0)),
    (NEW_YEAR, diff("day", datetime(2021, 1, 1, 23)), Int64(0)),
    (NEW_YEAR, diff("day", datetime(2021, 1, 2)), Int64(1)),
    (NEW_YEAR, diff("week", datetime(2021, 1, 3)), Int64(1)),
    (NEW_YEAR, diff("week", datetime(2021, 1, 3), startOfWeek="monday"), Int64(0)),
    (NEW_YEAR, diff("week", datetime(2021, 1, 4), startOfWeek="Mon"), Int64(1)),
    (NEW_YEAR, diff("hour", datetime(2021, 1, 1, 1, 59)), Int64(1)),
    (NEW_YEAR, diff("second", datetime(2021, 1, 1, 0, 1)), Int64(60)),
    (NEW_YEAR, diff("day", datetime(2021, 1, 1, 6), timezone=NY), Int64(1)),
    ({"d": datetime(2024, 3, 10, 5)}, diff("hour", datetime(2024, 3, 11, 4), timezone=NY), Int64(23)),
    (DAY, trunc("year"), datetime(2024, 1, 1)),
    (DAY, trunc("quarter"), datetime(2024, 1, 1)),
    (DAY, trunc("month"), datetime(2024, 2, 1)),
    (DAY, trunc("week"), datetime(2024, 2, 25)),
    (DAY, trunc("week", startOfWeek="monday"), datetime(2024, 2, 26)),
    (DAY, trunc("day"), datetime(2024, 2, 29)),
    (DAY, trunc("day", timezone=NY), datetime(2024, 2, 29, 5)),
    (DAY, trunc("hour", binSize=6), datetime(2024, 2, 29, 12)),
    (DAY, trunc("minute", binSize=15), datetime(2024, 2, 29, 13)),
    (DAY, trunc("second"), datetime(2024, 2, 29, 13, 4, 5)),
    (DAY, trunc("year", binSize=10), datetime(2020, 1, 1)),
    ({"d": datetime(1999, 5, 1)}, trunc("year", binSize=10), datetime(1990, 1, 1)),
    (
        {"d": datetime(2020, 5, 18, 14, 10, 30)},
        trunc("week", binSize=2, timezone="America/Los_Angeles", startOfWeek="Monday"),
        datetime(2020, 5, 11, 7),
    ),
    ({"d": None}, trunc("day"), None),
    (DAY, text(), "2024-02-29T13:04:05.678Z"),
    (DAY, text(timezone=NY), "2024-02-29T08:04:05.678"),
    (DAY, text("%Y-%m-%d %H:%M:%S.%L"), "2024-02-29 13:04:05.678"),
    (DAY, text("%d %b %B %j %w %u"), "29 Feb February 060 5 4"),
    (DAY, text("%G-W%V-%u week %U"), "2024-W09-4 week 08"),
    (DAY, text("%z %Z", timezone="+05:30"), "+0530 330"),
    (DAY, text("%z %Z", timezone=NY), "-0500 -300"),
    (DAY, text("100%% %Y%%"), "100% 2024%"),
    (DAY, text(""), ""),
    ({"d": None}, text("%Y", onNull="none"), "none"),
    ({"d": None}, text("%Y"), None),
    ({}, read("2017-02-08T12:10:40.787Z"), datetime(2017, 2, 8, 12, 10, 40, 787_000)),
    ({}, read("2017-02-08"), datetime(2017, 2, 8)),
    ({}, read("2017-02-08 12:10"), datetime(2017, 2, 8, 12, 10)),
    ({}, read("20170208T121040"), datetime(2017, 2, 8, 12, 10, 40)),
    ({}, read("02/08/2017"), datetime(2017, 2, 8)),
    ({}, read("8 February 2017 3:05 pm"), datetime(2017, 2, 8, 15, 5)),
    ({}, read("Feb 8, 2017"), datetime(2017, 2, 8)),
    ({}, read("Wed Jan 31 12:05:28 +03:30 1996"), datetime(1996, 1, 31, 8, 35, 28)),
    ({}, read("2017-02-08T12:10:40+05:30"), datetime(2017, 2, 8, 6, 40, 40)),
    ({}, read("2017-07-08T12:10:40", timezone=NY), datetime(2017, 7, 8, 16, 10, 40)),
    ({}, read("2017-07-08T12:10:40 America/New_York"), datetime(2017, 7, 8, 16, 10, 40)),
    ({}, read("2017-W06-3"), datetime(2017, 2, 8)),
    ({}, read("06-15-2018", format="%m-%d-%Y"), datetime(2018, 6, 15)),
    ({}, read("2024-W24-6", format="%G-W%V-%u"), datetime(2024, 6, 15)),
    ({}, read("jan 5 2020 10", format="%b %d %Y %H"), datetime(2020, 1, 5, 10)),
    ({}, read("2024-06-15 +0530", format="%Y-%m-%d %z"), datetime(2024, 6, 14, 18, 30)),
    ({}, read("bad", onError="oops"), "oops"),
    ({}, read(5, onError=None), None),
    ({}, read(None, onNull="none"), "none"),
    ({}, read(None), None),
]

ERRORS: list[ErrorRow] = [
    ({}, {"$year": "2024-01-01"}, 16006, "can't convert from BSON type string to Date"),
    (
        DAY,
        {"$year": {"date": D, "timezone": "Mars/Olympus"}},
        40485,
        'unrecognized time zone identifier: "Mars/Olympus"',
    ),
    (DAY, {"$year": {"date": D, "timezone": "../../etc/passwd"}}, 40485, "unrecognized time zone"),
    (DAY, {"$year": {"date": D, "timezone": 5}}, 40517, "found int"),
    (DAY, {"$year": {"date": D, "x": 1}}, 40535, 'unrecognized option to $year: "x"'),
    ({}, {"$year": {}}, 40539, "missing 'date' argument to $year"),
    ({}, {"$year": [1, 2]}, 40536, "$year accepts exactly one argument if given an array, but was given 2"),
    ({}, {"$dateToParts": 5}, 40524, "only supports an object"),
    ({}, {"$dateToParts": {}}, 40522, "Missing 'date'"),
    (DAY, {"$dateToParts": {"date": D, "iso8601": 1}}, 40521, "iso8601 must evaluate to a bool, found int"),
    ({}, parts(month=1), 40516, "requires either 'year' or 'isoWeekYear'"),
    ({}, parts(year=2024, isoWeek=1), 40489, "mixing natural dates with ISO dates"),
    ({}, parts(isoWeekYear=2024, month=1), 40525, "mixing ISO dates with natural dates"),
    ({}, parts(year="x"), 40515, "'year' must evaluate to an integer, found string"),
    ({}, parts(year=0), 40523, "in the range 1 to 9999, found 0"),
    ({}, parts(year=2024, month=40000), 31034, "range [-32768, 32767]"),
    ({}, parts(year=2024, x=1), 40518, "Unrecognized argument to $dateFromParts: x"),
    (DAY, add("fortnight", 1), 9, "fortnight"),
    (DAY, add("day", 1.5), 5166405, "$dateAdd expects integer amount of time units"),
    ({"d": "x"}, add("day", 1), 5166403, "$dateAdd requires startDate to be convertible to a date"),
    ({}, {"$dateAdd": {"startDate": 1, "unit": "day"}}, 5166402, "requires startDate, unit, and amount"),
    ({}, {"$dateAdd": 5}, 5166400, "expects an object"),
    (DAY, add("day", 1, x=1), 5166401, "Unrecognized argument to $dateAdd: x"),
    (DAY, add("year", Int64(2**62)), 5976500, "amount"),
    (DAY, add(5, 1), 5439013, "'unit' to be a string, but got int"),  # type: ignore[arg-type]
    ({"d": 1}, diff("day", datetime(2024, 1, 1)), 5166307, "'startDate' to be a date, but got int"),
    (DAY, diff("days", datetime(2024, 1, 1)), 9, "days"),
    (DAY, diff("week", datetime(2024, 1, 1), startOfWeek="noday"), 5439016, "noday"),
    (DAY, trunc("day", binSize=0), 5439018, "greater than 0, but got value 0"),
    (DAY, trunc("day", binSize=1.5), 5439017, "64-bit integer"),
    (DAY, trunc("hour", binSize=Int64(2**62)), 5439002, "too large"),
    ({"d": 5}, trunc("day"), 5166307, "'date' to be a date, but got int"),
    (DAY, text("%Q"), 18536, "Invalid format character '%Q' in format string"),
    (DAY, text("%"), 18535, "Unmatched '%' at end of format string"),
    (DAY, {"$dateToString": {"date": D, "format": 5}}, 18533, "'format' be a string, found: int"),
    ({}, {"$dateToString": {}}, 18628, "Missing 'date'"),
    (FAR, text("%Y"), 18537, "outside the supported range of 0-9999: 10000"),
    ({}, read("not-a-date"), 241, "Error parsing date string 'not-a-date'"),
    ({}, read("2017-02-30"), 241, "invalid"),
    ({}, read("12:30"), 241, "incomplete"),
    ({}, read(5), 241, "'dateString' be a string, found: int"),
    ({}, read("2017-02-08T12:10+05:00", timezone=NY), 241, "time zone"),
    ({}, read("2017", format="%Q"), 18536, "%Q"),
    ({}, read("x", format=5), 40684, "'format' be a string, found: int"),
    ({}, {"$dateFromString": {}}, 40542, "Missing 'dateString'"),
]


@pytest.mark.parametrize("row", ROWS, ids=repr)
def test_value(row: Row) -> None:
    assert_row(row)


@pytest.mark.parametrize("row", ERRORS, ids=repr)
def test_error(row: ErrorRow) -> None:
    assert_error(row)


@pytest.mark.parametrize("millis", [0, -1, 951782400000, -62135596800000, 253402300799999, 2**53, -(2**55)])
def test_parts_and_back(millis: int) -> None:
    document = {"d": DatetimeMS(millis)}
    same_day = {"$dateDiff": {"startDate": {"$dateTrunc": {"date": D, "unit": "day"}}, "endDate": D, "unit": "day"}}
    assert_row((document, same_day, Int64(0)))
    assert_row((document, {"$add": [D, 0]}, DatetimeMS(millis)))
    since = {"$subtract": [D, {"$dateTrunc": {"date": D, "unit": "day"}}]}
    assert_row((document, since, Int64(millis % 86_400_000)))
