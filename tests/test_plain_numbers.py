"""Plain JSON as Go's encoder writes it, and the form of answers where ``Accept`` asks for none."""

from __future__ import annotations

import math
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson
import pytest
from asgi import Collection, application
from bson import Code, Int64

from doorleaf.ejson import Mode, dumps, mode_of


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (10.0, "10"),
        (-3.0, "-3"),
        (0.0, "0"),
        (-0.0, "-0"),
        (10.5, "10.5"),
        (0.1, "0.1"),
        (-1234.5678, "-1234.5678"),
        (2.0**53, "9007199254740992"),
        (2.0**63, "9223372036854776000"),
        (1e20, "100000000000000000000"),
        (1.2345678901234568e20, "123456789012345680000"),
        (1e21, "1e+21"),
        (1.5e300, "1.5e+300"),
        (1e-6, "0.000001"),
        (1.5e-5, "0.000015"),
        (1e-7, "1e-7"),
        (-2.5e-9, "-2.5e-9"),
        (5e-324, "5e-324"),
        (math.inf, '{"$numberDouble":"Infinity"}'),
        (math.nan, '{"$numberDouble":"NaN"}'),
        (10, "10"),
        (Int64(2**53 + 1), "9007199254740993"),
        (datetime(2023, 3, 29, 15, 54, 47), '"2023-03-29T15:54:47Z"'),
        (datetime(2023, 3, 29, 15, 54, 47, 69000), '"2023-03-29T15:54:47.069Z"'),
        (datetime(2023, 3, 29, 15, 54, 47, 500000), '"2023-03-29T15:54:47.5Z"'),
        (datetime(2023, 3, 29, 15, 54, 40), '"2023-03-29T15:54:40Z"'),
        (Code("f", {"n": 1.0}), '{"Code":"f","Scope":{"n":1}}'),
        ([{"a": [1.0, None]}], '[{"a":[1,null]}]'),
    ],
)
def test_as_go_writes_it(value: Any, written: str) -> None:
    assert dumps({"v": value}, Mode.ATLAS) == b'{"v":' + written.encode() + b"}"
    if isinstance(value, float) and math.isfinite(value):
        assert float(written) == value


def test_the_setting(tmp_path: Path) -> None:
    for name, written in (("exact", b"10.0"), ("atlas", b"10")):
        with application(tmp_path / name, plain_numbers=name) as app:
            things = Collection(app)
            things.ok("insertOne", document={"_id": 1, "n": 10.0, "at": {"$date": "2023-03-29T15:54:47Z"}})
            body = things.act("find", filter={}).body
            assert b'"n":' + written + b"," in body
            assert (b"15:54:47Z" in body) == (name == "atlas")
            assert things.act("findOne", filter={}).headers["content-type"] == "application/json"
            canonical = things.act("findOne", {"Accept": "application/ejson"}, filter={}).json["document"]
            assert canonical["n"] == {"$numberDouble": "10.0"}


def test_the_form_where_nothing_is_asked_for(tmp_path: Path) -> None:
    with application(tmp_path, return_type="EJSON") as app:
        things = Collection(app)
        for headers in ({}, {"Accept": "*/*"}, {"Accept": "application/*;q=0.5"}, {"Accept": "text/html"}):
            answer = things.act("countDocuments", headers, filter={})
            assert orjson.loads(answer.body) == {"count": {"$numberInt": "0"}}, headers
            assert answer.headers["content-type"] == "application/ejson"
        plain = things.act("countDocuments", {"Accept": "application/json"}, filter={})
        assert plain.json == {"count": 0}
        assert plain.headers["content-type"] == "application/json"
        things.refused("find", filter=5)
    assert mode_of(None) is mode_of("*/*") is Mode.PLAIN
