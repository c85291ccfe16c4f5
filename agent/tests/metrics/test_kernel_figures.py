# SPDX-License-Identifier: Apache-2.0
"""Figures that the kernel side and the process table give for metrics."""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING

import pytest

from falco_py.kernel import bpf
from falco_py.kernel.load import PROGRAMS, Capture
from falco_py.kernel.pushdown import everything
from falco_py.state.processes import KEEP_DEAD_NS, ProcessTable
from tests.state.made import SECOND_NS, fork, header, proc_entry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BPF_ENABLE_STATS, BPF_STATS_RUN_TIME = 32, 0
CALLS = 200


@pytest.fixture
def capture() -> Iterator[Capture]:
    loaded = Capture()
    loaded.want(("getppid",))
    loaded.filter(everything())
    loaded.attach()
    yield loaded
    loaded.close()


@pytest.mark.live
def test_counters_by_cpu_add_up_to_the_counters(capture: Capture) -> None:
    for _ in range(CALLS):
        os.getppid()
    capture.detach()  # nothing is counted any more
    sums = [one.total_sent for one in capture.counters_by_cpu()]
    assert len(sums) >= (os.cpu_count() or 1)
    assert sum(sums) == capture.counters().total_sent >= CALLS


@pytest.mark.live
def test_runs_of_the_programs_are_counted_while_the_kernel_does(capture: Capture) -> None:
    counting, _ = bpf.call(BPF_ENABLE_STATS, struct.pack("=I", BPF_STATS_RUN_TIME))
    try:
        before = {one.name: one for one in capture.program_runs()}
        for _ in range(CALLS):
            os.getppid()
        after = {one.name: one for one in capture.program_runs()}
    finally:
        os.close(counting)
    assert set(before) == set(PROGRAMS)
    assert after["falco_sys_exit"].runs - before["falco_sys_exit"].runs >= CALLS
    assert after["falco_sys_exit"].run_time_ns > before["falco_sys_exit"].run_time_ns


@pytest.mark.live
def test_programs_that_are_not_attached_have_no_runs(capture: Capture) -> None:
    capture.detach()
    assert capture.program_runs() == []


def test_entries_that_came_are_those_that_are_there_or_left(tmp_path: Path) -> None:
    proc_entry(tmp_path, 1, start_ticks=100, comm=b"init")
    table = ProcessTable(tmp_path, max_size=16)
    table.scan()
    start = 200 * SECOND_NS
    for pid in range(100, 120):
        table.on_fork(header(pid=1, start=SECOND_NS, ts=start), fork(pid=pid, start=start + pid))
    came = 1 + 20 + 1  # init was thrown out as the oldest, and came again with its next fork
    assert (table.capacity, len(table), table.added, table.removed) == (16, 16, came, came - 16)
    table.on_exit(header(pid=119, start=start + 119, ts=start))
    table.purge(start + KEEP_DEAD_NS + 1)
    assert (len(table), table.added, table.removed) == (15, came, came - 15)
