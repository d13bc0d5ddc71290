"""``doorleaf keys``: make, list, change and end API keys."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from doorleaf.access.limits.quotas import WHAT, usage
from doorleaf.cli.database import with_directory
from doorleaf.cli.loading import load
from doorleaf.cli.shared import (
    Config,
    DataDir,
    Expires,
    Json,
    Overlap,
    Uri,
    console,
    dated,
    listing,
    moment,
    overlapping,
    print_json,
)
from doorleaf.settings.load import SettingsError

app = typer.Typer(help="Create, list, rotate and revoke API keys.", no_args_is_help=True, add_completion=False)

Name = Annotated[str, typer.Argument(help="The key's name.")]
Many = list[str] | None

LISTS = ("roles", "actions", "data_sources", "databases", "collections", "addresses")
"""What a key may be limited to, and its roles."""


@app.command("create")
def create_key(
    name: Annotated[str, typer.Argument(help="Letters, digits, _ and -; unique.")],
    admin: Annotated[bool, typer.Option("--admin", help="An administrator, whom no rules judge.")] = False,
    role: Annotated[Many, typer.Option(help="A role of the rules.", show_default=False)] = None,
    read_only: Annotated[bool, typer.Option("--read-only", help="Only actions that read.")] = False,
    action: Annotated[
        Many,
        typer.Option(help="An allowed action, or read, write, admin; metrics for /metrics alone.", show_default="all"),
    ] = None,
    data_source: Annotated[Many, typer.Option(help="An allowed data source.", show_default="all")] = None,
    database: Annotated[Many, typer.Option(help="An allowed database.", show_default="all")] = None,
    collection: Annotated[
        Many, typer.Option(help="An allowed collection, as database.collection or by name.", show_default="all")
    ] = None,
    address: Annotated[
        Many, typer.Option(help="An address or CIDR block that it works from.", show_default="anywhere")
    ] = None,
    rate: Annotated[str | None, typer.Option(help="Such as 20/second;5000/hour.", show_default="the setting")] = None,
    quota: Annotated[Many, typer.Option(help="Such as requests_per_day=1000.", show_default="the setting")] = None,
    expires: Expires = None,
    as_json: Json = False,
    config: Config = None,
    uri: Uri = None,
    data_dir: DataDir = None,
) -> None:
    """Create a key and print it, this once. Options that name one thing may come several times."""
    if read_only and action:
        raise SettingsError("--read-only: cannot be combined with --action")
    rights: dict[str, Any] = {
        "roles": role or None,
        "actions": ["read"] if read_only else action or None,
        "data_sources": data_source or None,
        "databases": database or None,
        "collections": collection or None,
        "addresses": address or None,
        "rate": rate,
        "quotas": quotas_of(quota or []) or None,
    }
    until = None if expires is None else moment(expires)
    settings = load({"uri": uri, "data_dir": data_dir}, config=config)
    key = with_directory(
        settings, lambda found: found.keys.create(name, expires=until, admin=admin, rights=rights), makes=True
    )
    if as_json:
        print_json({"name": name, "key": key, "admin": admin, "roles": role or [], "expires": until})
    else:
        console().print(key)
    _tell_of(name, admin=admin, roles=role or [], actions=action or [], until=until)


def _tell_of(name: str, *, admin: bool, roles: list[str], actions: list[str], until: datetime | None) -> None:
    """Say what a new key is good for."""
    kind = "an administrator" if admin else "judged by the rules" + (f" as {', '.join(roles)}" if roles else "")
    ends = f"until {until:%Y-%m-%d %H:%M} UTC" if until else "until it is revoked"
    told = console(stderr=True)
    told.print(f"This is the key {name!r}, {kind}, valid {ends}. It is shown once.")
    if actions == ["metrics"]:
        told.print("It reads /metrics and nothing else.")
    elif not admin and not roles:
        told.print("Without rules for such keys it may do nothing; --admin makes an administrator.")


def quotas_of(texts: list[str]) -> dict[str, int]:
    """The quotas in ``texts``, such as ``requests_per_day=1000``."""
    quotas: dict[str, int] = {}
    for text in texts:
        name, _, amount = text.partition("=")
        if not amount.isascii() or not amount.isdigit():
            raise SettingsError(f"--quota: {text!r} is not like requests_per_day=1000")
        quotas[name] = int(amount)
    return quotas


@app.command("list")
def list_keys(as_json: Json = False, config: Config = None, uri: Uri = None, data_dir: DataDir = None) -> None:
    """List all keys; the keys themselves are not stored."""
    settings = load({"uri": uri, "data_dir": data_dir}, config=config)
    rows = []
    for key in with_directory(settings, lambda found: found.keys.listed(), looks=True):
        dates = (dated(key[field]) for field in ("created", "last_used", "expires"))
        rows.append((_told(key), (key["_id"], _state(key), *dates, _rights(key))))
    listing(("Name", "State", "Created", "Last used", "Expires", "Rights"), rows, as_json)


def _told(key: Mapping[str, Any]) -> dict[str, Any]:
    rights = {name: key[name] for name in (*LISTS, "rate", "quotas") if key.get(name)}
    dates = {name: key[name] for name in ("created", "last_used", "expires")}
    return {"name": key["_id"], "state": _state(key), "admin": key["admin"], **dates, **rights}


def _state(key: Mapping[str, Any]) -> str:
    if key["disabled"]:
        return "revoked" if "revoked" in key else "disabled"
    now = datetime.now(UTC).replace(tzinfo=None)
    return "expired" if key["expires"] is not None and key["expires"] <= now else "active"


def _rights(key: Mapping[str, Any]) -> str:
    parts = [f"{name}={','.join(map(str, key[name]))}" for name in LISTS if key.get(name)]
    return " ".join(["admin", *parts] if key["admin"] else parts)


@app.command("usage")
def key_usage(
    name: Name, as_json: Json = False, config: Config = None, uri: Uri = None, data_dir: DataDir = None
) -> None:
    """Show what a key with quotas used in each day and month (UTC)."""
    settings = load({"uri": uri, "data_dir": data_dir}, config=config)
    rows = []
    for used in with_directory(settings, lambda found: usage(found.system, name), looks=True):
        amounts = {what: used.get(what, 0) for what in WHAT}
        rows.append(({"period": used["period"], **amounts}, (used["period"], *map(str, amounts.values()))))
    listing(("Period", "Requests", "Documents written", "Bytes"), rows, as_json)


@app.command("rotate")
def rotate_key(
    name: Name,
    overlap: Overlap = None,
    as_json: Json = False,
    config: Config = None,
    uri: Uri = None,
    data_dir: DataDir = None,
) -> None:
    """Give a key a new text and print it, this once; its name and rights stay."""
    seconds = overlapping(overlap)
    settings = load({"uri": uri, "data_dir": data_dir}, config=config)
    key = with_directory(settings, lambda found: found.keys.rotate(name, seconds))
    if as_json:
        print_json({"name": name, "key": key})
    else:
        console().print(key)
    old = f"stays valid for {overlap}" if overlap else "ends now"
    console(stderr=True).print(f"This is the key {name!r} from now on; the one before {old}. It is shown once.")


@app.command("disable")
def disable_key(name: Name, config: Config = None, uri: Uri = None, data_dir: DataDir = None) -> None:
    """Let a key let in nobody until it is enabled; running servers follow within five seconds."""
    settings = load({"uri": uri, "data_dir": data_dir}, config=config)
    with_directory(settings, lambda found: found.keys.disable(name))
    console().print(f"The key {name!r} is disabled.")


@app.command("enable")
def enable_key(name: Name, config: Config = None, uri: Uri = None, data_dir: DataDir = None) -> None:
    """Let a disabled key work again."""
    settings = load({"uri": uri, "data_dir": data_dir}, config=config)
    with_directory(settings, lambda found: found.keys.enable(name))
    console().print(f"The key {name!r} is enabled.")


@app.command("revoke")
def revoke_key(name: Name, config: Config = None, uri: Uri = None, data_dir: DataDir = None) -> None:
    """End a key and its sessions; running servers follow within five seconds."""
    settings = load({"uri": uri, "data_dir": data_dir}, config=config)
    with_directory(settings, lambda found: found.keys.revoke(name))
    console().print(f"The key {name!r} is revoked.")


@app.command("delete")
def delete_key(name: Name, config: Config = None, uri: Uri = None, data_dir: DataDir = None) -> None:
    """End a key and its sessions and forget it, so that its name is free."""
    settings = load({"uri": uri, "data_dir": data_dir}, config=config)
    with_directory(settings, lambda found: found.keys.delete(name))
    console().print(f"The key {name!r} is deleted.")
