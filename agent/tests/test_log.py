# SPDX-License-Identifier: Apache-2.0
"""The agent's own log: Falco's form, one line a call."""

from __future__ import annotations

import os
import re
import time
from typing import TYPE_CHECKING

from falco_py.log import Level, Log, stamp

if TYPE_CHECKING:
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
