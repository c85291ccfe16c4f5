# SPDX-License-Identifier: Apache-2.0
"""Rules that users bring along: Falco's own file, and the rule that its tutorial begins with."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.live.harness import REPOSITORY, Agent, run_python

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.live.runc_container import Container

UPSTREAM_RULES = REPOSITORY.parent / "shared" / "compat" / "rules" / "falco_rules.yaml"
TUTORIAL_RULES = """\
- list: linux_shells
  items: [bash, zsh, ksh, sh, csh]

- macro: container
  condition: container.id != host

- rule: shell_in_container
  desc: notice shell activity within a container
  condition: container and proc.name in (linux_shells)
  output: Bash Opened (user=%user.name container=%container.id command=%proc.cmdline)
  priority: ERROR
"""


def running(rules: Path, scratch: Path) -> Iterator[Agent]:
    agent = Agent([rules], scratch)
    try:
        yield agent.start()
    finally:
        agent.stop()


@pytest.fixture(scope="module")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agent]:
    if not UPSTREAM_RULES.exists():
        pytest.skip("Falco's own rules file is not beside this repository")
    yield from running(UPSTREAM_RULES, tmp_path_factory.mktemp("upstream"))


@pytest.fixture
def tutorial(tmp_path: Path) -> Iterator[Agent]:
    rules = tmp_path / "tutorial.yaml"
    rules.write_text(TUTORIAL_RULES, encoding="utf-8")
    yield from running(rules, tmp_path / "agent")


def test_falcos_own_rules_report_a_read_of_the_password_hashes(upstream: Agent, mark: str) -> None:
    run_python("open('/etc/shadow').close()", mark)
    alert = upstream.expect("Read sensitive file untrusted", mark)
    assert alert.priority == "Warning"
    assert alert.fields["fd.name"] == "/etc/shadow"


def test_falcos_own_rules_report_a_shell_in_a_container(upstream: Agent, container: Container, mark: str) -> None:
    container.exec_terminal("sh", "-c", f"echo {mark}")
    alert = upstream.expect("Terminal shell in container", mark)
    assert alert.priority == "Notice"


def test_falcos_own_rules_report_a_program_that_is_not_in_the_image(
    upstream: Agent, container: Container, mark: str
) -> None:
    container.exec("cp", "/bin/probe", f"/tmp/{mark}")
    container.exec(f"/tmp/{mark}", "nothing")
    assert upstream.expect("Drop and execute new binary in container", mark).priority == "Critical"


def test_falcos_own_rules_are_quiet_about_a_harmless_read(upstream: Agent, mark: str) -> None:
    run_python("open('/etc/hostname').close()", mark)
    upstream.expect_none(mark)


def test_the_tutorials_rule_reports_a_shell_in_a_container(tutorial: Agent, container: Container, mark: str) -> None:
    """The rule names no event type: everything that the shell does matches."""
    container.exec("sh", "-c", f"true {mark}")
    alert = tutorial.expect("shell_in_container", mark)
    assert alert.priority == "Error"
    assert alert.fields["container.id"] == container.id
    assert alert.fields["user.name"] == "root"


def test_the_tutorials_rule_is_quiet_about_shells_outside(tutorial: Agent, mark: str) -> None:
    run_python("import os, sys; os.system('true ' + sys.argv[1])", mark)
    tutorial.expect_none(mark)
