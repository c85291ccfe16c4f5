# SPDX-License-Identifier: Apache-2.0
"""A condition and a written event become what holds: true, false, or unknown (None) where the event does not say.

Kleene's logic, so that a verdict is given whenever what is known suffices. Invariant: over an event that says all that
is asked, the verdict is that of the compiled rule.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..rules.checks import fields
from ..rules.formats import show
from ..rules.inference import is_never
from ..rules.syntax import spelled as written
from ..visible import visible
from .given import spelled

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..rules.expressions import Writer
    from ..rules.syntax import Check
    from .given import Given
    from .outline import Clause

Truth = bool | None
_LONGEST_VALUE = 200  # characters shown of a value


@dataclass(frozen=True, slots=True, eq=False)
class Finding:
    """What holds of a clause. `values`: (field, its value or None for a missing one) that a comparison read;
    `unsaid`: the fields that the event does not say."""

    clause: Clause
    truth: Truth
    terms: tuple[Finding, ...] = ()
    values: tuple[tuple[str, Any], ...] = ()
    unsaid: tuple[str, ...] = ()


class Trial:
    """Tests the clauses of one load. `complete`: what an event does not say is missing, not unknown."""

    def __init__(self, writer: Writer, *, complete: bool) -> None:
        self.writer = writer
        self.complete = complete
        self._tests: dict[int, tuple[Check, Callable[[Given], Any]]] = {}

    def of(self, clause: Clause, event: Given) -> Finding:
        if clause.check is not None:
            return self._check(clause, clause.check, event)
        terms = tuple(self.of(term, event) for term in clause.terms)
        truths = [term.truth for term in terms]
        if clause.kind == "not":
            truth: Truth = None if truths[0] is None else not truths[0]
        elif clause.kind == "or":
            truth = True if True in truths else None if None in truths else False
        else:  # macros and exceptions have one term
            truth = False if False in truths else None if None in truths else True
        return Finding(clause, truth, terms)

    def _check(self, clause: Clause, check: Check, event: Given) -> Finding:
        if is_idle(check):
            return Finding(clause, False)
        asked = []
        for expr in fields(check):
            row, arg = self.writer.catalogue.lookup(written(expr))
            asked.append(spelled(row, arg))
        unsaid = () if self.complete else tuple(name for name in asked if not event.known(name))
        values = tuple((name, event.values.get(name)) for name in asked if name not in unsaid)
        if unsaid:
            return Finding(clause, None, values=values, unsaid=unsaid)
        found = bool(self._test(check)(event))
        part = tuple(name for name in asked if name in event.partial)
        if part and not found:
            return Finding(clause, None, values=values, unsaid=part)
        return Finding(clause, found, values=values)

    def _test(self, check: Check) -> Callable[[Given], Any]:
        found = self._tests.get(id(check))
        if found is None:
            test = eval(f"lambda e: {self.writer.check(check)}", self.writer.names)
            found = self._tests[id(check)] = check, test
        return found[1]


def is_idle(check: Check) -> bool:
    """Is it there to be overridden, and can never be true as it is?"""
    return is_never(check) or check.right == ()


def decider(finding: Finding) -> Finding:
    """The part that decided: of an `and` that is false, what is false first; and so on, down to a comparison or to a
    group that holds, or fails, as a whole."""
    while finding.terms:
        kind = finding.clause.kind
        if kind in ("and", "or"):
            if finding.truth is (kind == "and"):
                return finding
            finding = next(term for term in finding.terms if term.truth is finding.truth)
        else:
            finding = finding.terms[0]
    return finding


def unsaid(finding: Finding) -> list[str]:
    """The fields that would have to be known."""
    found: dict[str, None] = {}
    rest = [finding]
    while rest:
        one = rest.pop()
        if one.truth is None:
            found.update(dict.fromkeys(one.unsaid))
            rest.extend(reversed(one.terms))
    return list(found)


def value_text(value: Any) -> str:
    if value is None:
        return "missing"
    text = visible(show(value))
    if len(text) > _LONGEST_VALUE:
        text = text[:_LONGEST_VALUE] + "..."
    return f'"{text}"' if isinstance(value, str) and (not text or text != text.strip() or " " in text) else text


def reads(finding: Finding) -> str:
    """`proc.name is cat, fd.num is not said`."""
    said = [f"{name} is {value_text(value)}" for name, value in finding.values if name not in finding.unsaid]
    said += [f"{name} is only partly known" if name in dict(finding.values) else f"{name} is not said"
             for name in finding.unsaid]  # fmt: skip
    return ", ".join(dict.fromkeys(said))
