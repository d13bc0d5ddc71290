"""When a scheduled trigger is due: CRON expressions, in UTC, as MongoDB's manual of App Services describes them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from cronsim import CronSim, CronSimError

LONGEST = 200
"""Characters of an expression."""


def now() -> datetime:
    """This moment, as the naive UTC date that documents hold."""
    return datetime.now(UTC).replace(tzinfo=None)


def check_schedule(schedule: str) -> None:
    """Raise ValueError for what is no CRON expression of five fields, or for one that never comes."""
    if len(schedule) > LONGEST or len(schedule.split()) != 5:
        raise ValueError("config.schedule: expected a CRON expression of five fields, such as '0 7 * * *'")
    try:
        next(CronSim(schedule, now()))
    except CronSimError as error:
        raise ValueError(f"config.schedule: {schedule!r}: {str(error)[:1].lower()}{str(error)[1:]}") from None
    except StopIteration:
        raise ValueError(f"config.schedule: {schedule!r}: never comes") from None


def next_time(schedule: str, after: datetime) -> datetime:
    """The first moment of ``schedule`` after ``after``."""
    return next(CronSim(schedule, after))


def last_time(schedule: str, until: datetime) -> datetime:
    """The last moment of ``schedule`` that is not after ``until``."""
    return next(CronSim(schedule, until.replace(microsecond=0) + timedelta(seconds=1), reverse=True))
