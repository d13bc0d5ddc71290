"""Documents: ``$mergeObjects``, ``$getField``, ``$setField`` and ``$unsetField``."""

from __future__ import annotations

from typing import Any

from doorleaf.mql.context import Context
from doorleaf.mql.display import display
from doorleaf.mql.expressions.compile import Constant, Evaluate, Named, Scope, fail, function, nullish, parser
from doorleaf.mql.memory import bounded
from doorleaf.mql.values import MISSING, as_document, type_name

_GET = Named(
    (3041700, "$getField requires an object or an expression, found: {found}"),
    (3041701, "$getField found an unknown argument: {name}"),
    {
        "field": (3041702, "$getField requires 'field' to be specified"),
        "input": (3041703, "$getField requires 'input' to be specified"),
    },
)
_SET = Named(
    (4161100, "$setField only supports an object as its argument"),
    (4161101, "$setField found an unknown argument: {name}"),
    {
        "field": (4161102, "$setField requires 'field' to be specified"),
        "value": (4161103, "$setField requires 'value' to be specified"),
        "input": (4161109, "$setField requires 'input' to be specified"),
    },
)
_UNSET = Named(
    (4161100, "$unsetField only supports an object as its argument"),
    (4161101, "$unsetField found an unknown argument: {name}"),
    {
        "field": (4161102, "$unsetField requires 'field' to be specified"),
        "input": (4161109, "$unsetField requires 'input' to be specified"),
    },
)


def merge(documents: Any) -> dict[str, Any]:
    """The fields of all ``documents``, later ones winning in place; null and missing count as empty."""
    merged: dict[str, Any] = {}
    for value in documents:
        if nullish(value):
            continue
        document = as_document(value)
        if document is None:
            kind = type_name(value)
            fail(40400, f"$mergeObjects requires object inputs, but input {display(value)} is of type {kind}")
        merged.update(document)
    return merged


@function("$mergeObjects", 0, None, context=True)
def _merge_objects(context: Context, *values: Any) -> Any:
    # One operand that evaluates to an array gives its documents, as in an accumulator.
    documents = values[0] if len(values) == 1 and isinstance(values[0], list) else values
    return bounded(merge(documents), context)


@parser("$getField")
def _get_field(argument: Any, scope: Scope) -> Evaluate:
    if isinstance(argument, dict) and not next(iter(argument), "").startswith("$"):
        arguments = _GET.take(argument)
    else:
        arguments = {"field": argument, "input": "$$CURRENT"}
    field, source = scope.compile(arguments["field"]), scope.compile(arguments["input"])
    if isinstance(field, Constant):
        _field_name("$getField", 3041704, field.value)

    def evaluate(root: Any, variables: dict[str, Any]) -> Any:
        name = _field_name("$getField", 3041704, field(root, variables))
        value = source(root, variables)
        document = as_document(value)
        if document is not None:
            return document.get(name, MISSING)
        return None if value is None else MISSING

    return evaluate


def _field_name(operator: str, code: int, name: Any) -> str:
    if type_name(name) != "string":
        fail(code, f"{operator} requires 'field' to evaluate to type String, but got {type_name(name)}")
    return str(name)


def _setter(operator: str, named: Named) -> None:
    def parse(argument: Any, scope: Scope) -> Evaluate:
        arguments = named.take(argument)
        name = _constant_name(operator, arguments["field"], scope)
        source = scope.compile(arguments["input"])
        value = scope.compile(arguments.get("value", "$$REMOVE"))
        return _assignment(operator, name, source, value, scope.context)

    parser(operator)(parse)


def _constant_name(operator: str, written: Any, scope: Scope) -> str:
    if type_name(written) == "string" and written.startswith("$"):
        fail(4161108, f"'{operator}' requires 'field' to be a constant: write a name with '$' in front as $literal")
    literal = not isinstance(written, (dict, list)) or written == {} or "$literal" in written or "$const" in written
    field = scope.compile(written)
    if not literal or not isinstance(field, Constant):
        fail(4161106, f"{operator} requires 'field' to evaluate to a constant, but got a non-constant argument")
    name = _field_name(operator, 4161107, field.value)
    if "\0" in name:
        fail(9534700, f"{operator}: 'field' cannot contain an embedded null byte")
    return name


def _assignment(operator: str, name: str, source: Evaluate, value: Evaluate, context: Context) -> Evaluate:
    def evaluate(root: Any, variables: dict[str, Any]) -> Any:
        found = source(root, variables)
        if nullish(found):
            return None
        document = as_document(found)
        if document is None:
            fail(4161105, f"{operator} requires 'input' to evaluate to type Object")
        changed = dict(document)
        new = value(root, variables)
        if new is MISSING:
            changed.pop(name, None)
            return changed
        changed[name] = new
        return bounded(changed, context) if isinstance(new, (list, dict)) else changed

    return evaluate


_setter("$setField", _SET)
_setter("$unsetField", _UNSET)
