"""Events and their observers: what happened, told to whoever listens (log and metrics).

Nothing here sees a body, a key, a token or a query string, so none can reach a log line.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime

import orjson
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

REQUEST_ID: ContextVar[str] = ContextVar("doorleaf_request_id", default="-")
"""The id of the request being served, in every log line."""

LOG = logging.getLogger("doorleaf")

_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


@dataclass(slots=True)
class Answered:
    """A request was answered. ``action`` is the route's name, ``code`` the error code or "", ``caller`` an identity's
    id or "", ``seconds`` the whole time in this process."""

    action: str
    status: int
    seconds: float
    code: str
    caller: str
    address: str


Observer = Callable[[Answered], None]


@dataclass(slots=True)
class Audited:
    """Something happened that has to be accounted for. ``time`` is in seconds since 1970.

    ``outcome`` is ``allowed``, ``denied`` (to this caller) or ``failed``, then with ``code``. ``caller`` is an
    identity's id and ``runs_as`` that of another one it acts as, ``key`` the name of an API key, ``target`` what an
    action is about (a key, an account, a command), ``counts`` how many documents were written, by what was done to
    them. Texts are "" where there is nothing to say; none is a filter, a document or a secret.
    """

    time: float
    action: str
    outcome: str
    code: str = ""
    namespace: str = ""
    data_source: str = ""
    target: str = ""
    caller: str = ""
    key: str = ""
    provider: str = ""
    runs_as: str = ""
    address: str = ""
    request: str = ""
    counts: Mapping[str, int] = field(default_factory=dict)


AuditObserver = Callable[[Audited], None]


def log_answers(*, every: bool) -> Observer:
    """An observer that logs refusals (info) and failures (warning), and ``every`` answer if asked."""

    def observe(event: Answered) -> None:
        status = event.status
        if status < 400 and not every:
            return
        LOG.log(
            logging.WARNING if status >= 500 else logging.INFO,
            "%s %d%s %.1f ms%s from %s",
            event.action,
            status,
            f" {event.code}" if event.code else "",
            event.seconds * 1000,
            f" by {event.caller}" if event.caller else "",
            event.address or "-",
        )

    return observe


class Metrics:
    """Counts requests by action and status, with their durations; ``exposition`` is Prometheus's text."""

    content_type = b"text/plain; version=0.0.4; charset=utf-8"

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "doorleaf_requests", "Requests answered.", ("action", "status"), registry=self._registry
        )
        self._seconds = Histogram(
            "doorleaf_request_seconds", "Time to answer.", ("action",), registry=self._registry, buckets=_BUCKETS
        )
        # Looking a label's child up costs more than counting, so children are kept; names and statuses are few.
        self._count: dict[tuple[str, int], Callable[[], None]] = {}
        self._observe: dict[str, Callable[[float], None]] = {}

    def __call__(self, event: Answered) -> None:
        key = (event.action, event.status)
        count = self._count.get(key)
        if count is None:
            count = self._count[key] = self._requests.labels(event.action, str(event.status)).inc
            self._observe[event.action] = self._seconds.labels(event.action).observe
        count()
        self._observe[event.action](event.seconds)

    def exposition(self) -> bytes:
        """All metrics as text; of every worker when ``PROMETHEUS_MULTIPROC_DIR`` names their common folder."""
        if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
            return generate_latest(self._registry)
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(registry)


class _WithRequest(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        record.request_id = REQUEST_ID.get()
        return True


class JsonLines(logging.Formatter):
    """One JSON object a line: time (UTC), level, logger, request, message and, for failures, the stack."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "request": getattr(record, "request_id", "-"),
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["stack"] = self.formatException(record.exc_info)
        return orjson.dumps(line, default=str).decode()


def configure_logging(level: str, *, json_lines: bool = False, quiet: Iterable[str] = ("uvicorn.access",)) -> None:
    """Send all logs to standard error, each line with its request's id. Loggers in ``quiet`` say nothing, because
    their lines have query strings."""
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(_WithRequest())
    text = logging.Formatter("%(asctime)s %(levelname)s %(name)s [%(request_id)s] %(message)s")
    handler.setFormatter(JsonLines() if json_lines else text)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    logging.getLogger("pymongo").setLevel(logging.WARNING)
    for name in quiet:
        logging.getLogger(name).disabled = True
