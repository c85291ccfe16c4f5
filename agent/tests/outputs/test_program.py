# SPDX-License-Identifier: Apache-2.0
"""Alerts as input of a program: one for each, or one that stays, restarts, time-outs, and nothing left behind."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from falco_py.config.model import ProgramOutput
from falco_py.outputs.program import Program
from tests.outputs.items import item, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def make() -> Iterator[Callable[..., Program]]:
    made: list[Program] = []

    def make(program: str, keep_alive: bool = False, timeout_s: float = 30.0, **settings: Any) -> Program:
        out = Program(ProgramOutput(program, keep_alive, timeout_s), **settings)
        out.start()
        made.append(out)
        return out

    before = set(children())
    yield make
    for out in made:
        out.close(10)
    assert not set(children()) - before, "a process was left behind"


def children() -> list[str]:
    """Processes of this one, zombies among them."""
    return Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()


def send(out: Program, *lines: str) -> None:
    for line in lines:
        out.offer(item(line))
    out.tell()


def test_each_alert_has_a_process_of_its_own(make: Callable[..., Program], tmp_path: Path) -> None:
    path, before = tmp_path / "got", children()
    out = make(f"(echo start; cat; echo end) >> {path}")
    send(out, "one", "two")
    until(lambda: out.delivered == 2)
    assert path.read_text() == "start\none\nend\nstart\ntwo\nend\n"
    assert children() == before


def test_with_keep_alive_one_process_takes_all(make: Callable[..., Program], tmp_path: Path) -> None:
    path = tmp_path / "got"
    out = make(f"(echo start; cat) >> {path}", keep_alive=True)
    send(out, "one", "two")
    send(out, "three")
    until(lambda: path.exists() and path.read_text() == "start\none\ntwo\nthree\n")
    assert out.delivered == 3


def test_a_process_that_ended_is_started_again_and_gets_what_it_did_not_take(
    make: Callable[..., Program], tmp_path: Path
) -> None:
    path = tmp_path / "got"
    out = make(f"head -n 1 >> {path}; echo ended >> {path}", keep_alive=True)
    for number, line in enumerate(("one", "two", "three"), 1):
        send(out, line)
        until(lambda: path.exists() and path.read_text().count("ended") >= number)  # noqa: B023
    assert path.read_text() == "one\nended\ntwo\nended\nthree\nended\n"
    assert out.lost == 0


def test_reopening_starts_the_process_anew(make: Callable[..., Program], tmp_path: Path) -> None:
    path = tmp_path / "got"
    out = make(f"echo start >> {path}; cat >> {path}", keep_alive=True)
    send(out, "one")
    until(lambda: path.exists() and path.read_text() == "start\none\n")
    out.reopen()
    send(out, "two")
    until(lambda: path.read_text() == "start\none\nstart\ntwo\n")


def test_a_program_that_takes_too_long_is_killed_with_what_it_started(
    make: Callable[..., Program], tmp_path: Path
) -> None:
    pids = tmp_path / "pids"
    out = make(f"sleep 600 & echo $! >> {pids}; cat > /dev/null; wait", timeout_s=0.5)
    send(out, "one", "two")
    until(lambda: out.delivered == 2)
    assert out.killed == 2
    for pid in pids.read_text().split():
        until(lambda: is_gone(pid))  # noqa: B023


def is_gone(pid: str) -> bool:
    """Ended: no longer there, or a zombie of whoever adopted it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True


def test_a_process_that_stays_and_reads_nothing_is_killed_and_loses_nothing(
    make: Callable[..., Program], tmp_path: Path
) -> None:
    path, first = tmp_path / "got", tmp_path / "first"
    out = make(f"if mkdir {first}; then exec sleep 600; else exec cat >> {path}; fi", keep_alive=True, timeout_s=0.5)
    lines = [f"{number} " + "x" * 50000 for number in range(5)]
    send(out, *lines)
    until(lambda: out.delivered == 5)
    until(lambda: path.exists() and path.read_text().count("\n") >= 4)
    got = path.read_text().splitlines()
    # the line or two that the first process had in its pipe are gone with it; no line is torn
    assert got == lines[-len(got) :]
    assert len(got) >= 4


def test_a_program_that_fails_is_counted_and_the_next_alert_goes_on(make: Callable[..., Program]) -> None:
    out = make("exit 3")
    send(out, "one", "two")
    until(lambda: out.delivered == 2)
    assert (out.failures, out.lost, out.problem) == (2, 0, "")


def test_a_program_that_does_not_exist_is_counted(make: Callable[..., Program]) -> None:
    out = make("/nonexistent/program 2>/dev/null")
    send(out, "one")
    until(lambda: out.failures == 1)


def test_the_program_has_no_files_of_the_agent(make: Callable[..., Program], tmp_path: Path) -> None:
    path = tmp_path / "got"
    with (tmp_path / "secret").open("w"):
        out = make(f"ls -l /proc/self/fd > {path}")
        send(out, "one")
        until(lambda: out.delivered == 1)
    assert "secret" not in path.read_text()
