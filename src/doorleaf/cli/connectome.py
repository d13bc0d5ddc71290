"""``doorleaf connectome``: make, list, rotate and revoke the credentials of collections."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from doorleaf.cli.database import with_directory
from doorleaf.cli.keys import Many, quotas_of
from doorleaf.cli.loading import load
from doorleaf.cli.shared import (
    Config,
    DataDir,
    Expires,
    Json,
    Overlap,
    Uri,
    console,
    dated,
    listing,
    moment,
    overlapping,
    print_json,
)
from doorleaf.cli.target import DataSource, namespace_of
from doorleaf.settings.load import SettingsError
from doorleaf.settings.model import Settings

app = typer.Typer(
    help="Credentials that read or write one collection each, in the URL.", no_args_is_help=True, add_completion=False
)

Identifier = Annotated[str, typer.Argument(help="The credential's id, as list shows it.")]
Place = Annotated[str, typer.Argument(metavar="DATABASE.COLLECTION", help="The collection; it need not be there yet.")]
Kind = Annotated[str | None, typer.Option(help="Make only this one: read or write.", show_default="both")]
BaseUrl = Annotated[
    str | None, typer.Option("--url", help="Where clients find the server.", show_default="the setting public_url")
]


@app.command("create")
def create_credentials(
    place: Place,
    kind: Kind = None,
    data_source: DataSource = None,
    expires: Expires = None,
    address: Annotated[
        Many, typer.Option(help="An address or CIDR block that they work from.", show_default="anywhere")
    ] = None,
    rate: Annotated[str | None, typer.Option(help="Such as 20/second;5000/hour.", show_default="the setting")] = None,
    quota: Annotated[Many, typer.Option(help="Such as requests_per_day=1000.", show_default="the setting")] = None,
    url: BaseUrl = None,
    as_json: Json = False,
    config: Config = None,
    uri: Uri = None,
    data_dir: DataDir = None,
) -> None:
    """Make credentials of a collection and print them, this once, with ready code."""
    if kind not in (None, "read", "write"):
        raise SettingsError(f"--kind: {kind!r} is neither read nor write")
    named = namespace_of(place, data_source)
    rights = {"addresses": address or None, "rate": rate, "quotas": quotas_of(quota or []) or None}
    until = None if expires is None else moment(expires)
    settings = load({"uri": uri, "data_dir": data_dir}, config=config)
    namespace = settings.places.locate(named.data_source, named.database, named.collection)
    kinds = ("read", "write") if kind is None else (kind,)
    made = with_directory(
        settings,
        lambda found: found.collection_credentials.create(namespace, kinds, expires=until, rights=rights),
        makes=True,
    )
    base = url or settings.public_url or f"http://{_host(settings)}:{settings.port}"
    if as_json:
        print_json({**made, "url": base.rstrip("/")})
        return
    out = console()
    out.print(f"Collection id:    {made['collection_id']}")
    for one in kinds:
        out.print(f"{one.capitalize() + ' credential:':<18}{made[f'{one}_credential']}")
    for text in snippets(made, base.rstrip("/")):
        out.print(f"\n{text}")
    ends = f"until {until:%Y-%m-%d %H:%M} UTC" if until else "until they are revoked"
    console(stderr=True).print(
        f"These are for {namespace}, judged by no rules, valid {ends}. They are shown once; who has them needs no key."
    )


def _host(settings: Settings) -> str:
    """The host of a URL that reaches a server on this machine."""
    host = "127.0.0.1" if settings.host in ("0.0.0.0", "::") else settings.host  # noqa: S104  # compared, not bound
    return f"[{host}]" if ":" in host else host


def snippets(made: Mapping[str, Any], base: str) -> list[str]:
    """Code that reads and writes a collection, in curl, Python and JavaScript, ready to be run."""
    collection_id, read, write = made["collection_id"], made["read_credential"], made["write_credential"]
    found = []
    if read is not None:
        url = f"{base}/collection/readwithquery/{read}/{collection_id}"
        found += [_curl("Read", url, '{"query": {}, "limit": 10}'), _python("Read", url, '{"query": {}, "limit": 10}')]
        found.append(_javascript("Read", url, '{"query": {}, "limit": 10}'))
    if write is not None:
        url = f"{base}/collection/batchwrite/{write}/{collection_id}"
        found += [_curl("Write", url, '[{"title": "Movie ABC"}]'), _python("Write", url, '[{"title": "Movie ABC"}]')]
        found.append(_javascript("Write", url, '[{"title": "Movie ABC"}]'))
    return found


def _curl(does: str, url: str, body: str) -> str:
    return f"# {does} by curl\ncurl -X POST '{url}' \\\n  -H 'Content-Type: application/json' \\\n  -d '{body}'"


def _python(does: str, url: str, body: str) -> str:
    return (
        f"# {does} in Python\nimport requests\n\nanswer = requests.post(\n    url='{url}',\n    json={body},\n)\n"
        "print(answer.json())"
    )


def _javascript(does: str, url: str, body: str) -> str:
    return (
        f"// {does} in JavaScript\nconst answer = await fetch('{url}', {{\n  method: 'POST',\n"
        f"  headers: {{ 'Content-Type': 'application/json' }},\n  body: JSON.stringify({body}),\n}});\n"
        "console.log(await answer.json());"
    )


@app.command("list")
def list_credentials(as_json: Json = False, config: Config = None, uri: Uri = None, data_dir: DataDir = None) -> None:
    """List all credentials of collections; the credentials themselves are not stored."""
    settings = load({"uri": uri, "data_dir": data_dir}, config=config)
    rows = []
    for one in with_directory(settings, lambda found: found.collection_credentials.listed(), looks=True):
        dates = (dated(one[field]) for field in ("created", "last_used", "expires"))
        collection = f"{one['database']}.{one['collection']}"
        rows.append((one, (one["id"], one["kind"], one["state"], one["collection_id"], collection, *dates)))
    columns = ("Id", "Kind", "State", "Collection id", "Collection", "Created", "Last used", "Expires")
    listing(columns, rows, as_json)


@app.command("rotate")
def rotate_credential(
    identifier: Identifier,
    overlap: Overlap = None,
    as_json: Json = False,
    config: Config = None,
    uri: Uri = None,
    data_dir: DataDir = None,
) -> None:
    """Give a credential a new text and print it, this once; running servers follow within seconds."""
    seconds = overlapping(overlap)
    settings = load({"uri": uri, "data_dir": data_dir}, config=config)
    made = with_directory(settings, lambda found: found.collection_credentials.rotate(identifier, seconds))
    if as_json:
        kinds = {f"{kind}_credential": None for kind in ("read", "write")}
        told = {name: value for name, value in made.items() if name != "credential"}
        print_json({**told, **kinds, f"{made['kind']}_credential": made["credential"]})
    else:
        console().print(made["credential"])
    old = f"stays valid for {overlap}" if overlap else "ends now"
    console(stderr=True).print(f"This is the {made['kind']} credential from now on; the one before {old}.")


@app.command("revoke")
def revoke_credential(identifier: Identifier, config: Config = None, uri: Uri = None, data_dir: DataDir = None) -> None:
    """End a credential for good; running servers follow within seconds."""
    settings = load({"uri": uri, "data_dir": data_dir}, config=config)
    made = with_directory(settings, lambda found: found.collection_credentials.revoke(identifier))
    console().print(f"The {made['kind']} credential {identifier} is revoked.")
