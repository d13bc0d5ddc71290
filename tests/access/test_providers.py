"""Every provider through real requests: off, on, right, wrong; who is asked first; whom a request runs as."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest
from asgi import KEY
from bson import ObjectId
from people import PASSWORD, SECRET, STRANGER, House, house, token

from doorleaf.access.identity import recent as recent_module
from doorleaf.access.identity import users as users_module
from doorleaf.access.identity.authenticator import Credentials
from doorleaf.access.identity.providers.custom_function import AT_ONCE
from doorleaf.access.identity.providers.table import PROVIDERS as TABLE
from doorleaf.errors import DoorleafError, RequestError, TooManyRequests
from doorleaf.operations import InsertOne, Namespace
from doorleaf.settings.providers import PROVIDERS

CUSTOM = {"algorithm": "HS256", "keys": (SECRET,), "audience": ("my-app",)}
EMAIL = "ann@example.com"
APP = Path(__file__).parent / "log_in_app"
ALL: dict[str, Any] = {
    "providers": PROVIDERS, "custom_token": CUSTOM, "auto_confirm": True, "app": APP, "custom_function": "lets_in"
}  # fmt: skip

BODIES: dict[str, dict[str, Any]] = {
    "api-key": {"key": KEY},
    "local-userpass": {"username": EMAIL, "password": PASSWORD},
    "custom-token": {"token": token()},
    "anon-user": {},
    "custom-function": {"ticket": "ann"},
}
HEADERS: dict[str, dict[str, str]] = {
    "api-key": {"apiKey": KEY},
    "local-userpass": {"email": EMAIL, "password": PASSWORD},
    "custom-token": {"jwtTokenString": token()},
}


@pytest.fixture
def home(tmp_path: Path) -> Iterator[House]:
    with house(tmp_path / "data", **ALL) as running:
        running.account()
        yield running


def test_every_provider_is_in_the_table_and_documented() -> None:
    assert sorted(kind.name for kind in TABLE) == sorted(PROVIDERS)
    assert len({kind.form.operation for kind in TABLE}) == len({kind.form.body for kind in TABLE}) == len(TABLE)
    page = (Path(__file__).parents[2] / "docs/identities.md").read_text(encoding="utf-8")
    rows = {row[0]: row for row in re.findall(r"^\| `([a-z-]+)` \|(.*?)\| (`.*) \|$", page, re.M)}
    for kind in TABLE:
        _, shown, login = rows[kind.name]
        assert re.findall(r"`(.*?)`", shown) == list(kind.headers)
        assert re.findall(r'"(\w+)"', login) == list(kind.form.fields)


def test_all_providers_log_in(home: House) -> None:
    for provider, body in BODIES.items():
        answer = home.login(provider, **body)
        assert answer.status == 200, answer.body
        reply = answer.json
        assert re.fullmatch("[0-9a-f]{24}", reply["device_id"])
        bearer = {"Authorization": f"Bearer {reply['access_token']}"}
        assert home.lets_in(bearer)
        identity = home.who(bearer)
        assert (identity.id, identity.provider) == (reply["user_id"], provider)
        assert identity.kind == ("server" if provider == "api-key" else "normal")
        assert set(identity.user) == {"id", "type", "data", "custom_data", "identities"}
        (own,) = identity.user["identities"]
        assert set(own) == {"id", "provider_type", "data"}
        refreshed = home.app.call(
            "POST", "/auth/session", headers={"Authorization": f"Bearer {reply['refresh_token']}"}
        )
        assert home.lets_in({"Authorization": f"Bearer {refreshed.json['access_token']}"})


def test_no_login_asks_the_database_which_triggers_there_are(home: House, monkeypatch: pytest.MonkeyPatch) -> None:
    async def asked() -> list[Any]:
        raise AssertionError("the triggers were read anew")

    happenings = home.directory.happenings
    assert happenings._triggers == []
    monkeypatch.setattr(happenings, "_listening", asked)
    assert home.login("anon-user").status == 200


def test_all_providers_but_the_anonymous_one_authenticate_requests(home: House) -> None:
    for provider, headers in HEADERS.items():
        assert home.lets_in(headers), provider
        assert home.who(headers).provider == provider


def test_data_of_users(home: House) -> None:
    assert home.who(HEADERS["local-userpass"]).data == {"email": EMAIL}
    assert home.who(HEADERS["api-key"]).data == {"name": "DATA_API_KEY"}
    assert home.who(home.bearer("anon-user")).data == {}
    (own,) = home.who(HEADERS["custom-token"]).identities
    assert own["id"] == "ann"


@pytest.mark.parametrize("off", PROVIDERS)
def test_a_provider_that_is_off_lets_nobody_in(tmp_path: Path, off: str) -> None:
    with house(tmp_path / "data", **ALL) as home:
        home.account()
        sessions = {provider: home.login(provider, **body).json for provider, body in BODIES.items()}
    settings = {**ALL, "providers": tuple(name for name in PROVIDERS if name != off), "token_secret": None}
    if off == "custom-token":
        settings["custom_token"] = None
    if off == "api-key":
        settings["data_api_key"] = None
    with house(tmp_path / "data", **settings) as home:
        for provider, body in BODIES.items():
            answer = home.login(provider, **body)
            if provider == off:
                assert (answer.status, answer.json["error_code"]) == (404, "AuthProviderNotFound")
            elif provider != "api-key":
                assert answer.status == 200, provider
            reply = sessions[provider]
            assert home.lets_in({"Authorization": f"Bearer {reply['access_token']}"}) is (provider != off)
            refresh = home.app.call(
                "POST", "/auth/session", headers={"Authorization": f"Bearer {reply['refresh_token']}"}
            )
            assert refresh.status == (401 if provider == off else 200)
        for provider, headers in HEADERS.items():
            if provider != "api-key" or off == "api-key":
                assert home.lets_in(headers) is (provider != off), provider


def test_by_default_there_are_keys_and_nothing_else(tmp_path: Path) -> None:
    with house(tmp_path / "data") as home:
        for one in set(PROVIDERS) - {"api-key"}:
            assert home.login(one, **BODIES[one]).status == 404
        for provider, headers in HEADERS.items():
            assert home.lets_in(headers) is (provider == "api-key")
        assert home.login("oauth2-google").status == 404
        assert home.run(home.directory.listed()) == []


def test_without_keys_no_first_key_is_made(tmp_path: Path) -> None:
    with house(tmp_path / "data", **{**ALL, "providers": PROVIDERS[1:], "data_api_key": None}) as home:
        assert home.run(home.directory.keys.listed()) == []


WRONG: dict[str, dict[str, str]] = {
    "bearer": {"Authorization": "Bearer x"},
    "api-key": {"apiKey": "dl_" + "x" * 64},
    "custom-token": {"jwtTokenString": "x"},
    "local-userpass": {"email": EMAIL, "password": "wrong horse"},
}


def test_whoever_comes_first_decides(home: House) -> None:
    """Bearer, API key, custom token, email and password: when the first is wrong, no other is asked."""
    right = {"bearer": home.bearer("anon-user"), **HEADERS}
    order = list(WRONG)
    for position, first in enumerate(order):
        for later in order[position + 1 :]:
            assert home.lets_in({**right[later], **right[first]}), (first, later)
            identity = home.who({**right[later], **right[first]})
            assert identity.id == home.who(right[first]).id
            answer = home.ask({**right[later], **WRONG[first]})
            assert (answer.status, answer.json) == (401, STRANGER), (first, later)


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({}, "InvalidParameter"),
        ({"Authorization": "Basic eDp5"}, "InvalidParameter"),
        ({"email": EMAIL}, "MissingParameter"),
        ({"password": PASSWORD}, "MissingParameter"),
    ],
)
def test_no_credentials_and_half_of_them(home: House, headers: dict[str, str], code: str) -> None:
    answer = home.ask(headers)
    assert (answer.status, answer.json["error_code"]) == (401, code)


def test_credentials_in_headers_twice_are_refused(home: House) -> None:
    for name in ("apiKey", "jwtTokenString", "email", "password", "Authorization"):
        pairs = [(name, "x"), (name, "x")]
        answer = home.app.call("POST", "/data/v1/action/findOne", b"{}", pairs)
        assert (answer.status, answer.json["error_code"]) == (400, "InvalidParameter")


# --- devices and custom data -----------------------------------------------------------------------------------------


def test_a_device_is_named_in_the_session(home: House) -> None:
    device = {"deviceId": "64224f3cd79f54ad342dd9b1", "platform": "firefox", "sdkVersion": "2.0.0"}
    reply = home.login("anon-user", options={"device": device}).json
    assert reply["device_id"] == device["deviceId"]
    claims = jwt.decode(reply["access_token"], options={"verify_signature": False})
    assert claims["baas_device_id"] == claims["stitch_devId"] == device["deviceId"]
    (session,) = home.run(home.directory.sessions.of(reply["user_id"]))
    assert session["device"] == device
    renewed = home.app.call("POST", "/auth/session", headers={"Authorization": f"Bearer {reply['refresh_token']}"})
    claims = jwt.decode(renewed.json["access_token"], options={"verify_signature": False})
    assert claims["baas_device_id"] == device["deviceId"]


@pytest.mark.parametrize(
    "options",
    [5, {"device": 5}, {"device": {"deviceId": "x"}}, {"device": {"deviceId": 5}}, {"device": {"a": "x" * 201}},
     {"device": {str(number): "x" for number in range(17)}}],
)  # fmt: skip
def test_devices_that_are_none(home: House, options: Any) -> None:
    answer = home.login("anon-user", options=options)
    assert (answer.status, answer.json["error_code"]) == (400, "InvalidParameter")


def insert(home: House, collection: str, document: dict[str, Any]) -> None:
    store = home.app.endpoint._service._store
    home.run(store.execute(InsertOne(namespace=Namespace("app", collection), document=document)))


def test_custom_data_is_found_by_the_users_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recent_module, "FRESH_SECONDS", 0.0)
    where = {"database": "app", "collection": "people", "user_id_field": "owner"}
    with house(tmp_path / "data", **ALL, custom_user_data=where) as home:
        user_id = home.account()
        headers = HEADERS["local-userpass"]
        assert home.who(headers).custom_data == {}
        insert(home, "people", {"_id": 9, "owner": ObjectId(user_id), "level": 1})
        assert home.who(headers).custom_data["level"] == 1
        insert(home, "people", {"_id": 5, "owner": user_id, "level": 2})
        insert(home, "people", {"_id": 1, "owner": user_id, "level": 3})
        insert(home, "people", {"_id": 0, "owner": "other", "level": 4})
        assert home.who(headers).custom_data == {"_id": 5, "owner": user_id, "level": 2}
        reply = home.login("local-userpass", **BODIES["local-userpass"]).json
        claims = jwt.decode(reply["access_token"], options={"verify_signature": False})
        assert claims["user_data"] == claims["custom_user_data"] == {"_id": 5, "owner": user_id, "level": 2}
        assert home.who(headers) is home.who(headers), "the same object until something changes"


def test_custom_data_of_keys(tmp_path: Path) -> None:
    where = {"database": "app", "collection": "people", "user_id_field": "owner"}
    with house(tmp_path / "data", **ALL, custom_user_data=where) as home:
        text = home.run(home.directory.keys.create("app"))
        home.run(home.directory.keys.reload())
        key = home.directory.keys.find(text)
        assert key is not None
        insert(home, "people", {"owner": key.id, "level": 7})
        assert home.who({"apiKey": text}).custom_data["level"] == 7
        assert home.who({"apiKey": text}) is home.who({"apiKey": text})
        assert home.who(home.bearer("api-key", key=text)).custom_data["level"] == 7


def test_large_custom_data_stays_out_of_tokens(tmp_path: Path) -> None:
    where = {"database": "app", "collection": "people", "user_id_field": "owner"}
    with house(tmp_path / "data", **ALL, custom_user_data=where) as home:
        insert(home, "people", {"owner": home.account(), "text": "x" * 5000})
        reply = home.login("local-userpass", **BODIES["local-userpass"]).json
        assert len(reply["access_token"]) < 2000
        assert len(home.who({"Authorization": f"Bearer {reply['access_token']}"}).custom_data["text"]) == 5000


# --- users' own keys -------------------------------------------------------------------------------------------------


def test_a_users_key_is_the_user(home: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recent_module, "FRESH_SECONDS", 0.0)
    user_id = home.run(home.directory.user_id(EMAIL))
    keys = home.directory.user_keys
    made = home.run(keys.create(user_id, "laptop"))
    headers = {"apiKey": made["key"]}
    assert home.who(headers) is home.who(HEADERS["local-userpass"])
    assert home.login("api-key", key=made["key"]).json["user_id"] == user_id
    assert home.run(keys.listed(user_id)) == [{"_id": made["_id"], "name": "laptop", "disabled": False}]
    assert made["key"] not in str(home.run(keys._system.find("user_keys", {})))
    home.run(keys.set_disabled(user_id, made["_id"], True))
    assert not home.lets_in(headers)
    home.run(keys.set_disabled(user_id, made["_id"], False))
    assert home.lets_in(headers)
    for other in (keys.get, keys.delete):
        with pytest.raises(DoorleafError) as caught:
            home.run(other("0" * 24, made["_id"]))
        assert (caught.value.status, caught.value.code) == (404, "APIKeyNotFound")
    home.run(keys.delete(user_id, made["_id"]))
    assert not home.lets_in(headers)


def test_names_and_number_of_a_users_keys(home: House) -> None:
    keys, one, other = home.directory.user_keys, "1" * 24, "2" * 24
    home.run(keys.create(one, "same"))
    home.run(keys.create(other, "same"))
    with pytest.raises(DoorleafError, match="exists already"):
        home.run(keys.create(one, "same"))
    with pytest.raises(DoorleafError, match="can only contain ASCII letters"):
        home.run(keys.create(one, "a b"))
    for number in range(19):
        home.run(keys.create(one, f"key{number}"))
    with pytest.raises(DoorleafError, match="at most 20 API keys"):
        home.run(keys.create(one, "more"))


def test_what_does_not_look_like_a_users_key_asks_no_database(home: House, monkeypatch: pytest.MonkeyPatch) -> None:
    async def asked(*args: Any, **options: Any) -> None:
        pytest.fail("the database was asked")

    monkeypatch.setattr(home.directory.user_keys._system, "find_one", asked)
    for text in ("x", "dl_" + "x" * 64, "dlu_x", "dlu_" + "x" * 63 + "é", "dlu_" + "x" * 65):
        assert not home.lets_in({"apiKey": text})


# --- anonymous users -------------------------------------------------------------------------------------------------


def test_each_anonymous_login_is_a_user_of_its_own(home: House) -> None:
    ids = {home.login("anon-user").json["user_id"] for _ in range(3)}
    assert len(ids) == 3
    refresh = home.login("anon-user").json["refresh_token"]
    claims = jwt.decode(refresh, options={"verify_signature": False})
    assert claims["exp"] - claims["iat"] > 40 * 365 * 86400


def test_anonymous_users_who_stay_away_are_deleted(home: House) -> None:
    gone, there = home.login("anon-user").json, home.login("anon-user").json
    later = time.time() + users_module.UNUSED_SECONDS + 1
    system = home.directory.users._system
    home.directory.users._clock = lambda: later
    home.app.call("POST", "/auth/session", headers={"Authorization": f"Bearer {there['refresh_token']}"})
    home.run(home.directory.sweep())
    left = {user["_id"] for user in home.run(home.directory.listed())}
    assert there["user_id"] in left
    assert gone["user_id"] not in left
    assert home.run(home.directory.user_id(EMAIL)) in left, "only anonymous ones"
    assert home.run(system.find("identities", {"user_id": gone["user_id"]})) == []
    assert home.run(home.directory.sessions.of(gone["user_id"])) == []


# --- run as ----------------------------------------------------------------------------------------------------------


def test_actions_run_as_the_system(tmp_path: Path) -> None:
    with house(tmp_path / "data", **ALL, run_as={"actions": "system"}) as home:
        home.account()
        for headers in HEADERS.values():
            assert home.ask(headers).status == 200
        answer = home.ask({})
        assert answer.status == 401, "whoever calls must still be somebody"
        assert not home.lets_in(WRONG["local-userpass"])
        limited = home.run(home.directory.keys.create("app", rights={"databases": ["other"]}))
        home.run(home.directory.keys.reload())
        answer = home.ask({"apiKey": limited})
        assert (answer.status, "does not allow" in answer.json["error"]) == (403, True), "a key stays limited"
        answer = home.app.call("GET", "/api/admin/v1/keys", headers={"apiKey": limited})
        assert answer.status == 403, "other surfaces run as the caller"


def test_actions_run_as_a_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recent_module, "FRESH_SECONDS", 0.0)
    with house(tmp_path / "data", **ALL) as home:
        user_id = home.account("fixed@example.com")
    with house(tmp_path / "data", **ALL, run_as={"actions": user_id}) as home:
        answer = home.ask(HEADERS["api-key"])
        assert answer.json["error_code"] == "NoMatchingRuleFound", "an administrator's key acts as that user"
        home.run(home.directory.set_disabled(user_id, True))
        assert home.ask(HEADERS["api-key"]).json == STRANGER


def test_who_really_called_is_known(tmp_path: Path) -> None:
    with house(tmp_path / "data", **ALL, run_as={"actions": "system"}) as home:
        identify = home.authenticator.identify
        system = home.run(identify(Credentials(api_key=KEY), "actions"))
        caller = home.run(identify(Credentials(api_key=KEY)))
        assert (system.kind, system.admin, system.caller, system.shown) == ("system", True, caller.id, caller.id)
        assert (caller.kind, caller.caller, caller.shown) == ("server", "", caller.id)
        assert system is home.run(identify(Credentials(api_key=KEY), "actions"))


# --- what is asked of the database -----------------------------------------------------------------------------------


def test_a_user_who_calls_again_costs_no_database(home: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recent_module, "FRESH_SECONDS", 3600.0)
    credentials = [
        *HEADERS.values(),
        home.bearer("anon-user"),
        home.bearer("local-userpass", **BODIES["local-userpass"]),
    ]
    for headers in credentials:
        home.who(headers)

    async def asked(*args: Any, **options: Any) -> None:
        pytest.fail("the database was asked")

    for name in ("find", "find_one", "update", "insert"):
        monkeypatch.setattr(home.directory.users._system, name, asked)
    for headers in credentials:
        home.who(headers)


def test_what_was_read_is_current_for_two_seconds() -> None:
    assert recent_module.FRESH_SECONDS == 2.0


def test_a_change_elsewhere_is_effective_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two applications on one database, as two workers are."""
    monkeypatch.setattr(recent_module, "FRESH_SECONDS", 0.05)
    with house(tmp_path / "data", **ALL) as here, house(tmp_path / "data", **ALL) as there:
        user_id = here.account()
        bearer = here.bearer("local-userpass", **BODIES["local-userpass"])
        assert there.lets_in(bearer)
        assert there.lets_in(HEADERS["local-userpass"])
        here.run(here.directory.set_disabled(user_id, True))
        there.run(asyncio.sleep(0.1))
        assert not there.lets_in(bearer)
        assert not there.lets_in(HEADERS["local-userpass"])


def test_what_a_function_does_not_know_counts_as_wrong_passwords_do(tmp_path: Path) -> None:
    with house(tmp_path / "data", **ALL | {"login_rate": "3/hour"}) as home:
        statuses = [home.login("custom-function", ticket="wrong").status for _ in range(4)]
        assert statuses == [400, 400, 400, 429]
        assert home.login("custom-function", ticket="ann").status == 429


def test_only_so_many_are_judged_by_a_function_at_once(home: House) -> None:
    body = {"ticket": "slow"}

    async def at_once() -> list[Any]:
        provider = home.authenticator.providers["custom-function"]
        tries = (provider.login(body, "192.0.2.7", "") for _ in range(AT_ONCE + 2))
        return await asyncio.gather(*tries, return_exceptions=True)

    found = home.run(at_once())
    assert sum(isinstance(one, TooManyRequests) for one in found) == 2
    assert not any(isinstance(one, BaseException) for one in home.run(at_once())[:AT_ONCE])


def test_a_user_has_only_so_many_identities(home: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(users_module, "MOST_IDENTITIES", 2)
    user_id = home.login("custom-function", ticket="one").json["user_id"]
    link = home.directory.users.link
    home.run(link(user_id, "custom-function", "two", {}))
    with pytest.raises(RequestError, match="at most 2 identities"):
        home.run(link(user_id, "custom-function", "three", {}))
    assert home.login("custom-function", ticket="two").json["user_id"] == user_id
    assert home.login("custom-function", ticket="three").json["user_id"] != user_id
