"""Attempts with tokens: forged and borrowed JSON Web Tokens, sessions that are over, and keys of the issuer's."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from red_team import Answer, Target, target

FIND = {"database": "shop", "collection": "orders"}
ACTION = "/data/v1/action/find"
LOGIN = "/auth/providers/{}/login"
SESSION = "/auth/session"
PROFILE = "/api/client/v2.0/auth/profile"
ISSUER, AUDIENCE = "https://issuer.example", "shop-abcde"
EMAIL, PASSWORD = "ann@shop.example", "correct horse battery"


def _rsa() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


class Issuer:
    """A token issuer with a key set on loopback; ``reads`` counts how often the set was asked for."""

    def __init__(self) -> None:
        self.key, self.other = _rsa(), _rsa()
        self.curve, self.edwards = ec.generate_private_key(ec.SECP256R1()), ed25519.Ed25519PrivateKey.generate()
        self.reads = 0
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer.reads += 1
                content = json.dumps({"keys": [issuer.public("one")]}).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/keys"

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def public(self, name: str) -> dict[str, Any]:
        numbers = self.key.public_key().public_numbers()
        return {
            "kty": "RSA",
            "kid": name,
            "use": "sig",
            "alg": "RS256",
            "n": _number(numbers.n),
            "e": _number(numbers.e),
        }

    def pem(self) -> str:
        return self.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()

    def token(
        self,
        claims: Mapping[str, Any] | None = None,
        *,
        without: str = "",
        headers: Mapping[str, Any] | None = None,
        key: Any = None,
        algorithm: str = "RS256",
    ) -> str:
        """A token that would be good, but for what is given."""
        now = int(time.time())
        content = {"sub": "ann", "aud": AUDIENCE, "iss": ISSUER, "iat": now, "exp": now + 600, "tenant": "red"}
        content |= claims or {}
        content.pop(without, None)
        return jwt.encode(content, key or self.key, algorithm=algorithm, headers={"kid": "one", **(headers or {})})


def _number(value: int) -> str:
    return _part(value.to_bytes((value.bit_length() + 7) // 8, "big"))


def _part(content: bytes | Mapping[str, Any]) -> str:
    raw = content if isinstance(content, bytes) else json.dumps(content).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _parts(token: str) -> tuple[dict[str, Any], dict[str, Any], str]:
    header, claims, signature = token.split(".")
    return _json(header), _json(claims), signature


def _json(part: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return found


def _hmac(secret: str, claims: Mapping[str, Any], **headers: Any) -> str:
    """A token signed by hand: libraries refuse to take a public key for a secret."""
    signed = f"{_part({'alg': 'HS256', 'typ': 'JWT', 'kid': 'one', **headers})}.{_part(claims)}"
    return f"{signed}.{_part(hmac.digest(secret.encode(), signed.encode(), hashlib.sha256))}"


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    running = Issuer()
    yield running
    running.stop()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, issuer: Issuer) -> Iterator[Target]:
    settings: dict[str, Any] = {
        "providers": ["api-key", "local-userpass", "custom-token", "anon-user"],
        "auto_confirm": True,
        "app_ids": [AUDIENCE],
        "custom_token": {
            "algorithm": "RS256",
            "jwks_url": issuer.url,
            "audience": [AUDIENCE],
            "issuer": ISSUER,
            "metadata_fields": [{"name": "tenant", "field_name": "name"}],
        },
    }
    with target(tmp_path_factory.mktemp("red-team"), **settings) as under_attack:
        register = f"/api/client/v2.0/app/{AUDIENCE}/auth/providers/local-userpass/register"
        assert under_attack.call("POST", register, {"email": EMAIL, "password": PASSWORD}).status == 201
        yield under_attack


# --- tokens of an issuer ---------------------------------------------------------------------------------------------

Forge = Callable[[Issuer], str]


def _stripped(issuer: Issuer) -> str:
    return issuer.token().rpartition(".")[0] + "."


def _none(name: str) -> Forge:
    def forge(issuer: Issuer) -> str:
        _, claims, _ = _parts(issuer.token())
        return f"{_part({'alg': name, 'kid': 'one'})}.{_part(claims)}."

    return forge


def _tampered(issuer: Issuer) -> str:
    header, claims, signature = issuer.token().split(".")
    return f"{header}.{_part({**_json(claims), 'tenant': 'blue'})}.{signature}"


def _confused(issuer: Issuer) -> str:
    return _hmac(issuer.pem(), _parts(issuer.token())[1])


def _with_its_own_key(issuer: Issuer) -> str:
    numbers = issuer.other.public_key().public_numbers()
    own = {"kty": "RSA", "n": _number(numbers.n), "e": _number(numbers.e)}
    return issuer.token(key=issuer.other, headers={"jwk": own})


def _with_claims(**claims: Any) -> Forge:
    return lambda issuer: issuer.token(claims)


def _without(name: str) -> Forge:
    return lambda issuer: issuer.token(without=name)


def _with_header(**headers: Any) -> Forge:
    return lambda issuer: issuer.token(headers=headers)


def _by_hand(issuer: Issuer, kid: Any = "one", **changed: Any) -> str:
    """A token with claims and a key id of any type, which libraries do not write."""
    signed = f"{_part({'alg': 'RS256', 'kid': kid})}.{_part({**_parts(issuer.token())[1], **changed})}"
    return f"{signed}.{_part(jwt.get_algorithm_by_name('RS256').sign(signed.encode(), issuer.key))}"


def _kid(value: Any) -> Forge:
    return lambda issuer: _by_hand(issuer, value)


LONG_AGO, FAR = 1_500_000_000, 4_000_000_000

FORGED: dict[str, Forge] = {
    "no algorithm": _none("none"),
    "no algorithm, in capitals": _none("NONE"),
    "no algorithm, mixed": _none("nOnE"),
    "an empty algorithm": _none(""),
    "no signature": _stripped,
    "another's signature": lambda issuer: issuer.token(key=issuer.other),
    "changed claims": _tampered,
    "the public key for a secret": _confused,
    "an empty secret": lambda issuer: _hmac("", _parts(issuer.token())[1]),
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
    "one part": lambda issuer: _part(_parts(issuer.token())[1]),
    "four parts": lambda issuer: issuer.token() + ".x",
    "five parts": lambda issuer: f"{_part({'alg': 'dir', 'enc': 'A256GCM'})}.a.b.c.d",
    "a space inside": lambda issuer: issuer.token().replace(".", " .", 1),
    "as JSON": lambda issuer: json.dumps(
        dict(zip(("protected", "payload", "signature"), issuer.token().split("."), strict=True))
    ),
    "claims that are an array": lambda issuer: f"{issuer.token().split('.')[0]}.{_part(b'[]')}.x",
    "deep claims": lambda issuer: f"{issuer.token().split('.')[0]}.{_part(b'[' * 5000)}.x",
    "nothing": lambda issuer: "",
    "dots": lambda issuer: "..",
    "a bracket": lambda issuer: "{}",
}


def _shown(server: Target, token: str) -> Iterator[Answer]:
    """The answers to ``token`` wherever one can be shown."""
    yield server.call("POST", ACTION, FIND, {"jwtTokenString": token})
    yield server.call("POST", LOGIN.format("custom-token"), {"token": token})
    yield server.call("POST", LOGIN.format("custom-token"), {"key": token})
    yield server.call("POST", ACTION, FIND, {"Authorization": f"Bearer {token}"})


@pytest.mark.parametrize("name", FORGED)
def test_tokens_that_nobody_issued(server: Target, issuer: Issuer, name: str) -> None:
    for answer in _shown(server, FORGED[name](issuer)):
        server.require_refused(answer, (400, 401))


def test_good_tokens_are_good(server: Target, issuer: Issuer) -> None:
    """That forged tokens are refused says something only where good ones are not."""
    through, login, same, bearer = _shown(server, issuer.token())
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


# --- tokens of our own -----------------------------------------------------------------------------------------------


def _begin(server: Target, provider: str = "anon-user", body: Mapping[str, Any] | None = None) -> dict[str, Any]:
    answer = server.call("POST", LOGIN.format(provider), body or {})
    assert answer.status == 200, answer.body
    session: dict[str, Any] = answer.json
    return session


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def _let_in(server: Target, token: str) -> set[int]:
    """The statuses of the calls that take an access token."""
    calls = (("POST", ACTION, json.dumps(FIND).encode()), ("GET", PROFILE, b""))
    return {server.call(method, path, body, _bearer(token)).status for method, path, body in calls}


def _changed(token: str, **claims: Any) -> str:
    header, content, signature = token.split(".")
    return f"{header}.{_part({**_json(content), **claims})}.{signature}"


def _resigned(token: str, secret: str, **claims: Any) -> str:
    return _hmac(secret, {**_parts(token)[1], **claims})


BORROWED: dict[str, Callable[[dict[str, Any]], str]] = {
    "a refresh token": lambda session: session["refresh_token"],
    "another user": lambda session: _changed(session["access_token"], sub="0" * 24),
    "another provider": lambda session: _changed(session["access_token"], provider="system"),
    "another end": lambda session: _changed(session["access_token"], exp=FAR),
    "a refresh token called access": lambda session: _changed(session["refresh_token"], typ="access"),
    "no algorithm": lambda session: f"{_part({'alg': 'none'})}.{session['access_token'].split('.')[1]}.",
    "no signature": lambda session: session["access_token"].rpartition(".")[0] + ".",
    "an empty secret": lambda session: _resigned(session["access_token"], ""),
    "a secret that anybody would try": lambda session: _resigned(session["access_token"], "secret"),
    "a secret of blanks": lambda session: _resigned(session["access_token"], " " * 32),
    "the header of another algorithm": lambda session: (
        f"{_part({'alg': 'HS512', 'typ': 'JWT'})}.{session['access_token'].partition('.')[2]}"
    ),
    "half a token": lambda session: session["access_token"][:-10],
    "the user's id": lambda session: session["user_id"],
    "two tokens": lambda session: f"{session['access_token']} {session['access_token']}",
    "two tokens in a list": lambda session: f"{session['access_token']},{session['refresh_token']}",
}


@pytest.mark.parametrize("name", BORROWED)
def test_access_tokens_that_are_none(server: Target, name: str) -> None:
    session = _begin(server)
    assert _let_in(server, session["access_token"]) == {200}
    assert _let_in(server, BORROWED[name](session)) == {401}


@pytest.mark.parametrize("method", ["POST", "DELETE"])
def test_refresh_tokens_that_are_none(server: Target, method: str) -> None:
    session = _begin(server)
    refresh = session["refresh_token"]
    wrong = [
        session["access_token"],
        _changed(session["access_token"], typ="refresh"),
        _changed(refresh, sub="0" * 24),
        _changed(refresh, iss="0" * 24),
        _resigned(refresh, "secret"),
        f"{_part({'alg': 'none'})}.{refresh.split('.')[1]}.",
        refresh[:-10],
        "",
    ]
    for token in wrong:
        for path in (SESSION, "/api/client/v2.0/auth/session"):
            server.require_refused(server.call(method, path, b"", _bearer(token)), (401,))
    assert server.call("POST", SESSION, b"", _bearer(refresh)).status in (200, 201)


def test_a_session_that_ended_is_over(server: Target) -> None:
    session, other = _begin(server), _begin(server)
    access, refresh = session["access_token"], session["refresh_token"]
    assert server.call("DELETE", SESSION, b"", _bearer(refresh)).status == 204
    assert _let_in(server, access) == {401}
    assert server.call("POST", SESSION, b"", _bearer(refresh)).status == 401
    assert server.call("DELETE", SESSION, b"", _bearer(refresh)).status == 401
    assert _let_in(server, other["access_token"]) == {200}


def test_a_key_that_ended_takes_its_sessions_along(server: Target) -> None:
    for end in ({"disabled": True}, None):
        made = server.call("POST", "/api/admin/v1/keys", {"name": "short-lived"}, key="root")
        assert made.status == 201, made.body
        session = _begin(server, "api-key", {"key": made.json["key"]})
        assert _let_in(server, session["access_token"]) == {200}
        if end is None:
            ended = server.call("POST", "/api/admin/v1/keys/short-lived/revoke", {}, key="root")
        else:
            ended = server.call("PATCH", "/api/admin/v1/keys/short-lived", end, key="root")
        assert ended.status == 200, ended.body
        assert _let_in(server, session["access_token"]) == {401}
        assert server.call("POST", SESSION, b"", _bearer(session["refresh_token"])).status == 401
        assert server.call("POST", ACTION, FIND, {"apiKey": made.json["key"]}).status == 401
        assert server.call("DELETE", "/api/admin/v1/keys/short-lived", b"", key="root").status == 204


def test_a_key_that_was_rotated_takes_its_sessions_along(server: Target) -> None:
    """Keys are rotated because somebody else may have them: what was begun with the old one must end as well."""
    made = server.call("POST", "/api/admin/v1/keys", {"name": "rotated"}, key="root").json
    session = _begin(server, "api-key", {"key": made["key"]})
    rotated = server.call("POST", "/api/admin/v1/keys/rotated/rotate", {}, key="root")
    assert rotated.status == 200
    assert server.call("POST", ACTION, FIND, {"apiKey": made["key"]}).status == 401
    assert _let_in(server, session["access_token"]) == {401}
    assert server.call("POST", SESSION, b"", _bearer(session["refresh_token"])).status == 401
    fresh = _begin(server, "api-key", {"key": rotated.json["key"]})
    assert _let_in(server, fresh["access_token"]) == {200}
    assert server.call("DELETE", "/api/admin/v1/keys/rotated", b"", key="root").status == 204


def test_users_that_are_gone_are_nobody(server: Target, issuer: Issuer) -> None:
    token = issuer.token({"sub": "leaver"})
    session = _begin(server, "custom-token", {"token": token})
    user = f"/api/admin/v1/users/{session['user_id']}"
    assert server.call("POST", f"{user}/disable", {}, key="root").status in (200, 204)
    assert _let_in(server, session["access_token"]) == {401}
    for answer in _shown(server, token):
        server.require_refused(answer, (401,))
    assert server.call("POST", SESSION, b"", _bearer(session["refresh_token"])).status == 401


def test_a_new_password_ends_what_the_old_one_began(server: Target) -> None:
    session = _begin(server, "local-userpass", {"username": EMAIL, "password": PASSWORD})
    headers = {"email": EMAIL, "password": PASSWORD}
    assert server.call("POST", ACTION, FIND, headers).status == 200
    path = f"/api/admin/v1/users/{session['user_id']}/reset-password"
    assert server.call("POST", path, {"password": "another battery"}, key="root").status in (200, 204)
    assert _let_in(server, session["access_token"]) == {401}
    assert server.call("POST", SESSION, b"", _bearer(session["refresh_token"])).status == 401
    assert server.call("POST", ACTION, FIND, headers).status == 401


# --- keys of one's own -----------------------------------------------------------------------------------------------

OWN_KEYS = "/api/client/v2.0/auth/api_keys"


def test_nobody_has_keys_of_anothers(server: Target, issuer: Issuer) -> None:
    ann, eve = (_begin(server, "custom-token", {"token": issuer.token({"sub": name})}) for name in ("ann", "eve"))
    anonymous, service = _begin(server), _begin(server, "api-key", {"key": server.keys["red"]})
    made = server.call("POST", OWN_KEYS, {"name": "mine"}, _bearer(ann["refresh_token"]))
    assert made.status == 201, made.body
    path = f"{OWN_KEYS}/{made.json['_id']}"
    for method, target_path in (("GET", path), ("DELETE", path), ("PUT", f"{path}/disable"), ("PUT", f"{path}/enable")):
        for token, statuses in (
            (eve["refresh_token"], (404,)),
            (ann["access_token"], (401,)),
            (anonymous["refresh_token"], (403,)),
            (service["refresh_token"], (403,)),
        ):
            server.require_refused(server.call(method, target_path, b"", _bearer(token)), statuses)
    assert server.call("GET", OWN_KEYS, b"", _bearer(eve["refresh_token"])).json == []
    for name in ({"$ne": 1}, "", "a" * 101, "a\n", "../x", 5, None):
        server.require_refused(server.call("POST", OWN_KEYS, {"name": name}, _bearer(eve["refresh_token"])), (400,))
    own = {"apiKey": made.json["key"]}
    assert len(server.call("POST", ACTION, FIND, own).json["documents"]) == 2
    server.require_refused(server.call("GET", "/api/admin/v1/keys", b"", own), (403,))


def test_the_secret_of_the_tokens_is_nobodys_business(server: Target) -> None:
    folder = server.audit.parent / "data"
    secret = folder / "token.secret"
    assert secret.stat().st_mode & 0o077 == 0
    text = secret.read_text()
    assert text not in server.server.output() + server.audit.read_text()


def test_there_are_enough_attempts() -> None:
    assert len(FORGED) + len(TENANTS) + len(BORROWED) >= 90
