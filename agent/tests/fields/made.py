# SPDX-License-Identifier: Apache-2.0
"""Events made by hand, of real rows, on a process table that reads a scratch /proc."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

from falco_py.events.event import Event
from falco_py.events.record import ITEM_DATA, ITEM_DIR, ITEM_FD, ITEM_PATH, ITEM_VALUE, KIND_SYSCALL, Header
from falco_py.events.syscalls import ROWS
from falco_py.fields.catalogue import ENV, lookup
from falco_py.state.process import Process
from falco_py.state.processes import ProcessTable

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FD_FILE = 16
SECOND_NS = 1_000_000_000
BOOT_NS = 100 * SECOND_NS  # the event's moment since boot
EPOCH_NS = 1_700_000_000_123_456_789


def header(**values: Any) -> Header:
    defaults: dict[str, Any] = {
        "kind": KIND_SYSCALL, "flags": 0, "ts": BOOT_NS, "ret": 0, "nr": 0, "cpu": 3, "pid": 40, "tid": 40, "ppid": 30,
        "uid": 0, "gid": 0, "vpid": 40, "vtid": 40, "mntns": 1, "start": 90 * SECOND_NS, "pstart": 80 * SECOND_NS,
        "cgroup": 7, "comm": b"cat", "cap_effective": 0, "cap_permitted": 0, "cap_inheritable": 0,
    }  # fmt: skip
    return Header(**{**defaults, **values})


def process(pid: int, start_s: int, comm: str, **values: Any) -> Process:
    made = Process(pid, start_s * SECOND_NS)
    made.comm = comm
    made.vpid = pid
    made.mntns = 1
    made.cgroup_id = 7
    for name, value in values.items():
        setattr(made, name, value)
    return made


def table(root: Path, *processes: Process) -> ProcessTable:
    """A table that holds exactly these, with an empty /proc to heal from."""
    (root / "proc").mkdir(exist_ok=True)
    made = ProcessTable(root)
    for one in processes:
        made._insert(one)
    return made


def item(tag: int, raw: bytes = b"", flags: int = 0) -> bytes:
    return struct.pack("=HBB", len(raw), tag, flags) + raw


def number(value: int) -> bytes:
    return item(ITEM_VALUE, struct.pack("=Q", value & 0xFFFFFFFFFFFFFFFF))


def path(raw: bytes, base: bytes = b"/") -> bytes:
    return item(ITEM_PATH, raw) + item(ITEM_DIR, base)


def data(raw: bytes) -> bytes:
    return item(ITEM_DATA, raw)


def file(num: int, name: bytes, mode: int = 0o100644, layer: int = 0) -> bytes:
    """An fd item of a file; layer and the rest as `bpf/lib/types.h` has them."""
    return item(ITEM_FD, struct.pack("=iHBBIIQII", num, mode, layer, FD_FILE, 8 << 20 | 1, 0xEF53, 77, 0, 0) + name)


def no_file(error: int) -> bytes:
    """The fd item of a call that made none."""
    return item(ITEM_FD, struct.pack("=iHBBIIQII", error, 0, 0, 0, 0, 0, 0, 0, 0))


def event(name: str, payload: bytes = b"", on: ProcessTable | None = None, **values: Any) -> Event:
    made = Event(ROWS[name], header(**values), payload, 5, EPOCH_NS)
    made.table = on
    if on is not None:
        made.process = on.get(made.header)
    return made


def compiled(code: str) -> Callable[[Any], Any]:
    result: Callable[[Any], Any] = eval(f"lambda e: {code}", dict(ENV))
    return result


def value(written: str, e: Any) -> Any:
    """What a filter compares for a field as a rule writes it."""
    found = lookup(written)
    assert found is not None, written
    field, arg = found
    return compiled(field.code(arg))(e)


def printed(written: str, e: Any) -> Any:
    """What an output shows for it."""
    found = lookup(written)
    assert found is not None, written
    field, arg = found
    return compiled((field.print_code or field.code)(arg))(e)
