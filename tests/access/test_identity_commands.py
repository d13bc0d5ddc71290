"""``doorleaf keys`` and ``doorleaf users``: what they print, and what becomes of it in a server."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import forked
import pytest
from people import PASSWORD, house
from servers import _clean_environment

COMMAND = str(Path(sys.executable).parent / "doorleaf")
EMAIL = "ann@example.com"


def doorleaf(folder: Path, *args: str, given: str = "") -> subprocess.CompletedProcess[str]:
    """Run the command to its end in ``folder``, with ``given`` on standard input."""
    return forked.run_text(args, folder=folder, env=_clean_environment({"COLUMNS": "200"}), given=given)


def succeeded(folder: Path, *args: str, given: str = "") -> str:
    done = doorleaf(folder, *args, given=given)
    assert done.returncode == 0, done.stderr
    return done.stdout


def failed(folder: Path, *args: str, given: str = "") -> str:
    done = doorleaf(folder, *args, given=given)
    assert done.returncode == 1, done.stdout
    assert "Traceback" not in done.stderr
    return done.stderr


def test_a_key_is_what_it_was_made_as(tmp_path: Path) -> None:
    made = doorleaf(tmp_path, "keys", "create", "plain")
    assert "judged by the rules" in made.stderr
    assert "--admin makes an administrator" in made.stderr
    admin = doorleaf(tmp_path, "keys", "create", "boss", "--admin")
    assert "an administrator, valid until it is revoked" in admin.stderr
    limits = (
        "--read-only",
        "--database",
        "shop",
        "--database",
        "lab",
        "--address",
        "127.0.0.0/8",
        "--rate",
        "9/second",
    )
    limited = succeeded(tmp_path, "keys", "create", "limited", "--admin", *limits, "--quota", "requests_per_day=5")
    role = doorleaf(tmp_path, "keys", "create", "ruled", "--role", "reader")
    assert "judged by the rules as reader" in role.stderr
    listed = succeeded(tmp_path, "keys", "list")
    assert re.search(r"^boss +active .* admin *$", listed, re.MULTILINE)
    assert re.search(
        r"^limited .* admin actions=read databases=shop,lab addresses=127.0.0.0/8 *$", listed, re.MULTILINE
    )
    assert re.search(r"^ruled .* roles=reader *$", listed, re.MULTILINE)
    with house(tmp_path / "doorleaf-data", data_api_key=None) as home:
        assert home.who({"apiKey": admin.stdout.strip()}).admin
        assert not home.who({"apiKey": made.stdout.strip()}).admin
        assert home.who({"apiKey": role.stdout.strip()}).roles == ("reader",)
        headers = {"apiKey": limited.strip()}
        assert home.ask(headers).status == 200
        refused = home.app.call("POST", "/data/v1/action/listDatabases", b"{}", headers)
        assert refused.status == 403


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("create", "a", "--admin", "--role", "r"), "an administrator is judged by no roles"),
        (("create", "a", "--read-only", "--action", "find"), "cannot be combined"),
        (("create", "a", "--action", "fly"), "there is no action 'fly'"),
        (("create", "a", "--quota", "many"), "is not like requests_per_day=1000"),
        (("rotate", "nobody"), "API key not found"),
        (("rotate", "a", "--overlap", "soon"), "is not like 30m, 12h or 90d"),
    ],
)
def test_mistakes_with_keys(tmp_path: Path, args: tuple[str, ...], said: str) -> None:
    succeeded(tmp_path, "keys", "create", "other")
    assert said in failed(tmp_path, "keys", *args)


def test_the_life_of_a_key(tmp_path: Path) -> None:
    first = succeeded(tmp_path, "keys", "create", "app", "--admin").strip()
    second = doorleaf(tmp_path, "keys", "rotate", "app", "--overlap", "24h")
    assert "the one before stays valid for 24h" in second.stderr
    with house(tmp_path / "doorleaf-data", data_api_key=None) as home:
        assert home.lets_in({"apiKey": first})
        assert home.lets_in({"apiKey": second.stdout.strip()})
    succeeded(tmp_path, "keys", "disable", "app")
    assert re.search(r"^app +disabled", succeeded(tmp_path, "keys", "list"), re.MULTILINE)
    with house(tmp_path / "doorleaf-data", data_api_key=None) as home:
        assert not home.lets_in({"apiKey": second.stdout.strip()})
    succeeded(tmp_path, "keys", "enable", "app")
    third = succeeded(tmp_path, "keys", "rotate", "app").strip()
    with house(tmp_path / "doorleaf-data", data_api_key=None) as home:
        assert [home.lets_in({"apiKey": key}) for key in (first, second.stdout.strip(), third)] == [False, False, True]
    succeeded(tmp_path, "keys", "delete", "app")
    assert "app" not in succeeded(tmp_path, "keys", "list")


def test_the_life_of_a_user(tmp_path: Path) -> None:
    settings = {"providers": ("api-key", "local-userpass")}
    user_id = succeeded(tmp_path, "users", "create", EMAIL, given=f"{PASSWORD}\n").strip()
    assert re.fullmatch("[0-9a-f]{24}", user_id)
    assert "name already in use" in failed(tmp_path, "users", "create", EMAIL, given=f"{PASSWORD}\n")
    assert "a password is needed" in failed(tmp_path, "users", "create", "bob@example.com")
    assert "between 6 and 128" in failed(tmp_path, "users", "create", "bob@example.com", given="short\n")
    with house(tmp_path / "doorleaf-data", **settings) as home:
        bearer = home.bearer("local-userpass", username=EMAIL, password=PASSWORD)
        home.run(home.directory.accounts.register("bob@example.com", PASSWORD))
    listed = succeeded(tmp_path, "users", "list")
    assert re.search(rf"^{user_id} +local-userpass +ann@example.com +active", listed, re.MULTILINE)
    assert re.search(r" local-userpass +bob@example.com +unconfirmed", listed)
    assert "local-userpass" in succeeded(tmp_path, "users", "sessions", EMAIL)
    assert "bob@example.com is confirmed" in succeeded(tmp_path, "users", "confirm", "bob@example.com")
    succeeded(tmp_path, "users", "reset-password", EMAIL, given="another horse\n")
    with house(tmp_path / "doorleaf-data", **settings) as home:
        assert not home.lets_in(bearer)
        assert not home.lets_in({"email": EMAIL, "password": PASSWORD})
        assert home.lets_in({"email": EMAIL, "password": "another horse"})
        assert home.lets_in({"email": "bob@example.com", "password": PASSWORD})
        home.login("local-userpass", username=EMAIL, password="another horse")
    assert "1 session of" in succeeded(tmp_path, "users", "log-out", user_id)
    succeeded(tmp_path, "users", "disable", EMAIL)
    assert re.search(rf"^{user_id} .* disabled ", succeeded(tmp_path, "users", "list"), re.MULTILINE)
    with house(tmp_path / "doorleaf-data", **settings) as home:
        assert not home.lets_in({"email": EMAIL, "password": "another horse"})
    succeeded(tmp_path, "users", "enable", user_id)
    succeeded(tmp_path, "users", "delete", EMAIL)
    assert EMAIL not in succeeded(tmp_path, "users", "list")
    assert "user not found" in failed(tmp_path, "users", "disable", EMAIL)
