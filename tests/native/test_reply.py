"""Replies of MongoDB that are read natively say what they say to the Python beside it; all others are left to that."""

from __future__ import annotations

import random
import struct
from pathlib import Path
from typing import Any

import bson
import pytest
from bson import Int64, ObjectId, Timestamp
from bson.errors import InvalidBSON
from native_values import fuzz, sanitized

from doorleaf.documents import CODEC, Document
from doorleaf.ejson.transcoder import native
from doorleaf.stores.mongo.lanes.replies import batch, carried_out, cluster_time, cursor_id, is_error, unwritten
from doorleaf.stores.mongo.lanes.wire import _reply

if native is None:
    pytest.skip("built without a C compiler", allow_module_level=True)

NATIVE: Any = native
KNOWN = 100 << 32 | 1


def time(seconds: int) -> Document:
    told = {"clusterTime": Timestamp(seconds, 1), "signature": {"hash": b"x" * 20, "keyId": Int64(7)}}
    return {"$clusterTime": told, "operationTime": Timestamp(seconds, 1)}


def cursor(documents: list[Document], more: int = 0, **fields: Any) -> Document:
    return {"cursor": {"firstBatch": documents, "id": Int64(more), "ns": "a.b", **fields}}


OK: Document = {"ok": 1.0}
PERSON = {"_id": ObjectId(), "name": "Zoë", "ok": 0.0, "$clusterTime": time(900), "labels": ["\0", {}, None]}
ORDINARY: dict[str, Document] = {
    "nothing found": cursor([]) | OK,
    "one document": cursor([PERSON]) | OK | time(100),
    "documents": cursor([{"_id": number} for number in range(120)]) | time(7) | OK,
    "a token": cursor([PERSON], postBatchResumeToken={"_data": "1"}, atClusterTime=Timestamp(1, 1)) | OK,
    "inserted": {"n": 1, "electionId": ObjectId(), "opTime": {"ts": Timestamp(1, 1), "t": Int64(1)}} | OK | time(100),
    "updated": {"n": 2, "nModified": 1} | OK,
    "in another order": {"n": 2} | OK | {"nModified": 2},
}
OTHERS: dict[str, Document] = {
    "an error": {"ok": 0.0, "errmsg": "no", "code": 2},
    "more batches": cursor([PERSON], more=7) | OK,
    "a next batch": {"cursor": {"nextBatch": [PERSON], "id": Int64(0)}} | OK,
    "fields in another order": {"ok": 1.0, "cursor": {"id": Int64(0), "firstBatch": []}},
    "no documents": cursor([1]) | OK,  # type: ignore[list-item]
    "a cursor that is no answer": cursor([]),
    "a cursor and an error": cursor([]) | {"ok": 0.0},
    "ok as another number": cursor([]) | {"ok": 1},
    "ok as a truth": cursor([]) | {"ok": True},
    "a later time": cursor([PERSON]) | OK | time(101),
    "a time that is none": {"n": 1} | OK | {"$clusterTime": 7},
    "a write at a later time": {"n": 1} | OK | time(101),
    "upserted": {"n": 1, "upserted": [{"index": 0, "_id": 1}], "nModified": 0} | OK,
    "a failed write": {"n": 0, "writeErrors": [{"index": 0, "code": 11000}]} | OK,
    "a write that is not replicated": {"n": 1, "writeConcernError": {"code": 64}} | OK,
    "labels": {"n": 1, "errorLabels": ["RetryableWriteError"]} | OK,
    "a count that is no integer": {"n": 1.0} | OK,
    "values": {"values": [1]} | OK,
    "nothing": {},
}


def message(document: Document, *, asked: int = 7, flags: bytes = b"\0\0\0\0\0", operation: int = 2013) -> bytes:
    encoded = bson.encode(document, codec_options=CODEC)
    return struct.pack("<iiii", 21 + len(encoded), 1, asked, operation) + flags + encoded


def same(whole: bytes) -> bool:
    """Whether a message was taken; then it says to Python what was read from it."""
    content = NATIVE.reply(whole, 7, KNOWN)
    if content is None:
        return False
    reply = _reply(whole)
    assert struct.unpack_from("<i", whole, 8)[0] == 7
    assert cluster_time(reply, KNOWN) is None
    if isinstance(content, bytes):
        assert not is_error(reply)
        assert (batch(reply), cursor_id(reply)) == (content, 0)
        return True
    counts = carried_out(reply)
    if counts is None:
        try:
            decoded = bson.decode(reply, CODEC)
        except InvalidBSON:  # in what nobody reads
            return True
        assert unwritten(decoded) is None
        assert "upserted" not in decoded
        counts = decoded["n"], decoded.get("nModified", 0)
    assert counts == content
    return True


def test_the_time_of_the_cluster_is_that_of_the_reply_alone() -> None:
    """What a caller has put into an error may be named as the reply's own field is."""
    time = {"clusterTime": Timestamp(7, 2), "signature": {"hash": b"h", "keyId": Int64(1)}}
    false = {"$clusterTime": {"clusterTime": Timestamp(2**32 - 1, 1)}, "operationTime": Timestamp(1, 1)}
    for reply in (
        {"n": 1, "ok": 1.0, "$clusterTime": time},
        {"n": 1, "ok": 1.0, "$clusterTime": time, "operationTime": Timestamp(7, 2)},
        {"cursor": {"firstBatch": [false], "id": Int64(0), "ns": "a.b"}, "ok": 1.0, "$clusterTime": time},
        {"n": 0, "errInfo": false, "ok": 1.0, "$clusterTime": time, "operationTime": Timestamp(7, 2)},
        {"n": 0, "ok": 1.0, "$clusterTime": time, "errInfo": false},
        {"n": 0, "ok": 1.0, "$clusterTime": time, "other": 1, "operationTime": Timestamp(7, 2)},
    ):
        assert cluster_time(bson.encode(reply), 6 << 32) == time
    for reply in ({"n": 0, "errInfo": false}, {"n": 0, "a": {"b": {"$clusterTime": time}}}, {"errInfo": false, "n": 0}):
        assert cluster_time(bson.encode(reply), 6 << 32) is None


@pytest.mark.parametrize("name", ORDINARY)
def test_replies_as_most_are(name: str) -> None:
    assert same(message(ORDINARY[name]))


@pytest.mark.parametrize("name", OTHERS)
def test_all_others_are_left_to_python(name: str) -> None:
    assert NATIVE.reply(message(OTHERS[name]), 7, KNOWN) is None


def test_only_a_whole_answer_to_the_question_is_taken() -> None:
    whole = message(ORDINARY["one document"])
    for size in range(len(whole)):
        assert NATIVE.reply(whole[:size], 7, KNOWN) is None
    assert NATIVE.reply(whole + b"\0", 7, KNOWN) is None
    for changed in (
        message(OK | ORDINARY["updated"], asked=8),
        message(ORDINARY["updated"], flags=b"\2\0\0\0\0"),
        message(ORDINARY["updated"], flags=b"\0\0\0\0\1"),
        message(ORDINARY["updated"], operation=2012),
    ):
        assert NATIVE.reply(changed, 7, KNOWN) is None
    assert NATIVE.reply(bytearray(whole), 7, KNOWN) == NATIVE.reply(whole, 7, KNOWN)
    for given in ("", None, 7):
        with pytest.raises(TypeError):
            NATIVE.reply(given, 7, KNOWN)


def test_whatever_is_changed_in_a_reply() -> None:
    chance, taken = random.Random(5), 0
    for document in ORDINARY.values():
        whole = message(document)
        for _ in range(1000):
            changed = bytearray(whole)
            for _ in range(chance.randint(1, 2)):
                changed[chance.randrange(21, len(changed))] = chance.choice((0, 1, 3, 4, 16, 17, chance.randrange(256)))
            taken += same(bytes(changed))
    assert taken > 1000


def test_no_byte_is_touched_that_is_not_its_own(tmp_path: Path) -> None:
    program = sanitized("fuzz_reply.c", tmp_path, "reply.c")
    files = []
    for number, document in enumerate((*ORDINARY.values(), *OTHERS.values())):
        files.append(tmp_path / f"{number}.msg")
        files[-1].write_bytes(message(document))
    taken, declined = fuzz(program, files)
    assert taken > 1000
    assert declined > 1000
