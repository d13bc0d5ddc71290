"""``$cond``, ``$ifNull`` and ``$switch``: only the branch that is taken is evaluated."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from doorleaf.mql.expressions.compile import Constant, Evaluate, Scope, fail, nullish, operands, parser
from doorleaf.mql.values import truthy, type_name

_COND_ERRORS = {"if": 17080, "then": 17081, "else": 17082}


@parser("$cond")
def _cond(argument: Any, scope: Scope) -> Evaluate:
    if isinstance(argument, dict):
        for name in argument:
            if name not in _COND_ERRORS:
                fail(17083, f"Unrecognized parameter to $cond: {name}")
        for name, number in _COND_ERRORS.items():
            if name not in argument:
                fail(number, f"Missing '{name}' parameter to $cond")
        argument = [argument["if"], argument["then"], argument["else"]]
    items = operands("$cond", argument, 3, 3)
    condition = scope.compile(items[0])
    if isinstance(condition, Constant):
        taken = 1 if truthy(condition.value) else 2
        scope.compile_unused(items[3 - taken])
        return scope.compile(items[taken])
    then, otherwise = scope.compile(items[1]), scope.compile(items[2])

    def evaluate(root: Any, variables: dict[str, Any]) -> Any:
        return then(root, variables) if truthy(condition(root, variables)) else otherwise(root, variables)

    return evaluate


@parser("$ifNull")
def _if_null(argument: Any, scope: Scope) -> Evaluate:
    count = len(argument) if isinstance(argument, (list, tuple)) else 1
    if count < 2:
        fail(1257300, f"$ifNull needs at least two arguments, had: {count}")
    items = [scope.compile(item) for item in argument]
    each = scope.context.each

    def evaluate(root: Any, variables: dict[str, Any]) -> Any:
        value = None
        for item in each(items):
            value = item(root, variables)
            if not nullish(value):
                return value
        return value

    return scope.fold(evaluate, items)


@parser("$switch")
def _switch(argument: Any, scope: Scope) -> Evaluate:
    if not isinstance(argument, dict):
        fail(40060, f"$switch requires an object as an argument, found: {type_name(argument)}")
    for name in argument:
        if name not in ("branches", "default"):
            fail(40067, f"$switch found an unknown argument: {name}")
    written = argument.get("branches", [])
    if not isinstance(written, (list, tuple)):
        fail(40061, f"$switch expected an array for 'branches', found: {type_name(written)}")
    if not written:
        fail(40068, "$switch requires at least one branch.")
    branches = _branches(written, scope)
    default = scope.compile_optional(argument, "default")
    each = scope.context.each

    def evaluate(root: Any, variables: dict[str, Any]) -> Any:
        for case, then in each(branches):
            if truthy(case(root, variables)):
                return then(root, variables)
        if default is None:
            fail(40069, "$switch could not find a matching branch for an input, and no default was specified.")
        return default(root, variables)

    return evaluate


def _branches(written: Sequence[Any], scope: Scope) -> list[tuple[Evaluate, Evaluate]]:
    """The branches that can be taken: none whose case is constantly false, none after one that is constantly true."""
    branches = []
    decided = False
    for case, then in map(_branch, written):
        if decided:
            scope.compile_unused([case, then])
            continue
        condition = scope.compile(case)
        constant = isinstance(condition, Constant)
        if isinstance(condition, Constant) and not truthy(condition.value):
            scope.compile_unused(then)
            continue
        branches.append((condition, scope.compile(then)))
        decided = constant
    return branches


def _branch(branch: Any) -> tuple[Any, Any]:
    if not isinstance(branch, dict):
        fail(40062, f"$switch expected each branch to be an object, found: {type_name(branch)}")
    for name in branch:
        if name not in ("case", "then"):
            fail(40063, f"$switch found an unknown argument to a branch: {name}")
    if "case" not in branch:
        fail(40064, "$switch requires each branch have a 'case' expression")
    if "then" not in branch:
        fail(40065, "$switch requires each branch have a 'then' expression.")
    return branch["case"], branch["then"]
