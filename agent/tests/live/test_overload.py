# SPDX-License-Identifier: Apache-2.0
"""Under a flood the agent leaves out the least severe rules, says so, and still tells what matters."""

from __future__ import annotations

import os
import subprocess
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from tests.live.harness import Agent

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SOON_S = 5.0
FLOOD_OPENS = 2_000_000_000  # until it is ended
PROGRAMS = 40
CANARIES = 8
DROP = "Falco internal: syscall event drop"
RULES = """\
- rule: Flooded file
  desc: A file of this test was opened.
  condition: evt.type in (open, openat) and fd.name = FLOODED
  output: flooded | file=%fd.name
  priority: DEBUG
- rule: Canary file
  desc: A file of this test was opened.
  condition: evt.type in (open, openat) and fd.name startswith BASE
  output: canary | file=%fd.name
  priority: CRITICAL
- rule: Marked program
  desc: A program of this test was started.
  condition: evt.type in (execve, execveat) and proc.cmdline contains MARK
  output: program | command=%proc.cmdline
  priority: DEBUG
"""


@dataclass
class Flooded(Agent):
    """Alerts of the flood are only counted: this side must not be what slows the agent down."""

    count: int = 0

    def _take_line(self, line: str) -> None:
        if '"rule":"Flooded file"' in line:
            self.count += 1
        else:
            super()._take_line(line)


@contextmanager
def flooded(
    tmp_path: Path, mark: str, probe: Path, *options: str, priority: str = "DEBUG"
) -> Iterator[tuple[Flooded, subprocess.Popen[bytes]]]:
    """An agent, and a process that opens a file of a rule of `priority` as fast as it can."""
    file = tmp_path / "flooded"
    file.touch()
    (tmp_path / "canaries").mkdir()
    rules = tmp_path / "rules.yaml"
    text = RULES.replace("FLOODED", str(file)).replace("BASE", f"{tmp_path}/canaries/").replace("MARK", mark)
    rules.write_text(text.replace("DEBUG", priority, 1), encoding="utf-8")
    agent = Flooded([rules], tmp_path / "agent", options)
    try:
        agent.start()
        flood = subprocess.Popen([probe, "flood", file, str(FLOOD_OPENS)])
        try:
            yield agent, flood
        finally:
            flood.kill()
            flood.wait()
    finally:
        agent.kill()


def expect_log(agent: Agent, text: str, timeout_s: float) -> None:
    found = agent._wait(lambda: any(text in line for line in agent.errors), timeout_s)
    assert found, f"not said: {text!r}\n{agent.log()}"


def cpu_s(pid: int) -> float:
    with open(f"/proc/{pid}/stat") as stat:
        words = stat.read().rsplit(")", 1)[1].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.parametrize("limit_percent", [0, 10])
def test_in_a_flood_the_severe_is_told_and_the_rest_is_shed(
    tmp_path: Path, mark: str, probe: Path, limit_percent: int
) -> None:
    """By the ring alone, and by a limit of CPU."""
    limit = f"engine.falco_py.cpu_limit_percent={limit_percent}"
    with flooded(tmp_path, mark, probe, "-o", limit, "-o", "syscall_event_drops.rate=1") as (agent, flood):
        expect_log(agent, "are not asked", 20)
        for number in range(CANARIES):
            name = f"{mark}-{number}"
            (tmp_path / "canaries" / name).touch()
            for step in range(PROGRAMS // CANARIES):
                subprocess.run(["true", f"{mark}-{number}-{step}-"], check=True)
            agent.expect("Canary file", name, SOON_S)
        assert flood.poll() is None, "the flood goes on"
        alert = agent.expect(DROP, "Flooded file", 20)
        for number in range(CANARIES):
            for step in range(PROGRAMS // CANARIES):
                agent.expect("Marked program", f"{mark}-{number}-{step}-", SOON_S)
        assert agent.stop() == 0
    assert alert.source == "internal"
    assert alert.priority == "Debug"
    assert alert.tags == ()
    assert int(alert.fields["n_shed_open_exit"]) > 1000
    assert int(alert.fields["n_drops"]) >= int(alert.fields["n_shed_total"])
    assert alert.fields["shed_below"]
    assert "Canary file" not in alert.fields["blind_rules"] or alert.fields["dropped_since_last"]
    assert any("shed by class" in line and " open 0," not in line for line in agent.errors)


def test_what_finds_the_ring_full_is_told_by_class_and_rule(tmp_path: Path, mark: str, probe: Path) -> None:
    """A rule that is too severe to be shed is flooded itself."""
    with flooded(tmp_path, mark, probe, "-o", "syscall_event_drops.rate=1", priority="EMERGENCY") as (agent, _):

        def told() -> bool:
            return any(one.rule == DROP and one.fields["n_drops_buffer_open_exit"] != "0" for one in agent.alerts)

        assert agent._wait(told, 30), agent.log()
    alert = next(one for one in agent.alerts if one.rule == DROP and one.fields["n_drops_buffer_open_exit"] != "0")
    assert alert.fields["blind_rules"].startswith("Flooded file, Canary file")
    assert int(alert.fields["n_drops_buffer_total"]) >= int(alert.fields["n_drops_buffer_open_exit"])
    assert "open " in alert.fields["dropped_since_last"]


def test_after_the_flood_all_rules_are_asked_again(tmp_path: Path, mark: str, probe: Path) -> None:
    with flooded(tmp_path, mark, probe) as (agent, flood):
        expect_log(agent, "are not asked", 20)
        flood.kill()
        flood.wait()
        expect_log(agent, "all rules are asked", 90)
        before = agent.count
        (tmp_path / "flooded").read_bytes()
        assert agent._wait(lambda: agent.count > before, SOON_S)


def test_the_share_of_cpu_is_kept(tmp_path: Path, mark: str, probe: Path) -> None:
    """Two seconds with little more than the limit come, while the flood goes on."""
    with flooded(tmp_path, mark, probe, "-o", "engine.falco_py.cpu_limit_percent=20") as (agent, flood):
        ends = time.monotonic() + 40
        share = 1.0
        while share > 0.25:
            assert time.monotonic() < ends, f"{share:.2f} of a core\n{agent.log()}"
            before, began = cpu_s(agent.pid), time.monotonic()
            time.sleep(2)  # what is measured
            share = (cpu_s(agent.pid) - before) / (time.monotonic() - began)
        assert flood.poll() is None


def test_the_action_exit_ends_it_with_an_error(tmp_path: Path, mark: str) -> None:
    rules = tmp_path / "rules.yaml"
    rules.write_text(RULES.replace("FLOODED", "/no").replace("BASE", "/no/").replace("MARK", mark), encoding="utf-8")
    options = ["syscall_event_drops.simulate_drops=true", "syscall_event_drops.actions[0]=exit"]
    agent = Agent([rules], tmp_path / "agent", [word for one in options for word in ("-o", one)])
    try:
        agent.start()
        assert agent.wait(20) == 1
        assert any(DROP in line for line in agent.errors)
        assert any(line.endswith("Exiting.") for line in agent.errors)
    finally:
        agent.kill()
