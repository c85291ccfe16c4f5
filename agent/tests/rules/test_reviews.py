# SPDX-License-Identifier: Apache-2.0
"""What is said of whole conditions is certain: conditions made at random hold it against every event of a small world.

In a failure the rules are printed; put them into a file and `falco-py -V` shows what is told of them.
"""

from __future__ import annotations

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from falco_py.rules.bundle import Bundle, load
from falco_py.rules.contradictions import Contradictions
from falco_py.rules.shapes import Shapes
from falco_py.rules.syntax import And, Or
from tests.rules.casefiles import HEAD, Catalogue, Event

CATALOGUE = Catalogue()
TYPES = ("open", "openat", "execve")
VALUES = {
    "proc.name": (None, "a", "b", "ab"),
    "fd.num": (None, 0, 1, 2),
    "fd.typechar": (None, "f"),
}
EVENTS = [
    Event(name, {field: value for field, value in zip(VALUES, chosen, strict=True) if value is not None})
    for name in TYPES
    for chosen in itertools.product(*VALUES.values())
]
TEXTS = st.sampled_from(["a", "b", "ab"])
NUMBERS = st.sampled_from(["0", "1", "2"])


def lists(of: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.lists(of, min_size=1, max_size=2).map(lambda found: f"({', '.join(found)})")


COMPARISONS = st.one_of(
    st.builds("evt.type {} {}".format, st.sampled_from(["=", "!="]), st.sampled_from(TYPES)),
    st.builds("evt.type in {}".format, lists(st.sampled_from(TYPES))),
    st.builds("proc.name {} {}".format, st.sampled_from(["=", "!=", "startswith", "endswith", "contains"]), TEXTS),
    st.builds("proc.name {} {}".format, st.sampled_from(["in", "!= anyof", "startswith oneof"]), lists(TEXTS)),
    st.builds("fd.num {} {}".format, st.sampled_from(["=", "!=", "<", "<=", ">", ">="]), NUMBERS),
    st.builds("fd.num in {}".format, lists(NUMBERS)),
    st.sampled_from(["proc.name exists", "fd.typechar = f", "fd.typechar = x", "evt.num = 0"]),
)
CONDITIONS = st.recursive(
    COMPARISONS,
    lambda inner: st.one_of(
        inner.map("not ({})".format),
        st.lists(inner, min_size=2, max_size=3).map(lambda parts: "(" + " and ".join(parts) + ")"),
        st.lists(inner, min_size=2, max_size=3).map(lambda parts: "(" + " or ".join(parts) + ")"),
    ),
    max_leaves=6,
)


def loaded(*conditions: str) -> Bundle:
    text = "".join(
        HEAD.replace("rule: r", f"rule: r{number}") + f"  output: o\n  condition: {condition}\n"
        for number, condition in enumerate(conditions)
    )
    return load([("f", text)], catalogue=CATALOGUE)


def first(bundle: Bundle, event: Event) -> str:
    matcher = bundle.matchers.get(event.name)
    found = None if matcher is None else matcher(event)
    return "" if found is None else str(found.name)


def fires(bundle: Bundle, name: str) -> bool:
    return any(first(bundle, event) == name for event in EVENTS)


@given(st.lists(CONDITIONS, min_size=2, max_size=4))
@settings(max_examples=250, deadline=None)
def test_a_rule_that_is_said_never_to_fire_does_not(conditions: list[str]) -> None:
    bundle = loaded(*conditions)
    for warning in bundle.warnings:
        if "never fires" in (warning.message + warning.hint):
            assert not fires(bundle, warning.item_name), conditions


@given(st.lists(CONDITIONS, min_size=2, max_size=4), st.booleans())
@settings(max_examples=250, deadline=None)
def test_parts_that_are_said_to_exclude_each_other_do(terms: list[str], either: bool) -> None:
    """In an `or` one of them then holds for every event that has the fields."""
    bundle = loaded((" or " if either else " and ").join(terms))
    tree = bundle.rules[0].tree
    for conflict in Contradictions(Shapes(CATALOGUE)).of(tree):
        if isinstance(tree, And | Or) and conflict.first in tree.terms and conflict.second in tree.terms:
            events = [event for event in EVENTS if len(event.values) == len(VALUES)] if conflict.always else EVENTS
            assert {first(bundle, event) for event in events} == {"r0" if conflict.always else ""}
