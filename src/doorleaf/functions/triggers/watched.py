"""What a database trigger watches: a collection, a database or everything, and which of its changes."""

from __future__ import annotations

from dataclasses import dataclass, field

from doorleaf.access.app_services.entries import flag, known, string, strings
from doorleaf.documents import Document
from doorleaf.errors import DoorleafError
from doorleaf.mql.context import Context
from doorleaf.mql.filters.compile import compile_filter
from doorleaf.mql.projections.compile import compile_project

KEYS = frozenset(
    {"service_name", "service_id", "clusterName", "database", "collection", "operation_types", "match", "project"}
    | {"full_document", "full_document_before_change", "tolerate_resume_errors", "unordered", "maximum_throughput"}
    | {"skip_catchup_events", "skip_catchup_event"}
)
OF_COLLECTIONS = {"INSERT": "insert", "UPDATE": "update", "REPLACE": "replace", "DELETE": "delete"}
OF_DATABASES = {**OF_COLLECTIONS, "DROP_COLLECTION": "drop", "RENAME_COLLECTION": "rename"}
OF_SERVERS = {**OF_DATABASES, "DROP_DATABASE": "dropDatabase"}
"""What a trigger can be about, and MongoDB's word for it."""

AT_ONCE = 8
MOST_AT_ONCE = 50
"""Calls of an unordered trigger at once: mostly, and with ``maximum_throughput``."""


@dataclass(frozen=True, slots=True)
class Watched:
    """The place by its names, and ``changes``, MongoDB's words for what is wanted of it.

    ``at_once`` is 1 where one event has to wait for another; ``tolerates`` lost events.
    """

    source: str | None = None
    database: str = ""
    collection: str = ""
    changes: tuple[str, ...] = ()
    match: Document = field(default_factory=dict)
    project: Document = field(default_factory=dict)
    full: bool = False
    before: bool = False
    tolerates: bool = False
    at_once: int = 1

    @property
    def place(self) -> str:
        return f"{self.source or ''}/{self.database}/{self.collection}"

    @property
    def filter(self) -> Document:
        """Which change events are asked for; the end of a stream is always told."""
        wanted: Document = {"operationType": {"$in": [*self.changes]}}
        wanted = {"$and": [wanted, self.match]} if self.match else wanted
        return {"$or": [{"operationType": "invalidate"}, wanted]}


def watched(config: Document) -> Watched:
    """Read the configuration of a database trigger. ValueError for a mistake."""
    known(config, KEYS, "config.")
    database, collection = string(config, "database"), string(config, "collection")
    if collection and not database:
        raise ValueError("config.database: needed for a collection")
    possible = OF_COLLECTIONS if collection else OF_DATABASES if database else OF_SERVERS
    listed = strings(config, "operation_types")
    for name in listed or ("nothing",):
        if name not in possible:
            raise ValueError(f"config.operation_types: expected some of {', '.join(possible)}, got {name[:100]}")
    unordered, most = flag(config, "unordered"), flag(config, "maximum_throughput")
    if most and not unordered:
        raise ValueError("config.maximum_throughput: is for unordered triggers")
    return Watched(
        string(config, "service_name") or string(config, "clusterName") or None,
        database,
        collection,
        tuple(possible[name] for name in listed),
        _match(config),
        _project(config),
        flag(config, "full_document"),
        flag(config, "full_document_before_change"),
        flag(config, "tolerate_resume_errors"),
        MOST_AT_ONCE if most else AT_ONCE if unordered else 1,
    )


def _match(config: Document) -> Document:
    given = config.get("match")
    given = {} if given is None else given
    try:
        compile_filter(given, Context())
    except DoorleafError as error:
        raise ValueError(f"config.match: {error.message}") from None
    found: Document = given
    return found


def _project(config: Document) -> Document:
    given = config.get("project")
    given = {} if given is None else given
    try:
        if given != {}:
            compile_project(given, Context())
    except DoorleafError as error:
        raise ValueError(f"config.project: {error.message}") from None
    found: Document = given
    return found
