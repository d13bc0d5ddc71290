"""Attempts with tokens of our own: access and refresh tokens that are none, sessions that are over, others' keys."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from issuing import (
    ACTION,
    EMAIL,
    FAR,
    FIND,
    LOGIN,
    PASSWORD,
    PROFILE,
    SESSION,
    Issuer,
    believing,
    issuing,
    json_of,
    part,
    parts,
    shown,
    signed_by_hand,
)
from red_team import Target


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    with issuing() as running:
        yield running


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, issuer: Issuer) -> Iterator[Target]:
    with believing(issuer, tmp_path_factory.mktemp("red-team")) as under_attack:
        yield under_attack


def _begin(server: Target, provider: str = "anon-user", body: Mapping[str, Any] | None = None) -> dict[str, Any]:
    answer = server.call("POST", LOGIN.format(provider), body or {})
    assert answer.status == 200, answer.body
    session: dict[str, Any] = answer.json
    return session


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def _let_in(server: Target, token: str) -> set[int]:
    """The statuses of the calls that take an access token."""
    calls = (("POST", ACTION, json.dumps(FIND).encode()), ("GET", PROFILE, b""))
    return {server.call(method, path, body, _bearer(token)).status for method, path, body in calls}


def _changed(token: str, **claims: Any) -> str:
    header, content, signature = token.split(".")
    return f"{header}.{part({**json_of(content), **claims})}.{signature}"


def _resigned(token: str, secret: str, **claims: Any) -> str:
    return signed_by_hand(secret, {**parts(token)[1], **claims})


BORROWED: dict[str, Callable[[dict[str, Any]], str]] = {
    "a refresh token": lambda session: session["refresh_token"],
    "another user": lambda session: _changed(session["access_token"], sub="0" * 24),
    "another provider": lambda session: _changed(session["access_token"], provider="system"),
    "another end": lambda session: _changed(session["access_token"], exp=FAR),
    "a refresh token called access": lambda session: _changed(session["refresh_token"], typ="access"),
    "no algorithm": lambda session: f"{part({'alg': 'none'})}.{session['access_token'].split('.')[1]}.",
    "no signature": lambda session: session["access_token"].rpartition(".")[0] + ".",
    "an empty secret": lambda session: _resigned(session["access_token"], ""),
    "a secret that anybody would try": lambda session: _resigned(session["access_token"], "secret"),
    "a secret of blanks": lambda session: _resigned(session["access_token"], " " * 32),
    "the header of another algorithm": lambda session: (
        f"{part({'alg': 'HS512', 'typ': 'JWT'})}.{session['access_token'].partition('.')[2]}"
    ),
    "half a token": lambda session: session["access_token"][:-10],
    "the user's id": lambda session: session["user_id"],
    "two tokens": lambda session: f"{session['access_token']} {session['access_token']}",
    "two tokens in a list": lambda session: f"{session['access_token']},{session['refresh_token']}",
}


@pytest.mark.parametrize("name", BORROWED)
def test_access_tokens_that_are_none(server: Target, name: str) -> None:
    session = _begin(server)
    assert _let_in(server, session["access_token"]) == {200}
    assert _let_in(server, BORROWED[name](session)) == {401}


@pytest.mark.parametrize("method", ["POST", "DELETE"])
def test_refresh_tokens_that_are_none(server: Target, method: str) -> None:
    session = _begin(server)
    refresh = session["refresh_token"]
    wrong = [
        session["access_token"],
        _changed(session["access_token"], typ="refresh"),
        _changed(refresh, sub="0" * 24),
        _changed(refresh, iss="0" * 24),
        _resigned(refresh, "secret"),
        f"{part({'alg': 'none'})}.{refresh.split('.')[1]}.",
        refresh[:-10],
        "",
    ]
    for token in wrong:
        for path in (SESSION, "/api/client/v2.0/auth/session"):
            server.require_refused(server.call(method, path, b"", _bearer(token)), (401,))
    assert server.call("POST", SESSION, b"", _bearer(refresh)).status in (200, 201)


def test_a_session_that_ended_is_over(server: Target) -> None:
    session, other = _begin(server), _begin(server)
    access, refresh = session["access_token"], session["refresh_token"]
    assert server.call("DELETE", SESSION, b"", _bearer(refresh)).status == 204
    assert _let_in(server, access) == {401}
    assert server.call("POST", SESSION, b"", _bearer(refresh)).status == 401
    assert server.call("DELETE", SESSION, b"", _bearer(refresh)).status == 401
    assert _let_in(server, other["access_token"]) == {200}


def test_a_key_that_ended_takes_its_sessions_along(server: Target) -> None:
    for end in ({"disabled": True}, None):
        made = server.call("POST", "/api/admin/v1/keys", {"name": "short-lived"}, key="root")
        assert made.status == 201, made.body
        session = _begin(server, "api-key", {"key": made.json["key"]})
        assert _let_in(server, session["access_token"]) == {200}
        if end is None:
            ended = server.call("POST", "/api/admin/v1/keys/short-lived/revoke", {}, key="root")
        else:
            ended = server.call("PATCH", "/api/admin/v1/keys/short-lived", end, key="root")
        assert ended.status == 200, ended.body
        assert _let_in(server, session["access_token"]) == {401}
        assert server.call("POST", SESSION, b"", _bearer(session["refresh_token"])).status == 401
        assert server.call("POST", ACTION, FIND, {"apiKey": made.json["key"]}).status == 401
        assert server.call("DELETE", "/api/admin/v1/keys/short-lived", b"", key="root").status == 204


def test_a_key_that_was_rotated_takes_its_sessions_along(server: Target) -> None:
    """Keys are rotated because somebody else may have them: what was begun with the old one must end as well."""
    made = server.call("POST", "/api/admin/v1/keys", {"name": "rotated"}, key="root").json
    session = _begin(server, "api-key", {"key": made["key"]})
    rotated = server.call("POST", "/api/admin/v1/keys/rotated/rotate", {}, key="root")
    assert rotated.status == 200
    assert server.call("POST", ACTION, FIND, {"apiKey": made["key"]}).status == 401
    assert _let_in(server, session["access_token"]) == {401}
    assert server.call("POST", SESSION, b"", _bearer(session["refresh_token"])).status == 401
    fresh = _begin(server, "api-key", {"key": rotated.json["key"]})
    assert _let_in(server, fresh["access_token"]) == {200}
    assert server.call("DELETE", "/api/admin/v1/keys/rotated", b"", key="root").status == 204


def test_users_that_are_gone_are_nobody(server: Target, issuer: Issuer) -> None:
    token = issuer.token({"sub": "leaver"})
    session = _begin(server, "custom-token", {"token": token})
    user = f"/api/admin/v1/users/{session['user_id']}"
    assert server.call("POST", f"{user}/disable", {}, key="root").status in (200, 204)
    assert _let_in(server, session["access_token"]) == {401}
    for answer in shown(server, token):
        server.require_refused(answer, (401,))
    assert server.call("POST", SESSION, b"", _bearer(session["refresh_token"])).status == 401


def test_a_new_password_ends_what_the_old_one_began(server: Target) -> None:
    session = _begin(server, "local-userpass", {"username": EMAIL, "password": PASSWORD})
    headers = {"email": EMAIL, "password": PASSWORD}
    assert server.call("POST", ACTION, FIND, headers).status == 200
    path = f"/api/admin/v1/users/{session['user_id']}/reset-password"
    assert server.call("POST", path, {"password": "another battery"}, key="root").status in (200, 204)
    assert _let_in(server, session["access_token"]) == {401}
    assert server.call("POST", SESSION, b"", _bearer(session["refresh_token"])).status == 401
    assert server.call("POST", ACTION, FIND, headers).status == 401


# --- keys of one's own -----------------------------------------------------------------------------------------------

OWN_KEYS = "/api/client/v2.0/auth/api_keys"


def test_nobody_has_keys_of_anothers(server: Target, issuer: Issuer) -> None:
    ann, eve = (_begin(server, "custom-token", {"token": issuer.token({"sub": name})}) for name in ("ann", "eve"))
    anonymous, service = _begin(server), _begin(server, "api-key", {"key": server.keys["red"]})
    made = server.call("POST", OWN_KEYS, {"name": "mine"}, _bearer(ann["refresh_token"]))
    assert made.status == 201, made.body
    path = f"{OWN_KEYS}/{made.json['_id']}"
    for method, target_path in (("GET", path), ("DELETE", path), ("PUT", f"{path}/disable"), ("PUT", f"{path}/enable")):
        for token, statuses in (
            (eve["refresh_token"], (404,)),
            (ann["access_token"], (401,)),
            (anonymous["refresh_token"], (403,)),
            (service["refresh_token"], (403,)),
        ):
            server.require_refused(server.call(method, target_path, b"", _bearer(token)), statuses)
    assert server.call("GET", OWN_KEYS, b"", _bearer(eve["refresh_token"])).json == []
    for name in ({"$ne": 1}, "", "a" * 101, "a\n", "../x", 5, None):
        server.require_refused(server.call("POST", OWN_KEYS, {"name": name}, _bearer(eve["refresh_token"])), (400,))
    own = {"apiKey": made.json["key"]}
    assert len(server.call("POST", ACTION, FIND, own).json["documents"]) == 2
    server.require_refused(server.call("GET", "/api/admin/v1/keys", b"", own), (403,))


def test_the_secret_of_the_tokens_is_nobodys_business(server: Target) -> None:
    folder = server.audit.parent / "data"
    secret = folder / "token.secret"
    assert secret.stat().st_mode & 0o077 == 0
    text = secret.read_text()
    assert text not in server.server.output() + server.audit.read_text()


def test_there_are_enough_attempts_with_tokens_of_our_own() -> None:
    assert len(BORROWED) >= 15
