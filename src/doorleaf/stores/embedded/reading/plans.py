"""A plan: how to read the candidates of a collection for a filter and a sort."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from doorleaf.documents import Document
from doorleaf.stores.embedded.catalog import Collection, Index
from doorleaf.stores.embedded.reading.bounds import POINT, Interval
from doorleaf.stores.embedded.reading.conditions import Predicate


@dataclass(slots=True)
class Plan:
    """How to read a collection's candidates.

    Without ``index`` and ``branches`` it is a scan in natural order. ``intervals`` are in key order. ``branches`` are
    read one after another, or ``merged`` in the order of the sort, which each of them has. ``sorted``: candidates come
    in the wanted order (when read backwards if ``reverse``). ``grouped`` is the leading part of the sort in whose order
    they come where that is not all of it; ``keyed``: documents are equal in it exactly where their keys of the index
    are. ``exact``: every candidate matches. ``distinct``: no document is met twice. ``most``: the number of candidates
    when a unique index bounds it. ``cheap``: see Conditions. ``residual`` is what of the filter the intervals leave to
    be tested, None for all of it. ``others`` are further ways, best first by ``rank``. ``uses`` are the predicates that
    bound it; ``predicates``, of a scan, are some of those that a match meets.
    """

    collection: Collection
    index: Index | None = None
    intervals: list[Interval] = field(default_factory=list)
    reverse: bool = False
    sorted: bool = True
    exact: bool = False
    distinct: bool = True
    most: int | None = None
    cheap: bool = True
    residual: Document | None = None
    branches: tuple[Plan, ...] = ()
    merged: bool = False
    grouped: Document | None = None
    keyed: bool = False
    rank: tuple[bool, int, int, bool, bool] = (False, 0, 0, False, False)
    uses: frozenset[int] = frozenset()
    others: tuple[Plan, ...] = ()
    predicates: tuple[Predicate, ...] = ()

    @property
    def scan(self) -> bool:
        """Whether the whole collection is read without an index."""
        return self.index is None and not self.branches

    @property
    def point(self) -> bool:
        """Whether the index is read at single keys only."""
        return self.index is not None and all(high == POINT for _, high in self.intervals)

    @property
    def narrows(self) -> bool:
        """Whether the filter bounds what is read, rather than the order alone having chosen the index."""
        return bool(self.uses)

    def leaves(self) -> Iterator[Plan]:
        """The readings of one index, or of the collection, that this consists of."""
        if not self.branches:
            yield self
        for branch in self.branches:
            yield from branch.leaves()

    @property
    def reads(self) -> int:
        """How many intervals it reads."""
        return sum(len(leaf.intervals) for leaf in self.leaves())
