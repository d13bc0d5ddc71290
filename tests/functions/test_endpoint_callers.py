"""What an endpoint's configuration says of its callers."""

from __future__ import annotations

import time
from pathlib import Path

import jwt
from asgi import KEY, Application, application
from shop_app import endpoint, write

SECRET = "an-hs256-key-of-at-least-32-characters"


def test_an_endpoint_says_itself_whether_a_token_makes_a_user(tmp_path: Path) -> None:
    write(tmp_path / "app", {
        "root_config.json": {"app_id": "who-abcde", "name": "who"},
        "functions/config.json": [{"name": "who"}],
        "functions/who.py": "def main(request, response, context):\n    return context.user['id']\n",
        "https_endpoints/config.json": [
            endpoint("/makes", "GET", "who", create_user_on_auth=True),
            endpoint("/knows", "GET", "who", create_user_on_auth=False),
            endpoint("/silent", "GET", "who"),
        ],
    })  # fmt: skip
    for setting in (True, False):
        table = {"algorithm": "HS256", "keys": (SECRET,), "audience": ("a",), "create_user_on_auth": setting}
        chosen = {"app": tmp_path / "app", "custom_token": table, "providers": ("api-key", "custom-token")}
        with application(tmp_path / f"data{setting}", **chosen) as app:
            claims = {"sub": f"ann{setting}", "aud": "a", "exp": int(time.time()) + 3600}
            shown = {"jwtTokenString": jwt.encode(claims, SECRET, "HS256")}
            for path in ("/endpoint/knows", "/endpoint/silent"):
                answer = app.call("GET", path, headers=shown)
                assert (answer.status, answer.json["error_code"]) == (401, "InvalidSession")
            users = app.call("GET", "/api/admin/v1/users", headers={"apiKey": KEY}).json["users"]
            assert users == []
            made = app.call("GET", "/endpoint/makes", headers=shown)
            assert made.status == 200, made.body
            for path in ("/endpoint/knows", "/endpoint/silent", "/endpoint/makes"):
                assert app.call("GET", path, headers=shown).json == made.json


TELLS = """exports = async () => ({
  id: context.user.id, type: context.user.type, system: context.runningAsSystem(), data: context.user.custom_data,
  notes: await context.services.get('mongodb-atlas').db('shop').collection('notes').distinct('_id'),
})"""
OWNED = {
    "database": "shop", "collection": "notes",
    "roles": [{"name": "owner", "apply_when": {"owner": "%%user.custom_data.team"}, "read": True, "write": False}],
}  # fmt: skip
DATA = {"database": "shop", "collection": "people", "user_id_field": "user"}
JSON = {"Content-Type": "application/json"}


def anonymous(app: Application) -> tuple[str, dict[str, str]]:
    """The id of a new user, and the header of its session."""
    told = app.call("POST", "/api/client/v2.0/app/who-abcde/auth/providers/anon-user/login", b"{}", JSON)
    assert told.status == 200, told.body
    return told.json["user_id"], {"Authorization": f"Bearer {told.json['access_token']}"}


def put(app: Application, collection: str, *documents: dict[str, object]) -> None:
    body = {"database": "shop", "collection": collection, "documents": documents}
    assert app.act("insertMany", body).status == 201


def test_whom_a_function_runs_as_and_what_it_is_told_of_them(tmp_path: Path) -> None:
    """One user, always the same, whoever calls; and the caller, with custom data where the endpoint says so."""
    names = ("application", "fixed", "nobody")
    files = {
        "root_config.json": {"app_id": "who-abcde", "name": "who"},
        "data_sources/mongodb-atlas/config.json": {"name": "mongodb-atlas", "type": "mongodb-atlas", "config": {}},
        "data_sources/mongodb-atlas/shop/notes/rules.json": OWNED,
        **{f"functions/{name}.js": TELLS for name in names},
        "https_endpoints/config.json": [
            endpoint("/fixed", "GET", "fixed", fetch_custom_user_data=True),
            endpoint("/nobody", "GET", "nobody"),
            endpoint("/told", "GET", "application", fetch_custom_user_data=True),
            endpoint("/untold", "GET", "application", fetch_custom_user_data=False),
            endpoint("/silent", "GET", "application"),
        ],
    }  # fmt: skip
    write(tmp_path / "app", {**files, "functions/config.json": [{"name": name} for name in names]})
    chosen = {
        "app": tmp_path / "app",
        "providers": ("api-key", "anon-user"),
        "login_rate": "",
        "custom_user_data": DATA,
    }
    with application(tmp_path / "data", **chosen) as app:
        (ann, _), (carl, session) = anonymous(app), anonymous(app)
        put(app, "people", {"user": ann, "team": "red"}, {"user": carl, "team": "blue"})
        put(app, "notes", {"_id": 1, "owner": "red"}, {"_id": 2, "owner": "blue"}, {"_id": 3, "owner": None})
    entries = [
        {"name": "application"}, {"name": "fixed", "run_as_user_id": ann, "run_as_system": False},
        {"name": "nobody", "run_as_user_id": "64224f3cd79f54ad342dd9b1"},
    ]  # fmt: skip
    write(tmp_path / "app", {"functions/config.json": entries})
    with application(tmp_path / "data", **chosen) as app:
        as_ann = {"id": ann, "type": "normal", "system": False, "notes": [1]}
        for shown in ({}, session, {"apiKey": KEY}, {"apiKey": "wrong"}, {"Authorization": "Bearer x"}):
            answer = app.call("GET", "/endpoint/fixed", headers=shown)
            assert answer.status == 200, answer.body
            told = answer.json
            assert (told.pop("data")["team"], told) == ("red", as_ann)
        missing = app.call("GET", "/endpoint/nobody")
        assert (missing.status, missing.json["error_code"]) == (401, "InvalidSession"), missing.body
        for path, team in (("/told", "blue"), ("/untold", None), ("/silent", None)):
            told = app.call("GET", f"/endpoint{path}", headers=session).json
            assert (told["id"], told["data"].get("team"), told["notes"]) == (carl, team, [2]), path
            assert team or told["data"] == {}
        off = app.call("POST", f"/api/admin/v1/users/{ann}/disable", headers={"apiKey": KEY})
        assert off.status in (200, 204), off.body
        assert app.call("GET", "/endpoint/fixed").status == 401
