# SPDX-License-Identifier: Apache-2.0
"""Rules in order of evaluation become those that can never be first: an earlier rule always matches when they would.

For `rule_matching: first` only. Whether a condition implies another is read off their shapes; what needs thought is
not found. Invariant: a rule that is told of never fires; the search is bounded by `MAX_STEPS`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .inference import EVENT_TYPE_FIELDS, is_never, names_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .bundle import Rule
    from .shapes import Shape, Shapes

MAX_STEPS = 200_000  # of comparing shapes, all rules together
_PARTS = frozenset(("startswith", "endswith", "contains"))


class OutOfStepsError(Exception):
    """The rules are too large to look through."""


def shadowed(rules: Sequence[Rule], shapes: Shapes) -> Iterator[tuple[Rule, tuple[Rule, ...]]]:
    """(rule, the earlier rules that leave nothing to it) for rules that can never fire."""
    search = _Search()
    made = [(rule, shapes.of(rule.tree)) for rule in rules]
    known = [(rule, shape, _needs(shape)) for rule, shape in made if not search.is_never(shape)]
    try:
        for index, (rule, shape, _) in enumerate(known):
            has = _mentions(shape)
            left = rule.event_types
            by: list[Rule] = []
            for earlier, other, needs in known[:index]:
                if not needs <= has or rule.source != earlier.source:
                    continue
                shared = left & earlier.event_types
                if shared and search.implies(shape, other, shared):
                    left, by = left - shared, [*by, earlier]
            if by and not left:
                yield rule, tuple(by)
    except OutOfStepsError:
        return


def _terms(shape: Shape) -> tuple[Shape, ...]:
    return shape.terms if shape.kind == "and" else (shape,)


def _needs(shape: Shape) -> frozenset[str]:
    """What a condition must speak of to imply `shape`."""
    wanted = (term for term in _terms(shape) if term.left and term.left not in EVENT_TYPE_FIELDS)
    return frozenset(term.left for term in wanted if not _is_never_negated(term))


def _is_never_negated(shape: Shape) -> bool:
    """`not evt.num = 0`: how a macro that is never true excludes nothing."""
    check = shape.terms[0].check if shape.kind == "not" else None
    return check is not None and is_never(check)


def _mentions(shape: Shape) -> frozenset[str]:
    found: set[str] = set()
    rest, seen = [shape], {shape}
    while rest:
        one = rest.pop()
        if one.left:
            found.add(one.left)
        fresh = [term for term in one.terms if term not in seen]
        seen.update(fresh)
        rest += fresh
    return frozenset(found)


class _Search:
    """Answers are kept for pairs of shapes that say nothing of event types."""

    def __init__(self) -> None:
        self._answers: dict[tuple[Shape, Shape], bool] = {}
        self._ordered: dict[Shape, tuple[Shape, ...]] = {}
        self._typed: dict[Shape, bool] = {}
        self._steps = MAX_STEPS

    def is_never(self, shape: Shape) -> bool:
        """Does an `evt.num = 0` stand in its outermost `and`? Such a rule was switched off on purpose."""
        return any(term.check is not None and is_never(term.check) for term in _terms(shape))

    def implies(self, given: Shape, wanted: Shape, types: frozenset[str]) -> bool:
        """Does `wanted` hold for every event of `types` that `given` holds for? False when that is not plain."""
        if given is wanted:
            return True
        if self._is_typed(wanted) or self._is_typed(given):
            return self._implies(given, wanted, types)
        key = given, wanted
        found = self._answers.get(key)
        if found is None:
            found = self._answers[key] = self._implies(given, wanted, types)
        return found

    def _implies(self, given: Shape, wanted: Shape, types: frozenset[str]) -> bool:
        self._steps -= 1
        if self._steps < 0:
            raise OutOfStepsError
        if wanted.kind == "and":
            return all(self.implies(given, term, types) for term in self._telling_first(wanted))
        if wanted.check is not None and wanted.left in EVENT_TYPE_FIELDS:
            return _holds_for_all(wanted, types)
        if wanted.kind == "not":
            if _is_never_negated(wanted):
                return True
            if wanted.left in EVENT_TYPE_FIELDS:
                return _holds_for_none(wanted.terms[0], types)
        if given.kind == "and":
            if wanted in given.members:
                return True
            if any(self.implies(term, wanted, types) for term in given.terms if _may_imply(term, wanted)):
                return True
        elif given.kind == "or":
            if all(self.implies(term, wanted, types) for term in given.terms):
                return True
        elif given.kind == "not" and wanted.kind == "not":
            return self.implies(wanted.terms[0], given.terms[0], types)
        elif given.kind == "check" and wanted.kind == "check":
            return _check_implies(given, wanted)
        if wanted.kind == "or":
            return given in wanted.members or any(self.implies(given, term, types) for term in wanted.terms)
        if wanted.kind == "not" and wanted.terms[0].kind == "or":
            return all(self._excludes(given, term, types) for term in wanted.terms[0].terms)
        return False

    def _telling_first(self, shape: Shape) -> tuple[Shape, ...]:
        """The terms of an `and`, those first that rule out most at least cost."""
        found = self._ordered.get(shape)
        if found is None:
            order = {"check": 0, "not": 1, "or": 2, "and": 2}
            ordered = sorted(shape.terms, key=lambda term: (self._is_typed(term), order[term.kind]))
            found = self._ordered[shape] = tuple(ordered)
        return found

    def _excludes(self, given: Shape, unwanted: Shape, types: frozenset[str]) -> bool:
        """Does `not unwanted` follow from a `not (... or ...)` of `given`, or a `not` of it?"""
        for term in _terms(given):
            if term.kind == "not":
                inner = term.terms[0]
                options = inner.terms if inner.kind == "or" else (inner,)
                if any(self.implies(unwanted, option, types) for option in options):
                    return True
        return False

    def _is_typed(self, shape: Shape) -> bool:
        found = self._typed.get(shape)
        if found is None:
            found = self._typed[shape] = shape.left in EVENT_TYPE_FIELDS or any(map(self._is_typed, shape.terms))
        return found


def _may_imply(given: Shape, wanted: Shape) -> bool:
    """Quickly: False for comparisons of different things, and for one that is negated and one that is not."""
    if given.kind == "check":
        return wanted.kind == "or" or (wanted.kind == "check" and wanted.left == given.left)
    return given.kind != "not" or wanted.kind != "check"


def _holds_for_all(shape: Shape, types: frozenset[str]) -> bool:
    check: Any = shape.check
    named = names_of(check)
    if check.modifier is not None or shape.left != "evt.type":
        return False
    if shape.operator == "in":
        return types <= named
    return check.op == "!=" and types.isdisjoint(named)


def _holds_for_none(shape: Shape, types: frozenset[str]) -> bool:
    check: Any = shape.check
    if check is None or check.modifier is not None or shape.left != "evt.type":
        return False
    named = names_of(check)
    if shape.operator == "in":
        return types.isdisjoint(named)
    return check.op == "!=" and types <= named


def _check_implies(given: Shape, wanted: Shape) -> bool:
    first, second = given.check, wanted.check
    if first is None or second is None or given.left != wanted.left:
        return False
    if not given.single or not wanted.single:
        return False
    if second.op == "exists":
        return True
    if not given.values or not wanted.values or second.modifier not in (None, "anyof"):
        return False
    if given.operator == "in" and wanted.operator == "in":
        return given.values <= wanted.values
    if first.modifier not in (None, "anyof") or wanted.operator not in _PARTS:
        return False
    if given.operator not in (wanted.operator, "in") or (
        given.field is not None and str(given.field.type) == "BYTEBUF"
    ):
        return False
    return all(any(_has(text, wanted.operator, part) for part in wanted.values) for text in given.values)


def _has(text: str, operator: str, part: str) -> bool:
    if operator == "startswith":
        return text.startswith(part)
    return text.endswith(part) if operator == "endswith" else part in text
