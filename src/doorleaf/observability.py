"""Events and their observers: what happened, told to whoever listens. This is the log; the metrics listen too.

Nothing here sees a body, a key, a token or a query string, so none can reach a log line.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime

import orjson

REQUEST_ID: ContextVar[str] = ContextVar("doorleaf_request_id", default="-")
"""The id of the request being served, in every log line."""

LOG = logging.getLogger("doorleaf")


@dataclass(slots=True)
class Answered:
    """A request was answered. ``action`` is the route's name, ``code`` the error code or "", ``caller`` an identity's
    id or "", ``seconds`` the whole time in this process, ``received`` and ``sent`` the bytes of the bodies, ``reason``
    what failed where it was not the client's fault. ``namespace`` is None where there is none. ``lasting`` is an answer
    that takes as long as its client does."""

    action: str
    status: int
    seconds: float
    code: str
    caller: str
    address: str
    namespace: object = None
    received: int = 0
    sent: int = 0
    reason: str = ""
    lasting: bool = False


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


def log_answer(event: Answered) -> None:
    """Log an answer: failures as warnings, all else, refusals and answers that were cut too, as information."""
    status = event.status
    LOG.log(
        logging.WARNING if status >= 500 or event.reason else logging.INFO,
        "%s %d%s %.1f ms%s from %s%s%s",
        event.action,
        status,
        f" {event.code}" if event.code else "",
        event.seconds * 1000,
        f" by {event.caller}" if event.caller else "",
        event.address or "-",
        f" on {place}" if (place := named(event)) else "",
        f": {event.reason}" if event.reason else "",
        extra={"fields": _fields(event)},
    )


def named(event: Answered) -> str:
    """The namespace of an answer; what could not be one is what somebody sent, and is not repeated."""
    return "" if event.namespace is None or event.code == "InvalidNamespace" else str(event.namespace)


def _fields(event: Answered) -> dict[str, object]:
    """What a line of JSON says of an answer; what is not known is left out."""
    fields: dict[str, object] = {
        "status": event.status,
        "action": event.action,
        "error_code": event.code,
        "ms": round(event.seconds * 1000, 3),
        "caller": event.caller,
        "address": event.address,
        "namespace": named(event),
        "received_bytes": event.received,
        "sent_bytes": event.sent,
        "reason": event.reason,
    }
    return {name: value for name, value in fields.items() if value != ""}


class _WithRequest(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        record.request_id = REQUEST_ID.get()
        return True


class TextLines(logging.Formatter):
    """A line of text, with the time of this machine and its zone."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s [%(request_id)s] %(message)s")

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # its name there
        return datetime.fromtimestamp(record.created, UTC).astimezone().isoformat(timespec="milliseconds")


class JsonLines(logging.Formatter):
    """One JSON object a line: time (UTC), level, logger, request, message, of an answer its fields, and the stack of a
    fault."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "request": getattr(record, "request_id", "-"),
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["stack"] = self.formatException(record.exc_info)
        return orjson.dumps(line, default=str).decode()


def configure_logging(level: str, *, json_lines: bool = False, quiet: Iterable[str] = ("uvicorn.access",)) -> None:
    """Send all logs to standard error, each line with its request's id. Loggers in ``quiet`` say nothing, because
    their lines have query strings."""
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(_WithRequest())
    handler.setFormatter(JsonLines() if json_lines else TextLines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in ("pymongo", "httpx", "httpcore"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for name in quiet:
        logging.getLogger(name).disabled = True
