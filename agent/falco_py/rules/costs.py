# SPDX-License-Identifier: Apache-2.0
"""How often a comparison holds and what it takes, guessed from its form alone: in which order to test.

Guesses decide about speed only, never about a result.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

# How often a field has a value, where one value is usual.
_USUAL: dict[str, dict[Any, float]] = {
    "fd.typechar": {"f": 0.9},
    "fd.type": {"file": 0.9},
    "container.id": {"host": 0.7},
    "evt.is_open_read": {True: 0.75},
    "evt.is_open_write": {True: 0.15},
    "evt.failed": {False: 0.9},
    "evt.res": {"SUCCESS": 0.9},
    "user.uid": {0: 0.7},
    "user.name": {"root": 0.7},
    "proc.tty": {0: 0.8},
    "proc.pname": {"": 0.02},
}
_ONE_VALUE = 0.02
_TRUE = 0.1  # a flag of which nothing is known
_AT_MOST = 0.15
_ORDER = {"fd.num": 0.9}

# What the test of a value takes that was read already, ns.
_BODY_NS = {
    "=": 15, "!=": 15, "exists": 10, "in": 25, "intersects": 40, "<": 20, "<=": 20, ">": 20, ">=": 20,
    "startswith": 50, "endswith": 50, "contains": 35, "icontains": 35, "bcontains": 35, "bstartswith": 50,
    "glob": 150, "iglob": 3000, "regex": 3000, "pmatch": 250,
}  # fmt: skip
_ADDRESS_NS = 2000  # addresses and networks are objects that compare in Python


def likely(op: str, name: str, constants: Sequence[Any]) -> float:
    """The part of the events for which `name op constants` holds."""
    usual = _USUAL.get(name, {})
    if op in ("=", "in", "intersects"):
        given = set(constants)
        known = sum(likelihood for value, likelihood in usual.items() if value in given)
        rest = given - usual.keys()
        if len(rest) * _ONE_VALUE >= _AT_MOST:
            return min(0.95, known + _AT_MOST)
        others = sum(_TRUE if isinstance(one, bool) else _ONE_VALUE for one in rest)
        return min(0.95, known + min(_AT_MOST, others))
    if op == "!=":
        return 1 - likely("=", name, constants[:1])
    if op in ("<", "<=", ">", ">="):
        return _ORDER.get(name, 0.5)
    if op == "exists":
        return 0.9
    return min(_AT_MOST, 0.03 * max(1, len(constants)))


def body_ns(op: str, kind: str, count: int) -> int:
    """The cost of the test alone; `count`: how many constants are tried one after the other."""
    base = _BODY_NS.get(op, 100)
    if kind in ("IPADDR", "IPNET", "DOMAIN"):
        base = max(base, _ADDRESS_NS)
    return base if op in ("in", "intersects", "pmatch", "startswith", "endswith") else base * max(1, count)
