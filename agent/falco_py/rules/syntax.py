# SPDX-License-Identifier: Apache-2.0
"""The tree of a condition, as written: no field is looked up and no macro opened yet.

Invariant: trees are immutable and shared between all conditions with the same text; `at` is the offset in it.
And and Or have two terms or more and none of them is of its own kind.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True)
class FieldExpr:
    """`proc.aname[2]`: name and the text between the brackets (quotes and escapes taken off), or None."""

    name: str
    arg: str | None
    at: int


@dataclass(frozen=True, slots=True)
class Literal:
    text: str
    at: int
    quoted: bool = False


@dataclass(frozen=True, slots=True)
class ListExpr:
    """`(a, b, proc.name)` as an argument of a transformer."""

    items: tuple[Operand, ...]
    at: int


@dataclass(frozen=True, slots=True)
class Call:
    """A transformer and its arguments; `index` is what follows in brackets (getopt only)."""

    name: str
    args: tuple[Operand, ...]
    at: int
    index: str | None = None


Operand = FieldExpr | Literal | ListExpr | Call


@dataclass(frozen=True, slots=True)
class Check:
    """One comparison. `right` is None for `exists`, a tuple for written values, else a field or transformer."""

    left: FieldExpr | Call
    op: str
    right: tuple[Literal, ...] | Operand | None
    at: int
    modifier: str | None = None


def spelled(expr: FieldExpr) -> str:
    """The field as a rule writes it."""
    return expr.name if expr.arg is None else f"{expr.name}[{expr.arg}]"


def operand_fields(operand: Operand) -> Iterator[FieldExpr]:
    """The fields that a side of a comparison reads."""
    rest = [operand]
    while rest:
        one = rest.pop()
        if isinstance(one, FieldExpr):
            yield one
        elif isinstance(one, Call):
            rest.extend(reversed(one.args))
        elif isinstance(one, ListExpr):
            rest.extend(reversed(one.items))


@dataclass(frozen=True, slots=True)
class MacroRef:
    name: str
    at: int


@dataclass(frozen=True, slots=True)
class Not:
    term: Node


@dataclass(frozen=True, slots=True)
class And:
    terms: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Or:
    terms: tuple[Node, ...]


Node = And | Or | Not | Check | MacroRef
