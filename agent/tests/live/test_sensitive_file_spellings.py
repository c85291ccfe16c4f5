# SPDX-License-Identifier: Apache-2.0
"""However the path of a sensitive file is spelled, the alert names the file that was opened."""

from __future__ import annotations

import os
import platform
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.live.harness import run_python

if TYPE_CHECKING:
    from pathlib import Path

    from tests.live.harness import Agent

RULE = "Read sensitive file untrusted"
SHADOW = "/etc/shadow"

# Each runs as a process of its own; argv[1] is a scratch directory.
SPELLINGS = {
    "plainly": "os.open('/etc/shadow', os.O_RDONLY)",
    "with doubled slashes": "os.open('//etc///shadow', os.O_RDONLY)",
    "with dots": "os.open('/etc/./shadow', os.O_RDONLY)",
    "through the parent directory": "os.open('/usr/../etc/shadow', os.O_RDONLY)",
    "through a symbolic link": "os.symlink('/etc/shadow', s + '/a'); os.open(s + '/a', os.O_RDONLY)",
    "through a link to the directory": "os.symlink('/etc', s + '/d'); os.open(s + '/d/shadow', os.O_RDONLY)",
    "through a chain of links": (
        "os.symlink('/etc', s + '/d'); os.symlink('d/shadow', s + '/b'); os.open(s + '/b', os.O_RDONLY)"
    ),
    "relative to the working directory": "os.chdir('/etc'); os.open('shadow', os.O_RDONLY)",
    "relative from below": "os.chdir('/etc/security'); os.open('../shadow', os.O_RDONLY)",
    "relative to a directory descriptor": "os.open('shadow', os.O_RDONLY, dir_fd=os.open('/etc', os.O_RDONLY))",
    "relative to a path-only descriptor": "os.open('shadow', os.O_RDONLY, dir_fd=os.open('/etc', os.O_PATH))",
    "through the root of a process": "os.open('/proc/self/root/etc/shadow', os.O_RDONLY)",
    "through the working directory of a process": "os.chdir('/etc'); os.open('/proc/self/cwd/shadow', os.O_RDONLY)",
    "through a descriptor of a process": (
        "fd = os.open('/etc/shadow', os.O_PATH); os.open(f'/proc/self/fd/{fd}', os.O_RDONLY)"
    ),
    "for reading and appending": "os.open('/etc/shadow', os.O_RDWR | os.O_APPEND)",
    "from another thread": (
        "import threading; t = threading.Thread(target=os.open, args=('/etc/shadow', os.O_RDONLY)); t.start(); t.join()"
    ),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_the_file_is_recognised_when_it_is_opened(agent: Agent, mark: str, tmp_path: Path, spelling: str) -> None:
    done = run_python(f"import os, sys; s = sys.argv[1]; {SPELLINGS[spelling]}", str(tmp_path), mark)
    assert done.returncode == 0, done.stderr
    alert = agent.expect(RULE, mark)
    assert alert.fields["fd.name"] == SHADOW


def test_the_file_is_recognised_when_it_is_opened_by_openat2(agent: Agent, mark: str) -> None:
    code = (
        "import ctypes, os, struct, sys\n"
        "how = struct.pack('QQQ', os.O_RDONLY, 0, 0)\n"
        "d = os.open('/etc', os.O_PATH)\n"
        "fd = ctypes.CDLL(None, use_errno=True).syscall(437, d, b'../etc/shadow', how, 24)\n"
        "sys.exit(fd < 0)\n"
    )
    assert run_python(code, mark).returncode == 0
    alert = agent.expect(RULE, mark)
    assert alert.fields["fd.name"] == SHADOW
    assert alert.fields["evt.type"] == "openat2"


@pytest.mark.skipif(platform.machine() != "x86_64", reason="arm64 has no open, only openat")
def test_the_file_is_recognised_when_it_is_opened_by_open(agent: Agent, mark: str) -> None:
    code = "import ctypes, sys; sys.exit(ctypes.CDLL(None).syscall(2, b'/etc/shadow', 0, 0) < 0)"
    assert run_python(code, mark).returncode == 0
    alert = agent.expect(RULE, mark)
    assert alert.fields["fd.name"] == SHADOW
    assert alert.fields["evt.type"] == "open"


def test_the_file_is_recognised_when_it_is_opened_by_handle(agent: Agent, mark: str) -> None:
    code = (
        "import ctypes, os, sys\n"
        "libc = ctypes.CDLL(None, use_errno=True)\n"
        "handle = ctypes.create_string_buffer((128).to_bytes(4, sys.byteorder), 136)\n"
        "mount_id = ctypes.c_int()\n"
        "if libc.name_to_handle_at(-100, b'/etc/shadow', handle, ctypes.byref(mount_id), 0) < 0: sys.exit(1)\n"
        "fd = libc.open_by_handle_at(os.open('/', os.O_RDONLY), handle, os.O_RDONLY)\n"
        "sys.exit(fd < 0)\n"
    )
    assert run_python(code, mark).returncode == 0
    assert agent.expect(RULE, mark).fields["fd.name"] == SHADOW


def test_the_file_is_recognised_when_the_path_changes_after_the_call_began(
    agent: Agent, mark: str, tmp_path: Path
) -> None:
    """The link is switched for ever while it is opened; whichever file was opened is the one reported."""
    code = (
        "import os, sys, threading\n"
        "s = sys.argv[1]; done = []\n"
        "def switch():\n"
        "    n = 0\n"
        "    while not done:\n"
        "        n += 1; t = f'{s}/t'\n"
        "        os.symlink(('/etc/hostname', '/etc/shadow')[n % 2], t); os.rename(t, s + '/link')\n"
        "os.symlink('/etc/hostname', s + '/link')\n"
        "t = threading.Thread(target=switch); t.start()\n"
        "shadow = os.stat('/etc/shadow').st_ino; got = 0\n"
        "for _ in range(20000):\n"
        "    fd = os.open(s + '/link', os.O_RDONLY); got += os.fstat(fd).st_ino == shadow; os.close(fd)\n"
        "    if got >= 3: break\n"
        "done.append(1); t.join(); print(got)\n"
    )
    done = run_python(code, str(tmp_path), mark)
    opened = int(done.stdout)
    assert opened > 0, done.stderr
    agent.settle()
    alerts = [alert for alert in agent.alerts if alert.rule == RULE and alert.has(mark)]
    assert len(alerts) == opened
    assert {alert.fields["fd.name"] for alert in alerts} == {SHADOW}


def test_a_file_of_the_same_name_elsewhere_is_not_reported(agent: Agent, mark: str, tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/shadow").write_text("", encoding="utf-8")
    assert run_python("import sys; open(sys.argv[1])", str(tmp_path / "etc/shadow"), mark).returncode == 0
    agent.expect_none(mark)


def test_a_failed_open_is_not_reported(agent: Agent, mark: str) -> None:
    code = (
        "import os, sys; os.setuid(65534)\ntry: open('/etc/shadow')\nexcept PermissionError: sys.exit(0)\nsys.exit(1)"
    )
    assert run_python(code, mark).returncode == 0
    agent.expect_none(mark)


def test_a_look_at_the_file_without_opening_it_is_not_reported(agent: Agent, mark: str) -> None:
    subprocess.run(["stat", "/etc/shadow", f"/nowhere/{mark}"], check=False, capture_output=True)
    os.stat(SHADOW)
    agent.expect_none(mark)
