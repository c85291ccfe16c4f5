# SPDX-License-Identifier: Apache-2.0
"""Names come from the right passwd file, and a container's files cannot harm the agent."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from falco_py.state import users as users_module
from falco_py.state.process import Process
from falco_py.state.users import CHECK_NS, User, Users, parse_group, parse_passwd

if TYPE_CHECKING:
    from pathlib import Path

HOST_NS, CONTAINER_NS = 1, 2


class Clock:
    ns = 10 * CHECK_NS

    def __call__(self) -> int:
        return self.ns


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def host(tmp_path: Path) -> Path:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text("root:x:0:0:r:/root:/bin/bash\nann:x:1000:1000::/home/ann:/bin/zsh\n")
    (tmp_path / "etc/group").write_text("root:x:0:\nstaff:x:50:ann\n")
    for pid, number in ((1, HOST_NS), (40, CONTAINER_NS)):
        (tmp_path / f"proc/{pid}/ns").mkdir(parents=True)
        (tmp_path / f"proc/{pid}/ns/mnt").symlink_to(f"mnt:[{number}]")
    container = tmp_path / "proc/40/root/etc"
    container.mkdir(parents=True)
    (container / "passwd").write_text("app:x:1000:1000::/srv:/bin/false\n")
    return tmp_path


def process(container: bool) -> Process:
    made = Process(40, 5)
    made.mntns = CONTAINER_NS if container else HOST_NS
    made.container_id = "abc" if container else ""
    return made


INSIDE, OUTSIDE = process(True), process(False)


def test_host_names(host: Path, clock: Clock) -> None:
    users = Users(host, clock)
    assert users.user(OUTSIDE, 1000) == User("ann", "/home/ann", "/bin/zsh")
    assert users.user_name(OUTSIDE, 1000) == "ann"
    assert users.group_name(OUTSIDE, 50) == "staff"
    assert users.user_name(OUTSIDE, 7) is None
    assert users.group_name(OUTSIDE, 7) is None


def test_names_inside_a_container_are_its_own(host: Path, clock: Clock) -> None:
    users = Users(host, clock)
    assert users.user_name(INSIDE, 1000) == "app"
    assert users.user_name(OUTSIDE, 1000) == "ann"


def test_id_0_is_root_even_without_a_file(tmp_path: Path, clock: Clock) -> None:
    users = Users(tmp_path, clock)
    assert users.user_name(OUTSIDE, 0) == users.group_name(OUTSIDE, 0) == "root"
    assert users.user(OUTSIDE, 0) == User("root", "/root", "")
    assert users.failures > 0


def test_a_process_in_a_container_with_the_hosts_mounts_has_the_hosts_names(host: Path, clock: Clock) -> None:
    made = process(True)
    made.mntns = HOST_NS
    assert Users(host, clock).user_name(made, 1000) == "ann"


def test_host_namespace_is_known_when_pid_1_may_not_be_looked_into(host: Path) -> None:
    (host / "proc/1/ns/mnt").unlink()
    assert Users(host).host_mntns == 0
    (host / "proc/2/ns").mkdir(parents=True)
    (host / "proc/2/ns/mnt").symlink_to(f"mnt:[{HOST_NS}]")
    assert Users(host).host_mntns == HOST_NS
    assert Users("/").host_mntns != 0


def test_changed_file_is_read_again_after_a_second(host: Path, clock: Clock) -> None:
    users = Users(host, clock)
    assert users.user_name(OUTSIDE, 1001) is None
    (host / "etc/passwd").write_text("bob:x:1001:1::/:/bin/sh\n")
    assert users.user_name(OUTSIDE, 1001) is None
    clock.ns += CHECK_NS
    assert users.user_name(OUTSIDE, 1001) == "bob"


def test_names_stay_when_the_last_process_is_gone(host: Path, clock: Clock) -> None:
    users = Users(host, clock)
    assert users.user_name(INSIDE, 1000) == "app"
    clock.ns += CHECK_NS
    gone = process(True)
    gone.pid = 41
    assert users.user_name(gone, 1000) == "app"


def test_links_do_not_lead_out_of_the_container(host: Path, clock: Clock) -> None:
    secret = host / "secret"
    secret.write_text("evil:x:1000:1::/:/bin/sh\n")
    passwd = host / "proc/40/root/etc/passwd"
    for target in (str(secret), "../../../../secret", "/proc/self/root" + str(secret)):
        passwd.unlink()
        passwd.symlink_to(target)
        assert Users(host, clock).user_name(INSIDE, 1000) is None


def test_links_inside_the_container_are_followed(host: Path, clock: Clock) -> None:
    root = host / "proc/40/root"
    (root / "etc/passwd").rename(root / "real")
    (root / "etc/passwd").symlink_to("/real")
    assert Users(host, clock).user_name(INSIDE, 1000) == "app"


def test_a_fifo_does_not_stop_the_agent(host: Path, clock: Clock) -> None:
    passwd = host / "proc/40/root/etc/passwd"
    passwd.unlink()
    os.mkfifo(passwd)
    users = Users(host, clock)
    assert users.user_name(INSIDE, 1000) is None
    assert users.failures == 1


def test_a_directory_or_device_is_refused(host: Path, clock: Clock) -> None:
    passwd = host / "proc/40/root/etc/passwd"
    passwd.unlink()
    passwd.mkdir()
    assert Users(host, clock).user_name(INSIDE, 1000) is None


def test_a_huge_file_is_refused(host: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(users_module, "FILE_MAX_BYTES", 10)
    users = Users(host, clock)
    assert users.user_name(INSIDE, 1000) is None
    assert users.failures == 1


def test_fuse_root_is_not_touched(host: Path, clock: Clock) -> None:
    (host / "proc/40/mountinfo").write_text("36 35 0:40 / / rw,relatime shared:1 - fuse.evil evil rw\n")
    assert Users(host, clock).user_name(INSIDE, 1000) is None


def test_namespaces_are_bounded(host: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(users_module, "NAMESPACES_MAX", 5)
    users = Users(host, clock)
    for number in range(100, 200):
        made = process(True)
        made.mntns = number
        users.user_name(made, 1000)
    assert len(users._files) == 10


def test_broken_lines_are_passed_over() -> None:
    assert parse_passwd(b"a\nb:x:y:0::/:/s\n:x:1:1::/:/s\nc:x:2:2::/c:/s\nd:x:2:2::/d:/s\n\xff:x:3:3::/:/s") == {
        2: User("c", "/c", "/s"),
        3: User("\udcff", "/", "/s"),
    }
    assert parse_group(b"x\ny:x:z:\ng:x:4:a,b\n") == {4: User("g", "", "")}
