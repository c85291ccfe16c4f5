# SPDX-License-Identifier: Apache-2.0
"""Attacks on credentials, each with the alert it must raise and a neighbour that must raise none."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tests.live.harness import run_python

if TYPE_CHECKING:
    from tests.live.harness import Agent
    from tests.live.runc_container import Container

UNTRUSTED = "Read sensitive file untrusted"
AFTER_STARTUP = "Read sensitive file trusted after startup"
READ = "import sys; open(sys.argv[1]).close()"


def test_an_unknown_program_that_reads_the_password_hashes_is_reported_with_who_and_how(
    agent: Agent, mark: str
) -> None:
    assert run_python(READ, "/etc/shadow", mark).returncode == 0
    alert = agent.expect(UNTRUSTED, mark)
    assert alert.priority == "Warning"
    assert alert.source == "syscall"
    assert {"maturity_stable", "mitre_credential_access"} <= set(alert.tags)
    assert "Sensitive file opened for reading by non-trusted program | file=/etc/shadow gparent=" in alert.output
    assert alert.fields["fd.name"] == "/etc/shadow"
    assert alert.fields["proc.exepath"] == os.path.realpath(sys.executable)
    assert alert.fields["user.name"] == "root"
    assert alert.fields["user.uid"] == 0
    assert alert.fields["container.id"] == "host"
    assert alert.fields["proc.pname"] == Path("/proc/self/comm").read_text(encoding="utf-8").strip()
    assert mark in alert.fields["proc.cmdline"]


def test_a_file_that_everybody_may_read_is_not_reported(agent: Agent, mark: str) -> None:
    assert run_python(READ, "/etc/passwd", mark).returncode == 0
    agent.expect_none(mark)


def test_the_tools_for_accounts_may_read_the_password_hashes(agent: Agent) -> None:
    subprocess.run(["passwd", "--status", "root"], check=True, capture_output=True)
    agent.expect_none("passwd --status root")


def test_a_copy_of_a_trusted_tool_elsewhere_is_not_trusted(agent: Agent, mark: str, tmp_path: Path) -> None:
    copy = tmp_path / "sshd"
    shutil.copy2("/bin/cat", copy)
    subprocess.run([copy, "/etc/shadow", f"/nowhere/{mark}"], check=False, capture_output=True)
    alert = agent.expect(UNTRUSTED, mark, proc_name="sshd")
    assert alert.fields["proc.exepath"] == str(copy)


def test_a_server_that_reads_the_password_hashes_late_is_reported(
    agent: Agent, mark: str, probe: Path, tmp_path: Path
) -> None:
    server = tmp_path / "nginx"
    shutil.copy2(probe, server)
    subprocess.run([server, "read-late", "/etc/shadow", "5200", mark], check=True, timeout=30)
    alert = agent.expect(AFTER_STARTUP, mark)
    assert alert.priority == "Warning"
    assert alert.fields["fd.name"] == "/etc/shadow"
    assert alert.fields["proc.name"] == "nginx"


def test_a_server_that_reads_its_own_files_late_is_not_reported(
    agent: Agent, mark: str, probe: Path, tmp_path: Path
) -> None:
    server = tmp_path / "nginx"
    shutil.copy2(probe, server)
    subprocess.run([server, "read-late", "/etc/passwd", "5200", mark], check=True, timeout=30)
    agent.expect_none(mark)


def test_a_climbing_path_is_reported(agent: Agent, mark: str) -> None:
    assert run_python(READ, "/etc/../etc/../etc/hostname", mark).returncode == 0
    alert = agent.expect("Directory traversal monitored file read", mark)
    assert alert.fields["fd.name"] == "/etc/hostname"
    assert alert.fields["fd.nameraw"] == "/etc/../etc/../etc/hostname"


def test_a_path_that_climbs_once_is_not_reported(agent: Agent, mark: str) -> None:
    assert run_python(READ, "/tmp/../etc/hostname", mark).returncode == 0
    agent.expect_none(mark)


def test_a_symbolic_link_to_the_password_hashes_is_reported(agent: Agent, mark: str, tmp_path: Path) -> None:
    link = tmp_path / mark
    subprocess.run(["ln", "-s", "/etc/shadow", link], check=True)
    alert = agent.expect("Create Symlink Over Sensitive Files", mark)
    assert alert.priority == "Warning"
    assert alert.fields["evt.arg.target"] == "/etc/shadow"
    assert alert.fields["proc.name"] == "ln"


def test_a_roundabout_symbolic_link_to_the_password_hashes_is_reported(agent: Agent, mark: str, tmp_path: Path) -> None:
    subprocess.run(["ln", "-s", "../../../../../../../tmp/../etc/shadow", tmp_path / mark], check=True)
    agent.expect("Create Symlink Over Sensitive Files", mark)


def test_a_symbolic_link_to_another_file_is_not_reported(agent: Agent, mark: str, tmp_path: Path) -> None:
    subprocess.run(["ln", "-s", "/etc/hostname", tmp_path / mark], check=True)
    agent.expect_none(mark)


def test_a_hard_link_to_the_password_hashes_is_reported(agent: Agent, mark: str, container: Container) -> None:
    assert container.exec("ln", "/etc/shadow", f"/tmp/{mark}").returncode == 0
    alert = agent.expect("Create Hardlink Over Sensitive Files", mark)
    assert alert.priority == "Warning"
    assert alert.fields["evt.arg.oldpath"] == "/etc/shadow"
    assert alert.fields["container.id"] == container.id


def test_a_hard_link_by_way_of_a_directory_descriptor_is_reported(agent: Agent, mark: str) -> None:
    code = "import os, sys; d = os.open(sys.argv[1], os.O_PATH); os.link('shadow', sys.argv[2], src_dir_fd=d)"
    assert run_python(code, "/etc", f"/etc/.{mark}").returncode == 0
    Path(f"/etc/.{mark}").unlink()
    agent.expect("Create Hardlink Over Sensitive Files", mark)


def test_a_hard_link_to_another_file_is_not_reported(agent: Agent, mark: str, container: Container) -> None:
    assert container.exec("ln", "/etc/hosts", f"/tmp/{mark}").returncode == 0
    agent.expect_none(mark)


def test_a_search_for_private_keys_by_name_is_reported(agent: Agent, mark: str, tmp_path: Path) -> None:
    place = tmp_path / mark
    place.mkdir()
    subprocess.run(["find", place, "-maxdepth", "0", "-name", "id_rsa"], check=True)
    alert = agent.expect("Search Private Keys or Passwords", mark)
    assert alert.priority == "Warning"
    assert alert.fields["proc.cmdline"] == f"find {place} -maxdepth 0 -name id_rsa"


def test_a_search_for_private_keys_by_content_is_reported(agent: Agent, mark: str, tmp_path: Path) -> None:
    place = tmp_path / mark
    place.mkdir()
    subprocess.run(["grep", "-r", "BEGIN OPENSSH PRIVATE KEY", place], check=False)
    agent.expect("Search Private Keys or Passwords", mark, proc_name="grep")


def test_a_search_with_busybox_is_reported(agent: Agent, mark: str, container: Container) -> None:
    container.exec("busybox", "grep", "-r", "BEGIN RSA PRIVATE", f"/tmp/{mark}")
    alert = agent.expect("Search Private Keys or Passwords", mark)
    assert alert.fields["container.id"] == container.id


def test_a_search_for_something_else_is_not_reported(agent: Agent, mark: str, tmp_path: Path) -> None:
    place = tmp_path / mark
    place.mkdir()
    subprocess.run(["find", place, "-maxdepth", "0", "-name", "id_card"], check=True)
    subprocess.run(["grep", "-r", "BEGIN CHAPTER", place], check=False)
    agent.expect_none(mark)


def test_a_search_for_aws_credentials_is_reported(agent: Agent, mark: str, tmp_path: Path) -> None:
    place = tmp_path / mark
    place.mkdir()
    subprocess.run(["grep", "-ri", "aws_secret_access_key", place], check=False)
    alert = agent.expect("Find AWS Credentials", mark)
    assert alert.priority == "Warning"
    subprocess.run(["find", place, "-path", "*/.aws/credentials"], check=True)
    agent.expect("Find AWS Credentials", mark, proc_name="find")


def test_a_search_for_clouds_is_not_reported(agent: Agent, mark: str, tmp_path: Path) -> None:
    place = tmp_path / mark
    place.mkdir()
    subprocess.run(["grep", "-ri", "aws region", place], check=False)
    agent.expect_none(mark)
