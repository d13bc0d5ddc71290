"""An application in this process behind our own server: real connections, with a dialect that a test makes."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvicorn
from asgi import KEY
from servers import PATIENCE, free_port

from doorleaf.app import build
from doorleaf.cli.serve import _server
from doorleaf.dialects.base import Dialect
from doorleaf.http import Endpoint
from doorleaf.settings.model import Settings


class Served:
    """A server on ``port`` of 127.0.0.1 that takes ``key``."""

    def __init__(self, endpoint: Endpoint, port: int) -> None:
        self.endpoint = endpoint
        self.port = port
        self.key = KEY


@contextmanager
def serving(folder: Path, dialect: Dialect, **settings: Any) -> Iterator[Served]:
    """The whole application with ``dialect`` beside its own, on the embedded database in ``folder``."""
    chosen = Settings(**{"data_dir": folder, "data_api_key": KEY, "port": free_port(), **settings})
    built = build(chosen)
    endpoint = Endpoint(
        dialects=[*built.dialects, dialect],
        service=built._service,
        authenticator=built._authenticator,
        startup=built._startup,
        shutdown=built._shutdown,
        max_streams=chosen.max_streams,
        origins=chosen.cors_origins,
        admission=built._admission,
        bounds=built.bounds,
    )
    config = _server(chosen, endpoint)
    config.host, config.port = "127.0.0.1", chosen.port
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    until = time.monotonic() + PATIENCE
    while not server.started:
        assert thread.is_alive(), "the server did not start"
        assert time.monotonic() < until
        time.sleep(0.01)
    try:
        yield Served(endpoint, chosen.port)
    finally:
        server.should_exit = True
        thread.join(PATIENCE)
        assert not thread.is_alive()
