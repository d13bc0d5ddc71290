"""Tables of (rules, caller, operation, documents) → what is answered, or the refusal, and what is in the database then.

Every row goes through the one door to a real database.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import pytest
from bson import Decimal128, ObjectId
from expression_rows import CALLER, NO, STORED, VALUES, YES
from ruled import ME, NS, YOU, App, operation, said, user

from doorleaf.access.identity.authenticator import Identity
from doorleaf.documents import Document
from doorleaf.errors import DoorleafError
from doorleaf.operations import Namespace

U = None
"""What a role leaves undefined."""


@dataclass
class Row:
    """``do`` is an operation's name and fields; ``refused`` is a part of what the client is told."""

    name: str
    rules: Any
    do: tuple[str, dict[str, Any]]
    gives: Any = U
    refused: str = ""
    leaves: list[Document] | None = None
    me: Identity = field(default_factory=user)
    stored: list[Document] = field(default_factory=lambda: [{"_id": 1, "a": 1, "b": {"c": 2, "d": 3}}])
    options: dict[str, Any] = field(default_factory=dict)


ROWS: list[Row] = []


def row(name: str, rules: Any, do: str, gives: Any = U, *, refused: str = "", **more: Any) -> None:
    """Add a row; ``rules`` is a role, a list of roles, or the rules of all collections."""
    extra = {key: more.pop(key) for key in ("leaves", "me", "stored", "options") if key in more}
    if isinstance(rules, list):
        rules = {"things": {"roles": rules}}
    elif "things" not in rules and "*" not in rules:
        rules = {"things": {"roles": [role(**rules)]}}
    ROWS.append(Row(name, rules, (do, more), gives, refused, **extra))


def role(name: str = "role", **fields: Any) -> Document:
    """A role; None leaves a key out."""
    return {"name": name, "apply_when": {}, **{key: value for key, value in fields.items() if value is not None}}


WHOLE = {"_id": 1, "a": 1, "b": {"c": 2, "d": 3}}

# --- reading: read, write and fields -----------------------------------------------------------------------------

for read, write, seen in [
    (True, True, [WHOLE]), (True, False, [WHOLE]), (True, U, [WHOLE]),
    (False, True, [WHOLE]), (False, False, []), (False, U, []),
    (U, True, [WHOLE]), (U, False, [{"a": 1}]), (U, U, [{"a": 1}]),
]:  # fmt: skip
    row(f"read {read}, write {write}", {"read": read, "write": write, "fields": {"a": {"read": True}}}, "find", seen)

for read, write, seen in [
    (True, True, [WHOLE]), (True, False, [WHOLE]), (True, U, [WHOLE]),
    (False, True, [WHOLE]), (False, False, []), (False, U, [WHOLE]),
    (U, True, [WHOLE]), (U, False, [WHOLE]), (U, U, [WHOLE]),
]:  # fmt: skip
    gate = {key: value for key, value in (("read", read), ("write", write)) if value is not None}
    row(f"document_filters read {read}, write {write}", {"document_filters": gate, "read": True}, "find", seen)

for read, write, seen in [
    (True, True, True), (True, False, True), (True, U, True), (False, True, True), (False, False, False),
    (False, U, False), (U, True, True), (U, False, False), (U, U, False),
]:  # fmt: skip
    rule = {key: value for key, value in (("read", read), ("write", write)) if value is not None}
    row(f"field read {read}, write {write}", {"fields": {"a": rule}}, "find", [{"a": 1}] if seen else [])
    others = [{"_id": 1, "b": {"c": 2, "d": 3}}] if seen else []
    row(
        f"additional_fields read {read}, write {write}",
        {"fields": {"a": {"read": False}}, "additional_fields": rule},
        "find",
        others,
    )

row("fields without any permission", {"fields": {"a": {}}}, "find", [])
row("a role without anything", {}, "find", [])
row("nested fields", {"fields": {"b": {"fields": {"c": {"read": True}}}}}, "find", [{"b": {"c": 2}}])
row(
    "a permission on a parent overrides those of its sub-fields: shown",
    {"fields": {"b": {"read": True, "fields": {"c": {"read": False}}}}},
    "find",
    [{"b": {"c": 2, "d": 3}}],
)
row(
    "a permission on a parent overrides those of its sub-fields: hidden",
    {"fields": {"b": {"read": False, "fields": {"c": {"read": True}}}, "a": {"read": True}}},
    "find",
    [{"a": 1}],
)
row(
    "additional fields of a nested field",
    {"fields": {"b": {"fields": {"c": {"read": False}}, "additional_fields": {"read": True}}}},
    "find",
    [{"b": {"d": 3}}],
)
row(
    "nested fields inside arrays",
    {"fields": {"b": {"fields": {"c": {"read": True}}}}},
    "find",
    [{"b": [{"c": 1}, {}, [{"c": 3}]]}],
    stored=[{"_id": 1, "b": [{"c": 1, "d": 2}, {"d": 2}, 5, [{"c": 3, "d": 4}]]}],
)
row("a hidden _id", {"fields": {"_id": {"read": False}}, "additional_fields": {"read": True}}, "findOne",
    {"a": 1, "b": {"c": 2, "d": 3}})  # fmt: skip
row("a field that only some documents show", {"fields": {"a": {"read": {"owner": "%%user.id"}}, "_id": {"read": True}}},
    "find", [{"_id": 1, "a": 1}, {"_id": 2}],
    stored=[{"_id": 1, "a": 1, "owner": ME}, {"_id": 2, "a": 2, "owner": YOU}])  # fmt: skip
row("documents of which nothing is shown vanish", {"fields": {"a": {"read": {"owner": "%%user.id"}}}},
    "find", [{"a": 1}],
    stored=[{"_id": 1, "a": 1, "owner": ME}, {"_id": 2, "a": 2, "owner": YOU}])  # fmt: skip
row("and are not counted", {"fields": {"a": {"read": {"owner": "%%user.id"}}}},
    "countDocuments", {"count": 1},
    stored=[{"_id": 1, "a": 1, "owner": ME}, {"_id": 2, "a": 2, "owner": YOU}])  # fmt: skip
row("%%this in a field's permission", {"fields": {"a": {"read": {"%%this": {"%lt": 5}}}, "_id": {"read": True}}},
    "find",
    [{"_id": 1, "a": 1}, {"_id": 2}], stored=[{"_id": 1, "a": 1}, {"_id": 2, "a": 9}])  # fmt: skip
row("%%this inside an array is each element's own",
    {"fields": {"a": {"fields": {"t": {"read": {"%%this": {"%ne": "secret"}}}}}}}, "find",
    [{"a": [{"t": "open"}, {}]}],
    stored=[{"_id": 1, "a": [{"t": "open"}, {"t": "secret"}]}])  # fmt: skip
row("%%this in additional_fields is each field's own",
    {"additional_fields": {"read": {"%%this": {"%exists": True, "%ne": "secret"}}}}, "find",
    [{"_id": 1, "a": 1}], stored=[{"_id": 1, "a": 1, "b": "secret"}])  # fmt: skip

# --- which role -----------------------------------------------------------------------------------------------------

OWNED = [{"_id": 1, "owner": ME, "pay": 1}, {"_id": 2, "owner": YOU, "pay": 2}, {"_id": 3, "owner": YOU, "open": True}]
OWNER = role("owner", apply_when={"owner": "%%user.id"}, read=True, write=True)
READER = role("reader", fields={"_id": {"read": True}, "owner": {"read": True}})
row("a role for each document", [OWNER, READER], "find",
    [{"_id": 1, "owner": ME, "pay": 1}, {"_id": 2, "owner": YOU}, {"_id": 3, "owner": YOU}], stored=OWNED)  # fmt: skip
row("the first that applies decides", [READER, OWNER], "find",
    [{"_id": 1, "owner": ME}, {"_id": 2, "owner": YOU}, {"_id": 3, "owner": YOU}], stored=OWNED)  # fmt: skip
row("no role applies: no document", [OWNER], "find", [OWNED[0]], stored=OWNED)
row("a role that applies and sees nothing ends the search", [role("none", apply_when={"open": True}), role(read=True)],
    "find", OWNED[:2], stored=OWNED)  # fmt: skip
row("counts know the roles", [OWNER, role("open", apply_when={"open": True}, read=True)], "countDocuments",
    {"count": 2},
    stored=OWNED)  # fmt: skip
row("so do estimates", [OWNER, role("open", apply_when={"open": True}, read=True)], "estimatedDocumentCount",
    {"count": 2}, stored=OWNED)  # fmt: skip
row("distinct knows them", [OWNER], "distinct", {"values": [1]}, key="pay", stored=OWNED)
row("aggregate joins what each role shows", [OWNER, READER], "aggregate",
    [{"_id": 1, "owner": ME, "pay": 1}, {"_id": 2, "owner": YOU}, {"_id": 3, "owner": YOU}],
    pipeline=[{"$sort": {"_id": 1}}], stored=OWNED)  # fmt: skip
row("collection roles switch the default ones off",
    {"*": {"roles": [role(read=True)]}, "things": {"roles": [OWNER]}}, "find", [OWNED[0]], stored=OWNED)  # fmt: skip
row("even when none applies",
    {"*": {"roles": [role(read=True)]}, "things": {"roles": [role(apply_when=False, read=True)]}}, "find",
    [])  # fmt: skip
row("a collection without roles has the default ones", {"*": {"roles": [role(read=True)]}}, "find", [WHOLE])
row(
    "with its own filters",
    {"*": {"roles": [role(read=True)]}, "things": {"filters": [{"query": {"a": 2}}]}},
    "find",
    [],
)
row("no rule at all", {"*": {}}, "find", refused="403 NoMatchingRuleFound no rule exists for namespace 'app.things'")
row("rules of another collection", {"things": {"roles": [role(read=True)]}}, "find", refused="NoMatchingRuleFound",
    namespace=Namespace("app", "others"))  # fmt: skip
for database, collection in [("admin", "x"), ("local", "oplog.rs"), ("config", "settings"), ("app", "system.views")]:
    row(f"default roles do not reach {database}.{collection}", {"*": {"roles": [role(read=True, write=True)]}}, "find",
        refused="NoMatchingRuleFound", namespace=Namespace(database, collection))  # fmt: skip
row("another data source", {"*": {"roles": [role(read=True)]}}, "find", refused="NoMatchingRuleFound",
    namespace=Namespace("app", "things", "other"))  # fmt: skip
row("a key's roles are not asked", [role("robot", apply_when=False, read=True), role("human")], "find", [WHOLE],
    me=user(kind="server", provider="api-key", roles=("robot",)))  # fmt: skip
row("a key's roles are its only ones", [role("robot", apply_when=False), role("human", read=True)], "find", [],
    me=user(kind="server", provider="api-key", roles=("robot",)))  # fmt: skip
row("a key's role that is not there", [role("human", read=True)], "find", [],
    me=user(kind="server", provider="api-key", roles=("nobody",)))  # fmt: skip
row("an API key is of type server", [role(apply_when={"%%user.type": "server"}, read=True)], "find", [WHOLE],
    me=user(kind="server", provider="api-key"))  # fmt: skip
row("a person is not", [role(apply_when={"%%user.type": "server"}, read=True)], "find", [])

# --- writing ---------------------------------------------------------------------------------------------------------

for given, allowed in [(True, True), (False, False), (U, True)]:
    rules: dict[str, Any] = {"insert": given, "write": True}
    row(f"insert {given}", rules, "insertOne", {"insertedId": 2} if allowed else U, document={"_id": 2},
        refused="" if allowed else "insert not permitted", leaves=[WHOLE,
        {"_id": 2}] if allowed else [WHOLE])  # fmt: skip
    rules = {"insert": given, "additional_fields": {"write": True}}
    row(f"insert {given}, on the level of fields", rules, "insertOne", {"insertedId": 2} if allowed else U,
        document={"_id": 2}, refused="" if allowed else "insert not permitted")  # fmt: skip
    rules = {"delete": given, "write": True}
    row(f"delete {given}", rules, "deleteOne", {"deletedCount": 1} if allowed else U, filter={},
        refused="" if allowed else "delete not permitted", leaves=[] if allowed else [WHOLE])  # fmt: skip
    rules = {"document_filters": {} if given is None else {"write": given}, "write": True, "read": True}
    row(f"document_filters.write {given}: update", rules, "updateOne",
        {"matchedCount": 1, "modifiedCount": 1} if allowed else U, filter={}, update={"$set": {"a": 2}},
        refused="" if allowed else "update not permitted", leaves=[{**WHOLE, "a": 2 if allowed else 1}])  # fmt: skip
    row(f"document_filters.write {given}: insert", rules, "insertOne", {"insertedId": 2} if allowed else U,
        document={"_id": 2}, refused="" if allowed else "insert not permitted")  # fmt: skip
    row(f"document_filters.write {given}: delete", rules, "deleteOne", {"deletedCount": 1} if allowed else U, filter={},
        refused="" if allowed else "delete not permitted")  # fmt: skip

for write, fields, allowed in [
    (True, {}, True), (False, {}, False), (U, {}, False), (U, {"a": {"write": True}}, True),
    (False, {"a": {"write": True}}, False), (U, {"a": {"read": True}}, False), (U, {"b": {"write": True}}, False),
]:  # fmt: skip
    row(f"write {write}, fields {fields}", {"read": True, "write": write, "fields": fields}, "updateOne",
        {"matchedCount": 1, "modifiedCount": 1} if allowed else U, filter={}, update={"$set": {"a": 5}},
        refused="" if allowed else "update not permitted", leaves=[{**WHOLE, "a": 5 if allowed else 1}])  # fmt: skip

row("delete takes the right to write", {"delete": True, "read": True, "write": False}, "deleteOne", filter={},
    refused="delete not permitted", leaves=[WHOLE])  # fmt: skip
row("delete takes the right to write all fields", {"delete": True, "fields": {"a": {"write": True}}}, "deleteOne",
    filter={}, refused="delete not permitted", leaves=[WHOLE])  # fmt: skip
row("delete with all fields writable", {"delete": True, "additional_fields": {"write": True}}, "deleteOne",
    {"deletedCount": 1}, filter={}, leaves=[])  # fmt: skip
row("insert with a field that may not be written", {"fields": {"a": {"write": True}}}, "insertOne",
    document={"_id": 2, "a": 1, "b": 2}, refused="insert not permitted", leaves=[WHOLE])  # fmt: skip
row("insert with fields that may", {"fields": {"a": {"write": True}}}, "insertOne", {"insertedId": 2},
    document={"_id": 2, "a": 1}, leaves=[WHOLE, {"_id": 2, "a": 1}])  # fmt: skip
row("write of a nested field", {"read": True, "fields": {"b": {"fields": {"c": {"write": True}}}}}, "updateOne",
    {"matchedCount": 1, "modifiedCount": 1}, filter={}, update={"$set": {"b.c": 9}},
    leaves=[{"_id": 1, "a": 1, "b": {"c": 9, "d": 3}}])  # fmt: skip
row("but not of its parent", {"read": True, "fields": {"b": {"fields": {"c": {"write": True}}}}}, "updateOne",
    filter={}, update={"$set": {"b": {"c": 9, "d": 3}}}, refused="update not permitted", leaves=[WHOLE])  # fmt: skip
row("nor of its neighbour", {"read": True, "fields": {"b": {"fields": {"c": {"write": True}}}}}, "updateOne",
    filter={}, update={"$set": {"b.d": 9}}, refused="update not permitted", leaves=[WHOLE])  # fmt: skip
row("a read on the parent leaves its sub-fields unwritable",
    {"fields": {"b": {"read": True, "fields": {"c": {"write": True}}}}}, "updateOne",
    filter={}, update={"$set": {"b.c": 9}}, refused="update not permitted", leaves=[WHOLE])  # fmt: skip
row("a value that stays the same may not be tried out", {"read": True, "fields": {"b": {"write": True}}}, "updateOne",
    filter={}, update={"$set": {"a": 1}}, refused="update not permitted", leaves=[WHOLE])  # fmt: skip
row("a NaN beside what is written is no change", {"read": True, "fields": {"b": {"write": True}}}, "updateOne",
    {"matchedCount": 1, "modifiedCount": 1}, filter={"_id": 1}, update={"$set": {"b": 2}}, upsert=True,
    stored=[{"_id": 1, "a": math.nan, "c": [Decimal128("NaN"), math.nan], "b": 1}])  # fmt: skip
row("one refused document undoes the whole updateMany", [OWNER, role(read=True)], "updateMany", filter={},
    update={"$set": {"pay": 0}}, refused="update not permitted", leaves=OWNED, stored=OWNED)  # fmt: skip
row("and the whole deleteMany", [OWNER, role(read=True)], "deleteMany", filter={}, refused="delete not permitted",
    leaves=OWNED, stored=OWNED)  # fmt: skip
row("invisible documents are not met at all", [OWNER], "updateMany", {"matchedCount": 1, "modifiedCount": 1}, filter={},
    update={"$set": {"pay": 0}}, leaves=[{**OWNED[0], "pay": 0}, *OWNED[1:]], stored=OWNED)  # fmt: skip
row("nor deleted", [OWNER], "deleteMany", {"deletedCount": 1}, filter={}, leaves=OWNED[1:], stored=OWNED)
row("the role is chosen by the document as it was", [OWNER, role(read=True, write=False)], "updateOne",
    filter={"_id": 2},
    update={"$set": {"owner": ME}}, refused="update not permitted", leaves=OWNED, stored=OWNED)  # fmt: skip
row("and may give its document away", [OWNER, role(read=True, write=False)], "updateOne",
    {"matchedCount": 1, "modifiedCount": 1}, filter={"_id": 1}, update={"$set": {"owner": YOU}},
    leaves=[{**OWNED[0], "owner": YOU}, *OWNED[1:]], stored=OWNED)  # fmt: skip
MINE = {"read": True, "write": {"owner": "%%user.id"}}
row("%%root in write is the document after the change", MINE, "updateOne", filter={"_id": 1},
    update={"$set": {"owner": YOU}}, refused="update not permitted", leaves=OWNED, stored=OWNED)  # fmt: skip
row("so that write alone lets anybody take a document over", MINE, "updateOne",
    {"matchedCount": 1, "modifiedCount": 1}, filter={"_id": 2}, update={"$set": {"owner": ME}},
    stored=OWNED)  # fmt: skip
row("%%prevRoot does not", {"read": True, "write": {"%%prevRoot.owner": "%%user.id"}}, "updateOne", filter={"_id": 2},
    update={"$set": {"owner": ME}}, refused="update not permitted", leaves=OWNED, stored=OWNED)  # fmt: skip
GATED = {"document_filters": {"read": True, "write": {"owner": "%%user.id"}}, "read": True, "write": True}
row("document_filters.write holds before the change", GATED, "updateOne", filter={"_id": 2},
    update={"$set": {"owner": ME}}, refused="update not permitted", leaves=OWNED, stored=OWNED)  # fmt: skip
row("and after it", GATED, "updateOne", filter={"_id": 1}, update={"$set": {"owner": YOU}},
    refused="update not permitted", leaves=OWNED, stored=OWNED)  # fmt: skip
row("a change of one's own", GATED, "updateOne", {"matchedCount": 1, "modifiedCount": 1}, filter={"_id": 1},
    update={"$set": {"pay": 5}}, leaves=[{**OWNED[0], "pay": 5}, *OWNED[1:]], stored=OWNED)  # fmt: skip
row("an insert for oneself", GATED, "insertOne", {"insertedId": 4}, document={"_id": 4, "owner": ME}, stored=OWNED)
row("an insert for another", GATED, "insertOne", document={"_id": 4, "owner": YOU}, refused="insert not permitted",
    leaves=OWNED, stored=OWNED)  # fmt: skip
INSERT_ONLY = {"insert": True, "write": {"%%prevRoot": {"%exists": False}}}
row("insert only: inserts", INSERT_ONLY, "insertOne", {"insertedId": 2}, document={"_id": 2, "x": 1},
    leaves=[WHOLE, {"_id": 2, "x": 1}])  # fmt: skip
row("insert only: reads nothing", INSERT_ONLY, "find", [])
row("insert only: updates nothing", INSERT_ONLY, "updateMany", {"matchedCount": 0, "modifiedCount": 0}, filter={},
    update={"$set": {"a": 5}}, leaves=[WHOLE])  # fmt: skip
row("insert only: deletes nothing", INSERT_ONLY, "deleteMany", {"deletedCount": 0}, filter={}, leaves=[WHOLE])
row("insert only, readable: still updates nothing", {**INSERT_ONLY, "read": True}, "updateOne", filter={},
    update={"$set": {"a": 5}}, refused="update not permitted", leaves=[WHOLE])  # fmt: skip
row("insert only, readable: still deletes nothing", {**INSERT_ONLY, "read": True}, "deleteOne", filter={},
    refused="delete not permitted", leaves=[WHOLE])  # fmt: skip
row("an upsert that inserts is an insert", {"read": True, "write": True, "insert": False}, "updateOne",
    filter={"_id": 9}, update={"$set": {"a": 1}}, upsert=True, refused="insert not permitted",
    leaves=[WHOLE])  # fmt: skip
row("an upsert that updates is an update", {"read": True, "write": True, "insert": False}, "updateOne",
    {"matchedCount": 1, "modifiedCount": 1}, filter={"_id": 1}, update={"$set": {"a": 2}}, upsert=True)  # fmt: skip
row("an upsert takes no field from the rule", GATED, "updateOne", filter={"_id": 9}, update={"$set": {"a": 1}},
    upsert=True, refused="insert not permitted", leaves=OWNED, stored=OWNED)  # fmt: skip
row("an upsert with what the rule asks for", GATED, "updateOne", {"matchedCount": 0, "modifiedCount": 0,
    "upsertedId": 9},
    filter={"_id": 9, "owner": ME}, update={"$set": {"a": 1}}, upsert=True, stored=OWNED)  # fmt: skip
row("replaceOne of a readable document changes what may be changed", {"read": True, "fields": {"a": {"write": True}}},
    "replaceOne", {"matchedCount": 1, "modifiedCount": 1}, filter={}, replacement={"a": 7, "b": {"c": 2, "d": 3}},
    leaves=[{**WHOLE, "a": 7}])  # fmt: skip
row("and nothing else", {"read": True, "fields": {"a": {"write": True}}},
    "replaceOne", refused="update not permitted", filter={}, replacement={"a": 7, "b": {"c": 2}},
    leaves=[WHOLE])  # fmt: skip
row("not even a document without fields is deleted by a reader", {"read": True}, "deleteOne", filter={},
    refused="delete not permitted", stored=[{"_id": 1}])  # fmt: skip
row("replaceOne where fields decide", {"fields": {"a": {"write": True}}, "additional_fields": {"read": True}},
    "replaceOne", refused="update not permitted", filter={}, replacement={"a": 7}, leaves=[WHOLE])  # fmt: skip
row("%%prev and %%this in a field's write: upwards", {"read": True,
    "fields": {"a": {"write": {"%%this": {"%gt": "%%prev"}}}}},
    "updateOne", {"matchedCount": 1, "modifiedCount": 1}, filter={}, update={"$inc": {"a": 1}})  # fmt: skip
row("%%prev and %%this in a field's write: downwards",
    {"read": True, "fields": {"a": {"write": {"%%this": {"%gt": "%%prev"}}}}},
    "updateOne", refused="update not permitted", filter={}, update={"$inc": {"a": -1}}, leaves=[WHOLE])  # fmt: skip
row("a field that is written once", {"read": True, "fields": {"z": {"write": {"%%prev": {"%exists": False}}}}},
    "updateOne", {"matchedCount": 1, "modifiedCount": 1}, filter={}, update={"$set": {"z": 1}})  # fmt: skip
row("and not twice", {"read": True, "fields": {"a": {"write": {"%%prev": {"%exists": False}}}}},
    "updateOne", refused="update not permitted", filter={}, update={"$set": {"a": 2}}, leaves=[WHOLE])  # fmt: skip
row("findOneAndUpdate shows what may be read", {"fields": {"a": {"write": True}, "b": {"read": True}}},
    "findOneAndUpdate",
    {"a": 2, "b": {"c": 2, "d": 3}}, filter={}, update={"$inc": {"a": 1}})  # fmt: skip
row("findOneAndDelete without the right", {"read": True}, "findOneAndDelete", filter={}, refused="delete not permitted",
    leaves=[WHOLE])  # fmt: skip
row("findOneAndReplace", {"read": True, "write": True}, "findOneAndReplace", {"_id": 1, "z": 1}, filter={},
    replacement={"z": 1})  # fmt: skip
row("bulkWrite is undone as a whole", {"read": True, "write": True, "delete": False}, "bulkWrite", ordered=False,
    operations=[("insertOne", {"document": {"_id": 2}}), ("deleteOne", {"filter": {"_id": 1}})],
    refused="delete not permitted", leaves=[WHOLE])  # fmt: skip
row("insertMany is refused as a whole", GATED, "insertMany", refused="insert not permitted", leaves=[WHOLE],
    documents=[{"_id": 4, "owner": ME}, {"_id": 5, "owner": YOU}])  # fmt: skip
row("a caller who only reads", {"read": True}, "insertOne", document={}, refused="insert not permitted")

row("findOne by _id", [OWNER, READER], "findOne", {"_id": 2, "owner": YOU}, filter={"_id": 2}, stored=OWNED)
row("findOne by the _id of an invisible document", [OWNER], "findOne", None, filter={"_id": 2}, stored=OWNED)
row("findOne by an _id that is hidden", {"fields": {"_id": {}}, "additional_fields": {"read": True}}, "findOne",
    filter={"_id": 1}, refused="FieldNotReadable")  # fmt: skip
FLAGS = [{"_id": 1, "flag": 1}, {"_id": 2, "flag": True}]
row("1 and true are two values", {"read": {"flag": 1}, "write": {"flag": True}}, "find", FLAGS, stored=FLAGS)
row("in conditions that are joined", {"read": {"%and": [{"flag": 1}, {"flag": True}]}}, "find", [], stored=FLAGS)
row("and in those that are compared", {"document_filters": {"read": {"flag": 1}, "write": {"flag": True}}, "read": True,
    "write": {"%%prevRoot.flag": True}}, "updateMany", filter={"_id": 1}, update={"$set": {"x": 1}},
    refused="update not permitted", stored=FLAGS, leaves=FLAGS)  # fmt: skip
row("a single document that others may write is refused alone", [OWNER, role(read=True)], "deleteOne",
    filter={"_id": 2},
    refused="delete not permitted", leaves=OWNED, stored=OWNED)  # fmt: skip

# --- filters ---------------------------------------------------------------------------------------------------------


def filtered(*filters: Document, **permissions: Any) -> Document:
    return {"things": {"roles": [role(**({"read": True, "write": True} | permissions))], "filters": list(filters)}}


row("findOne by _id under a pattern", filtered({"query": {"owner": {"$regex": "^64"}}}), "findOne", OWNED[0],
    filter={"_id": 1}, stored=OWNED)  # fmt: skip
row("a filter's query", filtered({"name": "f", "query": {"owner": "%%user.id"}}), "find", OWNED[:1], stored=OWNED)
row("a filter that does not apply", filtered({"apply_when": {"%%user.type": "server"}, "query": {"owner": "x"}}),
    "find",
    OWNED, stored=OWNED)  # fmt: skip
row("several filters apply", filtered({"query": {"owner": YOU}}, {"query": {"pay": {"$gt": 1}}}), "find", [OWNED[1]],
    stored=OWNED)  # fmt: skip
row("applyWhen is apply_when", filtered({"applyWhen": False, "query": {"owner": "x"}}), "find", OWNED, stored=OWNED)
row("operators of a filter with %", filtered({"query": {"pay": {"%in": [1, 5]}}}), "find", OWNED[:1], stored=OWNED)
row("a filter's $or", filtered({"query": {"$or": [{"owner": "%%user.id"}, {"open": "%%true"}]}}), "find",
    [OWNED[0], OWNED[2]], stored=OWNED)  # fmt: skip
row("a filter that converts", filtered({"query": {"o": {"%stringToOid": "%%user.id"}}}), "find", [{"_id": 1,
    "o": ObjectId(ME)}],
    stored=[{"_id": 1, "o": ObjectId(ME)}, {"_id": 2, "o": ME}])  # fmt: skip
row("a filter limits writes", filtered({"query": {"owner": "%%user.id"}}), "updateMany",
    {"matchedCount": 1, "modifiedCount": 1}, filter={}, update={"$set": {"pay": 0}},
    leaves=[{**OWNED[0], "pay": 0}, *OWNED[1:]], stored=OWNED)  # fmt: skip
row("a filter limits deletes", filtered({"query": {"owner": "%%user.id"}}), "deleteMany", {"deletedCount": 1},
    filter={},
    leaves=OWNED[1:], stored=OWNED)  # fmt: skip
row("a filter that needs what the caller does not have", filtered({"query": {"team": "%%user.data.team"}}), "find",
    refused="a value that the caller does not have")  # fmt: skip
row(
    "a projection that excludes", filtered({"projection": {"pay": 0}}), "findOne", {"_id": 1, "owner": ME}, stored=OWNED
)
row("a projection that includes", filtered({"projection": {"pay": 1}}), "findOne", {"_id": 1, "pay": 1}, stored=OWNED)
row("project is projection", filtered({"project": {"pay": 1, "_id": 0}}), "findOne", {"pay": 1}, stored=OWNED)
row("what a projection excludes is hidden from aggregate", filtered({"projection": {"pay": 0}}), "aggregate",
    [{"_id": 1, "owner": ME}], pipeline=[{"$match": {"_id": 1}}], stored=OWNED)  # fmt: skip
row("and from filters", filtered({"projection": {"pay": 0}}), "find", filter={"pay": 1}, refused="FieldNotReadable",
    stored=OWNED)  # fmt: skip
row("and from updates", filtered({"projection": {"pay": 0}}), "updateOne", filter={}, update={"$max": {"pay": 1}},
    refused="FieldNotReadable", stored=OWNED, leaves=OWNED)  # fmt: skip
row("two projections leave what both leave", filtered({"projection": {"pay": 0}}, {"projection": {"owner": 0}}),
    "findOne",
    {"_id": 1}, stored=OWNED)  # fmt: skip
row("projections that include and that exclude", filtered({"projection": {"pay": 0}}, {"projection": {"owner": 1}}),
    "find", refused="projections that include and that exclude", stored=OWNED)  # fmt: skip
row("a caller's projection is joined with a filter's", filtered({"projection": {"pay": 0}}), "findOne", {"_id": 1},
    projection={"owner": 0}, stored=OWNED)  # fmt: skip
row("a caller's inclusion is joined with a filter's exclusion", filtered({"projection": {"pay": 0}}), "findOne",
    {"owner": ME}, projection={"owner": 1, "_id": 0}, stored=OWNED)  # fmt: skip
INJECTED = user(custom_data={"team": {"$ne": 1}, "teams": ["a", {"$gt": ""}], "name": "$$ROOT"})
row(
    "custom data is never an operator",
    filtered({"query": {"team": "%%user.custom_data.team"}}),
    "find",
    [],
    me=INJECTED,
)
row("not even in a list", filtered({"query": {"team": {"$in": "%%user.custom_data.teams"}}}), "find", me=INJECTED,
    refused="needs a plain value")  # fmt: skip
row("nor a field path", filtered({"query": {"$expr": {"$eq": ["%%user.custom_data.name", "$$ROOT"]}}}), "find", [],
    me=INJECTED)  # fmt: skip

# --- expressions -----------------------------------------------------------------------------------------------------

for expression, holds in [*((item, True) for item in YES), *((item, False) for item in NO)]:
    row(f"{expression} {'holds' if holds else 'does not hold'}", {"read": expression}, "find",
        [STORED] if holds else [],
        me=CALLER, stored=[STORED], options=VALUES)  # fmt: skip


@pytest.mark.parametrize("near", [False, True], ids=["far", "near"])
@pytest.mark.parametrize("case", ROWS, ids=lambda case: case.name[:90])
def test_rows(case: Row, near: bool) -> None:
    name, fields = case.do
    fields = dict(fields)
    namespace = fields.pop("namespace", NS)
    options = {**case.options, "near": ("main",) if near else ()}
    app = App(case.rules, {"things": case.stored}, options=options)
    answer, left = app.ask(operation(name, namespace, **fields), case.me)
    if case.refused:
        assert isinstance(answer, DoorleafError), answer
        assert case.refused in said(answer)
    else:
        assert not isinstance(answer, DoorleafError), said(answer)
        assert answer == case.gives
    if case.leaves is not None:
        assert left == case.leaves
    elif case.refused and namespace == NS:
        assert left == case.stored, "what was refused changed nothing"


def test_there_are_many_rows() -> None:
    assert len(ROWS) >= 250
    assert len({case.name for case in ROWS}) == len(ROWS)


CHANGES = [expression for expression in [*YES, *NO] if "request.action" not in str(expression)]


@pytest.mark.parametrize("expression", CHANGES, ids=str)
def test_writes_decide_as_queries_do(expression: Any) -> None:
    """The same expression in memory, where the document before and after are the same."""
    app = App({"things": {"roles": [role(read=True, write=expression)]}}, {"things": [STORED]}, VALUES)
    answer, _ = app.ask(operation("deleteOne", filter={"_id": 1}), CALLER)
    assert isinstance(answer, DoorleafError) == (expression in NO and expression not in YES), expression
