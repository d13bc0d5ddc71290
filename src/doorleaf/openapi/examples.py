"""Requests that show every action at work, each with an answer it may get.

Sent in the order of this file to an empty database all of them succeed, and again when sent twice.
"""

from __future__ import annotations

from dataclasses import dataclass

from doorleaf.documents import Document


@dataclass(frozen=True, slots=True)
class Example:
    """A request body, a title for it, and an answer in plain JSON."""

    title: str
    request: Document
    response: Document


_ORDERS: Document = {"database": "shop", "collection": "orders"}
_PRODUCTS: Document = {"database": "shop", "collection": "products"}
_ANALYTICS: Document = {"database": "shop", "collection": "analytics"}

_ID = "64224f3cd79f54ad342dd9b1"
_ID_2 = "64224f3cd79f54ad342dd9b2"
_ID_3 = "64224f3cd79f54ad342dd9b3"
_YEAR = {"$gte": {"$date": "2026-01-01T00:00:00Z"}, "$lt": {"$date": "2027-01-01T00:00:00Z"}}


def _order(customer: str, status: str, total: float, day: int, *skus: str) -> Document:
    items = [{"sku": sku, "quantity": 1} for sku in skus]
    placed = {"$date": f"2026-01-{day:02}T10:30:00Z"}
    return {"customer": customer, "status": status, "total": total, "items": items, "placedAt": placed}


def _updated(matched: int, modified: int) -> Document:
    return {"matchedCount": matched, "modifiedCount": modified}


EXAMPLES: dict[str, tuple[Example, ...]] = {
    "findOne": (
        Example(
            "By a field, with a projection",
            _ORDERS | {"filter": {"status": "open"}, "projection": {"customer": 1, "total": 1}},
            {"document": {"_id": _ID, "customer": "Ada", "total": 42.5}},
        ),
        Example("By _id", _ORDERS | {"filter": {"_id": {"$oid": _ID}}}, {"document": None}),
        Example(
            "The newest",
            _ORDERS | {"sort": {"placedAt": -1}, "projection": {"_id": 0, "placedAt": 1}},
            {"document": {"placedAt": "2026-01-17T10:30:00.000Z"}},
        ),
    ),
    "find": (
        Example(
            "A page, sorted",
            _ORDERS
            | {"filter": {"status": "open", "total": {"$gte": 10}}, "sort": {"placedAt": -1}, "limit": 20, "skip": 0},
            {"documents": [{"_id": _ID, "customer": "Ada", "status": "open", "total": 42.5}]},
        ),
        Example(
            "A range of dates",
            _ORDERS | {"filter": {"placedAt": _YEAR}, "projection": {"_id": 0, "customer": 1, "placedAt": 1}},
            {"documents": [{"customer": "Ada", "placedAt": "2026-01-15T10:30:00.000Z"}]},
        ),
        Example(
            "Text that begins with a word",
            _ORDERS | {"filter": {"customer": {"$regex": "^ad", "$options": "i"}}, "limit": 5},
            {"documents": []},
        ),
    ),
    "insertOne": (
        Example(
            "An order",
            _ORDERS | {"document": _order("Ada", "open", 42.5, 15, "pen", "ink")},
            {"insertedId": _ID},
        ),
        Example(
            "Every number its own type",
            _ORDERS
            | {
                "document": _order("Grace", "open", 19.0, 16, "ink")
                | {"price": {"$numberDecimal": "19.99"}, "views": {"$numberLong": "9007199254740993"}}
            },
            {"insertedId": _ID_2},
        ),
    ),
    "insertMany": (
        Example(
            "Three orders",
            _ORDERS
            | {
                "documents": [
                    _order("Ada", "shipped", 12.0, 14, "pen"),
                    _order("Alan", "open", 8.25, 17, "paper"),
                    _order("Alan", "cancelled", 99.0, 12, "desk"),
                ]
            },
            {"insertedIds": [_ID, _ID_2, _ID_3]},
        ),
        Example(
            "Go on after a failure",
            _ORDERS | {"documents": [_order("Edsger", "cancelled", 5.5, 11, "pen")], "ordered": False},
            {"insertedIds": [_ID]},
        ),
    ),
    "updateOne": (
        Example(
            "Set and count",
            _ORDERS | {"filter": {"customer": "Ada"}, "update": {"$set": {"gift": True}, "$inc": {"changes": 1}}},
            _updated(1, 1),
        ),
        Example(
            "Insert if there is none",
            _PRODUCTS | {"filter": {"sku": "pen"}, "update": {"$set": {"price": 2.5}}, "upsert": True},
            _updated(0, 0) | {"upsertedId": _ID},
        ),
        Example(
            "One element of an array",
            _ORDERS
            | {
                "filter": {"items.sku": "pen"},
                "update": {"$inc": {"items.$[item].quantity": 1}},
                "arrayFilters": [{"item.sku": "pen"}],
            },
            _updated(1, 1),
        ),
    ),
    "updateMany": (
        Example(
            "Every open order",
            _ORDERS | {"filter": {"status": "open"}, "update": {"$set": {"reminded": True}}},
            _updated(3, 3),
        ),
        Example(
            "From other fields, with a pipeline",
            _ORDERS | {"filter": {}, "update": [{"$set": {"gross": {"$multiply": ["$total", 1.2]}}}]},
            _updated(6, 6),
        ),
    ),
    "replaceOne": (
        Example(
            "Insert if there is none",
            _PRODUCTS
            | {"filter": {"sku": "ink"}, "replacement": {"sku": "ink", "price": 9.75, "stock": 40}, "upsert": True},
            _updated(0, 0) | {"upsertedId": _ID},
        ),
    ),
    "deleteOne": (Example("One cancelled order", _ORDERS | {"filter": {"status": "cancelled"}}, {"deletedCount": 1}),),
    "deleteMany": (
        Example(
            "Everything older",
            _ORDERS | {"filter": {"placedAt": {"$lt": {"$date": "2020-01-01T00:00:00Z"}}}},
            {"deletedCount": 0},
        ),
    ),
    "aggregate": (
        Example(
            "Revenue by customer",
            _ORDERS
            | {
                "pipeline": [
                    {"$match": {"status": {"$ne": "cancelled"}}},
                    {"$group": {"_id": "$customer", "revenue": {"$sum": "$total"}, "orders": {"$sum": 1}}},
                    {"$sort": {"revenue": -1, "_id": 1}},
                ]
            },
            {"documents": [{"_id": "Ada", "revenue": 54.5, "orders": 2}]},
        ),
        Example(
            "Orders with their products",
            _ORDERS
            | {
                "pipeline": [
                    {"$unwind": "$items"},
                    {
                        "$lookup": {
                            "from": "products",
                            "localField": "items.sku",
                            "foreignField": "sku",
                            "as": "product",
                        }
                    },
                    {"$project": {"_id": 0, "customer": 1, "sku": "$items.sku", "price": {"$first": "$product.price"}}},
                    {"$limit": 10},
                ]
            },
            {"documents": [{"customer": "Ada", "sku": "pen", "price": 2.5}]},
        ),
    ),
    "countDocuments": (Example("Open orders", _ORDERS | {"filter": {"status": "open"}}, {"count": 3}),),
    "estimatedDocumentCount": (Example("All orders", _ORDERS, {"count": 5}),),
    "distinct": (
        Example("Statuses", _ORDERS | {"key": "status"}, {"values": ["open", "shipped"]}),
        Example(
            "What Ada bought",
            _ORDERS | {"key": "items.sku", "filter": {"customer": "Ada"}},
            {"values": ["ink", "pen"]},
        ),
    ),
    "findOneAndUpdate": (
        Example(
            "A counter",
            {"database": "shop", "collection": "counters"}
            | {"filter": {"_id": "invoice"}, "update": {"$inc": {"next": 1}}, "upsert": True},
            {"document": {"_id": "invoice", "next": 1}},
        ),
        Example(
            "Take a task, answer with how it was",
            _ORDERS
            | {
                "filter": {"status": "open"},
                "update": {"$set": {"assigned": "Kay"}},
                "sort": {"placedAt": 1},
                "projection": {"customer": 1, "assigned": 1},
                "returnNewDocument": False,
            },
            {"document": {"_id": _ID, "customer": "Ada"}},
        ),
    ),
    "findOneAndReplace": (
        Example(
            "A product",
            _PRODUCTS | {"filter": {"sku": "pen"}, "replacement": {"sku": "pen", "price": 2.75, "stock": 120}},
            {"document": {"_id": _ID, "sku": "pen", "price": 2.75, "stock": 120}},
        ),
    ),
    "findOneAndDelete": (
        Example(
            "The oldest cancelled order",
            _ORDERS
            | {"filter": {"status": "cancelled"}, "sort": {"placedAt": 1}, "projection": {"customer": 1, "total": 1}},
            {"document": {"_id": _ID, "customer": "Edsger", "total": 5.5}},
        ),
    ),
    "bulkWrite": (
        Example(
            "Insert, update and delete at once",
            _ORDERS
            | {
                "operations": [
                    {"insertOne": {"document": _order("Barbara", "open", 31.0, 18, "ink")}},
                    {"updateMany": {"filter": {"customer": "Alan"}, "update": {"$mul": {"total": 0.9}}}},
                    {"deleteOne": {"filter": {"status": "cancelled"}}},
                ],
                "ordered": True,
            },
            {
                "insertedCount": 1,
                "matchedCount": 1,
                "modifiedCount": 1,
                "deletedCount": 0,
                "upsertedCount": 0,
                "upsertedIds": {},
                "insertedIds": {"0": _ID},
            },
        ),
    ),
    "createIndex": (
        Example(
            "Over two fields",
            _ORDERS | {"keys": {"customer": 1, "placedAt": -1}, "options": {"name": "by_customer"}},
            {"createdCollectionAutomatically": False, "numIndexesBefore": 1, "numIndexesAfter": 2, "ok": 1},
        ),
        Example(
            "Unique",
            _PRODUCTS | {"keys": {"sku": 1}, "options": {"unique": True}},
            {"createdCollectionAutomatically": False, "numIndexesBefore": 1, "numIndexesAfter": 2, "ok": 1},
        ),
    ),
    "dropIndex": (Example("By name", _ORDERS | {"name": "by_customer"}, {"nIndexesWas": 2, "ok": 1}),),
    "listIndexes": (
        Example(
            "Of a collection",
            _PRODUCTS,
            {
                "indexes": [
                    {"v": 2, "key": {"_id": 1}, "name": "_id_"},
                    {"v": 2, "key": {"sku": 1}, "name": "sku_1", "unique": True},
                ]
            },
        ),
    ),
    "listCollections": (
        Example(
            "Of a database",
            {"database": "shop"},
            {"collections": [{"name": "orders", "type": "collection"}, {"name": "products", "type": "collection"}]},
        ),
    ),
    "createCollection": (Example("Empty", _ANALYTICS, {"ok": 1}),),
    "renameCollection": (Example("In its database", _ANALYTICS | {"to": "statistics"}, {"ok": 1}),),
    "dropCollection": (Example("With all its documents", {"database": "shop", "collection": "statistics"}, {"ok": 1}),),
    "listDatabases": (
        Example(
            "Of the data source",
            {},
            {"databases": [{"name": "shop", "sizeOnDisk": 40960, "empty": False}], "totalSize": 40960, "ok": 1},
        ),
    ),
    "runCommand": (
        Example("Ping", {"database": "shop", "command": {"ping": 1}}, {"result": {"ok": 1}}),
        Example(
            "Size of a database",
            {"database": "shop", "command": {"dbStats": 1, "scale": 1024}},
            {"result": {"db": "shop", "collections": 3, "objects": 8, "ok": 1}},
        ),
    ),
}
"""By operation name, in an order in which each one finds what it needs."""
