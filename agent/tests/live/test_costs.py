# SPDX-License-Identifier: Apache-2.0
"""`falco-py explain --cost`: what a running agent tells of its rules."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

from tests.live.harness import Agent, agent_command, run_python

if TYPE_CHECKING:
    from pathlib import Path

RULES = """\
- rule: marked file read
  desc: d
  condition: evt.type in (open, openat) and evt.is_open_read = true and fd.filename = {name}
  output: read of %fd.name by %proc.name
  priority: DEBUG
- rule: marked file read by nobody
  desc: d
  condition: evt.type in (open, openat) and fd.filename = {name} and user.name = falco-py-nobody
  output: read of %fd.name by %proc.name
  priority: DEBUG
- rule: another file
  desc: d
  condition: evt.type in (open, openat) and fd.filename = {name}-not
  output: o
  priority: DEBUG
"""
READS = 40


def told(agent: Agent, *options: str) -> str:
    command = [*agent_command(), "explain", "--cost", "--socket", str(agent.status_socket), *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout


def test_a_running_agent_tells_what_its_rules_draw_and_match(tmp_path: Path, mark: str) -> None:
    rules, file = tmp_path / "rules.yaml", tmp_path / mark
    rules.write_text(RULES.format(name=mark))
    file.write_text("x")
    agent = Agent([rules], tmp_path / "agent")
    try:
        agent.start()
        run_python(f"for _ in range({READS}): open({str(file)!r}).close()")
        agent.settle()
        found: dict[str, Any] = json.loads(told(agent, "-o", "json_output=true"))
        table = told(agent)
    finally:
        code = agent.stop()
    assert code == 0
    assert not agent.status_socket.exists()
    costs = {one["rule"]: one for one in found["rules"]}
    assert costs["marked file read"]["matches"] == READS
    assert costs["marked file read"]["delivered"] >= READS / 2  # an estimate once the first events are past
    assert costs["marked file read by nobody"]["matches"] == 0
    assert costs["marked file read by nobody"]["delivered"] >= READS / 2
    assert costs["marked file read"]["ns"] > 0
    assert costs["another file"]["delivered"] < READS / 2
    assert found["pid"] == agent.pid
    assert found["events"] >= READS
    assert "openat" in {one["type"] for one in found["event_types"]}
    assert f"{READS}  marked file read\n" in table


def test_the_agent_goes_on_where_the_socket_cannot_be_made(tmp_path: Path, mark: str) -> None:
    rules, scratch = tmp_path / "rules.yaml", tmp_path / "agent"
    rules.write_text(RULES.format(name=mark))
    agent = Agent([rules], scratch)
    agent.status_socket.write_text("in the way")
    try:
        agent.start()
        assert "is there and is no socket" in agent.log()
        (tmp_path / mark).write_text("x")
        run_python(f"open({str(tmp_path / mark)!r}).close()")
        agent.expect("marked file read", mark)
    finally:
        agent.stop()
    assert agent.status_socket.read_text() == "in the way"
