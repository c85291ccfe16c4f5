# SPDX-License-Identifier: Apache-2.0
"""The tree of a condition becomes text again, every group in brackets.

Invariant: the text parses to the same tree.
"""

from __future__ import annotations

import re

from .syntax import And, Call, Check, FieldExpr, ListExpr, Literal, MacroRef, Node, Not, Operand, spelled

_PLAIN = re.compile(r"""[^()"'\s=,]+""")
_LIST_SIGNS = ("in", "intersects", "pmatch")


def condition_text(node: Node) -> str:
    if isinstance(node, Check):
        return _check(node)
    if isinstance(node, MacroRef):
        return node.name
    if isinstance(node, Not):
        return f"not {condition_text(node.term)}"
    word = " and " if isinstance(node, And) else " or "
    return "(" + word.join(map(condition_text, node.terms)) + ")"


def operator(check: Check) -> str:
    """The operator with its modifier: `startswith oneof`."""
    return check.op if check.modifier is None else f"{check.op} {check.modifier}"


def _check(check: Check) -> str:
    left = f"{_operand(check.left)} {operator(check)}"
    if check.right is None:
        return left
    if not isinstance(check.right, tuple):
        return f"{left} {_right(check.right)}"
    values = ", ".join(map(_literal, check.right))
    if check.modifier is None and check.op not in _LIST_SIGNS:
        return f"{left} {values}"
    return f"{left} ({values})"


def _right(operand: Operand) -> str:
    """A field on the right is marked as one, else it would be text."""
    return f"val({_operand(operand)})" if isinstance(operand, FieldExpr) else _operand(operand)


def _operand(operand: Operand) -> str:
    if isinstance(operand, FieldExpr):
        if operand.arg is None or re.fullmatch(r"""[^\]\["'\s]+""", operand.arg):
            return spelled(operand)
        return f"{operand.name}[{_quoted(operand.arg)}]"
    if isinstance(operand, Literal):
        return _literal(operand)
    if isinstance(operand, Call):
        index = "" if operand.index is None else f"[{operand.index}]"
        return f"{operand.name}({', '.join(map(_operand, operand.args))}){index}"
    assert isinstance(operand, ListExpr)
    return f"({', '.join(map(_operand, operand.items))})"


def _literal(literal: Literal) -> str:
    return _quoted(literal.text) if literal.quoted or not _PLAIN.fullmatch(literal.text) else literal.text


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
