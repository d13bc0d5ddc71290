"""The console by the keyboard alone: everything is reached and seen to be, and work is done without a pointer."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect
from seen import Console

PAGES: tuple[tuple[str, ...], ...] = (
    ("data",),
    ("data", "default", "shop"),
    ("data", "default", "shop", "few"),
    ("data", "default", "shop", "few", "aggregation"),
    ("data", "default", "shop", "few", "schema"),
    ("data", "default", "shop", "few", "indexes"),
    ("data", "default", "shop", "few", "integration"),
    ("transfer", "import"),
    ("transfer", "export"),
    ("keys",),
    ("users",),
    ("users", "waiting"),
    ("workspaces",),
    ("integration",),
    ("rules",),
    ("rules", "check"),
    ("rules", "why"),
    ("endpoints",),
    ("now",),
    ("now", "audit"),
    ("api", "findOne"),
)

_WATCH = """() => {
    const hosts = [...document.querySelectorAll(".code-host")].map((host) => host.shadowRoot).filter(Boolean);
    const all = [document, ...hosts].flatMap((root) => [...root.querySelectorAll(
        "a[href], button, input, select, textarea, summary, [tabindex='0'], [contenteditable='true']")]);
    const wanted = all.filter((one) => {
        if (one.disabled || one.tabIndex < 0 || !one.checkVisibility({ visibilityProperty: true })) return false;
        if (one.type !== "radio") return true;
        return one.checked;
    });
    const state = window.walked = { wanted, seen: new Set(), dull: new Set() };
    const shows = (one) => {
        for (let at = one, up = 0; at && up < 6; at = at.parentElement ?? at.getRootNode().host, up += 1) {
            const { outlineStyle, outlineWidth } = getComputedStyle(at);
            if (outlineStyle !== "none" && parseFloat(outlineWidth) > 0) return true;
        }
        return false;
    };
    document.addEventListener("focusin", (event) => {
        const one = event.composedPath()[0];
        state.seen.add(one);
        if (wanted.includes(one) && !shows(one)) state.dull.add(one);
    });
    document.activeElement?.blur();
    return wanted.length;
}"""
_TOLD = """() => {
    const { wanted, seen, dull } = window.walked;
    const told = (one) => `${one.tagName} ${one.getAttribute("aria-label")} ${one.textContent?.slice(0, 40)}`;
    return [wanted.filter((one) => one.isConnected && !seen.has(one)).map(told), [...dull].map(told)];
}"""


@pytest.fixture(scope="module", autouse=True)
def few(signed_in: tuple[Console, list[str]]) -> None:
    act = signed_in[0].server.act
    act("deleteMany", database="shop", collection="few", filter={})
    documents = [{"_id": number, "name": f"n{number}"} for number in range(3)]
    assert act("insertMany", database="shop", collection="few", documents=documents).status == 201


def focused(page: Page) -> str:
    return str(page.evaluate("document.activeElement.getAttribute('aria-label') ?? document.activeElement.id"))


@pytest.mark.parametrize("path", PAGES, ids="/".join)
def test_everything_is_reached_by_tab_and_seen_to_be(console: Console, path: tuple[str, ...]) -> None:
    page = console.page
    console.go(*path, query="?find=findO" if path[0] == "api" else "")
    page.wait_for_load_state("networkidle") if path[0] != "now" else None
    expect(page.locator("#content[aria-busy='true'], .code[data-ready='false'], .waiting")).to_have_count(0)
    for _ in range(3):  # a page that has loaded only now takes the focus to what it shows
        number = page.evaluate(_WATCH)
        assert number > 10
        for _ in range(number + 12):
            page.keyboard.press("Tab")
        missed, dull = page.evaluate(_TOLD)
        if not missed:
            break
    assert missed == []
    assert dull == []


def test_the_palette_leads_everywhere(console: Console) -> None:
    page = console.page
    page.keyboard.press("Control+k")
    where = page.get_by_role("combobox", name="Where to")
    expect(where).to_be_focused()
    console.check_access()
    where.press_sequentially("shop few")
    expect(page.get_by_role("option").first).to_contain_text("few")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name=re.compile("few"))).to_be_visible()
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(page.locator("#content")).to_be_focused()
    page.keyboard.press("Control+k")
    where.press_sequentially("few: sch")
    page.keyboard.press("Enter")
    expect(page.get_by_role("region", name="Fields")).to_be_visible()
    page.keyboard.press("Control+k")
    where.press_sequentially("elsewhere.is")
    expect(page.get_by_role("option")).to_have_text(re.compile("Open elsewhere.is"))
    where.fill("keys of")
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog", name="Keys")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)


def test_a_key_searches_and_another_helps(console: Console) -> None:
    page = console.page
    console.go("data", "default", "shop", "few")
    expect(page.locator(".toolbar-count")).to_contain_text("documents")
    expect(page.locator('.code[data-ready="true"]')).to_have_count(1)
    page.keyboard.press("/")
    page.keyboard.type("{ _id: 1 } // ?")
    page.keyboard.press("Enter")
    expect(page.locator(".toolbar-count")).to_contain_text("1 document")
    page.get_by_role("region", name=re.compile("^few")).focus()
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_contain_text("Search on this page")
    console.check_access()
    page.get_by_role("checkbox", name=re.compile("single keys")).press("Space")
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.get_by_role("button", name="Keys of the keyboard").press("Enter")
    page.get_by_role("checkbox", name=re.compile("single keys")).press("Space")
    page.keyboard.press("Escape")
    assert page.evaluate("localStorage.length") == 0


def test_a_document_is_changed_and_one_inserted_without_a_pointer(console: Console) -> None:
    page = console.page
    console.go("data", "default", "shop", "few")
    table = page.get_by_role("region", name=re.compile("^few"))
    table.focus()
    for key in ("ArrowDown", "ArrowRight", "Enter"):
        page.keyboard.press(key)
    page.keyboard.type("renamed")
    page.keyboard.press("Enter")
    save = page.get_by_role("button", name="Save", exact=True)
    expect(save).to_be_enabled()
    save.press("Enter")
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.get_by_role("button", name="Insert", exact=True).press("Enter")
    editor = page.get_by_role("dialog").locator('.code[data-ready="true"]').get_by_role("textbox", name="Document")
    expect(editor).to_be_focused()
    page.keyboard.press("Control+a")
    page.keyboard.insert_text('{"_id": 9}')
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Cancel")).to_be_focused()
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Control+Enter")
    expect(page.get_by_role("dialog")).to_have_count(0)
    found = console.server.act("find", database="shop", collection="few", filter={}).json["documents"]
    assert [(one["_id"], one.get("name")) for one in found] == [(0, "n0"), (1, "renamed"), (2, "n2"), (9, None)]
