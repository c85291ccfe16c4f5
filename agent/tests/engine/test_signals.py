# SPDX-License-Identifier: Apache-2.0
"""Signals become flags and wake the loop; the handlers of before come back."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from falco_py.engine.signals import Signals

AGENT = Path(__file__).parents[2]


def test_each_signal_sets_its_flag_and_wakes() -> None:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)}
    woken: list[None] = []
    with Signals() as signals:
        signals.wake = lambda: woken.append(None)
        os.kill(os.getpid(), signal.SIGHUP)
        assert (signals.reload, signals.reopen, signals.end) == (True, False, False)
        os.kill(os.getpid(), signal.SIGUSR1)
        assert (signals.reopen, signals.end) == (True, False)
        os.kill(os.getpid(), signal.SIGTERM)
        assert signals.end
        assert len(woken) == 3
    assert {number: signal.getsignal(number) for number in before} == before


def test_a_second_wish_to_end_ends_at_once() -> None:
    code = (
        "import os, signal; from falco_py.engine.signals import Signals\n"
        "with Signals():\n"
        "    os.kill(os.getpid(), signal.SIGTERM); print('first', flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGINT); print('second', flush=True)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False, cwd=AGENT
    )
    assert (result.returncode, result.stdout) == (-signal.SIGINT, "first\n")
