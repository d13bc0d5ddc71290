"""Tenants, workspaces and who may enter them: the command line, the administration, and what callers show."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson
import pytest
from admin_app import ask, ok, refused
from people import RSA, House, Issuer, house, issuer, jwk, token
from placed import opened, place
from typer.testing import CliRunner

from doorleaf import ejson
from doorleaf.access import system_store
from doorleaf.access.callers import Credentials, Identity
from doorleaf.access.workspaces.tenancy import SCOPES
from doorleaf.access.workspaces.tickets import SECONDS, Tickets
from doorleaf.cli.main import app as command
from doorleaf.errors import DoorleafError, RequestError, Unauthenticated


@pytest.fixture(scope="module")
def trusted() -> Iterator[Issuer]:
    with issuer() as running:
        running.keys = [jwk(RSA, "k1", "RS256")]
        yield running


def signed(**claims: Any) -> str:
    """A token of the trusted issuer."""
    return token(RSA, "RS256", {"kid": "k1"}, **{"sub": "svc", "aud": "doorleaf", **claims})


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, trusted: Issuer) -> Iterator[House]:
    believed = {"algorithm": "RS256", "jwks_url": trusted.url, "audience": ["doorleaf"]}
    folder = tmp_path_factory.mktemp("workspaces")
    chosen: dict[str, Any] = {"workspace_issuer": believed, "providers": ("api-key", "local-userpass")}
    with house(folder, **chosen) as running:
        app = running.app
        ok(app, "POST", "/tenants", {"name": "Acme", "id": "acme"}, status=201)
        ok(app, "POST", "/tenants", {"name": "Bolt", "id": "bolt"}, status=201)
        ok(app, "POST", "/workspaces", {"tenant": "acme", "id": "one"}, status=201)
        ok(app, "POST", "/workspaces", {"tenant": "bolt", "id": "other"}, status=201)
        yield running


@pytest.fixture(autouse=True)
def read_in_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """There are more workspaces and keys than are read at once."""
    monkeypatch.setattr(system_store, "PAGE", 2)


def enter(home: House, workspace: str, **shown: Any) -> Identity:
    found: Identity = home.run(home.authenticator.identify(Credentials(workspace=workspace, **shown)))
    return found


def kept_out(home: House, workspace: str, **shown: str) -> tuple[int, str]:
    with pytest.raises(DoorleafError) as refusal:
        enter(home, workspace, **shown)
    return refusal.value.status, refusal.value.code


def test_a_token_opens_its_workspace_and_no_other(home: House) -> None:
    body = {"scopes": ["mongo:read", "realtime:subscribe"], "seconds": 60}
    made = ok(home.app, "POST", "/workspaces/one/token", body, status=201)
    caller = enter(home, "one", bearer=made["token"])
    assert caller is enter(home, "one", bearer=made["token"])
    assert caller.tenancy is not None
    assert caller.tenancy.scopes == {"mongo:read", "realtime:read"}
    assert caller.tenancy.workspace.predicate == {"_tenantId": "acme", "_workspaceId": "one"}
    assert not caller.administers
    assert not caller.admin
    assert kept_out(home, "other", bearer=made["token"]) == (403, "PermissionDenied")
    assert kept_out(home, "nowhere", bearer=made["token"]) == (404, "WorkspaceNotFound")
    assert kept_out(home, "one", bearer=made["token"][:-4] + "AAAA") == (401, "InvalidSession")
    assert kept_out(home, "one") == (401, "Unauthenticated")
    assert kept_out(home, "nowhere", bearer="dlw_" + "x" * 64) == (401, "InvalidSession")
    assert home.app.act("find", {"database": "one", "collection": "a"}, key=made["token"]).status == 401
    ok(home.app, "PATCH", "/workspaces/one", {"end_tokens": True})
    assert kept_out(home, "one", bearer=made["token"])[0] == 401
    later, elsewhere = (ok(home.app, "POST", f"/workspaces/{at}/token", status=201)["token"] for at in ("one", "other"))
    second = enter(home, "one", bearer=later)
    assert second.shown != caller.shown
    assert second.turn == caller.turn != enter(home, "other", bearer=elsewhere).turn


def test_a_key_opens_its_workspace_until_it_is_revoked(home: House) -> None:
    made = ok(home.app, "POST", "/workspaces/one/keys", {"name": "shop", "scopes": ["mongo:write"]}, status=201)
    caller = enter(home, "one", api_key=made["key"])
    assert caller.tenancy is not None
    assert caller.tenancy.scopes == {"mongo:write"}
    assert caller.turn == caller.shown == made["id"]
    assert enter(home, "one", bearer=made["key"]) is caller
    assert kept_out(home, "other", api_key=made["key"]) == (403, "PermissionDenied")
    listed = ok(home.app, "GET", "/workspaces/one/keys")["keys"]
    assert [key["id"] for key in listed] == [made["id"]]
    assert "key" not in listed[0]
    ok(home.app, "POST", f"/workspaces/one/keys/{made['id']}/revoke")
    assert kept_out(home, "one", api_key=made["key"]) == (401, "InvalidSession")
    refused(ask(home.app, "POST", f"/workspaces/one/keys/{made['id']}/revoke"), 404, "WorkspaceKeyNotFound")
    # A key of the server is none of a workspace.
    assert kept_out(home, "one", api_key="dl_" + "Kk7" * 20)[0] == 401


def test_a_trusted_issuer_opens_what_its_tokens_name(home: House) -> None:
    whole = signed(tenant_id="acme", scope="mongo:read mongo:write nonsense")
    caller = enter(home, "one", bearer=whole)
    assert caller.tenancy is not None
    assert caller.tenancy.scopes == {"mongo:read", "mongo:write"}
    assert caller.turn == caller.shown
    assert kept_out(home, "other", bearer=whole) == (403, "PermissionDenied")
    listed = signed(tenant_id="acme", workspaces=["else"], scopes=["mongo:read"])
    assert kept_out(home, "one", bearer=listed) == (403, "PermissionDenied")
    wrong: list[dict[str, Any]] = [{}, {"tenant_id": 5}, {"tenant_id": "acme", "workspaces": [5]}]
    for claims in (*wrong, {"tenant_id": "acme", "scope": 5}):
        assert kept_out(home, "one", bearer=signed(**claims))[0] == 403
    stale = signed(tenant_id="acme", exp=1)
    elsewhere = signed(tenant_id="acme", aud="another")
    for text in (stale, elsewhere, "a.b.c", "", "x" * 20_000):
        assert kept_out(home, "one", bearer=text) == (401, "InvalidSession")


def test_what_was_answered_in_a_workspace_is_not_answered_in_a_later_one_of_its_id(home: House) -> None:
    shown = {"authorization": f"Bearer {signed(tenant_id='acme', scope='mongo:write')}", "idempotency-key": "k"}
    made = []
    for _ in range(2):
        ok(home.app, "POST", "/workspaces", {"tenant": "acme", "id": "reborn"}, status=201)
        answer = home.app.call("POST", "/v1/mongo/reborn/collections/c/documents", b'{"n":1}', shown)
        assert answer.status == 201, answer.body
        made.append(answer.json["data"]["_id"])
        ok(home.app, "DELETE", "/workspaces/reborn", status=204)
    assert made[0] != made[1]


def test_a_member_enters_with_a_session(home: House) -> None:
    user = ok(home.app, "POST", "/users", {"email": "ann@example.com", "password": "correct horse"}, status=201)["id"]
    login = home.login("local-userpass", username="ann@example.com", password="correct horse").json["access_token"]
    assert kept_out(home, "one", bearer=login) == (403, "PermissionDenied")
    ok(home.app, "PATCH", "/workspaces/one", {"members": {user: ["mongo:read"]}})
    caller = enter(home, "one", bearer=login)
    assert caller.id == user
    assert caller.tenancy is not None
    assert caller.tenancy.scopes == {"mongo:read"}
    assert enter(home, "one", bearer=login).version == caller.version
    ok(home.app, "PATCH", "/workspaces/one", {"members": {user: ["mongo:write"]}})
    assert enter(home, "one", bearer=login).version != caller.version
    ok(home.app, "PATCH", "/workspaces/one", {"members": {user: None}})
    assert kept_out(home, "one", bearer=login) == (403, "PermissionDenied")


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"tenant": "nobody"}, 404, "TenantNotFound"),
        ({"tenant": "acme", "id": "one"}, 400, "WorkspaceAlreadyExists"),
        ({"tenant": "acme", "id": "ONE"}, 400, "WorkspaceAlreadyExists"),
        ({"tenant": "acme", "id": "workspaces"}, 400, "InvalidParameter"),
        ({"tenant": "acme", "id": "Databases"}, 400, "InvalidParameter"),
        ({"tenant": "acme", "id": "a.b"}, 400, "InvalidParameter"),
        ({"tenant": "acme", "database": "doorleaf"}, 400, "InvalidParameter"),
        ({"tenant": "acme", "database": "admin"}, 400, "InvalidParameter"),
        ({"tenant": "acme", "database": "other"}, 400, "InvalidParameter"),
        ({"tenant": "acme", "database": "other", "shared": True}, 400, "InvalidParameter"),
        ({"tenant": "acme", "shared": True}, 400, "InvalidParameter"),
        ({"tenant": "acme", "quotas": {"rows": 1}}, 400, "InvalidParameter"),
        ({"tenant": "acme", "quotas": {"documents": -1}}, 400, "InvalidParameter"),
        ({"tenant": "acme", "quotas": {"documents": 1.5}}, 400, "InvalidParameter"),
        ({"tenant": "acme", "capabilities": ["kafka"]}, 400, "InvalidParameter"),
    ],
)
def test_what_no_workspace_can_be(home: House, body: Any, status: int, code: str) -> None:
    before = ok(home.app, "GET", "/workspaces")
    refused(ask(home.app, "POST", "/workspaces", body), status, code)
    assert ok(home.app, "GET", "/workspaces") == before


def test_shared_databases_and_deletion(home: House) -> None:
    app = home.app
    for tenant, name in (("acme", "s1"), ("bolt", "s2")):
        body = {"tenant": tenant, "id": name, "database": "common", "shared": True, "quotas": {"documents": 5}}
        assert ok(app, "POST", "/workspaces", body, status=201)["quotas"] == {"documents": 5}
    changed = ok(app, "PATCH", "/workspaces/s1", {"quotas": {"documents": None, "bytes": 9}, "capabilities": []})
    assert (changed["quotas"], changed["capabilities"]) == ({"bytes": 9}, [])
    assert [one["id"] for one in ok(app, "GET", "/workspaces", query=b"tenant=bolt")["workspaces"]] == ["other", "s2"]
    key = ok(app, "POST", "/workspaces/s1/keys", {"name": "k"}, status=201)
    assert key["scopes"] == list(SCOPES)
    refused(ask(app, "DELETE", "/tenants/acme"), 400, "InvalidParameter", "workspaces")
    ok(app, "DELETE", "/workspaces/s1", status=204)
    assert kept_out(home, "s1", api_key=key["key"])[0] == 401
    refused(ask(app, "GET", "/workspaces/s1"), 404, "WorkspaceNotFound")
    ok(app, "DELETE", "/workspaces/s2", status=204)
    refused(ask(app, "DELETE", "/tenants/nobody"), 404, "TenantNotFound")


def test_what_was_for_a_deleted_workspace_is_good_for_no_other_of_its_name(home: House) -> None:
    body = {"tenant": "acme", "id": "again"}
    ok(home.app, "POST", "/workspaces", body, status=201)
    made = ok(home.app, "POST", "/workspaces/again/token", status=201)["token"]
    key = ok(home.app, "POST", "/workspaces/again/keys", {"name": "k"}, status=201)["key"]
    system = home.authenticator.directory.system
    kept = home.run(system.find("workspace_keys", {"workspace": "again"}))
    ok(home.app, "DELETE", "/workspaces/again", status=204)
    home.run(system.insert("workspace_keys", kept[0]))  # as a server leaves it that is killed in the middle
    ok(home.app, "POST", "/workspaces", body, status=201)
    for shown in (made, key):
        assert kept_out(home, "again", bearer=shown) == (401, "InvalidSession")
    later = ok(home.app, "POST", "/workspaces/again/token", status=201)["token"]
    assert enter(home, "again", bearer=later).tenancy is not None


def test_workspaces_made_at_once_have_nothing_of_each_other(home: House) -> None:
    known = home.authenticator.directory.workspaces

    async def made_at_once(*asked: dict[str, Any]) -> list[dict[str, Any]]:
        made = await asyncio.gather(*(known.create("acme", **one) for one in asked), return_exceptions=True)
        assert all(isinstance(one, dict | RequestError) for one in made), made
        return [one for one in made if isinstance(one, dict)]

    for number in range(5):
        alike = [f"{name}{number}" for name in ("race", "Race", "rAce", "raCe", "racE", "RACE")]
        databases = [{"id": f"r{number}-{place}", "database": f"race-{number}"} for place in range(6)]
        mixed = [{"id": f"s{number}-{place}", "database": f"mix-{number}", "shared": place > 2} for place in range(6)]
        assert len(home.run(made_at_once(*({"id": name} for name in alike)))) <= 1
        assert len(home.run(made_at_once(*databases))) <= 1
        got = home.run(made_at_once(*mixed))
        assert len(got) <= 1 or all(one["shared"] for one in got)


def run(folder: Any, *words: str) -> Any:
    result = CliRunner().invoke(command, [*words, "--data-dir", str(folder), "--json"])
    assert result.exit_code == 0, result.output
    return orjson.loads(result.stdout)


def test_the_command_line(tmp_path: Any) -> None:
    tenant = run(tmp_path, "tenants", "create", "Acme")["id"]
    assert tenant.startswith("tnt_")
    assert len(tenant) == 30
    made = run(tmp_path, "workspaces", "create", "--tenant", tenant, "--quota", "documents=5", "--quota", "bytes=9")
    name = made["id"]
    assert name.startswith("wks_")
    assert (made["database"], made["quotas"]) == (name, {"documents": 5, "bytes": 9})
    assert [one["id"] for one in run(tmp_path, "workspaces", "list")] == [name]
    assert run(tmp_path, "workspaces", "set", name, "--quota", "bytes=none")["quotas"] == {"documents": 5}
    made = run(tmp_path, "workspaces", "token", name, "--scope", "mongo:read", "--expires", "30m")
    assert made.keys() == {"id", "token", "expires_at"}
    key = run(tmp_path, "workspaces", "keys", "create", name)
    assert run(tmp_path, "workspaces", "keys", "revoke", name, key["id"])["revoked"] is not None
    assert [one["id"] for one in run(tmp_path, "workspaces", "keys", "list", name)] == [key["id"]]
    assert run(tmp_path, "workspaces", "show", name)["quotas"] == {"documents": 5}
    assert run(tmp_path, "workspaces", "delete", name) == {"id": name, "deleted": True}
    assert run(tmp_path, "tenants", "delete", tenant)["deleted"] is True
    assert run(tmp_path, "tenants", "list") == []
    failed = CliRunner().invoke(command, ["workspaces", "show", "nowhere", "--data-dir", str(tmp_path)])
    assert failed.exit_code == 1
    assert "there is no workspace" in str(failed.exception)


def test_a_running_server_follows(tmp_path: Any) -> None:
    with house(tmp_path / "data") as running:
        tenant = run(tmp_path / "data", "tenants", "create", "Late")["id"]
        name = run(tmp_path / "data", "workspaces", "create", "--tenant", tenant)["id"]
        shown = run(tmp_path / "data", "workspaces", "token", name)["token"]
        deadline = time.monotonic() + 30
        while True:
            try:
                assert enter(running, name, bearer=shown).tenancy is not None
                break
            except DoorleafError:
                assert time.monotonic() < deadline
                running.run(asyncio.sleep(0.1))
        run(tmp_path / "data", "workspaces", "delete", name)


def test_a_ticket_is_taken_once_by_whichever_process_and_in_time(home: House) -> None:
    system = home.authenticator.directory.system
    now = [time.time()]
    some, others = (Tickets(system, clock=lambda: now[0]) for _ in range(2))
    shown, nobody = Credentials(bearer="SESAME-token", workspace="one"), Credentials(workspace="one", address="::1")

    async def scenario() -> None:
        text = (await some.issue(shown))["ticket"]
        stored = await system.find("workspace_tickets", {})
        assert text.removeprefix("dlt_") not in str(stored)
        assert "SESAME" not in str(stored)
        found = await asyncio.gather(*(one.redeem(text, nobody) for one in (some, others) * 4), return_exceptions=True)
        taken = [one for one in found if not isinstance(one, BaseException)]
        assert taken == [replace(nobody, bearer="SESAME-token")]
        assert [type(one) for one in found if isinstance(one, BaseException)] == [Unauthenticated] * 7
        late = await others.issue(shown)
        now[0] += SECONDS
        assert datetime.fromisoformat(late["expiresAt"]).timestamp() <= now[0]
        elsewhere = await some.issue(shown)
        for text, where in ((late["ticket"], nobody), (elsewhere["ticket"], replace(nobody, workspace="other"))):
            with pytest.raises(Unauthenticated):
                await some.redeem(text, where)
        assert await system.find("workspace_tickets", {}) == []

    home.run(scenario())


def test_long_bodies_are_read_in_a_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[bool] = []
    loads = ejson.loads

    def noted(body: bytes) -> Any:
        read.append(threading.current_thread().name.startswith("doorleaf-coding"))
        return loads(body)

    with opened(tmp_path, None) as app:
        own = place(app, "acme", "long")
        monkeypatch.setattr(ejson, "loads", noted)
        unknown = {f"k{number}": number for number in range(20_000)}
        for path in ("/realtime/tickets", "/collections"):
            told = own.refused("POST", path, unknown, status=400, code="VALIDATION_ERROR")
            assert "k0" in told["message"]
            assert own.ask("POST", path, {"other": 1}).status == 400
    assert read == [True, False] * 2
