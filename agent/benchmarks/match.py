# SPDX-License-Identifier: Apache-2.0
"""What an event costs that matches no rule: compiled rules beside a walk over their trees, in one process.

The events are records as the kernel program writes them, so their decoding is in the figure. What the first load of
the rules takes and a later one is told too, stage by stage (see load).
"""

from __future__ import annotations

import argparse
import statistics
import struct
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from falco_py.events.event import Event
from falco_py.events.record import ITEM_DIR, ITEM_FD, ITEM_PATH, ITEM_VALUE, KIND_EXEC, KIND_SYSCALL, Header
from falco_py.events.syscalls import ROWS
from falco_py.rules import bundle
from falco_py.rules.expressions import Writer
from falco_py.rules.syntax import And, Check, Node, Not, Or
from falco_py.state.process import Process
from falco_py.state.processes import ProcessTable

from . import load

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

SECOND_NS = 1_000_000_000
_FD = struct.Struct("=iHBBIIQII")
_FD_FILE = 16
_LINEAGE = (  # pid, name, executable, arguments
    (1, "systemd", "/usr/lib/systemd/systemd", ()),
    (30, "sshd", "/usr/sbin/sshd", ("-D",)),
    (40, "bash", "/usr/bin/bash", ("-l",)),
    (50, "make", "/usr/bin/make", ("all",)),
    (60, "cat", "/usr/bin/cat", ("/usr/share/doc/README",)),
)


def processes() -> ProcessTable:
    """A login shell that runs make that runs cat."""
    table = ProcessTable()
    parent = 0
    for pid, comm, path, args in _LINEAGE:
        one = Process(pid, pid * SECOND_NS)
        one.comm, one.exe, one.exepath, one.args = comm, path, path, args
        one.cwd, one.vpid, one.ppid, one.pstart = "/root", pid, parent, parent * SECOND_NS
        one.cgroups = (("", "/user.slice/session-1.scope"),)
        one.env = ("PATH=/usr/bin:/bin", "HOME=/root", "LANG=C.UTF-8")
        one.exec_ts = one.start
        one.tty = 34816
        table._insert(one)
        parent = pid
    return table


def header(kind: int, ret: int) -> Header:
    return Header(
        kind=kind, flags=0, ts=100 * SECOND_NS, ret=ret, nr=257, cpu=1, pid=60, tid=60, ppid=50, uid=0, gid=0, vpid=60,
        vtid=60, mntns=0, start=60 * SECOND_NS, pstart=50 * SECOND_NS, cgroup=0, comm=b"cat", cap_effective=0,
        cap_permitted=0, cap_inheritable=0,
    )  # fmt: skip


def _item(tag: int, raw: bytes) -> bytes:
    return struct.pack("=HBB", len(raw), tag, 0) + raw


def _number(value: int) -> bytes:
    return _item(ITEM_VALUE, struct.pack("=q", value))


def opened(path: bytes, flags: int, base: bytes = b"/root") -> bytes:
    """The record of an openat that gave fd 3."""
    fd = _FD.pack(3, 0o100644, 0, _FD_FILE, 8 << 20 | 1, 0xEF53, 77, flags, 0x1D)
    at_cwd = -100
    return (
        _item(ITEM_FD, fd + path)
        + _number(at_cwd)
        + _item(ITEM_PATH, path)
        + _item(ITEM_DIR, base)
        + _number(flags)
        + _number(0o644)
    )


EVENTS: dict[str, tuple[str, Header, bytes]] = {
    "openat of an ordinary file, reading": (
        "openat", header(KIND_SYSCALL, 3), opened(b"/usr/share/doc/README", 0),
    ),
    "openat of an ordinary file, writing": (
        "openat", header(KIND_SYSCALL, 3), opened(b"/home/user/project/build/main.o", 0o1101),
    ),
    "openat of a file below /etc, reading": (
        "openat", header(KIND_SYSCALL, 3), opened(b"/etc/ld.so.cache", 0o2000000),
    ),
    "execve of an ordinary program": ("execve", header(KIND_EXEC, 0), b""),
}  # fmt: skip


def made(table: ProcessTable, name: str, head: Header, payload: bytes) -> Event:
    event = Event(ROWS[name], head, payload, 1, 1_700_000_000 * SECOND_NS)
    event.table = table
    event.process = table.get(head)
    return event


class Walker:
    """Conditions tested by walking their trees: what the compiler is compared with."""

    def __init__(self) -> None:
        self.writer = Writer(bundle.Default())
        self.tests: dict[Check, Callable[[Any], bool]] = {}

    def _test(self, check: Check) -> Callable[[Any], bool]:
        found = self.tests.get(check)
        if found is None:
            code = f"lambda e: {self.writer.check(check)}"
            found = self.tests[check] = eval(code, self.writer.names)
        return found

    def holds(self, node: Node, e: Event) -> bool:
        if isinstance(node, Not):
            return not self.holds(node.term, e)
        if isinstance(node, And):
            return all(self.holds(term, e) for term in node.terms)
        if isinstance(node, Or):
            return any(self.holds(term, e) for term in node.terms)
        assert isinstance(node, Check)
        return bool(self._test(node)(e))

    def first(self, rules: Sequence[bundle.Rule], e: Event) -> bundle.Rule | None:
        return next((rule for rule in rules if self.holds(rule.tree, e)), None)


def cost_us(test: Callable[[Event], Any], make: Callable[[], Event], turns: int) -> float:
    """Median of several runs; the making of the events is not counted."""
    times = []
    for _ in range(7):
        events = [make() for _ in range(turns)]
        start = time.perf_counter_ns()
        for event in events:
            test(event)
        times.append((time.perf_counter_ns() - start) / turns / 1000)
    return statistics.median(times)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.match", description=__doc__)
    parser.add_argument("rules", nargs="+", type=Path, help="rules files, in order; all their rules are enabled")
    options = parser.parse_args()
    files = [(str(path), path.read_text()) for path in options.rules]
    for line in load.table(files):
        print(line)
    loaded = load.load(files)
    print(f"\n{len(loaded.rules)} rules enabled")
    table = processes()
    walker = Walker()
    print(f"{'event that matches nothing':<40} {'compiled us':>12} {'tree us':>9} {'ratio':>6}")
    for title, (name, head, payload) in EVENTS.items():
        matcher = loaded.matchers[name]
        rules = [rule for rule in loaded.rules if name in rule.event_types]

        def make(name: str = name, head: Header = head, payload: bytes = payload) -> Event:
            return made(table, name, head, payload)

        matched = matcher(make())
        if matched is not None or walker.first(rules, make()) is not None:
            print(f"{title:<40} matches {matched.name if matched else 'in the walk only'!r}")
            continue
        fast = cost_us(matcher, make, 4000)
        slow = cost_us(lambda e, rules=rules: walker.first(rules, e), make, 400)
        print(f"{title:<40} {fast:>12.1f} {slow:>9.1f} {slow / fast:>6.1f}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
