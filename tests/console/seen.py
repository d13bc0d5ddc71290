"""What tests of the console look at: the data that is there, and the page as a person uses it."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

from playwright.sync_api import Locator, Page, expect
from servers import Doorleaf

SETTINGS = {"DOORLEAF_PROVIDERS": "api-key,local-userpass", "DOORLEAF_LOGIN_RATE": ""}
EMAIL, PASSWORD = "ada@example.com", "a long password of Ada's"
AXE = Path(__file__).parent.parent.parent / "console" / "node_modules" / "axe-core" / "axe.min.js"
HOSTILE = "<img src=x onerror=alert(1)>"


def fill(server: Doorleaf) -> None:
    """Put in what the tests look at."""
    orders = [
        {
            "_id": number,
            "customer": {"name": f"Customer {number % 7}"},
            "status": "open" if number % 3 else "shipped",
            "total": number * 1.5,
        }
        for number in range(450)
    ]
    insert(server, "shop", "orders", orders)
    insert(
        server, "hostile", HOSTILE, [{"_id": HOSTILE, "a.b": HOSTILE, "$c": 1, "": 2, "\u202ertl": "\u202e<b>x</b>"}]
    )
    made = server.call("POST", "/api/admin/v1/users", {"email": EMAIL, "password": PASSWORD}, {"apiKey": server.key})
    assert made.status == 201, made.body


def insert(server: Doorleaf, database: str, collection: str, documents: list[dict[str, Any]]) -> None:
    answer = server.act("insertMany", database=database, collection=collection, documents=documents)
    assert answer.status == 201, answer.body


class Console:
    """The console in a browser, as a person uses it."""

    def __init__(self, page: Page, server: Doorleaf) -> None:
        self.page = page
        self.server = server

    def sign_in(self, key: str, *path: str) -> None:
        self.page.goto(f"{self.server.url}/console{self.hash(*path)}")
        self.page.get_by_label("API key", exact=True).last.fill(key)
        self.page.get_by_role("button", name="Sign in").click()
        expect(self.page.get_by_role("link", name="Doorleaf")).to_be_visible()

    def sign_in_as(self, email: str, password: str, *path: str) -> None:
        self.page.goto(f"{self.server.url}/console{self.hash(*path)}")
        self.page.get_by_role("radio", name="Email and password").click()
        self.page.get_by_label("Email", exact=True).fill(email)
        self.page.get_by_label("Password", exact=True).fill(password)
        self.page.get_by_role("button", name="Sign in").click()
        expect(self.page.locator(".who")).to_contain_text(email)

    def go(self, *path: str, query: str = "") -> None:
        """Look at another view, without loading the page anew."""
        self.page.evaluate("address => { location.hash = address }", self.hash(*path) + query)

    @staticmethod
    def hash(*path: str) -> str:
        return "#/" + "/".join(quote(part, safe="") for part in path)

    def check_access(self, where: str = "") -> None:
        """Have axe look at what is shown, which is ``where``: there is nothing that it finds."""
        expect(self.page.locator("h1").first).to_be_attached()  # what is loading has none yet
        self.page.evaluate(_axe())
        found = self.page.evaluate(
            """async () => {
                const { violations } = await axe.run(document, { resultTypes: ["violations"] });
                const told = (node) => [node.target.join(" "), ...node.any.map((check) => check.message)].join(" ");
                return violations.map(({ id, nodes }) => [id, ...nodes.slice(0, 3).map(told)].join("; "));
            }"""
        )
        assert found == [], (where, found)


def write(console: Console, label: str, text: str) -> None:
    """Type ``text`` into the editor called ``label`` in place of what is there."""
    field = editor(console, label)
    field.click()
    console.page.keyboard.press("Control+a")
    console.page.keyboard.insert_text(text)


def editor(console: Console, label: str) -> Locator:
    return console.page.locator('.code[data-ready="true"]').get_by_role("textbox", name=label, exact=True)


@cache
def _axe() -> str:
    return AXE.read_text(encoding="utf-8")


def look(console: Console) -> None:
    """What axe finds, in light and in dark, wide and narrow."""
    page = console.page
    console.check_access()
    page.emulate_media(color_scheme="dark")
    page.set_viewport_size({"width": 400, "height": 800})
    console.check_access()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "nothing hangs over"
    page.emulate_media(color_scheme="light")
    page.set_viewport_size({"width": 1280, "height": 800})
