# SPDX-License-Identifier: Apache-2.0
"""One alert for each output, and outputs that come, go and hang while the agent runs."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

from falco_py.background import Background
from falco_py.config.model import Config, FileOutput, Outputs, ProgramOutput
from falco_py.outputs import build
from falco_py.outputs.hub import Hub
from falco_py.outputs.output import Output, OutputError
from tests.outputs.items import item, until

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import pytest

    from falco_py.outputs.item import Item


class Held(Output):
    """Delivers when it may."""

    name = "held"

    def __init__(self, may: bool = True, **settings: Any) -> None:
        super().__init__(**settings)
        self.may = threading.Event()
        if may:
            self.may.set()
        self.lines: list[str] = []

    def deliver(self, items: Sequence[Item]) -> None:
        self.may.wait(30)
        self.lines += [one.line for one in items]


def test_a_dead_output_holds_up_no_other() -> None:
    hub, dead, lively = Hub(), Held(may=False, capacity=10), Held()
    hub.adopt({"dead": dead, "lively": lively}, ("dead", "lively"))
    started_s = time.monotonic()
    for number in range(1000):
        hub.send(item(str(number)))
        hub.tell()
    assert time.monotonic() - started_s < 5
    until(lambda: len(lively.lines) == 1000)
    assert lively.lines == list(map(str, range(1000)))
    dead.may.set()
    hub.close()
    assert dead.delivered + dead.lost == 1000
    assert hub.lost == dead.lost > 0


def test_a_successor_goes_on_where_the_one_before_ended() -> None:
    hub, first, second = Hub(), Held(may=False), Held()
    hub.adopt({"a": first}, ("a",))
    hub.send(item("one"))
    hub.tell()
    hub.adopt({"a": second}, ("a",))
    hub.send(item("two"))
    hub.tell()
    assert second.lines == []  # not before the first has ended
    first.may.set()
    until(lambda: second.lines == ["two"])
    assert first.lines == ["one"]
    hub.close()
    assert hub.lost == 0


def test_an_output_that_is_not_wanted_any_more_delivers_what_it_had() -> None:
    hub, leaving = Hub(), Held(may=False)
    hub.adopt({"a": leaving}, ("a",))
    hub.send(item("one"))
    hub.tell()
    hub.adopt({}, ())
    hub.send(item("two"))
    leaving.may.set()
    hub.close()
    assert leaving.lines == ["one"]


def test_a_delivery_that_takes_too_long_is_told_once(capfd: pytest.CaptureFixture[str]) -> None:
    hub, slow = Hub(), Held(may=False, timeout_ms=50)
    hub.adopt({"held": slow}, ("held",))
    hub.send(item("one"))
    hub.tell()
    since_s = until(lambda: slow.busy_since_s)
    hub.watch(since_s + 0.04)
    assert capfd.readouterr().err == ""
    hub.watch(since_s + 0.06)
    hub.watch(since_s + 5)
    told = capfd.readouterr().err
    assert told.count('"held" output timeout') == 1
    slow.may.set()
    hub.close()


class Failing(Output):
    name = "failing"

    def deliver(self, items: Sequence[Item]) -> None:
        raise ValueError("a defect")


def test_a_defect_in_an_output_is_told_and_counted(capfd: pytest.CaptureFixture[str]) -> None:
    hub, failing, lively = Hub(), Failing(), Held()
    hub.adopt({"failing": failing, "lively": lively}, ("failing", "lively"))
    hub.send(item("one"))
    hub.tell()
    until(lambda: lively.lines == ["one"])
    until(lambda: failing.problem)
    hub.close()
    assert failing.problem == "ValueError: a defect"
    assert failing.lost == 1
    assert "failing output: ValueError: a defect" in capfd.readouterr().err


class Once(Output):
    """Takes two alerts, then fails once."""

    name = "once"

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.failed = False

    def deliver(self, items: Sequence[Item]) -> None:
        if not self.failed:
            self.failed = True
            self.lines += [one.line for one in items[:2]]
            raise OutputError("full", delivered=2)
        self.lines += [one.line for one in items]


def test_what_was_not_delivered_is_tried_again_in_order() -> None:
    once = Once()
    for line in ("1", "2", "3", "4"):
        once.offer(item(line))
    once.start()
    until(lambda: once.delivered == 4)
    once.close(5)
    assert once.lines == ["1", "2", "3", "4"]
    assert once.lost == 0


def test_only_what_is_set_up_otherwise_is_made_anew(tmp_path: Path) -> None:
    background = Background()
    file = FileOutput(str(tmp_path / "a"))
    one = Config(outputs=Outputs(file=file, program=ProgramOutput("cat")))
    made = build.make(one, {}, background)
    assert set(made) == {"stdout", "file", "program"}
    two = Config(outputs=Outputs(stdout=False, file=file, program=ProgramOutput("cat", keep_alive=True)))
    assert set(build.make(two, build.settings(one), background)) == {"program"}
    three = Config(json_output=True, outputs=one.outputs)
    assert build.make(three, build.settings(one), background) == {}
    four = Config(outputs=Outputs(file=file, program=ProgramOutput("cat"), capacity=7))
    assert set(build.make(four, build.settings(one), background)) == {"stdout", "file", "program"}
