# SPDX-License-Identifier: Apache-2.0
"""What the agent and the machine use, compared with what others say of them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from falco_py.metrics.host import Host, interfaces
from falco_py.metrics.reading import Resources
from falco_py.state.clock import boot_to_epoch_ns

S = 1_000_000_000


def made_proc(root: Path, **files: str) -> Path:
    for name, text in files.items():
        path = root / "proc" / name.replace("__", "/").replace("_nr", "-nr")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_the_agents_own_memory_is_what_proc_says() -> None:
    found = Host().resources()
    resident = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    assert abs(found.rss_bytes - resident) < 32 << 20
    assert 0 < found.pss_bytes <= found.vsz_bytes
    assert 0 < found.cpu_ratio <= (os.cpu_count() or 1)


def test_the_machines_boot_is_when_its_clock_began() -> None:
    host = Host()
    assert abs(host.boot_ns - boot_to_epoch_ns()) < 3 * S
    assert host.cpus == os.cpu_count()


def test_figures_of_the_machine_have_falcos_meanings(tmp_path: Path) -> None:
    root = made_proc(
        tmp_path,
        stat="cpu  10 20 30 300 20 10 10 99 0 0\ncpu0 1 1 1 1\nbtime 1700000000\nprocs_running 7\n",
        meminfo="MemTotal: 1000 kB\nMemFree: 300 kB\nBuffers: 50 kB\nCached: 150 kB\nSwapCached: 9 kB\n",
        sys__fs__file_nr="1234\t0\t99999\n",
    )
    (tmp_path / "memory").write_text("4242\n")
    host = Host(root, {"FALCO_CGROUP_MEM_PATH": str(tmp_path / "memory")})
    found = host.resources()
    assert host.boot_ns == 1_700_000_000 * S
    assert (found.host_used_bytes, found.host_running, found.host_open_fds) == (500 << 10, 7, 1234)
    assert (found.host_cpu_ratio, found.container_bytes) == (0.25, 4242)


def test_what_cannot_be_read_is_nothing(tmp_path: Path) -> None:
    host = Host(tmp_path, {"FALCO_CGROUP_MEM_PATH": str(tmp_path / "none")})
    found = host.resources()
    empty = Resources()
    assert host.boot_ns == 0
    for name in ("container_bytes", "host_cpu_ratio", "host_used_bytes", "host_running", "host_open_fds"):
        assert getattr(found, name) == getattr(empty, name)


@pytest.mark.parametrize("text", ["", "cpu\n", "cpu  a b c d e f g\n", "cpu  0 0 0 0 0 0 0\nprocs_running x\n"])
def test_a_strange_proc_is_no_error(tmp_path: Path, text: str) -> None:
    found = Host(made_proc(tmp_path, stat=text, meminfo="MemTotal:\n:\nMemFree: -1 kB\n")).resources()
    assert (found.host_cpu_ratio, found.host_running, found.host_used_bytes) == (0.0, 0, 0)


_NETWORK = """
ip link add falco0 type bridge
ip addr add 192.0.2.7/24 dev falco0
ip addr add 192.0.2.8/24 dev falco0
ip addr add 2001:db8::5/64 dev falco0 nodad
ip addr add 127.0.0.9/8 dev lo
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root for a network of its own")
def test_interfaces_have_their_addresses() -> None:
    agent = str(Path(__file__).parents[2])
    read = (
        f"import sys; sys.path.insert(0, {agent!r}); from falco_py.metrics.host import interfaces; print(interfaces())"
    )
    script = _NETWORK + 'exec "$0" -c "$1"'
    done = subprocess.run(
        ["unshare", "-n", "sh", "-ec", script, sys.executable, read],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert done.stdout.strip() == (
        "[Interface(name='falco0', ipv4=('192.0.2.7', '192.0.2.8'), ipv6=('2001:db8:0:0:0:0:0:5',))]"
    )


def test_reading_takes_a_few_milliseconds() -> None:
    host = Host()
    took = []
    for _ in range(5):
        start = time.perf_counter()
        host.resources()
        interfaces()
        took.append(time.perf_counter() - start)
    assert min(took) < 0.02
