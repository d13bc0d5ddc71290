"""Imports of the DataCube API over real connections, and a server that is killed in the middle of them."""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

from servers import PATIENCE, Doorleaf, start_doorleaf

ROUNDS = int(os.environ.get("DOORLEAF_TEST_CUBE_KILLS", "1"))
"""How often a server is killed; 20 for long."""
ROWS = 20_000
ENVIRONMENT = {"DOORLEAF_DATACUBE": "true", "DOORLEAF_PROVIDERS": "api-key,local-userpass", "DOORLEAF_LOGIN_RATE": ""}
PASSWORD = "a-strong-and-secure-password"


def ask(server: Doorleaf, method: str, path: str, body: Any = None, who: str | None = None, kind: str = "") -> Any:
    headers = {} if who is None else {"Authorization": who}
    headers |= {"Content-Type": kind} if kind else {}
    answer = server.call(method, path, body, headers)
    assert answer.status in (200, 201), answer.body
    return json.loads(answer.body)


def form(identifier: str, collection: str, file: bytes) -> bytes:
    fields = {"database_id": identifier, "collection_name": collection, "idempotency_key": collection}
    parts = [
        f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in fields.items()
    ]
    head = b'--b\r\nContent-Disposition: form-data; name="json_file"; filename="x.json"\r\n\r\n'
    return b"".join([*parts, head, file, b"\r\n--b--\r\n"])


def count(server: Doorleaf, who: str, identifier: str, collection: str) -> int:
    listed = ask(server, "GET", f"/api/list_collections?database_id={identifier}", who=who)["collections"]
    return sum(one["num_documents"] for one in listed if one["name"] == collection)


def post(server: Doorleaf, who: str, body: bytes) -> None:
    try:
        ask(server, "POST", "/api/import_data/", body, who, "multipart/form-data; boundary=b")
    except (OSError, AssertionError):  # it was killed
        return


def without_room(server: Doorleaf, who: str, identifier: str) -> None:
    """A small file is refused as a large one is where the disk is full."""
    limits = resource.prlimit(server.pid, resource.RLIMIT_FSIZE)
    headers = {"Authorization": who, "Content-Type": "multipart/form-data; boundary=b"}
    resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        answer = server.call(
            "POST", "/api/import_data", form(identifier, "few", b'[{"t":"%b"}]' % (b"x" * 2000)), headers
        )
    finally:
        resource.prlimit(server.pid, resource.RLIMIT_FSIZE, limits)
    assert (answer.status, answer.json["error_code"]) == (503, "StoreUnavailable")
    assert count(server, who, identifier, "few") == 0


def test_an_import_that_was_killed_is_taken_up_again(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    server = start_doorleaf(folder, env=ENVIRONMENT)
    names = {"firstName": "Ada", "lastName": "L"}
    ask(server, "POST", "/core/register/", {"email": "ada@example.com", "password": PASSWORD, **names})
    access = ask(server, "POST", "/core/login/", {"email": "ada@example.com", "password": PASSWORD})["access"]
    who = f"Bearer {access}"
    made = ask(server, "POST", "/api/create_database/", {"db_name": "shop", "collections": ["users"]}, who)
    identifier = made["database"]["id"]
    file = b"[" + b",".join(b'{"n":%d}' % number for number in range(ROWS)) + b"]"
    try:
        for turn in range(ROUNDS):
            collection = f"rows{turn}"
            body = form(identifier, collection, file)
            sending = threading.Thread(target=post, args=(server, who, body))
            sending.start()
            until = time.monotonic() + PATIENCE
            while not count(server, who, identifier, collection):
                assert time.monotonic() < until
            os.kill(server.pid, signal.SIGKILL)
            server.process.wait()
            sending.join()
            server = start_doorleaf(folder, env=ENVIRONMENT, port=server.port)
            before = count(server, who, identifier, collection)
            assert 0 < before <= ROWS
            told = ask(server, "POST", "/api/import_data", body, who, "multipart/form-data; boundary=b")
            assert (told["inserted_count"], told["present_count"], told["rejected_count"]) == (ROWS, before, 0)
            assert count(server, who, identifier, collection) == ROWS
            path = (
                f"/api/export_data?database_id={identifier}&collection_name={collection}&projection=%7B%22_id%22%3A0%7D"
            )
            answer = server.call("GET", path, None, {"Authorization": who})
            numbers = [json.loads(line)["n"] for line in answer.body.splitlines()]
            assert sorted(numbers) == [*range(ROWS)]
        if sys.platform == "linux":
            without_room(server, who, identifier)
    finally:
        server.stop()
