# SPDX-License-Identifier: Apache-2.0
"""The level rises at once and falls slowly; time and CPU are made up here."""

from __future__ import annotations

import pytest

from falco_py.engine.shedding import CALM, FILLED, HOLD_S, MAX_HOLD_S, TOP, Governor

RING = 1_000_000
TURN_S = 0.01


class Run:
    """A governor, turned every TURN_S of a clock that costs nothing."""

    def __init__(self, cpu_limit_percent: float = 0.0) -> None:
        self.governor = Governor(RING, cpu_limit_percent)
        self.now_s = 1000.0
        self.cpu_s = 77.0
        self.levels: list[int] = []

    def turn(self, seconds: float, *, filled: float = 0.0, cpu: float = 0.0) -> int:
        """`cpu`: cores used meanwhile. The level at the end; `levels` has all of them."""
        self.levels = []
        for _ in range(max(1, round(seconds / TURN_S))):
            self.now_s += TURN_S
            self.cpu_s += cpu * TURN_S
            level = self.governor.decide(self.now_s, self.cpu_s, int(filled * RING), self.governor.level)
            self.levels.append(level)
        return self.levels[-1]

    def seconds_until(self, level: int, *, filled: float = 0.0, cpu: float = 0.0, most_s: float = 1000.0) -> float:
        start_s = self.now_s
        while self.turn(TURN_S, filled=filled, cpu=cpu) != level:
            assert self.now_s - start_s < most_s
        return self.now_s - start_s


def test_nothing_is_shed_while_the_ring_is_read_in_time() -> None:
    run = Run()
    assert run.turn(60, filled=FILLED[0] - 0.01, cpu=4.0) == 0


@pytest.mark.parametrize(("filled", "level"), [(FILLED[n], n + 1) for n in range(TOP)] + [(1.0, TOP)])
def test_one_look_at_a_full_ring_is_enough(filled: float, level: int) -> None:
    run = Run()
    assert run.turn(TURN_S, filled=filled) == level
    assert run.governor.reason == "backlog"


def test_a_level_that_the_kernel_raised_is_kept_and_lowered_here() -> None:
    run = Run()
    assert run.governor.decide(run.now_s, run.cpu_s, 0, 2) == 2
    assert run.turn(HOLD_S / 2) == 2
    assert run.seconds_until(1) < HOLD_S


def test_a_backlog_that_shrinks_keeps_its_level_and_does_not_raise_it() -> None:
    run = Run()
    run.turn(TURN_S, filled=0.5)
    assert run.turn(60, filled=CALM) == 3


def test_levels_are_given_back_one_by_one_after_seconds_of_calm() -> None:
    run = Run()
    run.turn(TURN_S, filled=0.5)
    for level in (2, 1, 0):
        assert run.seconds_until(level) == pytest.approx(HOLD_S, abs=2 * TURN_S)
    assert run.turn(60) == 0


def test_calm_begins_anew_after_each_disturbance() -> None:
    run = Run()
    run.turn(TURN_S, filled=FILLED[0])
    run.turn(HOLD_S - 0.1)
    run.turn(TURN_S, filled=CALM)
    assert run.turn(HOLD_S - 0.1) == 1
    assert run.turn(0.2) == 0


def test_a_flood_that_goes_on_is_tried_again_ever_more_rarely() -> None:
    run = Run()
    held = []
    for _ in range(6):
        run.turn(TURN_S, filled=FILLED[0])
        held.append(round(run.seconds_until(0)))
    assert held == [5, 10, 20, 40, 60, 60]


def test_a_climb_through_the_levels_is_one_disturbance() -> None:
    run = Run()
    run.turn(TURN_S, filled=FILLED[0])
    run.seconds_until(0)
    for mark in FILLED:
        run.turn(TURN_S, filled=mark)
    assert run.seconds_until(TOP - 1) == pytest.approx(2 * HOLD_S, abs=2 * TURN_S)


def test_after_a_long_calm_the_hold_is_short_again() -> None:
    run = Run()
    for _ in range(4):
        run.turn(TURN_S, filled=FILLED[0])
        run.seconds_until(0)
    run.turn(MAX_HOLD_S + 1)
    run.turn(TURN_S, filled=FILLED[0])
    assert run.seconds_until(0) == pytest.approx(HOLD_S, abs=2 * TURN_S)


def test_cpu_above_the_limit_raises_within_the_second() -> None:
    run = Run(cpu_limit_percent=50)
    assert run.seconds_until(1, cpu=1.0) == pytest.approx(0.5, abs=3 * TURN_S)
    assert run.governor.reason == "cpu"


def test_a_short_burst_below_the_limit_of_a_second_is_no_reason() -> None:
    run = Run(cpu_limit_percent=50)
    for _ in range(20):
        run.turn(0.4, cpu=1.0)
        assert run.turn(0.6) == 0


def test_cpu_at_the_limit_is_no_reason() -> None:
    run = Run(cpu_limit_percent=30)
    assert run.turn(60, cpu=0.29) == 0


def test_without_a_limit_cpu_is_no_reason() -> None:
    assert Run().turn(60, cpu=64.0) == 0


def test_cpu_that_stays_above_the_limit_goes_to_the_top() -> None:
    run = Run(cpu_limit_percent=20)
    run.turn(10, cpu=1.0)
    assert run.levels[-1] == TOP
    assert sorted(set(run.levels)) == [0, 1, 2, 3, 4]


def test_each_step_is_given_time_to_show() -> None:
    """After a step up the CPU goes down at once: no second step, and calm only below a part of the limit."""
    run = Run(cpu_limit_percent=50)
    run.seconds_until(1, cpu=1.0)
    assert run.turn(30, cpu=0.45) == 1
    assert run.turn(30, cpu=0.30) == 0


def test_what_had_gathered_before_a_step_does_not_cause_the_next() -> None:
    run = Run(cpu_limit_percent=20)
    run.seconds_until(1, cpu=1.0, filled=0.2)
    assert run.turn(0.9, cpu=1.0, filled=0.2) == 1
    assert run.turn(1.5, cpu=1.0, filled=0.2) > 1


def test_the_window_is_bounded() -> None:
    run = Run(cpu_limit_percent=200)
    for _ in range(50_000):
        run.now_s += 0.0001
        run.governor.decide(run.now_s, run.cpu_s, 0, 0)
    assert len(run.governor._samples) < 60
