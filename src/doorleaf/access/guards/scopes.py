"""What a key is limited to: data sources, databases, collections, and actions.

A scope is looked at before rules and for administrators too. It covers everything an operation reaches: the writes in
a bulk, the collections a pipeline joins or writes to at any depth, and the targets of a command.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from doorleaf.access.guards.commands import WHOLE_NAMESPACES, is_read
from doorleaf.documents import Document, is_string
from doorleaf.errors import PermissionDenied
from doorleaf.mql.stages.reach import WRITE, pipeline_namespaces
from doorleaf.operations import (
    OPERATIONS,
    Aggregate,
    BulkWrite,
    CreateCollection,
    Effect,
    EndTransaction,
    Namespace,
    Operation,
    RenameCollection,
    RunCommand,
    Scan,
    Transaction,
    Watch,
)
from doorleaf.operations.places import ONE_PLACE, Places

FIELDS = ("data_sources", "databases", "collections", "actions")
"""The fields of a key's document that make its scope, each a list of strings."""

EFFECTS = frozenset(effect.value for effect in Effect)
"""The words that stand for all actions of a kind: ``read``, ``write``, ``admin``."""

METRICS = "metrics"
"""The word among a key's actions that stands for reading ``/metrics``, and for nothing else."""

_ABOUT_NOTHING = frozenset({"ping", "buildInfo", "hello", "isMaster"})
"""Commands that tell nothing about any database."""
_OTHER_COLLECTIONS = ("viewOn", "toCollection")
"""Fields of commands that name a further collection of the same database."""


@dataclass(frozen=True, slots=True)
class Scope:
    """The limits of a key: what it allows; None is everything. ``collections`` are ``database.collection``, or a name
    in any database; ``actions`` are names of actions, and words of :data:`EFFECTS`."""

    data_sources: frozenset[str] | None = None
    databases: frozenset[str] | None = None
    collections: frozenset[str] | None = None
    actions: frozenset[str] | None = None

    @property
    def listed(self) -> list[list[str] | None]:
        """The scope as lists in order, the same for two scopes that allow the same."""
        parts = (self.data_sources, self.databases, self.collections, self.actions)
        return [None if part is None else sorted(part) for part in parts]

    @property
    def everywhere(self) -> bool:
        """Whether every namespace is allowed."""
        return self.data_sources is None and self.databases is None and self.collections is None


def scope_of(document: Mapping[str, Any]) -> Scope | None:
    """The scope that the fields :data:`FIELDS` of a key's document make; None without any of them.

    Raises ValueError that names the field and what is wrong with it.
    """
    parts: dict[str, frozenset[str]] = {}
    for name in FIELDS:
        listed = document.get(name)
        if listed is None:
            continue
        if not isinstance(listed, list) or not all(is_string(item) and item for item in listed):
            raise ValueError(f"{name}: expected an array of names")
        parts[name] = frozenset(listed)
    for action in parts.get("actions", ()):
        if action not in EFFECTS and action not in OPERATIONS and action not in (Watch.name, METRICS):
            raise ValueError(
                f"actions: there is no action {action!r}; use names of actions, read, write, admin, or metrics"
            )
    return Scope(**parts) if parts else None


class Scopes:
    """Checks operations against scopes, which name data sources as requests do: see ``places``."""

    def __init__(self, places: Places = ONE_PLACE) -> None:
        self._places = places

    def check(self, scope: Scope, operation: Operation[Any]) -> None:
        """Return if ``operation`` lies within ``scope``; else PermissionDenied names what does not."""
        if isinstance(operation, Scan | Transaction):
            for part in operation.parts:
                self.check(scope, part)
            return
        if isinstance(operation, EndTransaction):
            return  # its parts were checked
        self._action(scope, operation)
        namespace = operation.namespace
        if operation.scope == "server":
            if not scope.everywhere:
                raise _refusal(f"the action {operation.name}, which is about the whole server")
            return
        self._place(scope, namespace, whole=operation.scope == "database" and not isinstance(operation, RunCommand))
        if isinstance(operation, BulkWrite):
            for write in operation.operations:
                self.check(scope, write)
        elif isinstance(operation, Aggregate):
            self._pipeline(scope, operation.pipeline, namespace)
        elif isinstance(operation, CreateCollection):
            self._reached(scope, operation.options, namespace)
        elif isinstance(operation, RenameCollection):
            self._place(scope, replace(namespace, collection=operation.to))
        elif isinstance(operation, RunCommand):
            self._command(scope, operation.command, namespace)

    def _action(self, scope: Scope, operation: Operation[Any]) -> None:
        allowed = scope.actions
        if allowed is None or operation.effect.value in allowed or operation.name in allowed:
            return
        raise _refusal(f"the action {operation.name}")

    def _writes(self, scope: Scope, what: str) -> None:
        if scope.actions is not None and Effect.WRITE.value not in scope.actions:
            raise _refusal(f"{what}, which writes")

    def _place(self, scope: Scope, namespace: Namespace, *, whole: bool = False) -> None:
        """Check a namespace; ``whole`` is about a database with all its collections."""
        if scope.data_sources is not None:
            source = namespace.data_source or self._places.default
            if source not in {self._places.own(name) for name in scope.data_sources}:
                raise _refusal(f"the data source {source!r}")
        if scope.databases is not None and namespace.database not in scope.databases:
            raise _refusal(f"the database {namespace.database!r}")
        if scope.collections is None:
            return
        if whole:
            raise _refusal(f"what is about the whole database {namespace.database!r}")
        name = namespace.collection
        # A name with a dot is taken as database.collection and as nothing else.
        if name and str(namespace) not in scope.collections and ("." in name or name not in scope.collections):
            raise _refusal(f"the collection {str(namespace)!r}")

    def _pipeline(self, scope: Scope, pipeline: Any, namespace: Namespace) -> None:
        for database, collection, effect in pipeline_namespaces(pipeline):
            self._place(scope, Namespace(database or namespace.database, collection, namespace.data_source))
            if effect == WRITE:
                self._writes(scope, "a pipeline that ends in $out or $merge")

    def _command(self, scope: Scope, command: Document, namespace: Namespace) -> None:
        """Check what a command reaches; one that is named in the scope without ``admin`` may only read."""
        name = next(iter(command), "")
        if scope.actions is not None and Effect.ADMIN.value not in scope.actions and not is_read(name):
            raise _refusal(f"the command {name!r}, which does not only read")
        if scope.everywhere or name in _ABOUT_NOTHING:
            return
        target = command.get(name)
        if name == "explain" and isinstance(target, dict):
            self._command(Scope(scope.data_sources, scope.databases, scope.collections), target, namespace)
            return
        if name in WHOLE_NAMESPACES:
            for key in WHOLE_NAMESPACES[name]:
                database, _, collection = str(command.get(key)).partition(".")
                self._place(scope, Namespace(database, collection, namespace.data_source))
        elif name in ("listDatabases", "serverStatus", "hostInfo", "connectionStatus"):
            raise _refusal(f"the command {name!r}, which is about the whole server")
        elif is_string(target):
            self._place(scope, Namespace(namespace.database, target, namespace.data_source))
        else:
            self._place(scope, namespace, whole=True)
        self._reached(scope, command, namespace)

    def _reached(self, scope: Scope, options: Mapping[str, Any], namespace: Namespace) -> None:
        """Check the further collections that a command or the options of a collection name."""
        for key in _OTHER_COLLECTIONS:
            if is_string(options.get(key)):
                self._place(scope, Namespace(namespace.database, options[key], namespace.data_source))
        if isinstance(options.get("pipeline"), list):
            self._pipeline(scope, options["pipeline"], namespace)


def _refusal(what: str) -> PermissionDenied:
    return PermissionDenied(f"this API key does not allow {what}")
