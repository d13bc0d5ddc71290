"""The console's pages for DataCube: credentials in a URL, and databases of users."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from seen import EMAIL, HOSTILE, PASSWORD, SETTINGS, Console, fill, look
from servers import Doorleaf, start_doorleaf


@pytest.fixture(scope="module")
def server(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doorleaf]:
    """A server with the DataCube API."""
    running = start_doorleaf(tmp_path_factory.mktemp("cubes") / "data", env=SETTINGS | {"DOORLEAF_DATACUBE": "1"})
    fill(running)
    yield running
    running.stop()


def test_credentials_of_a_collection_from_their_making_to_their_end(console: Console, server: Doorleaf) -> None:
    page = console.page
    console.go("data", "default", "shop", "orders", "integration")
    page.get_by_role("button", name="Make credentials").click()
    console.check_access()
    page.get_by_role("button", name="Make them").click()
    program = page.get_by_label("curl, reading").inner_text()
    url = re.search(r"'(http[^']+)'", program)
    assert url is not None

    def status() -> int:
        return server.call("POST", url[1].removeprefix(server.url), {"query": {}, "limit": 1}).status

    assert status() == 200
    look(console)
    page.get_by_role("button", name="I have it").click()
    assert url[1].split("/")[-2] not in page.content()
    page.get_by_role("button", name=re.compile("^Rotate read")).click()
    page.get_by_label("How long").select_option("Not at all: whoever has it is out at once")
    page.get_by_role("button", name="Rotate it").click()
    page.get_by_role("button", name="I have it").click()
    assert status() == 401
    console.go("integration")
    listed = page.get_by_role("region", name="Credentials")
    expect(listed.get_by_role("row", name="shop.orders")).to_have_count(2)
    page.get_by_role("button", name=re.compile("^Revoke write")).click()
    page.get_by_label("to confirm").fill("orders")
    page.get_by_role("button", name="Revoke it").click()
    expect(listed.get_by_role("row", name="writing")).to_contain_text("revoked")
    look(console)


def whole_key(server: Doorleaf) -> str:
    """A key of the user that may do everything."""
    access = server.call("POST", "/core/login", {"email": EMAIL, "password": PASSWORD}).json["access"]
    bearer = {"Authorization": f"Bearer {access}"}
    made = server.call("POST", "/core/api/v1/keys", {"name": "whole"}, bearer)
    assert made.status == 201, made.body
    return str(made.json["key"])


def test_who_owns_databases_makes_them_and_keys(page: Page, server: Doorleaf) -> None:
    console = Console(page, server)
    console.sign_in_as(EMAIL, PASSWORD, "datacube")
    expect(page.get_by_role("heading", name="No databases yet")).to_be_visible()
    page.get_by_role("button", name="Create a database").click()
    page.get_by_label("Name", exact=True).fill("mine")
    page.get_by_label("Its first collection").fill("people")
    page.get_by_label("Fields, each with its type").fill("email: string\nage")
    page.get_by_label("Refuse documents").check()
    page.get_by_role("button", name="Create it").click()
    expect(page.get_by_role("dialog").get_by_role("alert")).to_contain_text('not "age"')
    page.get_by_label("Fields, each with its type").fill("email: string\nage: integer")
    page.get_by_role("button", name="Create it").click()
    page.get_by_role("link", name="mine", exact=True).click()
    people = page.get_by_role("region", name="Collections").get_by_role("row", name="people")
    expect(people).to_contain_text("0")
    people.get_by_role("link", name="people").click()
    fields = page.get_by_role("region", name="Fields")
    expect(fields.get_by_role("row", name="age")).to_contain_text("integer")
    expect(page.get_by_text("Documents whose fields have other types are refused.")).to_be_visible()
    expect(page.get_by_role("heading", name="No documents")).to_be_visible()
    for language in ("Python", "JavaScript", "curl"):
        page.get_by_role("radio", name=language).check()
        expect(page.get_by_label(f"Write with {language}")).to_contain_text("Api-Key …")
    look(console)
    page.go_back()
    page.get_by_role("button", name="Add a collection").click()
    page.get_by_label("Name", exact=True).fill("no name")
    page.get_by_role("button", name="Add it").click()
    expect(page.get_by_role("dialog").get_by_role("alert")).to_be_visible()
    page.keyboard.press("Escape")
    look(console)
    identifier = page.url.split("/")[-1].split("?")[0]
    console.go("datacube", "keys")
    page.get_by_role("button", name="Make a key").click()
    page.get_by_label("Name", exact=True).fill("reader")
    page.get_by_role("checkbox", name="read", exact=True).check()
    page.get_by_role("button", name="Make it").click()
    key = page.locator(".secret code").inner_text()
    page.get_by_role("button", name="I have it").click()
    path = f"/api/crud?database_id={identifier}&collection_name=people"
    assert server.call("GET", path, headers={"Authorization": f"Api-Key {key}"}).status == 200
    shown = {"Authorization": f"Api-Key {whole_key(server)}"}
    rows = [{"email": HOSTILE, "age": number} for number in range(11)]
    sent = {"database_id": identifier, "collection_name": "people", "data": rows}
    assert server.call("POST", "/api/crud", sent, shown).status == 201
    console.go("datacube", identifier, "people")
    expect(page.get_by_role("heading", name="mine.people")).to_be_visible()
    expect(page.get_by_label("Document 1", exact=True)).to_contain_text(HOSTILE)
    expect(page.get_by_role("region", name="Fields").get_by_role("row", name="_id")).to_contain_text("objectId")
    page.get_by_role("button", name="Next").click()
    expect(page.get_by_label("Document 11", exact=True)).to_contain_text('"age": 10')
    look(console)
    console.go("datacube", "keys")
    look(console)
    page.get_by_role("button", name="Delete reader").click()
    page.get_by_label("to confirm").fill("reader")
    page.get_by_role("button", name="Delete it").click()
    expect(page.get_by_role("button", name="Delete reader")).to_have_count(0)
    assert server.call("GET", path, headers={"Authorization": f"Api-Key {key}"}).status == 401
