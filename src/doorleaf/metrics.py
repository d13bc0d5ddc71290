"""What is counted and measured, for Prometheus. Workers put theirs into one folder, and each can show all of them."""

from __future__ import annotations

import os
import platform
import resource
import time
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from doorleaf.observability import Answered

FOLDER = "PROMETHEUS_MULTIPROC_DIR"
"""The variable that names the workers' folder."""

REFRESH_SECONDS = 5.0
"""How often a worker writes down how things are, for those who show it."""

COUNT_SECONDS = 1.0
"""How often it writes down what it has counted."""

_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_REFUSALS = frozenset({401, 403, 413, 429, 503})


@dataclass(frozen=True, slots=True)
class Family:
    """A metric: its name as it is shown, its kind, its labels, and what it says."""

    name: str
    kind: str
    labels: tuple[str, ...]
    meaning: str


FAMILIES = (
    Family(
        "doorleaf_build_info",
        "gauge",
        ("version", "python", "sqlite", "engine"),
        "1; the labels say what is running: `sqlite` where the engine is `embedded`.",
    ),
    Family("doorleaf_requests_total", "counter", ("action", "status"), "Requests answered."),
    Family("doorleaf_request_seconds", "histogram", ("action",), "Time to answer."),
    Family("doorleaf_requests_in_flight", "gauge", (), "Requests that are being answered."),
    Family("doorleaf_streams_open", "gauge", (), "Change streams that are open."),
    Family(
        "doorleaf_refusals_total",
        "counter",
        ("status", "code"),
        "Requests refused with 401, 403, 413, 429 or 503, by the code of the error: credentials, rights, limits, load.",
    ),
    Family(
        "doorleaf_operation_seconds",
        "histogram",
        ("operation", "outcome"),
        "Time of an operation in the database; `outcome` is ok, refused, unavailable, failed or cut.",
    ),
    Family(
        "doorleaf_function_seconds",
        "histogram",
        ("function", "outcome"),
        "Time of a call of a function of the app; `outcome` is ok, cancelled, or the code of the error.",
    ),
    Family(
        "doorleaf_trigger_seconds",
        "histogram",
        ("trigger", "outcome"),
        "Time of a call of a trigger's function; `outcome` is ok, cancelled, or the code of the error.",
    ),
    Family(
        "doorleaf_pool", "gauge", ("data_source", "what"), "Connections and processes that a data source has, by state."
    ),
    Family("doorleaf_process_resident_bytes", "gauge", (), "Memory of the server processes."),
    Family("doorleaf_process_cpu_seconds", "gauge", (), "Processor time of the server processes since they started."),
    Family("doorleaf_process_open_files", "gauge", (), "Open files and sockets of the server processes."),
    Family("doorleaf_process_start_seconds", "gauge", (), "When the oldest of them started, in seconds since 1970."),
)
"""Every family that is shown."""


@dataclass(frozen=True, slots=True)
class Load:
    """How busy a process is; ``pools`` has numbers by data source and what they count."""

    in_flight: int = 0
    streams: int = 0
    pools: Mapping[tuple[str, str], float] = field(default_factory=dict)


class _Times:
    """How often something took how long, until it is written down: the registry counts ten times as slowly."""

    __slots__ = ("_histogram", "counts", "sum")

    def __init__(self, histogram: Any) -> None:
        self._histogram = histogram
        self.counts = [0] * (len(_BUCKETS) + 1)
        self.sum = 0.0

    def add(self, seconds: float) -> None:
        self.counts[bisect_left(_BUCKETS, seconds)] += 1
        self.sum += seconds

    def write(self) -> None:
        counts, self.counts = self.counts, [0] * (len(_BUCKETS) + 1)
        total, self.sum = self.sum, 0.0
        if any(counts):
            self._histogram._sum.inc(total)
            for bucket, count in zip(self._histogram._buckets, counts, strict=True):
                if count:
                    bucket.inc(count)


class Metrics:
    """An observer of answers and of operations; ``exposition`` is Prometheus's text."""

    content_type = b"text/plain; version=0.0.4; charset=utf-8"

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._metrics: dict[str, Any] = {family.name: self._made(family) for family in FAMILIES}
        self._load: Callable[[], Load] = Load
        # Names and statuses are few.
        self._counts: dict[tuple[str, int], int] = {}
        self._times: dict[str, _Times] = {}
        self._operations: dict[tuple[str, str], _Times] = {}
        self._functions: dict[tuple[str, str], _Times] = {}
        self._triggers: dict[tuple[str, str], _Times] = {}

    def _made(self, family: Family) -> Counter | Gauge | Histogram:
        labels, meaning = family.labels, family.meaning.replace("`", "")
        match family.kind:
            case "counter":
                return Counter(family.name.removesuffix("_total"), meaning, labels, registry=self._registry)
            case "histogram":
                return Histogram(family.name, meaning, labels, registry=self._registry, buckets=_BUCKETS)
        together: Any = {"doorleaf_build_info": "max", "doorleaf_process_start_seconds": "livemin"}
        mode = together.get(family.name, "livesum")
        return Gauge(family.name, meaning, labels, registry=self._registry, multiprocess_mode=mode)

    def built(self, *, version: str, sqlite: str, engine: str) -> None:
        """Say what is running."""
        self._metrics["doorleaf_build_info"].labels(version, platform.python_version(), sqlite, engine).set(1)

    def watch(self, load: Callable[[], Load]) -> None:
        """Ask ``load`` from now on how busy this process is."""
        self._load = load

    # --- what happens ---

    def __call__(self, event: Answered) -> None:
        action, status = event.action, event.status
        counts, key = self._counts, (action, status)
        counts[key] = counts.get(key, 0) + 1
        times = self._times.get(action)
        if times is None:
            times = self._times[action] = _Times(self._metrics["doorleaf_request_seconds"].labels(action))
        seconds = event.seconds
        times.counts[bisect_left(_BUCKETS, seconds)] += 1  # as add does, which would be one call more for each request
        times.sum += seconds
        if status in _REFUSALS:
            self._metrics["doorleaf_refusals_total"].labels(str(status), event.code).inc()

    def operated(self, name: str, outcome: str, seconds: float) -> None:
        """Count an operation that the database has carried out or not."""
        times = self._operations.get((name, outcome))
        if times is None:
            times = _Times(self._metrics["doorleaf_operation_seconds"].labels(name, outcome))
            self._operations[name, outcome] = times
        times.counts[bisect_left(_BUCKETS, seconds)] += 1  # see above
        times.sum += seconds

    def write(self) -> None:
        """Write down what was counted since."""
        counts, self._counts = self._counts, {}
        for (action, status), count in counts.items():
            self._metrics["doorleaf_requests_total"].labels(action, str(status)).inc(count)
        for kind in (self._times, self._operations, self._functions, self._triggers):
            for times in kind.values():
                times.write()

    def called(self, name: str, outcome: str, seconds: float) -> None:
        """Count a call of a function, whose names are those of the app."""
        times = self._functions.get((name, outcome))
        if times is None:
            times = _Times(self._metrics["doorleaf_function_seconds"].labels(name, outcome))
            self._functions[name, outcome] = times
        times.add(seconds)

    def triggered(self, name: str, outcome: str, seconds: float) -> None:
        """Count a call of the function of a trigger, whose names are those of the app."""
        times = self._triggers.get((name, outcome))
        if times is None:
            times = _Times(self._metrics["doorleaf_trigger_seconds"].labels(name, outcome))
            self._triggers[name, outcome] = times
        times.add(seconds)

    # --- how it is ---

    def refresh(self) -> None:
        """Write down how things are in this process."""
        self.write()
        load, metrics = self._load(), self._metrics
        metrics["doorleaf_requests_in_flight"].set(load.in_flight)
        metrics["doorleaf_streams_open"].set(load.streams)
        for labels, number in load.pools.items():
            metrics["doorleaf_pool"].labels(*labels).set(number)
        metrics["doorleaf_process_resident_bytes"].set(resident())
        metrics["doorleaf_process_cpu_seconds"].set(time.process_time())
        metrics["doorleaf_process_open_files"].set(_open_files())
        metrics["doorleaf_process_start_seconds"].set(_STARTED)

    def exposition(self) -> bytes:
        """All metrics as text; of every worker when :data:`FOLDER` names their common folder."""
        from prometheus_client import generate_latest  # comes with servers and clients of HTTP, a megabyte of them

        return generate_latest(self._together())

    def numbers(self) -> Iterator[tuple[str, Mapping[str, str], float]]:
        """All metrics one by one: the name, the labels, and how much; of every worker, as :meth:`exposition`."""
        for family in self._together().collect():
            for sample in family.samples:
                yield sample.name, sample.labels, sample.value

    def _together(self) -> CollectorRegistry:
        self.refresh()
        if FOLDER not in os.environ:
            return self._registry
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return registry


_STARTED = time.time()


def resident() -> float:
    """The bytes of memory that this process has."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * resource.getpagesize()
    except OSError:  # no Linux: the most it has been
        return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def _open_files() -> float:
    for folder in ("/proc/self/fd", "/dev/fd"):
        try:
            return len(os.listdir(folder))
        except OSError:
            continue
    return 0


def forget(pid: int) -> None:
    """Count a worker that has ended no longer among those that are."""
    if FOLDER in os.environ:
        mark_process_dead(pid)  # type: ignore[no-untyped-call]
