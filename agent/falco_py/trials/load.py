# SPDX-License-Identifier: Apache-2.0
"""Rules files become rules that can be tried on written events: compiled, with their outlines.

Invariant: the rules mean what they mean for the agent; only where their fields read values from differs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..kernel.pushdown import Rule as Asked
from ..kernel.pushdown import plan
from ..rules.bundle import Loader
from ..rules.grammar import MAX_DEPTH, deep_recursion
from ..rules.priority import Priority
from .given import GivenCatalogue
from .outline import Outlines
from .truth import Trial

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..config.model import AppendOutput, Selection
    from ..kernel.pushdown import Plan
    from ..rules.bundle import Rule
    from .given import Given
    from .truth import Finding


class Trials:
    """One load of rules. `every`: all rules that match fire, not the first only. Raises RulesError."""

    def __init__(
        self,
        files: Sequence[tuple[str, str]],
        *,
        rule_matching: str = "first",
        extra_output: Sequence[AppendOutput] = (),
        selections: Sequence[Selection] = (),
        base64: bool = False,
        min_priority: Priority = Priority.DEBUG,
        complete: bool = False,
    ) -> None:
        self.catalogue = GivenCatalogue()
        self.every = rule_matching == "all"
        self.loader = Loader(self.catalogue, extra_output, selections, base64=base64)
        with deep_recursion(MAX_DEPTH):
            self.bundle = self.loader.load(files, min_priority, rule_matching)
        self.rules: dict[str, Rule] = {rule.name: rule for rule in self.loader.rules}
        self.outlines = Outlines(self.loader)
        self._plan: tuple[tuple[Rule, ...], Plan] | None = None
        self.trial = Trial(self.loader.writer, complete=complete)

    def fired(self, event: Given) -> tuple[Rule, ...]:
        """The rules that alert on an event, as the compiled matchers say."""
        matcher = self.bundle.matchers.get(event.name)
        found = None if matcher is None else matcher(event)
        if found is None:
            return ()
        return tuple(found) if self.every else (found,)

    def plan(self, rule: Rule) -> Plan:
        """What the kernel filters for the rules that are enabled, and for this one."""
        rules = self.bundle.rules if rule in self.bundle.rules else (*self.bundle.rules, rule)
        if self._plan is None or self._plan[0] != rules:
            self._plan = rules, plan(Asked(one.name, one.event_types, one.tree) for one in rules)
        return self._plan[1]

    def finding(self, rule: str, event: Given) -> Finding:
        """What holds of a rule's condition. Raises KeyError."""
        with deep_recursion(MAX_DEPTH):
            return self.trial.of(self.outlines.rule(rule), event)

    def before(self, rule: Rule, event: Given) -> Rule | None:
        """The rule that takes the event away: where the first that matches fires, one before `rule` that does."""
        if self.every:
            return None
        for one in self.bundle.rules:
            if one is rule:
                return None
            if event.name in one.event_types and self.finding(one.name, event).truth:
                return one
        return None
