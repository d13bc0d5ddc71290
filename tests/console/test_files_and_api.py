"""The console's pages for files in and out, for endpoints, and for the API."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import FilePayload, Page, expect
from seen import EMAIL, HOSTILE, PASSWORD, SETTINGS, Console, editor, fill, insert, look
from seen import write as type_in
from servers import Doorleaf, start_doorleaf
from shop_app import endpoint, write


@pytest.fixture(scope="module")
def server(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doorleaf]:
    """A server with an app."""
    folder = tmp_path_factory.mktemp("files")
    greet = "def main(request, response, context):\n    context.log('somebody came')\n    return 'good day'\n"
    write(
        folder / "app",
        {
            "root_config.json": {"app_id": "shop-abcde", "name": "shop"},
            "functions/config.json": [{"name": name, "run_as_system": True} for name in ("greet", "fails")],
            "functions/greet.py": greet,
            "functions/fails.py": "def main(request, response, context):\n    raise KeyError('lost')\n",
            "https_endpoints/config.json": [endpoint("/greet", "POST", "greet"), endpoint("/fails", "GET", "fails")],
        },
    )
    running = start_doorleaf(folder / "data", "--app", str(folder / "app"), env=SETTINGS)
    fill(running)
    yield running
    running.stop()


def stored(server: Doorleaf, collection: str) -> list[Any]:
    fields = {"database": "files", "collection": collection, "sort": {"_id": 1}, "limit": 5000}
    headers = {"apiKey": server.key, "Accept": "application/ejson"}
    found: list[Any] = server.call("POST", "/action/find", fields, headers).json["documents"]
    return found


def choose(console: Console, collection: str, name: str, content: bytes) -> None:
    console.go("transfer", "import", "default", "files", collection)
    expect(console.page.get_by_label("Collection", exact=True)).to_have_value(collection)
    console.page.get_by_label("File").set_input_files(FilePayload(name=name, mimeType="text/plain", buffer=content))


# --- in ----------------------------------------------------------------------------------------------------------


def test_json_keeps_every_type_and_what_is_refused_can_be_saved(console: Console, server: Doorleaf) -> None:
    page = console.page
    exact = {"n": {"$numberLong": "9007199254740993"}, "d": {"$numberDecimal": "1.50"}}
    rows = [
        {"_id": {"$oid": "64224f3cd79f54ad342dd9b1"}, **exact},
        {"_id": 1, "text": 'a "quoted" } bracket', "nested": {"list": [1, 2.0, {"deep": None}]}},
        {"_id": 1, "text": "twice"},
        {"_id": 2, "html": HOSTILE},
    ]
    lines = [json.dumps(row) for row in rows]
    content = "\n".join([*lines[:2], "not a document", '{"_id": {"$oid": "short"}}', *lines[2:], ""]).encode()
    choose(console, "typed", "rows.ndjson", content)
    expect(page.get_by_label("What would be written")).to_contain_text("9007199254740993")
    expect(page.get_by_label("What would be written")).to_contain_text("refused: line 3")
    look(console)
    page.get_by_role("button", name=re.compile("^Import")).click()
    expect(page.get_by_role("status").filter(has_text="Done.")).to_contain_text("3 documents were written, 3 rows were")
    refused = page.get_by_role("region", name="Refused rows")
    expect(refused.get_by_role("row")).to_have_count(4)
    expect(refused).to_contain_text("duplicate key")
    expect(refused).to_contain_text("expected a document")
    look(console)
    with page.expect_download() as saved:
        page.get_by_role("button", name="Save them").click()
    kept = [json.loads(line) for line in Path(saved.value.path()).read_text().splitlines()]
    assert [row["line"] for row in kept] == [3, 4, 5]
    found = {str(document["_id"]): document for document in stored(server, "typed")}
    assert len(found) == 3
    one = found["{'$oid': '64224f3cd79f54ad342dd9b1'}"]
    assert {name: one[name] for name in exact} == exact
    assert page.locator("img").count() == 0


def test_an_array_over_many_pieces_of_the_file(console: Console, server: Doorleaf) -> None:
    rows = [{"_id": number, "text": f"„{number}“ {{[," + "x" * 200} for number in range(3000)]
    choose(console, "array", "rows.json", json.dumps(rows, indent=1, ensure_ascii=False).encode())
    console.page.get_by_role("button", name=re.compile("^Import")).click()
    expect(console.page.get_by_role("status").filter(has_text="Done.")).to_contain_text(
        "3,000 documents were written, 0"
    )
    assert [document["text"] for document in stored(server, "array")] == [row["text"] for row in rows]


def test_types_of_csv_are_guessed_shown_and_chosen(console: Console, server: Doorleaf) -> None:
    page = console.page
    lines = ["_id,name,born,paid,zip,note.a", *(f'{n},"A, ""{n}""",2020-01-0{n},true,0{n}23,' for n in range(1, 5))]
    lines += ["5,multi\nline,2020-01-05,false,0523,x", "six,wrong id,2020-01-06,true,0623,y", "7,a,b,c,d,e,f"]
    choose(console, "cells", "people.csv", ("\r\n".join(lines) + "\r\n").encode())
    expect(page.get_by_label("Type of _id")).to_have_value("String")
    expect(page.get_by_label("Type of zip")).to_have_value("String")
    page.get_by_label("Type of _id").select_option("Int")
    page.get_by_label("Type of born").select_option("Date")
    page.get_by_label("Type of paid").select_option("Boolean")
    look(console)
    page.get_by_role("button", name=re.compile("^Import")).click()
    expect(page.get_by_role("status").filter(has_text="Done.")).to_contain_text("5 documents were written, 2 rows were")
    expect(page.get_by_role("region", name="Refused rows")).to_contain_text("_id: “six” is no Int")
    found = stored(server, "cells")
    assert found[0] == {
        "_id": {"$numberInt": "1"},
        "name": 'A, "1"',
        "born": {"$date": {"$numberLong": "1577836800000"}},
        "paid": True,
        "zip": "0123",
    }
    assert found[4]["name"] == "multi\nline"
    assert found[4]["note"] == {"a": "x"}


def test_the_first_mistake_may_end_it(console: Console, server: Doorleaf) -> None:
    page = console.page
    choose(console, "strict", "rows.json", b'{"_id": 1}\n{"_id": 2}\n{"_id": 1}\n{"_id": 3}\n')
    page.get_by_label("Stop at the first row").check()
    page.get_by_role("button", name=re.compile("^Import")).click()
    expect(page.get_by_role("status").filter(has_text="Done.")).to_contain_text("2 documents were written, 1 row was")
    assert len(stored(server, "strict")) == 2
    choose(console, "strict", "bad.json", b'{"_id": "\xff"}')
    page.get_by_role("button", name=re.compile("^Import")).click()
    expect(page.get_by_role("alert")).to_contain_text("not in UTF-8")
    assert len(stored(server, "strict")) == 2


# --- out ---------------------------------------------------------------------------------------------------------


def test_what_a_query_matches_is_saved(console: Console, server: Doorleaf) -> None:
    page = console.page
    console.go("transfer", "export", "default", "shop", "orders")
    type_in(console, "Filter", '{"status": "shipped"')
    expect(page.get_by_role("button", name="Export", exact=True)).to_be_disabled()
    expect(page.get_by_text("Line 1, column")).to_be_visible()
    type_in(console, "Filter", "{ status: 'shipped' }")
    type_in(console, "Sort", '{"_id": -1}')
    look(console)

    def saved(kind: str) -> str:
        page.get_by_label("File").select_option(kind)
        with page.expect_download() as coming:
            page.get_by_role("button", name="Export", exact=True).click()
        return Path(coming.value.path()).read_bytes().decode()

    lines = [json.loads(line) for line in saved("canonical").splitlines()]
    assert [line["_id"]["$numberInt"] for line in lines] == [str(number) for number in range(447, -1, -3)]
    expect(page.get_by_role("status").filter(has_text="The browser saves it")).to_be_visible()
    assert [row["_id"] for row in json.loads(saved("json"))] == [*range(447, -1, -3)]
    page.get_by_label("At most").fill("2")
    rows = saved("csv").split("\r\n")
    assert rows[0] == "_id,customer,status,total"
    assert rows[1].startswith('447,"{""name"":""Customer 6""}",shipped,670.5')
    assert rows[3:] == [""]
    type_in(console, "Filter", '{"$nope": 1}')
    page.get_by_role("button", name="Export", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("$nope")


def test_a_download_that_breaks_off_has_failed(console: Console, server: Doorleaf) -> None:
    insert(server, "shop", "growing", [{"_id": number, "text": "x" * 1000} for number in range(3000)])
    asked = {"database": "shop", "collection": "growing", "format": "csv", "columns": ["_id", "text"]}
    made = server.call("POST", "/api/console/v1/downloads", asked, {"apiKey": server.key})
    insert(server, "shop", "growing", [{"_id": 3000, "new": 1}])
    with console.page.expect_download() as coming:
        console.page.evaluate(
            """ticket => { const link = document.createElement("a");
                link.download = "growing.csv"; link.href = `api/console/v1/downloads/${ticket}`; link.click(); }""",
            made.json["ticket"],
        )
    assert coming.value.failure() is not None


def test_who_may_not_write_is_told_so(page: Page, server: Doorleaf) -> None:
    page.goto(f"{server.url}/console#/transfer/import/default/shop/orders")
    page.get_by_role("radio", name="Email and password").click()
    page.get_by_label("Email", exact=True).fill(EMAIL)
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_label("File").set_input_files(FilePayload(name="a.json", mimeType="text/plain", buffer=b'{"a": 1}'))
    page.get_by_role("button", name=re.compile("^Import")).click()
    expect(page.get_by_role("alert")).to_contain_text("NoMatchingRuleFound")
    expect(page.get_by_text("It failed.")).to_be_visible()
    Console(page, server).go("endpoints")
    expect(page.get_by_role("heading", name="Endpoints are for administrators")).to_be_visible()


# --- endpoints ---------------------------------------------------------------------------------------------------


def test_endpoints_are_tried_and_their_calls_seen(console: Console, server: Doorleaf) -> None:
    page = console.page
    page.get_by_role("link", name="Endpoints", exact=True).click()
    calls = page.get_by_role("region", name="Last calls")
    page.get_by_role("link", name="POST /greet").click()
    type_in(console, "Body", "hello")
    look(console)
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_label("The body of the answer")).to_contain_text("good day")
    page.get_by_label("Method").select_option("GET")
    page.get_by_label("Route").fill("/fails")
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_label("Answer", exact=True)).to_contain_text("400")
    console.go("endpoints")
    expect(calls.get_by_role("row", name="greet").filter(has_text="answered in")).to_have_count(1)
    expect(calls).to_contain_text("somebody came")
    expect(calls).to_contain_text("FunctionExecutionError")
    look(console)
    page.get_by_label("Only mistakes").check()
    expect(calls).not_to_contain_text("somebody came")
    expect(calls).to_contain_text("KeyError: 'lost'")
    expect(calls).not_to_contain_text("Traceback")
    page.get_by_role("link", name="greet", exact=True).click()
    expect(page.get_by_role("heading", name="greet")).to_be_visible()
    expect(page.get_by_role("link", name="fails", exact=True)).to_have_count(0)


# --- the API -----------------------------------------------------------------------------------------------------


def test_every_action_is_tried_with_ones_own_data(console: Console, server: Doorleaf) -> None:
    page = console.page
    insert(server, "aaa", "mine", [{"_id": 1}])
    page.get_by_role("link", name="API", exact=True).click()
    expect(page.get_by_role("main").get_by_role("heading", name="Administration")).to_be_visible()
    page.get_by_label("Find an action or route").fill("countDoc")
    page.get_by_role("link", name="countDocuments").click()
    expect(editor(console, "Body")).to_contain_text(re.compile('"database": "aaa",\\s*"collection": "mine"'))
    look(console)
    type_in(console, "Body", '{"database": "shop", "collection": "orders", "filter": {"status": "shipped"}}')
    expect(page.get_by_label("curl", exact=True)).to_contain_text('"shipped"')
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_label("The body of the answer")).to_contain_text('"count": 150')
    expect(page.get_by_label("curl", exact=True)).not_to_contain_text(server.key)
    look(console)
    type_in(console, "Body", '{"database": "shop", "collection": "orders", "filter": 5}')
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_label("Answer", exact=True)).to_contain_text("400")
    console.go("api", "adminGetKey")
    page.get_by_label("name", exact=True).fill("not there")
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_label("The body of the answer")).to_contain_text("APIKeyNotFound")
    console.go("api", "adminNow")
    expect(page.get_by_role("button", name="Send")).to_be_disabled()
    console.go("api", "nothing")
    expect(page.get_by_role("heading", name="There is no such action")).to_be_visible()
