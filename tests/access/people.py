"""People for the tests of identities: an application, its directory, a mail server, an issuer of tokens."""

from __future__ import annotations

import http.server
import json
import re
import socketserver
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from email import message_from_string
from email.message import Message
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jwt
import orjson
from asgi import Answer, Application, application
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from doorleaf.access.identity.authenticator import Authenticator
from doorleaf.access.identity.custom_tokens import CustomTokens
from doorleaf.access.identity.directory import Directory
from doorleaf.access.identity.providers.custom_token import CustomToken
from doorleaf.dialects.base import Request, header_credentials

PASSWORD = "correct horse"
STRANGER = {"error": "invalid session: error finding user for endpoint", "error_code": "InvalidSession"}


class House:
    """A running application and who is known to it."""

    def __init__(self, app: Application) -> None:
        self.app = app
        self.authenticator: Authenticator = app.endpoint._authenticator  # type: ignore[assignment]
        self.directory: Directory = self.authenticator.directory

    @property
    def custom_tokens(self) -> CustomTokens:
        provider = self.authenticator.providers["custom-token"]
        assert isinstance(provider, CustomToken)
        return provider.tokens

    def run(self, coroutine: Any) -> Any:
        return self.app.run(coroutine)

    def ask(self, headers: Mapping[str, str]) -> Answer:
        """A read of an empty collection, which callers with rules may not do; see :meth:`lets_in`."""
        body = b'{"database": "shop", "collection": "pens"}'
        return self.app.call("POST", "/data/v1/action/findOne", body, headers)

    def lets_in(self, headers: Mapping[str, str]) -> bool:
        """Whether the caller is known: then the answer is about rules, not about the caller."""
        answer = self.ask(headers)
        if answer.status == 401:
            assert answer.json == STRANGER, answer.body
            return False
        assert (answer.status, answer.json.get("error_code")) in ((200, None), (403, "NoMatchingRuleFound"))
        return True

    def login(self, provider: str, **body: Any) -> Answer:
        return self.app.call("POST", f"/auth/providers/{provider}/login", orjson.dumps(body))

    def bearer(self, provider: str, **body: Any) -> dict[str, str]:
        answer = self.login(provider, **body)
        assert answer.status == 200, answer.body
        return {"Authorization": f"Bearer {answer.json['access_token']}"}

    def account(self, email: str = "ann@example.com", password: str = PASSWORD) -> str:
        """A confirmed account; its user's id."""
        user_id: str = self.run(self.directory.accounts.create(email, password))
        return user_id

    def stop_clock_of_lockout(self) -> None:
        """Let no pause end by itself, however slow the machine is."""
        lockout = self.directory.accounts.lockout
        now = lockout._clock()
        lockout._clock = lambda: now

    def who(self, headers: Mapping[str, str]) -> Any:
        """The identity that a request with ``headers`` has."""
        raw = {name.lower().encode(): value.encode() for name, value in headers.items()}
        credentials = header_credentials(Request("POST", "/", raw, "127.0.0.1"))
        return self.run(self.authenticator.identify(credentials))


@contextmanager
def house(folder: Path, **settings: Any) -> Iterator[House]:
    with application(folder, **{"login_rate": "", **settings}) as app:
        yield House(app)


def shown(text: str) -> dict[str, str]:
    return {"jwtTokenString": text}


def accepted(home: House, text: str) -> str:
    """The id of the user whom a token stands for, with a request and with a login alike."""
    assert home.lets_in(shown(text))
    identity = home.who(shown(text))
    answer = home.login("custom-token", token=text)
    assert answer.status == 200, answer.body
    assert answer.json["user_id"] == identity.id
    assert home.lets_in({"Authorization": f"Bearer {answer.json['access_token']}"})
    return str(identity.id)


def refused(home: House, text: str) -> str:
    """Why a token is not believed: what a login says; a request is told nothing."""
    answer = home.ask(shown(text))
    assert (answer.status, answer.json) == (401, STRANGER), answer.body
    login = home.login("custom-token", token=text)
    assert (login.status, login.json["error_code"]) == (401, "AuthError"), login.body
    assert SECRET not in login.body.decode()
    return str(login.json["error"])


# --- mail ------------------------------------------------------------------------------------------------------------


class _Smtp(socketserver.StreamRequestHandler):
    """One conversation of SMTP, as RFC 5321 has it; ``AUTH PLAIN`` when a password is wanted."""

    server: MailServer

    def handle(self) -> None:
        self._say("220 test")
        while line := self.rfile.readline().decode().strip():
            verb = line.split(" ")[0].upper()
            self.server.heard.append(line)
            if verb == "EHLO":
                self._say("250-test\r\n250-AUTH PLAIN\r\n250 SMTPUTF8")
            elif verb == "DATA":
                self._data()
            elif verb == "AUTH":
                self._say("235 ok")
            elif verb == "QUIT":
                self._say("221 bye")
                return
            elif verb == "MAIL" and self.server.refusals:
                self.server.refusals -= 1
                self._say("451 try later")
            else:
                self._say("250 ok")

    def _data(self) -> None:
        self._say("354 go on")
        lines = []
        while (line := self.rfile.readline().decode()) not in (".\r\n", ""):
            lines.append(line)
        self._say("250 ok")
        self.server.mails.append(message_from_string("".join(lines)))

    def _say(self, text: str) -> None:
        self.wfile.write(f"{text}\r\n".encode())


class MailServer(socketserver.ThreadingTCPServer):
    """A mail server on loopback; the next ``refusals`` mails are refused at first."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Smtp)
        self.mails: list[Message] = []
        self.heard: list[str] = []
        self.refusals = 0

    @property
    def url(self) -> str:
        return f"smtp://user:geheim@127.0.0.1:{self.server_address[1]}"

    def next(self) -> Message:
        """The next mail; waits for it."""
        deadline = time.monotonic() + 30
        while not self.mails:
            assert time.monotonic() < deadline, self.heard
            time.sleep(0.01)
        return self.mails.pop(0)


@contextmanager
def mail_server() -> Iterator[MailServer]:
    with MailServer() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def link_of(mail: Message) -> tuple[str, dict[str, Any]]:
    """The page that a mail links to, and ``token`` and ``token_id`` in the link."""
    found = re.search(r"https://\S+", mail.get_payload(decode=True).decode())  # type: ignore[union-attr]
    assert found is not None, mail.as_string()
    url = urlsplit(found[0])
    query = {name: values[0] for name, values in parse_qs(url.query).items()}
    return f"{url.scheme}://{url.netloc}{url.path}", {"token": query["token"], "token_id": query["tokenId"]}


# --- tokens ----------------------------------------------------------------------------------------------------------

SECRET = "an-hs256-key-of-at-least-32-characters"

RSA = rsa.generate_private_key(65537, 2048)
OTHER_RSA = rsa.generate_private_key(65537, 2048)
WEAK_RSA = rsa.generate_private_key(65537, 1024)
EC = ec.generate_private_key(ec.SECP256R1())
OTHER_EC = ec.generate_private_key(ec.SECP256R1())
ED = ed25519.Ed25519PrivateKey.generate()
OTHER_ED = ed25519.Ed25519PrivateKey.generate()


def pem(key: Any) -> str:
    """The public half of a key."""
    return str(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode())


ALGORITHMS: dict[str, tuple[Any, Any, str]] = {
    "HS256": (SECRET, SECRET[::-1], SECRET),
    "RS256": (RSA, OTHER_RSA, pem(RSA)),
    "ES256": (EC, OTHER_EC, pem(EC)),
    "EdDSA": (ED, OTHER_ED, pem(ED)),
}
"""Of each algorithm the issuer's key, somebody else's, and what the settings hold."""


def token(key: Any = SECRET, algorithm: str = "HS256", headers: dict[str, Any] | None = None, **claims: Any) -> str:
    """A token for ``ann`` at ``my-app``, an hour long; a claim that is None is left out."""
    now = int(time.time())
    content = {"sub": "ann", "aud": "my-app", "iat": now, "exp": now + 3600, **claims}
    return jwt.encode(
        {name: value for name, value in content.items() if value is not None}, key, algorithm, headers=headers
    )


def jwk(key: Any, key_id: str, algorithm: str, **more: Any) -> dict[str, Any]:
    """The public half of a key, for a key set."""
    algorithms = jwt.get_algorithm_by_name(algorithm)
    content: dict[str, Any] = json.loads(algorithms.to_jwk(key.public_key()))
    return {**content, "kid": key_id, "use": "sig", **more}


class Issuer(http.server.ThreadingHTTPServer):
    """A key set on loopback; ``status`` 0 closes the connection without an answer."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Jwks)
        self.keys: list[Any] = []
        self.status = 200
        self.body: bytes | None = None
        self.asked = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/jwks.json"


class _Jwks(http.server.BaseHTTPRequestHandler):
    server: Issuer

    def do_GET(self) -> None:
        self.server.asked += 1
        if not self.server.status:
            self.close_connection = True
            return
        self.send_response(self.server.status)
        if self.server.status == 302:
            self.send_header("Location", "/elsewhere")
        self.end_headers()
        self.wfile.write(self.server.body or json.dumps({"keys": self.server.keys}).encode())

    def log_message(self, *args: Any) -> None:
        pass


@contextmanager
def issuer() -> Iterator[Issuer]:
    with Issuer() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()
