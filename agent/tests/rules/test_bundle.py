# SPDX-License-Identifier: Apache-2.0
"""Files in, bundle out: everything is good, or all that is wrong is told at once."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from falco_py.rules.bundle import load
from falco_py.rules.problems import RulesError
from tests.rules.standin import Catalogue, Event, codes, failure, loaded, only_failure, rule

ON = "evt.type = open"


def test_the_first_rule_that_matches_wins() -> None:
    bundle = loaded(rule(f"{ON} and proc.pid = 1", name="a") + rule(ON, name="b") + rule(ON, name="c"))
    matcher = bundle.matchers["open"]
    assert matcher(Event("open", {"proc.pid": 1})).name == "a"
    assert matcher(Event("open")).name == "b"


def test_with_rule_matching_all_every_rule_that_matches_is_given() -> None:
    text = rule(f"{ON} and proc.pid = 1", name="a") + rule(ON, name="b") + rule(f"{ON} and proc.pid = 2", name="c")
    matcher = loaded(text, rule_matching="all").matchers["open"]
    assert [one.name for one in matcher(Event("open", {"proc.pid": 1}))] == ["a", "b"]
    nothing = loaded(rule(f"{ON} and proc.pid = 1"), rule_matching="all").matchers["open"]
    assert nothing(Event("open")) == ()


def test_rules_are_attached_to_the_event_types_they_can_hold_for() -> None:
    bundle = loaded(rule("evt.type in (open, close) and proc.pid = 1") + rule("evt.type = execve", name="b"))
    assert bundle.event_types == {"open", "close", "execve"} == set(bundle.matchers) == set(bundle.source)
    assert bundle.matchers["open"] is bundle.matchers["close"]


def test_what_the_event_type_decides_is_not_tested_again() -> None:
    bundle = loaded(rule("(evt.type = open and proc.pid = 1) or (evt.type = close and proc.pid = 2)"))
    assert "== 1" in bundle.source["open"]
    assert "== 2" not in bundle.source["open"]
    assert "e.name" not in bundle.source["open"]


def test_a_rule_that_can_never_hold_is_attached_nowhere() -> None:
    bundle = loaded(rule(f"{ON} and evt.num = 0"))
    assert (len(bundle.rules), bundle.matchers, codes(bundle)) == (1, {}, [])


def test_uses_counts_the_fields_of_rules_that_run() -> None:
    off = rule(f"{ON} and fd.name = x", "x %fd.rip", name="off", enabled="false")
    unused = "- macro: unused\n  condition: proc.tty = 1\n"
    used = "- macro: used\n  condition: tolower(proc.name) = val(proc.pname)\n"
    bundle = loaded(off + unused + used + rule(f"{ON} and used", "x %proc.aname[1] %toupper(container.id)"))
    assert bundle.uses == {"evt.type", "proc.name", "proc.pname", "proc.aname", "container.id"}


def test_a_rule_on_many_event_types_is_warned_about_once() -> None:
    (warning,) = loaded(rule("proc.name = a")).warnings
    assert (warning.code, warning.line, warning.column) == ("LOAD_NO_EVTTYPE", 1, 9)
    assert codes(loaded(rule("proc.name = a", warn_evttypes="false"))) == []


def test_a_rule_may_ask_to_be_left_out_when_a_field_is_unknown() -> None:
    skip = {"skip-if-unknown-filter": "true"}
    macro = "- macro: m\n  condition: ka.verb = x\n"
    for text in (
        rule(f"{ON} and ka.verb = x", **skip),
        rule(ON, "x %ka.verb", **skip),
        rule("evt.type = opn", **skip),
        rule(f"{ON} and m", **skip),
    ):
        bundle = loaded(macro + text + rule(f"{ON} and proc.pid = 1", name="other"))
        assert [one.name for one in bundle.rules] == ["other"]
        assert "LOAD_UNKNOWN_FILTER" in codes(bundle)


def test_such_a_rule_is_not_forgiven_anything_else() -> None:
    skip = {"skip-if-unknown-filter": "true"}
    assert only_failure(rule(f"{ON} and proc.pid = x", **skip)).message == "x is not a valid number"
    found = failure(rule(f"{ON} and proc.pid = x and ka.verb = y", **skip))
    assert [problem.column for problem in found] == [45, 51]


def test_a_rule_of_an_unknown_source_is_left_out() -> None:
    bundle = loaded(rule("ka.verb = x and undefined", source="okta"))
    assert (bundle.rules, codes(bundle)) == ((), ["LOAD_UNKNOWN_SOURCE"])


def test_all_problems_of_all_files_are_told_in_the_order_of_the_files() -> None:
    files = [("b.yaml", rule(f"{ON} and proc.pid = x")), ("a.yaml", "- list: l\n" + rule("evt.type = opn", name="q"))]
    with pytest.raises(RulesError) as caught:
        load(files, catalogue=Catalogue())
    assert [(p.file, p.line) for p in caught.value.problems] == [("b.yaml", 3), ("a.yaml", 1), ("a.yaml", 4)]


def test_a_later_file_sees_and_changes_what_an_earlier_one_defines() -> None:
    files = [
        ("a.yaml", "- list: l\n  items: [a]\n" + rule(f"{ON} and proc.name in (l)")),
        ("b.yaml", "- list: l\n  items: [b]\n  override: {items: append}\n"),
    ]
    bundle = load(files, catalogue=Catalogue())
    assert bundle.files == ("a.yaml", "b.yaml")
    assert bundle.matchers["open"](Event("open", {"proc.name": "b"})) is bundle.rules[0]


def test_a_problem_in_an_appended_condition_points_into_the_file_that_appended() -> None:
    files = [
        ("a.yaml", rule(f"{ON}")),
        ("b.yaml", "- rule: r\n  condition: and proc.pid = x\n  override: {condition: append}\n"),
    ]
    with pytest.raises(RulesError) as caught:
        load(files, catalogue=Catalogue())
    (problem,) = caught.value.problems
    assert (problem.file, problem.line, problem.column) == ("b.yaml", 2, 29)


def test_the_text_of_a_problem_fits_one_screen() -> None:
    assert str(only_failure(rule(f"{ON} and proc.nmae = a"))) == (
        "rules.yaml:3:34: error in rule 'r'\n"
        "      condition: evt.type = open and proc.nmae = a\n"
        "                                     ^\n"
        "    LOAD_ERR_COMPILE_CONDITION (Error compiling condition): `proc.nmae`: no such field\n"
        "    did you mean 'proc.name'?"
    )


@pytest.mark.parametrize("levels", [80, 200, 600])
def test_deeply_nested_conditions_compile_and_are_right(levels: int) -> None:
    pairs = levels // 2
    deep = "not (proc.pid = 1 or (proc.name = a and (" * pairs + "proc.ppid = 3" + ")))" * pairs
    matcher = loaded(rule(f"{ON} and {deep}")).matchers["open"]
    for values in ({}, {"proc.pid": 1}, {"proc.name": "a"}, {"proc.name": "a", "proc.ppid": 3}):
        wanted = values.get("proc.ppid") == 3
        for _ in range(pairs):
            wanted = not (values.get("proc.pid") == 1 or (values.get("proc.name") == "a" and wanted))
        assert (matcher(Event("open", dict(values))) is not None) is wanted


def test_names_and_files_cannot_break_out_of_the_generated_source() -> None:
    name = '"a\\nx = 1\\0\\u2028 # {e}"'
    bundle = load([("f\n\r\x00.yaml", rule(ON, name=name))], catalogue=Catalogue())
    assert bundle.matchers["open"](Event("open")) is bundle.rules[0]


def test_values_cannot_break_out_of_the_generated_source() -> None:
    condition = "'evt.type = open and proc.name contains \"a''+e.x+''b\" and proc.aname != anyof (\"{x}\", \"%s\")'"
    matcher = loaded(rule(condition)).matchers["open"]
    assert matcher(Event("open", {"proc.name": "a'+e.x+'b", "proc.aname": ("y",)})) is not None
    assert matcher(Event("open", {"proc.name": "ab", "proc.aname": ("y",)})) is None


def test_many_rules_on_every_event_type_load_quickly() -> None:
    text = "".join(
        rule(f"(evt.type = open or proc.name = a{n}) and proc.pid = {n}", name=f"r{n}", warn_evttypes="false")
        for n in range(100)
    )
    start = time.perf_counter()
    bundle = loaded(text)
    assert time.perf_counter() - start < 3
    assert len(bundle.matchers) == len(Catalogue.universe)
    assert len(set(bundle.matchers.values())) == 2


_PIECES = (
    "- rule: r\n", "- macro: m\n", "- list: l\n", "  condition: ", "  output: ", "  items: ", "  desc: d\n",
    "  priority: INFO\n", "  exceptions: ", "  override: {condition: append}\n", "  append: true\n",
    "evt.type = open\n", "m and l\n", "proc.name in (l)\n", "[a, b]\n", "x %proc.name\n", "l\n", "not (", ")\n",
    "[{name: x, fields: proc.name, values: [a]}]\n", "---\n", "&a ", "*a\n", "|\n    ", ">\n    ", "'", '"', "\t",
    "\x00", "é", "- required_engine_version: ", "1\n", "\n", "- ", "{", "}", "x: y\n", "  tags: ", "%", "\udcff",
    "  source: k8s\n", "  enabled: false\n",
)  # fmt: skip


@settings(max_examples=500, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.one_of(st.text(max_size=60), st.lists(st.sampled_from(_PIECES), max_size=25).map("".join)))
def test_any_text_loads_or_is_a_rules_error(text: str) -> None:
    try:
        loaded(text)
    except RulesError as error:
        found = error
    else:
        return
    assert any(problem.severity == "error" for problem in found.problems)
    assert all(str(problem) and problem.line >= 1 and problem.column >= 1 for problem in found.problems)


def test_an_event_that_is_no_system_call_has_no_syscall_type() -> None:
    rules = "".join(
        f"- {{rule: r{i}, desc: d, condition: '{condition}', output: o, priority: INFO}}\n"
        for i, condition in enumerate(("syscall.type != openat and evt.type = procexit", "evt.type = procexit"))
    )
    source = load([("r.yaml", rules)]).source["procexit"]
    assert "r1" in source
    assert "r0" not in source


class Counting(dict[str, Any]):
    """Values that count how often each was read."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.reads: Counter[str] = Counter()

    def get(self, key: str, default: Any = None) -> Any:
        self.reads[key] += 1
        return super().get(key, default)


def test_rules_that_ask_for_the_same_value_read_it_once_an_event() -> None:
    conditions = ("proc.name = a and fd.name = x", "proc.name startswith b", "fd.name = y or proc.name in (c, d)")
    text = "".join(rule(f"{ON} and ({one})", name=f"r{n}") for n, one in enumerate(conditions))
    for matching in ("first", "all"):
        values = Counting({"proc.name": "z", "fd.name": None})
        loaded(text, rule_matching=matching).matchers["open"](Event("open", values))
        assert set(values.reads.values()) == {1}


def test_a_value_whose_reading_matters_is_read_where_and_as_often_as_it_is_written() -> None:
    changed = "fd.name_changed = true"
    values = Counting({"fd.name_changed": False, "proc.name": "a", "fd.name": "b"})
    text = rule(f"{ON} and {changed} and proc.name = a") + rule(f"{ON} and ({changed} or fd.name = x)", name="s")
    loaded(text).matchers["open"](Event("open", values))
    assert values.reads == {"fd.name_changed": 2, "fd.name": 1}


def test_comparisons_of_one_value_are_merged() -> None:
    source = loaded(rule(f"{ON} and (proc.name = a or proc.name in (b, c) or fd.name = x)")).source["open"]
    assert "{'a', 'b', 'c'}" in source
    source = loaded(rule(f"{ON} and not fd.name startswith /a and not fd.name startswith anyof (/b, /c)")).source[
        "open"
    ]
    assert "startswith(('/a', '/b', '/c'))" in source


def test_a_condition_that_contradicts_itself_never_holds_and_its_opposite_always() -> None:
    assert "open" not in loaded(rule(f"{ON} and proc.name = a and not proc.name = a")).matchers
    source = loaded(rule("evt.type = open and (proc.name = a or not proc.name in (a))")).source["open"]
    assert "proc" not in source


def test_a_condition_in_several_functions_keeps_its_words() -> None:
    """What is too deep for one expression becomes functions named match_part0 and so on."""
    deep = "proc.name = part0"
    for level in range(70):
        deep = f"proc.pname = p{level} or (proc.tty = {level} and ({deep}))"
    source = loaded(rule(f"{ON} and ({deep})")).source["open"]
    assert "def match_part0(e)" in source
    assert "== 'part0'" in source
