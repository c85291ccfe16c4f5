# SPDX-License-Identifier: Apache-2.0
"""A rule, and perhaps written events, become an explanation: what it asks, where it runs, and why it fires or not.

Invariant: the verdict on an event is that of the compiled rule whenever the event says enough; it is never a guess.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..rules.bundle import Default, Loader
from ..rules.grammar import MAX_DEPTH, deep_recursion
from ..rules.priority import Priority
from ..rules.sources import RUN
from ..visible import visible
from .filtering import filtering
from .truth import decider, value_text
from .wording import WORDS, asked, because, tree, verdicts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..rules.bundle import Rule
    from .events import Written
    from .filtering import Filtering
    from .given import Given
    from .load import Trials
    from .outline import Clause
    from .truth import Finding, Truth

_MANY_TYPES = 12
_INDENT = "  "


class Explanation:
    """Of one rule. `events`: (as written, with what follows from it)."""

    def __init__(self, trials: Trials, name: str, events: Sequence[tuple[Written, Given]] = ()) -> None:
        self.trials = trials
        self.rule = trials.rules[name]
        self.events = events

    # For reading

    def text(self) -> str:
        lines = self._head()
        if not self.events:
            with deep_recursion(MAX_DEPTH):
                lines += ["Condition:", *(_INDENT + line for line in tree(self.trials.outlines.rule(self.rule.name)))]
                if self.rule.source in RUN:
                    told = [line for one in self._filtering() for line in one.text()]
                    lines += ["In the kernel (how many calls is a guess):", *(_INDENT + line for line in told)]
        for written, event in self.events:
            lines += ["", *self._event(written, event)]
        return "\n".join(lines)

    def _head(self) -> list[str]:
        rule = self.rule
        state = "enabled" if rule.enabled else "disabled: it fires only once it is enabled"
        lines = [f"Rule: {visible(rule.name)}",
                 f"Stands in: {rule.place}, priority {rule.priority.text}, source {rule.source}, {state}"]  # fmt: skip
        if rule.source in RUN:
            lines.append(f"Runs on: {self._types()}")
        else:
            lines.append(f"Runs on: nothing here, because events of source {rule.source} are not read yet")
        return [*lines, f"Says: {visible(rule.output)}"]

    def _filtering(self) -> list[Filtering]:
        return filtering(self.rule, self.trials.outlines.rule(self.rule.name), self.trials.plan(self.rule))

    def _types(self) -> str:
        types = sorted(self.rule.event_types)
        if not types:
            return "no event: the condition can hold for none"
        if len(types) == len(self.trials.catalogue.universe):
            return f"all {len(types)} event types: the condition names none"
        if len(types) > _MANY_TYPES:
            return f"{', '.join(types[:_MANY_TYPES])}, ... {len(types)} event types in all"
        return ", ".join(types)

    def _event(self, written: Written, event: Given) -> list[str]:
        finding = self.trials.finding(self.rule.name, event)
        kind = f" ({event.name})" if event.name else ""
        lines = [f"Event {visible(written.title)}{kind}: {self.verdict(finding, event, written.rule)}"]
        if finding.truth:
            lines.append(f"Alert: {visible(self.rule.format.format(event))}")  # type: ignore[arg-type]
        taken = self.trials.before(self.rule, event) if finding.truth else None
        if taken is not None:
            lines.append(f"But: '{visible(taken.name)}' stands before it and matches too, so that rule fires instead "
                         "(rule_matching is first)")  # fmt: skip
        if written.ignored:
            lines.append(f"Left out, because these are no fields: {visible(', '.join(written.ignored))}")
        with deep_recursion(MAX_DEPTH):
            return [*lines, *(_INDENT + line for line in verdicts(finding))]

    def verdict(self, finding: Finding, event: Given, alert_of: str = "") -> str:
        """The sentence above the tree. `alert_of`: the rule that the event is an alert of."""
        types = self.rule.event_types
        if event.name and self.rule.source in RUN and event.name not in types:
            return f"the rule does not match: it runs on {self._types()}, not on {event.name}"
        if finding.truth is None and alert_of == self.rule.name:
            return (
                f"the rule matched, as the alert says; of what it depends on, the alert does not show {asked(finding)}"
            )
        word = {True: "the rule matches", False: "the rule does not match", None: "it cannot be told"}[finding.truth]
        return f"{word}: {because(finding)}"

    # For programs

    def json(self) -> dict[str, Any]:
        rule = self.rule
        with deep_recursion(MAX_DEPTH):
            made: dict[str, Any] = {
                "rule": rule.name,
                "place": rule.place,
                "priority": rule.priority.text,
                "source": rule.source,
                "enabled": rule.enabled,
                "event_types": sorted(rule.event_types),
                "condition": _clause_json(self.trials.outlines.rule(rule.name)),
            }
            if not self.events and rule.source in RUN:
                made["filtering"] = [one.json() for one in self._filtering()]
            if self.events:
                made["events"] = [self._event_json(written, event) for written, event in self.events]
            return made

    def _event_json(self, written: Written, event: Given) -> dict[str, Any]:
        finding = self.trials.finding(self.rule.name, event)
        taken = self.trials.before(self.rule, event) if finding.truth else None
        return {
            "event": written.title,
            "type": event.name,
            "matches": _truth(finding.truth),
            "because": self.verdict(finding, event, written.rule),
            "instead": None if taken is None else taken.name,
            "condition": _finding_json(finding, decider(finding)),
        }


def _truth(truth: Truth) -> bool | str:
    return WORDS[None] if truth is None else truth


def _clause_json(clause: Clause) -> dict[str, Any]:
    made: dict[str, Any] = {"clause": clause.kind}
    if clause.name:
        made["name"] = clause.name
    if clause.whole:
        made["text"] = clause.whole
    if clause.place:
        made["place"] = clause.place
    if clause.terms:
        made["terms"] = [_clause_json(term) for term in clause.terms]
    return made


def _finding_json(finding: Finding, last: Finding) -> dict[str, Any]:
    made = {key: value for key, value in _clause_json(finding.clause).items() if key != "terms"}
    made["truth"] = _truth(finding.truth)
    if finding is last:
        made["decides"] = True
    if finding.values:
        made["values"] = {name: None if value is None else value_text(value) for name, value in finding.values}
    if finding.unsaid:
        made["unsaid"] = list(finding.unsaid)
    if finding.terms:
        made["terms"] = [_finding_json(term, last) for term in finding.terms]
    return made


def python(files: Sequence[tuple[str, str]], name: str | None, rule_matching: str = "first") -> str:
    """The Python that the agent runs: of one rule, or of all that are enabled. Raises RulesError and KeyError."""
    loader = Loader(Default())
    with deep_recursion(MAX_DEPTH):
        bundle = loader.load(files, Priority.DEBUG, rule_matching)
        sources = dict(bundle.source) if name is None else _source(loader, name, rule_matching)
    by_text: dict[str, list[str]] = {}
    for event, source in sources.items():
        by_text.setdefault(source, []).append(event)
    return "\n".join(f"# {', '.join(sorted(events))}\n{source}" for source, events in by_text.items())


def _source(loader: Loader, name: str, rule_matching: str) -> dict[str, str]:
    rule: Rule = next((one for one in loader.rules if one.name == name), None)  # type: ignore[assignment]
    if rule is None:
        raise KeyError(name)
    rule.index = 0
    made = {event: loader.compiler.matcher(event, [rule], rule_matching == "all") for event in sorted(rule.event_types)}
    return {event: one[0] for event, one in made.items() if one is not None}
