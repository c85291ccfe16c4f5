# SPDX-License-Identifier: Apache-2.0
"""The tarball on a machine that systemd booted: install.sh, install.sh again, uninstall.sh."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from e2e.host.container import COMMAND_S, LINE_S, Machine, changes, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

RULES = "/etc/falco/falco_rules.yaml"
LOCAL = "/etc/falco/falco_rules.local.yaml"
MARK = "# edited"


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory, tree: Path, package: Path) -> Iterator[Machine]:
    made = Machine(tmp_path_factory.mktemp("machine"), tree, package.parent)
    try:
        made.start()
        made.shell("tar -C /tmp -xzf /dist/falco-py-*-linux-amd64.tar.gz")
        yield made
    finally:
        made.stop()


@pytest.fixture(scope="module")
def before(machine: Machine) -> dict[str, str]:
    return machine.files()


@pytest.fixture(scope="module")
def installed(machine: Machine, before: dict[str, str]) -> Machine:
    assert before
    machine.shell("/tmp/falco-py-*/install.sh")
    return machine


def test_install_starts_the_service(installed: Machine) -> None:
    assert installed.run("systemctl", "is-active", "falco").stdout.strip() == "active"
    assert installed.run("systemctl", "is-enabled", "falco").stdout.strip() == "enabled"
    installed.run("cat", "/etc/shadow", "/of-a-tarball", check=False)
    installed.journal().expect("Sensitive file opened for reading", "/of-a-tarball")


def test_install_again_changes_nothing(installed: Machine) -> None:
    first = installed.files()
    said = installed.shell("/tmp/falco-py-*/install.sh")
    assert "edited" not in said
    assert changes(first, installed.files()) == {}


def test_install_again_keeps_edited_files_and_brings_the_rules_back(installed: Machine) -> None:
    for path in (RULES, LOCAL):
        installed.shell(f'echo "{MARK}" >>"$1"', path)
    assert f"{RULES} was edited" in installed.shell("/tmp/falco-py-*/install.sh")
    assert MARK in installed.run("cat", LOCAL).stdout
    assert MARK in installed.run("cat", f"{RULES}.old").stdout
    assert MARK not in installed.run("cat", RULES).stdout


def test_uninstall_keeps_the_configuration_and_with_purge_nothing(installed: Machine, before: dict[str, str]) -> None:
    installed.run("cp", "/usr/share/falco-py/uninstall.sh", "/tmp/uninstall.sh")
    installed.run("/tmp/uninstall.sh")
    assert installed.run("systemctl", "is-active", "falco", check=False).stdout.strip() == "inactive"
    assert MARK in installed.run("cat", LOCAL).stdout
    installed.run("/tmp/uninstall.sh", "--purge")
    assert changes(before, installed.files()) == {}


def test_install_refuses_beside_the_package(installed: Machine, package: Path) -> None:
    installed.run("apt-get", "install", "--yes", f"/dist/{package.name}", timeout_s=COMMAND_S)
    until(
        lambda: installed.run("systemctl", "is-active", "falco", check=False).stdout.strip() == "active",
        LINE_S,
        lambda: installed.journal().tail(),
    )
    done = installed.run("sh", "-c", "/tmp/falco-py-*/install.sh", check=False)
    assert done.returncode == 2
    assert "installed as a package" in done.stderr
