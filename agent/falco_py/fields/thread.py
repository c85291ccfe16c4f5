# SPDX-License-Identifier: Apache-2.0
"""Fields of the thread: `thread.*`. Capabilities come from the event's header."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from .model import Field, FieldType, row

if TYPE_CHECKING:
    from falco_py.events.event import Event

T = FieldType

# Names by bit number, capabilities(7).
CAPABILITIES = (
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
)
_SETS_MAX = 1024
_texts: dict[int, str] = {}
# Controllers that Falco names on machines with cgroup v2 alone, where they all have the one path.
_V2_CONTROLLERS = frozenset({"cpuset", "cpu", "cpuacct", "io", "memory"})


def capability_names(bits: int) -> str:
    """Names in the order of their numbers, with blanks between; a few sets make up nearly all."""
    text = _texts.get(bits)
    if text is None:
        text = " ".join(name for number, name in enumerate(CAPABILITIES) if bits >> number & 1)
        if len(_texts) >= _SETS_MAX:
            _texts.clear()
        _texts[bits] = text
    return text


def cgroups_text(e: Event) -> str:
    return " ".join(f"{subsystem}={path}" for subsystem, path in e.process.cgroups)


def cgroup_path(e: Event, subsystem: str) -> str | None:
    unified = None
    for name, path in e.process.cgroups:
        if name == subsystem:
            return str(path)
        if name == "":
            unified = str(path)
    return unified if subsystem in _V2_CONTROLLERS else None


_K = "thread"
_row = partial(row, _K)
_MAIN = "(e.header.tid == e.header.pid)"
ROWS: tuple[Field, ...] = (
    *(
        _row(
            f"thread.cap_{name}",
            T.CHARBUF,
            f"Names of the {name} capabilities.",
            f"capability_names(e.header.cap_{name})",
        )
        for name in ("permitted", "inheritable", "effective")
    ),
    _row("thread.pfmajor", T.UINT64, "Major page faults at the last exec.", "e.process.pgft_maj", "DEC"),
    _row("thread.pfminor", T.UINT64, "Minor page faults at the last exec.", "e.process.pgft_min", "DEC"),
    _row("thread.tid", T.INT64, "Thread id.", "e.header.tid", "ID"),
    _row("thread.ismain", T.BOOL, "Whether the thread is the first of its process.", _MAIN),
    _row("thread.vtid", T.INT64, "Thread id in the pid namespace of the process.", "(e.header.vtid or None)", "ID"),
    _row("thread.cgroups", T.CHARBUF, "All cgroups as subsystem=path.", "cgroups_text(e)"),
    Field(
        name="thread.cgroup",
        klass=_K,
        type=T.CHARBUF,
        doc="Cgroup path in one subsystem (thread.cgroup.memory).",
        code=lambda arg: f"cgroup_path(e, {arg!r})",
        arg="required",
        arg_kind="key",
        dotted_arg=True,
    ),
    _row(
        "thread.vmsize",
        T.UINT64,
        "As proc.vmsize; 0 for threads but the first.",
        f"(e.process.vm_size_kb if {_MAIN} else 0)",
        "DEC",
    ),
    _row(
        "thread.vmrss",
        T.UINT64,
        "As proc.vmrss; 0 for threads but the first.",
        f"(e.process.vm_rss_kb if {_MAIN} else 0)",
        "DEC",
    ),
)
