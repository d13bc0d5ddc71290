"""Listeners whose server or database is killed: every event comes once, and those of a document in their order.

``DOORLEAF_TEST_LISTENERS`` and ``DOORLEAF_TEST_EVENTS`` say how many listeners of each kind there are, and how many
events.
"""

from __future__ import annotations

import http.client
import json
import os
import threading
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

from servers import Doorleaf, doorleaf, mortal_mongodb, start_doorleaf, until
from test_workspace_realtime import CONFIG, Home, hear, say
from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

LISTENERS = int(os.environ.get("DOORLEAF_TEST_LISTENERS", "2"))
EVENTS = int(os.environ.get("DOORLEAF_TEST_EVENTS", "120"))
DOCUMENTS = 10
PATIENCE = 120.0 + EVENTS / 5


class Listener(threading.Thread, ABC):
    """Listens until it has all, and comes back when it is cut off."""

    def __init__(self, port: int, token: str) -> None:
        super().__init__(daemon=True)
        self.port = port
        self.token = token
        self.open = False
        self.last = ""
        self.told: list[tuple[Any, int]] = []
        self.cuts = 0

    def run(self) -> None:
        until = time.monotonic() + PATIENCE
        while len(self.told) < EVENTS and time.monotonic() < until:
            try:
                self.listen()
            except (OSError, http.client.HTTPException, WebSocketException):
                self.cuts += 1
                time.sleep(0.1)

    @abstractmethod
    def listen(self) -> None:
        """Listen behind the last event until something is wrong."""

    def heard(self, event: Any) -> bool:
        """Note an event; whether there are more to come. Over MongoDB the document may be a later one already."""
        self.told.append((event["documentId"], event["updateDescription"]["updatedFields"]["n"]))
        self.last = event["resumeToken"]
        return len(self.told) < EVENTS


class ByEvents(Listener):
    def listen(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        headers = {"Authorization": f"Bearer {self.token}"} | ({"Last-Event-ID": self.last} if self.last else {})
        connection.request("GET", "/v1/mongo/one/collections/c/changes?operations=UPDATE", headers=headers)
        answer = connection.getresponse()
        try:
            if answer.status != 200:
                raise ConnectionError
            self.open = True
            while line := answer.readline():
                if line.startswith(b"id: "):
                    self.last = line[4:].decode().strip()
                if line.startswith(b"data: {") and not self.heard(json.loads(line[6:])):
                    return
        finally:
            answer.close()
            connection.close()


class BySocket(Listener):
    def listen(self) -> None:
        headers = {"Authorization": f"Bearer {self.token}"}
        where = f"ws://127.0.0.1:{self.port}/workspaces/one/realtime/connect"
        with connect(where, additional_headers=headers, proxy=None) as session:
            asked = {"type": "subscribe", "channel": "mongo:c", "requestId": 1, "filter": {"operations": ["UPDATE"]}}
            session.send(json.dumps(asked | ({"resumeAfter": self.last} if self.last else {})))
            while True:
                frame = json.loads(session.recv(30))
                if frame["type"] == "subscription-confirmed":
                    self.open = True
                elif frame["type"] == "event" and not self.heard(frame):
                    return
                elif frame["type"] == "error":
                    raise ConnectionError


def write(server: Doorleaf, token: str) -> None:
    """Change the documents in turns; a change that may have been carried out changes nothing the second time."""
    for number in range(EVENTS):
        path = f"/v1/mongo/one/collections/c/documents/d{number % DOCUMENTS}"
        body = {"$set": {"n": number // DOCUMENTS + 1}}
        while True:
            try:
                answer = server.call("PATCH", path, body, {"Authorization": f"Bearer {token}"})
            except (OSError, http.client.HTTPException):
                time.sleep(0.05)
                continue
            if answer.status == 200:
                break


def test_every_event_once_and_in_order_though_the_server_is_killed(tmp_path: Path) -> None:
    """The embedded database is in the process that is killed."""
    options = _configured(tmp_path)
    server = start_doorleaf(tmp_path / "data", *options)
    try:
        listeners, writing = _begun(server)
        server.kill()
        server = start_doorleaf(tmp_path / "data", *options, key=server.key, port=server.port)
        _require_all(listeners, writing)
        assert all(listener.cuts > 0 for listener in listeners)
        assert "Traceback" not in server.output()
    finally:
        server.kill()


def test_every_event_once_and_in_order_though_the_database_is_killed(tmp_path: Path) -> None:
    with mortal_mongodb(tmp_path / "mongodb") as database:
        uri = database.uri + "&serverSelectionTimeoutMS=500"
        with doorleaf(tmp_path / "data", *_configured(tmp_path), "--uri", uri) as server:
            listeners, writing = _begun(server)
            database.kill()
            database.start()
            _require_all(listeners, writing)
            assert not any(listener.cuts for listener in listeners)  # nobody had to come back
            assert "Traceback" not in server.output()


def test_over_mongodb_a_token_of_another_workspace_is_none(tmp_path: Path) -> None:
    with (
        mortal_mongodb(tmp_path / "mongodb") as database,
        doorleaf(tmp_path / "data", *_configured(tmp_path), "--uri", database.uri) as server,
    ):
        home = Home(server)
        with home.listen("s2", "c") as events:
            home.insert("s2", "c", _id=1)
            theirs = events.change()["resumeToken"]
        headers = {"Authorization": f"Bearer {home.tokens['s1']}", "Last-Event-ID": theirs}
        answer = server.call("GET", "/v1/mongo/s1/collections/c/changes", headers=headers)
        told = answer.json["error"]
        assert (answer.status, told["code"]) == (400, "VALIDATION_ERROR")
        assert told["message"] == "the resume token is not one of this change stream"
        with home.connected("s1") as session:
            say(session, type="subscribe", channel="mongo:c", resumeAfter=theirs, requestId=1)
            frame = hear(session)
            assert (frame["type"], frame["message"]) == ("error", told["message"])
            assert hear(session)["type"] == "subscription-confirmed"
            home.insert("s1", "c", _id=2)
            assert hear(session)["documentId"] == 2


def _configured(folder: Path) -> tuple[str, str]:
    (folder / "settings.toml").write_text(CONFIG.replace("SECRET", "s" * 40))
    return "--config", str(folder / "settings.toml")


def _begun(server: Doorleaf) -> tuple[list[Listener], threading.Thread]:
    """All who listen, who have heard half of what is being written."""
    home = Home(server)
    token = home.tokens["one"]
    for number in range(DOCUMENTS):
        home.insert("one", "c", _id=f"d{number}", n=0)
    listeners: list[Listener] = [kind(server.port, token) for kind in (ByEvents, BySocket) for _ in range(LISTENERS)]
    for listener in listeners:
        listener.start()
    until(lambda: all(listener.open for listener in listeners))
    writing = threading.Thread(target=write, args=(server, token), daemon=True)
    writing.start()
    deadline = time.monotonic() + PATIENCE
    while len(listeners[0].told) <= EVENTS // 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    return listeners, writing


def _require_all(listeners: list[Listener], writing: threading.Thread) -> None:
    for listener in listeners:
        listener.join(PATIENCE)
    writing.join(PATIENCE)
    for listener in listeners:
        assert len(listener.told) == EVENTS
        for number in range(DOCUMENTS):
            mine = [n for key, n in listener.told if key == f"d{number}"]
            assert mine == [*range(1, EVENTS // DOCUMENTS + 1)]


def resident(server: Doorleaf) -> int:
    """The memory that a server has, in bytes."""
    pages = int(Path(f"/proc/{server.pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def test_who_reads_nothing_takes_no_memory(tmp_path: Path) -> None:
    """30 MB of events for ten who do not read, and one who does."""
    server = start_doorleaf(tmp_path / "data", *_configured(tmp_path))
    try:
        home = Home(server)
        home.insert("one", "big", _id="first")
        before = resident(server)
        path, headers = "/v1/mongo/one/collections/big/changes", {"Authorization": f"Bearer {home.tokens['one']}"}
        idle = [http.client.HTTPConnection("127.0.0.1", server.port) for _ in range(10)]
        for connection in idle:
            connection.request("GET", path, headers=headers)
            assert connection.getresponse().status == 200
        with home.listen("one", "big") as events:
            for number in range(30):
                documents = [{"_id": f"{number}-{part}", "text": "x" * 100_000, **OWN} for part in range(10)]
                server.ok("insertMany", database="one", collection="big", documents=documents)
                for part in range(10):
                    assert events.change()["documentId"] == f"{number}-{part}"
        assert resident(server) - before < 120_000_000
        for connection in idle:
            connection.close()
    finally:
        server.kill()


OWN = {"_tenantId": "acme", "_workspaceId": "one"}
