# SPDX-License-Identifier: Apache-2.0
"""The guard sets the level when it changes, looks at the counters once a second, and ends the agent when told to."""

from __future__ import annotations

import pytest

from falco_py.config import Drops
from falco_py.engine.drops import DropMonitor, Watched
from falco_py.engine.guard import LOOK_S, Guard, used_cpu_s
from falco_py.engine.shedding import HOLD_S, Governor
from falco_py.log import Level, log
from tests.engine.test_drops import CLASSES, Counted

CAPACITY = 1000


class Kernel:
    def __init__(self) -> None:
        self.waiting = 0
        self.levels: list[int] = []
        self.in_force = 9
        self.looks = 0
        self.lost = 0

    def backlog(self) -> int:
        return self.waiting

    def shed(self, level: int) -> None:
        self.levels.append(level)
        self.in_force = level

    def level(self) -> int:
        return self.in_force

    def counters(self) -> Counted:
        self.looks += 1
        made = Counted()
        made.shed = dict.fromkeys(CLASSES, self.lost)
        return made


class Made:
    def __init__(self, *actions: str, governed: bool = True) -> None:
        self.kernel = Kernel()
        self.now_s = 7.0
        self.stopped = 0
        self.fields: list[dict[str, object]] = []
        monitor = DropMonitor(
            Drops(actions=actions), [Watched("r", 7, frozenset({"open"}))], lambda a: self.fields.append(dict(a.fields))
        )
        self.guard = Guard(
            self.kernel,
            monitor,
            Governor(CAPACITY) if governed else None,
            stop=self.stop,
            now_s=lambda: self.now_s,
            cpu_s=lambda: 0.0,
        )

    def stop(self) -> None:
        self.stopped += 1

    def turn(self, seconds: float = LOOK_S, waiting: int = 0) -> None:
        self.now_s += seconds
        self.kernel.waiting = waiting
        self.guard()


@pytest.fixture(autouse=True)
def lines(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Level, str]]:
    found: list[tuple[Level, str]] = []
    monkeypatch.setattr(type(log), "write", lambda _self, level, message: found.append((level, message)))
    return found


def test_the_level_is_written_and_told_only_when_it_changes(lines: list[tuple[Level, str]]) -> None:
    made = Made()
    for _ in range(5):
        made.turn(waiting=300)
    assert made.kernel.levels == [0, 1]
    made.turn()
    made.turn(HOLD_S + 0.1)
    made.turn()
    assert made.kernel.levels == [0, 1, 0]
    assert lines == [
        (
            Level.WARNING,
            "events come faster than they are tested: rules less severe than Notice are not asked",
        ),
        (Level.NOTICE, "calm again: all rules are asked"),
    ]


def test_a_level_that_the_kernel_raised_is_told_and_taken_back(lines: list[tuple[Level, str]]) -> None:
    made = Made()
    made.kernel.in_force = 2
    made.turn()
    assert made.kernel.levels == [0]
    assert [line for _, line in lines] == [
        "events come faster than they are tested: rules less severe than Warning are not asked"
    ]
    made.turn()
    made.turn(HOLD_S + 0.1)
    assert made.kernel.levels == [0, 1]


def test_the_counters_are_read_once_a_second() -> None:
    made = Made()
    for _ in range(300):
        made.turn(0.01)
    assert made.kernel.looks == 3


def test_the_alert_tells_the_highest_level_of_its_second() -> None:
    made = Made("alert")
    made.turn()
    made.turn(waiting=700)
    made.kernel.lost = 3
    made.turn(1.0)
    assert made.fields[0]["shed_below"] == "Critical"
    assert made.fields[0]["blind_rules"] == "r"


def test_exit_ends_the_agent() -> None:
    made = Made("exit")
    made.turn()
    assert made.stopped == 0
    made.kernel.lost = 3
    made.turn(1.0)
    assert made.stopped == 1


def test_without_a_governor_nothing_is_shed() -> None:
    made = Made(governed=False)
    made.turn(waiting=CAPACITY)
    assert made.kernel.levels == []


def test_the_cpu_of_this_process_grows() -> None:
    before = used_cpu_s()
    while used_cpu_s() == before:
        sum(range(1000))


def test_while_little_waits_it_looks_now_and_then_and_else_at_each_turn() -> None:
    made = Made()
    made.turn()
    looks: list[float] = []
    made.guard._cpu_s = lambda: looks.append(made.now_s) or 0.0  # type: ignore[func-returns-value]
    for _ in range(25):
        made.turn(LOOK_S / 10, waiting=CAPACITY // 10)
    assert len(looks) == 2
    for _ in range(5):
        made.turn(LOOK_S / 10, waiting=CAPACITY // 2)
    assert len(looks) == 7
