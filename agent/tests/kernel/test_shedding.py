# SPDX-License-Identifier: Apache-2.0
"""At each level of shedding only the rules that are severe enough are asked: as a model, and in the kernel."""

from __future__ import annotations

import contextlib
import ctypes
import os
from typing import TYPE_CHECKING

import pytest

from falco_py.engine.shedding import FILLED
from falco_py.events.event import Event
from falco_py.events.record import KIND_SYSCALL, Header
from falco_py.events.syscalls import ROWS
from falco_py.kernel import pushdown
from falco_py.kernel.learning import Learner
from falco_py.kernel.load import Capture
from falco_py.kernel.pushdown import Call, Plan, Rule, plan
from falco_py.kernel.tables import CLASSES, NEVER_SHED, class_of
from falco_py.rules.bundle import load
from falco_py.state.processes import ProcessTable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

READ = 0
SHADOW = "fd.name = /etc/shadow"
NAME = b"fpyshed"  # of the thread, so that calls of the rest of the machine are not counted
MINE = f"proc.name = {NAME.decode()}"
_libc = ctypes.CDLL(None)
_PR_SET_NAME = 15
_NR_CREAT = 85


def graded(*rules: tuple[str, str]) -> Plan:
    """The plan for rules of (priority, condition)."""
    text = "".join(
        f"- rule: r{n}\n  desc: d\n  condition: {condition}\n  output: o\n  priority: {priority}\n"
        for n, (priority, condition) in enumerate(rules)
    )
    bundle = load([("r.yaml", text)], rule_matching="all")
    return plan(Rule(rule.name, rule.event_types, rule.tree, rule.priority) for rule in bundle.rules)


def test_each_level_asks_only_the_more_severe_rules() -> None:
    names = ("DEBUG", "INFO", "NOTICE", "WARNING", "ERROR", "CRITICAL", "ALERT", "EMERGENCY")
    made = graded(*((name, f"evt.type = openat and fd.name = /{name}") for name in names))
    for level, kept in enumerate((names, names[2:], names[3:], names[4:], names[5:])):
        asked = {n for n in names if made.keeps(Call("openat", 3, opened=READ, spellings=(f"/{n}",)), level)}
        assert asked == set(kept), level


def test_a_clause_of_several_rules_is_as_severe_as_the_worst() -> None:
    made = graded(("DEBUG", f"evt.type = openat and {SHADOW}"), ("CRITICAL", f"evt.type = openat and {SHADOW}"))
    assert made.keeps(Call("openat", 3, opened=READ, spellings=("/etc/shadow",)), 4)


def test_what_starts_a_process_is_never_shed() -> None:
    made = graded(("DEBUG", "evt.type in (clone3, execveat, kill) and user.uid = 0"))
    assert made.keeps(Call("clone3", 3), 4)
    assert made.keeps(Call("execveat", -2), 4)
    assert not made.keeps(Call("kill", 0), 1)


def test_clauses_that_were_widened_are_as_severe_as_the_worst() -> None:
    rules = [("DEBUG", f"evt.type = openat and fd.name = /d{n}") for n in range(pushdown.MAX_CLAUSES + 10)]
    made = graded(*rules, ("CRITICAL", "evt.type = openat and fd.name = /last"))
    assert len(made.clauses) <= pushdown.MAX_CLAUSES
    assert made.keeps(Call("openat", 3, opened=READ, spellings=("/last",)), 4)
    assert not made.keeps(Call("openat", 3, opened=READ, spellings=("/d0",)), 4)


def test_the_plan_and_the_kernel_side_spare_the_same_classes() -> None:
    assert {name for name, row in ROWS.items() if CLASSES[class_of(row)] in ("clone_fork", "execve")} == NEVER_SHED


@pytest.fixture(scope="module")
def capture() -> Iterator[Capture]:
    loaded = Capture()
    loaded.want(("openat", "creat", "symlink", "getppid", "execve"))
    loaded.attach()
    yield loaded
    loaded.close()


def told_of(capture: Capture, job: Callable[[], None]) -> list[str]:
    """What the kernel tells of a child that does the job: names of files for opens, event types for the rest."""
    capture.events.drain()
    pid = os.fork()
    if pid == 0:
        _libc.prctl(_PR_SET_NAME, NAME, 0, 0, 0)
        with contextlib.suppress(OSError):
            job()
        os._exit(0)
    os.waitpid(pid, 0)
    found = []
    for header, payload in capture.events.drain():
        assert isinstance(header, Header)
        if header.pid == pid and header.kind == KIND_SYSCALL:
            name = capture.numbers.event_name(header.nr, False)
            assert name is not None
            event = Event(ROWS[name], header, payload, 1, 0)
            found.append(os.path.basename(event.fd_name or "") if name == "openat" else name)
    return found


@pytest.mark.live
@pytest.mark.parametrize(
    ("level", "told", "shed"),
    [
        (0, ["low", "named", "high", "cut", "getppid", "symlink"], {}),
        (1, ["high", "symlink"], {"open": 4, "other_interest": 1}),
        (3, ["high"], {"open": 4, "other_interest": 1, "dir_file": 1}),
        (4, ["high"], {"open": 4, "other_interest": 1, "dir_file": 1}),
        (99, ["high"], {"open": 4, "other_interest": 1, "dir_file": 1}),
    ],
)
def test_the_kernel_sheds_and_counts(
    capture: Capture, tmp_path: Path, level: int, told: list[str], shed: dict[str, int]
) -> None:
    """Opens are counted by path where a more severe rule still asks for it: `other` is no loss. Nobody asks for that
    of creat."""
    names = ("low", "named", "high", "cut", "other")
    low, named, high, cut, other = (tmp_path / name for name in names)
    for name in names:
        (tmp_path / name).touch()
    capture.filter(
        graded(
            ("DEBUG", f"evt.type = openat and {MINE} and evt.is_open_read = true and fd.name = {low}"),
            ("DEBUG", f"evt.type = openat and {MINE} and evt.is_open_read = true and fd.filename = named"),
            ("DEBUG", f"evt.type = openat and {MINE} and evt.arg.flags contains O_TRUNC"),
            ("DEBUG", f"evt.type = creat and {MINE} and fd.name = {low}"),
            ("CRITICAL", f"evt.type = openat and {MINE} and fd.name = {high}"),
            ("INFO", f"evt.type in (symlink, getppid) and {MINE}"),
            ("WARNING", f"evt.type = symlink and {MINE}"),
        )
    )

    def job() -> None:
        for path in (low, named, high):
            os.close(os.open(path, os.O_RDONLY))
        os.close(os.open(cut, os.O_WRONLY | os.O_TRUNC))
        os.close(os.open(other, os.O_WRONLY))
        os.close(os.open(other, os.O_RDONLY))
        _libc.syscall(_NR_CREAT, bytes(other), 0o600)
        os.getppid()
        os.symlink("x", tmp_path / "link")

    try:
        capture.shed(level)
        before = capture.counters()
        assert told_of(capture, job) == told
        after = capture.counters()
    finally:
        capture.shed(0)
    assert {name: n - before.shed[name] for name, n in after.shed.items() if n != before.shed[name]} == shed
    assert after.total_shed - before.total_shed == sum(shed.values())
    assert after.dropped == before.dropped


def opens_of_this_process(capture: Capture, *paths: Path) -> list[Event]:
    """What the kernel tells of opens of these files."""
    capture.events.drain()
    for path in paths:
        os.close(os.open(path, os.O_RDONLY))
    found = []
    for header, payload in capture.events.drain():
        assert isinstance(header, Header)
        if header.pid == os.getpid() and header.kind == KIND_SYSCALL:
            found.append(Event(ROWS["openat"], header, payload, 1, 0))
    return [event for event in found if event.fd_name in map(str, paths)]


def learn_of(capture: Capture, made: Plan, path: Path) -> None:
    """The kernel gets an entry for this process from an open that no rule matches."""
    table = ProcessTable()
    table.scan()
    (event,) = opens_of_this_process(capture, path)
    event.table, event.process = table, table.get(event.header)
    learner = Learner(made, capture)
    learner.wasted(event)
    assert learner.learnt["processes"] == 1


@pytest.mark.live
def test_opens_that_only_a_shed_rule_names_by_the_last_component_are_counted(capture: Capture, tmp_path: Path) -> None:
    quiet, loud, both = (tmp_path / f"fpy-{name}" for name in ("quiet", "loud", "both"))
    for path in (quiet, loud, both):
        path.touch()
    made = graded(
        ("DEBUG", f"evt.type = openat and fd.filename in ({quiet.name}, {both.name})"),
        ("CRITICAL", f"evt.type = openat and fd.filename = {loud.name}"),
        ("CRITICAL", f"evt.type = openat and fd.filename = {both.name} and proc.exepath = /no/such/program"),
    )
    capture.filter(made)
    try:
        capture.shed(1)
        before = capture.counters()
        assert [event.fd_name for event in opens_of_this_process(capture, quiet, loud)] == [str(loud)]
        assert capture.counters().shed["open"] - before.shed["open"] == 1

        learn_of(capture, made, both)
        before = capture.counters()
        assert opens_of_this_process(capture, both) == []
        assert capture.counters().shed["open"] - before.shed["open"] == 1
    finally:
        capture.shed(0)


@pytest.mark.live
def test_what_the_program_rules_out_does_not_count_as_shed(capture: Capture, tmp_path: Path) -> None:
    quiet = tmp_path / "fpy-quiet"
    quiet.touch()
    made = graded(
        ("DEBUG", f"evt.type = openat and fd.filename = {quiet.name} and proc.exepath = /no/such/program"),
        ("CRITICAL", "evt.type = openat and fd.filename = fpy-loud"),
    )
    capture.filter(made)
    try:
        capture.shed(1)
        before = capture.counters()
        assert opens_of_this_process(capture, quiet) == []
        assert capture.counters().shed["open"] - before.shed["open"] == 1
        capture.shed(0)
        learn_of(capture, made, quiet)
        capture.shed(1)
        before = capture.counters()
        assert opens_of_this_process(capture, quiet) == []
        assert capture.counters().shed["open"] == before.shed["open"]
    finally:
        capture.shed(0)


@pytest.mark.live
def test_the_kernel_never_sheds_what_starts_a_process(capture: Capture) -> None:
    capture.filter(graded(("DEBUG", f"evt.type in (execve, getppid) and {MINE}")))

    def job() -> None:
        os.getppid()
        os.execv("/no/such/program", ["x"])

    try:
        capture.shed(4)
        assert told_of(capture, job) == ["execve"]
    finally:
        capture.shed(0)


@pytest.mark.live
@pytest.mark.parametrize(
    ("steered", "level"), [(False, 0), (True, 1)], ids=["nobody lowers the level", "the level is lowered"]
)
def test_the_kernel_raises_the_level_by_itself_as_the_ring_fills(steered: bool, level: int) -> None:
    loaded = Capture()
    try:
        loaded.want(("getppid",))
        loaded.filter(graded(("DEBUG", f"evt.type = getppid and {MINE}")))
        loaded.attach()
        if steered:
            loaded.shed(0)
        fill()
        assert loaded.level() == level
        counters = loaded.counters()
        waiting = loaded.events.pending() / loaded.events_bytes
        if steered:
            assert FILLED[0] <= waiting < FILLED[1]
            assert counters.total_dropped == 0
            assert counters.total_shed > 0
        else:
            assert waiting > 0.99
            assert counters.total_shed == 0
    finally:
        loaded.close()


@pytest.mark.live
def test_each_level_comes_at_its_part_of_the_ring(emergency: Capture) -> None:
    seen: dict[int, float] = {}
    while emergency.events.pending() < 0.95 * emergency.events_bytes:
        fill(500)
        seen.setdefault(emergency.level(), emergency.events.pending() / emergency.events_bytes)
    del seen[0]
    assert list(seen) == [1, 2, 3, 4]
    assert list(seen.values()) == pytest.approx(list(FILLED), abs=0.02)


@pytest.mark.live
def test_the_kernel_never_lowers_the_level(emergency: Capture) -> None:
    while emergency.level() == 0:
        fill(500)
    emergency.shed(3)
    before = emergency.events.pending()
    fill(500)
    assert emergency.events.pending() > before
    assert emergency.level() == 3


@pytest.fixture
def emergency() -> Iterator[Capture]:
    """A ring that is filled by calls that are never shed."""
    loaded = Capture()
    try:
        loaded.want(("getppid",))
        loaded.filter(graded(("EMERGENCY", f"evt.type = getppid and {MINE}")))
        loaded.attach()
        loaded.shed(0)
        yield loaded
    finally:
        loaded.close()


def fill(most: int = 200_000) -> None:
    """Calls of a child, which nobody reads."""
    pid = os.fork()
    if pid == 0:
        _libc.prctl(_PR_SET_NAME, NAME, 0, 0, 0)
        for _ in range(most):
            os.getppid()
        os._exit(0)
    os.waitpid(pid, 0)
