"""A key that is limited in anything manages nothing, however it is shown; one that is not manages everything."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from typing import Any

import jwt
import orjson
import pytest
from admin_app import ADMIN, administered, ask, ok, refused
from asgi import Answer, Application, application
from limited import make_key
from test_admin_api import ROUTES

TOMORROW = (datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=1)).isoformat()
LIMITS: dict[str, dict[str, Any]] = {
    "data_sources": {"data_sources": ["default"]},
    "databases": {"databases": ["shop"]},
    "collections": {"collections": ["shop.notes"]},
    "actions": {"actions": ["read", "write", "admin"]},
    "addresses": {"addresses": ["127.0.0.0/8"]},
    "everywhere": {"addresses": ["0.0.0.0/0", "::/0"]},
    "rate": {"rate": "1000000/second"},
    "quotas": {"quotas": {"requests_per_day": 1_000_000}},
    "no quota": {"quotas": {"requests_per_day": 0}},
    "expires": {"expires": TOMORROW},
}
"""Whatever makes a key limited, so wide that it is in nobody's way."""

BODIES: dict[tuple[str, str], Any] = {
    ("POST", "/keys"): {"name": "x", "admin": True},
    ("PATCH", "/keys/k"): {"addresses": None, "rate": None, "quotas": None, "expires": None},
    ("POST", "/users"): {"email": "eve@example.com", "password": "sesame-7"},
    ("POST", "/users/u/reset-password"): {"password": "sesame-7"},
    ("POST", "/accounts/confirm"): {"email": "eve@example.com"},
    ("POST", "/explain"): {"action": "find", "as": "k", "body": {"database": "shop", "collection": "notes"}},
}
WIDE = ("addresses", "everywhere", "rate", "quotas", "no quota", "expires", "retiring", "retiring session")


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Application]:
    with administered(tmp_path_factory.mktemp("limited")) as running:
        yield running


@pytest.fixture(scope="module")
def keys(app: Application) -> dict[str, dict[str, str]]:
    """How each limited key is shown: as headers, by the name of its limit; those of sessions beside them."""
    shown = {}
    for number, (name, rights) in enumerate(LIMITS.items()):
        body = {"name": f"limited-{number}", "admin": True, **rights}
        key = ok(app, "POST", "/keys", body, status=201)["key"]
        shown[name] = {"apiKey": key}
        shown[f"{name} session"] = session(app, key)
    old = ok(app, "POST", "/keys", {"name": "turning", "admin": True}, status=201)["key"]
    ok(app, "POST", "/keys/turning/rotate", {"overlap_seconds": 3600})
    shown["retiring"], shown["retiring session"] = {"apiKey": old}, session(app, old)
    return shown


def session(app: Application, key: str) -> dict[str, str]:
    answer = app.call("POST", "/auth/providers/api-key/login", orjson.dumps({"key": key}))
    assert answer.status == 200, answer.body
    renewed = app.call("POST", "/auth/session", b"", {"Authorization": f"Bearer {answer.json['refresh_token']}"})
    assert renewed.status == 200, renewed.body
    return {"Authorization": f"Bearer {renewed.json['access_token']}"}


def manage(app: Application, route: tuple[str, str], headers: dict[str, str]) -> Answer:
    body = BODIES.get(route)
    return app.call(route[0], f"{ADMIN}{route[1]}", b"" if body is None else orjson.dumps(body), headers)


SHOWN = [shown for name in (*LIMITS, "retiring") for shown in (name, f"{name} session")]


@pytest.mark.parametrize("shown", SHOWN)
def test_a_limited_key_manages_nothing(app: Application, keys: dict[str, dict[str, str]], shown: str) -> None:
    before = ask(app, "GET", "/keys").json["keys"]
    for route in ROUTES:
        refused(manage(app, route, keys[shown]), 403, "PermissionDenied", "limited in nothing")
    after = ask(app, "GET", "/keys").json["keys"]
    for key in (*before, *after):
        key.pop("last_used")
    assert after == before
    assert not {"x", "k"} & {key["name"] for key in after}
    assert "eve@example.com" not in ask(app, "GET", "/users").body.decode()
    # It is good for what it is for.
    found = app.call("POST", "/data/v1/action/find", b'{"database": "shop", "collection": "notes"}', keys[shown])
    assert found.status == 200, found.body


def test_metrics_take_a_key_that_reads_everything(app: Application, keys: dict[str, dict[str, str]]) -> None:
    for shown, headers in keys.items():
        answer = app.call("GET", "/metrics", b"", headers)
        if shown in WIDE or shown.removesuffix(" session") in WIDE:
            assert answer.status == 200, shown
        else:
            refused(answer, 403, "PermissionDenied", "may read everything")
            assert b"doorleaf_" not in answer.body


def test_an_unlimited_key_manages(app: Application) -> None:
    made = ok(app, "POST", "/keys", {"name": "second", "admin": True}, status=201)["key"]
    for headers in ({"apiKey": made}, session(app, made)):
        assert manage(app, ("GET", "/keys"), headers).status == 200
    assert ask(app, "POST", "/keys", {"name": "third", "admin": True}, key=made).status == 201
    # A limit that is put on it counts at once, and so does taking it off.
    ok(app, "PATCH", "/keys/second", {"rate": "1000/second"})
    refused(ask(app, "POST", "/keys", {"name": "fourth", "admin": True}, key=made), 403, "PermissionDenied")
    ok(app, "PATCH", "/keys/second", {"rate": None})
    assert ask(app, "POST", "/keys", {"name": "fourth", "admin": True}, key=made).status == 201


def test_a_session_of_a_text_that_retires_ends_with_it(app: Application) -> None:
    old = ok(app, "POST", "/keys", {"name": "passing", "admin": True}, status=201)["key"]
    new = ok(app, "POST", "/keys/passing/rotate", {"overlap_seconds": 3600})["key"]
    ends = {}
    for text in (old, new):
        tokens = app.call("POST", "/auth/providers/api-key/login", orjson.dumps({"key": text})).json
        for kind in ("access_token", "refresh_token"):
            claims = jwt.decode(tokens[kind], options={"verify_signature": False})
            ends[text, kind] = claims["exp"] - claims["iat"]
    assert 3500 < ends.pop((old, "refresh_token")) <= 3600
    assert list(ends.values()) == [1800, 1800, 60 * 86_400]
    # Another rotation ends what the text before the last one began.
    bearer = session(app, old)
    assert app.call("GET", "/metrics", b"", bearer).status == 200
    ok(app, "POST", "/keys/passing/rotate", {})
    assert app.call("GET", "/metrics", b"", bearer).status == 401


def test_a_key_begins_no_session_from_elsewhere(tmp_path: Any) -> None:
    key = make_key(tmp_path, "bound", addresses=["192.0.2.0/24"], rate="4/day")
    with application(tmp_path, trusted_proxies=("127.0.0.1",), login_rate="") as app:
        body = orjson.dumps({"key": key})

        def log_in(address: str) -> Answer:
            return app.call("POST", "/auth/providers/api-key/login", body, {"X-Forwarded-For": address})

        for address in ("198.51.100.7", "192.0.3.1", "2001:db8::1"):
            refused(log_in(address), 403, "AddressNotAllowed", "may not be used from this address")
        tokens = log_in("192.0.2.7").json
        renewal = {"Authorization": f"Bearer {tokens['refresh_token']}"}
        stolen = app.call("POST", "/auth/session", b"", {**renewal, "X-Forwarded-For": "198.51.100.7"})
        refused(stolen, 403, "AddressNotAllowed")
        assert app.call("POST", "/auth/session", b"", {**renewal, "X-Forwarded-For": "192.0.2.9"}).status == 200
        # Logins and renewals are requests of the key: two were let in, and its rate is four.
        assert [log_in("192.0.2.7").status for _ in range(3)] == [200, 200, 429]
