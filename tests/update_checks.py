"""How tests of updates apply them, and compare to the last bit and type."""

from __future__ import annotations

import copy
from datetime import datetime
from typing import Any

import bson
import pytest
from bson.int64 import Int64

from doorleaf.documents import CODEC
from doorleaf.errors import DataError
from doorleaf.mql.context import Context
from doorleaf.mql.updates.compile import compile_update

NOW = datetime(2024, 5, 6, 7, 8, 9, 123000)
L = Int64
Rows = list[tuple[dict[str, Any], Any, Any]]


def bytes_of(document: dict[str, Any]) -> bytes:
    return bson.encode(document, codec_options=CODEC)


def apply(document: dict[str, Any], update: Any, **options: Any) -> dict[str, Any]:
    positional = options.pop("positional", None)
    inserting = options.pop("inserting", False)
    before = copy.deepcopy(document)
    compiled = compile_update(update, Context(now=NOW), **options)
    result = compiled.apply(document, positional, inserting=inserting)
    assert bytes_of(document) == bytes_of(before), "the input was changed"
    return result


def check(document: dict[str, Any], update: Any, expected: Any, **options: Any) -> None:
    """``expected``: the new document, None for "the same object", or (code, part of the message)."""
    if isinstance(expected, tuple):
        with pytest.raises(DataError) as caught:
            apply(document, update, **options)
        assert (caught.value.number, expected[1] in caught.value.message) == (expected[0], True), caught.value.message
        return
    result = apply(document, update, **options)
    if expected is None:
        assert result is document
    else:
        assert result is not document
        assert bytes_of(result) == bytes_of(expected), result
