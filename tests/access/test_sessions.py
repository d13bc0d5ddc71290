"""Sessions: listed, ended one by one, for a user, for all; and what ends with them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest
from asgi import application
from people import PASSWORD, House, house

from doorleaf.access import system_store
from doorleaf.access.identity.tokens import Sessions
from doorleaf.settings.providers import PROVIDERS

EMAIL = "ann@example.com"
ON = tuple(name for name in PROVIDERS if name not in ("custom-token", "custom-function"))


@pytest.fixture
def home(tmp_path: Path) -> Iterator[House]:
    with house(tmp_path / "data", providers=ON) as running:
        running.account()
        yield running


def login(home: House) -> dict[str, Any]:
    reply: dict[str, Any] = home.login("local-userpass", username=EMAIL, password=PASSWORD).json
    return reply


def bearer(reply: dict[str, Any], kind: str = "access") -> dict[str, str]:
    return {"Authorization": f"Bearer {reply[f'{kind}_token']}"}


def refreshes(home: House, reply: dict[str, Any]) -> bool:
    answer = home.app.call("POST", "/auth/session", headers=bearer(reply, "refresh"))
    if answer.status == 401:
        assert answer.json["error_code"] == "InvalidSession"
    return answer.status == 200


def session_of(reply: dict[str, Any]) -> str:
    return str(jwt.decode(reply["access_token"], options={"verify_signature": False})["iss"])


def test_sessions_are_listed_newest_first(home: House) -> None:
    replies = [login(home) for _ in range(3)]
    other = home.login("anon-user").json
    listed = home.run(home.directory.sessions.of(replies[0]["user_id"]))
    assert [session["_id"] for session in listed] == [session_of(reply) for reply in reversed(replies)]
    assert {session["provider"] for session in listed} == {"local-userpass"}
    assert session_of(other) not in {session["_id"] for session in listed}
    for reply in replies:
        assert reply["refresh_token"] not in str(listed)


def test_one_session_is_ended(home: House) -> None:
    one, other = login(home), login(home)
    sessions = home.directory.sessions
    assert not home.run(sessions.revoke(session_of(one), "0" * 24)), "it is somebody else's"
    assert home.lets_in(bearer(one))
    assert home.run(sessions.revoke(session_of(one)))
    assert not home.lets_in(bearer(one))
    assert not refreshes(home, one)
    assert home.lets_in(bearer(other))
    assert refreshes(home, other)
    assert not home.run(sessions.revoke("0" * 24))


def test_all_sessions_of_a_user_are_ended(home: House) -> None:
    mine, other = [login(home) for _ in range(2)], home.login("anon-user").json
    assert home.run(home.directory.sessions.revoke_of(mine[0]["user_id"])) == 2
    for reply in mine:
        assert not home.lets_in(bearer(reply))
        assert not refreshes(home, reply)
    assert home.lets_in(bearer(other))
    assert home.run(home.directory.sessions.of(mine[0]["user_id"])) == []
    assert home.run(home.directory.sessions.revoke_of(mine[0]["user_id"])) == 0


def test_all_sessions_are_ended(home: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system_store, "PAGE", 2)
    replies = [login(home), home.login("anon-user").json, login(home), home.login("anon-user").json, login(home)]
    assert home.run(home.directory.sessions.revoke_all()) == 5
    for reply in replies:
        assert not home.lets_in(bearer(reply))
        assert not refreshes(home, reply)
    assert home.lets_in(bearer(login(home)))


def test_sessions_ended_elsewhere_end_here_with_the_next_reading(home: House) -> None:
    one, other = login(home), login(home)
    assert home.lets_in(bearer(one))
    elsewhere = Sessions(home.directory.sessions._system)
    home.run(elsewhere.revoke(session_of(one)))
    home.run(home.directory.reload())
    assert not home.lets_in(bearer(one))
    assert home.lets_in(bearer(other))


def test_disabling_a_user_ends_sessions_for_good(home: House) -> None:
    reply = login(home)
    home.run(home.directory.set_disabled(reply["user_id"], True))
    assert not home.lets_in(bearer(reply))
    home.run(home.directory.set_disabled(reply["user_id"], False))
    assert not home.lets_in(bearer(reply))
    assert not refreshes(home, reply)
    assert home.lets_in(bearer(login(home)))


def test_deleting_a_user_ends_all_that_was_theirs(home: House) -> None:
    reply = login(home)
    key = home.run(home.directory.user_keys.create(reply["user_id"], "laptop"))["key"]
    assert home.lets_in({"apiKey": key})
    home.run(home.directory.delete(reply["user_id"]))
    assert not home.lets_in(bearer(reply))
    assert not refreshes(home, reply)
    assert not home.lets_in({"apiKey": key})
    assert not home.lets_in({"email": EMAIL, "password": PASSWORD})


def test_the_life_of_a_session_is_a_setting(tmp_path: Path) -> None:
    with house(tmp_path / "data", providers=ON, refresh_token_seconds=1800) as home:
        home.account()
        reply = login(home)
        claims = jwt.decode(reply["refresh_token"], options={"verify_signature": False})
        assert claims["exp"] - claims["iat"] == 1800
        (session,) = home.run(home.directory.sessions.of(reply["user_id"]))
        assert 1799 < (session["expires"] - session["created"]).total_seconds() < 1801


def test_a_refresh_token_is_no_access_token_and_the_other_way_round(home: House) -> None:
    reply = login(home)
    assert not home.lets_in(bearer(reply, "refresh"))
    answer = home.app.call("POST", "/auth/session", headers=bearer(reply))
    assert (answer.status, answer.json["error"]) == (401, "invalid refresh token: incorrect token type")


def test_changes_are_audited_with_whom_they_are_about(tmp_path: Path) -> None:
    file = tmp_path / "audit.log"
    with house(tmp_path / "data", providers=ON, audit_file=file) as home:
        user_id = home.account()
        login(home)
        home.login("local-userpass", username=EMAIL, password="wrong horse")
        home.run(home.directory.set_disabled(user_id, True))
        home.run(home.directory.keys.create("app"))
    text = file.read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    told = [(line["action"], line["outcome"], line.get("target")) for line in lines]
    for expected in (
        ("createUser", "allowed", EMAIL),
        ("login", "allowed", f"local-userpass {EMAIL}"),
        ("login", "denied", f"local-userpass {EMAIL}"),
        ("disableUser", "allowed", user_id),
        ("createKey", "allowed", "app"),
    ):
        assert expected in told
    for secret in (PASSWORD, "wrong horse", "$argon2", "dl_"):
        assert secret not in text


def test_a_renewed_session_has_the_custom_data_of_that_moment(tmp_path: Path) -> None:
    where = {"database": "app", "collection": "people", "user_id_field": "owner"}
    with application(tmp_path, providers=("api-key", "anon-user"), custom_user_data=where) as app:
        session = app.call("POST", "/auth/providers/anon-user/login", b"{}").json
        place = {"database": "app", "collection": "people"}
        for team in ("red", "blue", "green"):
            update = {"filter": {"owner": session["user_id"]}, "update": {"$set": {"team": team}}, "upsert": True}
            assert app.act("updateOne", {**place, **update}).status == 200
            bearer = {"Authorization": f"Bearer {session['refresh_token']}"}
            token = app.call("POST", "/auth/session", b"", bearer).json["access_token"]
            claims = jwt.decode(token, options={"verify_signature": False})
            assert claims["user_data"]["team"] == team
            profile = app.call("GET", "/api/client/v2.0/auth/profile", b"", {"Authorization": f"Bearer {token}"})
            assert profile.json["custom_data"]["team"] == team
