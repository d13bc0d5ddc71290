"""The real realm-web against a running server: it logs in and works with its base URL alone changed."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import installed
import jwt
import pytest
from servers import Doorleaf, doorleaf

VERSION = "2.0.1"
SCRIPT = Path(__file__).with_name("realm_web.mjs")
SIGNING_KEY = "k" * 40
CONFIG = """\
providers = ["api-key", "local-userpass", "custom-token", "anon-user"]
auto_confirm = true
login_rate = ""

[custom_token]
algorithm = "HS256"
keys = ["%s"]
audience = ["shop-abcde"]
metadata_fields = [{name = "name"}]

[[rules.default."x.y".roles]]
name = "everybody"
apply_when = {}
read = true
write = true

[[rules.default."x.plain".roles]]
name = "everybody"
apply_when = {}
read = true
write = true

[[rules.default."x.notes".roles]]
name = "owner"
apply_when = {}
document_filters = {read = {owner = "%%%%user.id"}, write = {owner = "%%%%user.id"}}
read = true
write = true
"""


@pytest.fixture(scope="module")
def node_modules(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with realm-web in it, kept from one run of the tests to the next."""
    return installed.npm(request.config, tmp_path_factory, f"realm-web-{VERSION}", f"realm-web@{VERSION}")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doorleaf]:
    folder = tmp_path_factory.mktemp("realm-web")
    config = folder / "settings.toml"
    config.write_text(CONFIG % SIGNING_KEY)
    with doorleaf(folder / "data", "--config", str(config)) as running:
        yield running


@pytest.fixture(scope="module")
def told(node_modules: Path, server: Doorleaf) -> dict[str, Any]:
    """What the app that uses realm-web tells of every step."""
    claims = {"sub": "ada", "aud": "shop-abcde", "exp": 4_000_000_000, "name": "Ada"}
    given = {
        "baseUrl": server.url,
        "email": "a@example.com",
        "password": "sesame-7",
        "key": server.key,
        "token": jwt.encode(claims, SIGNING_KEY, algorithm="HS256"),
    }
    done = subprocess.run(
        ["node", str(SCRIPT), str(node_modules), json.dumps(given)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    steps: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return steps


def failed(step: Any) -> tuple[str, str]:
    assert set(step) == {"failed", "text"}, step
    return step["failed"], step["text"]


def test_every_way_to_log_in(told: dict[str, Any]) -> None:
    anonymous = told["anonymous"]
    assert anonymous["loggedIn"] is True
    assert re.fullmatch("[0-9a-f]{24}", anonymous["deviceId"])
    assert [identity["providerType"] for identity in anonymous["identities"]] == ["anon-user"]
    assert failed(told["wrong password"]) == ("InvalidPassword", "unauthorized")
    assert told["register"] is None
    assert failed(told["register again"]) == ("AccountNameInUse", "name already in use")
    assert told["password"]["profile"] == {"email": "a@example.com"}
    assert told["password"]["id"] != anonymous["id"]
    assert told["password"]["customData"] == {}
    assert told["custom token"] == {"name": "Ada"}
    assert told["API key"] == {"name": "DATA_API_KEY"}
    assert told["link"] == ["anon-user", "local-userpass"]
    assert failed(told["link with a wrong password"]) == ("InvalidPassword", "invalid username/password")
    assert failed(told["a key that is wrong"]) == ("AuthError", "unauthorized")
    assert told["two users"] == {"differ": True, "current": True, "same": True, "left": 1}
    assert told["current"] == {"id": told["password"]["id"]}


def test_documents(told: dict[str, Any]) -> None:
    assert told["insertOne"] == {"insertedId": "64224f3cd79f54ad342dd9b1"}
    assert told["insertMany"] == {"insertedIds": [2, 3]}
    assert failed(told["duplicate"])[0] == "MongoDBError"
    assert told["findOne"] == {"isObjectId": True, "n": 1, "when": "1970-01-01T00:00:00.000Z"}
    assert told["longs"] == [1, 0]
    assert told["findOne nothing"] == {"found": None}
    assert told["find"] == [{"n": 3, "deep": {"a": [1, None]}}, {"n": 2}]
    assert told["find by regular expression"] == []
    assert told["count"] == 2
    assert told["aggregate"] == [{"_id": None, "sum": 6}]
    assert told["updateOne"] == {"matchedCount": 1, "modifiedCount": 1}
    assert told["updateMany"] == {"matchedCount": 2, "modifiedCount": 2}
    assert told["upsert"] == {"matchedCount": 0, "modifiedCount": 0, "upsertedId": 4}
    assert told["arrayFilters"] == {"matchedCount": 1, "modifiedCount": 1}
    assert told["findOneAndUpdate"] == {"_id": 2, "n": 21}
    assert told["findOneAndUpdate new"] == {"_id": 2, "n": 22}
    assert told["findOneAndReplace"] == {"_id": 2, "m": 1}
    assert told["findOneAndDelete by name"] == {"_id": 4, "n": 4}
    assert told["findOneAndDelete"] == {"_id": 2, "m": 1}
    assert told["deleteOne"] == {"deletedCount": 0}
    assert told["deleteMany"] == {"deletedCount": 2}


def test_confirming_and_resetting(told: dict[str, Any]) -> None:
    assert failed(told["confirm with nonsense"])[1] == "invalid token data"
    assert failed(told["reset with nonsense"])[1] == "invalid token data"
    assert failed(told["confirm again"]) == ("UserAlreadyConfirmed", "already confirmed")
    wanted = "cannot run confirmation for a@example.com: automatic confirmation is enabled"
    assert failed(told["confirm by a function"]) == ("BadRequest", wanted)
    wanted = 'failed to reset password for user "a@example.com"'
    assert failed(told["reset by a function"]) == ("NotCallable", wanted)


def test_updates_that_are_plain_documents(told: dict[str, Any]) -> None:
    plain = told["plain documents"]
    assert plain["one"] == {"matchedCount": 1, "modifiedCount": 1}
    assert plain["found"] == {"name": "Beatrix"}
    assert plain["made"] == {"name": "Dora"}
    assert plain["put"] == {"matchedCount": 0, "modifiedCount": 0, "upsertedId": True}
    assert plain["all"] == [
        {"run": 1, "name": "Ava"},
        {"run": 1, "name": "Beatrix", "hidden": "y"},
        {"run": 1, "name": "Cleo", "hidden": "x"},
        {"name": "Dora"},
        {"run": 3, "name": "Eve"},
    ]
    assert told["plain documents, many"] == {
        "many": {"matchedCount": 3, "modifiedCount": 3},
        "put": {"matchedCount": 0, "modifiedCount": 0, "upsertedId": True},
        "of": 3,
    }
    assert told["replaced, with a projection"] == {"name": "Eva"}
    assert told["the last one deleted"] == {"name": "z", "left": 1}


def test_what_is_refused(told: dict[str, Any]) -> None:
    assert failed(told["unknown function"]) == ("FunctionNotFound", "function not found: 'sum'")
    assert "unknown top level operator: $who" in failed(told["bad filter"])[1]
    assert failed(told["no rule"]) == ("NoMatchingRuleFound", "no rule exists for namespace 'x.hidden'")


def test_watch(told: dict[str, Any]) -> None:
    insert, update, delete = told["watch"]
    when, place, key = "1970-01-01T00:00:00.000Z", {"db": "x", "coll": "y"}, {"_id": "w"}
    assert insert == {
        "operationType": "insert",
        "fullDocument": {"_id": "w", "text": "100% \n", "when": when},
        "documentKey": key,
        "ns": place,
    }
    assert update["operationType"] == "update"
    assert update["fullDocument"] == {"_id": "w", "when": when, "n": 7}
    assert update["updateDescription"] == {"updatedFields": {"n": 7}, "removedFields": ["text"], "truncatedArrays": []}
    assert delete == {"operationType": "delete", "documentKey": key, "ns": place}
    assert told["watch some"] == {"operationType": "delete", "key": {"_id": "b"}}
    assert failed(told["watch what may not be"])[0] == "NoMatchingRuleFound"
    code, text = failed(told["watch until logged out"])
    assert (code, text) == ("InvalidSession", "invalid session: error finding user for endpoint")


def test_users_see_what_is_theirs(told: dict[str, Any]) -> None:
    assert told["isolation"] == {"mine": 1, "theirs": 0, "others": "anon-user"}


def test_keys_of_a_user(told: dict[str, Any]) -> None:
    keys = told["keys"]
    [listed] = keys["listed"]
    assert listed == keys["one"]
    assert set(listed) == {"_id", "name", "disabled"}
    assert (listed["name"], listed["disabled"]) == ("phone", False)
    assert (keys["off"], keys["same"], keys["left"]) == (True, True, [])


def test_sessions(told: dict[str, Any]) -> None:
    assert told["refresh"] == {"count": 0, "renewed": True}
    assert told["refreshCustomData"] == {}
    assert told["log out"] == {"state": "logged-out", "renewed": 401, "profile": 401}
    assert told["delete"] == {"users": False}
    assert failed(told["log in after deletion"]) == ("InvalidPassword", "unauthorized")


def test_no_secret_is_logged(told: dict[str, Any], server: Doorleaf) -> None:
    log = server.output()
    for secret in ("sesame-7", SIGNING_KEY, server.key, "eyJ"):
        assert secret not in log
