# SPDX-License-Identifier: Apache-2.0
"""What must not break the agent: signals, crashes, a second one beside it, hostile names, floods."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.live.harness import DEFAULT_RULES, Agent, marker, run_python

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

READ_SHADOW = "open('/etc/shadow').close()"
UNTRUSTED = "Read sensitive file untrusted"
FLOOD_PAIRS = 200_000
EXIT_SUMMARY = "Events detected: "


@contextmanager
def running(scratch: Path, *options: str, json_output: bool = True, rules: Path = DEFAULT_RULES) -> Iterator[Agent]:
    agent = Agent([rules], scratch, options, json_output)
    try:
        yield agent.start()
    finally:
        agent.kill()


def test_it_works_again_after_it_was_killed(tmp_path: Path, mark: str) -> None:
    with running(tmp_path / "first") as first:
        first.process.kill()  # type: ignore[union-attr]
        assert first.wait(deadline_s=10) == -signal.SIGKILL
    with running(tmp_path / "second") as second:
        run_python(READ_SHADOW, mark)
        second.expect(UNTRUSTED, mark)
        assert second.stop() == 0


def test_a_second_agent_works_beside_the_first(agent: Agent, tmp_path: Path, mark: str) -> None:
    with running(tmp_path / "second") as second:
        run_python(READ_SHADOW, mark)
        second.expect(UNTRUSTED, mark)
        agent.expect(UNTRUSTED, mark)
        assert second.stop() == 0
    after = marker()
    run_python(READ_SHADOW, after)
    agent.expect(UNTRUSTED, after)


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_on_a_signal_with_a_summary(tmp_path: Path, mark: str, signal_number: signal.Signals) -> None:
    with running(tmp_path / "agent") as agent:
        for _ in range(3):
            run_python(READ_SHADOW, mark)
        agent.settle()
        mine = [alert for alert in agent.alerts if alert.rule == UNTRUSTED]
        assert agent.stop(signal_number) == 0
    text = "\n".join(agent.lines)
    total = int(re.search(r"^Events detected: (\d+)$", text, re.MULTILINE).group(1))  # type: ignore[union-attr]
    assert total == len(agent.alerts)
    severities = dict(re.findall(r"^   ([A-Z]+): (\d+)$", text, re.MULTILINE))
    assert int(severities["WARNING"]) >= 3
    assert int(severities["DEBUG"]) >= 2
    assert sum(int(count) for count in severities.values()) == total
    rules = dict(re.findall(r"^   (\S.*): (\d+)$", text.split("Triggered rules by rule name:")[1], re.MULTILINE))
    assert int(rules[UNTRUSTED]) >= len(mine) >= 3
    assert "Rule counts by severity:" in text


def test_it_ends_by_itself_after_the_time_it_was_given(tmp_path: Path) -> None:
    with running(tmp_path / "agent", "-M", "1") as agent:
        assert agent.wait(deadline_s=20) == 0
        assert any(line.startswith(EXIT_SUMMARY) for line in agent.lines)


def test_arguments_cannot_forge_a_line(tmp_path: Path, mark: str) -> None:
    forged = f"{mark}\n12:00:00.000000000: Critical forged-{mark}\r\x1b[2J\x1b[1A\x9b2K"
    with running(tmp_path / "agent", json_output=False) as agent:
        run_python(READ_SHADOW, forged)
        line = agent.expect_line(mark)
        agent.settle()
        assert agent.stop() == 0
    about = [line for line in agent.lines if mark in line]
    assert about == [line], "one alert is one line"
    assert re.match(r"\d\d:\d\d:\d\d\.\d{9}: Warning Sensitive file", line)
    assert not any(ord(character) < 0x20 or 0x7F <= ord(character) < 0xA0 for character in line)


def test_arguments_cannot_break_json(agent: Agent, mark: str) -> None:
    run_python(READ_SHADOW, f'{mark}"}}\n{{"rule": "forged", "tail": "\x1b[2J')
    alert = agent.expect(UNTRUSTED, mark)
    assert '"rule": "forged"' in alert.fields["proc.cmdline"]
    assert not [alert for alert in agent.alerts if alert.rule == "forged"]


def test_bytes_that_are_no_text_do_not_stop_an_alert(agent: Agent, mark: str) -> None:
    subprocess.run([b"cat", b"/etc/shadow", b"/nowhere/\xff\xfe" + mark.encode()], check=False, capture_output=True)
    agent.expect(UNTRUSTED, mark)


@pytest.mark.parametrize("size_bytes", [4_000, 5_000, 20_000, 120_000])
def test_a_process_with_long_arguments_is_reported(agent: Agent, mark: str, size_bytes: int) -> None:
    run_python(READ_SHADOW, mark, "x" * size_bytes, f"end-{mark}")
    alert = agent.expect(UNTRUSTED, mark)
    assert alert.fields["fd.name"] == "/etc/shadow"
    assert alert.fields["proc.cmdline"].startswith("python")


def test_a_process_with_many_arguments_is_reported(agent: Agent, mark: str) -> None:
    run_python(READ_SHADOW, mark, *(["word"] * 5_000))
    agent.expect(UNTRUSTED, mark)


LONG_PATH_RULES = """\
- rule: Marked file opened
  desc: A file of the test of long paths was opened.
  condition: evt.type in (open, openat, openat2) and fd.filename = MARK
  output: marked | file=%fd.name
  priority: NOTICE
"""
# The path is made step by step: such a long one cannot be passed at once.
OPEN_FAR_DOWN = """\
import os, sys
base, name, mark, depth = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
os.chdir(base)
for _ in range(depth):
    os.mkdir(name); os.chdir(name)
os.close(os.open(mark, os.O_CREAT | os.O_RDWR))
os.unlink(mark)
for _ in range(depth):
    os.chdir('..'); os.rmdir(name)
"""
PATH_MAX = 4096


def name_of_a_file_far_down(tmp_path: Path, mark: str, name: str, depth: int) -> str:
    """What fd.name says of a file below `depth` directories called `name`."""
    rules = tmp_path / "rules.yaml"
    rules.write_text(LONG_PATH_RULES.replace("MARK", mark), encoding="utf-8")
    (tmp_path / "tree").mkdir()
    with running(tmp_path / "agent", rules=rules) as agent:
        done = run_python(OPEN_FAR_DOWN, str(tmp_path / "tree"), name, mark, str(depth))
        assert done.returncode == 0, done.stderr
        return str(agent.expect("Marked file opened", mark).fields["fd.name"])


@pytest.mark.parametrize("name_bytes", [1, 20, 200, 255])
def test_a_path_of_nearly_the_greatest_length_is_resolved_whole(tmp_path: Path, mark: str, name_bytes: int) -> None:
    name = "d" * name_bytes
    room = PATH_MAX - len(str(tmp_path / "tree" / mark)) - 1
    depth = min(room // (name_bytes + 1), 200)
    expected = os.path.join(tmp_path / "tree", *([name] * depth), mark)
    assert name_of_a_file_far_down(tmp_path, mark, name, depth) == expected


def test_a_longer_path_than_the_greatest_keeps_its_end(tmp_path: Path, mark: str) -> None:
    name = "d" * 200
    assert name_of_a_file_far_down(tmp_path, mark, name, 40).endswith(f"/{name}/{name}/{mark}")


def test_a_flood_of_opens_loses_nothing(tmp_path: Path, mark: str, probe: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"")
    with running(tmp_path / "agent") as agent:
        subprocess.run([probe, "flood", file, str(FLOOD_PAIRS)], check=True, timeout=300)
        run_python(READ_SHADOW, mark)
        agent.expect(UNTRUSTED, mark, timeout_s=30)
        assert agent.stop() == 0
    drops = [line for line in (*agent.lines, *agent.errors) if "event drop detected:" in line]
    assert drops, agent.log()
    assert all("event drop detected: 0 occurrences" in line for line in drops)


def test_the_alerts_in_the_middle_of_a_flood_are_all_there(tmp_path: Path, mark: str, probe: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"")
    with running(tmp_path / "agent") as agent:
        flood = subprocess.Popen([probe, "flood", str(file), str(FLOOD_PAIRS)])
        try:
            for number in range(10):
                run_python(READ_SHADOW, f"{mark}-{number}")
        finally:
            flood.wait(timeout=300)
        for number in range(10):
            agent.expect(UNTRUSTED, f"{mark}-{number}", timeout_s=30)
