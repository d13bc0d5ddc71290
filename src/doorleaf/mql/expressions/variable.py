"""``$let`` and ``$literal``."""

from __future__ import annotations

from typing import Any

from doorleaf.mql.expressions.compile import Constant, Evaluate, Named, Scope, fail, parser
from doorleaf.mql.memory import holding, values_of
from doorleaf.mql.values import type_name

_LET = Named(
    (16874, "$let only supports an object as its argument"),
    (16875, "Unrecognized parameter to $let: {name}"),
    {"vars": (16876, "Missing 'vars' parameter to $let"), "in": (16877, "Missing 'in' parameter to $let")},
)


@parser("$let")
def _let(argument: Any, scope: Scope) -> Evaluate:
    arguments = _LET.take(argument)
    declared = arguments["vars"]
    if not isinstance(declared, dict):
        fail(
            9 if isinstance(declared, list) else 10065,
            f"invalid parameter: expected an object (vars), found {type_name(declared)}",
        )
    inner_scope = scope.declaring(*declared)
    # The values see the variables outside, never each other.
    names = tuple(declared)
    items = [scope.compile(item) for item in declared.values()]
    context = scope.context
    body = inner_scope.compile(arguments["in"])

    def evaluate(root: Any, variables: dict[str, Any]) -> Any:
        found = values_of(items, root, variables, context)
        with holding(context, *found):
            return body(root, {**variables, **dict(zip(names, found, strict=True))})

    return body if isinstance(body, Constant) else evaluate


@parser("$literal")
@parser("$const")
def _literal(argument: Any, scope: Scope) -> Evaluate:
    return Constant(argument)
