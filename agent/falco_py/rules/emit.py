# SPDX-License-Identifier: Apache-2.0
"""Simplified conditions of an event type's rules become the source of one Python function.

Values and comparisons that stand in several places are read and made at most once, when first needed; of the parts of
an `and` or `or` the cheap and telling ones come first. Invariant: the order of the rules is kept, and parts that read
a pinned value stay where they were written.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .terms import Folded, Term

UNSET = object()  # a value that was not read yet; None is a value
_DEEPEST = 20  # levels in one expression; Python's compiler takes some 90 parentheses
_LOCAL_NS = 10
Known = frozenset[str]
Emitted = tuple[str, Known, Known]  # source; locals set after it was true; after it was false


class Emitter:
    """One function, of the name `name`. `rules`: (name, comment, condition) in order; `every`: give all that match."""

    def __init__(self, rules: Sequence[tuple[str, str, Folded]], every: bool, name: str = "match") -> None:
        self.rules = rules
        self.every = every
        self.name = name
        self._value_names: dict[str, str] = {}
        self._test_names: dict[Term, str] = {}
        self._taken: set[str] = set()
        self._set: set[str] = set()  # locals that some place before sets
        self._unset: dict[str, str] = {}  # locals that may be read unset -> what they begin as
        self._parts: list[str] = []
        self._order: dict[Term, tuple[Term, ...]] = {}
        self._weights: dict[Term, tuple[float, float]] = {}
        self._value_uses: Counter[str] = Counter()  # comparisons that read it
        self._reads: Counter[str] = Counter()  # places that read it
        self._test_uses: Counter[Term] = Counter()
        self._count(term for _, _, term in rules if not isinstance(term, bool))

    def source(self) -> str:
        lines: list[str] = []
        known: Known = frozenset()
        for name, comment, condition in self.rules:
            done = f"found.append({name})" if self.every else f"return {name}"
            lines.append(f"    # {comment}")
            if isinstance(condition, bool):  # it always holds
                lines.append(f"    {done}")
                if not self.every:
                    break
                continue
            code, true, false = self._written(condition, known)
            known = true & false if self.every else false
            lines += [f"    if {code}:", f"        {done}"]
        head = [f"def {self.name}(e):"]
        if self.every:
            head.append("    found = []")
        for start in ("None", "UNSET"):
            names = [name for name, begins in self._unset.items() if begins == start]
            if names:
                head.append(f"    {' = '.join(names)} = {start}")
        tail = "    return tuple(found)" if self.every else "    return None"
        return "".join(self._parts) + "\n".join([*head, *lines, tail]) + "\n"

    # Uses

    def _count(self, terms: Iterable[Term]) -> None:
        rest = list(terms)
        while rest:
            term = rest.pop()
            if term.test is None:
                rest.extend(term.terms)
                continue
            self._test_uses[term] += 1
            self._reads.update(term.test.values)
            if self._test_uses[term] == 1:
                self._value_uses.update(term.test.values)

    def _name(self, wish: str) -> str:
        base = re.sub(r"\W+", "_", wish, flags=re.ASCII).strip("_").lower() or "value"
        name, number = f"{base}_", 1
        while name in self._taken:
            number += 1
            name = f"{base}_{number}"
        self._taken.add(name)
        return name

    # Order

    def _weight(self, term: Term) -> tuple[float, float]:
        """(expected cost in ns, how often it holds)."""
        found = self._weights.get(term)
        if found is None:
            found = self._weights[term] = self._weighed(term)
        return found

    def _weighed(self, term: Term) -> tuple[float, float]:
        test = term.test
        if test is not None:
            read = sum(ns / self._reads[code] for ns, code in zip(test.read_ns, test.values, strict=True))
            return _LOCAL_NS + read + test.body_ns / self._test_uses[term], test.likely
        if term.kind == "not":
            cost, likely = self._weight(term.terms[0])
            return cost, 1 - likely
        cost, reached = 0.0, 1.0
        for one in self._ordered(term):
            own, likely = self._weight(one)
            cost += reached * own
            reached *= likely if term.kind == "and" else 1 - likely
        return cost, reached if term.kind == "and" else 1 - reached

    def _ordered(self, term: Term) -> tuple[Term, ...]:
        found = self._order.get(term)
        if found is None:
            found = term.terms
            if not term.pinned:
                ends = 1.0 if term.kind == "and" else 0.0

                def rank(one: Term) -> float:
                    cost, likely = self._weight(one)
                    return cost / max(0.001, abs(ends - likely))

                found = tuple(sorted(found, key=rank))
            self._order[term] = found
        return found

    # Source

    def _written(self, term: Term, known: Known) -> Emitted:
        if term.test is not None:
            return self._test(term, known)
        if term.kind == "not":
            code, true, false = self._inner(term.terms[0], known)
            return f"not ({code})", false, true
        codes: list[str] = []
        ends: list[Known] = []  # locals set where it is left early
        at = known
        for one in self._ordered(term):
            code, true, false = self._inner(one, at)
            codes.append(f"({code})" if one.kind in ("and", "or") else code)
            at, left = (true, false) if term.kind == "and" else (false, true)
            ends.append(left)
        early = frozenset.intersection(*ends)
        code = f" {term.kind} ".join(codes)
        return (code, at, early) if term.kind == "and" else (code, early, at)

    def _inner(self, term: Term, known: Known) -> Emitted:
        """As `_written`; what is too deep for Python's compiler becomes a function of its own."""
        if term.height % _DEEPEST or term.test is not None:
            return self._written(term, known)
        name = f"{self.name}_part{len(self._parts)}"
        self._parts.append(Emitter([("True", "a part of a deep condition", term)], False, name).source())
        return f"{name}(e)", known, known

    def _test(self, term: Term, known: Known) -> Emitted:
        test = term.test
        assert test is not None
        if term.pinned:
            return test.expression(), known, known
        if self._test_uses[term] < 2:
            return self._plain(term, known)
        name = self._test_names.get(term)
        if name is None:
            name = self._test_names[term] = self._name(f"{test.names[0]}_{term.check.op if term.check else ''}")
        if name in known:
            return name, known, known
        before = name in self._set
        code, true, false = self._plain(term, known)
        self._set.add(name)
        if not before:
            return f"({name} := {code})", true | {name}, false | {name}
        self._unset[name] = "None"
        return f"({name} if {name} is not None else ({name} := {code}))", known | {name}, known | {name}

    def _plain(self, term: Term, known: Known) -> Emitted:
        test = term.test
        assert test is not None
        guards: list[str] = []
        operands: list[str] = []
        early = known
        for index, (value, spelled) in enumerate(zip(test.values, test.names, strict=True)):
            if not test.needs and self._value_uses[value] < 2:
                operands.append(value)
                continue
            code, name = self._value(value, spelled, known)
            known = known | {name}
            if index == 0:
                early = known
            if test.needs:
                guards.append(f"{code} is not None" if test.needs == "there" else f"bool({code})")
                operands.append(name)
            else:
                operands.append(code)
        body = test.filled(tuple(operands))
        if not test.needs:
            return f"({body})", known, known
        return f"({' and '.join([*guards, f'({body})'])})", known, early

    def _value(self, value: str, spelled: str, known: Known) -> tuple[str, str]:
        """(source, the local that holds it afterwards)."""
        name = self._value_names.get(value)
        if name is None:
            name = self._value_names[value] = self._name(spelled)
        if name in known:
            return name, name
        if name not in self._set:
            self._set.add(name)
            return f"({name} := {value})", name
        self._unset[name] = "UNSET"
        return f"({name} if {name} is not UNSET else ({name} := {value}))", name
