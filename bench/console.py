#!/usr/bin/env python3
"""How smooth the console is: in Chromium, with 1,000 collections, 1,000 rows, and a document of 5 MB.

    python bench/console.py [--rounds 5]

Times are milliseconds, the median of the rounds and the longest. *First view* is from the navigation to the list of
databases; an interaction is from the key or click to the second frame after it, by which the browser has painted.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Page, expect, sync_playwright

sys.path[:0] = [str(Path(__file__).parent.parent / "tests"), str(Path(__file__).parent.parent / "tests" / "console")]
from seen import SETTINGS, Console, insert  # noqa: E402
from servers import Doorleaf, start_doorleaf  # noqa: E402

COLLECTIONS = 1000
ROWS = 1000

_PAINTED = """act => new Promise((done) => {
    const began = performance.now();
    new Function(act)();
    requestAnimationFrame(() => requestAnimationFrame(() => done(performance.now() - began)));
})"""


def fill(server: Doorleaf) -> None:
    """Put in what is looked at."""
    for number in range(COLLECTIONS):
        made = server.act("createCollection", database="many", collection=f"collection{number:04}")
        assert made.status in (200, 201), made.body
    rows = [{"_id": number, **{f"field{at}": f"value {number} {at}" for at in range(12)}} for number in range(ROWS)]
    insert(server, "large", "rows", rows)
    lines = [{"number": number, "text": "words " * 80} for number in range(10_000)]
    insert(server, "large", "one", [{"_id": "five megabytes", "lines": lines}])


def told(name: str, times: list[float]) -> None:
    print(f"{name:<44} {statistics.median(times):8.0f} {max(times):8.0f}")


def painted(page: Page, act: str) -> float:
    """How long it takes from the JavaScript ``act`` until what it changes is painted."""
    return float(page.evaluate(_PAINTED, act))


def first_view(page: Page, url: str) -> float:
    page.goto("about:blank")
    page.goto(f"{url}/console")
    expect(page.get_by_role("main").get_by_role("link", name="large")).to_be_visible()
    script = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? NaN"
    return float(page.evaluate(script))


def views(page: Page, console: Console, times: Callable[[str], list[float]]) -> None:
    """One round of everything that is done."""
    times("first view: first paint of something").append(first_view(page, console.server.url))
    console.go("data", "default", "many")
    expect(page.get_by_role("row")).to_have_count(COLLECTIONS + 1)
    times("1,000 collections: scroll to the end").append(
        painted(page, "const at = document.querySelector('#content'); at.scrollTop = at.scrollHeight")
    )
    side = "const find = document.querySelector('.side-search input'); find.value = 'collection09';"
    times("1,000 collections: find in the list").append(
        painted(page, side + "find.dispatchEvent(new Event('input', { bubbles: true }))")
    )
    painted(page, side.replace("collection09", "") + "find.dispatchEvent(new Event('input', { bubbles: true }))")
    console.go("data", "default", "large", "rows")
    region = page.get_by_role("region", name="rows: arrow keys move")
    for shown in range(100, ROWS + 1, 100):
        region.press("End")
        expect(page.locator(".toolbar-count")).to_contain_text(f"{shown:,}")
    press = "document.querySelector('.grid-scroll').dispatchEvent(new KeyboardEvent('keydown', { key: '%s' }))"
    times("1,000 rows: to the first").append(painted(page, press % "Home"))
    times("1,000 rows: to the last").append(painted(page, press % "End"))
    times("1,000 rows: one down").append(painted(page, press % "ArrowUp"))
    times("1,000 rows: select all").append(painted(page, "document.querySelector('.grid thead input').click()"))
    for view in ("JSON", "Tree"):
        act = f"document.querySelectorAll('.toolbar .choice input')[{1 if view == 'JSON' else 2}].click()"
        times(f"1,000 rows: as {view}").append(painted(page, act))
    console.go("data", "default", "large", "one", query="?view=tree")
    inside = page.get_by_role("button", name="Inside lines")
    expect(inside).to_be_visible()
    times("5 MB: open a branch of 10,000").append(painted(page, "document.querySelector('.twist[aria-label]').click()"))
    times("5 MB: as JSON").append(painted(page, "document.querySelectorAll('.toolbar .choice input')[1].click()"))
    times("5 MB: as a table").append(painted(page, "document.querySelectorAll('.toolbar .choice input')[0].click()"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    found = shutil.which("chromium") or shutil.which("google-chrome") or sys.exit("bench: there is no Chromium")
    with tempfile.TemporaryDirectory() as folder:
        server = start_doorleaf(Path(folder) / "data", env=SETTINGS)
        try:
            fill(server)
            measured: dict[str, list[float]] = {}
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
                page = browser.new_page(viewport={"width": 1280, "height": 800})
                page.set_default_timeout(120_000)
                expect.set_options(timeout=120_000)
                console = Console(page, server)
                console.sign_in(server.key)
                for _ in range(rounds):
                    views(page, console, lambda name: measured.setdefault(name, []))
                browser.close()
            print(f"{'':<44} {'median':>8} {'longest':>8}")
            for name, times in measured.items():
                told(name, times)
        finally:
            server.stop()


if __name__ == "__main__":
    main()
