# SPDX-License-Identifier: Apache-2.0
"""An opened tree becomes the pairs of comparisons that rule each other out: an `and` that can never be true, an `or`
that always is.

Only pairs whose fields have one value, and whose comparisons are plain, are looked at. Invariant: what is told is
certain, whatever an event holds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from .literals import INTEGERS, TEXTS, LiteralError, to_value
from .syntax import And, Check, Not, Or

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .shapes import Shape, Shapes
    from .syntax import Node

_ORDERS = frozenset(("<", "<=", ">", ">="))
_PARTS = frozenset(("startswith", "endswith", "contains"))


class Conflict(NamedTuple):
    """Two terms of one `and` (`always` False) or of one `or` (`always` True)."""

    first: Node
    second: Node
    always: bool


class Contradictions:
    """Looks through the trees of one load; a part that several trees share is looked at once."""

    def __init__(self, shapes: Shapes) -> None:
        self.shapes = shapes
        self._known: dict[int, tuple[Node, tuple[Conflict, ...]]] = {}

    def of(self, node: Node) -> tuple[Conflict, ...]:
        """The conflicts in `node` and below, those nearest to the root first."""
        if isinstance(node, Check):
            return ()
        found = self._known.get(id(node))
        if found is None:
            found = self._known[id(node)] = node, tuple(self._found(node))
        return found[1]

    def _found(self, node: Node) -> Iterator[Conflict]:
        if isinstance(node, Not):
            yield from self.of(node.term)
            return
        assert isinstance(node, And | Or)
        terms = [(term, self.shapes.of(term)) for term in node.terms]
        conflict = _in_and(terms) if isinstance(node, And) else _in_or(terms)
        if conflict is not None:
            yield conflict
        for term in node.terms:
            yield from self.of(term)


_Terms: TypeAlias = "list[tuple[Node, Shape]]"


def _opposites(terms: _Terms) -> tuple[Node, Node] | None:
    """A term and its own negation."""
    positive = {shape: node for node, shape in terms if shape.kind != "not"}
    for node, shape in terms:
        if shape.kind == "not" and shape.terms[0] in positive:
            return positive[shape.terms[0]], node
    return None


def _excluded(terms: _Terms) -> tuple[Node, Node] | None:
    """A term of an `and`, and a `not (... or ...)` in which it stands."""
    positive = {shape: node for node, shape in terms if shape.kind != "not"}
    for node, shape in terms:
        if shape.kind == "not" and shape.terms[0].kind == "or":
            for one in shape.terms[0].terms:
                if one in positive:
                    return positive[one], node
    return None


def _in_or(terms: _Terms) -> Conflict | None:
    pair = _opposites(terms)
    if pair is not None:
        return Conflict(*pair, True)
    unequal: dict[str, tuple[Node, set[object]]] = {}
    for node, shape in terms:
        if shape.kind == "check" and shape.single and shape.operator == "!=":
            values = _values(shape)
            if values:
                before, known = unequal.setdefault(shape.left, (node, values))
                if known.isdisjoint(values):
                    return Conflict(before, node, True)
    return None


def _values(shape: Shape) -> set[object] | None:
    """What a plain comparison compares with, as values of the field's type; None when it is not that plain."""
    field, check = shape.field, shape.check
    if field is None or field.type_of is not None or check is None or not isinstance(check.right, tuple):
        return None
    kind = str(field.type)
    if kind not in TEXTS and kind not in INTEGERS and kind not in ("PORT", "BOOL"):
        return None
    if check.modifier is not None and shape.operator != "in":
        return None
    try:
        return {to_value(text, kind, check.op) for text in shape.values} or None
    except LiteralError:
        return None


@dataclass(slots=True)
class _Facts:
    """What an `and` says so far of one field. `by`: the comparison that said it, for each kind of fact."""

    allowed: set[object] | None = None
    excluded: set[object] = field(default_factory=set)
    low: int | None = None
    high: int | None = None
    parts: list[tuple[str, str]] = field(default_factory=list)
    by: list[Node] = field(default_factory=list)


def _in_and(terms: _Terms) -> Conflict | None:
    pair = _opposites(terms) or _excluded(terms)
    if pair is not None:
        return Conflict(*pair, False)
    by_left: dict[str, list[tuple[Node, Shape]]] = {}
    for term in terms:
        shape = term[1]
        if shape.left and shape.kind in ("check", "not") and shape.single:
            by_left.setdefault(shape.left, []).append(term)
    for group in by_left.values():
        if len(group) > 1:
            found = _of_field(group)
            if found is not None:
                return found
    return None


def _of_field(group: _Terms) -> Conflict | None:
    facts = _Facts()
    for node, shape in group:
        positive = shape.kind == "check"
        check = shape if positive else shape.terms[0]
        if not _add(facts, check, positive):
            continue
        facts.by.append(node)
        if len(facts.by) > 1 and _impossible(facts):
            return Conflict(_other(facts.by, group), node, False)
    return None


def _other(by: list[Node], group: _Terms) -> Node:
    """The comparison to name beside the last one: the latest that says something positive, else the latest."""
    positive = [node for node, shape in group if shape.kind == "check" and node in by[:-1]]
    return positive[-1] if positive else by[-2]


def _add(facts: _Facts, shape: Shape, positive: bool) -> bool:
    """Takes in what a comparison says; False when that is nothing that is understood here."""
    operator, values = shape.operator, _values(shape)
    if values is None:
        return False
    if operator in _PARTS:
        if positive:
            facts.parts += [(operator, value) for value in values if isinstance(value, str)]
        return positive
    if operator in _ORDERS:
        return positive and _order(facts, operator, next(iter(values)))
    if operator == "in" and positive:
        facts.allowed = values if facts.allowed is None else facts.allowed & values
        return True
    if (operator == "in") != positive and operator in ("in", "!="):
        facts.excluded |= values
        return True
    return False  # `not a != b` also holds when there is no a


def _order(facts: _Facts, operator: str, number: object) -> bool:
    if not isinstance(number, int):
        return False
    if operator in ("<", "<="):
        high = number - (operator == "<")
        facts.high = high if facts.high is None else min(facts.high, high)
    else:
        low = number + (operator == ">")
        facts.low = low if facts.low is None else max(facts.low, low)
    return True


def _impossible(facts: _Facts) -> bool:
    if facts.low is not None and facts.high is not None and facts.low > facts.high:
        return True
    if facts.allowed is None:
        return _apart(facts.parts)
    return not any(_fits(value, facts) for value in facts.allowed)


def _fits(value: object, facts: _Facts) -> bool:
    if value in facts.excluded:
        return False
    if isinstance(value, str):
        return all(_has(value, operator, part) for operator, part in facts.parts)
    assert isinstance(value, int)
    return (facts.low is None or value >= facts.low) and (facts.high is None or value <= facts.high)


def _has(value: str, operator: str, part: str) -> bool:
    if operator == "startswith":
        return value.startswith(part)
    return value.endswith(part) if operator == "endswith" else part in value


def _apart(parts: list[tuple[str, str]]) -> bool:
    """Are there two beginnings, or two ends, that no text has both of?"""
    for operator in ("startswith", "endswith"):
        texts = sorted((part for one, part in parts if one == operator), key=len)
        longest = texts[-1:]
        if any(not _has(long, operator, short) for long in longest for short in texts):
            return True
    return False
