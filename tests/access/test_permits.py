"""What rules make of pipelines that are malformed or lead elsewhere, and of several operations at once: their answers
and errors. No store is asked."""

from __future__ import annotations

from typing import Any

import bson
import pytest
from ruled import ADMIN, ME, NS, App, user

from doorleaf.access.callers import Caller
from doorleaf.errors import DoorleafError, DuplicateKey, PermissionDenied
from doorleaf.operations import (
    Aggregate,
    Find,
    FindOne,
    InsertOne,
    ListCollections,
    Namespace,
    Operation,
    Transaction,
    UpdateOne,
)
from doorleaf.operations import WatchDatabase as Everything
from doorleaf.operations.results import DocumentResult, InsertOneResult, TransactionResult

MINE = {"owner": "%%user.id"}
OWN = {
    "name": "own",
    "apply_when": {},
    "document_filters": {"read": MINE, "write": MINE},
    "read": True,
    "write": True,
    "insert": True,
}
HIDING = {
    "name": "hiding",
    "apply_when": {},
    "fields": {"secret": {}},
    "additional_fields": {"read": True, "write": True},
}
RULES = App({"things": {"roles": [OWN]}, "hidden": {"roles": [HIDING | {"insert": True}]}}).ruleset()
HIDDEN = Namespace("app", "hidden")
NONE = Namespace("app", "none")
CALLER = Caller(user())


def sent(pipeline: list[Any]) -> Any:
    """The pipeline as the store is asked to run it."""
    operation: Any = RULES.permit(Aggregate(namespace=NS, pipeline=pipeline), CALLER).operation
    return operation.pipeline


@pytest.mark.parametrize(
    ("pipeline", "says"),
    [
        ([1], "exactly one field"),
        ([{"$match": {}, "$limit": 1}], "exactly one field"),
        ([{"$unionWith": {"coll": "things", "pipeline": {}}}], "array of stages"),
        ([{"$unionWith": {"coll": 1}}], "by a string"),
        ([{"$unionWith": {"db": "other", "coll": "things"}}], "another database"),
        ([{"$unionWith": {"pipeline": []}}], "begins with $documents"),
        ([{"$lookup": {"as": "x", "pipeline": [{"$limit": 1}]}}], "begins with $documents"),
        ([{"$lookup": {"from": {"db": "other", "coll": "c"}, "as": "x", "pipeline": []}}], "another database"),
        ([{"$graphLookup": {"from": "hidden"}}], "some fields are hidden"),
        ([{"$graphLookup": {"from": "none"}}], "no rule exists"),
        (
            [{"$graphLookup": {"from": "things", "restrictSearchWithMatch": {"$expr": {"$divide": [1, "$n"]}}}}],
            "can fail",
        ),
        ([{"$project": {"x": {"$meta": "indexKey"}}}], "$meta"),
        ([{"$project": {"x": [{"y": "$$USER_ROLES.role"}]}}], "USER_ROLES"),
    ],
)
def test_pipelines_that_are_refused(pipeline: list[Any], says: str) -> None:
    with pytest.raises(DoorleafError) as raised:
        sent(pipeline)
    assert says in raised.value.message
    assert raised.value.status in (400, 403)


def test_what_others_are_read_by_is_narrowed() -> None:
    mine = {"owner": {"$eq": ME}}
    [narrowed, union, graph] = sent([{"$unionWith": "things"}, {"$graphLookup": {"from": "things"}}])
    assert narrowed == {"$match": mine}
    assert union == {"$unionWith": {"coll": "things", "pipeline": [{"$match": mine}]}}
    assert graph == {"$graphLookup": {"from": "things", "restrictSearchWithMatch": mine}}
    own = {"from": "things", "restrictSearchWithMatch": {"n": 1}}
    [_, graph] = sent([{"$graphLookup": own}])
    assert graph == {"$graphLookup": {**own, "restrictSearchWithMatch": {"$and": [mine, {"n": 1}]}}}
    listed = {"pipeline": [{"$documents": [{"a": 1}]}]}
    assert sent([{"$unionWith": listed}])[1:] == [{"$unionWith": listed}]


def test_what_is_not_about_a_collection_is_for_nobody_with_rules() -> None:
    listing = ListCollections(namespace=Namespace("app", ""))
    with pytest.raises(PermissionDenied, match="listCollections is not available"):
        RULES.permit(listing, CALLER)
    assert RULES.permit(listing, Caller(ADMIN)).operation is listing


def test_which_operations_rules_are_about() -> None:
    joined = Aggregate(namespace=NONE, pipeline=[{"$lookup": {"from": "things", "as": "x", "pipeline": []}}])
    for operation in (Find(namespace=NS), joined, Everything(namespace=Namespace("app", ""))):
        assert RULES.concern(operation)
        assert RULES.concern(Transaction.of([Find(namespace=NONE), operation]))
    for operation in (Find(namespace=NONE), Everything(namespace=Namespace("other", ""))):
        assert not RULES.concern(operation)
    assert not App({}).ruleset().concern(Find(namespace=NS))


def transaction() -> Any:
    update = UpdateOne(namespace=HIDDEN, filter={"a": 1}, update={"$set": {"a": 2}})
    parts: list[Operation[Any]] = [
        InsertOne(namespace=NS, document={"_id": 1, "owner": ME}),
        FindOne(namespace=HIDDEN, filter={}),
        update,
    ]
    return RULES.permit(Transaction(namespace=NS, operations=parts), CALLER)


def test_each_answer_of_a_transaction_is_shown_as_if_it_came_alone() -> None:
    permit = transaction()
    stored = bson.encode({"_id": 1, "a": 1, "secret": "SESAME"})
    inserted = InsertOneResult(1)
    shown = permit.redact(TransactionResult([inserted, DocumentResult(stored), inserted]))
    assert shown.results[0] is inserted
    assert "SESAME" not in repr(shown.results[1].document)
    assert permit.redact(TransactionResult([inserted, DocumentResult(None), inserted])).results[1].document is None


def test_an_error_in_a_transaction_tells_no_more_than_alone() -> None:
    permit = transaction()
    error = DuplicateKey("operations[2]: E11000 duplicate key { secret: 'SESAME' }", fields={"index": 2})
    told = permit.conceal(error)
    assert told.message.startswith("operations[2]: ")
    assert "SESAME" not in told.message
    assert told.fields["index"] == 2
    whole = DuplicateKey("E11000 duplicate key")
    assert permit.conceal(whole) is whole
