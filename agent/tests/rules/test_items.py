# SPDX-License-Identifier: Apache-2.0
"""YAML becomes items with places; what is not an item is a problem and not a traceback."""

from __future__ import annotations

import pytest

from falco_py.rules.items import ListItem, MacroItem, RuleItem
from falco_py.rules.places import Source
from falco_py.rules.problems import Problem, Problems
from falco_py.rules.reader import read_items


def read(text: str) -> tuple[list[object], list[Problem]]:
    problems = Problems()
    items = read_items(Source("f.yaml", text), problems)
    return list(items.items), problems.found


def only_problem(text: str) -> Problem:
    _, found = read(text)
    assert len(found) == 1, [str(p) for p in found]
    return found[0]


def test_documents_are_read_one_after_the_other_and_null_items_are_skipped() -> None:
    items, problems = read("- list: a\n  items: []\n---\n---\n- ~\n- macro: m\n  condition: x.y exists\n")
    assert [type(item) for item in items] == [ListItem, MacroItem]
    assert problems == []


def test_of_two_equal_keys_the_first_one_counts() -> None:
    items, _ = read("- list: a\n  items: [x]\n  items: [y]\n")
    (item,) = items
    assert isinstance(item, ListItem)
    assert [scalar.value for scalar in item.items] == ["x"]


def test_anchors_and_aliases_work() -> None:
    items, problems = read("- list: a\n  items: &shells [sh, bash]\n- list: b\n  items: *shells\n")
    second = items[1]
    assert isinstance(second, ListItem)
    assert [scalar.value for scalar in second.items] == ["sh", "bash"]
    assert problems == []


def test_list_items_stay_text() -> None:
    items, _ = read("- list: a\n  items: [1, 2.50, true, 'x y', 0x10]\n")
    (item,) = items
    assert isinstance(item, ListItem)
    assert [scalar.value for scalar in item.items] == ["1", "2.50", "true", "x y", "0x10"]


@pytest.mark.parametrize("word", ["true", "True", "TRUE", "yes", "Yes", "on", "ON", "y", "Y"])
def test_any_yaml_word_for_true_is_true(word: str) -> None:
    items, _ = read(f"- rule: r\n  enabled: {word}\n")
    (item,) = items
    assert isinstance(item, RuleItem)
    assert item.flags == {"enabled": True}


@pytest.mark.parametrize(
    ("text", "line", "column", "message"),
    [
        ("just words\n", 1, 1, "Rules content is not yaml"),
        ("rule: r\n", 1, 1, "Rules content is not yaml array of objects"),
        ("- word\n", 1, 3, "Unexpected element type. Each element should be a yaml associative array."),
        ("- list: a\n", 1, 3, "Item has no mapping for key 'items'"),
        ("- list: a\n  items: x\n", 2, 10, "Value is not a sequence"),
        ("- list: a\n  items: [x, ~]\n", 2, 14, "sequence value is not scalar"),
        ("- list: a\n  items: [x, [y]]\n", 2, 14, "sequence value is not scalar"),
        ("- list:\n  items: []\n", 1, 8, "Mapping for key 'list' is empty"),
        ("- list: ''\n  items: []\n", 1, 9, "Value must be non-empty"),
        ("- macro: m\n", 1, 3, "Item has no mapping for key 'condition'"),
        ("- macro: m\n  condition: [a]\n", 2, 14, "Value is not a scalar value (key 'condition')"),
        ("- rule: r\n  enabled: maybe\n", 2, 12, "Can't decode YAML scalar value 'maybe' of key 'enabled'"),
        ("- rule: r\n  capture_duration: -1\n", 2, 21, "Can't decode YAML scalar value '-1' of key 'capture_duration'"),
        ("- rule: r\n  exceptions: [x]\n", 2, 16, "Rule exception must be a mapping with a name"),
        (
            "- rule: r\n  priority: INFO\n  override: {priority: append}\n",
            3,
            14,
            "Key 'priority' cannot be appended to, use 'replace' instead",
        ),
        ("- rule: r\n  source: x\n  override: {source: replace}\n", 3, 14, "Key 'source' cannot be replaced"),
        (
            "- rule: r\n  desc: x\n  override: {desc: remove}\n",
            3,
            20,
            "Invalid override operation for key 'desc': 'remove'. Allowed values are: append, replace",
        ),
        (
            "- rule: r\n  override: {desc: append}\n",
            2,
            14,
            "An append override for 'desc' was specified but 'desc' is not defined",
        ),
        (
            "- rule: r\n  desc: x\n  tags: [a]\n  override: {desc: append}\n",
            3,
            9,
            "Unexpected key 'tags': no corresponding entry under 'override' is defined.",
        ),
        (
            "- macro: m\n  condition: x.y exists\n  append: true\n  override: {condition: append}\n",
            4,
            13,
            (
                "Keys 'override' and 'append: true' cannot be used together. "
                "Add an 'append' entry for the key under 'override' instead."
            ),
        ),
        ("- required_plugin_versions: x\n", 1, 29, "Value of required_plugin_versions must be a sequence"),
        ("- required_plugin_versions: [{name: json}]\n", 1, 30, "Item has no mapping for key 'version'"),
        (
            "- required_plugin_versions: [{name: json, version: x}]\n",
            1,
            52,
            "Invalid required version 'x' for plugin 'json'",
        ),
    ],
)
def test_what_is_no_item_is_told_with_its_place(text: str, line: int, column: int, message: str) -> None:
    problem = only_problem(text)
    assert (problem.severity, problem.code) == ("error", "LOAD_ERR_YAML_VALIDATE")
    assert (problem.file, problem.line, problem.column, problem.message) == ("f.yaml", line, column, message)


def test_bad_yaml_is_told_where_the_parser_stopped() -> None:
    problem = only_problem("- rule: r\n  desc: [a\n  output: x\n")
    assert problem.code == "LOAD_ERR_YAML_PARSE"
    assert problem.line == 3
    assert problem.snippet == "  output: x\n        ^"


def test_a_value_that_begins_with_a_percent_sign_must_be_quoted() -> None:
    problem = only_problem("- rule: r\n  output: %proc.name\n")
    assert (problem.line, problem.column) == (2, 11)
    assert problem.hint == "quote a value that begins with this character"


def test_a_tab_as_indentation_is_bad_yaml() -> None:
    problem = only_problem("- rule: r\n\tdesc: a\n")
    assert (problem.code, problem.line, problem.column) == ("LOAD_ERR_YAML_PARSE", 2, 1)


@pytest.mark.parametrize("text", ["- a: &x [*x]\n", "- list: a\n  items: *nope\n", "- list: \x01\n", "\ud800", "- ! {"])
def test_odd_yaml_is_a_problem_or_nothing(text: str) -> None:
    items, problems = read(text)
    assert items == []
    assert problems


def test_an_unknown_item_is_a_warning_with_the_nearest_right_word() -> None:
    problem = only_problem("- rul: r\n  desc: d\n")
    assert (problem.severity, problem.code) == ("warning", "LOAD_UNKNOWN_ITEM")
    assert problem.hint == "did you mean 'rule'?"


def test_an_unknown_key_is_a_warning_at_the_key() -> None:
    problem = only_problem("- list: a\n  items: []\n  itmes: []\n")
    assert (problem.code, problem.line, problem.column) == ("LOAD_UNKNOWN_KEY", 3, 3)
    assert problem.hint == "did you mean 'items'?"


@pytest.mark.parametrize("override", ["", "~", "x", "[]", "{}"])
def test_an_override_without_entries_is_a_plain_definition(override: str) -> None:
    items, problems = read(f"- rule: r\n  desc: d\n  override: {override}\n")
    (item,) = items
    assert isinstance(item, RuleItem)
    assert item.override == {}
    assert problems == []


def test_an_item_that_is_wrong_leaves_the_others_and_its_name() -> None:
    found = read_items(Source("f.yaml", "- list: a\n- list: b\n  items: [x]\n"), Problems())
    assert len(found.items) == 1
    assert found.broken == {("list", "a")}
