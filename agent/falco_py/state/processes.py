# SPDX-License-Identifier: Apache-2.0
"""exec, fork, exit and state records, and /proc, become the table of processes.

Invariant: `get` always answers, and what it answers agrees with the header it was asked for: an entry of another
process that had the same pid is never given. The table is bounded; the dead go first.
"""

from __future__ import annotations

import os
import sys
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from . import procfs
from .cgroups import Cgroups, ContainerRef
from .clock import TICK_NS
from .containers import Containers
from .process import UNKNOWN, Process
from .users import Users

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from falco_py.events.record import Exec, Exit, Fork, Header, StateChange

    from .containers import Lookup

MAX_SIZE = 262144
KEEP_DEAD_NS = 5_000_000_000  # events of a process may be read after its exit
ANCESTORS_MAX = 64
_FACTS: Final = 8  # from `ppid` on a header says who the process is, not what it did and when
_SWEEP_EVERY_NS = 1_000_000_000
_SWEEP_LEAST = 16  # entries a second; of a large table so many that all are looked at once in _SWEEP_ROUND_S
_SWEEP_ROUND_S = 60


@dataclass(slots=True)
class Counters:
    """What happened to the table since the start."""

    scanned: int = 0
    healed: int = 0  # read from /proc because a record was missing
    minimal: int = 0  # made from a header alone
    evicted: int = 0  # living entries thrown out because the table was full
    purged: int = 0  # dead entries thrown out
    lost_exits: int = 0  # found dead without an exit record


class ProcessTable:
    """All processes of the host. `root` is where the host's file system is seen (HOST_ROOT).

    `whole_env`: an environment that the kernel had to cut is read from /proc at once; for rules that look at it.
    `keep_env`: whether environments are kept at all; they are half of what a process takes.
    `lookup` finds facts of containers. `changed` is called for a process that the kernel has learnt (kernel.learning)
    when the facts of its container are others than before.
    """

    def __init__(
        self,
        root: Path | str = "/",
        users: Users | None = None,
        max_size: int = MAX_SIZE,
        lookup: Lookup | None = None,
    ) -> None:
        self.proc = os.path.join(str(root), "proc")
        self.users = users if users is not None else Users(root)
        self.cgroups = Cgroups(root)
        self.counters = Counters()
        self.whole_env = False
        self.keep_env = True
        self._max_size = max(max_size, 16)
        self._by_pid: dict[int, Process] = {}
        self._dead: deque[Process] = deque()
        self.facts = Containers(lookup)
        self.changed: Callable[[Process], None] | None = None
        self._sweep: list[int] = []
        self._swept_ns = 0

    def __len__(self) -> int:
        return len(self._by_pid)

    def __iter__(self) -> Iterator[Process]:
        return iter(self._by_pid.values())

    @property
    def capacity(self) -> int:
        """Entries that it may have."""
        return self._max_size

    def containers(self) -> tuple[int, int]:
        """How many containers have processes here, and of how many of them the image is not known.

        For any thread.
        """
        known = {process.full_container_id: process.container for process in list(self._by_pid.values())}
        known.pop("", None)
        return len(known), sum(not getattr(facts, "image", "") for facts in known.values())

    @property
    def removed(self) -> int:
        """Entries that left the table. One whose pid came again while it was there did not leave."""
        return self.counters.purged + self.counters.evicted

    @property
    def added(self) -> int:
        """Entries that came into the table: those that are there, or left."""
        return len(self._by_pid) + self.removed

    # -- records ------------------------------------------------------------------------------------------------

    def scan(self) -> int:
        """Read every process below /proc; returns how many. Entries made from newer records are kept."""
        inits: dict[int, int] = {}
        found = []
        for pid in procfs.pids(self.proc):
            process = procfs.read_process(self.proc, pid)
            if process is None:
                continue
            if process.vpid == 1 and process.pidns:
                inits[process.pidns] = process.start
            found.append(process)
        starts = {process.pid: process.start for process in found}
        for process in found:
            process.pidns_start_ns = inits.get(process.pidns, 0)
            process.pstart = starts.get(process.ppid, 0)
            known = self._by_pid.get(process.pid)
            if known is None or known.start // TICK_NS < process.start // TICK_NS:
                self._contain(process, None)
                self._insert(process)
        self.counters.scanned += len(found)
        return len(found)

    def follow_environments(self, wanted: bool) -> None:
        """Whether rules look at environments. Those of the processes that are there are read again when they must."""
        if wanted and not self.keep_env:
            for process in list(self._by_pid.values()):
                fresh = procfs.read_process(self.proc, process.pid)
                if fresh is not None and fresh.start // TICK_NS == process.start // TICK_NS:
                    process.env, process.env_truncated = fresh.env, fresh.env_truncated
        self.keep_env = self.whole_env = wanted

    def on_exec(self, header: Header, ex: Exec) -> Process:
        """A new image; replaces the entry of the process."""
        before = self._by_pid.get(header.pid)
        process = Process(header.pid, header.start)
        self._take_header(process, header)
        process.comm = procfs.text(header.comm)
        process.exec_ts = header.ts
        process.exec_id = header.exec_id
        process.take_image(ex)
        if ex.args_truncated:
            whole = procfs.read_args(self.proc, header.pid, header.start, ex.args)
            if whole is not None:
                process.argv, process.args_truncated = whole
        if ex.env_truncated and self.whole_env:
            whole = procfs.read_env(self.proc, header.pid, header.start, ex.env)
            if whole is not None:
                process.env, process.env_truncated = whole
        process.cgroups = self.cgroups.same(ex.cgroups)
        process.exepath, process.cwd = sys.intern(ex.exepath), sys.intern(ex.cwd)
        if not self.keep_env:
            process.env_raw = b""
        if before is None or not _same(before, header.start):
            before = self._by_pid.get(header.ppid)
        self._contain(process, before)
        self._insert(process)
        return process

    def on_fork(self, header: Header, fork: Fork) -> Process:
        """A new process of the header's process; it has the parent's facts until it changes them."""
        parent = self.get(header)
        child = parent.child(fork.pid, fork.start)
        child.vpid = fork.vpid
        child.ppid, child.pstart = fork.ppid, fork.pstart
        child.seen_ts = header.ts
        child.exec_id = header.exec_id
        comm = procfs.text(fork.comm)
        if comm != child.comm:
            child.rename(comm)
        if fork.pidns != parent.pidns:
            child.pidns = fork.pidns
            child.sid = child.vpgid = 0  # numbers of the old namespace say nothing in the new one
            child.pidns_start_ns = fork.start if fork.vpid == 1 else 0
        if fork.cgroup != parent.cgroup_id:
            child.cgroup_id = fork.cgroup
            self._move(child)
        self._insert(child)
        return child

    def on_exit(self, header: Header, _exit: Exit | None = None) -> None:
        """The last thread ended. The entry stays for late events until `purge`."""
        process = self._by_pid.get(header.pid)
        if process is not None and _same(process, header.start) and not process.exited:
            self._bury(process, header.ts)

    def on_state(self, header: Header, change: StateChange) -> None:
        """A thread renamed itself or the working directory changed. Only the leader's name is the process's."""
        process = self.get(header)
        if change.comm is not None and header.tid == header.pid:
            comm = procfs.text(change.comm)
            if comm != process.comm:
                process.rename(comm)
        if change.cwd is not None:
            process.cwd = change.cwd

    # -- questions ----------------------------------------------------------------------------------------------

    def get(self, header: Header) -> Process:
        """The process of an event."""
        process = self._by_pid.get(header.pid)
        facts = header[_FACTS:]
        if process is not None and process.synced == facts:
            if header.ts > process.seen_ts:
                process.seen_ts = header.ts
            return process
        if process is None or process.start != header.start:
            process = self._adopt(header, process)
        if header.ts < process.seen_ts:  # a late event: what it says is older than what is known
            return process
        process.seen_ts = header.ts
        if process.exec_id != header.exec_id:
            process = self._of_image(process, header)
        if (
            process.uid != header.uid
            or process.ppid != header.ppid
            or process.gid != header.gid
            or process.cgroup_id != header.cgroup
            or process.cap_effective != header.cap_effective
            or process.cap_permitted != header.cap_permitted
            or process.cap_inheritable != header.cap_inheritable
            or process.mntns != header.mntns
            or process.pstart != header.pstart
        ):
            self._refresh(process, header)
        if header.tid == header.pid:
            comm = procfs.text(header.comm)
            if comm != process.comm:
                process = self._renamed(process, header, comm)
        process.synced = facts
        return process

    def by_pid(self, pid: int) -> Process | None:
        """The newest process with this pid, possibly dead for a few seconds."""
        return self._by_pid.get(pid)

    def parent(self, process: Process) -> Process | None:
        """The parent at the time of the process's last event."""
        return self._linked(process, at_event=True)

    def ancestors(self, process: Process) -> Iterator[Process]:
        """Parent, grandparent, ...: at most `ANCESTORS_MAX`, each once."""
        seen = {process.pid}
        at_event = True
        for _ in range(ANCESTORS_MAX):
            above = self._linked(process, at_event)
            if above is None or above.pid in seen:
                return
            yield above
            seen.add(above.pid)
            process = above
            at_event = False

    def set_container(self, full_id: str, facts: Any) -> None:
        """Give all processes of a container what was found out elsewhere (None forgets it)."""
        self.facts.take(full_id, facts)
        self._give(full_id, facts)

    def look_again(self) -> None:
        """For facts that were not there when a container's first process came, and others than before; to be called now
        and then.
        """
        facts = self.facts
        if facts.waiting:
            for full_id in facts.found_late():
                self._give(full_id, facts.of(full_id))
        for full_id in facts.renewed():
            self._give(full_id, facts.of(full_id))

    def purge(self, now_boot_ns: int) -> None:
        """Drop entries that are dead long enough, and look for some whose exit record was lost."""
        dead = self._dead
        limit = now_boot_ns - KEEP_DEAD_NS
        while dead and dead[0].exit_ts <= limit:
            self._drop_dead(dead.popleft())
        if self.facts.is_time_to_forget():
            self.facts.forget({process.full_container_id for process in self._by_pid.values()})
        if now_boot_ns - self._swept_ns < _SWEEP_EVERY_NS:
            return
        self._swept_ns = now_boot_ns
        if not self._sweep:
            self._sweep = list(self._by_pid)
        step = max(_SWEEP_LEAST, len(self._by_pid) // _SWEEP_ROUND_S)
        for pid in self._sweep[-step:]:
            process = self._by_pid.get(pid)
            if process is not None and not process.exited and not os.path.exists(f"{self.proc}/{pid}"):
                self.counters.lost_exits += 1
                self._bury(process, now_boot_ns)
        del self._sweep[-step:]

    # -- inside -------------------------------------------------------------------------------------------------

    def _insert(self, process: Process) -> None:
        by_pid = self._by_pid
        if process.pid not in by_pid and len(by_pid) >= self._max_size:
            while self._dead and len(by_pid) >= self._max_size:
                self._drop_dead(self._dead.popleft())
            if len(by_pid) >= self._max_size:
                del by_pid[next(iter(by_pid))]
                self.counters.evicted += 1
        by_pid[process.pid] = process

    def _bury(self, process: Process, ts: int) -> None:
        process.exited = True
        process.exit_ts = ts
        self._dead.append(process)

    def _drop_dead(self, process: Process) -> None:
        if self._by_pid.get(process.pid) is process:
            del self._by_pid[process.pid]
            self.counters.purged += 1

    def _adopt(self, header: Header, known: Process | None) -> Process:
        """The entry for a header whose exact start time is not in the table."""
        if known is not None and _same(known, header.start):
            known.start = header.start
            return known
        process = self._heal(header.pid, header.start)
        if process is None:
            self.counters.minimal += 1
            process = Process(header.pid, header.start)
            process.comm = procfs.text(header.comm)
            self._take_header(process, header)
            process.cgroups = ()
            self._contain(process, self._by_pid.get(header.ppid))
            if known is not None and known.start > header.start:
                return process  # a late event of a process whose pid is in other hands: not worth a place
        self._insert(process)
        return process

    def _heal(self, pid: int, start: int) -> Process | None:
        """Read a process that a record was lost of; `start` 0 accepts any."""
        process = procfs.read_process(self.proc, pid)
        if process is None or (start and not _same(process, start)):
            return None
        self.counters.healed += 1
        process.start = start or process.start
        parent = self._by_pid.get(process.ppid)
        if parent is not None:
            process.pstart = parent.start
            if parent.pidns == process.pidns:
                process.pidns_start_ns = parent.pidns_start_ns
        if process.vpid == 1:
            process.pidns_start_ns = process.start
        self._contain(process, parent)
        return process

    @staticmethod
    def _take_header(process: Process, header: Header) -> None:
        process.ppid = header.ppid
        process.pstart = header.pstart
        process.uid = header.uid
        process.gid = header.gid
        process.vpid = header.vpid
        process.mntns = header.mntns
        process.cgroup_id = header.cgroup
        process.cap_effective = header.cap_effective
        process.cap_permitted = header.cap_permitted
        process.cap_inheritable = header.cap_inheritable
        process.seen_ts = header.ts

    def _refresh(self, process: Process, header: Header) -> None:
        """Take over what changes without an exec."""
        moved = process.cgroup_id != header.cgroup
        self._take_header(process, header)
        if moved:
            self._move(process)

    def _move(self, process: Process) -> None:
        """The process is in another cgroup than before."""
        cgroups = procfs.read_cgroups(f"{self.proc}/{process.pid}")
        if cgroups and cgroups != process.cgroups:
            process.cgroups = cgroups
            self._contain(process, process)

    def _of_image(self, process: Process, header: Header) -> Process:
        """The image of a process is told for the first time, or is another than the known one: an exec was lost."""
        if process.exec_id != UNKNOWN:
            healed = self._heal(process.pid, process.start)
            if healed is not None:
                self._take_header(healed, header)
                self._insert(healed)
                process = healed
        process.exec_id = header.exec_id
        return process

    def _renamed(self, process: Process, header: Header, comm: str) -> Process:
        """The name is not the known one. A rename has its record; another executable means that an exec was lost."""
        try:
            path = procfs.text(os.readlink(os.fsencode(f"{self.proc}/{process.pid}/exe"))).removesuffix(" (deleted)")
        except OSError:
            path = process.exepath
        if path != process.exepath.removesuffix(" (deleted)"):
            healed = self._heal(process.pid, process.start)
            if healed is not None:
                self._take_header(healed, header)
                healed.rename(comm)
                self._insert(healed)
                return healed
        process.rename(comm)
        return process

    def _contain(self, process: Process, before: Process | None) -> None:
        """Find the container of `process`; `before` is its former self or its parent.

        A process that moved itself out of its container's cgroup, but still sees a mount namespace that is not the
        host's and that it had before, is still in the container. One that is read late may have outlived its bundle.
        """
        ref = self.cgroups.resolve(process.cgroups)
        if ref is None and process.mntns not in (0, self.users.host_mntns):
            if before is not None and before.full_container_id and before.mntns == process.mntns:
                ref = ContainerRef(
                    before.container_id, before.full_container_id, before.container_engine, before.pod_uid
                )
            else:
                ref = self.cgroups.gone(process.cgroups)
        if ref is None:
            process.container_id = process.full_container_id = process.container_engine = process.pod_uid = ""
            process.container = None
            return
        process.container_id, process.full_container_id, process.container_engine, process.pod_uid = ref
        facts, found_late = self.facts.ask(ref)
        if found_late:
            self._give(ref.full_id, facts)
        process.container = facts

    def _give(self, full_id: str, facts: Any) -> None:
        for process in self._by_pid.values():
            if process.full_container_id == full_id:
                process.container = facts
                if process.learnt is not None:
                    process.learnt = None
                    process.learnings = 0
                    if self.changed is not None:
                        self.changed(process)

    def _linked(self, process: Process, at_event: bool) -> Process | None:
        ppid = process.ppid
        if ppid <= 0:
            return None
        above = self._by_pid.get(ppid)
        if (
            above is not None
            and (process.pstart == 0 or _same(above, process.pstart))
            and (not above.exited or process.exited or (at_event and process.seen_ts <= above.exit_ts))
        ):
            return above
        return self._relink(process, above)

    def _relink(self, process: Process, above: Process | None) -> Process | None:
        """The known parent is dead or unknown: ask /proc who is the parent now."""
        found = None if process.exited else procfs.read_stat(f"{self.proc}/{process.pid}")
        if found is None or found.start_ns // TICK_NS != process.start // TICK_NS:
            return above if above is not None and _same(above, process.pstart) else None
        if found.ppid <= 0:
            process.ppid = process.pstart = 0
            return None
        parent = self._by_pid.get(found.ppid)
        if parent is None or parent.exited:
            parent = self._heal(found.ppid, 0)
            if parent is None:
                return None
            self._insert(parent)
        process.ppid = found.ppid
        process.pstart = parent.start
        return parent


def _same(process: Process, start: int) -> bool:
    return process.start // TICK_NS == start // TICK_NS
