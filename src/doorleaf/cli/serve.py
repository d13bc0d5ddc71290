"""``doorleaf serve``: one process or several, from the first start to the last answer."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import shlex
import signal
import socket
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer
from uvicorn.config import Config as ServerConfig

import doorleaf
from doorleaf.access.audit import audit_of
from doorleaf.access.identity.authenticator import Authenticator
from doorleaf.access.system_store import SystemStore
from doorleaf.app import build
from doorleaf.cli.database import where
from doorleaf.cli.live import TOLD, Live, told_unchanged
from doorleaf.cli.loading import load
from doorleaf.cli.processes import Server, cut_seconds
from doorleaf.cli.shared import App, Config, DataDir, Host, Port, Uri
from doorleaf.errors import DoorleafError
from doorleaf.http import Endpoint
from doorleaf.http.websocket import MESSAGE_BYTES
from doorleaf.metrics import FOLDER, Metrics
from doorleaf.observability import configure_logging
from doorleaf.settings.load import PREFIX, SECRETS, SettingsError, for_trial
from doorleaf.settings.model import Settings
from doorleaf.stores.making import make_router

HANGS_SECONDS = 30
"""How long a worker may say nothing at all, which a busy machine is no reason for, until another takes its place."""
LOG = logging.getLogger("doorleaf")

app = typer.Typer(add_completion=False)


@app.command()
def serve(
    host: Host = None,
    port: Port = None,
    uri: Uri = None,
    data_dir: DataDir = None,
    workers: Annotated[int | None, typer.Option(help="Server processes.", show_default="1")] = None,
    app: App = None,
    config: Config = None,
) -> None:
    """Serve the Data API."""
    signal.signal(signal.SIGTERM, _end)
    if TOLD:
        signal.pthread_sigmask(signal.SIG_BLOCK, TOLD)  # until somebody listens, who is told then
    flags = {"host": host, "port": port, "uri": uri, "data_dir": data_dir, "workers": workers, "app": app}
    settings = load(flags, config=config)
    _configure(settings)
    if settings.insecure_no_auth:
        LOG.warning("insecure_no_auth is on: WHOEVER REACHES %s CAN READ AND CHANGE EVERYTHING", settings.host)
    listener = listen(settings.host, settings.port)
    port = listener.getsockname()[1]
    url = _url(settings.host, port)
    # Built before workers build theirs, so that what cannot be had ends the start here and once.
    metrics = Metrics() if settings.workers == 1 else None
    built = _application(settings, url, metrics)
    asyncio.run(_first_start(settings, url))
    sources = ", ".join(f"{name}: {where(source)}" for name, source in settings.sources.items())
    LOG.info("Doorleaf %s listens on %s with %s", doorleaf.__version__, _listens(settings.host, port), sources)
    grace = settings.grace_seconds
    if settings.workers == 1:

        def again() -> tuple[Settings, Endpoint]:
            now = load(flags, config=config)
            return now, _application(now, url, metrics)

        _run(Server(_server(settings, Live(settings, built, again, _configure)), grace), listener)
        return
    # A port that the file names stays there, so that workers notice when it is changed.
    _to_environment(flags if settings.port else flags | {"port": port}, config)
    from doorleaf.cli.workers import Workers  # half a megabyte that one process alone does not need

    with _shared_metrics():
        Workers(_server(settings, "doorleaf.cli.serve:application"), [listener], grace, _can_be_read).run()


def _configure(settings: Settings) -> None:
    configure_logging(settings.log_level, json_lines=settings.log_format == "json")
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)


def application() -> Live:
    """The ASGI app of one worker; flags have come as ``DOORLEAF_*`` variables."""
    metrics = Metrics()

    def made() -> tuple[Settings, Endpoint]:
        settings = load()
        return settings, _application(settings, _url(settings.host, settings.port), metrics)

    settings, endpoint = made()
    _configure(settings)
    LOG.info("worker %d serves", os.getpid())
    return Live(settings, endpoint, made, _configure)


def _can_be_read() -> bool:
    """Whether workers can read the settings again; what they cannot is logged, once for all of them."""
    try:
        build(for_trial(load()))
    except (DoorleafError, OSError, ValueError) as error:
        told_unchanged(error)
        return False
    return True


def _application(settings: Settings, url: str, metrics: Metrics | None) -> Endpoint:
    return build(settings, announce=lambda key: _announce(key, url, settings), metrics=metrics)


def _server(settings: Settings, application: Any) -> ServerConfig:
    return ServerConfig(
        application,
        factory=isinstance(application, str),
        interface="asgi3",
        workers=settings.workers,
        loop="uvloop" if sys.platform != "win32" else "asyncio",
        http=_protocol(),
        ws=_sessions(),
        ws_max_size=MESSAGE_BYTES,
        ws_ping_interval=20.0,
        ws_ping_timeout=60.0,  # a route that is busy with one message reads no answer to a ping
        ws_per_message_deflate=False,  # a short frame could become a long message
        lifespan="on",
        log_config=None,
        access_log=False,  # requests are logged by the app itself, with their ids and without query strings
        proxy_headers=False,
        server_header=False,
        timeout_worker_healthcheck=HANGS_SECONDS,
        timeout_graceful_shutdown=cut_seconds(settings.grace_seconds),  # type: ignore[arg-type]  # it only waits so long
    )


def _protocol() -> Any:
    """What speaks HTTP; httptools does not exist on Windows."""
    if sys.platform == "win32":
        return "h11"
    from doorleaf.http.connections import protocol

    return protocol()


def _sessions() -> Any:
    """What speaks WebSocket, where connections are our own."""
    if isinstance(_protocol(), str):
        return "none"
    return _frames


def _frames(*args: Any, **kwargs: Any) -> Any:
    from doorleaf.http.frames import Frames  # half a megabyte that no server without sessions needs

    return Frames(*args, **kwargs)


def _end(number: int, frame: Any) -> None:
    """What SIGTERM does before the server listens to it, and once more when it has served its last request."""
    sys.exit(0)


def _run(server: Server, listener: socket.socket) -> None:
    with contextlib.suppress(KeyboardInterrupt):
        server.run(sockets=[listener])
    if not server.started:
        sys.exit(1)


def listen(host: str, port: int) -> socket.socket:
    """A listening socket, made before anything else so that a port in use is one clear line."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][0]
        dual = host == "::" and socket.has_dualstack_ipv6()
        listener = socket.create_server((host, port), family=family, backlog=2048, dualstack_ipv6=dual)
    except OSError as error:
        known = error.errno is not None and error.errno > 0  # names that cannot be resolved have numbers of their own
        reason = os.strerror(error.errno) if known and error.errno else str(error.strerror or error)
        raise SettingsError(f"cannot listen on {host}:{port}: {reason.lower()}") from error
    listener.set_inheritable(True)
    return listener


def _url(host: str, port: int) -> str:
    local = {"0.0.0.0": "127.0.0.1", "::": "[::1]", "": "127.0.0.1"}.get(host, host)  # noqa: S104
    return f"http://[{local}]:{port}" if ":" in local and not local.startswith("[") else f"http://{local}:{port}"


def _listens(host: str, port: int) -> str:
    """The addresses that the server listens at, for the log: every address is said as such."""
    url = _url(host, port)
    everywhere = host in ("0.0.0.0", "::", "")  # noqa: S104
    return f"{host} port {port}, every address of this machine (from here {url})" if everywhere else url


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
    if FOLDER in os.environ:
        yield
        return
    with tempfile.TemporaryDirectory(prefix="doorleaf-metrics-") as folder:
        os.environ[FOLDER] = folder
        yield


async def _first_start(settings: Settings, url: str) -> None:
    """Open the database once before serving: a damaged one ends the start, and a new one gets its first key."""
    store = make_router(settings)
    await store.open()
    try:
        audit = audit_of(settings, SystemStore(store, settings.system_database))
        await audit.start()
        authenticator = Authenticator(settings, store, announce=lambda key: _announce(key, url, settings), audit=audit)
        await authenticator.start(patience=2.5)
        await authenticator.stop()
        await audit.stop()
    finally:
        await store.close()


def _announce(key: str, url: str, settings: Settings) -> None:
    named = settings.sources[settings.default_source].database  # a user of that MongoDB may have no other
    database = settings.default_database or named or "test"
    body = json.dumps({"database": database, "collection": "greetings", "document": {"hello": "world"}})
    typer.secho(f"Doorleaf made an API key. It is shown only now:\n\n  {key}\n", bold=True)
    typer.echo("A first request:\n")
    headers = f"-H 'apiKey: {key}' -H 'Content-Type: application/json'"
    typer.echo(f"  curl {url}/data/v1/action/insertOne {headers} -d {shlex.quote(body)}\n")
    typer.echo(f"Documentation, where requests can be tried: {url}/docs\n")
    sys.stdout.flush()
