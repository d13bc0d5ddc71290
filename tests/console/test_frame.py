"""The console's frame: how it is served, who is let in, what there is, and that it is light and accessible."""

from __future__ import annotations

import json
import re
from pathlib import Path

from playwright.sync_api import Page, expect
from seen import EMAIL, HOSTILE, PASSWORD, Console, insert
from servers import Doorleaf

POLICY = "default-src 'none'; script-src 'self'; style-src 'self'"


def test_how_it_is_served(server: Doorleaf, bundle: Path) -> None:
    page = server.call("GET", "/console")
    assert page.status == 200
    assert page.headers["content-security-policy"].startswith(POLICY)
    assert "unsafe" not in page.headers["content-security-policy"]
    assert page.headers["cache-control"] == "no-cache"
    text = page.body.decode()
    linked = re.findall(r'(?:src|href)="([^"]+)"', text)
    assert linked
    for path in linked:
        assert not path.startswith(("/", "http")), "relative, for a proxy's prefix"
        file = server.call("GET", f"/{path}")
        assert file.status == 200, path
        if path.startswith("console/"):
            assert "immutable" in file.headers["cache-control"]
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\son[a-z]+=", text)
    slash = server.call("GET", "/console/")
    assert (slash.status, slash.headers["location"]) == (307, "../console")
    assert server.call("GET", "/console/nothing.js").status == 404
    assert server.call("GET", "/console/made-from.txt").status in (200, 404)
    assert b"preact" in server.call("GET", "/console/licences.txt").body
    assert not list(bundle.glob("*.map"))


def test_the_first_view_is_light(bundle: Path) -> None:
    assert json.loads((bundle / "first-view.json").read_text())["gzip"] < 400_000


def test_who_the_caller_is(server: Doorleaf) -> None:
    assert server.call("GET", "/whoami").status == 401
    told = server.call("GET", "/whoami", headers={"apiKey": server.key}).json
    assert told["caller"]["administrator"] is True
    assert told["caller"]["manages"] is True
    assert told["dataSources"] == [{"name": "default", "default": True}]
    key = {"name": "elsewhere", "data_sources": ["other"], "admin": True}
    made = server.call("POST", "/api/admin/v1/keys", key, {"apiKey": server.key})
    assert made.status == 201, made.body
    narrow = server.call("GET", "/whoami", headers={"apiKey": made.json["key"]}).json
    assert narrow["dataSources"] == []
    assert (narrow["caller"]["key"], narrow["caller"]["manages"]) == ("elsewhere", False)


def test_a_wrong_key_is_told(page: Page, server: Doorleaf) -> None:
    page.goto(f"{server.url}/console")
    Console(page, server).check_access()
    page.get_by_label("API key", exact=True).last.fill("dl_wrong")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("does not know this key")


def test_a_link_leads_there_once_signed_in(page: Page, server: Doorleaf) -> None:
    console = Console(page, server)
    console.sign_in(server.key, "data", "default", "shop")
    expect(page.get_by_role("row", name="orders")).to_contain_text("450")
    assert page.evaluate("Object.keys(localStorage).length + Object.keys(sessionStorage).length") == 0
    console.check_access()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_text("You are signed out.")).to_be_visible()
    page.reload()
    expect(page.get_by_role("button", name="Sign in")).to_be_visible()


def test_a_reload_asks_nobody_again(page: Page, server: Doorleaf) -> None:
    Console(page, server).sign_in(server.key)
    assert page.evaluate("document.cookie") == ""
    page.reload()
    expect(page.get_by_role("main").get_by_role("link", name="shop")).to_be_visible()


def test_somebody_whom_no_rule_lets_read(page: Page, server: Doorleaf) -> None:
    page.goto(f"{server.url}/console")
    page.get_by_role("radio", name="Email and password").click()
    page.get_by_label("Email", exact=True).fill(EMAIL)
    page.get_by_label("Password", exact=True).fill("wrong")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_be_visible()
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page.locator(".who")).to_contain_text(EMAIL)
    expect(page.get_by_role("heading", name="You may still read what rules give you")).to_be_visible()


def test_a_database_is_made_and_dropped_by_its_name(console: Console) -> None:
    page = console.page
    page.get_by_role("button", name="Create database").click()
    console.check_access()
    page.get_by_label("Database", exact=True).fill("fresh")
    page.get_by_label("Its first collection").fill("first")
    page.get_by_role("button", name="Create", exact=True).click()
    expect(page.get_by_role("navigation", name="Collections").get_by_role("link", name="first")).to_be_visible()
    console.go("data", "default", "fresh")
    page.get_by_role("button", name="Drop first").click()
    drop = page.get_by_role("button", name="Drop it")
    expect(drop).to_be_disabled()
    page.get_by_label("to confirm").fill("first")
    drop.click()
    expect(page.get_by_role("main").get_by_role("link", name="first")).to_have_count(0)
    for name in ("one", "two"):
        insert(console.server, "gone", name, [{"_id": 1}])
    console.go("data", "default", "gone")
    page.get_by_role("button", name="Drop database").click()
    expect(page.get_by_role("dialog")).to_contain_text("2 collections of gone")
    console.check_access()
    expect(drop).to_be_disabled()
    page.get_by_label("to confirm").fill("gone")
    drop.click()
    expect(page.get_by_role("heading", name="default", level=1)).to_be_visible()
    expect(page.get_by_role("main").get_by_role("link", name="gone")).to_have_count(0)
    listed = console.server.act("listDatabases").json["databases"]
    assert "gone" not in [one["name"] for one in listed]
    assert "shop" in [one["name"] for one in listed]


def test_names_that_are_programs_are_text(console: Console) -> None:
    console.go("data", "default", "hostile")
    expect(console.page.get_by_role("main").get_by_role("link", name=HOSTILE)).to_be_visible()
    assert console.page.locator("img").count() == 0


def test_light_and_dark_can_be_read(console: Console) -> None:
    expect(console.page.get_by_role("main").get_by_role("link", name="shop")).to_be_visible()
    console.check_access()
    console.page.emulate_media(color_scheme="dark")
    console.check_access()
    console.page.emulate_media(color_scheme="light")
