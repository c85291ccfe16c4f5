# SPDX-License-Identifier: Apache-2.0
"""The BPF object becomes running programs: loaded, its tables filled, attached, its rings and counters mapped.

Invariant: nothing is attached before the tables are filled; `close` detaches everything,
and when the process ends without it the kernel does.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import struct
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..events.record import Header
from . import bpf
from ._ring import Ring
from .decisions import VALUES
from .host import HostError
from .loading import Loading, begin
from .pushdown import (
    pack_address,
    pack_comm,
    pack_name,
    pack_path,
    pack_port,
    pack_slot,
    pack_suffix,
    pack_top,
    pack_value,
    pack_vector,
)
from .tables import CLASSES, MAX_SYSCALLS, NumberTable, row_entries, wanted_mask

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .pushdown import Plan

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


@dataclass(frozen=True, slots=True)
class Staged:
    """A plan that lies in the kernel and is not in force yet."""

    generation: int
    packed: bytes


class Capture:
    """The loaded base layer. `life` and `events` are its rings (see bpf/lib/maps.h)."""

    def __init__(self, own_pid: int = 0, loading: Loading | None = None) -> None:
        """`own_pid`: the agent's process as the kernel numbers it; its own calls are not told.

        `loading`: what `begin` gave; closed with this. Raises HostError.
        """
        self.numbers = NumberTable()
        self._loading = loading or begin()
        try:
            self._loading.wait()
        except BaseException:
            self._loading.close()
            raise
        self._maps = maps = self._loading.maps
        maps["rows"].update_many([(struct.pack("=I", index), row) for index, row in row_entries(self.numbers)])
        bss = next(one for name, one in maps.items() if name.endswith(".bss"))
        self._bss = mmap.mmap(bss.fd, _page_round(bss.value_size), mmap.MAP_SHARED)
        struct.pack_into("=I", self._bss, _SELF_OFFSET, own_pid)
        self.life_fd = maps["life"].fd
        self.events_fd = maps["events"].fd
        self.events_bytes = maps["events"].max_entries
        self.life = Ring(self.life_fd, maps["life"].max_entries, Header)
        self.events = Ring(self.events_fd, self.events_bytes, Header)
        self._attached: list[int] = []
        self.generation = 0
        self._keys: list[tuple[str, bytes]] = []  # (map, key) of what the slot in use holds
        self._idle_keys: list[tuple[str, bytes]] = []  # and of what the other one does
        self._rows = self.numbers.row_names()

    def want(self, event_names: Iterable[str], state: bool = True) -> None:
        """From now on the kernel tells these events, and those that the process table follows when `state`."""
        self._bss[:MAX_SYSCALLS] = wanted_mask(self.numbers, event_names, state)

    def filter(self, plan: Plan) -> None:
        """Puts the plan in the place of the one before, at once for all calls. Entries of processes are void then.

        Raises HostError when the tables cannot hold it; the plan before stays in force then.
        """
        self.flip(self.stage(plan))
        self._empty_idle_half()

    def stage(self, plan: Plan) -> Staged:
        """Writes the plan into the half of the tables that is not in use; for `flip`.

        In any thread, but one plan at a time. Raises HostError when the tables cannot hold it.
        """
        self._empty_idle_half()
        generation = (self.generation + 1) & 0xFFFFFFFF
        slot = generation % _SLOTS
        tables: dict[str, list[tuple[bytes, bytes]]] = {
            "paths": [(pack_path(slot, path), pack_vector(bits)) for path, bits in plan.paths.items()],
            "names": [
                *((pack_name(slot, name), pack_vector(bits)) for name, bits in plan.names.items()),
                *((pack_suffix(slot, end), pack_vector(bits)) for end, bits in plan.suffixes.items()),
            ],
            "comms": [(pack_comm(slot, name), pack_vector(bits)) for name, bits in plan.comms.items()],
            "ports": [(pack_port(slot, port), pack_vector(bits)) for port, bits in plan.ports.items()],
            "addresses": [(pack_address(slot, net), pack_vector(bits)) for net, bits in plan.addresses.items()],
            "tops": [
                (pack_top(slot, top), pack_vector(left) + pack_vector(placed))
                for top, (left, placed) in plan.tops.items()
            ],
            "values": [
                (pack_value(slot, index, value), pack_vector(plan.values[event, value]))
                for index, event in enumerate(self._rows)
                if event is not None and event in plan.valued
                for value in range(VALUES)
            ],
        }
        self._idle_keys = [(name, key) for name, entries in tables.items() for key, _ in entries]
        try:
            for name, entries in tables.items():
                self._maps[name].update_many(entries)
        except OSError as error:
            self._empty_idle_half()
            raise HostError(
                f"the kernel's tables do not take these rules: {error.strerror}.",
                "leave some rules out: falco-py explain --cost tells what they ask of the kernel.",
            ) from error
        return Staged(generation, pack_slot(plan, self._rows))

    def flip(self, staged: Staged) -> None:
        """From now on the plan that was staged last is in force."""
        packed = staged.packed
        at = _SLOTS_OFFSET + staged.generation % _SLOTS * len(packed)
        self._bss[at : at + len(packed)] = packed
        struct.pack_into("=I", self._bss, _GENERATION_OFFSET, staged.generation)
        self._keys, self._idle_keys = self._idle_keys, self._keys
        self.generation = staged.generation

    def _empty_idle_half(self) -> None:
        if self._idle_keys:
            self._settle()
            self._forget(self._idle_keys)
            self._idle_keys = []

    def _forget(self, keys: Iterable[tuple[str, bytes]]) -> None:
        for name, key in keys:
            with suppress(FileNotFoundError):  # a table that was full has not taken all
                self._maps[name].delete(key)

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
        self._keys.append(("comms", key))
        return True

    def learn_process(self, pid: int, entry: bytes) -> bool:
        """What a process leaves open; `entry` is a struct process_entry. False when the kernel's table is full."""
        return self._put("processes", struct.pack("=I", pid), entry)

    def forget_process(self, pid: int) -> None:
        """Its calls are told again, as far as the rules leave them."""
        with suppress(OSError):  # ENOENT: the table was full, or the process is gone
            self._maps["processes"].delete(struct.pack("=I", pid))

    def _put(self, name: str, key: bytes, value: bytes) -> bool:
        try:
            self._maps[name].update(key, value)
        except OSError:
            return False
        return True

    def attach(self) -> None:
        """Raises HostError when the kernel lacks a hook; what was attached is detached again."""
        for name in PROGRAMS:
            try:
                self._attached.append(bpf.attach(self._loading.programs[name]))
            except OSError as error:
                self.detach()
                raise HostError(
                    f"the kernel refused to attach {name}: {error.strerror}.",
                    "the kernel must be built with CONFIG_BPF_EVENTS and tracepoints.",
                ) from error

    def detach(self) -> None:
        while self._attached:
            os.close(self._attached.pop())

    def counters(self) -> Counters:
        return _counters([sum(words) for words in zip(*self._counter_rows(), strict=True)])

    def counters_by_cpu(self) -> list[Counters]:
        """By the number of the CPU."""
        return [_counters(row) for row in self._counter_rows()]

    def _counter_rows(self) -> list[tuple[int, ...]]:
        cpus = min(max(os.cpu_count() or 1, _possible_cpus()), MAX_CPUS)
        row = struct.Struct(f"={_COUNTER_WORDS}Q")
        return [row.unpack_from(self._bss, _COUNTERS_OFFSET + cpu * row.size) for cpu in range(cpus)]

    def program_runs(self) -> list[bpf.ProgramRuns]:
        """Of the programs that are attached. Raises OSError."""
        return [bpf.program_runs(name, self._loading.programs[name]) for name in PROGRAMS if self._attached]

    def close(self) -> None:
        self.detach()
        self.life.close()
        self.events.close()
        self._bss.close()
        self._loading.close()


def _counters(words: Sequence[int]) -> Counters:
    n = len(CLASSES)
    return Counters(
        sent=dict(zip(CLASSES, words[:n], strict=True)),
        dropped=dict(zip(CLASSES, words[n : 2 * n], strict=True)),
        shed=dict(zip(CLASSES, words[2 * n : 3 * n], strict=True)),
        errors=dict(zip(_ERRORS, words[3 * n :], strict=False)),
    )


def _page_round(size: int) -> int:
    return -(-size // mmap.PAGESIZE) * mmap.PAGESIZE


def _possible_cpus() -> int:
    """Highest possible CPU number plus one (/sys/devices/system/cpu/possible, "0-7")."""
    try:
        last = Path("/sys/devices/system/cpu/possible").read_text().strip().replace(",", "-").split("-")[-1]
        return int(last) + 1
    except (OSError, ValueError):
        return 1
