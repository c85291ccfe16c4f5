# SPDX-License-Identifier: Apache-2.0
"""Attacks on the host, harmless ones, each with the alert it must raise and a neighbour that must raise none."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.live.harness import Agent

SHM = Path("/dev/shm")


@pytest.fixture
def shm(mark: str) -> Iterator[Path]:
    """A directory of our own in /dev/shm."""
    directory = SHM / mark
    directory.mkdir()
    try:
        yield directory
    finally:
        shutil.rmtree(directory)


def test_a_shell_below_a_server_is_reported(agent: Agent, mark: str, probe: Path, tmp_path: Path) -> None:
    server = tmp_path / "nginx"
    shutil.copy2(probe, server)
    subprocess.run([server, "spawn", "/bin/sh", "-c", f"true {mark}"], check=True)
    alert = agent.expect("Run shell untrusted", mark)
    assert alert.priority == "Notice"
    assert alert.fields["proc.name"] == "sh"
    assert alert.fields["proc.pname"] == "nginx"
    assert alert.fields["proc.pexepath"] == str(server)
    assert alert.fields["container.id"] == "host"


def test_a_shell_below_a_server_known_by_a_link_is_reported(
    agent: Agent, mark: str, probe: Path, tmp_path: Path
) -> None:
    server = tmp_path / "httpd"
    server.symlink_to(probe)
    subprocess.run([server, "spawn", "/bin/bash", "-c", f"true {mark}"], check=True)
    agent.expect("Run shell untrusted", mark, proc_pname="httpd")


def test_a_shell_below_another_program_is_not_reported(agent: Agent, mark: str, probe: Path, tmp_path: Path) -> None:
    program = tmp_path / "bakery"
    shutil.copy2(probe, program)
    subprocess.run([program, "spawn", "/bin/sh", "-c", f"true {mark}"], check=True)
    agent.expect_none(mark)


def test_another_program_below_a_server_is_not_reported(agent: Agent, mark: str, probe: Path, tmp_path: Path) -> None:
    server = tmp_path / "nginx"
    shutil.copy2(probe, server)
    subprocess.run([server, "spawn", "/bin/true", mark], check=True)
    agent.expect_none(mark)


def test_a_service_account_in_a_login_session_is_reported(agent: Agent, mark: str, probe: Path, tmp_path: Path) -> None:
    session = tmp_path / "sshd"
    shutil.copy2(probe, session)
    subprocess.run([session, "spawn-as", "1", "/bin/true", mark], check=True)
    alert = agent.expect("System user interactive", mark, proc_name="true")
    assert alert.priority == "Informational"
    assert alert.fields["user.name"] == "daemon"


def test_a_service_account_outside_a_login_session_is_not_reported(agent: Agent, mark: str, probe: Path) -> None:
    subprocess.run([probe, "spawn-as", "1", "/bin/true", mark], check=True)
    agent.expect_none(mark)


def test_a_log_that_is_emptied_is_reported(agent: Agent, mark: str, tmp_path: Path) -> None:
    log = tmp_path / mark / "syslog"
    log.parent.mkdir()
    log.write_text("what happened\n", encoding="utf-8")
    subprocess.run(["sh", "-c", f": > {log}"], check=True)
    alert = agent.expect("Clear Log Activities", mark, proc_name="sh")
    assert alert.priority == "Warning"
    assert alert.fields["fd.name"] == str(log)


def test_a_log_that_is_written_to_is_not_reported(agent: Agent, mark: str, tmp_path: Path) -> None:
    log = tmp_path / mark / "syslog"
    log.parent.mkdir()
    subprocess.run(["sh", "-c", f"echo more >> {log}"], check=True)
    agent.expect_none(mark)


def test_a_log_emptied_by_the_truncate_program_is_reported(agent: Agent, mark: str) -> None:
    subprocess.run(["truncate", "--no-create", "--size=0", f"/var/log/{mark}"], check=True)
    agent.expect("Clear Log Activities", mark, proc_name="truncate")


def test_data_that_is_destroyed_is_reported(agent: Agent, mark: str, tmp_path: Path) -> None:
    file = tmp_path / mark
    file.write_text("dear diary", encoding="utf-8")
    subprocess.run(["shred", "-u", file], check=True)
    alert = agent.expect("Remove Bulk Data from Disk", mark)
    assert alert.priority == "Warning"
    assert alert.fields["proc.cmdline"] == f"shred -u {file}"


def test_a_file_that_is_removed_is_not_reported(agent: Agent, mark: str, tmp_path: Path) -> None:
    file = tmp_path / mark
    file.write_text("dear diary", encoding="utf-8")
    subprocess.run(["rm", file], check=True)
    agent.expect_none(mark)


def test_a_program_run_from_memory_is_reported(agent: Agent, mark: str, probe: Path) -> None:
    subprocess.run([probe, "memory", mark], check=True)
    alert = agent.expect("Fileless execution via memfd_create", mark)
    assert alert.priority == "Critical"
    assert "memfd:copy" in alert.fields["proc.exepath"]


def test_a_program_run_by_descriptor_from_a_file_is_not_reported(
    agent: Agent, mark: str, probe: Path, tmp_path: Path
) -> None:
    subprocess.run([probe, "file", tmp_path / "copy", mark], check=True)
    agent.expect_none(mark)


def test_a_program_in_shared_memory_is_reported(agent: Agent, mark: str, probe: Path, shm: Path) -> None:
    program = shm / "tool"
    shutil.copy2(probe, program)
    subprocess.run([program, "nothing"], check=True)
    alert = agent.expect("Execution from /dev/shm", mark)
    assert alert.priority == "Warning"
    assert alert.fields["proc.exepath"] == str(program)


def test_a_script_in_shared_memory_is_reported(agent: Agent, mark: str, shm: Path) -> None:
    script = shm / "script"
    script.write_text("#!/bin/sh\n:\n", encoding="utf-8")
    script.chmod(0o755)
    subprocess.run([script, "itself"], check=True)
    agent.expect("Execution from /dev/shm", mark, proc_cmdline="itself")
    subprocess.run(["sh", script, "by-a-shell"], check=True)
    agent.expect("Execution from /dev/shm", mark, proc_cmdline="by-a-shell")


def test_a_program_run_from_within_shared_memory_is_reported(agent: Agent, mark: str, shm: Path) -> None:
    script = shm / "script"
    script.write_text("#!/bin/sh\n:\n", encoding="utf-8")
    script.chmod(0o755)
    subprocess.run(["./script", mark], cwd=shm, check=True)
    agent.expect("Execution from /dev/shm", mark)


def test_data_in_shared_memory_is_not_reported(agent: Agent, mark: str, shm: Path) -> None:
    (shm / "data").write_text("", encoding="utf-8")
    subprocess.run(["cat", shm / "data"], check=True)
    subprocess.run(["sh", "-c", f"cat {shm}/data"], check=True)
    agent.expect_none(mark)


def test_an_attached_process_is_reported(agent: Agent, mark: str, probe: Path) -> None:
    subprocess.run([probe, "attach", mark], check=True)
    alert = agent.expect("PTRACE attached to process", mark)
    assert alert.priority == "Warning"
    assert "PTRACE_ATTACH" in alert.fields["evt.arg.request"]
    assert alert.fields["proc.exepath"] == str(probe)


def test_a_process_that_asks_to_be_traced_is_reported_as_such_only(agent: Agent, mark: str, probe: Path) -> None:
    subprocess.run([probe, "traceme", mark], check=True)
    alert = agent.expect("PTRACE anti-debug attempt", mark)
    assert alert.priority == "Notice"
    agent.expect_none(mark, rule="PTRACE attached to process")


def test_a_kernel_module_loaded_by_an_unusual_program_is_reported(
    agent: Agent, mark: str, probe: Path, tmp_path: Path
) -> None:
    """The file is no module, so the kernel refuses it; that a process with the right tried is the news."""
    module = tmp_path / f"{mark}.ko"
    module.write_bytes(b"not a module")
    subprocess.run([probe, "module", module], check=True, capture_output=True)
    alert = agent.expect("Linux Kernel Module Injection Detected", mark)
    assert alert.priority == "Warning"
    assert alert.fields["proc.exepath"] == str(probe)
    assert alert.fields["fd.name"] == str(module)
    assert alert.fields["container.id"] == "host"


def test_a_kernel_module_that_is_only_read_is_not_reported(agent: Agent, mark: str, tmp_path: Path) -> None:
    module = tmp_path / f"{mark}.ko"
    module.write_bytes(b"not a module")
    subprocess.run(["cat", module], check=True, capture_output=True)
    agent.expect_none(mark)
