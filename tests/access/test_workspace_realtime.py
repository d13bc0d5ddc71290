"""Changes of a workspace as they happen: server-sent events and the WebSocket gateway, over a real server."""

from __future__ import annotations

import json
import time
import urllib.parse
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from typing import Any

import pytest
from live import Events, listening
from people import SECRET, token
from servers import Doorleaf, doorleaf
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

PATIENCE = 60.0
OWN = {"_tenantId": "acme", "_workspaceId": "ruled"}
SCOPES = ["mongo:read", "mongo:write", "realtime:read"]
CONFIG = """\
login_rate = ""
max_streams = 400

[workspace_issuer]
algorithm = "HS256"
keys = ["SECRET"]
audience = ["doorleaf"]

[[rules.default."ruled.secrets".roles]]
name = "all"
apply_when = {}
document_filters = {read = {public = true}, write = false}
fields = {hidden = {}}
additional_fields = {read = true}
"""


class Home:
    """A server with workspaces."""

    def __init__(self, server: Doorleaf) -> None:
        self.server = server
        self.tokens: dict[str, str] = {}
        for tenant in ("acme", "bolt"):
            self.admin("POST", "/tenants", {"name": tenant, "id": tenant})
        self.make("acme", "one")
        self.make("bolt", "two")
        self.make("acme", "s1", database="common", shared=True)
        self.make("bolt", "s2", database="common", shared=True)
        self.make("acme", "ruled")

    def make(self, tenant: str, name: str, **options: Any) -> None:
        self.admin("POST", "/workspaces", {"tenant": tenant, "id": name, **options})
        self.tokens[name] = self.token(name)

    def admin(self, method: str, path: str, body: Any = None) -> Any:
        answer = self.server.call(method, f"/api/admin/v1{path}", body, {"apiKey": self.server.key})
        assert answer.status in (200, 201, 204), answer.body
        return answer.json if answer.body else None

    def token(self, name: str, scopes: Any = SCOPES) -> str:
        return str(self.admin("POST", f"/workspaces/{name}/token", {"scopes": scopes})["token"])

    def write(self, name: str, method: str, path: str, body: Any = None) -> Any:
        headers = {"Authorization": f"Bearer {self.tokens[name]}"}
        answer = self.server.call(method, f"/v1/mongo/{name}/collections/{path}", body, headers)
        assert answer.status in (200, 201), answer.body
        return answer.json

    def insert(self, name: str, collection: str, **document: Any) -> None:
        self.write(name, "POST", f"{collection}/documents", document)

    def listen(
        self, name: str, collection: str, token: str | None = None, last: str = "", **query: str
    ) -> AbstractContextManager[Events]:
        path = f"/v1/mongo/{name}/collections/{collection}/changes?{urllib.parse.urlencode(query)}"
        headers = {"Authorization": f"Bearer {token or self.tokens[name]}"} | ({"Last-Event-ID": last} if last else {})
        return listening(self.server, "GET", path, None, headers)

    @contextmanager
    def connected(
        self, name: str, token: str | None = "", path: str = "", **options: Any
    ) -> Iterator[ClientConnection]:
        token = self.tokens[name] if token == "" else token
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        where = f"ws://127.0.0.1:{self.server.port}{path or f'/workspaces/{name}/realtime/connect'}"
        with connect(where, additional_headers=headers, proxy=None, **options) as session:
            yield session


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    folder = tmp_path_factory.mktemp("realtime")
    (folder / "settings.toml").write_text(CONFIG.replace("SECRET", SECRET))
    with doorleaf(folder / "data", "--config", str(folder / "settings.toml")) as server:
        yield Home(server)
        assert "Traceback" not in server.output()


def say(session: ClientConnection, **frame: Any) -> None:
    session.send(json.dumps(frame))


def hear(session: ClientConnection) -> Any:
    return json.loads(session.recv(PATIENCE))


def subscribe(session: ClientConnection, channel: str, **frame: Any) -> None:
    """Subscribe, and wait until that is so."""
    say(session, type="subscribe", channel=channel, requestId="r", **frame)
    told = {"type": "subscription-confirmed", "requestId": "r", "subscriptionId": channel, "channel": channel}
    assert hear(session) == told


def ended(session: ClientConnection) -> tuple[Any, int, str]:
    """The last frame, and the code and reason of the close."""
    frame = None
    try:
        while True:
            frame = hear(session)
    except ConnectionClosed as closed:
        told = closed.rcvd
    assert told is not None
    return frame, told.code, told.reason


# --- server-sent events ----------------------------------------------------------------------------------------------


def test_events_of_a_collection(home: Home) -> None:
    with home.listen("one", "orders") as events:
        home.insert("one", "orders", _id="a", total=5, status="open")
        home.insert("one", "others", _id="a")
        home.insert("two", "orders", _id="foreign")
        home.write("one", "PATCH", "orders/documents/a", {"$set": {"status": "shipped"}})
        home.write("one", "PUT", "orders/documents/a", {"total": 9})
        home.write("one", "DELETE", "orders/documents/a")
        told = [events.change() for _ in range(4)]
        assert [(event["operation"], event["operationType"]) for event in told] == [
            ("INSERT", "insert"), ("UPDATE", "update"), ("UPDATE", "replace"), ("DELETE", "delete")
        ]  # fmt: skip
        assert told[0]["document"] == {"_id": "a", "total": 5, "status": "open"}
        assert told[1]["updateDescription"]["updatedFields"] == {"status": "shipped"}
        assert told[3]["document"] == {"_id": "a", "total": 9}, "a deletion has the document as it was"
        assert all(event["collection"] == "orders" and event["timestamp"].endswith("Z") for event in told)
        assert len({event["correlationId"] for event in told}) == 4
        assert told[3]["resumeToken"] == events.id
        assert "_tenantId" not in json.dumps(told)
        assert "_workspaceId" not in json.dumps(told)


def test_a_replacement_is_an_update_that_may_be_asked_for_alone(home: Home) -> None:
    listen = partial(home.listen, "one", "kinds")
    with listen(operations="REPLACE") as some, listen(operations="UPDATE") as all:
        home.insert("one", "kinds", _id="k")
        home.write("one", "PATCH", "kinds/documents/k", {"$set": {"n": 1}})
        home.write("one", "PUT", "kinds/documents/k", {"n": 2})
        assert [all.change()["operationType"] for _ in range(2)] == ["update", "replace"]
        assert (some.change()["operation"], some.id) == ("UPDATE", all.id)


def test_filters_choose_documents(home: Home) -> None:
    query = {"operations": "INSERT,DELETE", "filter.status": "open", "filter.total[gte]": "5"}
    with home.listen("one", "filtered", **query) as events:
        home.insert("one", "filtered", _id=1, status="open", total=4)
        home.insert("one", "filtered", _id=2, status="open", total=5)
        home.insert("one", "filtered", _id=3, status="shut", total=5)
        home.write("one", "PATCH", "filtered/documents/%7B%22$numberInt%22:%222%22%7D", {"$set": {"x": 1}})
        home.write("one", "PATCH", "filtered/documents/%7B%22$numberInt%22:%222%22%7D", {"$set": {"status": "shut"}})
        home.write("one", "PATCH", "filtered/documents/%7B%22$numberInt%22:%223%22%7D", {"$set": {"status": "open"}})
        told = [(event["operation"], event["documentId"]) for event in (events.change() for _ in range(3))]
        assert told == [("INSERT", 2), ("DELETE", 2), ("INSERT", 3)], "in and out of the filter"


def test_a_listener_goes_on_where_it_was_and_behind_a_drop(home: Home) -> None:
    with home.listen("one", "resumed") as events:
        home.insert("one", "resumed", _id=1)
        assert events.change()["documentId"] == 1
        last = events.id
    home.insert("one", "resumed", _id=2)
    home.server.ok("dropCollection", database="one", collection="resumed")
    home.insert("one", "resumed", _id=3)
    with home.listen("one", "resumed", last=last) as events:
        assert [events.change()["documentId"] for _ in range(2)] == [2, 3]
        home.server.ok("dropCollection", database="one", collection="resumed")
        home.insert("one", "resumed", _id=4)
        assert events.change()["documentId"] == 4


def test_a_token_in_the_query_for_browsers(home: Home) -> None:
    path = f"/v1/mongo/one/collections/query/changes?token={home.tokens['one']}"
    with listening(home.server, "GET", path) as events:
        home.insert("one", "query", _id=1)
        assert events.change()["documentId"] == 1
    documents = f"/v1/mongo/one/collections/query/documents?token={home.tokens['one']}"
    assert home.server.call("GET", documents).status == 401, "nowhere else"


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("one/collections/c/changes?operations=DROP", 400, "VALIDATION_ERROR"),
        ("one/collections/c/changes?filter.$where=1", 400, "VALIDATION_ERROR"),
        ("one/collections/c/changes?filter={", 400, "VALIDATION_ERROR"),
        ('one/collections/c/changes?filter={"a":{"$who":1}}', 400, "VALIDATION_ERROR"),
        ("one/collections/a$b/changes", 400, "VALIDATION_ERROR"),
        ("one/collections/system.x/changes", 400, "VALIDATION_ERROR"),
        ("one/collections/c/changes?filter._tenantId=acme", 403, "PERMISSION_DENIED"),
        ('one/collections/c/changes?filter={"$or":[{"_workspaceId.x":1}]}', 403, "PERMISSION_DENIED"),
        ("two/collections/c/changes", 403, "PERMISSION_DENIED"),
        ("nowhere/collections/c/changes", 404, "WORKSPACE_NOT_FOUND"),
    ],
)
def test_what_a_listener_is_refused(home: Home, path: str, status: int, code: str) -> None:
    target = "/v1/mongo/" + urllib.parse.quote(path, safe="/?=&$")
    answer = home.server.call("GET", target, headers={"Authorization": f"Bearer {home.tokens['one']}"})
    assert (answer.status, answer.json["error"]["code"]) == (status, code), answer.body


def test_scopes_and_capabilities(home: Home) -> None:
    deaf = home.token("one", ["mongo:read", "mongo:write", "mongo:admin"])
    headers = {"Authorization": f"Bearer {deaf}"}
    answer = home.server.call("GET", "/v1/mongo/one/collections/c/changes", headers=headers)
    assert (answer.status, answer.json["error"]["code"]) == (403, "PERMISSION_DENIED")
    home.make("acme", "mute", capabilities=["mongo"])
    headers = {"Authorization": f"Bearer {home.tokens['mute']}"}
    answer = home.server.call("GET", "/v1/mongo/mute/collections/c/changes", headers=headers)
    assert (answer.status, answer.json["error"]["code"]) == (403, "CAPABILITY_DISABLED")
    with home.connected("one", deaf) as session:
        assert ended(session)[1:] == (4003, "scope_denied")
    with home.connected("mute") as session:
        assert ended(session)[1:] == (4003, "scope_denied")


def test_workspaces_of_one_database_hear_nothing_of_each_other(home: Home) -> None:
    with home.listen("s1", "orders") as events, home.connected("s2") as session:
        subscribe(session, "mongo:*")
        home.insert("s1", "orders", _id="mine", text="SESAME")
        home.insert("s2", "orders", _id="theirs")
        home.server.ok("insertOne", database="common", collection="s2.orders", document={"_id": "nobody's"})
        home.server.ok("insertOne", database="common", collection="bare", document={"_id": "nobody's"})
        home.insert("s2", "orders", _id="theirs too")
        home.insert("s1", "orders", _id="mine too")
        assert [events.change()["documentId"] for _ in range(2)] == ["mine", "mine too"]
        told = [hear(session) for _ in range(2)]
        assert [event["documentId"] for event in told] == ["theirs", "theirs too"]
        assert told[0]["collection"] == "orders"
        assert "SESAME" not in json.dumps(told)


def test_rules_hold_as_well(home: Home) -> None:
    with home.listen("ruled", "secrets") as events, home.connected("ruled") as session:
        for number, public in ((1, False), (2, True)):
            document = {"_id": number, "public": public, "hidden": "SESAME", **OWN}
            home.server.ok("insertOne", database="ruled", collection="secrets", document=document)
        event = events.change()
        assert event["document"] == {"_id": 2, "public": True}
        say(session, type="subscribe", channel="mongo:*", requestId=1)
        refused = hear(session)
        assert (refused["type"], refused["code"]) == ("error", "PERMISSION_DENIED")


def test_a_right_that_is_taken_away_ends_what_it_was_for(home: Home) -> None:
    made = home.admin("POST", "/workspaces/one/keys", {"name": "brief", "scopes": ["realtime:subscribe"]})
    claims: dict[str, Any] = {"tenant_id": "acme", "workspace_id": "one", "scope": "realtime:read"}
    short = token(sub="svc", aud="doorleaf", exp=int(time.time()) + 4, **claims)
    with (
        home.connected("one", short) as expiring,
        home.listen("one", "revoked", made["key"]) as events,
        home.connected("one", made["key"]) as session,
    ):
        subscribe(session, "mongo:revoked")
        home.insert("one", "revoked", _id=1)
        assert events.change()["documentId"] == hear(session)["documentId"] == 1
        began = time.monotonic()
        home.admin("POST", f"/workspaces/one/keys/{made['id']}/revoke")
        frame, code, reason = ended(session)
        assert (frame["type"], frame["code"], frame["name"], code, reason) == (
            "error", 4003, "scope_denied", 4003, "scope_denied"
        )  # fmt: skip
        fields = events.next()
        assert fields["event"] == "error"
        assert json.loads(fields["data"])["error"]["code"] == "INVALID_TOKEN"
        assert events.next() == {}
        assert time.monotonic() - began < 30  # five seconds on a machine that has time
        assert ended(expiring)[1:] == (4001, "token_expired")


# --- the gateway -----------------------------------------------------------------------------------------------------


def test_channels_and_filters(home: Home) -> None:
    with home.connected("one", subprotocols=["v1.falcone.realtime"]) as session:
        assert session.subprotocol == "v1.falcone.realtime"
        subscribe(session, "mongo:things", filter={"operations": ["INSERT"], "predicates": {"n": {"$gte": 2}}})
        subscribe(session, "mongo:*", filter={"entity": "elsewhere", "operation": "DELETE"})
        home.insert("one", "things", _id=1, n=1)
        home.insert("one", "things", _id=2, n=2)
        home.insert("one", "elsewhere", _id="x")
        home.write("one", "DELETE", "elsewhere/documents/x")
        told = sorted((hear(session) for _ in range(2)), key=lambda event: str(event["operation"]))
        assert [(event["channel"], event["operation"], event["collection"]) for event in told] == [
            ("mongo:*", "DELETE", "elsewhere"), ("mongo:things", "INSERT", "things")
        ]  # fmt: skip
        assert told[1]["type"] == "event"
        assert told[1]["document"] == {"_id": 2, "n": 2}
        say(session, type="unsubscribe", channel="mongo:things", requestId="bye")
        assert hear(session)["type"] == "subscription-removed"
        home.insert("one", "things", _id=3, n=3)
        say(session, type="ping")
        assert hear(session) == {"type": "pong"}, "nothing else came"
        subscribe(session, "mongo:things", resumeAfter=told[1]["resumeToken"])
        assert hear(session)["documentId"] == 3


def test_nothing_is_said_unasked(home: Home) -> None:
    """Clients take every frame for an event unless they gave their request an id."""
    with home.connected("one", path="/v1/workspaces/one/realtime/connect") as session:
        say(session, type="subscribe", channel="mongo:quiet")
        say(session, type="ping")
        assert hear(session) == {"type": "pong"}
        home.insert("one", "quiet", _id=1)
        assert hear(session)["operation"] == "INSERT"


def test_a_token_in_the_first_frame(home: Home) -> None:
    with home.connected("one", None) as session:
        say(session, type="auth", token=home.tokens["one"])
        subscribe(session, "mongo:first")
        home.insert("one", "first", _id=1)
        assert hear(session)["documentId"] == 1
        say(session, type="refresh-token", token=home.tokens["two"], requestId=1)
        assert ended(session)[1] == 4003


@pytest.mark.parametrize(
    ("frames", "code"),
    [
        ([{"type": "subscribe", "channel": "mongo:c"}], 4003),
        ([{"type": "auth", "token": "nonsense"}], 4003),
        ([{"type": "auth"}], 4003),
        ([[1, 2]], 4003),
    ],
)
def test_strangers(home: Home, frames: list[Any], code: int) -> None:
    with home.connected("one", None) as session:
        for frame in frames:
            session.send(json.dumps(frame))
        frame, found, _ = ended(session)
        assert (frame["type"], frame["code"], found) == ("error", code, code)


def ticket(home: Home, name: str, shown: str) -> str:
    headers = {"Authorization": f"Bearer {shown}"}
    answer = home.server.call("POST", f"/v1/mongo/{name}/realtime/tickets", headers=headers)
    assert answer.status == 201, answer.body
    assert answer.json.keys() == {"ticket", "expiresAt"}
    text: str = answer.json["ticket"]
    return text


def test_a_ticket_is_good_for_one_connection_as_who_made_it(home: Home) -> None:
    made = home.admin("POST", "/workspaces/one/keys", {"name": "tickets", "scopes": ["realtime:read"]})
    path = "/workspaces/one/realtime/connect?ticket="
    first, second, third = (ticket(home, "one", made["key"]) for _ in range(3))
    assert len({first, second, third}) == 3
    with home.connected("one", None, path + first) as session:
        subscribe(session, "mongo:ticketed")
        home.insert("one", "ticketed", _id=1)
        assert hear(session)["documentId"] == 1
        for other in (path + first, "/workspaces/two/realtime/connect?ticket=" + second, path + second, path + "dlt_x"):
            with home.connected("one", None, other) as refused:
                assert ended(refused)[1:] == (4003, "scope_denied"), (
                    "used, for another workspace, used up by that, wrong"
                )
        with home.connected("one", made["key"], path + third) as refused:
            assert ended(refused)[1:] == (4003, "scope_denied"), "a ticket or a token"
        last = ticket(home, "one", made["key"])
        home.admin("POST", f"/workspaces/one/keys/{made['id']}/revoke")
        assert ended(session)[1:] == (4003, "scope_denied"), "the key that got the ticket is revoked"
    with home.connected("one", None, path + last) as refused:
        assert ended(refused)[1:] == (4003, "scope_denied")


def test_who_gets_no_ticket(home: Home) -> None:
    path = "/v1/mongo/one/realtime/tickets"
    deaf = {"Authorization": f"Bearer {home.token('one', ['mongo:read', 'mongo:write', 'mongo:admin'])}"}
    listener = {"Authorization": f"Bearer {home.tokens['one']}"}
    for headers, body, status in ((deaf, {}, 403), ({}, {}, 401), (listener, {"ttl": 1}, 400)):
        assert home.server.call("POST", path, body, headers).status == status
    again = [
        home.server.call("POST", path, {}, {**listener, "Idempotency-Key": "same"}).json["ticket"] for _ in range(2)
    ]
    assert again[0] != again[1], "what is secret is not kept"


def test_tokens_of_others(home: Home) -> None:
    for name, other in (("one", home.tokens["two"]), ("nowhere", home.tokens["one"]), ("one", "nonsense")):
        with home.connected(name, other) as session:
            assert ended(session)[1] == 4003


MISTAKES: list[Any] = [
    {"type": "dance"},
    {},
    {"type": "subscribe"},
    {"type": "subscribe", "channel": 1},
    {"type": "subscribe", "channel": "mongo:a$b"},
    {"type": "subscribe", "channel": "mongo:c", "filter": []},
    {"type": "subscribe", "channel": "mongo:c", "filter": {"who": 1}},
    {"type": "subscribe", "channel": "mongo:c", "filter": {"operations": ["DROP"]}},
    {"type": "subscribe", "channel": "mongo:c", "filter": {"operations": "INSERT"}},
    {"type": "subscribe", "channel": "mongo:c", "filter": {"entity": "d"}},
    {"type": "subscribe", "channel": "mongo:c", "filter": {"predicates": {"$where": "1"}}},
    {"type": "subscribe", "channel": "mongo:c", "filter": {"predicates": {"a": {"$who": 1}}}},
    {"type": "subscribe", "channel": "mongo:c", "filter": {"predicates": [{"field": "a", "op": "who"}]}},
    {"type": "subscribe", "channel": "mongo:c", "filter": {"predicates": {str(n): n for n in range(11)}}},
    {"type": "subscribe", "channel": "mongo:c", "resumeAfter": 1},
]


def test_mistakes_are_told_and_end_nothing(home: Home) -> None:
    with home.connected("one") as session:
        for frame in [json.dumps(one) for one in MISTAKES] + ["{" + "x" * 70_000, "[]", "{"]:
            session.send(frame)
            told = hear(session)
            code = "INVALID_JSON" if frame == "{" else "VALIDATION_ERROR"
            assert (told["type"], told["code"]) == ("error", code), frame
        say(session, type="ping")
        assert hear(session) == {"type": "pong"}


def test_a_filter_names_no_field_that_nobody_sees(home: Home) -> None:
    with home.connected("one") as session:
        subscribe(session, "mongo:seen")
        for predicates in ({"_tenantId": "acme"}, {"$or": [{"_workspaceId.x": 1}]}, [{"field": "_tenantId"}]):
            say(session, type="subscribe", channel="mongo:seen", filter={"predicates": predicates})
            assert hear(session)["code"] == "PERMISSION_DENIED", predicates
        home.insert("one", "seen", _id=1)
        assert hear(session)["documentId"] == 1, "the subscription is the one before"


def test_a_token_that_is_over_is_told_and_the_channel_is_live(home: Home) -> None:
    with home.connected("one") as session:
        say(session, type="subscribe", channel="mongo:live", resumeAfter="FFFF", requestId=1)
        assert hear(session)["type"] == "error"
        assert hear(session)["type"] == "subscription-confirmed"
        home.insert("one", "live", _id=1)
        assert hear(session)["documentId"] == 1


def test_channels_that_are_not_there_and_too_many(home: Home) -> None:
    with home.connected("one") as session:
        say(session, type="subscribe", channel="postgres:orders")
        frame, code, reason = ended(session)
        assert (frame["channel"], code, reason) == ("postgres:orders", 4010, "channel_unavailable")
    home.make("acme", "full")  # whose caller has listened to nothing before
    with home.connected("full") as session, home.connected("full") as other:
        for number in range(100):
            subscribe(session, f"mongo:many{number}")
        subscribe(other, "mongo:many7")  # which is watched already
        say(other, type="subscribe", channel="mongo:more")
        assert ended(other)[1:] == (4008, "quota_exceeded")
        say(session, type="subscribe", channel="mongo:more")
        assert ended(session)[1:] == (4008, "quota_exceeded")


def test_strangers_take_no_place_from_those_who_are_known(home: Home) -> None:
    with ExitStack() as strangers, home.connected("one", token=None) as late:
        for _ in range(49):  # an eighth of all streams
            strangers.enter_context(home.connected("one", token=None))
        with pytest.raises(InvalidStatus) as refused, home.connected("one", token=None):
            pass
        assert refused.value.response.status_code == 429
        with home.connected("one") as known:
            say(known, type="ping")
            assert hear(known) == {"type": "pong"}
        say(late, type="auth", token=home.tokens["one"])
        say(late, type="ping")
        assert hear(late) == {"type": "pong"}
        with home.connected("one", token=None):
            pass  # there is room again: who says who they are is a stranger no more


def test_code_is_no_text(home: Home) -> None:
    code = {"$code": "mongo:things"}
    with home.connected("one") as session:
        for frame in (
            {"type": "subscribe", "channel": code},
            {"type": "subscribe", "channel": "mongo:*", "filter": {"entity": code}},
            {"type": "subscribe", "channel": "mongo:*", "filter": {"operation": {"$code": "DELETE"}}},
            {"type": "subscribe", "channel": "mongo:*", "resumeAfter": code},
        ):
            say(session, **frame)
            assert hear(session)["type"] == "error"
        say(session, type="ping", requestId=code)
        assert hear(session) == {"type": "pong"}
