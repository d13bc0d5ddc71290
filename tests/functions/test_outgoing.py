# ruff: noqa: E501  # a row is a line
"""What functions may ask of other servers: what is allowed, and nothing of this network whatever it is called."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import quote, unquote

import pytest

from doorleaf.errors import DoorleafError, FunctionsUnavailable, InvalidParameter, PermissionDenied, Unsupported
from doorleaf.functions.outgoing import MAX_BYTES, Outgoing, as_safe, is_public
from doorleaf.observability import configure_logging


class Other(BaseHTTPRequestHandler):
    """Answers with what it was asked; ``/to?URL`` redirects, ``/long`` never ends."""

    def do_GET(self) -> None:
        if self.path.startswith("/digest"):
            said = self.headers.get("Authorization", "")
            self.send_response(200 if said.startswith("Digest ") else 401)
            self.send_header("WWW-Authenticate", 'Basic realm="x"')
            self.send_header("WWW-Authenticate", unquote(self.path.removeprefix("/digest?")))
            body = said.encode()
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            return
        if self.path.startswith("/to"):
            status, _, target = self.path.removeprefix("/to").partition("?")
            self.send_response(int(status or 302))
            self.send_header("Location", target)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        length = int(self.headers.get("Content-Length", 0))
        told = f"{self.command} {self.path} {self.headers['Host']} {self.headers.get('Authorization')} "
        body = told.encode() + self.rfile.read(length)
        self.send_response(200)
        self.send_header("X-Twice", "1")
        self.send_header("X-Twice", "2")
        if self.path == "/long":
            self.end_headers()
            for _ in range(MAX_BYTES // 65536 + 2):
                self.wfile.write(b"x" * 65536)
            return
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_PUT = do_DELETE = do_GET

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Other) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def ask(outgoing: Outgoing, url: str, method: str = "GET", **more: Any) -> Any:
    return asyncio.run(outgoing.send({"method": method, "url": url, "headers": {}, **more}, 20.0))


def here(address: str) -> bool:
    """Stands for a public address in these tests."""
    return address == "127.0.0.1"


def test_an_answer(port: int) -> None:
    outgoing = Outgoing([f"localhost:{port}"], here)
    answer = ask(
        outgoing, f"http://localhost:{port}/a?b=1", "POST", body={"text": "hé"}, headers={"Authorization": ["x"]}
    )
    assert (answer["statusCode"], answer["status"], answer["headers"]["X-Twice"]) == (200, "200 OK", ["1", "2"])
    assert answer["body"] == {"text": f"POST /a?b=1 localhost:{port} x hé"}


def test_no_log_has_what_is_asked(port: int, capsys: pytest.CaptureFixture[str]) -> None:
    """Addresses have secrets in their queries, and answers have cookies."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    configure_logging("debug")
    try:
        ask(Outgoing(["localhost"], here), f"http://localhost:{port}/?key=a-secret")
        logging.getLogger("doorleaf").info("other lines")
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
    said = capsys.readouterr().err
    assert "other lines" in said
    assert "a-secret" not in said
    assert "X-Twice" not in said


def test_digest(port: int) -> None:
    """The proof is that of RFC 7616; a challenge of another kind is answered as it came."""
    outgoing = Outgoing(["localhost"], here)

    def answer(challenge: str, user: Any) -> Any:
        path = f"/digest?{quote(challenge, safe='')}"
        told = ask(outgoing, f"http://localhost:{port}{path}", "POST", body={"text": "x"}, digest=user)
        return told["statusCode"], told["body"]["text"], path

    for algorithm, make in (("MD5", hashlib.md5), ("SHA-256", hashlib.sha256)):
        challenge = f'Digest realm="r",nonce="n",qop="auth",algorithm={algorithm}'
        status, said, path = answer(challenge, ["u", "p"])
        fields = {
            key: value.strip('"') for key, _, value in (part.strip().partition("=") for part in said[7:].split(", "))
        }

        def digest(*parts: str, make: Any = make) -> str:
            return str(make(":".join(parts).encode()).hexdigest())

        between = (fields["nc"], fields["cnonce"], "auth")
        assert (status, fields["username"], fields["uri"]) == (200, "u", path)
        assert fields["response"] == digest(digest("u", "r", "p"), "n", *between, digest("POST", path))
    begun = 'Digest realm="r",nonce="n"'
    for challenge in ("Digest nonsense", 'Digest realm="r"', f"{begun},algorithm=none", f'{begun},qop="auth-int"'):
        with pytest.raises(Unsupported, match="digestAuth"):
            answer(challenge, ["u", "p"])
    assert answer("Negotiate", ["u", "p"])[:2] == (401, "")
    assert answer('Digest realm="r",nonce="n"', None)[:2] == (401, "")
    for user in (["u"], "up", ["", ""], ["u\r\nX: y", "p"], ['u"', "p"]):
        with pytest.raises(InvalidParameter, match="digestAuth"):
            answer("Negotiate", user)


def test_redirects_are_followed_when_asked_and_judged_anew(port: int) -> None:
    outgoing = Outgoing(["localhost", "127.0.0.1", "169.254.169.254"], here)
    base = f"http://localhost:{port}"
    assert ask(outgoing, f"{base}/to?/b")["statusCode"] == 302
    assert ask(outgoing, f"{base}/to?/b", follow=True)["body"]["text"].startswith("GET /b")
    posted = ask(outgoing, f"{base}/to307?/b", "POST", follow=True, body={"text": "kept"})
    assert posted["body"]["text"].endswith("kept")
    elsewhere = ask(outgoing, f"{base}/to?http://127.0.0.1:{port}/c", follow=True, headers={"Authorization": "secret"})
    assert elsewhere["body"]["text"].startswith(f"GET /c 127.0.0.1:{port} None")
    for target in ("http://169.254.169.254/latest", "http://other.example/", "http://[::1]/", "file:///etc/passwd"):
        with pytest.raises((PermissionDenied, InvalidParameter)):
            ask(outgoing, f"{base}/to?{target}", follow=True)
    with pytest.raises(InvalidParameter, match="more than 5 redirects"):
        ask(outgoing, f"{base}/to?/to?/to?/to?/to?/to?/to?/b", follow=True)


def test_proofs_go_to_the_same_server_and_never_in_the_open() -> None:
    for url, to, safe in (
        ("https://a.example/x", "https://a.example/y", True),
        ("http://a.example/x", "https://a.example/x", True),
        ("https://a.example/x", "HTTP://a.example/x", False),
        ("https://a.example/x", "https://a.example:444/x", False),
        ("https://a.example/x", "https://b.example/x", False),
    ):
        assert as_safe(url, to) is safe, (url, to)


def test_sizes_and_headers_are_bounded(port: int) -> None:
    outgoing = Outgoing(["localhost"], here)
    with pytest.raises(InvalidParameter, match="larger than 16 MiB"):
        ask(outgoing, f"http://localhost:{port}/long")
    for headers in (
        {"Host": "other"},
        {"Content-Length": "5"},
        {"X": "a\r\nY: b"},
        {"X\n": "a"},
        {"Transfer-Encoding": "chunked"},
    ):
        with pytest.raises(InvalidParameter, match="headers"):
            ask(outgoing, f"http://localhost:{port}/", headers=headers)


@pytest.mark.parametrize(
    ("head", "again", "error", "words"),
    [
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"1\r\nx\r\n",
            InvalidParameter,
            "too many small chunks",
        ),
        (b"", b"HTTP/1.1 103 \r\n\r\n", FunctionsUnavailable, "no valid answer"),
    ],
    ids=["chunks", "announcements"],
)
def test_an_answer_in_crumbs_is_not_read_to_its_end(head: bytes, again: bytes, error: type, words: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as other:

        def crumbs() -> None:
            with listener.accept()[0] as connection, contextlib.suppress(OSError):
                connection.recv(65536)
                connection.sendall(head)
                while True:
                    connection.sendall(again * 1000)

        serving = other.submit(crumbs)
        with pytest.raises(error, match=words):
            ask(Outgoing(["localhost"], here), f"http://localhost:{listener.getsockname()[1]}/")
        serving.result()


INSIDE = [
    "127.0.0.1", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "0.0.0.0", "0", "localhost", "10.0.0.1", "172.16.0.1",
    "192.168.1.1", "169.254.169.254", "100.64.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255", "192.0.2.1", "198.18.0.1",
    "[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::127.0.0.1]", "[fe80::1]", "[fc00::1]", "[fd00:ec2::254]",
    "[fec0::1]", "[feff::1]", "[64:ff9b::7f00:1]", "[64:ff9b::a9fe:a9fe]", "[2002:7f00:1::]", "[2002:a9fe:a9fe::]", "[ff02::1]", "[2001:db8::1]",
]  # fmt: skip


@pytest.mark.parametrize("host", INSIDE)
def test_no_address_of_this_network_is_reached_though_its_name_is_allowed(host: str) -> None:
    with pytest.raises(DoorleafError) as refused:
        ask(Outgoing([host]), f"http://{host}:9/")
    assert refused.value.status in (400, 403, 503)
    if refused.value.status == 503:  # no such name here
        assert "has no address" in refused.value.message


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "1.1.1.1", "2606:4700:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]
)
def test_public_addresses(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    ("allowed", "url"),
    [
        ((), "http://example.com/"),
        (("example.com",), "http://sub.example.com/"),
        (("example.com",), "http://example.com.evil.test/"),
        (("*.example.com",), "http://example.com/"),
        (("*.example.com",), "http://evilexample.com/"),
        (("example.com:8443",), "https://example.com/"),
        (("example.com",), "http://evil.test#example.com"),
        (("example.com",), "http://evil.test/?example.com"),
    ],
)
def test_only_allowed_hosts_are_asked(allowed: tuple[str, ...], url: str) -> None:
    with pytest.raises(PermissionDenied, match="functions_http_allow does not have"):
        ask(Outgoing(allowed), url)


@pytest.mark.parametrize(
    "url", ["http://user@example.com/", "ftp://example.com/", "example.com", "http://", "http://a:b/", "gopher://x"]
)
def test_what_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(InvalidParameter, match="url: expected"):
        ask(Outgoing(["example.com"]), url)
