# SPDX-License-Identifier: Apache-2.0
"""Whole rule files with the agent's own fields: ours, Falco's own, and the one of the tutorial."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from falco_py.rules.bundle import load
from tests.fields import made

if TYPE_CHECKING:
    from falco_py.rules.bundle import Bundle

REPOSITORY = Path(__file__).parents[3]
OURS = REPOSITORY / "rules" / "falco_rules.yaml"
UPSTREAM = REPOSITORY.parent / "shared" / "compat" / "rules"
needs_upstream = pytest.mark.skipif(not UPSTREAM.is_dir(), reason="Falco's rule files are not here")

TUTORIAL = """\
- list: linux_shells
  items: [bash, zsh, ksh, sh, csh]

- macro: container
  condition: container.id != host

- rule: shell_in_container
  desc: notice shell activity within a container
  condition: container and proc.name in (linux_shells)
  output: shell in a container (user=%user.name container_id=%container.id shell=%proc.name parent=%proc.pname)
  priority: WARNING
"""


def test_our_rules_load_without_a_warning() -> None:
    bundle = load([(str(OURS), OURS.read_text())])
    assert bundle.rules
    assert bundle.warnings == ()


# What is right to say of Falco's own rules: a name of over 15 bytes, and two rules that wider ones of another file,
# read before, leave nothing to.
LONG_NAME = ("LOAD_COMPILE_CONDITION", "macro", "azure_scripts_writing_conf")
SHADOWED = [
    ("LOAD_COMPILE_CONDITION", "rule", "Netcat/Socat Remote Code Execution on Host"),
    ("LOAD_COMPILE_CONDITION", "rule", "Network Tool Executed During NPM Package Install"),
]
TOLD = {
    "falco_rules.yaml": [],
    "falco-incubating_rules.yaml": [],
    "falco-sandbox_rules.yaml": [LONG_NAME],
}


def upstream(*names: str, **settings: Any) -> Bundle:
    return load([(name, (UPSTREAM / name).read_text()) for name in names], **settings)


def told(bundle: Bundle) -> list[tuple[str, str, str]]:
    return [(warning.code, warning.item_type, warning.item_name) for warning in bundle.warnings]


@needs_upstream
@pytest.mark.parametrize("name", TOLD)
def test_each_of_falcos_files_loads(name: str) -> None:
    bundle = upstream(name)
    assert len(bundle.rules) >= 25
    assert told(bundle) == TOLD[name]


@needs_upstream
def test_all_of_falcos_rules_load_together_in_the_order_of_maturity() -> None:
    bundle = upstream(*TOLD)
    assert len(bundle.rules) == 81
    assert told(bundle) == [LONG_NAME, *SHADOWED]


@needs_upstream
def test_where_every_rule_is_tested_none_is_in_the_way_of_another() -> None:
    assert told(upstream(*TOLD, rule_matching="all")) == [LONG_NAME]


@needs_upstream
def test_audit_rules_are_left_out_with_a_warning_each_and_no_other() -> None:
    bundle = upstream(*TOLD, "k8s_audit_rules.yaml")
    assert len(bundle.rules) == 81
    assert Counter(code for code, _, _ in told(bundle)) == {"LOAD_UNKNOWN_SOURCE": 48, "LOAD_COMPILE_CONDITION": 3}


@needs_upstream
def test_audit_rules_load_alone() -> None:
    bundle = upstream("k8s_audit_rules.yaml")
    assert bundle.rules == ()
    assert set(told(bundle)) == {("LOAD_UNKNOWN_SOURCE", "rule", name) for _, _, name in told(bundle)}
    assert len(bundle.warnings) == 48


def test_the_rules_of_the_tutorial_load_quickly_and_with_a_warning() -> None:
    start = time.perf_counter()
    bundle = load([("tutorial.yaml", TUTORIAL)])
    assert time.perf_counter() - start < 1
    assert [(w.code, w.line, w.column) for w in bundle.warnings] == [("LOAD_NO_EVTTYPE", 7, 9)]
    assert len(bundle.event_types) > 300
    assert len(set(bundle.matchers.values())) == 1


@pytest.mark.parametrize(
    ("comm", "container", "fires"), [("sh", "0123456789ab", True), ("sh", "", False), ("cat", "0123456789ab", False)]
)
def test_the_tutorials_rule_sees_a_shell_in_a_container(tmp_path: Path, comm: str, container: str, fires: bool) -> None:
    bundle = load([("tutorial.yaml", TUTORIAL)])
    parent = made.process(30, 80, "runc")
    shell = made.process(40, 90, comm, container_id=container)
    event = made.event("execve", on=made.table(tmp_path, parent, shell), comm=comm.encode())
    found = bundle.matchers["execve"](event)
    assert (found is not None) is fires
    if found is not None:
        assert f"container_id={container} shell=sh parent=runc)" in found.format.format(event)
