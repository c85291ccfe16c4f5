# SPDX-License-Identifier: Apache-2.0
"""A long time without events is tried before it is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

from falco_py.engine.quiet import PATIENCE_S, RULE, Quiet
from tests.outputs.items import until

if TYPE_CHECKING:
    from falco_py.engine.alert import InternalAlert


def test_a_capture_that_does_not_see_a_program_is_dead() -> None:
    told: list[InternalAlert] = []
    quiet = Quiet(1000, told.append)
    quiet.check(0, 5, 7)
    quiet.check(999, 6, 7)
    assert quiet._child is None
    quiet.check(1000, 7, 7)
    child = quiet._child
    assert child is not None
    quiet.check(1000 + PATIENCE_S - 1, 8, 7)
    assert told == []
    quiet.check(1000 + PATIENCE_S, 9, 7)
    (alert,) = told
    assert alert.rule == RULE
    assert alert.fields == {"last_event_time": "5"}
    assert alert.message.startswith(f"{RULE}. 1005 consecutive timeouts without event")
    assert quiet.dead
    until(lambda: child.poll() is not None)
    quiet.check(1006, 10, 8)
    assert not quiet.dead
    assert quiet._child is None


def test_a_quiet_machine_whose_capture_works_is_not_told_of() -> None:
    told: list[InternalAlert] = []
    quiet = Quiet(10, told.append)
    for second in range(0, 100, 10):
        quiet.check(second, 0, second)
        quiet.check(second + 9, 0, second)
    assert quiet._child is None
    quiet.check(200, 0, 90)  # tried
    assert quiet._child is not None
    quiet.check(201, 0, 93)  # seen
    quiet.check(206, 0, 93)
    assert told == []
    quiet._child.wait(10)
