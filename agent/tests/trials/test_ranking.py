# SPDX-License-Identifier: Apache-2.0
"""The table of what rules cost a running agent."""

from __future__ import annotations

from typing import Any

import pytest

from falco_py.trials.ranking import ranking
from falco_py.web.status import StatusError

TOLD: dict[str, Any] = {
    "version": "1",
    "pid": 77,
    "uptime_s": 120.0,
    "events": 34567,
    "measured": 391,
    "unclaimed": 0,
    "rules": [
        {"rule": "quiet", "delivered": 0, "matches": 0, "ns": 0},
        {"rule": "small", "delivered": 300, "matches": 12, "ns": 3_600_000},
        {"rule": "starts", "delivered": 0, "matches": 0, "ns": 9_000_000},
        {"rule": "large", "delivered": 34000, "matches": 0, "ns": 400_000_000},
    ],
    "event_types": [
        {"type": "execve", "events": 267, "ns": 12_600_000},
        {"type": "openat", "events": 34300, "ns": 400_000_000},
    ],
}

TABLE = """\
Agent 77, running for 2 min: 34,567 events tested, 391 of them measured
delivered  a second  time ms  matches  rule
   34,000       283    400.0        0  large
      300       2.5      3.6       12  small
        0       0.0      9.0        0  starts
and 1 rules that cost nothing so far

tested  us each  time ms  event type
34,300     11.7    400.0  openat
   267     47.2     12.6  execve"""


def test_rules_that_draw_most_events_stand_first() -> None:
    assert ranking(TOLD) == TABLE


def test_names_cannot_drive_the_terminal() -> None:
    rules = [{"rule": "\x1b[31m", "delivered": 1, "matches": 0, "ns": 0}]
    assert "\x1b" not in ranking({**TOLD, "rules": rules, "event_types": []})


@pytest.mark.parametrize("told", [{}, {**TOLD, "rules": 3}, {**TOLD, "rules": [{}]}, {**TOLD, "pid": None}])
def test_what_no_agent_says_is_refused(told: dict[str, Any]) -> None:
    with pytest.raises(StatusError):
        ranking(told)
