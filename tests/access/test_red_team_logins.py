"""Attempts to log in, to learn who has an account, to call functions, and to write into the audit."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from argon2 import PasswordHasher
from asgi import application
from red_team import Target, target

ACTION = "/data/v1/action"
LOGIN = "/auth/providers/{}/login"
APP = "/api/client/v2.0/app/shop-abcde"
CLIENT = f"{APP}/auth/providers/local-userpass"
EMAIL, PASSWORD = "ann@shop.example", "correct horse battery"
FIND = b'{"database":"shop","collection":"open","limit":1}'


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    settings: dict[str, Any] = {
        "app_ids": ["shop-abcde"],
        "providers": ["api-key", "local-userpass", "anon-user"],
        "auto_confirm": True,
    }
    with target(tmp_path_factory.mktemp("red-team"), **settings) as under_attack:
        made = under_attack.call("POST", f"{CLIENT}/register", {"email": EMAIL, "password": PASSWORD})
        assert made.status == 201, made.body
        yield under_attack


# --- logins ----------------------------------------------------------------------------------------------------------

LOGINS: dict[str, tuple[str, Any]] = {
    "a key that is an operator": ("api-key", {"key": {"$ne": None}}),
    "a key that is a pattern": ("api-key", {"key": {"$regex": "^dl_"}}),
    "a key that is true": ("api-key", {"key": True}),
    "a key in an array": ("api-key", {"key": ["x"]}),
    "no key": ("api-key", {}),
    "the name of a key": ("api-key", {"key": "red"}),
    "a name that is an operator": ("local-userpass", {"username": {"$gt": ""}, "password": PASSWORD}),
    "a password that is an operator": ("local-userpass", {"username": EMAIL, "password": {"$gt": ""}}),
    "both operators": ("local-userpass", {"username": {"$ne": 1}, "password": {"$ne": 1}}),
    "a password in an array": ("local-userpass", {"username": EMAIL, "password": [PASSWORD]}),
    "a password that is null": ("local-userpass", {"username": EMAIL, "password": None}),
    "a password that is 0": ("local-userpass", {"username": EMAIL, "password": 0}),
    "a name with a NUL": ("local-userpass", {"username": EMAIL + "\0", "password": PASSWORD}),
    "a name of half characters": ("local-userpass", {"username": "\ud800", "password": PASSWORD}),
    "a password of half characters": ("local-userpass", {"username": EMAIL, "password": "\udfff"}),
    "a name in full-width letters": ("local-userpass", {"username": "\uff41nn@shop.example", "password": PASSWORD}),
    "a name in capitals": ("local-userpass", {"username": EMAIL.upper(), "password": PASSWORD}),
    "a password that is long": ("local-userpass", {"username": EMAIL, "password": PASSWORD * 2000}),
    "a device that is an operator": ("anon-user", {"options": {"device": {"deviceId": {"$ne": 1}}}}),
    "a device with a path": ("anon-user", {"options": {"device": {"deviceId": "../../x"}}}),
    "a provider that is off": ("custom-token", {"token": "e30.e30."}),
    "a provider that does not exist": ("oauth2-google", {"authCode": "x"}),
    "a provider of Python's": ("__class__", {}),
    "a provider with a path": ("api-key%2f..%2fanon-user", {}),
}


@pytest.mark.parametrize("name", LOGINS)
def test_logins_that_begin_nothing(server: Target, name: str) -> None:
    provider, body = LOGINS[name]
    answer = server.call("POST", LOGIN.format(provider), body)
    server.require_refused(answer, (400, 401, 404, 413))
    assert b"token" not in answer.body.replace(b"custom-token", b"")


def test_nobody_learns_who_has_an_account(server: Target) -> None:
    """The same answer to the byte, for an account and for none, in every way to show a password."""
    for path in (LOGIN.format("local-userpass"), f"{CLIENT}/login"):
        known = server.call("POST", path, {"username": EMAIL, "password": "wrong password"})
        unknown = server.call("POST", path, {"username": "nobody@shop.example", "password": "wrong password"})
        assert known.status == unknown.status == 401
        assert known.body == unknown.body
    known = server.call("POST", f"{ACTION}/find", FIND, {"email": EMAIL, "password": "wrong password"})
    unknown = server.call("POST", f"{ACTION}/find", FIND, {"email": "nobody@shop.example", "password": "wrong"})
    assert (known.status, known.body) == (unknown.status, unknown.body) == (401, known.body)
    for path in ("reset/send", "confirm/send"):  # there is no mail server, which is the answer for everybody
        known, unknown = (
            server.call("POST", f"{CLIENT}/{path}", {"email": email}) for email in (EMAIL, "nobody@shop.example")
        )
        assert (known.status, known.body) == (unknown.status, unknown.body) == (400, known.body)
    for body in ({"token": "x", "tokenId": "y"}, {"token": {"$ne": 1}, "tokenId": {"$ne": 1}}):
        server.require_refused(server.call("POST", f"{CLIENT}/confirm", body), (400,))
        server.require_refused(server.call("POST", f"{CLIENT}/reset", {**body, "password": PASSWORD}), (400,))


def test_a_login_costs_the_same_whoever_it_names(tmp_path: Path) -> None:
    """One password is verified for an account, for none and for one that is locked; nothing is measured."""
    code, seen = PasswordHasher.verify.__code__, []

    def watch(frame: FrameType, event: str, _: Any) -> None:
        if event == "call" and frame.f_code is code:
            seen.append(event)

    threading.setprofile(watch)  # of threads that begin from here on, which is where passwords are verified
    try:
        with application(tmp_path, providers=["local-userpass", "api-key"], auto_confirm=True, login_rate="") as app:
            register = json.dumps({"email": EMAIL, "password": PASSWORD}).encode()
            assert app.call("POST", f"{CLIENT}/register", register).status == 201
            for name in [EMAIL, "nobody@shop.example", "no address", *[EMAIL] * 7, "nobody@shop.example"]:
                seen.clear()
                body = json.dumps({"username": name, "password": "wrong password"}).encode()
                assert app.call("POST", LOGIN.format("local-userpass"), body).status == 401
                assert len(seen) == 1, name
    finally:
        threading.setprofile(None)


def test_guesses_at_one_account_do_not_lock_another(server: Target) -> None:
    path, other = LOGIN.format("local-userpass"), "ben@shop.example"
    assert server.call("POST", f"{CLIENT}/register", {"email": other, "password": PASSWORD}).status == 201
    for number in range(8):
        server.require_refused(server.call("POST", path, {"username": other, "password": f"guess {number}"}), (401,))
    assert server.call("POST", path, {"username": EMAIL, "password": PASSWORD}).status == 200


# --- functions -------------------------------------------------------------------------------------------------------

OF_ORDERS = {"database": "shop", "collection": "orders"}

FUNCTIONS: dict[str, dict[str, Any]] = {
    "no service": {"name": "find", "arguments": [OF_ORDERS]},
    "a service that is an operator": {"name": "find", "service": {"$ne": 1}, "arguments": [OF_ORDERS]},
    "a function that is an operator": {"name": {"$ne": 1}, "service": "main", "arguments": [OF_ORDERS]},
    "a function of Python's": {"name": "__class__", "service": "main", "arguments": [OF_ORDERS]},
    "a command": {"name": "runCommand", "service": "main", "arguments": [{**OF_ORDERS, "command": {"ping": 1}}]},
    "a bulk": {"name": "bulkWrite", "service": "main", "arguments": [{**OF_ORDERS, "operations": []}]},
    "all databases": {"name": "listDatabases", "service": "main", "arguments": [{}]},
    "two arguments": {"name": "find", "service": "main", "arguments": [OF_ORDERS, OF_ORDERS]},
    "an argument that is an array": {"name": "find", "service": "main", "arguments": [[OF_ORDERS]]},
    "another data source in the argument": {
        "name": "find",
        "service": "main",
        "arguments": [{**OF_ORDERS, "dataSource": "other"}],
    },
    "a collection without rules": {
        "name": "find",
        "service": "main",
        "arguments": [{**OF_ORDERS, "collection": "vault"}],
    },
    "the system database": {
        "name": "find",
        "service": "main",
        "arguments": [{"database": "doorleaf", "collection": "keys"}],
    },
    "the system database, joined": {
        "name": "aggregate",
        "service": "main",
        "arguments": [{**OF_ORDERS, "pipeline": [{"$unionWith": {"db": "doorleaf", "coll": "keys"}}]}],
    },
    "a hidden field": {"name": "find", "service": "main", "arguments": [{**OF_ORDERS, "project": {"secret": 1}}]},
    "a hidden field in the query": {
        "name": "count",
        "service": "main",
        "arguments": [{**OF_ORDERS, "query": {"secret": {"$gt": ""}}}],
    },
    "distinct hidden values": {"name": "distinct", "service": "main", "arguments": [{**OF_ORDERS, "field": "secret"}]},
    "a query under two names": {
        "name": "find",
        "service": "main",
        "arguments": [{**OF_ORDERS, "query": {"tenant": "red"}, "filter": {"tenant": "blue"}}],
    },
    "changes of others": {"name": "watch", "service": "main", "arguments": [OF_ORDERS]},
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_that_do_nothing(server: Target, name: str) -> None:
    login = server.call("POST", LOGIN.format("api-key"), {"key": server.keys["red"]})
    bearer = {"Authorization": f"Bearer {login.json['access_token']}"}
    before = server.everything()
    path = f"{APP}/functions/call"
    server.require_refused(server.call("POST", path, FUNCTIONS[name], bearer), (400, 403, 404))
    server.require_refused(server.call("POST", path, FUNCTIONS[name], key="root"), (401,))
    server.require_refused(server.call("POST", path, FUNCTIONS[name]), (401,))
    assert server.everything() == before


# --- what is written down ---------------------------------------------------------------------------------------------


def test_nobody_writes_lines_of_their_own_into_the_audit_or_the_log(server: Target) -> None:
    forged = '\n{"action":"createKey","outcome":"allowed","caller":"forged"}\r\n\u2028forged'
    place = {"database": f"shop{forged}", "collection": f"orders{forged}"}
    for action in ("find", "insertOne", "runCommand"):
        body = {**place, "document": {}, "command": {f"ping{forged}": 1}}
        server.require_refused(server.act(action, body, "red"), (400, 403))
    server.call("POST", LOGIN.format("local-userpass"), {"username": f"ann{forged}", "password": "wrong password"})
    server.call("POST", LOGIN.format(f"x%0A{'forged'}"), b"{}")
    server.call("POST", f"{ACTION}/find%0Aforged", FIND, {"X-Request-Id": "a b forged"}, key="red")
    server.call("GET", "/api/admin/v1/keys/red%0A%7B%22action%22:%22forged%22%7D", key="root")
    lines = server.audit.read_text().split("\n")[:-1]
    events = [json.loads(line) for line in lines]
    assert len(events) > 3
    assert not [
        event for event in events if event["action"] in ("createKey", "forged") or event.get("caller") == "forged"
    ]
    written = server.audit.read_text() + server.server.output()
    for secret in (*server.keys.values(), PASSWORD, "wrong password", "guess 1", "argon2id$"):
        assert secret not in written
    for line in server.server.output().split("\n"):
        if line.startswith("{"):
            assert set(json.loads(line)) >= {"time", "level", "message"}
        assert not line.startswith("forged")


def test_there_are_enough_attempts() -> None:
    assert len(LOGINS) + len(FUNCTIONS) >= 40
