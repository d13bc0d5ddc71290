"""A server and a browser for the tests of a file; one that needs other settings starts a server of its own.

They end with the file: Playwright's loop would be in the way of other tests that run one.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright
from seen import SETTINGS, fill
from servers import Doorleaf, start_doorleaf


@pytest.fixture(scope="module")
def server(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doorleaf]:
    """A server with something to look at."""
    running = start_doorleaf(tmp_path_factory.mktemp("console") / "data", env=SETTINGS)
    fill(running)
    yield running
    running.stop()


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        running = playwright.chromium.launch(executable_path=chromium, args=arguments)
        yield running
        running.close()
