"""A token issuer on loopback and a server that believes it, for attempts with tokens."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jwt
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
            "n": number_part(numbers.n),
            "e": number_part(numbers.e),
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


def number_part(value: int) -> str:
    return part(value.to_bytes((value.bit_length() + 7) // 8, "big"))


def part(content: bytes | Mapping[str, Any]) -> str:
    raw = content if isinstance(content, bytes) else json.dumps(content).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def parts(token: str) -> tuple[dict[str, Any], dict[str, Any], str]:
    header, claims, signature = token.split(".")
    return json_of(header), json_of(claims), signature


def json_of(part: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return found


def signed_by_hand(secret: str, claims: Mapping[str, Any], **headers: Any) -> str:
    """A token signed by hand: libraries refuse to take a public key for a secret."""
    signed = f"{part({'alg': 'HS256', 'typ': 'JWT', 'kid': 'one', **headers})}.{part(claims)}"
    return f"{signed}.{part(hmac.digest(secret.encode(), signed.encode(), hashlib.sha256))}"


@contextmanager
def issuing() -> Iterator[Issuer]:
    running = Issuer()
    try:
        yield running
    finally:
        running.stop()


@contextmanager
def believing(issuer: Issuer, folder: Path) -> Iterator[Target]:
    """A server that takes tokens of ``issuer``, with a user who has a password."""
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
    with target(folder, **settings) as under_attack:
        register = f"/api/client/v2.0/app/{AUDIENCE}/auth/providers/local-userpass/register"
        assert under_attack.call("POST", register, {"email": EMAIL, "password": PASSWORD}).status == 201
        yield under_attack


LONG_AGO, FAR = 1_500_000_000, 4_000_000_000


def shown(server: Target, token: str) -> Iterator[Answer]:
    """The answers to ``token`` wherever one can be shown."""
    yield server.call("POST", ACTION, FIND, {"jwtTokenString": token})
    yield server.call("POST", LOGIN.format("custom-token"), {"token": token})
    yield server.call("POST", LOGIN.format("custom-token"), {"key": token})
    yield server.call("POST", ACTION, FIND, {"Authorization": f"Bearer {token}"})
