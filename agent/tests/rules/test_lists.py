# SPDX-License-Identifier: Apache-2.0
"""Lists are written into conditions as text, in definition order, before anything is parsed."""

from __future__ import annotations

import pytest

from falco_py.rules.collector import Collector
from falco_py.rules.lists import TooLargeError, resolve_lists, write_lists
from falco_py.rules.places import Source, Text
from falco_py.rules.problems import Problems
from falco_py.rules.reader import read_items
from tests.rules.standin import only_failure, rule


def written(condition: str, lists: str) -> Text:
    """The condition with these lists written out; `lists`: one `name: [items]` a line."""
    items = "".join("- list: {}\n  items: {}\n".format(*line.split(": ", 1)) for line in lists.splitlines())
    collector = Collector(Problems())
    collector.add(read_items(Source("lists", items), Problems()))
    resolved = resolve_lists(collector.definitions.lists.values())
    macro = read_items(Source("f", f"- macro: m\n  condition: {condition}\n"), Problems()).items[0]
    return write_lists(Text.of(macro.condition), resolved)  # type: ignore[union-attr]


def squeezed(condition: str, lists: str) -> str:
    return " ".join(written(condition, lists).value.split())


@pytest.mark.parametrize(
    ("condition", "lists", "result"),
    [
        ("a.b in (l)", "l: [x, y]", "a.b in ( x, y )"),
        ("a.b in (z, l ,w)", "l: [x, y]", "a.b in (z, x, y ,w)"),
        ("a.b=l", "l: [x]", "a.b= x"),
        ("a.b = l and c.d exists", "l: [x]", "a.b = x and c.d exists"),
        ('"a.b = the l here"', "l: [x]", "a.b = the x here"),
        ("a.b in (l)", "l: ['x y']", 'a.b in ( "x y" )'),
        ("a.b in (l)", "l: [\"'x y'\"]", "a.b in ( 'x y' )"),
        ("a.b in (/l, l.x, xl, lx)", "l: [x]", "a.b in (/l, l.x, xl, lx)"),
        ("a.b in (z, l)", "l: []", "a.b in (z )"),
        ("a.b in (l, z)", "l: []", "a.b in ( z)"),
        ("a.b in (l)", "l: []", "a.b in ( )"),
        ("a.b in (l, l)", "l: [x]", "a.b in ( x , x )"),
        ("a.b and c.d", "and: [or]", "a.b or c.d"),
        ("a.b in (l3)", "l1: [a]\nl2: [l1]\nl3: [l2]", "a.b in ( a )"),
        ("a.b in (l2)", "l2: [l1]\nl1: [a]", "a.b in ( a )"),
    ],
)
def test_a_list_is_written_where_its_name_stands_alone(condition: str, lists: str, result: str) -> None:
    assert squeezed(condition, lists) == result


def test_a_problem_behind_a_list_still_points_at_the_users_own_line() -> None:
    problem = only_failure(
        "- list: l\n  items: [a, b, c, d]\n" + rule("evt.type=open and proc.name in (l) and proc.x = 1")
    )
    assert (problem.line, problem.column) == (5, 53)
    assert problem.snippet.endswith("\n" + " " * 52 + "^")


def test_a_problem_inside_a_list_points_at_its_name_in_the_condition() -> None:
    problem = only_failure("- list: l\n  items: [a, b]\n" + rule("evt.type = open and proc.pid in (l)"))
    assert (problem.line, problem.message) == (5, "a is not a valid number")
    assert problem.snippet.split("\n")[0][problem.column - 1 :].startswith("l)")


def test_lists_that_double_each_other_are_stopped() -> None:
    lists = "l0: [a, b, c, d]\n" + "".join(f"l{n}: [l{n - 1}, l{n - 1}, l{n - 1}, l{n - 1}]\n" for n in range(1, 20))
    with pytest.raises(TooLargeError):
        written("a.b in (l19)", lists)


def test_a_list_that_names_itself_is_text() -> None:
    assert squeezed("a.b in (l)", "l: [l, x]") == "a.b in ( l, x )"
