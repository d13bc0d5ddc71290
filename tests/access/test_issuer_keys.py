"""The keys of a token issuer: kinds, rotation, outages, and what is no key for us."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from people import (
    EC,
    ED,
    OTHER_RSA,
    RSA,
    SECRET,
    WEAK_RSA,
    Issuer,
    accepted,
    house,
    issuer,
    jwk,
    pem,
    refused,
    shown,
    token,
)

from doorleaf.access.identity import custom_tokens
from doorleaf.access.identity import jwks as jwks_module

ON = ("api-key", "custom-token")


@pytest.fixture
def keys() -> Iterator[Issuer]:
    with issuer() as server:
        yield server


def with_issuer(tmp_path: Path, keys: Issuer, algorithm: str = "RS256") -> Any:
    table = {"algorithm": algorithm, "jwks_url": keys.url, "audience": ("my-app",)}
    return house(tmp_path / "data", providers=ON, custom_token=table)


def by(key: Any, key_id: str, algorithm: str = "RS256", **claims: Any) -> str:
    return token(key, algorithm, {"kid": key_id}, **claims)


@pytest.mark.parametrize(("algorithm", "key"), [("RS256", RSA), ("ES256", EC), ("EdDSA", ED)])
def test_a_key_set_of_each_kind(tmp_path: Path, keys: Issuer, algorithm: str, key: Any) -> None:
    keys.keys = [jwk(RSA, "r", "RS256"), jwk(EC, "e", "ES256"), jwk(ED, "d", "EdDSA")]
    own = {"RS256": "r", "ES256": "e", "EdDSA": "d"}[algorithm]
    with with_issuer(tmp_path, keys, algorithm) as home:
        accepted(home, by(key, own, algorithm))
        assert "names no key" in refused(home, token(key, algorithm))
        for other in {"r", "e", "d"} - {own}:
            assert "signature is invalid" in refused(home, by(key, other, algorithm))
        assert keys.asked == 1, "unknown ids within 30 seconds ask no more"


P384, P521 = ec.generate_private_key(ec.SECP384R1()), ec.generate_private_key(ec.SECP521R1())
FITTING: dict[str, Any] = {
    **dict.fromkeys(("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"), RSA),
    "ES256": EC,
    "ES384": P384,
    "ES512": P521,
    "EdDSA": ED,
}


def test_each_algorithm_takes_its_own_kind_of_key_alone() -> None:
    assert FITTING.keys() == jwks_module.KINDS.keys()
    listed = [jwk(key, algorithm, algorithm) for algorithm, key in FITTING.items()]
    unnamed = json.dumps({"keys": [{name: item[name] for name in item if name != "alg"} for item in listed]}).encode()
    named = json.dumps({"keys": [{**item, "alg": item["kid"]} for item in listed]}).encode()
    for algorithm, key in FITTING.items():
        fitting = {name for name, other in FITTING.items() if other is key}
        assert jwks_module._usable(unnamed, algorithm).keys() == fitting
        assert jwks_module._usable(named, algorithm).keys() == {algorithm}
        for other in {id(one): one for one in FITTING.values()}.values():
            if other is key:
                assert custom_tokens._key(algorithm, pem(other)) is not None
            else:
                with pytest.raises(ValueError, match="another kind"):
                    custom_tokens._key(algorithm, pem(other))


def test_a_key_set_of_other_lengths(tmp_path: Path, keys: Issuer) -> None:
    keys.keys = [jwk(RSA, "r", "PS256"), jwk(P384, "e", "ES384")]
    with with_issuer(tmp_path, keys, "ES384") as home:
        accepted(home, by(P384, "e", "ES384"))
        assert "not signed with ES384" in refused(home, by(EC, "e", "ES256"))
    with with_issuer(tmp_path / "other", keys, "PS256") as home:
        accepted(home, by(RSA, "r", "PS256"))
        assert "not signed with PS256" in refused(home, by(RSA, "r", "RS256"))


def test_an_issuer_rotates_its_keys(tmp_path: Path, keys: Issuer, monkeypatch: pytest.MonkeyPatch) -> None:
    keys.keys = [jwk(RSA, "one", "RS256")]
    with with_issuer(tmp_path, keys) as home:
        old = by(RSA, "one")
        accepted(home, old)
        source = home.custom_tokens._issuer
        assert source is not None
        now = [source._clock()]
        monkeypatch.setattr(source, "_clock", lambda: now[0])
        keys.keys = [jwk(OTHER_RSA, "two", "RS256")]
        for number in range(5):
            assert "signature is invalid" in refused(home, by(OTHER_RSA, "two", n=number))
        assert keys.asked == 1
        now[0] += 31
        accepted(home, by(OTHER_RSA, "two"))
        assert keys.asked == 2
        assert not home.lets_in(shown(old)), "what a withdrawn key signed is not remembered either"
        for number in range(5):
            assert "signature is invalid" in refused(home, by(RSA, "three", n=number))
        assert keys.asked == 2


def test_a_withdrawn_key_ends_without_anybody_naming_an_unknown_one(
    tmp_path: Path, keys: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys.keys = [jwk(RSA, "one", "RS256"), jwk(OTHER_RSA, "two", "RS256")]
    with with_issuer(tmp_path, keys) as home:
        accepted(home, by(OTHER_RSA, "two"))
        source = home.custom_tokens._issuer
        assert source is not None
        keys.keys = keys.keys[:1]
        now = source._clock()
        monkeypatch.setattr(source, "_clock", lambda: now + jwks_module.OLD + 1)
        home.lets_in(shown(by(RSA, "one")))
        if source._reading is not None:
            home.run(_wait(source._reading))
        assert keys.asked == 2
        assert "signature is invalid" in refused(home, by(OTHER_RSA, "two"))
        accepted(home, by(RSA, "one"))


async def _wait(task: Any) -> None:
    await task


@pytest.mark.parametrize("outage", [0, 500, 404, 302])
def test_an_issuer_goes_down(
    tmp_path: Path, keys: Issuer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, outage: int
) -> None:
    keys.keys = [jwk(RSA, "one", "RS256")]
    with with_issuer(tmp_path, keys) as home:
        accepted(home, by(RSA, "one"))
        source = home.custom_tokens._issuer
        assert source is not None
        keys.status = outage
        now = [source._clock() + 3600]
        monkeypatch.setattr(source, "_clock", lambda: now[0])
        for number in range(3):
            accepted(home, by(RSA, "one", n=number))
        now[0] += 31
        assert "signature is invalid" in refused(home, by(OTHER_RSA, "two"))
        accepted(home, by(RSA, "one", n=9))
        keys.status, keys.keys = 200, [*keys.keys, jwk(OTHER_RSA, "two", "RS256")]
        now[0] += 31
        accepted(home, by(OTHER_RSA, "two"))
        assert caplog.text.count("the keys of the token issuer cannot be read") == 1


def test_an_issuer_that_was_never_there_is_a_503(tmp_path: Path, keys: Issuer, monkeypatch: pytest.MonkeyPatch) -> None:
    keys.status = 0
    with with_issuer(tmp_path, keys) as home:
        answer = home.ask(shown(by(RSA, "one")))
        assert (answer.status, answer.json["error_code"]) == (503, "StoreUnavailable")
        assert keys.url not in answer.body.decode()
        assert "127.0.0.1" not in answer.body.decode()
        keys.status, keys.keys = 200, [jwk(RSA, "one", "RS256")]
        monkeypatch.setattr(jwks_module, "EAGER_PAUSE", -1.0)
        accepted(home, by(RSA, "one"))


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b'{"keys": 5}', b"<html>", b'{"keys": [' + b" " * 600_000 + b"]}", b"[" * 100_000]
)
def test_key_sets_that_are_none(tmp_path: Path, keys: Issuer, body: bytes) -> None:
    keys.body = body or b" "
    with with_issuer(tmp_path, keys) as home:
        assert home.ask(shown(by(RSA, "one"))).status == 503


def test_keys_that_do_not_fit_are_passed_over(tmp_path: Path, keys: Issuer) -> None:
    private = {**jwk(RSA, "private", "RS256"), "d": "AQAB"}
    secret = {"kty": "oct", "kid": "secret", "k": base64.urlsafe_b64encode(SECRET.encode()).decode(), "alg": "HS256"}
    keys.keys = [
        "x", {}, {"kid": 5}, {"kty": "RSA", "kid": "half"}, secret, private,
        jwk(RSA, "encryption", "RS256", use="enc"),
        jwk(RSA, "other", "RS256", alg="RS512"),
        jwk(WEAK_RSA, "weak", "RS256"),
        jwk(EC, "ec", "ES256"),
        jwk(RSA, "good", "RS256", alg="RS256"),
    ]  # fmt: skip
    with with_issuer(tmp_path, keys) as home:
        accepted(home, by(RSA, "good"))
        for key, key_id in ((RSA, "encryption"), (RSA, "other"), (RSA, "private"), (RSA, "half"), (RSA, "secret")):
            assert "signature is invalid" in refused(home, by(key, key_id)), key_id
        with pytest.warns(jwt.InsecureKeyLengthWarning):
            weak = by(WEAK_RSA, "weak")
        assert "signature is invalid" in refused(home, weak)
        assert "not signed with" in refused(home, token(SECRET, "HS256", {"kid": "secret"}))


def test_keys_inside_a_token_are_not_looked_at(tmp_path: Path, keys: Issuer) -> None:
    keys.keys = [jwk(RSA, "one", "RS256")]
    with with_issuer(tmp_path, keys) as home, issuer() as evil:
        evil.keys = [jwk(OTHER_RSA, "one", "RS256")]
        for header in ({"jku": evil.url}, {"jwk": evil.keys[0]}, {"x5u": evil.url}):
            text = token(OTHER_RSA, "RS256", {"kid": "one", **header})
            assert "signature is invalid" in refused(home, text)
        assert evil.asked == 0
        for key_id in ("../../etc/passwd", "one' OR 1=1", "", "\x00"):
            assert "signature is invalid" in refused(home, token(RSA, "RS256", {"kid": key_id}))
