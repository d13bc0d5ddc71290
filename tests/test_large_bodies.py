"""Large bodies: read in parts that give what reading them at once gives, or refused for their shape."""

from __future__ import annotations

import asyncio
import gc
import gzip
import random
import sys
import time
import tracemalloc
from pathlib import Path
from typing import Any

import bson
import orjson
import pytest
from asgi import KEY, application
from native_values import Values

from doorleaf.dialects.base import Request
from doorleaf.documents import CODEC, Documents
from doorleaf.ejson import Mode, encode_documents, encode_pieces, loads, parts, pieces, read
from doorleaf.errors import InvalidParameter, PayloadTooLarge, ServerBusy
from doorleaf.http import memory
from doorleaf.http.memory import Bodies
from doorleaf.operations import Find


def value(source: random.Random, depth: int = 0) -> Any:
    """A value whose text is full of what looks like the end of a document."""
    kind = source.randrange(8 if depth < 4 else 4)
    match kind:
        case 0:
            return source.choice(['},{"_id":1', '"},{"_id":', "\\", '\\"', "],[", '{"documents":[', "ø\\u0041", ""])
        case 1:
            return source.randrange(-10, 10)
        case 2:
            return source.choice([None, True, 1.5])
        case 3:
            return "x" * source.randrange(50)
        case 4 | 5:
            return [{"_id": value(source, depth + 1)} for _ in range(source.randrange(3))]
        case _:
            return {source.choice(["_id", "a", '"},{', "documents"]): value(source, depth + 1) for _ in range(3)}


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "LARGE_BYTES", 100)
    monkeypatch.setattr(pieces, "PIECE_BYTES", 40)


def read_in_parts(text: bytes) -> Any:
    """What ``text`` gives in parts, and at once where it has no array that is long enough."""
    try:
        return pieces.load(text)
    except pieces.Whole:
        return orjson.loads(text)


def read_as_large(text: bytes, monkeypatch: pytest.MonkeyPatch, *, large: bool) -> Any:
    """What a body of any length gives that is taken for a large one or a small one; its error's message."""
    with monkeypatch.context() as patch:
        patch.setattr(read, "LARGE_BYTES", 1 if large else sys.maxsize)
        patch.setattr(pieces, "LARGE_BYTES", 1 if large else sys.maxsize)
        patch.setattr(parts, "PART_BYTES", 60)
        try:
            return loads(text)
        except InvalidParameter:
            return InvalidParameter


@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize("seed", range(300))
def test_reading_in_parts_is_reading_at_once(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    source = random.Random(seed)
    documents = [{"_id": value(source), "b": value(source)} for _ in range(source.randrange(30))]
    name = source.choice(["documents", "operations", "pipeline"])
    body = {"database": value(source), name: documents, "after": value(source)}
    match seed % 4:
        case 1:
            body = {"before": value(source), "arguments": [value(source), body], "after": value(source)}
        case 2:
            values = [value(source) for _ in range(source.randrange(60))]
            body = {"filter": {"a": value(source), "n": {"$in": values, "b": value(source)}}, "after": value(source)}
    option = orjson.OPT_INDENT_2 if seed % 3 == 0 else 0
    text = orjson.dumps(body, None, option)
    assert read_in_parts(text) == body
    # Damage at any place is seen as it is seen at once.
    at = source.randrange(len(text))
    for damaged in (
        text[:at],
        text[:at] + text[at + 1 :],
        text[:at] + source.choice([b",", b"]", b'"', b"{"]) + text[at:],
    ):
        try:
            wanted = orjson.loads(damaged)
        except orjson.JSONDecodeError:
            with pytest.raises(orjson.JSONDecodeError):
                read_in_parts(damaged)
        else:
            assert read_in_parts(damaged) == wanted
        assert read_as_large(damaged, monkeypatch, large=True) == read_as_large(damaged, monkeypatch, large=False)


@pytest.mark.parametrize("number", ["1\u0663", "-1.5\u0663", "1e1\u0663", "1.\u0663"])
def test_digits_of_other_scripts_are_no_number(number: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for large in (False, True):
        assert read_as_large(f'{{"n":{number}}}'.encode(), monkeypatch, large=large) is InvalidParameter


def test_large_bson_is_decoded_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "PART_BYTES", 300)
    values = Values(7)
    for _ in range(300):
        document = bson.encode(
            {"a": values.document(), "b": [values.document() for _ in range(9)]}, codec_options=CODEC
        )
        assert repr(parts.decode(document)) == repr(bson.decode(document, CODEC))
    longest: list[int] = []
    at_once = bson.decode

    def counting(document: bytes, options: Any) -> Any:
        longest.append(len(document))
        return at_once(document, options)

    monkeypatch.setattr("bson.decode", counting)
    wide = {"a": {f"field{n}": n for n in range(3_000)}, "b": [[n, {"c": [*range(100)]}] for n in range(300)], "z": 1}
    document = bson.encode(wide, codec_options=CODEC)
    assert parts.decode(document) == wide
    assert len(longest) > 100
    assert max(longest) < 700


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b'{"a":[' + b"1," * 900_000 + b"1]x}", r"at byte 1800008: expecting ',' delimiter"),
        (b'{"pipeline":[' + b'{"a":""},' * 150_000 + b'{"a":1,"a":2}]}', "pipeline.150000.a: the key is there twice"),
        (b'{"a":"' + b"x" * 1_500_000 + b"\\u00", r"at byte 150000[67]"),
        (b'{"a":[' + b"1," * 900_000 + b"99999999999999999999]}", "a.900000: the integer .* is beyond 64 bits"),
    ],
)
def test_what_is_wrong_with_a_large_body_is_said_where(body: bytes, told: str) -> None:
    with pytest.raises(InvalidParameter, match=told):
        loads(body)


@pytest.mark.usefixtures("small_pieces")
def test_a_large_body_is_read_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    loads_at_once = orjson.loads

    def counting(text: bytes) -> Any:
        sizes.append(len(text))
        return loads_at_once(text)

    monkeypatch.setattr("orjson.loads", counting)
    text = orjson.dumps({"collection": "c", "documents": [{"_id": n, "sub": {"_id": n}} for n in range(500)]})
    assert len(pieces.load(text)["documents"]) == 500
    assert len(sizes) > 100
    assert max(sizes) < 300


@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize(
    "body",
    [
        {"name": "insertMany", "arguments": [{"documents": [{"_id": n, "text": "a,]b"} for n in range(300)]}]},
        {"filter": {"$or": [{"n": {"$in": [*range(2_000)]}}, {"m": 1}]}},
        {"filter": {"n": {"$nin": [f"text, {n}" for n in range(500)]}}},
        {"update": {"$push": {"a": {"$each": [[n, n] for n in range(900)], "$slice": 5}}}},
    ],
    ids=["a call", "numbers", "texts", "arrays"],
)
def test_a_large_array_further_inside_is_read_in_parts(monkeypatch: pytest.MonkeyPatch, body: dict[str, Any]) -> None:
    sizes: list[int] = []
    loads_at_once = orjson.loads

    def counting(text: bytes) -> Any:
        sizes.append(len(text))
        return loads_at_once(text)

    monkeypatch.setattr("orjson.loads", counting)
    text = orjson.dumps(body)
    assert pieces.load(text) == body
    assert max(sizes) < 300


def test_parts_are_counted_across_slices() -> None:
    source = random.Random(3)
    body = bytes(source.choices(b'":{},', k=700_001))
    for part in (b",", b'":', b"{}", b"\n:"):
        assert pieces.count(body, part) == body.count(part)


def test_a_key_that_comes_twice_is_found_in_parts_too() -> None:
    documents = b",".join(b'{"_id":%d,"text":"%b"}' % (n, b"x" * 100) for n in range(20_000))
    for body in (
        b'{"documents":[' + documents + b'],"documents":[]}',
        b'{"documents":[],"documents":[' + documents + b"]}",
        b'{"documents":[' + documents + b',{"_id":1,"_id":2}]}',
        b'{"documents":[{"_id":1,"_id":2},' + documents + b"]}",
    ):
        with pytest.raises(InvalidParameter, match="twice"):
            loads(body)
    assert len(loads(b'{"documents":[' + documents + b"]}")["documents"]) == 20_000


def test_absurd_shapes_are_refused() -> None:
    for body in (
        b'{"documents":[' + b"{}," * 1_200_000 + b"{}]}",
        b'{"filter":{"$in":[' + b"1," * 3_100_000 + b"1]}}",
        b'{"a":[' + b"[]," * 1_200_000 + b"[]]}",
    ):
        with pytest.raises(PayloadTooLarge, match="the body has more than"):
            loads(body)
    text = '1,2,[{"' * 1_000_000
    assert loads(orjson.dumps({"document": {"text": text}})) == {"document": {"text": text}}, (
        "commas in a text are none"
    )


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("count", [0, 1, 7, 2000])
def test_a_long_answer_in_pieces_is_the_same(mode: Mode, count: int) -> None:
    documents = [{"_id": n, "text": "å" * (n % 900)} for n in range(count)]
    raw = [bson.encode(document, codec_options=CODEC) for document in documents]
    batches = [b"".join(raw[:5]), b"".join(raw[5:])] if count else []
    whole = b'{"documents":' + encode_documents(Documents(batches), mode) + b"}"
    for made in (Documents(batches), Documents.decoded_as(documents)):
        written = [*encode_pieces(made, mode)]
        assert b"".join(written) == whole
        assert count < 1000 or len(written) > 4


def test_bodies_that_are_no_operations_have_few_values(tmp_path: Path) -> None:
    """They are read on the event loop, some of them before anybody is known."""
    with application(tmp_path) as app:
        for path, headers in (
            ("/auth/providers/api-key/login", {}),
            ("/api/client/v2.0/app/a/auth/providers/api-key/login", {}),
            ("/api/admin/v1/keys", {"apiKey": KEY}),
        ):
            answer = app.call("POST", path, b'{"key":[' + b"[]," * 300_000 + b"[]]}", headers)
            assert answer.status == 413, path
            assert b"values" in answer.body
        token = app.call("POST", "/auth/providers/api-key/login", orjson.dumps({"key": "x" * 900_000}))
        assert token.status == 401, "long, but one value"


def test_a_compressed_body_is_read_as_the_same_body(tmp_path: Path) -> None:
    with application(tmp_path) as app:
        document = {"_id": 1, "text": "".join(random.Random(1).choices("abcdefgh", k=30_000))}
        body = orjson.dumps({"database": "d", "collection": "c", "document": document})
        packed = gzip.compress(body)
        assert len(packed) > 4096
        headers = {"apiKey": KEY, "Content-Encoding": "gzip"}
        assert app.call("POST", "/action/insertOne", packed, headers).status == 201
        assert app.act("findOne", {"database": "d", "collection": "c"}).json == {"document": document}
        assert app.call("POST", "/action/insertOne", packed[:-100], headers).status == 400
        halves = gzip.compress(body[:9000]) + gzip.compress(b"") + gzip.compress(body[9000:])
        assert app.call("POST", "/action/insertOne", halves, headers).status == 409, "members one after another"
        many = gzip.compress(b"") * 1_001
        answer = app.call("POST", "/action/insertOne", many, headers)
        assert answer.status == 400
        assert b"members" in answer.body
        for wrong in (packed[:-8] + b"\0\0\0\0" + packed[-4:], packed + b"more", gzip.compress(packed), b"\x1f\x8b"):
            assert app.call("POST", "/action/insertOne", wrong, headers).status == 400
        twice = {**headers, "Content-Encoding": "gzip, gzip"}
        assert app.call("POST", "/action/insertOne", gzip.compress(packed), twice).status == 400
        bomb = gzip.compress(b" " * 30_000_000)
        assert app.call("POST", "/action/insertOne", bomb, headers).status == 413


def test_an_error_that_was_told_holds_no_request(tmp_path: Path) -> None:
    with application(tmp_path) as app:
        body = {"database": "d", "collection": "c", "filter": {"$no": 1}, "more": "x" * 100_000}
        gc.collect()
        gc.disable()
        try:
            for _ in range(20):
                assert app.act("find", body).status == 400
            objects = gc.get_objects()
            finds = [item for item in objects if type(item) is Find and item.namespace.database == "d"]
            held = [*finds, *(item for item in objects if type(item) is Request and item.body)]
        finally:
            gc.enable()
        assert len(held) < 5


def test_large_bodies_wait_for_one_another(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        bodies = Bodies(640 * 1024 * 1024)
        large = b"[" + b'{"a":1},' * 1_000_000
        first = await bodies.take(large, "one")
        monkeypatch.setattr(memory, "READ_SECONDS", 0.01)
        with pytest.raises(ServerBusy) as refused:
            await bodies.take(large, "another")
        assert refused.value.headers["Retry-After"]
        monkeypatch.undo()
        small = await bodies.take(b"{}" * 10_000, "one")
        waiting = asyncio.create_task(bodies.take(large, "another"))
        await asyncio.sleep(0)
        assert not waiting.done()
        first.release()
        (await waiting).release()
        small.release()
        (await bodies.take(b"[" * 10_000_000, "one")).release()

    asyncio.run(scenario())


def test_two_inserts_of_as_much_as_there_may_be_need_not_wait() -> None:
    async def scenario() -> None:
        bodies = Bodies()
        documents = b",".join(
            b'{"_id":%d,"text":"%b","number":1.5,"short":"yyy"}' % (n, b"x" * 20) for n in range(250_000)
        )
        body = b'{"documents":[%b]}' % documents
        assert len(body) > 15_000_000
        for caller in ("one", "another"):
            await bodies.take(body, caller)

    asyncio.run(asyncio.wait_for(scenario(), 5))


@pytest.mark.parametrize(
    "body",
    [
        b'{"documents":[' + b",".join(b'{"_id":%d,"text":"abc"}' % n for n in range(20_000)) + b"]}",
        b'{"filter":{"n":{"$in":[' + b",".join(b"%d" % n for n in range(100_000)) + b"]}}}",
        b'{"a":[' + b"[]," * 50_000 + b"[]]}",
        b'{"a":[' + b"{}," * 50_000 + b"{}]}",
        b'{"a":[' + b'{"a":1},' * 50_000 + b"{}]}",
        b'{"a":"' + b"x" * 300_000 + b'"}',
        b'{"a":[' + '"日本",'.encode() * 50_000 + b"1]}",
    ],
    ids=["documents", "numbers", "arrays", "empty objects", "objects", "a text", "texts"],
)
def test_the_weight_of_a_body_is_about_what_it_takes(body: bytes) -> None:
    taken = len(body) + size(orjson.loads(body))
    assert taken / 1.4 < pieces.weight(body) < 2.5 * taken


def size(value: Any) -> int:
    """Bytes of a value with all that is in it."""
    inside = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
    return sys.getsizeof(value) + sum(map(size, inside))


@pytest.mark.parametrize("action", ["find", "aggregate", "insertOne"])
def test_names_that_are_refused_are_not_kept(tmp_path: Path, action: str) -> None:
    """Nothing of a body is left when it has been answered, also of what is remembered by its name."""
    with application(tmp_path) as app:

        def ask(number: int) -> None:
            fields: dict[str, Any] = {"filter": {}, "pipeline": [], "document": {}}
            body = {"database": "d", "collection": f"{number}" + "x" * 1_000_000, **fields}
            assert app.act(action, body).status == 400

        ask(0)
        tracemalloc.start()
        try:
            for number in range(5):
                ask(number)
            for _ in range(100):  # A thread that has answered lets go of what it read a moment later.
                gc.collect()
                kept = [trace for trace in tracemalloc.take_snapshot().traces if trace.size > 500_000]
                if not kept:
                    break
                time.sleep(0.1)
        finally:
            tracemalloc.stop()
    assert kept == []
