"""What tells whether something about a caller has changed."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest
from bson import Int64

from doorleaf.access.callers import Caller, Identity
from doorleaf.access.guards.scopes import scope_of
from doorleaf.access.limits.rates import key_limits
from doorleaf.access.workspaces.tenancy import Tenancy, Workspace

WHO = Identity(id="64b7f0000000000000000001", kind="normal", provider="local-userpass", data={"n": 1}, roles=("a",))
OTHERS: dict[str, Any] = {
    "id": "64b7f0000000000000000002",
    "kind": "server",
    "provider": "custom-token",
    "admin": True,
    "key_name": "key",
    "data": {"n": Int64(1)},
    "custom_data": {"team": "x"},
    "identities": ({"id": "1"},),
    "roles": ("b",),
    "scope": scope_of({"actions": ["read"]}),
    "limits": key_limits({"rate": "5/second"}),
    "ends": True,
    "caller": "64b7f0000000000000000003",
    "tenancy": Tenancy(Workspace("wks_one", "ten_one", "mongodb-atlas", "one"), frozenset(("mongo:read",))),
    "together": "wks_one",
}


def test_who_is_read_again_unchanged_has_the_same_version() -> None:
    assert replace(WHO, data={"n": 1}).version == WHO.version
    assert Caller(replace(WHO)).version == Caller(WHO, surface="actions").version == WHO.version
    names = [f"db.{number}" for number in range(50)]
    one, other = scope_of({"collections": names}), scope_of({"collections": names[::-1]})
    assert replace(WHO, scope=one).version == replace(WHO, scope=other).version


def test_every_field_is_tried() -> None:
    assert set(OTHERS) == {item.name for item in fields(Identity) if item.init}


@pytest.mark.parametrize("name", OTHERS)
def test_whatever_changes_is_another_version(name: str) -> None:
    assert replace(WHO, **{name: OTHERS[name]}).version != WHO.version
