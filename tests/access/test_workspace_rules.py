"""Rules in workspaces: they hold for the collections that have some, beside the predicate."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from asgi import Application
from placed import Place, opened, place

RULES = {
    "default": {
        "ruled.orders": {
            "roles": [
                {
                    "name": "of-the-tenant",
                    "apply_when": {"%%user.data.tenant_id": "acme"},
                    "document_filters": {"read": {"open": True}, "write": {"open": True}},
                    "insert": True,
                    "delete": False,
                    "fields": {"cost": {"read": False, "write": False}},
                    "additional_fields": {"read": True, "write": True},
                }
            ]
        }
    }
}


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Application]:
    with opened(tmp_path_factory.mktemp("ruled"), None, rules=RULES) as running:
        yield running


@pytest.fixture(scope="module")
def own(app: Application) -> Place:
    made = place(app, "acme", "ruled")
    stamps = {"_tenantId": "acme", "_workspaceId": "ruled"}
    rows = [{"_id": "a", "open": True, "cost": 1, **stamps}, {"_id": "b", "open": False, "cost": 2, **stamps}]
    foreign = {"_id": "c", "open": True, "_tenantId": "bolt", "_workspaceId": "x"}
    app.act("insertMany", {"database": "ruled", "collection": "orders", "documents": [*rows, foreign]})
    return made


def test_rules_and_the_predicate_hold_together(own: Place) -> None:
    assert own.query("orders")["data"] == [{"_id": "a", "open": True}]
    own.refused("GET", own.one("b"), status=404, code="DOCUMENT_NOT_FOUND")
    own.refused("GET", own.one("c"), status=404, code="DOCUMENT_NOT_FOUND")
    found = own.ok("POST", "/collections/orders/aggregate", {"pipeline": [{"$project": {"cost": 1, "open": 1}}]})
    assert found["data"] == [{"_id": "a", "open": True}]
    own.refused("GET", own.documents(), query={"filter.cost": "1"}, status=403, code="PERMISSION_DENIED")
    own.refused("PATCH", own.one("a"), {"$set": {"cost": 5}}, status=403, code="PERMISSION_DENIED")
    assert own.ok("PATCH", own.one("a"), {"$set": {"n": 5}})["data"] == {"_id": "a", "open": True, "n": 5}
    own.refused("DELETE", own.one("a"), status=403, code="PERMISSION_DENIED")
    own.insert({"_id": "new", "open": True})
    stored = own.app.act("findOne", {"database": "ruled", "collection": "orders", "filter": {"_id": "new"}}).json
    assert (stored["document"]["_tenantId"], stored["document"]["_workspaceId"]) == ("acme", "ruled")


def test_collections_without_rules_are_as_they_are(own: Place) -> None:
    own.insert({"_id": 1, "cost": 1}, "free")
    assert own.query("free")["data"] == [{"_id": 1, "cost": 1}]
    own.ok("DELETE", own.one('{"$numberInt":"1"}', "free"))


def test_a_message_that_was_shortened_is_not_told(own: Place) -> None:
    own.insert({"_id": "a"}, "zones")
    for length, told in ((10, "unrecognized time zone"), (9_000, "the database refuses this")):
        zone = {"$concat": ["$_id", "x" * length]}
        stages = [{"$project": {"n": {"$dateToString": {"date": {"$toDate": {"$numberLong": "0"}}, "timezone": zone}}}}]
        asked = ("POST", "/collections/zones/aggregate", {"pipeline": stages})
        assert told in own.refused(*asked, status=400, code="VALIDATION_ERROR")["message"]
