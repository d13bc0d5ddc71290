"""Custom tokens: whose are believed, what they must say, what is taken from them, and keys that come and go."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest
from people import (
    ALGORITHMS,
    EC,
    OTHER_RSA,
    RSA,
    SECRET,
    WEAK_RSA,
    House,
    accepted,
    house,
    pem,
    refused,
    shown,
    token,
)
from pydantic import ValidationError

from doorleaf.access.identity import recent as recent_module
from doorleaf.access.identity.custom_tokens import CustomTokens
from doorleaf.settings.model import Settings
from doorleaf.settings.providers import CustomToken, MetadataField

ON = ("api-key", "custom-token")
HS256 = {"algorithm": "HS256", "keys": (SECRET,), "audience": ("my-app",)}


@pytest.fixture
def home(tmp_path: Path) -> Iterator[House]:
    with house(tmp_path / "data", providers=ON, custom_token=HS256) as running:
        yield running


# --- believed --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_token_of_each_algorithm(tmp_path: Path, algorithm: str) -> None:
    private, other, public = ALGORITHMS[algorithm]
    table = {"algorithm": algorithm, "keys": (public,), "audience": ("my-app",)}
    with house(tmp_path / "data", providers=ON, custom_token=table) as home:
        user_id = accepted(home, token(private, algorithm))
        assert accepted(home, token(private, algorithm, iat=1)) == user_id
        assert accepted(home, token(private, algorithm, sub="bob")) != user_id
        assert refused(home, token(other, algorithm)) == "invalid custom token: signature is invalid"
        for wrong in set(ALGORITHMS) - {algorithm}:
            assert "not signed with" in refused(home, token(ALGORITHMS[wrong][0], wrong))


def test_several_keys_are_tried(tmp_path: Path) -> None:
    table = {"algorithm": "RS256", "keys": (pem(OTHER_RSA), pem(RSA)), "audience": ("my-app",)}
    with house(tmp_path / "data", providers=ON, custom_token=table) as home:
        assert accepted(home, token(RSA, "RS256")) == accepted(home, token(OTHER_RSA, "RS256"))


def test_the_login_takes_key_for_token_too(home: House) -> None:
    assert home.login("custom-token", key=token()).status == 200
    answer = home.login("custom-token")
    assert (answer.status, answer.json["error_code"]) == (400, "InvalidParameter")
    assert home.login("custom-token", token={"$ne": 1}).status == 400


# --- not believed ----------------------------------------------------------------------------------------------------


def part(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def forged(genuine: str) -> list[str]:
    header, payload, signature = genuine.split(".")
    content = jwt.decode(genuine, options={"verify_signature": False})
    return [
        f"{part({'alg': 'none'})}.{payload}.",
        f"{part({'alg': 'NONE'})}.{payload}.{signature}",
        f"{part({'alg': 'HS512'})}.{payload}.{signature}",
        f"{part({'alg': ['HS256']})}.{payload}.{signature}",
        f"{part({'typ': 'JWT'})}.{payload}.{signature}",
        f"{part('HS256')}.{payload}.{signature}",
        f"{part({'alg': 'HS256', 'crit': ['exp']})}.{payload}.{signature}",
        f"{part({'alg': 'HS256', 'b64': False})}.{payload}.{signature}",
        f"{header}.{part({**content, 'sub': 'bob'})}.{signature}",
        f"{header}.{payload}.",
        f"{header}.{payload}",
        f"{header}.{payload}.{signature}.{signature}",
        json.dumps({"payload": payload, "signatures": [{"protected": header, "signature": signature}] * 2}),
        json.dumps({"payload": payload, "protected": header, "signature": signature}),
        f"{header}.{part([1])}.{signature}",
        f"{header}.{'A' * 9}.{signature}",
        token("another-hs256-key-of-at-least-32-characters"),
        jwt.encode(content, SECRET * 2, "HS384"),
        "x",
        "..",
        "é.é.é",
        genuine + "\x00",
    ]


def test_forged_tokens_are_refused(home: House) -> None:
    genuine = token()
    accepted(home, genuine)
    for text in forged(genuine):
        login = home.login("custom-token", token=text)
        assert login.status == 401, text
        assert not home.lets_in(shown(text.encode("utf-8").decode("latin-1"))), text


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
def test_a_public_key_is_no_secret(tmp_path: Path, algorithm: str) -> None:
    _, _, public = ALGORITHMS[algorithm]
    table = {"algorithm": algorithm, "keys": (public,), "audience": ("my-app",)}
    header, payload = part({"alg": "HS256", "typ": "JWT"}), part({"sub": "ann", "aud": "my-app", "exp": 2**40})
    with house(tmp_path / "data", providers=ON, custom_token=table) as home:
        for secret in (public.encode(), public.strip().encode()):
            signature = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256).sign(
                f"{header}.{payload}".encode(), secret
            )
            text = f"{header}.{payload}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"
            assert "not signed with" in refused(home, text)


NOW = int(time.time())
HOUR = 3600


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"exp": None}, "no exp"),
        ({"exp": NOW - 1}, "token expired"),
        ({"exp": "tomorrow"}, "exp is no time"),
        ({"exp": True}, "exp is no time"),
        ({"exp": float("inf")}, "exp is no time"),
        ({"exp": float("nan")}, "exp is no time"),
        ({"exp": [NOW + HOUR]}, "exp is no time"),
        ({"nbf": NOW + HOUR}, "not valid yet"),
        ({"iat": NOW + HOUR}, "issued in the future"),
        ({"sub": None}, "no sub"),
        ({"sub": ""}, "no sub"),
        ({"sub": 5}, "no sub"),
        ({"sub": {"$ne": ""}}, "no sub"),
        ({"sub": "x" * 4097}, "no sub"),
        ({"aud": None}, "another audience"),
        ({"aud": "other-app"}, "another audience"),
        ({"aud": []}, "another audience"),
        ({"aud": {"my-app": 1}}, "another audience"),
        ({"aud": [["my-app"]]}, "another audience"),
    ],
)
def test_claims_that_are_wrong(home: House, claims: dict[str, Any], reason: str) -> None:
    # Signed by hand: the library would not make some of these.
    now = int(time.time())
    content = {"sub": "ann", "aud": "my-app", "iat": now, "exp": now + HOUR, **claims}
    payload = json.dumps({name: value for name, value in content.items() if value is not None})
    text = jwt.api_jws.encode(payload.encode(), SECRET, "HS256", headers={"typ": "JWT"})
    assert reason in refused(home, text)


def test_a_token_has_at_most_a_million_characters(home: House) -> None:
    long = token(filler="x" * 740_000)
    assert 980_000 < len(long) <= 1_000_000
    assert home.login("custom-token", token=long).status == 200
    answer = home.login("custom-token", token=token(filler="x" * 760_000))
    assert (answer.status, answer.json["error_code"]) == (401, "AuthError")
    assert "1000000" in answer.json["error"]


@pytest.mark.parametrize(
    ("any_of_them", "audience", "fits"),
    [
        (False, ["one", "two"], True),
        (False, ["two", "three", "one"], True),
        (False, ["one"], False),
        (False, "one", False),
        (True, ["one"], True),
        (True, "two", True),
        (True, ["three"], False),
        (True, [], False),
    ],
)
def test_audiences_all_or_any(tmp_path: Path, any_of_them: bool, audience: Any, fits: bool) -> None:
    table = {**HS256, "audience": ("one", "two"), "require_any_audience": any_of_them}
    with house(tmp_path / "data", providers=ON, custom_token=table) as home:
        assert home.lets_in(shown(token(aud=audience))) is fits


def test_without_an_audience_it_is_one_of_the_apps(tmp_path: Path) -> None:
    table = {"algorithm": "HS256", "keys": (SECRET,)}
    with house(tmp_path / "data", providers=ON, custom_token=table, app_ids=("my-app", "old-app")) as home:
        assert home.lets_in(shown(token()))
        assert home.lets_in(shown(token(aud=["old-app"])))
        assert not home.lets_in(shown(token(aud="other")))


def test_issuer_leeway_and_required_claims(tmp_path: Path) -> None:
    table = {**HS256, "issuer": "https://me", "leeway_seconds": 60, "required_claims": ("email", "tenant")}
    with house(tmp_path / "data", providers=ON, custom_token=table) as home:
        good: dict[str, Any] = {"iss": "https://me", "email": "e", "tenant": 0}
        accepted(home, token(**good))
        accepted(home, token(**good, exp=int(time.time()) - 10, nbf=int(time.time()) + 30))
        assert "token expired" in refused(home, token(**good, exp=int(time.time()) - 61))
        assert "another issuer" in refused(home, token(**{**good, "iss": "https://you"}))
        assert "another issuer" in refused(home, token(**{**good, "iss": None}))
        assert "no email" in refused(home, token(**{**good, "email": None}))


# --- users -----------------------------------------------------------------------------------------------------------


def test_metadata_becomes_the_users_data(tmp_path: Path) -> None:
    fields = [
        {"name": "email", "required": True},
        {"name": "profile.name.first", "field_name": "first_name"},
        {"name": r"https://example\.com/roles", "field_name": "roles"},
        {"name": "level"},
    ]
    with house(tmp_path / "data", providers=ON, custom_token={**HS256, "metadata_fields": fields}) as home:
        claims: dict[str, Any] = {
            "profile": {"name": {"first": "Ann"}},
            "https://example.com/roles": ["a"],
            "level": 3,
            "other": 1,
        }
        accepted(home, token(email="ann@example.com", **claims))
        identity = home.who(shown(token(email="ann@example.com", **claims)))
        data = {"email": "ann@example.com", "first_name": "Ann", "roles": ["a"], "level": 3}
        assert identity.data == data
        assert (identity.kind, identity.provider) == ("normal", "custom-token")
        assert identity.user["identities"] == [{"id": "ann", "provider_type": "custom-token", "data": data}]
        accepted(home, token(email="new@example.com"))
        assert home.who(shown(token(email="new@example.com"))).data == {"email": "new@example.com"}
        assert "no email" in refused(home, token())
        assert "no email" in refused(home, token(email=None, profile={"email": "x"}))
        accepted(home, token(email="x" * 4096))
        assert "more than 4096" in refused(home, token(email="x" * 4097))
        assert "more than 4096" in refused(home, token(email=["x" * 4096]))


def test_without_create_user_on_auth_a_login_makes_the_user(tmp_path: Path) -> None:
    with house(tmp_path / "data", providers=ON, custom_token={**HS256, "create_user_on_auth": False}) as home:
        assert not home.lets_in(shown(token()))
        assert home.run(home.directory.listed()) == []
        user_id = home.login("custom-token", token=token()).json["user_id"]
        assert home.lets_in(shown(token()))
        assert home.who(shown(token(iat=5))).id == user_id


def test_a_user_is_made_once_also_by_many_requests_at_once(home: House) -> None:
    async def together() -> set[str]:
        calls = (home.directory.users.sign_in("custom-token", "ann", {}) for _ in range(8))
        return set(await asyncio.gather(*calls))

    assert len(home.run(together())) == 1
    assert len(home.run(home.directory.listed())) == 1


def test_disabled_and_deleted_users(home: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recent_module, "FRESH_SECONDS", 0.0)
    text = token()
    user_id = accepted(home, text)
    home.run(home.directory.set_disabled(user_id, True))
    assert not home.lets_in(shown(text))
    answer = home.login("custom-token", token=text)
    assert (answer.status, answer.json["error_code"]) == (401, "UserDisabled")
    home.run(home.directory.set_disabled(user_id, False))
    assert home.lets_in(shown(text))
    home.run(home.directory.delete(user_id))
    assert accepted(home, text) != user_id, "the issuer vouches for the person, who is new here"


def test_a_verified_token_costs_no_cryptography(home: House, monkeypatch: pytest.MonkeyPatch) -> None:
    text = token()
    assert home.lets_in(shown(text))
    monkeypatch.setattr(CustomTokens, "_signed", lambda *args: pytest.fail("verified again"))
    assert home.lets_in(shown(text))


def test_a_remembered_token_ends_when_it_says(home: House, monkeypatch: pytest.MonkeyPatch) -> None:
    text = token()
    assert home.lets_in(shown(text))
    monkeypatch.setattr(home.custom_tokens, "_clock", lambda: time.time() + 3601)
    assert not home.lets_in(shown(text))


def test_no_token_reaches_the_log(home: House, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    good, bad = token(), token("another-hs256-key-of-at-least-32-characters")
    for text in (good, bad):
        home.ask(shown(text))
        home.login("custom-token", token=text)
    for secret in (good, bad, SECRET, good.split(".")[2], bad.split(".")[2]):
        assert secret not in caplog.text


# --- settings --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"algorithm": "none", "keys": (SECRET,)}, "algorithm"),
        ({"algorithm": "RS384", "keys": (SECRET,)}, "algorithm"),
        ({"algorithm": "HS256"}, "either keys or jwks_url"),
        ({"algorithm": "HS256", "keys": ("short",)}, "32 to 512"),
        ({"algorithm": "HS256", "keys": (pem(RSA),)}, "32 to 512"),
        ({"algorithm": "RS256", "keys": (SECRET,)}, "public key in PEM"),
        ({"algorithm": "RS256", "jwks_url": "http://example.com/jwks"}, "must begin with https"),
        ({"algorithm": "RS256", "jwks_url": "file:///etc/passwd"}, "must begin with https"),
        ({"algorithm": "RS256", "jwks_url": "https://u:p@example.com/"}, "no user"),
        ({"algorithm": "HS256", "jwks_url": "https://example.com/jwks"}, "HS256 has no public keys"),
        ({"algorithm": "RS256", "keys": (pem(RSA),), "jwks_url": "https://example.com"}, "either keys or jwks_url"),
    ],
)
def test_settings_that_are_wrong(table: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said) as caught:
        CustomToken(**table)
    assert SECRET not in "".join(item["msg"] for item in caught.value.errors())


@pytest.mark.parametrize(("algorithm", "key"), [("RS256", EC), ("ES256", RSA), ("EdDSA", RSA), ("RS256", WEAK_RSA)])
def test_keys_of_another_kind_are_refused_at_the_start(algorithm: str, key: Any) -> None:
    with pytest.raises(ValueError, match=r"of another kind|2048 bits"):
        CustomTokens(CustomToken(algorithm=algorithm, keys=(pem(key),), audience=("a",)))  # type: ignore[arg-type]


def test_somebody_must_be_the_audience() -> None:
    with pytest.raises(ValidationError, match="needs an audience"):
        Settings(providers=ON, custom_token={"algorithm": "HS256", "keys": (SECRET,)})  # type: ignore[arg-type]
    with pytest.raises(ValidationError, match="need each other"):
        Settings(providers=ON)
    with pytest.raises(ValidationError, match="need each other"):
        Settings(custom_token=HS256)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "path", "target"),
    [
        ("email", ("email",), "email"),
        ("a.b.c", ("a", "b", "c"), "c"),
        (r"https://x\.y/z", ("https://x.y/z",), None),
        (r"a\.b.c", ("a.b", "c"), "c"),
    ],
)
def test_paths_of_metadata(name: str, path: tuple[str, ...], target: str | None) -> None:
    item = MetadataField(name=name, field_name=None if target else "z")
    assert item.path == path
    assert item.target == (target or "z")


@pytest.mark.parametrize("name", ["", ".", "a.", ".a", "a..b"])
def test_paths_that_are_none(name: str) -> None:
    with pytest.raises(ValidationError):
        MetadataField(name=name)
