"""The console as somebody whom rules restrict: every page shows what they allow and says the rest clearly."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from seen import SETTINGS, Console, editor, insert, write
from servers import Doorleaf, start_doorleaf

EMAIL, PASSWORD = "rita@example.com", "a long password of Rita's"
RULES = {
    "default": {
        "shop.orders": {
            "roles": [
                {
                    "name": "customer",
                    "apply_when": {},
                    "document_filters": {"read": {"buyer": "%%user.id"}, "write": False},
                    "fields": {"margin": {"read": False, "write": False}},
                    "additional_fields": {"read": True, "write": False},
                }
            ]
        },
        "shop.notes": {
            "roles": [{"name": "writer", "apply_when": {}, "read": True, "write": True}],
            "filters": [{"name": "all", "apply_when": {}, "query": {}, "projection": {"history": 0}}],
        },
    }
}
PAGES = (
    *(("data", *rest) for rest in ((), ("default", "shop"), ("default", "shop", "secret"))),
    *(("data", "default", "shop", "orders", view) for view in ("aggregation", "schema", "indexes", "integration")),
    ("transfer", "import", "default", "shop", "orders"),
    ("transfer", "export", "default", "shop", "orders"),
    *((name,) for name in ("keys", "users", "workspaces", "integration", "datacube", "rules", "endpoints", "now")),
    ("api", "findOne"),
    ("nothing",),
)


@pytest.fixture(scope="module")
def server(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doorleaf]:
    """A server with rules, and documents of two people."""
    env = SETTINGS | {"DOORLEAF_RULES": json.dumps(RULES)}
    running = start_doorleaf(tmp_path_factory.mktemp("restricted") / "data", env=env)
    key = {"apiKey": running.key}
    made = running.call("POST", "/api/admin/v1/users", {"email": EMAIL, "password": PASSWORD}, key).json
    documents = [{"_id": number, "buyer": made["id"] if number < 2 else "x", "margin": 31} for number in range(5)]
    insert(running, "shop", "orders", documents)
    insert(running, "shop", "secret", [{"_id": "classified"}])
    insert(running, "shop", "notes", [{"_id": number, "history": [1]} for number in range(3)])
    yield running
    running.stop()


def test_every_page_shows_what_rules_allow_and_says_the_rest(page: Page, server: Doorleaf) -> None:
    console = Console(page, server)
    console.sign_in_as(EMAIL, PASSWORD, "data", "default", "shop", "orders")
    expect(page.locator(".toolbar-count")).to_contain_text("2 documents")
    expect(page.get_by_role("columnheader", name="margin")).to_have_count(0)
    for path in PAGES:
        console.go(*path)
        expect(page.locator("#content h1, #content h2").first).to_be_visible()
        expect(page.locator("[aria-busy='true']")).to_have_count(0)
        console.check_access(str(path))
        shown = page.locator("body").inner_text()
        assert "classified" not in shown, path
        assert "undefined" not in shown.replace("$undefined", ""), path
        assert "NaN" not in shown, path
    for name in ("Keys", "Users", "Rules", "Now"):
        link = page.get_by_role("navigation", name="Sections").get_by_role("link", name=name, exact=True)
        expect(link).to_have_count(0)


def test_what_rules_refuse_is_said_where_it_was_tried(page: Page, server: Doorleaf) -> None:
    console = Console(page, server)
    console.sign_in_as(EMAIL, PASSWORD, "data", "default", "shop", "orders")
    expect(page.locator(".toolbar-count")).to_contain_text("2 documents")
    write(console, "Filter", "{ margin: 31 }")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_be_visible()
    expect(page.locator("tbody tr")).to_have_count(0)
    page.get_by_role("button", name="Reset").click()
    expect(page.locator(".toolbar-count")).to_contain_text("2 documents")
    page.get_by_role("button", name="Insert", exact=True).click()
    editor(console, "Document").wait_for()
    write(console, "Document", '{"_id": 99}')
    page.get_by_role("dialog").get_by_role("button", name="Insert").click()
    expect(page.get_by_role("dialog").get_by_role("alert")).to_be_visible()
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Explain").click()
    expect(page.get_by_role("dialog").get_by_role("alert")).to_be_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("Control+k")
    page.get_by_role("combobox", name="Where to").fill("shop.orders")
    page.keyboard.press("Enter")
    expect(page.locator(".toolbar-count")).to_contain_text("2 documents")
    assert server.act("countDocuments", database="shop", collection="orders", filter={}).json["count"] == 5


def test_what_is_not_seen_whole_is_deleted_for_good(page: Page, server: Doorleaf) -> None:
    console = Console(page, server)
    console.sign_in_as(EMAIL, PASSWORD, "data", "default", "shop", "notes")
    expect(page.locator(".toolbar-count")).to_contain_text("3 documents")
    page.get_by_label("Select all that are loaded").check()
    page.get_by_role("button", name="Delete 3").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("This cannot be undone: rules may hide")
    expect(dialog.get_by_role("button", name="Delete", exact=True)).to_be_disabled()
    page.get_by_label("to confirm").fill("notes")
    dialog.get_by_role("button", name="Delete", exact=True).click()
    expect(page.get_by_text("3 documents deleted.")).to_be_visible()
    expect(page.get_by_role("button", name="Undo")).to_have_count(0)
    assert server.act("countDocuments", database="shop", collection="notes", filter={}).json["count"] == 0
