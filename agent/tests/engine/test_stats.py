# SPDX-License-Identifier: Apache-2.0
"""The summary at the end of a run, in Falco's words."""

from __future__ import annotations

from typing import NamedTuple

from falco_py.engine.stats import Stats, drop_summary


class Rule(NamedTuple):
    name: str
    priority: int
    index: int  # type: ignore[assignment] # hides tuple.index


def test_a_quiet_run() -> None:
    assert Stats().summary() == "Events detected: 0\nRule counts by severity:\nTriggered rules by rule name:\n"


def test_severities_from_the_worst_and_rules_in_their_files_order() -> None:
    stats = Stats()
    info, critical = Rule("B info", 6, 0), Rule("A critical", 2, 1)
    for rule in (critical, info, info):
        stats.count(rule)
    assert stats.detected == 3
    assert stats.summary() == (
        "Events detected: 3\n"
        "Rule counts by severity:\n"
        "   CRITICAL: 1\n"
        "   INFO: 2\n"
        "Triggered rules by rule name:\n"
        "   B info: 2\n"
        "   A critical: 1\n"
    )


def test_a_rules_name_cannot_forge_a_line() -> None:
    stats = Stats()
    stats.count(Rule("a\nb", 0, 0))
    assert "   a\\nb: 1\n" in stats.summary()


def test_drops_are_told_in_falcos_words_with_the_reasons() -> None:
    assert drop_summary(0) == (
        "Syscall event drop monitoring:\n   - event drop detected: 0 occurrences\n   - num times actions taken: 0\n"
    )
    assert drop_summary(2, 1, {"file": 7, "process": 0}).endswith(
        "   - event drop detected: 2 occurrences\n   - num times actions taken: 1\n   - lost, file: 7\n"
    )
