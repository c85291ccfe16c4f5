# SPDX-License-Identifier: Apache-2.0
"""Events of a container without facts wait for them, for a time, in bounded numbers, and are tested once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from falco_py.engine.loop import Loop
from falco_py.enrich.facts import Facts
from falco_py.events.record import KIND_EXIT
from falco_py.rules.bundle import load
from falco_py.state.containers import Containers
from falco_py.state.processes import ProcessTable
from tests.engine.test_loop import NoSource
from tests.state.made import ID, SECOND_NS, header, image
from tests.state.test_containers import Clock, Files

if TYPE_CHECKING:
    from pathlib import Path

    from falco_py.engine.alert import Alert
    from falco_py.events.record import Header

RULES = """\
- rule: not the shop
  desc: d
  condition: evt.type = dup and not container.image.repository = shop
  output: name=%container.name image=%container.image program=%proc.name
  priority: INFO
- rule: without a word of containers
  desc: d
  condition: evt.type = dup
  output: program=%proc.name
  priority: INFO
"""
SHOP = Facts(name="web", image="shop:1", image_repository="shop")
OTHER = Facts(name="db", image="stock:1", image_repository="stock")
INSIDE = (("", f"/docker/{ID}"),)


class Made:
    """A loop over one process in a container; `alerts` are (rule, fields)."""

    def __init__(self, root: Path) -> None:
        (root / "proc").mkdir()
        self.files = Files()
        self.clock = Clock()
        self.table = ProcessTable(root, lookup=self.files)
        self.table.facts = Containers(self.files, self.clock)
        self.alerts: list[tuple[str, dict[str, Any]]] = []
        self.messages: list[str] = []
        self.wasted: list[Any] = []
        bundle = load([("r.yaml", RULES)], rule_matching="all")
        self.loop = Loop(NoSource(), bundle, self.table, self.take, self.wasted.append)

    def take(self, _rule: Any, alert: Alert) -> None:
        self.alerts.append((alert.rule, dict(alert.fields)))
        self.messages.append(alert.message)

    def begin(self, pid: int = 40, cgroups: Any = INSIDE) -> None:
        self.table.on_exec(header(pid), image(cgroups=cgroups, exepath="/bin/sh"))

    def dup(self, pid: int = 40, payload: bytes = b"", **values: Any) -> tuple[Header, bytes]:
        return header(pid, nr=1, ts=101 * SECOND_NS, **values), payload

    def turn(self, seconds: float = 0.0) -> None:
        """As Loop.run does between two batches."""
        self.clock.now_s += seconds
        self.table.look_again()
        self.loop._let_go(self.loop.held.ready(self.table.facts))

    @property
    def counted(self) -> tuple[int, int, int, int]:
        counters = self.loop.held.counters
        return counters.held, counters.known, counters.unknown, counters.crowded

    @property
    def rules(self) -> list[str]:
        return [rule for rule, _ in self.alerts]


@pytest.fixture
def made(tmp_path: Path) -> Made:
    return Made(tmp_path)


def test_nothing_waits_outside_containers_and_where_facts_are_known(made: Made) -> None:
    made.begin(41, (("", "/x"),))
    made.files.answer = SHOP, True
    made.begin()
    made.loop.handle([made.dup(), made.dup(41)])
    assert made.rules == ["without a word of containers", "not the shop", "without a word of containers"]
    assert made.counted == (0, 0, 0, 0)
    assert all("container.missing" not in fields for _, fields in made.alerts)


@pytest.mark.parametrize(("facts", "rules"), [(SHOP, 1), (OTHER, 2)])
def test_an_event_is_tested_when_the_facts_are_there(made: Made, facts: Facts, rules: int) -> None:
    made.begin()
    made.loop.handle([made.dup()])
    made.turn(0.1)
    assert made.rules == []
    made.files.answer = facts, True
    made.turn(1.0)
    assert len(made.rules) == rules
    assert made.counted == (1, 1, 0, 0)
    if rules > 1:
        assert made.alerts[0][1] == {"container.name": "db", "container.image": "stock:1", "proc.name": "sh"}
    made.turn(5.0)
    assert len(made.rules) == rules


def test_when_the_time_is_over_the_alert_says_what_is_missing(made: Made) -> None:
    made.begin()
    made.loop.handle([made.dup()])
    made.turn(1.9)
    assert made.rules == []
    made.turn(0.2)
    assert made.rules == ["not the shop", "without a word of containers"]
    assert made.alerts[0][1] == {
        "container.name": None, "container.image": None, "proc.name": "sh",
        "container.missing": "no files of a container runtime name it",
    }  # fmt: skip
    assert "container.missing" not in made.alerts[1][1]
    assert made.messages == [
        "name=<NA> image=<NA> program=sh container_missing=no files of a container runtime name it", "program=sh",
    ]  # fmt: skip
    assert made.counted == (1, 0, 1, 0)
    assert made.table.facts.unknown == {"no_files": 1}
    made.loop.handle([made.dup()])  # nothing waits any longer
    assert len(made.rules) == 4
    assert made.counted == (1, 0, 1, 0)


def test_a_process_is_told_as_it_was(made: Made) -> None:
    made.begin()
    made.loop.handle([made.dup()])
    made.table.on_exec(header(ts=102 * SECOND_NS, comm=b"other"), image(cgroups=INSIDE, exepath="/bin/other"))
    made.table.by_pid(40).rename("renamed")  # type: ignore[union-attr]
    made.files.answer = OTHER, True
    made.turn(1.0)
    assert made.alerts[0][1]["proc.name"] == "sh"


def test_a_process_that_moves_is_told_where_it_was(made: Made) -> None:
    made.loop.bundle = load([("r.yaml", RULES.replace("%proc.name", "%proc.cwd"))])
    made.begin()
    made.loop.handle([made.dup()])
    made.table.by_pid(40).cwd = "/elsewhere"  # type: ignore[union-attr]
    made.files.answer = OTHER, True
    made.turn(1.0)
    assert made.alerts[0][1]["proc.cwd"] == "/tmp/"


def test_a_process_that_ended_meanwhile_is_told(made: Made) -> None:
    made.begin()
    made.loop.handle([made.dup(), (header(kind=KIND_EXIT, ts=102 * SECOND_NS), b"")])
    made.files.answer = OTHER, True
    made.turn(1.0)
    assert made.alerts[0][1] == {"container.name": "db", "container.image": "stock:1", "proc.name": "sh"}


def test_there_is_room_for_so_many_events(made: Made) -> None:
    made.loop.held._max_events = 3
    made.begin()
    made.loop.handle([made.dup(payload=bytes([number])) for number in range(5)])
    assert len(made.loop.held) == 3
    assert made.rules == ["not the shop", "without a word of containers"] * 2
    assert made.counted == (5, 0, 0, 2)
    made.loop.drain()
    assert len(made.rules) == 10
    assert made.counted == (5, 0, 3, 2)


def test_there_is_room_for_so_many_bytes(made: Made) -> None:
    made.loop.held._max_bytes = 100
    made.begin()
    made.loop.handle([made.dup(payload=bytes(40))] * 3)
    assert len(made.loop.held) == 2
    made.loop.handle([made.dup(payload=bytes(101))])
    assert len(made.loop.held) == 0
    assert made.loop.held._bytes == 0


def test_one_container_does_not_hold_up_another(made: Made) -> None:
    other = "f" * 64
    made.begin()
    made.begin(41, (("", f"/docker/{other}"),))
    made.loop.handle([made.dup(), made.dup(41), made.dup()])
    made.table.set_container(other, OTHER)
    made.turn()
    assert made.rules == ["not the shop", "without a word of containers"]
    assert len(made.loop.held) == 2


def test_rules_that_came_meanwhile_count(made: Made) -> None:
    made.begin()
    made.loop.handle([made.dup()])
    made.loop.bundle = load([("r.yaml", RULES.replace("not the shop", "newer"))])
    made.files.answer = OTHER, True
    made.turn(1.0)
    assert made.rules == ["newer"]


def test_the_kernel_learns_nothing_from_what_has_waited(made: Made) -> None:
    made.begin()
    made.loop.handle([made.dup()])
    made.files.answer = SHOP, True
    made.loop.bundle = load([("r.yaml", RULES[: RULES.index("- rule: without")])])
    made.turn(1.0)
    assert (made.rules, made.wasted) == ([], [])
    made.loop.handle([made.dup()])
    assert len(made.wasted) == 1


def test_with_no_time_to_wait_nothing_does(made: Made) -> None:
    made.table.facts.wait_s = 0.0
    made.begin()
    made.loop.handle([made.dup()])
    assert made.alerts[0][1]["container.missing"] == "no files of a container runtime name it"
    assert made.counted == (0, 0, 0, 0)
