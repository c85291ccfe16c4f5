# SPDX-License-Identifier: Apache-2.0
"""Where the kernel keeps more than a rule's comparisons ask, though it knows the facts: told, never silent.

Invariant: whatever makes a plan looser than the clauses that a condition stands for leaves a `Widening` in it.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .formulas import Formula
    from .paths import Pattern


class Reason(StrEnum):
    ALTERNATIVES = "alternatives"  # of one rule: more than MAX_RULE_CLAUSES, so each fact is compared for itself
    CLAUSES = "clauses"  # of all rules: more than MAX_CLAUSES, so these share one
    PATHS = "paths"  # several sets of paths must all be met, and only one is looked up
    CUT = "cut"  # a path is longer than the key of the look-up


class Widening(NamedTuple):
    """`formula`: the alternatives; `patterns`: the paths that are not looked up, or the beginnings that are."""

    reason: Reason
    event_types: frozenset[str]
    formula: Formula | None = None
    patterns: frozenset[Pattern] = frozenset()
    rules: tuple[str, ...] = ()


def notice(widened: Iterable[Widening]) -> str:
    """What whoever runs the rules should know; empty when there is nothing. Paths are told by `explain` only."""
    rules = dict.fromkeys(
        name for one in widened if one.reason in (Reason.ALTERNATIVES, Reason.CLAUSES) for name in one.rules
    )
    if not rules:
        return ""
    return (
        f"{len(rules)} rules have more alternatives than the kernel can compare, so more of their calls than need be "
        f"reach user space ('falco-py explain RULE' tells which): {', '.join(rules)}"
    )
