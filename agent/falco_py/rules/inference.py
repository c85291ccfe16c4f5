# SPDX-License-Identifier: Apache-2.0
"""A typed tree becomes the set of event types that it can hold for.

The algebra is Falco's: only bare `evt.type` and `syscall.type` with = != in and exists tell anything, and `evt.num`
where it can only be 0; everything else holds for all. Invariant: never too small a set.
"""

from __future__ import annotations

from .typed import AllOf, Always, AnyOf, FieldValue, Negation, Test, Typed

EventTypes = frozenset[str]


def event_types(node: Typed, universe: EventTypes) -> EventTypes:
    """The event types of `universe` for which `node` may be true."""
    done: dict[tuple[int, bool], EventTypes] = {}

    def infer(one: Typed, wanted: bool) -> EventTypes:
        key = (id(one), wanted)
        if key not in done:
            done[key] = _infer(one, wanted)
        return done[key]

    def _infer(one: Typed, wanted: bool) -> EventTypes:
        if isinstance(one, Negation):
            return infer(one.term, not wanted)
        if isinstance(one, (AllOf, AnyOf)):
            sets = [infer(term, wanted) for term in one.terms]
            if isinstance(one, AllOf) is wanted:
                return frozenset.intersection(*sets)
            return frozenset().union(*sets)
        if isinstance(one, Always):
            return universe if one.value is wanted else frozenset()
        return _leaf(one, wanted, universe)

    return infer(node, True)


def _leaf(test: Test, wanted: bool, universe: EventTypes) -> EventTypes:
    if not isinstance(test.left, FieldValue):
        return universe
    name = test.left.field.name
    if name == "evt.num":
        constant = event_number_holds(test)
        return frozenset() if constant is (not wanted) else universe
    if name not in ("evt.type", "syscall.type") or not isinstance(test.right, tuple) or test.modifier is not None:
        return universe
    if test.op in ("=", "in"):
        named = universe & frozenset(map(str, test.right))
        return named if wanted else universe - named
    if test.op == "!=":
        named = universe & frozenset(map(str, test.right))
        return universe - named if wanted else named
    return universe


def event_number_holds(test: Test) -> bool | None:
    """What a test of `evt.num`, which counts from 1, always is; None when it depends on the event."""
    if not isinstance(test.right, tuple):
        return True if test.op == "exists" else None
    values = [v for v in test.right if isinstance(v, int)]
    if test.op == "in" or test.op == "intersects":
        return False if all(v < 1 for v in values) else None
    if len(values) != 1:
        return None
    value = values[0]
    if test.op == "=":
        return False if value < 1 else None
    if test.op == "!=":
        return True if value < 1 else None
    if test.op in ("<", "<="):
        return False if (value <= 1 if test.op == "<" else value < 1) else None
    if test.op in (">", ">="):
        return True if (value < 1 if test.op == ">" else value <= 1) else None
    return None
