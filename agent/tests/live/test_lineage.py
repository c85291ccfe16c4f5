# SPDX-License-Identifier: Apache-2.0
"""Programs that start one right after the other are all told, each with its own line of parents."""

from __future__ import annotations

import os
from pathlib import Path

from tests.live.harness import run_python
from tests.live.test_robustness import running

SPAWNED = 3000
RULES = """\
- rule: Spawned
  desc: A program of this test was started.
  condition: evt.type = execve and proc.args = MARK
  output: spawned | parent=%proc.ppid name=%proc.pname above=%proc.aname[2] pids=%proc.apid[2]
  priority: NOTICE
"""
# vfork and exec
SPAWN = """\
import os, sys
for _ in range(int(sys.argv[2])):
    os.waitpid(os.posix_spawn('/bin/true', ['true', sys.argv[1]], {}), 0)
print(os.getpid())
"""


def test_lineage_is_right_for_each_of_many_short_programs(tmp_path: Path, mark: str) -> None:
    rules = tmp_path / "rules.yaml"
    rules.write_text(RULES.replace("MARK", mark), encoding="utf-8")
    with running(tmp_path / "agent", rules=rules) as agent:
        done = run_python(SPAWN, mark, str(SPAWNED))
        assert done.returncode == 0, done.stderr
        assert agent._wait(lambda: len(agent.alerts) >= SPAWNED, 60), agent.log()
        assert agent.stop() == 0
    own = Path("/proc/self/comm").read_text(encoding="utf-8").strip()
    found = {
        tuple(str(alert.fields[name]) for name in ("proc.ppid", "proc.aname[2]", "proc.apid[2]"))
        for alert in agent.alerts
    }
    assert found == {(done.stdout.strip(), own, str(os.getpid()))}
    assert len(agent.alerts) == SPAWNED
    assert any("dropped by class: clone_fork 0, execve 0," in line for line in agent.errors)
