# SPDX-License-Identifier: Apache-2.0
"""What was detected becomes the summary at the end of a run, in Falco's words.

Invariant: counting never fails and costs two additions an alert; all text is made at the end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from ..visible import visible

if TYPE_CHECKING:
    from collections.abc import Mapping

_SHORT: Final = ("EMERGENCY", "ALERT", "CRITICAL", "ERROR", "WARNING", "NOTICE", "INFO", "DEBUG")


class RuleLike(Protocol):
    """What is read of a rule; `index` is its place in the order of the rules files."""

    @property
    def name(self) -> str: ...
    @property
    def priority(self) -> int: ...
    @property
    def index(self) -> int: ...


class Stats:
    """Alerts by severity and by rule; bounded by the number of rules."""

    __slots__ = ("_order", "by_rule", "by_severity")

    def __init__(self) -> None:
        self.by_severity = [0] * len(_SHORT)
        self.by_rule: dict[str, int] = {}
        self._order: dict[str, int] = {}

    def count(self, rule: RuleLike) -> None:
        self.by_severity[rule.priority] += 1
        name = rule.name
        if name not in self.by_rule:
            self.by_rule[name] = 0
            self._order[name] = rule.index
        self.by_rule[name] += 1

    @property
    def detected(self) -> int:
        return sum(self.by_severity)

    def summary(self) -> str:
        """The text for stdout: severities from the worst, rules in the order of their files; lines end with newline."""
        lines = [f"Events detected: {self.detected}", "Rule counts by severity:"]
        lines += [f"   {name}: {count}" for name, count in zip(_SHORT, self.by_severity, strict=True) if count]
        lines.append("Triggered rules by rule name:")
        names = sorted(self.by_rule, key=lambda name: (self._order[name], name))
        lines += [f"   {visible(name)}: {self.by_rule[name]}" for name in names]
        return "\n".join(lines) + "\n"


def drop_summary(occurrences: int, actions: int = 0, lost: Mapping[str, int] | None = None) -> str:
    """The text for stderr: how often events were lost, and for each reason how many; lines end with newline.

    `occurrences` counts the seconds in which events were lost, `lost` the events by reason (a blind spot's name).
    """
    lines = [
        "Syscall event drop monitoring:",
        f"   - event drop detected: {occurrences} occurrences",
        f"   - num times actions taken: {actions}",
    ]
    lines += [f"   - lost, {visible(reason)}: {count}" for reason, count in (lost or {}).items() if count]
    return "\n".join(lines) + "\n"
