# SPDX-License-Identifier: Apache-2.0
"""Verdicts agree with the compiled rules, and are given only where what is known suffices."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import given as examples
from hypothesis import strategies as st

from falco_py.rules.checks import checks, fields
from falco_py.rules.syntax import FieldExpr, spelled
from falco_py.trials.given import Given, GivenError, field_of, typed
from falco_py.trials.load import Trials
from falco_py.trials.truth import decider, unsaid
from falco_py.trials.wording import because
from tests.trials.rulesfile import given, trials

if TYPE_CHECKING:
    from falco_py.rules.bundle import Rule

OURS = Path(__file__).parents[3] / "rules" / "falco_rules.yaml"
SMALL = trials()
WHOLE = Trials([("falco_rules.yaml", OURS.read_text())], rule_matching="all", complete=True)
PARTLY = Trials([("falco_rules.yaml", OURS.read_text())], rule_matching="all")


def truth(rule: str, **changes: Any) -> bool | None:
    return SMALL.finding(rule, given(SMALL, **changes)).truth


def test_a_verdict_is_given_where_the_event_says_enough() -> None:
    assert truth("read secret") is True
    assert truth("read secret", fd__name="/etc/other") is False
    assert truth("read secret", proc__name="x", proc__pname="sh") is True
    assert truth("read secret", proc__name="x") is None  # the parent is not known
    assert truth("read secret", user__name=None) is None  # nor is the user, whom an exception asks for
    assert truth("any read", user__name=None) is True


def test_what_an_event_does_not_say_is_missing_where_it_is_complete() -> None:
    load = trials(complete=True)
    assert load.finding("read secret", given(load, user__name=None)).truth is True
    assert load.finding("read secret", given(load, proc__name="x")).truth is False


def test_ancestors_known_in_part_can_only_say_yes() -> None:
    load = trials(
        "- rule: r\n  desc: d\n  condition: evt.type = openat and proc.aname = sh\n  output: o\n  priority: INFO\n"
    )
    assert load.finding("r", given(load, proc__pname="sh")).truth is True
    assert load.finding("r", given(load, proc__pname="x")).truth is None
    assert load.finding("r", given(load, proc__aname="[x]")).truth is False


NOBODY = "exception 'never_used' applies: user.name in (nobody) (user.name is nobody)"
KNOWN_READER = "exception 'known_reader' applies: proc.name = tail; user.name = root"
NO_READER = (
    "no alternative holds: proc.name in (readers: cat, less, more, head, ... 7 in all) (proc.name is x); "
    "proc.pname = sh (proc.pname is y)"
)


@pytest.mark.parametrize(
    ("changes", "decided", "reason"),
    [
        ({"fd__name": "/etc/x"}, "fd.name = /etc/secret", "fd.name = /etc/secret is false (fd.name is /etc/x)"),
        ({"proc__name": "tail", "user__name": "root"}, "", KNOWN_READER),
        ({"user__name": "nobody"}, "user.name in (nobody)", NOBODY),
        (
            {"evt__type": "connect"},
            "evt.type in (open, openat)",
            "evt.type in (open, openat) is false (evt.type is connect) in macro open_read",
        ),
        ({"proc__name": "x", "proc__pname": "y"}, "", NO_READER),
        ({}, "", "every part of the condition holds"),
        ({"proc__name": "x"}, None, "the event does not say proc.pname"),
    ],
)
def test_the_part_that_decided_is_named(changes: dict[str, Any], decided: str | None, reason: str) -> None:
    finding = SMALL.finding("read secret", given(SMALL, **changes))
    if decided is not None:
        assert decider(finding).clause.text == decided
    assert because(finding) == reason


def test_only_what_would_help_is_asked_for() -> None:
    assert unsaid(SMALL.finding("read secret", given(SMALL, user__name=None))) == ["user.name"]


# Over the rules of the agent and events made of what they compare with


def _words(rules: tuple[Rule, ...]) -> dict[str, list[Any]]:
    """Field -> values that are worth a try."""
    found: dict[str, list[Any]] = {}
    for check in (check for rule in rules for check in checks(rule.tree)):
        for expr in fields(check):
            row, spelling = field_of(WHOLE.catalogue, spelled(expr))
            values = found.setdefault(spelling, [None])
            texts = [one.text for one in check.right] if isinstance(check.right, tuple) else []
            if not isinstance(check.left, FieldExpr):
                texts += [f"/usr/bin/{text}" for text in texts]  # basename(...)
            for text in (*texts, *(text + "x" for text in texts[:2])):
                try:
                    values.append(typed(row, spelling, text, WHOLE.catalogue.known_events))
                except GivenError:
                    continue
    return found


WORDS = _words(WHOLE.bundle.rules)
EVENTS = st.fixed_dictionaries({name: st.sampled_from(values) for name, values in WORDS.items()})


@examples(EVENTS, st.sampled_from(sorted(WHOLE.bundle.matchers)))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_verdicts_are_those_of_the_compiled_rules(values: dict[str, Any], name: str) -> None:
    event = Given({**values, "evt.type": name, "syscall.type": name})
    fired = {rule.name for rule in WHOLE.fired(event)}
    found = {rule.name for rule in WHOLE.bundle.rules if WHOLE.finding(rule.name, event).truth}
    assert found == fired


@examples(EVENTS, st.sampled_from(sorted(WHOLE.bundle.matchers)), st.sets(st.sampled_from(sorted(WORDS))))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_more_knowledge_never_turns_a_verdict(values: dict[str, Any], name: str, hidden: set[str]) -> None:
    whole = {**values, "evt.type": name, "syscall.type": name}
    part = {field: value for field, value in whole.items() if field not in hidden}
    for rule in WHOLE.bundle.rules:
        verdict = PARTLY.finding(rule.name, Given(part)).truth
        assert verdict in (None, PARTLY.finding(rule.name, Given(whole)).truth)
