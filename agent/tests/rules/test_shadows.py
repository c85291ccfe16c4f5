# SPDX-License-Identifier: Apache-2.0
"""Rules that can never be the first to match are told of, and only those."""

from __future__ import annotations

import pytest

from falco_py.config.model import Selection
from falco_py.rules.bundle import load
from falco_py.rules.priority import Priority
from tests.rules.casefiles import Catalogue

CATALOGUE = Catalogue()


def rules(*conditions: str, priority: str = "INFO") -> str:
    return "".join(
        f"- rule: r{number}\n  desc: d\n  condition: {condition}\n  output: o\n  priority: {priority}\n"
        for number, condition in enumerate(conditions)
    )


def told(*conditions: str, matching: str = "first") -> list[str]:
    made = load([("f", rules(*conditions))], catalogue=CATALOGUE, rule_matching=matching)
    return [
        f"{warning.item_name}: {warning.message.partition('matches, ')[2].removesuffix(' before it does')}"
        for warning in made.warnings
        if "never fires" in warning.message
    ]


SHADOWED = {
    "the same condition": ("evt.type = open and proc.name = a", "evt.type = open and proc.name = a"),
    "in another order": ("evt.type = open and proc.name = a", "proc.name = a and evt.type = open"),
    "fewer terms": ("evt.type = open and proc.name = a", "evt.type = open and proc.name = a and fd.num = 1"),
    "more values": ("evt.type = open and proc.name in (a, b)", "evt.type = open and proc.name = a"),
    "more alternatives": (
        "evt.type = open and (proc.name = a or fd.num = 1)",
        "evt.type = open and fd.num = 1 and proc.pname = x",
    ),
    "alternatives of alternatives": (
        "evt.type = open and (proc.name = a or fd.num = 1 or fd.num = 2)",
        "evt.type = open and (fd.num = 2 or proc.name = a)",
    ),
    "a shorter beginning": (
        "evt.type = open and fd.name startswith /etc",
        "evt.type = open and fd.name startswith /etc/ssh",
    ),
    "a beginning of the value": ("evt.type = open and fd.name startswith /etc", "evt.type = open and fd.name = /etc/x"),
    "whether there is a value": ("evt.type = open and fd.name exists", "evt.type = open and fd.name = /etc/x"),
    "fewer exceptions": (
        "evt.type = open and not proc.name = a",
        "evt.type = open and not proc.name in (a, b)",
    ),
    "exceptions in one": (
        "evt.type = open and not proc.name = a",
        "evt.type = open and not (proc.name in (a, b) or fd.num = 1)",
    ),
    "more event types": ("evt.type in (open, openat) and proc.name = a", "evt.type = open and proc.name = a"),
    "all event types": ("proc.name = a", "evt.type = open and proc.name = a"),
    "an exception that is never true": ("evt.type = open and not evt.num = 0", "evt.type = open and fd.num = 3"),
}
OPEN = {
    "fewer values": ("evt.type = open and proc.name = a", "evt.type = open and proc.name in (a, b)"),
    "a narrower rule first": ("evt.type = open and proc.name = a and fd.num = 1", "evt.type = open and proc.name = a"),
    "other event types": ("evt.type = open and proc.name = a", "evt.type = openat and proc.name = a"),
    "fewer event types": ("evt.type = open and proc.name = a", "evt.type in (open, openat) and proc.name = a"),
    "more exceptions": ("evt.type = open and not proc.name in (a, b)", "evt.type = open and not proc.name = a"),
    "another field": ("evt.type = open and proc.name = a", "evt.type = open and proc.pname = a"),
    "a longer beginning": (
        "evt.type = open and fd.name startswith /etc/ssh",
        "evt.type = open and fd.name startswith /etc",
    ),
    "a value that a later rule compares twice": (
        "evt.type = open and evt.deltatime = 1",
        "evt.type = open and evt.deltatime = 1",
    ),
    "a rule that was switched off": ("evt.type = open and evt.num = 0", "evt.type = open and evt.num = 0"),
    "a difference and a negation": ("evt.type = open and fd.name != a", "evt.type = open and not fd.name = a"),
    "exactly one of some": (
        "evt.type = open and fd.name contains oneof (a, b)",
        "evt.type = open and fd.name contains a",
    ),
}


@pytest.mark.parametrize("conditions", SHADOWED.values(), ids=SHADOWED)
def test_a_rule_behind_one_that_matches_more_is_told_of(conditions: tuple[str, str]) -> None:
    assert told(*conditions) == ["r1: 'r0'"]


@pytest.mark.parametrize("conditions", OPEN.values(), ids=OPEN)
def test_a_rule_that_may_be_first_is_not(conditions: tuple[str, str]) -> None:
    assert told(*conditions) == []


def test_two_rules_may_leave_nothing_together() -> None:
    assert told("evt.type = open", "evt.type = openat", "evt.type in (open, openat) and fd.num = 1") == [
        "r2: 'r0' or 'r1'"
    ]


def test_where_all_rules_are_tested_nothing_is_in_the_way() -> None:
    assert told("evt.type = open", "evt.type = open and fd.num = 1", matching="all") == []


def test_a_rule_that_is_switched_off_is_in_nobodys_way() -> None:
    text = rules("evt.type = open", "evt.type = open and fd.num = 1")
    off = (Selection(False, rule="r0"),)
    assert load([("f", text)], catalogue=CATALOGUE, selections=off).warnings == ()


def test_a_rule_below_the_lowest_priority_is_in_nobodys_way() -> None:
    text = rules("evt.type = open", priority="DEBUG") + rules("evt.type = open").replace("r0", "r1")
    assert load([("f", text)], catalogue=CATALOGUE, min_priority=Priority.INFORMATIONAL).warnings == ()


def test_the_warning_stands_at_the_name_of_the_rule() -> None:
    (warning,) = load([("f", rules("evt.type = open", "evt.type = open and fd.num = 1"))], catalogue=CATALOGUE).warnings
    assert (warning.code, warning.line, warning.column) == ("LOAD_COMPILE_CONDITION", 6, 9)
    assert "rule_matching: all" in warning.hint
