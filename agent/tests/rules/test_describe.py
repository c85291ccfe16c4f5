# SPDX-License-Identifier: Apache-2.0
"""Rules described: in columns, and as JSON with what their conditions use."""

from __future__ import annotations

from typing import Any

import pytest

from falco_py.config.model import AppendOutput, Selection
from falco_py.rules.describe import Descriptions
from falco_py.rules.problems import RulesError
from tests.rules.standin import Catalogue, rule

TEXT = (
    '- required_engine_version: 0.26.0\n'
    '- list: inner\n  items: [x, "y z"]\n'
    "- list: names\n  items: [inner, cat]\n"
    "- list: idle\n  items: []\n"
    "- macro: opened\n  condition: evt.type in (open, openat)\n"
    "- macro: named\n  condition: opened and proc.name in (names)\n"
    "- macro: idle_macro\n  condition: proc.pid = 1\n"
    + rule("named and fd.name startswith oneof (/etc)", "x %proc.pname %tolower(fd.name)", name="a", tags="[t, b]",
           exceptions="\n  - name: e\n    fields: [proc.name]\n    comps: [=]\n    values: [[dog]]")
    + rule("evt.type = open and proc.aname[2] exists", name="off", enabled="false")
)  # fmt: skip
EXTRA = AppendOutput(extra_output="p=%proc.pid", extra_fields=(("proc.name", None), ("who", "%proc.name")))


def described(text: str = TEXT, **more: Any) -> Descriptions:
    return Descriptions([("r.yaml", text)], catalogue=Catalogue(), **more)


def test_a_rule_in_json() -> None:
    (made,) = described(extra_output=[EXTRA]).json("a")["rules"]
    assert made["info"] == {
        "name": "a",
        "condition": "named and fd.name startswith oneof (/etc)",
        "priority": "Informational",
        "output": "x %proc.pname %tolower(fd.name)",
        "description": "d",
        "enabled": True,
        "source": "syscall",
        "capture": False,
        "capture_duration": 0,
        "tags": ["b", "t"],
    }
    assert made["details"] == {
        "macros": ["named"],
        "lists": [],
        "condition_operators": ["=", "in", "startswith oneof"],
        "condition_fields": ["evt.type", "fd.name", "proc.name"],
        "output_fields": ["fd.name", "proc.pid", "proc.pname"],
        "extra_output_formatted_fields": ["who"],
        "exception_fields": ["proc.name"],
        "exception_names": ["e"],
        "exception_operators": ["="],
        "events": ["open", "openat"],
        "condition_compiled": '(evt.type in (open, openat) and proc.name in (x, "y z", cat) and '
        "fd.name startswith oneof (/etc) and not proc.name = dog)",
        "output_compiled": "x %proc.pname %tolower(fd.name) p=%proc.pid",
        "plugins": [],
    }


def test_everything_in_json() -> None:
    made = described().json()
    assert list(made) == ["required_engine_version", "required_plugin_versions", "rules", "macros", "lists"]
    assert made["required_engine_version"] == "0.26.0"
    assert [one["info"]["name"] for one in made["rules"]] == ["a", "off"]
    assert [one["info"]["enabled"] for one in made["rules"]] == [True, False]
    assert {one["info"]["name"]: one["details"]["used"] for one in made["macros"] + made["lists"]} == {
        "opened": True, "named": True, "idle_macro": False, "inner": True, "names": True, "idle": False,
    }  # fmt: skip
    assert made["macros"][1] == {
        "info": {"name": "named", "condition": "opened and proc.name in (names)"},
        "details": {
            "used": True,
            "macros": ["opened"],
            "lists": ["names"],
            "condition_operators": ["in"],
            "condition_fields": ["evt.type", "proc.name"],
            "events": ["open", "openat"],
            "condition_compiled": '(evt.type in (open, openat) and proc.name in (x, "y z", cat))',
            "plugins": [],
        },
    }
    assert made["lists"][1] == {
        "info": {"name": "names", "items": ["inner", "cat"]},
        "details": {"used": True, "lists": ["inner"], "items_compiled": ["x", "y z", "cat"], "plugins": []},
    }


def test_required_plugins_and_their_alternatives() -> None:
    text = (
        "- required_plugin_versions:\n  - name: container\n    version: 0.1.0\n"
        "    alternatives: [{name: other, version: 1.0.0}]\n"
    )
    assert described(text + rule("evt.type = open and container.id = host")).json()["required_plugin_versions"] == [
        {"name": "container", "version": "0.1.0", "alternatives": [{"name": "other", "version": "1.0.0"}]}
    ]


def test_a_field_tells_the_plugin_that_falco_has_it_from() -> None:
    made = described(rule("evt.type = open and container.id = host")).json("r")
    assert made["rules"][0]["details"]["plugins"] == ["container"]


def test_a_selection_shows_in_enabled() -> None:
    made = described(selections=[Selection(True, rule="off")]).json("off")
    assert made["rules"][0]["info"]["enabled"] is True


def test_text_has_two_columns() -> None:
    long = "name " * 12 + "end"
    text = rule("evt.type = open", name="short").replace("desc: d", "desc: " + "word " * 20) + rule(
        "evt.type = open", name=long
    )
    words = ("word " * 14).strip(), ("word " * 6).strip()
    assert described(text).text().splitlines() == [
        f"{'Rule':<50} Description",
        f"{'----':<50} -----------",
        f"{'short':<50} {words[0]}",
        f"{'':<50} {words[1]}",
        long,
        f"{'':<50} d",
    ]
    assert described(text).text("short").count("\n") == 3


def test_rules_that_do_not_load_are_not_described() -> None:
    with pytest.raises(RulesError):
        described(rule("evt.type = = open"))
    with pytest.raises(KeyError):
        described().json("none")


def test_a_condition_of_great_depth_is_described() -> None:
    deep = "evt.type = open and " + "not (proc.pid = 1 or " * 400 + "proc.pid = 2" + ")" * 400
    made = described(rule(deep)).json("r")
    assert made["rules"][0]["details"]["condition_compiled"].count("not") == 400


def test_a_rule_about_audit_events_is_described_though_it_does_not_run() -> None:
    text = TEXT + (
        "- rule: audit\n  source: k8s_audit\n  desc: d\n  condition: ka.verb = get\n  output: o %ka.user.name\n"
        "  priority: INFO\n"
    )
    loaded = Descriptions([("r.yaml", text.replace("proc.aname[2]", "proc.aname"))])
    (made,) = loaded.json("audit")["rules"]
    assert made["info"]["source"] == "k8s_audit"
    assert made["details"]["events"] == ["asyncevent", "pluginevent"]
    assert made["details"]["plugins"] == ["k8saudit"]
    assert made["details"]["output_fields"] == ["ka.user.name"]
    assert "audit" in loaded.text()
