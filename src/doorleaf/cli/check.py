"""``doorleaf check``: whether a server would start with these settings, and be of use."""

from __future__ import annotations

import asyncio
import errno
import http.client
import os
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import typer

from doorleaf.access.identity.tokens import check_secret
from doorleaf.access.system_store import SystemStore
from doorleaf.app import build
from doorleaf.cli.database import where
from doorleaf.cli.loading import load
from doorleaf.cli.serve import listen
from doorleaf.cli.shared import App, Config, DataDir, Host, Json, Port, Uri, complain, console, print_json, reason
from doorleaf.errors import DoorleafError
from doorleaf.operations import Namespace, RunCommand
from doorleaf.settings.load import for_trial
from doorleaf.settings.model import Settings
from doorleaf.stores.embedded.file.files import Files, there
from doorleaf.stores.embedded.file.sqlite import DamagedDatabase, version
from doorleaf.stores.embedded.file.storage import FILE
from doorleaf.stores.making import make_router

app = typer.Typer(add_completion=False)

Part = tuple[str, Callable[[], str]]
"""What is checked, and the check: it answers how things are, or raises."""


@app.command()
def check(
    host: Host = None,
    port: Port = None,
    uri: Uri = None,
    data_dir: DataDir = None,
    app: App = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Check all that a start needs and reach every database, changing nothing.

    Exits with 1 and the reasons wherever serve would refuse to start, or would start and be of no use.
    """
    settings = load({"host": host, "port": port, "uri": uri, "data_dir": data_dir, "app": app}, config=config)
    found = []
    for what, look in _parts(settings):
        try:
            ok, told = True, look()
        except (DoorleafError, OSError, ValueError) as error:
            ok, told = False, reason(error)
        found.append({"what": what, "ok": ok, "text": told})
        if not as_json:
            (console().print if ok else complain)(f"{what}: {told}")
    if as_json:
        print_json(found)
    if not all(part["ok"] for part in found):
        raise typer.Exit(1)


def _parts(settings: Settings) -> Iterator[Part]:
    yield "settings", partial(_build, settings)
    yield f"listening on {settings.host}:{settings.port}", partial(_listen, settings)
    if settings.token_secret is None:
        yield "signing secret", partial(_secret, settings.data_dir)
    if settings.audit_file is not None:
        yield "audit file", partial(_file, settings.audit_file)
    if settings.nobody_logs_in is not None:
        yield "logging in", partial(_refuse, settings.nobody_logs_in)
    if settings.app is not None:
        yield f"app {settings.app}", partial(_app, settings)
    for name, source in settings.sources.items():
        look = partial(_folder, source.data_dir) if source.data_dir else partial(_mongodb, name, settings)
        yield f"data source {name} ({where(source)})", look


def _build(settings: Settings) -> str:
    build(for_trial(settings))
    return "ok"


def _refuse(why: str) -> str:
    raise ValueError(why)


def _app(settings: Settings) -> str:
    """Look at the functions and endpoints of the app; ValueError names each that would not be in service."""
    from doorleaf.functions.check import check_app  # what has no app does not wait for it

    return asyncio.run(check_app(settings))


def _listen(settings: Settings) -> str:
    try:
        listen(settings.host, settings.port).close()
    except ValueError as error:
        cause = error.__cause__
        if isinstance(cause, OSError) and cause.errno == errno.EADDRINUSE and _answers(settings):
            return "ok, a Doorleaf listens there already"
        raise
    return "ok"


def _answers(settings: Settings) -> bool:
    host = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(settings.host, settings.host)  # noqa: S104
    connection = http.client.HTTPConnection(host, settings.port, timeout=2)
    try:
        connection.request("GET", "/livez")
        return connection.getresponse().read() == b'{"status":"alive"}'
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _secret(folder: Path) -> str:
    if check_secret(folder):
        return f"ok, in {folder / 'token.secret'}"
    _require_writable(folder)
    return f"not there yet; the first start makes it in {folder}"


def _file(path: Path) -> str:
    if not path.exists():
        if not path.parent.is_dir():
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path.parent))
        _require_writable(path.parent)
        return "not there yet; the start makes it"
    if path.is_dir() or not os.access(path, os.W_OK):
        raise PermissionError(errno.EACCES, "cannot be written", str(path))
    return "ok"


def _folder(folder: Path) -> str:
    """Look at an embedded database."""
    _require_writable(folder)
    if not (folder / FILE).exists():
        return "not there yet; the first start makes it"
    for path in there(folder):
        if not os.access(path, os.W_OK):
            raise PermissionError(errno.EACCES, "cannot be written", str(path))
    format, problems = Files(folder).inspect()
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise DamagedDatabase(f"the database file {folder / FILE} is damaged: {problems[0]}{more}")
    return f"ok, format {format}, SQLite {version()}"


def _require_writable(folder: Path) -> None:
    """Raise OSError unless files can be made in ``folder``, which may have to be made itself."""
    there = folder.absolute()
    while not there.exists():
        there = there.parent
    if not there.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(there))
    if not os.access(there, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(there))


def _mongodb(name: str, settings: Settings) -> str:
    return asyncio.run(_ask(name, settings))


async def _ask(name: str, settings: Settings) -> str:
    """Reach a MongoDB, and try what the callers' data needs if that is there."""
    store = make_router(settings).store(name)
    await store.open()
    try:
        begin = time.monotonic()
        await store.execute(RunCommand(namespace=Namespace("admin"), command={"ping": 1}))
        milliseconds = (time.monotonic() - begin) * 1000
        info = await store.execute(RunCommand(namespace=Namespace("admin"), command={"buildInfo": 1}))
        if name == settings.default_source:
            await SystemStore(store, settings.system_database).try_rights()
    finally:
        await store.close()
    return f"ok, version {info.result.get('version', 'unknown')}, answered in {milliseconds:.0f} ms"
