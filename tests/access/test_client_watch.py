"""``watch`` of the client API over real HTTP: change events as server-sent events, for as long as the caller may."""

from __future__ import annotations

import base64
import http.client
import json
import time
import urllib.parse
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from servers import Answer, Doorleaf, doorleaf, mortal_mongodb, until

API = "/api/client/v2.0"
APP = f"{API}/app/shop-abcde"
PATIENCE = 30.0
CONFIG = """\
providers = ["api-key", "local-userpass", "anon-user"]
auto_confirm = true
login_rate = ""
access_log = true

[[rules.default."d.c".roles]]
name = "owner"
apply_when = {owner = "%%user.id"}
fields = {secret = {}}
additional_fields = {read = true}
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doorleaf]:
    folder = tmp_path_factory.mktemp("watch")
    (folder / "settings.toml").write_text(CONFIG)
    with doorleaf(folder / "data", "--config", str(folder / "settings.toml")) as running:
        yield running


def log_in(server: Doorleaf, provider: str = "api-key", **body: Any) -> Any:
    body = body or {"key": server.key}
    answer = server.call("POST", f"{APP}/auth/providers/{provider}/login", body)
    assert answer.status == 200, answer.body
    return answer.json


@pytest.fixture
def admin(server: Doorleaf) -> str:
    token: str = log_in(server)["access_token"]
    return token


def encoded(call: Any) -> str:
    return base64.b64encode(call if isinstance(call, bytes) else json.dumps(call).encode()).decode()


def watching(**fields: Any) -> Any:
    """The call, of ``d.c`` unless ``fields`` say otherwise."""
    return {"name": "watch", "service": "mongodb-atlas", "arguments": [{"database": "d", "collection": "c", **fields}]}


def path(call: Any, **more: str) -> str:
    return f"{APP}/functions/call?{urllib.parse.urlencode({'baas_request': encoded(call), **more})}"


class Stream:
    """An open stream: events are read as they come."""

    def __init__(self, server: Doorleaf, target: str, headers: dict[str, str]) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)
        self.connection.request("GET", target, headers={"Accept": "text/event-stream", **headers})
        self.answer = self.connection.getresponse()
        assert self.answer.status == 200, self.answer.read()
        assert self.answer.getheader("content-type") == "text/event-stream"
        assert self.answer.getheader("cache-control") == "no-cache"
        assert self.answer.getheader("content-length") is None
        assert self.answer.readline() == b":\n"
        assert self.answer.readline() == b"\n"

    def block(self) -> list[str]:
        """The lines of the next event, without comments; none at the end of the stream."""
        lines: list[str] = []
        while line := self.answer.readline():
            text = line.decode().removesuffix("\n")
            if text and not text.startswith(":"):
                lines.append(text)
            elif lines:
                return lines
        return lines

    def event(self) -> Any:
        """The next change event, decoded as clients do."""
        (line,) = self.block()
        assert line.startswith("data: ")
        data = line.removeprefix("data: ").replace("%0A", "\n").replace("%0D", "\r").replace("%25", "%")
        return json.loads(data)

    def key(self) -> Any:
        """The ``_id`` of the document that the next event is about."""
        return self.event()["documentKey"]["_id"]

    def error(self) -> Any:
        """The error that ends the stream; nothing follows."""
        kind, data = self.block()
        assert kind == "event: error"
        assert self.answer.read() == b""
        return json.loads(data.removeprefix("data: "))

    def close(self) -> None:
        self.connection.close()
        self.answer.close()


@contextmanager
def stream(server: Doorleaf, token: str, **fields: Any) -> Iterator[Stream]:
    opened = Stream(server, path(watching(**fields)), {"Authorization": f"Bearer {token}"})
    with closing(opened):
        yield opened


def ask(server: Doorleaf, target: str, token: str | None = None, **headers: str) -> Answer:
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    return server.call("GET", target, headers=headers)


def test_events_in_canonical_extended_json(server: Doorleaf, admin: str) -> None:
    with stream(server, admin, collection="forms") as opened:
        document = {"_id": {"$oid": "64224f3cd79f54ad342dd9b1"}, "n": 1, "text": "100% \r\nnew"}
        server.ok("insertOne", collection="forms", document=document)
        event = opened.event()
        assert event["operationType"] == "insert"
        assert event["documentKey"] == {"_id": {"$oid": "64224f3cd79f54ad342dd9b1"}}
        assert event["fullDocument"] == {**document, "n": {"$numberInt": "1"}}
        assert event["ns"] == {"db": "d", "coll": "forms"}
        assert set(event["clusterTime"]) == {"$timestamp"}
        assert set(event["_id"]) == {"_data"}
        server.ok("updateOne", collection="forms", filter={}, update={"$set": {"n": 2}})
        assert opened.event()["updateDescription"]["updatedFields"] == {"n": {"$numberInt": "2"}}
        server.ok("deleteOne", collection="forms", filter={})
        assert opened.event()["operationType"] == "delete"
        server.ok("dropCollection", collection="forms")
        assert [opened.event()["operationType"] for _ in range(2)] == ["drop", "invalidate"]
        assert opened.block() == []


def test_ids_and_filters(server: Doorleaf, admin: str) -> None:
    with (
        stream(server, admin, collection="some", ids=[2, {"$oid": "64224f3cd79f54ad342dd9b1"}]) as by_id,
        stream(server, admin, collection="some", filter={"fullDocument.n": {"$gte": 3}}) as by_value,
        stream(server, admin, collection="some", ids=[4], filter={"operationType": "delete"}) as by_both,
    ):
        documents = [{"_id": number, "n": number} for number in range(5)]
        server.ok("insertMany", collection="some", documents=documents)
        server.ok("deleteMany", collection="some", filter={"n": 4})
        assert by_id.key() == {"$numberInt": "2"}
        assert [by_value.key() for _ in range(2)] == [{"$numberInt": "3"}, {"$numberInt": "4"}]
        event = by_both.event()
        assert (event["operationType"], event["documentKey"]) == ("delete", {"_id": {"$numberInt": "4"}})


def test_users_see_what_is_theirs(server: Doorleaf) -> None:
    ada, bob = log_in(server, "anon-user", options={}), log_in(server, "anon-user", options={})
    with stream(server, ada["access_token"]) as opened, stream(server, bob["access_token"]) as other:
        for number, owner in enumerate([ada, bob, ada]):
            document = {"_id": f"u{number}", "owner": owner["user_id"], "secret": "SESAME"}
            server.ok("insertOne", document=document)
        assert [opened.key() for _ in range(2)] == ["u0", "u2"]
        event = other.event()
        assert event["fullDocument"] == {"_id": "u1", "owner": bob["user_id"]}
        assert "SESAME" not in json.dumps(event)


@pytest.mark.parametrize(
    ("call", "status", "code", "text"),
    [
        ({**watching(), "name": "find"}, 400, "NotCallable", "find is not a stream: call it with POST"),
        ({**watching(), "name": "sum"}, 404, "FunctionNotFound", "function not found: 'sum'"),
        ({**watching(), "name": 7}, 400, "InvalidParameter", "name"),
        ({**watching(), "service": None}, 404, "FunctionNotFound", "watch"),
        ({**watching(), "arguments": []}, 400, "InvalidParameter", "arguments"),
        ({**watching(), "arguments": {}}, 400, "InvalidParameter", "arguments"),
        (watching(ids={"$in": [1]}), 400, "InvalidParameter", "ids: expected an array"),
        (watching(ids=5), 400, "InvalidParameter", "ids: expected an array"),
        (watching(filter=[]), 400, "InvalidParameter", "filter: expected an object"),
        (watching(filter={"$who": 1}), 400, "MongoDBError", "$who"),
        (watching(filter={"$where": "true"}), 403, "PermissionDenied", "$where"),
        (watching(filter={"a": {"$regex": "("}}), 400, "MongoDBError", "regular expression"),
        (watching(pipeline=[]), 400, "InvalidParameter", "pipeline: watch has no such argument"),
        (watching(collection=None), 400, "MissingParameter", "collection"),
        (watching(collection=""), 400, "InvalidParameter", "collection"),
        (watching(database="doorleaf"), 403, "PermissionDenied", "not reachable"),
        (b"{", 400, "InvalidParameter", "malformed JSON"),
        (b"[]", 400, "InvalidParameter", "object"),
        (b'{"name": "watch", "name": "watch"}', 400, "InvalidParameter", "twice"),
    ],
)
def test_what_is_refused(server: Doorleaf, admin: str, call: Any, status: int, code: str, text: str) -> None:
    answer = ask(server, path(call), admin)
    assert (answer.status, answer.json.get("error_code")) == (status, code), answer.body
    assert text.lower() in answer.json["error"].lower()
    assert answer.headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("", "MissingParameter"),
        ("baas_request=", "MissingParameter"),
        ("baas_request=%25%25", "InvalidParameter"),
        ("baas_request=abc%C3%A9", "InvalidParameter"),
        (f"baas_request={encoded(watching())}&baas_request={encoded(watching())}", "InvalidParameter"),
        ("&".join(f"a{number}=1" for number in range(50)), "InvalidParameter"),
    ],
)
def test_queries_that_hold_no_call(server: Doorleaf, admin: str, query: str, code: str) -> None:
    answer = ask(server, f"{APP}/functions/call?{query}", admin)
    assert (answer.status, answer.json["error_code"]) == (400, code), answer.body


def test_base64_as_clients_write_it(server: Doorleaf, admin: str) -> None:
    call = json.dumps(watching(collection="ways", filter={"fullDocument.t": "??>>~~é"}), ensure_ascii=False).encode()
    forms = [base64.b64encode(call).decode(), base64.urlsafe_b64encode(call).decode().rstrip("=")]
    targets = [f"{APP}/functions/call?baas_request={urllib.parse.quote(form)}" for form in forms]
    targets.append(f"{APP}/functions/call?baas_request={forms[0]}")  # with a + that nobody escaped
    for target in targets:
        with closing(Stream(server, target, {"Authorization": f"Bearer {admin}"})):
            pass


def test_a_post_is_told_to_be_a_stream(server: Doorleaf, admin: str) -> None:
    answer = server.call("POST", f"{APP}/functions/call", watching(), {"Authorization": f"Bearer {admin}"})
    assert (answer.status, answer.json["error_code"]) == (400, "NotCallable")
    assert answer.json["error"] == "watch is a stream: ask for it with GET"


def test_who_may_not(server: Doorleaf, admin: str) -> None:
    stranger = ask(server, path(watching()))
    assert (stranger.status, stranger.json["error_code"]) == (401, "InvalidSession")
    assert ask(server, path(watching()), apiKey=server.key).status == 401
    assert ask(server, path(watching()), admin + "x").status == 401
    assert ask(server, path(watching(), baas_at=admin[:-2])).status == 401
    # A header is looked at first, and a bad one does not fall back.
    assert ask(server, path(watching(), baas_at=admin), "nonsense").status == 401
    # Only here may a token be in the query.
    assert server.call("GET", f"{API}/auth/profile?baas_at={admin}").status == 401
    refused = ask(
        server, path(watching(collection="elsewhere")), log_in(server, "anon-user", options={})["access_token"]
    )
    assert (refused.status, refused.json["error_code"]) == (403, "NoMatchingRuleFound")


def test_a_token_in_the_query(server: Doorleaf, admin: str) -> None:
    with closing(Stream(server, path(watching(collection="query"), baas_at=admin), {})) as opened:
        server.ok("insertOne", collection="query", document={"_id": "q"})
        assert opened.key() == "q"
    until(lambda: "streamFunction" in server.output())
    log = server.output()
    assert admin not in log
    assert "baas_request" not in log


def test_only_so_many_streams_at_once(tmp_path: Path) -> None:
    with doorleaf(tmp_path / "data", env={"DOORLEAF_MAX_STREAMS": "8"}) as server:  # a quarter for one caller
        token = log_in(server)["access_token"]
        with stream(server, token) as first, stream(server, token) as second:
            answer = ask(server, path(watching()), token)
            assert (answer.status, answer.json["error_code"]) == (429, "TooManyRequests")
            assert answer.headers["retry-after"]
            # What is wrong is told all the same, and takes nobody's place.
            assert ask(server, path(watching(ids=5)), token).status == 400
            server.ok("insertOne", document={"_id": "many"})
            assert (first.key(), second.key()) == ("many", "many")
        for _ in range(5):
            assert ask(server, path(watching(filter={"$who": 1})), token).status in (400, 429)
        until = time.monotonic() + PATIENCE
        while True:  # those who left are noticed within about a second
            try:
                with stream(server, token):
                    break
            except AssertionError:
                assert time.monotonic() < until
                time.sleep(0.1)


def test_a_head_does_not_open_a_stream(server: Doorleaf, admin: str) -> None:
    for _ in range(6):
        answer = server.call("HEAD", path(watching()), headers={"Authorization": f"Bearer {admin}"})
        assert (answer.status, answer.body) == (200, b"")


def test_a_session_that_ends_ends_its_stream(server: Doorleaf, admin: str) -> None:
    session = log_in(server)
    with stream(server, session["access_token"]) as opened:
        bearer = {"Authorization": f"Bearer {session['refresh_token']}"}
        assert server.call("DELETE", f"{API}/auth/session", headers=bearer).status == 204
        started = time.monotonic()
        assert opened.error() == {
            "error": "invalid session: error finding user for endpoint",
            "error_code": "InvalidSession",
        }
        assert time.monotonic() - started < 30, "it is noticed within a second where there is time"


def test_a_user_who_is_disabled_hears_no_more(server: Doorleaf, admin: str) -> None:
    session = log_in(server, "anon-user", options={})
    headers = {"apiKey": server.key, "Content-Type": "application/json"}
    with stream(server, session["access_token"]) as opened:
        user = f"/api/admin/v1/users/{session['user_id']}/disable"
        assert server.call("POST", user, headers=headers).status in (200, 204)
        assert opened.error()["error_code"] == "InvalidSession"
        server.ok("insertOne", document={"_id": "after", "owner": session["user_id"]})
        assert opened.block() == []


def test_a_user_who_changes_watches_again(tmp_path: Path) -> None:
    custom = '[custom_user_data]\ndatabase = "d"\ncollection = "users"\nuser_id_field = "user"\n'
    (tmp_path / "settings.toml").write_text(f"{CONFIG}\n{custom}")
    with doorleaf(tmp_path / "data", "--config", str(tmp_path / "settings.toml")) as server:
        session = log_in(server, "anon-user", options={})
        with stream(server, session["access_token"]) as opened:
            time.sleep(5)  # the user is read anew in between, and is the same
            server.ok("insertOne", document={"_id": "same", "owner": session["user_id"]})
            assert opened.key() == "same"
            server.ok("insertOne", collection="users", document={"user": session["user_id"], "level": 2})
            error = opened.error()
            assert (error["error_code"], error["error"]) == (
                "InvalidSession",
                "the rights of the caller have changed; ask again",
            )


def test_streams_end_when_the_server_does(tmp_path: Path) -> None:
    with doorleaf(tmp_path / "data") as server:
        token = log_in(server)["access_token"]
        with stream(server, token) as opened, stream(server, token) as other:
            server.ok("insertOne", document={"_id": 1})
            assert (opened.key(), other.key()) == ({"$numberInt": "1"},) * 2
            started = time.monotonic()
            server.process.terminate()
            assert opened.block() == []  # the last piece came, not a broken connection
            assert other.block() == []
            assert server.process.wait(PATIENCE) == 0
            assert time.monotonic() - started < 15
        assert "Traceback" not in server.output()


def test_a_stream_is_a_request_of_its_caller(tmp_path: Path) -> None:
    env = {"DOORLEAF_MAX_CONCURRENT_REQUESTS": "2"}
    with doorleaf(tmp_path / "data", env=env) as server:
        token = log_in(server)["access_token"]
        with stream(server, token), stream(server, token):
            assert server.act("findOne").status == 429
        until = time.monotonic() + PATIENCE
        while server.act("findOne").status == 429:
            assert time.monotonic() < until
            time.sleep(0.1)


def test_every_worker_hears_of_every_change(tmp_path: Path) -> None:
    with doorleaf(tmp_path / "data", "--workers", "2") as server:
        token = log_in(server)["access_token"]
        opened = [Stream(server, path(watching()), {"Authorization": f"Bearer {token}"}) for _ in range(6)]
        for number in range(6):
            server.ok("insertOne", document={"_id": f"w{number}"})
        for each in opened:
            assert [each.key() for _ in range(6)] == [f"w{number}" for number in range(6)]
            each.close()


def test_changes_of_a_mongodb(tmp_path: Path, mongodb_uri: str) -> None:
    with doorleaf(tmp_path / "data", "--uri", mongodb_uri) as server:
        token = log_in(server)["access_token"]
        place = {"database": "watched_over_http", "collection": "c"}
        server.ok("dropCollection", **place)
        with stream(server, token, **place) as opened:
            server.ok("insertOne", document={"_id": "m", "n": 1}, **place)
            assert opened.event()["fullDocument"] == {"_id": "m", "n": {"$numberInt": "1"}}
            # Whoever watches leaves the connections of others alone.
            assert server.ok("findOne", **place)["document"] == {"_id": "m", "n": 1}
            server.ok("dropCollection", **place)
            assert [opened.event()["operationType"] for _ in range(2)] == ["drop", "invalidate"]
            assert opened.block() == []


def test_a_mongodb_that_is_away_for_a_while(tmp_path: Path) -> None:
    with mortal_mongodb(tmp_path / "mongodb") as database:
        uri = database.uri + "&serverSelectionTimeoutMS=500"
        with doorleaf(tmp_path / "data", "--uri", uri) as server:
            with stream(server, log_in(server)["access_token"]) as opened:
                server.ok("insertOne", document={"_id": "m"})
                assert opened.key() == "m"
                database.kill()
                assert server.act("findOne").status == 503
                database.start()
                until(lambda: server.act("insertOne", document={"_id": "n"}).status in (201, 409))
                assert opened.key() == "n"
            assert "Traceback" not in server.output()
