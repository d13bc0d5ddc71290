"""Rate limits and concurrency: how often and how much at once a caller may ask.

Rates are written ``"20/second;5000/hour"``: a burst and a sustained rate. A window begins with its first request and
counts until it ends. Counts live in this process, or in Redis for all processes together when a URL is given.
"""

from __future__ import annotations

import asyncio
import logging
import math
import re
import time
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from doorleaf.access.addresses import Network, neighbourhood, networks
from doorleaf.documents import is_string
from doorleaf.errors import TooManyRequests
from doorleaf.settings.checks import check_quotas, check_rate

if TYPE_CHECKING:
    from doorleaf.access.limits.shared import Shared

Subject = Literal["key", "user", "address", "data_source", "login"]

SWEEP_ABOVE = 10_000
"""Counted windows above which those that ended are dropped, so that strangers cannot fill the memory for good."""
REDIS_PATIENCE = 0.5
REDIS_PAUSE = 5.0
"""Seconds to wait for Redis, and to do without it once it did not answer."""

log = logging.getLogger("doorleaf.access")

T = TypeVar("T")

_PART = re.compile(r"(\d+) ?/ ?(?:(\d+) ?)?(second|minute|hour|day)s?")
_UNITS = {"second": 1, "minute": 60, "hour": 3_600, "day": 86_400}


@dataclass(frozen=True, slots=True)
class Rate:
    """At most ``amount`` requests in a window of ``seconds``, written ``text``."""

    text: str
    amount: int
    seconds: int


@dataclass(frozen=True, slots=True)
class KeyLimits:
    """The limits in one key's document; None is the general setting, no ``addresses`` is nobody."""

    addresses: tuple[Network, ...] | None = None
    rate: str | None = None
    quotas: Mapping[str, int] | None = None


def key_limits(document: Mapping[str, Any]) -> KeyLimits | None:
    """The fields ``addresses``, ``rate`` and ``quotas`` of a key's document, or None when it has none of them.

    Raises ValueError that says what is wrong with them.
    """
    addresses, rate, quotas = (document.get(name) for name in ("addresses", "rate", "quotas"))
    if addresses is None and rate is None and quotas is None:
        return None
    if addresses is not None and not (isinstance(addresses, list) and all(is_string(it) for it in addresses)):
        raise ValueError("addresses: expected an array of strings")
    if rate is not None and not is_string(rate):
        raise ValueError("rate: expected a string")
    if quotas is not None:
        if not isinstance(quotas, dict):
            raise ValueError("quotas: expected an object")
        _named("quotas", check_quotas, quotas)
    return KeyLimits(
        None if addresses is None else _named("addresses", networks, addresses),
        None if rate is None else _named("rate", check_rate, rate),
        quotas,
    )


def _named(name: str, read: Callable[[Any], T], value: Any) -> T:
    """What ``read`` makes of ``value``; its ValueError gets the name of the field."""
    try:
        return read(value)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


@lru_cache(maxsize=1024)
def rates(text: str) -> tuple[Rate, ...]:
    """The rates that ``text`` names; raises ValueError for text that is none."""
    return tuple(_rate(part.strip()) for part in check_rate(text).split(";"))


def _rate(text: str) -> Rate:
    found = _PART.fullmatch(text)
    assert found is not None, text  # noqa: S101  # check_rate has let it through
    amount, times, unit = found.groups()
    return Rate(text, int(amount), int(times or 1) * _UNITS[unit])


class RateLimits:
    """Counts requests against ``rates_by_subject``; a subject without a rate is not limited.

    ``clock`` gives seconds, and is never put back; Redis has a clock of its own.
    """

    def __init__(
        self,
        rates_by_subject: Mapping[str, str],
        *,
        redis_url: str | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._rates = {subject: rates(text) for subject, text in rates_by_subject.items() if text}
        self._clock = clock
        self._local = Windows(clock)
        self._shared = None if redis_url is None else _shared(redis_url)
        self._without_redis_until = 0.0

    def limits(self, *subjects: Subject) -> bool:
        """Whether any of ``subjects`` has a rate."""
        return any(subject in self._rates for subject in subjects)

    async def admit(self, subject: Subject, name: str, own: str | None = None) -> None:
        """Count a request of ``name``; raises :class:`TooManyRequests` when a rate is used up.

        ``own`` is a rate of its own, which replaces the general one.
        """
        for rate in rates(own) if own else self._rates.get(subject, ()):
            if (wait := await self._used_up("hit", rate, subject, name)) is not None:
                raise _refusal(rate, subject, wait)

    async def require(self, subject: Subject, name: str) -> None:
        """Raise :class:`TooManyRequests` when a rate is used up, and count nothing."""
        for rate in self._rates.get(subject, ()):
            if (wait := await self._used_up("test", rate, subject, name)) is not None:
                raise _refusal(rate, subject, wait)

    async def _used_up(self, act: Literal["hit", "test"], rate: Rate, subject: str, name: str) -> float | None:
        """The seconds until the window ends, if it is used up. Without Redis this process counts for itself."""
        if self._shared is not None and time.monotonic() >= self._without_redis_until:
            try:
                async with asyncio.timeout(REDIS_PATIENCE):
                    return await self._shared.used_up(act, rate.text, subject, name)
            except Exception as error:
                # The library's own errors, the client's, and the socket's: which, depends on when it broke.
                self._without_redis_until = time.monotonic() + REDIS_PAUSE
                log.error("Redis does not answer (%s); this process counts rates by itself", type(error).__name__)
        window = (subject, name, rate.amount, rate.seconds)
        local = self._local
        count = local.count(window, rate.seconds) if act == "hit" else local.counted(window) + 1
        return local.ends(window) - self._clock() if count > rate.amount else None

    async def close(self) -> None:
        """Let go of Redis."""
        if self._shared is not None:
            await self._shared.close()


def _refusal(rate: Rate, subject: str, seconds: float) -> TooManyRequests:
    wait = min(max(1, math.ceil(seconds)), rate.seconds)
    return TooManyRequests(
        f"too many requests: the limit is {rate.amount} in {rate.seconds} s; try again in {wait} s",
        headers={
            "Retry-After": str(wait),
            "RateLimit-Policy": f'"{subject}";q={rate.amount};w={rate.seconds}',
            "RateLimit": f'"{subject}";r=0;t={wait}',
        },
    )


def account(name: str) -> str:
    """The name of an account in counters: of one length, and no address that Redis would keep."""
    return blake2b(name.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def _shared(url: str) -> Shared:
    if find_spec("redis") is None or find_spec("limits") is None:
        raise ValueError(
            "redis_url: needs the packages redis and limits, in the environment of Doorleaf: install doorleaf[redis],"
            " or pip install 'limits[redis]>=5.6,<6'"
        )
    from doorleaf.access.limits.shared import Shared  # megabytes that no server without a Redis needs

    return Shared(url, REDIS_PATIENCE)


class Windows:
    """Counters in memory. A window begins with its first request, and counts until it ends, by ``clock``."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._windows: dict[Hashable, tuple[int, float]] = {}
        self._sweep_above = SWEEP_ABOVE

    def count(self, window: Hashable, seconds: float) -> int:
        """Count a request in ``window``, which lasts ``seconds``, and answer how many those are."""
        now = self._clock()
        count, end = self._windows.get(window, (0, 0.0))
        if end <= now:
            count, end = 0, now + seconds
            if len(self._windows) > self._sweep_above:
                self._windows = {name: known for name, known in self._windows.items() if known[1] > now}
                # What is left is alive; looking at all of it again soon would be slow and in vain.
                self._sweep_above = max(SWEEP_ABOVE, 2 * len(self._windows))
        self._windows[window] = (count + 1, end)
        return count + 1

    def counted(self, window: Hashable) -> int:
        """How many requests ``window`` has; none when it has ended."""
        count, end = self._windows.get(window, (0, 0.0))
        return count if end > self._clock() else 0

    def ends(self, window: Hashable) -> float:
        """The end of ``window`` by the clock; now where there is none."""
        return self._windows.get(window, (0, self._clock()))[1]


class Concurrency:
    """At most ``most`` requests of one caller at once in this process; 0 is no bound. ``what`` they are is told."""

    def __init__(self, most: int, what: str = "requests") -> None:
        self._most = most
        self._what = what
        self._running: dict[str, int] = {}
        self.bounds = most > 0

    def enter(self, caller: str) -> None:
        """Begin a request; raises :class:`TooManyRequests` above the bound."""
        if not self.bounds:
            return
        running = self._running.get(caller, 0)
        if running >= self._most:
            raise TooManyRequests(
                f"too many {self._what} at once: the limit is {self._most}", headers={"Retry-After": "1"}
            )
        self._running[caller] = running + 1

    def leave(self, caller: str) -> None:
        """End a request that was begun."""
        running = self._running.get(caller, 0) - 1
        if running > 0:
            self._running[caller] = running
        else:
            self._running.pop(caller, None)


class Streams:
    """At most ``most`` streams at once in this process; of these one caller may have a quarter, one address half.

    Who has not said who they are may have a quarter together, and an eighth from one address. Without shares one who
    opens what there is would leave the others nothing.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._open = 0
        self._callers = Concurrency(max(1, most // 4), "streams of one caller")
        self._addresses = Concurrency(max(1, most // 2), "streams from one address")
        self._strangers = Concurrency(max(1, most // 4), "streams of callers who have not said who they are")
        self._nearby = Concurrency(max(1, most // 8), "streams of such callers from one address")

    @property
    def open(self) -> int:
        """How many there are."""
        return self._open

    def enter(self, caller: str, address: str) -> Callable[[], None]:
        """Begin a stream; answers what ends it, once. Raises :class:`TooManyRequests` above the bound or a share.

        ``caller`` is "" for somebody who has not said who they are.
        """
        if self._open >= self._most:
            raise TooManyRequests(
                f"too many streams at once: the limit of this process is {self._most}", headers={"Retry-After": "10"}
            )
        where = neighbourhood(address)
        own = ((self._callers, caller),) if caller else ((self._strangers, ""), (self._nearby, where))
        taken: list[tuple[Concurrency, str]] = []
        try:
            for share, name in (*own, (self._addresses, where)):
                share.enter(name)
                taken.append((share, name))
        except TooManyRequests:
            for share, name in taken:
                share.leave(name)
            raise
        self._open += 1

        def leave() -> None:
            if taken:
                self._open -= 1
            while taken:
                share, name = taken.pop()
                share.leave(name)

        return leave
