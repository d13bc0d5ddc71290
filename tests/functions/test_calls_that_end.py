# ruff: noqa: E501  # a function is a line
"""Calls of functions that run as their caller go on for as long as that is somebody, and with the rights that they have."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, cast

import jwt
import orjson
import pytest
from admin_app import step
from asgi import KEY, Answer, Application, application
from servers import secantus
from shop_app import endpoint, write

from doorleaf.access import lasting
from doorleaf.access.callers import Credentials, Identity
from doorleaf.dialects.base import Request
from doorleaf.functions.call import Call
from doorleaf.functions.standing import Standing

SECRET = "an-hs256-key-of-at-least-32-characters"
STEPS = "context.services.get('mongodb-atlas').db('shop').collection('steps')"
WAIT = "new Promise((go) => setTimeout(go, 5))"
MANY = 200
"""Steps of a call that nothing ends."""
FUNCTIONS = {
    "goes_on": f"exports = async function () {{ for (let n = 0; n < {MANY}; n++) {{ await {STEPS}.insertOne({{ n }}); await {WAIT} }} return 'whole' }}",
    "minds_nothing": f"exports = async function () {{ for (let n = 0; n < {MANY}; n++) {{ try {{ await {STEPS}.insertOne({{ n }}) }} catch {{}} await {WAIT} }} return 'whole' }}",
    "narrowed": f"exports = async function () {{ for (let n = 0; n < {MANY}; n++) {{ try {{ await {STEPS}.insertOne({{ n }}) }} catch (error) {{ return [error.codeName ?? error.name, error.message] }} await {WAIT} }} return 'whole' }}",
    "brief": f"exports = async function () {{ for (let n = 0; n < 30; n++) {{ await {STEPS}.insertOne({{ n }}); await {WAIT} }} return 'whole' }}",
    "through": "exports = async () => context.functions.execute('py_goes_on')",
    "all_or_nothing": f"""exports = async function () {{
      const session = context.services.get('mongodb-atlas').startSession();
      session.startTransaction();
      await {STEPS}.insertOne({{ inside: true }}, {{ session }});
      await {STEPS}.insertOne({{ n: 0 }});
      for (let n = 0; n < {MANY}; n++) {{ await {STEPS}.findOne({{ inside: true }}, undefined, {{ session }}); await {WAIT} }}
      await session.commitTransaction();
      return 'whole';
    }}""",
}  # fmt: skip
PYTHON = f"""
import asyncio

async def main(*given):
    steps = given[-1].services.get("mongodb-atlas").db("shop").collection("steps")
    for n in range({MANY}):
        try:
            await steps.insert_one({{"n": n}})
        except Exception:
            if MINDS:
                raise
        await asyncio.sleep(0.005)
    return "whole"
"""
NAMES = (*FUNCTIONS, "py_goes_on", "py_minds_nothing", "py_brief")
Step = Callable[[], Awaitable[Any]]


def app_folder(folder: Path) -> Path:
    write(folder, {
        "root_config.json": {"app_id": "lasts-abcde", "name": "lasts"},
        "functions/config.json": [{"name": name, "private": False, "run_as_system": name == "brief"} for name in NAMES],
        "https_endpoints/config.json": [endpoint(f"/{name}", "POST", name, create_user_on_auth=True) for name in NAMES],
        "data_sources/mongodb-atlas/config.json": {"name": "mongodb-atlas", "type": "mongodb-atlas", "config": {}},
        "data_sources/mongodb-atlas/default_rule.json": {"roles": [{"name": "all", "apply_when": {}, "read": True, "write": True, "insert": True}]},
        "functions/py_goes_on.py": PYTHON.replace("MINDS", "True"),
        "functions/py_brief.py": PYTHON.replace("MINDS", "True").replace(f"range({MANY})", "range(60)"),
        "functions/py_minds_nothing.py": PYTHON.replace("MINDS", "False"),
        **{f"functions/{name}.js": source for name, source in FUNCTIONS.items()},
    })  # fmt: skip
    return folder


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Application]:
    folder = tmp_path_factory.mktemp("lasts")
    table = {"algorithm": "HS256", "keys": (SECRET,), "audience": ("a",), "metadata_fields": ()}
    chosen: dict[str, Any] = {"app": app_folder(folder / "app"), "custom_token": table, "login_rate": ""}
    chosen["providers"] = ("api-key", "anon-user", "custom-token")
    with secantus(folder / "mongo") as mongo, application(folder / "data", uri=mongo.uri, **chosen) as running:
        yield running


@pytest.fixture(autouse=True)
def asked_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lasting, "CHECK_SECONDS", 0.0)


async def steps(app: Application, **filter: Any) -> int:
    body = orjson.dumps({"database": "shop", "collection": "steps", "filter": filter})
    answer = await app.request("POST", "/data/v1/action/countDocuments", body, {"apiKey": KEY})
    count: int = answer.json["count"]
    return count


def ended(app: Application, path: str, body: bytes, shown: dict[str, str], end: Step) -> tuple[Answer, int]:
    """The answer to a call whose caller is told ``end`` once it has begun, and the steps that it took."""

    async def both() -> tuple[Answer, int]:
        call = asyncio.create_task(app.request("POST", path, body, shown))
        while not await steps(app, n=0):
            await asyncio.sleep(0.005)
            assert not call.done(), call.result().body
        await end()
        answer = await call
        return answer, await steps(app)

    app.act("deleteMany", {"database": "shop", "collection": "steps", "filter": {}})
    return app.run(both())  # type: ignore[no-any-return]


@pytest.fixture
def key(app: Application) -> Iterator[str]:
    made = app.run(step(app, "POST", "/keys", {"name": "used"})())
    yield made["key"]
    app.run(step(app, "DELETE", "/keys/used")())


@pytest.mark.parametrize("name", ["goes_on", "minds_nothing", "py_goes_on", "py_minds_nothing", "through"])
def test_a_call_ends_with_its_key(app: Application, key: str, name: str) -> None:
    revoke = step(app, "POST", "/keys/used/revoke")
    answer, taken = ended(app, f"/endpoint/{name}", b"", {"apiKey": key}, revoke)
    assert (answer.status, answer.json["error_code"]) == (401, "InvalidSession"), answer.body
    assert 0 < taken < MANY


def test_a_call_of_a_client_ends_with_its_session_or_user(app: Application) -> None:
    base, body = "/api/client/v2.0/app/lasts-abcde", orjson.dumps({"name": "minds_nothing", "arguments": []})

    def logged_in() -> Any:
        return app.call("POST", f"{base}/auth/providers/anon-user/login", b"{}").json

    def shown(told: Any, kind: str = "access") -> dict[str, str]:
        return {"authorization": f"Bearer {told[f'{kind}_token']}"}

    async def log_out() -> None:
        answer = await app.request("DELETE", "/api/client/v2.0/auth/session", b"", shown(first, "refresh"))
        assert answer.status == 204, answer.body

    first, second = logged_in(), logged_in()
    for told, end in ((first, log_out), (second, step(app, "POST", f"/users/{second['user_id']}/disable"))):
        answer, taken = ended(app, f"{base}/functions/call", body, shown(told), end)
        assert (answer.status, answer.json["error_code"]) == (401, "InvalidSession"), answer.body
        assert 0 < taken < MANY


def test_a_call_goes_on_with_the_rights_that_are_left(app: Application, key: str) -> None:
    narrow = step(app, "PATCH", "/keys/used", {"databases": ["elsewhere"]})
    answer, taken = ended(app, "/endpoint/narrowed", b"", {"apiKey": key}, narrow)
    assert (answer.status, answer.json[0]) == (200, "PermissionDenied"), answer.body
    assert 0 < taken < MANY


def test_what_was_done_together_is_done_by_nobody(app: Application, key: str) -> None:
    revoke = step(app, "POST", "/keys/used/revoke")
    answer, taken = ended(app, "/endpoint/all_or_nothing", b"", {"apiKey": key}, revoke)
    assert (answer.status, answer.json["error_code"]) == (401, "InvalidSession"), answer.body
    assert taken == 1
    assert app.run(steps(app, inside=True)) == 0


def test_a_call_that_runs_as_somebody_else_comes_to_its_end(app: Application, key: str) -> None:
    body, path = orjson.dumps({"name": "brief", "arguments": []}), "/api/client/v2.0/app/lasts-abcde/functions/call"
    login = app.call("POST", "/api/client/v2.0/app/lasts-abcde/auth/providers/anon-user/login", b"{}").json
    end = step(app, "POST", f"/users/{login['user_id']}/disable")
    answer, taken = ended(app, path, body, {"authorization": f"Bearer {login['access_token']}"}, end)
    assert (answer.status, answer.json, taken) == (200, "whole", 30)


def test_a_token_that_runs_out_ends_no_call(app: Application, monkeypatch: pytest.MonkeyPatch) -> None:
    expires = time.time() + 3600
    shown = {"jwtTokenString": jwt.encode({"sub": "ann", "aud": "a", "exp": expires}, SECRET, "HS256")}
    tokens: Any = app.endpoint._authenticator.providers["custom-token"].tokens  # type: ignore[attr-defined]

    async def run_out() -> None:
        monkeypatch.setattr(tokens, "_clock", lambda: expires)

    answer, taken = ended(app, "/endpoint/py_brief", b"", shown, run_out)
    assert (answer.status, answer.json, taken) == (200, "whole", 60)
    assert app.call("POST", "/endpoint/py_brief", headers=shown).status == 401


def test_the_embedded_database_ends_a_call_too(tmp_path: Path) -> None:
    with application(tmp_path / "data", app=app_folder(tmp_path / "app"), login_rate="") as own:
        made = own.run(step(own, "POST", "/keys", {"name": "used"})())
        revoke = step(own, "POST", "/keys/used/revoke")
        answer, taken = ended(own, "/endpoint/py_minds_nothing", b"", {"apiKey": made["key"]}, revoke)
        assert (answer.status, answer.json["error_code"]) == (401, "InvalidSession"), answer.body
        assert 0 < taken < MANY


def test_what_one_call_learns_of_its_caller_holds_for_those_beside_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that asks for little is not left with rights of before by one that asks for much."""
    before, after = (Identity(id="a", kind="server", provider="api-key") for _ in range(2))
    shown = Credentials(api_key="x")
    request = Request("POST", "/", {}, "192.0.2.1", "id", identity=before, shown=shown)

    async def identify(credentials: Credentials, surface: str = "") -> Identity:
        return after

    async def scenario() -> None:
        standing, nothing = Standing(request, identify), cast(Any, None)
        monkeypatch.setattr(lasting, "CHECK_SECONDS", 3600.0)
        busy, other = (Call(nothing, nothing, nothing, before, request, 0.0, standing=standing) for _ in range(2))
        for call in (busy, other):
            await call.require_caller()
            assert call.identity is after

    asyncio.run(scenario())
