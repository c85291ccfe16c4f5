# SPDX-License-Identifier: Apache-2.0
"""What the loop lets be measured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from falco_py.engine.loop import Loop
from falco_py.rules.bundle import load
from falco_py.state.processes import ProcessTable
from tests.kernel import calls

if TYPE_CHECKING:
    from falco_py.events.event import Event
    from falco_py.events.record import Header

RULE = """\
- rule: r
  desc: d
  condition: evt.type = dup and fd.num = 7
  output: o
  priority: INFO
"""


class NoSource:
    """dup by its number, and no records."""

    def __init__(self) -> None:
        self.native = {1: "dup"}
        self.compat: dict[int, str] = {}

    def batch(self) -> list[tuple[Header, bytes]]:
        return []

    def wait(self, timeout_s: float) -> None: ...

    def backlog(self) -> int:
        return 0


def loop_of() -> Loop:
    return Loop(NoSource(), load([("r.yaml", RULE)]), ProcessTable(), lambda _rule, _alert: None)


def records(count: int) -> list[tuple[Header, bytes]]:
    return [(calls.header("dup", 3, b"cat"), b"")] * count


def test_events_are_measured_at_the_distances_that_are_asked_for() -> None:
    loop = loop_of()
    measured: list[tuple[int, int]] = []

    def measure(event: Event, took_ns: int) -> int:
        measured.append((event.num, took_ns))
        return 10

    loop.measure_with(measure)
    loop.handle(records(15))
    loop.handle(records(10))
    assert [number for number, _ in measured] == [1, 11, 21]
    assert all(took > 0 for _, took in measured)
    assert loop.events == 25


def test_nothing_is_measured_unless_asked_for() -> None:
    loop = loop_of()
    loop.handle(records(3))
    assert (loop.events, loop.failures) == (3, 0)


def test_a_failure_to_measure_is_counted_and_the_next_event_goes_on() -> None:
    loop = loop_of()
    seen = 0

    def measure(_event: Event, _took_ns: int) -> int:
        nonlocal seen
        seen += 1
        raise ValueError

    loop.measure_with(measure)
    loop.handle(records(9))
    assert (loop.events, loop.failures, seen) == (9, 1, 1)


def test_an_event_that_fails_to_be_tested_is_measured_all_the_same() -> None:
    loop = loop_of()
    measured: list[int] = []

    def fails(_event: Any) -> None:
        raise ValueError

    def measure(event: Event, _took_ns: int) -> int:
        measured.append(event.num)
        return 1

    loop.bundle.matchers["dup"] = fails  # type: ignore[index]
    loop.measure_with(measure)
    loop.handle(records(2))
    assert (measured, loop.failures) == ([1, 2], 2)
