# SPDX-License-Identifier: Apache-2.0
"""What a comparison may be: operators by type, values, sides; and what a missing value means."""

from __future__ import annotations

import pytest

from tests.rules.standin import address, codes, holds, loaded, only_failure, rule

ON = "evt.type = open"


@pytest.mark.parametrize(
    "condition",
    [
        "proc.name = a", "proc.name != a", "proc.name in (a)", "proc.name exists", "proc.name contains ''",
        "proc.name regex '.*'", "proc.name pmatch (/)", "proc.name != anyof (a, b)", "proc.pid != 1", "proc.pid < 5",
        "proc.is_exe_writable = false", "fd.ip != 10.0.0.1", "fd.rip != 10.0.0.1", "fd.rnet != 10.0.0.0/8",
        "proc.args in (a)", "proc.args intersects (a)", "proc.args exists", "proc.aname != a", "proc.aname exists",
        "proc.name = val(proc.pname)", "proc.name != val(proc.pname)", "tolower(proc.name) != a", "len(proc.name) = 0",
        "evt.raw contains ''", "evt.arg.x != a", "proc.name in ()",
    ],
)  # fmt: skip
def test_every_comparison_with_a_missing_value_is_false_and_its_negation_true(condition: str) -> None:
    assert not holds(condition)
    assert holds(f"not {condition}")


def test_an_empty_text_is_a_value() -> None:
    assert holds("proc.name exists and proc.name = ''", proc__name="")


def test_addresses_of_two_families_differ() -> None:
    assert not holds("fd.rip = 10.0.0.1", fd__rip=address("::1"))
    assert holds("fd.rip != 10.0.0.1", fd__rip=address("::1"))


def test_one_of_two_ends_is_enough_but_both_must_differ() -> None:
    ends = address("10.0.0.1"), address("10.0.0.2")
    assert holds("fd.ip = 10.0.0.2", fd__ip=ends)
    assert not holds("fd.ip != 10.0.0.2", fd__ip=ends)
    assert holds("fd.ip != 10.0.0.3", fd__ip=ends)
    assert holds("fd.net in (10.0.0.2/32)", fd__net=ends)


def test_any_ancestor_is_enough() -> None:
    assert holds("proc.aname = b", proc__aname=("a", "b"))
    assert holds("proc.aname != b", proc__aname=("a", "b"))
    assert not holds("proc.aname != b", proc__aname=("b",))


def test_an_argument_picks_one_value() -> None:
    assert holds("proc.aname[2] = b", **{"proc.aname[2]": "b"})
    assert holds("evt.arg.flags contains x", **{"evt.arg[flags]": "axb"})


@pytest.mark.parametrize(
    ("condition", "column", "message"),
    [
        ("proc.nam = a", 34, "`proc.nam`: no such field"),
        ("evt.cpu = 1", 34, "`evt.cpu` cannot be used: it cannot be known"),
        ("proc.name[1] = a", 34, "`proc.name[1]`: the field `proc.name` takes no such argument"),
        ("proc.aname[a] = a", 34, "proc.aname[a]: the argument must be a number from 0"),
        ("evt.arg = a", 34, "evt.arg needs an argument, such as evt.arg[...]"),
        ("proc.pid contains 1", 34, "filter error: 'contains' operator not supported for numeric filters"),
        ("proc.is_exe_writable < 1", 34, "filter error: '<' operator not supported for boolean filters"),
        ("proc.name bcontains 00", 34, "filter error: 'bcontains' operator not supported for string filters"),
        ("evt.raw glob a", 34, "filter error: 'glob' operator not supported for buffer filters"),
        ("proc.args = a", 34, "filter error: '=' operator not supported list filters"),
        ("proc.pid in (1, x, 2)", 50, "x is not a valid number"),
        ("proc.name regex '('", 50, "invalid regular expression '(': missing ): ("),
        ("evt.type = opn", 45, "unknown event type opn"),
        ("evt.type startswith op", 54, "unknown event type op"),
        ("evt.type = val(proc.name)", 34, "evt.type cannot be compared with a field"),
        ("proc.name = val(proc.pid)", 46, ("field on the left has type 'CHARBUF' while the right-hand side field "
         "'proc.pid' has incompatible type 'INT64'")),
        ("proc.name = val(proc.args)", 46, ("field on the left has type 'CHARBUF' while the right-hand side field "
         "'proc.args' has incompatible type 'CHARBUF'")),
        ("proc.name = val(thread.caps)", 46, "field 'thread.caps' can't be used as a right-hand side field"),
        ("thread.caps = val(proc.name)", 34, "the field on the left doesn't support right-hand side fields"),
        ("proc.name regex val(proc.pname)", 50, "operator 'REGEX' doesn't support right-hand side fields"),
        ("proc.name = val(proc.nam)", 50, "`proc.nam`: no such field"),
        ("proc.name = val('a')", 46, "val() takes exactly one field"),
        ("val(proc.name) = a", 34, "'val' is not allowed here"),
        ("b64(proc.pid) = a", 34, "can't add field transformer: type 'INT64' is not supported by 'b64' transformer"),
        ("tolower(proc.env[x]) = a", 42, "field 'proc.env' does not support transformers"),
        ("tolower(proc.name, proc.pname) = a", 34, "the transformer 'tolower' takes one argument"),
        ("concat(proc.name) = a", 34, "concat takes at least two arguments"),
        ("join(proc.name) = a", 34, "join takes exactly two arguments"),
        ("tolower(proc.name)[1] = a", 34, "the transformer 'tolower' takes no index"),
    ],
)  # fmt: skip
def test_a_comparison_that_makes_no_sense_is_told_at_its_place(condition: str, column: int, message: str) -> None:
    problem = only_failure(rule(f"{ON} and {condition}"))
    assert (problem.code, problem.line, problem.message) == ("LOAD_ERR_COMPILE_CONDITION", 3, message)
    assert problem.column == column
    assert problem.snippet == f"  condition: {ON} and {condition}\n{' ' * (column - 1)}^"


def test_an_unknown_field_or_event_type_comes_with_the_nearest_one() -> None:
    assert only_failure(rule(f"{ON} and proc.nmae = a")).hint == "did you mean 'proc.name'?"
    assert only_failure(rule("evt.type = opnat")).hint == "did you mean 'openat'?"


def test_every_mistake_of_a_condition_is_told() -> None:
    from tests.rules.standin import failure

    found = failure(rule(f"{ON} and proc.pid = x and proc.nam = a or proc.ppid = y"))
    assert [problem.column for problem in found] == [45, 51, 79]


def test_transformers_nested_without_reason_are_refused() -> None:
    deep = "tolower(" * 40 + "proc.name" + ")" * 40
    assert only_failure(rule(f"{ON} and {deep} = a")).message == "more than 20 transformers inside each other"


@pytest.mark.parametrize(
    ("condition", "column", "message"),
    [
        ("proc.name = proc.pname", 46, "'proc.pname' is a field but is compared as text"),
        ("proc.name in shells", 47, "'shells' is not a list; it is compared as text"),
        ("proc.name regex '^abc.*'", 50, ("regex check with '^abc.*' may be optimized with simpler operators such as "
         "'=', 'startswith', 'endswith' or 'contains'")),
    ],
)  # fmt: skip
def test_legal_but_odd_comparisons_are_warned_about(condition: str, column: int, message: str) -> None:
    (warning,) = loaded(rule(f"{ON} and {condition}")).warnings
    assert (warning.code, warning.line, warning.message) == ("LOAD_COMPILE_CONDITION", 3, message)
    assert warning.column == column


def test_a_quoted_field_name_and_a_useful_regex_are_not_odd() -> None:
    condition = f"{ON} and proc.name = 'proc.pname' and proc.pname regex '^a+b' and proc.pname in (a, b)"
    assert codes(loaded(rule(condition))) == []


@pytest.mark.parametrize("condition", ["evt.dir = <", "evt.latency > 0"])
def test_fields_of_enter_events_are_deprecated(condition: str) -> None:
    (warning,) = loaded(rule(f"{ON} and {condition}")).warnings
    assert (warning.code, warning.line, warning.column) == ("LOAD_DEPRECATED_ITEM", 3, 34)
