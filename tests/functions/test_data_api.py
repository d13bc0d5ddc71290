"""``data_api_config.json`` of an app: ``can_evaluate`` says who may call actions, in whatever way."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
from asgi import KEY, Answer, Application, application
from shop_app import write

from doorleaf.dialects.actions import PREFIXES
from doorleaf.functions.load import load_functions
from doorleaf.operations import OPERATIONS

HEADER = {"%%request.requestHeaders.x-secret-key": "my-secret"}
SHOWN = {"X-Secret-Key": "my-secret"}
NOTES: dict[str, Any] = {"dataSource": "mongodb-atlas", "database": "shop", "collection": "notes"}
ROLE = {"name": "all", "apply_when": {}, "read": True, "write": True}


def write_app(folder: Path, config: dict[str, Any], place: str = "https_endpoints") -> Path:
    write(folder, {
        "root_config.json": {"app_id": "data-abcde", "name": "data"},
        f"{place}/data_api_config.json": config,
        "data_sources/mongodb-atlas/config.json": {"name": "mongodb-atlas", "type": "mongodb-atlas", "config": {}},
        "data_sources/mongodb-atlas/shop/notes/rules.json": {
            "database": "shop", "collection": "notes", "roles": [ROLE],
        },
    })  # fmt: skip
    return folder


@contextmanager
def served(folder: Path, config: dict[str, Any], **chosen: Any) -> Iterator[tuple[Application, str]]:
    """The application, and a key that rules judge."""
    app_folder = write_app(folder / "app", config)
    with application(folder / "data", app=app_folder, **chosen) as app:
        told = app.call("POST", "/api/admin/v1/keys", orjson.dumps({"name": "member"}), {"apiKey": KEY})
        yield app, told.json["key"]


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Application, str]]:
    with served(tmp_path_factory.mktemp("gate"), {"can_evaluate": HEADER}) as running:
        yield running


def find(app: Application, key: str, headers: dict[str, str] | None = None, **body: Any) -> Answer:
    return app.act("find", {**NOTES, **body}, key=key, headers=headers)


def require_refused(answer: Answer) -> None:
    assert (answer.status, answer.json["error_code"]) == (403, "PermissionDenied"), answer.body
    assert answer.json["error"] == "can_evaluate of the app's Data API does not hold for this request"


def test_who_does_not_bring_what_it_wants_calls_no_action(app: tuple[Application, str]) -> None:
    running, key = app
    for shown in (None, {"X-Secret-Key": "my-secre"}, {"X-Secret-Key": "MY-SECRET"}, {"Secret-Key": "my-secret"}):
        require_refused(find(running, key, shown))
    assert find(running, key, SHOWN).json == {"documents": []}
    assert find(running, KEY).status == 200  # rules do not judge this one either
    large: dict[str, Any] = {"filter": {"_id": {"$in": ["x" * 100] * 3000}}}
    require_refused(find(running, key, **large))
    assert find(running, key, SHOWN, **large).status == 200
    assert find(running, "wrong", SHOWN).status == 401


@pytest.mark.parametrize("action", [*OPERATIONS, "watch"])
def test_no_action_is_without_it_on_any_of_its_paths(app: tuple[Application, str], action: str) -> None:
    running, key = app
    for prefix in PREFIXES:
        path = f"{prefix.format(app_id='data-abcde')}/action/{action}"
        require_refused(running.call("POST", path, orjson.dumps(NOTES), {"apiKey": key}))


def test_lines_and_files_are_not_without_it(app: tuple[Application, str]) -> None:
    running, key = app
    for shown, status in (({}, 403), (SHOWN, 201)):
        headers = {"apiKey": key, "Content-Type": "application/x-ndjson", **shown}
        query = b"database=shop&collection=notes"
        answer = running.call("POST", "/data/v1/action/insertMany", b'{"_id": 1}\n', headers, query)
        assert answer.status == status, answer.body
        asked = orjson.dumps({**NOTES, "format": "ndjson"})
        made = running.call("POST", "/api/console/v1/downloads", asked, {"apiKey": key, **shown})
        assert made.status == status, made.body
    path = f"/api/console/v1/downloads/{made.json['ticket']}"
    assert running.call("GET", path).body == b'{"_id":1}\n'  # the ticket was given to one who may
    running.act("deleteMany", {**NOTES, "filter": {}})


def test_other_ways_have_conditions_of_their_own(app: tuple[Application, str]) -> None:
    running, key = app
    assert running.call("GET", "/whoami", headers={"apiKey": key}).status == 200
    assert running.call("GET", "/livez").status == 200


def test_it_holds_for_whoever_runs_as_the_system(tmp_path: Path) -> None:
    config = {"can_evaluate": {**HEADER, "%%user.type": "system"}, "run_as_system": True}
    with served(tmp_path, config, run_as={"actions": "system"}) as (app, key):
        for shown in (key, KEY):
            require_refused(find(app, shown))
            assert find(app, shown, SHOWN).status == 200


@pytest.mark.parametrize("allowed", [{}, True, None])
def test_what_wants_nothing_lets_everybody_in(tmp_path: Path, allowed: Any) -> None:
    with served(tmp_path, {"can_evaluate": allowed}) as (app, key):
        assert find(app, key).status == 200


@pytest.mark.parametrize(
    ("allowed", "words"),
    [
        (False, None),
        ({"%%user.nothing.at.all": True}, None),
        ({"%nonsense": 1}, "nonsense"),
        (1, "got int"),
        (0, "got int"),
        ("", "got string"),
        ([], "got array"),
        ({"%%args.0": 5}, "%%args"),
        ({"%%true": {"%function": {"name": "f", "arguments": []}}}, "%function is for the rules of collections"),
    ],
)
def test_what_cannot_hold_or_be_read_lets_nobody_in(tmp_path: Path, allowed: Any, words: str | None) -> None:
    with served(tmp_path, {"can_evaluate": allowed}) as (app, key):
        require_refused(find(app, key, SHOWN))
        assert find(app, KEY).status == 200
    problems = [str(problem) for problem in load_functions(tmp_path / "app").problems]
    if words is None:
        assert problems == []
    else:
        (told,) = problems
        assert told.startswith("data_api_config.json: can_evaluate")
        assert words in told
        assert told.endswith("nobody may call actions")


def test_a_way_to_validate_that_is_not_there_is_named(tmp_path: Path) -> None:
    for key in ("validation_method", "verification_method"):
        folder = write_app(tmp_path / key, {key: "SECRET_AS_QUERY_PARAM"}, "http_endpoints")
        (told,) = map(str, load_functions(folder).problems)
        assert (
            told == "data_api_config.json: validation_method: SECRET_AS_QUERY_PARAM is not available, and not asked for"
        )
    folder = write_app(tmp_path / "none", {"validation_method": "NO_VALIDATION"})
    assert load_functions(folder).problems == []
