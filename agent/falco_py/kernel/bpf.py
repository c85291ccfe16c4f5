# SPDX-License-Identifier: Apache-2.0
"""bpf(2): file descriptors of loaded maps and programs become entries that are written and hooks that are attached.

The layouts are those of union bpf_attr, struct bpf_map_info and struct bpf_prog_info (include/uapi/linux/bpf.h).
Invariant: every call checks the sizes that the kernel would read or write.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

MAP_UPDATE_ELEM, MAP_DELETE_ELEM, OBJ_GET_INFO_BY_FD, RAW_TRACEPOINT_OPEN = 2, 3, 15, 17
MAP_UPDATE_BATCH = 26
ATTR_BYTES = 128
_NR_BPF = {"x86_64": 321, "aarch64": 280}
_NAME_BYTES = 16
_MAP_INFO = struct.Struct("=6I16s")  # type, id, sizes of key and value, entries, flags, name
_PROG_NAME_AT = 64
_PROG_RUNS = struct.Struct("=QQ")  # nanoseconds, runs
_PROG_RUNS_AT = 192  # since 5.1
_INFO_BYTES = 256
_ELEM = struct.Struct("=IIQQQ")  # map, pad, key, value, flags
_BATCH = struct.Struct("=QQQQIIQQ")  # in, out, keys, values, count, map, element flags, flags
_INFO = struct.Struct("=IIQ")  # fd, room, where

_libc = ctypes.CDLL(None, use_errno=True)


def call(command: int, attributes: bytes) -> tuple[int, bytes]:
    """What bpf(2) returns and `attributes` as it left them. Raises OSError."""
    room = ctypes.create_string_buffer(attributes, ATTR_BYTES)
    result: int = _libc.syscall(_NR_BPF[platform.machine()], command, room, ATTR_BYTES)
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result, room.raw


def info(fd: int) -> bytes:
    """struct bpf_map_info or bpf_prog_info of an open map or program. Raises OSError."""
    room = ctypes.create_string_buffer(_INFO_BYTES)
    call(OBJ_GET_INFO_BY_FD, _INFO.pack(fd, _INFO_BYTES, ctypes.addressof(room)))
    return room.raw


def program_name(fd: int) -> str:
    """The first 15 bytes of a program's name. Raises OSError."""
    return _text(info(fd)[_PROG_NAME_AT : _PROG_NAME_AT + _NAME_BYTES])


@dataclass(frozen=True, slots=True)
class ProgramRuns:
    """Counted only while kernel.bpf_stats_enabled is 1, or somebody holds BPF_ENABLE_STATS."""

    name: str
    runs: int
    run_time_ns: int


def program_runs(name: str, fd: int) -> ProgramRuns:
    """Raises OSError."""
    run_time_ns, runs = _PROG_RUNS.unpack_from(info(fd), _PROG_RUNS_AT)
    return ProgramRuns(name, runs, run_time_ns)


def attach(program: int) -> int:
    """Attaches a loaded program of type tracing to the hook that it was loaded for; closing the result detaches it.

    Raises OSError.
    """
    return call(RAW_TRACEPOINT_OPEN, struct.pack("=QI", 0, program))[0]


class Map:
    """Sizes in bytes. `close` gives the file descriptor back; programs that use the map keep it."""

    def __init__(self, fd: int) -> None:
        """Owns `fd`. Raises OSError."""
        self.fd = fd
        self.key_size: int
        self.value_size: int
        self.max_entries: int
        _, _, self.key_size, self.value_size, self.max_entries, _, name = _MAP_INFO.unpack_from(info(fd))
        self.name = _text(name)

    def update(self, key: bytes, value: bytes) -> None:
        """Raises OSError: E2BIG or ENOMEM when the map is full."""
        self._check(key, value)
        keys, values = ctypes.create_string_buffer(key, len(key)), ctypes.create_string_buffer(value, len(value))
        call(MAP_UPDATE_ELEM, _ELEM.pack(self.fd, 0, ctypes.addressof(keys), ctypes.addressof(values), 0))

    def update_many(self, entries: Sequence[tuple[bytes, bytes]]) -> None:
        """As `update` of each, in one call where the kernel has it (tries: since 5.14). Raises OSError."""
        if not entries:
            return
        for key, value in entries:
            self._check(key, value)
        keys = ctypes.create_string_buffer(b"".join(key for key, _ in entries))
        values = ctypes.create_string_buffer(b"".join(value for _, value in entries))
        batch = _BATCH.pack(0, 0, ctypes.addressof(keys), ctypes.addressof(values), len(entries), self.fd, 0, 0)
        try:
            call(MAP_UPDATE_BATCH, batch)
        except OSError:  # which entry it was, if any, the single updates tell
            for key, value in entries:
                self.update(key, value)

    def delete(self, key: bytes) -> None:
        """Raises OSError: ENOENT when there is no such entry."""
        self._check(key)
        keys = ctypes.create_string_buffer(key, len(key))
        call(MAP_DELETE_ELEM, _ELEM.pack(self.fd, 0, ctypes.addressof(keys), 0, 0))

    def close(self) -> None:
        os.close(self.fd)

    def _check(self, key: bytes, value: bytes | None = None) -> None:
        if len(key) != self.key_size or (value is not None and len(value) != self.value_size):
            sizes = f"{len(key)} and {len(value or b'')} bytes"
            raise ValueError(f"{self.name}: an entry of {sizes}, not {self.key_size} and {self.value_size}")


def _text(name: bytes) -> str:
    return name.split(b"\0", 1)[0].decode("ascii", "replace")
