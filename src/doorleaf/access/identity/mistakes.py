"""Wrong credentials, counted by address, so that nobody tries them out without end.

Only what is wrong counts. What is right is let in whatever others at the address do: a key always, a password from a
place that is known to :mod:`doorleaf.access.identity.lockout`.
"""

from __future__ import annotations

from typing import Literal

from doorleaf.access.addresses import neighbourhood
from doorleaf.access.limits.rates import RateLimits

Kind = Literal["password", "key"]
"""What is counted apart: a program with an old key must not refuse people their logins."""


class Mistakes:
    """Counts by the rate of logins in ``rates``; without one nothing is limited."""

    def __init__(self, rates: RateLimits) -> None:
        self._rates = rates

    async def require(self, kind: Kind, address: str) -> None:
        """Raise TooManyRequests when the rate is used up; counts nothing."""
        await self._rates.require("login", _place(kind, address))

    async def refuse(self, kind: Kind, address: str) -> None:
        """Count a mistake; raises TooManyRequests when there were too many."""
        await self._rates.admit("login", _place(kind, address))


def _place(kind: Kind, address: str) -> str:
    where = neighbourhood(address)
    return where if kind == "password" else f"{kind} {where}"


NO_MISTAKES = Mistakes(RateLimits({}))
