# SPDX-License-Identifier: Apache-2.0
"""A BPF object is loaded beside the agent: what comes back, and what is said when it does not."""

from __future__ import annotations

import os
import signal
import struct
import time
from contextlib import closing
from pathlib import Path

import pytest

from falco_py.kernel import loading
from falco_py.kernel.host import HostError
from falco_py.kernel.load import PROGRAMS
from falco_py.kernel.loading import Loading, begin

pytestmark = pytest.mark.live


def wait_until_gone(pid: int) -> bool:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if not Path(f"/proc/{pid}").exists():
            return True
        time.sleep(0.01)
    return False


def open_fds() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_the_programs_and_maps_of_the_base_layer_arrive_and_nothing_stays() -> None:
    before = open_fds()
    with closing(begin()) as made:
        made.wait()
        assert set(made.programs) == set(PROGRAMS)
        assert {"events", "life", "rows", "paths", "processes"} <= set(made.maps)
        assert made.maps["ports"].key_size == 4
        child = made._child.pid
    assert wait_until_gone(child)
    assert open_fds() == before


def test_an_object_that_is_none_is_refused_with_what_libbpf_said(tmp_path: Path) -> None:
    path = tmp_path / "broken.bpf.o"
    path.write_bytes(b"no object at all")
    with closing(Loading(path)) as made:
        with pytest.raises(HostError, match=r"refused the BPF object broken.bpf.o") as caught:
            made.wait()
        assert "libbpf" in str(caught.value)
        assert "What to do" in str(caught.value)


def test_a_child_that_is_killed_is_told_not_waited_for() -> None:
    with closing(begin()) as made:
        os.kill(made._child.pid, signal.SIGKILL)
        with pytest.raises(HostError, match="exit code -9"):
            made.wait()


def test_a_child_that_hangs_ends_at_the_limit_with_a_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "LIMIT_S", 0.01)
    with closing(begin()) as made:
        os.kill(made._child.pid, signal.SIGSTOP)
        with pytest.raises(HostError, match="not loaded after"):
            made.wait()
    assert wait_until_gone(made._child.pid)


def test_closing_before_the_end_ends_the_child() -> None:
    before = open_fds()
    made = begin()
    made.close()
    assert wait_until_gone(made._child.pid)
    assert open_fds() == before


def test_entries_of_another_size_never_reach_the_kernel_and_full_maps_say_so() -> None:
    with closing(begin()) as made:
        made.wait()
        ports = made.maps["ports"]
        with pytest.raises(ValueError, match="ports: an entry of 3 and 64 bytes, not 4 and 64"):
            ports.update(b"abc", bytes(64))
        many = [(struct.pack("=I", number), bytes(64)) for number in range(ports.max_entries)]
        ports.update_many(many)
        with pytest.raises(OSError, match=r"\[Errno 7\]"):
            ports.update(struct.pack("=I", ports.max_entries), bytes(64))
        ports.delete(many[0][0])
        with pytest.raises(FileNotFoundError):
            ports.delete(many[0][0])
        ports.update_many([(struct.pack("=I", ports.max_entries), bytes(64))])
