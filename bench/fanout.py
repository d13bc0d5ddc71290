#!/usr/bin/env python3
"""How many events reach subscribers: Doorleaf's realtime gateway, beside Node's `ws` on the driver's change stream.

    python bench/fanout.py [--subscribers 200] [--events 5000] [--idle 1000]

One worker each, over the same wire-protocol server in one run, and Doorleaf over its embedded database. A number is
events times subscribers in a second, from the first to the last that arrives; beside it is the server's processor time
for one event and subscriber, which tells what a core does when neither the database nor the readers are what it waits
for. ``--idle`` is how many subscribers nobody
tells anything, for the memory that they take.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import selectors
import socket
import sys
import tempfile
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pymongo
from processes import HERE, KEY, PAGE, Server, Servers, free_port, need

MARK = b"@@"
"""What every event has once."""

SUBSCRIBE = b'{"type":"subscribe","channel":"mongo:c"}'


def frame(text: bytes) -> bytes:
    """A frame of a client, masked with zeros."""
    return bytes([0x81, 0x80 | len(text)]) + bytes(4) + text


def subscriber(server: Server, token: str) -> socket.socket:
    """An open connection that is told of changes."""
    place = urlsplit(server.url)
    connection = socket.create_connection((place.hostname or "", place.port or 0))
    key = base64.b64encode(os.urandom(16)).decode()
    path = "/workspaces/bench/realtime/connect" if token else "/"
    shown = f"Authorization: Bearer {token}\r\n" if token else ""
    connection.sendall(
        f"GET {path} HTTP/1.1\r\nHost: {place.netloc}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n{shown}\r\n".encode()
    )
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += connection.recv(1)
    if b" 101 " not in head:
        sys.exit(f"bench: no WebSocket: {head.decode(errors='replace')[:200]}")
    if token:
        connection.sendall(frame(SUBSCRIBE))
    return connection


def admin(server: Server, path: str, body: dict[str, Any]) -> Any:
    headers = {"apiKey": KEY, "Content-Type": "application/json"}
    request = urllib.request.Request(f"{server.url}{path}", json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.loads(answer.read())


def workspace(server: Server) -> str:
    """A token for a new workspace."""
    admin(server, "/api/admin/v1/tenants", {"name": "bench", "id": "bench"})
    admin(server, "/api/admin/v1/workspaces", {"tenant": "bench", "id": "bench"})
    made = admin(server, "/api/admin/v1/workspaces/bench/token", {"scopes": ["realtime:read"]})
    token: str = made["token"]
    return token


def documents(count: int) -> list[dict[str, Any]]:
    own = {"_tenantId": "bench", "_workspaceId": "bench"}
    return [{"text": "@@" + "x" * 200, "n": number, **own} for number in range(count)]


@dataclass(frozen=True)
class Sample:
    """Events times subscribers in a second, and the server's processor time of one of them, in microseconds."""

    rate: float
    cpu: float

    def show(self, name: str, more: str = "") -> None:
        print(f"fan-out   {name:9} {self.rate:10.0f} events × subscribers/s  cpu {self.cpu:6.2f} us{more}", flush=True)


def fan_out(server: Server, token: str, count: int, events: int, write: Any) -> Sample:
    """How fast events come to subscribers."""
    connections = [subscriber(server, token) for _ in range(count)]
    time.sleep(2)  # until all are subscribed: a gateway says nothing unasked
    selector = selectors.DefaultSelector()
    for connection in connections:
        connection.setblocking(False)
        selector.register(connection, selectors.EVENT_READ)
    wanted, heard, began = count * events, 0, 0.0
    pending = documents(events)
    deadline = time.monotonic() + 300
    used = server.cpu_seconds()
    while heard < wanted:
        if pending:
            write(pending[:100])
            pending = pending[100:]
        for key, _ in selector.select(0.05):
            data = key.fileobj.recv(1 << 20)  # type: ignore[union-attr]
            heard += data.count(MARK)
            began = began or time.perf_counter()
            if not data:
                sys.exit(f"bench: {server.name} has closed a connection")
        if time.monotonic() > deadline:
            sys.exit(f"bench: {server.name}: only {heard} of {wanted} came")
    seconds = time.perf_counter() - began
    used = server.cpu_seconds() - used
    for connection in connections:
        connection.close()
    return Sample(wanted / seconds, used / wanted * 1e6)


def idle(server: Server, token: str, count: int) -> float:
    """The megabytes that idle subscribers take in the process that serves them."""
    subscriber(server, token).close()
    time.sleep(3)  # until what comes with the first of them is there
    before = resident(server)
    connections = [subscriber(server, token) for _ in range(count)]
    time.sleep(3)
    taken = resident(server) - before
    for connection in connections:
        connection.close()
    return taken


def resident(server: Server) -> float:
    return int(Path(f"/proc/{server.process.pid}/statm").read_text().split()[1]) * PAGE / 1e6


def into(uri: str) -> Any:
    return lambda some: pymongo.MongoClient(uri)["bench"]["c"].insert_many(some)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--subscribers", type=int, default=200)
    parser.add_argument("--events", type=int, default=5000)
    parser.add_argument("--idle", type=int, default=1000)
    given = parser.parse_args()
    need("taskset", "node", "npm")
    os.environ["DOORLEAF_MAX_STREAMS"] = str(4 * max(given.subscribers, given.idle) + 100)
    with tempfile.TemporaryDirectory() as folder:
        servers = Servers(Path(folder), "0", "1")
        try:
            run(servers, given)
        finally:
            servers.stop()


def run(servers: Servers, given: argparse.Namespace) -> None:
    embedded = servers.doorleaf(name="embedded")
    token = workspace(embedded)

    def insert(some: list[dict[str, Any]]) -> None:
        admin(embedded, "/data/v1/action/insertMany", {"database": "bench", "collection": "c", "documents": some})

    print(f"idle      doorleaf  {idle(embedded, token, given.idle):10.1f} MB for {given.idle} subscribers")
    fan_out(embedded, token, given.subscribers, given.events, insert).show("embedded")
    database = servers.database()
    doorleaf = servers.doorleaf(database.uri)
    ours = fan_out(doorleaf, workspace(doorleaf), given.subscribers, given.events, into(database.uri))
    ours.show("doorleaf")
    peer = servers._start(
        "ws", servers.server_core, ["node", str(HERE / "peer" / "fanout.js")],
        {"PORT": str(port := free_port()), "MONGODB_URI": database.uri},
    )  # fmt: skip
    servers._until(peer, "listening on")
    peer.url = f"http://127.0.0.1:{port}"
    other = fan_out(peer, "", given.subscribers, given.events, into(database.uri))
    other.show("ws", f"  x {ours.rate / other.rate:.2f}, cpu x {other.cpu / ours.cpu:.2f}")


if __name__ == "__main__":
    main()
