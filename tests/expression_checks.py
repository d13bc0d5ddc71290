"""How tests of expressions and accumulators evaluate, and compare to the last bit and type."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import bson
import pytest

from doorleaf.documents import CODEC
from doorleaf.errors import DataError
from doorleaf.mql.accumulators.compile import compile_accumulator
from doorleaf.mql.context import Context
from doorleaf.mql.expressions import compile_expression
from doorleaf.mql.values import MISSING

Row = tuple[dict[str, Any], Any, Any]
"""Document, expression, expected value (MISSING for none)."""

ErrorRow = tuple[dict[str, Any], Any, int, str]
"""Document, expression, error number, part of the text."""

NOW = datetime(2024, 2, 29, 12, 30, 15, 250_000)


def stored(document: dict[str, Any]) -> dict[str, Any]:
    """``document`` as it comes out of a store."""
    return bson.decode(bson.encode(document, codec_options=CODEC), CODEC)


def evaluate(document: dict[str, Any], expression: Any, **variables: Any) -> Any:
    """The value of ``expression`` for a stored document."""
    context = Context(None, NOW)
    root = stored(document)
    before = bson.encode(root, codec_options=CODEC)
    value = compile_expression(expression, context, tuple(variables))(root, variables)
    assert bson.encode(root, codec_options=CODEC) == before, "the document was changed"
    return value


def assert_same(actual: Any, expected: Any) -> None:
    """The two are the same value of the same BSON type."""
    if expected is MISSING or actual is MISSING:
        assert actual is expected
        return
    if isinstance(actual, float) and isinstance(expected, float) and actual != actual:
        assert expected != expected  # not-a-number has many bit patterns
        return
    encoded = [bson.encode({"": value}, codec_options=CODEC) for value in (actual, expected)]
    assert encoded[0] == encoded[1], f"{actual!r} is not {expected!r}"


def assert_row(row: Row) -> None:
    """The expression of ``row`` has the expected value."""
    document, expression, expected = row
    assert_same(evaluate(document, expression), expected)


def assert_error(row: ErrorRow) -> None:
    """The expression of ``row`` raises its error, when compiled or when evaluated."""
    document, expression, number, text = row
    with pytest.raises(DataError) as raised:
        evaluate(document, expression)
    assert (raised.value.number, text in raised.value.message) == (number, True), raised.value.message


def accumulate(documents: list[dict[str, Any]], spec: dict[str, Any], group: dict[str, Any] | None = None) -> Any:
    """The result of an accumulator over stored documents."""
    accumulator = compile_accumulator(spec, Context(None, NOW))(group)
    for document in documents:
        accumulator.add(stored(document), {})
    return accumulator.result()
