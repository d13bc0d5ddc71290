"""Answers under rules that are large: the same as small ones, and never decoded as a whole."""

from __future__ import annotations

import datetime
from typing import Any

import bson
import pytest
from ruled import ADMIN, App, operation, user

from doorleaf.documents import CODEC, Documents, Encoded
from doorleaf.errors import PermissionDenied

DOCUMENTS = [
    {
        "_id": number,
        "n": bson.Int64(number),
        "amount": bson.Decimal128(f"{number}.10"),
        "when": datetime.datetime(2026, 1, 1, 12, 30, 15, 123000),
        "sub": {"shown": 1.0, "secret": 2},
        "text": "å" * 200,
        "secret": number,
        **({} if number % 3 else {"nothing": None}),
    }
    for number in range(3_000)
]
ROLE: dict[str, Any] = {
    "name": "all",
    "apply_when": {},
    "fields": {"secret": {}, "sub": {"fields": {"secret": {}}, "additional_fields": {"read": True}}},
    "additional_fields": {"read": True},
}
BY_DOCUMENT: dict[str, Any] = {
    **ROLE,
    "fields": {**ROLE["fields"], "nothing": {"read": {"n": {"$gte": 0}}, "write": False}},
}


@pytest.mark.parametrize("role", [ROLE, BY_DOCUMENT], ids=["the same for all", "by document"])
@pytest.mark.parametrize("projection", [None, {"n": 1, "text": 1, "double": {"$add": ["$n", "$n"]}}, {"text": 0}])
def test_large_answers_are_redacted_in_parts(
    monkeypatch: pytest.MonkeyPatch, role: dict[str, Any], projection: Any
) -> None:
    sizes: list[int] = []
    decode = Documents.decode

    def counting(documents: Documents) -> Any:
        sizes.append(documents.size)
        return decode(documents)

    app = App({"things": {"roles": [role]}}, {"things": DOCUMENTS})
    find = operation("find", filter={}, projection=projection, sort={"_id": 1}, limit=3_000)
    each = [
        operation("find", filter={"_id": {"$gte": start, "$lt": start + 100}}, projection=projection, sort={"_id": 1})
        for start in range(0, 3_000, 100)
    ]
    monkeypatch.setattr(Documents, "decode", counting)
    whole, *parts = app.run([(find, user()), *((one, user()) for one in each)])
    assert whole == [document for part in parts for document in part]
    assert len(whole) == 3_000
    assert all("secret" not in document and "secret" not in document.get("sub", {}) for document in whole)
    stored = app.run([(operation("find", filter={}, sort={"_id": 1}, limit=3_000), ADMIN)])[0]
    if projection is None:
        for shown, document in zip(whole, stored, strict=True):
            del document["secret"], document["sub"]["secret"]
            assert {name: (type(value), value) for name, value in shown.items()} == {
                name: (type(value), value) for name, value in document.items()
            }
    size = sum(len(bson.encode(document)) for document in DOCUMENTS)
    assert size > 1_000_000
    assert sizes
    assert sorted(sizes)[-3] < 400_000, "but for what this test itself decodes"


def test_documents_that_are_put_in_as_bson_are_judged_by_their_values() -> None:
    def given(*owners: str) -> Encoded:
        documents = [{"_id": number, "owner": owner} for number, owner in enumerate(owners)]
        raw = [bson.encode(document, codec_options=CODEC) for document in documents]
        return Encoded(raw, [document["_id"] for document in documents])

    own = {"name": "own", "apply_when": {}, "insert": {"owner": "%%user.id"}, "write": {"owner": "%%user.id"}}
    app = App({"things": {"roles": [{**own, "read": True}]}}, {"things": []})
    mine = user().id
    for owners, refused in ((["somebody", mine], True), ([mine, "somebody"], True), ([mine] * 300, False)):
        answer, after = app.ask(operation("insertMany", documents=given(*owners), ordered=False), user())
        assert isinstance(answer, PermissionDenied) is refused
        assert after == ([] if refused else [{"_id": number, "owner": mine} for number in range(300)])
