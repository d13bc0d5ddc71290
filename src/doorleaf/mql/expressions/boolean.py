"""``$and``, ``$or`` (both stop at the first operand that decides) and ``$not``."""

from __future__ import annotations

from typing import Any

from doorleaf.mql.expressions.compile import Constant, Evaluate, Scope, function, operands, parser
from doorleaf.mql.values import truthy


def _deciding(name: str, decisive: bool) -> None:
    """Register ``name``: the first operand whose truth is ``decisive`` decides, else the opposite holds."""

    def parse(argument: Any, scope: Scope) -> Evaluate:
        items = []
        for item in [scope.compile(operand) for operand in operands(name, argument, 0, None)]:
            if not isinstance(item, Constant):
                items.append(item)
            elif truthy(item.value) is decisive:
                return Constant(decisive)
        if not items:
            return Constant(not decisive)

        each = scope.context.each

        def evaluate(root: Any, variables: dict[str, Any]) -> bool:
            for item in each(items):
                if truthy(item(root, variables)) is decisive:
                    return decisive
            return not decisive

        return evaluate

    parser(name)(parse)


_deciding("$and", False)
_deciding("$or", True)


@function("$not", 1)
def _not(value: Any) -> bool:
    return not truthy(value)
