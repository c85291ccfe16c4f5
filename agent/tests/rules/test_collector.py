# SPDX-License-Identifier: Apache-2.0
"""Appending, overriding, redefining and switching: what the last word on a rule, macro or list is."""

from __future__ import annotations

import pytest

from falco_py.rules.priority import Priority
from tests.rules.standin import Event, codes, loaded, only_failure, rule

ON = "evt.type = open"


def test_a_redefined_rule_keeps_its_position_and_loses_all_other_keys() -> None:
    text = (
        rule(ON, name="a", enabled="false", tags="[x]") + rule(ON, name="b") + rule(f"{ON} and proc.pid = 1", name="a")
    )
    bundle = loaded(text)
    assert [(one.name, one.index) for one in bundle.rules] == [("a", 0), ("b", 1)]
    assert bundle.rules[0].condition == f"{ON} and proc.pid = 1"
    assert bundle.rules[0].tags == ()


def test_a_rule_may_not_change_its_source() -> None:
    problem = only_failure(rule(ON, source="okta") + rule(ON))
    assert (problem.line, problem.message) == (7, "Rule has been re-defined with a different source")
    assert problem.hint == "it was 'okta'"


def test_append_joins_conditions_with_one_blank() -> None:
    bundle = loaded(
        rule(f"{ON} and proc.pid = 1 or {ON}") + "- rule: r\n  append: true\n  condition: and proc.pid = 2\n"
    )
    assert bundle.rules[0].condition == f"{ON} and proc.pid = 1 or {ON} and proc.pid = 2"
    assert codes(bundle) == ["LOAD_DEPRECATED_ITEM"]


def test_append_takes_only_conditions_and_exceptions() -> None:
    bundle = loaded(rule(ON) + "- rule: r\n  append: true\n  condition: and proc.pid=1\n  output: other\n  tags: [x]\n")
    assert (bundle.rules[0].output, bundle.rules[0].tags) == ("out", ())


def test_override_append_joins_texts_and_unites_tags() -> None:
    bundle = loaded(
        rule(ON, tags="[b]")
        + "- rule: r\n  output: more\n  desc: e\n  tags: [a, b]\n  condition: and proc.pid = 1\n"
        + "  override: {output: append, desc: append, tags: append, condition: append}\n"
    )
    one = bundle.rules[0]
    assert (one.output, one.desc, one.tags, one.condition) == ("out more", "d e", ("a", "b"), f"{ON} and proc.pid = 1")
    assert codes(bundle) == []


def test_override_replace_swaps_what_it_names_and_nothing_else() -> None:
    bundle = loaded(
        rule(ON, tags="[b]")
        + "- rule: r\n  priority: ERROR\n  tags: [a]\n  override: {priority: replace, tags: replace}\n"
    )
    one = bundle.rules[0]
    assert (one.priority, one.tags, one.output) == (Priority.ERROR, ("a",), "out")


def test_override_appends_before_it_replaces() -> None:
    bundle = loaded(rule(ON) + "- rule: r\n  desc: e\n  enabled: true\n  override: {enabled: replace, desc: append}\n")
    assert bundle.rules[0].desc == "d e"


def test_override_replaces_the_whole_exception_set() -> None:
    bundle = loaded(
        rule(ON, exceptions="[{name: x, fields: proc.name, values: [a]}]")
        + "- rule: r\n  exceptions: [{name: y, fields: proc.name, values: [b]}]\n  override: {exceptions: replace}\n"
    )
    assert "== 'b'" in bundle.source["open"]
    assert "== 'a'" not in bundle.source["open"]


def test_a_rule_is_switched_by_an_override_and_by_the_old_way() -> None:
    off = rule(ON, enabled="false")
    assert len(loaded(off).rules) == 0
    assert len(loaded(off + "- rule: r\n  enabled: true\n  override: {enabled: replace}\n").rules) == 1
    old_way = loaded(off + "- rule: r\n  enabled: true\n")
    assert (len(old_way.rules), codes(old_way)) == (1, ["LOAD_DEPRECATED_ITEM"])


def test_a_later_definition_discards_overrides() -> None:
    switch = "- rule: r\n  enabled: false\n  override: {enabled: replace}\n"
    assert len(loaded(rule(ON) + switch).rules) == 0
    assert len(loaded(rule(ON) + switch + rule(ON)).rules) == 1


def test_rules_under_the_minimum_priority_are_checked_but_do_not_run() -> None:
    text = rule(ON, name="low", priority="debug") + rule(ON, name="high", priority="Error")
    assert [one.name for one in loaded(text, min_priority=Priority.ERROR).rules] == ["high"]
    assert only_failure(rule("evt.type = opn", priority="debug")).message == "unknown event type opn"


def test_appended_macros_and_lists_are_joined() -> None:
    bundle = loaded(
        "- list: names\n  items: [a]\n- list: names\n  items: [b]\n  override: {items: append}\n"
        f"- macro: m\n  condition: {ON} and\n- macro: m\n  condition: proc.name in (names)\n"
        "  override: {condition: append}\n" + rule("m")
    )
    matcher = bundle.matchers["open"]
    assert [matcher(Event("open", {"proc.name": name})) is not None for name in "abc"] == [True, True, False]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "- list: shels\n  items: [a]\n  override: {items: append}\n",
            "List uses 'append' or 'override.items: append' but no list by that name already exists",
        ),
        (
            "- macro: shels\n  condition: and x\n  override: {condition: append}\n",
            "Macro uses 'append' or 'override.condition: append' but no macro by that name already exists",
        ),
        (
            "- rule: shels\n  condition: and x\n  override: {condition: append}\n",
            "Rule uses 'append' or 'override.<key>: append' but no rule by that name already exists",
        ),
        (
            "- rule: shels\n  desc: x\n  override: {desc: replace}\n",
            "An 'override.<key>: replace' to a rule was requested but no rule by that name already exists",
        ),
        ("- rule: shels\n  enabled: true\n", "Rule has 'enabled' key but no rule by that name already exists"),
    ],
)
def test_what_is_appended_to_must_exist(text: str, message: str) -> None:
    before = f"- list: shells\n  items: []\n- macro: shells\n  condition: {ON}\n" + rule(ON, name="shells")
    problem = only_failure(before + text)
    assert (problem.line, problem.message) == (10, message)
    assert problem.column in (9, 10)
    assert problem.hint == "did you mean 'shells'?"


@pytest.mark.parametrize("key", ["desc", "condition", "output", "priority"])
def test_a_definition_needs_all_its_texts(key: str) -> None:
    text = "".join(line + "\n" for line in rule(ON).splitlines() if not line.startswith(f"  {key}"))
    problem = only_failure(text)
    assert problem.message == f"Item has no mapping for key '{key}'"
    assert (problem.code, problem.line, problem.column) == ("LOAD_ERR_YAML_VALIDATE", 1, 9)


def test_a_bad_priority_is_told_with_the_nearest_right_one() -> None:
    problem = only_failure(rule(ON, priority="WARNIN"))
    assert (problem.line, problem.column, problem.message) == (5, 13, "Invalid priority 'WARNIN'")
    assert problem.hint == "did you mean 'Warning'?"
    assert problem.snippet == "  priority: WARNIN\n            ^"


@pytest.mark.parametrize(
    ("version", "message"),
    [
        ("0.26", "Unable to parse engine version '0.26' as a semver string. Expected \"x.y.z\" semver format."),
        ("-1", "Unable to parse engine version '-1' as a semver string. Expected \"x.y.z\" semver format."),
        ("0.99.0", "Rules require engine version 0.99.0, but engine version is 0.63.0"),
        ("64", "Rules require engine version 0.64.0, but engine version is 0.63.0"),
        ("0.63.1", "Rules require engine version 0.63.1, but engine version is 0.63.0"),
        ("1.0.0", "Rules require engine version 1.0.0, but engine version is 0.63.0"),
    ],
)
def test_a_newer_or_unreadable_engine_version_is_refused(version: str, message: str) -> None:
    problem = only_failure(f"- required_engine_version: {version}\n")
    assert (problem.message, problem.line, problem.column) == (message, 1, 28)


@pytest.mark.parametrize("version", ["0", "26", "63", "0.63.0", "0.1.99"])
def test_an_older_engine_version_is_fine(version: str) -> None:
    assert loaded(f"- required_engine_version: {version}\n").rules == ()


def test_one_of_the_plugins_named_must_be_built_in() -> None:
    text = "- required_plugin_versions: [{name: rot13, version: 1.0.0, alternatives: [{name: json, version: 0.7.0}]}]\n"
    assert loaded(text).rules == ()
    problem = only_failure(text.replace("0.7.0", "0.99.0"))
    assert problem.message == "Plugin requirement not satisfied, must load one of: rot13 (>= 1.0.0), json (>= 0.99.0)"


def test_unused_lists_and_macros_are_warned_about_at_their_names() -> None:
    bundle = loaded(f"- list: l\n  items: []\n- macro: m\n  condition: {ON}\n")
    assert [(p.code, p.line, p.column) for p in bundle.warnings] == [
        ("LOAD_UNUSED_LIST", 1, 9),
        ("LOAD_UNUSED_MACRO", 3, 10),
    ]


def test_odd_names_of_lists_and_macros_are_warned_about() -> None:
    bundle = loaded("- list: a b\n  items: []\n- macro: m-x\n  condition: proc.pid = 1\n")
    assert {"LOAD_INVALID_LIST_NAME", "LOAD_INVALID_MACRO_NAME"} <= set(codes(bundle))
