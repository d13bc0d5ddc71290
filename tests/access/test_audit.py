"""The audit: what has to be in it, what must never be, and what becomes of its file and its collection."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from asgi import KEY, Application, application
from limited import Clock, make_key, on_store

from doorleaf.access import audit as audit_module
from doorleaf.access.audit import COLLECTION, Audit, AuditCollection, AuditFile
from doorleaf.access.callers import Credentials, Identity
from doorleaf.access.system_store import SystemStore
from doorleaf.dialects.base import Request
from doorleaf.errors import DuplicateKey, PermissionDenied, TooManyRequests, Unauthenticated
from doorleaf.observability import Audited
from doorleaf.operations import ListIndexes, Namespace
from doorleaf.stores.embedded.store import EmbeddedStore

PLACE = {"database": "shop", "collection": "things"}
CALLER = Identity(id="a" * 24, kind="server", provider="api-key", admin=True, key_name="app")
SECRET = "hunter2-horse-battery"


def lines(file: Path) -> list[dict[str, Any]]:
    """What the file says; every line is one whole object."""
    content = file.read_bytes()
    assert content == b"" or content.endswith(b"\n")
    return [orjson.loads(line) for line in content.splitlines()]


def since(file: Path, before: int) -> list[dict[str, Any]]:
    """The lines after the first ``before``, without their times, requests and addresses, which all must have."""
    found = lines(file)[before:]
    for line in found:
        assert line.pop("time")[-1] == "Z"
        assert line.pop("request")
        assert line.pop("address") == "127.0.0.1"
    return found


# --- events --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "outcome", "code"),
    [
        (None, "allowed", ""),
        (Unauthenticated("x"), "denied", "InvalidSession"),
        (PermissionDenied("x", code="FieldNotReadable"), "denied", "FieldNotReadable"),
        (TooManyRequests("x"), "denied", "TooManyRequests"),
        (DuplicateKey("x"), "failed", "DuplicateKey"),
    ],
)
def test_outcomes(error: Any, outcome: str, code: str) -> None:
    seen: list[Audited] = []
    audit = Audit(observers=[seen.append], clock=Clock())
    audit("insertOne", identity=CALLER, namespace="a.b", error=error, counts={"inserted": 1})
    (event,) = seen
    assert event == Audited(
        *(1_800_000_000.0, "insertOne", outcome, code, "a.b"),
        caller="a" * 24,
        key="app",
        provider="api-key",
        counts={"inserted": 1},
    )


def test_a_request_that_failed_is_known_to_be_accounted_for() -> None:
    seen: list[Audited] = []
    audit, request = Audit(observers=[seen.append]), Request("POST", "/", {}, "192.0.2.7", "r1")
    audit("createKey", by=request)
    assert not request.audited
    audit("createKey", error=PermissionDenied("x"), by=request)
    audit("createKey", by=request)
    assert request.audited
    assert {(event.address, event.request, event.caller) for event in seen} == {("192.0.2.7", "r1", "")}


def test_who_runs_as_somebody_else_is_still_who_they_are() -> None:
    seen: list[Audited] = []
    Audit(observers=[seen.append])("find", identity=replace(CALLER, id="0" * 24, caller=CALLER.id))
    assert (seen[0].caller, seen[0].key, seen[0].runs_as) == (CALLER.id, "app", "0" * 24)


def test_without_observers_nothing_happens() -> None:
    request = Request("POST", "/", {})
    Audit()("find", error=PermissionDenied("x"), by=request)
    assert not request.audited


def test_texts_of_callers_are_bounded_and_harmless(tmp_path: Path) -> None:
    file = AuditFile(tmp_path / "audit")
    audit = Audit(file=file, provider="command line")
    audit("login", target="x" * 5000 + "\n", namespace='a\n{"action": "forged"}\ud800')
    asyncio.run(audit.stop())
    (line,) = lines(tmp_path / "audit")
    assert len(line["target"]) == 300
    assert line["namespace"] == 'a\n{"action": "forged"}?'
    assert (line["action"], line["provider"]) == ("login", "command line")
    assert set(line) == {"time", "action", "outcome", "namespace", "target", "provider"}


# --- the file ------------------------------------------------------------------------------------------------------


def test_the_file_is_appended_to_and_is_private(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    for number in range(2):
        file = AuditFile(path)
        Audit(file=file)(f"turn{number}")
        file.close()
    assert [line["action"] for line in lines(path)] == ["turn0", "turn1"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_rotated_file_is_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, old = tmp_path / "audit.jsonl", tmp_path / "audit.jsonl.1"
    file = AuditFile(path)
    audit = Audit(file=file)
    audit("one")
    path.rename(old)
    audit("two")  # within a second it still goes where it went
    monkeypatch.setattr(audit_module, "LOOK_SECONDS", 0.0)
    audit("three")
    path.rename(tmp_path / "audit.jsonl.2")
    path.touch()
    audit("four")
    path.write_bytes(b"")  # copied and truncated
    audit("five")
    file.close()
    assert [line["action"] for line in lines(old)] == ["one", "two"]
    assert [line["action"] for line in lines(tmp_path / "audit.jsonl.2")] == ["three"]
    assert [line["action"] for line in lines(path)] == ["five"]


def test_reopening_opens_the_file_anew(tmp_path: Path) -> None:
    path, old = tmp_path / "audit.jsonl", tmp_path / "audit.jsonl.1"

    async def run() -> None:
        audit = Audit(file=AuditFile(path))
        await audit.start()
        audit("one")
        path.rename(old)
        audit.reopen()
        audit("two")
        await audit.stop()

    asyncio.run(run())
    assert [line["action"] for line in lines(old)] == ["one"]
    assert [line["action"] for line in lines(path)] == ["two"]


@pytest.mark.parametrize("path", ["absent/audit.jsonl", "."])
def test_a_file_that_cannot_be_written_ends_the_start(tmp_path: Path, path: str) -> None:
    with (
        pytest.raises(ValueError, match=r"audit_file: cannot write .*: (No such file or directory|Is a directory)"),
        application(tmp_path / "data", audit_file=tmp_path / path),
    ):
        pass


def test_a_file_that_fails_later_stops_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    file = AuditFile(tmp_path / "audit")
    file.close()
    file._file = writing
    audit = Audit(file=file)
    for _ in range(3):
        audit("find")
    file.close()
    assert caplog.text.count("the audit file cannot be written, and events are lost: Broken pipe") == 1


# --- the collection ------------------------------------------------------------------------------------------------


def test_the_collection_holds_the_same_and_ends_it(tmp_path: Path) -> None:
    async def scenario(system: SystemStore) -> None:
        for days in (30, 7):  # another number replaces the index
            collection = AuditCollection(system, days)
            await collection.start()
            audit = Audit(collection=collection, clock=Clock())
            audit("find", identity=CALLER, namespace="a.b", error=PermissionDenied("x", code="FieldNotReadable"))
            await audit.stop()
        documents = await system.find(COLLECTION, {})
        assert len(documents) == 2
        first = documents[0]
        first.pop("_id")
        assert first.pop("time").year == 2027
        assert first == {
            "action": "find",
            "outcome": "denied",
            "error_code": "FieldNotReadable",
            "namespace": "a.b",
            "caller": "a" * 24,
            "key": "app",
            "provider": "api-key",
        }
        indexes = await system._store.execute(ListIndexes(namespace=Namespace("doorleaf", COLLECTION)))
        assert [index.get("expireAfterSeconds") for index in indexes.indexes] == [None, 7 * 86_400]

    on_store(tmp_path, scenario)


def test_a_batch_that_was_written_already_is_not_written_twice(tmp_path: Path) -> None:
    async def scenario(system: SystemStore) -> None:
        collection = AuditCollection(system, 30)
        audit = Audit(collection=collection)
        for number in range(1200):
            audit(f"turn{number}")
        await system.insert_many(COLLECTION, [collection._waiting[index] for index in (0, 1, 700)])
        await collection.flush()
        assert sorted(document["action"] for document in await system.find(COLLECTION, {})) == sorted(
            f"turn{number}" for number in range(1200)
        )

    on_store(tmp_path, scenario)


def test_a_database_that_is_away_loses_what_does_not_fit_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(audit_module, "WAITING", 5)

    async def run() -> None:
        store = EmbeddedStore(tmp_path)  # not open yet
        system = SystemStore(store, "doorleaf")
        collection = AuditCollection(system, 30)
        audit = Audit(collection=collection)
        await audit.start()
        for number in range(8):
            audit(f"turn{number}")
        await asyncio.sleep(0)
        await asyncio.sleep(0.05)
        await store.open()
        await audit.stop()
        assert [document["action"] for document in await system.find(COLLECTION, {})] == [
            f"turn{number}" for number in range(5)
        ]
        audit = Audit(collection=AuditCollection(system, 30))
        await store.close()
        await audit.start()
        audit("late")
        await audit.stop()

    asyncio.run(run())
    assert "the audit cannot be kept in the database now" in caplog.text
    assert "3 audit events could not be kept in the database and are lost" in caplog.text
    assert "1 audit events could not be kept in the database and are lost" in caplog.text


# --- through the application ---------------------------------------------------------------------------------------


@pytest.fixture
def audited(tmp_path: Path) -> Iterator[tuple[Application, Path]]:
    file = tmp_path / "audit.jsonl"
    with application(tmp_path / "data", audit_file=file, rate_limits={"key": "40/hour"}, login_rate="5/hour") as app:
        yield app, file


def test_denied_requests(audited: tuple[Application, Path]) -> None:
    app, file = audited
    before = len(lines(file))
    body = {**PLACE, "filter": {"password": SECRET}}
    app.act("find", body, key=SECRET)
    app.call("POST", "/action/find", orjson.dumps(body))
    app.call("POST", "/action/find", b"", {"Authorization": f"Bearer {SECRET}"})
    app.act("find", {**body, "filter": {"$where": SECRET}})
    app.act("find", {**body, "database": "doorleaf"})
    app.call("GET", "/metrics", b"", {"apiKey": SECRET}, query=SECRET.encode())
    app.call("GET", "/metrics", b"", {"apiKey": KEY})
    app.act("find", {**body, "filter": {"$nonsense": SECRET}})  # wrong, and not denied
    app.act("find", body)
    identity = app.endpoint._authenticator.known(Credentials(api_key=KEY))
    assert identity is not None
    who = {"caller": identity.id, "key": "DATA_API_KEY", "provider": "api-key"}
    place = {"namespace": "shop.things", "data_source": "default"}
    assert since(file, before) == [
        {"action": "find", "outcome": "denied", "error_code": "InvalidSession"},
        {"action": "find", "outcome": "denied", "error_code": "InvalidParameter"},
        {"action": "find", "outcome": "denied", "error_code": "InvalidSession"},
        {"action": "find", "outcome": "denied", "error_code": "PermissionDenied", **place, **who},
        {
            "action": "find",
            "outcome": "denied",
            "error_code": "PermissionDenied",
            "namespace": "doorleaf.things",
            "data_source": "default",
            **who,
        },
        {"action": "metrics", "outcome": "denied", "error_code": "InvalidSession"},
    ]
    while app.act("find", body).status == 200:
        pass
    last = since(file, before)[-1]
    assert last == {"action": "find", "outcome": "denied", "error_code": "TooManyRequests", **who}
    assert_clean(file)


def assert_clean(file: Path) -> None:
    content = file.read_text()
    for secret in (SECRET, KEY, KEY[:20], "filter", "document", "$where", "password"):
        assert secret not in content


def test_strangers_and_origins_that_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "audit.jsonl"
    chosen: dict[str, Any] = {"ip_access_list": ["203.0.113.0/24"], "trusted_proxies": ["127.0.0.1"]}
    with application(tmp_path / "data", audit_file=file, cors_origins=["https://a.example"], **chosen) as app:
        app.act("find", PLACE, headers={"X-Forwarded-For": "198.51.100.7", "X-Request-Id": "their-own-id"})
        page = {"Origin": "https://b.example", "Access-Control-Request-Method": "POST"}
        app.call("OPTIONS", "/action/find", b"", {**page, "X-Forwarded-For": "203.0.113.9"})
        app.call("GET", "/absent", b"", {"X-Forwarded-For": "198.51.100.8"})
        app.call("GET", "/livez")
    found = lines(file)
    assert [(line["action"], line["error_code"], line["address"]) for line in found] == [
        ("find", "AddressNotAllowed", "198.51.100.7"),
        ("unmatched", "PermissionDenied", "203.0.113.9"),
        ("unmatched", "AddressNotAllowed", "198.51.100.8"),
    ]
    assert found[0]["request"] == "their-own-id"


def test_logins_and_logouts(audited: tuple[Application, Path]) -> None:
    app, file = audited
    before = len(lines(file))
    login = "/auth/providers/api-key/login"
    app.call("POST", login, orjson.dumps({"key": SECRET}))
    session = app.call("POST", login, orjson.dumps({"key": KEY})).json
    app.call("POST", "/auth/providers/local-userpass/login", orjson.dumps({"username": "ann", "password": SECRET}))
    refresh = {"Authorization": f"Bearer {session['refresh_token']}"}
    app.call("POST", "/auth/session", b"", {"Authorization": f"Bearer {SECRET}"})
    assert app.call("DELETE", "/auth/session", b"", refresh).status == 204
    for _ in range(5):
        app.call("POST", login, orjson.dumps({"key": SECRET}))
    found = since(file, before)
    by_action = [(line["action"], line["outcome"], line.get("error_code")) for line in found]
    assert by_action[:2] == [("login", "denied", "AuthError"), ("login", "allowed", None)]
    assert found[1]["caller"] == session["user_id"]
    assert found[1]["provider"] == "api-key"
    assert by_action[2][0] == "login"
    assert by_action[2][1] != "allowed"
    assert "ann" in found[2]["target"]
    assert by_action[3] == ("refreshSession", "denied", "InvalidSession")
    ended = [line for line in found if line["action"] == "logout"]
    assert [(line["outcome"], line["caller"]) for line in ended] == [("allowed", session["user_id"])]
    assert by_action[-1] == ("login", "denied", "TooManyRequests")
    assert sum(line["action"] == "login" for line in found) == 8
    content = file.read_text()
    for secret in (SECRET, KEY, session["access_token"], session["refresh_token"], session["access_token"][-20:]):
        assert secret not in content


def test_administration_and_writes(tmp_path: Path) -> None:
    file = tmp_path / "audit.jsonl"
    make_key(tmp_path / "data", "app")
    requests: list[tuple[str, dict[str, Any]]] = [
        ("createCollection", {}),
        ("insertOne", {"document": {"_id": 1, "text": SECRET}}),
        ("insertMany", {"documents": [{"_id": 2}, {"_id": 1, "text": SECRET}]}),
        ("updateMany", {"filter": {"text": SECRET}, "update": {"$set": {"text": SECRET + "x"}}}),
        ("find", {"filter": {"text": SECRET}}),
        ("updateOne", {"filter": {}, "update": {"$nonsense": {"text": SECRET}}}),
        ("createIndex", {"keys": {"text": 1}}),
        ("dropIndex", {"name": "absent"}),
        ("listDatabases", {}),
        ("runCommand", {"command": {"count": "things", "query": {"text": SECRET}}}),
        ("renameCollection", {"to": "things"}),
        ("deleteMany", {"filter": {}}),
    ]
    for writes in (False, True):
        with application(tmp_path / "data", audit_file=file, audit_writes=writes) as app:
            before = len(lines(file))
            for action, fields in requests:
                app.act(action, {**PLACE, **fields})
            found = since(file, before)
        seen = [(line["action"], line["outcome"], line.get("error_code"), line.get("counts")) for line in found]
        administration = [
            ("createCollection", *(("failed", "NamespaceExists") if writes else ("allowed", None)), None),
            ("createIndex", "allowed", None, None),
            ("dropIndex", "failed", "IndexNotFound", None),
            ("listDatabases", "allowed", None, None),
            ("runCommand", "allowed", None, None),
            ("renameCollection", "failed", "IllegalOperation", None),
        ]
        data = [
            ("insertOne", "allowed", None, {"inserted": 1}),
            ("insertMany", "failed", "DuplicateKey", {"inserted": 1}),
            ("updateMany", "allowed", None, {"modified": 1}),
            ("updateOne", "failed", "FailedToParse", None),
            ("deleteMany", "allowed", None, {"deleted": 2}),
        ]
        assert seen == ([administration[0], *data[:4], *administration[1:], data[4]] if writes else administration)
        assert {line["key"] for line in found} == {"DATA_API_KEY"}
        assert [line["target"] for line in found if line["action"] == "runCommand"] == ["count"]
        assert [line["target"] for line in found if line["action"] == "renameCollection"] == ["things"]
        assert all(line["namespace"].startswith("shop") or line["action"] == "listDatabases" for line in found)
    content = file.read_text()
    for secret in (SECRET, KEY, "text", "query", "$set"):
        assert secret not in content


def test_the_collection_through_the_application(tmp_path: Path) -> None:
    with application(tmp_path, audit_collection_days=30) as app:
        app.act("find", PLACE, key="wrong")
        app.act("createCollection", PLACE)
        assert app.act("find", {"database": "doorleaf", "collection": "audit"}).status == 403
    documents = on_store(tmp_path, lambda system: system.find(COLLECTION, {}, sort={"_id": 1}))
    assert [(item["action"], item["outcome"]) for item in documents] == [
        ("find", "denied"),
        ("createCollection", "allowed"),
        ("find", "denied"),
    ]
    assert all(item["address"] == "127.0.0.1" and item["request"] for item in documents)


def test_nothing_is_audited_by_default(tmp_path: Path) -> None:
    with application(tmp_path) as app:
        app.act("find", PLACE, key="wrong")
        app.act("createCollection", PLACE)
    assert on_store(tmp_path, lambda system: system.find(COLLECTION, {})) == []


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o666, 0o604])
def test_a_file_that_others_may_read_is_narrowed(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "audit.jsonl"
    path.write_text("{}\n")
    path.chmod(mode)
    with application(tmp_path / "data", audit_file=path) as app:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        app.act("find", {"database": "a", "collection": "b"}, key="wrong")
        # A rotation makes another one, as wide as it likes.
        path.rename(tmp_path / "audit.1")
        path.touch()
        path.chmod(mode)
        app.endpoint._admission.audit._file.reopen()  # type: ignore[union-attr]
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert (tmp_path / "audit.1").read_text().count("\n") == 2
