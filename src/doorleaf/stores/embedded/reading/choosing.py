"""Choosing between plans by reading a little of each: the one that ends first is the one that reads least.

The keys of the plans are read in turns, so that what the others cost is in proportion to the best. Where only the first
matches are wanted, a plan that gives them in order reads documents meanwhile: it may have them all before another one
has as much as counted its candidates.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

from doorleaf.documents import Document
from doorleaf.mql.context import Context
from doorleaf.stores.embedded.file.storage import Session
from doorleaf.stores.embedded.reading.budget import Budget, Postponed
from doorleaf.stores.embedded.reading.plans import Plan
from doorleaf.stores.embedded.reading.scan import Row, Scan

GROWTH = 1.15
"""How many more keys in all each plan may read with each further turn; the first is of one."""

MOST_KEYS = 2_000_000
"""Keys that may be held; where no plan has fewer, the one that looks best is taken."""

MOST_INLINE_KEYS = 400
"""Keys that may be read on the event loop to choose."""

WALKED = 0.7
"""Documents that are looked at in order for each key that is counted."""

MOST_WALKED = 10_000
"""First matches that a plan may look for while others are counted."""

Match = tuple[Row, Document | None]
Walking = Iterator[Match | None]
"""Matches in their order, and None for each document looked at."""


@dataclass(slots=True)
class Choice:
    """The ``plan`` to carry out, with the rows of its candidates where they were read; or already the ``matches``.

    ``keys`` and ``examined`` are what choosing has read, ``counted`` the keys of each plan, all or those read so far.
    """

    plan: Plan
    rows: array[int] | None = None
    matches: list[Match] | None = None
    keys: int = 0
    examined: int = 0
    counted: list[tuple[Plan, int]] = field(default_factory=list)


class _Runner:
    """One plan whose keys are read, a few at a time."""

    def __init__(self, session: Session, plan: Plan, context: Context) -> None:
        self.plan = plan
        self.rows = array("q")
        self.ended = False
        self._ids = Scan(session, plan, context).ids()

    def read(self, most: int) -> None:
        """Read on to ``most`` keys in all."""
        wanted = most - len(self.rows)
        before = len(self.rows)
        self.rows.extend(islice(self._ids, wanted))
        self.ended = len(self.rows) - before < wanted


class _Walker:
    """One plan that looks for the first ``need`` matches."""

    def __init__(self, scan: Scan, walking: Walking, need: int) -> None:
        self.scan = scan
        self.found: list[Match] = []
        self.ended = False
        self._walking = walking
        self._need = need

    def walk(self, most: int) -> None:
        """Look at documents up to ``most`` in all."""
        while self.scan.examined < most and not self.ended:
            step = next(self._walking, self)
            if step is self:
                self.ended = True
            elif step is not None:
                self.found.append(step)  # type: ignore[arg-type]
                self.ended = len(self.found) == self._need


def choose(
    session: Session,
    plans: Sequence[Plan],
    context: Context,
    walker: tuple[Scan, Walking, int] | None,
    budget: Budget | None,
) -> Choice:
    """Read of each plan in turns until one has ended; ``walker`` looks for the first matches, with its own budget."""
    runners = [_Runner(session, plan, context) for plan in plans]
    walking = _Walker(*walker) if walker is not None else None
    turn = 1.0
    while True:
        context.check_now()
        for runner in runners:
            if walking is not None:
                walking.walk(int(WALKED * len(runner.rows)))
                if walking.ended:
                    return _made(runners, walking, Choice(walking.scan.plan, matches=walking.found))
            runner.read(int(turn))
            if runner.ended:
                return _ended(runners, walking, runner)
        held = sum(len(runner.rows) for runner in runners)
        if budget is not None and held > MOST_INLINE_KEYS:
            raise Postponed
        if held > MOST_KEYS:
            return _given_up(runners, walking)
        turn = max(turn + 1, turn * GROWTH)


def _ended(runners: list[_Runner], walking: _Walker | None, first: _Runner) -> Choice:
    """``first`` has the fewest candidates: the walker may still be faster than reading those."""
    if walking is not None:
        walking.walk(int(WALKED * len(first.rows)))
        if walking.ended:
            return _made(runners, walking, Choice(walking.scan.plan, matches=walking.found))
    return _made(runners, walking, Choice(first.plan, first.rows))


def _given_up(runners: list[_Runner], walking: _Walker | None) -> Choice:
    if walking is None:
        return _made(runners, walking, Choice(runners[0].plan))
    while not walking.ended:
        walking.walk(walking.scan.examined + 1_000)
    return _made(runners, walking, Choice(walking.scan.plan, matches=walking.found))


def _made(runners: list[_Runner], walking: _Walker | None, choice: Choice) -> Choice:
    choice.counted = [(runner.plan, len(runner.rows)) for runner in runners]
    choice.keys = sum(len(runner.rows) for runner in runners)
    if walking is not None:
        choice.keys += walking.scan.keys
        choice.examined = walking.scan.examined
    return choice
