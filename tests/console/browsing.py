"""A browser for the tests of the console, and a new profile for every test that asks for a page of its own.

Whatever a page does that it must not fails the test that opened it: something that its policy forbids, an error in its
program, a request to somewhere else.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, expect
from seen import Console
from servers import Doorleaf

ROOT = Path(__file__).parent.parent.parent
PATIENCE_MS = 30_000
"""How long a page may take for one step on a busy machine."""


def missing(why: str) -> None:
    """End the test, or leave it out where no browser is required."""
    if os.environ.get("DOORLEAF_TEST_BROWSER") == "required":
        pytest.fail(why, pytrace=False)
    pytest.skip(why)


@pytest.fixture(scope="session")
def bundle() -> Path:
    """The folder of the console as it was built."""
    built = ROOT / "src" / "doorleaf" / "console" / "built"
    if not (built / "index.html").is_file():
        missing("THE CONSOLE IS NOT BUILT, so that nothing of it is tested: make console says why")
    return built


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of a browser that can be driven."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    found = next((path for name in names if (path := shutil.which(name))), None)
    if found is None:
        missing("THERE IS NO CHROMIUM, so that the console is not tested: apt-get install chromium")
    elif subprocess.run([found, "--version"], capture_output=True, timeout=60, check=False).returncode != 0:
        missing(f"{found} DOES NOT RUN, so that the console is not tested")
    return str(found)


@pytest.fixture
def page(browser: Browser, server: Doorleaf) -> Iterator[Page]:
    """A page that nobody has signed in on."""
    with watched(browser, server) as (made, _):
        yield made


@pytest.fixture(scope="module")
def signed_in(browser: Browser, server: Doorleaf) -> Iterator[tuple[Console, list[str]]]:
    with watched(browser, server) as (made, wrong):
        console = Console(made, server)
        console.sign_in(server.key)
        yield console, wrong


@pytest.fixture
def console(signed_in: tuple[Console, list[str]]) -> Iterator[Console]:
    """The console, signed in with the administrator's key, where people begin. The tests of a file share it."""
    shared, wrong = signed_in
    while shared.page.locator("dialog[open]").count():  # that of a test which failed
        shared.page.keyboard.press("Escape")
    shared.go()
    yield shared
    assert wrong == []


@contextmanager
def watched(browser: Browser, server: Doorleaf) -> Iterator[tuple[Page, list[str]]]:
    """A page, and what was wrong with it so far; it is closed at the end, when nothing may have been."""
    context = browser.new_context(
        viewport={"width": 1280, "height": 800}, locale="en-GB", timezone_id="Europe/Zurich", reduced_motion="reduce"
    )
    context.set_default_timeout(PATIENCE_MS)
    expect.set_options(timeout=PATIENCE_MS)
    made = context.new_page()
    wrong: list[str] = []
    made.on("pageerror", lambda error: wrong.append(f"an error in the program: {error}"))
    made.on("console", lambda message: wrong.extend(_complaint(message)))
    made.on("request", lambda request: wrong.extend(_elsewhere(request, server.url)))
    try:
        yield made, wrong
    finally:
        context.close()
    assert wrong == []


def _complaint(message: ConsoleMessage) -> list[str]:
    refused: Any = (
        message.text.startswith("Failed to load resource") and "server responded with a status" in message.text
    )
    return [] if refused or message.type not in ("error", "warning") else [f"{message.type}: {message.text}"]


def _elsewhere(request: Request, url: str) -> list[str]:
    fine = request.url.startswith((url + "/", "data:", "blob:"))
    return [] if fine else [f"a request to {request.url}"]
