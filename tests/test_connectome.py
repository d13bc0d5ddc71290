"""The Connectome dialect over HTTP on both engines: documented samples, what is refused, and values."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import requests
from connectome_served import MOVIES, Collection, Served, error_of, served, without_ids
from servers import PATIENCE


@pytest.fixture(scope="module", params=["embedded", "mongo"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(request, tmp_path_factory) as running:
        yield running


# --- the documented samples ---


def test_the_sample_of_a_read_with_query_answers_two_movies_in_order(server: Served) -> None:
    movies = Collection(server).filled()
    data = requests.post(
        url=f"{server.url}/collection/readwithquery/{movies.read}/{movies.id}",
        json={
            "query": {"amount": {"$gte": 30}},
            "project": {"amount": 1, "title": 1},
            "sort": {"amount": 1},
            "limit": 10,
        },
        timeout=PATIENCE,
    )
    assert data.status_code == 200
    assert without_ids(data.json()) == [MOVIES[2], MOVIES[1]]
    assert all(set(document) == {"_id", "amount", "title"} for document in data.json())
    exact = movies.ok("readwithquery", {"query": {"amount": {"$gte": 30}}, "project": {"_id": 0, "amount": 1}})
    assert sorted(document["amount"] for document in exact) == [39, 100]
    assert all(set(document) == {"amount"} for document in exact)


def test_the_sample_of_an_update_with_upsert_sets_fields_of_all_that_match(server: Served) -> None:
    people = Collection(server)
    people.ok("batchwrite", [{"name": "foo", "city": "bar", "age": n, "old": n} for n in (1, 2)] + [{"name": "x"}])
    resp = requests.post(
        url=f"{server.url}/collection/updatewithupsert/{people.write}/{people.id}",
        json={"search query": {"name": "foo", "city": "bar"}, "data": {"age": "baz"}, "upsert": True},
        timeout=PATIENCE,
    )
    assert resp.status_code == 200
    assert resp.json() == {"success": True, "matched": 2, "modified": 2, "upserted": 0, "upserted_id": None}
    assert [(one.get("age"), one.get("old")) for one in people.documents] == [("baz", 1), ("baz", 2), (None, None)]
    again = people.ok("updatewithupsert", {"search query": {"name": "foo"}, "data": {"age": "baz"}})
    assert (again["matched"], again["modified"]) == (2, 0)
    one = people.ok("updatewithupsert", {"search query": {"name": "foo"}, "data": {"n": 1}, "multi": False})
    assert (one["matched"], sum("n" in document for document in people.documents)) == (1, 1)


def test_an_update_without_a_match_is_an_error_unless_it_may_insert(server: Served) -> None:
    people = Collection(server)
    body: dict[str, Any] = {"search query": {"name": "foo", "city": "bar"}, "data": {"age": "baz"}}
    for upsert in ({}, {"upsert": False}, {"upsert": None}):
        assert people.refused(404, "updatewithupsert", body | upsert)["error"] == "DocumentNotFound"
    assert people.documents == []
    made = people.ok("updatewithupsert", body | {"upsert": True})
    assert (made["matched"], made["upserted"]) == (0, 1)
    assert people.documents == [{"_id": made["upserted_id"], "name": "foo", "city": "bar", "age": "baz"}]
    assert people.ok("updatewithupsert", body | {"upsert": True})["matched"] == 1
    assert len(people.documents) == 1


def test_the_sample_of_a_batch_is_the_array_itself(server: Served) -> None:
    things = Collection(server)
    resp = requests.post(
        url=f"{server.url}/collection/batchwrite/{things.write}/{things.id}",
        json=[{"field 1": "foo"}, {"field 1": "bar"}],
        timeout=PATIENCE,
    )
    assert resp.status_code == 200
    told = resp.json()
    assert (told["success"], told["inserted"]) == (True, 2)
    assert [document["_id"] for document in things.documents] == told["inserted_ids"]
    for name in ("data", "documents"):
        assert things.ok("batchwrite", {name: [{"field 1": name}]})["inserted"] == 1


def test_the_sample_of_a_batch_delete_takes_the_query_itself(server: Served) -> None:
    things = Collection(server)
    pairs = [("foo", "bar"), ("foo", "baz"), ("x", "bar")]
    things.ok("batchwrite", [{"field 1": one, "field 2": other} for one, other in pairs])
    resp = requests.delete(
        url=f"{server.url}/collection/batchdelete/{things.write}/{things.id}",
        json={"field 1": "foo", "field 2": "bar"},
        timeout=PATIENCE,
    )
    assert (resp.status_code, resp.json()) == (200, {"success": True, "deleted": 1})
    assert len(things.documents) == 2
    assert things.ok("batchdelete", {"field 1": "none"}, method="DELETE")["deleted"] == 0
    assert things.ok("batchdelete", {"query": {"field 1": "foo"}}, method="DELETE")["deleted"] == 0
    things.refused(400, "batchdelete", {}, method="DELETE")
    things.refused(400, "batchdelete", None, method="DELETE")
    things.refused(400, "batchdelete", {}, method="DELETE", params={"confirm": "yes"})
    assert len(things.documents) == 2
    assert things.ok("batchdelete", None, method="DELETE", params={"confirm": "all"})["deleted"] == 2


def test_reads_of_everything_are_one_array_however_long(server: Served) -> None:
    things = Collection(server)
    for method in ("GET", "POST"):
        assert things.ok("read", method=method) == []
    things.ok("batchwrite", [{"n": n, "text": "x" * 50} for n in range(3000)])
    for operation, method, body in (("read", "GET", None), ("read", "POST", {}), ("readwithquery", "POST", {})):
        assert sorted(document["n"] for document in things.ok(operation, body, method=method)) == [*range(3000)]
    assert len(things.ok("readwithquery", None)) == 3000
    assert [one["n"] for one in things.ok("readwithquery", {"sort": {"n": -1}, "skip": 1, "limit": 2})] == [2998, 2997]
    assert len(things.ok("readwithquery", {"limit": 0})) == 3000
    assert len(things.ok("readwithquery", {"limit": 60_000})) == 3000
    things.refused(400, "read", {"query": {}})
    things.refused(400, "read", method="GET", params={"limit": "1"})


def test_one_document_is_written(server: Served) -> None:
    things = Collection(server)
    made = things.ok("write", {"title": "Movie ABC"})
    assert made == {"success": True, "inserted": 1, "inserted_id": things.documents[0]["_id"]}
    assert "batchwrite" in things.refused(400, "write", [{"title": "Movie BDD"}])["message"]
    assert things.refused(409, "write", {"_id": {"$oid": made["inserted_id"]}})["error"] == "DuplicateKey"
    assert len(things.documents) == 1


# --- what is refused, whole ---

BAD_READS: dict[str, Any] = {
    "unknown key": {"filter": {"amount": 1}},
    "negative limit": {"limit": -1},
    "fraction": {"limit": 1.5},
    "text for a limit": {"limit": "10"},
    "mixed projection": {"project": {"amount": 0, "title": 1}, "limit": 1},
    "code": {"query": {"$where": "sleep(1)"}},
    "code inside": {"query": {"$or": [{"$expr": {"$function": {"body": "x", "args": [], "lang": "js"}}}]}},
    "unknown operator": {"query": {"amount": {"$foo": 1}}},
    "query of the wrong type": {"query": "amount"},
    "an array": [],
}
BAD_UPDATES: dict[str, Any] = {
    "no query": {"data": {"a": 1}},
    "no data": {"search query": {}},
    "two queries": {"search query": {}, "filter": {}, "data": {"a": 1}},
    "nothing to set": {"search query": {}, "data": {}},
    "fields and operators": {"search query": {}, "data": {"a": 1, "$set": {"b": 1}}},
    "another id": {"search query": {"title": "Movie ABC"}, "data": {"_id": 1, "a": 1}},
    "unknown operator": {"search query": {}, "data": {"$foo": {"a": 1}}},
    "an operator without fields": {"search query": {"_id": "a" * 24}, "data": {"$setOnInsert": 1}, "upsert": True},
    "unknown key": {"search query": {}, "data": {"a": 1}, "many": True},
    "text for upsert": {"search query": {}, "data": {"a": 1}, "upsert": "True"},
    "code": {"search query": {"$where": "1"}, "data": {"a": 1}},
}
BAD_BATCHES: dict[str, Any] = {
    "no array": {"title": "Movie ABC"},
    "an array beside something": {"data": [{"a": 1}], "ordered": True},
    "an empty array": [],
    "a member that is none": [{"a": 1}, 2],
    "a wrapper": [{"a": 1}, {"$date": "2030-01-01T00:00:00Z"}],
    "nothing": None,
}


def test_what_is_wrong_is_named_and_changes_nothing(server: Served) -> None:
    movies = Collection(server).filled()
    before = movies.documents
    for name, body in BAD_READS.items():
        assert movies.refused(400, "readwithquery", body)["message"], name
    for name, body in BAD_UPDATES.items():
        assert movies.refused(400, "updatewithupsert", body)["message"], name
    for name, body in BAD_BATCHES.items():
        assert movies.refused(400, "batchwrite", body)["message"], name
    assert "[1]" in movies.refused(400, "batchwrite", [{"a": 1}, 2])["message"]
    for text in (b"[{}", b'[], "more": 1', b'[{"a": 1}]}', b'{"a": 1} {"b": 2}', b"{'a': 1}"):
        answer = requests.post(movies.url("batchwrite"), data=text, timeout=PATIENCE)
        assert "malformed" in error_of(answer, 400)["message"] or b"more" in text
    for operation in ("readwithquery", "write", "batchwrite", "updatewithupsert"):
        answer = requests.post(movies.url(operation), data={"a": "1"}, timeout=PATIENCE)  # a form
        assert "'application/x-www-form-urlencoded'" in error_of(answer, 415)["message"]
    codes: list[dict[str, Any]] = [{"$where": "1"}, {"a": {"$accumulator": {}}}]
    for code in codes:
        movies.refused(400, "batchdelete", code, method="DELETE")
    assert movies.documents == before


def test_a_batch_is_whole_or_says_what_went_in(server: Served) -> None:
    things = Collection(server)
    things.ok("write", {"_id": "b"})
    error = things.refused(409, "batchwrite", [{"_id": "a"}, {"_id": "b"}, {"_id": "c"}])
    stored = {document["_id"] for document in things.documents}
    assert stored == ({"a", "b"} if error.get("inserted") else {"b"})
    assert error.get("inserted", 0) == len(stored) - 1


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE", "POST", "OPTIONS"])
def test_methods_that_an_operation_does_not_have_are_told(server: Served, method: str) -> None:
    movies = Collection(server)
    allowed = {"read": "GET, POST", "readwithquery": "POST", "write": "POST", "batchwrite": "POST"}
    for operation, methods in {**allowed, "updatewithupsert": "POST", "batchdelete": "DELETE"}.items():
        if method in methods:
            continue
        answer = movies.call(operation, {}, method=method)
        error_of(answer, 405)
        assert answer.headers["Allow"] == methods
    error_of(
        requests.request(method, f"{server.url}/collection/drop/{movies.write}/{movies.id}", timeout=PATIENCE), 404
    )


# --- values ---


def test_ids_are_found_as_they_were_answered(server: Served) -> None:
    things = Collection(server)
    text = "5" * 24
    ids = things.ok("batchwrite", [{"n": 0}, {"n": 1}, {"n": 2}, {"_id": text, "n": 3}, {"_id": 7, "n": 4}])[
        "inserted_ids"
    ]
    queries: list[tuple[dict[str, Any], list[int]]] = [
        ({"_id": ids[0]}, [0]),
        ({"_id": {"$eq": ids[1]}}, [1]),
        ({"_id": {"$oid": ids[1]}}, [1]),
        ({"_id": {"$ne": ids[1]}}, [0, 2, 3, 4]),
        ({"_id": {"$in": [ids[0], text, 7, None]}}, [0, 3, 4]),
        ({"_id": {"$nin": [ids[0], text, 7]}}, [1, 2]),
        ({"_id": {"$gt": ids[0], "$lt": ids[2]}}, [1]),
        ({"_id": {"$gte": ids[1]}, "n": {"$lt": 3}}, [1, 2]),
        ({"_id": {"$not": {"$in": [ids[0], text]}}}, [1, 2, 4]),
        ({"$or": [{"_id": ids[2]}, {"$and": [{"_id": text}]}]}, [2, 3]),
        ({"$nor": [{"_id": ids[2]}, {"n": 4}]}, [0, 1, 3]),
        ({"_id": text}, [3]),
        ({"_id": {"$regex": "^555", "$options": "i"}}, [3]),
        ({"other": ids[0]}, []),
    ]
    for query, expected in queries:
        found = things.ok("readwithquery", {"query": query, "sort": {"n": 1}})
        assert [document["n"] for document in found] == expected, query
    things.refused(400, "batchdelete", {"_id": {"$not": {}}}, method="DELETE")
    changed = things.ok("updatewithupsert", {"search query": {"_id": ids[0]}, "data": {"_id": ids[0], "m": 1}})
    assert changed["modified"] == 1
    fresh = "a" * 24
    made = things.ok("updatewithupsert", {"search query": {"_id": fresh}, "data": {"n": 9}, "upsert": True})
    assert made["upserted_id"] == fresh
    assert things.ok("readwithquery", {"query": {"_id": {"$oid": fresh}}}) == [{"_id": fresh, "n": 9}]
    assert things.ok("batchdelete", {"_id": {"$in": [ids[0], fresh]}}, method="DELETE")["deleted"] == 2


def test_names_with_spaces_and_other_letters_survive_everything(server: Served) -> None:
    things = Collection(server)
    named = {"field 1": "größe", "Größe 大": {"ключ a": [1, "é"]}}
    things.ok("batchwrite", [named])
    things.ok("write", {"field 1": "other"})
    assert without_ids(things.ok("readwithquery", {"query": {"field 1": "größe"}})) == [named]
    update = {"search query": {"Größe 大.ключ a": 1}, "data": {"neu é": True}}
    assert things.ok("updatewithupsert", update)["modified"] == 1
    assert without_ids(things.ok("readwithquery", {"query": {"neu é": True}})) == [{**named, "neu é": True}]
    assert things.ok("batchdelete", {"field 1": "größe"}, method="DELETE")["deleted"] == 1
    assert [one["field 1"] for one in things.ok("read")] == ["other"]


def test_types_are_kept_for_those_who_ask(server: Served) -> None:
    things = Collection(server)
    date = {"$date": "2030-01-31T00:00:00Z"}
    odd = {"raw": {"$binary": {"base64": "AAE=", "subType": "05"}}, "none": {"$numberDouble": "-Infinity"}}
    things.ok("write", {"when": date, "ids": [{"$oid": "5" * 24}], "price": {"$numberDecimal": "1.50"}, **odd})
    told = {"when": "2030-01-31T00:00:00.000Z", "ids": ["5" * 24], "price": "1.50", "raw": "AAE=", "none": None}
    [plain] = things.ok("readwithquery", {"query": {"when": date}, "project": {"_id": 0}, "limit": 5})
    assert plain == told
    assert without_ids(things.ok("read")) == [told]
    for operation in ("read", "readwithquery"):
        [typed] = things.ok(operation, headers={"Accept": "application/ejson"})
        assert typed["price"] == {"$numberDecimal": "1.50"}
        assert typed["ids"] == [{"$oid": "5" * 24}]
        assert {name: typed[name] for name in odd} == odd
