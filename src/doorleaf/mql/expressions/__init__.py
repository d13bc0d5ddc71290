"""Aggregation expressions: compiled once into closures, a file per family of operators.

``compile_expression(expression, context, variables)`` gives ``fn(root, variable_values)``; :data:`OPERATORS` lists
every operator there is, for documentation and for whoever checks what a client may use.
"""

from __future__ import annotations

from doorleaf.mql.expressions import (
    arithmetic,
    array,
    boolean,
    comparison,
    conditional,
    convert,
    iteration,
    miscellaneous,
    objects,
    regular,
    rounding,
    selection,
    sets,
    statistics,
    string,
    substring,
    trigonometry,
    types,
    variable,
)
from doorleaf.mql.expressions.compile import (
    PARSERS,
    REDACT_VARIABLES,
    REFUSED,
    Constant,
    Evaluate,
    compile_expression,
)
from doorleaf.mql.expressions.dates import arithmetic as date_math
from doorleaf.mql.expressions.dates import fields as date_fields
from doorleaf.mql.expressions.dates import text as date_text

FAMILIES = (
    arithmetic,
    array,
    boolean,
    comparison,
    conditional,
    convert,
    date_fields,
    date_math,
    date_text,
    iteration,
    miscellaneous,
    objects,
    regular,
    rounding,
    selection,
    sets,
    statistics,
    string,
    substring,
    trigonometry,
    types,
    variable,
)
"""The modules that register operators; importing them is what fills the registry."""

OPERATORS: tuple[str, ...] = tuple(sorted(PARSERS))
"""The names of all expression operators, sorted."""

__all__ = ["OPERATORS", "REDACT_VARIABLES", "REFUSED", "Constant", "Evaluate", "compile_expression"]
