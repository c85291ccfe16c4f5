# SPDX-License-Identifier: Apache-2.0
"""Whole rule files with the agent's own fields: ours, Falco's own, and the one of the tutorial."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

import pytest

from falco_py.rules.bundle import load
from tests.fields import made

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


@needs_upstream
@pytest.mark.parametrize("name", ["falco_rules.yaml", "falco-incubating_rules.yaml", "falco-sandbox_rules.yaml"])
def test_falcos_rules_load(name: str) -> None:
    bundle = load([(name, (UPSTREAM / name).read_text())])
    assert len(bundle.rules) >= 25
    assert bundle.warnings == ()


@needs_upstream
def test_all_of_falcos_rules_load_together() -> None:
    files = [(path.name, path.read_text()) for path in sorted(UPSTREAM.glob("falco*_rules.yaml"))]
    bundle = load(files)
    assert len(bundle.rules) >= 75
    assert {warning.code for warning in bundle.warnings} <= {"LOAD_UNUSED_MACRO", "LOAD_UNUSED_LIST"}


@needs_upstream
def test_audit_rules_are_left_out_with_a_warning_each() -> None:
    bundle = load([("k8s_audit_rules.yaml", (UPSTREAM / "k8s_audit_rules.yaml").read_text())])
    assert bundle.rules == ()
    assert set(Counter(warning.code for warning in bundle.warnings)) == {"LOAD_UNKNOWN_SOURCE"}


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
