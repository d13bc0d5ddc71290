"""``doorleaf openapi``: the document that would be served."""

from __future__ import annotations

import json
import secrets

import typer
from pydantic import SecretStr

from doorleaf import openapi
from doorleaf.app import build
from doorleaf.cli.loading import load
from doorleaf.cli.shared import Config

app = typer.Typer(add_completion=False)


@app.command("openapi")
def print_openapi(config: Config = None) -> None:
    """Print the OpenAPI document."""
    settings = load(config=config)
    # The routes are those of the application, made and not opened. Given a secret, it makes none in the data folder.
    described = settings.model_copy(update={"token_secret": SecretStr(secrets.token_hex(32))})
    document = openapi.document_of(settings, build(described).dialects)
    typer.echo(json.dumps(document, indent=2, ensure_ascii=False))
