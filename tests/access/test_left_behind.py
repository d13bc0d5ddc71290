"""What fails leaves nothing that only a search for garbage finds, and what is left all the same has a bound."""

from __future__ import annotations

import asyncio
import gc
import json
import weakref
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from asgi import KEY, Application
from cube_app import database, on_engine, registered

from doorleaf.apart import collecting
from doorleaf.app import build
from doorleaf.cli import live
from doorleaf.http.uploads import Upload
from doorleaf.operations import InsertMany
from doorleaf.settings.model import Settings
from doorleaf.stores.mongo.bulks import Outcome
from doorleaf.transfer.files import Source

LARGE = "x" * 400_000


def held() -> list[Any]:
    return [one for one in gc.get_objects() if isinstance(one, InsertMany | Outcome | Source | Upload)]


@pytest.mark.parametrize("engine", ["embedded", "mongo"], indirect=True)
def test_inserts_that_fail_leave_nothing(engine: AbstractContextManager[Application]) -> None:
    with engine as app:
        bearer = registered(app, "ada@example.com")
        row = json.dumps({"_id": "a", "text": LARGE})
        fields = {"database_id": database(app, bearer), "collection_name": "users"}
        form = "".join(
            f'--x\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{fields[name]}\r\n' for name in fields
        )
        form += (
            f'--x\r\nContent-Disposition: form-data; name="json_file"; filename="a.json"\r\n\r\n[{row}]\r\n--x--\r\n'
        )
        shown = {"authorization": bearer, "content-type": "multipart/form-data; boundary=x"}
        lines = {"apiKey": KEY, "content-type": "application/x-ndjson"}

        def fail() -> None:
            answer = app.call("POST", "/data/v1/action/insertMany", row.encode(), lines, b"database=left&collection=c")
            assert answer.json["error_code"] == "DuplicateKey"
            answer = app.call("POST", "/api/import_data", form.encode(), shown)
            assert answer.json["inserted_count"] == 0

        app.act("insertOne", {"database": "left", "collection": "c", "document": {"_id": "a"}})
        app.call("POST", "/api/import_data", form.encode(), shown)
        fail()
        gc.collect()
        before = [*map(id, held())]  # of other tests, which keep them
        gc.disable()
        try:
            fail()
            app.act(
                "insertOne", {"database": "left", "collection": "c", "document": {}}
            )  # the writer knows its last batch
            assert [one for one in held() if id(one) not in before] == []
        finally:
            gc.enable()


@pytest.fixture
def engine(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AbstractContextManager[Application]:
    return on_engine(request, tmp_path_factory, "left")


def test_memory_that_grows_is_searched_though_little_was_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Knot:
        def __init__(self) -> None:
            self.itself = self

    async def scenario() -> None:
        settings = Settings(data_dir=tmp_path)
        endpoint = build(settings)
        endpoint.in_flight = 1  # it is never quiet
        running = live.Live(settings, endpoint, lambda: (settings, endpoint), lambda _: None)
        knot = weakref.ref(Knot())
        gc.freeze()
        gc.collect()
        assert knot() is not None
        giving = asyncio.create_task(running._give_back())
        async with asyncio.timeout(60):
            while knot() is not None:  # noqa: ASYNC110  # nobody tells of it
                await asyncio.sleep(0.01)
        giving.cancel()

    monkeypatch.setattr(live, "GROWN_SECONDS", 0.01)
    monkeypatch.setattr(live, "MUCH_BYTES", -1)
    monkeypatch.setattr(collecting, "_settled", False)
    try:
        asyncio.run(scenario())
    finally:
        gc.unfreeze()
