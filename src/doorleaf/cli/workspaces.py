"""``doorleaf tenants`` and ``doorleaf workspaces``: who has places of their own, and what opens them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Any, TypeVar

import typer

from doorleaf.access.workspaces.registry import Workspaces
from doorleaf.access.workspaces.tenancy import QUOTAS
from doorleaf.cli.database import with_directory
from doorleaf.cli.loading import located
from doorleaf.cli.shared import (
    Expires,
    Json,
    console,
    dated,
    listing,
    moment,
    print_json,
    span,
)
from doorleaf.settings.load import SettingsError
from doorleaf.settings.model import Settings

T = TypeVar("T")
Many = list[str] | None

app = typer.Typer(add_completion=False)
tenants = typer.Typer(help="Make, list and delete tenants.", no_args_is_help=True, add_completion=False)
workspaces = typer.Typer(help="Make, change and open workspaces.", no_args_is_help=True, add_completion=False)
keys = typer.Typer(help="Make, list and revoke the keys of a workspace.", no_args_is_help=True, add_completion=False)
app.add_typer(tenants, name="tenants")
app.add_typer(workspaces, name="workspaces")
workspaces.add_typer(keys, name="keys")

Workspace = Annotated[str, typer.Argument(help="The workspace's id.")]
Quotas = Annotated[
    Many, typer.Option("--quota", help=f"Such as documents=1000; one of {', '.join(QUOTAS)}.", show_default="none")
]
Capabilities = Annotated[
    Many, typer.Option("--capability", help="mongo, realtime or credentials.", show_default="mongo, realtime")
]
Scopes = Annotated[
    Many,
    typer.Option("--scope", help="mongo:read, mongo:write, mongo:admin or realtime:read.", show_default="all of them"),
]


def _with(settings: Settings, use: Callable[[Workspaces], Awaitable[T]], *, looks: bool = False) -> T:
    return with_directory(settings, lambda found: use(found.workspaces), makes=not looks, looks=looks)


# --- tenants ---------------------------------------------------------------------------------------------------------


@tenants.command("create")
@located
def create_tenant(
    settings: Settings,
    name: Annotated[str, typer.Argument(help="What people call it.")],
    identifier: Annotated[str | None, typer.Option("--id", help="Its id.", show_default="a new one")] = None,
    as_json: Json = False,
) -> None:
    """Make a tenant and print its id."""
    made = _with(settings, lambda found: found.create_tenant(name, id=identifier))
    _print(made, as_json)


@tenants.command("list")
@located
def list_tenants(settings: Settings, as_json: Json = False) -> None:
    """List all tenants."""
    rows = [(one, (one["id"], one["name"], dated(one["created"]))) for one in _with(settings, Workspaces.tenants)]
    listing(("Id", "Name", "Created"), rows, as_json)


@tenants.command("delete")
@located
def delete_tenant(
    settings: Settings,
    tenant: Annotated[str, typer.Argument(help="The tenant's id.")],
    as_json: Json = False,
) -> None:
    """Forget a tenant that has no workspaces."""
    _with(settings, lambda found: found.delete_tenant(tenant))
    _done(tenant, f"The tenant {tenant!r} is deleted.", as_json)


# --- workspaces ------------------------------------------------------------------------------------------------------


@workspaces.command("create")
@located
def create_workspace(
    settings: Settings,
    tenant: Annotated[str, typer.Option("--tenant", help="The id of the tenant that owns it.")],
    identifier: Annotated[str | None, typer.Option("--id", help="Its id.", show_default="a new one")] = None,
    database: Annotated[
        str | None, typer.Option("--database", help="Its database.", show_default="one named as its id")
    ] = None,
    shared: Annotated[bool, typer.Option("--shared", help="Other workspaces may have the same database.")] = False,
    data_source: Annotated[
        str | None, typer.Option("--data-source", help="Where the database is.", show_default="the default one")
    ] = None,
    quota: Quotas = None,
    capability: Capabilities = None,
    as_json: Json = False,
) -> None:
    """Make a workspace and print its id."""
    made = _with(
        settings,
        lambda found: found.create(
            tenant,
            id=identifier,
            database=database,
            shared=shared,
            data_source=data_source,
            quotas=_quotas(quota),
            capabilities=capability,
        ),
    )
    _print(made, as_json)


@workspaces.command("list")
@located
def list_workspaces(
    settings: Settings,
    tenant: Annotated[str | None, typer.Option("--tenant", help="Only those of this tenant.")] = None,
    as_json: Json = False,
) -> None:
    """List the workspaces."""
    rows = []
    for one in _with(settings, lambda found: found.listed(tenant)):
        kept = "shared" if one["shared"] else "its own"
        cells = (one["id"], one["tenant"], one["data_source"], one["database"], kept, ", ".join(one["capabilities"]))
        rows.append((one, cells))
    listing(("Id", "Tenant", "Data source", "Database", "Database is", "Capabilities"), rows, as_json)


@workspaces.command("show")
@located
def show_workspace(settings: Settings, workspace: Workspace, as_json: Json = False) -> None:
    """Describe a workspace."""
    found = _with(settings, lambda known: known.describe(workspace))
    if as_json:
        print_json(found)
        return
    for name, value in found.items():
        console().print(f"{name}: {', '.join(value) if isinstance(value, list) else value}")


@workspaces.command("set")
@located
def change_workspace(
    settings: Settings,
    workspace: Workspace,
    quota: Annotated[
        Many, typer.Option("--quota", help="Such as documents=1000; documents=none takes it away.")
    ] = None,
    capability: Annotated[
        Many, typer.Option("--capability", help="All that it has: mongo, realtime, credentials.", show_default="as is")
    ] = None,
    member: Annotated[
        Many, typer.Option("--member", help="Such as USER=mongo:read,mongo:write; USER=none ends it.")
    ] = None,
    end_tokens: Annotated[bool, typer.Option("--end-tokens", help="End all tokens issued until now.")] = False,
    as_json: Json = False,
) -> None:
    """Change a workspace; running servers follow within five seconds."""
    made = _with(
        settings,
        lambda found: found.change(
            workspace,
            quotas=_quotas(quota, ends=True),
            capabilities=capability,
            members=_members(member),
            end_tokens=end_tokens,
        ),
    )
    _print(made, as_json)


@workspaces.command("delete")
@located
def delete_workspace(settings: Settings, workspace: Workspace, as_json: Json = False) -> None:
    """Forget a workspace with its keys; its documents stay in the database."""
    _with(settings, lambda found: found.delete(workspace))
    _done(workspace, f"The workspace {workspace!r} is deleted; its documents are where they were.", as_json)


@workspaces.command("token")
@located
def make_token(
    settings: Settings,
    workspace: Workspace,
    scope: Scopes = None,
    expires: Annotated[str, typer.Option(help="How long it is good for: 30m, 1h, 7d.")] = "1h",
    as_json: Json = False,
) -> None:
    """Make a Bearer token for a workspace and print it."""
    seconds = span(expires, "--expires").total_seconds()
    token, until = _with(settings, lambda found: found.token(workspace, scope or (), seconds))
    if as_json:
        print_json({"id": workspace, "token": token, "expires_at": until})
    else:
        console().print(token)


# --- keys of a workspace ---------------------------------------------------------------------------------------------


@keys.command("create")
@located
def create_key(
    settings: Settings,
    workspace: Workspace,
    name: Annotated[str, typer.Option("--name", help="What people call it.")] = "key",
    scope: Scopes = None,
    expires: Expires = None,
    as_json: Json = False,
) -> None:
    """Make a key of a workspace and print it, this once."""
    until = None if expires is None else moment(expires)
    made = _with(settings, lambda found: found.create_key(workspace, name, scopes=scope or (), expires=until))
    if as_json:
        print_json(made)
    else:
        console().print(made["key"])
        console(stderr=True).print(f"This is the key {made['id']} of {workspace}. It is shown once.")


@keys.command("list")
@located
def list_keys(settings: Settings, workspace: Workspace, as_json: Json = False) -> None:
    """List the keys of a workspace; the keys themselves are not stored."""
    rows = []
    for one in _with(settings, lambda found: found.keys(workspace)):
        state = "active" if one["revoked"] is None else "revoked"
        dates = (dated(one["created"]), dated(one["expires"]))
        rows.append((one, (one["id"], one["name"], state, *dates, ", ".join(one["scopes"]))))
    listing(("Id", "Name", "State", "Created", "Expires", "Scopes"), rows, as_json)


@keys.command("revoke")
@located
def revoke_key(
    settings: Settings,
    workspace: Workspace,
    key: Annotated[str, typer.Argument(help="The key's id.")],
    as_json: Json = False,
) -> None:
    """End a key of a workspace for good."""
    made = _with(settings, lambda found: found.revoke_key(workspace, key))
    if as_json:
        print_json(made)
    else:
        console().print(f"The key {key} is revoked.")


def _print(made: dict[str, Any], as_json: bool) -> None:
    """Print all of what was made or changed as JSON, else its id."""
    if as_json:
        print_json(made)
    else:
        console().print(made["id"])


def _done(identifier: str, text: str, as_json: bool) -> None:
    if as_json:
        print_json({"id": identifier, "deleted": True})
    else:
        console().print(text)


def _quotas(texts: Many, *, ends: bool = False) -> dict[str, int | None]:
    quotas: dict[str, int | None] = {}
    for text in texts or ():
        kind, _, amount = text.partition("=")
        if ends and amount == "none":
            quotas[kind] = None
        elif amount.isascii() and amount.isdigit():
            quotas[kind] = int(amount)
        else:
            raise SettingsError(f"--quota: {text!r} is not like documents=1000")
    return quotas


def _members(texts: Many) -> dict[str, list[str] | None]:
    members: dict[str, list[str] | None] = {}
    for text in texts or ():
        user, _, scopes = text.partition("=")
        if not user or not scopes:
            raise SettingsError(f"--member: {text!r} is not like USER=mongo:read,mongo:write")
        members[user] = None if scopes == "none" else scopes.split(",")
    return members
