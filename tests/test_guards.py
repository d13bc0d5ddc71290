"""What no caller may do: tables of operations that are refused, and of their harmless neighbours that are not."""

from __future__ import annotations

from typing import Any

import pytest
from bson import Code

from doorleaf.access.guards.checks import Guards
from doorleaf.errors import DoorleafError, InvalidParameter, PermissionDenied
from doorleaf.operations import (
    OPERATIONS,
    Aggregate,
    BulkWrite,
    CountDocuments,
    CreateCollection,
    CreateIndex,
    DeleteMany,
    Distinct,
    Find,
    FindOne,
    FindOneAndDelete,
    FindOneAndReplace,
    FindOneAndUpdate,
    InsertMany,
    InsertOne,
    ListCollections,
    ListDatabases,
    Namespace,
    Operation,
    ReplaceOne,
    RunCommand,
    UpdateMany,
    UpdateOne,
)
from doorleaf.operations.results import CommandResult, DatabasesResult

NS = Namespace("app", "things")
GUARDS = Guards()
OUTPUT = Guards(allow_output_stages=True)

WHERE = {"$where": "this.a == 1"}
FUNCTION = {"$function": {"body": "function() { return 1 }", "args": [], "lang": "js"}}
ACCUMULATOR = {"$accumulator": {"init": "function() {}"}}


def refusal(operation: Operation[Any], guards: Guards = GUARDS) -> DoorleafError:
    with pytest.raises(DoorleafError) as caught:
        guards.check(operation)
    assert caught.value.status in (400, 403)
    return caught.value


@pytest.mark.parametrize(
    ("operation", "name"),
    [
        (Find(namespace=NS, filter=WHERE), "$where"),
        (Find(namespace=NS, filter={"$Where": "1"}), "$Where"),
        (FindOne(namespace=NS, filter={"$where": Code("1")}), "$where"),
        (Find(namespace=NS, filter={"$or": [{"a": 1}, {"$and": [WHERE]}]}), "$where"),
        (Find(namespace=NS, filter={"$expr": {"$eq": [1, FUNCTION]}}), "$function"),
        (Find(namespace=NS, filter={"a": {"$elemMatch": {"$not": WHERE}}}), "$where"),
        (Find(namespace=NS, projection={"x": FUNCTION}), "$function"),
        (Find(namespace=NS, let={"x": FUNCTION}), "$function"),
        (CountDocuments(namespace=NS, filter=WHERE), "$where"),
        (Distinct(namespace=NS, key="a", filter=WHERE), "$where"),
        (DeleteMany(namespace=NS, filter={"$nor": [WHERE]}), "$where"),
        (UpdateOne(namespace=NS, filter=WHERE, update={"$set": {"a": 1}}), "$where"),
        (UpdateMany(namespace=NS, filter={}, update=[{"$set": {"a": FUNCTION}}]), "$function"),
        (UpdateOne(namespace=NS, filter={}, update={"$pull": {"a": {"b": WHERE}}}), "$where"),
        (UpdateOne(namespace=NS, filter={}, update={"$set": {"a.$[x]": 1}}, array_filters=[{"x": WHERE}]), "$where"),
        (ReplaceOne(namespace=NS, filter=WHERE, replacement={}), "$where"),
        (FindOneAndUpdate(namespace=NS, filter={}, update=[{"$set": {"a": FUNCTION}}]), "$function"),
        (FindOneAndReplace(namespace=NS, filter={}, replacement={}, projection={"x": FUNCTION}), "$function"),
        (FindOneAndDelete(namespace=NS, filter=WHERE), "$where"),
        (BulkWrite(namespace=NS, operations=[DeleteMany(namespace=NS, filter=WHERE)]), "$where"),
        (Aggregate(namespace=NS, pipeline=[{"$match": WHERE}]), "$where"),
        (Aggregate(namespace=NS, pipeline=[{"$group": {"_id": 1, "x": ACCUMULATOR}}]), "$accumulator"),
        (Aggregate(namespace=NS, pipeline=[{"$facet": {"a": [{"$match": WHERE}]}}]), "$where"),
        (Aggregate(namespace=NS, pipeline=[], let={"x": FUNCTION}), "$function"),
        (
            Aggregate(namespace=NS, pipeline=[{"$lookup": {"from": "b", "as": "c", "pipeline": [{"$match": WHERE}]}}]),
            "$where",
        ),
        (Aggregate(namespace=NS, pipeline=[{"$unionWith": {"coll": "b", "pipeline": [{"$match": WHERE}]}}]), "$where"),
        (CreateCollection(namespace=NS, options={"validator": WHERE}), "$where"),
        (CreateCollection(namespace=NS, options={"viewOn": "a", "pipeline": [{"$match": WHERE}]}), "$where"),
        (CreateIndex(namespace=NS, keys={"a": 1}, options={"partialFilterExpression": WHERE}), "$where"),
        (RunCommand(namespace=NS, command={"count": "things", "query": WHERE}), "$where"),
        (RunCommand(namespace=NS, command={"explain": {"find": "things", "filter": WHERE}}), "$where"),
        (
            RunCommand(namespace=NS, command={"explain": {"aggregate": "t", "pipeline": [{"$match": WHERE}]}}),
            "$where",
        ),
        (RunCommand(namespace=NS, command={"listCollections": 1, "filter": WHERE}), "$where"),
    ],
)
def test_javascript_is_refused_at_any_depth(operation: Operation[Any], name: str) -> None:
    error = refusal(operation)
    assert isinstance(error, PermissionDenied)
    assert name in error.message


@pytest.mark.parametrize(
    "operation",
    [
        InsertOne(namespace=NS, document={"a": WHERE}),
        InsertMany(namespace=NS, documents=[{"a": [FUNCTION]}]),
        ReplaceOne(namespace=NS, filter={}, replacement={"a": WHERE}),
        FindOneAndReplace(namespace=NS, filter={}, replacement={"a": {"$out": 1}}),
        BulkWrite(namespace=NS, operations=[InsertOne(namespace=NS, document={"a": WHERE})]),
        Aggregate(namespace=NS, pipeline=[{"$project": {"x": {"$literal": WHERE}}}]),
        Aggregate(namespace=NS, pipeline=[{"$project": {"x": {"$literal": {"$out": "y"}}}}]),
        Find(namespace=NS, filter={"where": 1, "$comment": "$where", "a": "$function"}),
        Find(namespace=NS, filter={"a": {"$regex": "x"}}),
        Aggregate(namespace=NS, pipeline=[{"$match": {"a": 1}}, {"$lookup": {"from": "b", "as": "c"}}]),
        Aggregate(namespace=NS, pipeline=[{"$replaceWith": {"$mergeObjects": ["$a", "$b"]}}]),
        Aggregate(namespace=NS, pipeline=[{"$unionWith": "b"}, {"$collStats": {"count": {}}}]),
        Find(namespace=Namespace("doorleaf2", "doorleaf")),
        Find(namespace=Namespace("admin", "things")),
        CreateCollection(namespace=NS, options={"validator": {"a": {"$gt": 1}}, "capped": True}),
        CreateIndex(namespace=NS, keys={"a": 1}, options={"partialFilterExpression": {"a": {"$gt": 1}}}),
        ListDatabases(namespace=Namespace("admin")),
        ListCollections(namespace=Namespace("admin")),
        UpdateMany(namespace=NS, filter={}, update=[{"$replaceWith": {"$literal": {"a": WHERE}}}]),
    ],
)
def test_harmless_neighbours_pass(operation: Operation[Any]) -> None:
    GUARDS.check(operation)


def test_a_literal_beside_other_keys_is_looked_into() -> None:
    refusal(Aggregate(namespace=NS, pipeline=[{"$facet": {"$literal": [{"$match": WHERE}], "b": []}}]))


OUTPUT_PIPELINES = [
    [{"$out": "copy"}],
    [{"$out": {"db": "app", "coll": "copy"}}],
    [{"$merge": "copy"}],
    [{"$merge": {"into": {"db": "app", "coll": "copy"}}}],
    [{"$facet": {"a": [{"$out": "copy"}]}}],
    [{"$lookup": {"from": "b", "as": "c", "pipeline": [{"$merge": "copy"}]}}],
]


@pytest.mark.parametrize("pipeline", OUTPUT_PIPELINES)
def test_output_stages_take_a_setting(pipeline: list[dict[str, Any]]) -> None:
    assert "setting" in refusal(Aggregate(namespace=NS, pipeline=pipeline)).message
    OUTPUT.check(Aggregate(namespace=NS, pipeline=pipeline))
    refusal(CreateCollection(namespace=NS, options={"viewOn": "a", "pipeline": pipeline}), OUTPUT)


@pytest.mark.parametrize("database", ["doorleaf", "Doorleaf", "DOORLEAF"])
@pytest.mark.parametrize("name", [name for name in OPERATIONS if name != "listDatabases"])
def test_no_operation_reaches_the_system_database(name: str, database: str) -> None:
    required: dict[str, dict[str, Any]] = {
        "insertOne": {"document": {}},
        "insertMany": {"documents": [{}]},
        "aggregate": {"pipeline": []},
        "distinct": {"key": "a"},
        "bulkWrite": {"operations": []},
        "createIndex": {"keys": {"a": 1}},
        "dropIndex": {"index": "a_1"},
        "renameCollection": {"to": "b"},
        "runCommand": {"command": {"ping": 1}},
    }
    fields = required.get(name, {})
    if "update" in name.lower():
        fields = {"filter": {}, "update": {"$set": {"a": 1}}}
    elif "replace" in name.lower():
        fields = {"filter": {}, "replacement": {}}
    elif "delete" in name.lower():
        fields = {"filter": {}}
    operation = OPERATIONS[name](namespace=Namespace(database, "keys"), **fields)
    assert "belongs to the server" in refusal(operation).message


@pytest.mark.parametrize("database", ["doorleaf", "DoorLeaf"])
@pytest.mark.parametrize("guards", [GUARDS, OUTPUT])
@pytest.mark.parametrize(
    "stage",
    [
        {"$lookup": {"from": {"db": "DB", "coll": "keys"}, "as": "x"}},
        {"$lookup": {"db": "DB", "from": "keys", "as": "x"}},
        {"$graphLookup": {"from": {"db": "DB", "coll": "keys"}, "as": "x"}},
        {"$unionWith": {"db": "DB", "coll": "keys"}},
        {"$unionWith": {"coll": {"db": "DB", "coll": "keys"}}},
        {"$out": {"db": "DB", "coll": "keys"}},
        {"$merge": {"into": {"db": "DB", "coll": "keys"}}},
        {"$facet": {"a": [{"$lookup": {"from": {"db": "DB", "coll": "keys"}, "as": "x"}}]}},
        {"$lookup": {"from": "b", "pipeline": [{"$unionWith": {"db": "DB", "coll": "keys"}}], "as": "x"}},
    ],
)
def test_no_pipeline_reaches_the_system_database(stage: dict[str, Any], guards: Guards, database: str) -> None:
    def named(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: named(item) for key, item in value.items()}
        return [named(item) for item in value] if isinstance(value, list) else database if value == "DB" else value

    refusal(Aggregate(namespace=NS, pipeline=[named(stage)]), guards)
    allowed = Guards(run_command_allow=["aggregate"], allow_output_stages=True)
    for command in ({"aggregate": "t", "pipeline": [named(stage)]},):
        refusal(RunCommand(namespace=Namespace("app"), command=command), allowed)
        refusal(RunCommand(namespace=Namespace("app"), command={"explain": command}), allowed)


def test_the_system_database_may_have_another_name() -> None:
    guards = Guards(system_database="Keys")
    refusal(Find(namespace=Namespace("keys", "a")), guards)
    guards.check(Find(namespace=Namespace("doorleaf", "a")))


def test_lists_of_databases_leave_the_system_database_out() -> None:
    listed = DatabasesResult(
        [
            {"name": "app", "sizeOnDisk": 100, "empty": False},
            {"name": "doorleaf", "sizeOnDisk": 30, "empty": False},
        ],
        130,
    )
    GUARDS.redact(listed)
    assert [item["name"] for item in listed.databases] == ["app"]
    assert listed.total_size == 100
    command = CommandResult({"databases": [{"name": "doorleaf"}, {"name": "b"}], "ok": 1.0})
    GUARDS.redact(command)
    assert command.result == {"databases": [{"name": "b"}], "ok": 1.0}


@pytest.mark.parametrize("database", ["admin", "local", "config"])
def test_the_servers_own_databases_are_not_written(database: str) -> None:
    namespace = Namespace(database, "things")
    operations: list[Operation[Any]] = [
        InsertOne(namespace=namespace, document={}),
        DeleteMany(namespace=namespace, filter={}),
        UpdateOne(namespace=namespace, filter={}, update={"$set": {"a": 1}}),
        CreateCollection(namespace=namespace),
        CreateIndex(namespace=namespace, keys={"a": 1}),
        Find(namespace=Namespace(database, "system.users")),
    ]
    for operation in operations:
        refusal(operation)
    for stage in ({"$out": {"db": database, "coll": "x"}}, {"$merge": {"into": {"db": database, "coll": "x"}}}):
        refusal(Aggregate(namespace=NS, pipeline=[stage]), OUTPUT)


@pytest.mark.parametrize(
    ("database", "collection"),
    [
        ("", "a"),
        ("a.b", "a"),
        ("a b", "a"),
        ("$external", "a"),
        ("a\x00", "a"),
        ("a/b", "a"),
        ("a" * 64, "a"),
        ("a", ""),
        ("a", "$cmd"),
        ("a", "x\x00"),
        ("a", ".x"),
        ("a", "x."),
        ("a", "x" * 300),
    ],
)
def test_names_that_are_none(database: str, collection: str) -> None:
    error = refusal(Find(namespace=Namespace(database, collection)))
    assert error.code == "InvalidNamespace"


def test_system_collections_are_not_written() -> None:
    refusal(InsertOne(namespace=Namespace("app", "system.js"), document={}))
    GUARDS.check(Find(namespace=Namespace("app", "system.views")))


@pytest.mark.parametrize(
    "stage", [{"$currentOp": {}}, {"$changeStream": {}}, {"$listSessions": {}}, {"$listLocalSessions": {}}]
)
def test_stages_that_show_others_are_refused(stage: dict[str, Any]) -> None:
    refusal(Aggregate(namespace=NS, pipeline=[stage]), OUTPUT)


# --- runCommand --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "command",
    [
        {"ping": 1},
        {"buildInfo": 1, "comment": "x"},
        {"hello": 1},
        {"isMaster": 1},
        {"dbStats": 1, "scale": 1024},
        {"collStats": "things"},
        {"count": "things", "query": {"a": 1}},
        {"distinct": "things", "key": "a"},
        {"listCollections": 1, "nameOnly": True},
        {"listIndexes": "things"},
        {"listDatabases": 1},
        {"serverStatus": 1, "repl": 0},
        {"connectionStatus": 1, "showPrivileges": True},
        {"hostInfo": 1},
        {"dataSize": "app.things"},
        {"validate": "things"},
        {"explain": {"find": "things", "filter": {"a": 1}}, "verbosity": "queryPlanner"},
        {"explain": {"update": "things", "updates": [{"q": {}, "u": {"$set": {"a": 1}}}]}},
        {"explain": {"aggregate": "things", "pipeline": [], "cursor": {}}},
    ],
)
def test_harmless_commands_pass(command: dict[str, Any]) -> None:
    GUARDS.check(RunCommand(namespace=Namespace("app"), command=command))


@pytest.mark.parametrize(
    "name",
    [
        "dropDatabase",
        "drop",
        "insert",
        "find",
        "aggregate",
        "renameCollection",
        "create",
        "collMod",
        "getMore",
        "Ping",
        "PING",
        "ismaster",
        "buildinfo",
        "dbstats",
        "collstats",
        "datasize",
        "nonsense",
        "ping ",
        "pіng",
        "dropdatabase",
        "DROPDATABASE",
        "DropDatabase",
        "mapReduce",
        "mapreduce",
        "MapReduce",
        "eval",
        "$eval",
        "createUser",
        "CREATEUSER",
        "usersInfo",
        "grantRolesToUser",
        "shutdown",
        "setParameter",
        "fsync",
        "killOp",
        "currentOp",
        "replSetReconfig",
        "replSetStepDown",
        "_isSelf",
        "applyOps",
        "getLog",
        "saslStart",
        "logRotate",
    ],
)
def test_other_commands_and_other_spellings_are_refused(name: str) -> None:
    error = refusal(RunCommand(namespace=Namespace("app"), command={name: 1}))
    assert isinstance(error, PermissionDenied)
    refusal(RunCommand(namespace=Namespace("app"), command={name: "things", "ping": 1}))


def test_a_refusal_names_the_right_spelling() -> None:
    assert "'isMaster'" in refusal(RunCommand(namespace=Namespace("app"), command={"ismaster": 1})).message


@pytest.mark.parametrize(
    "command",
    [
        {},
        {"ping": 1, "$db": "doorleaf"},
        {"ping": 1, "$readPreference": {"mode": "primary"}},
        {"ping": 1, "lsid": {"id": 1}},
        {"ping": 1, "dropDatabase": 1},
        {"hello": 1, "saslSupportedMechs": "admin.root"},
        {"hello": 1, "speculativeAuthenticate": {}},
        {"isMaster": 1, "maxAwaitTimeMS": 10**9, "topologyVersion": {}},
        {"explain": {"find": "things", "$db": "doorleaf"}},
        {"explain": {}},
        {"explain": "things"},
        {"explain": {"dropDatabase": 1}},
        {"explain": {"explain": {"find": "things"}}},
        {"validate": "things", "repair": True},
        {"dataSize": "doorleaf.keys"},
        {"dataSize": "Doorleaf.keys"},
        {"dataSize": 5},
        {"explain": {"aggregate": "things", "pipeline": [{"$out": "x"}]}},
        {"explain": {"aggregate": 1, "pipeline": [{"$currentOp": {"allUsers": True}}]}},
    ],
)
def test_harmful_fields_of_harmless_commands_are_refused(command: dict[str, Any]) -> None:
    refusal(RunCommand(namespace=Namespace("app"), command=command))


@pytest.mark.parametrize("name", ["eval", "mapReduce", "createUser", "shutdown", "replSetInitiate", "setParameter"])
def test_no_setting_allows_the_worst(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        Guards(run_command_allow=[name])


def test_lists_in_commands_are_no_pipelines() -> None:
    guards = Guards(run_command_allow=["createIndexes", "delete", "update"], refuse_stages=["$unset"])
    app = Namespace("app")
    made = {"createIndexes": "things", "indexes": [{"key": {"a": 1}, "name": "a"}]}
    guards.check(RunCommand(namespace=app, command=made))
    guards.check(RunCommand(namespace=app, command={"delete": "things", "deletes": [{"q": {"a": 1}, "limit": 1}]}))
    refusal(RunCommand(namespace=app, command={"delete": "things", "deletes": [{"q": WHERE, "limit": 1}]}), guards)
    partial = {"createIndexes": "things", "indexes": [{"key": {"a": 1}, "partialFilterExpression": WHERE}]}
    refusal(RunCommand(namespace=app, command=partial), guards)
    change = {"update": "things", "updates": [{"q": {}, "u": [{"$unset": "a"}]}]}
    refusal(RunCommand(namespace=app, command=change), guards)


def test_a_setting_widens_the_list() -> None:
    guards = Guards(run_command_allow=["find", "renameCollection", "dropDatabase", "insert", "create"])
    app, admin = Namespace("app"), Namespace("admin")
    guards.check(RunCommand(namespace=app, command={"find": "things", "filter": {"a": 1}}))
    guards.check(RunCommand(namespace=app, command={"dropDatabase": 1}))
    guards.check(RunCommand(namespace=app, command={"insert": "things", "documents": [{"a": WHERE}]}))
    guards.check(RunCommand(namespace=admin, command={"renameCollection": "app.a", "to": "app.b"}))
    refused: list[tuple[Namespace, dict[str, Any]]] = [
        (app, {"find": "things", "filter": WHERE}),
        (app, {"Find": "things"}),
        (Namespace("Doorleaf"), {"dropDatabase": 1}),
        (admin, {"dropDatabase": 1}),
        (admin, {"insert": "system.users", "documents": [{}]}),
        (app, {"insert": "system.js", "documents": [{}]}),
        (admin, {"renameCollection": "doorleaf.keys", "to": "app.b"}),
        (admin, {"renameCollection": "app.b", "to": "Doorleaf.keys"}),
        (admin, {"renameCollection": "app.b", "to": "admin.system.users"}),
        (admin, {"renameCollection": "app.b"}),
        (app, {"create": "v", "viewOn": "a", "pipeline": [{"$out": "b"}]}),
        (app, {"create": "v", "validator": WHERE}),
    ]
    for namespace, command in refused:
        refusal(RunCommand(namespace=namespace, command=command), guards)


@pytest.mark.parametrize("options", [{"create": "other"}, {"$db": "doorleaf"}, {"lsid": 1}, {"key": {"b": 1}}])
def test_options_cannot_change_the_command(options: dict[str, Any]) -> None:
    for operation in (
        CreateCollection(namespace=NS, options=options),
        CreateIndex(namespace=NS, keys={"a": 1}, options=options),
    ):
        assert isinstance(refusal(operation), InvalidParameter)


def test_a_bulk_stays_in_its_namespace() -> None:
    other = InsertOne(namespace=Namespace("doorleaf", "keys"), document={})
    refusal(BulkWrite(namespace=NS, operations=[other]))
