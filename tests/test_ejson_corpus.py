"""Extended JSON against MongoDB's whole BSON corpus.

``DOORLEAF_SPECIFICATIONS`` names a checkout of mongodb/specifications; its licence does not allow a copy here.
"""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

import bson
import pytest

from doorleaf.documents import CODEC
from doorleaf.ejson import Mode, encode_document, loads
from doorleaf.errors import InvalidParameter

SPECIFICATIONS = os.environ.get("DOORLEAF_SPECIFICATIONS")
CORPUS = Path(SPECIFICATIONS or "/nowhere", "source", "bson-corpus", "tests")

pytestmark = pytest.mark.skipif(
    SPECIFICATIONS is None, reason="DOORLEAF_SPECIFICATIONS does not name a checkout of mongodb/specifications"
)

CONVERTED = {"0x06", "0x0C", "0x0E"}
"""Undefined, DBPointer and symbol: read as null, a DBRef document and a string, as the corpus allows."""


def cases(kind: str) -> list[Any]:
    listed = []
    for file in sorted(CORPUS.glob("*.json")):
        content = json.loads(file.read_text())
        listed += [
            pytest.param(content["bson_type"], case, id=f"{file.stem}: {case['description']}")
            for case in content.get(kind, ())
        ]
    return listed


def encoded(document: dict[str, Any]) -> bytes:
    return bson.encode(document, codec_options=CODEC)


def comparable(value: Any) -> Any:
    """Extended JSON whose doubles compare by value, NaN and the sign of zero included."""
    if isinstance(value, dict):
        if value.keys() == {"$numberDouble"}:
            number = float(value["$numberDouble"])
            return ("double", math.copysign(1, number), "nan" if math.isnan(number) else number)
        return {key: comparable(member) for key, member in value.items()}
    return [comparable(member) for member in value] if isinstance(value, list) else value


def test_there_is_a_corpus() -> None:
    assert len(list(CORPUS.glob("*.json"))) > 25


@pytest.mark.parametrize(("bson_type", "case"), cases("valid"))
def test_valid(bson_type: str, case: dict[str, Any]) -> None:
    stored = bytes.fromhex(case["canonical_bson"])
    canonical, relaxed = case["canonical_extjson"], case.get("relaxed_extjson")
    if bson_type in CONVERTED or "converted_bson" in case:
        stored = bytes.fromhex(case.get("converted_bson", case["canonical_bson"]))
        canonical, relaxed = case.get("converted_extjson", canonical), None
        if bson_type == "0x0C":  # the corpus keeps pointers in its converted document; a DBRef reads back the same
            assert loads(canonical.encode()) == loads(
                encode_document(encoded(loads(canonical.encode())), Mode.CANONICAL)
            )
            return
    if not case.get("lossy"):
        assert encoded(loads(canonical.encode())) == stored
    assert comparable(json.loads(encode_document(stored, Mode.CANONICAL))) == comparable(json.loads(canonical))
    if relaxed is not None:
        assert comparable(json.loads(encode_document(stored, Mode.RELAXED))) == comparable(json.loads(relaxed))
        assert comparable(json.loads(encode_document(encoded(loads(relaxed.encode())), Mode.RELAXED))) == comparable(
            json.loads(relaxed)
        )
    if "degenerate_extjson" in case and not case.get("lossy"):
        assert encoded(loads(case["degenerate_extjson"].encode())) == stored
    if "degenerate_bson" in case:
        degenerate = encode_document(bytes.fromhex(case["degenerate_bson"]), Mode.CANONICAL)
        assert comparable(json.loads(degenerate)) == comparable(json.loads(canonical))
    json.loads(encode_document(bytes.fromhex(case["canonical_bson"]), Mode.PLAIN), parse_constant=pytest.fail)


@pytest.mark.parametrize(("bson_type", "case"), cases("parseErrors"))
def test_parse_errors(bson_type: str, case: dict[str, Any]) -> None:
    written = case["string"]
    if case["description"] == "Bad $date (number, not string or hash)":  # the legacy form, taken on purpose
        assert loads(written.encode())
        return
    if bson_type == "0x13":
        written = json.dumps({"d": {"$numberDecimal": written}})
    try:
        document = loads(written.encode())
    except InvalidParameter:
        return
    with pytest.raises((bson.errors.InvalidDocument, bson.errors.InvalidStringData, ValueError)):
        encoded(document)


@pytest.mark.parametrize(("bson_type", "case"), cases("decodeErrors"))
def test_decode_errors(bson_type: str, case: dict[str, Any]) -> None:
    """What is no BSON is an error, or its bad UTF-8 is replaced; it is never bytes that are no JSON."""
    try:
        written = encode_document(bytes.fromhex(case["bson"]), Mode.CANONICAL)
    except (bson.errors.InvalidBSON, bson.errors.InvalidDocument, ValueError):
        return
    json.loads(written)
