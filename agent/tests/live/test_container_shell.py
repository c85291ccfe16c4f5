# SPDX-License-Identifier: Apache-2.0
"""Shells and secrets in a real container."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.live.runc_container import Container

if TYPE_CHECKING:
    from pathlib import Path

    from tests.live.harness import Agent

RULE = "Terminal shell in container"


def test_a_shell_with_a_terminal_is_reported(agent: Agent, container: Container, mark: str) -> None:
    assert mark in container.exec_terminal("sh", "-c", f"echo {mark}")
    alert = agent.expect(RULE, mark)
    assert alert.priority == "Notice"
    assert "A shell was spawned in a container with an attached terminal | " in alert.output
    assert alert.fields["container.id"] == container.id
    assert alert.fields["proc.name"] == "sh"
    assert alert.fields["proc.tty"] != 0
    assert alert.fields["proc.cmdline"] == f"sh -c echo {mark}"
    assert alert.fields["user.name"] == "root"
    assert {"container", "shell", "mitre_execution"} <= set(alert.tags)


def test_a_busybox_shell_under_its_own_name_is_reported(agent: Agent, container: Container, mark: str) -> None:
    container.exec_terminal("busybox", "ash", "-c", f"echo {mark}")
    assert agent.expect(RULE, mark).fields["container.id"] == container.id


def test_a_shell_below_a_launcher_is_reported(agent: Agent, container: Container, mark: str) -> None:
    container.exec_terminal("busybox", "env", "sh", "-c", f"echo {mark}")
    agent.expect(RULE, mark)


def test_a_shell_without_a_terminal_is_not_reported(agent: Agent, container: Container, mark: str) -> None:
    assert container.exec("sh", "-c", f"echo {mark}").returncode == 0
    agent.expect_none(mark)


def test_another_program_with_a_terminal_is_not_reported(agent: Agent, container: Container, mark: str) -> None:
    container.exec_terminal("ls", f"/{mark}")
    agent.expect_none(mark)


def test_a_shell_started_by_a_shell_is_not_reported_again(agent: Agent, container: Container, mark: str) -> None:
    container.exec_terminal("sh", "-c", f"sh -c 'true {mark}'; true")
    agent.settle()
    about = [alert.fields["proc.cmdline"] for alert in agent.alerts if alert.rule == RULE and alert.has(mark)]
    assert about == [f"sh -c sh -c 'true {mark}'; true"]


def test_the_password_hashes_of_the_container_are_sensitive(agent: Agent, container: Container, mark: str) -> None:
    container.exec("cat", "/etc/shadow", f"/{mark}")
    alert = agent.expect("Read sensitive file untrusted", mark)
    assert alert.fields["fd.name"] == "/etc/shadow"
    assert alert.fields["container.id"] == container.id
    assert alert.fields["proc.exepath"] == "/bin/busybox"


def test_password_hashes_below_another_directory_of_a_container_are_sensitive(
    agent: Agent, container: Container, mark: str
) -> None:
    container.exec("mkdir", "-p", f"/tmp/{mark}/etc")
    container.exec("cp", "/etc/hosts", f"/tmp/{mark}/etc/shadow")
    container.exec("cat", f"/tmp/{mark}/etc/shadow")
    alert = agent.expect("Read sensitive file untrusted", mark, proc_name="cat")
    assert alert.fields["fd.name"] == f"/tmp/{mark}/etc/shadow"


def test_other_files_of_the_container_are_not_sensitive(agent: Agent, container: Container, mark: str) -> None:
    container.exec("cat", "/etc/passwd", f"/{mark}")
    agent.expect_none(mark)


def test_a_container_that_starts_and_ends_is_not_reported(agent: Agent, tmp_path: Path) -> None:
    """The runtime runs a copy of itself from memory, mounts, and writes files of the container meanwhile."""
    agent.settle()
    before = len(agent.alerts)
    second = Container(tmp_path)
    try:
        second.start()
        assert second.exec("true").returncode == 0
    finally:
        second.stop()
    agent.settle()
    about = [
        alert
        for alert in agent.alerts[before:]
        if second.id in alert.output
        or "runc" in str(alert.fields.get("proc.pname")) + str(alert.fields.get("proc.name"))
    ]
    assert not about
