#!/usr/bin/env python3
"""How smooth the console is: in Chromium, with 1,000 collections, 1,000 rows, and a document of 5 MB.

    python bench/console.py [--rounds 5]

Times are milliseconds: by the clock the median of the rounds and the longest, and the median of what the main thread of
the page uses of the processor, whatever else the machine does. *First view* is from the navigation to the list of
databases; an interaction is from the key or click to the second frame after it, by which the browser has painted.
"""

from __future__ import annotations

import argparse
import math
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


Taken = tuple[float, float]
"""Milliseconds by the clock, and of the processor."""


def told(name: str, times: list[Taken]) -> None:
    clock, processor = zip(*times, strict=True)
    print(f"{name:<44} {statistics.median(clock):8.0f} {max(clock):8.0f} {statistics.median(processor):10.0f}")


class Watch:
    """What the main thread of a page uses of the processor."""

    def __init__(self, page: Page) -> None:
        self._page = page
        self._session = page.context.new_cdp_session(page)
        self._session.send("Performance.enable", {"timeDomain": "threadTicks"})

    def busy(self) -> float:
        """Milliseconds so far."""
        metrics = {one["name"]: one["value"] for one in self._session.send("Performance.getMetrics")["metrics"]}
        return float(metrics["TaskDuration"]) * 1000

    def painted(self, act: str) -> Taken:
        """How long it takes from the JavaScript ``act`` until what it changes is painted."""
        before = self.busy()
        clock = float(self._page.evaluate(_PAINTED, act))
        return clock, self.busy() - before


def first_view(page: Page, url: str) -> float:
    page.goto("about:blank")
    page.goto(f"{url}/console")
    expect(page.get_by_role("main").get_by_role("link", name="large")).to_be_visible()
    script = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? NaN"
    return float(page.evaluate(script))


def views(page: Page, console: Console, times: Callable[[str], list[Taken]]) -> None:
    """One round of everything that is done."""
    watch = Watch(page)
    painted = watch.painted
    times("first view: first paint of something").append((first_view(page, console.server.url), math.nan))
    console.go("data", "default", "many")
    expect(page.get_by_role("row", name="collection0000")).to_be_visible()
    times("1,000 collections: scroll to the end").append(
        painted("const at = document.querySelector('main .scroll'); at.scrollTop = at.scrollHeight")
    )
    side = "const find = document.querySelector('.side-search input'); find.value = 'collection09';"
    times("1,000 collections: find in the list").append(
        painted(side + "find.dispatchEvent(new Event('input', { bubbles: true }))")
    )
    painted(side.replace("collection09", "") + "find.dispatchEvent(new Event('input', { bubbles: true }))")
    console.go("data", "default", "large", "rows")
    region = page.get_by_role("region", name="rows: arrow keys move")
    told = page.locator(".toolbar-count")
    while f"{ROWS:,} documents" not in (shown := told.inner_text()) or " of " in shown:
        region.press("End")
    press = "document.querySelector('.grid-scroll').dispatchEvent(new KeyboardEvent('keydown', { key: '%s' }))"
    times("1,000 rows: to the first").append(painted(press % "Home"))
    times("1,000 rows: to the last").append(painted(press % "End"))
    times("1,000 rows: one down").append(painted(press % "ArrowUp"))
    times("1,000 rows: select all").append(painted("document.querySelector('.grid thead input').click()"))
    for view in ("JSON", "Tree"):
        act = f"document.querySelectorAll('.toolbar .choice input')[{1 if view == 'JSON' else 2}].click()"
        times(f"1,000 rows: as {view}").append(painted(act))
    console.go("data", "default", "large", "one", query="?view=tree")
    inside = page.get_by_role("button", name="Inside lines")
    expect(inside).to_be_visible()
    times("5 MB: open a branch of 10,000").append(painted("document.querySelector('.twist[aria-label]').click()"))
    times("5 MB: as JSON").append(painted("document.querySelectorAll('.toolbar .choice input')[1].click()"))
    times("5 MB: as a table").append(painted("document.querySelectorAll('.toolbar .choice input')[0].click()"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    found = shutil.which("chromium") or shutil.which("google-chrome") or sys.exit("bench: there is no Chromium")
    with tempfile.TemporaryDirectory() as folder:
        server = start_doorleaf(Path(folder) / "data", env=SETTINGS)
        try:
            fill(server)
            measured: dict[str, list[Taken]] = {}
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
            print(f"{'':<44} {'median':>8} {'longest':>8} {'processor':>10}")
            for name, times in measured.items():
                told(name, times)
        finally:
            server.stop()


if __name__ == "__main__":
    main()
