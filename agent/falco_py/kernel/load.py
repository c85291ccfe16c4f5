# SPDX-License-Identifier: Apache-2.0
"""The BPF object becomes running programs: loaded, its tables filled, attached, its rings and counters mapped.

pylibbpf loads and attaches. Invariant: nothing is attached before the tables are filled; `close` detaches everything,
and when the process ends without it the kernel does.
"""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
import struct
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..events.record import Header
from ._ring import Ring
from .decisions import VALUES
from .host import HostError
from .pushdown import (
    Plan,
    pack_address,
    pack_comm,
    pack_name,
    pack_path,
    pack_port,
    pack_slot,
    pack_top,
    pack_value,
    pack_vector,
)
from .tables import CLASSES, MAX_SYSCALLS, NumberTable, row_entries, wanted_mask

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

OBJECTS = Path(__file__).parent / "objects"
PROGRAMS = ("falco_exec", "falco_fork", "falco_exit", "falco_sys_exit")

MAX_CPUS = 512
_COUNTER_WORDS = 32  # struct counters: sent, dropped, shed and errors, eight each
_ERRORS = ("scratch", "number", "full", "fd")
# struct control of bpf/lib/types.h
_SELF_OFFSET = MAX_SYSCALLS
_GENERATION_OFFSET = MAX_SYSCALLS + 4
_LEVEL_OFFSET = MAX_SYSCALLS + 8
_COUNTERS_OFFSET = MAX_SYSCALLS + 64
_SLOTS_OFFSET = _COUNTERS_OFFSET + MAX_CPUS * _COUNTER_WORDS * 8
_SLOTS = 2
_SETTLE_S = 0.05
_MEMBARRIER_CMD_GLOBAL = 1  # include/uapi/linux/membarrier.h
_NR_MEMBARRIER = {"x86_64": 324, "aarch64": 283}


@dataclass(frozen=True, slots=True)
class Counters:
    """Records since the load, by class (kernel.tables.CLASSES); `errors` by place.

    `dropped`: the ring was full; `shed`: calls that only rules could match which were not asked (Capture.shed).
    """

    sent: dict[str, int]
    dropped: dict[str, int]
    shed: dict[str, int]
    errors: dict[str, int]

    @property
    def total_sent(self) -> int:
        return sum(self.sent.values())

    @property
    def total_dropped(self) -> int:
        return sum(self.dropped.values())

    @property
    def total_shed(self) -> int:
        return sum(self.shed.values())


@contextlib.contextmanager
def _stderr_to(sink: Any) -> Iterator[None]:
    """libbpf writes its log to file descriptor 2; it is caught, so that a failure can be told in our own words."""
    saved = os.dup(2)
    try:
        os.dup2(sink.fileno(), 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)


def _load_object(path: Path) -> Any:
    import pylibbpf

    with tempfile.TemporaryFile() as sink:
        try:
            with _stderr_to(sink):
                loaded = pylibbpf.BpfObject(str(path))
                loaded.load()
        except Exception as error:
            sink.seek(0)
            log = sink.read().decode("utf-8", "replace").strip().splitlines()
            said = "\n    ".join(log[-12:])
            raise HostError(
                f"the kernel refused the BPF object {path.name}: {error}" + (f"\n    {said}" if said else ""),
                "check `dmesg`, that no lockdown mode or seccomp profile forbids bpf(2), and that the kernel has "
                "CONFIG_BPF_SYSCALL, CONFIG_BPF_EVENTS and CONFIG_DEBUG_INFO_BTF.",
            ) from error
    return loaded


class Capture:
    """The loaded base layer. `life` and `events` are its rings (see bpf/lib/maps.h)."""

    def __init__(self, numbers: NumberTable | None = None, own_pid: int = 0) -> None:
        """`own_pid`: the agent's process as the kernel numbers it; its own calls are not told. Raises HostError."""
        self.numbers = numbers or NumberTable()
        path = OBJECTS / f"base.{self.numbers.machine}.bpf.o"
        if not path.exists():
            raise HostError(f"{path} is missing.", "build it: `make setup`.")
        self._object = _load_object(path)
        rows = self._object["rows"]
        for index, row in row_entries(self.numbers):
            rows.update(index, row)
        bss = next(self._object[name] for name in self._object.get_map_names() if name.endswith(".bss"))
        self._bss = mmap.mmap(bss.get_fd(), _page_round(bss.get_value_size()), mmap.MAP_SHARED)
        struct.pack_into("=I", self._bss, _SELF_OFFSET, own_pid)
        self.life_fd: int = self._object["life"].get_fd()
        self.events_fd: int = self._object["events"].get_fd()
        self.events_bytes: int = self._object["events"].get_max_entries()
        self.life = Ring(self.life_fd, self._object["life"].get_max_entries(), Header)
        self.events = Ring(self.events_fd, self.events_bytes, Header)
        self._attached: list[Any] = []
        self.generation = 0
        self._keys: list[tuple[Any, Any]] = []  # (map, key) of what the slot in use holds
        self._rows = self.numbers.row_names()

    def want(self, event_names: Iterable[str], state: bool = True) -> None:
        """From now on the kernel tells these events, and those that the process table follows when `state`."""
        self._bss[:MAX_SYSCALLS] = wanted_mask(self.numbers, event_names, state)

    def filter(self, plan: Plan) -> None:
        """Puts the plan in the place of the one before, at once for all calls. Entries of processes are void then."""
        generation = (self.generation + 1) & 0xFFFFFFFF
        slot = generation % _SLOTS
        tables: list[tuple[Any, Any, int]] = []
        for name, key, bits in (
            *(("paths", pack_path(slot, path), bits) for path, bits in plan.paths.items()),
            *(("names", pack_name(slot, name), bits) for name, bits in plan.names.items()),
            *(("comms", pack_comm(slot, name), bits) for name, bits in plan.comms.items()),
            *(("ports", pack_port(slot, port), bits) for port, bits in plan.ports.items()),
            *(("addresses", pack_address(slot, network), bits) for network, bits in plan.addresses.items()),
        ):
            tables.append((self._object[name], key, bits))
        valued = plan.valued
        for index, event in enumerate(self._rows):
            if event is not None and event in valued:
                tables += [
                    (self._object["values"], pack_value(slot, index, value), plan.values[event, value])
                    for value in range(VALUES)
                ]
        for table, key, bits in tables:
            table.update(key, pack_vector(bits))
        for top, (left, placed) in plan.tops.items():
            key = pack_top(slot, top)
            self._object["tops"].update(key, pack_vector(left) + pack_vector(placed))
            tables.append((self._object["tops"], key, left))
        packed = pack_slot(plan, self._rows)
        at = _SLOTS_OFFSET + slot * len(packed)
        self._bss[at : at + len(packed)] = packed
        struct.pack_into("=I", self._bss, _GENERATION_OFFSET, generation)
        self._settle()
        for table, key in self._keys:
            table.delete_elem(key)
        self._keys = [(table, key) for table, key, _ in tables]
        self.generation = generation

    def shed(self, level: int) -> None:
        """From now on only rules of at least the severity `rules.priority.SHEDDING[level]` are asked in the kernel.

        From the first call on the kernel raises the level by itself as the ring fills, and relies on its being lowered
        here.
        """
        struct.pack_into("=II", self._bss, _LEVEL_OFFSET, level, 1)

    def level(self) -> int:
        """The level of shedding in force."""
        made: int = struct.unpack_from("=I", self._bss, _LEVEL_OFFSET)[0]
        return made

    def _settle(self) -> None:
        """Returns when no program runs any more that read the generation before."""
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.syscall(_NR_MEMBARRIER[self.numbers.machine], _MEMBARRIER_CMD_GLOBAL, 0) != 0:
            time.sleep(_SETTLE_S)  # a kernel without it: programs take microseconds

    def learn_name(self, name: bytes, bits: int) -> bool:
        """What a thread's name leaves open of the rules in use; False when the kernel's table is full."""
        key = pack_comm(self.generation % _SLOTS, name)
        if not self._put("comms", key, pack_vector(bits)):
            return False
        self._keys.append((self._object["comms"], key))
        return True

    def learn_process(self, pid: int, entry: bytes) -> bool:
        """What a process leaves open; `entry` is a struct process_entry. False when the kernel's table is full."""
        return self._put("processes", pid, entry)

    def _put(self, name: str, key: Any, value: bytes) -> bool:
        from pylibbpf import BpfException

        try:
            self._object[name].update(key, value)
        except BpfException:
            return False
        return True

    def attach(self) -> None:
        """Raises HostError when the kernel lacks a hook; what was attached is detached again."""
        for name in PROGRAMS:
            program = self._object.get_program(name)
            with tempfile.TemporaryFile() as sink:
                try:
                    with _stderr_to(sink):
                        program.attach()
                except Exception as error:
                    self.detach()
                    raise HostError(
                        f"the kernel refused to attach {name}: {error}.",
                        "the kernel must be built with CONFIG_BPF_EVENTS and tracepoints.",
                    ) from error
            self._attached.append(program)

    def detach(self) -> None:
        while self._attached:
            self._attached.pop().detach()

    def counters(self) -> Counters:
        sums = [0] * _COUNTER_WORDS
        cpus = min(os.cpu_count() or 1, MAX_CPUS)
        possible = max(cpus, _possible_cpus())
        for cpu in range(min(possible, MAX_CPUS)):
            row = struct.unpack_from(f"={_COUNTER_WORDS}Q", self._bss, _COUNTERS_OFFSET + cpu * _COUNTER_WORDS * 8)
            sums = [a + b for a, b in zip(sums, row, strict=True)]
        n = len(CLASSES)
        return Counters(
            sent=dict(zip(CLASSES, sums[:n], strict=True)),
            dropped=dict(zip(CLASSES, sums[n : 2 * n], strict=True)),
            shed=dict(zip(CLASSES, sums[2 * n : 3 * n], strict=True)),
            errors=dict(zip(_ERRORS, sums[3 * n :], strict=False)),
        )

    def close(self) -> None:
        self.detach()
        self.life.close()
        self.events.close()


def _page_round(size: int) -> int:
    return -(-size // mmap.PAGESIZE) * mmap.PAGESIZE


def _possible_cpus() -> int:
    """Highest possible CPU number plus one (/sys/devices/system/cpu/possible, "0-7")."""
    try:
        last = Path("/sys/devices/system/cpu/possible").read_text().strip().replace(",", "-").split("-")[-1]
        return int(last) + 1
    except (OSError, ValueError):
        return 1
