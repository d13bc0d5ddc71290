"""Right requests to the dialects of workspaces, DataCube and Connectome, to the console, and to what is new for
administrators."""

from __future__ import annotations

import json
from typing import Any

from requested import ADMIN, Door

TENANT, WORKSPACE = "fuzz-tenant", "fuzz-place"
CUBE_PASSWORD = "a-strong-and-secure-password"
_PLACE = f"/v1/mongo/{WORKSPACE}/collections/things"
_ONE = f"{_PLACE}/documents/1"
_WHERE = {"database_id": "{cube_database}", "collection_name": "things"}
_FILTER = json.dumps({"n": {"$gt": 0}, "$or": [{"_id": "64224f3cd79f54ad342dd9b1"}, {"name": {"$regex": "^f"}}]})

_QUERIES: list[dict[str, str]] = [
    {"filter.n[gte]": "1", "filter.name[regex]": "^f", "sort": "-n,name", "projection": "name,n", "limit": "2"},
    {"filter.n[in]": "1,2,true,null", "filter.a.b[exists]": "true", "count": "none", "cursor": "", "sort": "n"},
    {"filter": _FILTER, "count": "estimated", "limit": "1", "sort": '{"n": -1}', "projection": '{"_id": 0, "n": 1}'},
    {"filter.name": "four", "skip": "1", "projection": "-name"},
]
_UPDATES: list[dict[str, Any]] = [
    {"$set": {"n": 5, "a.b": {"$date": "2026-01-01T00:00:00Z"}}, "$unset": {"gone": ""}, "$inc": {"m": 1.5}},
    {"$push": {"list": {"$each": [1, 2], "$slice": -2}}, "$pull": {"others": {"$gt": 5}}},
    {"$addToSet": {"set": {"$each": ["a", 1]}}},
]
_OPERATIONS = [
    {"insertOne": {"document": {"n": 1, "a": [1, {"b": "c"}]}}},
    {"updateOne": {"filter": {"n": 1}, "update": {"$set": {"n": 2}}, "upsert": True}},
    {"updateMany": {"filter": {"n": {"$lt": 9}}, "update": {"$inc": {"n": 1}}}},
    {"replaceOne": {"filter": {"n": 3}, "replacement": {"n": 3}, "upsert": True}},
    {"deleteOne": {"filter": {"n": {"$gt": 100}}}},
    {"deleteMany": {"filter": {"n": {"$gt": 200}}}},
]
_PIPELINES: list[list[dict[str, Any]]] = [
    [{"$match": {"n": {"$gt": 0}}}, {"$group": {"_id": "$name", "all": {"$sum": "$n"}}}, {"$sort": {"all": -1}}],
    [{"$lookup": {"from": "things", "localField": "n", "foreignField": "n", "as": "x"}}, {"$unwind": "$x"}],
    [
        {"$lookup": {"from": "others", "let": {"n": "$n"}, "pipeline": [{"$match": {}}, {"$limit": 1}], "as": "y"}},
        {"$addFields": {"size": {"$size": "$y"}}},
        {"$project": {"size": 1, "name": {"$toUpper": "$name"}}},
    ],
    [{"$bucket": {"groupBy": "$n", "boundaries": [0, 5, 9], "default": "else"}}, {"$limit": 3}, {"$skip": 1}],
    [{"$count": "all"}],
]
_COLLECTIONS = f"/v1/mongo/{WORKSPACE}/collections"
_SCHEMA: dict[str, Any] = {
    "bsonType": "object",
    "required": ["n"],
    "properties": {"n": {"bsonType": "int"}, "a": {"enum": [1, None]}},
    "additionalProperties": False,
    "maxProperties": 5,
    "anyOf": [{"required": ["n"]}],
}
_INDEX: dict[str, Any] = {"unique": True, "sparse": False, "partialFilterExpression": {"n": {"$gt": 1}}}
_PRECONDITIONS: tuple[dict[str, str], ...] = (
    {},
    {"if-match": "*"},
    {"if-match": '"0123"'},
    {"idempotency-key": "again"},
)

WORKSPACE_DOORS: tuple[Door, ...] = (
    *(Door("GET", f"{_PLACE}/documents", query=query, bearer="placed") for query in _QUERIES),
    Door("POST", f"{_PLACE}/documents", {"n": 1, "name": "new", "a": [1, {"b": 2}]}, bearer="placed"),
    Door("POST", f"{_PLACE}/documents", {"n": 1}, bearer="placed", headers={"idempotency-key": "once"}),
    Door("POST", f"{_PLACE}/documents", {"_id": 1, "n": 1, "name": "one"}, bearer="placed"),
    Door("GET", _ONE, query={"projection": "n,name"}, bearer="placed"),
    Door("GET", f"{_PLACE}/documents/%7B%22%24numberInt%22%3A%221%22%7D", bearer="placed"),
    *(
        Door("PATCH", _ONE, update, bearer="placed", headers=headers)
        for update in _UPDATES
        for headers in _PRECONDITIONS[:2]
    ),
    *(Door("PUT", _ONE, {"n": 7, "name": "put"}, bearer="placed", headers=headers) for headers in _PRECONDITIONS),
    Door("DELETE", f"{_PLACE}/documents/two", bearer="placed", headers={"if-match": '"0123"'}),
    Door("POST", f"{_PLACE}/bulk", {"operations": _OPERATIONS}, bearer="placed", weight=8),
    Door("GET", f"{_COLLECTIONS}", bearer="placed"),
    Door("POST", f"{_COLLECTIONS}", {"name": "made", "schema": _SCHEMA}, bearer="placed"),
    Door("DELETE", f"{_COLLECTIONS}/made", bearer="placed"),
    Door("PUT", f"{_COLLECTIONS}/made/schema", {"schema": _SCHEMA}, bearer="placed"),
    Door("DELETE", f"{_COLLECTIONS}/made/schema", bearer="placed"),
    Door("GET", f"{_COLLECTIONS}/made/indexes", bearer="placed"),
    Door("POST", f"{_COLLECTIONS}/made/indexes", {"keys": {"n": 1, "m": -1}, **_INDEX}, bearer="placed"),
    Door("DELETE", f"{_COLLECTIONS}/made/indexes/n_1_m_-1", bearer="placed"),
    Door("POST", f"/v1/mongo/{WORKSPACE}/credentials", {"ttlSeconds": 60}, bearer="placed"),
    *(Door("POST", f"{_PLACE}/aggregate", {"pipeline": pipeline}, bearer="placed") for pipeline in _PIPELINES),
)
"""A workspace; ``placed`` is a token for it."""

_FIELDS = [{"name": "n", "type": "number"}, {"name": "day", "type": "datetime"}]
_NEW = {"name": "made", "permissions": ["read"], "database_ids": ["{cube_database}"]}
_LISTED = {"page": "1", "page_size": "5", "search": "fu"}
_READ = {**_WHERE, "filters": _FILTER, "sort": '{"n": -1}', "projection": '{"n": 1}', "page_size": "5", "page": "1"}

CUBE_DOORS: tuple[Door, ...] = (
    Door("POST", "/core/register", {"email": "x@example.com", "password": "short", "firstName": "A"}, bearer=""),
    Door("POST", "/core/login", {"email": "{cube_email}", "password": CUBE_PASSWORD}, bearer="", weight=1),
    Door("POST", "/core/token/refresh", {"refresh": "{cube_refresh}"}, bearer="", weight=1),
    Door("POST", "/core/logout", {"refresh": "{access}"}, bearer="cube", weight=1),
    Door("GET", "/core/verify-email", query={"token": "a" * 64, "tokenId": "64224f3cd79f54ad342dd9b1"}, bearer=""),
    Door("POST", "/core/verify-email/resend", {"email": "{cube_email}"}, bearer="", weight=1),
    Door("POST", "/core/password-reset/request", {"email": "{cube_email}"}, bearer="", weight=1),
    Door("POST", f"/core/password-reset/confirm/{'a' * 64}", {"password": CUBE_PASSWORD}, bearer="", weight=1),
    Door("POST", "/core/password-reset/confirm", {"code": "x", "password": CUBE_PASSWORD}, bearer="", weight=1),
    Door("GET", "/core/profile", bearer="cube"),
    Door("PATCH", "/core/profile", {"firstName": "Alex", "lastName": "Dev"}, bearer="cube"),
    Door("POST", "/core/api/v1/keys", _NEW, bearer="cube"),
    Door("GET", "/core/api/v1/keys", bearer="cube"),
    Door("DELETE", "/core/api/v1/keys/64224f3cd79f54ad342dd9b1", bearer="cube"),
    Door(
        "POST",
        "/api/create_database",
        {"db_name": "other", "collections": [{"name": "c", "fields": _FIELDS, "enforce": True}]},
        bearer="cube",
        weight=2,
    ),
    Door("POST", "/api/v2/add_collection", {**_WHERE, "collections": [{"name": "more"}]}, bearer="cube", weight=2),
    Door("GET", "/api/list_databases", query=_LISTED, bearer="cube"),
    Door("GET", "/api/v2/get_metadata", query=_WHERE, bearer="cube"),
    Door("GET", "/api/list_collections", query={"database_id": "{cube_database}"}, bearer="cube"),
    Door("DELETE", "/api/drop_database", {"database_id": "{cube_database}", "confirmation": "no"}, bearer="cube"),
    Door(
        "POST",
        "/api/drop_collections",
        {"database_id": "{cube_database}", "collection_names": ["more"]},
        bearer="cube",
        weight=1,
    ),
    Door("POST", "/api/crud", {**_WHERE, "data": [{"_id": 1, "n": 1}, {"n": 2, "a": [{"b": 1}]}]}, bearer="cube"),
    Door("GET", "/api/v2/crud", query=_READ, bearer="cube", weight=8),
    *(
        Door("PUT", "/api/crud", {**_WHERE, "filters": {"n": {"$gt": 0}}, **change}, bearer="cube")
        for change in (
            {"update_data": {"n": 2, "a.b": 3}, "update_all_fields": False},
            {"update_data": {"$inc": {"n": 1}, "$rename": {"old": "new"}}, "update_many": True},
            {"update_data": {"name": "x"}, "upsert": True, "update_many": False},
        )
    ),
    Door("DELETE", "/api/crud", {**_WHERE, "filters": {"id": "64224f3cd79f54ad342dd9b1"}, "hard": True}, bearer="cube"),
    Door("DELETE", "/api/crud", {**_WHERE, "filters": {"n": {"$gt": 5}}}, bearer="cube"),
    Door("POST", "/api/v2/restore", {**_WHERE, "filters": {"n": {"$gt": 5}}}, bearer="cube"),
)
"""The DataCube API; ``cube`` is the access token of somebody with a database."""

_BASE = "/collection"
_READS, _WRITES = "{read_credential}/{collection_id}", "{write_credential}/{collection_id}"
CONNECTOME_DOORS: tuple[Door, ...] = (
    Door(
        "POST",
        f"{_BASE}/readwithquery/{_READS}",
        {
            "query": {"n": {"$gte": 1}, "_id": {"$ne": "64224f3cd79f54ad342dd9b1"}},
            "project": {"n": 1},
            "sort": {"n": 1},
            "limit": 3,
            "skip": 0,
        },
        bearer="",
        weight=8,
    ),
    Door("POST", f"{_BASE}/write/{_WRITES}", {"n": 1, "name": "new"}, bearer=""),
    Door("POST", f"{_BASE}/write/{{collection_id}}", {"n": 1}, bearer="write_credential"),
    Door("POST", f"{_BASE}/batchwrite/{_WRITES}", {"data": [{"n": 1}, {"n": 2, "a": {"b": [1]}}]}, bearer=""),
    *(
        Door("POST", f"{_BASE}/updatewithupsert/{_WRITES}", {"search query": search, **change}, bearer="")
        for search, change in (
            ({"n": {"$lt": 9}}, {"data": {"name": "x", "a.b": 1}}),
            ({"_id": "64224f3cd79f54ad342dd9b1"}, {"data": {"$setOnInsert": {"n": 1}, "$inc": {"m": 1}}}),
            ({"_id": "64224f3cd79f54ad342dd9b2"}, {"data": {"$setOnInsert": {"n": 1}}, "upsert": True}),
            ({"n": 5}, {"data": {"$push": {"list": 1}}, "upsert": True, "multi": False}),
        )
    ),
    Door("DELETE", f"{_BASE}/batchdelete/{_WRITES}", {"n": {"$gt": 50}, "query": {"$exists": False}}, bearer=""),
    Door("DELETE", f"{_BASE}/batchdelete/{_WRITES}", query={"confirm": "all"}, bearer="", weight=1),
)
"""Collections by credentials in the URL."""

_CONSOLE = "/api/console/v1/session"
_OWN = {"x-doorleaf-console": "1"}
_SAVED = "/api/console/v1/saved"
_DOWNLOADS = "/api/console/v1/downloads"
_AT = {"dataSource": "default", "database": "fuzz", "collection": "things"}
_LIMITS = {"expires": "2090-01-01T00:00:00Z", "rate": "9/second", "addresses": ["::1"]}

OTHER_DOORS: tuple[Door, ...] = (
    Door("GET", _CONSOLE, bearer=""),
    Door("POST", _CONSOLE, {"key": "{key}"}, bearer="", headers=_OWN),
    Door("POST", _CONSOLE, {"anonymous": True}, bearer="", headers=_OWN, weight=1),
    Door("POST", f"{_CONSOLE}/refresh", bearer="", headers={**_OWN, "cookie": "doorleaf=x; doorleaf-1={refresh}"}),
    Door("DELETE", _CONSOLE, bearer="", headers={**_OWN, "cookie": "doorleaf=x"}),
    Door("GET", "/whoami"),
    Door("GET", _SAVED),
    Door("PUT", _SAVED, {"kind": "query", "name": "n", **_AT, "asked": "filter=%7B%7D"}),
    Door("DELETE", f"{_SAVED}/00"),
    Door("POST", _DOWNLOADS, {**_AT, "filter": {"a": 1}, "limit": 2, "format": "csv", "columns": ["_id", "a"]}),
    Door("POST", _DOWNLOADS, {**_AT, "sort": {"_id": 1}, "format": "ndjson", "mode": "canonical"}),
    Door("GET", f"{_DOWNLOADS}/dld_{'A' * 43}", bearer=""),
    Door("GET", f"{ADMIN}/settings"),
    Door("GET", f"{ADMIN}/audit", query={"limit": "2", "outcome": "denied", "since": "2026-01-01", "action": "find"}),
    Door("GET", f"{ADMIN}/triggers"),
    Door("POST", f"{ADMIN}/triggers/none/resume", {"from_now": True}),
    Door("GET", f"{ADMIN}/tenants"),
    Door("POST", f"{ADMIN}/tenants", {"name": "Other", "id": "other"}),
    Door("DELETE", f"{ADMIN}/tenants/other"),
    Door("GET", f"{ADMIN}/workspaces", query={"tenant": TENANT}),
    Door(
        "POST",
        f"{ADMIN}/workspaces",
        {
            "tenant": "other",
            "id": "else",
            "database": "elsewhere",
            "shared": True,
            "quotas": {"documents": 5, "bytes": None},
            "capabilities": ["mongo"],
        },
    ),
    Door("GET", f"{ADMIN}/workspaces/else"),
    Door(
        "PATCH",
        f"{ADMIN}/workspaces/else",
        {"quotas": {"collections": 3}, "members": {"{user}": ["mongo:read"], "x": None}, "end_tokens": True},
    ),
    Door("DELETE", f"{ADMIN}/workspaces/else"),
    Door("POST", f"{ADMIN}/workspaces/else/token", {"scopes": ["mongo:read"], "seconds": 60}),
    Door("POST", f"{ADMIN}/workspaces/else/keys", {"name": "k", "scopes": ["mongo:read"], "expires": None}),
    Door("GET", f"{ADMIN}/workspaces/else/keys"),
    Door("POST", f"{ADMIN}/workspaces/else/keys/64224f3cd79f54ad342dd9b1/revoke", {}),
    Door("GET", f"{ADMIN}/connectome"),
    Door("POST", f"{ADMIN}/connectome", {"database": "fuzz", "collection": "made", "kind": "read", **_LIMITS}),
    Door("POST", f"{ADMIN}/connectome/64224f3cd79f54ad342dd9b1/rotate", {"overlap_seconds": 5}),
    Door("POST", f"{ADMIN}/connectome/64224f3cd79f54ad342dd9b1/revoke", {}),
)
"""The console's sessions, and administration."""

_TOKEN = {"_data": "82" + "0" * 40}
STREAM_DOORS: tuple[Door, ...] = (
    Door(
        "POST",
        "/data/v1/action/watch",
        {"database": "fuzz", "collection": "things", "filter": {"operationType": "insert"}},
    ),
    Door("POST", "/data/v1/action/watch", {"database": "fuzz", "fullDocument": "updateLookup"}),
    Door("POST", "/data/v1/action/watch", {"fullDocumentBeforeChange": "whenAvailable"}),
    *(
        Door("POST", "/data/v1/action/watch", {"database": "fuzz", "collection": "things", name: value})
        for name, value in (
            ("resumeAfter", _TOKEN),
            ("startAfter", _TOKEN),
            ("startAtOperationTime", {"$timestamp": {"t": 1, "i": 1}}),
        )
    ),
    Door("POST", "/data/v1/action/watch", {"database": "fuzz"}, headers={"last-event-id": "82" + "0" * 40}),
    Door("GET", f"{ADMIN}/now"),
    Door("GET", f"{ADMIN}/functions/live"),
    Door("GET", f"{_BASE}/read/{_READS}", bearer=""),
    Door("GET", f"{_PLACE}/changes", query={"operations": "INSERT,DELETE", "filter.n[gt]": "1"}, bearer="placed"),
    Door("GET", "/api/export_data", query={**_WHERE, "format": "csv", "filters": _FILTER}, bearer="cube"),
)
"""What answers for as long as it is listened to; only to be asked over a network."""

IMPORT = "/api/import_data"
FORM: dict[str, str] = {
    "database_id": "{cube_database}",
    "collection_name": "things",
    "format": "json",
    "all_or_nothing": "true",
    "idempotency_key": "again",
}
"""The fields of a form that brings a file."""
FILES: dict[str, bytes] = {
    "a.json": b'[{"_id": 1, "n": 1, "a": [1, {"b": null}]}, {"n": {"$numberLong": "2"}, "name": "two"}]',
    "a.ndjson": b'{"n": 1}\n{"n": 2, "day": {"$date": "2026-01-01T00:00:00Z"}}\n\n{"n": "3"}',
    "a.csv": b'n,name,a.b\r\n1,"one, or ""two""",x\r\n2,,\r\n',
    "a.tsv": b"n\tname\n1\tone\n",
}
"""Files by their names."""

SESSION = f"/v1/workspaces/{WORKSPACE}/realtime/connect"
_CHANNEL_FILTER: dict[str, Any] = {
    "operations": ["INSERT", "UPDATE"],
    "predicates": [{"field": "n", "op": "neq", "value": 1}],
}
FRAMES: tuple[dict[str, Any], ...] = (
    {"type": "auth", "token": "{placed}", "requestId": "a"},
    {"type": "subscribe", "channel": "mongo:things", "requestId": "b"},
    {"type": "subscribe", "channelId": "mongo:*", "filter": {"operation": "DELETE", "entity": "things"}},
    {"type": "subscribe", "channel": "mongo:things", "filter": _CHANNEL_FILTER, "requestId": 1},
    {"type": "subscribe", "channel": "mongo:things", "resumeAfter": "82" + "0" * 40, "requestId": "c"},
    {"type": "refresh-token", "token": "{placed}"},
    {"type": "ping"},
    {"type": "unsubscribe", "channel": "mongo:things", "requestId": "d"},
)
"""What a client says to the realtime gateway."""
