"""The native reader of ordinary requests finds in them what the HTTP parser finds, and no request that it would not."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import httptools
import pytest
from native_values import fuzz, sanitized

from doorleaf.ejson.transcoder import native

if native is None:
    pytest.skip("built without a C compiler", allow_module_level=True)

NATIVE: Any = native
BODY = b'{"database":"app"}'


def post(*fields: bytes, target: bytes = b"/data/v1/action/findOne", body: bytes = BODY, length: bytes = b"") -> bytes:
    told = (b"Host: a.example:80", b"Content-Length: " + (length or b"%d" % len(body)), *fields)
    return b"\r\n".join((b"POST " + target + b" HTTP/1.1", *told, b"", body))


def get(target: bytes = b"/v1/mongo/w/collections/c/documents", *fields: bytes) -> bytes:
    return b"\r\n".join((b"GET " + target + b" HTTP/1.1", b"Host: a.example:80", *fields, b"", b""))


ORDINARY = {
    "short": post(),
    "all of them": post(
        b"apiKey: a b", b"X_Y-9:z", b"Connection: Keep-Alive", b"Accept:  */*  ", b"content-type: text/plain"
    ),
    "other paths": post(target=b"/app/a-b_c.d~e/endpoint//data/v1/action/x/"),
    "the root": post(target=b"/"),
    "a body with line ends": post(body=b"POST / HTTP/1.1\r\n\r\n"),
    "zeros": post(length=b"00018"),
    "names that come twice": post(b"Accept: a", b"accept: b", b"host: c"),
    "a GET": get(),
    "a GET of the root": get(b"/", b"Accept: */*"),
    "a query": get(b"/a/b?filter.a%20b[$gte]=1&sort=-c,d&x=a+b:@!'()*;~/"),
    "a query of nothing": get(b"/a?"),
    "a long target": get(b"/?" + b"a" * 1022),
    "many fields": post(*(b"a%d: b" % number for number in range(46))),
}
OTHERS = {
    "nothing": b"",
    "a part of one": post()[:-1],
    "one and more": post() + b"P",
    "a head alone": post(body=b"x")[:-1],
    "another method": post().replace(b"POST", b"PUT", 1),
    "another version": post().replace(b"HTTP/1.1", b"HTTP/1.0", 1),
    "a query of a POST": post(target=b"/a?b"),
    "two questions": get(b"/a?b?c"),
    "a fragment": get(b"/a?b#c"),
    "what is encoded in the path of a GET": get(b"/a%2fb?c"),
    "what has to be encoded": get(b'/a?filter={"a":1}'),
    "a query beyond ASCII": get("/a?é".encode()),
    "a GET with a body": get(b"/a", b"Content-Length: 1") + b"x",
    "a GET that tells its length": get(b"/a", b"Content-Length: 0"),
    "a GET and more": get() + b"G",
    "a GET without a host": get().replace(b"Host", b"Hose", 1),
    "a session": get(b"/a", b"Connection: Upgrade", b"Upgrade: websocket"),
    "two slashes of a GET": get(b"//a/b"),
    "a head": get().replace(b"GET", b"HEAD", 1),
    "a small method": get().replace(b"GET", b"get", 1),
    "no path": get(b"*"),
    "a query alone": get(b"?a"),
    "what is encoded": post(target=b"/a%2fb"),
    "a whole URL": post(target=b"http://a/b"),
    "two slashes": post(target=b"//a/b"),
    "a target that is longer": get(b"/?" + b"a" * 1023),
    "a long path": post(target=b"/" + b"a" * 1024),
    "no host": post().replace(b"Host", b"Hose", 1),
    "no length": post().replace(b"Content-Length", b"Content-Lengthy", 1),
    "two lengths": post(b"content-length: 18"),
    "no digits": post(length=b"+18"),
    "a list of lengths": post(length=b"18,18"),
    "too short": post(length=b"17"),
    "too long": post(length=b"19"),
    "an empty body": post(body=b""),
    "chunks": post(b"Transfer-Encoding: chunked"),
    "chunks in disguise": post(b"transfer-encoding : chunked"),
    "the last of the connection": post(b"Connection: close"),
    "more of the connection": post(b"Connection: keep-alive, upgrade"),
    "the proxy's connection": post(b"Proxy-Connection: close"),
    "an offer": post(b"Upgrade: h2c"),
    "one who waits": post(b"Expect: 100-continue"),
    "trailers": post(b"TE: trailers"),
    "folded": post(b"a: b", b" c: d"),
    "an empty value": post(b"a:"),
    "no name": post(b": b"),
    "a tab": post(b"a:\tb"),
    "a NUL": post(b"a: b\0c"),
    "beyond ASCII": post("a: é".encode()),
    "a line feed alone": post(b"a: b\nc: d"),
    "a return alone": post(b"a: b\rc: d"),
    "too many fields": post(*(b"a%d: b" % number for number in range(47))),
    "too much": post(body=b"x" * 16 * 1024),
}  # fmt: skip


class Parsed:
    """What the parser that reads all other requests says of one, as the server has it."""

    def __init__(self, request: bytes) -> None:
        self.target = self.body = b""
        self.fields: list[tuple[bytes, bytes]] = []
        self.ended = 0
        parser = httptools.HttpRequestParser(self)
        parser.feed_data(request)
        self.method, self.version = parser.get_method(), parser.get_http_version()
        self.stays, self.offers = parser.should_keep_alive(), parser.should_upgrade()

    def on_url(self, url: bytes) -> None:
        self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.fields.append((name.lower(), value.rstrip(b" \t")))

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.ended += 1


def same(request: bytes) -> bool:
    """Whether ``request`` is an ordinary one; what is found in it is what the parser finds."""
    found = NATIVE.request(request)
    if found is None:
        return False
    parsed = Parsed(request)
    assert found == (parsed.target, parsed.fields, parsed.body)
    assert parsed.method == (b"POST" if parsed.body else b"GET")
    assert (parsed.version, parsed.ended) == ("1.1", 1)
    assert parsed.stays
    assert not parsed.offers
    return True


@pytest.mark.parametrize("name", ORDINARY)
def test_ordinary_requests(name: str) -> None:
    assert same(ORDINARY[name])


@pytest.mark.parametrize("name", OTHERS)
def test_all_others_are_for_the_parser(name: str) -> None:
    assert NATIVE.request(OTHERS[name]) is None


def test_whatever_is_changed_in_a_request() -> None:
    chance = random.Random(5)
    taken, telling = 0, b"\r\n :/?%\t,;09-_az\0\x80"
    for request in ORDINARY.values():
        for _ in range(1500):
            changed = bytearray(request)
            for _ in range(chance.randint(1, 2)):
                changed[chance.randrange(len(changed))] = (
                    chance.choice(telling) if chance.random() < 0.7 else chance.randrange(256)
                )
            taken += same(bytes(changed))
    assert taken > 1000


def test_nothing_else_than_bytes_is_taken() -> None:
    for given in ("POST / HTTP/1.1\r\n\r\n", bytearray(ORDINARY["short"]), None):
        with pytest.raises(TypeError):
            NATIVE.request(given)


def test_no_byte_is_touched_that_is_not_its_own(tmp_path: Path) -> None:
    program = sanitized("fuzz_head.c", tmp_path, "head.c")
    files = []
    for number, request in enumerate((*ORDINARY.values(), *OTHERS.values())):
        files.append(tmp_path / f"{number}.http")
        files[-1].write_bytes(request)
    taken, declined = fuzz(program, files)
    assert taken > 1000
    assert declined > 1000
