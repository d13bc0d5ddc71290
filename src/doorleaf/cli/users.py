"""``doorleaf users``: people with accounts, and their sessions."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Any

import typer

from doorleaf.access.identity.directory import Directory
from doorleaf.cli.database import with_directory
from doorleaf.cli.loading import load
from doorleaf.cli.shared import Config, DataDir, Json, Uri, console, dated, listing, print_json
from doorleaf.settings.load import SettingsError

app = typer.Typer(help="Create, confirm, list and end users.", no_args_is_help=True, add_completion=False)

PAGE = 500

User = Annotated[str, typer.Argument(help="The user's address or id.")]
Email = Annotated[str, typer.Argument(help="The account's address.")]


@app.command("create")
def create_user(
    email: Email, as_json: Json = False, config: Config = None, uri: Uri = None, data_dir: DataDir = None
) -> None:
    """Create a confirmed account with a password, which is asked for, or read from standard input."""
    settings = load({"uri": uri, "data_dir": data_dir}, config=config)
    password = _password()
    user_id = with_directory(settings, lambda found: found.accounts.create(email, password), makes=True)
    if as_json:
        print_json({"id": user_id, "email": email})
    else:
        console().print(user_id)
    console(stderr=True).print(f"This is the id of {email}.")
    if "local-userpass" not in settings.providers:
        console(stderr=True).print("The setting providers has no local-userpass: nobody can log in with a password.")


@app.command("list")
def list_users(as_json: Json = False, config: Config = None, uri: Uri = None, data_dir: DataDir = None) -> None:
    """List all users, and the accounts that nobody has confirmed."""
    settings = load({"uri": uri, "data_dir": data_dir}, config=config)
    rows: list[Mapping[str, Any]] = []

    async def read(found: Directory) -> None:
        after: str | None = None
        while page := await found.listed(after=after, limit=PAGE):
            rows.extend(map(_user, page))
            after = page[-1]["_id"]
        after = None
        while page := await found.accounts.pending(after=after, limit=PAGE):
            rows.extend(map(_unconfirmed, page))
            after = page[-1]["_id"]

    with_directory(settings, read, looks=True)
    columns = ("Id", "Provider", "Name", "State", "Created", "Last login")
    listing(columns, ((row, [_cell(value) for value in row.values()]) for row in rows), as_json)


def _user(user: Mapping[str, Any]) -> dict[str, Any]:
    provider, name = _name(user)
    state = "disabled" if user.get("disabled") else "active"
    row = {"id": user["_id"], "provider": provider, "name": name, "state": state}
    return {**row, "created": user.get("created"), "last_login": user.get("last_authenticated")}


def _unconfirmed(account: Mapping[str, Any]) -> dict[str, Any]:
    row = {"id": account["user_id"], "provider": "local-userpass", "name": account["_id"], "state": "unconfirmed"}
    return {**row, "created": account["created"], "last_login": None}


def _cell(value: Any) -> str:
    return value[:60] if isinstance(value, str) else dated(value)


def _name(user: Mapping[str, Any]) -> tuple[str, str]:
    identity = (user.get("identities") or [{}])[0]
    provider = str(identity.get("provider_type", ""))
    shown = user.get("data", {}).get("email") if provider == "local-userpass" else identity.get("id", "")
    return provider, str(shown)


@app.command("confirm")
def confirm_user(email: Email, config: Config = None, uri: Uri = None, data_dir: DataDir = None) -> None:
    """Confirm an account, so that its owner can log in."""
    settings = load({"uri": uri, "data_dir": data_dir}, config=config)
    user_id = with_directory(settings, lambda found: found.accounts.confirm_by_administrator(email))
    console().print(f"{email} is confirmed; the user's id is {user_id}.")


@app.command("reset-password")
def reset_password(email: Email, config: Config = None, uri: Uri = None, data_dir: DataDir = None) -> None:
    """Set another password, which is asked for, or read from standard input; the user's sessions end."""
    settings = load({"uri": uri, "data_dir": data_dir}, config=config)
    password = _password()
    with_directory(settings, lambda found: found.accounts.set_password(email, password))
    console().print(f"{email} has another password.")


@app.command("disable")
def disable_user(user: User, config: Config = None, uri: Uri = None, data_dir: DataDir = None) -> None:
    """Let a user call no more, and end their sessions; running servers follow within five seconds."""
    _apply(lambda found, user_id: found.set_disabled(user_id, True), user, config, uri, data_dir)
    console().print(f"{user} is disabled.")


@app.command("enable")
def enable_user(user: User, config: Config = None, uri: Uri = None, data_dir: DataDir = None) -> None:
    """Let a disabled user call again."""
    _apply(lambda found, user_id: found.set_disabled(user_id, False), user, config, uri, data_dir)
    console().print(f"{user} is enabled.")


@app.command("delete")
def delete_user(
    user: User,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask about databases.")] = False,
    config: Config = None,
    uri: Uri = None,
    data_dir: DataDir = None,
) -> None:
    """Forget a user with their account, API keys, sessions, and the databases that they own."""
    if not yes:
        owned = _apply(
            lambda found, user_id: found.owned.databases.of(user_id), user, config, uri, data_dir, looks=True
        )
        if owned and not typer.confirm(f"Drop {', '.join(one.name for one in owned)} of {user} for good?"):
            raise SettingsError("nothing was deleted")
    _apply(lambda found, user_id: found.delete(user_id), user, config, uri, data_dir)
    console().print(f"{user} is deleted.")


@app.command("sessions")
def list_sessions(
    user: User, as_json: Json = False, config: Config = None, uri: Uri = None, data_dir: DataDir = None
) -> None:
    """List the sessions of a user that are not over."""
    rows = []
    for session in _apply(lambda found, user_id: found.sessions.of(user_id), user, config, uri, data_dir, looks=True):
        row = {"session": session["_id"], "provider": session["provider"]}
        row |= {"created": session["created"], "expires": session["expires"]}
        rows.append((row, [_cell(value) for value in row.values()]))
    listing(("Session", "Provider", "Created", "Expires"), rows, as_json)


@app.command("log-out")
def log_out(user: User, config: Config = None, uri: Uri = None, data_dir: DataDir = None) -> None:
    """End all sessions of a user; running servers follow within five seconds."""
    ended = _apply(lambda found, user_id: found.sessions.revoke_of(user_id), user, config, uri, data_dir)
    console().print(f"Ended: {ended} session{'' if ended == 1 else 's'} of {user}.")


def _apply(
    act: Callable[[Directory, str], Awaitable[Any]],
    user: str,
    config: Any,
    uri: str | None,
    data_dir: Any,
    *,
    looks: bool = False,
) -> Any:
    async def use(found: Directory) -> Any:
        return await act(found, await found.user_id(user))

    return with_directory(load({"uri": uri, "data_dir": data_dir}, config=config), use, looks=looks)


def _password() -> str:
    """A password that no other process sees: typed without an echo, or the first line of standard input."""
    if sys.stdin.isatty():
        return str(typer.prompt("Password", hide_input=True, confirmation_prompt=True))
    password = sys.stdin.readline().rstrip("\r\n")
    if not password:
        raise SettingsError("a password is needed: type it, or give it as a line on standard input")
    return password
