"""The ``doorleaf`` command."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import socket
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import typer
import uvicorn
from uvicorn.supervisors import Multiprocess

import doorleaf
from doorleaf import cli_access, cli_keys, cli_users, openapi
from doorleaf.access.audit import audit_of
from doorleaf.access.identity import Authenticator
from doorleaf.access.rules.load import load_rules
from doorleaf.access.system_store import SystemStore
from doorleaf.app import build, make_router
from doorleaf.cli_shared import Config, DataDir, Uri, console, table
from doorleaf.errors import DoorleafError
from doorleaf.http import Endpoint
from doorleaf.loading import PREFIX, SECRETS, SettingsError, load, masked_uri, shown
from doorleaf.observability import configure_logging
from doorleaf.operations import Namespace, RunCommand
from doorleaf.settings import DataSource, Settings

GRACE_SECONDS = 30
"""How long requests in flight may take to end after SIGTERM."""
LOG = logging.getLogger("doorleaf")

app = typer.Typer(
    name="doorleaf",
    help="A self-hosted MongoDB Data API: HTTP and JSON in front of any MongoDB, or of an embedded database.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
app.add_typer(cli_keys.app, name="keys")
app.add_typer(cli_users.app, name="users")
app.add_typer(cli_access.app)


def main() -> None:
    """Run the command; what goes wrong is one line on standard error and exit code 1."""
    try:
        app()
    except (SettingsError, DoorleafError, OSError, ValueError) as error:
        if os.environ.get(f"{PREFIX}LOG_LEVEL", "").lower() == "debug":
            raise
        for line in _reason(error).splitlines():
            _error(line)
        sys.exit(1)


def _error(text: str) -> None:
    console(stderr=True).print(f"doorleaf: {text}")


def _reason(error: Exception) -> str:
    """What went wrong, for the person who runs the server: with the driver's reason, without any URI."""
    if not isinstance(error, DoorleafError):
        return str(error)
    cause = str(error.__cause__ or "")
    for noise in (", Timeout:", " (configured timeouts", ", full error", ", Topology"):
        cause = cause.partition(noise)[0]
    return f"{error.message}: {cause}" if cause and cause != error.message else error.message


# --- serve -------------------------------------------------------------------------------------------------------


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on.", show_default="127.0.0.1")] = None,
    port: Annotated[int | None, typer.Option(help="Port; 0 takes a free one.", show_default="3000")] = None,
    uri: Uri = None,
    data_dir: DataDir = None,
    workers: Annotated[int | None, typer.Option(help="Server processes.", show_default="1")] = None,
    config: Config = None,
) -> None:
    """Serve the Data API."""
    signal.signal(signal.SIGTERM, _end)
    flags = {"host": host, "port": port, "uri": uri, "data_dir": data_dir, "workers": workers}
    settings = load(flags, config=config)
    configure_logging(settings.log_level, json_lines=settings.log_format == "json")
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    if settings.insecure_no_auth:
        LOG.warning("insecure_no_auth is on: WHOEVER REACHES %s CAN READ AND CHANGE EVERYTHING", settings.host)
    listener = _listen(settings.host, settings.port)
    url = _url(settings.host, listener.getsockname()[1])
    # Built before workers build theirs, so that what cannot be had ends the start here and once.
    built = _application(settings, url)
    asyncio.run(_first_start(settings, url))
    where = ", ".join(f"{name}: {_where(source)}" for name, source in settings.sources.items())
    LOG.info("Doorleaf %s listens on %s with %s", doorleaf.__version__, url, where)
    if settings.workers == 1:
        _run(uvicorn.Server(_server(settings, built)), listener)
        return
    _to_environment(flags | {"port": listener.getsockname()[1]}, config)
    with _shared_metrics():
        _Workers(_server(settings, "doorleaf.cli:application"), [listener]).run()


class _Workers(Multiprocess):
    """The workers' supervisor, which stops listening when they do: else new clients would wait for nobody."""

    def terminate_all(self) -> None:
        for listener in self.sockets:
            listener.close()
        super().terminate_all()


def application() -> Endpoint:
    """The ASGI app of one worker; flags have come as ``DOORLEAF_*`` variables."""
    settings = load()
    configure_logging(settings.log_level, json_lines=settings.log_format == "json")
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    return _application(settings, _url(settings.host, settings.port))


def _application(settings: Settings, url: str) -> Endpoint:
    return build(settings, announce=lambda key: _announce(key, url))


def _server(settings: Settings, application: Any) -> uvicorn.Config:
    return uvicorn.Config(
        application,
        factory=isinstance(application, str),
        workers=settings.workers,
        loop="uvloop" if sys.platform != "win32" else "asyncio",
        http=_protocol(),
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,  # requests are logged by the app itself, with their ids and without query strings
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )


def _protocol() -> Any:
    """What speaks HTTP; httptools does not exist on Windows."""
    if sys.platform == "win32":
        return "h11"
    from doorleaf.connections import Connection

    return Connection


def _end(number: int, frame: Any) -> None:
    """What SIGTERM does before the server listens to it, and once more when it has served its last request."""
    sys.exit(0)


def _run(server: uvicorn.Server, listener: socket.socket) -> None:
    with contextlib.suppress(KeyboardInterrupt):
        server.run(sockets=[listener])
    if not server.started:
        sys.exit(1)


def _listen(host: str, port: int) -> socket.socket:
    """A listening socket, made before anything else so that a port in use is one clear line."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][0]
        dual = host == "::" and socket.has_dualstack_ipv6()
        listener = socket.create_server((host, port), family=family, backlog=2048, dualstack_ipv6=dual)
    except OSError as error:
        known = error.errno is not None and error.errno > 0  # names that cannot be resolved have numbers of their own
        reason = os.strerror(error.errno) if known and error.errno else str(error.strerror or error)
        raise SettingsError(f"cannot listen on {host}:{port}: {reason.lower()}") from None
    listener.set_inheritable(True)
    return listener


def _url(host: str, port: int) -> str:
    local = {"0.0.0.0": "127.0.0.1", "::": "[::1]", "": "127.0.0.1"}.get(host, host)  # noqa: S104
    return f"http://[{local}]:{port}" if ":" in local and not local.startswith("[") else f"http://{local}:{port}"


def _to_environment(flags: dict[str, Any], config: Path | None) -> None:
    """Hand the flags to the workers, which load the settings themselves."""
    for name, value in flags.items():
        if value is not None:
            os.environ[PREFIX + name.upper()] = str(value)
            if name in SECRETS:
                os.environ.pop(f"{PREFIX}{name.upper()}_FILE", None)
    if config is not None:
        os.environ[f"{PREFIX}CONFIG"] = str(config.absolute())


@contextlib.contextmanager
def _shared_metrics() -> Any:
    """A folder where the workers put their metrics, so that each can show all."""
    variable = "PROMETHEUS_MULTIPROC_DIR"
    if variable in os.environ:
        yield
        return
    with tempfile.TemporaryDirectory(prefix="doorleaf-metrics-") as folder:
        os.environ[variable] = folder
        yield


async def _first_start(settings: Settings, url: str) -> None:
    """Open the database once before serving: a damaged one ends the start, and a new one gets its first key."""
    store = make_router(settings)
    await store.open()
    try:
        audit = audit_of(settings, SystemStore(store, settings.system_database))
        await audit.start()
        authenticator = Authenticator(settings, store, announce=lambda key: _announce(key, url), audit=audit)
        await authenticator.start(patience=2.5)
        await authenticator.stop()
        await audit.stop()
    finally:
        await store.close()


def _announce(key: str, url: str) -> None:
    body = json.dumps({"database": "test", "collection": "greetings", "document": {"hello": "world"}})
    told = console()
    told.print(f"Doorleaf made an API key. It is shown only now:\n\n  {key}\n", style="bold")
    told.print("A first request:\n")
    told.print(
        f"  curl {url}/data/v1/action/insertOne -H 'apiKey: {key}' -H 'Content-Type: application/json' -d '{body}'\n"
    )
    told.print(f"Documentation, where requests can be tried: {url}/docs\n")
    sys.stdout.flush()


# --- settings, check, openapi, version ---------------------------------------------------------------------------


@app.command("settings")
def show_settings(config: Config = None) -> None:
    """Show every setting with its value and where that came from; secrets are masked."""
    settings = load(config=config)
    listed = table("Setting", "Value", "From")
    for name, origin in settings.origins.items():
        listed.add_row(name, shown(settings, name), origin)
    console().print(listed, soft_wrap=False)


@app.command()
def check(config: Config = None, uri: Uri = None, data_dir: DataDir = None) -> None:
    """Validate the settings and reach every database; exit with 1 and the reason if something is wrong."""
    settings = load({"uri": uri, "data_dir": data_dir}, config=config)
    load_rules(settings)
    console().print("settings: ok")
    failed = False
    for name, source in settings.sources.items():
        try:
            answer = asyncio.run(_ping(name, settings))
        except (DoorleafError, OSError, ValueError) as error:
            failed = True
            _error(f"data source {name} ({_where(source)}): {_reason(error)}")
        else:
            console().print(f"data source {name} ({_where(source)}): {answer}")
    if failed:
        raise typer.Exit(1)


def _where(source: DataSource) -> str:
    return masked_uri(source.uri.get_secret_value()) if source.uri else f"embedded in {source.data_dir}"


async def _ping(name: str, settings: Settings) -> str:
    store = make_router(settings).store(name)
    await store.open()
    try:
        begin = time.monotonic()
        await store.execute(RunCommand(namespace=Namespace("admin"), command={"ping": 1}))
        milliseconds = (time.monotonic() - begin) * 1000
        info = await store.execute(RunCommand(namespace=Namespace("admin"), command={"buildInfo": 1}))
    finally:
        await store.close()
    return f"ok, version {info.result.get('version', 'unknown')}, answered in {milliseconds:.0f} ms"


@app.command("openapi")
def print_openapi(config: Config = None) -> None:
    """Print the OpenAPI document."""
    settings = load(config=config)
    document = openapi.document(
        insert_status=settings.insert_status,
        max_documents=settings.max_documents,
        max_time_ms=settings.max_time_ms_cap,
    )
    typer.echo(json.dumps(document, indent=2, ensure_ascii=False))


@app.command()
def version() -> None:
    """Print the version."""
    typer.echo(f"doorleaf {doorleaf.__version__}")
