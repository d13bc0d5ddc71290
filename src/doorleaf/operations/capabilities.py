"""What operations have in common: each capability is a base class with its parameters, declared once.

Who wants to know whether an operation can be narrowed, sorted or guarded asks ``isinstance(operation, Filtered)`` and
then has its fields by their types.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol, runtime_checkable

from doorleaf.documents import Document, Pipeline
from doorleaf.operations.parameters import Alias, Kind, parameter


class Guard(Protocol):
    """Called by a store for every document a write touches, as (before, after), inside the write's atomic unit:
    before is None for an insert, after is None for a delete. What it raises undoes the whole operation.

    One that is ``portable`` may be pickled and called in another process; one that is ``small`` never takes long.
    ``sufficient`` are the stored documents in which the write is allowed whatever it makes of them, as a filter, or
    None where the guard has to see it: with it a store without transactions can keep the rule too.
    """

    @property
    def portable(self) -> bool: ...

    @property
    def small(self) -> bool: ...

    @property
    def sufficient(self) -> bool | Document | None: ...

    def __call__(self, before: Document | None, after: Document | None) -> None: ...


@runtime_checkable
class Counting(Protocol):
    """A guard that counts how many documents and bytes its write adds."""

    @property
    def added(self) -> tuple[int, int]: ...


_which = partial(parameter, Kind.DOCUMENT, "Which documents; `{}` matches all.")


@dataclass(kw_only=True)
class Filtered:
    """Acts on the documents that a filter matches."""

    filter: Document = _which(default={})


@dataclass(kw_only=True)
class Upserting:
    """Inserts a document when none matches, if asked to."""

    upsert: bool = parameter(Kind.BOOLEAN, "Insert a document when none matches.", default=False)


@dataclass(kw_only=True)
class Projected:
    """Answers with the fields that a projection takes."""

    projection: Document | None = parameter(Kind.DOCUMENT, "Fields to include or exclude.")


@dataclass(kw_only=True)
class Sorted:
    """Takes documents in an order."""

    sort: Document | None = parameter(Kind.DOCUMENT, "Fields and directions (1 or -1), in order of importance.")


@dataclass(kw_only=True)
class Skipping:
    """Passes over some of the documents that match."""

    skip: int = parameter(Kind.COUNT, "Matching documents to pass over.", default=0)


@dataclass(kw_only=True)
class Returning:
    """Answers with the document that it changed."""

    return_new_document: bool = parameter(
        Kind.BOOLEAN,
        "Answer with the document after the change.",
        default=True,
        alias=Alias("returnDocument", (("before", False), ("after", True))),
    )


@dataclass(kw_only=True)
class Collated:
    """Compares strings by the rules of a language."""

    collation: Document | None = parameter(Kind.DOCUMENT, "Language rules for comparing strings.")


@dataclass(kw_only=True)
class Hinted:
    """Reads by the index that the caller names."""

    hint: str | Document | None = parameter(Kind.HINT, "The index to use, by name or key pattern.")


@dataclass(kw_only=True)
class Parametrized:
    """Has variables for its expressions."""

    let: Document | None = parameter(Kind.DOCUMENT, "Variables for expressions, read as `$$name`.")


@dataclass(kw_only=True)
class Ordered:
    """Consists of several writes, which stop at the first that fails or do not."""

    ordered: bool = parameter(Kind.BOOLEAN, "Stop at the first write that fails.", default=True)


@dataclass(kw_only=True)
class Guarded:
    """A write that a guard may look at, document by document."""

    guard: Guard | None = None

    @property
    def guards(self) -> Sequence[Guard]:
        """The guards of the write."""
        return () if self.guard is None else (self.guard,)


@dataclass(kw_only=True)
class Changing(Guarded, Parametrized, Hinted, Collated, Filtered):
    """Changes or takes out documents that are there. The filter is required, so that nobody forgets it."""

    filter: Document = _which(required=True)


@dataclass(kw_only=True)
class Updating(Changing):
    """Changes documents by update operators or a pipeline."""

    update: Document | Pipeline = parameter(Kind.UPDATE, "Update operators, or an aggregation pipeline.", required=True)
    array_filters: list[Document] | None = parameter(Kind.PIPELINE, "Conditions for `$[identifier]` in update paths.")


@dataclass(kw_only=True)
class Replacing(Changing):
    """Puts another document in the place of one."""

    replacement: Document = parameter(Kind.DOCUMENT, "The new document; it has no update operators.", required=True)
