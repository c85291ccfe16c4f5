# SPDX-License-Identifier: Apache-2.0
"""The agent's own log: Falco's form, one line a call."""

from __future__ import annotations

import json
import os
import re
import socket
import time
from typing import TYPE_CHECKING

from falco_py.log import Level, Log, stamp
from falco_py.syslog import Syslog

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def lines(*messages: tuple[Level, str], level: Level = Level.INFO, iso: bool = False) -> list[str]:
    read, write = os.pipe()
    log = Log(level=level, iso=iso, fd=write)
    for severity, message in messages:
        log.write(severity, message)
    os.close(write)
    with os.fdopen(read) as file:
        return file.read().splitlines()


def test_the_stamp_is_ctimes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    assert stamp(1_741_109_748.9, iso=False) == "Tue Mar  4 17:35:48 2025"
    assert stamp(1_741_109_748.9, iso=True) == "2025-03-04T17:35:48+0000"


def test_a_line_is_stamp_and_message() -> None:
    (line,) = lines((Level.INFO, "hello"))
    assert re.fullmatch(r"[A-Z][a-z]{2} [A-Z][a-z]{2} [ 123]\d \d\d:\d\d:\d\d \d{4}: hello", line)
    (line,) = lines((Level.INFO, "hello"), iso=True)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+0000: hello", line)


def test_what_is_below_the_level_is_not_written() -> None:
    (line,) = lines((Level.DEBUG, "a"), (Level.NOTICE, "b"), (Level.ERROR, "c"), level=Level.WARNING)
    assert line.endswith(": c")


def test_a_message_is_one_line() -> None:
    (line,) = lines((Level.INFO, "a\nb\x1b"))
    assert line.endswith(": a\\nb\\x1b")


def test_a_log_that_is_switched_off_is_silent() -> None:
    log = Log(fd=-1)
    log.configure(level=Level.DEBUG, iso=False, enabled=False)
    log.error("x")
    assert log.lost == 0


def test_a_stderr_that_has_gone_is_counted() -> None:
    log = Log(fd=-1)
    log.error("x")
    assert log.lost == 1


def test_lines_may_be_json() -> None:
    read, write = os.pipe()
    log = Log(fd=write)
    log.configure(level=Level.INFO, iso=False, enabled=True, as_json=True)
    log.warning('a "b"\nc')
    os.close(write)
    with os.fdopen(read) as file:
        line = file.read()
    made = json.loads(line)
    assert (made["level"], made["message"], line.count("\n")) == ("warning", 'a "b"\nc', 1)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+0000", made["time"])


def test_lines_go_to_syslog_with_their_severity(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as daemon:
        daemon.bind(str(tmp_path / "log"))
        daemon.settimeout(10)
        log = Log()
        log.configure(level=Level.INFO, iso=False, enabled=False, syslog=Syslog(str(tmp_path / "log"), timeout_s=0))
        log.error("it failed\nbadly")
        assert re.fullmatch(rb"<27>.* falco\[\d+\]: it failed\\nbadly", daemon.recv(1000))


def test_a_syslog_daemon_that_takes_nothing_holds_up_nobody(tmp_path: Path) -> None:
    log = Log()
    log.configure(level=Level.INFO, iso=False, enabled=False, syslog=Syslog(str(tmp_path / "log"), timeout_s=0))
    log.error("nobody is there")
    assert log.syslog_lost == 1
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as daemon:
        daemon.bind(str(tmp_path / "log"))
        started_s = time.monotonic()
        for _ in range(1000):
            log.error("x")
        assert log.syslog_lost > 100
        assert time.monotonic() - started_s < 5


def test_lines_to_the_journal_bear_their_level_and_are_not_doubled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, write = os.pipe()
    status = os.fstat(write)
    monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino}")
    log = Log(fd=write)
    log.configure(level=Level.INFO, iso=False, enabled=True, syslog=Syslog(str(tmp_path / "log"), timeout_s=0))
    log.warning("hello")
    os.close(write)
    with os.fdopen(read) as file:
        assert re.fullmatch(r"<4>.*: hello\n", file.read())
    assert log.syslog_lost == 0
