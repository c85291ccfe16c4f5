# SPDX-License-Identifier: Apache-2.0
"""The commands of a newcomer: `make` tells what there is, and `make run` ends in order on Ctrl-C."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CTRL_C = b"\x03"


def test_make_alone_prints_the_targets() -> None:
    shown = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    targets = ("setup", "run", "test", "check", "docs", "bench", "fuzz")
    assert [target for target in targets if f"make {target} " not in shown] == []


def on_a_terminal(command: list[str], until: bytes, keys: bytes, timeout_s: float = 60) -> tuple[str, int]:
    """What `command` prints on a terminal where `keys` are typed after `until` was seen, and its exit code."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(ROOT)
        os.execvp(command[0], command)
    seen = b""
    typed = False
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if select.select([terminal], [], [], 0.2)[0]:
            try:
                block = os.read(terminal, 65536)
            except OSError:  # EIO: the last process on the terminal has ended
                break
            seen += block
        if not typed and until in seen:
            os.write(terminal, keys)
            typed = True
    os.close(terminal)  # hangs up on what is still running
    return seen.decode(errors="replace"), os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.mark.live
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_ctrl_c_ends_make_run_with_the_summary_and_without_noise() -> None:
    seen, code = on_a_terminal(["make", "--old-file=setup", "run"], b"Capture started", CTRL_C)
    assert code == 0
    assert "Events detected: " in seen
    assert "Syscall event drop monitoring:" in seen
    assert "***" not in seen
    assert "Traceback" not in seen
