"""What an operation is: a plain value whose class says its name, its effect and its capabilities."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar, Generic, TypeVar

from doorleaf.operations import results
from doorleaf.operations.capabilities import Guard
from doorleaf.operations.parameters import Kind, parameter
from doorleaf.operations.places import Namespace

R = TypeVar("R", bound=results.Result)


class Effect(StrEnum):
    """The effect of an operation on the database."""

    READ = "read"
    WRITE = "write"
    ADMIN = "admin"


OWN_TURN = "own"
"""Whose turn it is where the server itself asks, for little: that waits for no caller."""

SYSTEM_TURN = "0" * 24
"""Whose turn it is where functions and triggers act as the system: the id of that identity."""


class Held:
    """A transaction that goes on over several operations, one after the other.

    The store that carries out the first one begins it with ``options`` at ``namespace``, and keeps what it needs in
    ``kept``; an ``EndTransaction`` ends it, and so does an error. ``ended`` says how.
    """

    def __init__(self, options: Mapping[str, Any] | None = None) -> None:
        self.options = dict(options or {})
        self.namespace: Namespace | None = None
        self.kept: Any = None
        self.ended = ""
        self.lock = asyncio.Lock()


@dataclass(kw_only=True)
class Operation(Generic[R]):
    """One thing to do. ``namespace`` is always there; ``max_time_ms`` None lets the service put its default.

    ``max_scan`` is the most documents that a collection may have to be read without an index, ``max_bytes`` the most
    bytes of BSON that a read may answer; None is no bound. ``turn`` says who asks: callers are served by turns.
    ``within`` is the transaction that it is a part of.
    """

    name: ClassVar[str] = ""
    effect: ClassVar[Effect] = Effect.READ
    scope: ClassVar[str] = "collection"
    """What the namespace must name: ``collection``, ``database`` or ``server``."""
    summary: ClassVar[str] = ""
    result: ClassVar[type[results.Result]]
    many: ClassVar[bool] = False
    """Whether a write touches every document that matches, and not just one."""
    deletes: ClassVar[bool] = False
    lasts: ClassVar[bool] = False
    """Whether the result goes on: a stream, whose end nobody knows when it is answered."""

    namespace: Namespace
    comment: Any = parameter(Kind.VALUE, "A comment that the database logs with the operation.")
    max_time_ms: int | None = parameter(
        Kind.COUNT, "Time limit on the database, in milliseconds; 0 and absent are the server's default."
    )
    max_scan: int | None = None
    max_bytes: int | None = None
    turn: str = ""
    within: Held | None = None

    @property
    def action(self) -> str:
        """The name of the action that the caller asked for."""
        return self.name

    @property
    def guards(self) -> Sequence[Guard]:
        """Who looks at the documents that it writes."""
        return ()

    @property
    def parts(self) -> Sequence[Operation[Any]]:
        """The operations that this one is made of, each of which has to be allowed; none where it is one itself."""
        return ()


Same = TypeVar("Same", bound="Operation[Any]")


def altered(operation: Same, **changes: Any) -> Same:
    """A copy of ``operation`` with other values in some fields: ``dataclasses.replace``, at a fifth of its cost."""
    made = object.__new__(type(operation))
    made.__dict__.update(operation.__dict__, **changes)
    return made
