# SPDX-License-Identifier: Apache-2.0
"""Records made by hand, and a scratch /proc."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from falco_py.events.record import KIND_SYSCALL, Exec, Fork, Header

if TYPE_CHECKING:
    from pathlib import Path

SECOND_NS = 1_000_000_000
TICK_NS = 10_000_000
ID = "0123456789ab" + "c" * 52


def header(pid: int = 40, start: int = 90 * SECOND_NS + 1234, **values: Any) -> Header:
    defaults: dict[str, Any] = {
        "kind": KIND_SYSCALL, "flags": 0, "ts": 100 * SECOND_NS, "ret": 0, "nr": 0, "cpu": 0, "pid": pid, "tid": pid,
        "ppid": 1, "uid": 0, "gid": 0, "vpid": pid, "vtid": pid, "mntns": 7, "start": start, "pstart": SECOND_NS,
        "cgroup": 3, "comm": b"sh", "cap_effective": 0, "cap_permitted": 0, "cap_inheritable": 0,
    }  # fmt: skip
    return Header(**{**defaults, **values})


def image(**values: Any) -> Exec:
    defaults: dict[str, Any] = dict.fromkeys(Exec._fields, 0)
    defaults |= {
        "at": False, "exepath": "/usr/bin/sh", "exepath_truncated": False, "filename": "/bin/sh", "args": ("sh", "-c"),
        "args_truncated": False, "env_raw": b"A=b\0", "env_truncated": False, "cwd": "/tmp", "cgroups": (("", "/x"),),
        "loginuid": -1, "pidns": 5,
    }  # fmt: skip
    return Exec(**{**defaults, **values})


def fork(pid: int, start: int, **values: Any) -> Fork:
    """A child of the process of `header()`."""
    defaults: dict[str, Any] = {
        "pid": pid, "start": start, "vpid": pid, "ppid": 40, "pidns": 5, "pstart": header().start, "cgroup": 3,
        "comm": b"sh",
    }  # fmt: skip
    return Fork(**{**defaults, **values})


def proc_entry(root: Path, pid: int, start_ticks: int = 9000, **files: Any) -> Path:
    """/proc/PID below `root`, with what a test does not give left at plain values."""
    base = root / "proc" / str(pid)
    (base / "ns").mkdir(parents=True, exist_ok=True)
    comm = files.pop("comm", b"sh")
    ppid = files.pop("ppid", 0)
    stat = b"%d (%s) S %d 11 12 34816 -1 0 5 0 6 0 0 0 0 0 20 0 1 0 %d 0 0\n" % (pid, comm, ppid, start_ticks)
    status = b"Uid:\t5\t1000\t5\t5\nGid:\t5\t50\t5\t5\nNStgid:\t%d\t9\nNSpgid:\t11\t2\nNSsid:\t12\t3\n" % pid
    status += b"CapEff:\t00000000a80425fb\nCapPrm:\t1\nCapInh:\t0\nVmSize:\t  10 kB\nVmRSS:\t 9 kB\nVmSwap:\t 8 kB\n"
    defaults: dict[str, bytes] = {
        "stat": stat, "status": status, "cmdline": b"sh\0-x\0", "environ": b"A=b\0C=d\0", "loginuid": b"4294967295",
        "sessionid": b"4294967295", "cgroup": b"0::/x\n",
        "limits": b"Limit  Soft Limit  Hard Limit  Units\nMax open files  1024  4096  files\n",
    }  # fmt: skip
    links = {"cwd": files.pop("cwd", b"/tmp"), "exe": files.pop("exe", b"/usr/bin/sh")}
    links |= {"ns/mnt": b"mnt:[7]", "ns/pid": b"pid:[5]"}
    for name, content in {**defaults, **files}.items():
        if content is not None:
            (base / name).write_bytes(content)
    for name, target in links.items():
        path = os.fsencode(base / name)
        if os.path.lexists(path):
            os.unlink(path)
        os.symlink(target, path)
    return base
