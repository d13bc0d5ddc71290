"""What callers make long is looked at a little, or in a thread: answers of functions, and fields that nobody knows."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import orjson
import pytest
from bson import Decimal128
from pydantic import ValidationError

from doorleaf import ejson
from doorleaf.dialects import bodies
from doorleaf.dialects.about import About, Gives
from doorleaf.dialects.base import Later, Reply, Request
from doorleaf.dialects.client import functions
from doorleaf.dialects.handling import handled
from doorleaf.errors import InvalidParameter
from doorleaf.operations.places import ONE_PLACE


@pytest.mark.parametrize(("count", "apart"), [(10, False), (40_000, True)])
def test_a_long_answer_of_a_function_is_written_in_a_thread(
    monkeypatch: pytest.MonkeyPatch, count: int, apart: bool
) -> None:
    written: list[int] = []
    dumps = ejson.dumps

    def noted(*given: Any) -> bytes:
        written.append(threading.get_ident())
        return dumps(*given)

    async def run(name: str, arguments: list[Any], identity: Any, request: Request) -> Any:
        return [Decimal128("1.5")] * count

    async def reply() -> Reply:
        call, _ = functions.function_routes(places=ONE_PLACE, max_documents=10, run=run)
        assert call.decode is not None
        later = call.decode(Request("POST", functions.PATH, {}, "", "", body=b'{"name": "long", "arguments": []}'))
        assert isinstance(later, Later)
        return await later.reply()

    monkeypatch.setattr(ejson, "dumps", noted)
    answer = orjson.loads(asyncio.run(reply()).body)
    assert answer == [{"$numberDecimal": "1.5"}] * count
    assert [thread != threading.get_ident() for thread in written] == [apart]


@pytest.mark.parametrize(("size", "apart"), [(10, False), (100_000, True)])
def test_a_long_body_is_read_in_a_thread(monkeypatch: pytest.MonkeyPatch, size: int, apart: bool) -> None:
    read: list[int] = []
    loads = ejson.loads

    def noted(body: bytes) -> Any:
        read.append(threading.get_ident())
        return loads(body)

    class Some(bodies.Body):
        name: bodies.Object

    async def act(request: Request, given: Some) -> Any:
        return len(given.name["a"])

    monkeypatch.setattr(ejson, "loads", noted)
    about = About(summary="", tag="", takes=Some, gives=Gives(content=int))
    route = handled("POST", "/some", "some", act, about)
    assert route.handle is not None
    request = Request("POST", "/some", {}, "", "", body=orjson.dumps({"name": {"a": "x" * size}}))
    assert asyncio.run(route.handle(request)).body == b"%d" % size  # type: ignore[arg-type]  # a coroutine
    assert [thread != threading.get_ident() for thread in read] == [apart]


def test_of_many_unknown_fields_one_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    counts: list[int] = []
    mistake = bodies.Taken._mistake.__func__  # type: ignore[attr-defined]

    def noted(cls: Any, error: ValidationError) -> Any:
        counts.append(error.error_count())
        return mistake(cls, error)

    class Some(bodies.Body):
        name: bodies.Text
        other: bodies.Flag = None

    monkeypatch.setattr(bodies.Taken, "_mistake", classmethod(noted))
    unknown = {f"k{number}": number for number in range(50_000)}
    for known in ({}, {"name": "a"}, {"name": "a", "other": True}):
        with pytest.raises(InvalidParameter, match=r"^k0: no such field; there are name, other$"):
            Some.read({**unknown, **known})
    assert max(counts) <= 2
    with pytest.raises(InvalidParameter, match=r"^name: "):
        Some.read({**unknown, "name": 1})
    assert Some.read({"name": "a", "other": False}).name == "a"
