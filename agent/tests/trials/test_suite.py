# SPDX-License-Identifier: Apache-2.0
"""Rule tests: what passes, what fails and why, and mistakes in their files."""

from __future__ import annotations

import pytest

from falco_py.trials.coverage import Coverage
from falco_py.trials.documents import FileError
from falco_py.trials.given import GivenCatalogue
from falco_py.trials.suite import Reader, Result, check_names, run
from tests.trials.rulesfile import trials

HEAD = """\
defaults: {evt.type: openat, evt.arg.flags: O_RDONLY, proc.name: cat}
tests:
"""
READER = Reader(GivenCatalogue(), lambda name, _where: (name, '{"fd.name": "/etc/a"}\n{"fd.name": "/etc/secret"}\n'))


def results(tests: str, head: str = HEAD, matching: str = "first") -> list[Result]:
    suite = READER.suite("t.yaml", head + tests)
    load = trials(rule_matching=matching, selections=suite.selections, complete=True)
    check_names(suite, load)
    return [run(test, load) for test in suite.tests]


def why(tests: str, matching: str = "first") -> list[str]:
    (result,) = results(tests, matching=matching)
    return result.why


@pytest.mark.parametrize(
    "test",
    [
        "- {event: {fd.name: /etc/secret}, expect: read secret}",
        "- {event: {fd.name: /etc/x}, expect: any read}",
        "- {event: {fd.name: /x}, expect: none}",
        "- {event: {fd.name: /x}, expect: []}",
        "- {event: {fd.name: /x}, expect: ~}",
        "- {event: {fd.name: /etc/secret}, expect_not: any read}",
        "- {events: [{fd.name: /etc/secret}, {fd.name: /etc/x}], expect: [read secret, any read]}",
        "- {events_file: some.jsonl, expect: [any read, read secret]}",
        "- {event: {fd.name: /etc/secret}, expect: {rule: read secret, output: by cat, priority: warning}}",
    ],
)
def test_what_is_as_expected_passes(test: str) -> None:
    (result,) = results(test)
    assert result.passed, result.why
    assert result.text() == "ok      test 1"


@pytest.mark.parametrize(
    ("test", "reason"),
    [
        ("- {event: {fd.name: /x}, expect: any read}",
         "'any read' did not fire: fd.name startswith /etc/ is false (fd.name is /x)"),
        ("- {event: {fd.name: /etc/x}, expect: none}",
         "'any read' fired on event t.yaml:3: every part of the condition holds: read of /etc/x"),
        ("- {event: {fd.name: /etc/secret}, expect: any read}",
         "'any read' did not fire: 'read secret' stands before it and fired instead"),
        ("- {event: {fd.name: /etc/x, evt.type: connect}, expect: any read}",
         "'any read' did not fire: it runs on open, openat, not on connect"),
        ("- {event: {fd.name: /etc/x}, expect_not: any read}",
         "'any read' fired on event t.yaml:3: every part of the condition holds: read of /etc/x"),
        ("- {event: {fd.name: /etc/secret}, expect: {rule: read secret, output: by dog}}",
         "'read secret' says \"secret read by cat (/etc/secret)\", which does not hold \"by dog\""),
        ("- {event: {fd.name: /etc/secret}, expect: {rule: read secret, priority: ERROR}}",
         "'read secret' has priority Warning, expected ERROR"),
    ],
)  # fmt: skip
def test_what_is_not_fails_with_the_reason(test: str, reason: str) -> None:
    assert reason in why(test)


def test_where_all_rules_are_tested_all_alerts_count() -> None:
    test = "- {event: {fd.name: /etc/secret}, expect: [read secret, any read]}"
    assert why(test, "all") == []
    assert why(test, "first") != []


def test_a_failure_names_the_test_and_its_place() -> None:
    (result,) = results("- {name: n, event: {fd.name: /x}, expect: any read}")
    assert result.text().startswith("FAILED  n (t.yaml:3)\n          'any read' did not fire")
    assert result.json()["passed"] is False


def test_a_rule_may_be_enabled_for_its_tests() -> None:
    head = "rules: [{enable: {rule: switched off}}]\ntests:\n"
    assert results("- {event: {evt.type: connect}, expect: switched off}", head)[0].passed


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "t.yaml:1:1: a file of tests is one mapping with the key 'tests'"),
        ("rules: []\n", "t.yaml:1:1: there are no tests in this file"),
        ("tests: []\n", "t.yaml:1:8: there are no tests in this list"),
        ("test: []\n", "t.yaml:1:1: unknown key 'test'"),
        (
            "rule_matching: some\ntests: [{event: {evt.type: openat}, expect: any read}]",
            "t.yaml:1:16: rule_matching",
        ),
        ("tests: [{expect: any read}]", "t.yaml:1:9: a test has one of 'event', 'events' and 'events_file'"),
        ("tests: [{event: {evt.type: openat}}]", "t.yaml:1:9: the test does not say what it expects"),
        ("tests: [{event: {proc.name: x}, expect: none}]", "t.yaml:1:17: the event has no evt.type"),
        ("tests: [{event: {evt.typ: x}, expect: none}]", "t.yaml:1:18: `evt.typ`: no such field"),
        ("tests: [{event: {evt.type: x}, expect: none}]", "t.yaml:1:28: unknown event type x"),
        ("tests: [{event: {evt.type: openat}, expect: any rea}]", "t.yaml:1:45: there is no rule 'any rea'"),
        ("tests: [{event: {evt.type: connect}, expect: switched off}]", "t.yaml:1:46: rule 'switched off' is disabled"),
        ("tests: [{event: {evt.type: openat}, expects: none}]", "t.yaml:1:37: unknown key 'expects'"),
        (
            "tests: [{event: {evt.type: openat}, expect: {rule: any read, outpt: x}}]",
            "t.yaml:1:62: unknown key",
        ),
        ("tests: [{events: [], expect: none}]", "t.yaml:1:18: there is no event in this list"),
        ("rules: [all]\ntests: [{event: {evt.type: openat}, expect: none}]", "t.yaml:1:9: this selects no rules"),
        ("tests: {a: b}\n", "t.yaml:1:8: a list is expected here"),
        ("tests: [a]\n", "t.yaml:1:9: a test is a mapping with 'event' and 'expect'"),
    ],
)
def test_a_mistake_in_the_file_is_told_with_its_place(text: str, message: str) -> None:
    with pytest.raises(FileError) as caught:
        results(text, head="")
    assert str(caught.value).startswith(message), str(caught.value)


def coverage(tests: str) -> Coverage:
    suite = READER.suite("t.yaml", HEAD + tests)
    load = trials(complete=True)
    made = Coverage(load)
    for test in suite.tests:
        run(test, load, made.event)
    return made


def test_coverage_tells_what_was_never_tried() -> None:
    made = coverage("- {event: {fd.name: /etc/secret, user.name: joe}, expect: read secret}")
    assert made.text().splitlines() == [
        "Coverage: 1 of 2 rules fired; of the comparisons and exceptions of these, 5 of 8 were true at least once",
        "",
        "Rules that no test makes fire:",
        "  any read",
        "",
        "read secret:",
        "  exception 'known_reader' never applied  (rules.yaml:13:13)",
        "  exception 'never_used' never applied  (rules.yaml:16:13)",
        "  never true: proc.pname = sh  (rules.yaml:9:95)",
    ]


def test_coverage_counts_what_was() -> None:
    made = coverage(
        "- {event: {fd.name: /etc/secret, user.name: nobody, proc.pname: sh}, expect: any read}\n"
        "- {event: {fd.name: /etc/secret, user.name: root, proc.name: tail}, expect: any read}\n"
        "- {event: {fd.name: /etc/secret}, expect: read secret}"
    )
    assert made.json()["rules"]["read secret"] == {"fired": 1, "never_true": [], "exceptions_never_used": []}
    assert made.json()["rules"]["any read"]["fired"] == 2
