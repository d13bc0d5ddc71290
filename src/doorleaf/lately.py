"""What happens on a server now, for those who run it: how many requests, how long they take, what fails, who asks.

Numbers are those of all workers together, as their metrics have them. What is known of single requests (the slow ones,
the refused ones, the callers) is that of the process that answers, for as long as a minute or two; nothing is stored.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from doorleaf.documents import Document
from doorleaf.errors import DoorleafError
from doorleaf.metrics import Metrics
from doorleaf.observability import Answered, named

SLOW_SECONDS = 0.1
"""From here on an answer is a slow one."""
REFUSED = frozenset({401, 403, 413, 429, 503})
SAMPLE_SECONDS = 2.0
LONGEST_SECONDS = 15.0
"""A sample of more than this would say little of any moment in it."""
KEPT = 150
"""Samples that are kept: five minutes, while somebody looks."""
_LISTED = 50
_SLICE_SECONDS = 10
_SLICES = 6
_MOST_CALLERS = 1000
_HEALTH_SECONDS = 5.0


class Lately:
    """An observer of answers, which remembers the last slow ones, the last refused ones, and who asked in the last
    minute."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._slow: deque[Document] = deque(maxlen=_LISTED)
        self._refused: deque[Document] = deque(maxlen=_LISTED)
        self._callers: dict[str, list[float]] = {}
        self._before: deque[dict[str, list[float]]] = deque(maxlen=_SLICES - 1)
        self._until = 0.0

    def __call__(self, event: Answered) -> None:
        now = self._clock()
        if now >= self._until:
            self._turn(now)
        found = self._callers.get(event.caller)
        if found is None:
            # Anybody can be one more caller, so that those beyond are counted together with nobody.
            name = event.caller if len(self._callers) < _MOST_CALLERS else ""
            found = self._callers.setdefault(name, [0, 0, 0, 0.0])
        found[0] += 1
        if event.lasting:
            return
        found[3] += event.seconds
        if event.status in REFUSED:
            found[1] += 1
            self._refused.append(_line(event, now))
        elif event.status >= 500:
            found[2] += 1
        if event.seconds >= SLOW_SECONDS:
            self._slow.append(_line(event, now))

    def _turn(self, now: float) -> None:
        passed = 1 if self._until == 0 else int((now - self._until) // _SLICE_SECONDS) + 1
        for _ in range(min(passed, _SLICES)):
            self._before.append(self._callers)
            self._callers = {}
        self._until = now - now % _SLICE_SECONDS + _SLICE_SECONDS

    def told(self, name_of: Callable[[str], str]) -> Document:
        """The last slow and refused answers, newest first, and the callers of the last minute, the busiest first.

        ``name_of`` tells the name of a caller by the id, "" where there is none.
        """
        if self._clock() >= self._until:
            self._turn(self._clock())
        total: dict[str, list[float]] = {}
        for part in (*self._before, self._callers):
            for caller, numbers in part.items():
                known = total.setdefault(caller, [0, 0, 0, 0.0])
                total[caller] = [one + other for one, other in zip(known, numbers, strict=True)]
        busiest = sorted(total.items(), key=lambda item: -item[1][0])[:10]
        callers = [
            {
                "caller": caller,
                "name": name_of(caller),
                "requests": int(requests),
                "refused": int(refused),
                "failed": int(failed),
                "seconds": round(seconds, 4),
            }
            for caller, (requests, refused, failed, seconds) in busiest
        ]
        slow, refusals = ([*reversed(listed)][:20] for listed in (self._slow, self._refused))
        return {
            "process": os.getpid(),
            "callers": callers,
            "slow": [{**line, "name": name_of(line["caller"])} for line in slow],
            "refused": [{**line, "name": name_of(line["caller"])} for line in refusals],
        }


def _line(event: Answered, now: float) -> Document:
    return {
        "time": _moment(now),
        "action": event.action,
        "namespace": named(event),
        "status": event.status,
        "code": event.code,
        "seconds": round(event.seconds, 4),
        "caller": event.caller,
        "address": event.address,
    }


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None)


@dataclass(slots=True)
class _Totals:
    """What has been counted up to a moment, and how things are at it."""

    time: float
    answers: Counter[tuple[str, int]] = field(default_factory=Counter)
    buckets: Counter[float] = field(default_factory=Counter)
    seconds: Counter[str] = field(default_factory=Counter)
    refusals: Counter[tuple[str, str]] = field(default_factory=Counter)
    operations: Counter[tuple[str, str]] = field(default_factory=Counter)
    operation_seconds: Counter[str] = field(default_factory=Counter)
    levels: dict[str, float] = field(default_factory=dict)
    pools: list[Document] = field(default_factory=list)

    def take(self, name: str, labels: Mapping[str, str], value: float) -> None:
        """Take one number of the metrics."""
        match name:
            case "doorleaf_requests_total":
                self.answers[labels["action"], int(labels["status"])] += int(value)
            case "doorleaf_request_seconds_bucket":
                self.buckets[float(labels["le"])] += int(value)
            case "doorleaf_request_seconds_sum":
                self.seconds[labels["action"]] += value  # type: ignore[assignment]  # a counter of any numbers
            case "doorleaf_refusals_total":
                self.refusals[labels["status"], labels["code"]] += int(value)
            case "doorleaf_operation_seconds_count":
                self.operations[labels["operation"], labels["outcome"]] += int(value)
            case "doorleaf_operation_seconds_sum":
                self.operation_seconds[labels["operation"]] += value  # type: ignore[assignment]
            case "doorleaf_pool":
                self.pools.append({"data_source": labels["data_source"], "what": labels["what"], "number": value})
            case _:
                self.levels[name] = value


class Pulse:
    """Samples of a server, taken about every two seconds while somebody asks for them.

    ``ready`` raises when requests would fail and answers what there is to say though they would not; ``workers`` says
    how many processes there are.
    """

    def __init__(
        self,
        metrics: Metrics,
        lately: Lately,
        *,
        ready: Callable[[], Awaitable[Mapping[str, str]]],
        name_of: Callable[[str], str],
        workers: int,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._metrics = metrics
        self._lately = lately
        self._ready = ready
        self._name_of = name_of
        self._workers = workers
        self._clock = clock
        self._samples: deque[Document] = deque(maxlen=KEPT)
        self._totals: _Totals | None = None
        self._number = 0
        self._health: Document = {"status": "unknown", "note": ""}
        self._checked = 0.0
        self._checking: asyncio.Task[None] | None = None

    def since(self, number: int) -> list[Document]:
        """The samples after the one with this number; takes another one when it is time."""
        if self._checking is None and self._clock() - self._checked >= _HEALTH_SECONDS:
            self._checking = asyncio.create_task(self._check(), name="health")
        totals = self._totals
        if totals is None or self._clock() - totals.time >= SAMPLE_SECONDS:
            self._take()
        return [sample for sample in self._samples if sample["number"] > number]

    def now(self) -> Document:
        """How this process and the database are, which is not kept."""
        return {"health": self._health, "workers": self._workers, **self._lately.told(self._name_of)}

    async def _check(self) -> None:
        try:
            told = await self._ready()
            self._health = {"status": "ready", "note": told.get("note", ""), "mongodb": told.get("mongodb", "")}
        except DoorleafError as error:
            self._health = {"status": "unavailable", "note": error.message, "mongodb": ""}
        finally:
            self._checked = self._clock()
            self._checking = None

    def _take(self) -> None:
        totals = _Totals(self._clock())
        for name, labels, value in self._metrics.numbers():
            totals.take(name, labels, value)
        before, self._totals = self._totals, totals
        if before is not None and totals.time - before.time > LONGEST_SECONDS:
            before = None  # nobody looked meanwhile
            self._samples.clear()
        if before is not None:
            self._number += 1
            self._samples.append({"number": self._number, **_sample(before, totals)})


def _sample(before: _Totals, totals: _Totals) -> Document:
    """What happened between two moments. A worker that ended and forgot nothing counts on: its files stay."""
    passed = totals.time - before.time
    answers = totals.answers - before.answers
    statuses: Counter[int] = Counter()
    actions: Counter[str] = Counter()
    for (action, status), count in answers.items():
        statuses[status] += count
        actions[action] += count
    requests = sum(answers.values())
    levels = totals.levels
    cpu = levels.get("doorleaf_process_cpu_seconds", 0) - before.levels.get("doorleaf_process_cpu_seconds", 0)
    buckets = totals.buckets - before.buckets
    return {
        "time": _moment(totals.time),
        "seconds": round(passed, 3),
        "requests": requests,
        "per_second": round(requests / passed, 2),
        "errors": sum(count for status, count in statuses.items() if status >= 500),
        "refused": sum(count for status, count in statuses.items() if status in REFUSED),
        "latency": {f"p{share}": _share(buckets, share / 100) for share in (50, 95, 99)},
        "actions": [
            {
                "action": action,
                "requests": count,
                "mean_seconds": round((totals.seconds[action] - before.seconds[action]) / count, 5),
            }
            for action, count in actions.most_common(10)
        ],
        "operations": _operations(before, totals),
        "refusals": [
            {"status": int(status), "code": code, "count": count}
            for (status, code), count in (totals.refusals - before.refusals).most_common(10)
        ],
        "in_flight": int(levels.get("doorleaf_requests_in_flight", 0)),
        "streams": int(levels.get("doorleaf_streams_open", 0)),
        "pools": totals.pools,
        "memory_bytes": int(levels.get("doorleaf_process_resident_bytes", 0)),
        "cpu": round(max(cpu, 0) / passed, 4),
        "open_files": int(levels.get("doorleaf_process_open_files", 0)),
        "started": _moment(levels.get("doorleaf_process_start_seconds", totals.time)),
    }


def _operations(before: _Totals, totals: _Totals) -> list[Document]:
    counts: Counter[str] = Counter()
    failed: Counter[str] = Counter()
    for (name, outcome), count in (totals.operations - before.operations).items():
        counts[name] += count
        if outcome != "ok":
            failed[name] += count
    return [
        {
            "operation": name,
            "count": count,
            "failed": failed[name],
            "mean_seconds": round((totals.operation_seconds[name] - before.operation_seconds[name]) / count, 5),
        }
        for name, count in counts.most_common(10)
    ]


def _share(buckets: Mapping[float, int], share: float) -> float | None:
    """The time within which this share of the answers came, between the bounds that were counted at; None for none.

    ``buckets`` has how many came within each bound. Beyond the last bound nobody counted.
    """
    bounds: Iterable[float] = sorted(buckets)
    total = max(buckets.values(), default=0)
    below, counted = 0.0, 0
    for bound in bounds:
        if buckets[bound] >= total * share:
            if bound == float("inf"):
                return below
            inside = buckets[bound] - counted
            return round(below + (bound - below) * ((total * share - counted) / inside if inside else 1), 6)
        below, counted = bound, buckets[bound]
    return None
