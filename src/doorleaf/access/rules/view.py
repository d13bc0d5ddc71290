"""What one caller may see and change of one collection: roles, filters and fields, bound and ready to use."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any, NoReturn

from doorleaf.access.rules import schema
from doorleaf.access.rules.conditions import (
    Condition,
    Matcher,
    bind,
    changes_with,
    conjunction,
    disjunction,
    in_query,
    matcher,
    negation,
)
from doorleaf.access.rules.fields import (
    Branch,
    Decide,
    Tree,
    allows,
    allows_in,
    both,
    changes_allowed,
    constant,
    never,
    projections,
    redact,
    same,
)
from doorleaf.access.rules.filters import bound_query, joined_limit
from doorleaf.access.rules.references import is_simple
from doorleaf.access.rules.roles import CollectionRules, Grant, Slice, grants, read_condition, slices
from doorleaf.documents import ABSENT, Document
from doorleaf.errors import PermissionDenied
from doorleaf.mql.context import Context
from doorleaf.mql.filters.compile import compile_filter
from doorleaf.mql.updates.basis import identical

NOTHING: Document = {"_id": {"$in": []}}
"""A filter that matches no document, on every server."""

LIMITED = "the projection of a filter"
"""What is to blame for a field that nobody may read."""

REMEMBERED = 1024
"""Paths that a view remembers to be readable, and updates that it remembers to be allowed."""
LONGEST_REMEMBERED = 512
"""Characters of what is remembered: a caller chooses them."""

Redactor = Callable[[list[Document]], list[Document]]
Validation = str
"""``strict``, ``moderate`` (a document that failed before may go on failing) or ``off``."""


class RuleRefused(PermissionDenied):
    """Refused by a rule. ``rule`` names it, for those who may ask why; the client is not told."""

    def __init__(self, message: str, *, rule: str, code: str | None = None) -> None:
        super().__init__(message, code=code)
        self.rule = rule


class View:
    """Bound once for a caller and a namespace, then used for every operation.

    ``query`` is the filter that every operation is narrowed with (None: no narrowing), ``trees`` are the field
    permissions of the documents the caller may read, ``tree`` the only one of them when it is the same for all, or None
    when fields differ from document to document. ``names`` are roles that apply without being asked. With ``narrows``
    hidden fields are left out by the database already.
    """

    def __init__(
        self,
        namespace: str,
        rules: CollectionRules,
        caller: Mapping[str, Any],
        *,
        names: Iterable[str] = (),
        validation: Validation = "strict",
        narrows: bool = True,
    ) -> None:
        self._made = (namespace, rules, caller, tuple(names), validation, narrows)
        self.namespace = namespace
        self.caller = caller
        self.grants: list[Grant] = grants(_named(rules, frozenset(names)), caller)
        self.filters = [item for item in rules.filters if bind(item.apply_when, caller) is True]
        self.limit = joined_limit(self.filters)
        self.slices = [Slice(part.condition, both(part.tree, self.limit)) for part in slices(self.grants)]
        self._readable = in_query(read_condition(self.grants))
        self.query = self._narrowing()
        self.trees: list[Tree] = []
        for part in self.slices:
            if not any(same(part.tree, tree) for tree in self.trees):
                self.trees.append(part.tree)
        first = self.trees[0] if self.trees else True
        self.tree: Tree | None = first if len(self.trees) < 2 and constant(first) else None
        self.reads_all = self.tree is True
        self.narrows = narrows
        self._schema = rules.schema if validation != "off" else None
        self._moderate = validation == "moderate"
        self._readable_paths: set[str] = set()
        self._updatable: dict[frozenset[str], tuple[Condition | None, bool]] = {}
        self._matchers: dict[int, tuple[Document, Matcher]] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        namespace, rules, caller, names, validation, narrows = self._made
        return _rebuilt, (namespace, rules, dict(caller), names, validation, narrows)

    @cached_property
    def writes_simply(self) -> bool:
        """Whether judging a write only compares values: no patterns, no expressions, no schema."""
        if self._schema is not None:
            return False
        for item in self.grants:
            whole = (item.applies, item.gate_write, item.whole_read, item.whole_write, item.insert, item.delete)
            if not all(map(is_simple, whole)) or not all(map(constant, (item.readable, item.writable))):
                return False
        return True

    def _narrowing(self) -> Document | None:
        parts: list[Condition] = [bound_query(item.query, self.caller) for item in self.filters if item.query]
        joined = conjunction([*parts, self._readable])
        if joined is True:
            return None
        return NOTHING if joined is False else joined

    # --- reading -----------------------------------------------------------------------------------------------

    def require_readable(self, paths: Iterable[str]) -> None:
        """Refuse a request that looks at a field which the caller may not read in every document it can see."""
        if self.reads_all:
            return
        known = self._readable_paths
        for path in paths:
            if path in known:
                continue
            if not all(allows(tree, path) for tree in self.trees):
                raise self._unreadable(path, "fields")
            if len(known) < REMEMBERED and len(path) <= LONGEST_REMEMBERED:
                known.add(path)

    def require_within_limit(self, paths: Iterable[str]) -> None:
        """Refuse an update of a field that a filter's projection hides from everybody, whatever the roles say.

        A replacement (the path "") is refused for what could be there, not for what is: else it would tell.
        """
        if self.limit is True:
            return
        for path in paths:
            if not allows(self.limit, path):
                raise self._unreadable(path, LIMITED)

    def _require_shown(self, before: Document, after: Document) -> None:
        """Refuse a change of what a filter's projection hides."""
        if self.limit is True or changes_allowed(self.limit, before, after, never):
            return
        raise RuleRefused(
            f"a filter of '{self.namespace}' hides a field that this would write", rule=LIMITED, code="FieldNotReadable"
        )

    def _unreadable(self, path: str, rule: str) -> RuleRefused:
        where = f"field '{path}'" if path else "the whole document"
        return RuleRefused(f"{where} may not be read in '{self.namespace}'", rule=rule, code="FieldNotReadable")

    def shows_everywhere(self, path: str) -> bool | None:
        """Whether ``path`` may be read in every document: None where some show it and some do not."""
        answers = {allows(tree, path) for tree in self.trees}
        return answers.pop() if len(answers) == 1 and all(map(constant, self.trees)) else None

    @cached_property
    def visible(self) -> Callable[[Document], bool] | None:
        """Whether a document that was found by its ``_id`` may be seen; None where that is for the database to judge.

        What takes time (regular expressions) or tells it (``$$NOW``) is not decided here.
        """
        if self.query is None or not is_simple(self.query) or self.shows_everywhere("_id") is not True:
            return None
        return compile_filter(self.query, Context())

    @cached_property
    def hiding(self) -> Document | None:
        """The one projection that hides what the caller may not read; None where none is needed or none can say it."""
        stages = None if self.tree is None else projections(self.tree)
        return stages[0] if stages is not None and len(stages) == 1 else None

    @property
    def excludes(self) -> bool:
        """Whether what is hidden is a list of fields, and all others are shown."""
        return isinstance(self.tree, Branch) and self.tree.rest is True

    @cached_property
    def shown(self) -> Redactor:
        """A function that makes of documents what the caller sees. It may change those it is given."""
        tree = self.tree
        if tree is None:
            return lambda documents: [self._redacted(document) for document in documents]
        if isinstance(tree, Branch) and not any(isinstance(child, Branch) for child in tree.children.values()):
            return _without(tuple(tree.children)) if tree.rest is True else _only(frozenset(tree.children))
        return lambda documents: [redact(tree, document) for document in documents]

    def _redacted(self, document: Document) -> Document:
        granted = self._grant_for(document, document)
        if granted is None or not self.holds(granted.gate_read, document, document):
            return {}
        if not self.holds(granted.whole_read, document, document):
            decide = self._decide(document, document)
            document = redact(granted.readable, document, decide)
        return redact(self.limit, document)

    # --- writing -----------------------------------------------------------------------------------------------

    def updatable(self, paths: frozenset[str]) -> tuple[Condition | None, bool]:
        """The stored documents in which an update of ``paths`` is allowed whatever it makes of them, None when that
        depends on what it makes of them; and whether these are all that the caller can see."""
        found = self._updatable.get(paths)
        if found is None:
            condition = self._where_updatable(paths)
            found = condition, self.covers(condition)
            if len(self._updatable) < REMEMBERED and sum(map(len, paths)) <= LONGEST_REMEMBERED:
                self._updatable[paths] = found
        return found

    def _where_updatable(self, paths: frozenset[str]) -> Condition | None:
        if self._schema is not None or "" in paths:
            return None
        touched = {path.partition(".")[0] for path in paths}

        def may(granted: Grant) -> Condition | None:
            write = granted.whole_write
            if write is None:
                if not constant(granted.writable):
                    return None
                write = all(allows(granted.writable, path) for path in paths)
            condition = conjunction([granted.gate_write, write])
            return None if changes_with(condition, touched) else condition

        return self._by_role(may)

    @cached_property
    def deletes_all(self) -> bool:
        """Whether the caller may delete every document that it can see."""
        return self.covers(self.deletable)

    @cached_property
    def deletable(self) -> Condition | None:
        """The stored documents that may be deleted; None when no query can say it."""

        def may(granted: Grant) -> Condition | None:
            write = granted.whole_write if granted.whole_write is not None else granted.writable
            if isinstance(write, Branch):
                return False if constant(write) else None
            return conjunction([granted.gate_write, granted.delete, write])

        return self._by_role(may)

    def _by_role(self, may: Callable[[Grant], Condition | None]) -> Condition | None:
        options: list[Condition] = []
        passed: list[Condition] = []
        for item in self.grants:
            condition = may(item)
            if condition is None:
                return None
            options.append(conjunction([*passed, item.applies, condition]))
            passed.append(negation(item.applies))
        return in_query(disjunction(options))

    def covers(self, condition: Condition | None) -> bool:
        """Whether ``condition`` holds for every document that the caller can see."""
        return condition is not None and (condition is True or identical(condition, self._readable))

    def check_insert(self, document: Document) -> None:
        """Refuse a document that the caller may not insert."""
        granted = self._grant_for(document, None)
        if granted is None:
            self._refuse("insert", "no role applies to the document")
        if not self.holds(granted.gate_write, document, None):
            self._refuse("insert", f"role '{granted.name}': document_filters.write")
        if not self.holds(granted.insert, document, None):
            self._refuse("insert", f"role '{granted.name}': insert")
        # Every document has an `_id`, so that no list of writable fields has to name it.
        fields = {name: value for name, value in document.items() if name != "_id"}
        self._require_shown({}, fields)
        self._require_write("insert", granted, {}, fields, document, None)
        self._check_schema(granted, None, document)

    def check_update(self, before: Document, after: Document, paths: Iterable[str]) -> None:
        """Refuse a change: the role is the one of the document as it was, and must allow it as it becomes.

        ``paths`` are those that the update names; each must be writable even where nothing changes, so that no value
        can be found out by writing what may be there.
        """
        granted = self._grant_for(before, before)
        if granted is None:
            self._refuse("update", "no role applies to the document")
        for document in (before, after):
            if not self.holds(granted.gate_write, document, before):
                self._refuse("update", f"role '{granted.name}': document_filters.write")
        if granted.whole_write is None:
            decide = self._decide(after, before)
            for path in paths:
                # As a whole a document is replaced by somebody who knows it, then only what changes counts.
                known = not path and self._reads_whole(granted, before)
                if not known and not allows_in(granted.writable, path, after, before, decide):
                    self._refuse("update", f"role '{granted.name}': write of '{path or 'the whole document'}'")
        self._require_shown(before, after)
        self._require_write("update", granted, before, after, after, before)
        self._check_schema(granted, before, after)

    def check_delete(self, document: Document) -> None:
        """Refuse a deletion: it takes the right to delete and to write the whole document."""
        granted = self._grant_for(document, document)
        if granted is None:
            self._refuse("delete", "no role applies to the document")
        if not self.holds(granted.gate_write, document, document):
            self._refuse("delete", f"role '{granted.name}': document_filters.write")
        if not self.holds(granted.delete, document, document):
            self._refuse("delete", f"role '{granted.name}': delete")
        decide = self._decide(document, document)
        # It must not depend on which fields the document has, or it would tell which of the hidden ones are there.
        if granted.whole_write is None and not allows_in(granted.writable, "", document, document, decide):
            self._refuse("delete", f"role '{granted.name}': fields")
        fields = {name: value for name, value in document.items() if name != "_id"}
        self._require_write("delete", granted, fields, {}, document, document)

    def _require_write(
        self, verb: str, granted: Grant, old: Document, new: Document, root: Document, prev: Document | None
    ) -> None:
        if granted.whole_write is not None:
            if not self.holds(granted.whole_write, root, prev):
                self._refuse(verb, f"role '{granted.name}': write")
        elif granted.writable is False or not changes_allowed(granted.writable, old, new, self._decide(root, prev)):
            # Where nothing may be written, not even a document without fields comes or goes.
            self._refuse(verb, f"role '{granted.name}': fields")

    def _refuse(self, verb: str, rule: str) -> NoReturn:
        raise RuleRefused(f"{verb} not permitted in '{self.namespace}'", rule=rule)

    def _check_schema(self, granted: Grant, before: Document | None, after: Document) -> None:
        if self._schema is None:
            return
        failures = self._schema.failures(before, after, self.caller)
        if not failures:
            return
        if before is not None and self._moderate and self._schema.failures(before, before, self.caller):
            return
        raise schema.refused(failures if before is None else self._tellable(granted, before, failures))

    def _tellable(self, granted: Grant, before: Document, failures: list[tuple[str, str]]) -> list[tuple[str, str]]:
        """What fails, without names, types and sizes of fields that the caller may not read."""
        if self.reads_all or self._reads_whole(granted, before):
            return failures
        told = [(path, reason) for path, reason in failures if not path or allows(granted.readable, path)]
        told = [(path, reason) for path, reason in told if allows(self.limit, path)]
        return told if len(told) == len(failures) else [*told, ("", "a field that may not be read does not match")]

    # --- conditions on documents in memory ---------------------------------------------------------------------

    def _grant_for(self, root: Document, prev: Document | None) -> Grant | None:
        for granted in self.grants:
            if self.holds(granted.applies, root, prev):
                return granted
        return None

    def _reads_whole(self, granted: Grant, document: Document) -> bool:
        return granted.readable is True or self.holds(granted.whole_read, document, document)

    def holds(self, condition: Condition, root: Document | None, prev: Document | None) -> bool:
        """Whether ``condition`` is true for a document as it is (or becomes) and was."""
        if isinstance(condition, bool):
            return condition
        return self._matcher(condition)(root, prev, ABSENT, ABSENT)

    def _matcher(self, condition: Document) -> Matcher:
        known = self._matchers.get(id(condition))
        if known is None:
            # The condition is kept beside its matcher, so that its id cannot become another's.
            known = self._matchers[id(condition)] = (condition, matcher(condition))
        return known[1]

    def _decide(self, root: Document, prev: Document | None) -> Decide:
        return lambda condition, this, before: self._matcher(condition)(root, prev, this, before)


def _rebuilt(
    namespace: str,
    rules: CollectionRules,
    caller: Mapping[str, Any],
    names: tuple[str, ...],
    validation: Validation,
    narrows: bool,
) -> View:
    """A view that has travelled to another process."""
    return View(namespace, rules, caller, names=names, validation=validation, narrows=narrows)


def _without(names: tuple[str, ...]) -> Redactor:
    def drop(documents: list[Document]) -> list[Document]:
        for document in documents:
            for name in names:
                if name in document:
                    del document[name]
        return documents

    return drop


def _only(names: frozenset[str]) -> Redactor:
    return lambda documents: [
        {name: value for name, value in document.items() if name in names} for document in documents
    ]


def _named(rules: CollectionRules, names: frozenset[str]) -> Iterable[Any]:
    """Roles by their own conditions; a role that a key names applies without being asked."""
    if not names:
        return rules.roles
    return (replace(role, apply_when=True) for role in rules.roles if role.name in names)
