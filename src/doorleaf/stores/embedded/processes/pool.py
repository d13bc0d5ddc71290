"""The workers of a process: who carries out what, for how long, and what becomes of those that do not end.

An operation begins in the *quick* lane. What is not done after :data:`SLICE` goes on in the *long* lane, with less of
the processor, if there is room; else it is stopped, and begins anew when its turn comes. So quick operations wait for
quick ones alone. In the long lane each makes room in turn, where somebody waits who has used less: what has committed
nothing begins anew, and what writes in several transactions rests between two of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

from doorleaf.apart.collecting import undisturbed
from doorleaf.apart.turns import Turn, Turns
from doorleaf.errors import DoorleafError, StoreTimeout, StoreUnavailable, WriteOutcomeUnknown
from doorleaf.mql.context import timed_out
from doorleaf.stores.embedded.processes import wire
from doorleaf.stores.embedded.processes.answers import HELD_BYTES, WORKER_ENDED, Answer, WorkerLost
from doorleaf.stores.embedded.processes.connected import Worker, within
from doorleaf.stores.embedded.processes.counts import Counts
from doorleaf.stores.embedded.processes.endings import told
from doorleaf.stores.embedded.processes.flows import STANDING_SECONDS, Flow
from doorleaf.stores.embedded.processes.forking import FORKS
from doorleaf.stores.embedded.processes.wire import Place, Request

QUICK = max(3, min(4, os.cpu_count() or 2))
LONG = 3
"""Operations that run at once in each lane."""

LONG_EACH = 2
"""Of those in the long lane, how many of one caller."""

LONG_WRITES = 2
LONG_WRITES_EACH = 1
"""Of those in the long lane, how many may write."""

RESTING = 4
"""How many may rest at once, each with the memory of its process: more go on, and others wait for them."""

LONG_SLICE = 0.5
"""Seconds after which one in the long lane begins anew where somebody waits who has used less of late; twice as many
each time, so that what is long comes to its end."""

BEHIND = 0.05
"""Seconds that each place of its caller's puts a write behind others that wait for the turn to write."""

HASTE = 0.5
"""What may go in several transactions does so in the quick lane too with less time than this: where that is over, what
went before stays there as well."""

LONG_LOOK = 0.25
"""How often that is looked at."""

FLOWS = 8
FLOWS_EACH = 4
"""Answers that are given as they are taken, and how many of them one caller may have."""

LOOK_SECONDS = 1.0
"""How often one that waits for a place looks whether another is to give way."""

SLICE = 0.1
"""Seconds that an operation may run in the quick lane."""

CROWDED_SLICE = 0.05
"""The same while others wait for it."""

PATIENT_SLICE = 0.5
"""The same while nobody waits but its own caller, who gains nothing when it begins anew."""

GRACE = 0.15
"""Seconds past its deadline in which a worker may say so itself."""

END_LOOKS = 1000
"""How often, a millisecond apart, a store that closes looks whether its idle workers are gone."""

IDLE = 3
"""Workers that wait for something to do."""

SPARE = 2
"""Workers that are made before they are needed, once one is."""

SPARE_SECONDS = 5.0
"""How long one may take to be ready."""

PICKLED_NODES = 2_000
"""Values in a request that are pickled on the event loop."""

_log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class _Running:
    """An operation on its way through the lanes: what it is, the places that it has, and who carries it out."""

    request: Request
    packed: list[bytes]
    answer: Answer
    caller: str
    turns: list[Turn] = field(default_factory=list)
    worker: Worker | None = None
    done: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    def release(self) -> None:
        """Give the places back."""
        for turn in self.turns:
            turn.release()
        self.turns = []


class Pool:
    """The workers of one event loop, for all stores that are open in it."""

    def __init__(self) -> None:
        self._quick = Turns(QUICK)
        self._long = Turns(LONG, LONG_EACH)
        self._writes = Turns(LONG_WRITES, LONG_WRITES_EACH)
        self._room = Turns(HELD_BYTES)
        self._flows = Turns(FLOWS, FLOWS_EACH)
        self._flowing: dict[Flow, tuple[Place, str]] = {}
        self._idle: list[Worker] = []
        self._users = 0
        self._spare: asyncio.Task[None] | None = None
        self._resting = 0
        self._counts = Counts()

    @classmethod
    def attach(cls) -> Pool:
        """The pool of the running loop, for one more store."""
        loop = asyncio.get_running_loop()
        pool = _POOLS.get(loop)
        if pool is None:
            pool = _POOLS[loop] = cls()
        pool._users += 1
        return pool

    async def detach(self, place: Place) -> None:
        """A store closes: its workers end, and all with the last store."""
        self._users -= 1
        for flow in [flow for flow, (used, _) in self._flowing.items() if used == place]:
            flow.end(StoreUnavailable("the database is closed"))
        if not self._users and self._spare is not None:
            self._spare.cancel()
            await asyncio.wait({self._spare}, timeout=SPARE_SECONDS)
        ending = [worker for worker in self._idle if worker.place == place or not self._users]
        for worker in ending:
            self._idle.remove(worker)
            FORKS.kill(worker.number)
        # Whoever closes the file last folds its log in and removes it, and that should be the store.
        for _ in range(END_LOOKS):
            if all(worker.gone for worker in ending):
                break
            await asyncio.sleep(0.001)
        for worker in ending:
            worker.end()
        await asyncio.sleep(0)

    def counts(self) -> Counts:
        """The counts as they are now."""
        counts = self._counts
        counts.running = self._quick.room - self._quick.free + self._long.room - self._long.free
        counts.waiting = self._quick.waiting + self._long.waiting + self._room.waiting
        counts.held_bytes = self._room.room - self._room.free
        return counts

    def warm(self, place: Place) -> None:
        """See to it that workers that know ``place`` wait for the next operations."""
        if len(self._idle) < SPARE and (self._spare is None or self._spare.done()):
            self._spare = asyncio.get_running_loop().create_task(self._make_spare(place))

    async def _make_spare(self, place: Place) -> None:
        until = time.monotonic() + SPARE_SECONDS
        packed = wire.packed(Request(place, wire.nothing, (), until))
        with contextlib.suppress(DoorleafError, WorkerLost):
            while len(self._idle) < SPARE:
                worker = await self._forked()
                try:
                    done = worker.start(place, packed, Answer(self._room, "", until, None))
                    if await within(done, SPARE_SECONDS):
                        done.result()
                finally:
                    self._back(worker)

    async def carry_out(self, request: Request, caller: str) -> Any:
        """Have a worker run ``request.work``, and return its result; raises what it raises, and ``StoreTimeout`` soon
        after the deadline whatever it does."""
        request.behind = self._behind(caller)
        packed = await _packed(request)
        answer = Answer(self._room, caller, request.deadline, request.max_bytes)
        try:
            try:
                await self._attempt(request, packed, answer, caller)
            except WorkerLost as lost:
                if lost.prepared or lost.reason is not None:
                    raise
                answer.restart()
                await self._attempt(request, await _packed(request), answer, caller, fresh=True)
        except WorkerLost as lost:
            if lost.prepared and not (request.sliced and lost.reason is not None):
                raise WriteOutcomeUnknown(f"{WORKER_ENDED}; whether the write was carried out is not known") from None
            raise lost.reason or StoreUnavailable(f"{WORKER_ENDED}; nothing was changed") from None
        finally:
            if not answer.complete:
                answer.restart()
        return await asyncio.to_thread(undisturbed, answer.value) if answer.lengthy else answer.value()

    def _behind(self, caller: str) -> float:
        return BEHIND * (self._quick.held(caller) + self._long.held(caller))

    async def flow(self, request: Request, caller: str) -> Flow:
        """The batches that ``request.work`` yields, as they are taken; raises what it raises before its first batch."""
        packed = await _packed(request)
        try:
            return await self._begun(request, packed, caller, fresh=False)
        except WorkerLost as lost:
            if lost.reason is not None:
                raise lost.reason from None
            try:
                return await self._begun(request, packed, caller, fresh=True)
            except WorkerLost as again:
                raise again.reason or StoreUnavailable(WORKER_ENDED) from None

    async def _begun(self, request: Request, packed: list[bytes], caller: str, *, fresh: bool) -> Flow:
        turn = await self._flow_turn(caller, request.deadline)
        try:
            worker = await (self._forked() if fresh else self._ready(request.place))
        except BaseException:
            turn.release()
            raise

        def over(flow: Flow) -> None:
            del self._flowing[flow]
            turn.release()
            self._back(worker)

        flow = Flow(request.pace, over)
        self._flowing[flow] = (request.place, caller)
        try:
            flow.follow(worker.start(request.place, packed, flow))
            if not await flow.begun(SLICE) or worker.busy:
                worker.slow()
            await flow.ready()
        except BaseException as error:
            if isinstance(error, WorkerLost):
                await told(worker.number, error, deadline=request.deadline)
            await flow.close()
            raise
        return flow

    async def _flow_turn(self, caller: str, until: float) -> Turn:
        """A place for an answer that is given as it is taken; one that nobody takes gives way."""
        while True:
            turn = self._flows.try_take(caller)
            if turn is not None:
                return turn
            own = [flow for flow, (_, whose) in self._flowing.items() if whose == caller]
            those = own if len(own) >= FLOWS_EACH else self._flowing
            standing = max(those, key=lambda flow: flow.standing, default=None)
            if standing is not None and standing.standing >= STANDING_SECONDS:
                standing.give_way()
            with contextlib.suppress(StoreTimeout):
                return await self._taken(self._flows, caller, min(until, time.monotonic() + LOOK_SECONDS))
            if time.monotonic() >= until:
                raise timed_out()

    async def _attempt(
        self, request: Request, packed: list[bytes], answer: Answer, caller: str, *, fresh: bool = False
    ) -> None:
        running = _Running(request, packed, answer, caller)
        try:
            await self._begin(running, fresh=fresh, long=request.sliced)
            if not request.sliced and not await self._in_its_slice(running.done, request, caller):
                await self._move(running)
            await self._in_turns(running)
            if not running.done.done():
                # What went before in slices stays, as on a server whose time is over.
                prepared = running.worker is not None and running.worker.prepared and not request.sliced
                raise WorkerLost(prepared=True) if prepared else timed_out()
            running.done.result()
        except BaseException as error:
            worker = running.worker
            if worker is not None and isinstance(error, WorkerLost):
                self._counts.lost += 1
                if worker.gone or not error.prepared:
                    await told(worker.number, error, deadline=request.deadline, sliced=request.sliced)
            raise
        finally:
            running.release()
            if running.worker is not None:
                self._back(running.worker)
            del running  # an error in it holds this call, and so all that was sent

    async def _begin(self, running: _Running, *, fresh: bool = False, long: bool = False) -> None:
        """Start the operation when its turn in a lane comes."""
        request = running.request
        if long:
            await self._places(running)
        else:
            running.turns.append(await self._taken(self._quick, running.caller, request.deadline))
            if request.sliceable and not request.sliced and request.deadline - time.monotonic() < HASTE:
                await self._slice(running)
        running.worker = worker = await (self._forked() if fresh else self._ready(request.place))
        if long:
            _slow(worker, request)
        running.done = worker.start(request.place, running.packed, running.answer)

    async def _places(self, running: _Running, *, first: bool = False) -> None:
        """Wait for places in the long lane."""
        for lane in (self._writes, self._long) if running.request.writes else (self._long,):
            running.turns.append(await self._taken(lane, running.caller, running.request.deadline, first=first))

    async def _move(self, running: _Running) -> None:
        """Give up a place in the quick lane for one in the long lane: go on there if there is room, else begin anew."""
        request, worker = running.request, running.worker
        assert worker is not None  # noqa: S101  # begun before
        longer = None if request.sliceable else self._room_for_long(request, running.caller)
        if longer is not None:
            running.release()
            running.turns = longer
            _slow(worker, request)
        elif await self._stopped(running):
            await self._anew(running)

    def _room_for_long(self, request: Request, caller: str) -> list[Turn] | None:
        writes = self._writes.try_take(caller) if request.writes else None
        if request.writes and writes is None:
            return None
        turn = self._long.try_take(caller)
        if turn is None and writes is not None:
            writes.release()
        return None if turn is None else [turn, *([writes] if writes is not None else ())]

    async def _anew(self, running: _Running) -> None:
        """Stop, and begin anew in the long lane when the turn comes."""
        request, worker = running.request, running.worker
        assert worker is not None  # noqa: S101  # begun before
        worker.end()
        running.release()
        self._counts.restarted += 1
        running.answer.restart()
        if request.sliceable and not request.sliced:
            await self._slice(running)
        await self._begin(running, long=True)

    async def _slice(self, running: _Running) -> None:
        """Have a write go in several transactions."""
        running.request.sliced, running.request.behind = True, self._behind(running.caller)
        running.packed = await _packed(running.request)

    async def _in_turns(self, running: _Running) -> None:
        """Wait for the end, or the deadline, and make room in turn for others who have used less."""
        request, slice_seconds, began = running.request, LONG_SLICE, time.monotonic()
        while not await within(running.done, min(LONG_LOOK, request.deadline + GRACE - time.monotonic())):
            now = time.monotonic()
            if now >= request.deadline + GRACE:
                return
            took = now - began
            lane = self._writes if request.writes else self._long
            if took < slice_seconds or not lane.wanted_by_poorer(running.caller, took):
                continue
            if request.sliced and await self._rested(running):
                began = time.monotonic()
                continue
            if request.deadline - now < 2 * took:
                continue  # begun anew it would not come as far again, and waste what others have to wait for
            if await self._stopped(running):
                await self._anew(running)
                began, slice_seconds = time.monotonic(), 2 * slice_seconds

    async def _stopped(self, running: _Running) -> bool:
        """Whether it may begin anew: what reads, and a write that has committed nothing, which is ended."""
        request, worker = running.request, running.worker
        assert worker is not None  # noqa: S101  # begun before
        return not request.writes or (not worker.begun and await worker.stopped(request.deadline + GRACE))

    async def _rested(self, running: _Running) -> bool:
        """Have a write rest between two transactions until its turn comes again; whether it did."""
        request, worker = running.request, running.worker
        assert worker is not None  # noqa: S101  # begun before
        if self._resting >= RESTING:
            return worker.begun
        # What would have to do much again is waited for, and has its place until it rests.
        patience = request.deadline + GRACE if worker.begun else time.monotonic() + LONG_LOOK
        self._resting += 1
        try:
            if not await worker.rested(patience):
                return False
            running.release()
            await self._again(running)
        finally:
            self._resting -= 1
        worker.go_on()
        return True

    async def _again(self, running: _Running) -> None:
        """Take the places of a write that rests when its turn comes, before others of its caller; or it ends."""
        taking = asyncio.get_running_loop().create_task(self._places(running, first=True))
        try:
            await asyncio.wait({taking, running.done}, return_when="FIRST_COMPLETED")
        finally:
            taking.cancel()
            await asyncio.gather(taking, return_exceptions=True)

    async def _in_its_slice(self, done: asyncio.Future[None], request: Request, caller: str) -> bool:
        """Whether ``done`` is before the place in the quick lane, or the turn to write, has to be given up."""
        began = time.monotonic()
        while not await within(done, CROWDED_SLICE if self._quick.waiting else SLICE):
            patience = 0 if request.writes or self._quick.wanted_beside(caller) else PATIENT_SLICE
            if time.monotonic() - began >= patience:
                return False
        return True

    async def _taken(self, lane: Turns, caller: str, until: float, *, first: bool = False) -> Turn:
        began = time.monotonic()
        try:
            return await lane.take(caller, until, first=first)
        finally:
            self._counts.waited += time.monotonic() - began

    async def _ready(self, place: Place) -> Worker:
        """A worker with nothing to do, one that knows the place if there is one."""
        self._idle = [worker for worker in self._idle if not worker.gone]
        chosen = next((worker for worker in self._idle if worker.place == place), None)
        if chosen is None:
            chosen = next(iter(self._idle), None)
        if chosen is None:
            self.warm(place)
            return await self._forked()
        self._idle.remove(chosen)
        self.warm(place)
        return chosen

    async def _forked(self) -> Worker:
        number, connection = FORKS.fork()
        worker = Worker(number)
        try:
            connection.setblocking(False)
            await asyncio.get_running_loop().create_unix_connection(lambda: worker, sock=connection)
        except BaseException:
            connection.close()
            FORKS.kill(number)
            raise
        self._counts.started += 1
        return worker

    def _back(self, worker: Worker) -> None:
        """A worker whose operation is over, or who has to be stopped."""
        if worker.busy:
            self._counts.killed += 1
            worker.end()
        else:
            self._keep(worker)

    def _keep(self, worker: Worker) -> None:
        if worker.gone or worker.leaves or len(self._idle) >= IDLE or not self._users:
            worker.end()
        else:
            self._idle.append(worker)


_POOLS: WeakKeyDictionary[asyncio.AbstractEventLoop, Pool] = WeakKeyDictionary()


def _slow(worker: Worker, request: Request) -> None:
    """Make a worker leave the processor to others, unless it may hold a lock that they wait for."""
    if not request.writes:
        worker.slow()


async def _packed(request: Request) -> list[bytes]:
    return wire.packed(request) if _is_small(request) else await asyncio.to_thread(undisturbed, wire.packed, request)


def _is_small(request: Request) -> bool:
    """Whether there is little enough in a request to pickle it at once."""
    if request.sliced:
        return False
    left = PICKLED_NODES
    level: list[Any] = [*request.arguments]
    while level:
        deeper: list[Any] = []
        for node in level:
            if node.__class__ is dict:
                deeper += node.values()
            elif node.__class__ is list:
                deeper += node
            elif hasattr(node, "__dict__"):
                deeper += vars(node).values()
            if len(deeper) > left:
                return False
        left -= len(deeper)
        level = deeper
    return True
