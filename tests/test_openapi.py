"""The OpenAPI document: valid, complete, and in step with what the actions take and answer."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]  # has no types of its own
from openapi_spec_validator import validate
from pydantic import SecretStr

from doorleaf import __version__, openapi
from doorleaf.app import build
from doorleaf.ejson import Mode, dumps, loads
from doorleaf.errors import RequestError
from doorleaf.openapi import EXAMPLES, Example
from doorleaf.operations import OPERATIONS, Effect
from doorleaf.operations.decode import Decoder
from doorleaf.operations.parameters import parameters
from doorleaf.operations.places import Places
from doorleaf.settings.model import Settings

SECRET = SecretStr("s" * 40)
DIALECTS = build(Settings(token_secret=SECRET)).dialects
DOCUMENT = openapi.document(DIALECTS)
SCHEMAS = DOCUMENT["components"]["schemas"]
LISTED = [pytest.param(name, example, id=f"{name}: {example.title}") for name in EXAMPLES for example in EXAMPLES[name]]
ERRORS = ["400", "401", "403", "404", "405", "409", "413", "429", "500", "503", "504"]


def action(name: str) -> dict[str, Any]:
    found: dict[str, Any] = DOCUMENT["paths"][f"/data/v1/action/{name}"]["post"]
    return found


def validator(schema: dict[str, Any]) -> Draft202012Validator:
    """A validator that finds the document's own references."""
    return Draft202012Validator({**schema, "components": DOCUMENT["components"]})


def request_schema(name: str) -> dict[str, Any]:
    reference: str = action(name)["requestBody"]["content"]["application/json"]["schema"]["$ref"]
    found: dict[str, Any] = SCHEMAS[reference.rsplit("/", 1)[1]]
    return found


def body(name: str, /, **fields: Any) -> dict[str, Any]:
    """The smallest body of an action, with ``fields``."""
    return {key: value for key, value in {**EXAMPLES[name][0].request, **fields}.items() if value is not ...}


def decoded(name: str, request: dict[str, Any]) -> Any:
    return Decoder(OPERATIONS[name], Places("default", {"default": "test"}))(loads(orjson.dumps(request)))


def test_valid() -> None:
    validate(DOCUMENT)
    assert DOCUMENT["openapi"] == "3.1.0"
    assert DOCUMENT["info"]["version"] == __version__
    assert json.loads(json.dumps(DOCUMENT)) == DOCUMENT


def test_the_same_each_time() -> None:
    """Clients are generated from it, and compared with what was generated before."""
    ways = ("api-key", "local-userpass")
    everything = build(Settings(token_secret=SECRET, datacube=True, providers=ways)).dialects
    assert openapi.document(everything) == openapi.document(everything)


def test_every_action() -> None:
    tags = {Effect.READ: "Read", Effect.WRITE: "Write", Effect.ADMIN: "Administer"}
    for name, operation in OPERATIONS.items():
        found = action(name)
        assert found["operationId"] == name
        assert found["tags"] == [tags[operation.effect]]
        assert found["summary"] == operation.summary
        assert set(found["requestBody"]["content"]) == {"application/json"}
        assert set(found["responses"]["201" if name in ("insertOne", "insertMany") else "200"]["content"]) == {
            "application/json", "application/ejson"
        }  # fmt: skip
        assert [status for status in found["responses"] if status[0] != "2"] == ERRORS
        success = "201" if name in ("insertOne", "insertMany") else "200"
        assert [status for status in found["responses"] if status[0] == "2"] == [success]
    assert sum(path.startswith("/data/v1/action/") for path in DOCUMENT["paths"]) == len(OPERATIONS) + 1 == 27


def test_operation_ids_differ() -> None:
    ids = [operation["operationId"] for path in DOCUMENT["paths"].values() for operation in _operations(path)]
    assert len(ids) == len(set(ids))
    families = ("admin", "console", "workspace")
    assert {name for name in set(ids) - OPERATIONS.keys() if not name.startswith(families)} == {
        "login", "refreshSession", "endSession", "livez", "readyz", "metrics", "openapi", "whoami",
        "location", "profile", "deleteUser", "callFunction", "streamFunction", "watch",
        "connectomeRead", "connectomeReadByPost", "connectomeReadWithQuery", "connectomeWrite",
        "connectomeBatchWrite", "connectomeUpdateWithUpsert", "connectomeBatchDelete",
        "createUserKey", "listUserKeys", "getUserKey", "deleteUserKey", "enableUserKey", "disableUserKey",
    }  # fmt: skip


def _operations(path: dict[str, Any]) -> list[dict[str, Any]]:
    return [path[method] for method in ("get", "post", "put", "patch", "delete") if method in path]


def test_fields_are_those_of_the_operations() -> None:
    for name, operation in OPERATIONS.items():
        schema = request_schema(name)
        place = {"server": [], "database": ["database"], "collection": ["database", "collection"]}[operation.scope]
        assert list(schema["properties"]) == ["dataSource", *place, *(item.name for item in parameters(operation))]
        needed = (["collection"] if "collection" in place else []) + [
            item.name for item in parameters(operation) if item.required
        ]
        assert schema.get("required", []) == needed
        assert schema["additionalProperties"] is True
        for item in parameters(operation):
            assert schema["properties"][item.name]["description"].startswith(item.meaning)


def test_settings_show() -> None:
    changed = openapi.document(
        build(Settings(insert_status=200, token_secret=SECRET)).dialects,
        version="9.9",
        server_url="https://api.example.com/",
        max_documents=7,
        max_time_ms=8,
    )
    validate(changed)
    assert changed["info"]["version"] == "9.9"
    assert changed["servers"] == [{"url": "https://api.example.com/"}]
    find = changed["components"]["schemas"]["FindRequest"]["properties"]
    assert find["limit"]["maximum"] == 7
    assert find["maxTimeMS"]["maximum"] == 8
    assert changed["components"]["schemas"]["CountDocumentsRequest"]["properties"]["limit"]["maximum"] > 7
    insert = changed["paths"]["/data/v1/action/insertOne"]
    assert "200" in insert["post"]["responses"]
    assert "201" not in insert["post"]["responses"]
    assert insert["servers"][1]["url"] == "https://api.example.com/app/{appId}/endpoint"


def test_the_document_of_a_server_is_that_of_its_settings() -> None:
    settings = Settings(
        public_url="https://api.example.com/data", providers=("local-userpass",), insert_status=200, token_secret=SECRET
    )
    found = openapi.document_of(settings, build(settings).dialects)
    validate(found)
    assert found["servers"] == [{"url": "https://api.example.com/data"}]
    assert found["security"] == [{"email": [], "password": []}, {"bearer": []}]
    assert [path for path in found["paths"] if path.endswith("/login")] == ["/auth/providers/local-userpass/login"]
    assert "200" in found["paths"]["/data/v1/action/insertOne"]["post"]["responses"]


def test_logins_that_can_be_linked_say_so() -> None:
    found = openapi.document(DIALECTS, providers=("api-key", "local-userpass", "custom-token", "anon-user"))
    validate(found)
    logins = {path.split("/")[3]: route["post"] for path, route in found["paths"].items() if path.endswith("/login")}
    linking = {provider for provider, route in logins.items() if "parameters" in route}
    assert linking == {"local-userpass", "custom-token"}
    for provider, route in logins.items():
        if provider in linking:
            [parameter] = route["parameters"]
            assert (parameter["name"], parameter["in"]) == ("link", "query")
            assert parameter["schema"] == {"type": "boolean", "default": False}
            assert route["security"] == [{}, {"bearer": []}], "with a user's token, or without any"
        else:
            assert route["security"] == []
        assert ("409" in route["responses"]) == (provider in linking)
        assert ("403" in route["responses"]) == (provider != "anon-user"), "disabled, or not from this address"


def test_examples_are_of_every_operation_in_its_order() -> None:
    assert list(EXAMPLES) == list(OPERATIONS)
    for name, examples in EXAMPLES.items():
        shown = action(name)["requestBody"]["content"]["application/json"]["examples"]
        assert [item["value"] for item in shown.values()] == [example.request for example in examples]


@pytest.mark.parametrize(("name", "example"), LISTED)
def test_examples_fit(name: str, example: Example) -> None:
    validator(request_schema(name)).validate(example.request)
    validator(SCHEMAS[OPERATIONS[name].result.__name__]).validate(example.response)
    assert decoded(name, example.request).name == name


@pytest.mark.parametrize(("name", "example"), LISTED)
def test_answers_in_extended_json_fit(name: str, example: Example) -> None:
    result = validator(SCHEMAS[f"{OPERATIONS[name].result.__name__}Extended"])
    for mode in (Mode.CANONICAL, Mode.RELAXED):
        result.validate(json.loads(dumps(example.response, mode)))


def test_no_request_field_has_a_default() -> None:
    """Generators take a field with a default for one that has to be sent."""
    for name, schema in SCHEMAS.items():
        if name.endswith(("Request", "Write", "Change", "Login")):
            assert '"default":' not in json.dumps(schema), name


@pytest.mark.parametrize("name", OPERATIONS)
def test_null_and_unknown_fields_pass(name: str) -> None:
    optional = {item.name: None for item in parameters(OPERATIONS[name]) if not item.required}
    request = body(name, **optional, dataSource=None, somethingElse=1)
    validator(request_schema(name)).validate(request)
    decoded(name, request)


WRONG = [
    ("find", {"collection": ...}),
    ("find", {"collection": ""}),
    ("find", {"collection": 5}),
    ("find", {"filter": []}),
    ("find", {"limit": -1}),
    ("find", {"limit": 1.5}),
    ("find", {"hint": ""}),
    ("find", {"hint": {}}),
    ("insertOne", {"document": ...}),
    ("insertOne", {"document": None}),
    ("insertOne", {"document": []}),
    ("insertMany", {"documents": []}),
    ("insertMany", {"documents": [5]}),
    ("updateOne", {"filter": ...}),
    ("updateOne", {"filter": None}),
    ("updateOne", {"update": {}}),
    ("updateOne", {"update": []}),
    ("updateOne", {"upsert": 1}),
    ("deleteMany", {"filter": True}),
    ("deleteMany", {"filter": "x"}),
    ("aggregate", {"pipeline": {}}),
    ("distinct", {"key": ""}),
    ("findOneAndUpdate", {"update": {"a": 1}}),
    ("bulkWrite", {"operations": []}),
    ("bulkWrite", {"operations": [{}]}),
    ("bulkWrite", {"operations": [{"dropEverything": {}}]}),
    ("bulkWrite", {"operations": [{"deleteOne": {}}]}),
    ("createIndex", {"keys": {}}),
    ("dropIndex", {"name": None}),
    ("runCommand", {"command": {}}),
]


@pytest.mark.parametrize(("name", "change"), WRONG, ids=str)
def test_what_the_schema_refuses_the_action_refuses(name: str, change: dict[str, Any]) -> None:
    request = body(name, **change)
    assert not validator(request_schema(name)).is_valid(request)
    with pytest.raises(RequestError):
        decoded(name, request)


def test_security() -> None:
    schemes = DOCUMENT["components"]["securitySchemes"]
    assert {scheme.get("name") for scheme in schemes.values()} == {"apiKey", "api-key", "doorleaf", None}
    assert DOCUMENT["security"] == [{"apiKey": []}, {"api-key": []}, {"bearer": []}]
    public = {
        operation["operationId"]
        for path in DOCUMENT["paths"].values()
        for operation in _operations(path)
        if operation.get("security") == []
    }
    assert public == {"login", "livez", "readyz", "openapi", "location", "consoleWays", "consoleLogin"}
