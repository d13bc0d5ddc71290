"""Documents of a large insert stay the BSON that was read: they are what values would have been, ids included."""

from __future__ import annotations

import json
import random
from typing import Any

import bson
import pytest
from bson import ObjectId
from native_values import Values

from doorleaf.documents import CODEC, Encoded
from doorleaf.ejson import Mode, dumps, loads, loads_bson, loads_insert, with_id
from doorleaf.ejson.read import native
from doorleaf.errors import InvalidParameter

if native is None:
    pytest.skip("built without a C compiler", allow_module_level=True)

MADE = ObjectId("64224f3cd79f54ad342dd9b1")
PADDING = {"padding": "x" * 20_000}

IDS = [1, -(2**40), 1.5, "", "a text", None, True, {"a": {"b": [1]}}, {"$oid": "64224f3cd79f54ad342dd9b2"}]
"""As they are written."""


def body(*documents: str, fields: str = "") -> bytes:
    return f'{{"dataSource":"main","documents":[{",".join(documents)}],"padding":"{"x" * 20_000}"{fields}}}'.encode()


def inserted(text: bytes) -> Encoded:
    documents = loads_insert(text)["documents"]
    assert isinstance(documents, Encoded)
    return documents


@pytest.mark.parametrize("identity", IDS, ids=repr)
def test_an_id_that_is_first_is_known_and_nothing_is_changed(identity: Any) -> None:
    text = json.dumps({"_id": identity, "a": 1})
    documents = inserted(body(text))
    assert documents.raw == [bson.encode(loads(text.encode()), codec_options=CODEC)]
    assert documents.ids == [loads(text.encode())["_id"]]
    assert type(documents.ids[0]) is type(loads(text.encode())["_id"])


def test_a_document_without_an_id_gets_one_as_its_first_field() -> None:
    for text in ('{"a":1,"b":{"c":[]}}', "{}", '{"user_id":5}', '{"_idx":1,"id":2}'):
        documents = inserted(body(text))
        [document], [identity] = [*documents], documents.ids
        assert document == {"_id": identity, **loads(text.encode())}
        assert [*document] == ["_id", *loads(text.encode())]
        assert type(identity) is ObjectId
    assert len({*inserted(body("{}", "{}", "{}")).ids}) == 3


@pytest.mark.parametrize("text", ['{"a":1,"_id":2}', '{"a":{"_id":2}}', '{"a":[{"_id":2}],"_id":3}'])
def test_where_an_id_may_be_elsewhere_all_become_values(text: str) -> None:
    found = loads_insert(body('{"b":1}', text))
    assert found == loads(body('{"b":1}', text))
    assert type(found["documents"]) is list
    raw = loads_bson(text.encode())
    assert raw is not None
    assert with_id(raw, lambda: MADE) is None


def test_a_text_that_looks_like_an_id_is_a_text() -> None:
    documents = loads_insert(body(json.dumps({"a": "\u0007_id\u0000" + "0" * 12})))["documents"]
    assert [document["a"] for document in documents] == ["\7_id\0" + "0" * 12]


@pytest.mark.parametrize("documents", ["1", '{"a":1},2', '{"a":1},null', '{"a":1},[{"b":1}]', ""])
def test_what_is_no_document_is_for_the_decoder_to_refuse(documents: str) -> None:
    assert loads_insert(body(documents)) == loads(body(documents))


@pytest.mark.parametrize(
    "fields", [',"ordered":false', ',"documents":[{"a":2}]', ',"more":[{"_id":1}]', ',"x":{"documents":[{}]}']
)
def test_the_other_fields_are_there_as_they_were(fields: str) -> None:
    text = body('{"_id":1}', fields=fields)
    if fields.startswith(',"documents"'):
        with pytest.raises(InvalidParameter, match="twice"):
            loads_insert(text)
        return
    found, read = loads_insert(text), loads(text)
    assert [*found.pop("documents")] == read.pop("documents")
    assert found == read


def test_a_small_body_and_a_malformed_one_are_read_as_ever() -> None:
    assert loads_insert(b'{"documents":[{"a":1}]}') == {"documents": [{"a": 1}]}
    for text in (body('{"a":1'), body('{"a":1,"a":2}'), b"[" + body("{}")):
        with pytest.raises(InvalidParameter) as expected:
            loads(text)
        with pytest.raises(InvalidParameter) as refused:
            loads_insert(text)
        assert refused.value.message == expected.value.message


def test_documents_at_random_are_what_they_are_as_values() -> None:
    values, chance = Values(11), random.Random(12)
    for _ in range(60):
        documents = [values.document() for _ in range(chance.randrange(1, 6))]
        documents = [{"_id": number, **one} if chance.random() < 0.5 else one for number, one in enumerate(documents)]
        text = body(*(dumps(one, Mode.CANONICAL).decode() for one in documents))
        found, read = loads_insert(text)["documents"], loads(text)["documents"]
        assert len(found) == len(read)
        for one, other in zip(found, read, strict=True):
            if "_id" not in other and isinstance(found, Encoded):
                assert type(one.pop("_id")) is ObjectId
            assert bson.encode(one, codec_options=CODEC) == bson.encode(other, codec_options=CODEC)
