# SPDX-License-Identifier: Apache-2.0
"""Exceptions take events out of a rule; what is wrong with them is told before the rule runs."""

from __future__ import annotations

from typing import Any

import pytest

from falco_py.rules.exceptions import define_exceptions, with_exceptions
from falco_py.rules.items import RuleItem
from falco_py.rules.places import Source, Text
from falco_py.rules.problems import Problems
from falco_py.rules.reader import read_items
from tests.rules.standin import Event, codes, loaded, only_failure, rule

ON = "evt.type = open"


def written(exceptions: str) -> str:
    """The condition `C` with these exceptions."""
    item = read_items(Source("f", f"- rule: r\n  condition: C\n  exceptions: {exceptions}\n"), Problems()).items[0]
    assert isinstance(item, RuleItem)
    made = define_exceptions(item.exceptions or (), Problems(), ("rule", "r"))
    assert made is not None
    return with_exceptions(Text.of(item.texts["condition"]), made).value


@pytest.mark.parametrize(
    ("exceptions", "text"),
    [
        ("[]", "C"),
        ("[{name: x, fields: proc.name}]", "(C)"),
        ("[{name: x, fields: proc.name, values: [a, b c]}]", '(C) and not (proc.name in (a, "b c"))'),
        ("[{name: x, fields: f.g, comps: pmatch, values: [/etc]}]", "(C) and not (f.g pmatch (/etc))"),
        (
            "[{name: x, fields: f.g, comps: startswith  oneof, values: [a]}]",
            "(C) and not (f.g startswith oneof (a))",
        ),
        (
            "[{name: x, fields: [f.g, h.i], values: [[a, b], [c, d e]]}]",
            '(C) and not ((f.g = a and h.i = b) or (f.g = c and h.i = "d e"))',
        ),
        (
            "[{name: x, fields: [f.g, h.i], comps: [in, =], values: [[[a, b], c], [d, e], [(f), g]]}]",
            "(C) and not ((f.g in (a, b) and h.i = c) or (f.g in (d) and h.i = e) or (f.g in (f) and h.i = g))",
        ),
        (
            "[{name: x, fields: a.b, values: [1]}, {name: y, fields: c.d, values: [2]}]",
            "(C) and not (a.b in (1)) and not (c.d in (2))",
        ),
    ],
)
def test_exceptions_are_written_behind_the_condition(exceptions: str, text: str) -> None:
    assert written(exceptions) == text


def fires(exceptions: str, **values: Any) -> bool:
    bundle = loaded(rule(ON, exceptions=exceptions))
    event = Event("open", {key.replace("__", "."): value for key, value in values.items()})
    return bundle.matchers["open"](event) is not None


def test_an_exception_takes_out_what_it_names_and_nothing_else() -> None:
    one = "[{name: x, fields: [proc.name, fd.name], comps: [=, startswith], values: [[sh, /tmp]]}]"
    assert not fires(one, proc__name="sh", fd__name="/tmp/x")
    assert fires(one, proc__name="sh", fd__name="/etc/x")
    assert fires(one, proc__name="bash", fd__name="/tmp/x")


def test_a_missing_field_makes_no_exception() -> None:
    assert fires("[{name: x, fields: proc.name, values: [sh]}]")


def test_an_or_in_the_condition_does_not_escape_its_exceptions() -> None:
    bundle = loaded(rule(f"{ON} or evt.type = close", exceptions="[{name: x, fields: proc.name, values: [sh]}]"))
    assert bundle.matchers["open"](Event("open", {"proc.name": "sh"})) is None


@pytest.mark.parametrize(
    ("exception", "message", "column"),
    [
        ("{name: x, values: [a]}", "Item has no mapping for key 'fields'", 23),
        ("{name: x, fields: []}", "Rule exception item must have fields property with a list of fields", 23),
        (
            "{name: x, fields: proc.name, comps: =}",
            (
                "When fields is a single value, comps must be one of (in, pmatch, intersects) or a modifier operator "
                "(e.g. startswith oneof)"
            ),
            52,
        ),
        ("{name: x, fields: proc.name, comps: [in]}", "Fields and comps must both be strings", 23),
        (
            "{name: x, fields: [proc.name, fd.name], comps: [in]}",
            "Fields and comps lists must have equal length",
            23,
        ),
        ("{name: x, fields: [proc.name], comps: [is]}", "'is' is not a supported comparison operator", 55),
        (
            "{name: x, fields: proc.name, values: [[a]]}",
            "Expected values array to contain a list of strings",
            23,
        ),
        ("{name: x, fields: [proc.name], values: [a]}", "Fields and values lists must have equal length", 56),
        ("{name: x, fields: [proc.name], values: [[a, b]]}", "Fields and values lists must have equal length", 23),
        ("{name: x, fields: proc.nam, values: [a]}", "'proc.nam' is not a supported filter field", 34),
        ("{name: x, fields: proc.pid, values: [a]}", "a is not a valid number", 53),
        ("{name: x, fields: proc.name, values: [it's]}", None, None),
    ],
)
def test_a_bad_exception_is_told_with_its_place(exception: str, message: str | None, column: int | None) -> None:
    problem = only_failure(rule(ON, exceptions=f"[{exception}]"))
    assert problem.line == 6
    if message is not None:
        assert (problem.message, problem.column) == (message, column)


def test_two_exceptions_of_one_name_are_a_warning() -> None:
    bundle = loaded(rule(ON, exceptions="[{name: x, fields: proc.name}, {name: x, fields: proc.name}]"))
    assert codes(bundle) == ["LOAD_EXCEPTION_NAME_NOT_UNIQUE"]


def test_values_are_appended_to_the_exception_of_the_same_name() -> None:
    first = rule(ON, exceptions="[{name: x, fields: proc.name, values: [a]}]")
    more = "- rule: r\n  exceptions: [{name: x, values: [b]}]\n  override: {exceptions: append}\n"
    matcher = loaded(first + more).matchers["open"]
    assert [matcher(Event("open", {"proc.name": name})) is None for name in "abc"] == [True, True, False]


@pytest.mark.parametrize(
    ("exception", "message"),
    [
        ("{name: x, fields: fd.name}", "Can not append exception fields to existing exception, only values"),
        ("{name: x, comps: in}", "Can not append exception comps to existing exception, only values"),
        ("{name: y, fields: fd.name}", "Rule exception new item must have fields and values properties"),
    ],
)
def test_what_cannot_be_appended_is_told(exception: str, message: str) -> None:
    first = rule(ON, exceptions="[{name: x, fields: proc.name, values: [a]}]")
    problem = only_failure(first + f"- rule: r\n  exceptions: [{exception}]\n  override: {{exceptions: append}}\n")
    assert (problem.message, problem.line, problem.column) == (message, 8, 23)


def test_appending_no_values_is_a_warning() -> None:
    first = rule(ON, exceptions="[{name: x, fields: proc.name, values: [a]}]")
    bundle = loaded(first + "- rule: r\n  exceptions: [{name: x}]\n  override: {exceptions: append}\n")
    assert codes(bundle) == ["LOAD_APPEND_NO_VALUES"]
