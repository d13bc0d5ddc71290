"""Attempts with tokens of an issuer: forged and borrowed JSON Web Tokens, and claims that a tricked issuer signs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import jwt
import pytest
from issuing import (
    ACTION,
    AUDIENCE,
    FAR,
    FIND,
    ISSUER,
    LONG_AGO,
    Issuer,
    believing,
    issuing,
    json_of,
    number_part,
    part,
    parts,
    shown,
    signed_by_hand,
)
from red_team import Target


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    with issuing() as running:
        yield running


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, issuer: Issuer) -> Iterator[Target]:
    with believing(issuer, tmp_path_factory.mktemp("red-team")) as under_attack:
        yield under_attack


Forge = Callable[[Issuer], str]


def _stripped(issuer: Issuer) -> str:
    return issuer.token().rpartition(".")[0] + "."


def _none(name: str) -> Forge:
    def forge(issuer: Issuer) -> str:
        _, claims, _ = parts(issuer.token())
        return f"{part({'alg': name, 'kid': 'one'})}.{part(claims)}."

    return forge


def _tampered(issuer: Issuer) -> str:
    header, claims, signature = issuer.token().split(".")
    return f"{header}.{part({**json_of(claims), 'tenant': 'blue'})}.{signature}"


def _confused(issuer: Issuer) -> str:
    return signed_by_hand(issuer.pem(), parts(issuer.token())[1])


def _with_its_own_key(issuer: Issuer) -> str:
    numbers = issuer.other.public_key().public_numbers()
    own = {"kty": "RSA", "n": number_part(numbers.n), "e": number_part(numbers.e)}
    return issuer.token(key=issuer.other, headers={"jwk": own})


def _with_claims(**claims: Any) -> Forge:
    return lambda issuer: issuer.token(claims)


def _without(name: str) -> Forge:
    return lambda issuer: issuer.token(without=name)


def _with_header(**headers: Any) -> Forge:
    return lambda issuer: issuer.token(headers=headers)


def _by_hand(issuer: Issuer, kid: Any = "one", **changed: Any) -> str:
    """A token with claims and a key id of any type, which libraries do not write."""
    signed = f"{part({'alg': 'RS256', 'kid': kid})}.{part({**parts(issuer.token())[1], **changed})}"
    return f"{signed}.{part(jwt.get_algorithm_by_name('RS256').sign(signed.encode(), issuer.key))}"


def _kid(value: Any) -> Forge:
    return lambda issuer: _by_hand(issuer, value)


FORGED: dict[str, Forge] = {
    "no algorithm": _none("none"),
    "no algorithm, in capitals": _none("NONE"),
    "no algorithm, mixed": _none("nOnE"),
    "an empty algorithm": _none(""),
    "no signature": _stripped,
    "another's signature": lambda issuer: issuer.token(key=issuer.other),
    "changed claims": _tampered,
    "the public key for a secret": _confused,
    "an empty secret": lambda issuer: signed_by_hand("", parts(issuer.token())[1]),
    "a secret of another kind": lambda issuer: issuer.token(key="k" * 64, algorithm="HS512"),
    "another strength": lambda issuer: issuer.token(algorithm="RS512"),
    "another padding": lambda issuer: issuer.token(algorithm="PS256"),
    "a curve": lambda issuer: issuer.token(key=issuer.curve, algorithm="ES256"),
    "another curve": lambda issuer: issuer.token(key=issuer.edwards, algorithm="EdDSA"),
    "a key of its own": _with_its_own_key,
    "an address for keys": lambda issuer: issuer.token(key=issuer.other, headers={"jku": "http://127.0.0.1:1/keys"}),
    "an address for a certificate": lambda issuer: issuer.token(
        key=issuer.other, headers={"x5u": "http://127.0.0.1:1"}
    ),
    "extensions that count": _with_header(crit=["exp"], exp=FAR),
    "a content that is not encoded": _with_header(b64=False, crit=["b64"]),
    "a key id that is a path": _with_header(kid="../../../../dev/null"),
    "a key id that is a query": _with_header(kid="one' OR '1'='1"),
    "a key id that is an operator": _kid({"$ne": None}),
    "a key id in an array": _kid(["one"]),
    "a key id that is null": _kid(None),
    "a key id in capitals": _with_header(kid="ONE"),
    "no exp": _without("exp"),
    "an exp of the past": _with_claims(exp=LONG_AGO),
    "an exp that is a text": _with_claims(exp="4000000000"),
    "an exp that is true": _with_claims(exp=True),
    "an exp that is an object": _with_claims(exp={"$gt": 0}),
    "an exp without end": _with_claims(exp=float("inf")),
    "an exp that is no number": _with_claims(exp=float("nan")),
    "an exp below zero": _with_claims(exp=-FAR),
    "a begin in the future": _with_claims(nbf=FAR),
    "issued in the future": _with_claims(iat=FAR, exp=FAR + 60),
    "no audience": _without("aud"),
    "another audience": _with_claims(aud="other-app"),
    "the audience in capitals": _with_claims(aud=AUDIENCE.upper()),
    "an audience that begins so": _with_claims(aud=f"{AUDIENCE}x"),
    "an audience that is an object": _with_claims(aud={AUDIENCE: 1}),
    "an audience in an array of arrays": _with_claims(aud=[[AUDIENCE]]),
    "no issuer": _without("iss"),
    "another issuer": _with_claims(iss="https://issuer.example.evil.example"),
    "issuers in an array": lambda issuer: _by_hand(issuer, iss=[ISSUER]),
    "no subject": _without("sub"),
    "an empty subject": _with_claims(sub=""),
    "a subject that is an object": _with_claims(sub={"$ne": None}),
    "a subject that is a number": _with_claims(sub=5),
    "a subject that is long": _with_claims(sub="a" * 10_000),
    "one part": lambda issuer: part(parts(issuer.token())[1]),
    "four parts": lambda issuer: issuer.token() + ".x",
    "five parts": lambda issuer: f"{part({'alg': 'dir', 'enc': 'A256GCM'})}.a.b.c.d",
    "a space inside": lambda issuer: issuer.token().replace(".", " .", 1),
    "as JSON": lambda issuer: json.dumps(
        dict(zip(("protected", "payload", "signature"), issuer.token().split("."), strict=True))
    ),
    "claims that are an array": lambda issuer: f"{issuer.token().split('.')[0]}.{part(b'[]')}.x",
    "deep claims": lambda issuer: f"{issuer.token().split('.')[0]}.{part(b'[' * 5000)}.x",
    "nothing": lambda issuer: "",
    "dots": lambda issuer: "..",
    "a bracket": lambda issuer: "{}",
}


@pytest.mark.parametrize("name", FORGED)
def test_tokens_that_nobody_issued(server: Target, issuer: Issuer, name: str) -> None:
    for answer in shown(server, FORGED[name](issuer)):
        server.require_refused(answer, (400, 401))


def test_good_tokens_are_good(server: Target, issuer: Issuer) -> None:
    """That forged tokens are refused says something only where good ones are not."""
    through, login, same, bearer = shown(server, issuer.token())
    assert [document["tenant"] for document in through.json["documents"]] == ["red", "red"]
    assert (login.status, same.status, bearer.status) == (200, 200, 401)


def test_unknown_key_ids_do_not_make_us_ask_the_issuer_each_time(server: Target, issuer: Issuer) -> None:
    assert server.call("POST", ACTION, FIND, {"jwtTokenString": issuer.token()}).status == 200
    before = issuer.reads
    for number in range(60):
        token = issuer.token(key=issuer.other, headers={"kid": f"flood-{number}"})
        server.require_refused(server.call("POST", ACTION, FIND, {"jwtTokenString": token}), (401,))
    assert issuer.reads - before <= 2
    assert server.call("POST", ACTION, FIND, {"jwtTokenString": issuer.token()}).status == 200


TENANTS: dict[str, Any] = {
    "an operator": {"$ne": "red"},
    "another operator": {"$gt": ""},
    "an operator in an array": [{"$ne": "red"}],
    "a pattern": {"$regex": ""},
    "a pattern of Extended JSON": {"$regularExpression": {"pattern": "", "options": ""}},
    "an expansion": "%%root.tenant",
    "an expansion of the document": {"%%root": {"$exists": True}},
    "a field": "$tenant",
    "a variable": "$$ROOT.tenant",
    "nothing": None,
    "true": True,
    "an empty text": "",
    "an empty object": {},
    "an empty array": [],
    "a NUL": "red\0",
    "a name with a NUL": {"a\0b": 1},
    "a name with a dollar": {"$where": "1"},
    "half a character": "\ud800",
    "a number that is too large": 2**80,
    "a deep one": json.loads("[" * 150 + "]" * 150),
}
"""Tenants that a tricked issuer might sign: none of them is anybody's, and none is a fault of ours."""


@pytest.mark.parametrize("name", TENANTS)
def test_claims_are_never_more_than_values(server: Target, issuer: Issuer, name: str) -> None:
    token = issuer.token({"tenant": TENANTS[name], "sub": f"tenant of {name}"})
    asked: dict[str, dict[str, Any]] = {"find": {}, "countDocuments": {}, "aggregate": {"pipeline": []}}
    for action, extra in asked.items():
        answer = server.call("POST", f"/data/v1/action/{action}", {**FIND, **extra}, {"jwtTokenString": token})
        if answer.status == 200:
            assert answer.json in ({"documents": []}, {"count": 0})
        server.require_no_leak(answer)
        assert answer.status in (200, 400, 401, 403), answer.body


def test_without_the_claim_there_is_nothing(server: Target, issuer: Issuer) -> None:
    token = issuer.token({"sub": "nobody"}, without="tenant")
    assert server.call("POST", ACTION, FIND, {"jwtTokenString": token}).json == {"documents": []}


def test_there_are_enough_attempts() -> None:
    assert len(FORGED) + len(TENANTS) >= 75
