"""Accounts and keys of the DataCube API."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from typing import Any

import jwt
import pytest
from asgi import KEY, Application, application
from cube_app import PASSWORD, REGISTERED, SETTINGS, Crud, ask, database, key_of, ok, refused, registered, tokens
from people import link_of, mail_server

from doorleaf.access.identity import tokens as tokens_module
from doorleaf.settings.load import SettingsError, load

KEYS = "/core/api/v1/keys"
PROFILE = "/core/profile"


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Application]:
    with application(tmp_path_factory.mktemp("cube"), **SETTINGS) as running:
        yield running


@pytest.fixture(scope="module")
def ada(app: Application) -> str:
    return registered(app, "ada@example.com")


def test_the_dialect_is_off_unless_asked_for(tmp_path: Any) -> None:
    with application(tmp_path, providers=SETTINGS["providers"]) as plain:
        assert plain.call("POST", "/core/register", b"{}").status == 404
    with pytest.raises(SettingsError, match="datacube: needs local-userpass among the providers: api-key, local"):
        load({"datacube": True, "data_dir": tmp_path})


@pytest.mark.parametrize("slash", ["", "/"])
def test_register_and_log_in(app: Application, slash: str) -> None:
    email = f"dev{len(slash)}@example.com"
    body = {"email": email.upper(), "firstName": "Alex", "lastName": "Dev", "password": PASSWORD}
    assert ok(app, "POST", f"/core/register{slash}", body, status=201) == {"message": REGISTERED}
    again = refused(ask(app, "POST", f"/api/register{slash}", {**body, "email": email}), 400)
    assert again["email"] == ["This email is already registered."]
    found = ok(app, "POST", f"/core/login{slash}", {"email": email.title(), "password": PASSWORD})
    assert list(found)[:2] == ["refresh", "access"]
    assert (found["firstName"], found["email_verified"]) == ("Alex", True)
    shown = ok(app, "GET", f"{PROFILE}{slash}", as_=f"Bearer {found['access']}")
    assert shown["email"] == email
    assert shown["lastName"] == "Dev"
    assert "password" not in shown


@pytest.mark.parametrize(
    ("change", "field", "text"),
    [
        ({"email": None}, "email", "This field is required."),
        ({"password": None}, "password", "This field is required."),
        ({"firstName": "  "}, "firstName", "This field may not be blank."),
        ({"lastName": "x" * 101}, "lastName", "Ensure this field has no more than 100 characters."),
        ({"password": "short12"}, "password", "Ensure this field has at least 8 characters."),
        ({"password": "x" * 129}, "password", "Password must be between 6 and 128 characters."),
        ({"email": "nobody"}, "email", "Enter a valid email address."),
        ({"email": "a b@example.com"}, "email", "Enter a valid email address."),
        ({"email": {"$ne": 1}}, "email", "Not a valid string: got an object."),
    ],
)
def test_what_is_wrong_is_told_at_its_field(app: Application, change: Any, field: str, text: str) -> None:
    body = {"email": "new@example.com", "firstName": "A", "lastName": "B", "password": PASSWORD} | change
    told = refused(ask(app, "POST", "/core/register", body), 400)
    assert told[field] == [text]
    assert told["detail"] == {field: [text]}


@pytest.mark.parametrize("missing", ["email", "firstName", "lastName", "password"])
def test_every_field_is_required(app: Application, missing: str) -> None:
    body = {"email": "new@example.com", "firstName": "A", "lastName": "B", "password": PASSWORD}
    del body[missing]
    assert refused(ask(app, "POST", "/core/register", body), 400)[missing] == ["This field is required."]
    refused(ask(app, "POST", "/core/register", b"{"), 400)
    refused(ask(app, "POST", "/core/register", {**body, missing: "x" * 9, "role": "admin"}), 400, "InvalidParameter")


def test_wrong_logins_are_alike(app: Application, ada: str) -> None:
    wrong = [
        {"email": "ada@example.com", "password": "wrong-password"},
        {"email": "nobody@example.com", "password": PASSWORD},
    ]
    told = [refused(ask(app, "POST", "/core/login", body), 401) for body in wrong]
    assert told[0] == told[1]
    assert told[0]["error"] == "Invalid credentials"
    for body in ({}, {"email": "ada@example.com"}, {"password": 1, "email": {"$gt": ""}}):
        told_missing = refused(ask(app, "POST", "/core/login", body), 400)
        assert told_missing["error"] == "Email and password are required"


def test_right_logins_do_not_count_against_the_rate(app: Application) -> None:
    [dialect] = [one for one in app.endpoint.dialects if one.name == "datacube"]
    counted = {route.path: route.login for route in dialect.routes if route.public}
    assert {path for path, counts in counted.items() if not counts} == {
        "/core/login", "/api/login", "/core/token/refresh", "/core/auth/token/refresh", "/core/logout",
        "/health_check", "/api/health_check", "/api/v2/health_check",
    }  # fmt: skip


def refreshed(app: Application, refresh: str, path: str = "/core/token/refresh") -> dict[str, Any]:
    found: dict[str, Any] = ok(app, "POST", path, {"refresh": refresh})
    assert list(found) == ["access", "refresh"]
    return found


def test_refresh_and_log_out(app: Application, ada: str) -> None:
    found = tokens(app, "ada@example.com")
    seen = {found["refresh"]}
    for path in ("/core/token/refresh", "/core/auth/token/refresh/"):
        found = refreshed(app, found["refresh"], path)
        seen.add(found["refresh"])
        ok(app, "GET", PROFILE, as_=f"Bearer {found['access']}")
    assert len(seen) == 3
    ends = {jwt.decode(one, options={"verify_signature": False})["exp"] for one in seen}
    assert len(ends) == 1
    for wrong in (found["access"], "nonsense"):
        told = refused(ask(app, "POST", "/core/token/refresh", {"refresh": wrong}), 401)
        assert (told["detail"], told["code"]) == ("Token is invalid or expired", "token_not_valid")
    ok(app, "POST", "/core/logout", {"refresh": found["refresh"]}, status=204)
    refused(ask(app, "POST", "/core/token/refresh", {"refresh": found["refresh"]}), 401)
    refused(ask(app, "GET", PROFILE, as_=f"Bearer {found['access']}"), 401)
    ok(app, "GET", PROFILE, as_=ada)


def test_a_refresh_token_is_good_for_one_refresh(app: Application, ada: str, monkeypatch: pytest.MonkeyPatch) -> None:
    first = tokens(app, "ada@example.com")
    second = refreshed(app, first["refresh"])
    # Whom the answer did not reach asks again, and is answered the same; so is who asks twice at once.
    body = b'{"refresh": "%b"}' % second["refresh"].encode()

    async def twice() -> set[str]:
        asked = (app.request("POST", "/core/token/refresh", body) for _ in range(4))
        return {answer.json["refresh"] for answer in await asyncio.gather(*asked)}

    assert refreshed(app, first["refresh"])["refresh"] == second["refresh"]
    [third] = app.run(twice())
    assert third != second["refresh"]
    # The one before the last is as old as any: the session ends for both who have its tokens.
    refused(ask(app, "POST", "/core/token/refresh", {"refresh": first["refresh"]}), 401, "InvalidSession")
    refused(ask(app, "POST", "/core/token/refresh", {"refresh": third}), 401)
    refused(ask(app, "GET", PROFILE, as_=f"Bearer {second['access']}"), 401)

    first = tokens(app, "ada@example.com")
    second = refreshed(app, first["refresh"])
    monkeypatch.setattr(tokens_module, "GRACE_SECONDS", 0.0)
    answer = app.call("POST", "/auth/session", headers={"authorization": f"Bearer {first['refresh']}"})
    assert answer.status == 401
    refused(ask(app, "POST", "/core/token/refresh", {"refresh": second["refresh"]}), 401)
    refused(ask(app, "GET", PROFILE, as_=f"Bearer {second['access']}"), 401)
    ok(app, "GET", PROFILE, as_=ada)


def test_an_account_that_comes_anew_has_nothing_of_the_old_one(app: Application) -> None:
    old = registered(app, "twice@example.com")
    key, session = key_of(app, old), tokens(app, "twice@example.com")
    identifier = database(app, old, "left")
    Crud(app, old, identifier).insert({"n": 1})
    assert app.call("DELETE", f"/api/admin/v1/users/{_id_of(app, old)}", headers={"apiKey": KEY}).status == 204
    new = registered(app, "twice@example.com")
    for shown in (old, key, f"Bearer {session['access']}"):
        refused(ask(app, "GET", PROFILE, as_=shown), 401)
    refused(ask(app, "POST", "/core/token/refresh", {"refresh": session["refresh"]}), 401)
    assert ok(app, "GET", "/api/list_databases", as_=new)["data"] == []
    Crud(app, new, identifier).refused("GET", status=404)
    assert Crud(app, new, database(app, new, "left")).all() == []


def _id_of(app: Application, who: str) -> str:
    found: str = ok(app, "GET", PROFILE, as_=who)["id"]
    return found


@pytest.mark.parametrize(
    ("shown", "detail"),
    [
        (None, "Authentication credentials were not provided."),
        ("Basic abc", "Authentication credentials were not provided."),
        ("Api-Key", "Invalid token header. No credentials provided."),
        ("Api-Key a b", "Invalid token header. Token string should not contain spaces."),
        ("Api-Key sk_test_x", "Invalid API Key."),
        ("api-key dlu_" + "x" * 64, "Invalid API Key."),
        ("Bearer dlu_" + "x" * 64, "Invalid API Key."),
        ("Bearer nonsense", "Given token not valid for any token type"),
    ],
)
def test_who_shows_nothing_or_something_wrong(app: Application, shown: str | None, detail: str) -> None:
    for method, path in (("GET", PROFILE), ("GET", KEYS), ("POST", KEYS)):
        answer = ask(app, method, path, as_=shown)
        assert refused(answer, 401)["detail"] == detail
        assert answer.headers["www-authenticate"] == 'Bearer realm="api"'


def test_a_refresh_token_is_no_access_token(app: Application, ada: str) -> None:
    refresh = tokens(app, "ada@example.com")["refresh"]
    assert refused(ask(app, "GET", PROFILE, as_=f"Bearer {refresh}"), 401)["code"] == "token_not_valid"


def test_other_methods_are_told(app: Application, ada: str) -> None:
    answer = ask(app, "PUT", "/core/login", as_=ada)
    refused(answer, 405)
    assert answer.headers["allow"] == "POST"


def test_profile(app: Application) -> None:
    bob = registered(app, "bob@example.com")
    assert ok(app, "PATCH", PROFILE, {"firstName": "Bob"}, as_=bob)["firstName"] == "Bob"
    shown = ok(app, "GET", PROFILE, as_=bob)
    assert (shown["firstName"], shown["lastName"], shown["is_email_verified"]) == ("Bob", "Dev", True)
    for wrong in ({}, {"firstName": ""}, {"email": "x@example.com"}, {"role": "admin"}):
        refused(ask(app, "PATCH", PROFILE, wrong, as_=bob), 400)
    assert ok(app, "GET", PROFILE, as_=bob) == shown


def test_mails_verify_addresses_and_reset_passwords(tmp_path: Any) -> None:
    email = "ada@example.com"
    body = {"email": email, "firstName": "Ada", "lastName": "L", "password": PASSWORD}
    with (
        mail_server() as post,
        application(
            tmp_path,
            **SETTINGS,
            smtp_url=post.url,
            mail_from="door@example.com",
            email_confirmation_url="https://api.example.com/core/verify-email",
        ) as app,
    ):

        def mail() -> Any:
            return app.run(asyncio.to_thread(post.next))

        ok(app, "POST", "/core/register", body, status=201)
        _, given = link_of(mail())
        told = refused(ask(app, "POST", "/core/login", {"email": email, "password": PASSWORD}), 403)
        assert (told["error"], told["code"]) == ("Email not verified.", "email_unverified")
        path = f"/core/verify-email/{given['token_id']}{given['token']}"
        wrong = refused(ask(app, "GET", f"{path}x"), 400, "UserpassTokenInvalid")
        assert wrong["error"] == "Invalid or expired verification link."
        ok(app, "POST", "/core/verify-email/resend", {"email": email})
        _, again = link_of(mail())
        refused(ask(app, "GET", path), 400)
        query = {"token": again["token"], "tokenId": again["token_id"]}
        assert ok(app, "GET", "/core/verify-email", **query) == {"message": "Email verified successfully!"}
        access = tokens(app, email)["access"]
        sent = [ok(app, "POST", "/core/password-reset/request", {"email": to}) for to in (email, "no@example.com")]
        assert sent[0] == sent[1]
        code = re.findall(r"\S{60,}", mail().get_payload(decode=True).decode())[0]
        new = {"password": "another-strong-password"}
        refused(ask(app, "POST", "/core/password-reset/confirm", {"code": "x" * 60, **new}), 400)
        ok(app, "POST", f"/core/password-reset/confirm/{code}", new)
        refused(ask(app, "POST", "/core/password-reset/confirm", {"code": code, "email": email, **new}), 400)
        refused(ask(app, "GET", PROFILE, as_=f"Bearer {access}"), 401)
        refused(ask(app, "POST", "/core/login", {"email": email, "password": PASSWORD}), 401)
        ok(app, "POST", "/core/login", {"email": email, **new})


def test_without_a_mail_server_no_password_is_reset_by_mail(app: Application) -> None:
    for email in ("ada@example.com", "nobody@example.com"):
        told = refused(ask(app, "POST", "/core/password-reset/request", {"email": email}), 400)
        assert "no mail server" in told["message"]


# --- keys --------------------------------------------------------------------------------------------------------


def test_keys(app: Application) -> None:
    eve = registered(app, "eve@example.com")
    made = ok(app, "POST", KEYS, {"name": "My backend key"}, status=201, as_=eve)
    key = made.pop("key")
    assert key.startswith("dlu_")
    assert made["permissions"] == ["read", "write", "admin"]
    assert (made["is_active"], made["database_ids"], made["expires_at"]) == (True, None, None)
    listed = ok(app, "GET", f"{KEYS}/", as_=f"Api-Key {key}")
    assert [one["_id"] for one in listed] == [made["_id"]]
    assert key not in str(listed)
    assert "hash" not in str(listed)
    ok(app, "GET", PROFILE, as_=f"api-key {key}")
    ok(app, "GET", PROFILE, as_=f"Bearer {key}")
    refused(ask(app, "POST", KEYS, {"name": "My backend key"}, as_=eve), 400, "APIKeyAlreadyExists")
    for wrong in ({}, {"name": " "}, {"name": "x" * 101}, {"name": "k", "permissions": ["all"]}):
        refused(ask(app, "POST", KEYS, wrong, as_=eve), 400)
    refused(ask(app, "POST", KEYS, {"name": "k", "expires_at": "2001-01-01T00:00:00Z"}, as_=eve), 400)
    refused(ask(app, "POST", KEYS, {"name": "k", "database_ids": ["0" * 24]}, as_=eve), 404, "DatabaseNotFound")
    ok(app, "DELETE", f"{KEYS}/{made['_id']}", status=204, as_=eve)
    assert refused(ask(app, "DELETE", f"{KEYS}/{made['_id']}", as_=eve), 404)["error"].startswith("Key not found")
    refused(ask(app, "DELETE", f"{KEYS}/nonsense", as_=eve), 404)
    assert ok(app, "GET", KEYS, as_=eve) == []
    assert refused(ask(app, "GET", PROFILE, as_=f"Api-Key {key}"), 401)["detail"] == "Invalid API Key."


def test_nobody_ends_the_key_of_another(app: Application, ada: str) -> None:
    key = key_of(app, ada, "mine")
    [mine] = [one for one in ok(app, "GET", KEYS, as_=ada) if one["name"] == "mine"]
    mallory = registered(app, "mallory@example.com")
    refused(ask(app, "DELETE", f"{KEYS}/{mine['_id']}", as_=mallory), 404, "APIKeyNotFound")
    assert ok(app, "GET", KEYS, as_=mallory) == []
    ok(app, "GET", PROFILE, as_=key)


def test_limited_keys_make_no_others_and_begin_no_session(app: Application, ada: str) -> None:
    limited = [
        key_of(app, ada, "reads", permissions=["read"]),
        key_of(app, ada, "ends", expires_at="2100-01-01T00:00:00Z"),
    ]
    for shown in limited:
        ok(app, "GET", PROFILE, as_=shown)
        refused(ask(app, "POST", KEYS, {"name": "more"}, as_=shown), 403, "PermissionDenied")
        refused(ask(app, "GET", KEYS, as_=shown), 403)
        answer = app.call("POST", "/auth/providers/api-key/login", b'{"key": "%b"}' % shown[8:].encode())
        assert (answer.status, answer.json["error_code"]) == (401, "AuthError")
        assert "limited" in answer.json["error"]
    whole = key_of(app, ada, "whole", permissions=["read", "write", "admin"])
    assert app.call("POST", "/auth/providers/api-key/login", b'{"key": "%b"}' % whole[8:].encode()).status == 200


def test_limits_of_a_key_hold_in_every_dialect(app: Application, ada: str) -> None:
    shown = key_of(app, ada, "reads only", permissions=["read"])[8:]
    answer = app.act("insertOne", {"database": "shop", "collection": "c", "document": {}}, key=shown)
    assert answer.status == 403
    assert "this API key does not allow the action insertOne" in answer.json["error"]


def test_keys_of_the_server_are_no_users(app: Application) -> None:
    refused(ask(app, "POST", KEYS, {"name": "x"}, as_=f"Api-Key {KEY}"), 403, "PermissionDenied")
