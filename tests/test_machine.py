"""The measure of a server's own time: work and sleep count whatever the machine does, waiting for others does not."""

from __future__ import annotations

from machine import Machine, Moment

LOOP = "/proc/1/task/1/schedstat"
WORKER = "/proc/2/task/2/schedstat"


def own(wall: float, busy: float, loop: tuple[float, float], worker: tuple[float, float], client: float = 0.0) -> float:
    machine = Machine.__new__(Machine)
    machine._loop = LOOP
    began = Moment(10.0, 100.0, 5.0, {LOOP: (1.0, 1.0), WORKER: (2.0, 3.0)})
    threads = {LOOP: (1.0 + loop[0], 1.0 + loop[1]), WORKER: (2.0 + worker[0], 3.0 + worker[1])}
    return round(machine.own(began, Moment(10.0 + wall, 100.0 + busy, 5.0 + client, threads)), 3)


def test_without_other_work_it_is_what_the_clock_says() -> None:
    assert own(2.0, 1.0, (1.0, 0.0), (0.0, 0.0)) == 2.0
    assert own(2.0, 2.0, (0.5, 0.0), (1.5, 0.5)) == 2.0
    assert own(2.0, 0.0, (0.0, 0.0), (0.0, 0.0)) == 2.0, "a lock"


def test_what_the_loop_works_counts_whatever_else_there_is() -> None:
    assert own(10.0, 20.0, (1.0, 9.0), (0.0, 0.0)) == 1.45
    assert own(10.0, 20.0, (1.0, 9.0), (1.0, 9.0)) == 1.9


def test_waiting_for_a_worker_counts_as_far_as_it_could_work() -> None:
    assert own(10.0, 20.0, (0.0, 0.0), (1.0, 9.0)) == 1.45
    assert own(10.0, 10.0, (0.0, 0.0), (10.0, 0.0)) == 10.0


def test_a_lock_counts_in_full_beside_other_work() -> None:
    assert own(10.0, 20.0, (0.0, 0.0), (0.0, 0.0)) == 10.0


def test_a_client_that_could_not_ask_is_not_the_servers_fault() -> None:
    assert own(10.0, 20.0, (0.0, 0.0), (0.0, 0.0), client=9.0) == 1.0
