"""``data_api_config.json`` of an app: who may call actions, in whatever way, and what their rules see."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jwt
import orjson
import pytest
from asgi import KEY, Answer, Application, application
from shop_app import write

from doorleaf.access.app_services.exported import load_app
from doorleaf.access.app_services.importing import settings_for
from doorleaf.dialects.actions import PREFIXES
from doorleaf.functions.check import check_app
from doorleaf.functions.load import load_functions
from doorleaf.operations import OPERATIONS
from doorleaf.settings.model import Settings

HEADER = {"%%request.requestHeaders.x-secret-key": "my-secret"}
SHOWN = {"X-Secret-Key": "my-secret"}
NOTES: dict[str, Any] = {"dataSource": "mongodb-atlas", "database": "shop", "collection": "notes"}
ROLE = {"name": "all", "apply_when": {}, "read": True, "write": True}


def write_app(folder: Path, config: dict[str, Any], place: str = "https_endpoints") -> Path:
    write(folder, {
        "root_config.json": {"app_id": "data-abcde", "name": "data"},
        f"{place}/data_api_config.json": config,
        "data_sources/mongodb-atlas/config.json": {"name": "mongodb-atlas", "type": "mongodb-atlas", "config": {}},
        "data_sources/mongodb-atlas/shop/notes/rules.json": {
            "database": "shop", "collection": "notes", "roles": [ROLE],
        },
    })  # fmt: skip
    return folder


@contextmanager
def served(folder: Path, config: dict[str, Any], **chosen: Any) -> Iterator[tuple[Application, str]]:
    """The application, and a key that rules judge."""
    app_folder = write_app(folder / "app", config)
    with application(folder / "data", app=app_folder, **chosen) as app:
        told = app.call("POST", "/api/admin/v1/keys", orjson.dumps({"name": "member"}), {"apiKey": KEY})
        yield app, told.json["key"]


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Application, str]]:
    with served(tmp_path_factory.mktemp("gate"), {"can_evaluate": HEADER}) as running:
        yield running


def find(app: Application, key: str, headers: dict[str, str] | None = None, **body: Any) -> Answer:
    return app.act("find", {**NOTES, **body}, key=key, headers=headers)


def require_refused(answer: Answer) -> None:
    assert (answer.status, answer.json["error_code"]) == (403, "PermissionDenied"), answer.body
    assert answer.json["error"] in (
        "can_evaluate of the app's Data API does not hold for this request",
        "the app's Data API is not in service: its configuration has a mistake",
    )


def test_who_does_not_bring_what_it_wants_calls_no_action(app: tuple[Application, str]) -> None:
    running, key = app
    for shown in (None, {"X-Secret-Key": "my-secre"}, {"X-Secret-Key": "MY-SECRET"}, {"Secret-Key": "my-secret"}):
        require_refused(find(running, key, shown))
    assert find(running, key, SHOWN).json == {"documents": []}
    assert find(running, KEY).status == 200  # rules do not judge this one either
    large: dict[str, Any] = {"filter": {"_id": {"$in": ["x" * 100] * 3000}}}
    require_refused(find(running, key, **large))
    assert find(running, key, SHOWN, **large).status == 200
    assert find(running, "wrong", SHOWN).status == 401


@pytest.mark.parametrize("action", [*OPERATIONS, "watch"])
def test_no_action_is_without_it_on_any_of_its_paths(app: tuple[Application, str], action: str) -> None:
    running, key = app
    for prefix in PREFIXES:
        path = f"{prefix.format(app_id='data-abcde')}/action/{action}"
        require_refused(running.call("POST", path, orjson.dumps(NOTES), {"apiKey": key}))


def test_lines_and_files_are_not_without_it(app: tuple[Application, str]) -> None:
    running, key = app
    for shown, status in (({}, 403), (SHOWN, 201)):
        headers = {"apiKey": key, "Content-Type": "application/x-ndjson", **shown}
        query = b"database=shop&collection=notes"
        answer = running.call("POST", "/data/v1/action/insertMany", b'{"_id": 1}\n', headers, query)
        assert answer.status == status, answer.body
        asked = orjson.dumps({**NOTES, "format": "ndjson"})
        made = running.call("POST", "/api/console/v1/downloads", asked, {"apiKey": key, **shown})
        assert made.status == status, made.body
    path = f"/api/console/v1/downloads/{made.json['ticket']}"
    assert running.call("GET", path).body == b'{"_id":1}\n'  # the ticket was given to one who may
    running.act("deleteMany", {**NOTES, "filter": {}})


def test_other_ways_have_conditions_of_their_own(app: tuple[Application, str]) -> None:
    running, key = app
    assert running.call("GET", "/whoami", headers={"apiKey": key}).status == 200
    assert running.call("GET", "/livez").status == 200


def test_it_holds_for_whoever_runs_as_the_system(tmp_path: Path) -> None:
    config = {"can_evaluate": {**HEADER, "%%user.type": "system"}, "run_as_system": True}
    with served(tmp_path, config, run_as={"actions": "system"}) as (app, key):
        for shown in (key, KEY):
            require_refused(find(app, shown))
            assert find(app, shown, SHOWN).status == 200


@pytest.mark.parametrize("allowed", [{}, True, None])
def test_what_wants_nothing_lets_everybody_in(tmp_path: Path, allowed: Any) -> None:
    with served(tmp_path, {"can_evaluate": allowed}) as (app, key):
        assert find(app, key).status == 200


@pytest.mark.parametrize(
    ("allowed", "words"),
    [
        (False, None),
        ({"%%user.nothing.at.all": True}, None),
        ({"%nonsense": 1}, "nonsense"),
        (1, "got int"),
        (0, "got int"),
        ("", "got string"),
        ([], "got array"),
        ({"%%args.0": 5}, "%%args"),
        ({"%%true": {"%function": {"name": "f", "arguments": []}}}, "%function is for the rules of collections"),
    ],
)
def test_what_cannot_hold_or_be_read_lets_nobody_in(tmp_path: Path, allowed: Any, words: str | None) -> None:
    with served(tmp_path, {"can_evaluate": allowed}) as (app, key):
        require_refused(find(app, key, SHOWN))
        assert find(app, KEY).status == 200
    problems = [str(problem) for problem in load_functions(tmp_path / "app").problems]
    if words is None:
        assert problems == []
    else:
        (told,) = problems
        assert told.startswith("data_api_config.json: can_evaluate")
        assert words in told
        assert told.endswith("nobody may call actions")


SECRET = "Super5ecr3tPa55w0rd"


def keep_secret(folder: Path) -> None:
    with application(folder / "data", app=write_app(folder / "app", {})) as app:
        told = app.call("PUT", "/api/admin/v1/secrets/proof", orjson.dumps({"value": SECRET}), {"apiKey": KEY})
        assert told.status == 204, told.body


def require_unproven(answer: Answer, what: str) -> None:
    assert (answer.status, answer.json["error_code"]) == (401, "InvalidSignature"), answer.body
    assert answer.json["error"] == f"the {what} of the request is missing or wrong"


@pytest.mark.parametrize("key_of_method", ["validation_method", "verification_method"])
def test_a_secret_in_the_query(tmp_path: Path, key_of_method: str) -> None:
    keep_secret(tmp_path)
    config = {key_of_method: "SECRET_AS_QUERY_PARAM", "secret_name": "proof", "can_evaluate": HEADER}
    with served(tmp_path, config, login_rate="3/minute") as (app, key):
        body, good = orjson.dumps(NOTES), f"secret={SECRET}&a=1".encode()
        headers = {"apiKey": key, **SHOWN}

        def ask(query: bytes, action: str = "find", **more: str) -> Answer:
            return app.call("POST", f"/data/v1/action/{action}", body, {**headers, **more}, query)

        assert ask(good).json == {"documents": []}
        require_refused(ask(good, **{"X-Secret-Key": "other"}))
        assert find(app, KEY).status == 200  # rules do not judge this one either
        lines = app.call(
            "POST", "/data/v1/action/insertMany", b'{"_id": 1}\n', {**headers, "Content-Type": "application/x-ndjson"},
            f"database=shop&collection=notes&secret={SECRET}".encode(),
        )  # fmt: skip
        assert (lines.status, lines.json) == (201, {"insertedCount": 1})
        large = orjson.dumps({**NOTES, "filter": {"_id": {"$in": ["x" * 100] * 3000}}})
        require_unproven(app.call("POST", "/data/v1/action/find", large, headers, b"secret=x"), "secret")
        require_unproven(ask(b""), "secret")
        require_unproven(ask(b"secret=x&" + good, "watch"), "secret")
        assert ask(b"").status == 429  # wrong ones count
        assert ask(good).status == 200


def test_a_signature_of_the_body(tmp_path: Path) -> None:
    keep_secret(tmp_path)
    with served(tmp_path, {"validation_method": "VERIFY_PAYLOAD", "secret_name": "proof"}) as (app, key):
        body = orjson.dumps(NOTES)
        good = "sha256=" + hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()

        def ask(given: bytes, **headers: str) -> Answer:
            return app.call("POST", "/data/v1/action/find", given, {"apiKey": key, **headers})

        assert ask(body, **{"Endpoint-Signature": good}).status == 200
        for given, headers in ((body, {}), (body + b" ", {"Endpoint-Signature": good}), (body, {"secret": SECRET})):
            require_unproven(ask(given, **headers), "signature")
        lines = app.call(
            "POST", "/data/v1/action/insertMany", b'{"_id": 1}\n',
            {"apiKey": key, "Content-Type": "application/x-ndjson", "Endpoint-Signature": good},
            b"database=shop&collection=notes",
        )  # fmt: skip
        assert (lines.status, lines.json["error_code"]) == (400, "Unsupported"), lines.body


def test_without_its_secret_nobody_proves_anything(tmp_path: Path) -> None:
    config = {"validation_method": "SECRET_AS_QUERY_PARAM", "secret_name": "proof"}
    with served(tmp_path, config) as (app, key):
        for query in (b"", b"secret=", b"secret=proof"):
            answer = app.call("POST", "/data/v1/action/find", orjson.dumps(NOTES), {"apiKey": key}, query)
            require_unproven(answer, "secret")
    (told,) = asyncio.run(problems(tmp_path / "app", tmp_path / "other"))
    assert told == "data_api_config.json: the secret 'proof' is not set; nobody may call actions"


async def problems(app: Path, data: Path) -> list[str]:
    """What ``check`` says of an app."""
    try:
        await check_app(Settings(app=app, data_dir=data))
    except ValueError as error:
        return str(error).splitlines()
    return []


@pytest.mark.parametrize("config", [{"disabled": True}, {"versions": []}])
def test_a_data_api_that_is_off(tmp_path: Path, config: dict[str, Any]) -> None:
    with served(tmp_path, config) as (app, key):
        answer = find(app, key)
        assert (answer.status, answer.json["error"]) == (404, "the app's Data API is disabled")
        assert find(app, KEY).status == 200
    assert load_functions(tmp_path / "app").problems == []


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"disabled": "no"}, "disabled: expected true or false"),
        ({"versions": ["v2"]}, "versions: expected some of v1, beta, got v2"),
        ({"versions": "v1"}, "versions: expected an array of strings"),
        ({"validation_method": "SECRET"}, "validation_method: expected one of NO_VALIDATION"),
        ({"validation_method": "VERIFY_PAYLOAD"}, "validation_method: secret_name: needed for VERIFY_PAYLOAD"),
        ({"validation_method": ["VERIFY_PAYLOAD"]}, "validation_method: expected a string"),
        ({"validation_method": False}, "validation_method: expected a string"),
        (
            {"validation_method": "", "verification_method": "VERIFY_PAYLOAD"},
            "validation_method: secret_name: needed for VERIFY_PAYLOAD",
        ),
        ({"run_as_system": "no"}, "run_as: run_as_system: expected true or false"),
        ({"run_as_user_id": "ann"}, "run_as: run_as_user_id: 'ann' is no user's id"),
        (
            {"run_as_user_id_script_source": "exports = () => 'x'"},
            "run_as: run_as_user_id_script_source: scripts are not",
        ),
        ({"run_as_authed_user": False}, "run_as: run_as_authed_user: no other key says whom it runs as"),
        ({"run_as_authed_user": True, "run_as_system": True}, "run_as: run_as_authed_user: another key says"),
        ({"create_user_on_auth": 1}, "create_user_on_auth: expected true or false"),
        ({"fetch_custom_user_data": 0}, "fetch_custom_user_data: expected true or false"),
    ],
)
def test_a_mistake_lets_nobody_in_and_is_named(tmp_path: Path, config: dict[str, Any], words: str) -> None:
    with served(tmp_path, config) as (app, key):
        answer = find(app, key)
        assert (answer.status, answer.json["error_code"]) == (403, "PermissionDenied"), answer.body
        assert "configuration has a mistake" in answer.json["error"]
        assert find(app, KEY).status == 200
    (told,) = map(str, load_functions(tmp_path / "app").problems)
    assert told.startswith(f"data_api_config.json: {words}")
    assert told.endswith("nobody may call actions")
    exported = load_app(tmp_path / "app")
    settings_for(exported)
    assert told in [f"{note.what}: {note.text}" for note in exported.notes if not note.taken]


def test_what_is_not_there_is_named_and_stops_nobody(tmp_path: Path) -> None:
    config = {"return_type": "XML", "log_function_arguments": True, "versions": ["v1"], "disabled": False,
              "run_as_user_id": "", "run_as_user_id_script_source": " ", "validation_method": ""}  # fmt: skip
    with served(tmp_path, config) as (app, key):
        assert find(app, key).status == 200
    assert [str(problem) for problem in load_functions(tmp_path / "app").problems] == [
        "data_api_config.json: return_type: expected JSON or EJSON",
        "data_api_config.json: log_function_arguments: no log has the content of requests",
    ]


@pytest.mark.parametrize("fetches", [True, False, None])
def test_rules_of_actions_see_custom_data_unless_it_says_no(tmp_path: Path, fetches: bool | None) -> None:
    config = {"create_user_on_auth": True, "fetch_custom_user_data": fetches}
    folder = write_app(tmp_path / "app", config)
    role = {**ROLE, "apply_when": {"%%user.custom_data.team": "red"}}
    write(
        folder,
        {
            "data_sources/mongodb-atlas/shop/notes/rules.json": {
                "database": "shop",
                "collection": "notes",
                "roles": [role],
            }
        },
    )
    people = {"database": "shop", "collection": "people", "user_id_field": "userId"}
    chosen = {
        "app": folder,
        "custom_user_data": people,
        "providers": ("api-key",),
        "app_ids": ("data-abcde",),
    }
    with application(tmp_path / "data", **chosen) as app:
        path = "/api/client/v2.0/app/data-abcde"
        key = app.call("POST", "/api/admin/v1/keys", b'{"name": "member"}', {"apiKey": KEY}).json
        app.act("insertOne", {**NOTES, "collection": "people", "document": {"userId": key["id"], "team": "red"}})
        app.act("insertOne", {**NOTES, "document": {"_id": 1}})
        shown = orjson.dumps({"key": key["key"]})
        user = app.call("POST", f"{path}/auth/providers/api-key/login", shown).json
        bearer = {"Authorization": f"Bearer {user['access_token']}"}
        call = orjson.dumps({"name": "find", "service": "mongodb-atlas", "arguments": [
            {"database": "shop", "collection": "notes", "query": {}}]})  # fmt: skip
        for _ in range(2):  # what the client API's rules remember is not taken for those of actions, nor the other way
            found = app.call("POST", f"{path}/functions/call", call, bearer)
            assert found.json == [{"_id": {"$numberInt": "1"}}], found.body
            answer = app.call("POST", "/data/v1/action/find", orjson.dumps(NOTES), bearer)
            assert answer.json == {"documents": [] if fetches is False else [{"_id": 1}]}, answer.body


@pytest.mark.parametrize("creates", [True, False, None, "broken"])
def test_whether_the_token_of_somebody_new_makes_a_user(tmp_path: Path, creates: bool | str | None) -> None:
    folder = write_app(tmp_path / "app", {} if creates is None else {"create_user_on_auth": creates})
    secret = "a-secret-with-as-many-characters-as-there-have-to-be"
    table = {
        "algorithm": "HS256",
        "keys": (secret,),
        "audience": ("a",),
        "create_user_on_auth": creates in (False, "broken"),
    }
    creates = creates is True
    with application(tmp_path / "data", app=folder, providers=("api-key", "custom-token"), custom_token=table) as app:
        asked = orjson.dumps({**NOTES, "format": "ndjson"})
        for number, (method, path, body, status) in enumerate([
            ("POST", "/data/v1/action/find", orjson.dumps(NOTES), 200), ("GET", "/whoami", b"", 200),
            ("POST", "/api/console/v1/downloads", asked, 201), ("GET", "/api/console/v1/saved", b"", 200),
        ]):  # fmt: skip
            token = jwt.encode({"sub": f"ann{number}", "aud": "a", "exp": int(time.time()) + 600}, secret)
            answer = app.call(method, path, body, {"jwtTokenString": token})
            assert answer.status == (status if creates else 401), (path, answer.body)
        users = app.call("GET", "/api/admin/v1/users", headers={"apiKey": KEY}).json["users"]
        assert len(users) == (4 if creates else 0)
