# SPDX-License-Identifier: Apache-2.0
"""The events of tests become a report of what they never tried: rules that never fired, comparisons that were never
true, exceptions that never applied.

Invariant: a comparison in a macro counts once, however many rules use the macro.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..visible import visible
from .truth import is_idle

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .given import Given
    from .load import Trials
    from .outline import Clause
    from .truth import Finding


class Coverage:
    def __init__(self, trials: Trials) -> None:
        self.trials = trials
        self.fired: dict[str, int] = {rule.name: 0 for rule in trials.bundle.rules}
        self._true: set[str] = set()  # places of clauses that were true once

    def event(self, event: Given) -> None:
        """Takes note of what an event did."""
        for rule in self.trials.fired(event):
            self.fired[rule.name] += 1
        for rule in self.trials.bundle.rules:
            if event.name in rule.event_types:
                self._note(self.trials.finding(rule.name, event))

    def _note(self, finding: Finding) -> None:
        rest = [finding]
        while rest:
            one = rest.pop()
            if one.truth and one.clause.kind in ("check", "exception"):
                self._true.add(_key(one.clause))
            rest.extend(one.terms)

    # The report

    def _clauses(self, name: str) -> Iterator[Clause]:
        """What a test can try, in order of reading; an exception as a whole."""
        rest = [self.trials.outlines.rule(name)]
        while rest:
            one = rest.pop()
            if one.kind == "exception" or (one.check is not None and not is_idle(one.check)):
                yield one
            if one.kind != "exception":
                rest.extend(reversed(one.terms))

    def _tried(self, name: str) -> bool:
        return self.fired[name] > 0

    def untrue(self, name: str) -> list[Clause]:
        """Of a rule, the comparisons that were never true, in order of reading."""
        found = [one for one in self._clauses(name) if one.kind == "check"]
        return list({_key(one): one for one in found if _key(one) not in self._true}.values())

    def unused(self, name: str) -> list[Clause]:
        """Of a rule, the exceptions that never applied."""
        return [one for one in self._clauses(name) if one.kind == "exception" and _key(one) not in self._true]

    def summary(self) -> str:
        fired = sum(count > 0 for count in self.fired.values())
        clauses = {_key(one) for name in self.fired if self._tried(name) for one in self._clauses(name)}
        true = len(clauses & self._true)
        return (f"{fired} of {len(self.fired)} rules fired; of the comparisons and exceptions of these, {true} of "
                f"{len(clauses)} were true at least once")  # fmt: skip

    def text(self) -> str:
        lines = [f"Coverage: {self.summary()}"]
        silent = [name for name in self.fired if not self._tried(name)]
        if silent:
            lines += ["", "Rules that no test makes fire:", *(f"  {visible(name)}" for name in silent)]
        told: set[str] = set()
        for name in filter(self._tried, self.fired):
            rows = [f"  exception '{visible(one.name)}' never applied  ({one.place})" for one in self.unused(name)]
            fresh = [one for one in self.untrue(name) if _key(one) not in told]
            told.update(map(_key, fresh))
            rows += [f"  never true: {visible(one.text)}  ({one.place})" for one in fresh]
            if rows:
                lines += ["", f"{visible(name)}:", *rows]
        return "\n".join(lines)

    def json(self) -> dict[str, Any]:
        return {
            "rules": {
                name: {
                    "fired": self.fired[name],
                    "never_true": [{"text": one.whole, "place": one.place} for one in self.untrue(name)],
                    "exceptions_never_used": [one.name for one in self.unused(name)],
                }
                for name in self.fired
            }
        }


def _key(clause: Clause) -> str:
    return f"{clause.place} {clause.kind} {clause.whole or clause.name}"
