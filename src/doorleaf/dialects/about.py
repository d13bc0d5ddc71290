"""What a route takes and gives, said once: its handler reads by it, and the OpenAPI document is made of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from doorleaf.dialects.bodies import Body, Query
from doorleaf.documents import Document
from doorleaf.operations import Operation


@dataclass(frozen=True, slots=True, kw_only=True)
class Gives:
    """An answer: its status, its description, and what it holds.

    ``content`` is a type that pydantic can describe, mostly a typed dictionary; None is an answer without a body.
    Where the request chooses among several forms the ``content_types`` are all of them.
    """

    content: Any = None
    status: int = 200
    description: str = "Done."
    content_type: str = "application/json"
    content_types: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """The description of a route: what it does, takes and gives, and the codes of :data:`~doorleaf.errors.CODES` that
    it refuses with.

    Routes that share one ``About`` are the same thing at several paths; the first is the documented one. ``name`` is
    that of the operation in the OpenAPI document where the route's own will not do. An ``operation`` says itself what
    is taken and given; other routes have ``takes`` (``optional`` where the body may be left out), ``query`` and
    ``gives``. ``brings`` is a type that describes a body which is no object of known fields. ``security`` is what a
    caller may show where that is not what the dialect takes. ``provider`` is the one without which the route is not
    there, ``stores`` whether the database has a part in it. Codes that every route of its kind may answer with (no
    credentials, a body that is too large, a limit) are not listed.
    """

    summary: str
    tag: str
    name: str = ""
    description: str = ""
    operation: type[Operation[Any]] | None = None
    takes: type[Body] | None = None
    brings: Any = None
    optional: bool = False
    example: Document | list[Document] | None = None
    query: type[Query] | None = None
    gives: Gives = Gives()
    refuses: tuple[str, ...] = ()
    security: Sequence[Mapping[str, list[str]]] | None = None
    provider: str = ""
    stores: bool = True
