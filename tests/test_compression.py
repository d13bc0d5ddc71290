"""Compressed answers: for those who ask, from a size on, and never a secret beside what a caller wrote."""

from __future__ import annotations

import gzip
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest
from asgi import KEY, Application, Collection, application
from servers import Doorleaf

from doorleaf.http.compression import COMPRESSED_BYTES, chosen

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

AUTH = {"apiKey": KEY}
LARGE = {"_id": 1, "text": "some words, " * 2000}


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Application]:
    with application(tmp_path_factory.mktemp("compression"), cors_origins=("https://a.example",)) as running:
        Collection(running).ok("insertMany", documents=[LARGE, {"_id": 2}])
        yield running


@pytest.mark.parametrize(
    ("accepted", "encoding"),
    [
        (None, None),
        (b"", None),
        (b"gzip", b"gzip"),
        (b"x-gzip", b"gzip"),
        (b"zstd", b"zstd"),
        (b"gzip, deflate, br, zstd", b"zstd"),
        (b"gzip;q=1, zstd;q=0.5", b"gzip"),
        (b"GZIP ; Q=0.8", b"gzip"),
        (b"gzip;q=0", None),
        (b"br, deflate", None),
        (b"*", b"zstd"),
        (b"*, zstd;q=0", b"gzip"),
        (b"*;q=0", None),
        (b"identity", None),
        (b"identity;q=1, gzip;q=0.5", None),
        (b"gzip;q=nonsense", None),
        (b"gzip" + b", br" * 100, b"gzip"),
    ],
)
def test_the_choice(accepted: bytes | None, encoding: bytes | None) -> None:
    assert chosen(accepted) == encoding


@pytest.mark.parametrize(("encoding", "read"), [("gzip", gzip.decompress), ("zstd", zstd.decompress)])
def test_a_long_answer_is_compressed(app: Application, encoding: str, read: object) -> None:
    body = orjson.dumps({"database": "shop", "collection": "things", "filter": {}})
    plain = app.call("POST", "/action/find", body, AUTH)
    assert "content-encoding" not in plain.headers
    assert plain.headers["vary"] == "Origin, Accept-Encoding"
    answer = app.call("POST", "/action/find", body, {**AUTH, "Accept-Encoding": encoding})
    assert answer.headers["content-encoding"] == encoding
    assert len(answer.body) < len(plain.body) / 10
    assert read(answer.body) == plain.body  # type: ignore[operator]


def test_a_short_one_is_not(app: Application) -> None:
    body = orjson.dumps({"database": "shop", "collection": "things", "filter": {"_id": 2}})
    answer = app.call("POST", "/action/find", body, {**AUTH, "Accept-Encoding": "gzip"})
    assert answer.json == {"documents": [{"_id": 2}]}
    assert "content-encoding" not in answer.headers


def test_pages_and_the_document(app: Application) -> None:
    for path in ("/openapi.json", "/docs/docs.js"):
        plain = app.call("GET", path)
        assert len(plain.body) > COMPRESSED_BYTES
        answer = app.call("GET", path, headers={"Accept-Encoding": "gzip"})
        assert gzip.decompress(answer.body) == plain.body
        head = app.call("HEAD", path, headers={"Accept-Encoding": "gzip"})
        assert (head.status, head.body) == (200, b"")
        assert "content-encoding" not in head.headers, "the length is that of the plain one"
        assert head.headers["content-length"] == str(len(plain.body))
        assert "Accept-Encoding" in head.headers["vary"]


def test_secrets_beside_input_are_not(app: Application) -> None:
    """The length of a compressed answer tells whether what a caller wrote is like what is secret beside it."""
    wanted = {**AUTH, "Accept-Encoding": "gzip"}
    name = "x" * 20_000
    created = app.call("POST", "/api/admin/v1/keys", orjson.dumps({"name": "n" * 50}), wanted)
    assert created.status == 201
    assert "content-encoding" not in created.headers
    login = app.call("POST", "/auth/providers/api-key/login", orjson.dumps({"key": KEY}), wanted)
    assert "content-encoding" not in login.headers
    refused = app.call("POST", "/action/find", orjson.dumps({"database": name}), wanted)
    assert refused.status == 400
    assert "content-encoding" not in refused.headers


def test_very_long_answers_come_in_pieces(doorleaf_process: Doorleaf, tmp_path: Path) -> None:
    server = doorleaf_process
    documents = [{"_id": number, "text": f"{number} " * 300} for number in range(5000)]
    for start in range(0, 5000, 2500):
        server.ok("insertMany", documents=documents[start : start + 2500])
    body = {"database": "d", "collection": "c", "limit": 5000, "sort": {"_id": 1}}
    with_key = {"apiKey": server.key}
    connection = server.connection()
    for encoding, read in (("", bytes), ("gzip", gzip.decompress), ("zstd", zstd.decompress)):
        headers = {**with_key, "Accept-Encoding": encoding}
        answer = server.call("POST", "/action/find", body, headers, on=connection)
        assert answer.status == 200
        assert answer.headers["transfer-encoding"] == "chunked"
        assert "content-length" not in answer.headers
        assert orjson.loads(read(answer.body)) == {"documents": documents}
    connection.close()
    content = orjson.dumps(body)
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as old:
        old.sendall(
            b"POST /action/find HTTP/1.0\r\napiKey: %b\r\nContent-Length: %d\r\n\r\n%b"
            % (server.key.encode(), len(content), content)
        )
        received = b""
        while came := old.recv(1 << 20):
            received += came
    head, _, rest = received.partition(b"\r\n\r\n")
    assert b"chunked" not in head.lower(), "a client of HTTP/1.0 knows no chunks"
    assert orjson.loads(rest) == {"documents": documents}
