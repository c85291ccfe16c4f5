# SPDX-License-Identifier: Apache-2.0
"""Macros are opened once, in the order Falco sees them; what is wrong with one is told at the macro."""

from __future__ import annotations

import pytest

from tests.rules.standin import Event, codes, failure, loaded, only_failure, rule

ON = "evt.type = open"


def macro(name: str, condition: str) -> str:
    return f"- macro: {name}\n  condition: {condition}\n"


def test_a_macro_is_a_unit_inside_a_condition() -> None:
    bundle = loaded(macro("m", "proc.pid = 1 or proc.pid = 2") + rule(f"{ON} and not m"))
    matcher = bundle.matchers["open"]
    assert [matcher(Event("open", {"proc.pid": pid})) is not None for pid in (1, 2, 3)] == [False, False, True]


def test_a_rule_sees_macros_that_are_defined_behind_it() -> None:
    assert loaded(rule("m") + macro("m", ON)).rules[0].event_types == {"open"}


def test_a_macro_sees_only_macros_that_were_defined_before_it() -> None:
    problem = only_failure(macro("a", "b") + macro("b", ON) + rule("a"))
    assert (problem.code, problem.line, problem.column) == ("LOAD_ERR_VALIDATE", 2, 14)
    assert problem.message == "Undefined macro 'b' used in filter."
    assert "further down" in problem.hint


def test_an_append_lets_a_macro_see_what_was_defined_meanwhile() -> None:
    more = "- macro: a\n  condition: or b\n  override: {condition: append}\n"
    assert loaded(macro("a", ON) + macro("b", "evt.type=close") + more + rule("a")).event_types == {"open", "close"}


def test_a_redefined_macro_keeps_its_place() -> None:
    bundle = loaded(macro("a", "evt.type=close") + macro("b", "a") + macro("a", ON) + rule("b"))
    assert bundle.event_types == {"open"}


def test_a_loop_of_macros_is_told_once() -> None:
    problem = only_failure(macro("a", ON) + macro("b", "a") + macro("a", "b") + rule("a and b"))
    assert problem.message in ("reference loop in macro 'a'", "reference loop in macro 'b'")
    assert problem.line in (4, 6)


def test_an_unknown_macro_is_told_with_the_nearest_one() -> None:
    problem = only_failure(macro("container", "container.id != host") + rule(f"{ON} and contaner"))
    assert str(problem) == (
        "rules.yaml:5:34: error in rule 'r'\n"
        "      condition: evt.type = open and contaner\n"
        "                                     ^\n"
        "    LOAD_ERR_VALIDATE (Error validating rule/macro/list/exception objects): "
        "Undefined macro 'contaner' used in filter.\n"
        "    did you mean 'container'?"
    )


@pytest.mark.parametrize(
    ("condition", "column", "message"),
    [
        ("proc.nam = a", 14, "`proc.nam`: no such field"),
        ("proc.name = (", 26, "expected a value (quote it when it holds blanks or ()=,)"),
        ("evt.type = opn", 25, "unknown event type opn"),
        ("other", 14, "Undefined macro 'other' used in filter."),
    ],
)
def test_a_mistake_in_a_macro_is_told_once_and_at_the_macro(condition: str, column: int, message: str) -> None:
    uses = "".join(rule(f"{ON} and (m or n)", name=f"r{n}") for n in range(3))
    problem = only_failure(macro("m", condition) + macro("n", "m and proc.pid = 1") + uses)
    assert (problem.line, problem.column, problem.message) == (2, column, message)
    assert (problem.item_type, problem.item_name) == ("macro", "m")


def test_a_mistake_in_a_macro_and_one_in_its_rule_are_both_told() -> None:
    found = failure(macro("m", "proc.pid = x") + rule("m and proc.pid = y"))
    assert [(p.line, p.message) for p in found] == [(2, "x is not a valid number"), (5, "y is not a valid number")]


def test_an_unused_macro_is_checked_as_far_as_its_fields_are_known() -> None:
    unused, bad = loaded(macro("m", "proc.pid = x") + rule(ON)).warnings
    assert (unused.code, bad.code, bad.line) == ("LOAD_UNUSED_MACRO", "LOAD_COMPILE_CONDITION", 2)
    assert bad.hint == "write a decimal number; no rule that uses the macro will load"
    assert codes(loaded(macro("m", "ka.verb = x") + rule(ON))) == ["LOAD_UNUSED_MACRO"]


def test_macros_of_rules_of_unknown_sources_are_not_checked() -> None:
    text = "- list: l\n  items: [x]\n" + macro("inner", "ka.verb in (l)") + macro("m", "inner and proc.pid = x")
    assert codes(loaded(text + rule("m and ka.nothing = 1", source="okta"))) == ["LOAD_UNKNOWN_SOURCE"]


def test_a_macro_shared_with_a_rule_of_a_known_source_is_checked() -> None:
    text = macro("m", "ka.verb = x")
    problem = only_failure(text + rule("m", source="okta", name="a") + rule(f"{ON} and m", name="b"))
    assert (problem.line, problem.message) == (2, "`ka.verb`: no such field")


def test_macros_that_double_each_other_are_stopped() -> None:
    chain = macro("m0", "proc.pid = 1") + "".join(macro(f"m{n}", f"m{n - 1} or m{n - 1}") for n in range(1, 60))
    problem = only_failure(chain + rule("m59"))
    assert problem.message == "with macro 'm13' the condition grows over 10000 comparisons"


def test_macros_nested_too_deeply_are_stopped() -> None:
    chain = macro("m0", "proc.pid = 1")
    chain += "".join(macro(f"m{n}", f"(not m{n - 1} and proc.pid = 2)") for n in range(1, 2200))
    assert only_failure(chain + rule(f"{ON} and m2199")).message.endswith("is nested more than 4000 levels deep")
