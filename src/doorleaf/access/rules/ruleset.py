"""All rules of an app, and the one question they answer: may this caller do this, and what may they see?"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from doorleaf.access.identity import Identity
from doorleaf.access.rules import permit as permits
from doorleaf.access.rules.permit import Permit
from doorleaf.access.rules.roles import CollectionRules
from doorleaf.access.rules.view import View
from doorleaf.errors import PermissionDenied
from doorleaf.operations import Namespace, Operation

REMEMBERED = 4096
"""Views of callers that are kept; the rules are bound anew for the rest."""

SERVER_DATABASES = frozenset({"admin", "local", "config"})


@dataclass(frozen=True, slots=True)
class SourceRules:
    """The rules of one data source: by (database, collection), and the default for collections without roles."""

    collections: Mapping[tuple[str, str], CollectionRules] = field(default_factory=dict)
    default: CollectionRules | None = None

    def of(self, database: str, collection: str) -> CollectionRules | None:
        """The rules of a collection; its own roles, if it has any, switch the default ones off.

        The default is for collections of the app, never for the database's own.
        """
        own = self.collections.get((database, collection))
        if own is not None and own.roles:
            return own
        if self.default is None or database in SERVER_DATABASES or collection.startswith("system."):
            return own
        if own is None:
            return self.default
        return CollectionRules(self.default.roles, own.filters or self.default.filters, own.schema)


class Rules:
    """Rules by data source.

    ``values`` and ``environment`` are what ``%%values`` and ``%%environment`` stand for; ``request`` gives what
    ``%%request`` stands for in the request at hand. ``aliases`` are further names of data sources. ``validation`` says
    how strictly schemas are applied. From the sources in ``near``, which cost nothing to read, documents are taken
    whole, and what is hidden is left out here. With ``only_source`` every name means the default one.
    """

    def __init__(
        self,
        sources: Mapping[str, SourceRules],
        *,
        default_source: str,
        aliases: Mapping[str, str] | None = None,
        values: Mapping[str, Any] | None = None,
        environment: Mapping[str, Any] | None = None,
        request: Callable[[], Mapping[str, Any]] = dict,
        validation: str = "strict",
        near: Collection[str] = (),
        only_source: bool = False,
    ) -> None:
        self._sources = sources
        self._default_source = default_source
        self._aliases = aliases or {}
        self._values = values or {}
        self._environment = environment or {}
        self._request = request
        self._validation = validation
        self._near = frozenset(near)
        self._only_source = only_source
        self._views: dict[tuple[Identity, str, str, str], View] = {}

    def permit(self, operation: Operation[Any], identity: Identity) -> Permit:
        """``operation`` narrowed for ``identity``; raises :class:`PermissionDenied`."""
        if identity.admin:
            return Permit(operation)
        if operation.scope != "collection":
            raise PermissionDenied(f"{operation.name} is not available to callers with rules")
        namespace, action = operation.namespace, operation.name
        view = self.view(namespace, identity, action)

        def views(database: str, collection: str) -> View:
            return self.view(Namespace(database, collection, namespace.data_source), identity, action)

        return permits.permit(operation, view, views)

    def view(self, namespace: Namespace, identity: Identity, action: str = "") -> View:
        """What ``identity`` may see of ``namespace``; raises :class:`PermissionDenied` when no rule exists for it."""
        source = self._source(namespace)
        key = (identity, source, namespace.database, namespace.collection)
        view = self._views.get(key)
        if view is not None:
            return view
        rules = self.rules_of(namespace)
        if rules is None or not rules.roles:
            raise PermissionDenied(f"no rule exists for namespace '{namespace}'", code="NoMatchingRuleFound")
        view = View(
            str(namespace),
            rules,
            self.caller(identity, source, action),
            names=identity.roles,
            validation=self._validation,
            narrows=source not in self._near,
        )
        if not rules.looks_at_request:
            if len(self._views) >= REMEMBERED:
                self._views.clear()
            self._views[key] = view
        return view

    def _source(self, namespace: Namespace) -> str:
        name = namespace.data_source
        return self._default_source if name is None or self._only_source else self._aliases.get(name, name)

    def rules_of(self, namespace: Namespace) -> CollectionRules | None:
        """The rules as written that hold for ``namespace``."""
        known = self._sources.get(self._source(namespace))
        return None if known is None else known.of(namespace.database, namespace.collection)

    def caller(self, identity: Identity, source: str = "", action: str = "") -> Mapping[str, Any]:
        """What the expansions stand for when ``identity`` calls."""
        user = {
            "id": identity.id,
            "type": identity.kind,
            "data": identity.data,
            "custom_data": identity.custom_data,
            "identities": list(identity.identities),
        }
        request = {**self._request(), "service": source, "action": action}
        return {"user": user, "values": self._values, "environment": self._environment, "request": request}
