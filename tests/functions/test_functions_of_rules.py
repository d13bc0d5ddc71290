"""``%function`` in rules: what functions answer decides, once for a request, and nothing that fails lets anybody in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from asgi import KEY, Answer, Application, application
from shop_app import COLLECTION, endpoint, write

from doorleaf.access.rules.expressions import RuleError
from doorleaf.access.rules.roles import parse_rules
from doorleaf.app import build
from doorleaf.errors import DoorleafError
from doorleaf.functions.load import load_functions
from doorleaf.settings.model import Settings

MEMBER = """
async def main(name, context):
    shop = context.services.get("mongodb-atlas").db("shop")
    await shop.collection("asked").insert_one({"name": name})
    return await shop.collection("members").find_one({"_id": name}) is not None
"""
LOOKS = """
async def main(context):
    found = await context.services.get("mongodb-atlas").db("shop").collection("loop").find({}).to_list()
    return True
"""
SLOW = "import asyncio\nasync def main(context):\n    await asyncio.sleep(30)\n    return True\n"
FINDS = f"exports = async () => (await {COLLECTION}('js').find({{}}).toArray()).length"
FUNCTIONS = {
    "functions/member.py": MEMBER,
    "functions/looks.py": LOOKS,
    "functions/slow.py": SLOW,
    "functions/throws.py": "def main(context):\n    raise ValueError('no')\n",
    "functions/one.py": "def main(context):\n    return 1\n",
    "functions/even.js": "exports = (n, missing) => n % 2 === 0 && missing === null && context.user.type === 'server'",
    "functions/finds.js": FINDS,
}


def calls(name: str, *arguments: Any) -> dict[str, Any]:
    return {"%%true": {"%function": {"name": name, "arguments": list(arguments)}}}


def rules(collection: str, applies: Any) -> dict[str, Any]:
    role = {"name": "let in", "apply_when": applies, "read": True, "write": True}
    return {"database": "shop", "collection": collection, "roles": [role]}


RULES = {
    "notes": calls("member", "%%user.data.name"),
    "others": {"%not": {"%function": {"name": "member", "arguments": ["%%user.data.name"]}}},
    "loop": calls("looks"),
    "slow": calls("slow"),
    "throws": calls("throws"),
    "not_true": calls("one"),
    "absent": calls("absent"),
    "js": {"%or": [calls("even", 3, None), calls("even", 4, "%%user.custom_data.none")]},
}


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Application]:
    folder = tmp_path_factory.mktemp("rules")
    entries = [{"name": name, "run_as_system": True} for name in ("member", "slow", "throws", "one")]
    source = "data_sources/mongodb-atlas"
    write(folder / "app", {
        "root_config.json": {"app_id": "rules-abcde", "name": "rules"},
        "functions/config.json": [*entries, {"name": "looks"}, {"name": "even"}, {"name": "finds"}],
        "https_endpoints/config.json": [endpoint("/finds", "GET", "finds")],
        f"{source}/config.json": {"name": "mongodb-atlas", "type": "mongodb-atlas", "config": {"clusterName": "C"}},
        **{f"{source}/shop/{name}/rules.json": rules(name, applies) for name, applies in RULES.items()},
        **FUNCTIONS,
    })  # fmt: skip
    audit = {"audit_file": folder / "audit.jsonl", "audit_functions": True}
    with application(folder / "data", app=folder / "app", **audit) as running:
        AUDITS[running] = folder / "audit.jsonl"
        for name in RULES:
            ok(running, "insertOne", name, document={"_id": 1, "n": 1})
        ok(running, "insertOne", "members", document={"_id": "member"})
        yield running


AUDITS: dict[Application, Path] = {}
"""The audit of the running application."""


def ok(app: Application, action: str, collection: str, *, key: str = KEY, **body: Any) -> Any:
    answer = act(app, action, collection, key=key, **body)
    assert answer.status in (200, 201), answer.body
    return answer.json


def act(app: Application, action: str, collection: str, *, key: str = KEY, **body: Any) -> Answer:
    return app.act(action, {"database": "shop", "collection": collection, **body}, key=key)


@pytest.fixture(scope="module")
def keys(app: Application) -> dict[str, str]:
    """The keys of callers with rules, by their names."""
    made = {}
    for name in ("member", "stranger"):
        answer = app.call("POST", "/api/admin/v1/keys", orjson.dumps({"name": name}), {"apiKey": KEY})
        made[name] = answer.json["key"]
    return made


def seen(app: Application, collection: str, key: str) -> list[Any]:
    found: list[Any] = ok(app, "find", collection, key=key)["documents"]
    return [document["_id"] for document in found]


def test_a_function_decides_who_is_let_in(app: Application, keys: dict[str, str]) -> None:
    assert seen(app, "notes", keys["member"]) == [1]
    assert seen(app, "notes", keys["stranger"]) == []
    assert seen(app, "others", keys["member"]) == []
    assert seen(app, "others", keys["stranger"]) == [1]
    assert act(app, "insertOne", "notes", key=keys["stranger"], document={}).status == 403
    ok(app, "insertOne", "notes", key=keys["member"], document={"_id": 2})
    ok(app, "deleteOne", "notes", key=keys["member"], filter={"_id": 2})
    joined = [{"$lookup": {"from": "notes", "localField": "n", "foreignField": "n", "as": "all"}}]
    found = ok(app, "aggregate", "others", key=keys["stranger"], pipeline=joined)["documents"]
    assert [document["all"] for document in found] == [[]]


def test_what_changes_counts_with_the_next_request(app: Application, keys: dict[str, str]) -> None:
    ok(app, "insertOne", "members", document={"_id": "stranger"})
    assert seen(app, "notes", keys["stranger"]) == [1]
    ok(app, "deleteOne", "members", filter={"_id": "stranger"})
    assert seen(app, "notes", keys["stranger"]) == []


def test_it_is_called_once_for_a_request(app: Application, keys: dict[str, str]) -> None:
    def asked() -> int:
        return int(ok(app, "countDocuments", "asked")["count"])

    before = asked()
    writes = [{"updateMany": {"filter": {"n": n}, "update": {"$set": {"m": n}}}} for n in range(5)]
    ok(app, "bulkWrite", "notes", key=keys["member"], operations=writes)
    assert asked() == before + 1
    seen(app, "notes", keys["member"])
    seen(app, "notes", KEY)  # no rules judge this one
    assert asked() == before + 2


@pytest.mark.parametrize("collection", ["throws", "not_true"])
def test_what_does_not_answer_true_lets_nobody_in(app: Application, keys: dict[str, str], collection: str) -> None:
    assert seen(app, collection, keys["member"]) == []
    assert act(app, "insertOne", collection, key=keys["member"], document={}).status == 403


def test_what_says_nothing_of_the_caller_is_an_error(app: Application, keys: dict[str, str]) -> None:
    answer = act(app, "find", "slow", key=keys["member"], maxTimeMS=200)
    assert (answer.status, answer.json["error_code"]) == (504, "ExecutionTimeLimitExceeded")
    for collection, words in (("absent", "of the rules is not in service"), ("loop", "and so on")):
        answer = act(app, "find", collection, key=keys["member"])
        assert (answer.status, answer.json["error_code"]) == (503, "FunctionsUnavailable")
        assert words in answer.json["error"]


def test_functions_in_javascript_are_asked_from_functions_too(app: Application, keys: dict[str, str]) -> None:
    assert seen(app, "js", keys["member"]) == [1]
    answer = app.call("GET", "/endpoint/finds", headers={"apiKey": keys["member"]})
    assert (answer.status, answer.json) == (200, 1), answer.body


def test_calls_of_functions_are_audited_if_asked(app: Application, keys: dict[str, str]) -> None:
    app.call("GET", "/endpoint/finds", headers={"apiKey": keys["member"]})
    seen(app, "throws", keys["member"])
    lines = [orjson.loads(line) for line in AUDITS[app].read_bytes().splitlines()]
    calls = [line for line in lines if line["action"] == "callFunction"]
    assert {line["target"] for line in calls} >= {"finds", "even", "throws"}
    failed = [line for line in calls if line["target"] == "throws"][-1]
    assert (failed["outcome"], failed["error_code"]) == ("failed", "FunctionExecutionError")
    assert (failed["key"], failed["runs_as"]) == ("member", "0" * 24)
    asked = [line for line in calls if line["target"] == "even"][-1]
    assert (asked["outcome"], asked["key"], asked["caller"]) == ("allowed", "member", failed["caller"])


def test_an_administrator_is_told_why(app: Application, keys: dict[str, str]) -> None:
    for name, applies in (("member", True), ("stranger", False)):
        question = {"action": "find", "body": {"database": "shop", "collection": "notes"}, "as": name}
        answer = app.call("POST", "/api/admin/v1/explain", orjson.dumps(question), {"apiKey": KEY})
        assert answer.json["roles"][0]["applies"] is applies, answer.body


FUNCTION = {"%function": {"name": "member"}}


@pytest.mark.parametrize(
    ("applies", "words"),
    [
        (calls("member", "%%root.owner"), "cannot be fields"),
        (calls("member", {"of": ["%%prevRoot"]}), "cannot be fields|cannot hold fields"),
        ({"owner": FUNCTION}, "condition of its own"),
        ({"%%user.id": {"%eq": FUNCTION}}, "condition of its own"),
        ({"%function": {"arguments": []}}, "name of a function"),
        ({"%function": {"name": "member", "arguments": {}}}, "expected an array"),
        ({"%function": {"name": "member", "args": []}}, "name and arguments"),
        ({"%function": "member"}, "name and arguments"),
    ],
)
def test_forms_that_cannot_be_are_refused(applies: Any, words: str) -> None:
    with pytest.raises(RuleError, match=words):
        parse_rules(rules("notes", applies), "rules.json")


def test_it_stands_where_it_can_be_asked(tmp_path: Path) -> None:
    filtered = {"filters": [{"name": "f", "apply_when": FUNCTION, "query": {"n": 1}}]}
    assert [call.name for call in parse_rules(filtered, "rules.json").calls()] == ["member"]
    for refused in ({"filters": [{"name": "f", "query": FUNCTION}]}, {"schema": {"validate": FUNCTION}}):
        with pytest.raises(RuleError, match="%function"):
            parse_rules({"roles": [], **refused}, "rules.json")
    write(tmp_path, {
        "root_config.json": {"app_id": "rules-abcde", "name": "rules"},
        "functions/config.json": [{"name": "one", "can_evaluate": FUNCTION}],
        "functions/one.py": FUNCTIONS["functions/one.py"],
    })  # fmt: skip
    assert ["%function" in str(problem) for problem in load_functions(tmp_path).problems] == [True]
    table = {"default": {"shop.notes": {"roles": [{"name": "x", "apply_when": FUNCTION}]}}}
    with pytest.raises(DoorleafError, match="setting app"):
        build(Settings(data_dir=tmp_path / "data", rules=table))
