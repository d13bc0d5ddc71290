"""Why a validator refuses a document, in the shape of MongoDB's ``errInfo``.

The clauses of the filter are judged by the same tests as the filter itself; where only their negation was to hold
(below ``$nor`` and ``$not``), it is told what matched.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import bson

from doorleaf.documents import CODEC, Document
from doorleaf.mql.context import Context
from doorleaf.mql.expressions import compile_expression
from doorleaf.mql.filters.compile import compile_filter
from doorleaf.mql.filters.parse import is_operator_document
from doorleaf.mql.filters.refusal_schema import Known, Room, SchemaRefusal, TooDeep, TooLong, notes
from doorleaf.mql.paths import lookup
from doorleaf.mql.updates.basis import depth_of
from doorleaf.mql.values import MISSING, type_name

MOST_BYTES = 64 * 1024
"""What one explanation may take as BSON; a longer one does without what it quotes, or is left out."""

MOST_DEPTH = 120
_DEEP: Document = {"details": {"reason": "generated error was too deeply nested", "truncated": True}}

MOST_VALUES = 10
"""Values at one path that are shown."""


def refusal(validator: Document, document: Document, context: Context, known: Known | None = None) -> Document:
    """``errInfo``: what ``validator``, which does not match ``document``, asks and the document lacks.

    ``known`` keeps what was compiled from one document to the next, with the same context.
    """
    identity: Document = {"failingDocumentId": document.get("_id")}
    for full in (True, False):
        try:
            details = _Refusal(document, context, known, full=full).clauses(validator)
        except TooLong:
            continue
        except TooDeep:
            return {**identity, **_DEEP}
        truncated = {} if full else {"truncated": True}
        if depth_of(details) > MOST_DEPTH:
            return {**identity, **_DEEP}
        found = {**identity, **truncated, "details": details}
        if len(bson.encode(found, codec_options=CODEC)) <= MOST_BYTES:
            return found
    short = len(bson.encode(identity, codec_options=CODEC)) <= MOST_BYTES
    return {**(identity if short else {}), "note": "detailed error was too large"}


@dataclass(frozen=True, slots=True)
class _Clause:
    """One condition of a filter: on a field where ``path`` is not None. ``filter`` says the same by itself."""

    name: str
    argument: Any
    filter: Document
    path: str | None = None


def _clauses(filter: Document) -> Iterator[_Clause]:
    for name, value in filter.items():
        if name[:1] == "$":
            if name != "$comment":
                yield _Clause(name, value, {name: value})
        elif is_operator_document(value):
            yield from _conditions(name, value)
        else:
            operator = "$regex" if value is not None and type_name(value) == "regex" else "$eq"
            yield _Clause(operator, value, {name: value}, name)


def _conditions(path: str, conditions: Document) -> Iterator[_Clause]:
    for operator, argument in conditions.items():
        alone = {operator: argument}
        if operator == "$regex" and "$options" in conditions:
            alone["$options"] = conditions["$options"]
        if operator != "$options":
            yield _Clause(operator, argument, {path: alone}, path)


class _Refusal:
    def __init__(self, document: Document, context: Context, known: Known | None, *, full: bool) -> None:
        self._document = document
        self._known = known
        self._context = context
        self._full = full
        self._room = Room()

    def clauses(self, filter: Document, *, inverted: bool = False) -> Document:
        """All conditions of a filter, which should hold, or one of which should not."""
        return self._all([*_clauses(filter)], inverted=inverted)

    def _all(self, clauses: list[_Clause], *, inverted: bool) -> Document:
        with self._room.within():
            if len(clauses) == 1:
                return self._room.take(self._clause(clauses[0], inverted=inverted))
            return self._members("$and", [(clause.filter, clause) for clause in clauses], inverted, every=inverted)

    def _members(
        self, name: str, members: list[tuple[Document, _Clause | None]], inverted: bool, *, every: bool
    ) -> Document:
        """The members of a conjunction and the like that are to be told: ``every`` one, or those that are wrong."""
        found = []
        for index, (filter, clause) in enumerate(members):
            self._context.check()
            if every or self._matches(filter) is inverted:
                clauses = [*_clauses(filter)] if clause is None else [clause]
                found.append({"index": index, "details": self._all(clauses, inverted=inverted)})
        return {"operatorName": name, "clausesSatisfied" if inverted else "clausesNotSatisfied": found}

    def _matches(self, filter: Document) -> bool:
        return compile_filter(filter, self._context)(self._document)

    def _clause(self, clause: _Clause, *, inverted: bool) -> Document:
        name, argument = clause.name, clause.argument
        if clause.path is not None:
            if name == "$not":
                return self._not(clause.path, argument, inverted=inverted)
            return self._field(clause, clause.path, inverted=inverted)
        if name in ("$and", "$or", "$nor"):
            inside = inverted is not (name == "$nor")
            # Of a conjunction that should not hold every member holds; of a disjunction that should, none does.
            every = inside if name == "$and" else not inside
            return self._members(name, [(member, None) for member in argument], inside, every=every)
        if name == "$jsonSchema":
            return self._schema(argument, inverted=inverted)
        specified = {"specifiedAs": {name: argument}} if self._full else {}
        if name == "$expr":
            reason = "expression did match" if inverted else "expression did not match"
            result = compile_expression(argument, self._context)(self._document, {})
            shown = {"expressionResult": result} if self._full and result is not MISSING else {}
            return {"operatorName": name, **specified, "reason": reason, **shown}
        reason = f"expression always evaluates to {'true' if inverted else 'false'}"
        return {"operatorName": name, **specified, "reason": reason}

    def _not(self, path: str, argument: Any, *, inverted: bool) -> Document:
        clauses = [*_conditions(path, argument)] if isinstance(argument, dict) else [*_clauses({path: argument})]
        return {"operatorName": "$not", "details": self._all(clauses, inverted=not inverted)}

    def _schema(self, schema: Document, *, inverted: bool) -> Document:
        told = {"operatorName": "$jsonSchema"}
        if inverted:
            return {**told, "reason": "schema matched"}
        rules = SchemaRefusal(self._context, self._room, full=self._full, known=self._known).schema(
            schema, self._document
        )
        return {**told, **notes(schema), "schemaRulesNotSatisfied": rules}

    # --- conditions on a field ---------------------------------------------------------------------------------------

    def _field(self, clause: _Clause, path: str, *, inverted: bool) -> Document:
        name = clause.name
        told: Document = {"operatorName": name}
        if self._full:
            told["specifiedAs"] = clause.filter
        normal, opposite, types = _REASONS.get(name, _COMPARED)
        if name == "$exists":
            exists = next(iter(lookup(self._document, path)), MISSING) is not MISSING
            return {**told, "reason": "path does exist" if exists else "path does not exist"}
        values, more = self._values(path, traverse=name not in _WHOLE)
        shown = {} if values is None or not self._full else _numbered("consideredValue", values, many=len(values) != 1)
        if more and shown:
            shown["consideredValuesTruncated"] = True
        kinds = sorted({type_name(value) for value in values or ()})
        types_shown = _numbered("consideredType", kinds, many=len(kinds) != 1) if kinds else {}
        if values is None:
            return {**told, "reason": "field was missing"}
        if types and not types.intersection(kinds):
            expected = _numbered("expectedType", sorted(types), many=len(types) != 1)
            return {**told, "reason": "type did not match", **types_shown, **expected, **shown}
        negated = name in ("$ne", "$nin")
        reason = opposite if inverted is not negated else normal
        return {**told, "reason": reason, **shown, **(types_shown if name == "$type" else {})}

    def _values(self, path: str, *, traverse: bool) -> tuple[list[Any] | None, bool]:
        """The values at a path, None where there are none, and whether there are more than are shown."""
        found, missing = [], True
        for value in lookup(self._document, path, leaf_arrays=False):
            self._context.check()
            if value is not MISSING:
                missing = False
                found += value[: MOST_VALUES + 1] if traverse and isinstance(value, list) else [value]
            if len(found) > MOST_VALUES:
                return found[:MOST_VALUES], True
        return (None if missing else found), False


def _numbered(name: str, values: list[Any], *, many: bool) -> Document:
    """``values`` under ``name``, in the plural where they are not one."""
    return {f"{name}s": values} if many else {name: values[0]}


_NUMBERS = frozenset(("decimal", "double", "int", "long"))
_ARRAY = frozenset(("array",))
_BITS = ("bitwise operator failed to match", "bitwise operator matched successfully", _NUMBERS | {"binData"})
_MEMBER = ("no matching value found in array", "matching value found in array", None)
_COMPARED = ("comparison failed", "comparison succeeded", None)
_WHOLE = frozenset(("$all", "$elemMatch", "$size"))
"""Operators that look at an array as such."""

_REASONS: dict[str, tuple[str, str, frozenset[str] | None]] = {
    "$in": _MEMBER,
    "$nin": _MEMBER,
    "$type": ("type did not match", "type did match", None),
    "$mod": ("$mod did not evaluate to expected remainder", "$mod did evaluate to expected remainder", _NUMBERS),
    "$regex": (
        "regular expression did not match",
        "regular expression did match",
        frozenset(("regex", "string", "symbol")),
    ),
    "$size": ("array length was not equal to given size", "array length was equal to given size", _ARRAY),
    "$all": ("array did not contain all specified values", "array did contain all specified values", None),
    "$elemMatch": ("array did not satisfy the child predicate", "array did satisfy the child predicate", _ARRAY),
    "$bitsAllSet": _BITS,
    "$bitsAllClear": _BITS,
    "$bitsAnySet": _BITS,
    "$bitsAnyClear": _BITS,
}
"""By operator: what is said where it should hold and does not, where it should not and does, and the types that it can
hold for."""
