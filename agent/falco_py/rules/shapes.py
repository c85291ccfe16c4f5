# SPDX-License-Identifier: Apache-2.0
"""Opened trees become shapes: conditions that say the same in the same words are one object.

The order of terms, how often a term stands there, `=` or `in` with one value, and doubled `not` make no difference.
Invariant: two nodes have the same shape only if they hold for the same events. A shape that reads a value whose reading
is not repeatable (`Field.pinned`) is equal to no other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from .syntax import And, Call, Check, FieldExpr, ListExpr, Not, Or, operand_fields, spelled

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable

    from .syntax import Node, Operand

Kind = Literal["check", "not", "and", "or"]
_EQUAL = frozenset(("=", "==", "in"))


@dataclass(slots=True, eq=False)
class Shape:
    """`check` is the first comparison of this shape, for a check only; `operator` and `values` are its own in the
    usual form. `left` names what a comparison, or a negated one, is about; "" for anything else. `single`: `left` is a
    field with at most one value.
    """

    kind: Kind
    terms: tuple[Shape, ...] = ()
    check: Check | None = None
    left: str = ""
    operator: str = ""
    values: frozenset[str] = frozenset()
    field: Any = None
    single: bool = False
    members: frozenset[Shape] = frozenset()  # the terms of "and" and "or"
    pinned: bool = False


class Shapes:
    """Makes shapes. `catalogue` knows the fields."""

    def __init__(self, catalogue: Any) -> None:
        self.catalogue = catalogue
        self._known: dict[Hashable, Shape] = {}
        self._seen: dict[int, tuple[Node, Shape]] = {}  # the node is kept, so that its id stays its own

    def __len__(self) -> int:
        return len(self._known) + len(self._seen)

    def of(self, node: Node) -> Shape:
        """`node` is a tree without macro references."""
        found = self._seen.get(id(node))
        if found is not None:
            return found[1]
        shape = self._made(node)
        if not shape.pinned:
            self._seen[id(node)] = node, shape
        return shape

    def _made(self, node: Node) -> Shape:
        if isinstance(node, Check):
            return self._check(node)
        if isinstance(node, Not):
            term = self.of(node.term)
            if term.kind == "not":
                return term.terms[0]
            return self._one(
                ("not", term), Shape("not", (term,), left=term.left, single=term.single, pinned=term.pinned)
            )
        assert isinstance(node, And | Or)
        kind: Kind = "and" if isinstance(node, And) else "or"
        terms = tuple(dict.fromkeys(self._flat(kind, node.terms)))
        if len(terms) == 1:
            return terms[0]
        members = frozenset(terms)
        return self._one(
            (kind, members), Shape(kind, terms, members=members, pinned=any(term.pinned for term in terms))
        )

    def _flat(self, kind: Kind, nodes: Iterable[Node]) -> Iterable[Shape]:
        for node in nodes:
            shape = self.of(node)
            yield from shape.terms if shape.kind == kind else (shape,)

    def _one(self, key: Hashable, shape: Shape) -> Shape:
        return self._known.setdefault(key, shape)

    def _check(self, check: Check) -> Shape:
        left = _key(check.left)
        written = isinstance(check.right, tuple)
        operator = "in" if check.op in _EQUAL and check.modifier in (None, "anyof") and written else check.op
        shape = Shape("check", check=check, left=left, operator=operator)
        if isinstance(check.right, tuple):
            shape.values = frozenset(literal.text for literal in check.right)
        found = [self.catalogue.lookup(spelled(expr)) for expr in _fields(check)]
        if isinstance(check.left, FieldExpr) and found[0] is not None:
            field, arg = found[0]
            shape.field = field
            shape.single = not field.is_list and not (field.multi and arg is None)
        if any(one is None or one[0].pinned for one in found):
            shape.single, shape.pinned = False, True
            return shape
        right: Hashable = None
        if isinstance(check.right, tuple):
            right = shape.values if check.modifier != "oneof" else tuple(literal.text for literal in check.right)
        elif check.right is not None:
            right = ("field", _key(check.right))
        modifier = None if operator == "in" else check.modifier
        return self._one((left, operator, modifier, right), shape)


def _fields(check: Check) -> Iterable[FieldExpr]:
    yield from operand_fields(check.left)
    if check.right is not None and not isinstance(check.right, tuple):
        yield from operand_fields(check.right)


def _key(operand: Operand) -> str:
    """A side of a comparison as text that no other side has."""
    if isinstance(operand, FieldExpr):
        return spelled(operand)
    if isinstance(operand, Call):
        index = "" if operand.index is None else f"[{operand.index!r}]"
        return f"{operand.name}({','.join(map(_key, operand.args))}){index}"
    if isinstance(operand, ListExpr):
        return f"({','.join(map(_key, operand.items))})"
    return repr(operand.text)
