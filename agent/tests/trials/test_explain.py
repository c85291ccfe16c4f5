# SPDX-License-Identifier: Apache-2.0
"""Explanations, as they are printed."""

from __future__ import annotations

from typing import Any

import pytest

from falco_py.trials.events import Written
from falco_py.trials.explain import Explanation, python
from tests.trials.rulesfile import FILES, READ, given, trials, written

LOAD = trials()

CONDITION = """\
Rule: read secret
Stands in: rules.yaml:7, priority Warning, source syscall, enabled
Runs on: open, openat
Says: secret read by %proc.name (%fd.name)
Condition:
  and
    open_read (macro): and
      evt.type in (open, openat)
      evt.is_open_read = true
      fd.num >= 0
    fd.name = /etc/secret
    not quiet (macro): evt.num = 0
    or
      proc.name in (readers: cat, less, more, head, ... 7 in all)
      proc.pname = sh
    not exception 'known_reader': and
      proc.name = tail
      user.name = root
    not exception 'never_used': user.name in (nobody)
In the kernel (how many calls is a guess):
  open, openat: about 1 in 10,000 calls reaches user space
    result: fd.num >= 0
    open flags: evt.is_open_read = true
    path: fd.name = /etc/secret
    in user space only:
      (proc.name in (readers: cat, less, more, head, ... 7 in all) or proc.pname = sh)
      not exception 'known_reader'
      not exception 'never_used'"""

VERDICT = """
Event event.yaml:1 (openat): the rule does not match: fd.name = /etc/secret is false (fd.name is /etc/x)
  false    and
  true       open_read (macro): and
  true         evt.type in (open, openat)    [evt.type is openat]
  true         evt.is_open_read = true    [evt.is_open_read is true]
  true         fd.num >= 0    [fd.num is 3]
  false      fd.name = /etc/secret    [fd.name is /etc/x]  <-- this decides
  true       not quiet (macro): evt.num = 0
  true       or
  true         proc.name in (readers: cat, less, more, head, ... 7 in all)    [proc.name is cat]
  unknown      proc.pname = sh    [proc.pname is not said]
  true       not exception 'known_reader': and
  false        proc.name = tail    [proc.name is cat]
  false        user.name = root    [user.name is joe]
  true       not exception 'never_used': user.name in (nobody)    [user.name is joe]"""


def explained(rule: str = "read secret", **changes: Any) -> Explanation:
    event = given(LOAD, **changes)
    return Explanation(LOAD, rule, [(written(LOAD, READ), event)])


def test_a_condition_is_shown_with_its_names() -> None:
    assert Explanation(LOAD, "read secret").text() == CONDITION


def test_every_part_gets_a_verdict_and_what_decided_a_mark() -> None:
    assert explained(fd__name="/etc/x").text().endswith(VERDICT)


def test_a_rule_that_matches_shows_its_alert() -> None:
    assert "\nAlert: secret read by cat (/etc/secret)\n" in explained().text()


def test_a_rule_behind_another_is_told_of() -> None:
    assert "But: 'read secret' stands before it and matches too" in explained("any read").text()
    assert "But:" not in explained("any read", fd__name="/etc/x").text()


def test_an_event_of_another_type_is_told_of_first() -> None:
    assert "the rule does not match: it runs on open, openat, not on connect" in explained(evt__type="connect").text()


def test_an_alert_of_the_rule_is_believed() -> None:
    event = Written({"evt.type": "openat", "proc.name": "cat"}, written(LOAD, READ).where, "read secret", ("site",))
    text = Explanation(LOAD, "read secret", [(event, event.given(assume=False))]).text()
    assert "the rule matched, as the alert says; of what it depends on, the alert does not show " in text
    assert "Left out, because these are no fields: site" in text


def test_a_disabled_rule_is_said_to_be() -> None:
    assert "disabled: it fires only once it is enabled" in Explanation(LOAD, "switched off").text()


def test_json_has_the_whole_tree() -> None:
    made = explained(fd__name="/etc/x").json()
    assert made["event_types"] == ["open", "openat"]
    (event,) = made["events"]
    assert event["matches"] is False
    decided = [term for term in event["condition"]["terms"] if term.get("decides")]
    assert decided == [
        {
            "clause": "check",
            "text": "fd.name = /etc/secret",
            "place": "rules.yaml:9:28",
            "truth": False,
            "decides": True,
            "values": {"fd.name": "/etc/x"},
        }
    ]
    exception = made["condition"]["terms"][-2]["terms"][0]
    assert (exception["clause"], exception["name"]) == ("exception", "known_reader")
    assert explained(proc__name="x").json()["events"][0]["matches"] == "unknown"


def test_json_has_what_the_kernel_filters() -> None:
    made = Explanation(LOAD, "read secret").json()
    (told,) = made["filtering"]
    assert told["event_types"] == ["open", "openat"]
    assert told["kernel"] == [
        [
            {"fact": "result", "compares": "fd.num >= 0", "learnt": False},
            {"fact": "open flags", "compares": "evt.is_open_read = true", "learnt": False},
            {"fact": "path", "compares": "fd.name = /etc/secret", "learnt": False},
        ]
    ]
    assert "not exception 'never_used'" in told["user_space"]
    assert "filtering" not in explained().json()


def test_values_cannot_drive_the_terminal() -> None:
    assert "\x1b" not in explained(proc__name='"\\e[31m"').text()


def test_the_python_of_one_rule_is_shown_by_event_types() -> None:
    text = python(FILES, "read secret")
    assert text.startswith("# open, openat\ndef match(e):")
    assert "any read" not in text
    assert "any read" in python(FILES, None)
    with pytest.raises(KeyError):
        python(FILES, "none")
