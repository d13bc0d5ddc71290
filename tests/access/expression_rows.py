"""Expressions that hold for a caller and a document, and expressions that do not."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from bson import Binary, Int64, ObjectId
from ruled import ME, YOU, user

from doorleaf.documents import Document

OID = ObjectId(ME)
UUID = "12345678-1234-5678-1234-567812345678"
BINARY = Binary(uuid.UUID(UUID).bytes, 4)
CALLER = user(
    data={"email": "a@b.c", "level": 5, "tags": ["x", "y"], "oid": OID, "uuid": UUID, "nothing": None},
    custom_data={"team": "red", "boss": True, "address": {"city": "Bern"}, "binary": BINARY},
    identities=({"id": "i", "provider_type": "local-userpass", "data": {}},),
)
VALUES = {
    "values": {"limit": 3, "admins": [ME]},
    "environment": {"tag": "production", "values": {"region": "eu"}},
}
YES: list[Any] = [
    True, {}, "%%true", {"%%true": True}, {"%%true": {}}, {"%%false": False}, {"%%true": "%%true"},
    {"%%user.custom_data.boss": True}, "%%user.custom_data.boss", {"%%true": "%%user.custom_data.boss"},
    {"%%user.id": ME}, {"%%user.type": "normal"}, {"%%user.type": {"%ne": "server"}}, {"%%user.data.level": 5},
    {"%%user.data.level": {"%gt": 4, "%lte": 5}}, {"%%user.data.level": {"$gte": 5, "$lt": 6}},
    {"%%user.data.level": {"%in": [1, 5]}}, {"%%user.data.level": {"%nin": [1, 2]}},
    {"%%user.data.level": {"%eq": 5.0}},
    {"%%user.data.tags": "x"}, {"%%user.data.tags": {"%in": ["y", "z"]}}, {"%%user.data.none": {"%exists": False}},
    {"%%user.data.level": {"%exists": True}}, {"%%user.data.nothing": None}, {"%%user.data.none": None},
    {"%%user.data.none": {"%ne": 5}}, {"%%user.custom_data.address.city": "Bern"},
    {"%%user.identities": {"%exists": True}},
    {"%%user.custom_data.address": {"city": "Bern"}}, {"%%values.limit": 3}, {"%%values.admins": "%%user.id"},
    {"%%user.id": {"%in": "%%values.admins"}}, {"%%environment.tag": "production"},
    {"%%environment.values.region": "eu"},
    {"%%request.httpMethod": "POST"}, {"%%request.requestHeaders.x-key": "b"}, {"%%request.action": "find"},
    {"%%request.service": "main"}, {"%%request.remoteIPAddress": {"%in": ["10.0.0.1", "10.0.0.2"]}},
    {"%%user.data.oid": {"%stringToOid": ME}}, {"%%user.id": {"%oidToString": "%%user.data.oid"}},
    {"%%user.custom_data.binary": {"%stringToUuid": "%%user.data.uuid"}},
    {"%%user.data.uuid": {"%uuidToString": "%%user.custom_data.binary"}},
    {"%and": [{"%%user.type": "normal"}, {"%%true": True}]}, {"%or": [False, {"%%user.type": "normal"}]},
    {"$or": [{"%%user.type": "server"}, True]}, {"%not": {"%%user.type": "server"}}, {"%nor": [{"%%user.type": "x"}]},
    {"%%user.data.level": {"%not": {"%gt": 9}}}, {"%and": []}, {"owner": ME}, {"%%root.owner": "%%user.id"},
    {"oid": {"%stringToOid": "%%user.id"}}, {"%%user.id": {"%oidToString": "%%root.oid"}},
    {"members": "%%user.id"}, {"%%user.id": "%%root.members"}, {"%%user.id": {"%in": "%%root.members"}},
    {"owner": {"%in": "%%root.members"}}, {"owner": "%%root.members"}, {"deep.er": 7}, {"%%root.deep.er": {"%gt": 6}},
    {"n": {"%lt": "%%root.m"}}, {"%%user.data.level": {"%gt": "%%root.n"}}, {"list.k": 2},
    {"missing": {"%exists": False}},
    {"owner": {"%exists": True}}, {"%%root": {"%exists": True}}, {"%%prevRoot": {"%exists": True}},
    {"%%prevRoot.owner": "%%root.owner"}, {"%%root": "%%prevRoot"}, {"missing": None}, {"missing": {"%ne": 1}},
    {"owner": "%%user.id", "n": 1}, {"n": {"%ne": "%%user.data.none"}}, {"tags": "%%user.data.tags"},
    {"deep": {"er": 7}}, {"n": "%%root.long"}, {"members": {"%in": "%%values.admins"}}, {"flag": "%%true"},
    {"%%root.flag": True}, "%%root.flag", {"when": {"%lt": datetime(2030, 1, 1)}}, {"n": {"%in": [1,
    "%%user.data.none"]}},
]  # fmt: skip
NO: list[Any] = [
    False, "%%false", {"%%true": False}, {"%%false": True}, {"%%false": {}}, {"%or": []}, {"%%user.type": "server"},
    {"%%user.id": YOU}, {"%%user.data.none": 5}, {"%%user.data.none": "%%user.data.neither"},
    {"owner": "%%user.data.none"},
    {"owner": {"%in": "%%user.data.none"}}, {"%%user.data.none": {"%exists": True}},
    {"%%user.data.none": {"%ne": None}},
    {"%%user.data.level": {"%gt": "4"}}, {"%%user.data.level": {"%nin": [5]}}, {"%%user.data.tags": {"%ne": "x"}},
    {"%%user.data.oid": ME}, {"oid": "%%user.id"}, {"oid": {"%stringToOid": "no id"}}, {"oid": {"%stringToOid": 5}},
    {"%%user.data.uuid": {"%stringToUuid": "%%user.data.uuid"}}, {"%%user.id": {"%oidToString": "%%root.owner"}},
    {"%%user.data.nothing": {"%oidToString": "%%root.owner"}}, {"owner": {"%ne": "%%user.id"}},
    {"members": {"%ne": ME}},
    {"%%user.id": {"%nin": "%%root.members"}}, {"n": {"%gt": "%%root.m"}}, {"n": {"%gt": "%%root.missing"}},
    {"m": {"%gt": "%%root.owner"}}, {"owner": {"%gt": "%%root.n"}}, {"missing": {"%gte": "%%root.absent"}},
    {"missing": {"%exists": True}}, {"%%prevRoot": {"%exists": False}}, {"%%root": {"%exists": False}},
    {"%%root": {"%ne": "%%prevRoot"}}, {"owner": ME, "n": 2}, {"%and": [True, {"n": 2}]}, {"%not": {"owner": ME}},
    {"%nor": [{"owner": ME}]}, {"deep": {"er": 7, "x": 1}}, {"%%request.httpMethod": "GET"}, {"%%request.nothing": "x"},
    {"%%request.requestHeaders.x-key": "c"}, {"%%values.nothing": 1}, {"%%environment.tag": "testing"}, {"missing": 0},
    {"%%user.custom_data.address": {"city": "Bern", "zip": 1}}, {"owner": {"%in": []}}, {"n": "1"}, {"flag": 1},
]  # fmt: skip
STORED: Document = {
    "_id": 1, "owner": ME, "oid": OID, "members": [ME, YOU], "n": 1, "m": 2, "long": Int64(1), "deep": {"er": 7},
    "list": [{"k": 1}, {"k": 2}], "tags": ["y", "q"], "flag": True, "when": datetime(2020, 1, 1),
}  # fmt: skip
