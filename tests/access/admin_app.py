"""For tests of the administration routes: an application with rules and an audit, and questions to it."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
from asgi import KEY, Answer, Application, application
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]  # has no types of its own
from pydantic import SecretStr

from doorleaf import openapi
from doorleaf.app import build
from doorleaf.settings.model import Settings

ADMIN = "/api/admin/v1"
USERPASS = "/api/client/v2.0/app/a-bcdef/auth/providers/local-userpass"
RULES = {
    "default": {
        "shop.notes": {
            "roles": [
                {
                    "name": "editor",
                    "apply_when": {"%%user.custom_data.role": "editor"},
                    "read": True,
                    "write": True,
                    "fields": {},
                },
                {
                    "name": "owner",
                    "apply_when": {},
                    "document_filters": {"read": {"owner": "%%user.id"}, "write": {"owner": "%%user.id"}},
                    "fields": {"secret": {"read": False, "write": False}},
                    "additional_fields": {"read": True, "write": True},
                },
            ]
        }
    }
}
DOCUMENT = openapi.document(build(Settings(token_secret=SecretStr("s" * 40))).dialects)
AUDITS: dict[Application, Path] = {}
"""The audit file of each running application."""


def ask(
    app: Application, method: str, path: str, body: Any = None, *, key: str | None = KEY, query: bytes = b""
) -> Answer:
    content = b"" if body is None else orjson.dumps(body)
    return app.call(method, f"{ADMIN}{path}", content, {} if key is None else {"apiKey": key}, query)


def ok(app: Application, method: str, path: str, body: Any = None, *, status: int = 200, query: bytes = b"") -> Any:
    """The content of an answer, which must be what the OpenAPI document says."""
    answer = ask(app, method, path, body, query=query)
    assert answer.status == status, answer.body
    assert answer.headers["cache-control"] == "no-store"
    text = answer.body.decode()
    for secret in ('"hash"', "argon2", '"version"', KEY):
        assert secret not in text
    assert '"_id"' not in text or path == "/explain"
    if status == 204:
        assert answer.body == b""
        return None
    _validator(operation_of(method, path)["responses"][str(status)]).validate(answer.json)
    return answer.json


def operation_of(method: str, path: str) -> dict[str, Any]:
    found: dict[str, Any] = DOCUMENT["paths"][ADMIN + template_of(method, path)][method.lower()]
    return found


def template_of(method: str, path: str) -> str:
    """The path of the document that ``path`` is one of; literal segments go before variables."""
    given = path.split("/")
    for template in sorted(DOCUMENT["paths"], key=lambda name: name.count("{")):
        parts = template.removeprefix(ADMIN).split("/")
        same = len(parts) == len(given) and all(
            part == other or part.startswith("{") for part, other in zip(parts, given, strict=True)
        )
        if same and template.startswith(ADMIN) and method.lower() in DOCUMENT["paths"][template]:
            return str(template.removeprefix(ADMIN))
    raise AssertionError(f"the OpenAPI document has no {method} {path}")


def step(app: Application, method: str, path: str, body: Any = None) -> Callable[[], Awaitable[Any]]:
    """What an administrator asks for while something else goes on; it answers the content."""

    async def taken() -> Any:
        content = b"" if body is None else orjson.dumps(body)
        answer = await app.request(method, f"{ADMIN}{path}", content, {"apiKey": KEY})
        assert answer.status in (200, 201, 204), answer.body
        return answer.json if answer.body else None

    return taken


def _validator(response: dict[str, Any]) -> Draft202012Validator:
    schema = response["content"]["application/json"]["schema"]
    return Draft202012Validator({**schema, "components": DOCUMENT["components"]})


def refused(answer: Answer, status: int, code: str, words: str = "") -> str:
    assert answer.status == status, answer.body
    body = answer.json
    assert body["error_code"] == code
    assert words in body["error"]
    for leak in (KEY, "Traceback", ".py", "argon2"):
        assert leak not in answer.body.decode()
    error: str = body["error"]
    return error


def log_in(app: Application, provider: str, body: Any) -> Answer:
    return app.call("POST", f"/auth/providers/{provider}/login", orjson.dumps(body))


def find(app: Application, key: str, collection: str = "notes") -> Answer:
    return app.act("find", {"database": "shop", "collection": collection}, key=key)


def audited(app: Application) -> list[dict[str, Any]]:
    return [json.loads(line) for line in AUDITS[app].read_text().splitlines()]


@contextmanager
def administered(folder: Path) -> Iterator[Application]:
    """An application with rules, whose audit is in ``audit.jsonl`` beside its data."""
    chosen: dict[str, Any] = {
        "providers": ("api-key", "local-userpass", "anon-user"),
        "login_rate": "",
        "rules": RULES,
        "audit_file": folder / "audit.jsonl",
    }
    with application(folder / "data", **chosen) as running:
        AUDITS[running] = folder / "audit.jsonl"
        yield running
        del AUDITS[running]
