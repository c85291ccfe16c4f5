# SPDX-License-Identifier: Apache-2.0
"""A condition becomes the set of event types it can hold for.

Only checks of evt.type and syscall.type (and evt.num, which says never) tell something; any other check allows every
event. Negation is pushed to the leaves. Invariant: the set is never too small.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .syntax import And, Check, FieldExpr, Literal, Not, Or

if TYPE_CHECKING:
    from .syntax import Node

EVENT_TYPE_FIELDS = ("evt.type", "syscall.type")


def names_of(check: Check) -> frozenset[str]:
    right = check.right if isinstance(check.right, tuple) else ()
    return frozenset(literal.text for literal in right if isinstance(literal, Literal))


def event_types(node: Node, universe: frozenset[str]) -> frozenset[str]:
    return _types(node, True, universe)


def _types(node: Node, positive: bool, universe: frozenset[str]) -> frozenset[str]:
    if isinstance(node, Not):
        return _types(node.term, not positive, universe)
    if isinstance(node, And | Or):
        met = isinstance(node, And) == positive
        found = universe if met else frozenset[str]()
        for term in node.terms:
            types = _types(term, positive, universe)
            if types is universe:  # most comparisons tell nothing
                if not met:
                    return universe
            elif met:
                found = types if found is universe else found & types
            else:
                found = found | types
        return found
    assert isinstance(node, Check)
    if isinstance(node.left, FieldExpr) and node.left.name in EVENT_TYPE_FIELDS:
        return _leaf(node, positive, universe)
    return frozenset() if positive and is_never(node) else universe


def _leaf(check: Check, positive: bool, universe: frozenset[str]) -> frozenset[str]:
    if check.modifier is not None or not isinstance(check.right, tuple):
        return universe
    named = names_of(check) & universe
    if check.op in ("=", "==", "in"):
        return named if positive else universe - named
    if check.op == "!=":
        return universe - named if positive else named
    return universe


def is_never(check: Check) -> bool:
    """Events are numbered from 1, so these say never: evt.num=0, evt.num<1, evt.num<=0."""
    if not isinstance(check.left, FieldExpr) or check.left.name != "evt.num" or check.modifier is not None:
        return False
    right = check.right if isinstance(check.right, tuple) else ()
    texts = [literal.text for literal in right if isinstance(literal, Literal)]
    return (check.op in ("=", "==", "<=", "in") and texts == ["0"]) or (check.op == "<" and texts == ["1"])
