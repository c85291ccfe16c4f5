# SPDX-License-Identifier: Apache-2.0
"""`falco-py record`: what the kernel tells is written down, and `explain` reads it back."""

from __future__ import annotations

import json
import stat
import subprocess
import time
from typing import TYPE_CHECKING, Any

from tests.live.harness import READY, START_DEADLINE_S, agent_command

if TYPE_CHECKING:
    from pathlib import Path

RULE = """\
- rule: marked file read
  desc: d
  condition: evt.type in (open, openat) and evt.is_open_read = true and fd.filename = {name}
  output: read of %fd.name by %proc.name
  priority: DEBUG
"""


def recording(directory: Path, *options: str) -> tuple[subprocess.Popen[str], Path]:
    """A recorder that captures, with the file that it writes to."""
    (directory / "rules.yaml").write_text(RULE.format(name="falco-py-recorded"))
    into, errors = directory / "events.jsonl", directory / "errors"
    command = [*agent_command(), "record", "-r", str(directory / "rules.yaml"), "-w", str(into), "-M", "60", *options]
    with errors.open("w") as told:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=told, stderr=told, text=True)
    deadline = time.monotonic() + START_DEADLINE_S
    while READY not in errors.read_text().lower():
        assert process.poll() is None, errors.read_text()
        assert time.monotonic() < deadline, errors.read_text()
        time.sleep(0.05)
    return process, into


def finished(process: subprocess.Popen[str]) -> int:
    try:
        return process.wait(timeout=30)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def explanation(directory: Path, event: Path) -> str:
    command = [*agent_command(), "explain", "marked file read", "-r", str(directory / "rules.yaml")]
    done = subprocess.run([*command, "--event", str(event)], capture_output=True, text=True, timeout=60, check=True)
    return done.stdout


def test_what_fires_is_recorded_whole_and_explains_itself(tmp_path: Path) -> None:
    marked = tmp_path / "falco-py-recorded"
    marked.write_text("x")
    process, into = recording(tmp_path, "--firing", "-n", "1")
    try:
        subprocess.run(["cat", str(marked)], stdout=subprocess.DEVNULL, check=True)
    finally:
        code = finished(process)
    assert code == 0
    assert stat.S_IMODE(into.stat().st_mode) == 0o600
    (line,) = into.read_text().splitlines()
    event: dict[str, Any] = json.loads(line)
    assert event["fd.name"] == str(marked)
    assert event["evt.arg[flags]"] == "O_RDONLY"
    assert "proc.env" not in event
    explained = explanation(tmp_path, into)
    assert "the rule matches: every part of the condition holds" in explained
    assert f"Alert: read of {marked} by cat" in explained


def test_what_does_not_fire_is_recorded_too_so_that_it_can_be_asked_why(tmp_path: Path) -> None:
    other = tmp_path / "falco-py-recorded-not"
    other.write_text("x")
    process, into = recording(tmp_path, "--type", "openat", "-n", "100000")
    try:
        subprocess.run(["cat", str(other)], stdout=subprocess.DEVNULL, check=True)
    finally:
        process.terminate()
        code = finished(process)
    assert code == 0
    mine = [line for line in into.read_text().splitlines() if json.loads(line)["fd.name"] == str(other)]
    assert mine
    (tmp_path / "one.jsonl").write_text(mine[0] + "\n")
    explained = explanation(tmp_path, tmp_path / "one.jsonl")
    assert "fd.filename = falco-py-recorded is false (fd.filename is falco-py-recorded-not)" in explained
