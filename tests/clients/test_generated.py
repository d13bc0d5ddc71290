"""Clients that common generators make of a running server's OpenAPI document: they compile, strictly, and work.

Every example of every action is sent through each of them, and a document goes all its way with typed answers.
"""

from __future__ import annotations

import json
import os
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import installed
import pytest
from servers import Doorleaf, doorleaf

from doorleaf.openapi import EXAMPLES

PACKAGES = (
    "openapi-typescript@7.13.0",
    "openapi-fetch@0.17.0",
    "@hey-api/openapi-ts@0.99.0",
    "typescript@5.9.3",
    "@types/node@20.19.0",
    "esbuild@0.25.12",
)
COMPILER = {
    "compilerOptions": {
        "strict": True,
        "exactOptionalPropertyTypes": True,
        "noEmitOnError": True,
        "skipLibCheck": True,
        "target": "es2022",
        "module": "esnext",
        "moduleResolution": "bundler",
        "types": ["node"],
        "outDir": "out",
    },
}
ALL_PROVIDERS = "api-key,local-userpass,custom-token,anon-user"
SECRET = "k" * 40

PYTHON = """\
import importlib, json, sys
from made import AuthenticatedClient
from made.models import *
from made.models import Error

url, key, examples = sys.argv[1], sys.argv[2], json.load(open(sys.argv[3]))
client = AuthenticatedClient(base_url=url, token=key, prefix="", auth_header_name="apiKey")


def module(name):
    snake = "".join("_" + letter.lower() if letter.isupper() else letter for letter in name)
    for tag in ("read", "write", "administer"):
        try:
            return importlib.import_module(f"made.api.{tag}.{snake}")
        except ModuleNotFoundError:
            continue
    raise SystemExit(f"{name} was not generated")


def send(name, request):
    call = module(name)
    body = call._get_kwargs.__globals__[name[0].upper() + name[1:] + "Request"].from_dict(request)
    assert body.to_dict() == request, (name, body.to_dict(), request)
    return call.sync_detailed(client=client, body=body)


for name, requests in examples.items():
    for request in requests:
        answer = send(name, request)
        assert answer.status_code in (200, 201) and not isinstance(answer.parsed, Error), (name, answer)

place = {"database": "walk", "collection": "pens"}
made = send("insertOne", {**place, "document": {"n": 1}}).parsed
by = {**place, "filter": {"_id": {"$oid": made.inserted_id}}}
found = send("findOne", by).parsed
changed = send("updateOne", {**by, "update": {"$inc": {"n": 1}}}).parsed
counted = send("countDocuments", {**place, "filter": {"n": 2}}).parsed
gone = send("deleteOne", by).parsed
after = send("findOne", by).parsed
refused = send("findOne", {**by, "filter": {"$no": 1}}).parsed
print(json.dumps({
    "id": made.inserted_id,
    "document": found.document.to_dict(),
    "numbers": [changed.matched_count, changed.modified_count, counted.count],
    "deleted": gone.deleted_count,
    "after": after.document,
    "why": refused.error,
    "code": refused.error_code,
}))
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Doorleaf]:
    config = tmp_path / "settings.toml"
    config.write_text(f'custom_token = {{algorithm = "HS256", keys = ["{SECRET}"], audience = ["shop"]}}\n')
    with doorleaf(tmp_path / "data", "--config", str(config), env={"DOORLEAF_PROVIDERS": ALL_PROVIDERS}) as running:
        yield running


@pytest.fixture
def described(server: Doorleaf, tmp_path: Path) -> Path:
    """The server's own document, in a file."""
    path = tmp_path / "openapi.json"
    with urllib.request.urlopen(f"{server.url}/openapi.json", timeout=20) as answer:
        path.write_bytes(answer.read())
    return path


@pytest.fixture
def node(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> Path:
    """A folder where TypeScript can be compiled and run."""
    folder = installed.npm(pytestconfig, tmp_path_factory, "generators", *PACKAGES)
    (tmp_path / "node_modules").symlink_to(folder / "node_modules")
    (tmp_path / "package.json").write_text('{"private": true, "type": "module"}')
    (tmp_path / "tsconfig.json").write_text(json.dumps(COMPILER | {"files": ["main.ts"]}))
    return tmp_path


def run(folder: Path, *command: str, env: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=240, check=False, env={**os.environ, **(env or {})}
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


def written(name: str, calls: str) -> str:
    """The program ``name`` with ``calls`` in it."""
    return (Path(__file__).parent / name).read_text().replace("  // CALLS", calls)


def require_walk(output: str) -> None:
    """What the way of a document has to have shown, in whatever language."""
    told: dict[str, Any] = json.loads(output.splitlines()[-1])
    assert len(told["id"]) == 24
    assert told["document"] == {"_id": told["id"], "n": 1}
    assert told["numbers"] == [1, 1, 1]
    assert told["deleted"] == 1
    assert told["after"] is None
    assert told["why"].startswith("unknown top level operator: $no")
    assert told["code"] == "BadValue"


def requests() -> Iterator[tuple[str, str]]:
    """The name of the action and the body as JSON, for every example in order."""
    for name, examples in EXAMPLES.items():
        for example in examples:
            yield name, json.dumps(example.request)


def test_openapi_typescript(server: Doorleaf, described: Path, node: Path) -> None:
    run(node, "node_modules/.bin/openapi-typescript", str(described), "--output", "schema.ts")
    calls = "\n".join(
        f'  done(await client.POST("/data/v1/action/{name}", {{ body: {body} }}));' for name, body in requests()
    )
    (node / "main.ts").write_text(written("openapi_fetch.ts", calls))
    run(node, "node_modules/.bin/tsc", "--project", ".")
    require_walk(run(node, "node", "out/main.js", server.url, server.key))


def test_a_wrong_call_does_not_compile(described: Path, node: Path) -> None:
    run(node, "node_modules/.bin/openapi-typescript", str(described), "--output", "schema.ts")
    wrong = '  done(await client.POST("/data/v1/action/insertOne", { body: { collection: "c", document: 5 } }));'
    (node / "main.ts").write_text(written("openapi_fetch.ts", wrong))
    with pytest.raises(AssertionError, match=r"Type 'number' is not assignable to type"):
        run(node, "node_modules/.bin/tsc", "--project", ".")


def test_hey_api(server: Doorleaf, described: Path, node: Path) -> None:
    run(node, "node_modules/.bin/openapi-ts", "--input", str(described), "--output", "hey", "--silent")
    calls = "\n".join(f"  await api.{name}({{ throwOnError: true, body: {body} }});" for name, body in requests())
    (node / "main.ts").write_text(written("hey_api.ts", calls))
    settings = COMPILER["compilerOptions"] | {"exactOptionalPropertyTypes": False}  # its own client does not have it
    (node / "tsconfig.json").write_text(json.dumps({"compilerOptions": settings, "files": ["main.ts"]}))
    run(node, "node_modules/.bin/tsc", "--project", ".")
    # It writes imports for a bundler, without the file's ending.
    run(
        node,
        "node_modules/.bin/esbuild",
        "out/main.js",
        "--bundle",
        "--platform=node",
        "--format=esm",
        "--outfile=all.mjs",
    )
    require_walk(run(node, "node", "all.mjs", server.url, server.key))


def test_openapi_python_client(
    server: Doorleaf,
    described: Path,
    tmp_path: Path,
    pytestconfig: pytest.Config,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    python = str(installed.pypi(pytestconfig, tmp_path_factory, "python-client", "openapi-python-client==0.29.1"))
    settings = {
        "project_name_override": "made",
        "package_name_override": "made",
        "post_hooks": [],
    }
    (tmp_path / "settings.json").write_text(json.dumps(settings))
    command = (python, "-m", "openapi_python_client", "generate", "--path", str(described))
    said = run(
        tmp_path, *command, "--config", "settings.json", "--meta", "none", "--output-path", "made", "--fail-on-warning"
    )
    assert "Unable" not in said
    examples = {name: [example.request for example in listed] for name, listed in EXAMPLES.items()}
    (tmp_path / "examples.json").write_text(json.dumps(examples))
    (tmp_path / "main.py").write_text(PYTHON)
    run(tmp_path, python, "-m", "compileall", "-q", "made")
    require_walk(run(tmp_path, python, "main.py", server.url, server.key, "examples.json"))


def test_every_credential_that_is_on_is_described(described: Path) -> None:
    document = json.loads(described.read_bytes())
    assert set(document["components"]["securitySchemes"]) == {
        "apiKey", "api-key", "bearer", "refreshToken", "consoleSession", "email", "password", "jwtTokenString"
    }  # fmt: skip
    assert document["security"] == [
        {"apiKey": []}, {"api-key": []}, {"jwtTokenString": []}, {"email": [], "password": []}, {"bearer": []}
    ]  # fmt: skip
    logins = {path for path in document["paths"] if path.endswith("/login")}
    assert logins == {f"/auth/providers/{provider}/login" for provider in ALL_PROVIDERS.split(",")}
