# SPDX-License-Identifier: Apache-2.0
"""A container is looked up when its first process comes, again while something is missing, and then no more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from falco_py.state.cgroups import ContainerRef
from falco_py.state.containers import EAGER, FORGET_S, HURRIED, TRIES, Containers
from falco_py.state.processes import ProcessTable
from tests.state.made import ID, SECOND_NS, header, image

if TYPE_CHECKING:
    from pathlib import Path

REF = ContainerRef(ID[:12], ID, "docker", "")
INSIDE = (("", f"/docker/{ID}"),)


class Files:
    """Gives `answer`; `asked` counts. `pods`: uids of those that changed; facts become `pod` then."""

    def __init__(self) -> None:
        self.answer: tuple[Any, bool] = (None, False)
        self.asked = 0
        self.failures: dict[str, int] = {}
        self.wants_pod = False
        self.pods: list[str] = []
        self.pod: Any = "pod"

    def find(self, _ref: ContainerRef) -> tuple[Any, bool]:
        self.asked += 1
        return self.answer

    def changed(self) -> list[str]:
        changed, self.pods = self.pods, []
        return changed

    def renewed(self, _ref: ContainerRef, _facts: Any) -> Any:
        return self.pod

    def missing(self, _ref: ContainerRef, facts: Any) -> str:
        return "no_files" if facts is None else "part"


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def files() -> Files:
    return Files()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def containers(files: Files, clock: Clock) -> Containers:
    return Containers(files, clock, max_size=3)


def test_whole_facts_are_asked_for_once(containers: Containers, files: Files) -> None:
    files.answer = "facts", True
    for _ in range(5):
        assert containers.ask(REF) == ("facts", False)
    assert files.asked == 1
    assert not containers.is_awaited(ID)


def test_what_is_missing_is_looked_for_less_and_less(containers: Containers, files: Files, clock: Clock) -> None:
    containers.ask(REF)
    assert containers.is_awaited(ID)
    for _ in range(3000):
        clock.now_s += 0.001
        containers.found_late()
    assert files.asked == HURRIED
    assert not containers.is_awaited(ID)
    for _ in range(100_000):
        clock.now_s += 0.001
        assert containers.found_late() == []
    assert files.asked == TRIES
    assert not containers.waiting
    assert containers.counters.given_up == 1


def test_late_facts_are_told(containers: Containers, files: Files, clock: Clock) -> None:
    containers.ask(REF)
    files.answer = "some", False
    clock.now_s += 0.01
    assert containers.found_late() == [ID]
    assert containers.of(ID) == "some"
    clock.now_s += 0.01
    assert containers.found_late() == []
    files.answer = "all", True
    clock.now_s += 1
    assert containers.found_late() == [ID]
    assert (containers.of(ID), containers.is_awaited(ID), containers.counters.late) == ("all", False, 2)


def test_facts_are_not_lost_when_files_go(containers: Containers, files: Files, clock: Clock) -> None:
    files.answer = "some", False
    containers.ask(REF)
    files.answer = None, False
    clock.now_s += 1
    assert containers.found_late() == []
    assert containers.of(ID) == "some"


def test_a_new_program_asks_at_once_but_not_for_ever(containers: Containers, files: Files, clock: Clock) -> None:
    for _ in range(100):
        containers.ask(REF)
    assert files.asked == EAGER
    clock.now_s += 3600
    while containers.waiting:
        containers.found_late()
        clock.now_s += 100
    files.answer = "facts", True
    assert containers.ask(REF) == ("facts", True)


def test_events_wait_for_a_time_from_the_first_process_on(containers: Containers, files: Files, clock: Clock) -> None:
    containers.wait_s = 0.5
    assert not containers.is_worth_waiting(ID)  # nobody knows of it
    containers.ask(REF)
    assert containers.is_worth_waiting(ID)
    clock.now_s += 0.4
    files.answer = "some", False
    assert containers.found_late() == [ID]
    assert containers.is_worth_waiting(ID)
    clock.now_s += 0.2
    assert not containers.is_worth_waiting(ID)
    assert containers.missing(ID) == "part"
    containers.give_up(ID)
    assert containers.unknown == {"part": 1}


def test_events_do_not_wait_when_facts_are_whole_or_nobody_wants_it(containers: Containers, files: Files) -> None:
    containers.wait_s = 0.0
    containers.ask(REF)
    assert not containers.is_worth_waiting(ID)
    containers.wait_s = 2.0
    assert containers.is_worth_waiting(ID)
    files.answer = "facts", True
    containers.ask(REF)
    assert not containers.is_worth_waiting(ID)
    assert containers.missing(ID) == ""
    assert containers.sources == {"files": 1}


def test_how_soon_it_is_looked_again(containers: Containers, clock: Clock) -> None:
    containers.ask(REF)
    assert 0 < containers.next_try_s() < 0.01
    clock.now_s += 1
    assert containers.next_try_s() == 0


def test_another_pod_gives_other_facts(containers: Containers, files: Files) -> None:
    files.answer = "facts", True
    containers.ask(REF._replace(pod_uid="uid-1"))
    files.pods = ["uid-2"]
    assert containers.renewed() == []
    files.pods = ["uid-1"]
    assert containers.renewed() == [ID]
    assert containers.of(ID) == "pod"
    files.pods = ["uid-1"]
    assert containers.renewed() == []  # the same as before


def test_a_pod_that_becomes_known_is_a_reason_to_look_again(containers: Containers, files: Files) -> None:
    containers.ask(REF._replace(pod_uid="uid-1"))
    files.answer, files.pods = ("facts", True), ["uid-1"]
    assert containers.renewed() == [ID]
    assert containers.of(ID) == "facts"


def test_rules_that_want_pods_make_whole_facts_wait_again(containers: Containers, files: Files, clock: Clock) -> None:
    files.answer = "facts", True
    containers.ask(REF)
    clock.now_s += 100
    files.answer = "more", False
    containers.want_pods(True)
    assert files.wants_pod
    assert containers.is_worth_waiting(ID)
    assert containers.found_late() == [ID]
    files.answer = "all", True
    clock.now_s += 0.1
    assert containers.found_late() == [ID]
    containers.want_pods(True)
    assert not containers.waiting
    containers.want_pods(False)
    assert not files.wants_pod


def test_containers_without_processes_are_forgotten(containers: Containers, files: Files, clock: Clock) -> None:
    files.answer = "facts", True
    containers.ask(REF)
    assert not containers.is_time_to_forget()
    for used, left in (({ID}, 1), (set(), 1), ({ID}, 1), (set(), 1), (set(), 0)):
        clock.now_s += FORGET_S
        assert containers.is_time_to_forget()
        containers.forget(used)
        assert len(containers) == left
    assert containers.counters.forgotten == 1


def test_the_table_is_bounded(containers: Containers, clock: Clock) -> None:
    for number in range(10):
        containers.ask(REF._replace(full_id=f"{number}"))
        clock.now_s += 1
    assert len(containers) == len(containers.waiting) == 3
    assert containers.counters.evicted == 7


def table(root: Path, files: Files) -> ProcessTable:
    (root / "proc").mkdir()
    return ProcessTable(root, lookup=files)


def test_a_first_process_has_the_facts_and_the_host_asks_nothing(tmp_path: Path, files: Files) -> None:
    made = table(tmp_path, files)
    files.answer = "facts", True
    assert made.on_exec(header(), image(cgroups=INSIDE)).container == "facts"
    assert made.on_exec(header(pid=41), image()).container is None
    assert files.asked == 1


def test_late_facts_reach_all_processes_and_void_what_the_kernel_has_learnt(tmp_path: Path, files: Files) -> None:
    made = table(tmp_path, files)
    changed: list[int] = []
    made.changed = lambda process: changed.append(process.pid)
    first = made.on_exec(header(), image(cgroups=INSIDE))
    second = made.on_exec(header(pid=41), image(cgroups=INSIDE))
    first.learnt, first.learnings = (1, 2, b""), 4
    files.answer = "facts", True
    third = made.on_exec(header(pid=42, ts=101 * SECOND_NS), image(cgroups=INSIDE))
    assert first.container == second.container == third.container == "facts"
    assert changed == [first.pid]
    assert (first.learnt, first.learnings) == (None, 0)


def test_facts_that_come_between_events_are_taken(tmp_path: Path, files: Files) -> None:
    made = table(tmp_path, files)
    clock = Clock()
    made.facts = Containers(files, clock)
    first = made.on_exec(header(), image(cgroups=INSIDE))
    assert first.container is None
    files.answer = "facts", True
    clock.now_s += 1
    made.look_again()
    assert first.container == "facts"
    assert made.containers() == (1, 1)  # no image


def test_facts_of_another_pod_reach_the_processes(tmp_path: Path, files: Files) -> None:
    made = table(tmp_path, files)
    files.answer = "facts", True
    first = made.on_exec(header(), image(cgroups=(("", f"/kubepods/pod{'a' * 32}/{ID}"),)))
    files.pods = ["a" * 32]
    made.look_again()
    assert first.container == "pod"
