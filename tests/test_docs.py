"""The documentation against the code: its tables are what the code says, its examples work, its links lead somewhere.

Run as a program, this file writes the tables anew.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import bson
import pytest
import typer.main
from bson import Binary, Decimal128, Int64, MinKey, ObjectId, Regex, Timestamp
from pydantic_core import PydanticUndefined

from doorleaf.access.guards.commands import HARMLESS
from doorleaf.cli.main import app
from doorleaf.ejson import Mode, encode_document
from doorleaf.errors import CODE_NAMES, CODES
from doorleaf.metrics import FAMILIES
from doorleaf.mql import expressions
from doorleaf.mql.accumulators import compile as accumulators
from doorleaf.mql.filters import parse as match_parse
from doorleaf.mql.stages import compile as stages
from doorleaf.mql.updates import operators as update_operators
from doorleaf.operations import OPERATIONS, Operation
from doorleaf.operations.parameters import Parameter, parameters
from doorleaf.settings.load import SECRETS
from doorleaf.settings.model import Settings
from doorleaf.settings.sources import DataSource
from doorleaf.stores.embedded.commands import COMMANDS

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def page(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


# --- tables ------------------------------------------------------------------------------------------------------


def table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def anchor(name: str) -> str:
    return f"docs/dialects/actions.md#{name.lower()}"


def actions_table() -> str:
    rows = [[f"[`{name}`]({anchor(name)})", operation.summary] for name, operation in OPERATIONS.items()]
    return table(["Action", ""], rows)


def default_of(item: Any) -> str:
    value = item.get_default(call_default_factory=True)
    if value is None or value in ((), {}):
        return ""
    if isinstance(value, tuple):
        return ", ".join(f"`{item}`" for item in value)
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def kind_of(annotation: Any) -> str:
    text = str(annotation)
    for part, kind in (("tuple", "list of strings"), ("dict", "table"), ("Literal", ""), ("bool", "boolean")):
        if part in text:
            return kind or " or ".join(f"`{option}`" for option in annotation.__args__)
    return "integer" if "int" in text and "Secret" not in text else "path" if "Path" in text else "string"


def settings_table() -> str:
    rows = []
    for name, item in Settings.model_fields.items():
        assert item.default is not PydanticUndefined or item.default_factory is not None, name
        rows.append([f"`{name}`", kind_of(item.annotation), default_of(item), item.description or ""])
    return table(["Setting", "Type", "Default", "Meaning"], rows)


def errors_table() -> str:
    rows = [
        [f"`{code}`", ", ".join(map(str, known.statuses)), known.meaning]
        for code, known in sorted(CODES.items(), key=lambda item: (item[1].statuses, item[0]))
    ]
    return table(["`error_code`", "Status", "When"], rows)


def codes_table() -> str:
    rows = [[str(number), f"`{name}`"] for number, name in sorted(CODE_NAMES.items())]
    return table(["Number", "`error_code`"], rows)


def fields_section(operation: type[Operation[Any]]) -> str:
    rows = [
        [names_of(item), item.kind.value, "required" if item.required else default_in_words(item), item.meaning]
        for item in parameters(operation)
        if item.name not in ("comment", "maxTimeMS")
    ]
    scope = {"database": "A database's action: `collection` is not read.", "server": "About the whole data source."}
    about = f"### {operation.name}\n\n{operation.summary}. {scope.get(operation.scope, '')}".rstrip()
    return f"{about}\n\n{table(['Field', 'Type', 'Default', 'Meaning'], rows)}" if rows else about


def names_of(item: Parameter) -> str:
    return f"`{item.name}`" + (f", or `{item.alias.name}`" if item.alias else "")


def default_in_words(item: Parameter) -> str:
    return "" if item.default is None else f"`{json.dumps(item.default)}`"


VALUES: dict[str, Any] = {
    "ObjectId": ObjectId("64224f3cd79f54ad342dd9b1"),
    "date": datetime(2023, 3, 29, 15, 54, 47, 69000),
    "int32": 1,
    "int64": Int64(9007199254740993),
    "double": 10.5,
    "NaN and infinities": float("nan"),
    "decimal": Decimal128("1.50"),
    "binary": Binary(b"hi", 5),
    "regular expression": Regex("^a", "i"),
    "timestamp": Timestamp(1, 2),
    "MinKey": MinKey(),
}


def values_table() -> str:
    rows = []
    for name, value in VALUES.items():
        written = [
            encode_document(bson.encode({"v": value}), mode).decode().removeprefix('{"v":').removesuffix("}")
            for mode in (Mode.PLAIN, Mode.RELAXED, Mode.CANONICAL)
        ]
        rows.append([name, *(f"`{text}`" for text in written)])
    heads = ["`application/json` (default)", "`application/ejson; mode=relaxed`", "`application/ejson`"]
    return table(["", *heads], rows)


def names(listed: Iterable[str]) -> Callable[[], str]:
    return lambda: ", ".join(f"`{name}`" for name in sorted(listed))


def metrics_table() -> str:
    rows = [[f"`{it.name}`", it.kind, ", ".join(f"`{name}`" for name in it.labels), it.meaning] for it in FAMILIES]
    return table(["Family", "Type", "Labels", "Meaning"], rows)


BLOCKS: dict[str, dict[str, Callable[[], str]]] = {
    "README.md": {"actions": actions_table},
    "docs/reference/embedded.md": {
        "queries": names(match_parse.OPERATORS),
        "updates": names([*update_operators.OPERATORS, "$rename"]),
        "stages": names(stages.STAGES),
        "refused stages": names(set(stages.REFUSED_STAGES) - {"$out", "$merge"}),
        "accumulators": names(accumulators.ACCUMULATORS),
        "expressions": names(expressions.OPERATORS),
        "embedded commands": names(COMMANDS),
    },
    "docs/operating.md": {"metrics": metrics_table},
    "docs/settings.md": {"settings": settings_table},
    "docs/errors.md": {"errors": errors_table, "codes": codes_table},
    "docs/dialects/actions.md": {
        "values": values_table,
        "commands": lambda: ", ".join(f"`{name}`" for name in HARMLESS),
        **{
            f"fields {name}": (lambda operation=operation: fields_section(operation))  # type: ignore[misc]
            for name, operation in OPERATIONS.items()
        },
    },
}
"""What stands between ``<!-- name -->`` and ``<!-- end -->``."""


def block(text: str, name: str) -> re.Match[str]:
    found = re.search(rf"(<!-- {re.escape(name)} -->)(.*?)(<!-- end -->)", text, re.DOTALL)
    assert found is not None, f"there is no block {name!r}"
    return found


@pytest.mark.parametrize(("path", "name"), [(path, name) for path, names in BLOCKS.items() for name in names])
def test_tables_say_what_the_code_says(path: str, name: str) -> None:
    assert block(page(path), name)[2].strip() == BLOCKS[path][name](), "run tests/test_docs.py to write it anew"


def test_every_block_is_known() -> None:
    for path in PAGES:
        found = set(re.findall(r"<!-- (?!end)(.*?) -->", path.read_text(encoding="utf-8")))
        assert found == set(BLOCKS.get(str(path.relative_to(ROOT)), ())), path


def test_every_data_source_setting_is_described() -> None:
    for name in DataSource.model_fields:
        assert f"`{name}`" in (Settings.model_fields["data_sources"].description or "")


def test_every_secret_is_named_where_files_of_secrets_are() -> None:
    [text] = re.findall(r"For the secrets (.*?) a\s+variable with", page("docs/settings.md"), re.S)
    assert set(re.findall(r"`(\w+)`", text)) == set(SECRETS)


# --- links, commands, files --------------------------------------------------------------------------------------


def headings(text: str) -> set[str]:
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", path.read_text(encoding="utf-8")):
        if target.startswith(("http://", "https://")):
            continue
        name, _, fragment = target.partition("#")
        file = (path.parent / name).resolve() if name else path
        assert file.is_file(), target
        assert not fragment or fragment in headings(file.read_text(encoding="utf-8")), target


def shell_blocks() -> Iterator[tuple[str, str]]:
    for path in PAGES:
        for text in re.findall(r"```sh\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL):
            for line in text.replace("\\\n", " ").splitlines():
                yield str(path.relative_to(ROOT)), line.partition(" #")[0].strip()


def test_commands_and_targets_exist() -> None:
    commands = typer.main.get_command(app)
    targets = set(re.findall(r"^([a-z]+):", page("Makefile"), re.MULTILINE))
    seen = set()
    for where, line in shell_blocks():
        if line.startswith("make "):
            assert line.split()[1] in targets, (where, line)
        if line.startswith("doorleaf "):
            words = [word for word in shlex.split(line)[1:] if word != "…"]
            seen.add(words[0])
            check_command(commands, words, (where, line))
    assert seen >= {"serve", "keys"}


def check_command(command: Any, words: list[str], where: Any) -> None:
    """Every word is a command or, for the last command, an argument or an option that it has."""
    while hasattr(command, "commands") and words and not words[0].startswith("-"):
        found = command.get_command(None, words[0])
        assert found is not None, where
        command, words = found, words[1:]
    options = {name for item in command.params for name in item.opts} | {"--help"}
    for word in words:
        assert not word.startswith("--") or word in options, where


def test_toml_examples_are_valid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from doorleaf.settings.load import load

    found = 0
    for path in PAGES:
        for text in re.findall(r"```toml\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL):
            (tmp_path / "doorleaf.toml").write_text(text, encoding="utf-8")
            assert load(config=tmp_path / "doorleaf.toml").origins
            found += 1
    assert found >= 2


# --- examples ----------------------------------------------------------------------------------------------------

EXAMPLE = re.compile(r"```http\nPOST (\S+)\n(.*?)```\n+```json (\d{3})\n(.*?)```", re.DOTALL)


def test_examples_of_actions_work(tmp_path: Path) -> None:
    from asgi import KEY, application

    found = EXAMPLE.findall(page("docs/dialects/actions.md"))
    assert len(found) == page("docs/dialects/actions.md").count("```http")
    with application(tmp_path / "data") as app:
        for path, body, status, expected in found:
            answer = app.call("POST", path, body.encode(), {"apiKey": KEY})
            assert (answer.status, answer.json) == (int(status), json.loads(expected)), (path, body)


PLACES = (ROOT, ROOT / "src" / "doorleaf", ROOT / "src" / "doorleaf" / "stores" / "embedded")


@pytest.mark.parametrize("name", ["CONTRIBUTING.md", "docs/architecture.md"])
def test_files_that_are_named_are_there(name: str) -> None:
    """Those of the embedded engine by their folder inside it, where the text speaks of it."""
    named = re.findall(r"`([\w./-]+(?:\.py|\.md|\.toml|\.yaml|/))`", page(name))
    assert len(named) > 20
    there = [f"{path}/" for folder in ("src", "tests") for path in (ROOT / folder).rglob("*")]
    for path in {*named} - {"dist/"}:  # which is there once something was built
        ending = f"/{path.rstrip('/')}/"
        assert any((place / path).exists() for place in PLACES) or any(one.endswith(ending) for one in there), path


def test_everything_has_the_version_of_the_release() -> None:
    version = re.search(r'^version = "(.+)"$', page("pyproject.toml"), re.MULTILINE)
    assert version is not None
    chart = page("deploy/helm/doorleaf/Chart.yaml")
    assert f"version: {version[1]}\n" in chart
    assert f'appVersion: "{version[1]}"' in chart


def test_no_page_speaks_of_what_readers_do_not_have() -> None:
    for path in PAGES:
        text = path.read_text(encoding="utf-8").lower()
        for word in (r"\btodo\b", "fixme", "coming soon", "not yet", "/work/", "shared/"):
            assert not re.search(word, text), (path, word)


def write() -> None:
    """Write every table anew."""
    for path, names in BLOCKS.items():
        text = page(path)
        for name, content in names.items():
            found = block(text, name)
            gap = "" if name == "commands" else "\n"
            text = text[: found.end(1)] + gap + content() + gap + text[found.start(3) :]
        (ROOT / path).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write()
