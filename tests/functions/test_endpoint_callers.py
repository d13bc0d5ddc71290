"""What an endpoint's configuration says of its callers."""

from __future__ import annotations

import time
from pathlib import Path

import jwt
from asgi import KEY, application
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
