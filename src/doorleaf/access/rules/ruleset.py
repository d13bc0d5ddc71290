"""All rules of an app, and the one question they answer: may this caller do this, and what may they see?"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from doorleaf.access.callers import Caller, Identity
from doorleaf.access.request import described
from doorleaf.access.rules import permit as permits
from doorleaf.access.rules.conditions import asked
from doorleaf.access.rules.permit import Permit
from doorleaf.access.rules.roles import CollectionRules
from doorleaf.access.rules.together import together
from doorleaf.access.rules.view import View
from doorleaf.documents import Document
from doorleaf.errors import FunctionsUnavailable, PermissionDenied
from doorleaf.mql.stages.reach import pipeline_namespaces
from doorleaf.operations import Aggregate, EndTransaction, Namespace, Operation, Transaction, WatchDatabase

REMEMBERED = 4096
"""Views of callers that are kept; the rules are bound anew for the rest."""

CALL_SECONDS = 5.0
"""What one function that the rules call may take."""
FRESH_SECONDS = 2.0

Ask = Callable[[str, list[Any], Caller, float], Awaitable[bool]]
"""Whether a function answers true to these arguments when a caller calls it, until a moment of ``time.monotonic()``."""

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

    ``values`` and ``environment`` are what ``%%values`` and ``%%environment`` stand for. ``validation`` says how
    strictly schemas are applied. From the sources in ``near``, which cost nothing to read, documents are taken whole,
    and what is hidden is left out here.
    """

    def __init__(
        self,
        sources: Mapping[str, SourceRules],
        *,
        default_source: str,
        values: Mapping[str, Any] | None = None,
        environment: Mapping[str, Any] | None = None,
        validation: str = "strict",
        near: Collection[str] = (),
    ) -> None:
        self._sources = sources
        self._default_source = default_source
        self._values = values or {}
        self._environment = environment or {}
        self._validation = validation
        self._near = frozenset(near)
        self._views: dict[tuple[Identity, bool, str, str, str], View] = {}
        self.hides_custom_data: Callable[[str], bool] = lambda surface: False
        """Whether the rules of who comes by a surface do not see the custom data of callers; set where an app says."""
        self.asks: Ask | None = None
        """What calls the functions of ``%function``; set once there is an app."""
        self.calls = frozenset(call.name for rules in self._all() for call in rules.calls())
        """The names of these functions."""

    def _all(self) -> list[CollectionRules]:
        found = [rules for source in self._sources.values() for rules in source.collections.values()]
        return found + [source.default for source in self._sources.values() if source.default is not None]

    def written(self) -> list[Document]:
        """All rules as they are written, by data source, each with the place that it is for."""
        listed = []
        for name, source in self._sources.items():
            found: list[tuple[str | None, str | None, CollectionRules]] = []
            if source.default is not None:
                found.append((None, None, source.default))
            found += [(*place, rules) for place, rules in sorted(source.collections.items(), key=lambda item: item[0])]
            for database, collection, rules in found:
                place = {"data_source": name, "database": database, "collection": collection}
                listed.append({**place, **rules.written})
        return listed

    def permit(self, operation: Operation[Any], caller: Caller) -> Permit:
        """``operation`` narrowed for ``caller``; raises :class:`PermissionDenied`."""
        if caller.identity.admin:
            return Permit(operation)
        if isinstance(operation, EndTransaction):
            return Permit(operation)  # its parts were permitted
        if isinstance(operation, Transaction):
            return together(operation, [self.permit(part, caller) for part in operation.operations])
        if operation.scope != "collection":
            raise PermissionDenied(f"{operation.name} is not available to callers with rules")
        namespace, action = operation.namespace, operation.action
        view = self.view(namespace, caller, action)

        def views(database: str, collection: str) -> View:
            return self.view(Namespace(database, collection, namespace.data_source), caller, action)

        return permits.permit(operation, view, views)

    def view(self, namespace: Namespace, caller: Caller, action: str = "") -> View:
        """The view that ``caller`` has of ``namespace``; raises :class:`PermissionDenied` when no rule exists for
        it."""
        identity = caller.identity
        source = namespace.data_source or self._default_source
        key = (identity, self.hides_custom_data(caller.surface), source, namespace.database, namespace.collection)
        view = self._views.get(key)
        if view is not None:
            return view
        rules = self.rules_of(namespace)
        if rules is None or not rules.roles:
            raise PermissionDenied(f"no rule exists for namespace '{namespace}'", code="NoMatchingRuleFound")
        view = View(
            str(namespace),
            rules,
            self.expansions(caller, source, action),
            names=identity.roles,
            validation=self._validation,
            narrows=source not in self._near,
        )
        if not rules.looks_at_request:
            if len(self._views) >= REMEMBERED:
                self._views.clear()
            self._views[key] = view
        return view

    def concern(self, operation: Operation[Any]) -> bool:
        """Whether there are rules for any collection that ``operation`` reaches."""
        if not self._sources:
            return False
        return any(rules.roles for rules in self._reached(operation))

    def _reached(self, operation: Operation[Any]) -> list[CollectionRules]:
        """The rules of every collection that ``operation`` reaches."""
        if isinstance(operation, EndTransaction):
            return []
        if operation.parts:
            return [rules for part in operation.parts for rules in self._reached(part)]
        here = operation.namespace
        if isinstance(operation, WatchDatabase):
            known = self._sources.get(here.data_source or self._default_source, SourceRules())
            inside = [rules for (database, _), rules in known.collections.items() if database == here.database]
            return inside if known.default is None else [*inside, known.default]
        places = [here] if here.collection else []
        if isinstance(operation, Aggregate):
            reached = pipeline_namespaces(operation.pipeline)
            places += [Namespace(database or here.database, name, here.data_source) for database, name, _ in reached]
        return [rules for place in places if (rules := self.rules_of(place)) is not None]

    async def ask(self, operation: Operation[Any], caller: Caller, until: float) -> None:
        """Call the functions that the rules of ``operation`` need, before :meth:`permit`; ``until`` is a moment of
        ``time.monotonic()``.

        What one answers counts for two seconds of its request.
        """
        calls = {call for rules in self._reached(operation) for call in rules.calls()} if self.calls else set()
        if not calls:
            return
        if self.asks is None:
            raise FunctionsUnavailable("the rules call a function, and there is no app")
        answers: dict[Any, tuple[bool, float]] = {}
        if caller.request is not None:
            answers = caller.request.answers = answers if caller.request.answers is None else caller.request.answers
        decided: dict[Any, bool] = {}
        source = operation.namespace.data_source or self._default_source
        for action in {part.action for part in (operation.parts or (operation,))}:
            expansions = self.expansions(caller, source, action)
            for call in calls:
                key, arguments = asked(call, expansions)
                whole = (caller.identity.id, caller.identity.shown, *key)
                known = answers.get(whole)
                if known is None or time.monotonic() >= known[1]:
                    answer = await self.asks(call.name, arguments, caller, min(until, time.monotonic() + CALL_SECONDS))
                    known = answers[whole] = (answer, time.monotonic() + FRESH_SECONDS)
                decided[key] = known[0]
        caller.decided = decided

    def rules_of(self, namespace: Namespace) -> CollectionRules | None:
        """The rules as written that hold for ``namespace``."""
        known = self._sources.get(namespace.data_source or self._default_source)
        return None if known is None else known.of(namespace.database, namespace.collection)

    def expansions(self, caller: Caller, source: str = "", action: str = "") -> Mapping[str, Any]:
        """The values that the expansions stand for when ``caller`` asks for an operation."""
        identity = caller.identity
        user = {
            "id": identity.id,
            "type": identity.kind,
            "data": identity.data,
            "custom_data": {} if self.hides_custom_data(caller.surface) else identity.custom_data,
            "identities": list(identity.identities),
        }
        request = {**described(caller.request), "service": source, "action": action}
        app = {"values": self._values, "environment": self._environment, "functions": caller.decided or {}}
        return {"user": user, "request": request, **app}
