"""Several documents at once: all that match and those that are selected, changed, deleted, put back, exported."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from browsing import watched
from playwright.sync_api import Browser, expect
from seen import SETTINGS, Console, editor, insert, write
from servers import Doorleaf, start_doorleaf


def documents(server: Doorleaf, collection: str, filter: dict[str, Any]) -> list[Any]:
    asked = {"database": "shop", "collection": collection, "filter": filter, "sort": {"_id": 1}}
    found: list[Any] = server.ok("find", **asked)["documents"]
    return found


def test_what_is_selected_is_changed_and_made_what_it_was(console: Console, server: Doorleaf) -> None:
    page = console.page
    before = [{"_id": number, "n": number} for number in range(5)]
    insert(server, "shop", "some", before)
    console.go("data", "default", "shop", "some")
    for row in ("1", "3"):
        page.get_by_role("row", name=re.compile(f"^{row}|Select.*{row}")).get_by_role("checkbox").first.check()
    page.get_by_role("button", name="Update 2").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("You can undo this for ten seconds.")
    console.check_access()
    write(console, "Update", "{ $nope: { n: 10 } }")
    dialog.get_by_role("button", name="Update them").click()
    expect(dialog.get_by_role("alert")).to_contain_text("$nope")
    write(console, "Update", "{ $inc: { n: 10 } }")
    dialog.get_by_role("button", name="Update them").click()
    expect(page.get_by_text("2 documents changed.")).to_be_visible()
    assert sum(one["n"] >= 10 for one in documents(server, "some", {})) == 2
    page.get_by_role("button", name="Undo").last.click()
    expect(page.get_by_text("2 documents are what they were.")).to_be_visible()
    assert documents(server, "some", {}) == before


def test_documents_without_their_ids_are_not_changed_by_them(console: Console, server: Doorleaf) -> None:
    """By the ids that they seem to have, which is none, another document would be meant."""
    page = console.page
    insert(server, "shop", "nameless", [{"_id": None, "n": 0}, {"_id": 1, "n": 1}])
    for query, enabled in (("?project={_id: 0}", False), ("?project={n: 1}", True)):
        console.go("data", "default", "shop", "nameless", query=query)
        page.get_by_role("checkbox", name=re.compile("^Select document 2|^Select.*2")).first.check()
        for verb in ("Delete", "Update"):
            expect(page.get_by_role("button", name=f"{verb} 1", exact=True)).to_be_enabled(enabled=enabled)
    console.go("data", "default", "shop", "nameless", query="?project={_id: 0}&view=json")
    page.get_by_role("button", name="Delete document 2").click()
    expect(page.get_by_text("Without _id nobody knows which document is meant")).to_be_visible()
    expect(page.get_by_role("dialog")).to_have_count(0)


def test_the_query_goes_along_to_the_export(console: Console) -> None:
    page = console.page
    query = "?filter={status: 'shipped'}&sort={_id: -1}&limit=2&collation={locale: 'simple'}"
    console.go("data", "default", "shop", "orders", query=query)
    expect(page.locator(".toolbar-count")).to_contain_text("2 of 150 documents")
    page.get_by_role("link", name="Export what matches").click()
    for label, text in (("Filter", '"status": "shipped"'), ("Sort", '"_id": -1'), ("Collation", '"locale": "simple"')):
        expect(editor(console, label)).to_contain_text(text)
    with page.expect_download() as coming:
        page.get_by_role("button", name="Export", exact=True).click()
    lines = Path(coming.value.path()).read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["_id"] for line in lines] == [{"$numberInt": "447"}, {"$numberInt": "444"}]
    console.go("data", "default", "shop", "nothing yet")
    page.get_by_role("main").get_by_role("link", name="Import a file").last.click()
    expect(page.get_by_label("Collection", exact=True)).to_have_value("nothing yet")


def test_what_is_final_says_so_before_and_offers_a_copy(console: Console, server: Doorleaf) -> None:
    page = console.page
    insert(server, "shop", "lots", [{"_id": number} for number in range(1001)])
    console.go("data", "default", "shop", "lots")
    page.get_by_role("button", name="Delete all").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text(
        "1,001 documents of lots would be gone. This cannot be undone: more than 1,000 are not"
    )
    dialog.get_by_role("link", name="Export them first").click()
    expect(page.get_by_role("heading", name="Export")).to_be_visible()
    expect(dialog).to_have_count(0)
    console.go("data", "default", "shop", "lots")
    page.get_by_role("button", name="Delete all").click()
    page.get_by_label("to confirm").fill("lots")
    page.get_by_role("button", name="Delete them").click()
    news = page.get_by_text("1,001 documents deleted.")
    expect(news).to_be_visible()
    expect(page.locator(".toast", has=news).get_by_role("button", name="Undo")).to_have_count(0)


def test_a_large_collection_and_texts_of_a_megabyte(console: Console, server: Doorleaf) -> None:
    page = console.page
    for start in range(0, 100_000, 20_000):
        insert(server, "shop", "large", [{"_id": number, "n": number % 7} for number in range(start, start + 20_000)])
    console.go("data", "default", "shop", "large", query="?sort={n: -1}")
    expect(page.locator(".toolbar-count")).to_contain_text("100 of 100,000")
    for shown in range(200, 501, 100):
        page.get_by_role("region", name=re.compile("^large")).press("End")
        expect(page.locator(".toolbar-count")).to_contain_text(f"{shown} of 100,000")
    assert page.locator("tbody tr").count() < 100, "those in sight alone"
    long = "<script>alert(1)</script>" * 40_000
    insert(server, "hostile", "long", [{"_id": 1, "text": long, "deep": {"text": long}}])
    for view in ("table", "json", "tree"):
        console.go("data", "default", "hostile", "long", query=f"?view={view}")
        expect(page.get_by_role("main")).to_contain_text("<script>alert(1)</script>")
        assert page.locator("main script").count() == 0


def test_a_collation_says_which_match_and_no_page_leaves_one_out(
    browser: Browser, tmp_path: Path, mongodb_uri: str
) -> None:
    server = start_doorleaf(tmp_path / "data", "--uri", mongodb_uri, env=SETTINGS)
    try:
        with watched(browser, server) as (page, _):
            console = Console(page, server)
            console.sign_in(server.key)
            _look_through_what_is_alike(console, server)
    finally:
        server.ok("dropCollection", database="shop", collection="alike")
        server.stop()


def _look_through_what_is_alike(console: Console, server: Doorleaf) -> None:
    page = console.page
    pairs = [{"_id": f"{letter}{number:03}"} for number in range(80) for letter in "xX"]
    insert(server, "shop", "alike", [{"_id": "a", "name": "Ada"}, {"_id": "b", "name": "ADA"}, *pairs, {"_id": "c"}])
    collation = "collation={locale: 'en', strength: 2}"
    console.go("data", "default", "shop", "alike", query=f"?{collation}")
    expect(page.locator(".toolbar-count")).to_contain_text("100 of 163")
    page.get_by_role("region", name=re.compile("^alike")).press("End")
    expect(page.locator(".toolbar-count")).to_have_text(re.compile("^163 documents"))
    console.go("data", "default", "shop", "alike", query=f"?filter={{name: 'ada'}}&{collation}")
    expect(page.locator(".toolbar-count")).to_contain_text("2 documents")
    page.get_by_role("button", name="Delete all").click()
    expect(page.get_by_role("dialog")).to_contain_text("2 documents of alike would be gone.")
    page.get_by_label("to confirm").fill("alike")
    page.get_by_role("button", name="Delete them").click()
    expect(page.get_by_text("2 documents deleted.")).to_be_visible()
    assert documents(server, "alike", {"name": {"$exists": True}}) == []


def test_a_server_that_answers_with_fewer_at_once(browser: Browser, tmp_path: Path) -> None:
    server = start_doorleaf(
        tmp_path / "data", env=SETTINGS | {"DOORLEAF_MAX_DOCUMENTS": "30", "DOORLEAF_DEFAULT_LIMIT": "30"}
    )
    try:
        insert(server, "shop", "orders", [{"_id": number, "n": 0} for number in range(300)])
        assert server.call("GET", "/whoami", headers={"apiKey": server.key}).json["maxDocuments"] == 30
        with watched(browser, server) as (page, _):
            console = Console(page, server)
            console.sign_in(server.key, "data", "default", "shop", "orders")
            expect(page.locator(".toolbar-count")).to_contain_text("0 of 300")
            console.go("data", "default", "shop", "orders", query="?filter={_id: {$lt: 45}}")
            page.get_by_role("region", name=re.compile("^orders")).press("End")
            expect(page.locator(".toolbar-count")).to_have_text(re.compile("^45 documents"))
            console.go("data", "default", "shop", "orders", "schema")
            expect(page.get_by_text("A random sample of 30 documents: shares")).to_be_visible()
            console.go("data", "default", "shop", "orders", "aggregation")
            page.get_by_role("button", name="Run", exact=True).click()
            expect(page.get_by_text("30 documents, perhaps more")).to_be_visible()
            console.go("data", "default", "shop", "orders")
            page.get_by_role("button", name="Update all").click()
            write(console, "Update", "{ $set: { n: 1 } }")
            page.get_by_label("to confirm").fill("orders")
            page.get_by_role("button", name="Update them").click()
            expect(page.get_by_text("300 documents changed.")).to_be_visible()
            page.get_by_role("button", name="Undo").last.click()
            expect(page.get_by_text("300 documents are what they were.")).to_be_visible()
            count = server.ok("countDocuments", database="shop", collection="orders", filter={"n": 0})["count"]
            assert count == 300
    finally:
        server.stop()
