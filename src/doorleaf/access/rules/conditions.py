"""Expressions bound to a caller: what the caller decides is computed, and a condition on documents remains.

That remainder is a MongoDB filter over ``{root, prev, this, prevThis}``, so the database can evaluate it inside the
query (:func:`in_query`) and :mod:`doorleaf.mql.filters.compile` evaluates the very same for writes (:func:`matcher`).

What the caller does not have (``%%user.data.x`` of a user without it) is like a missing field on the left side of a
comparison, and equals nothing on the right side.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection, Mapping
from typing import Any

import bson
from bson import Binary, MinKey, ObjectId
from bson.binary import UUID_SUBTYPE
from bson.errors import InvalidId

from doorleaf.access.rules.expressions import Conversion, Expansion, Field, FunctionCall, Logic
from doorleaf.documents import ABSENT, CODEC, Document, is_string
from doorleaf.errors import FunctionsUnavailable
from doorleaf.mql.context import Context
from doorleaf.mql.filters.compile import compile_filter
from doorleaf.mql.updates.basis import identical
from doorleaf.mql.values import type_name

Condition = bool | Document
"""What is left of an expression for one caller: True, False, or a filter over ``{root, prev, this, prevThis}``."""

FLIPPED = {"eq": "eq", "ne": "ne", "gt": "lt", "gte": "lte", "lt": "gt", "lte": "gte"}
ORDERING = ("gt", "gte", "lt", "lte")
NEGATIVE = ("ne", "nin")


def bind(tree: Any, caller: Mapping[str, Any]) -> Condition:
    """The condition that remains of ``tree`` when ``caller`` (``{"user", "request", "values", "environment"}``) is
    known; its ``functions`` are what functions have answered, by :func:`asked`."""
    if isinstance(tree, bool):
        return tree
    if isinstance(tree, FunctionCall):
        answer: bool | None = caller.get("functions", {}).get(asked(tree, caller)[0])
        if answer is None:
            raise FunctionsUnavailable(f"the function {tree.name} of the rules was not called")
        return answer
    if isinstance(tree, Logic):
        return _logic(tree.operator, [bind(part, caller) for part in tree.parts])
    return _compare(value_for(tree.left, caller), tree.operator, value_for(tree.right, caller))


def asked(call: FunctionCall, caller: Mapping[str, Any]) -> tuple[tuple[str, bytes], list[Any]]:
    """The key of ``call`` by ``caller`` among the answers of functions, and the arguments."""
    arguments = [None if value is ABSENT else value for value in (value_for(it, caller) for it in call.arguments)]
    return (call.name, bson.encode({"": arguments}, codec_options=CODEC)), arguments


def conjunction(parts: list[Condition]) -> Condition:
    """All of ``parts``."""
    return _logic("and", parts)


def disjunction(parts: list[Condition]) -> Condition:
    """Any of ``parts``."""
    return _logic("or", parts)


def negation(part: Condition) -> Condition:
    """The negation of ``part``."""
    return _logic("not", [part])


def _logic(operator: str, parts: list[Condition]) -> Condition:
    if operator == "not":
        return (not parts[0]) if isinstance(parts[0], bool) else {"$nor": [parts[0]]}
    decides = operator == "or"
    left: list[Document] = []
    for part in parts:
        if isinstance(part, bool):
            if part is decides:
                return decides
        elif not any(identical(part, other) for other in left):
            left.append(part)
    if not left:
        return not decides
    return left[0] if len(left) == 1 else {f"${operator}": left}


def value_for(operand: Any, caller: Mapping[str, Any]) -> Any:
    """The value of an operand for ``caller``, ABSENT when it has none; fields of the document stay what they are."""
    if isinstance(operand, Expansion):
        value: Any = caller
        for part in operand.path:
            value = value.get(part, ABSENT) if isinstance(value, Mapping) else ABSENT
            if value is ABSENT:
                return ABSENT
        return dict(value) if isinstance(value, Mapping) and not isinstance(value, dict) else value
    if isinstance(operand, Conversion):
        inner = value_for(operand.operand, caller)
        if isinstance(inner, Field):
            return Conversion(operand.name, inner)
        return ABSENT if inner is ABSENT else convert(operand.name, inner)
    if isinstance(operand, dict):
        bound = {key: value_for(item, caller) for key, item in operand.items()}
        return ABSENT if any(item is ABSENT for item in bound.values()) else bound
    if isinstance(operand, list):
        return [item for item in (value_for(entry, caller) for entry in operand) if item is not ABSENT]
    return operand


def convert(name: str, value: Any) -> Any:
    """Apply a conversion to a plain value; what cannot be converted is absent."""
    try:
        if name == "stringToOid":
            return ObjectId(value) if is_string(value) else ABSENT
        if name == "oidToString":
            return str(value) if isinstance(value, ObjectId) else ABSENT
        if name == "stringToUuid":
            return Binary(uuid.UUID(value).bytes, UUID_SUBTYPE) if is_string(value) else ABSENT
        if isinstance(value, Binary) and value.subtype == UUID_SUBTYPE:
            return str(value.as_uuid())
    except (InvalidId, ValueError):
        pass
    return ABSENT


# --- comparisons -----------------------------------------------------------------------------------------------------


def _compare(left: Any, operator: str, right: Any) -> Condition:
    if operator == "exists":
        if isinstance(left, Field):
            return {left.full: {"$exists": right}}
        return (left is not ABSENT) is right
    if right is ABSENT:
        return operator in NEGATIVE
    if _in_document(left):
        return _both_in_document(left, operator, right) if _in_document(right) else _against(left, operator, right)
    if _in_document(right):
        return operator in NEGATIVE if left is ABSENT else _known_against(left, operator, right)
    return _both_known(left, operator, right)


def _in_document(operand: Any) -> bool:
    return isinstance(operand, (Field, Conversion))


def _against(left: Any, operator: str, right: Any) -> Condition:
    """``owner: <known value>``: the database's own operators say it, "contains" for arrays included."""
    if isinstance(left, Conversion):
        return _both_in_document(left, operator, right)
    if operator in ("in", "nin"):
        return _any_of(left.full, right if isinstance(right, list) else [right], negated=operator == "nin")
    if operator in ("eq", "ne"):
        values = [right, *right] if isinstance(right, list) else [right]
        return _any_of(left.full, values, negated=operator == "ne")
    if right is not None and type_name(right) == "regex":
        return False
    return {left.full: {f"${operator}": right}}


def _known_against(left: Any, operator: str, right: Any) -> Condition:
    """``%%user.id: {$in: "%%root.members"}``: the known value is in the document's array."""
    if operator not in ("in", "nin"):
        return _against(right, FLIPPED[operator], left)
    if isinstance(right, Conversion):
        return _both_in_document(left, operator, right)
    return _any_of(right.full, left if isinstance(left, list) else [left], negated=operator == "nin")


def _any_of(path: str, values: list[Any], *, negated: bool) -> Document:
    """``path`` equals, or contains, one of ``values``; none of them is ever taken for an operator or a pattern."""
    if len(values) == 1:
        return {path: {"$ne" if negated else "$eq": values[0]}} if _plain(values[0]) else _each(path, values, negated)
    if all(map(_plain, values)):
        return {path: {"$nin" if negated else "$in": values}}
    return _each(path, values, negated)


def _each(path: str, values: list[Any], negated: bool) -> Document:
    return {"$nor" if negated else "$or": [{path: {"$eq": value}} for value in values]}


def _plain(value: Any) -> bool:
    if isinstance(value, dict):
        return not next(iter(value), "").startswith("$")
    return value is None or type_name(value) != "regex"


def _both_in_document(left: Any, operator: str, right: Any) -> Condition:
    a, b = _aggregated(left), _aggregated(right)
    if operator in ORDERING:
        # As in filters, only values of one kind are in any order, and null and missing are in none.
        numbers = {"$and": [{"$isNumber": [a]}, {"$isNumber": [b]}]}
        alike = {"$or": [numbers, {"$eq": [{"$type": a}, {"$type": b}]}]}
        return {"$expr": {"$and": [{"$gt": [a, None]}, alike, {f"${operator}": [a, b]}]}}
    same: Document = {"$or": [{"$eq": [a, b]}, _holds(b, a)]}
    if operator in ("eq", "ne"):
        same["$or"].append(_holds(a, b))
    else:
        same["$or"].append({"$gt": [{"$size": [{"$setIntersection": [_array(a), _array(b)]}]}, 0]})
    return {"$expr": {"$not": [same]} if operator in NEGATIVE else same}


def _holds(array: Any, value: Any) -> Document:
    return {"$in": [value, _array(array)]}


def _array(value: Any) -> Document:
    return {"$cond": [{"$isArray": [value]}, value, {"$literal": []}]}


UNCONVERTED = {"$literal": MinKey()}
"""What a field that cannot be converted counts as: no document has it and nobody writes it into a rule."""


def _aggregated(operand: Any) -> Any:
    if isinstance(operand, Field):
        return f"${operand.full}"
    if isinstance(operand, Conversion):
        path = f"${operand.operand.full}"
        source, target = ("string", "objectId") if operand.name == "stringToOid" else ("objectId", "string")
        converted = {"$convert": {"input": path, "to": target, "onError": UNCONVERTED, "onNull": UNCONVERTED}}
        return {"$cond": [{"$eq": [{"$type": path}, source]}, converted, UNCONVERTED]}
    return {"$literal": operand}


def _both_known(left: Any, operator: str, right: Any) -> bool:
    """Both sides are the caller's: the semantics of filters, on a document made for the purpose."""
    remainder = _against(Field("root", ""), operator, right)
    if isinstance(remainder, bool):
        return remainder
    return bool(compile_filter(remainder, Context())({} if left is ABSENT else {"root": left}))


# --- evaluation ------------------------------------------------------------------------------------------------------

Matcher = Callable[[Any, Any, Any, Any], bool]
"""(root, prev, this, prevThis) → whether the condition holds; ABSENT is "not there", for documents None as well."""


def matcher(condition: Document) -> Matcher:
    """A predicate over documents in memory."""
    predicate = compile_filter(condition, Context())

    def decide(root: Any, prev: Any, this: Any, prev_this: Any) -> bool:
        scopes: Document = {}
        if root is not None:
            scopes["root"] = root
        if prev is not None:
            scopes["prev"] = prev
        if this is not ABSENT:
            scopes["this"] = this
        if prev_this is not ABSENT:
            scopes["prevThis"] = prev_this
        return bool(predicate(scopes))

    return decide


def mentions_this(condition: Condition) -> bool:
    """Whether ``condition`` looks at the field at hand."""
    return any(place.partition(".")[0] in ("this", "prevThis") for place in _places(condition))


def changes_with(condition: Condition, fields: Collection[str]) -> bool:
    """Whether a change of the top-level ``fields`` of a document can change what ``condition`` says of it."""
    for place in _places(condition):
        scope, _, path = place.partition(".")
        if scope in ("this", "prevThis") or (scope == "root" and path.partition(".")[0] in {*fields, ""}):
            return True
    return False


def _places(condition: Any, *, expression: bool = False) -> list[str]:
    found: list[str] = []
    if is_string(condition):
        return [condition[1:]] if expression and condition.startswith("$") else []
    if isinstance(condition, list):
        for part in condition:
            found += _places(part, expression=expression)
    elif isinstance(condition, dict) and "$literal" not in condition:
        for key, value in condition.items():
            if expression or key in ("$and", "$or", "$nor", "$expr"):
                found += _places(value, expression=expression or key == "$expr")
            else:
                found.append(key)
    return found


def at_path(condition: Condition, path: str) -> Condition:
    """``condition`` of the field ``path``, said of the whole document."""
    if isinstance(condition, bool):
        return condition

    def place(text: str) -> str:
        scope, dot, rest = text.partition(".")
        whole = {"this": "root", "prevThis": "prev"}.get(scope)
        return text if whole is None else f"{whole}.{path}{dot}{rest}"

    return _renamed(condition, place)


def in_query(condition: Condition) -> Condition:
    """``condition`` as a filter on stored documents: root and prev are both the document as it stands."""
    return condition if isinstance(condition, bool) else _renamed(condition, _stored)


def _stored(text: str) -> str:
    # A stored document always has an `_id`, so that answers whether the document as a whole exists.
    return text.partition(".")[2] or "_id"


def _renamed(condition: Document, place: Callable[[str], str]) -> Document:
    query: Document = {}
    for key, value in condition.items():
        if key in ("$and", "$or", "$nor"):
            query[key] = [_renamed(part, place) for part in value]
        elif key == "$expr":
            query[key] = _renamed_expression(value, place)
        else:
            query[place(key)] = value
    return query


def _renamed_expression(value: Any, place: Callable[[str], str]) -> Any:
    if is_string(value) and value.startswith("$"):
        whole = value in ("$root", "$prev") and place is _stored
        return "$$ROOT" if whole else "$" + place(value[1:])
    if isinstance(value, dict):
        return value if "$literal" in value else {key: _renamed_expression(item, place) for key, item in value.items()}
    return [_renamed_expression(item, place) for item in value] if isinstance(value, list) else value
