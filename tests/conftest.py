"""Fixtures for all tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
import scenarios
from opened import Run, run_in
from servers import Doorleaf, mongodb_uri_from_environment, secantus, start_doorleaf

pytest_plugins = ("browsing",)

# How long an example takes says more of what else the machine does.
hypothesis.settings.register_profile("doorleaf", parent=hypothesis.settings(), deadline=None)
hypothesis.settings.load_profile("doorleaf")


@pytest.fixture(scope="module")
def mongodb_uri(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A MongoDB for a module's tests: the one of ``DOORLEAF_TEST_URI``, else a server started here, which may stand
    still for half a minute when it has kept what many modules wrote."""
    if given := mongodb_uri_from_environment():
        yield given
        return
    with secantus(tmp_path_factory.mktemp("mongodb")) as server:
        yield server.uri


@pytest.fixture(params=["embedded", "mongo"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> scenarios.Engine:
    """Each engine in turn: the embedded one on an empty folder, and a MongoDB."""
    if request.param == "embedded":
        return scenarios.embedded(tmp_path / "data")
    uri = request.getfixturevalue("mongodb_uri")
    return scenarios.mongo(uri, real=mongodb_uri_from_environment() is not None)


@pytest.fixture
def doorleaf_process(tmp_path: Path) -> Iterator[Doorleaf]:
    """``doorleaf serve`` with the embedded database on an empty folder."""
    server = start_doorleaf(tmp_path / "data")
    yield server
    if server.process.poll() is None:
        server.stop()


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs a scenario on an embedded store in an empty folder."""
    return run_in(tmp_path)
