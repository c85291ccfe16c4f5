# SPDX-License-Identifier: Apache-2.0
"""What the check of rules files says, as text and as JSON."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from falco_py.rules.locations import Locations
from falco_py.rules.problems import PHRASES, Problem
from falco_py.rules.results import _DESCRIPTIONS, check
from tests.rules.standin import Catalogue, rule

FILE = "rules.yaml"
LONG = "evt.type = open and proc.nam = cat"


def checked(*texts: str) -> list[Any]:
    files = [(f"{index}.yaml" if index else FILE, text) for index, text in enumerate(texts)]
    return check(files, {"catalogue": Catalogue()})


def only(text: str) -> dict[str, Any]:
    """The only error of a file, else its only warning, as JSON."""
    (one,) = checked(text)
    made = one.json()
    (problem,) = made["errors"] or made["warnings"]
    return dict(problem)


def stack(text: str) -> list[tuple[str, str]]:
    return [(one["item_type"], one["item_name"]) for one in only(text)["context"]["locations"]]


def test_an_error_as_json_has_falcos_keys() -> None:
    assert only(rule(LONG, name="a")) == {
        "code": "LOAD_ERR_COMPILE_CONDITION",
        "codedesc": "Error compiling condition",
        "message": "`proc.nam`: no such field; did you mean 'proc.name'?",
        "context": {
            "locations": [
                {"item_type": kind, "item_name": name, "position": {"name": FILE, **position}}
                for kind, name, position in (
                    ("rules content", "", {"line": 0, "column": 0, "offset": 0}),
                    ("rule", "a", {"line": 0, "column": 2, "offset": 2}),
                    ("rule condition", "", {"line": 2, "column": 13, "offset": 33}),
                    ("condition expression", '"evt.type = open a..."', {"line": 2, "column": 33, "offset": 53}),
                )
            ],
            "snippet": f"  condition: {LONG}\n{' ' * 33}^\n",
        },
    }


def test_a_result_as_json_has_falcos_keys() -> None:
    (one,) = checked(rule("evt.type = open"))
    assert one.json() == {
        "name": FILE,
        "successful": True,
        "schema_valid": True,
        "schema_warnings": [],
        "errors": [],
        "warnings": [],
    }


EXCEPTIONS = rule("evt.type = open", exceptions="\n  - name: e\n    fields: [proc.name, fd.name]\n    values: [[{}]]")

OVERRIDE = rule("evt.type = open", override="{condition: x, desc: replace, output: replace, priority: replace}")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("- macro: m\n  condition: proc.name = =\n", 'macro m,macro condition ,condition expression "proc.name = ="'),
        (rule("evt.type = open", "x %proc.nam"), "rule r,rule output ,rule output expression "),
        (rule("evt.type = open", priority="x"), "rule r,rule priority "),
        (rule("evt.type = open", enabled="x"), "rule r,value for enabled"),
        (OVERRIDE, "rule r,overrides "),
        (EXCEPTIONS.format("a"), "rule r,exceptions ,exception e"),
        (EXCEPTIONS.format("[a], [[b]]"), "rule r,exceptions ,exception e,exception values ,exception value "),
        ("- required_engine_version: x\n", "required_engine_version x"),
        ("- what: x\n", "rules content item "),
        ("- list: l\n  items: [[a]]\n", "list l,list item "),
        ("- a: [\n", ""),
        (EXCEPTIONS.format("a, b") + "  colour: red\n", "rule r"),
        (rule("evt.type = open", tags="[a]", colour="red"), "rule r"),
    ],
)  # fmt: skip
def test_a_problem_lies_in_its_item(text: str, expected: str) -> None:
    assert stack(text)[0] == ("rules content", "")
    assert ",".join(f"{kind} {name}" for kind, name in stack(text)[1:]) == expected


def test_a_warning_is_described_and_names_the_deprecated_field() -> None:
    made = only(rule("evt.type = open and evt.dir = <"))
    assert made["code"] == "LOAD_DEPRECATED_ITEM"
    assert made["codedesc"] == _DESCRIPTIONS["LOAD_DEPRECATED_ITEM"] != PHRASES["LOAD_DEPRECATED_ITEM"]
    assert made["deprecated_field"] == "evt.dir"
    assert (
        "LOAD_DEPRECATED_ITEM (Used deprecated item: field 'evt.dir')"
        in checked(rule("evt.type = open and evt.dir = <"))[0].text()
    )
    assert set(_DESCRIPTIONS) == {code for code in PHRASES if not code.startswith("LOAD_ERR_")}


def test_a_byte_that_is_no_utf8_is_told_with_its_place() -> None:
    (one,) = checked("# a\n- list: caf\udce9\n  items: []\n")
    ((problem, _),) = one.errors
    assert (problem.line, problem.column, problem.code) == (2, 12, "LOAD_ERR_YAML_PARSE")
    assert problem.message == "the byte 0xe9 is not UTF-8"


def test_what_breaks_the_schema_is_told() -> None:
    (one,) = checked(rule("evt.type = open", colour="red"))
    assert (one.json()["schema_valid"], one.json()["successful"]) == (False, True)
    assert one.json()["schema_warnings"] == ["Unknown key 'colour' in rule"]
    (one,) = checked(rule("evt.type = open", priority="Notice"))
    assert (one.json()["schema_valid"], one.verdict) == (False, "Ok")
    assert one.json()["schema_warnings"] == ["priority: 'Notice' is not in capitals"]


def test_the_text_is_a_verdict_and_a_block_for_each_problem() -> None:
    text = rule("evt.type = open and proc.nam = x", name="a") + "- list: l\n  items: []\n"
    (one,) = checked(text)
    assert one.text().splitlines() == [
        "rules.yaml: Invalid",
        "1 Error:",
        "In rules content: (rules.yaml:1:1)",
        "    rule 'a': (rules.yaml:1:3)",
        "    rule condition: (rules.yaml:3:14)",
        '    condition expression "evt.type = open a...": (rules.yaml:3:34)',
        "------",
        "  condition: evt.type = open and proc.nam = x",
        "                                 ^",
        "------",
        "LOAD_ERR_COMPILE_CONDITION (Error compiling condition): `proc.nam`: no such field",
        "did you mean 'proc.name'?",
        "1 Warning:",
        "In rules content: (rules.yaml:1:1)",
        "    list 'l': (rules.yaml:6:3)",
        "------",
        "- list: l",
        "        ^",
        "------",
        "LOAD_UNUSED_LIST (Unused list): List not referred to by any other rule/macro",
    ]
    assert one.summary() == "rules.yaml: Invalid, 1 error: LOAD_ERR_COMPILE_CONDITION"


def test_a_later_file_makes_an_item_useful_but_no_file_good() -> None:
    first, second = checked("- list: l\n  items: [a]\n", rule("evt.type = open and proc.name in (l)"))
    assert (first.text(), second.text()) == ("rules.yaml: Ok", "1.yaml: Ok")
    first, second = checked(rule(LONG, name="a"), rule("evt.type = open"))
    assert (first.verdict, second.verdict) == ("Invalid", "Ok")


@given(st.text(alphabet="-: []{}\n'ab|", max_size=40), st.integers(0, 50))
def test_any_text_and_place_has_a_stack(text: str, offset: int) -> None:
    for start in ("", "- rule: r\n  exceptions:\n  - "):
        found = Locations(FILE, start + text).stack(Problem("error", "X", FILE, 1, 1, "m", offset=offset))
        assert found[0].item_type == "rules content"
